"""Evaluations as runs of their own kind: which there are of a run, starting one, following it while it works."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearning.errors import RunError, UnlearningError
from unlearning.evaluation import recorded
from unlearning.runs import queue, scheduler, store
from unlearning.runs.durable import read_json_or_empty
from unlearning.runs.events import Event, read, timeline
from unlearning.runs.progress import expected_stages, progress_of
from unlearning.runs.store import ACTIVE, State
from unlearning.ui import llm, probing_own
from unlearning.ui.follow import error_of, folder_of, is_mine, owner_of, public_model

KIND = "evaluation"
RESULT = "evaluation.json"
SUITES = {"quick": "Quick", "full": "Full"}
MOST_SAMPLES = 6
PLANNED, WORKING, DONE, PAUSED = "planned", "working", "done", "paused"


def is_evaluation(run: store.Run) -> bool:
    return run.config.get("kind") == KIND


def probable(workspace: Path, draft: Any) -> list[tuple[str, str]]:
    """(name, id) of this person's runs that have an unlearned model, newest first."""
    runs = [run for run in store.list_runs(workspace) if is_mine(run.folder, draft) and not is_evaluation(run)]
    return [(run.name, run.id) for run in runs if "unlearned" in recorded.roles_on_disk(run.folder)]


def evaluations_of(workspace: Path, run_id: str) -> list[dict[str, Any]]:
    """The evaluations of a run, newest first: {id, name, suite, state, created, done}."""
    found = [run for run in store.list_runs(workspace) if is_evaluation(run) and run.config.get("of") == run_id]
    return [facts(run) for run in found]


def facts(run: store.Run) -> dict[str, Any]:
    """What the page says about an evaluation as a whole."""
    suite, own, other = str(run.config.get("suite", "")), bool(run.config.get("own")), run.config.get("other")
    when = time.strftime("%d %b %H:%M", time.localtime(run.created)) if run.created else ""
    asked = ("own prompts" if own else "", "with a language model" if run.config.get("llm") else "")
    told = (SUITES.get(suite, suite), when, *asked, public_model(other) if other else "")
    return {
        "id": run.id,
        "run": str(run.config.get("of", "")),
        "name": " · ".join(filter(None, told)),
        "suite": suite,
        "own": own,
        "state": str(run.state),
        "created": run.created,
        "done": (run.folder / RESULT).is_file(),
    }


def shown_first(found: list[dict[str, Any]], wanted: str | None) -> dict[str, Any] | None:
    """The evaluation to show: the one asked for, else one that is at work, else the best of the newest."""
    if chosen := next((one for one in found if one["id"] == wanted), None):
        return chosen
    if active := next((one for one in found if one["state"] in {str(state) for state in ACTIVE}), None):
        return active
    done = [one for one in found if one["done"]]
    return next(iter([*sorted(done, key=_worth), *found]), None)


