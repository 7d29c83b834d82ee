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


def expected_left(folder: Path) -> float | None:
    """Seconds that a run which waits will take: of the stages that are not done, and of the steps asked for since.

    None where it has no budget to tell.
    """
    config = read_json_or_empty(folder / "config.json")
    expected = expected_stages(config)
    if not expected:
        return None
    budget, left = config["budget"], {}
    for name, seconds in expected.items():
        if not (folder / "stages" / name / "stage.json").exists():
            left[name] = seconds * _share_left(folder, name, int((budget["stages"][name] or {}).get("steps") or 0))
    loading = max(0.0, float(budget.get("seconds") or 0.0) - sum(expected.values()))
    return loading + sum(left.values())


def _share_left(folder: Path, stage: str, steps: int) -> float:
    """Of a stage of so many steps, with those asked for since, by its newest checkpoint; 1 is all of it as planned."""
    if steps <= 0:
        return 1.0
    more = read_json_or_empty(folder / "more.json").get(stage, 0)
    names = [path.name.removeprefix("step-") for path in (folder / "stages" / stage / "checkpoints").glob("step-*")]
    done = max((int(name) for name in names if name.isdigit()), default=0)
    return max(0.0, steps + (more if isinstance(more, int) else 0) - done) / steps


def _run_left(stage: str, stage_left: float | None, expected: Mapping[str, float]) -> float | None:
    if not expected:
        return None
    if stage not in expected:
        return sum(expected.values())
    names = list(expected)
    later = sum(expected[name] for name in names[names.index(stage) + 1 :])
    return later + (expected[stage] if stage_left is None else stage_left)
