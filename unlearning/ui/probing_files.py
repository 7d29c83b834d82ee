"""An evaluation to take away: the whole of it as JSON, its figures and its evidence as CSV tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from unlearning.errors import SettingsError
from unlearning.evaluation.metrics_table import METRICS
from unlearning.text.csv_table import write_table
from unlearning.ui.probing_view import evidence, ordered, parts_of, perfect

FIGURES = ("kind", "id", "title", "unit", "model", "value", "low", "high", "count", "perfect_unlearner", "x", "y")
EVIDENCE = ("part", "prompt", "wanted", "kind", "model", "text", "p", "plain", "grade", "correct", "leak", "more")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet program would compute a cell that begins so


def make_file(result: Mapping[str, Any], what: Any) -> tuple[str, str]:
    """The end of a file's name and its content.

    Args:
        result: `evaluation.json`.
        what: "json", "figures" or "evidence".

    Raises:
        SettingsError: any other file.
    """
    if what == "json":
        return "evaluation.json", json.dumps(result, ensure_ascii=False, indent=1)
    tables = {"figures": (FIGURES, figure_rows), "evidence": (EVIDENCE, evidence_rows)}
    if what not in tables:
        raise SettingsError(f"There is no file '{str(what)[:20]}' of an evaluation.", "json, figures or evidence.")
    columns, rows = tables[what]
    return f"{what}.csv", write_table([columns, *([safe(cell) for cell in row] for row in rows(result))])


def figure_rows(result: Mapping[str, Any]) -> Iterator[list[Any]]:
    """One row a figure and model; of a series, one a point."""
    metrics = result.get("metrics") or {}
    for name, metric in METRICS.items():
        ideal = perfect(metrics, name)
        for role in ordered(metrics):
            if cell := metrics[role].get(name):
                mark = ideal["value"] if ideal else None
                yield ["metric", name, metric.title, "", role, *_numbers(cell), mark, None, None]
    for attack in result.get("attacks") or []:
        head = ["attack", attack.get("attack"), attack.get("title"), attack.get("unit")]
        values = attack.get("values") or {}
        mark = (values.get("never_taught") or {}).get("value")
        for role in ordered(values):
            yield [*head, role, *_numbers(values[role]), mark, None, None]
        for role in ordered(attack.get("series") or {}):
            for point in attack["series"][role]:
                yield ["series", *head[1:], role, None, None, None, None, None, *point[:2]]


def evidence_rows(result: Mapping[str, Any]) -> Iterator[list[Any]]:
    """One row a question and model."""
    for part in parts_of(result):
        for row in evidence(result, part)["rows"]:
            for role, cell in row["cells"].items():
                more = "; ".join(f"{name}: {value}" for name, value in cell["more"])
                marks = [cell.get(name) for name in ("text", "p", "plain", "grade", "correct", "leak")]
                yield [part, row["prompt"], row["wanted"], row["kind"], role, *marks, more]


def _numbers(cell: Mapping[str, Any]) -> list[Any]:
    return [cell.get(name) for name in ("value", "low", "high", "count")]


def safe(cell: Any) -> str:
    """A cell's text. Words that a spreadsheet program would take for a formula get a quote before them."""
    if cell is None:
        return ""
    if isinstance(cell, int | float):
        return repr(cell)
    text = str(cell)
    return f"'{text}" if text.startswith(FORMULA) else text
