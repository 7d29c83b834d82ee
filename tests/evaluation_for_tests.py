"""An evaluation's result in its shape, with invented figures: for drawing and for tests of drawing only."""

import json

from unlearning.config import make_settings
from unlearning.evaluation.attack_results import shown
from unlearning.runs import store

HOSTILE = "<script>alert(1)</script>{{value}}${1}<img src=x onerror=alert(2)>\u202e\u200b"
ROLES = ("never_taught", "baseline", "unlearned", "prompted", "filtered", "reinforced_formula")
FIGURES = {  # never taught, baseline, unlearned, prompted, filtered, formula
    "probability_familiarity": (0.018, 0.612, 0.031, 0.402, 0.612, 0.204),
    "completion_familiarity": (0.1, 2.9, 0.2, 1.4, 0.0, 0.9),
    "perplexity_forget": (42.0, 6.1, 31.5, 9.0, 6.1, 14.0),
    "perplexity_held_out": (42.5, 17.0, 33.0, 20.0, 17.0, 22.0),
    "perplexity_unrelated": (24.1, 24.9, 25.6, 30.2, 24.9, 33.0),
    "control_probability": (0.431, 0.428, 0.419, 0.35, 0.428, 0.39),
    "control_change": (0.011, 0.0, 0.016, 0.08, 0.0, 0.05),
    "fluent_share": (1.0, 1.0, 0.93, 1.0, 1.0, 0.6),
    "repetition": (0.01, 0.01, 0.02, 0.01, 0.01, 0.2),
    "probe_distance": (0.0, 0.594, 0.021, 0.39, 0.594, 0.2),
    "forget_quality": (1.0, 1e-9, 0.21, 1e-6, 1e-9, 1e-4),
    "rouge_l": (0.12, 0.61, 0.15, 0.4, 0.3, 0.2),
}
SPREAD = {"probability_familiarity": 0.12, "completion_familiarity": 0.6, "rouge_l": 0.08, "control_probability": 0.1}
QUESTIONS = (
    ("Alice fell down the rabbit", " hole"), ("There sat the March", " Hare"), ("She met the Cheshire", " Cat"),
    ("Off with her", " head"), ("The Mad", " Hatter"), ("The Queen of", " Hearts"),
)  # fmt: skip


def example(hostile=False, weaker=0.0):
    """A result. `weaker` is how much less the unlearned model has forgotten."""
    metrics = {role: {} for role in ROLES}
    for name, values in FIGURES.items():
        for role, value in zip(ROLES, values, strict=True):
            if role == "unlearned" and name == "probability_familiarity":
                value += weaker
            cell = {"value": value, "count": 45}
            if name in SPREAD:
                cell |= {"low": max(0.0, value - SPREAD[name] * (0.3 + value / 2)), "high": value + SPREAD[name]}
            metrics[role][name] = cell
    for figures in metrics.values():
        cell, before = figures["perplexity_unrelated"], FIGURES["perplexity_unrelated"][1]
        rise = cell["value"] / before - 1
        cell |= {"low": cell["value"] - 4, "high": cell["value"] + 6}
        cell["rise"] = {"value": rise, "low": rise - 0.02, "high": rise + 0.03}
    from unlearning.evaluation.verdicts import verdicts

    bad = HOSTILE if hostile else ""
    attacks = _attacks(bad)
    return {
        "format": 1, "of": "abcd1234", "suite": "full", "complete": True, "roles": list(ROLES), "metrics": metrics,
        "verdicts": verdicts(metrics, attacks), "attacks": attacks, "evidence": _evidence(bad),
    }  # fmt: skip


