"""Runs inside the web process, where a program shall start no others: Hugging Face Spaces, above all with ZeroGPU.

One thread holds the scheduler's lock and takes the queue's runs in turn. On ZeroGPU a graphics card is lent to one
function call for a minute or so: a run is then worked on in slices. Each ends in time by saving, as if the system had
asked, and the run joins the queue again, behind the others; it goes on where it was.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unlearning.errors import UnlearningError
from unlearning.runs import queue
from unlearning.runs.durable import write_json
from unlearning.runs.locks import SCHEDULER_LOCK, take
from unlearning.runs.store import State, state
from unlearning.worker import FAILED, attempt

LENT_S = 60  # how long ZeroGPU lends a card to one call where nothing else is asked for
SAVING_S = 20  # of it are kept for loading and saving
TICK_S = 0.5
IDLE_SLICES = 3  # so many slices without a step: it will never come further

Work = Callable[[str], int]


def start(workspace: Path, work: Work | None = None) -> threading.Thread:
    """Work on the queue of `workspace` for as long as this program lives.

    Args:
        workspace: Of the runs.
        work: Does a slice of the run in a folder and gives the worker's exit status; by default what this machine has.

    Raises:
        RunBusyError: a scheduler is at work there.
    """
    _held.append(take(workspace / SCHEDULER_LOCK, what=f"A scheduler of {workspace}"))
    work = work or (lent_card() if on_zero_gpu() else whole_run)

    def serve() -> None:
        while True:
            if not one_round(workspace, work):
                time.sleep(TICK_S)

    thread = threading.Thread(target=serve, name="runs", daemon=True)
    thread.start()
    return thread


_held: list[Any] = []  # locks, for as long as this program lives


def one_round(workspace: Path, work: Work) -> bool:
    """Give the next run of the queue its turn; gives whether there was one."""
    waiting = queue.waiting(workspace)
    if not waiting:
        return False
    folder = waiting[0]
    before = _reached(folder)
    try:
        status = work(str(folder))
        if state(folder) is State.INTERRUPTED:
            _go_on(folder, moved=_reached(folder) != before)
    except Exception as error:  # a card that could not be lent; one broken folder must not stop the others
        _say_failed(folder, f"The run could not be worked on here: {error}", "Start it again later.")
    else:
        if status == FAILED and (folder / "queued").exists():  # it could not even begin
            _say_failed(folder, "The run could not be begun.", "The log of this program shows why.")
    return True


def whole_run(folder: str) -> int:
    """The run to its end."""
    return attempt(Path(folder))


# --- ZeroGPU ---


def on_zero_gpu() -> bool:
    """Whether this is a Space whose graphics cards are lent for the length of a call."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def lent_card() -> Work:
    """`slice_of_run` with a card lent by ZeroGPU. Everything else in this program keeps to the processor.

    Called before torch is imported: the package `spaces` must come first.
    """
    import spaces

    os.environ["UNLEARNING_DEVICE"] = "cpu"
    lent: Work = spaces.GPU(duration=lent_seconds())(slice_of_run)
    return lent


def lent_seconds() -> int:
    """How long a card is asked for: UNLEARNING_GPU_SECONDS, else the usual time."""
    told = os.environ.get("UNLEARNING_GPU_SECONDS", "")
    return max(2 * SAVING_S, int(told)) if told.isdecimal() else LENT_S


def slice_of_run(folder: str) -> int:
    """As much of the run as the time of one call allows, on the card; runs in the process that ZeroGPU forks for it."""
    until = time.monotonic() + lent_seconds() - SAVING_S
    os.environ["UNLEARNING_DEVICE"] = "cuda"
    return attempt(Path(folder), until)


# --- between slices ---

_idle: dict[Path, int] = {}


def _go_on(folder: Path, moved: bool) -> None:
    """Let a run that has used its time join the queue again, unless nothing comes of it."""
    _idle[folder] = 0 if moved else _idle.get(folder, 0) + 1
    if _idle[folder] < IDLE_SLICES:
        queue.enqueue(folder)
        return
    _say_failed(
        folder,
        f"In {IDLE_SLICES} turns of {lent_seconds()} s the run has not taken a single step.",
        "Choose a smaller model or text.max_tokens, or give turns more time (UNLEARNING_GPU_SECONDS).",
    )


def _reached(folder: Path) -> list[tuple[str, int]]:
    """What the run has on disk: changes with every stage, checkpoint and measured role."""
    files = [path for path in (folder / "stages").rglob("*") if path.is_file()]
    return sorted((str(path), path.stat().st_mtime_ns) for path in files)


def _say_failed(folder: Path, message: str, hint: str) -> None:
    try:
        write_json(folder / "failed", {"message": message, "hint": hint, "error": "RunError"})
        (folder / "queued").unlink(missing_ok=True)
    except (OSError, UnlearningError) as error:
        print(f"{folder.name}: {message} {error}")
