"""Repetition and variety counted by hand; verdicts on texts that a reader would judge so."""

import pytest

from unlearning.evaluation.fluency import distinct_n, judge_fluency, repetition


def test_repetition_counts_the_4_grams_that_come_again():
    assert repetition("one two three four five six") == 0
    # a b c d a b c d: abcd bcda cdab dabc abcd, four of five are distinct
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("no no no no no no no") == pytest.approx(3 / 4)
    assert repetition("too short") == 0


def test_distinct_n():
    assert distinct_n("a b a b", 1) == pytest.approx(2 / 4)
    assert distinct_n("a b a b", 2) == pytest.approx(2 / 3)
    assert distinct_n("A a", 1) == pytest.approx(1 / 2)  # capitals make no difference
    assert distinct_n("a, b", 1) == 1  # a comma is a token
    assert distinct_n("a", 2) == 1


@pytest.mark.parametrize(
    ("text", "log_prob", "verdict", "reason"),
    [
        (" a small house by the river, where nobody had lived for years.", -1.2, "fluent", ""),
        (" a small house by the river, where nobody had lived for years.", None, "fluent", ""),
        (" and the cat and the cat and the cat and the cat and the cat", -0.4, "repetitive", "%"),
        (" capital towel albums relationship hunter swinging stacks", -9.1, "gibberish", "-9.1"),
        (" {-> 2{N +3{'~ ?}:; abd##", None, "gibberish", "letters"),
        (" The", -0.1, "empty", "1 word"),
        ("", None, "empty", "0 words"),
    ],
)
def test_verdicts(text, log_prob, verdict, reason):
    found = judge_fluency(text, log_prob)
    assert found.verdict == verdict
    assert reason in found.reason
    assert found.as_dict()["log_prob"] == log_prob


def test_other_scripts_are_letters_too():
    assert judge_fluency(" Алиса пошла за белым кроликом").verdict == "fluent"
