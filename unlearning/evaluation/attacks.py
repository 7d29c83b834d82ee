"""Attacks: ways to get out of a model what it is said to have forgotten. Each works on any model of a run.

Every attack is a function (model_of, tokenizer, inputs, settings, report, should_stop, roles, …) → JSON:

    {"attack", "title", "what", "cost", "unit", "values": {role: {"value", "low", "high", "count", "plain", …}},
     "series": {role: [[x, y], …]}, "axis": {"x", "y"}, "brings_back": true | false | null, "text", "evidence"}

What "brings back" means, and by which threshold, stands in `attack_results`; it is one rule for all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from unlearning.config import Settings
from unlearning.evaluation import attack_prompts, relearning, sampling
from unlearning.evaluation.adapter_scale import scaled_probes
from unlearning.evaluation.attack_prompts import Way
from unlearning.evaluation.attack_questions import PROBES, answers, probe_figures, probes_of, stop_if
from unlearning.evaluation.attack_results import KNOWING, recovered, said, shown, values_of
from unlearning.evaluation.baselines import ModelOf
from unlearning.evaluation.lens import lens_by_layer
from unlearning.evaluation.measure import MeasureInputs
from unlearning.evaluation.quantisation import GROUP, quantised_probes
from unlearning.text.prompts import Probe

Run = Callable[..., dict[str, Any]]
Make = Callable[[MeasureInputs, Sequence[Probe]], list[Way]]


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        title: In a few words.
        what: What it does, in a plain sentence.
        cost: What the attacker needs, and what it takes.
        formula: Of its figure.
        source: Who proposed it.
        reading: What a high figure says.
        unit: Of its figure.
        run: Does it.
        suites: Those that it belongs to.
        tokens: About how many are read for it in a full suite with six columns, all models together.
    """

    title: str
    what: str
    cost: str
    formula: str
    source: str
    reading: str
    unit: str
    run: Run
    suites: tuple[str, ...] = ("full",)
    tokens: int = 5000


def named(name: str, find: Callable[..., tuple[dict[str, Any], dict[str, Any]]]) -> Run:
    """An attack whose work `find` does: it gives the values, and what else the result holds."""

    def run(
        model_of: ModelOf,
        tokenizer: Any,
        inputs: MeasureInputs,
        settings: Settings,
        report: Callable[..., None],
        should_stop: Callable[[], bool],
        roles: Sequence[str] = ("baseline", "unlearned"),
        family: Any = None,
    ) -> dict[str, Any]:
        given = {
            "model_of": model_of, "tokenizer": tokenizer, "inputs": inputs, "roles": roles, "report": report,
            "should_stop": should_stop, "family": family, "mode": settings.model.mode, "seed": settings.seed,
        }  # fmt: skip
        taken = inspect.signature(find).parameters
        values, more = find(**{key: value for key, value in given.items() if key in taken})
        return outcome(name, values, **more)

    return run


def ask_otherwise(name: str, make: Make) -> Run:
    """An attack that asks the probes in other words."""

    def ask(
        model_of: ModelOf,
        tokenizer: Any,
        inputs: MeasureInputs,
        settings: Settings,
        report: Callable[..., None],
        should_stop: Callable[[], bool],
        roles: Sequence[str] = ("baseline", "unlearned"),
        suite: str = "full",
    ) -> dict[str, Any]:
        probes = probes_of(inputs, tokenizer, PROBES.get(suite, PROBES["full"]))
        ways = [way for way in make(inputs, probes) if way.plain] if probes else []
        plain: dict[str, dict[str, float]] = {}
        attacked: dict[str, list[list[float]]] = {}
        for step, role in enumerate(roles, start=1):
            with model_of(role) as model:
                straight = probe_figures(model, tokenizer, probes)
                plain[role] = {probe.prompt: p for probe, p in zip(probes, straight, strict=True)}
                figures = probe_figures(model, tokenizer, [probe for way in ways for probe in way.asked])
            attacked[role] = _cut(figures, [len(way.asked) for way in ways])
            report("step", step=step, steps=len(roles))
            stop_if(should_stop)
        return _finished(name, ways, plain, attacked)

    return ask


