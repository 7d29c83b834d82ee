"""How many processes work on a run, and whether its weights are split among them: `processes.json` in its folder.

No setting of the run: the result is the same within rounding, so a run goes on with another number where it was.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from unlearning.errors import RunBusyError, SettingsError
from unlearning.runs.durable import read_json_or_empty, remove_file, write_json
from unlearning.runs.locks import WORKER_LOCK, held

PROCESSES = "processes.json"
MOST = 1024


@dataclass(frozen=True)
class Processes:
    """Attributes:
    count: How many work on the run, on one machine.
    shard: Whether training splits weights, gradients and optimiser state among them (FSDP2).
    """

    count: int = 1
    shard: bool = False


def processes_of(folder: Path) -> Processes:
    """Who is to work on the run in `folder`; one process where nothing was said."""
    asked = read_json_or_empty(folder / PROCESSES)
    count = asked.get("count")
    return Processes(count if isinstance(count, int) and 1 <= count <= MOST else 1, asked.get("shard") is True)


def check_processes(count: int) -> None:
    """Raises: SettingsError: not a possible number of processes."""
    if not 1 <= count <= MOST:
        raise SettingsError(f"{count} processes cannot work on a run.", f"Give a number from 1 to {MOST}.")


def set_processes(folder: Path, count: int, shard: bool = False) -> None:
    """Let so many processes work on the run from its next attempt on.

    Raises:
        SettingsError: not a possible number. RunBusyError: its worker is alive. RunError: it cannot be written.
    """
    check_processes(count)
    if held(folder / WORKER_LOCK):
        raise RunBusyError(f"Run {folder.name} is at work.", "Stop it first.")
    if count == 1 and not shard:
        remove_file(folder / PROCESSES)
    else:
        write_json(folder / PROCESSES, asdict(Processes(count, shard)))
