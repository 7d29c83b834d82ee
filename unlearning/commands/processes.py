"""`--processes` and `--shard`: several processes on one machine, a card each where it has some."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from unlearning.errors import SettingsError, TrainingError

_COUNT = "How many processes work on it, a graphics card each where there are some. The result is the same."
_SHARD = "Split weights, gradients and optimiser state among the processes (FSDP2): less memory on each card."
ProcessesOption = Annotated[int, typer.Option("--processes", metavar="N", help=_COUNT)]
ShardOption = Annotated[bool, typer.Option("--shard", help=_SHARD)]
MaybeProcesses = Annotated[int | None, typer.Option("--processes", metavar="N", help=_COUNT)]
MaybeShard = Annotated[bool | None, typer.Option("--shard/--no-shard", help=_SHARD)]
POLL_S = 0.2


def asked_for(processes: int, shard: bool) -> Callable[[Path], None]:
    """What these options do to a run's folder, once there is one.

    Raises:
        SettingsError: not a possible number; before anything else is done.
    """
    from unlearning.runs.processes import check_processes, set_processes

    check_processes(processes)
    if shard and processes == 1:
        raise SettingsError("One process has nobody to split its weights with.", "Add --processes 2, or more.")
    return lambda folder: set_processes(folder, processes, shard)


def change_processes(folder: Path, processes: int | None, shard: bool | None) -> None:
    """Let a run go on with other processes; None leaves either as it is."""
    from unlearning.runs.processes import processes_of, set_processes

    if processes is None and shard is None:
        return
    before = processes_of(folder)
    count = before.count if processes is None else processes
    set_processes(folder, count, (before.shard if shard is None else shard) and count > 1)


def work_together(folder: Path, report: Callable[..., None]) -> dict[str, Any]:
    """Let a worker process do a run that is in no queue, and report what it tells; gives its result.

    Raises:
        TrainingError: it failed or was stopped.
    """
    from unlearning.runs.durable import read_json, read_json_or_empty
    from unlearning.runs.events import read

    with open(folder / "output.log", "ab") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "unlearning.worker", str(folder)], stdout=output, stderr=output
        )
    offset, over = 0, False
    try:
        while not over:
            over = worker.poll() is not None
            found = read(folder, offset)
            offset = found.offset
            for event in found.events:
                report(event["kind"], **{name: value for name, value in event.items() if name != "kind"})
            time.sleep(0 if over else POLL_S)
    finally:
        if worker.poll() is None:
            worker.terminate()
            worker.wait()
    if (folder / "result.json").exists():
        return read_json(folder / "result.json")
    failure = read_json_or_empty(folder / "failed")
    raise TrainingError(str(failure.get("message", "It was stopped.")), str(failure.get("hint", "")))
