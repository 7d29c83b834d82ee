"""Measure one role of a run, and put the measurements of all roles together.

measure_role      one model: probes, controls, perplexities, completions — JSON, one file a role
measure_prompts   its two halves, of which an evaluation makes parts of their own
measure_texts
add_fluency       what the baseline makes of every role's completions
summarise         the table, the verdicts, the headline — made from those files alone, without a model
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from unlearning.config import EvaluationSettings
from unlearning.evaluation.divergence import divergence_figures
from unlearning.evaluation.familiarity import (
    bootstrap,
    completion_familiarity,
    disjoint,
    grade_completion,
    probability_familiarity,
    share,
)
from unlearning.evaluation.fluency import judge_fluency
from unlearning.evaluation.memory import FEWEST_SAMPLES, after, forget_quality
from unlearning.evaluation.passages import passage_figures
from unlearning.evaluation.question_figures import neighbour_figures, question_figures
from unlearning.evaluation.questions import Question
from unlearning.evaluation.report import compare_table
from unlearning.evaluation.scoring import ask_probes, score_texts
from unlearning.evaluation.verdicts import verdicts
from unlearning.models.encoding import encode_pair
from unlearning.models.generation import generate
from unlearning.text.anchors import Dictionary
from unlearning.text.prompts import CompletionPrompt, Probe

Item = TypeVar("Item")
TEXTS = ("forget", "held_out", "unrelated")
PARTS = 2 + len(TEXTS)  # of one model's measurement: asked prompts, completions, and each text
# What the further parts of an evaluation make of a role's answers and the never-taught model's.
FIGURES = (passage_figures, question_figures, neighbour_figures, divergence_figures)


@dataclass(frozen=True)
class MeasureInputs:
    """What every role of a run is asked.

    Args:
        dictionary: The anchors, which tell the completions that give the text away.
        probes: Probes and controls.
        completions: Prompts to go on with.
        themes: Words typical of the text.
        forget: Blocks that were unlearned.
        held_out: Blocks of the same text that were not.
        unrelated: Blocks of prose that no stage trains on.
        most_blocks: Of each of the three, measure at most so many, evenly spread.
        retain: Blocks of the prose that the model was to stay close on.
        questions: About the text's facts.
        neighbours: About what lies next to the text: other books of the kind, the author, the time.
        title: Of the text.
    """

    dictionary: Dictionary
    probes: Sequence[Probe]
    completions: Sequence[CompletionPrompt]
    themes: Sequence[str]
    forget: Sequence[str]
    held_out: Sequence[str]
    unrelated: Sequence[str]
    most_blocks: int = 12
    retain: Sequence[str] = ()
    questions: Sequence[Question] = ()
    neighbours: Sequence[Question] = ()
    title: str = ""


def measure_role(
    model: Any,
    tokenizer: Any,
    inputs: MeasureInputs,
    settings: EvaluationSettings,
    report: Callable[..., None],
    seed: int = 0,
) -> dict[str, Any]:
    """Everything asked of one model.

    Args:
        model: The role's model, switched on.
        tokenizer: Its tokenizer.
        inputs: What to ask.
        settings: How many completions, how long, how drawn.
        report: Told `step` after each of PARTS parts, and every completion as a `sample`.
        seed: Of the drawn completions.

    Returns:
        JSON: `probes` and `controls` (prompt, targets with p, their sum p, top next tokens), `texts` (for each
        of forget, held_out, unrelated: perplexity, tokens, and of each block the mean log-probability of a token and
        how many tokens were counted),
        `completions` (prompt, text, grade, evidence) and `seconds`.
    """
    began = time.monotonic()
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        report("step", step=done, steps=PARTS)

    prompts = measure_prompts(model, tokenizer, inputs, settings, report, seed, step)
    texts = measure_texts(model, tokenizer, inputs, inputs.most_blocks, step)
    return prompts | {"texts": texts, "seconds": round(time.monotonic() - began, 1)}


def measure_prompts(
    model: Any,
    tokenizer: Any,
    inputs: MeasureInputs,
    settings: EvaluationSettings,
    report: Callable[..., None],
    seed: int = 0,
    step: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """`probes`, `controls` and `completions` of `measure_role`; `step` is called after the first two and the third."""
    probes = _ask(model, tokenizer, [probe for probe in inputs.probes if probe.kind == "probe"])
    controls = _ask(model, tokenizer, [probe for probe in inputs.probes if probe.kind == "control"])
    step()
    completions = _complete(model, tokenizer, inputs, settings, seed)
    for completion in completions:
        report("sample", prompt=completion["prompt"], text=completion["text"])
    step()
    return {"probes": probes, "controls": controls, "completions": completions}


def measure_texts(
    model: Any, tokenizer: Any, inputs: MeasureInputs, most: int, step: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """`texts` of `measure_role`, of at most `most` blocks each; `step` is called after each text."""
    texts = {}
    for name in TEXTS:
        texts[name] = _read(model, tokenizer, spread(getattr(inputs, name), most))
        step()
    return texts


def add_fluency(model: Any, tokenizer: Any, by_role: dict[str, dict[str, Any]]) -> None:
    """Let a sound model (the baseline) read every role's completions, and judge their fluency; changes `by_role`."""
    completions = [completion for measured in by_role.values() for completion in measured.get("completions") or []]
    scored = score_texts(model, tokenizer, [completion["prompt"] + completion["text"] for completion in completions])
    for completion, scores in zip(completions, scored, strict=True):
        own = [-score.nll for score in after(scores, len(completion["prompt"])) if score.nll is not None]
        completion["fluency"] = judge_fluency(completion["text"], fmean(own) if own else None).as_dict()


