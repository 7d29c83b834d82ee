"""Relearning: fine-tune a little, and look how fast the text comes back.

Trained is a copy that is thrown away, in the one training loop, with a fresh adapter over the role (all weights where
a run trains all). The never-taught model goes through the same: what it learns in so many steps is what the lesson
itself teaches; and so does the baseline, whose answers are the measure. Asked are only probes whose answers do not
stand in the lesson.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from unlearning.config import TrainSettings
from unlearning.evaluation.attack_questions import (
    PROBES,
    answers,
    ask_plainly,
    opened,
    probe_figures,
    probes_of,
    stop_if,
)
from unlearning.evaluation.attack_results import values_of
from unlearning.evaluation.baselines import ModelOf
from unlearning.evaluation.measure import MeasureInputs, spread
from unlearning.methods.examples import Example, next_token_example
from unlearning.models.loading import encode
from unlearning.text.prompts import Probe
from unlearning.training.loop import Term, train

STEPS = 12
MEASURED = (0, 1, 2, 4, 8, 12)  # steps after which the probes are asked
PASSAGES = 3  # of the lesson, each of at most so many tokens:
PASSAGE_TOKENS = 96
RATE = {"lora": 1e-3, "full": 1e-5}
TRAINED = ("never_taught", "baseline", "unlearned")


def relearned_probes(
    lesson: str,
    model_of: ModelOf,
    tokenizer: Any,
    inputs: MeasureInputs,
    mode: str,
    family: Any,
    roles: Sequence[str],
    report: Callable[..., None],
    should_stop: Callable[[], bool],
    seed: int = 0,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The probes asked while a copy of each role learns a lesson.

    Args:
        lesson: "forget": a little of the text; "unrelated": as much other prose.
        model_of: Gives the model of a role.
        tokenizer: Of the models.
        inputs: Probes, forget text, retain text.
        mode: "lora" or "full".
        family: Gives trainable copies; None where there are none.
        roles: To show. Those that are no weights of their own are the baseline, trained as it is.
        report: Told a `step` after every training step.
        should_stop: Asked after every step.
        seed: Of the adapter's beginning.

    Returns:
        Values as `attack_results.values_of`, and the curves.
    """
    texts = inputs.forget if lesson == "forget" else inputs.retain or inputs.unrelated
    passages = _passages(texts, tokenizer)
    probes = _untold(probes_of(inputs, tokenizer, len(inputs.probes)), passages)
    trained = [role for role in TRAINED if role in roles]
    if family is None or not passages or not probes or "unlearned" not in roles:
        return {}, {"text": "There was nothing to relearn from, or nothing to ask."}
    probes = spread(probes, PROBES["full"])
    plain = ask_plainly(model_of, tokenizer, roles, probes, should_stop)
    curves: dict[str, list[tuple[int, list[float]]]] = {}
    examples = [next_token_example(encode(tokenizer, text)[0][:PASSAGE_TOKENS]) for text in passages]
    for place, role in enumerate(trained):
        curves[role] = _curve(
            family, role, tokenizer, examples, probes, mode, seed, should_stop,
            partial(_tell, report, place * STEPS, len(trained) * STEPS),
        )  # fmt: skip
        stop_if(should_stop)
    after = opened({role: rows[-1][1] for role, rows in curves.items()}, roles)
    series = {role: [[step, math.fsum(row) / len(row)] for step, row in rows] for role, rows in curves.items()}
    between = {role: {f"after step {step}": row for step, row in rows[:-1]} for role, rows in curves.items()}
    return values_of(after, plain), {
        "series": series, "axis": {"x": "training steps", "y": "probability familiarity"},
        "lesson": passages, "learning_rate": RATE[mode],
        "evidence": answers(probes, after, plain, opened(between, roles)),
    }  # fmt: skip


def _tell(report: Callable[..., None], before: int, steps: int, done: int) -> None:
    report("step", step=before + done, steps=steps)


def _curve(
    family: Any,
    role: str,
    tokenizer: Any,
    examples: Sequence[Example],
    probes: Sequence[Probe],
    mode: str,
    seed: int,
    should_stop: Callable[[], bool],
    done_step: Callable[[int], None],
) -> list[tuple[int, list[float]]]:
    import torch

    rows: list[tuple[int, list[float]]] = []
    settings = TrainSettings(
        epochs=math.ceil(STEPS / len(examples)), learning_rate=RATE[mode], schedule="constant", batch_blocks=1
    )
    torch.manual_seed(zlib.crc32(f"{seed}/relearning".encode()))  # the same fresh adapter for every role
    with family.trainable_copy(role) as model:

        def after_step(done: int, steps: int) -> None:
            if done in MEASURED:
                rows.append((done, probe_figures(model, tokenizer, probes)))
            if done:
                done_step(done)

        train(
            model, [Term("next_token", examples)], settings, stage="relearning", seed=seed,
            dtype=str(model.dtype).removeprefix("torch."), should_stop=should_stop, after_step=after_step,
        )  # fmt: skip
    return rows


def _passages(texts: Sequence[str], tokenizer: Any) -> list[str]:
    """The first part of some blocks, evenly spread over all."""
    found = []
    for text in spread(texts, PASSAGES):
        _, offsets = encode(tokenizer, text)
        found.append(text[: offsets[:PASSAGE_TOKENS][-1][1]] if offsets else "")
    return [text for text in found if len(text.split()) > 1]


def _untold(probes: Sequence[Probe], passages: Sequence[str]) -> list[Probe]:
    """Probes none of whose answers stands in the lesson."""
    told = " ".join(" ".join(passages).lower().split())
    return [probe for probe in probes if not any(target.strip().lower() in told for target in probe.targets)]
