"""The verdicts follow from the stated thresholds."""

import pytest

from unlearning.evaluation.verdicts import CAVEAT, forgotten, intact, verdicts


def figures(p=None, completion=None, n=20, control=None, perplexity=None, fluent=None):
    found = {
        "probability_familiarity": p,
        "completion_familiarity": completion,
        "control_probability": control,
        "perplexity_unrelated": perplexity,
        "fluent_share": fluent,
    }
    return {name: {"value": value, "count": n} for name, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("before", "now", "never", "answer"),
    [
        (0.50, 0.05, None, "yes"),  # a tenth
        (0.50, 0.06, None, "partly"),
        (0.50, 0.25, None, "partly"),  # half way
        (0.50, 0.26, None, "no"),
        (0.50, 0.16, 0.14, "yes"),  # within 0.02 of never taught
        (0.50, 0.17, 0.14, "partly"),
        (0.50, 0.32, 0.14, "partly"),  # half way to never taught
        (0.50, 0.33, 0.14, "no"),
        (0.50, 0.04, 0.001, "yes"),  # a tenth is reached first
        (0.50, 0.60, 0.14, "no"),
        (0.04, 0.00, None, "unknown"),  # nothing to forget
    ],
)
def test_forgotten(before, now, never, answer):
    found = forgotten(figures(now), figures(before), figures(never) if never is not None else None)
    assert found["answer"] == answer
    assert f"{before:.3f}" in found["text"]


def test_a_yes_says_what_it_does_not_show():
    assert CAVEAT in forgotten(figures(0.01), figures(0.5))["text"]


def test_leaking_completions_spoil_a_yes():
    baseline, never = figures(0.5, 2.0), figures(0.1, 0.0)
    assert forgotten(figures(0.1, 0.25), baseline, never)["answer"] == "yes"  # 1 of 20 may be chance
    assert forgotten(figures(0.1, 0.50), baseline, never)["answer"] == "partly"


@pytest.mark.parametrize(
    ("control", "perplexity", "fluent", "answer"),
    [
        (0.60, 20.0, 1.0, "yes"),
        (0.63, 21.0, 0.8, "yes"),
        (0.57, 18.0, 0.8, "yes"),
        (0.64, 20.0, 1.0, "partly"),
        (0.60, 21.5, 1.0, "partly"),
        (0.60, 20.0, 0.7, "partly"),
        (0.50, 20.0, 1.0, "no"),
        (0.60, 30.0, 1.0, "no"),
        (0.60, 20.0, 0.5, "no"),
    ],
)
def test_intact(control, perplexity, fluent, answer):
    baseline = figures(control=0.60, perplexity=20.0, fluent=1.0)
    found = intact(figures(control=control, perplexity=perplexity, fluent=fluent), baseline)
    assert found["answer"] == answer
    assert len(found["checks"]) == 3


def test_a_baseline_that_stutters_itself_is_the_measure():
    assert intact(figures(fluent=0.55), figures(fluent=0.6))["answer"] == "yes"


def test_without_figures_there_is_no_verdict():
    assert intact({}, {})["answer"] == forgotten({}, {})["answer"] == "unknown"
    assert forgotten(figures(completion=0.0), figures(completion=1.0))["answer"] == "unknown"
    both = verdicts({"baseline": figures(0.5)})
    assert both["forgotten"]["answer"] == both["intact"]["answer"] == "unknown"


def test_roles_are_the_right_way_round():
    both = verdicts({"never_taught": figures(0.1), "baseline": figures(0.5), "unlearned": figures(0.11)})
    assert both["forgotten"]["answer"] == "yes"
    both = verdicts({"never_taught": figures(0.1), "baseline": figures(0.11), "unlearned": figures(0.5)})
    assert both["forgotten"]["answer"] == "no"
