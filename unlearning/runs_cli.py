"""`python -m unlearning runs …`: look at runs, follow, stop, resume, continue, move and delete them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from unlearning.commands.output import JsonOption, check_writable, print_table, say, write_json
from unlearning.commands.processes import MaybeProcesses, MaybeShard, change_processes
from unlearning.config import make_settings
from unlearning.errors import SettingsError
from unlearning.runs import archive, comparison, queue, scheduler, store
from unlearning.runs.budget import gigabytes, minutes
from unlearning.runs.durable import folder_bytes
from unlearning.runs.follow import follow
from unlearning.runs.passes import limit_passes
from unlearning.runs.progress import expected_left
from unlearning.runs.record import read_settings
from unlearning.runs.store import ACTIVE, BUSY, State, workspace_folder

runs_app = typer.Typer(no_args_is_help=True, help="Look at runs, follow, stop, resume, continue, move and delete them.")

RunName = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, the beginning of it, or its name.")]
RunNames = Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, beginnings of ids, or names of runs.")]
Follow = Annotated[bool, typer.Option("--follow", help="Watch it until it ends.")]


@runs_app.command("list")
def list_command(json_file: JsonOption = None) -> None:
    """All runs, newest first, with their state."""
    check_writable(json_file)
    runs = store.list_runs(workspace_folder())
    queued = queue.places(workspace_folder())
    rows = [comparison.row(run) | {"whereabouts": comparison.whereabouts(run, queued)} for run in runs]
    columns = ("run", "name", "state", "", "text", "model", "preset", "created", "took")
    cells = [
        (row["id"], row["name"], row["state"], row["whereabouts"] or row["problem"] or "", row["text"], row["model"],
         row["preset"], _day(row["created"]), minutes(row["seconds"]) if row["seconds"] else "")
        for row in rows
    ]  # fmt: skip
    print_table("Runs", columns, cells, "" if rows else "None yet; `python -m unlearning unlearn BOOK` makes one.")
    write_json(json_file, rows)


@runs_app.command("show")
def show_command(run_name: RunName, json_file: JsonOption = None) -> None:
    """One run: state, what it was expected to take and took, its figures, why it failed."""
    check_writable(json_file)
    run = store.load(_find(run_name))
    facts = comparison.row(run) | {"whereabouts": comparison.whereabouts(run), "folder": str(run.folder)}
    facts["budget"], facts["spent"] = run.config.get("budget") or {}, run.summary.get("spent") or {}
    rows = [(key.replace("_", " "), facts[key]) for key in comparison.FACTS if facts[key]]
    if run.state is State.CANCELLED and run.summary.get("left"):
        rows.append(("left", run.summary["left"]))
    rows += comparison.expected_and_spent(facts["budget"], facts["spent"])
    rows += list(comparison.flatten(facts["headline"]).items())
    if facts["error"]:
        rows += [("error", facts["error"].get("message")), ("what to do", facts["error"].get("hint"))]
    print_table(f"Run {run.id}", ("", ""), rows)
    write_json(json_file, facts | {"settings": run.config.get("settings")})


@runs_app.command("compare")
def compare_command(run_names: RunNames, json_file: JsonOption = None) -> None:
    """In which settings runs differ, and what came of it."""
    check_writable(json_file)
    runs = [store.load(_find(name)) for name in run_names]
    settings, figures = comparison.differing_settings(runs), comparison.figures(runs)
    rows = [("name", *(run.name for run in runs)), ("state", *(run.state for run in runs))]
    rows += [(name, *values) for name, values in (settings | figures).items()]
    print_table("Runs compared", ("", *(run.id for run in runs)), rows)
    write_json(json_file, {"runs": [run.id for run in runs], "settings": settings, "figures": figures})


@runs_app.command("follow")
def follow_command(run_name: RunName) -> None:
    """Watch a run until it ends. Ctrl-C stops watching; the run goes on."""
    _watch(_find(run_name))


@runs_app.command("start")
def start_command(
    run_name: RunName, watch: Follow = False, processes: MaybeProcesses = None, shard: MaybeShard = None
) -> None:
    """Queue a draft."""
    folder = _find(run_name)
    change_processes(folder, processes, shard)
    _queue(scheduler.start, folder, watch)


@runs_app.command("resume")
def resume_command(
    run_name: RunName,
    watch: Follow = False,
    pass_blocks: Annotated[
        int | None, typer.Option("--pass-blocks", metavar="N", help="At most N blocks in a pass: less memory.")
    ] = None,
    processes: MaybeProcesses = None,
    shard: MaybeShard = None,
) -> None:
    """Let a run that was stopped, interrupted or failed go on from its newest checkpoint."""
    folder = _find(run_name)
    if pass_blocks is not None:
        limit_passes(folder, pass_blocks)
    change_processes(folder, processes, shard)
    _queue(scheduler.start, folder, watch)


@runs_app.command("continue")
def continue_command(
    run_name: RunName,
    steps: Annotated[int, typer.Argument(help="Fine-tuning steps beyond those it took.")],
    watch: Follow = False,
) -> None:
    """Let a run that has ended take more steps, and evaluate it again."""
    _queue(lambda folder: scheduler.continue_run(folder, steps), _find(run_name), watch)


@runs_app.command("stop")
def stop_command(
    run_name: RunName,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the step to end: terminate, then kill.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has stopped.")] = False,
) -> None:
    """Ask a run to finish its step, save and end; one that waits leaves the queue."""
    folder = _find(run_name)
    state = scheduler.stop(folder, now)
    say(f"Run {folder.name} is {state}." + ("" if now or state not in BUSY else " It finishes its step and saves."))
    while wait and store.state(folder) in ACTIVE:
        time.sleep(0.2)


@runs_app.command("rename")
def rename_command(run_name: RunName, name: Annotated[str, typer.Argument(help="Up to 255 characters.")]) -> None:
    """Give a run another name."""
    store.rename(_find(run_name), name)


@runs_app.command("copy")
def copy_command(
    run_name: RunName,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting to change, e.g. label.alpha=3.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the copy.")] = "",
    start: Annotated[bool, typer.Option("--start", help="Queue it at once.")] = False,
) -> None:
    """Make a new draft from a run's inputs and settings."""
    folder = _find(run_name)
    settings = read_settings(folder).model_dump()
    changed = make_settings(settings["preset"], settings | dict(map(_change, changes or [])))
    run = store.copy(folder, workspace_folder(), changed, name)
    if start:
        scheduler.start(run.folder)
    say(f"Run {run.id} is {store.state(run.folder)}.")


