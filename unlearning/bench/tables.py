"""What the benchmark found, as rows of tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearning.runs.budget import gigabytes

KEPT = Path(__file__).resolve().parents[2] / "assets" / "benchmarks"  # what `bench --json` wrote, for the README
COLUMNS = ("stage", "tokens/s", "MFU", "peak memory", "seconds", "to the floor", "also")
GOALS = {  # stage → (what is compared, the goal in words, from which figure)
    "teach": "training: at least 0.9 of the bare loop's speed",
    "reinforce": "training: at least 0.9 of the bare loop's speed",
    "label": "at most 2.3 bare forward passes a block",
    "finetune": "training: at least 0.9 of the bare loop's speed",
    "generate": "at most 1.3 times the baseline alone",
    "strip": "",
    "load": "",
}
AWAITS = "*awaits the final run on two quiet cores*"


def stage_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row a stage; the floor is told as a speed for training, as a multiple of its time for the others."""
    return [
        (
            stage,
            f"{one['tokens_per_s']:,.0f}" if one["tokens"] else "–",
            f"{one['mfu']:.0%}" if one.get("mfu") else "–",
            gigabytes(one["peak_bytes"]),
            f"{one['seconds']:.2f}",
            to_floor(stage, one),
            "; ".join(f"{name}: {ratio:.2f} × its time" for name, ratio in one["others"].items()),
        )
        for stage, one in found["stages"].items()
    ]


def to_floor(stage: str, one: Mapping[str, Any]) -> str:
    """0.93 × its speed (training), 2.1 × its time (others), or "–"."""
    ratio = one.get("to_floor")
    if not ratio:
        return "–"
    return f"{ratio:.2f} × the speed" if stage in ("teach", "reinforce", "finetune") else f"{1 / ratio:.2f} × the time"


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
        rows = [f"| {stage} | {goal or '–'} | {AWAITS} |" for stage, goal in GOALS.items()]
        return "\n".join(["| stage | goal | measured |", "|---|---|---|", *rows])
    return "\n\n".join(_one_table(found) for found in kept)


def _one_table(found: Mapping[str, Any]) -> str:
    any_stage: Mapping[str, Any] = next(iter(found["stages"].values()), {})
    what = f"`{found['order']['model']}`, {found['order']['mode']}, blocks of {found['order']['block_tokens']}"
    where = f"{found['machine']}, {any_stage.get('dtype')}, {any_stage.get('threads')} threads"
    head = f"{what}; {where}; revision {found['revision'].rstrip('+')}:"
    table = [head, "", _line(COLUMNS), "|" + "---|" * len(COLUMNS), *map(_line, stage_rows(found))]
    if found.get("growth"):
        table += ["", _line(GROWTH), "|" + "---|" * len(GROWTH), *map(_line, growth_rows(found["growth"]))]
    return "\n".join(table)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
