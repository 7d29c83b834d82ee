"""`complete` and `probe`: what the models of a run say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlearning.commands.output import JsonOption, check_writable, console, print_table, working, write_json
from unlearning.errors import PromptError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from unlearning.training.stages import Work

TOP = 10
ROLES = ("never_taught", "baseline", "taught", "reinforced", "unlearned")
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or its name.")]


def complete(
    run: RunArgument,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The text to go on with.")],
    roles: Annotated[
        list[str] | None,
        typer.Option("--role", help=f"One of {', '.join(ROLES)}. Repeatable. Default: baseline, unlearned."),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1, max=2000, metavar="N", help="Most new tokens.")] = 40,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, max=5, metavar="X", help="0 always takes the likeliest token.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Same seed, same draws.")] = 0,
    json_file: JsonOption = None,
) -> None:
    """Let the baseline and the unlearned model of a run go on with a prompt, side by side."""
    check_writable(json_file)
    if not prompt.strip():
        raise PromptError("The prompt is empty.", "Give the beginning of a sentence.")
    with working("Loading the models …") as report:
        from unlearning.evaluation.scoring import next_tokens
        from unlearning.models.side_by_side import generate_columns

        work = open_run(run, report)
        asked = list(dict.fromkeys(roles or ("baseline", "unlearned")))
        report("note", message=f"The models go on: {', '.join(asked)} …")
        texts = generate_columns(work.family, asked, [prompt], tokens, temperature, seed)
        said: dict[str, Any] = {}
        for role in asked:
            with work.family.role(role) as model:
                top = next_tokens(model, work.family.tokenizer, [prompt], TOP)[0]
            said[role] = {"text": texts[role][0], "top": _top(top)}
    _print_side_by_side(prompt, said)
    write_json(json_file, {"run": run, "prompt": prompt, "roles": said})


def probe(
    run: RunArgument,
    prompts: Annotated[
        Path, typer.Option("--prompts", metavar="FILE", help='A JSON list of {"prompt": "…", "targets": ["…"]}.')
    ],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="The same list, with each role's probabilities and top tokens."),
    ] = None,
) -> None:
    """How likely the models of a run find given words: the product over the tokens of each target.

    Every role of the run is asked: never_taught where there is one, baseline, reinforced, unlearned.
    """
    from unlearning.text.prompts import load_probes

    check_writable(json_file)
    probes, entries = load_probes(prompts), json.loads(prompts.read_text(encoding="utf-8-sig"))
    with working("Loading the models …") as report:
        from unlearning.evaluation.scoring import ask_probes
        from unlearning.training.stages import measured_roles

        work = open_run(run, report)
        answers: list[dict[str, Any]] = [dict(entry) | {"roles": {}} for entry in entries]
        asked_roles = measured_roles(work)
        for role in asked_roles:
            report("note", message=f"Asking the {role} model …")
            with work.family.role(role) as model:
                found = ask_probes(model, work.family.tokenizer, probes, TOP)
            for answer, (row, top) in zip(answers, found, strict=True):
                answer["roles"][role] = {"probabilities": row, "top": _top(top)}
    rows = [
        (answer["prompt"], target, *(asked["probabilities"][place] for asked in answer["roles"].values()))
        for answer in answers
        for place, target in enumerate(answer["targets"])
    ]
    print_table("Probability of each target", ("prompt", "target", *asked_roles), rows)
    write_json(json_file, answers)


def open_run(reference: str, report: Callable[..., None]) -> Work:
    """A run of the workspace with every model that it has made."""
    from unlearning.models.conversion import quiet
    from unlearning.runs.store import find, workspace_folder
    from unlearning.training.stages import open_roles

    folder = find(workspace_folder(), reference)
    with quiet():
        return open_roles(folder, report)


def _top(tokens: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"token": token, "p": p} for token, p in tokens]


def _print_side_by_side(prompt: str, said: dict[str, Any]) -> None:
    from rich.columns import Columns

    screen = console()
    width = max(30, screen.width // len(said) - 1)
    screen.print(Columns([_panel(prompt, role, told, width) for role, told in said.items()]))


def _panel(prompt: str, role: str, told: dict[str, Any], width: int) -> RenderableType:
    """One role's completion, and below it its likeliest next tokens as bars."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    bars = Table(box=None, show_header=False, padding=(0, 1))
    for entry in told["top"]:
        bars.add_row(Text(repr(entry["token"])), Text(f"{entry['p']:.3f}"), Text("█" * round(20 * entry["p"])))
    text = Text.assemble((prompt, "dim"), (told["text"], "bold"))
    return Panel(Group(text, Text("\nlikeliest next tokens", style="dim"), bars), title=Text(role), width=width)