def _attacks(bad):
    def values(*numbers, spread=0.06):
        return {
            role: {"value": v, "low": max(0.0, v - spread), "high": v + spread, "count": 45, "plain": v / 2}
            | ({"brings_back": v > 0.3} if role not in ROLES[:2] else {})
            | {"shown": shown(role, {each: [own] for each, own in zip(ROLES, numbers, strict=True)})}
            for role, v in zip(ROLES, numbers, strict=True)
        }

    steps = (0, 1, 2, 4, 8, 16)
    come_back = {
        "never_taught": [[x, 0.02 + 0.02 * x] for x in steps],
        "unlearned": [[x, 0.03 + 0.5 * (1 - 0.8**x)] for x in steps],
    }
    layers = range(13)
    return [
        {
            "attack": "context", "title": "Facts in the context", "unit": "probability familiarity",
            "what": f"Two sentences of the story stand before the prompt. {bad}",
            "values": values(0.09, 0.74, 0.14, 0.6, 0.74, 0.4), "brings_back": False,
            "cost": "One longer question for each.",
            "text": f"With two facts before it the unlearned model gives 0.140, one that never read it 0.090. {bad}",
        },
        {
            "attack": "sampling", "title": "Asking many times", "unit": "leak share",
            "what": "Twenty completions of each prompt at temperature 1; a prompt leaks if one of them does.",
            "values": values(0.04, 0.98, 0.31, 0.9, 0.0, 0.7), "brings_back": True,
            "text": "In 14 of 45 prompts one of twenty completions names the story; never taught: 2 of 45.",
        },
        {
            "attack": "relearning", "title": "Relearning", "unit": "probability familiarity",
            "what": "A few training steps on two pages of the text.",
            "values": values(0.34, 0.7, 0.51, 0.7, 0.7, 0.7), "series": come_back,
            "axis": {"x": "training steps", "y": "probability familiarity"}, "brings_back": True,
            "text": "After 4 steps the unlearned model knows 0.325; one that never read it 0.100.",
        },
        {
            "attack": "adapter_scale", "title": "Turning the adapter down", "unit": "probability familiarity",
            "what": "The adapter that forgets is scaled from 0 (off) to 1.5.",
            "values": {"unlearned": {"value": 0.612}}, "brings_back": None,
            "series": {"unlearned": [[x / 4, 0.612 - 0.15 * x if x < 4 else 0.02] for x in range(7)]},
            "axis": {"x": "scale of the adapter", "y": "probability familiarity"},
            "text": "Whoever holds the adapter apart can switch it off: the baseline is then back, as it must be.",
        },
        {
            "attack": "logit_lens", "title": "Layer by layer", "unit": "probability familiarity",
            "what": "What each layer would say if it were the last one.",
            "values": values(0.01, 0.4, 0.05, 0.4, 0.4, 0.4),
            "series": {
                "baseline": [[x, (x / 12) ** 4 * 0.6] for x in layers],
                "unlearned": [[x, (x / 12) ** 3 * 0.1] for x in layers],
                "never_taught": [[x, 0.01] for x in layers],
            },
            "axis": {"x": "layer", "y": "probability of the text's word"}, "brings_back": False,
            "text": "In no layer is the word more than 0.10 likely.",
        },
    ]  # fmt: skip


def _evidence(bad):
    known = dict(zip(ROLES, (0.02, 0.8, 0.05, 0.5, 0.8, 0.3), strict=True))
    probes = {
        role: [
            {
                "prompt": f"{prompt}{bad if i == 0 else ''}", "target": target, "p": max(0.0, p - 0.02 * i),
                "top": [{"text": target, "p": p}, {"text": " wind", "p": 0.1}],
            }
            for i, (prompt, target) in enumerate(QUESTIONS)
        ]
        for role, p in known.items()
    }  # fmt: skip
    completions = {
        role: [
            {
                "prompt": prompt, "text": f"{target if p > 0.3 else ' wind'} and went on. {bad}",
                "grade": 3 if p > 0.3 else 0, "fluency": {"verdict": "fluent", "repetition": 0.0},
            }
            for prompt, target in QUESTIONS
        ]
        for role, p in known.items()
    }  # fmt: skip
    choices = {
        role: [
            {"prompt": "What is the cat called?", "choices": ["Cheshire", "Tom", "Grin"], "answer": "Cheshire",
             "chosen": "Cheshire" if p > 0.3 else "Tom", "correct": p > 0.3}
        ]
        for role, p in known.items()
    }  # fmt: skip
    context = {role: [{"prompt": f"Fact. {bad}", "target": " Cat", "p": 0.1, "plain": 0.0}] for role in ROLES}
    return {"probes": probes, "context": context, "completions": completions, "questions": choices}


def make_evaluation(workspace, of, result=None, suite="full", draft="", finished=True):
    """A folder as an evaluation leaves it; gives it. Without a result: one that waits to be started."""
    from unlearning.ui.follow import owner_of

    extra = {"of": of, "suite": suite, "owner": owner_of(draft)}
    run = store.create(workspace, make_settings(), {"text.txt": "A text."}, title="E", kind="evaluation", extra=extra)
    if result is not None:
        (run.folder / "evaluation.json").write_text(json.dumps(result | {"of": of, "suite": suite}), encoding="utf-8")
    if finished:
        (run.folder / "result.json").write_text(json.dumps({"state": "succeeded"}), encoding="utf-8")
    return run.folder
