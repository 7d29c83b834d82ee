"""A run in the terminal: what it tells, with a bar for each stage, until it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

from unlearning.runs import scheduler
from unlearning.runs.budget import minutes
from unlearning.runs.events import Event, read
from unlearning.runs.names import one_line
from unlearning.runs.queue import places, workspace_of
from unlearning.runs.store import ACTIVE, State, load, state

POLL_S = 0.3
LOOK_EVERY_S = 5.0  # whether anybody serves the queue
LINE_EVERY_S = 10.0  # where there is no terminal to draw bars in
COLOURS = {"warning": "yellow", "error": "red"}


def follow(folder: Path, console: Console | None = None, since_offset: int = 0) -> State:
    """Show a run until it neither waits nor works; gives the state that it ended in.

    Whoever interrupts this stops watching, not the run.

    Args:
        folder: The run.
        console: Where to print.
        since_offset: Skip what was told before (an offset of `events.read`); 0 tells the whole story.
    """
    console = console or Console()
    with _bars(console) as bars:
        screen = _Screen(bars)
        offset, looked = since_offset, time.monotonic()
        while True:
            now = state(folder)  # asked first, so that the last events are not missed
            active = now in ACTIVE
            found = read(folder, offset)
            offset = found.offset
            for event in found.events:
                screen.show(event)
            if not active:
                break
            screen.waiting(folder)
            if now is State.QUEUED and time.monotonic() - looked > LOOK_EVERY_S:
                scheduler.ensure(workspace_of(folder))  # it may have been killed
                looked = time.monotonic()
            time.sleep(POLL_S)
    return _farewell(folder, console)


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        console=console,
        auto_refresh=console.is_terminal,
        refresh_per_second=5,
    )


class _Screen:
    """Bars by stage; everything else goes above them."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}
        self.place: int | None = None
        self.last_line = 0.0
        self.refused = False

    def show(self, event: Event) -> None:
        kind = event["kind"]
        if kind in ("stage", "step"):
            self._stage(event)
        elif kind in ("note", "warning", "error"):
            words = " ".join(str(event[key]) for key in ("message", "hint") if event.get(key))
            self._print(f"{kind.capitalize()}: {words}" if kind in COLOURS else words, COLOURS.get(kind, "default"))
        elif kind == "sample" and "step" in event:  # those of the evaluation are many, and shown at the end
            self._print(f"step {event['step']}: {event.get('prompt', '')} …{event.get('text', '')}", "dim")

    def waiting(self, folder: Path) -> None:
        """Say the place in the queue when it changes."""
        if state(folder) is not State.QUEUED:
            return
        if not os.access(folder, os.W_OK) and not self.refused:
            self.refused = True
            self._print(f"Warning: {folder} cannot be written, so the run cannot start. Make it writable.", "yellow")
        mine = next((place for place in places(workspace_of(folder)) if place.folder == folder), None)
        if mine is not None and mine.position != self.place:
            self.place = mine.position
            start = f", expected to start in {minutes(mine.starts_in_s)}" if mine.starts_in_s else ""
            self._print(f"Number {mine.position} in the queue{start}.", "default")

    def _stage(self, event: Event) -> None:
        stage = str(event.get("stage", ""))
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(escape(one_line(stage)), total=None, told="")
        task = self.tasks[stage]
        if event["kind"] == "step":
            told = _told(event)
            self.bars.update(task, completed=event.get("step") or 0, total=event.get("steps"), told=told)
            self._line(f"{stage} {event.get('step')}/{event.get('steps')} {told}")
        elif event.get("state") == "done":
            total = self.bars.tasks[self.bars.task_ids.index(task)].total or 1
            seconds = event.get("seconds")
            self.bars.update(task, completed=total, total=total, told=f"took {minutes(seconds)}" if seconds else "")
        else:
            self.bars.update(task, completed=0, total=event.get("steps"), told="")

    def _line(self, words: str) -> None:
        """A line now and then where bars cannot be drawn."""
        now = time.monotonic()
        if not self.bars.console.is_terminal and now - self.last_line > LINE_EVERY_S:
            self.last_line = now
            self._print(words, "default")

    def _print(self, words: str, style: str) -> None:
        self.bars.console.print(one_line(words), style=style, markup=False, highlight=False, soft_wrap=True)


def _told(event: Event) -> str:
    """Loss, pace and time left of a step, as far as it tells them."""
    parts = []
    if isinstance(loss := event.get("loss"), float):
        parts.append(f"loss {loss:.3f}")
    if pace := event.get("tokens_per_s"):
        parts.append(f"{pace:,.0f} tokens/s")
    if (left := event.get("seconds_left")) is not None:
        parts.append(f"{minutes(left)} left")
    return " · ".join(parts)


def _farewell(folder: Path, console: Console) -> State:
    run = load(folder)
    words: dict[State, Any] = {
        State.SUCCEEDED: "ended.",
        State.CANCELLED: f"was stopped; `python -m unlearning runs resume {run.id}` goes on.",
        State.INTERRUPTED: f"was interrupted; `python -m unlearning runs resume {run.id}` goes on.",
        State.FAILED: "failed.",
        State.DRAFT: f"has not been started; `python -m unlearning runs start {run.id}` does.",
    }
    console.print(f"Run {run.id} {words.get(run.state, run.state)}", markup=False, highlight=False, soft_wrap=True)
    if run.state in (State.FAILED, State.INTERRUPTED) and run.error:
        console.print(
            f"{run.error.get('message', '')} {run.error.get('hint', '')}", style="red", markup=False, soft_wrap=True
        )
    return run.state
