"""Several evaluations in one table and one chart: how much is forgotten against what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unlearning.evaluation.metrics_table import METRICS
from unlearning.evaluation.verdicts import LEAST_KNOWN
from unlearning.ui.probing_view import Cell, about, perfect, role_words, shown

FAMILIARITY = "probability_familiarity"
COST = "perplexity_unrelated"


def beside(found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    """Evaluations side by side.

    Args:
        found: (facts, result) each; facts are {id, run, name, …}, the result is `evaluation.json`.

    Returns:
        evaluations: the facts with answers and counts; rows: figures of the unlearned models, {title, reading, …,
        cells: one or None an evaluation, perfect: the same}; points: see `points`.
    """
    return {
        "evaluations": [dict(facts) | _answers(result) for facts, result in found],
        "rows": _rows([result for _, result in found]),
        "points": [point for facts, result in found for point in points(facts, result)],
    }


def _answers(result: Mapping[str, Any]) -> dict[str, Any]:
    verdicts = result.get("verdicts") or {}
    attacks = result.get("attacks") or []
    return {
        "suite": result.get("suite", ""),
        "forgotten": (verdicts.get("forgotten") or {}).get("answer"),
        "intact": (verdicts.get("intact") or {}).get("answer"),
        "attacks": len(attacks),
        "judged": sum(attack.get("brings_back") is not None for attack in attacks),
        "successful": sum(attack.get("brings_back") is True for attack in attacks),
    }


def _rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for name, metric in METRICS.items():
        own = [(result.get("metrics") or {}).get("unlearned", {}).get(name) for result in results]
        if any(own):
            rows.append(
                {
                    "id": name,
                    **about(metric),
                    "better": metric.better,
                    "cells": [shown(cell, metric.digits) if cell else None for cell in own],
                    "perfect": [perfect(result.get("metrics") or {}, name) for result in results],
                }
            )
    return rows


def points(facts: Mapping[str, Any], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each model of an evaluation as a point of the chart.

    Returns:
        {evaluation, name, role, title, damage, least, most, forgotten, low, high, attacked}: `damage` is the rise of
        the perplexity of unrelated prose as a share of the baseline's, from `least` to `most` (None: an older
        evaluation, which does not tell); `forgotten` the share of the way from the baseline's familiarity to a perfect
        unlearner's (1: all of it, 0: nothing), from `low` to `high`; `attacked` the same under the attack that shows
        most, None where none was tried.
    """
    metrics = result.get("metrics") or {}
    before = _value(metrics.get("baseline", {}).get(FAMILIARITY))
    ideal = perfect(metrics, FAMILIARITY)
    floor = ideal["value"] if ideal else 0.0
    cost = _value(metrics.get("baseline", {}).get(COST))
    if before is None or not cost or before < LEAST_KNOWN or before <= floor:
        return []  # a way of nothing has no share
    worst = strongest(result.get("attacks") or [])
    found = []
    for role, figures in metrics.items():
        now, prose = figures.get(FAMILIARITY) or {}, _value(figures.get(COST))
        if _value(now) is None or prose is None:
            continue
        way = {"forgotten": now["value"], "low": now.get("high"), "high": now.get("low")}
        rise = figures[COST].get("rise") or {}
        found.append(
            {
                "evaluation": facts["id"],
                "name": facts["name"],
                "role": role,
                "title": role_words(role)["title"],
                "damage": prose / cost - 1,
                "least": rise.get("low"),
                "most": rise.get("high"),
                **{name: None if p is None else (before - p) / (before - floor) for name, p in way.items()},
                "attacked": 1 - worst[role] if role in worst else None,
            }
        )
    return found


def strongest(attacks: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The share of what the baseline knows that the best attack on each model shows; see `attack_results.shown`.

    It was taken where all models were attacked in the way that is this one's; their `value`s may be of several ways.
    Attacks of which nothing can be said (`brings_back` null) do not count.
    """
    worst: dict[str, float] = {}
    for attack in attacks:
        if attack.get("brings_back") is None:
            continue
        for role, cell in (attack.get("values") or {}).items():
            if (share := cell.get("shown")) is not None:
                worst[role] = max(worst.get(role, 0.0), share)
    return worst


def _value(cell: Cell | None) -> float | None:
    value = (cell or {}).get("value")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
