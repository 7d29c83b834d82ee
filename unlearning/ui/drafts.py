"""A person's unfinished work: a text, its dictionary with undo and redo, and settings. A folder of the workspace.

    <workspace>/drafts/<id>/
        text.txt        the text; absent while the draft still is the default scenario, untouched
        about.json      {title, sources, notes, scenario, own_dictionary}
        settings.json   what the Unlearn form was set to
        anchors/        one file for each state of the dictionary: 1.json, 2.json …
        history.json    {now, last, names}: which of them counts, and what the change to each was called

The id is 24 random letters and digits, made in the browser and kept there: whoever does not know it sees nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from unlearning.config import Settings
from unlearning.errors import InputError
from unlearning.runs.durable import disk_errors_in_words, read_json_or_empty
from unlearning.scenarios import DEFAULT, Inputs, Scenario, inputs_of, inputs_of_text, load_scenario, with_controls
from unlearning.text.anchors import Dictionary, format_dictionary, load_dictionary, save_dictionary
from unlearning.text.cloze import make_probes
from unlearning.text.documents import Document
from unlearning.text.prompts import Probe

ID = re.compile(r"[a-z0-9]{24}")
KEPT_STATES = 200  # of a dictionary: how far undo goes back
FORGOTTEN_AFTER_S = 60 * 24 * 3600.0  # a draft that nobody touched for so long is removed


@dataclass(frozen=True)
class About:
    """Where a draft's text comes from.

    Attributes:
        title: Of the text.
        sources: Names of the files.
        notes: What was found and cleaned when it was read.
        scenario: Name of the scenario that it belongs to; "" for somebody's own text.
    """

    title: str = ""
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    scenario: str = ""


@dataclass(frozen=True)
class History:
    """Which state of the dictionary counts, and what undo and redo would take back or do again ("" for nothing)."""

    now: int = 0
    last: int = 0
    names: dict[str, str] = field(default_factory=dict)

    @property
    def undo(self) -> str:
        return self.names.get(str(self.now), "a change") if self.now > max(1, self.last - KEPT_STATES + 1) else ""

    @property
    def redo(self) -> str:
        return self.names.get(str(self.now + 1), "a change") if self.now < self.last else ""


class DraftStore:
    """Everybody's drafts."""

    def __init__(self, workspace: Path) -> None:
        self._folder = workspace / "drafts"
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

    def open(self, draft_id: str) -> Draft:
        """The draft of this id; a new one is the default scenario, and takes no space until it is changed.

        Raises:
            InputError: no id of a draft.
        """
        if not isinstance(draft_id, str) or not ID.fullmatch(draft_id):
            raise InputError(f"'{str(draft_id)[:40]}' is not the name of a draft.", "Open the page anew.")
        return Draft(self._folder / draft_id, self._locks[draft_id])

    def forget_old(self, older_than_s: float = FORGOTTEN_AFTER_S) -> int:
        """Remove drafts that nobody has changed for long; gives how many went."""
        oldest = time.time() - older_than_s
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        old = [folder for folder in folders if folder.is_dir() and folder.stat().st_mtime < oldest]
        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)
        return len(old)


