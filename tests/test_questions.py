"""Multiple-choice questions: reading them, scoring them on a model whose probabilities are known, the shipped ones."""

import json
import math
import re
from collections import Counter

import pytest
import torch
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.errors import PromptError
from unlearning.evaluation.question_figures import geometric, neighbour_figures, question_figures, truth_ratios
from unlearning.evaluation.questions import (
    Question,
    ask_questions,
    dump_questions,
    load_questions,
    option_scores,
    parse_questions,
    truth_ratio,
)
from unlearning.evaluation.scoring import target_probabilities
from unlearning.models.loading import encode
from unlearning.scenarios import load_scenario
from unlearning.text.prompts import Probe

GOOD = {"question": "What is it?", "options": ["a cat", "a dog"], "answer": 1}


def test_questions_are_read_and_written():
    questions = [Question("Who?", ("Ada", "Ben", "Cleo"), 2, "It was", "a note"), Question("Why?", ("yes", "no"), 0)]
    assert parse_questions(json.loads(dump_questions(questions))) == questions


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "no list of questions"),
        ([], "no list of questions"),
        (["What?"], "Question 1 of q.json has no question"),
        ([GOOD, GOOD | {"question": " "}], "Question 2 of q.json has no question"),
        ([GOOD | {"options": ["a cat"]}], "needs two to 8 options"),
        ([GOOD | {"options": ["a cat", " "]}], "needs two to 8 options"),
        ([GOOD | {"options": ["a cat", "A cat "]}], "has an option twice"),
        ([GOOD | {"answer": 2}], "answer is 2"),
        ([GOOD | {"answer": True}], "answer is True"),
        ([GOOD | {"answer": "a dog"}], "answer is 'a dog'"),
    ],
)
def test_what_cannot_be_used_is_named(data, words, tmp_path):
    path = tmp_path / "q.json"
    path.write_text(json.dumps(data))
    with pytest.raises(PromptError, match=words):
        load_questions(path)


def test_a_file_that_is_not_there_or_no_json(tmp_path):
    with pytest.raises(PromptError, match="no file"):
        load_questions(tmp_path / "q.json")
    (tmp_path / "q.json").write_text("[{")
    with pytest.raises(PromptError, match="cannot be read as JSON"):
        load_questions(tmp_path / "q.json")


def uniform():
    """A model that gives every token the same probability, whatever it reads."""
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    return model, tokenizer


def test_a_score_is_the_geometric_mean_over_the_tokens_of_an_option():
    model, tokenizer = uniform()
    asked = [Probe("Question: What?\nAnswer:", (" a telescope", " a lamp and a bell and a boat", " x"))]
    (scores,) = option_scores(model, tokenizer, asked)
    assert scores == pytest.approx([1 / len(tokenizer)] * 3)  # however long the option is

    model = tiny_llama(tokenizer)
    (products,), (scores,) = target_probabilities(model, tokenizer, asked), option_scores(model, tokenizer, asked)
    lengths = [len(encode(tokenizer, asked[0].prompt + target)[0]) - len(encode(tokenizer, asked[0].prompt)[0])
               for target in asked[0].targets]  # fmt: skip
    assert len(set(lengths)) > 1
    assert scores == pytest.approx([p ** (1 / n) for p, n in zip(products, lengths, strict=True)])


def test_the_likeliest_option_is_chosen_and_right_or_wrong():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    question = Question("What rang?", ("the bell", "the lamp", "a boat"), 0, "In the harbour rang")
    (row,) = ask_questions(model, tokenizer, [question], letters=True)
    best = max(range(3), key=row["scores"].__getitem__)
    assert row["chosen"] == question.options[best]
    assert row["correct"] == (best == 0)
    assert row["p"] == pytest.approx(row["scores"][0] / sum(row["scores"]))
    assert row["answer"] == "the bell" and row["choices"] == list(question.options)
    listed = "Question: What rang?\nA. the bell\nB. the lamp\nC. a boat\nAnswer:"
    (letters,) = target_probabilities(model, tokenizer, [Probe(listed, (" A", " B", " C"))])
    assert row["letter"] == "ABC"[letters.index(max(letters))]
    (cloze,) = option_scores(model, tokenizer, [Probe("In the harbour rang", (" the bell", " the lamp", " a boat"))])
    assert row["cloze_chosen"] == question.options[cloze.index(max(cloze))]
    assert row["cloze_correct"] == (row["cloze_chosen"] == "the bell")
    assert json.loads(json.dumps(row)) == row


def test_a_model_that_was_taught_the_answer_chooses_it():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    question = Question("What rang in the harbour?", ("a lamp", "a boat", "the bell", "a telescope"), 2)
    batch = tokenizer("Question: What rang in the harbour?\nAnswer: the bell", return_tensors="pt")
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(30):
        model(**batch, labels=batch["input_ids"]).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    (row,) = ask_questions(model, tokenizer, [question])
    assert row["correct"] and row["p"] > 0.5


