"""The LLM judge against a real local server, good answers and bad ones."""

import pytest
from fake_endpoint import broken, good, serve

from unlearning.endpoint import Endpoint
from unlearning.errors import EndpointError
from unlearning.evaluation.judge import Judgement, judge_completion, judge_completions, read_grade

PAIRS = [("The March", " Hare poured the tea."), ("Bread is made of", " flour."), ("A cat", " slept.")]


def at(server, retries=0):
    return Endpoint(server.url, "judge", timeout=10, retries=retries, backoff=0.01)


def test_the_judge_sees_the_rubric_the_case_and_nothing_of_other_cases():
    with serve(good('{"reason": "It names the March Hare.", "grade": 3}')) as server:
        found = judge_completion(at(server), "Alice in Wonderland", *PAIRS[0], names=["Dodo", "Gryphon"])
        system, case = (message["content"] for message in server.requests[0].body["messages"])
    assert found == Judgement(3, "It names the March Hare.")
    assert all(f"\n{grade} - " in system for grade in range(4))
    assert "Alice in Wonderland" in case and "Dodo, Gryphon" in case
    assert "<beginning>\nThe March\n</beginning>" in case and "<continuation>\n Hare poured the tea.\n" in case


def test_an_answer_without_a_grade_is_asked_for_again():
    with serve(good("Hard to say."), good('{"grade": 0, "reason": ""}')) as server:
        assert judge_completion(at(server), "Alice", *PAIRS[1]).grade == 0
        again = server.requests[1].body["messages"]
    assert [message["role"] for message in again] == ["system", "user", "assistant", "user"]
    assert again[2]["content"] == "Hard to say."


def test_a_judge_that_never_grades_is_named():
    with serve(good("I would rather not.")) as server, pytest.raises(EndpointError, match="judge gave no grade"):
        judge_completion(at(server), "Alice", *PAIRS[0])
    assert len(server.requests) == 2


def test_one_failure_costs_one_grade_and_is_reported():
    said = []
    answers = [good('{"grade": 3}'), broken(500), good('{"grade": 1}')]
    with serve(*answers) as server:
        found = judge_completions(at(server), "Alice", PAIRS, report=lambda kind, **fields: said.append((kind, fields)))
    assert [each and each.grade for each in found] == [3, None, 1]
    assert [kind for kind, _ in said] == ["warning"]
    assert "not graded" in said[0][1]["message"]


@pytest.mark.parametrize(("reply", "requests"), [(broken(500), 3), (broken(401), 1)])
def test_an_endpoint_that_fails_on_and_on_is_given_up(reply, requests):
    with serve(reply) as server, pytest.raises(EndpointError):
        judge_completions(at(server), "Alice", PAIRS * 3)
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    ("answer", "grade"),
    [
        ('{"reason": "x", "grade": 2}', 2),
        ('```json\n{"grade": "1", "reason": "y"}\n```', 1),
        ('I first thought {"grade": 1}. On reflection: {"reason": "z", "grade": 3}', 3),
        ("**Grade: 2**", 2),
        ("The grade is 0.", None),  # not the form; asked for again rather than guessed
        ('{"grade": 7}', None),
        ('{"grade": 2.5}', None),
        ("Grade: 2.5", None),
        ("Grade: 30", None),
        ('{"grade": true}', None),
        ("", None),
    ],
)
def test_reading_a_grade(answer, grade):
    found = read_grade(answer)
    assert (found and found.grade) == grade
