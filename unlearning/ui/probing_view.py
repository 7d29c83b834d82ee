"""The result of an evaluation as the Probe screen shows it: two questions, attacks, evidence. No model, no torch.

Figures are those of `metrics_table.METRICS` and `attacks.ATTACKS`; one that stands in neither is not shown, so that
each has its formula, source and reading beside it. Beside each figure stands what a perfect unlearner would score.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from unlearning.evaluation import report
from unlearning.evaluation.attack_results import ALIKE, RULE
from unlearning.evaluation.attacks import ATTACKS
from unlearning.evaluation.metrics_table import METRICS
from unlearning.ui.roles import ROLES

Result = Mapping[str, Any]
Cell = Mapping[str, Any]

MAIN = ("baseline", "unlearned", "never_taught")  # in this order on the page; other columns follow
QUESTIONS = {
    "forgotten": ("Forgotten?", "Is what only this text tells really gone?"),
    "intact": ("Intact?", "Is everything else as it was?"),
}
HEADLINES = {  # beside those that the verdict follows from, until there are enough
    "forgotten": ("probability_familiarity", "completion_familiarity", "question_accuracy", "rouge_l"),
    "intact": ("control_probability", "perplexity_unrelated", "fluent_share", "neighbour_accuracy"),
}
MOST_HEADLINES = 4
PARTS = {
    "probes": "Prompts and the word that only the text tells",
    "controls": "Control prompts: general knowledge",
    "completions": "What it writes",
    "passages": "Passages to continue",
    "questions": "Questions about the text",
    "neighbours": "Questions next to it",
    "divergence": "Other prose, against the baseline",
}
PART_OF = {  # figure → the part of the evidence that it was counted from
    figure: part
    for part, figures in {
        "probes": ("probability_familiarity", "probe_distance"),
        "controls": ("control_probability", "control_change"),
        "completions": (
            "completion_familiarity", "judged_familiarity", "fluent_share", "gibberish_share", "repetition",
            "distinct_2",
        ),
        "passages": ("rouge_l", "longest_run", "extraction_strength", "continuation_probability", "min_k"),
        "questions": (
            "question_accuracy", "question_letter", "question_probability", "cloze_accuracy", "truth_ratio",
            "truth_quality",
        ),
        "neighbours": ("neighbour_accuracy", "neighbour_probability"),
        "divergence": ("kl_retain",),
    }.items()
    for figure in figures
}  # fmt: skip


def view(result: Result) -> dict[str, Any]:
    """What the page draws, without the evidence, which it asks for part by part.

    Args:
        result: `evaluation.json`.
    """
    roles = ordered(result.get("roles") or result.get("metrics") or ())
    metrics = result.get("metrics") or {}
    verdicts = result.get("verdicts") or {}
    parts = parts_of(result)
    groups = {question: _figures(metrics, roles, question) for question in QUESTIONS}
    for figure in (figure for group in groups.values() for figure in group):
        figure["part"] = figure["part"] if figure["part"] in parts else ""
    return {
        "suite": result.get("suite", ""),
        "complete": result.get("complete", True) is True,
        "roles": [role_words(role) for role in roles],
        "questions": [_question(name, groups[name], verdicts.get(name) or {}) for name in QUESTIONS],
        "attacks": [attack(one, roles, parts) for one in result.get("attacks") or []],
        "rule": f"{RULE} {ALIKE}",
        "parts": [
            {"part": part, "title": title, "count": max(map(len, result["evidence"][part].values()), default=0)}
            for part, title in parts.items()
        ],
    }


def ordered(roles: Iterable[str]) -> list[str]:
    """Before, after and never taught first."""
    found = list(roles)
    return [role for role in MAIN if role in found] + [role for role in found if role not in MAIN]


TITLES = {"other": "other model"}


def role_words(role: str) -> dict[str, str]:
    """What a column is called and what it is."""
    known = ROLES.get(role)
    if known is None:
        return {"role": role, "title": TITLES.get(role, role.replace("_", " ")), "says": ""}
    return {"role": role, "title": known.title, "says": known.says}


def part_title(part: str) -> str:
    return PARTS.get(part) or part.replace("_", " ").capitalize()


# --- figures ---


def _figures(metrics: Mapping[str, Mapping[str, Cell]], roles: Sequence[str], question: str) -> list[dict[str, Any]]:
    """The figures that belong to a question: those that should stay tell what is intact, the others what is gone."""
    found = []
    for name, metric in METRICS.items():
        cells = {role: metrics[role][name] for role in roles if name in metrics.get(role, {})}
        if cells and (metric.better == "same") == (question == "intact"):
            found.append(
                {
                    "id": name,
                    **about(metric),
                    "better": metric.better,
                    "cells": {role: shown(cell, metric.digits) for role, cell in cells.items()},
                    "perfect": perfect(metrics, name),
                    "part": PART_OF.get(name, ""),
                }
            )
    return found


def _question(name: str, figures: list[dict[str, Any]], verdict: Mapping[str, Any]) -> dict[str, Any]:
    title, asks = QUESTIONS[name]
    checked = [str(check.get("name")) for check in verdict.get("checks") or []]
    wanted = list(dict.fromkeys([*checked, *HEADLINES[name]]))
    by_id = {figure["id"]: figure for figure in figures}
    first = [by_id[one] for one in wanted if one in by_id][: max(MOST_HEADLINES, len(checked))]
    rest = [figure for figure in figures if figure not in first]
    return {"id": name, "title": title, "asks": asks, "verdict": dict(verdict), "figures": first, "more": rest}


def about(metric: Any) -> dict[str, str]:
    """Title, formula, source and reading of a line of METRICS or ATTACKS."""
    return {name: str(getattr(metric, name, "") or "") for name in ("title", "formula", "source", "reading")}


def shown(cell: Cell, digits: int = 3) -> dict[str, Any]:
    """A cell with its numbers as text, and how many questions stand behind it."""
    value = _number(cell.get("value"))
    found: dict[str, Any] = {"value": value, "text": "–" if value is None else f"{value:.{digits}f}"}
    low, high = _number(cell.get("low")), _number(cell.get("high"))
    if low is not None and high is not None:
        found |= {"low": low, "high": high, "interval": f"{low:.{digits}f} to {high:.{digits}f}"}
    if isinstance(cell.get("count"), int):
        found["count"] = cell["count"]
    if cell.get("grades"):
        found["note"] = "grades 0 to 3: " + ", ".join(map(str, cell["grades"]))
    return found


WHOSE = {"never_taught": "a model that never read it", "baseline": "as before", "ideal": "the ideal"}


def perfect(metrics: Mapping[str, Mapping[str, Cell]], name: str) -> dict[str, Any] | None:
    """What a perfect unlearner would score, with whose score that is in words; see `report.perfect`."""
    found = report.perfect(name, metrics)
    return None if found is None else {**found, "whose": WHOSE[found["as"]]}


def _number(value: Any) -> float | None:
    """A number that can be drawn: JSON knows neither infinity nor nan."""
    ok = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    return float(value) if ok else None


# --- attacks ---


def attack(found: Mapping[str, Any], roles: Sequence[str], parts: Container[str] = ()) -> dict[str, Any]:
    """One attack as the list shows it; its evidence, where there is any, is the part that is called as it is."""
    name = str(found.get("attack"))
    values = found.get("values") or {}
    series = found.get("series") or {}
    table = ATTACKS.get(name)
    never = _number((values.get("never_taught") or {}).get("value"))
    return {
        "id": name,
        "about": about(table) if table is not None else {},
        "title": str(found.get("title") or name.replace("_", " ")),
        "what": str(found.get("what") or ""),
        "cost": str(found.get("cost") or ""),
        "text": str(found.get("text") or ""),
        "unit": str(found.get("unit") or ""),
        "brings_back": found.get("brings_back") if isinstance(found.get("brings_back"), bool) else None,
        "cells": {
            role: shown(values[role]) | _beside_plain(values[role])
            for role in ordered({**dict.fromkeys(roles), **values})
            if role in values
        },
        "perfect": None if never is None else {"value": never, "text": f"{never:.3f}", "whose": WHOSE["never_taught"]},
        "series": [
            {"role": role, "title": role_words(role)["title"], "points": _points(series[role])}
            for role in ordered(series)
        ],
        "part": name if name in parts else "",
        "axis": {key: str((found.get("axis") or {}).get(key) or "") for key in ("x", "y")},
    }


def _beside_plain(cell: Cell) -> dict[str, Any]:
    """What the same prompts gave when they were asked plainly, and whether the attack brought more back."""
    plain = _number(cell.get("plain"))
    told = {} if plain is None else {"plain": plain, "plain_text": f"{plain:.3f}"}
    return told | ({"back": True} if cell.get("brings_back") is True else {})


def _points(series: Iterable[Sequence[Any]]) -> list[list[float]]:
    pairs = [(_number(point[0]), _number(point[1])) for point in series]
    return [[x, y] for x, y in pairs if x is not None and y is not None]


# --- evidence ---

RIGHT = ("target", "targets", "answer", "expected", "truth", "continuation")  # what a question's right answer is called
KNOWN = {"prompt", "question", "choices", "note", "kind", "way", *RIGHT}


def evidence(result: Result, part: Any) -> dict[str, Any]:
    """Every question of a part with what each model said, side by side.

    Returns:
        roles; rows of {prompt, wanted, choices, kind, cells: {role: {text?, p?, grade?, correct?, leak?, top?, more}}},
        in the order of the baseline's; a question that a model was not asked has no cell of it.
    """
    by_role = (result.get("evidence") or {}).get(part) if isinstance(part, str) else None
    by_role = by_role if isinstance(by_role, Mapping) else {}
    roles = ordered(by_role)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for role in roles:
        seen: dict[tuple[str, str], int] = {}
        for item in by_role[role]:
            prompt = str(item.get("prompt") or item.get("question") or "")
            wanted = _wanted(item)
            again = seen[prompt, wanted] = seen.get((prompt, wanted), -1) + 1  # the same question may be asked twice
            row = rows.setdefault(
                (prompt, wanted, again),
                {
                    "prompt": prompt,
                    "wanted": wanted,
                    "choices": [str(choice) for choice in item.get("choices") or []],
                    "kind": str(item.get("kind") or ""),
                    "note": str(item.get("note") or ""),
                    "cells": {},
                },
            )
            row["cells"][role] = _said(item)
    return {"roles": [role_words(role) for role in roles], "rows": list(rows.values())}


def parts_of(result: Result) -> dict[str, str]:
    """Every part of the evidence with its title, those of the attacks last."""
    titles = {str(one.get("attack")): f"Attack: {one.get('title')}" for one in result.get("attacks") or []}
    parts = result.get("evidence") or {}
    return {part: titles.get(part) or part_title(part) for part in sorted(parts, key=lambda part: part in titles)}


def _wanted(item: Mapping[str, Any]) -> str:
    for name in RIGHT:
        value = item.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, Sequence) and value:
            texts = [str(one.get("text", "")) if isinstance(one, Mapping) else str(one) for one in value]
            return " / ".join(texts)
    return ""


def _said(item: Mapping[str, Any]) -> dict[str, Any]:
    """What one model answered: its words, numbers and marks."""
    cell: dict[str, Any] = {"more": []}
    for name, value in item.items():
        if name in KNOWN:
            continue
        if name == "text":
            cell["text"] = str(value)
        elif name in ("p", "plain", "grade") and _number(value) is not None:
            cell[name] = value
        elif name in ("correct", "leak", "leaks", "leaked") and isinstance(value, bool):
            cell["correct" if name == "correct" else "leak"] = value
        elif name == "top":
            cell["top"] = [[str(one.get("text", "")), _number(one.get("p"))] for one in value][:5]
        elif name == "fluency":
            cell["more"] += _plain({"fluency": (value or {}).get("verdict")})
        else:
            cell["more"] += _plain({name: value})
    return cell


def _plain(values: Mapping[str, Any]) -> list[list[str]]:
    found = []
    for name, value in values.items():
        if isinstance(value, bool):
            found.append([name, "yes" if value else "no"])
        elif isinstance(value, str) and value:
            found.append([name, value])
        elif (number := _number(value)) is not None:
            found.append([name, f"{number:.4g}"])
        elif isinstance(value, list) and value and all(isinstance(one, str | int) for one in value):
            found.append([name, ", ".join(map(str, value))])
    return [[name.replace("_", " "), text] for name, text in found]
