"""The runs of a person as the Runs screen shows and handles them: rows, deeds, comparisons, files to download."""

from __future__ import annotations

import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from unlearning.errors import SettingsError, UnlearningError
from unlearning.evaluation import recorded
from unlearning.runs import archive, queue, scheduler, store
from unlearning.runs.comparison import differing_settings, figures, row, whereabouts
from unlearning.runs.record import read_config, read_settings
from unlearning.ui import form
from unlearning.ui.follow import check_mine, every, folder_of, is_mine, public_model
from unlearning.ui.jobs import Job, Jobs
from unlearning.ui.launch import check_model

if TYPE_CHECKING:
    from unlearning.ui.drafts import DraftStore

SPARK_POINTS = 24
MOST_STEPS = 10_000
MOST_BESIDE = 6
TEMPORARY = "forgetting-download-"
DOWNLOADED_AFTER_S = 3600.0  # so long after it was made nobody waits for a file any more
PACKS = ("report", "adapter", "model", "run")


# --- the list ---


def rows(workspace: Path, draft: Any) -> dict[str, Any]:
    """This person's runs, newest first, and those in the trash."""
    queued = queue.places(workspace)
    mine = [run for run in store.list_runs(workspace) if is_mine(run.folder, draft)]
    trash = [run for run in archive.list_trash(workspace) if is_mine(run.folder, draft)]
    return {
        "runs": [_row(run, queued) for run in mine],
        "trash": [{"id": run.id, "name": run.name, "number": run.number} for run in trash],
    }


def _row(run: store.Run, queued: list[queue.Place]) -> dict[str, Any]:
    roles = recorded.roles_on_disk(run.folder)
    found = row(run)
    return found | {
        "model": public_model(found["model"] or ""),
        "whereabouts": whereabouts(run, queued),
        "spark": list(spark(run.folder / "events.jsonl", _size(run.folder / "events.jsonl"))),
        "roles": roles,
        "evaluates": str(run.config.get("of") or "") if run.config.get("kind") == "evaluation" else "",
        "words": (run.config.get("text") or {}).get("words"),
        **_figures(run),
    }


def _figures(run: store.Run) -> dict[str, Any]:
    """{before, after, forgotten, intact} of a run that was measured."""
    headline = run.summary.get("headline") or recorded.evaluation(run.folder).get("headline") or {}
    familiarity = headline.get("familiarity") or {}
    return {
        "before": familiarity.get("baseline"),
        "after": familiarity.get("unlearned"),
        "never": familiarity.get("never_taught"),
        "forgotten": headline.get("forgotten"),
        "intact": headline.get("intact"),
    }


@lru_cache(maxsize=256)
def spark(path: Path, size: int) -> tuple[tuple[float, float], ...]:
    """The mean probability of a run's watched words over its steps; `size` of the file says whether it has grown."""
    curves = [curve for curve in recorded.curves(path.parent) if curve.kind != "control"]
    by_step: dict[int, list[float]] = {}
    for curve in curves:
        for step, p in curve.points:
            by_step.setdefault(step, []).append(p)
    return tuple(every([(float(step), fmean(values)) for step, values in sorted(by_step.items())], SPARK_POINTS))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


# --- several side by side ---


def beside(workspace: Path, ids: Any) -> dict[str, Any]:
    """Several runs: in which settings they differ, their figures, their mean curves."""
    try:
        if not isinstance(ids, list) or not 2 <= len(ids) <= MOST_BESIDE:
            raise SettingsError("One run is not enough to compare.", f"Choose 2 to {MOST_BESIDE}.")
        runs = [store.load(folder_of(workspace, run_id)) for run_id in ids]
    except UnlearningError as error:
        return {"error": str(error)}
    differing = differing_settings(runs)
    models = differing.get("model.name")
    return {
        "names": _distinct(runs),
        "ids": [run.id for run in runs],
        "settings": differing | ({"model.name": list(map(public_model, models))} if models else {}),
        "figures": _verdicts(runs) | _table_figures(runs),
        "curves": [list(spark(run.folder / "events.jsonl", _size(run.folder / "events.jsonl"))) for run in runs],
    }


def _distinct(runs: list[store.Run]) -> list[str]:
    """Their names, with the number where a name is not one run's alone."""
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} (run {run.number})" for name, run in zip(names, runs, strict=True)
    ]


def _verdicts(runs: list[store.Run]) -> dict[str, list[Any]]:
    """What was answered of each, as questions; familiarity stands in the table, before and after."""
    found = figures(runs)
    rows = {
        "Forgotten?": found.get("forgotten"),
        "Everything else intact?": found.get("intact"),
        "Probability familiarity before": found.get("familiarity.baseline"),
    }
    return {title: values for title, values in rows.items() if values}


def _table_figures(runs: list[store.Run]) -> dict[str, list[Any]]:
    """Each measured figure of the unlearned models, by its title."""
    tables = [recorded.evaluation(run.folder).get("table") or {"rows": []} for run in runs]
    titles = dict.fromkeys(line["title"] for table in tables for line in table["rows"])
    cells = [{line["title"]: line["cells"].get("unlearned", {}).get("text") for line in t["rows"]} for t in tables]
    return {title: [found.get(title) for found in cells] for title in titles}


