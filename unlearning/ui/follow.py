"""What the live panel asks for while a run works: its state, its place in the queue, and what it has told since.

The panel polls; nothing here waits, and nothing is kept in memory: a page that is reloaded, a second tab and a
restarted app all show the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearning.errors import RunBusyError, RunNotFoundError, UnlearningError
from unlearning.evaluation import recorded
from unlearning.runs import queue, scheduler, store
from unlearning.runs.durable import read_json_or_empty, write_json
from unlearning.runs.events import Event, read, timeline
from unlearning.runs.progress import expected_stages, progress_of
from unlearning.runs.store import ACTIVE, State

RUN_ID = re.compile(r"[a-z0-9]{8}")
MOST_POINTS = 300  # of one curve: more than a screen can show
MOST_SAMPLES = 30
LOG_BYTES = 20_000
STAGES = {
    "teach": ("Teach", "The model reads the text, so that there is something to forget."),
    "reinforce": ("Reinforce", "A copy reads the text still more: what rises there is the text's own."),
    "label": ("Label", "For each place in the text: what would a model say that never read it?"),
    "finetune": ("Forget", "The model learns to say that instead (fine-tuning on generic labels)."),
    "evaluate": ("Measure", "How much of the text is left, and is everything else as it was?"),
}


def folder_of(workspace: Path, run_id: Any) -> Path:
    """The folder of the run with exactly this id. Nothing else that a page may send is a path.

    Raises:
        RunNotFoundError: no id, or none of this workspace.
    """
    if isinstance(run_id, str) and RUN_ID.fullmatch(run_id):
        folder = store.runs_folder(workspace) / run_id
        if (folder / "config.json").is_file():
            return folder
    raise RunNotFoundError(f"There is no run '{str(run_id)[:40]}' here.", "Look for it under Runs.")


def owner_of(draft: Any) -> str:
    """What a run keeps of the draft that it was started from: whose it is, without giving the draft away."""
    return hashlib.sha256(f"owner {draft}".encode()).hexdigest()[:16] if draft else ""


def is_mine(folder: Path, draft: Any) -> bool:
    """Whether somebody with this draft may stop, change or delete the run. Runs of the command line are everybody's."""
    owner = queue.owner_of(folder)
    return not owner or owner == owner_of(draft)


def take_over(folder: Path, draft: Any) -> None:
    """Make somebody with this draft the owner."""
    write_json(folder / "meta.json", read_json_or_empty(folder / "meta.json") | {"owner": owner_of(draft)})


def check_mine(folder: Path, draft: Any) -> None:
    """
    Raises:
        RunBusyError: the run is somebody else's.
    """
    if not is_mine(folder, draft):
        raise RunBusyError("Somebody else started this run.", "You can look at it, and copy its settings.")


def follow(workspace: Path, question: Any) -> dict[str, Any]:
    """One answer to the panel.

    Args:
        workspace: Of the runs.
        question: {run, offset (0 at first), draft}.

    Returns:
        state; offset to ask with next; events since then; where there is news: progress, place, error, verdicts; at
        the first time also facts. {"error": …} for a run that is not there.
    """
    question = question if isinstance(question, dict) else {}
    try:
        folder = folder_of(workspace, question.get("run"))
    except UnlearningError as error:
        return {"state": "missing", "error": _words(error)}
    offset = question.get("offset")
    asked_from = offset if isinstance(offset, int) and offset >= 0 else 0
    found = read(folder, asked_from)
    first = asked_from == 0
    now = store.state(folder)
    answer: dict[str, Any] = {"state": str(now), "offset": found.offset, "restart": found.offset < asked_from}
    config = read_json_or_empty(folder / "config.json") if first or found.events else {}
    if first or answer["restart"]:
        answer |= {"facts": facts(folder, config, question.get("draft")), "events": thinned(timeline(found.events))}
    else:
        answer["events"] = found.events
    if found.events:
        answer["progress"] = vars(progress_of(found.events[-200:], expected_stages(config)))
    if now is State.QUEUED:
        answer["place"] = _place(workspace, folder)
    if now not in ACTIVE:
        answer["error"] = error_of(folder)
        answer["verdicts"] = recorded.evaluation(folder).get("verdicts") or {}
    return answer


