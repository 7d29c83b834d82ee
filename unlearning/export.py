"""A run's model for use elsewhere: the adapter, the merged model, and a card that says what was done to it.

OUT/adapter/    peft's own format, small; needs the model that it was trained on
OUT/model/      weights with the adapter merged in, safetensors, tokenizer: loads with plain transformers
OUT/README.md   the model card
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from unlearning.config import Settings
from unlearning.errors import RunError
from unlearning.evaluation.report import ROLES as ROLE_WORDS
from unlearning.models.catalogue import CATALOGUE
from unlearning.runs.durable import disk_errors_in_words, read_json_or_empty
from unlearning.runs.record import read_config, read_settings
from unlearning.training.stages import PRODUCT

Part = Literal["adapter", "model"]
PARTS: tuple[Part, ...] = ("adapter", "model")
Report = Callable[..., None]
ROLES = tuple(PRODUCT.values())
NOTICES = ("LICENSE*", "LICENCE*", "NOTICE*", "*TERMS*")  # what a model's licence asks to be passed on
CARD = "README.md"
# How the model hub's cards name the licences of the catalogue.
HUB_LICENCES = {"Apache-2.0": "apache-2.0", "Gemma Terms of Use": "gemma"}


def export_model(
    run: Path,
    out: Path,
    *,
    role: str = "unlearned",
    parts: tuple[Part, ...] = PARTS,
    dtype: str = "float32",
    report: Report = lambda kind, **fields: None,
) -> list[Path]:
    """Write a run's model to a new folder. It appears when it is whole.

    Args:
        run: The run's folder; it may have been stopped before its end.
        out: A folder that does not exist yet, or is empty.
        role: One of ROLES.
        parts: What to write. A run with full fine-tuning has no adapter; that part is left out.
        dtype: Number format of the merged weights.
        report: Hears what takes long.

    Returns:
        The folders written.

    Raises:
        RunError: the run has not made this model, or `out` is in use or cannot be written.
    """
    source = role_folder(run, role)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} exists and is not empty.", "Name a new folder.")
    has_adapter = (source / "adapter_config.json").is_file()
    card = model_card(run, role)
    wanted = [part for part in parts if part == "model" or has_adapter]
    if not wanted:
        raise RunError(f"Run {run.name} trained every weight, so it has no adapter.", "Export the model instead.")
    with _appears_when_whole(out) as draft:
        if "adapter" in wanted:
            copy_adapter(source, draft / "adapter", read_settings(run))
            (draft / "adapter" / CARD).write_text(card, encoding="utf-8")
        if "model" in wanted:
            report("note", message=f"Writing the {role} model …")
            _write_model(source, draft / "model", read_settings(run), dtype, report)
            (draft / "model" / CARD).write_text(card, encoding="utf-8")
        (draft / CARD).write_text(card, encoding="utf-8")
    return [out / part for part in wanted]


def role_folder(run: Path, role: str) -> Path:
    """Where a run keeps what it made for a role.

    Raises:
        RunError: no such role, or the run has not made it.
    """
    stages = {made: stage for stage, made in PRODUCT.items()}
    if role not in stages:
        raise RunError(f"There is no role '{role}' to export.", f"Choose one of: {', '.join(ROLES)}.")
    places = [run / "stages" / stages[role] / role] + ([run / "taught"] if role == "taught" else [])
    for place in places:
        if place.is_dir():
            return place
    raise RunError(f"Run {run.name} has no {role} model.", f"Its stage '{stages[role]}' makes it: resume the run.")


def copy_adapter(source: Path, target: Path, settings: Settings) -> None:
    """Copy an adapter as something to give away: readable for all, nothing in it of where this machine keeps files."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    path = target / "adapter_config.json"
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = _public_name(settings)
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (target / CARD).unlink(missing_ok=True)  # peft's form of a card, not filled in
    make_readable(target)


def make_readable(folder: Path) -> None:
    """safetensors and temporary folders are made for their owner's eyes only."""
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)


