"""Starting a run from the command line, following it, and showing what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from unlearning.commands.output import console, say, write_json
from unlearning.errors import TrainingError

if TYPE_CHECKING:
    from unlearning.config import Settings
    from unlearning.runs.store import Run
    from unlearning.scenarios import Inputs

SHOWN_COMPLETIONS = 6


def new_run(settings: Settings, inputs: Inputs, name: str, title: str, scenario: str = "") -> Run:
    """A draft in the workspace."""
    from unlearning.runs.store import create, workspace_folder

    extra = {"scenario": scenario} if scenario else {}
    return create(workspace_folder(), settings, inputs, name=name, title=title, extra=extra)


def run_to_end(run: Run) -> dict[str, Any]:
    """Queue a run, follow it, and give its `result.json`. Ctrl-C stops it and keeps what it has.

    Raises:
        TrainingError: it failed; says why.
        Exit: it was stopped; it can be resumed.
    """
    from unlearning.runs import scheduler
    from unlearning.runs.durable import read_json
    from unlearning.runs.follow import follow
    from unlearning.runs.store import State, load

    scheduler.start(run.folder)
    try:
        state = follow(run.folder)
    except KeyboardInterrupt:
        say("Stopping after this step, and keeping what there is …")
        scheduler.stop(run.folder)
        state = follow(run.folder)
    if state is State.SUCCEEDED:
        return read_json(run.folder / "result.json")
    if state is State.FAILED:
        error = load(run.folder).error
        raise TrainingError(f"Run {run.id} failed: {error.get('message', '')}", str(error.get("hint", "")))
    raise typer.Exit(130)


def show_outcome(run: Run, result: Mapping[str, Any], json_file: Path | None) -> None:
    """The table, the verdicts, some completions before and after, what it took; all of it as JSON where asked for."""
    from unlearning.evaluation.report import rich_table, side_by_side

    evaluation, spent = result["evaluation"], result["spent"]
    screen = console()
    screen.print(rich_table(evaluation["table"], "Before and after"))
    for question, verdict in evaluation["verdicts"].items():
        screen.print(f"{question.capitalize()}? {verdict['text']}", markup=False)
    pairs = side_by_side(measured(run.folder))
    for pair in pairs[:SHOWN_COMPLETIONS]:
        _print_pair(pair)
    say(f"{spent['seconds']:.0f} seconds, at most {spent['peak_bytes'] / 1e9:.2f} GB of memory. Go on with:")
    say(f'  python -m unlearning complete {run.id} "{pairs[0]["prompt"] if pairs else "Once upon a time"}"')
    say(f"  python -m unlearning export {run.id} --out model")
    write_json(json_file, dict(result) | {"run": run.id, "folder": run.folder, "completions": pairs})


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