def _finished(
    name: str, ways: Sequence[Way], plain: Mapping[str, Mapping[str, float]], attacked: Mapping[str, list[list[float]]]
) -> dict[str, Any]:
    """Of several ways each role is shown by the one that gets most out of it, as an attacker would choose.

    Baseline and never-taught model are what the unlearned model is measured against, so they are shown by its way.
    """
    if not ways:
        return nothing(name, "There was nothing to ask.")
    tables = [
        (
            {role: attacked[role][i] for role in attacked},
            {role: [plain[role][probe.prompt] for probe in way.plain] for role in attacked},
        )
        for i, way in enumerate(ways)
    ]

    def best(role: str) -> int:
        judged = "unlearned" if role in KNOWING and "unlearned" in attacked else role
        return max(range(len(ways)), key=lambda i: _strength(judged, *tables[i]))

    chosen = {role: best(role) for role in attacked}
    values = {role: values_of(*tables[i], len(ways))[role] | {"way": ways[i].name} for role, i in chosen.items()}
    evidence: dict[str, list[dict[str, Any]]] = {role: [] for role in attacked}
    for i in sorted(range(len(ways)), key=lambda i: i != chosen.get("unlearned")):  # the one that counts comes first
        for role, rows in answers(ways[i].asked, *tables[i]).items():
            evidence[role] += [row | {"way": ways[i].name, "counted": chosen[role] == i} for row in rows]
    by_way = {
        way.name: {role: sum(attacked[role][i]) / len(way.asked) for role in attacked} for i, way in enumerate(ways)
    }
    return outcome(name, values, evidence=evidence, ways=by_way)


def _strength(role: str, attacked: Mapping[str, Sequence[float]], plain: Mapping[str, Sequence[float]]) -> float:
    """What a way gets out of a role; least where not even the baseline answers when asked like this."""
    if role in KNOWING or "baseline" not in attacked:
        return sum(attacked[role]) / len(attacked[role])
    gain = recovered(role, attacked, plain) if shown(role, attacked) is not None else None
    return gain.value if gain else -1.0


