"""A run is a folder, and its state follows from the files in it.

    <workspace>/runs/<id>/
        config.json     written once, at creation: settings, text and its hash, versions, hardware
        meta.json       the name (any text; never part of a path) and the run's number in this workspace
        text.txt …      the inputs, copied in
        queued          waits for the scheduler (holds its place in the queue)
        cancel          somebody asked it to stop
        failed          why the last attempt failed
        exit.json       how the last worker ended when it could not say so itself (written by the scheduler)
        worker.lock     locked by the kernel while a worker lives
        worker.json     that worker's process and device
        resolved.json   versions and machine that the last attempt ran with
        hardware.json   device, number format, threads and passes, as its first attempt chose them
        passes.json     most blocks in a pass, since memory ran out
        more.json       further fine-tuning steps asked for after the end
        processes.json  how many processes work on it, where it is not one
        events.jsonl    what it told;   output.log   what its process printed
        stages/*/       each stage's artefacts; its stage.json last
        summary.json    the few figures that lists show
        result.json     written last of all

There is no database and no repair: a worker that was killed leaves a run that reads as interrupted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from unlearning.config import Settings
from unlearning.errors import RunNotFoundError, SettingsError, UnlearningError
from unlearning.runs.durable import disk_errors_in_words, read_json_or_empty, sync_folder, write_file, write_json
from unlearning.runs.events import EVENTS
from unlearning.runs.locks import WORKER_LOCK, held, take
from unlearning.runs.names import LONGEST_NAME, checked_name, new_id, one_line
from unlearning.runs.record import make_config, read_config, read_settings

HARDWARE = "hardware.json"
INPUTS = (
    "text.txt", "anchors.json", "probes.json", "retain.txt",
    "completions.json", "themes.txt", "unrelated.txt", "questions.json", "neighbours.json", "taught",
)  # fmt: skip

# Of config.json; all but the first are an evaluation's.
KEPT_IN_COPIES = ("scenario", "of", "suite", "parts", "columns", "other", "llm")


class State(StrEnum):
    DRAFT = "draft"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


ACTIVE = frozenset({State.QUEUED, State.RUNNING, State.CANCELLING})
BUSY = frozenset({State.RUNNING, State.CANCELLING})


@dataclass(frozen=True)
class Run:
    """What a list shows of a run.

    Attributes:
        folder: Where it lies; the folder's name is the run's id.
        config: `config.json`, migrated to today's format; empty where it cannot be read (see `problem`).
        summary: `summary.json`; empty before the end.
        error: {error, message, hint} of the last attempt, where it failed or its process died.
        problem: Why this folder is no usable run, else empty.
    """

    folder: Path
    state: State
    name: str
    number: int
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    summary: dict[str, Any] = field(default_factory=dict, repr=False)
    error: dict[str, Any] = field(default_factory=dict, repr=False)
    problem: str = ""

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def created(self) -> float:
        return float(self.config.get("created", 0.0))


def state(folder: Path) -> State:
    """The state of the run in `folder`, from its files alone."""
    if (folder / "result.json").exists():
        return State.CANCELLED if read_summary(folder).get("state") == State.CANCELLED else State.SUCCEEDED
    cancel = (folder / "cancel").exists()
    if held(folder / WORKER_LOCK):
        return State.CANCELLING if cancel else State.RUNNING
    if (folder / "queued").exists():
        return State.QUEUED
    if (folder / "failed").exists():
        return State.FAILED
    if cancel:
        return State.CANCELLED
    begun = (folder / EVENTS).exists() or (folder / "worker.json").exists()  # killed before its first event: begun
    return State.INTERRUPTED if begun else State.DRAFT


def read_summary(folder: Path) -> dict[str, Any]:
    """The small summary of a finished run; taken from `result.json` itself where it is missing."""
    return read_json_or_empty(folder / "summary.json") or read_json_or_empty(folder / "result.json")


def create(
    workspace: Path,
    settings: Settings,
    inputs: Mapping[str, str | bytes | Path],
    *,
    name: str = "",
    title: str = "",
    kind: str = "unlearn",
    extra: Mapping[str, Any] | None = None,
) -> Run:
    """Make a new run, a draft until it is started. It appears all at once or not at all.

    Args:
        workspace: The folder that holds all runs; made if missing.
        settings: Resolved settings.
        inputs: Content (or a file or folder to copy) by its name, one of INPUTS. "text.txt" is required.
        name: Any text up to 255 characters; empty: the title and the run's number.
        title: Of the text.
        kind: What the worker is to do; a key of `unlearning.worker.EXECUTORS`.
        extra: Further entries of `config.json` (scenario, budget, …).

    Raises:
        SettingsError: unknown input, name too long.
        RunError: the workspace cannot be written, or the disk is full.
    """
    name = checked_name(name)
    _check_inputs(inputs)
    number = next_number(workspace)
    folder = runs_folder(workspace) / new_id()
    making = folder.with_name(f".new-{folder.name}")
    try:
        with disk_errors_in_words(making):
            making.mkdir(parents=True)
            for file, content in inputs.items():
                _place(content, making / file)
        write_json(making / "config.json", make_config(settings, making, title, kind) | dict(extra or {}))
        write_json(
            making / "meta.json", {"name": name or f"{title or 'Run'} · {number}"[:LONGEST_NAME], "number": number}
        )
        with disk_errors_in_words(folder):
            making.rename(folder)
            sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return load(folder)


def copy(run: Path, workspace: Path, settings: Settings | None = None, name: str = "") -> Run:
    """A new draft with the inputs of `run` and its settings (or other ones)."""
    config = read_config(run)
    inputs = {file: run / file for file in INPUTS if (run / file).exists()}
    extra = {key: config[key] for key in KEPT_IN_COPIES if key in config} | {"copied_from": run.name}
    title = str(config["text"]["title"])
    name = name or f"{load(run).name[: LONGEST_NAME - 7]} (copy)"
    return create(
        workspace, settings or read_settings(run), inputs, name=name, title=title, kind=config["kind"], extra=extra
    )


def load(folder: Path) -> Run:
    """The run in `folder`, whatever condition it is in; what is wrong is said in `problem`."""
    meta = read_json_or_empty(folder / "meta.json")
    config, problem = {}, ""
    try:
        config = read_config(folder)
    except UnlearningError as error:
        problem = str(error)
    number = meta.get("number")
    return Run(
        folder=folder,
        state=state(folder),
        name=one_line(str(meta.get("name") or folder.name))[:LONGEST_NAME],
        number=number if isinstance(number, int) else 0,
        config=config,
        summary=read_summary(folder) if (folder / "result.json").exists() else {},
        error=read_json_or_empty(folder / "failed") or read_json_or_empty(folder / "exit.json"),
        problem=problem,
    )


def list_runs(workspace: Path) -> list[Run]:
    """All runs, newest first: by number, since a clock can be set back."""
    return sorted(map(load, run_folders(workspace)), key=lambda run: (run.number, run.id), reverse=True)


def find(workspace: Path, reference: str) -> Path:
    """The folder of the run that `reference` names: its id, the beginning of it, its name, or a path.

    Raises:
        RunNotFoundError: none, or more than one.
    """
    if ("/" in reference or "\\" in reference or reference.startswith(".")) and (
        Path(reference) / "config.json"
    ).exists():
        return Path(reference).resolve()
    folders = {folder.name: folder for folder in run_folders(workspace)}
    if reference in folders:
        return folders[reference]
    begun = [folder for name, folder in folders.items() if reference and name.startswith(reference)]
    named = [f for f in folders.values() if read_json_or_empty(f / "meta.json").get("name") == reference]
    found = named or begun
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(folder.name for folder in found[:5])
        raise RunNotFoundError(f"'{reference}' may be any of {listed}.", "Give the id of one of them.")
    raise RunNotFoundError(f"There is no run '{reference}' in {workspace}.", "See `python -m unlearning runs list`.")


def rename(folder: Path, name: str) -> None:
    """Give the run another name."""
    if not (name := checked_name(name)):
        raise SettingsError("The name of a run cannot be empty.", "Give it at least one visible character.")
    write_json(folder / "meta.json", read_json_or_empty(folder / "meta.json") | {"name": name})


def runs_folder(workspace: Path) -> Path:
    return workspace / "runs"


def run_folders(workspace: Path) -> list[Path]:
    """Folders of all runs; half-made ones have a name that begins with a dot."""
    try:
        return [folder for folder in runs_folder(workspace).iterdir() if folder.name[0] != "." and folder.is_dir()]
    except OSError:
        return []


def workspace_folder() -> Path:
    """The workspace: UNLEARNING_WORKSPACE, else `workspace` in the current folder."""
    return Path(os.environ.get("UNLEARNING_WORKSPACE") or "workspace").resolve()


def next_number(workspace: Path) -> int:
    """The number of the next run of this workspace: 1, 2, 3 …, whatever the clock says."""
    with disk_errors_in_words(workspace):
        runs_folder(workspace).mkdir(parents=True, exist_ok=True)
    with take(workspace / "workspace.lock", patience_s=10.0, what="Another process"):
        counter = workspace / "counter.json"
        last = read_json_or_empty(counter).get("last")
        if not isinstance(last, int):
            metas = (read_json_or_empty(folder / "meta.json") for folder in run_folders(workspace))
            last = max((meta["number"] for meta in metas if isinstance(meta.get("number"), int)), default=0)
        write_json(counter, {"last": last + 1})
    return last + 1


def _check_inputs(inputs: Mapping[str, str | bytes | Path]) -> None:
    if "text.txt" not in inputs:
        raise SettingsError("A run needs a text.", "Give one as the input text.txt.")
    for name in inputs:
        if name not in INPUTS:
            raise SettingsError(f"A run has no input '{name}'.", f"The inputs are: {', '.join(INPUTS)}.")


def _place(content: str | bytes | Path, target: Path) -> None:
    if isinstance(content, Path) and content.is_dir():
        shutil.copytree(content, target)
    elif isinstance(content, Path):
        shutil.copyfile(content, target)
    else:
        write_file(target, content)