@dataclass(frozen=True)
class Draft:
    """One draft. Every change is on disk when the method returns."""

    folder: Path
    lock: threading.RLock = field(repr=False)

    @property
    def id(self) -> str:
        return self.folder.name

    # --- the text ---

    @property
    def about(self) -> About:
        kept = read_json_or_empty(self.folder / "about.json")
        if not kept:
            return _scenario_about(load_scenario(DEFAULT))
        return About(kept["title"], tuple(kept["sources"]), tuple(kept["notes"]), kept["scenario"])

    @property
    def text(self) -> str:
        """The text; "" where a scenario leaves it to people to bring one."""
        if self.own_text:
            return (self.folder / "text.txt").read_bytes().decode("utf-8", "replace")
        return _scenario_document(self.about.scenario).text if self.about.scenario else ""

    @property
    def own_text(self) -> bool:
        """Whether somebody brought this text, rather than a scenario."""
        return (self.folder / "text.txt").exists()

    @property
    def scenario(self) -> Scenario | None:
        return load_scenario(self.about.scenario) if self.about.scenario else None

    def take_document(self, document: Document) -> None:
        """Make somebody's own document the text. That of a scenario takes its dictionary along; undo brings it back."""
        with self._changing():
            before = self.about.scenario
            keeps = before and load_scenario(before).text is None  # it asked for this very text
            _write(self.folder / "text.txt", document.text)
            self._write_about(About(document.title, document.sources, document.notes, before if keeps else ""))
            if before and not keeps:
                self.change(Dictionary(()), "the new text")

    def take_scenario(self, name: str) -> None:
        """Start over with a scenario: its text, its dictionary."""
        scenario = load_scenario(name)
        with self._changing():
            (self.folder / "text.txt").unlink(missing_ok=True)
            self._write_about(_scenario_about(scenario))
            if self.history.last:
                self.change(_scenario_dictionary(name), "the example")

    def _write_about(self, about: About) -> None:
        _write(self.folder / "about.json", json.dumps(about.__dict__))

    # --- the dictionary ---

    @property
    def dictionary(self) -> Dictionary:
        now = self.history.now
        if now:
            return load_dictionary(self.folder / "anchors" / f"{now}.json")
        return _scenario_dictionary(self.about.scenario)

    @property
    def history(self) -> History:
        kept = read_json_or_empty(self.folder / "history.json")
        return History(kept["now"], kept["last"], kept["names"]) if kept else History()

    def change(self, dictionary: Dictionary, name: str) -> None:
        """Make this the dictionary; `name` says what the change was ("delete 'Alice'"), for undo and redo."""
        with self._changing():
            history = self.history
            if not history.last:  # what undoing the first change goes back to
                history = self._keep_state(self.dictionary, History(), "")
            self._keep_state(dictionary, history, name)

    def undo(self) -> None:
        """Take back the last change; without one, nothing happens."""
        self._step(-1)

    def redo(self) -> None:
        """Do again what was taken back last."""
        self._step(1)

    def _step(self, by: int) -> None:
        with self._changing():
            history = self.history
            target = history.now + by
            if (self.folder / "anchors" / f"{target}.json").exists() and 0 < target <= history.last:
                self._write_history(History(target, history.last, history.names))

    def _keep_state(self, dictionary: Dictionary, history: History, name: str) -> History:
        now = history.now + 1
        with disk_errors_in_words(self.folder):
            (self.folder / "anchors").mkdir(exist_ok=True)
        save_dictionary(dictionary, self.folder / "anchors" / f"{now}.json")
        oldest = now - KEPT_STATES
        (self.folder / "anchors" / f"{oldest}.json").unlink(missing_ok=True)
        names = {key: value for key, value in history.names.items() if oldest < int(key) < now}
        return self._write_history(History(now, now, {**names, str(now): name}))

    def _write_history(self, history: History) -> History:
        _write(self.folder / "history.json", json.dumps(history.__dict__))
        return history

    # --- the rest of a run's inputs ---

    @property
    def settings(self) -> dict[str, Any]:
        """What the Unlearn form was set to; its own keys."""
        return read_json_or_empty(self.folder / "settings.json")

    def save_settings(self, settings: dict[str, Any]) -> None:
        with self._changing():
            _write(self.folder / "settings.json", json.dumps(settings))

    @property
    def probes(self) -> list[Probe]:
        """Probes and controls: the scenario's, or made from the text."""
        scenario = self.scenario
        return scenario.probes() if scenario else list(_made_probes(self.text, self.dictionary))

    def inputs(self, settings: Settings | None = None) -> Inputs:
        """What `runs.store.create` takes: all files of a run that this draft would start.

        Args:
            settings: Those of the run; a scenario's taught adapter goes along where it fits them.

        Raises:
            InputError: there is no text yet.
        """
        scenario = self.scenario
        if scenario and not self.own_text:
            return inputs_of(scenario, settings) | {"anchors.json": format_dictionary(self.dictionary, "json")}
        document = Document(self.about.title, self.text, (), self.about.sources)
        return inputs_of_text(document, self.dictionary, scenario=scenario)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, also from two tabs."""
        with self.lock:
            with disk_errors_in_words(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            yield


def _write(path: Path, content: str) -> None:
    """Replace a file in one step, without waiting for the disk as runs do: an edit has to feel instant."""
    beside = path.with_name(f".{path.name}.part")
    with disk_errors_in_words(path):
        beside.write_bytes(content.encode("utf-8", "surrogatepass"))
        beside.replace(path)


def _scenario_about(scenario: Scenario) -> About:
    return About(scenario.title, (scenario.text.name,) if scenario.text else (), (), scenario.name)


@lru_cache(maxsize=16)
def _made_probes(text: str, dictionary: Dictionary) -> tuple[Probe, ...]:
    return (*make_probes(text, dictionary), *with_controls([], dictionary))


@cache
def _scenario_document(name: str) -> Document:
    scenario = load_scenario(name)
    return scenario.document() if scenario.text else Document("", "")


@cache
def _scenario_dictionary(name: str) -> Dictionary:
    return load_scenario(name).dictionary() if name else Dictionary(())
