"""What attacks ask, and how an attack ends when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from unlearning.evaluation.baselines import UNDERNEATH, ModelOf
from unlearning.evaluation.familiarity import disjoint
from unlearning.evaluation.measure import MeasureInputs, spread
from unlearning.evaluation.scoring import target_probabilities
from unlearning.models.encoding import encode_pair
from unlearning.text.prompts import Probe

Row = TypeVar("Row")

PROBES = {"quick": 16, "full": 24}  # that an attack asks, evenly spread over all of them


def probes_of(inputs: MeasureInputs, tokenizer: Any, most: int) -> list[Probe]:
    """The probes that attacks ask, each with the targets whose probabilities add up."""
    chosen = spread([probe for probe in inputs.probes if probe.kind == "probe"], most)
    found = []
    for probe in chosen:
        kept = disjoint([encode_pair(tokenizer, probe.prompt, target)[1] for target in probe.targets])
        found.append(Probe(probe.prompt, tuple(probe.targets[i] for i in kept), probe.kind, probe.note))
    return found


def probe_figures(model: Any, tokenizer: Any, probes: Sequence[Probe]) -> list[float]:
    """Σ P(target | prompt) of each probe."""
    return [sum(row) for row in target_probabilities(model, tokenizer, probes)]


def stop_if(should_stop: Callable[[], bool]) -> None:
    """End the attack where that was asked for.

    Raises:
        Stopped: it was.
    """
    if should_stop():
        from unlearning.training.stages import Stopped

        raise Stopped


def ask_plainly(
    model_of: ModelOf, tokenizer: Any, roles: Sequence[str], probes: Sequence[Probe], should_stop: Callable[[], bool]
) -> dict[str, list[float]]:
    """Role → the figure of each probe, asked as it is."""
    found = {}
    for role in roles:
        with model_of(role) as model:
            found[role] = probe_figures(model, tokenizer, probes)
        stop_if(should_stop)
    return found


def answers(
    probes: Sequence[Probe],
    attacked: Mapping[str, Sequence[float]],
    plain: Mapping[str, Sequence[float]],
    between: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """The evidence of an attack: role → {"prompt", "targets", "p", "plain"} of each probe.

    Args:
        probes: As they were asked.
        attacked: Role → the figure of each probe, under the attack.
        plain: The same, asked plainly.
        between: Role → what else was measured of each probe, by its name.
    """
    return {
        role: [
            {"prompt": probe.prompt, "targets": list(probe.targets), "p": p, "plain": before}
            | {name: row[i] for name, row in (between or {}).get(role, {}).items()}
            for i, (probe, p, before) in enumerate(zip(probes, figures, plain[role], strict=True))
        ]
        for role, figures in attacked.items()
    }


def with_weights(roles: Sequence[str]) -> list[str]:
    """The roles that are weights of their own."""
    return [role for role in roles if role not in UNDERNEATH]


def opened(rows: Mapping[str, Row], roles: Sequence[str]) -> dict[str, Row]:
    """Rows of the roles that are weights of their own, and of the others: those of what lies under them."""
    under = {role: UNDERNEATH.get(role, role) for role in roles}
    return {role: rows[each] for role, each in under.items() if each in rows}