# --- deeds ---


def act(workspace: Path, drafts: DraftStore, question: dict[str, Any]) -> dict[str, Any]:
    """Do what a button says.

    Args:
        workspace: Of the runs.
        drafts: Where copied settings go.
        question: {act: delete | restore | rename | continue | copy | resume | stop, run, draft, name?, steps?}.

    Returns:
        {"said": one sentence} or {"error": one sentence}.
    """
    deeds: dict[str, Callable[[Path], str]] = {
        "delete": _delete,
        "rename": lambda folder: _rename(folder, str(question.get("name") or "")),
        "continue": lambda folder: _continue(folder, question.get("steps")),
        "resume": lambda folder: f"It is {scheduler.start(folder)} again.",
        "stop": lambda folder: f"It is {scheduler.stop(folder)}.",
    }
    try:
        what = str(question.get("act"))
        if what == "restore":
            return {"said": _restore(workspace, question)}
        folder = folder_of(workspace, question.get("run"))
        if what == "copy":
            return {"said": _copy_settings(drafts, folder, question.get("draft"))}
        check_mine(folder, question.get("draft"))
        return {"said": deeds[what](folder)} if what in deeds else {"error": "There is no such button."}
    except UnlearningError as error:
        return {"error": str(error)}


def _delete(folder: Path) -> str:
    name = store.load(folder).name
    archive.move_to_trash(folder)
    return f"“{name}” is in the trash."


def _restore(workspace: Path, question: dict[str, Any]) -> str:
    found = {run.id: run for run in archive.list_trash(workspace)}.get(str(question.get("run")))
    if found is None or not is_mine(found.folder, question.get("draft")):
        raise SettingsError("That run is not in the trash.", "It may be back already.")
    archive.restore(workspace, found.id)
    return f"“{found.name}” is back."


def _rename(folder: Path, name: str) -> str:
    store.rename(folder, name)
    return "Renamed."


def _continue(folder: Path, steps: Any) -> str:
    if not isinstance(steps, int) or not 1 <= steps <= MOST_STEPS:
        raise SettingsError(f"Cannot take {steps} more steps.", f"Give a number from 1 to {MOST_STEPS:,}.")
    scheduler.continue_run(folder, steps)
    return f"It takes {steps} more steps, then measures anew."


def _copy_settings(drafts: DraftStore, folder: Path, draft_id: Any) -> str:
    draft, settings = drafts.open(str(draft_id)), read_settings(folder)
    check_model(settings.model.name)
    draft.save_settings({**draft.settings, **form.kept(settings), "typed": {}})
    return "The form under Unlearn is set as this run was."


# --- files to download ---


def pack(workspace: Path, line: Jobs, question: dict[str, Any]) -> dict[str, Any]:
    """Start making a file: {run, what: report | adapter | model | run}; gives {"job": …} or {"error": …}."""
    what = str(question.get("what"))
    try:
        folder = folder_of(workspace, question.get("run"))
        if what not in PACKS:
            raise SettingsError(f"There is no file '{what[:20]}' to make.", f"Choose one of: {', '.join(PACKS)}.")
    except UnlearningError as error:
        return {"error": str(error)}
    return {"job": line.ask(partial(make_file, folder, what))}


def make_file(folder: Path, what: str, job: Job) -> str:
    """Make a file of a run in a temporary folder of its own; gives its path.

    Raises:
        UnlearningError: the run cannot give that.
    """
    _clear_away()
    place = Path(tempfile.mkdtemp(prefix=TEMPORARY))
    name = f"run-{store.load(folder).number}-{folder.name}"
    job.say(message={"model": "Merging the adapter into the model …"}.get(what, "Packing …"))
    if what == "report":
        from unlearning.evaluation.html_report import write_report

        return str(write_report(folder, place / f"{name}-report.html"))
    if what == "run":
        read_config(folder)
        archive.export_run(folder, place / f"{name}.zip")
        return str(place / f"{name}.zip")
    return str(_model_zip(folder, what, place, name))


def _clear_away() -> None:
    """Remove what was made to be downloaded and is older than that takes; the page has its own copy to hand out."""
    oldest = time.time() - DOWNLOADED_AFTER_S
    for place in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        with suppress(OSError):  # gone, or somebody else's
            status = place.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_mtime < oldest:
                shutil.rmtree(place, ignore_errors=True)


def _model_zip(folder: Path, what: str, place: Path, name: str) -> Path:
    from unlearning.export import export_model

    parts: Any = (what,)
    export_model(folder, place / name, parts=parts)
    target = place / f"{name}-{what}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:  # weights do not get smaller
        for path in sorted((place / name).rglob("*")):
            if path.is_file():
                packed.write(path, Path(name) / path.relative_to(place / name))
    shutil.rmtree(place / name)
    return target
