"""Models to look at, in the web process: loaded when first asked for, shared by everybody, at most a few at a time.

Training never happens here. One lock a model: whoever holds it is alone with it, the others wait their turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.runs import machine, store

if TYPE_CHECKING:
    from unlearning.models.adapters import Family
    from unlearning.training.stages import Work

KEPT = 2  # models in memory at one time


@dataclass
class _Entry:
    """One model, or the place of one. Whoever uses `model` holds `lock`."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    model: Any = None
    made_of: Any = None
    used: float = 0.0


class ModelHost:
    """The models that the page looks at.

    Args:
        workspace: Holds the runs.
        kept: Most models in memory when nobody is using more.
    """

    def __init__(self, workspace: Path, kept: int = KEPT) -> None:
        self._workspace, self._kept = workspace, kept
        self._entries: dict[str, _Entry] = {}
        self._guard = threading.Lock()
        self._messages: dict[str, str] = {}

    @contextmanager
    def open(self, run_id: str) -> Iterator[Work]:
        """A run's models, for as long as the block lasts. Hold one run at a time: two people holding two would wait
        for each other for ever.

        Raises:
            RunNotFoundError: no such run in this workspace.
            UnlearningError: its model cannot be loaded.
        """
        folder = store.runs_folder(self._workspace) / store.find(self._workspace, run_id).name
        key = f"run {folder.name}"

        def load() -> Work:
            from unlearning.training.stages import open_roles

            return open_roles(folder, self._reporter(key))

        with self._use(key, load, roles_made(folder)) as work:
            yield work

    @contextmanager
    def plain(
        self, name: str, taught: Path | None = None, tell: Callable[[str], None] = lambda message: None
    ) -> Iterator[Family]:
        """A model without a run.

        Args:
            name: Of the model.
            taught: An adapter that knows some text: the Family then has the roles `never_taught` and `baseline`,
                else `baseline` alone.
            tell: Hears how far a download is.

        Raises:
            UnlearningError: it cannot be loaded, or its licence was not accepted yet.
        """
        key = f"model {name}" + (f" {taught}" if taught else "")

        def load() -> Family:
            from unlearning.config import ModelSettings
            from unlearning.models.adapters import open_family
            from unlearning.models.hardware import choose_hardware

            settings = ModelSettings(name=name)
            family = open_family(settings, choose_hardware(settings), self._reporter(key, tell))
            if taught is not None:
                family.load("taught", taught)
            return family

        with self._use(key, load, None) as family:
            yield family

    def ready(self, run_id: str = "", name: str = "") -> bool:
        """Whether this run's (or model's) weights are in memory, so that asking it costs no loading."""
        entry = self._entries.get(f"run {run_id}" if run_id else f"model {name}")
        return entry is not None and entry.model is not None

    def message(self, run_id: str = "", name: str = "") -> str:
        """What loading it said last, such as how far a download is; "" when it says nothing."""
        return self._messages.get(f"run {run_id}" if run_id else f"model {name}", "")

    @contextmanager
    def _use(self, key: str, load: Callable[[], Any], made_of: Any) -> Iterator[Any]:
        with self._guard:
            entry = self._entries.setdefault(key, _Entry())
        with entry.lock:
            if entry.model is None or entry.made_of != made_of:
                entry.model = None  # the old one goes before the new one comes
                self._make_room(entry)
                entry.model, entry.made_of = load(), made_of
                self._messages.pop(key, None)
            entry.used = time.monotonic()
            yield entry.model

    def _make_room(self, wanted: _Entry) -> None:
        """Let go of the models that were not used for longest, but never of one in use."""
        with self._guard:
            loaded = [entry for entry in self._entries.values() if entry is not wanted and entry.model is not None]
        for entry in sorted(loaded, key=lambda entry: entry.used)[: max(0, len(loaded) - self._kept + 1)]:
            if entry.lock.acquire(blocking=False):
                entry.model = None
                entry.lock.release()
        machine.give_back_memory()

    def _reporter(self, key: str, tell: Callable[[str], None] = lambda message: None) -> Callable[..., None]:
        def report(kind: str, **fields: Any) -> None:
            if "message" in fields:
                self._messages[key] = str(fields["message"])
                tell(self._messages[key])

        return report


def roles_made(folder: Path) -> tuple[tuple[str, int], ...]:
    """Which roles a run has made, and when: other models since then are no answer to the same question."""
    made = sorted(folder.glob("stages/*/*/adapter_config.json")) + sorted(folder.glob("stages/*/*/config.json"))
    return tuple((str(path.relative_to(folder)), path.stat().st_mtime_ns) for path in made)
