"""The table: metrics down, roles across in the order of a run's life."""

import io
import re

import pytest
from rich.console import Console

from unlearning.evaluation.metrics_table import METRICS
from unlearning.evaluation.report import compare_table, perfect, rich_table, side_by_side

RESULTS = {
    "unlearned": {"probability_familiarity": 0.0449, "perplexity_unrelated": 40.26},
    "baseline": {
        "probability_familiarity": {"value": 0.4321, "low": 0.35, "high": 0.51, "count": 40},
        "completion_familiarity": {"value": 1.25, "low": 0.5, "high": 2.0, "count": 20, "grades": [10, 4, 1, 5]},
        "perplexity_unrelated": 39.1,
    },
    "never_taught": {"probability_familiarity": 0.02},
    "prompted": {"probability_familiarity": 0.3},
}


def test_rows_and_columns():
    table = compare_table(RESULTS)
    assert table["roles"] == ["never_taught", "baseline", "unlearned", "prompted"]
    assert [row["metric"] for row in table["rows"]] == [
        "probability_familiarity", "completion_familiarity", "perplexity_unrelated",
    ]  # fmt: skip
    familiarity = table["rows"][0]
    assert familiarity["cells"]["baseline"] | {"count": 0} == {
        "value": 0.4321, "low": 0.35, "high": 0.51, "count": 0, "text": "0.432", "detail": "0.350–0.510",
    }  # fmt: skip
    assert familiarity["cells"]["unlearned"] == {"value": 0.0449, "text": "0.045", "detail": ""}
    assert familiarity["title"] == METRICS["probability_familiarity"].title
    counts = table["rows"][1]["cells"]
    assert counts["baseline"]["detail"] == "5×3 1×2 4×1 10×0" and "unlearned" not in counts


def test_a_terminal_of_80_columns_shows_every_figure():
    out = io.StringIO()
    Console(file=out, width=80).print(rich_table(compare_table(RESULTS), "Before and after"))
    shown = out.getvalue()
    for words in ("Before and after", "never taught", "asked", "0.432", "0.350–0.510", "5×3 1×2", "40.3", "–"):
        assert words in shown


def test_a_perfect_unlearner_scores_as_never_taught_or_as_the_baseline_or_the_ideal():
    rows = {row["metric"]: row["perfect"] for row in compare_table(RESULTS)["rows"]}
    assert rows["probability_familiarity"] == {"value": 0.02, "text": "0.020", "as": "never_taught"}
    assert rows["completion_familiarity"] == {"value": 0.0, "text": "0.00", "as": "ideal"}
    assert rows["perplexity_unrelated"] == {"value": 39.1, "text": "39.1", "as": "baseline"}
    assert perfect("perplexity_forget", {"baseline": {"perplexity_forget": 5.0}}) is None  # nobody knows
    changed = {"never_taught": {"control_change": 0.13}, "baseline": {"control_change": 0.0}}
    assert perfect("control_change", changed) == {"value": 0.0, "text": "0.000", "as": "ideal"}
    assert perfect("question_accuracy", {"baseline": {"question_accuracy": {"value": 0.9}}})["value"] == 0.25
    guessed = {"baseline": {"question_accuracy": {"value": 0.9, "chance": 0.375}}}
    assert perfect("question_accuracy", guessed) == {"value": 0.375, "text": "0.375", "as": "ideal"}
    drawn = io.StringIO()
    Console(file=drawn, width=120).print(rich_table(compare_table(RESULTS), "", with_perfect=True))
    assert "perfect" in drawn.getvalue() and "as never taught" in drawn.getvalue()


def test_completions_side_by_side():
    def wrote(text):
        return {"completions": [{"prompt": "The March", "kind": "probe", "text": text, "grade": 0}]}

    rows = side_by_side({"baseline": wrote(" Hare"), "unlearned": wrote(" of time"), "reinforced": wrote(" Hare!")})
    assert [(row["prompt"], row["baseline"]["text"], row["unlearned"]["text"]) for row in rows] == [
        ("The March", " Hare", " of time")
    ]
    assert "reinforced" not in rows[0]
    assert side_by_side({}) == []


def test_every_metric_says_what_it_is():
    for name, metric in METRICS.items():
        assert all((metric.title, metric.formula, metric.source)), name
        assert metric.reading.startswith("Higher"), name
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_a_formula_can_be_read_by_itself(name):
    assert not re.search(r"as above|same score|as multiple choice|as for|`", METRICS[name].formula)
