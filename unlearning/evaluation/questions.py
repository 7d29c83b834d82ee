"""Questions with options to choose from, and what a model makes of them.

A file of questions is a JSON list:

    [{"question": "What does the Caterpillar smoke?", "options": ["a hookah", …], "answer": 0,
      "cloze": "The Caterpillar smokes", "note": …}, …]            "cloze" and "note" may be left out

An option is scored by the mean log-probability of its tokens after the question (so that long ones are not at a
disadvantage; Brown et al. 2020, arXiv 2005.14165); the likeliest is the model's choice. With n options chance is 1/n.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning.errors import PromptError
from unlearning.evaluation.scoring import target_probabilities
from unlearning.models.encoding import encode_pair
from unlearning.text.prompts import Probe

LETTERS = "ABCDEFGH"
SMALLEST = 1e-300  # of a probability, so that its logarithm is finite


@dataclass(frozen=True)
class Question:
    """A question with one right option.

    Args:
        question: As it is asked.
        options: Two to eight, all different.
        answer: Index of the right one.
        cloze: A sentence that an option completes; empty where there is none.
        note: For readers.
    """

    question: str
    options: tuple[str, ...]
    answer: int
    cloze: str = ""
    note: str = ""


def load_questions(path: Path) -> list[Question]:
    """The questions of a JSON file.

    Raises:
        PromptError: it cannot be read, or naming the entry that cannot be used.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise PromptError(f"There is no file {path}.", "Check the path.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PromptError(f"{path.name} cannot be read as JSON ({error}).", "Mend or replace it.") from None
    return parse_questions(data, path.name)


def parse_questions(data: Any, name: str = "the questions") -> list[Question]:
    """Questions from JSON data already read.

    Raises:
        PromptError: naming the entry (counted from 1), its value and the mend.
    """
    if not isinstance(data, list) or not data:
        raise PromptError(f"{name} holds no list of questions.", "Put at least one between [ and ].")
    return [_question(entry, f"Question {i} of {name}") for i, entry in enumerate(data, start=1)]


def dump_questions(questions: Sequence[Question]) -> str:
    """Questions as `parse_questions` reads them."""
    rows = [
        {"question": q.question, "options": list(q.options), "answer": q.answer}
        | ({"cloze": q.cloze} if q.cloze else {})
        | ({"note": q.note} if q.note else {})
        for q in questions
    ]
    return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"


def ask_questions(
    model: Any, tokenizer: Any, questions: Sequence[Question], letters: bool = False
) -> list[dict[str, Any]]:
    """What a model chooses.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        questions: What to ask.
        letters: Also show all options and ask for the letter of one, and ask the cloze form where there is one.

    Returns:
        One row a question: prompt, choices, answer, chosen, correct, `p` (the right option's share of the options'
        probabilities), `scores` (P(option)^(1/tokens) of each); with `letters` also letter and letter_correct, and
        cloze, cloze_chosen and cloze_correct.
    """
    asked = [_plain(question) for question in questions]
    rows = []
    for question, scores in zip(questions, option_scores(model, tokenizer, asked), strict=True):
        chosen = _best(scores)
        rows.append(
            {
                "prompt": question.question,
                "choices": list(question.options),
                "answer": question.options[question.answer],
                "chosen": question.options[chosen],
                "correct": chosen == question.answer,
                "p": scores[question.answer] / math.fsum(scores),
                "scores": scores,
            }
        )
    if letters:
        _ask_letters(model, tokenizer, questions, rows)
        _ask_cloze(model, tokenizer, questions, rows)
    return rows


def option_scores(model: Any, tokenizer: Any, asked: Sequence[Probe]) -> list[list[float]]:
    """P(option | prompt)^(1/n) over the option's n tokens, for each option (target) of each prompt."""
    found = target_probabilities(model, tokenizer, asked)
    return [
        [max(p, SMALLEST) ** (1 / len(encode_pair(tokenizer, probe.prompt, target)[1]))
         for target, p in zip(probe.targets, row, strict=True)]
        for probe, row in zip(asked, found, strict=True)
    ]  # fmt: skip


def truth_ratio(scores: Sequence[float], answer: int) -> float:
    """R = mean of the wrong options' P^(1/n) / the right one's (TOFU, Maini et al. 2024, eq. 1).

    1: the right answer is as likely as the wrong ones; below, it is preferred.
    """
    wrong = [score for i, score in enumerate(scores) if i != answer]
    return math.fsum(wrong) / len(wrong) / scores[answer]


def _plain(question: Question) -> Probe:
    return Probe(f"Question: {question.question}\nAnswer:", tuple(f" {option}" for option in question.options))


def _ask_letters(model: Any, tokenizer: Any, questions: Sequence[Question], rows: list[dict[str, Any]]) -> None:
    """All options in the prompt, the letter as the answer."""
    asked = []
    for question in questions:
        listed = "\n".join(f"{LETTERS[i]}. {option}" for i, option in enumerate(question.options))
        letters = tuple(f" {letter}" for letter in LETTERS[: len(question.options)])
        asked.append(Probe(f"Question: {question.question}\n{listed}\nAnswer:", letters))
    for row, question, scores in zip(rows, questions, target_probabilities(model, tokenizer, asked), strict=True):
        row["letter"] = LETTERS[_best(scores)]
        row["letter_correct"] = _best(scores) == question.answer


def _ask_cloze(model: Any, tokenizer: Any, questions: Sequence[Question], rows: list[dict[str, Any]]) -> None:
    """The statement that an option completes."""
    chosen = [(row, question) for row, question in zip(rows, questions, strict=True) if question.cloze]
    asked = [Probe(question.cloze, tuple(f" {option}" for option in question.options)) for _, question in chosen]
    for (row, question), scores in zip(chosen, option_scores(model, tokenizer, asked), strict=True):
        row["cloze"] = question.cloze
        row["cloze_chosen"] = question.options[_best(scores)]
        row["cloze_correct"] = _best(scores) == question.answer


def _best(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


def _question(entry: Any, where: str) -> Question:
    if not isinstance(entry, dict) or not _is_text(entry.get("question")):
        raise PromptError(f"{where} has no question.", 'Write {"question": "…", "options": ["…", "…"], "answer": 0}.')
    options, answer = entry.get("options"), entry.get("answer")
    if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS) or not all(map(_is_text, options)):
        raise PromptError(f"{where} needs two to {len(LETTERS)} options.", "Give a list of words or phrases.")
    if len({option.strip().casefold() for option in options}) < len(options):
        raise PromptError(f"{where} has an option twice.", "Give different ones.")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(options):
        raise PromptError(f"{where}: answer is {answer!r}.", f"Give a number from 0 to {len(options) - 1}.")
    options = tuple(option.strip() for option in options)
    more = [str(entry.get(name) or "").strip() for name in ("cloze", "note")]
    return Question(entry["question"].strip(), options, answer, *more)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
