"""Doing an evaluation: part after part, role after role, each written down before the next begins.

    <evaluation>/stages/<part>/<role>.json   what one role answered
    <evaluation>/stages/<part>/stage.json    written last in its part; of an attack, what it found
    <evaluation>/evaluation.json             the result, again after every part, complete at the end

A part that is done is not done again, so an evaluation that was stopped or killed goes on where it was.
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearning.config import EvaluationSettings
from unlearning.endpoint import MODEL_VARIABLE, URL_VARIABLE, configured
from unlearning.errors import EndpointError, RunNotFoundError
from unlearning.evaluation.divergence import measure_divergence
from unlearning.evaluation.judging import judge_rows
from unlearning.evaluation.measure import MeasureInputs, add_fluency, measure_prompts, measure_texts, spread, summarise
from unlearning.evaluation.passages import cut_passage, measure_passages
from unlearning.evaluation.questions import Question, ask_questions, dump_questions, load_questions
from unlearning.evaluation.questions_made import make_questions
from unlearning.evaluation.suites import (
    FORMAT,
    JUDGED,
    NEIGHBOURS,
    QUESTIONS,
    RESULT,
    WRITTEN,
    Effort,
    attacks,
    check_vocabulary,
    effort,
    plan,
)
from unlearning.runs.durable import read_json_or_empty, write_json
from unlearning.runs.record import read_config, read_settings

EVIDENCE = ("probes", "controls", "completions", "passages", "questions", "neighbours", "divergence")
ASKED_ALIKE = ("text.txt", "anchors.json", "probes.json", "completions.json", "themes.txt", "unrelated.txt")
TAKEN_OVER = {"familiarity": ("probes", "controls", "completions"), "texts": ("texts",)}
OTHER = "other"  # any model of the same family, measured beside those of the run
SKIPPED = "reinforced"  # a step on the way, measured by the run itself


@dataclass
class Asking:
    """An evaluation being worked on: whom it asks, what, and how much."""

    folder: Path
    of: Path
    work: Any  # training.stages.Work of the run, with this evaluation's inputs and settings
    config: Mapping[str, Any]
    report: Callable[..., None]
    should_stop: Callable[[], bool]
    by_role: dict[str, dict[str, Any]] = field(default_factory=dict)
    attacks: list[dict[str, Any]] = field(default_factory=list)
    given_up: bool = False  # whether the language model that grades has failed on and on

    @cached_property
    def effort(self) -> Effort:
        return effort(self.config["suite"])

    @cached_property
    def inputs(self) -> MeasureInputs:
        from unlearning.training.stages import measure_inputs

        return replace(
            measure_inputs(self.work),
            retain=self.work.retain_blocks,
            questions=_questions(self.folder / "stages" / WRITTEN / QUESTIONS) or _questions(self.folder / QUESTIONS),
            neighbours=_questions(self.folder / NEIGHBOURS),
            title=str(self.config["text"].get("title", "")),
        )

    @cached_property
    def settings(self) -> EvaluationSettings:
        """The run's own in a full suite, or where others' answers are the run's; no more than the effort otherwise."""
        own: EvaluationSettings = self.work.settings.evaluation
        if self.config["suite"] == "full" or self.asked_before:
            return own
        most = {"completions": self.effort.completions, "completion_tokens": self.effort.completion_tokens}
        return own.model_copy(update={name: min(value, getattr(own, name)) for name, value in most.items()})

    @cached_property
    def roles(self) -> list[str]:
        from unlearning.training.stages import measured_roles

        other = [OTHER] if self.other else []
        return [role for role in measured_roles(self.work) if role != SKIPPED] + other + self.columns

    @cached_property
    def other(self) -> Any:
        """The family of a further model that was named; it must read the same tokens."""
        from unlearning.models.adapters import open_family

        if not (name := self.config.get("other")):
            return None
        settings = self.work.settings.model.model_copy(update={"name": name, "mode": "lora"})
        family = open_family(settings, self.work.hardware, self.report)
        check_vocabulary(name, family.tokenizer, self.work.family.tokenizer, self.of.name)
        return family

    @cached_property
    def columns(self) -> list[str]:
        """The baselines beside the models, as far as the run has what they need."""
        wanted = list(self.config.get("columns") or [])
        if not wanted:
            return []
        from unlearning.evaluation.baselines import BASELINES

        return [name for name in wanted if name in BASELINES and self.work.family.has(BASELINES[name].needs)]

    @cached_property
    def model_of(self) -> Callable[[str], AbstractContextManager[Any]]:
        family, other = self.work.family, self.other

        def own(role: str) -> AbstractContextManager[Any]:
            return other.role("never_taught") if role == OTHER else family.role(role)

        if not self.columns:
            return own
        from unlearning.evaluation.attack_prompts import topic_of
        from unlearning.evaluation.baselines import with_baselines

        topic = topic_of(self.inputs)
        return with_baselines(own, family.tokenizer, self.work.dictionary, topic, self.work.settings.label)

    @cached_property
    def asked_before(self) -> bool:
        """Whether the run's own evaluation asked the same of the same models."""
        if not (self.of / "stages" / "evaluate" / "stage.json").exists():
            return False
        then, now = read_config(self.of).get("inputs", {}), self.config.get("inputs", {})
        same = all(then.get(file) == now.get(file) for file in ASKED_ALIKE)
        return same and read_settings(self.of).evaluation == self.work.settings.evaluation