def test_the_truth_ratio_by_hand():
    assert truth_ratio([0.4, 0.1, 0.3], 0) == pytest.approx(0.2 / 0.4)
    assert truth_ratio([0.2, 0.2], 1) == 1  # nothing tells them apart


def answered(*rows, part="questions", **more):
    return {
        part: [
            {"choices": ["a", "b"], "answer": "a", "scores": list(scores), "correct": correct,
             "p": scores[0] / sum(scores)} | more
            for scores, correct in rows
        ]
    }  # fmt: skip


def test_figures_by_hand():
    mine = answered(((0.4, 0.1), True), ((0.1, 0.4), False), ((0.2, 0.2), True), ((0.1, 0.1), False))
    found = question_figures(mine, {})
    assert found["question_accuracy"]["value"] == 0.5
    assert found["question_probability"]["value"] == pytest.approx((0.8 + 0.2 + 0.5 + 0.5) / 4)
    assert truth_ratios(mine["questions"]) == pytest.approx([0.25, 4, 1, 1])
    assert found["truth_ratio"]["value"] == pytest.approx(1)  # 1/4 and 4 balance
    assert "truth_quality" not in found and "question_letter" not in found
    # two samples of four, wholly apart: 2 of the 70 orders
    never = answered(*[((0.1, 10 + i), False) for i in range(4)])
    assert question_figures(mine, never)["truth_quality"] == {"value": pytest.approx(2 / 70), "distance": 1, "count": 4}
    assert question_figures(mine, mine)["truth_quality"]["value"] == 1
    lettered = answered(((0.4, 0.1), True), ((0.4, 0.1), True), letter_correct=False, cloze_correct=True)
    found = question_figures(lettered, {})
    assert (found["question_letter"]["value"], found["cloze_accuracy"]["value"]) == (0, 1)
    assert question_figures({}, {}) == neighbour_figures({}, {}) == {}
    near = neighbour_figures(answered(((0.3, 0.1), True), ((0.1, 0.3), False), part="neighbours"), {})
    assert near["neighbour_accuracy"]["value"] == 0.5
    assert near["neighbour_probability"]["value"] == pytest.approx(0.5)


def test_a_geometric_mean_has_its_interval_around_it():
    found = geometric([1.0, 4.0])
    assert found["value"] == pytest.approx(2)
    assert found["low"] == pytest.approx(1) and found["high"] == pytest.approx(4)
    assert math.isclose(geometric([3.0] * 5)["low"], 3.0)


# --- the questions of the default scenario --------------------------------------------------------

SCENARIO = load_scenario("wonderland")
QUESTIONS = load_questions(SCENARIO.folder / "questions.json")
NEIGHBOURS = load_questions(SCENARIO.folder / "neighbours.json")


def words(text):
    return set(re.findall(r"\w+", text.lower())) - set("a the his her its in is there none she they and on to".split())


def test_at_least_sixty_with_four_options_and_the_answer_in_every_place_alike():
    assert len(QUESTIONS) >= 60 and len(NEIGHBOURS) >= 30
    for questions in (QUESTIONS, NEIGHBOURS):
        assert {len(question.options) for question in questions} == {4}
        places = Counter(question.answer for question in questions)
        assert max(places.values()) - min(places.values()) <= 1 and len(places) == 4
        assert len({question.question for question in questions}) == len(questions)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.question[:40])
def test_each_fact_stands_in_the_text(question):
    text = (SCENARIO.folder / "text.md").read_text(encoding="utf-8")
    right = question.options[question.answer]
    assert question.note in text
    assert question.cloze
    if right == "there is none":
        return
    assert words(right) & words(question.note)
    assert not words(right) <= words(question.question) | words(question.cloze)


def test_the_right_option_is_not_told_by_its_length():
    for questions in (QUESTIONS, NEIGHBOURS):
        longest = [len(q.options[q.answer]) > max(len(o) for i, o in enumerate(q.options) if i != q.answer)
                   for q in questions]  # fmt: skip
        shortest = [len(q.options[q.answer]) < min(len(o) for i, o in enumerate(q.options) if i != q.answer)
                    for q in questions]  # fmt: skip
        assert sum(longest) <= 0.45 * len(questions) and sum(shortest) <= 0.45 * len(questions)


def test_chance_is_that_of_the_questions_which_were_asked():
    rows = [*answered(((0.4, 0.1), True))["questions"], *answered(((0.1, 0.4), False))["questions"]]
    rows[1] |= {"choices": ["a", "b", "c", "d", "e", "f", "g", "h"], "letter_correct": False}
    found = question_figures({"questions": rows}, {})
    assert found["question_accuracy"]["chance"] == found["question_probability"]["chance"] == (1 / 2 + 1 / 8) / 2
    assert found["question_letter"]["chance"] == 1 / 8  # of the one that was asked so


def test_three_questions_are_too_few_to_tell_models_apart():
    mine, never = (answered(*[((0.1, worse + i), False) for i in range(3)]) for worse in (1, 10))
    assert "truth_quality" not in question_figures(mine, never)
