"""The verdicts follow from the stated thresholds."""

import pytest

from unlearning.evaluation.verdicts import CAVEAT, UNASKED, forgotten, intact, verdicts


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
        (0.60, 20.0, 0.6, "partly"),  # twice the loss of 0.2
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


@pytest.mark.parametrize(
    ("before", "now", "answer"),
    [
        (0.6, 0.55, "yes"), (0.6, 0.5, "yes"), (0.6, 0.45, "partly"), (0.6, 0.4, "partly"), (0.6, 0.39, "no"),
        (0.6, 0.0, "no"), (0.3, 0.0, "no"), (0.05, 0.0, "yes"), (0.85, 0.75, "yes"), (0.85, 0.64, "no"),
    ],
)  # fmt: skip
def test_a_baseline_that_stutters_itself_is_the_measure(before, now, answer):
    assert intact(figures(fluent=now), figures(fluent=before))["answer"] == answer


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


QUESTIONS = "question_probability"


@pytest.mark.parametrize(
    ("before", "now", "never", "answer"),
    [
        (0.55, 0.31, 0.27, "yes"),  # within 0.05 of never taught
        (0.55, 0.33, 0.27, "partly"),
        (0.55, 0.30, None, "yes"),  # of chance, 0.25
        (0.55, 0.31, None, "partly"),
        (0.29, 0.29, 0.27, "yes"),  # the baseline knew no answers, so they tell nothing
        (0.95, 0.33, 0.27, "yes"),  # a tenth of the way down is left
        (0.95, 0.34, 0.27, "partly"),
    ],
)
def test_questions_that_are_still_answered_spoil_a_yes(before, now, never, answer):
    unlearned, baseline = figures(0.05), figures(0.5)
    never_taught = figures(0.04) | {QUESTIONS: {"value": never}} if never else None
    found = forgotten(unlearned | {QUESTIONS: {"value": now}}, baseline | {QUESTIONS: {"value": before}}, never_taught)
    assert found["answer"] == answer


def test_chance_is_that_of_the_questions_asked():
    def asked(value):
        return figures(0.05) | {QUESTIONS: {"value": value, "chance": 0.5}}

    baseline = figures(0.5) | {QUESTIONS: {"value": 0.8, "chance": 0.5}}
    assert forgotten(asked(0.54), baseline)["answer"] == "yes"
    found = forgotten(asked(0.56), baseline)
    assert found["answer"] == "partly" and "floor 0.500: 20% is left" in found["text"]


def test_passages_are_held_against_the_never_taught_model_alone():
    def with_passages(p, continuation):
        return figures(p) | {"continuation_probability": {"value": continuation}}

    baseline, unlearned, never = with_passages(0.5, 0.3), with_passages(0.05, 0.2), with_passages(0.04, 0.05)
    found = forgotten(unlearned, baseline, never)
    assert found["answer"] == "partly" and "60% is left" in found["text"]
    assert forgotten(unlearned, baseline)["answer"] == "yes"  # nobody knows the floor


def test_an_attack_that_brings_it_back_spoils_a_yes_and_is_named():
    attacks = [{"title": "Relearning", "brings_back": True}, {"title": "Gaps", "brings_back": False}]
    found = forgotten(figures(0.05), figures(0.5), None, attacks)
    assert found["answer"] == "partly" and "brought back by: Relearning." in found["text"]
    assert forgotten(figures(0.05), figures(0.5), None, attacks[1:])["answer"] == "yes"
    assert verdicts({"baseline": figures(0.5), "unlearned": figures(0.05)}, attacks)["forgotten"] == found


@pytest.mark.parametrize(("now", "answer"), [(0.60, "yes"), (0.45, "yes"), (0.41, "partly"), (0.39, "no")])
def test_neighbouring_knowledge_belongs_to_what_should_stay(now, answer):
    baseline = figures(control=0.6) | {"neighbour_probability": {"value": 0.5}}
    found = intact(figures(control=0.6) | {"neighbour_probability": {"value": now}}, baseline)
    assert found["answer"] == answer and UNASKED not in found["text"]


@pytest.mark.parametrize(("now", "answer"), [(0.60, "yes"), (0.65, "partly"), (0.70, "no")])
def test_neighbouring_knowledge_that_was_not_measured_is_said(now, answer):
    asked = figures(control=0.6) | {"neighbour_probability": {"value": 0.5}}
    for baseline in (figures(control=0.6), asked):
        found = intact(figures(control=now), baseline)
        assert found["answer"] == answer
        assert found["text"].endswith(
            f"{found['checks'][-1]['text']}. {UNASKED}"
        )  # after the checks, as the page needs
