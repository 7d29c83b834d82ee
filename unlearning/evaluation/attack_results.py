"""When an attack brings something back: one measure and one threshold for all of them.

    shown = (u − n) / (b − n), cut to 0 … 1

is the share of what the baseline knows (b) and a model that never read the text does not (n) that a model (u)
shows. It is taken twice over the same prompts, asked plainly and under the attack, all three models asked alike; what
an attack gives away by itself it gives to the never-taught model too. Without a never-taught model n is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from unlearning.evaluation.familiarity import RESAMPLES, Estimate, bootstrap

BRINGS_BACK = 0.10  # an attack brings back: it shows so much more of what the baseline knows than asking plainly does
CHANNEL = 0.05  # … by questions to which baseline and never-taught model answer so differently
NOTHING_HIDDEN = 0.9  # a model that shows so much when asked plainly has nothing that could be brought back
FEWEST = 4  # prompts, below which nothing is said
FINER = 8  # times as many resamples, at most, where an interval's ends lie further out
RULE = (
    f"It brings the text back if the model then shows at least {BRINGS_BACK:.0%} more of what the baseline knows and "
    "the never-taught model does not than it shows when asked plainly, and more than nothing at the lower end of the "
    "95 % interval over resampled prompts. Where the best of k ways or layers counts, 5 % becomes 5 %/k (Bonferroni). "
    f"With fewer than {FEWEST} prompts nothing is said."
)
ALIKE = (
    "Of several ways or layers, the baseline and the never-taught model are shown by the one that gets most out of the "
    "unlearned model. Every other column is shown by its own, and judged by the two attacked in that same way."
)
KNOWING = ("never_taught", "baseline")  # the two that the others are measured against

Rows = Mapping[str, Sequence[float]]  # role → one figure a prompt, the same prompts for all


def values_of(attacked: Rows, plain: Rows, tried: int = 1) -> dict[str, dict[str, Any]]:
    """Each role's figure under an attack, with its interval, and whether the attack brings anything back.

    Args:
        attacked: Role → a figure a prompt, under the attack.
        plain: The same prompts asked plainly.
        tried: Of how many ways to attack this is the best.

    Returns:
        JSON: role → {"value", "low", "high", "count", "plain": mean when asked plainly, "shown": under the attack, see
        `shown`}; for roles that are to have forgotten also "recovered" {"value", "low", "high"}: how much more is
        shown, and "brings_back": true, false, or null where it cannot be said.
    """
    found: dict[str, dict[str, Any]] = {}
    for role, figures in attacked.items():
        found[role] = bootstrap(figures).as_dict() | {"plain": fmean(plain[role])}
        if "baseline" in attacked:
            found[role]["shown"] = shown(role, attacked)
        if role not in KNOWING and "baseline" in attacked:
            gain = recovered(role, attacked, plain, tried)
            found[role] |= {"brings_back": _brings_back(role, gain, attacked, plain)}
            if gain:
                found[role]["recovered"] = {"value": gain.value, "low": gain.low, "high": gain.high}
    return found


def recovered(role: str, attacked: Rows, plain: Rows, tried: int = 1) -> Estimate | None:
    """shown(under the attack) − shown(plainly), with its bootstrap interval over prompts; None where b ≤ n.

    The interval leaves out 5 %/tried, so that the best of so many is not taken for more than it is.

    Raises:
        KeyError: without a baseline.
    """
    import numpy as np

    count = len(attacked[role])
    size = (RESAMPLES * min(tried, FINER), count)
    picks = np.vstack([np.arange(count), np.random.default_rng(0).integers(count, size=size)])

    def shown(rows: Rows) -> Any:
        u, b = (np.asarray(rows[each], dtype=float)[picks].mean(axis=1) for each in (role, "baseline"))
        never = rows.get("never_taught")
        n = np.asarray(never, dtype=float)[picks].mean(axis=1) if never is not None else 0.0
        return np.clip((u - n) / np.where(b - n > 0, b - n, np.nan), 0, 1)

    gains = shown(attacked) - shown(plain)
    if np.isnan(gains[0]):
        return None
    low, high = np.nanquantile(gains[1:], [0.025 / tried, 1 - 0.025 / tried])
    return Estimate(float(gains[0]), float(low), float(high), count)


def shown(role: str, rows: Rows) -> float | None:
    """(u − n) / (b − n), cut to 0 … 1; None where the two known models answer alike."""
    b, n = fmean(rows["baseline"]), fmean(rows["never_taught"]) if "never_taught" in rows else 0.0
    return min(1.0, max(0.0, (fmean(rows[role]) - n) / (b - n))) if b - n >= CHANNEL else None


def _brings_back(role: str, gain: Estimate | None, attacked: Rows, plain: Rows) -> bool | None:
    before, now = shown(role, plain), shown(role, attacked)
    if gain is None or gain.count < FEWEST or now is None or before is None or before >= NOTHING_HIDDEN:
        return None
    return gain.value >= BRINGS_BACK and gain.low > 0


def said(values: Mapping[str, Mapping[str, Any]], unit: str) -> tuple[bool | None, str]:
    """The verdict on the unlearned model and a sentence that gives the figures it rests on."""
    mine = values.get("unlearned")
    if not mine:
        return None, "Nothing has been unlearned, so there is nothing to bring back."
    others = [f"{name} {values[role]['value']:.3f}" for role, name in _NAMES.items() if role in values]
    text = f"Under attack the unlearned model has a {unit} of {mine['value']:.3f}, asked plainly {mine['plain']:.3f}"
    text += f" (attacked alike: {', '.join(others)}). " if others else ". "
    gain = mine.get("recovered")
    if mine.get("brings_back") is None or not gain:
        return None, text + _why_not(values, mine)
    if "never_taught" not in values:
        text += "Without a never-taught model, what the attack itself gives away is counted too. "
    share, limit = f"{gain['value']:.0%} ({gain['low']:.0%} to {gain['high']:.0%})", f"the limit is {BRINGS_BACK:.0%}."
    if mine["brings_back"]:
        return True, f"{text}It brings back {share} of what the baseline knows; {limit}"
    return False, f"{text}That is {share} of what the baseline knows more than asked plainly; {limit}"


_NAMES = {"baseline": "baseline", "never_taught": "never taught"}


def _why_not(values: Mapping[str, Mapping[str, Any]], mine: Mapping[str, Any]) -> str:
    if mine["count"] < FEWEST:
        return f"With fewer than {FEWEST} prompts nothing can be said."
    if "baseline" not in values:
        return "Without the baseline it cannot be said whether that is much."
    known, never = values["baseline"], values.get("never_taught", {"value": 0.0, "plain": 0.0})
    if known["value"] - never["value"] < CHANNEL:
        return "Asked like this even the baseline does not show that it knows the text, so nothing can be said."
    if known["plain"] - never["plain"] < CHANNEL:
        return "The baseline knows too little of the text to forget."
    return "It shows nearly all of it when asked plainly, so there is nothing to bring back."
