"""`export`: an unlearned model to use elsewhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from unlearning.commands.output import say, working


class What(StrEnum):
    BOTH = "both"
    ADAPTER = "adapter"
    MODEL = "model"


class Format(StrEnum):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or its name.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")],
    role: Annotated[str, typer.Option("--role", help="unlearned, reinforced or taught.")] = "unlearned",
    what: Annotated[What, typer.Option("--what", help="The adapter (peft), the merged model, or both.")] = What.BOTH,
    dtype: Annotated[Format, typer.Option("--dtype", help="Number format of the merged weights.")] = Format.FLOAT32,
) -> None:
    """Write a run's model: the adapter, the merged model (loads with plain transformers), and a model card."""
    with working("Loading the model …") as report:
        from unlearning.export import PARTS, export_model
        from unlearning.runs.store import find, workspace_folder

        folder = find(workspace_folder(), run)
        parts = tuple(part for part in PARTS if what in (What.BOTH, part))
        written = export_model(folder, out, role=role, parts=parts, dtype=dtype.value, report=report)
    say(f"Written: {', '.join(map(str, written))}, and the card {out / 'README.md'}.")
