"""Which parts an evaluation consists of, how much each suite asks in them, and making an evaluation of a run.

An evaluation is a run of its own kind: a folder in the same workspace, queued, stoppable, resumable, whose
config.json says `of` (the run it looks at) and `suite`. It leaves that run as it is. No torch here; the work itself
is done by `suites_run`.

    familiarity   probes, controls, completions      as the run's own evaluation, taken over where that asked the same
    texts         perplexities                       likewise
    passages      verbatim memory of passages
    questions     multiple choice and cloze about the text's facts
    neighbours    multiple choice about its neighbourhood
    divergence    KL to the baseline on the retain text
    attacks       each of `attacks.ATTACKS` a part of its own

Where a language model is to help there is a part before these, `written` (it writes questions, where the run has none),
and one after them, `judged` (it grades the completions).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.errors import ModelError, RunError, SettingsError
from unlearning.runs import speeds, store
from unlearning.runs.durable import read_json_or_empty
from unlearning.runs.record import read_config, read_settings
from unlearning.runs.store import INPUTS, Run, State

if TYPE_CHECKING:
    from unlearning.config import EvaluationSettings

KIND = "evaluation"
RESULT = "evaluation.json"
FORMAT = 1
QUESTIONS, NEIGHBOURS = "questions.json", "neighbours.json"
MADE_WITHOUT = frozenset({"taught"})  # inputs of the run that are read where they lie


@dataclass(frozen=True)
class Effort:
    """How much a suite asks.

    Attributes:
        blocks: Of each text whose perplexity is taken.
        completions: To write and grade, each of `completion_tokens`; where the run's own are not taken over.
        passages: To go on with verbatim, for `passage_tokens` after as many.
        questions: Of the text's facts; `neighbours` likewise.
        letters: Whether to ask for the letter and for the cloze form too.
        divergence_blocks: Of the retain text; at `divergence_positions` of each.
        columns: Baselines that are measured beside the models (`baselines.BASELINES`).
    """

    blocks: int
    completions: int
    completion_tokens: int
    passages: int
    passage_tokens: int
    questions: int
    neighbours: int
    letters: bool
    divergence_blocks: int
    divergence_positions: int
    columns: tuple[str, ...] = ()


SUITES: dict[str, Effort] = {
    "quick": Effort(4, 10, 24, 4, 24, 32, 16, False, 2, 32),
    "full": Effort(
        12, 20, 40, 12, 40, 1000, 1000, True, 6, 64, ("prompted", "filtered", "reinforced_formula")
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One part of an evaluation.

    Attributes:
        title: In words.
        read: Tokens that one role reads in it, by suite; measured on the default scenario.
        written: Tokens that it writes.
    """

    title: str
    read: Mapping[str, int] = field(default_factory=dict)
    written: Mapping[str, int] = field(default_factory=dict)


PARTS: dict[str, Part] = {
    "familiarity": Part("Familiarity", {"quick": 2500, "full": 3500}, {"quick": 240, "full": 800}),
    "texts": Part("Texts", {"quick": 2500, "full": 6500}),
    "passages": Part("Passages word for word", {"quick": 400, "full": 1200}, {"quick": 200, "full": 960}),
    "questions": Part("Questions about the text", {"quick": 1500, "full": 8500}),
    "neighbours": Part("Neighbouring knowledge", {"quick": 750, "full": 1700}),
    "divergence": Part("Distance to the baseline", {"quick": 1000, "full": 3000}),
}
WRITTEN, JUDGED = "written", "judged"
WITH_LLM = {
    WRITTEN: Part("A language model writes questions"),
    JUDGED: Part("A language model grades the completions"),
}
PASSAGES_ASKED = 30  # that a language model reads to write questions, at most
ANSWER_S = 3.0  # that a language model is taken to need for an answer, before anybody has seen it at work
TAKEN_OVER = ("familiarity", "texts")  # where the run has asked the same of its models
COLUMN = 2.1  # what a column costs, as a share of a model: notes are read, the formula needs two models


def attacks(suite: str) -> dict[str, Any]:
    """The attacks of a suite: id → entry of `attacks.ATTACKS`, in its order."""
    from unlearning.evaluation.attacks import ATTACKS

    return {name: attack for name, attack in ATTACKS.items() if suite in attack.suites}


