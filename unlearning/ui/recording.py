"""A recorded run, played back on the first page: read from the run folder's own files, no model needed.

A recording is a folder of assets/recorded with `config.json` and `events.jsonl` of a real run of this engine. What it
shows is what that run measured while it trained, step by step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unlearning.runs.durable import read_json_or_empty
from unlearning.runs.events import Event, read, seconds_worked, timeline

MOST_PROMPTS = 8


def recordings(folder: Path) -> list[dict[str, Any]]:
    """All recordings in `folder`, by name; those without a measured prompt are left out."""
    found = [read_recording(path.parent) for path in sorted(folder.glob("*/events.jsonl"))]
    return [recording for recording in found if recording["prompts"]]


def read_recording(folder: Path) -> dict[str, Any]:
    """What the page needs of the run in `folder`, small enough to travel with it.

    Returns:
        title, model, machine, words, seconds, steps (those that were measured), prompts
        [{prompt, target, kind, p: [one a step], top: [[token, p] … or None, one a step]}],
        samples [{step, prompt, text}].
    """
    config = read_json_or_empty(folder / "config.json")
    events = timeline(read(folder).events)
    measured = [event for event in events if event["kind"] == "probe" and event.get("probabilities")]
    text, settings = config.get("text") or {}, config.get("settings") or {}
    return {
        "title": str(text.get("title", "")),
        "words": text.get("words"),
        "model": str((settings.get("model") or {}).get("name", "")),
        "machine": str((config.get("hardware") or {}).get("processor", "")),
        "seconds": round(seconds_worked(events)),
        "steps": [event["step"] for event in measured],
        "prompts": _prompts(measured)[:MOST_PROMPTS],
        "samples": [
            {key: event[key] for key in ("step", "prompt", "text")}
            for event in events
            if event["kind"] == "sample" and isinstance(event.get("step"), int)
        ],
    }


def _prompts(measured: list[Event]) -> list[dict[str, Any]]:
    """One entry a prompt, its first target; those that were measured at every step."""
    rows: dict[str, dict[str, Any]] = {}
    for event in measured:
        seen = set()
        for entry in event["probabilities"]:
            if entry["prompt"] in seen:
                continue
            seen.add(entry["prompt"])
            row = rows.setdefault(
                entry["prompt"],
                {"prompt": entry["prompt"], "target": entry["target"], "kind": entry["kind"], "p": [], "top": []},
            )
            row["p"].append(_short(entry["p"]))
            row["top"].append([[token, _short(p)] for token, p in entry["top"]] if entry.get("top") else None)
    return [row for row in rows.values() if len(row["p"]) == len(measured)]


def _short(p: float) -> float:
    return float(f"{p:.3g}")