def _worth(one: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    """Sorts those that came to their end first, of these those that asked what every run is asked, then the full."""
    return one["state"] != str(State.SUCCEEDED), bool(one.get("own")), one["suite"] != "full"


def result_of(workspace: Path, evaluation: Any) -> dict[str, Any]:
    """What an evaluation found.

    Raises:
        UnlearningError: there is no such evaluation, or it has not come to its end.
    """
    folder = folder_of(workspace, evaluation)
    found = read_json_or_empty(folder / RESULT)
    if not found:
        raise RunError("This evaluation has no result yet.", "Wait for its end, or resume it.")
    return found


def finished(workspace: Path, draft: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(facts, result) of this person's finished evaluations: of each run the best one."""
    runs = {run.id: run for run in store.list_runs(workspace)}
    best: dict[str, tuple[dict[str, Any], store.Run]] = {}
    for run in runs.values():
        if not is_evaluation(run) or not is_mine(run.folder, draft) or not (run.folder / RESULT).is_file():
            continue
        told = facts(run)
        old = best.get(told["run"])
        if old is None or _worth(told) < _worth(old[0]):
            best[told["run"]] = (told, run)
    found = []
    for told, run in best.values():
        of = runs.get(told["run"])
        name = of.name if of is not None else f"deleted run {told['run']}"
        if result := read_json_or_empty(run.folder / RESULT):
            found.append((told | {"name": name, "state": str(run.state)}, result))
    return found


# --- starting ---


def start_evaluation(
    workspace: Path,
    run_id: Any,
    suite: Any,
    draft: Any,
    other: str | None = "",
    probes: str = "",
    beginnings: str = "",
    with_llm: bool = False,
) -> str:
    """Queue an evaluation of a run, or find the same one that is already at work; gives its id.

    Args:
        workspace: Of the runs.
        run_id: Of the run.
        suite: A key of SUITES.
        draft: Whose evaluation it is.
        other, probes, beginnings: A further model and own prompts, see `probing_own`.
        with_llm: Whether the language model that is set up writes questions and grades.

    Raises:
        UnlearningError: no such run or suite, the run has nothing to evaluate, or a field cannot be used.
    """
    from unlearning.evaluation import suites

    folder = folder_of(workspace, run_id)
    if suite not in SUITES:
        raise RunError(f"There is no suite '{str(suite)[:20]}'.", f"Choose one of: {', '.join(SUITES)}.")
    if "unlearned" not in recorded.roles_on_disk(folder):
        raise RunError("This run has no unlearned model yet.", "Let it come to its end first.")
    if with_llm and not llm.configured():
        raise RunError("No language model is set up to write questions and grade.", llm.SET_UP)
    inputs, other = probing_own.inputs_of(folder, probes, beginnings), probing_own.model_of(other, folder)
    asked = {"of": folder.name, "suite": suite, "other": other, "own": _fingerprint(inputs)}
    asked |= {"llm": True if with_llm else ""}
    for run in store.list_runs(workspace):
        if is_evaluation(run) and run.state in ACTIVE and all(run.config.get(k, "") == v for k, v in asked.items()):
            return run.id
    extra = {"owner": owner_of(draft), "own": asked["own"]}
    run = suites.create_evaluation(workspace, folder, str(suite), inputs=inputs, other=other, llm=with_llm, extra=extra)
    scheduler.start(run.folder)
    return run.id


def _fingerprint(inputs: Mapping[str, str]) -> str:
    """Tells own prompts from others; "" where there are none."""
    text = json.dumps(inputs, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16] if inputs else ""


def expected(folder: Path, suite: str) -> float | None:
    """Seconds that a suite is expected to take for this run; None where nobody knows."""
    from unlearning.evaluation import suites

    try:
        return suites.expected_seconds(folder, suite)
    except UnlearningError:
        return None


# --- following ---


def follow(workspace: Path, question: Any) -> dict[str, Any]:
    """One answer to the panel that shows an evaluation at work.

    Args:
        workspace: Of the runs.
        question: {run (the evaluation's id), draft}.

    Returns:
        state; facts; parts of {part, title, state, seconds, expected, step, steps}; seconds_left; share (0 to 1);
        place in the queue; the newest samples, note and warnings; error. {"state": "missing", …} where there is none.
    """
    question = question if isinstance(question, dict) else {}
    try:
        folder = folder_of(workspace, question.get("run"))
    except UnlearningError as error:
        return {"state": "missing", "error": {"message": error.message, "hint": error.hint}}
    run = store.load(folder)
    events = timeline(read(folder).events)
    seconds = expected_stages(run.config)
    parts = parts_told(events, run.config.get("parts") or list(seconds), seconds, run.state)
    progress = progress_of(events[-200:], seconds)
    return {
        "state": str(run.state),
        "facts": facts(run) | {"mine": is_mine(folder, question.get("draft"))},
        "parts": parts,
        "share": 1.0 if run.state is State.SUCCEEDED else _share(parts),
        "seconds_left": progress.seconds_left if run.state is State.RUNNING else None,
        "place": _place(workspace, folder) if run.state is State.QUEUED else None,
        "samples": [_sample(event) for event in events if event["kind"] == "sample"][-MOST_SAMPLES:],
        "warnings": [str(event.get("message")) for event in events if event["kind"] == "warning"],
        "note": next((str(e.get("message")) for e in reversed(events) if e["kind"] == "note"), ""),
        "error": error_of(folder) if run.state not in ACTIVE else {},
    }


def parts_told(
    events: Sequence[Event], planned: Sequence[str], seconds: Mapping[str, float], state: State
) -> list[dict[str, Any]]:
    """The parts of an evaluation in their order, how far each is.

    Args:
        events: What it told.
        planned: Its parts, from its config.json.
        seconds: That each was expected to take, where that is known.
        state: Of the evaluation.
    """
    parts = {name: _part(name, seconds.get(name)) for name in planned}
    for event in events:
        if event["kind"] not in ("stage", "step"):
            continue
        part = parts.setdefault(str(event.get("stage")), _part(str(event.get("stage")), None))
        part["state"] = DONE if event.get("state") == "done" else WORKING
        part["seconds"] = event.get("seconds") if event.get("state") == "done" else part["seconds"]
        part["step"], part["steps"] = event.get("step") or part["step"], event.get("steps") or part["steps"]
    for part in parts.values():
        if part["state"] == WORKING and state not in ACTIVE:
            part["state"] = DONE if state is State.SUCCEEDED else PAUSED
    return list(parts.values())


def _part(name: str, seconds: float | None) -> dict[str, Any]:
    return {
        "part": name, "title": _title(name), "state": PLANNED, "seconds": None, "expected": seconds, "step": 0,
        "steps": 0,
    }  # fmt: skip


def _title(part: str) -> str:
    from unlearning.evaluation import suites

    return suites.part_title(part)


def _share(parts: list[dict[str, Any]]) -> float:
    known = all(part["expected"] for part in parts)
    whole = done = 0.0
    for part in parts:
        weight = part["expected"] if known else 1.0
        own = {DONE: 1.0, PLANNED: 0.0}.get(part["state"], part["step"] / part["steps"] if part["steps"] else 0.0)
        whole, done = whole + weight, done + weight * own
    return done / whole if whole else 0.0


def _sample(event: Event) -> dict[str, str]:
    return {"prompt": str(event.get("prompt", "")), "text": str(event.get("text", ""))}


def _place(workspace: Path, folder: Path) -> dict[str, Any] | None:
    for place in queue.places(workspace):
        if place.folder.name == folder.name:
            return {"position": place.position, "starts_in": place.starts_in_s}
    return None
