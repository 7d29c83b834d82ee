"""What a run has written down of its measurements: curves over the steps, before and after. No model, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearning.runs.durable import read_json_or_empty
from unlearning.runs.events import Event, read, timeline

MODELS = {  # role → where its weights or adapter lie in a run's folder, the first that is there
    "taught": ("stages/teach/taught", "taught"),
    "reinforced": ("stages/reinforce/reinforced",),
    "unlearned": ("stages/finetune/unlearned",),
}


@dataclass
class Curve:
    """The probability of one word after one prompt, at some steps of the fine-tuning."""

    prompt: str
    target: str
    kind: str
    points: list[tuple[int, float]] = field(default_factory=list)


def roles_on_disk(folder: Path) -> list[str]:
    """The roles that a run's folder can show, before and after first."""
    made = [role for role, places in MODELS.items() if any((folder / place).is_dir() for place in places)]
    first = ["baseline", *(["unlearned"] if "unlearned" in made else [])]
    return first + (["never_taught"] if "taught" in made else []) + (["reinforced"] if "reinforced" in made else [])


def curves(folder: Path) -> list[Curve]:
    """The curves of all watched prompts of a run."""
    return curves_of(timeline(read(folder).events))


def curves_of(events: Iterable[Event]) -> list[Curve]:
    """The curves that these events tell, in the order of their prompts."""
    found: dict[tuple[str, str, str], Curve] = {}
    for event in events:
        if event["kind"] != "probe":
            continue
        for one in event.get("probabilities") or []:
            key = (str(one.get("prompt")), str(one.get("target")), str(one.get("kind", "probe")))
            p, step = one.get("p"), event.get("step")
            if isinstance(p, int | float) and isinstance(step, int):
                found.setdefault(key, Curve(*key)).points.append((step, float(p)))
    return list(found.values())


def curve_at(folder: Path, context: str, following: str) -> dict[str, Any] | None:
    """The recorded curve of a word at this place of a text, where it was a watched prompt.

    Args:
        folder: Of the run.
        context: The text before the word; it may say more than the prompt did.
        following: What comes next; the target may be longer or shorter.
    """
    word = following.strip()
    for curve in curves(folder):
        target = curve.target.strip()
        same = bool(word) and (target.startswith(word) or word.startswith(target))
        if same and _words(context).endswith(_words(curve.prompt)):
            note = "" if target == word else f"Of “{target}” as a whole."
            return {"points": curve.points, "steps": curve.points[-1][0], "recorded": True, "note": note}
    return None


def ends(before: float, after: float, steps: int) -> dict[str, Any]:
    """The two ends of a curve that was not recorded."""
    note = "The steps between were not recorded: only those of watched prompts are."
    return {"points": [(0, before), (steps, after)], "steps": steps, "recorded": False, "note": note}


def steps_of(folder: Path) -> int:
    """Steps of fine-tuning that the run has taken; at least 1."""
    steps = read_json_or_empty(folder / "stages" / "finetune" / "stage.json").get("steps")
    return steps if isinstance(steps, int) and steps > 0 else 1


def evaluation(folder: Path) -> dict[str, Any]:
    """What `measure.summarise` made for a run: metrics, table, verdicts, headline; empty before its end."""
    found = read_json_or_empty(folder / "stages" / "evaluate" / "stage.json").get("evaluation")
    return found if isinstance(found, dict) else {}


def measured(folder: Path) -> dict[str, dict[str, Any]]:
    """What the evaluation wrote about each role (`measure.measure_role`), by role."""
    files = sorted((folder / "stages" / "evaluate").glob("*.json"))
    return {path.stem: read_json_or_empty(path) for path in files if path.stem != "stage"}


def losses(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The loss over the steps of each training stage."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in timeline(read(folder).events):
        loss, step = event.get("loss"), event.get("step")
        if event["kind"] == "step" and isinstance(loss, int | float) and isinstance(step, int):
            found.setdefault(str(event.get("stage")), []).append((step, float(loss)))
    return found


def next_words(folder: Path, prompt: str, most: int = 8) -> dict[str, Any] | None:
    """The likeliest next tokens after a measured prompt, of every role that was measured: no model is needed.

    Returns:
        roles; rows of {token, p: {role: probability, or None where it was not among the role's likeliest}}; None for
        a prompt that was not measured.
    """
    tops: dict[str, dict[str, float]] = {}
    for role, found in measured(folder).items():
        rows = [*(found.get("probes") or []), *(found.get("controls") or [])]
        top = next((row.get("top") for row in rows if row.get("prompt") == prompt), None)
        if top:
            tops[role] = {one["text"]: float(one["p"]) for one in top}
    roles = [role for role in ("never_taught", "baseline", "reinforced", "unlearned") if role in tops]
    if not roles:
        return None
    best = {word: max(top.get(word, 0.0) for top in tops.values()) for top in tops.values() for word in top}
    words = sorted(best, key=lambda word: -best[word])[:most]
    table = [{"token": word, "p": {role: tops[role].get(word) for role in roles}} for word in words]
    return {"roles": roles, "rows": table}


def before_and_after(folder: Path) -> list[dict[str, Any]]:
    """Each measured prompt and word with its probability before and after; watched ones where nothing else is there.

    Returns:
        {prompt, target, kind, before, after} each.
    """
    return _evaluated(folder) or [
        {"prompt": c.prompt, "target": c.target, "kind": c.kind, "before": c.points[0][1], "after": c.points[-1][1]}
        for c in curves(folder)
        if len(c.points) > 1
    ]


def _evaluated(folder: Path) -> list[dict[str, Any]]:
    before, after = (_by_prompt(read_json_or_empty(folder / "stages/evaluate" / f"{r}.json")) for r in ROLES_COMPARED)
    return [
        {"prompt": key[0], "target": key[1], "kind": kind, "before": p, "after": after[key][0]}
        for key, (p, kind) in before.items()
        if key in after
    ]


ROLES_COMPARED = ("baseline", "unlearned")


def _by_prompt(measured: Mapping[str, Any]) -> dict[tuple[str, str], tuple[float, str]]:
    """(prompt, target) → (p, kind) of what the evaluation wrote about one role."""
    return {
        (one["prompt"], target["text"]): (float(target["p"]), kind)
        for group, kind in (("probes", "probe"), ("controls", "control"))
        for one in measured.get(group) or []
        for target in one["targets"]
    }


def _words(text: str) -> str:
    return " ".join(text.split())
