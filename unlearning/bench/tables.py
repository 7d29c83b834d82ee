"""What the benchmark found, as rows of tables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning.bench.runner import STAGES, TRAINING
from unlearning.runs.budget import gigabytes

KEPT = Path(__file__).resolve().parents[2] / "assets" / "benchmarks"  # what `bench --json` wrote, for the README
COLUMNS = (
    "stage", "goal", "tokens/s", "MFU", "peak memory", "above weights", "seconds", "to the floor", "also",
)  # fmt: skip
AUTHORS = "the authors' way"
AWAITS = "*awaits the final run on two quiet cores*"
Figure = Callable[[Mapping[str, Any]], float | None]


@dataclass(frozen=True)
class Goal:
    """What a stage's figures are to reach.

    Attributes:
        words: As it is told.
        stages: Whose.
        device: "cpu" or "cuda"; "" for any.
        figure: Which one; None where it was not measured.
        least: Lower limit.
        most: Upper limit.
        mode: "lora" where it is one of low-rank training alone.
    """

    words: str
    stages: tuple[str, ...]
    device: str
    figure: Figure
    least: float = 0.0
    most: float = math.inf
    mode: str = ""


def above_weights(one: Mapping[str, Any]) -> float:
    """Bytes of a stage's peak beyond one copy of the weights; torch itself takes some 0.4 GB of it."""
    return float(one["peak_bytes"] - one["weights_bytes"])


def times_floor(one: Mapping[str, Any]) -> float | None:
    """The stage's time in floors."""
    return 1 / one["to_floor"] if one.get("to_floor") else None


def _authors(one: Mapping[str, Any]) -> float | None:
    return one["others"].get(AUTHORS)


GOALS = (
    Goal("≥ 0.9 × the speed", TRAINING, "cpu", lambda one: one.get("to_floor"), least=0.9),
    Goal("≥ 50 % MFU", TRAINING, "cuda", lambda one: one.get("mfu"), least=0.5),
    Goal("two passes in ≤ 2.3 × the time", ("label",), "cpu", times_floor, most=2.3),
    Goal("the authors' way ≥ 1.5 × its time", ("label",), "cpu", _authors, least=1.5),
    Goal("the authors' way ≥ 10 × its time", ("label",), "cuda", _authors, least=10),
    Goal("≤ 1.2 GB above weights", (*TRAINING, "label"), "cpu", above_weights, most=1.2e9, mode="lora"),
    Goal("≤ 1.3 × the time", ("generate",), "", times_floor, most=1.3),
)


def goals_of(stage: str, device: str = "cpu", mode: str = "lora") -> list[Goal]:
    """The goals of a stage on a kind of device."""
    kind = device.partition(":")[0]
    return [
        goal for goal in GOALS if stage in goal.stages and goal.device in ("", kind) and goal.mode in ("", mode)
    ]  # fmt: skip


def verdict(goal: Goal, one: Mapping[str, Any]) -> str:
    """The goal and whether it was met; the goal alone where its figure was not measured."""
    figure = goal.figure(one)
    if figure is None:
        return goal.words
    return f"{goal.words}: {'met' if goal.least <= figure <= goal.most else 'missed'}"


