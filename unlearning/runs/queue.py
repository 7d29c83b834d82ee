"""The queue of a workspace: who waits, in which place, and since when one may expect to start.

A run waits while its folder holds the file `queued` with its ticket. Tickets are drawn under the workspace's
lock and order the queue; times of day do not, because a clock can be set back.

First come, first served, and people take turns: each run has a turn, one more than the one before it of the same
owner, and everybody's first turn comes before anybody's second. Who queues ten runs lets others in between; who comes
later joins the turn that the queue has reached. Everything from the command line has one owner.
"""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from unlearning.errors import RunBusyError, RunError
from unlearning.runs.durable import disk_errors_in_words, read_json_or_empty, remove_file, write_json
from unlearning.runs.locks import WORKER_LOCK, held, take
from unlearning.runs.machine import slots, suits
from unlearning.runs.progress import expected_left, progress
from unlearning.runs.record import read_config
from unlearning.runs.store import ACTIVE, State, runs_folder, state

STOP_NOW = "now"


@dataclass(frozen=True)
class Place:
    """A place in the queue.

    Attributes:
        folder: The run.
        position: 1 is next.
        starts_in_s: Seconds until it may be expected to start; None where nothing is known about those before it.
    """

    folder: Path
    position: int
    starts_in_s: float | None


def enqueue(folder: Path) -> State:
    """Put a run at the end of the queue; one that was interrupted, failed or cancelled goes on where it was.

    A run that waits or works already is left alone: pressing start twice is no error.

    Raises:
        RunError: it has ended, it is being stopped, its folder is not in a workspace or cannot be written.
        RunDamagedError: it is no usable run.
    """
    workspace = workspace_of(folder)
    read_config(folder)
    with take(workspace / "workspace.lock", patience_s=10.0, what="Another process"):
        now = state(folder)
        if now is State.CANCELLING:
            raise RunBusyError(f"Run {folder.name} is still being stopped.", "Start it again when it has stopped.")
        if now is State.SUCCEEDED:
            raise RunError(
                f"Run {folder.name} has ended.",
                f"`python -m unlearning runs continue {folder.name} 20` takes 20 more steps.",
            )
        if now not in ACTIVE:
            _join(workspace, folder)
    return state(folder)


def enqueue_more(folder: Path, steps: int) -> State:
    """Queue a run that has ended for `steps` more steps of fine-tuning, and a new evaluation.

    The run reads as interrupted from the first change on, so that dying half-way through this loses nothing.

    Raises:
        RunError: it has not ended, or steps is not positive.
    """
    workspace = workspace_of(folder)
    if steps < 1:
        raise RunError(f"Cannot take {steps} more steps.", "Give a number from 1 up.")
    with take(workspace / "workspace.lock", patience_s=10.0, what="Another process"):
        if (now := state(folder)) is not State.SUCCEEDED:
            raise RunError(f"Run {folder.name} is {now}, not ended.", "Only a run that has ended takes more steps.")
        for file in ("result.json", "summary.json", "stages/finetune/stage.json"):
            remove_file(folder / file)
        with disk_errors_in_words(folder):
            shutil.rmtree(folder / "stages" / "evaluate", ignore_errors=True)
        write_json(folder / "more.json", {"finetune": extra_steps(folder) + steps})
        _join(workspace, folder)
    return state(folder)


def extra_steps(folder: Path) -> int:
    """Fine-tuning steps that were asked for beyond those of the settings."""
    asked = read_json_or_empty(folder / "more.json").get("finetune", 0)
    return asked if isinstance(asked, int) else 0


def request_stop(folder: Path, now: bool = False) -> None:
    """Ask a run to finish its step, save and end; one that waits just leaves the queue.

    Args:
        folder: The run.
        now: Do not wait for the step: terminate, then kill.

    Raises:
        RunError: it neither waits nor works.
    """
    if (current := state(folder)) not in ACTIVE:
        raise RunError(
            f"Run {folder.name} is {current}: there is nothing to stop.", "See `python -m unlearning runs list`."
        )
    with disk_errors_in_words(folder / "cancel"):
        # Not through a second file: this has to work on a full disk, and half of it means the same.
        (folder / "cancel").write_text(STOP_NOW if now else "")
    if current is State.QUEUED:
        remove_file(folder / "queued")