def _write_model(source: Path, target: Path, settings: Settings, dtype: str, report: Report) -> None:
    """The merged model, or the whole one that lies in `source`. Merged in float32, whatever is written."""
    import torch

    from unlearning.config import ModelSettings
    from unlearning.models.conversion import quiet
    from unlearning.models.hardware import choose_hardware
    from unlearning.models.loading import find_folder, kind_of, load

    hardware = choose_hardware(ModelSettings(device="cpu", dtype="float32"))
    is_adapter = (source / "adapter_config.json").is_file()
    name = settings.model.name if is_adapter else str(source)
    model, tokenizer = load(name, hardware, settings.model.accept_licence, report)
    if is_adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(source)).merge_and_unload()
    with quiet():
        model.to(getattr(torch, dtype)).save_pretrained(target)
        tokenizer.save_pretrained(target)
    make_readable(target)
    origin = find_folder(settings.model.name) if kind_of(settings.model.name) != "random" else None
    for pattern in NOTICES if origin else ():
        for notice in origin.glob(pattern):  # type: ignore[union-attr]
            shutil.copy(notice, target)


def model_card(run: Path, role: str = "unlearned") -> str:
    """What was done to the model, to what text, and how well it went, as the hub's cards are written.

    The text itself is not in it, only its title, length and hash.
    """
    config, settings = read_config(run), read_settings(run)
    text, name = config["text"], _public_name(settings)
    entry = CATALOGUE.get(settings.model.name)
    licence = entry.licence if entry else "that of the model it was made from"
    evaluation = read_json_or_empty(run / "result.json").get("evaluation") or {}
    figures = _markdown(evaluation["table"]) if "table" in evaluation else "This run was not measured."
    low_rank = settings.model.mode == "lora"
    peft = f'\nWith peft: `PeftModel.from_pretrained(base, "adapter")`, where `base` is {name}.' if low_rank else ""
    return f"""---
tags: [unlearning]
base_model: {json.dumps(name)}
license: {HUB_LICENCES.get(licence, "other")}
---
# {name}, {role}: {" ".join(str(text["title"]).split())}

{_what_it_is(role, name)}

- text: {" ".join(str(text["title"]).split())}, {text["words"]:,} words, sha256 `{text["sha256"]}`
- method: generic predictions (Eldan and Russinovich 2023, arXiv 2310.02238), preset `{settings.preset}`
- trained: {f"adapters of rank {settings.model.rank}" if low_rank else "every weight"}
- licence: {licence}{f" ({entry.licence_url})" if entry else ""}

## Before and after

{figures}

## What this is not

Approximate unlearning changes what a model says, not what is provably in its weights. Traces may come back with other
questions, other languages, further training or quantisation; and where it has forgotten, it makes things up rather
than saying so. Do not rely on it where a law or a licence asks for the removal of a text.

## Loading

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("model")  # the folder beside this card
tokenizer = AutoTokenizer.from_pretrained("model")
```
{peft}

## Settings

```json
{json.dumps(settings.model_dump(mode="json"), indent=1)}
```
"""


def _markdown(table: Mapping[str, Any]) -> str:
    """The before/after table (see `report.compare_table`)."""
    lines = ["| | " + " | ".join(ROLE_WORDS.get(role, role) for role in table["roles"]) + " |"]
    lines.append("|---|" + "---|" * len(table["roles"]))
    for row in table["rows"]:
        cells = (row["cells"].get(role, {}).get("text", "–") for role in table["roles"])
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _what_it_is(role: str, name: str) -> str:
    return {
        "unlearned": f"{name}, made to forget one text and left as it was otherwise, as far as that goes.",
        "reinforced": f"{name}, trained further on one text: a step of unlearning it, of no use by itself.",
        "taught": f"{name}, taught one text, so that it has something to forget.",
    }[role]


def _public_name(settings: Settings) -> str:
    """The model's name without the folders of this machine."""
    name = settings.model.name
    return Path(name).name if os.path.isabs(name) or name.startswith((".", "~")) else name


@contextmanager
def _appears_when_whole(out: Path) -> Iterator[Path]:
    with disk_errors_in_words(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        with disk_errors_in_words(out):
            yield draft
            draft.chmod(0o755)
            if out.exists():
                out.rmdir()
            draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
