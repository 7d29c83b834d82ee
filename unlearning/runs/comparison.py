"""Runs as rows: what lists show of one, and in what several differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unlearning.runs.budget import gigabytes, minutes
from unlearning.runs.progress import progress
from unlearning.runs.queue import Place, places, workspace_of
from unlearning.runs.store import BUSY, Run, State

FACTS = ("name", "state", "whereabouts", "text", "model", "preset", "copied_from", "folder", "problem")


def row(run: Run) -> dict[str, Any]:
    """One run as a flat row; None where there is nothing to say."""
    settings = run.config.get("settings") or {}
    spent = run.summary.get("spent") or {}
    return {
        "id": run.id,
        "name": run.name,
        "number": run.number,
        "state": str(run.state),
        "text": (run.config.get("text") or {}).get("title"),
        "model": (settings.get("model") or {}).get("name"),
        "preset": settings.get("preset"),
        "created": run.created,
        "seconds": spent.get("seconds"),
        "headline": run.summary.get("headline") or {},
        "copied_from": run.config.get("copied_from"),
        "error": _error(run),
        "problem": run.problem or None,
    }


def differing_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Dotted settings that are not the same in all runs, each with its value in every run."""
    flat = [flatten(run.config.get("settings") or {}) for run in runs]
    names = dict.fromkeys(name for settings in flat for name in settings)
    values = {name: [settings.get(name) for settings in flat] for name in names}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def figures(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Headline figures of several runs, each with its value in every run."""
    flat = [flatten(run.summary.get("headline") or {}) for run in runs]
    return {
        name: [found.get(name) for found in flat] for name in dict.fromkeys(name for found in flat for name in found)
    }


def whereabouts(run: Run, queued: Sequence[Place] | None = None) -> str:
    """Of a run that waits or works: "number 2, starts in 3:10", "finetune 12/40, 2:05 left"; else empty.

    Args:
        run: Any run.
        queued: The queue's places where they are known already; they are looked up otherwise.
    """
    if run.state is State.QUEUED:
        queued = places(workspace_of(run.folder)) if queued is None else queued
        place = next((place for place in queued if place.folder == run.folder), None)
        start = f", starts in {minutes(place.starts_in_s)}" if place and place.starts_in_s else ""
        return f"number {place.position}{start}" if place else ""
    if run.state not in BUSY:
        return ""
    now = progress(run.folder, run.config)
    left = now.stage_seconds_left if now.seconds_left is None else now.seconds_left
    steps = f" {now.step}/{now.steps}" if now.steps else ""
    return f"{now.stage or 'starting'}{steps}" + (f", {minutes(left)} left" if left else "")


def expected_and_spent(budget: Mapping[str, Any], spent: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Time, memory and disk, each as it was expected and as it was."""
    rows = []
    for key, title, show in (
        ("seconds", "time", minutes),
        ("peak_bytes", "memory", gigabytes),
        ("disk_bytes", "disk", gigabytes),
    ):
        parts = [show(float(spent[key]))] if spent.get(key) else []
        parts += [f"{show(float(budget[key]))} expected"] if budget.get(key) else []
        if parts:
            rows.append((title, ", ".join(parts)))
    return rows


def flatten(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """{"label": {"alpha": 5}} as {"label.alpha": 5}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat


def _error(run: Run) -> dict[str, Any] | None:
    """What is left from an earlier attempt says nothing about a run that goes on."""
    shown = run.error and run.state not in (*BUSY, State.QUEUED, State.SUCCEEDED)
    return dict(run.error) if shown else None
