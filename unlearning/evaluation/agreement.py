"""How far two graders agree; and how far the offline grader agrees with grades given by hand.

The hand grades lie in `assets/scenarios/wonderland/graded.json`: completions that models wrote, and some written to be
hard for it, which tell the story without its names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning.evaluation.familiarity import completion_familiarity, grade_completion
from unlearning.scenarios import DEFAULT, Scenario, load_scenario

GRADED = "graded.json"
GRADES = (0, 1, 2, 3)


@dataclass(frozen=True)
class Agreement:
    """How far grades agree.

    Attributes:
        accuracy: Share of equal grades.
        kappa: Cohen's κ (1960): (p − e) / (1 − e), with p the accuracy and e the share of equal grades that two
            graders with these habits would reach by chance; 1 is perfect, 0 is chance.
        within_one: Share of grades at most one apart.
        count: Of completions.
    """

    accuracy: float
    kappa: float
    within_one: float
    count: int


def agreement(first: Sequence[int], second: Sequence[int]) -> Agreement:
    """Of two graders of the same completions; at least one."""
    pairs = list(zip(first, second, strict=True))
    equal = sum(a == b for a, b in pairs) / len(pairs)
    mine, theirs = Counter(first), Counter(second)
    chance = sum(mine[grade] * theirs[grade] for grade in mine) / len(pairs) ** 2
    kappa = (equal - chance) / (1 - chance) if chance < 1 else 1.0
    return Agreement(equal, kappa, sum(abs(a - b) <= 1 for a, b in pairs) / len(pairs), len(pairs))


def graded_by_hand(scenario: Scenario | None = None) -> list[dict[str, Any]]:
    """The hand-graded completions: {prompt, text, grade, by ("model" or "hand")}."""
    folder = (scenario or load_scenario(DEFAULT)).folder
    rows: list[dict[str, Any]] = json.loads((folder / GRADED).read_text(encoding="utf-8"))["completions"]
    return rows


def offline_grades(rows: Sequence[dict[str, Any]], scenario: Scenario | None = None) -> list[int]:
    """What the offline grader makes of them."""
    scenario = scenario or load_scenario(DEFAULT)
    dictionary, themes = scenario.dictionary(), _themes(scenario.folder / "themes.txt")
    return [grade_completion(row["prompt"], row["text"], dictionary, themes)[0] for row in rows]


def agreement_rows() -> list[tuple[str, Agreement, float, float]]:
    """Of the completions of each origin and of all: title, agreement, completion familiarity by hand and offline."""
    graded = graded_by_hand()
    parts = {
        "written by models": [row for row in graded if row["by"] == "model"],
        "written to be hard": [row for row in graded if row["by"] == "hand"],
        "all": graded,
    }
    found = []
    for title, rows in parts.items():
        hand, offline = [row["grade"] for row in rows], offline_grades(rows)
        by_hand, by_rule = (completion_familiarity(grades).score.value for grades in (hand, offline))
        found.append((title, agreement(hand, offline), by_hand, by_rule))
    return found


def _themes(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