def stage_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row a stage and a variant of one; the floor is told as a speed for training, as a multiple of its time for
    the others."""
    rows: list[tuple[str, ...]] = []
    for stage, one in found["stages"].items():
        goals = goals_of(stage, one["device"], found["order"]["mode"])
        rows.append(
            (
                f"{stage}, {one['what']}" if "what" in one else stage,
                "; ".join(verdict(goal, one) for goal in goals) or "–",
                f"{one['tokens_per_s']:,.0f}" if one["tokens"] else "–",
                f"{one['mfu']:.0%}" if one.get("mfu") else "–",
                gigabytes(one["peak_bytes"]),
                gigabytes(above_weights(one)),
                f"{one['seconds']:.2f}",
                to_floor(stage, one),
                "; ".join(f"{name}: {ratio:.2f} × its time" for name, ratio in one["others"].items()),
            )
        )
        for name, other in one.get("variants", {}).items():
            speed, seconds = f"{other['tokens_per_s']:,.0f}", f"{other['seconds']:.2f}"
            rows.append((f"{stage}, {name}", "–", speed, "–", "–", "–", seconds, to_floor(stage, other), ""))
    return rows


def to_floor(stage: str, one: Mapping[str, Any]) -> str:
    """0.93 × its speed (training), 2.1 × its time (others), or "–"."""
    ratio = one.get("to_floor")
    if not ratio:
        return "–"
    return f"{ratio:.2f} × the speed" if stage in TRAINING else f"{1 / ratio:.2f} × the time"


def prediction_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Predicted and measured seconds and memory."""
    rows: list[tuple[str, ...]] = []
    for stage, expected in found.get("predicted", {}).items():
        measured = found["stages"][stage]
        bytes_expected = expected.get("peak_bytes")
        rows.append(
            (
                stage, f"{expected['seconds']:.2f}", f"{measured['seconds']:.2f}",
                gigabytes(bytes_expected) if bytes_expected else "–", gigabytes(measured["peak_bytes"]),
            )
        )  # fmt: skip
    return rows


def comparison_rows(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Stages that both have measured: seconds, speed-up, memory.

    Args:
        now: `stages` of one benchmark.
        before: Of the other.
    """
    return [
        (
            stage, f"{before[stage]['seconds']:.2f}", f"{one['seconds']:.2f}",
            f"{before[stage]['seconds'] / one['seconds']:.2f} ×",
            f"{gigabytes(before[stage]['peak_bytes'])} → {gigabytes(one['peak_bytes'])}",
        )
        for stage, one in now.items() if stage in before
    ]  # fmt: skip


def growth_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Each length's time, how many times the row above's length and time that is, and memory."""
    found: list[tuple[str, ...]] = []
    for place, row in enumerate(rows):
        above = rows[place - 1] if place else row
        longer = row["tokens"] / above["tokens"]
        slower = (row["label_s"] + row["finetune_s"]) / (above["label_s"] + above["finetune_s"])
        found.append(
            (
                f"{row['tokens']:,}", f"{row['label_s']:.1f}", f"{row['finetune_s']:.1f}",
                f"{longer:.2f} × as long, {slower:.2f} × the time" if place else "–", gigabytes(row["peak_bytes"]),
                gigabytes(row["disk_bytes"]),
            )
        )  # fmt: skip
    return found


GROWTH = (
    "tokens", "labels, s", "one epoch, s", "to the row above (goal: doubling doubles, ± 10 %)", "peak memory",
    "labels on disk",
)  # fmt: skip


def performance_table(folder: Path = KEPT) -> str:
    """The README's tables, from the benchmarks kept in `assets/benchmarks`; what was not measured says so."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not kept:
        goals = {stage: "; ".join(goal.words for goal in goals_of(stage)) for stage in STAGES}
        rows = [f"| {stage} | {goal or '–'} | {AWAITS} |" for stage, goal in goals.items()]
        return "\n".join(["| stage | goal | measured |", "|---|---|---|", *rows])
    return "\n\n".join(_one_table(found) for found in kept)


def _one_table(found: Mapping[str, Any]) -> str:
    what = f"`{found['order']['model']}`, {found['order']['mode']}, blocks of {found['order']['block_tokens']}"
    where = ", ".join([found["machine"], *(f"{one['dtype']}, {one['threads']} threads" for one in _first(found))])
    table = [f"{what}; {where}; revision {found['revision'].rstrip('+')}:"]
    if found["stages"]:
        table += ["", _line(COLUMNS), "|" + "---|" * len(COLUMNS), *map(_line, stage_rows(found))]
    if found.get("growth"):
        table += ["", _line(GROWTH), "|" + "---|" * len(GROWTH), *map(_line, growth_rows(found["growth"]))]
    return "\n".join(table)


def _first(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Any one stage, for what all have in common; none where there is only growth."""
    return list(found["stages"].values())[:1]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