def execute(folder: Path, report: Callable[..., None], should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Do what is left of an evaluation.

    Args:
        folder: Of the evaluation, as `suites.create_evaluation` made it.
        report: Takes every event.
        should_stop: Asked after every role of every part.

    Returns:
        `{"state", "of", "suite", "headline"}`; the result itself is in `evaluation.json`.

    Raises:
        RunNotFoundError: the run that it looks at is gone.
    """
    from unlearning.training.stages import Stopped

    asking = _open(folder, report, should_stop)
    parts = list(asking.config.get("parts") or plan(asking.config["suite"]))
    try:
        for part in parts:
            _part(asking, part)
            write_json(folder / RESULT, _result(asking, complete=part == parts[-1]))
    except Stopped:
        return {"state": "cancelled"}
    result = _result(asking, complete=True)
    return {"state": "succeeded", "of": result["of"], "suite": result["suite"], "headline": result["headline"]}


def _open(folder: Path, report: Callable[..., None], should_stop: Callable[[], bool]) -> Asking:
    """Load every model of the run; what is asked comes from the evaluation's own folder."""
    from unlearning.training.stages import open_roles

    config = read_config(folder)
    of = folder.parent / str(config.get("of"))
    if not (of / "config.json").exists():
        raise RunNotFoundError(
            f"Run {config.get('of')}, which is to be evaluated, is not in {of.parent}.",
            "Take it out of the trash, or import it.",
        )
    work = replace(open_roles(of, report), folder=folder, settings=read_settings(folder), should_stop=should_stop)
    return Asking(folder, of, work, config, report, should_stop)


def _part(asking: Asking, part: str) -> None:
    """One part, or what it found if it is done already."""
    from unlearning.training.stages import Stopped

    marker = asking.folder / "stages" / part / "stage.json"
    done = read_json_or_empty(marker)
    began = time.monotonic()
    if not done:
        if asking.should_stop():
            raise Stopped
        marker.parent.mkdir(parents=True, exist_ok=True)
        asking.report("stage", stage=part, state="started", steps=_steps(asking, part))
    if part == WRITTEN:
        found = {} if done else _write_questions(asking)
    else:
        found = _measured(asking, part, bool(done)) if part in MEASURES else _attacked(asking, part, done)
    if not done:
        seconds = round(time.monotonic() - began, 2)
        write_json(marker, found | {"seconds": seconds})
        asking.report("stage", stage=part, state="done", seconds=seconds)


def _measured(asking: Asking, part: str, done: bool) -> dict[str, Any]:
    """Every role's answers, each asked or read where it was written before."""
    from unlearning.training.stages import Stopped

    folder, began, asked = asking.folder / "stages" / part, time.monotonic(), 0
    fresh: dict[str, dict[str, Any]] = {}
    for number, role in enumerate(asking.roles, start=1):
        answers = read_json_or_empty(folder / f"{role}.json")
        if not answers:
            answers = _taken_over(asking, part, role)
            if not answers:
                answers, asked = MEASURES[part](asking, role), asked + 1
                fresh[role] = answers
            write_json(folder / f"{role}.json", answers)
        asking.by_role.setdefault(role, {}).update(answers)
        if not done:
            left = (time.monotonic() - began) / asked * (len(asking.roles) - number) if asked else None
            asking.report("step", stage=part, step=number, steps=len(asking.roles), seconds_left=left, role=role)
            if asking.should_stop() and number < len(asking.roles):
                raise Stopped
    if part == "familiarity" and not done:
        _judge_fluency(asking, folder)
    return {"roles": asking.roles, "taken_over": [role for role in asking.roles if role not in fresh]}


def _taken_over(asking: Asking, part: str, role: str) -> dict[str, Any]:
    """What the run's own evaluation wrote about a role, where it asked the same."""
    if part not in TAKEN_OVER or not asking.asked_before:
        return {}
    before = read_json_or_empty(asking.of / "stages" / "evaluate" / f"{role}.json")
    return {key: before[key] for key in TAKEN_OVER[part] if key in before}


def _judge_fluency(asking: Asking, folder: Path) -> None:
    """The baseline reads the completions that nobody judged yet."""
    unread = {
        role: answers
        for role, answers in asking.by_role.items()
        if any((each.get("fluency") or {}).get("log_prob") is None for each in answers.get("completions") or [])
    }
    if unread:
        with asking.model_of("baseline") as model:
            add_fluency(model, asking.work.family.tokenizer, unread)
        for role, answers in unread.items():
            write_json(folder / f"{role}.json", {key: answers[key] for key in TAKEN_OVER["familiarity"]})


def _attacked(asking: Asking, part: str, done: Mapping[str, Any]) -> dict[str, Any]:
    """What one attack found; an attack that this version does not know is left out."""
    if done:
        if done.get("attack"):
            asking.attacks.append({key: value for key, value in done.items() if key != "seconds"})
        return {}
    attack = attacks(asking.config["suite"]).get(part)
    if attack is None:
        return {"skipped": True}
    found = attack.run(
        asking.model_of, asking.work.family.tokenizer, asking.inputs, asking.work.settings,
        lambda kind, **fields: asking.report(kind, **({"stage": part} | fields)), asking.should_stop,
        **_wanted(attack.run, {"roles": asking.roles, "suite": asking.config["suite"], "family": asking.work.family}),
    )  # fmt: skip
    asking.attacks.append(found)
    return dict(found)


def _wanted(function: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the offered arguments that a function takes."""
    return {name: value for name, value in offered.items() if name in inspect.signature(function).parameters}


def _steps(asking: Asking, part: str) -> int | None:
    return len(asking.roles) if part in MEASURES else None


# --- the parts ---


def _familiarity(asking: Asking, role: str) -> dict[str, Any]:
    with asking.model_of(role) as model:
        return measure_prompts(
            model, asking.work.family.tokenizer, asking.inputs, asking.settings,
            lambda kind, **fields: asking.report(kind, **fields, stage="familiarity", role=role),
            asking.work.settings.seed,
        )  # fmt: skip


def _texts(asking: Asking, role: str) -> dict[str, Any]:
    most = asking.inputs.most_blocks if asking.asked_before else asking.effort.blocks
    with asking.model_of(role) as model:
        return {"texts": measure_texts(model, asking.work.family.tokenizer, asking.inputs, most)}


def _passages(asking: Asking, role: str) -> dict[str, Any]:
    tokenizer, tokens = asking.work.family.tokenizer, asking.effort.passage_tokens
    cut = (cut_passage(block, tokenizer, tokens) for block in asking.inputs.forget)
    chosen = spread([passage for passage in cut if passage], asking.effort.passages)
    if role in asking.columns:
        chosen = chosen[::2]  # words one by one cost columns most; what they are asked the models are asked too
    with asking.model_of(role) as model:
        return {"passages": measure_passages(model, tokenizer, chosen, tokens)}


def _asked(asking: Asking, role: str) -> dict[str, Any]:
    chosen = spread(asking.inputs.questions, asking.effort.questions)
    letters = asking.effort.letters and role not in asking.columns
    with asking.model_of(role) as model:
        return {"questions": ask_questions(model, asking.work.family.tokenizer, chosen, letters)}


def _neighbours(asking: Asking, role: str) -> dict[str, Any]:
    chosen = spread(asking.inputs.neighbours, asking.effort.neighbours)
    with asking.model_of(role) as model:
        return {"neighbours": ask_questions(model, asking.work.family.tokenizer, chosen)}


def _divergence(asking: Asking, role: str) -> dict[str, Any]:
    if role in asking.columns:
        return {"divergence": []}  # what a note or a filter does to other prose, the perplexity tells already
    blocks = spread(asking.inputs.retain, asking.effort.divergence_blocks)
    return {
        "divergence": measure_divergence(
            asking.model_of, role, asking.work.family.tokenizer, blocks, asking.effort.divergence_positions
        )
    }


# --- by a language model ---


def _write_questions(asking: Asking) -> dict[str, Any]:
    """Questions into a file of this part; where none come, those made from the text are asked."""
    from unlearning.training.stages import Stopped

    def report(kind: str, **fields: Any) -> None:
        asking.report(kind, **(fields | {"stage": WRITTEN}))
        if kind == "step" and asking.should_stop():
            raise Stopped

    endpoint = configured()
    try:
        if endpoint is None:
            raise EndpointError(*NOBODY)
        made = make_questions((asking.folder / "text.txt").read_text(encoding="utf-8"), endpoint, report=report)
    except EndpointError as error:
        asking.report("warning", message=f"The language model wrote no questions. {error}", stage=WRITTEN)
        return {"questions": 0}
    (asking.folder / "stages" / WRITTEN / QUESTIONS).write_text(dump_questions(made), encoding="utf-8")
    return {"questions": len(made)}


def _judged(asking: Asking, role: str) -> dict[str, Any]:
    """A role's completions with the language model's grades; without, where it has been given up."""
    rows = [dict(row) for row in asking.by_role.get(role, {}).get("completions") or []]
    if asking.given_up:
        return {"completions": rows}
    endpoint, names = configured(), [anchor.term for anchor in asking.inputs.dictionary.enabled()]
    try:
        if endpoint is None:
            raise EndpointError(*NOBODY)
        judge_rows(
            rows, endpoint, asking.inputs.title, names,
            lambda kind, **fields: asking.report(kind, **(fields | {"stage": JUDGED})),
        )  # fmt: skip
    except EndpointError as error:
        asking.given_up = True
        asking.report("warning", message=f"The language model grades no more completions. {error}", stage=JUDGED)
    return {"completions": rows}


NOBODY = ("None is set up where this evaluation works.", f"Set {URL_VARIABLE} and {MODEL_VARIABLE} there.")
MEASURES: dict[str, Callable[[Asking, str], dict[str, Any]]] = {
    "familiarity": _familiarity, "texts": _texts, "passages": _passages, "questions": _asked,
    "neighbours": _neighbours, "divergence": _divergence, JUDGED: _judged,
}  # fmt: skip


# --- the result ---


def _result(asking: Asking, complete: bool) -> dict[str, Any]:
    """`evaluation.json`: figures, verdicts, attacks, and the evidence for each."""
    summary = summarise(asking.by_role, asking.attacks)
    evidence = {
        part: {role: answers[part] for role, answers in asking.by_role.items() if answers.get(part)}
        for part in EVIDENCE
    }
    found: dict[str, Any] = {
        "format": FORMAT,
        "of": asking.of.name,
        "suite": asking.config["suite"],
        "complete": complete,
        "roles": list(asking.by_role),
        **summary,
        "attacks": [{key: value for key, value in each.items() if key != "evidence"} for each in asking.attacks],
        "evidence": {part: rows for part, rows in evidence.items() if rows},
    }
    for attack in asking.attacks:
        if shown := attack.get("evidence"):
            found["evidence"][attack["attack"]] = shown
    return json.loads(json.dumps(found))


def _questions(path: Path) -> list[Question]:
    return load_questions(path) if path.exists() else []