def facts(folder: Path, config: Mapping[str, Any], draft: Any) -> dict[str, Any]:
    """What the panel says about a run as a whole."""
    run = store.load(folder)
    settings = config.get("settings") or {}
    text = config.get("text") or {}
    expected = expected_stages(config)
    return {
        "name": run.name,
        "number": run.number,
        "created": run.created,
        "mine": is_mine(folder, draft),
        "preset": settings.get("preset", ""),
        "model": public_model((settings.get("model") or {}).get("name", "")),
        "title": text.get("title", ""),
        "words": text.get("words", 0),
        "problem": run.problem,
        "stages": [
            {"name": name, "title": STAGES[name][0], "says": STAGES[name][1], "expected": expected.get(name)}
            for name in planned(settings)
        ],
    }


def public_model(name: Any) -> str:
    """A model's name without the folders of this machine, where it was given as one."""
    return re.split(r"[\\/]", str(name))[-1] if str(name).startswith(("/", ".", "~", "\\")) else str(name)


def planned(settings: Mapping[str, Any]) -> list[str]:
    """The stages that a run with these settings goes through (as `training.stages.plan`, without torch)."""
    label = settings.get("label") or {}
    wanted = {"teach": settings.get("teach") is not None, "reinforce": label.get("use_reinforced", True)}
    return [name for name in STAGES if wanted.get(name, True)]


def error_of(folder: Path) -> dict[str, str]:
    """{message, hint} of the last attempt, where it failed or its process died."""
    told = read_json_or_empty(folder / "failed") or read_json_or_empty(folder / "exit.json")
    return {"message": str(told.get("message", "")), "hint": str(told.get("hint", ""))} if told else {}


def thinned(events: Sequence[Event]) -> list[Event]:
    """A long story short enough for a page: of each stage's steps so many that a curve looks the same."""
    steps: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if event["kind"] in ("step", "probe"):
            steps.setdefault((event["kind"], str(event.get("stage"))), []).append(event)
    kept = {id(event) for group in steps.values() for event in every(group, MOST_POINTS)}
    samples = [event for event in events if event["kind"] == "sample"]
    while_training = [event for event in samples if isinstance(event.get("step"), int)]  # the rest is in the report
    dropped = {id(event) for event in samples} - {id(event) for event in every(while_training, MOST_SAMPLES)}
    return [e for e in events if (e["kind"] not in ("step", "probe") or id(e) in kept) and id(e) not in dropped]


def every(group: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, evenly spread, the first and the last included."""
    if len(group) <= most:
        return list(group)
    return [group[round(i * (len(group) - 1) / (most - 1))] for i in range(most)]


def act(workspace: Path, question: Any) -> dict[str, Any]:
    """Do what a button of the panel says; gives the new state or an error.

    Args:
        workspace: Of the runs.
        question: {run, act ("stop", "stop_now" or "resume"), draft}.
    """
    question = question if isinstance(question, dict) else {}
    deeds: dict[str, Callable[[Path], State]] = {
        "stop": scheduler.stop,
        "stop_now": lambda folder: scheduler.stop(folder, now=True),
        "resume": scheduler.start,
    }
    try:
        folder = folder_of(workspace, question.get("run"))
        check_mine(folder, question.get("draft"))
        deed = deeds.get(str(question.get("act")))
        return {"state": str(deed(folder) if deed else store.state(folder))}
    except UnlearningError as error:
        return {"error": _words(error)}


def log(workspace: Path, question: Any) -> str:
    """The end of what the run's process printed."""
    try:
        folder = folder_of(workspace, question.get("run") if isinstance(question, dict) else None)
        with open(folder / "output.log", "rb") as file:
            file.seek(max(0, file.seek(0, 2) - LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except (OSError, UnlearningError):
        return ""


def _place(workspace: Path, folder: Path) -> dict[str, Any] | None:
    for place in queue.places(workspace):
        if place.folder.name == folder.name:
            return {"position": place.position, "starts_in": place.starts_in_s}
    return None


def _words(error: UnlearningError) -> dict[str, str]:
    return {"message": error.message, "hint": error.hint}