def unfinished(workspace: Path) -> list[Path]:
    """Runs without a result. Asked for several times a second, so it costs one `stat` for each finished run."""
    try:
        with os.scandir(runs_folder(workspace)) as entries:
            names = [entry.name for entry in entries if entry.name[0] != "."]
    except OSError:
        return []
    root = str(runs_folder(workspace))
    return [Path(root, name) for name in names if not os.path.lexists(f"{root}/{name}/result.json")]


def waiting(workspace: Path) -> list[Path]:
    """Runs that wait, the next one first."""
    found = [folder for folder in unfinished(workspace) if (folder / "queued").exists()]
    return sorted((f for f in found if not held(f / WORKER_LOCK)), key=lambda folder: (*_turn(folder), folder.name))


def working(workspace: Path) -> list[Path]:
    """Runs whose worker is alive."""
    return [folder for folder in unfinished(workspace) if held(folder / WORKER_LOCK)]


def places(workspace: Path) -> list[Place]:
    """The queue with expected starts, from the time left of those at work and the budgets of those before."""
    queue = waiting(workspace)
    if not queue:
        return []
    names = slots()
    free_in = [0.0] * len(names)  # seconds until each slot is free; infinite: nobody knows
    for folder in working(workspace):
        left = progress(folder).seconds_left
        taken = slot_of(folder).split(",")
        own = [index for index, name in enumerate(names) if name in taken and not free_in[index]]
        for index in own[: len(taken)]:
            free_in[index] = math.inf if left is None else max(left, 1e-3)
    found = []
    for position, folder in enumerate(queue, start=1):
        device = device_of(folder)
        suited = [index for index, name in enumerate(names) if suits(device, name, names)] or [0]
        slot = min(suited, key=free_in.__getitem__)
        start = free_in[slot]
        takes = expected_left(folder)
        free_in[slot] += math.inf if takes is None else takes
        found.append(Place(folder, position, None if math.isinf(start) else start))
    return found


def device_of(folder: Path) -> str:
    """The setting `model.device` of a run."""
    settings = read_json_or_empty(folder / "config.json").get("settings")
    model = settings.get("model") if isinstance(settings, dict) else None
    return str(model.get("device", "auto")) if isinstance(model, dict) else "auto"


def slot_of(folder: Path) -> str:
    """The device that a worker at work was given, or several with commas between."""
    return str(read_json_or_empty(folder / "worker.json").get("slot") or slots()[-1])


def workspace_of(folder: Path) -> Path:
    """The workspace that a run lies in.

    Raises:
        RunError: it lies elsewhere; it can be read there, but not worked on.
    """
    if folder.parent.name != "runs":
        raise RunError(f"{folder} is not in a workspace.", "Import it first: `python -m unlearning runs import`.")
    return folder.parent.parent


def _join(workspace: Path, folder: Path) -> None:
    for file in ("cancel", "failed", "exit.json", "result.json", "summary.json"):
        remove_file(folder / file)
    owner, others = owner_of(folder), waiting(workspace)
    reached = min((_turn(other)[0] for other in others), default=0)
    mine = [_turn(other)[0] + 1 for other in others if owner_of(other) == owner]
    ticket = 1 + max((_turn(other)[1] for other in others), default=0)
    write_json(folder / "queued", {"turn": max([reached, *mine]), "ticket": ticket})


def owner_of(folder: Path) -> str:
    """Whose run it is, as a name that gives nobody away; "" for everybody's: those of the command line.

    An imported run belongs to whoever imported it (its meta.json says so), whoever made it elsewhere.
    """
    owner = read_json_or_empty(folder / "meta.json").get("owner", "?")
    owner = read_json_or_empty(folder / "config.json").get("owner") if owner == "?" else owner
    return str(owner or "")


def _turn(folder: Path) -> tuple[int, int]:
    """The turn in which a waiting run is served, and its ticket within it."""
    found = read_json_or_empty(folder / "queued")
    turn, ticket = (found.get(name, 0) for name in ("turn", "ticket"))
    return turn if isinstance(turn, int) else 0, ticket if isinstance(ticket, int) else 0
