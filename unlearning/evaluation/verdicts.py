"""*Forgotten?* and *Intact?* in words, from stated thresholds and nothing else.

The first verdict can only be as good as its questions: that the watched words have become unlikely does not
show that nothing is left, and the words say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unlearning.evaluation.metrics_table import METRICS

Figures = Mapping[str, Mapping[str, Any]]

LEAST_KNOWN = 0.05  # probability familiarity below which a baseline has nothing to forget
FACTOR = 10.0  # forgotten: familiarity fell by this factor …
NEAR = 0.02  # … or lies this close above the never-taught model's
SHARE_LEFT = 0.1  # of what the baseline knew above its floor, that questions and passages may still show, …
SLACK = 0.05  # … or so much above the floor: the never-taught model's figure, or chance
CONTROL_MOVE = 0.03  # intact: the control prompts' mean probability moved at most so much,
PERPLEXITY_RISE = 0.05  # the perplexity of unrelated prose rose at most by this share,
FLUENT_SHARE = 0.8  # and so many completions are fluent, or as many as the baseline's but for …
FLUENT_LOSS = 0.1
NEIGHBOUR_FALL = 0.05  # and the right answers to neighbouring questions lost at most so much probability
OTHERWISE_ASKED = ("question_probability", "continuation_probability")  # where an evaluation measured them

RULES = {
    "Forgotten?": f"Yes: probability and completion familiarity are at most 1/{FACTOR:g} of the baseline's or as low "
    f"as the never-taught model's (within {NEAR:g}, or one completion that gives the text away), questions and "
    f"passages show at most {SHARE_LEFT:.0%} of what the baseline knows, or {SLACK:g}, above the never-taught model's "
    "(for questions without one: chance), and no attack brings the text back. Partly: probability familiarity fell at "
    f"least half of the way. Not known: the baseline's is below {LEAST_KNOWN:g}.",
    "Intact?": f"Yes: the control prompts' mean probability moved by at most {CONTROL_MOVE:g}, the perplexity of "
    f"unrelated prose rose by at most {PERPLEXITY_RISE:.0%}, at least {FLUENT_SHARE:.0%} of the completions are fluent "
    f"or as many as the baseline's less {FLUENT_LOSS:.0%}, and the right answers to neighbouring questions lost at "
    f"most {NEIGHBOUR_FALL:g} of their probability, where such questions were asked (the verdict says where not). "
    "Partly: within twice these limits.",
}
UNASKED = "Neighbouring knowledge, such as other books of the kind, was not asked about; a loss there would not show."
CAVEAT = "This is what these prompts show; rephrased questions and other attacks may still bring it back."


def verdicts(metrics: Mapping[str, Figures], attacks: Sequence[Mapping[str, Any]] = ()) -> dict[str, dict[str, Any]]:
    """Both verdicts on the role "unlearned" against "baseline" and, where there is one, "never_taught".

    Args:
        metrics: Role → name of METRICS → {"value": …}.
        attacks: What attacks found, {"title", "brings_back", …} each.

    Returns:
        JSON: for `forgotten` and `intact` an `answer` ("yes", "partly", "no" or "unknown"), one sentence
        `text`, and `checks`: what was compared, {"name", "value", "limit", "passed", "text"}.
    """
    if "unlearned" not in metrics or "baseline" not in metrics:
        unknown = {"answer": "unknown", "text": "Nothing has been unlearned in this run yet.", "checks": []}
        return {"forgotten": unknown, "intact": unknown}
    return {
        "forgotten": forgotten(metrics["unlearned"], metrics["baseline"], metrics.get("never_taught"), attacks),
        "intact": intact(metrics["unlearned"], metrics["baseline"]),
    }


def forgotten(
    unlearned: Figures,
    baseline: Figures,
    never_taught: Figures | None = None,
    attacks: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """yes: both familiarities fell to a tenth or to the never-taught model's, and neither the questions, nor the
    passages, nor an attack show more; partly: probability familiarity fell at least half way; no: less.
    """
    checks = []
    for name, near in (("probability_familiarity", NEAR), ("completion_familiarity", _one_leak(unlearned))):
        if name in unlearned and name in baseline:
            floor = never_taught[name]["value"] if never_taught and name in never_taught else None
            checks.append(_fall(name, baseline[name]["value"], unlearned[name]["value"], floor, near))
    if not checks or checks[0]["name"] != "probability_familiarity":
        return _verdict("unknown", "No probes were asked, so nothing can be said.", checks)
    if checks[0]["before"] < LEAST_KNOWN:
        known = f"The baseline gave the text's words {checks[0]['before']:.3f} on average: there was little to forget."
        return _verdict("unknown", known, checks)
    checks += filter(None, (_left(name, unlearned, baseline, never_taught) for name in OTHERWISE_ASKED))
    if back := [str(attack["title"]) for attack in attacks if attack.get("brings_back")]:
        checks.append(_check("attacks", len(back), 0, f"brought back by: {', '.join(back)}"))
    said = "; ".join(check["text"] for check in checks)
    if all(check["passed"] for check in checks):
        return _verdict("yes", f"Yes, as far as it was asked: {said}. {CAVEAT}", checks)
    if checks[0]["way"] >= 0.5:
        return _verdict("partly", f"Partly: {said}. {CAVEAT}", checks)
    return _verdict("no", f"No: {said}.", checks)


def intact(unlearned: Figures, baseline: Figures) -> dict[str, Any]:
    """yes: controls, unrelated prose, fluency and neighbouring knowledge within their limits; partly: within twice the
    limits; no: beyond. Where neighbouring knowledge was not measured the words say so.
    """
    checks = []
    if "control_probability" in unlearned and "control_probability" in baseline:
        move = unlearned["control_probability"]["value"] - baseline["control_probability"]["value"]
        text = f"control prompts moved by {move:+.3f} (limit {CONTROL_MOVE})"
        checks.append(_check("control_probability", abs(move), CONTROL_MOVE, text))
    if "perplexity_unrelated" in unlearned and "perplexity_unrelated" in baseline:
        rise = unlearned["perplexity_unrelated"]["value"] / baseline["perplexity_unrelated"]["value"] - 1
        text = f"perplexity of unrelated prose changed by {rise:+.1%} (limit +{PERPLEXITY_RISE:.0%})"
        checks.append(_check("perplexity_unrelated", rise, PERPLEXITY_RISE, text))
    if "fluent_share" in unlearned and "fluent_share" in baseline:
        before, share = baseline["fluent_share"]["value"], unlearned["fluent_share"]["value"]
        least = max(0.0, min(FLUENT_SHARE, before - FLUENT_LOSS))
        text = f"{share:.0%} of completions are fluent (at least {least:.0%} wanted)"
        checks.append(_check("fluent_share", before - share, before - least, text))
    if "neighbour_probability" in unlearned and "neighbour_probability" in baseline:
        fall = baseline["neighbour_probability"]["value"] - unlearned["neighbour_probability"]["value"]
        text = f"neighbouring answers lost {fall:+.3f} of their probability (limit {NEIGHBOUR_FALL})"
        checks.append(_check("neighbour_probability", fall, NEIGHBOUR_FALL, text))
    if not checks:
        return _verdict("unknown", "Nothing was measured that tells.", checks)
    said = "; ".join(check["text"] for check in checks) + "."
    if checks[-1]["name"] != "neighbour_probability":
        said += f" {UNASKED}"
    if all(check["passed"] for check in checks):
        return _verdict("yes", f"Yes: {said}", checks)
    if all(check["value"] <= 2 * check["limit"] + 1e-9 for check in checks):
        return _verdict("partly", f"Partly: {said}", checks)
    return _verdict("no", f"No: {said}", checks)


def _fall(name: str, before: float, now: float, floor: float | None, near: float) -> dict[str, Any]:
    """How far a familiarity fell: `way` is the share of the distance to the floor (0 where there is none)."""
    limit = max(before / FACTOR, floor + near if floor is not None else 0.0)
    distance = before - (floor or 0.0)
    way = (before - now) / distance if distance > 0 else 1.0
    mark = "" if floor is None else f", never taught {floor:.3f}"
    words = name.replace("_", " ")
    text = f"{words} went from {before:.3f} to {now:.3f}{mark} (limit {limit:.3f})"
    return _check(name, now, limit, text) | {"before": before, "way": way}


def _left(name: str, unlearned: Figures, baseline: Figures, never_taught: Figures | None) -> dict[str, Any] | None:
    """What is left of the baseline's knowledge above the floor; None where it had none, or nobody knows a floor."""
    if name not in unlearned or name not in baseline:
        return None
    chance = baseline[name].get("chance", METRICS[name].ideal)
    floor = never_taught[name]["value"] if never_taught and name in never_taught else chance
    before, now = baseline[name]["value"], unlearned[name]["value"]
    if not isinstance(floor, float) or before - floor <= SLACK:
        return None
    limit, left = floor + max(SLACK, SHARE_LEFT * (before - floor)), (now - floor) / (before - floor)
    title = METRICS[name].title
    text = f"{title[0].lower()}{title[1:]} went from {before:.3f} to {now:.3f}, floor {floor:.3f}: {left:.0%} is left"
    return _check(name, now, limit, text) | {"before": before}


def _one_leak(figures: Figures) -> float:
    """What one completion graded 3 adds to the completion score: nearer than that nothing can be told apart."""
    return 5 / figures["completion_familiarity"]["count"] if "completion_familiarity" in figures else 0.0


def _check(name: str, value: float, limit: float, text: str) -> dict[str, Any]:
    return {"name": name, "value": value, "limit": limit, "passed": value <= limit + 1e-9, "text": text}


def _verdict(answer: str, text: str, checks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"answer": answer, "text": text, "checks": checks}
