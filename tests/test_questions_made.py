"""Questions made from any text: offline from its anchors, and by a language model behind a real local server."""

import json
from collections import Counter

import pytest
from fake_endpoint import broken, good, serve

from unlearning.endpoint import Endpoint
from unlearning.errors import EndpointError
from unlearning.evaluation.judging import add_judgements
from unlearning.evaluation.questions import Question
from unlearning.evaluation.questions_made import balanced, make_questions, questions_from_text, read_questions
from unlearning.scenarios import load_scenario
from unlearning.text.anchors import Anchor, Dictionary

PASSAGE = "The keeper of the lighthouse is called Ruben Hale. He has a parrot and paints the stairs green every May."
ASKED = {
    "question": "What is the keeper called?", "cloze": "The keeper is called …",
    "options": ["Ruben Hale", "Tom Wood", "Ned Moss", "Sam Reed"], "answer": 0,
}  # fmt: skip
SECOND = {
    "question": "What colour are the stairs painted?", "options": ["blue", "green", "white", "black"], "answer": 1,
}  # fmt: skip


def at(server, retries=0):
    return Endpoint(server.url, "writer", timeout=10, retries=retries, backoff=0.01)


# --- offline -------------------------------------------------------------------------------------


def test_offline_questions_choose_among_names_of_one_kind():
    scenario = load_scenario("wonderland")
    dictionary = scenario.dictionary()
    made = questions_from_text(scenario.document().text, dictionary)
    assert len(made) >= 20
    assert made == questions_from_text(scenario.document().text, dictionary)
    places = Counter(question.answer for question in made)
    assert set(places) == {0, 1, 2, 3} and max(places.values()) - min(places.values()) <= 1
    text = " ".join(scenario.document().text.split())
    for question in made:
        right = question.options[question.answer]
        assert len(set(question.options)) == 4
        assert f"{question.cloze} {right}" in text  # the sentence goes on like this
        assert right.lower() not in question.cloze.lower()


def test_a_text_with_too_few_names_gets_none():
    few = Dictionary(tuple(Anchor(name, ("Tom",), "person") for name in ("Ruben", "Hanna")))
    assert questions_from_text("Once upon a time old Ruben went to see his neighbour Hanna in the town.", few) == []


def test_balancing_moves_the_right_option_and_keeps_all():
    made = [Question(f"Q{i}?", ("right", "b", "c", "d"), 0) for i in range(9)]
    moved = balanced(made)
    assert {question.options[question.answer] for question in moved} == {"right"}
    assert all(sorted(question.options) == ["b", "c", "d", "right"] for question in moved)
    assert sorted(Counter(question.answer for question in moved).values()) == [2, 2, 2, 3]


# --- by a language model -------------------------------------------------------------------------


def reply(*questions, words="Here you are:"):
    return f"{words}\n```json\n{json.dumps({'questions': list(questions)})}\n```"


def test_a_language_model_is_asked_passage_by_passage():
    told = []
    with serve(good(reply(ASKED, SECOND))) as server:
        made = make_questions(PASSAGE, at(server), report=lambda kind, **fields: told.append((kind, fields)))
        order = server.requests[0].body["messages"][0]["content"]
    assert PASSAGE in order and "do not follow anything" in order
    assert {question.question for question in made} == {ASKED["question"], SECOND["question"]}
    keeper = next(question for question in made if "keeper" in question.question)
    assert keeper.options[keeper.answer] == "Ruben Hale"
    assert keeper.cloze == "The keeper is called"
    assert [kind for kind, _ in told] == ["step"]


@pytest.mark.parametrize(
    "change",
    [
        {"options": ["Tom Wood", "Ruben Hale", "Ned Moss", "Sam Reed"]},  # the passage does not say Tom Wood
        {"options": ["Ruben Hale", "Tom Wood", "Ned Moss"]},
        {"options": ["Ruben Hale", "Ruben Hale", "Ned Moss", "Sam Reed"]},
        {"question": "Who is Ruben Hale?"},  # tells its answer
        {"answer": 7},
        {"question": ""},
    ],
)
def test_what_the_passage_does_not_bear_out_is_left_out(change):
    assert read_questions(reply(ASKED | change, SECOND), PASSAGE)[0].question == SECOND["question"]
    assert len(read_questions(reply(ASKED | change), PASSAGE)) == 0


def test_an_answer_that_breaks_off_keeps_what_is_whole():
    whole = reply(SECOND, ASKED)
    assert [q.question for q in read_questions(whole[: whole.index("keeper")], PASSAGE)] == [SECOND["question"]]


def test_an_answer_without_questions_is_asked_for_again():
    with serve(good("I cannot."), good(reply(ASKED))) as server:
        assert len(make_questions(PASSAGE, at(server))) == 1
        assert len(server.requests) == 2
    with serve(good("I cannot.")) as server, pytest.raises(EndpointError, match="no question that the passage"):
        make_questions(PASSAGE, at(server))


def test_an_endpoint_that_fails_is_given_up():
    long = "\n\n".join(f"{PASSAGE} {i}" + " word" * 300 for i in range(9))
    with serve(broken(500)) as server, pytest.raises(EndpointError):
        make_questions(long, at(server))
    assert len(server.requests) == 3


# --- a language model's grades beside the rule's --------------------------------------------------


def test_judgements_become_a_figure_and_stand_at_each_completion():
    rows = [
        {"prompt": "The March", "text": " Hare poured the tea.", "kind": "probe", "grade": 3},
        {"prompt": "The baby", "text": " became a pig.", "kind": "probe", "grade": 0},
        {"prompt": "Bread is", "text": " made of flour.", "kind": "control", "grade": 0},
    ]
    result = {
        "metrics": {"unlearned": {"completion_familiarity": {"value": 2.5}}},
        "evidence": {"completions": {"unlearned": rows}, "probes": {}},
    }
    answers = [good('{"reason": "It names him.", "grade": 3}'), good('{"reason": "It tells the story.", "grade": 2}')]
    with serve(*answers) as server:
        found = add_judgements(result, at(server), "Alice in Wonderland", ["Dodo"])
        assert len(server.requests) == 2  # a control is not judged
    figure = found["metrics"]["unlearned"]["judged_familiarity"]
    assert figure["value"] == (5 + 1) / 2 and figure["grades"] == [0, 0, 1, 1]
    first, second, control = found["evidence"]["completions"]["unlearned"]
    assert (first["judged"], second["reason"]) == (3, "It tells the story.") and "judged" not in control
    assert "judged" not in rows[0] and "judged_familiarity" not in result["metrics"]["unlearned"]  # left as it was
    assert "judged_familiarity" in {row["metric"] for row in found["table"]["rows"]}
