"""A language model's grades beside the offline grader's, in the result of an evaluation that has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unlearning.endpoint import Endpoint
from unlearning.evaluation.judge import judge_completions
from unlearning.evaluation.measure import familiarity_of
from unlearning.evaluation.report import compare_table

NAMES_SHOWN = 30


def add_judgements(
    result: dict[str, Any],
    endpoint: Endpoint,
    title: str,
    names: Sequence[str] = (),
    report: Callable[..., None] | None = None,
) -> dict[str, Any]:
    """The result with the figure `judged_familiarity` of each role, and `judged` and `reason` at each completion.

    Args:
        result: `evaluation.json`; left as it is.
        endpoint: Who judges. The key is never written anywhere.
        title: Of the text.
        names: Some of its names.
        report: Told about what was not graded.

    Raises:
        EndpointError: the endpoint refuses, or fails on and on.
    """
    evidence = {role: [dict(row) for row in rows] for role, rows in result["evidence"].get("completions", {}).items()}
    metrics = {role: dict(figures) for role, figures in result["metrics"].items()}
    for role, rows in evidence.items():
        judge_rows(rows, endpoint, title, names, report)
        if graded := [row for row in rows if "judged" in row]:
            metrics[role]["judged_familiarity"] = familiarity_of(graded, "judged")
    shown = result["evidence"] | {"completions": evidence}
    return result | {"metrics": metrics, "table": compare_table(metrics), "evidence": shown}


def judge_rows(
    rows: Sequence[dict[str, Any]],
    endpoint: Endpoint,
    title: str,
    names: Sequence[str] = (),
    report: Callable[..., None] | None = None,
) -> None:
    """Put `judged` and `reason` into each completion of the evidence that is no control and that was graded.

    Raises:
        EndpointError: the endpoint refuses, or fails on and on.
    """
    asked = [row for row in rows if row.get("kind") != "control"]
    pairs = [(row["prompt"], row["text"]) for row in asked]
    judgements = judge_completions(endpoint, title, pairs, names[:NAMES_SHOWN], report)
    for row, judgement in zip(asked, judgements, strict=True):
        if judgement:
            row |= {"judged": judgement.grade, "reason": judgement.reason}
