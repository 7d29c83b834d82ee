"""Where a run is: its stage, its step and the time left, from its newest events and its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning.runs.durable import read_json_or_empty
from unlearning.runs.events import Event, read_tail


@dataclass(frozen=True)
class Progress:
    """Attributes:

    stage: The stage at work; empty before the first.
    step, steps: In that stage; 0 where unknown.
    stage_seconds_left: Until this stage ends; None where unknown.
    seconds_left: Until the run ends; None where the run has no budget to tell the later stages' time.
    """

    stage: str = ""
    step: int = 0
    steps: int = 0
    stage_seconds_left: float | None = None
    seconds_left: float | None = None


def progress(folder: Path, config: Mapping[str, Any] | None = None) -> Progress:
    """Where the run in `folder` is."""
    config = read_json_or_empty(folder / "config.json") if config is None else config
    return progress_of(read_tail(folder), expected_stages(config))


def progress_of(events: Sequence[Event], expected: Mapping[str, float]) -> Progress:
    """Where a run is that told `events`.

    Args:
        events: The newest ones suffice.
        expected: Seconds that each stage was expected to take, in the order of the stages.
    """
    stage, step, steps, left = "", 0, 0, None
    for event in events:
        if event["kind"] == "stage":
            started = event.get("state") == "started"
            stage, step, steps = str(event.get("stage", "")), 0, int(event.get("steps") or 0)
            left = expected.get(stage) if started else 0.0
        elif event["kind"] == "step":
            stage, step, steps = str(event.get("stage", "")), int(event.get("step") or 0), int(event.get("steps") or 0)
            left = event.get("seconds_left", left)
    return Progress(stage, step, steps, left, _run_left(stage, left, expected))


def expected_stages(config: Mapping[str, Any]) -> dict[str, float]:
    """Seconds that each stage is expected to take, from the run's budget; empty where it has none."""
    stages = (config.get("budget") or {}).get("stages") or {}
    return {name: float(stage.get("seconds", 0.0)) for name, stage in stages.items()}


def _run_left(stage: str, stage_left: float | None, expected: Mapping[str, float]) -> float | None:
    if not expected:
        return None
    if stage not in expected:
        return sum(expected.values())
    names = list(expected)
    later = sum(expected[name] for name in names[names.index(stage) + 1 :])
    return later + (expected[stage] if stage_left is None else stage_left)
