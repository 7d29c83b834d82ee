"""What a run tells while it works: one JSON object a line in `events.jsonl`.

Every event carries `seq` (1, 2, 3 … over all attempts of the run), `time` (Unix seconds, for display only:
a clock can be set back), `elapsed` (seconds since this attempt of the worker began, from a clock that cannot)
and `kind`; what else it carries depends on the kind:

    stage    stage, state ("started" | "done"), steps?, seconds?, note?
    step     stage, step, steps, loss, terms {name: value}, learning_rate, tokens_per_s, seconds_left
    probe    stage, step, probabilities [{prompt, target, kind, p}]
    sample   stage, step, prompt, text
    note     message, attempt? (the first event of each attempt carries its number)
    warning  message
    error    message, hint, error (name of the class)
    done     state ("succeeded" | "cancelled" | "failed"), seconds

One worker writes (it holds the run's lock); any number of readers read without locking. A power cut can
leave half a line at the end or rubbish in between: readers skip it, the next writer closes it.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from unlearning.runs.durable import disk_errors_in_words

EVENTS = "events.jsonl"
Event = dict[str, Any]
Report = Callable[..., None]
"""`report(kind, **fields)`: what every part that has something to tell is given."""

# Rare and worth a wait for the disk; steps come often and may be lost in a power cut.
DURABLE_KINDS = frozenset({"stage", "error", "done"})
_TAIL_BYTES = 1 << 16


class EventWriter:
    """Appends events to a run. Call it as a reporter: `writer("note", message="…")`.

    Only the holder of the run's lock may have one. Use as a context manager, or close it.

    Raises:
        RunError: the disk is full or refuses.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / EVENTS
        self._began = time.monotonic()
        self._seq = last_seq(self.path)
        with disk_errors_in_words(self.path):
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._torn = _ends_inside_a_line(self.path)

    def __call__(self, kind: str, **fields: Any) -> None:
        stamp = {"seq": self._seq + 1, "time": round(time.time(), 3), "elapsed": round(self.elapsed, 3), "kind": kind}
        line = json.dumps(_finite(stamp | fields), ensure_ascii=False, default=_plain).encode("utf-8", "replace")
        with disk_errors_in_words(self.path):
            self._append(line + b"\n")
            if kind in DURABLE_KINDS:
                os.fsync(self._file)
        self._seq += 1

    @property
    def elapsed(self) -> float:
        """Seconds since this writer began."""
        return time.monotonic() - self._began

    def _append(self, line: bytes) -> None:
        data = b"\n" + line if self._torn else line
        self._torn = True  # until the whole line is in the file
        while data:
            data = data[os.write(self._file, data) :]
        self._torn = False

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Read:
    """Some events, and where to read on.

    Attributes:
        events: In the order of their `seq`.
        offset: Give this to the next `read`.
    """

    events: list[Event]
    offset: int


def read(folder: Path, since_offset: int = 0) -> Read:
    """All complete events from `since_offset` on. Costs one `stat` where there is nothing new.

    Args:
        folder: The run.
        since_offset: 0 for the whole story, else the offset of the last Read. An offset that lies beyond the
            end (the file was replaced) starts over.
    """
    path = folder / EVENTS
    try:
        size = path.stat().st_size
        if size == since_offset:
            return Read([], since_offset)
        start = since_offset if 0 <= since_offset < size else 0
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read()
    except OSError:
        return Read([], 0)
    whole, newline, _ = data.rpartition(b"\n")  # a last line without its newline is still being written
    return Read(_parse(whole), start + len(whole) + len(newline))


def read_tail(folder: Path, max_bytes: int = _TAIL_BYTES) -> list[Event]:
    """The newest events: those in the last `max_bytes` of the file."""
    try:
        with open(folder / EVENTS, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            data = file.read()
    except OSError:
        return []
    lines = data if size <= max_bytes else data.partition(b"\n")[2]
    return _parse(lines)


def timeline(events: Iterable[Event]) -> list[Event]:
    """The story without what was done twice.

    A worker that died after its newest checkpoint does some steps again when it resumes. Later events of a
    series replace earlier ones at the same or a later step, so that a curve drawn from the result never runs
    backwards. A series is a stage (and role); within it, steps of training and steps that only count progress
    (they have no loss) are two.
    """
    kept: list[Event] = []
    newest: dict[Series, int] = {}
    for event in events:
        step, series = event.get("step"), _series(event)
        if isinstance(step, int):
            first_redone = step if event["kind"] == "step" else step + 1  # a probe follows the step it measures
            if first_redone <= newest.get(series, -1):
                kept = [old for old in kept if not (_series(old) == series and _step(old) >= first_redone)]
            newest[series] = step
        kept.append(event)
    return kept


Series = tuple[Any, Any, bool]


def _series(event: Event) -> Series:
    return event.get("stage"), event.get("role"), event.get("kind") == "step" and "loss" not in event


def _step(event: Event) -> int:
    step = event.get("step")
    return step if isinstance(step, int) else -1


def seconds_worked(events: Iterable[Event]) -> float:
    """Seconds all attempts of a run have taken together, up to its last event."""
    total = attempt = 0.0
    for event in events:
        elapsed = float(event.get("elapsed", 0.0))
        if elapsed < attempt:  # a new attempt began
            total, attempt = total + attempt, 0.0
        attempt = max(attempt, elapsed)
    return total + attempt


def last_seq(path: Path) -> int:
    """The highest `seq` near the end of the file at `path`; 0 where there is none."""
    tail = read_tail(path.parent)
    if not tail and path.exists():
        tail = read(path.parent).events  # the tail was all rubbish
    return max((event["seq"] for event in tail), default=0)


def _parse(data: bytes) -> list[Event]:
    events = [event for line in data.split(b"\n") if (event := _parse_line(line)) is not None]
    return sorted(events, key=lambda event: event["seq"])


def _parse_line(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    well_formed = isinstance(event, dict) and isinstance(event.get("seq"), int) and isinstance(event.get("kind"), str)
    return event if well_formed else None


def _ends_inside_a_line(path: Path) -> bool:
    with open(path, "rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _finite(value: Any) -> Any:
    """NaN and infinity are no JSON; readers in a browser would choke on them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    """Numbers of numpy and torch as Python's; anything else as its text."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)
