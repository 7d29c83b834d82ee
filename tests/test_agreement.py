"""Agreement of graders on cases worked out by hand, and the offline grader against the hand-graded sample."""

import pytest

from unlearning.evaluation.agreement import GRADES, agreement, agreement_rows, graded_by_hand, offline_grades


def test_by_hand():
    found = agreement([0, 0, 3, 3], [0, 3, 3, 1])
    # two of four are equal; by chance 2·1/16 + 2·2/16 = 6/16 would be
    assert found.accuracy == 0.5
    assert found.kappa == pytest.approx((0.5 - 0.375) / (1 - 0.375))
    assert found.within_one == 0.5
    assert agreement([0, 1, 2, 3], [1, 2, 3, 2]).within_one == 1


def test_the_example_of_two_raters_and_fifty_proposals():
    """20 both yes, 15 both no, 5 and 10 apart: κ = 0.4, as in every textbook."""
    first = [1] * 25 + [0] * 25
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert agreement(first, second).kappa == pytest.approx(0.4)


def test_perfect_and_no_agreement():
    assert agreement([0, 1, 2], [0, 1, 2]).kappa == 1
    assert agreement([3, 3], [3, 3]).kappa == 1
    assert agreement([0, 1], [1, 0]).kappa == pytest.approx(-1)


def test_the_sample_is_large_enough_and_has_every_grade():
    rows = graded_by_hand()
    assert len(rows) >= 60
    assert {row["grade"] for row in rows} == set(GRADES)
    assert len({(row["prompt"], row["text"]) for row in rows}) == len(rows)
    assert sum(row["by"] == "model" for row in rows) >= 60


def test_the_offline_grader_agrees_with_the_hand_on_what_models_write():
    (_, models, by_hand, offline), (_, hard, *_), _ = agreement_rows()
    assert models.accuracy >= 0.75 and models.kappa >= 0.6
    assert abs(by_hand - offline) < 0.3  # the score of the whole, from 0 to 5
    assert hard.accuracy < models.accuracy  # it looks for names, and these have none: said in the README
    rows = graded_by_hand()
    given = offline_grades(rows)
    gave_away = [row["grade"] for row, grade in zip(rows, given, strict=True) if grade == 3]
    assert sum(grade == 3 for grade in gave_away) >= 0.9 * len(gave_away)  # what it calls a give-away is one
