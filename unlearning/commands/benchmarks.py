"""`benchmarks`: what unlearning cost in general ability, by the standard tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unlearning.commands.look import open_run
from unlearning.commands.output import JsonOption, check_writable, print_table, working, write_json


def benchmarks(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or its name.")],
    tasks: Annotated[
        str, typer.Option("--tasks", metavar="NAMES", help="Names that lm-eval knows, with commas; all: MMLU too.")
    ] = "",
    roles: Annotated[
        list[str] | None, typer.Option("--role", metavar="ROLE", help="Repeatable. Default: baseline, unlearned.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many questions of each task.")
    ] = None,
    fewshot: Annotated[
        int | None, typer.Option("--fewshot", min=0, metavar="N", help="Examples before each; else as the task says.")
    ] = None,
    task_folder: Annotated[
        Path | None, typer.Option("--task-folder", metavar="FOLDER", help="Of tasks of your own, as lm-eval's YAML.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, max=512, metavar="N", help="Rows in one pass.")] = 8,
    json_file: JsonOption = None,
) -> None:
    """The paper's benchmarks on baseline and unlearned model: ARC, BoolQ, HellaSwag, OpenBookQA, PIQA, WinoGrande.

    Needs lm-eval (`pip install -r requirements-benchmarks.txt`), and a network for its data sets.
    """
    from unlearning.evaluation.benchmarks import ALL_TASKS, ROLES, TASKS, run_benchmarks

    check_writable(json_file)
    named = ALL_TASKS if tasks == "all" else tuple(filter(None, map(str.strip, tasks.split(",")))) or TASKS
    asked = tuple(roles or ROLES)
    with working("Loading the models …") as report:
        work = open_run(run, report)
        found = run_benchmarks(
            work.family.role, work.family.tokenizer, named, asked,
            task_folder=task_folder, limit=limit, fewshot=fewshot, batch=batch, report=report,
        )  # fmt: skip
    rows = []
    for task, by_role in found.items():
        first = next(iter(by_role.values()))
        rows.append((task, first["measure"], first.get("count"), *map(_cell, by_role.values())))
    print_table("Benchmarks (± standard error)", ("task", "measure", "questions", *asked), rows)
    write_json(json_file, {"run": run, "tasks": found, "limit": limit, "fewshot": fewshot})


def _cell(one: Mapping[str, Any]) -> str:
    return f"{one['value']:.3f}" + (f" ± {one['error']:.3f}" if "error" in one else "")
