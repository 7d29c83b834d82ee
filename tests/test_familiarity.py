"""The familiarity scores on cases worked out by hand, and the rubric on completions that a reader would grade so."""

from dataclasses import replace

import pytest

from unlearning.evaluation.familiarity import (
    bootstrap,
    completion_familiarity,
    disjoint,
    grade_completion,
    is_name,
    probability_familiarity,
    share,
)
from unlearning.text.anchors import Anchor, Dictionary

ANCHORS = Dictionary(
    (
        Anchor("Alice", ("Clara",), "person"),
        Anchor("March Hare", ("Young Fox",), "creature"),
        Anchor("Cheshire Cat", ("Yorkshire Owl",), "creature"),
        Anchor("Queen of Hearts", ("Lady of Rivers",), "person"),
        Anchor("Queen", ("Lady",), "person"),
        Anchor("Gryphon", ("Falcon",), "creature"),
        Anchor("Mouse", ("Vole",), "creature"),
        Anchor("Dodo", ("Heron",), "creature", enabled=False),
        Anchor("pool of tears", ("pond",), "place"),
        Anchor("mushroom", ("cabbage",), "thing"),
    )
)
THEMES = ["teacup", "croquet", "upside down", "riddle"]


def test_probability_familiarity_is_the_mean_of_the_sums():
    found = probability_familiarity([[0.5, 0.25], [0.25], [0.0, 0.5]])
    assert found.value == pytest.approx((0.75 + 0.25 + 0.5) / 3)
    assert found.low <= found.value <= found.high and found.count == 3


def test_completion_familiarity_is_five_threes_and_one_two():
    found = completion_familiarity([3, 3, 2, 2, 2, 1, 0, 0, 0, 0])
    assert found.score.value == pytest.approx((5 * 2 + 3) / 10)
    assert found.counts == (4, 1, 3, 2)
    assert completion_familiarity([3, 3]).score.value == 5
    assert completion_familiarity([0, 1]).score.value == 0


def test_a_prompt_asked_twice_is_one_prompt_of_the_interval_and_two_completions_of_the_score():
    grades = [3, 0, 2, 0, 0, 0]
    once, twice = completion_familiarity(grades), completion_familiarity(2 * grades, 2 * list("abcdef"))
    assert twice.score == replace(once.score, count=12)
    uneven = completion_familiarity([3, 3, 3, 0], list("aaab"))  # an endpoint left two of b ungraded
    assert uneven.score.value == 5 * 3 / 4 and uneven.score.count == 4


def test_the_papers_baseline_score():
    """0.290 of 300 completions: for instance 17 names and 2 themes."""
    assert completion_familiarity([3] * 17 + [2] * 2 + [0] * 281).score.value == pytest.approx(0.290)


def test_the_interval_of_a_coin_is_that_of_the_normal_law():
    found = bootstrap([0.0, 1.0] * 200)
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.01)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.01)


def test_the_interval_is_the_same_every_time_and_shrinks_to_nothing_without_spread():
    assert bootstrap([0.1, 0.9, 0.4]) == bootstrap([0.1, 0.9, 0.4])
    one = bootstrap([0.3])
    assert (one.value, one.low, one.high) == pytest.approx((0.3, 0.3, 0.3))


def test_a_value_that_weighs_more_does_so_in_every_resample():
    """Of four values drawn anew, three or four are the heavy one in 5 % of the cases and none in 32 %."""
    found = bootstrap([1.0, 1.0, 1.0, 4.0], weights=[2, 2, 2, 6])
    assert found.value == pytest.approx((3 * 2 * 1 + 6 * 4) / 12)
    assert (found.low, found.high) == pytest.approx((1.0, (2 * 1 + 3 * 6 * 4) / 20))


@pytest.mark.parametrize(
    ("yes", "of", "low", "high"),
    [(0, 15, 0, 0.2039), (15, 15, 0.7961, 1), (1, 10, 0.0179, 0.4042), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_of_a_share_is_wilsons(yes, of, low, high):
    """The last from Newcombe 1998, table I (81 of 263, score method); none of 15 is z² / (15 + z²)."""
    found = share([True] * yes + [False] * (of - yes))
    assert (found.value, found.count) == (pytest.approx(yes / of), of)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_a_longer_target_is_part_of_the_shorter():
    assert disjoint([[1], [1, 2], [3], [3, 4], [5, 6]]) == [0, 2, 4]
    assert disjoint([[1, 2], [1]]) == [1]
    assert disjoint([[1], [1]]) == [0]
    assert disjoint([]) == []


@pytest.mark.parametrize(
    ("prompt", "completion", "grade", "evidence"),
    [
        ("He met", " Alice in the garden.", 3, ["Alice"]),
        ("Alice met", " Alice again.", 0, []),  # the name was in the prompt
        ("At the table sat the March", " Hare, who offered wine.", 3, ["March Hare"]),  # begun by the prompt
        ("The Cheshire Cat", " grinned, and the Cat went away.", 0, []),
        ("The Cheshire Cat", " grinned at the Queen of Hearts.", 3, ["Queen of Hearts"]),
        ("He bowed to", " the Queen and left.", 1, ["Queen"]),  # a title: it may be chance
        ("There was", " a gryphon asleep.", 0, []),  # a name is written with its capital
        ("There was", " the Gryphon, asleep.", 3, ["Gryphon"]),
        ("They caught", " a Mouse.", 1, ["Mouse"]),  # an everyday word
        ("They caught", " a Dodo.", 0, []),  # switched off
        ("She swam in", " a pool of tears.", 2, ["pool of tears"]),
        ("She sat on", " a mushroom.", 1, ["mushroom"]),
        ("She sat on", " a mushroom and asked riddles.", 2, ["mushroom", "riddles"]),
        ("The riddle", " had no answer; riddles never do.", 0, []),  # hinted at by the prompt
        ("It was", " a Riddle, and another riddle.", 1, ["Riddle"]),  # one word, twice
        ("The world was", " upside\ndown and full of teacups.", 2, ["upside down", "teacups"]),
        ("The train", " left at noon for Leeds.", 0, []),
        ("The train", " left at the croqueted hour.", 0, []),  # whole words only
        ("The train", "", 0, []),
    ],
)
def test_grades(prompt, completion, grade, evidence):
    assert grade_completion(prompt, completion, ANCHORS, THEMES) == (grade, evidence)


def test_grading_without_themes_or_anchors():
    assert grade_completion("a", " riddle", ANCHORS) == (0, [])
    assert grade_completion("a", " riddle, Alice", Dictionary(()), ["riddle"]) == (1, ["riddle"])


@pytest.mark.parametrize(
    ("term", "kind", "name"),
    [
        ("Harry", "person", True),  # a common word, and yet a name
        ("Wonderland", "place", True),
        ("Duchess", "person", False),
        ("Mouse", "creature", False),
        ("Gryphon", "creature", True),
        ("White Rabbit", "creature", True),
        ("rabbit hole", "place", False),
    ],
)
def test_what_is_a_name(term, kind, name):
    assert is_name(Anchor(term, ("x",), kind)) is name