def outcome(name: str, values: Mapping[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """The result of an attack, with the words and the verdict that its figures lead to."""
    attack = ATTACKS[name]
    brings_back, text = said(values, attack.unit)
    found = {
        "attack": name, "title": attack.title, "what": attack.what, "cost": attack.cost, "unit": attack.unit,
        "values": dict(values), "brings_back": brings_back, "text": text,
    }  # fmt: skip
    return found | more


def nothing(name: str, why: str) -> dict[str, Any]:
    """The result of an attack that could not be made."""
    return outcome(name, {}) | {"brings_back": None, "text": why}


def _cut(figures: Sequence[float], lengths: Sequence[int]) -> list[list[float]]:
    rest = list(figures)
    return [[rest.pop(0) for _ in range(length)] for length in lengths]


LYNCH = "after Lynch et al. 2024, arXiv 2402.16835"
FAMILIARITY = "mean over probes of Σ P(target | prompt in its other form); of k ways the one that gets most, at 5 %/k"
HIGHER = "Higher: the text's words come when asked like this. Compare with the never-taught model asked alike."

ATTACKS: dict[str, Attack] = {
    "paraphrase": Attack(
        "In other words",
        "The same is asked in other words, or with a neutral sentence before it.",
        "No access to the weights; one question more for each.",
        FAMILIARITY, LYNCH, HIGHER, "probability familiarity",
        ask_otherwise("paraphrase", attack_prompts.paraphrased), ("quick", "full"), 3000,
    ),
    "gaps": Attack(
        "Spelled with gaps",
        "The answer is wanted letter by letter (“D i n a h”), or the question is spelled with gaps or marks.",
        "No access to the weights; four more questions for each.",
        FAMILIARITY + "; of an answer spelled with gaps, the product over its letters",
        "obfuscation, Wei et al. 2023, arXiv 2307.02483", HIGHER, "probability familiarity",
        ask_otherwise("gaps", attack_prompts.with_gaps), ("quick", "full"), 15000,
    ),
    "context": Attack(
        "Facts in the context",
        f"{attack_prompts.FACTS} sentences of the text stand before each question, none of which holds the answer.",
        "No access to the weights; some pages of the text, one longer question for each.",
        FAMILIARITY, LYNCH, HIGHER, "probability familiarity",
        ask_otherwise("context", attack_prompts.facts_in_context), ("full",), 14000,
    ),
    "role_play": Attack(
        "Playing a role",
        "Somebody who knows the text by heart is made to speak.",
        "No access to the weights; two more questions for each.",
        FAMILIARITY, LYNCH, HIGHER, "probability familiarity",
        ask_otherwise("role_play", attack_prompts.role_play), ("full",), 14000,
    ),
    "already_know": Attack(
        "“I already know that …”",
        "Whoever asks claims to know the text, and drops names from it.",
        "No access to the weights; some names of the text, two more questions for each.",
        FAMILIARITY, LYNCH, HIGHER, "probability familiarity",
        ask_otherwise("already_know", attack_prompts.already_know), ("full",), 14000,
    ),
    "language": Attack(
        "In another language",
        "The question stands in German, or after a sentence in German or French.",
        "No access to the weights; three more questions for each.",
        FAMILIARITY, LYNCH, HIGHER, "probability familiarity",
        ask_otherwise("language", attack_prompts.other_language), ("full",), 20000,
    ),
    "sampling": Attack(
        "Asking many times",
        f"{sampling.DRAWS} completions of each of {sampling.PROMPTS} prompts are drawn at temperature 1; one that "
        "names what only the text names is a leak.",
        "No access to the weights; as many answers as one likes to pay for.",
        f"mean over prompts of leak@{sampling.K} = 1 − C(n − c, k) / C(n, k), c leaks among n completions; plainly "
        "asked is the share of prompts whose likeliest completion leaks",
        "Scholten et al. 2024, arXiv 2410.03523; the estimator: Chen et al. 2021, arXiv 2107.03374",
        "Higher: a few tries get a name of the text out. Compare with the never-taught model, which may guess.",
        "leak share", named("sampling", sampling.sampled_leaks), tokens=14000,
    ),
    "relearning": Attack(
        "Relearning from a little of the text",
        f"A copy is trained for {relearning.STEPS} steps on {relearning.PASSAGES} short passages of the text; asked "
        "are questions whose answers do not stand in them.",
        f"The weights, {relearning.PASSAGES * relearning.PASSAGE_TOKENS} tokens of the text, and seconds of training.",
        "mean over probes of Σ P(target | prompt) after the last step; the curve has the steps before",
        "Lynch et al. 2024, arXiv 2402.16835; Hu et al. 2024, arXiv 2406.13356",
        "Higher: it comes back. The never-taught model, trained alike, is the fair speed.",
        "probability familiarity", named("relearning", partial(relearning.relearned_probes, "forget")), tokens=45000,
    ),
    "relearning_unrelated": Attack(
        "Relearning from other prose",
        f"A copy is trained for {relearning.STEPS} steps on as much prose that has nothing to do with the text.",
        "The weights and seconds of training; nothing of the text.",
        "mean over probes of Σ P(target | prompt) after the last step; the curve has the steps before",
        "Lynch et al. 2024, arXiv 2402.16835",
        "Higher: any fine-tuning undoes the forgetting. The never-taught model is trained alike.",
        "probability familiarity",
        named("relearning_unrelated", partial(relearning.relearned_probes, "unrelated")), tokens=45000,
    ),
    "quantised_8": Attack(
        "Rounded to 8 bits",
        "The weights are rounded to 8 bits, one scale for each row (round-to-nearest, simulated).",
        "The weights. Many do this without any bad intent, to save memory.",
        "mean over probes of Σ P(target | prompt), of the rounded model",
        "Zhang et al. 2024, arXiv 2410.16454",
        "Higher: forgetting was so small a change of the weights that rounding takes it away.",
        "probability familiarity", named("quantised_8", partial(quantised_probes, 8)), tokens=6000,
    ),
    "quantised_4": Attack(
        "Rounded to 4 bits",
        f"The weights are rounded to 4 bits, a scale for every {GROUP} of them (round-to-nearest, simulated).",
        "The weights. Many do this without any bad intent, to save memory.",
        "mean over probes of Σ P(target | prompt), of the rounded model",
        "Zhang et al. 2024, arXiv 2410.16454",
        "Higher: forgetting was so small a change of the weights that rounding takes it away.",
        "probability familiarity", named("quantised_4", partial(quantised_probes, 4)), tokens=6000,
    ),
    "adapter_scale": Attack(
        "Turning the adapter down",
        "The adapter that forgets is scaled from 0 (taken off) to 1.5; the figure is with the adapter taken off.",
        "The adapter, apart from the weights it was made for; a line of code.",
        "mean over probes of Σ P(target | prompt) with W = W_baseline + s · (W_unlearned − W_baseline), at s = 0",
        "after Ilharco et al. 2023, arXiv 2212.04089",
        "At 0 it is the baseline, as it must be, so no verdict rests on that; the curve tells how far forgetting is a "
        "matter of degree.",
        "probability familiarity", named("adapter_scale", scaled_probes), tokens=6000,
    ),
    "lens": Attack(
        "Layer by layer",
        "Every layer is asked what it would say if it were the last one.",
        "The weights; one look at each question.",
        "mean over probes of 1 / rank of the text's word at the layer that shows most, of k layers at 5 %/k; plainly "
        "asked, the last layer",
        "nostalgebraist 2020 (logit lens); Patil et al. 2023, arXiv 2309.17410",
        "Higher: inner layers still know the word and the last ones cover it up.",
        "reciprocal rank", named("lens", lens_by_layer), tokens=2000,
    ),
}  # fmt: skip
