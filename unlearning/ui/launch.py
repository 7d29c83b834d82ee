"""From a draft and a form to a run in the queue. No component in here: what the Unlearn screen and the API both do."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.config import Settings
from unlearning.errors import AnchorError, DocumentError, ModelNotFoundError, PromptError, SettingsError
from unlearning.models.catalogue import CATALOGUE, suggestion
from unlearning.runs import scheduler, store
from unlearning.runs.speeds import budget
from unlearning.text.anchor_checks import check_dictionary
from unlearning.text.prompts import Probe, probe_rows
from unlearning.ui.follow import owner_of

if TYPE_CHECKING:
    from unlearning.scenarios import Inputs
    from unlearning.ui.drafts import Draft

ARROW = re.compile(r"\s*(?:→|->|=>|⇒)\s*")
TWICE_S = 10.0  # the same start again within so many seconds is the same click
MODEL_NAME = re.compile(r"[\w.:/-]{1,200}")
MOST_WATCHED = 40
LONGEST_PROMPT = 2000
WATCHED, CONTROLS = 6, 2  # to begin with

_started: dict[str, tuple[str, float]] = {}  # what was started → its run and when
_starting = threading.Lock()


def start_run(workspace: Path, draft: Draft, settings: Settings, watched: Sequence[Probe], name: str = "") -> str:
    """Make a run of a draft and queue it; gives its id. Pressing the button twice starts one.

    Args:
        workspace: Where it goes.
        draft: Its text and dictionary.
        settings: Of the run.
        watched: Prompts to measure while it runs, controls among them.
        name: Of the run; empty for the text's title and a number.

    Raises:
        UnlearningError: what is missing or wrong, and what to do about it.
    """
    check_model(settings.model.name)
    inputs = inputs_of(draft, settings, watched)
    what = _fingerprint(draft, settings, inputs)
    with _starting:
        run_id, when = _started.get(what, ("", 0.0))
        if time.monotonic() - when < TWICE_S and (store.runs_folder(workspace) / run_id / "config.json").exists():
            return run_id
        settings = settings.model_copy(update={"evaluation": watching(settings, len(watched))})
        extra = _about(workspace, draft, settings, inputs)
        run = store.create(workspace, settings, inputs, name=name, title=draft.about.title, extra=extra)
        _started[what] = (run.id, time.monotonic())
    scheduler.start(run.folder)
    return run.id


def _about(workspace: Path, draft: Draft, settings: Settings, inputs: Inputs) -> dict[str, Any]:
    """What `config.json` says beside the settings: whose run it is, which scenario, what it is expected to take."""
    expected = budget(workspace, settings, inputs, measure=False)
    about = {
        "owner": owner_of(draft.id),
        "scenario": draft.about.scenario,
        "budget": expected.dump() if expected is not None else None,
    }
    return {key: value for key, value in about.items() if value}


def inputs_of(draft: Draft, settings: Settings, watched: Sequence[Probe]) -> Inputs:
    """The files of a run, the watched prompts first among its probes.

    Raises:
        DocumentError, AnchorError: there is no text yet, or its dictionary has an error.
    """
    if not draft.text.strip():
        raise DocumentError("There is no text to forget yet.", "Upload or paste one in step 1.")
    errors = [found for found in check_dictionary(draft.dictionary, None) if found.severity == "error"]
    if errors:
        raise AnchorError(f"Anchor row {errors[0].row}: {errors[0].message}", errors[0].hint)
    if settings.label.use_anchors and not draft.dictionary.enabled():
        raise AnchorError("The dictionary is empty.", "Let step 2 suggest anchors, or switch label.use_anchors off.")
    inputs = dict(draft.inputs(settings))
    seen = {(probe.prompt, probe.targets) for probe in watched}
    chosen = [replace(probe, watch=True) for probe in watched]
    probes = [*chosen, *(probe for probe in draft.probes if (probe.prompt, probe.targets) not in seen)]
    inputs["probes.json"] = json.dumps(probe_rows(probes), ensure_ascii=False)
    return inputs


def check_model(name: str) -> None:
    """Refuse what is neither in the catalogue nor the id of a model on a hub: a page must not read folders, nor tell
    which there are.

    Raises:
        ModelNotFoundError, SettingsError: saying what may be chosen.
    """
    from unlearning.models.hub import is_hub_id
    from unlearning.models.loading import kind_of

    if not MODEL_NAME.fullmatch(name):
        raise SettingsError(f"'{name[:60]}' is not the name of a model.", "Choose one of the list.")
    if name not in CATALOGUE and not name.startswith("random:") and not is_hub_id(name):  # no look at any folder
        raise ModelNotFoundError(f"There is no model '{name}'.", suggestion(name))
    if kind_of(name) == "folder":
        raise SettingsError(
            f"'{name}' is a folder, which the page does not open.",
            "Choose a model of the list or the id of one on Hugging Face; the command line takes folders.",
        )


def watching(settings: Settings, chosen: int) -> Any:
    """With as many prompts to watch as were chosen, from which the time is estimated; 0 stays 0."""
    count = settings.evaluation.watch and (chosen or settings.evaluation.watch)
    return settings.evaluation.model_copy(update={"watch": count})


def _fingerprint(draft: Draft, settings: Settings, inputs: dict[str, Any]) -> str:
    text = json.dumps([draft.id, settings.model_dump(mode="json"), {k: str(v) for k, v in inputs.items()}])
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


# --- watched prompts as lines of text ---


def write_lines(probes: Sequence[Probe]) -> str:
    """Probes as a person edits them: `The Cheshire → Cat`, one a line."""
    return "\n".join(f"{_one_line(probe.prompt)} → {_one_line(probe.targets[0]).strip()}" for probe in probes)


def read_lines(lines: str, kind: str, called: str = "") -> list[Probe]:
    """Probes from lines as `write_lines` gives them.

    Args:
        lines: One a line.
        kind: "probe" or "control".
        called: What a line is called in an error; empty: as on the Unlearn screen.

    Raises:
        PromptError: naming the line that cannot be understood.
    """
    rows = [(number, line.strip()) for number, line in enumerate(lines.splitlines(), 1) if line.strip()]
    if len(rows) > MOST_WATCHED:
        what = f"{called}s" if called else f"{kind}s to watch"
        raise PromptError(f"There are {len(rows)} {what}.", f"Give at most {MOST_WATCHED}.")
    called = called or ("control prompt" if kind == "control" else "watched prompt")
    return [_read_line(number, line, kind, called) for number, line in rows]


def read_watched(watched: str, controls: str) -> list[Probe]:
    """The prompts to watch, from the lines of both fields. Whoever watches the text's words watches a control too.

    Raises:
        PromptError: a line that cannot be understood, or no control.
    """
    own, flat = read_lines(watched, "probe"), read_lines(controls, "control")
    if own and not flat:
        raise PromptError(
            "There is no control to watch.",
            "Give at least one line that has nothing to do with the text, such as: The capital of France is → Paris",
        )
    return [*own, *flat]


def _read_line(number: int, line: str, kind: str, called: str) -> Probe:
    parts = ARROW.split(line)
    if len(parts) != 2 or not all(parts):
        raise PromptError(
            f"Line {number} of the {called}s, “{line[:60]}”, needs a beginning, one arrow and a word.",
            "Write it as: The Cheshire → Cat",
        )
    if len(line) > LONGEST_PROMPT:
        raise PromptError(f"Line {number} of the {called}s has {len(line)} characters.", "Shorten it.")
    return Probe(parts[0], (f" {parts[1]}",), kind)


def first_watched(probes: Sequence[Probe]) -> tuple[list[Probe], list[Probe]]:
    """The probes and the controls to watch where nobody has chosen any."""
    own = [probe for probe in probes if probe.kind != "control"]
    controls = [probe for probe in probes if probe.kind == "control"]
    step = max(1, len(own) // WATCHED)
    return own[::step][:WATCHED], controls[:CONTROLS]


def _one_line(text: str) -> str:
    return " ".join(text.split())