def summarise(by_role: Mapping[str, Mapping[str, Any]], attacks: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The before/after table and what follows from it.

    Args:
        by_role: What `measure_role` gave for each role, "baseline" among them.
        attacks: What attacks found; one that brings the text back spoils the verdict.

    Returns:
        JSON: `metrics` (role → name of METRICS → {value, …}), `table` (see `report.compare_table`), `verdicts`
        (see `verdicts`) and `headline` (the few figures for a list of runs).
    """
    metrics = {role: _metrics(measured, by_role) for role, measured in by_role.items()}
    found = verdicts(metrics, attacks)
    headline = {
        "forgotten": found["forgotten"]["answer"],
        "intact": found["intact"]["answer"],
        "familiarity": {
            role: figures["probability_familiarity"]["value"]
            for role, figures in metrics.items()
            if "probability_familiarity" in figures
        },
    }
    return {"metrics": metrics, "table": compare_table(metrics), "verdicts": found, "headline": headline}


def familiarity_of(completions: Sequence[Mapping[str, Any]], grade: str) -> dict[str, Any]:
    """The completion familiarity by the grades of this name: the offline rule's ("grade") or a judge's ("judged")."""
    grades, prompts = [each[grade] for each in completions], [each["prompt"] for each in completions]
    familiarity = completion_familiarity(grades, prompts)
    return familiarity.score.as_dict() | {"grades": list(familiarity.counts)}


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many items, evenly spread over all of them, in their order."""
    if len(items) <= most:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * most)] for i in range(most)]


def _ask(model: Any, tokenizer: Any, probes: Sequence[Probe]) -> list[dict[str, Any]]:
    """Each probe's targets with their probabilities; `p` adds up those that are not part of another."""
    rows = []
    for probe, (row, top) in zip(probes, ask_probes(model, tokenizer, probes), strict=True):
        counted = disjoint([encode_pair(tokenizer, probe.prompt, target)[1] for target in probe.targets])
        rows.append(
            {
                "prompt": probe.prompt,
                "note": probe.note,
                "targets": [{"text": text, "p": p} for text, p in zip(probe.targets, row, strict=True)],
                "p": math.fsum(row[i] for i in counted),
                "top": [{"text": text, "p": p} for text, p in top],
            }
        )
    return rows


def _read(model: Any, tokenizer: Any, blocks: Sequence[str]) -> dict[str, Any] | None:
    """Perplexity of all blocks together, of each its mean log-probability and tokens; None without a token to count."""
    per_block = [[s.nll for s in block if s.nll is not None] for block in score_texts(model, tokenizer, blocks)]
    per_block = [block for block in per_block if block]
    tokens = sum(map(len, per_block))
    if not tokens:
        return None
    perplexity = math.exp(math.fsum(map(math.fsum, per_block)) / tokens)
    return {
        "perplexity": perplexity,
        "tokens": tokens,
        "log_probs": [-fmean(block) for block in per_block],
        "token_counts": [len(block) for block in per_block],
    }


