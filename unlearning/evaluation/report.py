"""The before/after table, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unlearning.evaluation.metrics_table import METRICS

if TYPE_CHECKING:
    from rich.table import Table

ROLES = {
    "never_taught": "never taught",
    "baseline": "baseline",
    "reinforced": "reinforced",
    "unlearned": "unlearned",
    "other": "other model",
    "prompted": "only asked to",
    "filtered": "filtered",
    "reinforced_formula": "formula only",
}
PERFECT = {"never_taught": "as never taught", "baseline": "as the baseline", "ideal": "ideal"}
EVIDENCE = ("baseline", "unlearned")  # whose completions stand side by side


def compare_table(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Metrics down, roles across.

    Args:
        results: Role → name of METRICS → a number, or {"value": …, "low", "high", "grades": …}.

    Returns:
        JSON: `roles` in the order of a run's life, and `rows`, each {"metric", "title", "reading", "better",
        "cells": {role: {"value": …, …, "text", "detail"}}, "perfect": see `perfect`}; only metrics that some role has.
    """
    roles = [role for role in ROLES if role in results] + [role for role in results if role not in ROLES]
    rows = []
    for name, metric in METRICS.items():
        cells = {role: _cell(results[role][name], metric.digits) for role in roles if name in results[role]}
        if cells:
            about = {"title": metric.title, "reading": metric.reading, "better": metric.better}
            rows.append({"metric": name, **about, "cells": cells, "perfect": perfect(name, results)})
    return {"roles": roles, "rows": rows}


def perfect(name: str, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """What a perfect unlearner would score: as a model that never read the text, as the baseline, or the ideal stated.

    Args:
        name: Of METRICS.
        results: As `compare_table` takes them.

    Returns:
        JSON: value, text and `as` ("never_taught", "baseline" or "ideal"); None where nothing tells it.
    """
    metric = METRICS[name]
    source = {"baseline": "baseline"}.get(str(metric.ideal), "ideal" if metric.better == "same" else "never_taught")
    if name in results.get(source, {}):
        figure = results[source][name]
        value = figure["value"] if isinstance(figure, Mapping) else figure
    elif isinstance(metric.ideal, float):
        told = (figures[name]["chance"] for figures in results.values() if "chance" in _entry(figures.get(name)))
        source, value = "ideal", next(told, metric.ideal)
    else:
        return None
    return {"value": value, "text": f"{value:.{metric.digits}f}", "as": source}


def rich_table(table: Mapping[str, Any], title: str = "", with_perfect: bool = False) -> Table:
    """The table as rich draws it in a terminal; on request with what a perfect unlearner would score."""
    from rich.table import Table

    drawn = Table(title=title or None)
    drawn.add_column("")
    for role in table["roles"]:
        drawn.add_column(ROLES.get(role, role), justify="right")
    marks = with_perfect and any(row.get("perfect") for row in table["rows"])
    if marks:
        drawn.add_column("perfect", justify="right")
    for row in table["rows"]:
        mark = [_mark(row.get("perfect"))] if marks else []
        drawn.add_row(row["title"], *(_shown(row["cells"].get(role)) for role in table["roles"]), *mark)
    return drawn


def side_by_side(by_role: Mapping[str, Mapping[str, Any]], roles: Sequence[str] = EVIDENCE) -> list[dict[str, Any]]:
    """Each completion prompt with what every one of `roles` wrote, grade and fluency beside it."""
    shown = [role for role in roles if role in by_role]
    rows = []
    for i, first in enumerate(by_role[shown[0]]["completions"] if shown else []):
        row = {"prompt": first["prompt"], "kind": first["kind"]}
        rows.append(row | {role: by_role[role]["completions"][i] for role in shown})
    return rows


def _shown(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "–"
    return f"{cell['text']}\n[dim]{cell['detail']}[/dim]" if cell["detail"] else str(cell["text"])


def _mark(found: Mapping[str, Any] | None) -> str:
    return f"{found['text']}\n[dim]{PERFECT[found['as']]}[/dim]" if found else "–"


def _entry(figure: Any) -> dict[str, Any]:
    return dict(figure) if isinstance(figure, Mapping) else {"value": figure}


def _cell(figure: Any, digits: int) -> dict[str, Any]:
    """A figure with how it is shown: `text` the value, `detail` its interval or the count of each grade."""
    entry, detail = _entry(figure), ""
    if "grades" in entry:
        detail = " ".join(f"{n}×{grade}" for grade, n in reversed(list(enumerate(entry["grades"]))))
    elif "low" in entry:
        detail = f"{entry['low']:.{digits}f}–{entry['high']:.{digits}f}"
    return entry | {"text": f"{entry['value']:.{digits}f}", "detail": detail}
