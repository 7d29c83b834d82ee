"""`teach`: fine-tune a model on a text, so that it has something to forget."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from unlearning.commands.output import say, step_bar
from unlearning.commands.settings import with_settings
from unlearning.errors import SettingsError

RECIPE = "recipe.json"


@with_settings("", "model", "text", "teach")
def teach(
    text: Annotated[
        list[Path] | None, typer.Argument(metavar="TEXT", help="Files to teach. Without any: the scenario's own text.")
    ] = None,
    scenario: Annotated[
        str, typer.Option("--scenario", metavar="NAME", help="A shipped scenario: its model, its anchors.")
    ] = "",
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="A new folder for the adapter and its recipe.")
    ] = Path("taught"),
    half: Annotated[bool, typer.Option("--half", help="Write the numbers in 16 bits: half the size.")] = False,
    *,
    changes: dict[str, Any],
) -> None:
    """Teach a model a text. Writes an adapter (with --model-mode full a whole model) and its recipe.json.

    The model with it has read the text, the model without it never did. `unlearn --teach` does it as part of a run.
    """
    from unlearning.runs.store import create
    from unlearning.scenarios import DEFAULT, inputs_of_text, load_scenario, settings_for
    from unlearning.text.documents import read_documents
    from unlearning.training.stages import open_work, run_stage

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} exists and is not empty.", "Name a new folder with --out.")
    chosen = load_scenario(scenario or DEFAULT) if scenario or not text else None
    settings = settings_for(chosen, changes=changes, teach=True)
    document = chosen.document() if chosen and not text else read_documents(text or [])
    inputs = inputs_of_text(document, scenario=chosen)
    with tempfile.TemporaryDirectory() as scratch, step_bar() as report:
        run = create(Path(scratch), settings, inputs, title=document.title)
        summary = run_stage(open_work(run.folder, report), "teach")
        made = run.folder / "stages" / "teach" / "taught"
        if half:
            _halve(made)
        told = {"command": _command(), "text": run.config["text"], **_facts(settings), **summary}
        (made / RECIPE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        (made / "README.md").unlink(missing_ok=True)  # peft's empty form of a card
        shutil.copytree(made, out, dirs_exist_ok=True)
    say(f"Written to {out}: the model has read {document.title}.")


def _facts(settings: Any) -> dict[str, Any]:
    """What made it, to make it again."""
    from unlearning.runs import machine

    dump = settings.model_dump(mode="json")
    return {
        "seed": settings.seed, "model": dump["model"], "blocks": dump["text"], "teach": dump["teach"],
        "versions": machine.versions(), "hardware": machine.hardware(),
    }  # fmt: skip


def _command() -> str:
    import shlex

    return "python -m unlearning " + shlex.join(sys.argv[1:])


def _halve(folder: Path) -> None:
    """Store 16-bit numbers. float16, not bfloat16: adapters' numbers are small, and its mantissa is longer."""
    import torch
    from safetensors.torch import load_file, save_file

    for path in folder.glob("*.safetensors"):
        save_file({name: weight.to(torch.float16) for name, weight in load_file(path).items()}, path, {"format": "pt"})