def plan(suite: str) -> list[str]:
    """The parts of a suite, in order.

    Raises:
        SettingsError: there is no such suite.
    """
    effort(suite)
    return [*PARTS, *attacks(suite)]


def effort(suite: str) -> Effort:
    """How much a suite asks.

    Raises:
        SettingsError: there is no such suite.
    """
    if suite not in SUITES:
        raise SettingsError(f"There is no suite '{suite}'.", f"Choose one of: {', '.join(SUITES)}.")
    return SUITES[suite]


def part_title(part: str) -> str:
    """A part's name in words; its id where this version does not know it."""
    known = (PARTS | WITH_LLM).get(part) or attacks("full").get(part) or attacks("quick").get(part)
    return str(known.title) if known else part


def create_evaluation(
    workspace: Path,
    of: Path,
    suite: str = "quick",
    *,
    name: str = "",
    inputs: Mapping[str, str | bytes | Path] | None = None,
    evaluation: EvaluationSettings | None = None,
    columns: Sequence[str] | None = None,
    other: str = "",
    llm: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> Run:
    """A new evaluation, a draft until it is started.

    Args:
        workspace: That `of` lies in.
        of: The run to look at; it needs no result, only what it has made so far is measured.
        suite: A key of SUITES.
        name: Of the evaluation; empty: made from the run's.
        inputs: Instead of the run's own: other probes, completions, questions.
        evaluation: Other settings of the measuring than the run's.
        columns: Baselines to measure too; None: as the suite has it.
        other: A further model to measure, of the same family: a name or a folder.
        llm: Whether the language model that is set up (`endpoint.configured`) writes questions, where the run has
            none, and grades completions.
        extra: Further entries of its config.json.

    Raises:
        SettingsError: no such suite or input.
        RunError: the run is an evaluation itself, is at work, or has made nothing yet.
        ModelNotFoundError, ModelError: see `check_other`.
    """
    config, settings = read_config(of), read_settings(of)
    check_evaluable(of)
    if other:
        check_other(of, other)
    columns = list(SUITES[suite].columns if suite in SUITES and columns is None else columns or ())
    own = {file: of / file for file in INPUTS if (of / file).exists() and file not in MADE_WITHOUT}
    given: dict[str, str | bytes | Path] = questions_of(of) | own | dict(inputs or {})
    parts = _with_llm(plan(suite), QUESTIONS in given) if llm else plan(suite)
    if QUESTIONS not in given and (made := _made_questions(of)):
        given[QUESTIONS] = made
    settings = settings.model_copy(update={"evaluation": evaluation}) if evaluation else settings
    told = store.load(of)
    facts: dict[str, Any] = {"of": of.name, "suite": suite, "parts": parts, "columns": columns}
    facts |= ({"other": other} if other else {}) | ({"llm": True} if llm else {})
    return store.create(
        workspace, settings, given, name=name or f"{suite.capitalize()} evaluation of {told.name}"[:255],
        title=str(config["text"].get("title", "")), kind=KIND,
        extra=facts | {"budget": _budget(of, suite, len(columns), parts)} | _scenario(config) | dict(extra or {}),
    )  # fmt: skip


def _with_llm(parts: Sequence[str], has_questions: bool) -> list[str]:
    return [*([] if has_questions else [WRITTEN]), *parts, JUDGED]


def check_evaluable(of: Path) -> None:
    """Refuse a run that cannot be evaluated now.

    Raises:
        RunError: it is an evaluation, or its models may still change.
    """
    if read_config(of).get("kind") == KIND:
        raise RunError(f"Run {of.name} is an evaluation itself.", f"Evaluate run {read_config(of).get('of')} again.")
    if (now := store.state(of)) in store.BUSY:
        raise RunError(f"Run {of.name} is still {now}.", "Evaluate it when it has ended, or stop it first.")


def check_other(of: Path, name: str) -> None:
    """Refuse a further model that is not of the family of a run's, as far as both are on this machine.

    Raises:
        ModelNotFoundError, ModelError: there is no such model, it cannot be read, or it has other tokens.
    """
    from unlearning.models.loading import tokenizer_here

    own, other = (tokenizer_here(each) for each in (read_settings(of).model.name, name))
    if own is not None and other is not None:
        check_vocabulary(name, other, own, of.name)


def check_vocabulary(name: str, other: Any, own: Any, run: str) -> None:
    """
    Raises:
        ModelError: the tokenizers of the further model and of the run have different tokens.
    """
    if other.get_vocab() != own.get_vocab():
        message = f"{name} has another vocabulary than the models of run {run}."
        raise ModelError(message, "Name one of the same family.")


def expected_seconds(of: Path, suite: str) -> float | None:
    """How long an evaluation of a run will take here; None where this machine was not measured with its model."""
    stages = _budget(of, suite, len(effort(suite).columns))["stages"]
    return sum(stage["seconds"] for stage in stages.values()) if stages else None


def evaluations_of(workspace: Path, of: str) -> list[Run]:
    """The evaluations of a run, newest first."""
    return [run for run in store.list_runs(workspace) if run.config.get("kind") == KIND and run.config.get("of") == of]


def newest_result(workspace: Path, of: str, suite: str = "") -> dict[str, Any]:
    """What the newest finished evaluation of a run found (of one suite where one is named); empty without one."""
    for run in evaluations_of(workspace, of):
        if run.state is State.SUCCEEDED and suite in ("", run.config.get("suite")):
            found = read_json_or_empty(run.folder / RESULT)
            if found:
                return found | {"evaluation": run.id, "created": run.created}
    return {}


def _budget(of: Path, suite: str, columns: int, parts: Sequence[str] = ()) -> dict[str, Any]:
    """{"stages": {part: {"seconds"}}} from this machine's speed with the run's model; no stages where it is unknown."""
    workspace = of.parent.parent
    known = speeds.known_speeds(workspace, read_settings(of)) if of.parent.name == "runs" else None
    if known is None:
        return {"stages": {}}
    asked = (of / "stages" / "evaluate" / "stage.json").exists()
    stages = {}
    for name in parts or plan(suite):
        part = PARTS.get(name)
        roles = COLUMN * columns + (0 if asked and name in TAKEN_OVER else 3)
        if name in WITH_LLM:
            answers = PASSAGES_ASKED if name == WRITTEN else (3 + columns) * SUITES[suite].completions
            stages[name] = {"seconds": ANSWER_S * answers}
        elif part:
            each = part.read.get(suite, 0) / known.score_tokens_per_s
            each += part.written.get(suite, 0) / known.generate_tokens_per_s
            stages[name] = {"seconds": roles * each}
        else:
            read = float(attacks(suite)[name].tokens)
            stages[name] = {"seconds": read / known.score_tokens_per_s}
    return {"stages": stages}


def questions_of(of: Path) -> dict[str, Path]:
    """The questions that a run can be asked: its own, else those of its scenario as far as they are about its text."""
    own = {file: of / file for file in (QUESTIONS, NEIGHBOURS) if (of / file).is_file()}
    return _questions_of(read_config(of)) | own


def _questions_of(config: Mapping[str, Any]) -> dict[str, Path]:
    from unlearning.scenarios import ASSETS, SCENARIOS, load_scenario

    scenario = config.get("scenario")
    if scenario not in SCENARIOS:
        return {}
    folder, chosen = ASSETS / "scenarios" / str(scenario), load_scenario(str(scenario))
    files = [NEIGHBOURS] if chosen.text and not _same_text(chosen.document().text, config) else [QUESTIONS, NEIGHBOURS]
    return {file: folder / file for file in files if (folder / file).is_file()}


def _made_questions(of: Path) -> str:
    """Questions made from a run's own text, where it comes without; empty where it has too few names."""
    from unlearning.evaluation.questions import dump_questions
    from unlearning.evaluation.questions_made import questions_from_text
    from unlearning.text.anchors import load_dictionary

    text = (of / "text.txt").read_text(encoding="utf-8")
    made = questions_from_text(text, load_dictionary(of / "anchors.json"))
    return dump_questions(made) if made else ""


def _same_text(text: str, config: Mapping[str, Any]) -> bool:
    return hashlib.sha256(text.encode()).hexdigest() == config["text"].get("sha256")


def _scenario(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"scenario": config["scenario"]} if config.get("scenario") else {}


def read_result(folder: Path) -> dict[str, Any]:
    """What an evaluation found.

    Raises:
        RunError: it has not come to its end, or is none.
    """
    found = read_json_or_empty(folder / RESULT)
    if not found:
        raise RunError(f"Run {folder.name} has no {RESULT}.", "Wait for its end, or resume it.")
    return found