@runs_app.command("export")
def export_command(
    run_name: RunName,
    file: Annotated[Path, typer.Argument(help="The zip to write.")],
    checkpoints: Annotated[bool, typer.Option(help="Include training state, to resume it elsewhere.")] = False,
) -> None:
    """Write a run as one zip."""
    archive.export_run(_find(run_name), file, checkpoints)
    say(f"{file}: {gigabytes(file.stat().st_size)}.")


@runs_app.command("import")
def import_command(file: Annotated[Path, typer.Argument(help="A zip that `runs export` wrote.")]) -> None:
    """Add a run from a zip."""
    say(f"Run {archive.import_run(workspace_folder(), file).id} was added.")


@runs_app.command("delete")
def delete_command(run_names: RunNames) -> None:
    """Move runs to the trash."""
    for folder in [_find(name) for name in run_names]:
        archive.move_to_trash(folder)
        say(f"Run {folder.name} is in the trash. `python -m unlearning runs trash --restore {folder.name}` undoes it.")


@runs_app.command("trash")
def trash_command(
    empty: Annotated[bool, typer.Option("--empty", help="Delete for good what lies there.")] = False,
    restore: Annotated[str, typer.Option(metavar="ID", help="Take a run out of it.")] = "",
    json_file: JsonOption = None,
) -> None:
    """What was deleted; empty it, or take something out."""
    if restore:
        say(f"Run {archive.restore(workspace_folder(), restore).name} is back.")
    elif empty:
        say(f"{gigabytes(archive.empty_trash(workspace_folder()))} freed.")
    else:
        check_writable(json_file)
        deleted = archive.list_trash(workspace_folder())
        rows = [comparison.row(run) | {"bytes": folder_bytes(run.folder)} for run in deleted]
        print_table("Trash", ("run", "name", "size"), [(r["id"], r["name"], gigabytes(r["bytes"])) for r in rows])
        write_json(json_file, rows)


def _find(name: str) -> Path:
    return store.find(workspace_folder(), name)


def _queue(start: Callable[[Path], State], folder: Path, watch: bool) -> None:
    state = start(folder)
    where, takes = comparison.whereabouts(store.load(folder)), expected_left(folder)
    expected = f" Expected to take {minutes(takes)}." if takes else ""
    place = f" ({where})" if where else ""
    say(f"Run {folder.name} is {state}{place}.{expected} It goes on when this window is closed.")
    if watch:
        _watch(folder)


def _watch(folder: Path) -> None:
    """Follow a run; the exit status says how it ended."""
    try:
        state = follow(folder)
    except KeyboardInterrupt:
        say(f"The run goes on; `python -m unlearning runs follow {folder.name}` watches it again.")
        raise typer.Exit(130) from None
    if state is not State.SUCCEEDED:
        raise typer.Exit(1)


def _change(assignment: str) -> tuple[str, Any]:
    """ "label.alpha=3" as ("label.alpha", 3)."""
    name, equals, value = assignment.partition("=")
    if not equals:
        raise SettingsError(f"'{assignment}' changes nothing.", "Write NAME=VALUE, e.g. --set label.alpha=3.")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value.strip()


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M") if seconds else ""
