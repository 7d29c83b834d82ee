"""The adapter turned down, off and beyond: W = W_baseline + s · (W_unlearned − W_baseline), s from 0 to 1.5.

Whoever is handed the adapter beside the weights can do this with one line. At 0 the baseline is back, at 1 it is the
unlearned model; between them one sees how far forgetting is a matter of degree, beyond 1 what more of it would do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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
from unlearning.evaluation.measure import MeasureInputs
from unlearning.models.heads import unwrap

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
TAKEN_OFF = (
    "Whoever holds the adapter apart can switch it off: the baseline is then back, as it must be. "
    "Merge it before a model is handed on."
)


def scaled_probes(
    model_of: ModelOf,
    tokenizer: Any,
    inputs: MeasureInputs,
    roles: Sequence[str],
    report: Callable[..., None],
    should_stop: Callable[[], bool],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The probes asked of the unlearned model at every strength; its value is the one with the adapter taken off.

    That is the baseline whatever was unlearned, so there is no verdict on it: `brings_back` is None.
    """
    probes = probes_of(inputs, tokenizer, PROBES["full"])
    if not probes or "unlearned" not in roles:
        return {}, {"text": "There was nothing to ask, or no unlearned model."}
    plain = ask_plainly(model_of, tokenizer, roles, probes, should_stop)
    rows: list[tuple[float, list[float]]] = []
    with model_of("unlearned") as model:
        if not hasattr(model, "peft_config"):
            return {}, {"text": "Every weight was trained, so there is no adapter to take off."}
        for step, strength in enumerate(STRENGTHS, start=1):
            with scaled(model, strength):
                rows.append((strength, probe_figures(model, tokenizer, probes)))
            report("step", step=step, steps=len(STRENGTHS))
            stop_if(should_stop)
    known = {role: plain[role] for role in ("never_taught", "baseline") if role in plain} | {"unlearned": rows[0][1]}
    curve = [[strength, math.fsum(row) / len(row)] for strength, row in rows]
    attacked = opened(known, roles)
    values = values_of(attacked, plain)
    for cell in values.values():
        if "brings_back" in cell:
            cell["brings_back"] = None
    return values, {
        "brings_back": None,
        "text": TAKEN_OFF,
        "evidence": answers(
            probes, attacked, plain, {"unlearned": {f"at strength {strength:g}": row for strength, row in rows[1:]}}
        ),
        "series": {"unlearned": curve},
        "axis": {"x": "strength of the adapter (0: taken off, 1: as it is)", "y": "probability familiarity"},
    }


@contextmanager
def scaled(model: Any, strength: float) -> Iterator[None]:
    """The unlearned model at some strength; then as it was.

    Args:
        model: In the role "unlearned", with adapters.
        strength: s of the formula above. Where the baseline has an adapter of its own ("taught"), that is blended in.
    """
    before, kept = model.active_adapter, []
    taught = "taught" in model.peft_config and before != "taught"
    factors = {before: strength} | ({"taught": 1 - strength} if taught else {})
    try:
        if taught:
            model.base_model.set_adapter([before, "taught"])
        for layer in adapter_layers(model):
            kept.append((layer, dict(layer.scaling)))
            for name, factor in factors.items():
                if name in layer.scaling:
                    layer.scaling[name] *= factor
        with unstacked(model):
            yield
    finally:
        for layer, scaling in kept:
            layer.scaling.update(scaling)
        if taught:
            model.set_adapter(before)


def adapter_layers(model: Any) -> list[Any]:
    """The layers of a model that hold adapters."""
    return [layer for layer in unwrap(model).modules() if hasattr(layer, "lora_A") and hasattr(layer, "scaling")]


@contextmanager
def unstacked(model: Any) -> Iterator[None]:
    """What `low_rank.rows_play` has put together beforehand is left aside, so that a change of an adapter is seen."""
    layers = [layer for layer in adapter_layers(model) if getattr(layer, "stacked", None) is not None]
    before = [layer.stacked for layer in layers]
    try:
        for layer in layers:
            layer.stacked = None
        yield
    finally:
        for layer, stacked in zip(layers, before, strict=True):
            layer.stacked = stacked
