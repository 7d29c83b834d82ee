"""A model that was trained to pieces writes gibberish: noticed from its figures, and blamed on settings.

The blame is a comparison, not a proof: of the settings that make training harsher, those that lie furthest on the harsh
side of their usual values are named, the furthest first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from unlearning.config import Settings, TrainSettings, make_settings

Figures = Mapping[str, Mapping[str, Any]]

FLUENT_LEFT = 0.5  # collapsed: at most half of the baseline's fluent completions are left …
PERPLEXITY_TIMES = 3.0  # … or unrelated prose has become so many times as surprising
STANDS_OUT = 1.5  # a setting that is at least so many times as harsh as usual
NAMED = 3
NO_RETAIN = 8.0  # how harsh it counts to switch the retain term off, or the limit of the gradient
STAGE_OF = {"unlearned": "finetune", "reinforced": "reinforce", "baseline": "teach"}


@dataclass(frozen=True)
class Suspect:
    """A setting, what it is, what it usually is, and how many times harsher that makes training."""

    name: str
    value: Any
    usual: Any
    times: float


def collapse_warning(metrics: Mapping[str, Figures], settings: Settings) -> str:
    """What to tell of a collapsed model and how to mend it; empty where there is none.

    Args:
        metrics: Role → name of METRICS → {"value": …}, as `measure.summarise` gives them.
        settings: Of the run.
    """
    sound = metrics.get("never_taught") or metrics.get("baseline")
    if not sound:
        return ""
    # The first one that broke is to blame: those after it were made with its help.
    for role in ("baseline", "reinforced", "unlearned"):
        signs = _signs(metrics.get(role) or {}, sound) if metrics.get(role) is not sound else []
        if signs:
            return f"The {role} model has collapsed: {' and '.join(signs)}. {_blame(settings, STAGE_OF[role])}"
    return ""


def suspects(settings: Settings, stage: str) -> list[Suspect]:
    """Settings of a training stage that are harsher than usual, the worst first."""
    usual = make_settings("paper" if settings.model.mode == "full" else "standard")
    found = list(_compare(stage, getattr(settings, stage) or TrainSettings(), getattr(usual, stage) or TrainSettings()))
    if stage == "finetune":
        found.append(_higher("label.alpha", settings.label.alpha, usual.label.alpha))
    return sorted((each for each in found if each.times >= STANDS_OUT), key=lambda each: -each.times)


def _signs(figures: Figures, sound: Figures) -> list[str]:
    signs = []
    if "fluent_share" in figures and "fluent_share" in sound:
        now, before = figures["fluent_share"]["value"], sound["fluent_share"]["value"]
        if before > 0 and now <= FLUENT_LEFT * before:
            signs.append(f"{now:.0%} of its completions are fluent ({before:.0%} before)")
    if "perplexity_unrelated" in figures and "perplexity_unrelated" in sound:
        now, before = figures["perplexity_unrelated"]["value"], sound["perplexity_unrelated"]["value"]
        if not math.isfinite(now) or now >= PERPLEXITY_TIMES * before:
            signs.append(f"the perplexity of unrelated prose went from {before:.3g} to {now:.3g}")
    return signs


def _blame(settings: Settings, stage: str) -> str:
    found = suspects(settings, stage)
    if not found:
        train = getattr(settings, stage) or TrainSettings()
        return (
            f"No setting of stage {stage} is harsher than usual: copy the run with half of {stage}.learning_rate "
            f"({train.learning_rate:g}) or fewer {stage}.epochs ({train.epochs})."
        )
    named = ", ".join(f"{each.name} = {_show(each.value)} (usually {_show(each.usual)})" for each in found[:NAMED])
    return f"Most likely because of {named}: copy the run with {found[0].name} = {_show(found[0].usual)}."


def _compare(stage: str, now: TrainSettings, usual: TrainSettings) -> Iterator[Suspect]:
    for name in ("learning_rate", "epochs"):
        yield _higher(f"{stage}.{name}", getattr(now, name), getattr(usual, name))
    yield _lower(f"{stage}.retain_weight", now.retain_weight, usual.retain_weight)
    yield _lower(f"{stage}.retain_blocks", now.retain_blocks, usual.retain_blocks)
    yield _lower(f"{stage}.batch_blocks", now.batch_blocks, usual.batch_blocks)  # smaller steps are more steps
    if now.clip_norm != usual.clip_norm:
        yield _higher(f"{stage}.clip_norm", now.clip_norm or math.inf, usual.clip_norm or math.inf)


def _higher(name: str, value: float, usual: float) -> Suspect:
    times = value / usual if usual else 1.0
    return Suspect(name, value, usual, min(times, NO_RETAIN) if math.isinf(times) else times)


def _lower(name: str, value: float, usual: float) -> Suspect:
    return Suspect(name, value, usual, (usual / value if value else NO_RETAIN) if usual else 1.0)


def _show(value: float) -> str:
    return "none" if math.isinf(value) else f"{value:g}"
