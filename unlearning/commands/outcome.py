"""Starting a run from the command line, following it, and showing what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from unlearning.commands.output import console, report, say, working, write_json
from unlearning.errors import TrainingError
from unlearning.runs.budget import gigabytes, minutes

if TYPE_CHECKING:
    from unlearning.config import Settings
    from unlearning.runs.store import Run
    from unlearning.scenarios import Inputs

SHOWN_COMPLETIONS = 6
PATIENCE_S = 3.0


def new_run(settings: Settings, inputs: Inputs, name: str, title: str, scenario: str = "", measure: bool = True) -> Run:
    """A draft in the workspace, with what it is expected to take. Its model must be here (see `fetch_model`).

    Args:
        settings, inputs, name, title: As `runs.store.create` takes them.
        scenario: Name of the scenario, if it is one.
        measure: Whether to measure this machine where it is not known how long the run will take.
    """
    from unlearning.runs.speeds import DOUBTFUL, budget, doubtful
    from unlearning.runs.store import create, workspace_folder

    with working("Measuring this machine, once for each model and block length …"):
        expected = budget(workspace_folder(), settings, inputs, measure)
    extra: dict[str, Any] = {"scenario": scenario} if scenario else {}
    if expected is not None:
        extra["budget"] = expected.dump()
        time, memory, disk = minutes(expected.seconds), gigabytes(expected.peak_bytes), gigabytes(expected.disk_bytes)
        work = f"{expected.steps} steps, {expected.tokens:,} tokens"
        say(f"Expected to take {time}, {work}, {memory} of memory, {disk} on disk.")
        if doubtful(workspace_folder(), settings):
            say(DOUBTFUL)
    return create(workspace_folder(), settings, inputs, name=name, title=title, extra=extra)


def fetch_model(settings: Settings) -> None:
    """Bring a model of the catalogue or the hub to this machine, so that whoever waits sees why.

    Raises:
        ModelNotFoundError, LicenceError, DownloadError: it cannot be had.
    """
    from unlearning.models import catalogue, hub
    from unlearning.models.loading import kind_of

    name, kind = settings.model.name, kind_of(settings.model.name)
    if kind == "catalogue":
        catalogue.fetch(name, settings.model.accept_licence, report)
    elif kind == "hub":
        hub.download(name, report)


def run_to_end(run: Run) -> dict[str, Any]:
    """Queue a run, follow it, and give its `result.json`. Ctrl-C stops it and keeps what it has.

    Raises:
        TrainingError: it failed or its process died; says why.
        Exit: it was stopped; it can be resumed.
    """
    from unlearning.runs import scheduler
    from unlearning.runs.durable import read_json
    from unlearning.runs.follow import follow
    from unlearning.runs.store import State

    scheduler.start(run.folder)
    try:
        state = follow(run.folder)
    except KeyboardInterrupt:
        say("Stopping after this step, and keeping what there is …")
        scheduler.stop(run.folder)
        state = follow(run.folder)
    if state is State.SUCCEEDED:
        return read_json(run.folder / "result.json")
    if state is State.CANCELLED:
        raise typer.Exit(130)
    error = _error_of(run.folder)
    hint = str(error.get("hint") or f"`python -m unlearning runs resume {run.id}` goes on.")
    raise TrainingError(f"Run {run.id} {state}. {error.get('message', '')}".strip(), hint)


def _error_of(folder: Path) -> dict[str, Any]:
    """Why a run ended. Of a worker that was killed, the scheduler says so a moment after its death."""
    from unlearning.runs.store import load

    end = time.monotonic() + PATIENCE_S
    while not (error := load(folder).error) and time.monotonic() < end:
        time.sleep(0.1)
    return error


def show_outcome(run: Run, result: Mapping[str, Any], json_file: Path | None) -> None:
    """The table, the verdicts, some completions before and after, what it took; all of it as JSON where asked for."""
    from unlearning.evaluation.report import side_by_side

    spent = result["spent"]
    show_evaluation(result["evaluation"])
    pairs = side_by_side(measured(run.folder))
    for pair in pairs[:SHOWN_COMPLETIONS]:
        _print_pair(pair)
    say(f"{spent['seconds']:.0f} seconds, at most {spent['peak_bytes'] / 1e9:.2f} GB of memory. Go on with:")
    say(f'  python -m unlearning complete {run.id} "{pairs[0]["prompt"] if pairs else "Once upon a time"}"')
    say(f"  python -m unlearning export {run.id} --out model")
    write_json(json_file, dict(result) | {"run": run.id, "folder": run.folder, "completions": pairs})


def show_evaluation(evaluation: Mapping[str, Any]) -> None:
    """The before/after table and the verdicts that follow from it."""
    from unlearning.evaluation.report import rich_table

    screen = console()
    screen.print(rich_table(evaluation["table"], "Before and after", with_perfect=True))
    for question, verdict in evaluation["verdicts"].items():
        screen.print(f"{question.capitalize()}? {verdict['text']}", markup=False)


def measured(run: Path) -> dict[str, dict[str, Any]]:
    """What the evaluation stage of a run wrote, role by role."""
    from unlearning.runs.durable import read_json

    files = sorted((run / "stages" / "evaluate").glob("*.json"))
    return {path.stem: read_json(path) for path in files if path.stem != "stage"}


def _print_pair(pair: Mapping[str, Any]) -> None:
    """A prompt and how each role goes on with it, a line each."""
    from rich.text import Text

    screen = console()
    screen.print(Text(pair["prompt"], style="bold"))
    for role, completion in pair.items():
        if isinstance(completion, dict):
            screen.print(Text.assemble((f"  {role:<11}", "dim"), " ".join(completion["text"].split())))
