"""`teach`: fine-tune a model on a text, so that it has something to forget."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from unlearning.commands.output import say, say_words, step_bar
from unlearning.commands.processes import ProcessesOption, ShardOption, asked_for, work_together
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
    processes: ProcessesOption = 1,
    shard: ShardOption = False,
    *,
    changes: dict[str, Any],
) -> None:
    """Teach a model a text. Writes an adapter (with --model-mode full a whole model) and its recipe.json.

    The model with it has read the text, the model without it never did. `unlearn --teach` does it as part of a run.
    """
    from unlearning.export import copy_adapter
    from unlearning.runs.store import create
    from unlearning.scenarios import DEFAULT, inputs_of_text, load_scenario, settings_for
    from unlearning.text.documents import read_documents
    from unlearning.training.stages import execute_teach

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{out} exists and is not empty.", "Name a new folder with --out.")
    together = asked_for(processes, shard)
    chosen = load_scenario(scenario or DEFAULT) if scenario or not text else None
    settings = settings_for(chosen, changes=changes, teach=True)
    document = chosen.document() if chosen and not text else read_documents(text or [])
    title = chosen.title if chosen and not text else document.title
    say_words(title, document)
    inputs = inputs_of_text(document, scenario=chosen)
    with tempfile.TemporaryDirectory() as scratch, step_bar() as report:
        run = create(Path(scratch), settings, inputs, title=title, kind="teach")
        together(run.folder)
        do = work_together if processes > 1 else execute_teach
        summary = do(run.folder, report)["stages"]["teach"]
        made = run.folder / "stages" / "teach" / "taught"
        if half:
            _halve(made)
        _name_base(made, settings.model.name)
        told = {"command": _command(), "text": run.config["text"], **_facts(settings, run.folder), **summary}
        (made / RECIPE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        copy_adapter(made, out, settings)
    say(f"Written to {out}: the model has read “{title}”.")


def _name_base(folder: Path, name: str) -> None:
    """Name the model that the adapter is for, where peft wrote the folder it was loaded from on this machine."""
    path = folder / "adapter_config.json"
    if path.exists():
        config = json.loads(path.read_text(encoding="utf-8")) | {"base_model_name_or_path": name}
        path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _facts(settings: Any, folder: Path) -> dict[str, Any]:
    """What made it, to make it again; `computed_on` is what "auto" was on that machine."""
    from unlearning.runs import machine
    from unlearning.runs.durable import read_json
    from unlearning.runs.store import HARDWARE

    chosen = read_json(folder / HARDWARE)
    dump = settings.model_dump(mode="json")
    return {
        "seed": settings.seed, "model": dump["model"], "blocks": dump["text"], "teach": dump["teach"],
        "computed_on": {name: chosen[name] for name in ("device", "dtype")},
        "versions": machine.versions(), "hardware": machine.hardware(),
    }  # fmt: skip


def _command() -> str:
    """How to do it again; where it was written to is nobody's business."""
    words = iter(sys.argv[1:])
    kept = [word for word in words if not (word == "--out" and next(words, None)) and not word.startswith("--out=")]
    return "python -m unlearning " + shlex.join(kept)


def _halve(folder: Path) -> None:
    """Store 16-bit numbers. float16, not bfloat16: adapters' numbers are small, and its mantissa is longer."""
    import torch
    from safetensors.torch import load_file, save_file

    for path in folder.glob("*.safetensors"):
        save_file({name: weight.to(torch.float16) for name, weight in load_file(path).items()}, path, {"format": "pt"})