def _complete(
    model: Any, tokenizer: Any, inputs: MeasureInputs, settings: EvaluationSettings, seed: int
) -> list[dict[str, Any]]:
    prompts = spread(inputs.completions, settings.completions) * settings.rounds(len(inputs.completions))
    texts = generate(
        model, tokenizer, [each.prompt for each in prompts], settings.completion_tokens, settings.temperature, seed
    )
    rows = []
    for each, text in zip(prompts, texts, strict=True):
        grade, evidence = grade_completion(each.prompt, text, inputs.dictionary, inputs.themes)
        rows.append(
            {
                "prompt": each.prompt,
                "kind": each.kind,
                "text": text,
                "grade": grade,
                "evidence": evidence,
                "fluency": judge_fluency(text).as_dict(),
            }
            | ({"expected": each.reference} if each.reference else {})
            | ({"names": list(each.names)} if each.names else {})
        )
    return rows


def _metrics(measured: Mapping[str, Any], by_role: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """One role's figures by their name in METRICS; a figure that could not be taken is left out."""
    found: dict[str, dict[str, Any]] = {}
    if measured.get("probes"):
        found["probability_familiarity"] = probability_familiarity(
            [[each["p"]] for each in measured["probes"]]
        ).as_dict()
    found |= _completion_figures(measured.get("completions") or [])
    before_texts = by_role.get("baseline", {}).get("texts") or {}
    for name, text in (measured.get("texts") or {}).items():
        if text:
            found[f"perplexity_{name}"] = perplexity_figure(text, before_texts.get(name))
    if controls := measured.get("controls"):
        found["control_probability"] = bootstrap([row["p"] for row in controls]).as_dict()
        if before := by_role.get("baseline", {}).get("controls"):
            found["control_change"] = _distance(controls, before)
    never = by_role.get("never_taught", {})
    for figures in FIGURES:
        found |= figures(measured, never)
    return found | _against_never_taught(measured, never)


def perplexity_figure(text: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The perplexity of a text with its 95 % bootstrap interval over blocks, and its rise.

    Args:
        text: What `measure_role` found of it; results of older versions hold no `token_counts`, and get no interval.
        before: What it found of the baseline.

    Returns:
        JSON: value, count (of tokens), low and high; `rise`: {value, low, high} as shares of the baseline's, of the
        same blocks drawn of both, so that how hard the blocks are to read is not in it.
    """
    found = {"value": text["perplexity"], "count": text["tokens"]}
    counts = text.get("token_counts") or []
    if len(counts) < 2:  # one block does not tell how much blocks differ
        return found
    log_prob = bootstrap(text["log_probs"], weights=counts)
    found |= {"low": math.exp(-log_prob.high), "high": math.exp(-log_prob.low)}
    if before and before.get("token_counts") == counts:
        changes = [now - then for now, then in zip(text["log_probs"], before["log_probs"], strict=True)]
        change = bootstrap(changes, weights=counts)
        low, high = math.expm1(-change.high), math.expm1(-change.low)
        found["rise"] = {"value": math.expm1(-change.value), "low": low, "high": high}
    return found


def _completion_figures(completions: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    graded = [each for each in completions if each["kind"] == "probe"]
    if graded:
        found["completion_familiarity"] = familiarity_of(graded, "grade")
    if judged := [each for each in graded if "judged" in each]:
        found["judged_familiarity"] = familiarity_of(judged, "judged")
    if completions:
        fluency = [each["fluency"] for each in completions]
        verdicts_given = [each["verdict"] for each in fluency]
        found["fluent_share"] = share([each == "fluent" for each in verdicts_given]).as_dict()
        found["gibberish_share"] = share([each == "gibberish" for each in verdicts_given]).as_dict()
        found["repetition"] = bootstrap([each["repetition"] for each in fluency]).as_dict()
        found["distinct_2"] = bootstrap([each["distinct"] for each in fluency]).as_dict()
    return found


def _against_never_taught(measured: Mapping[str, Any], never: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    if measured.get("probes") and never.get("probes"):
        found["probe_distance"] = _distance(measured["probes"], never["probes"])
    mine, theirs = ((each.get("texts") or {}).get("forget") for each in (measured, never))
    if mine and theirs and min(len(each["log_probs"]) for each in (mine, theirs)) >= FEWEST_SAMPLES:
        test = forget_quality(mine["log_probs"], theirs["log_probs"])
        found["forget_quality"] = {"value": test.p_value, "distance": test.distance, "count": len(mine["log_probs"])}
    return found


def _distance(rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return bootstrap([abs(row["p"] - other["p"]) for row, other in zip(rows, others, strict=True)]).as_dict()
