"""`bench`: how fast each stage is here, against what this machine can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unlearning.commands.output import JsonOption, check_writable, print_table, say, write_json
from unlearning.errors import ModelNotFoundError, SettingsError

FORMULA = (
    "MFU: floating-point operations of the model (2 a weight and token forward, 4 backward where it is trained, 2 "
    "where it is frozen, attention besides) / seconds / the matrix-product rate measured here."
)


def bench(
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="A model on this machine, or random:<shape>, or tiny.")
    ] = "smollm2-135m",
    stages: Annotated[
        str,
        typer.Option(
            "--stages", metavar="A,B", help="Only these: load, teach, reinforce, label, finetune, generate, strip."
        ),
    ] = "",
    mode: Annotated[str, typer.Option("--mode", help="lora or full.")] = "lora",
    device: Annotated[str, typer.Option("--device", help="As in the settings of a run.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="As in the settings of a run.")] = "auto",
    blocks: Annotated[int, typer.Option("--blocks", min=1, max=4096, metavar="N", help="Blocks of text.")] = 8,
    block_tokens: Annotated[
        int, typer.Option("--block-tokens", min=16, max=8192, metavar="N", help="Tokens of one.")
    ] = 256,
    repetitions: Annotated[
        int, typer.Option("--repetitions", min=1, max=100, metavar="N", help="Turns of stage and floor.")
    ] = 3,
    authors: Annotated[
        bool, typer.Option("--authors/--no-authors", help="Labels the authors' way too: two float32 models.")
    ] = True,
    growth: Annotated[
        bool, typer.Option("--growth", help="Also a table of texts up to a million tokens (use tiny).")
    ] = False,
    largest: Annotated[
        int, typer.Option("--largest", min=1000, metavar="N", help="Most tokens of that table.")
    ] = 1_000_000,
    against: Annotated[
        str,
        typer.Option(
            "--against", metavar="FILE|REVISION", help="Compare with what --json wrote, or with a git revision."
        ),
    ] = "",
    json_file: JsonOption = None,
) -> None:
    """Measure every stage on this machine: speed, memory, and the ratio to a bare torch loop that does the same."""
    check_writable(json_file)
    from unlearning.bench import runner, tables
    from unlearning.bench.trial import Order

    model = "random:tiny" if model == "tiny" else model
    _check_model(model)
    order = Order(
        "", model, mode, device, dtype, blocks=blocks, block_tokens=block_tokens, repetitions=repetitions,
        authors=authors,
    )  # fmt: skip
    wanted = [stage.strip() for stage in stages.split(",") if stage.strip()] or ([] if growth else list(runner.STAGES))
    file = Path(against) if against and Path(against).is_file() else None
    before = _read(file) if file else {}
    if against and not file:
        with runner.checked_out(against) as root:
            found = runner.bench(order, wanted, root, say)
        before = {"stages": found["against"], "revision": found["against_revision"]}
    else:
        found = runner.bench(order, wanted, tell=say)
    if growth:
        found["growth"] = runner.growth(order, [size for size in runner.SIZES if size <= largest] or [largest], say)
    _show(found, before, tables)
    write_json(json_file, found)


def _check_model(name: str) -> None:
    """
    Raises:
        ModelNotFoundError: it is not on this machine, and a benchmark downloads nothing.
    """
    from unlearning.models.loading import find_folder, kind_of

    if kind_of(name) in ("catalogue", "hub") and find_folder(name) is None:
        hint = "Fetch it first (`models fetch`), or measure a shape: random:smollm2-135m."
        raise ModelNotFoundError(f"The model {name} is not on this machine.", hint)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found["stages"], dict):
            return found
    except (OSError, ValueError, KeyError):
        pass
    raise SettingsError(f"{path} is no benchmark.", "Give a file that `bench --json` has written.")


def _show(found: dict[str, Any], before: dict[str, Any], tables: Any) -> None:
    if found["stages"]:
        one = next(iter(found["stages"].values()))
        rate = f"{one['matrix_flops'] / 1e9:,.0f} GFLOP/s in {one['dtype']}, {one['threads']} threads, {one['device']}"
        title = f"{found['order']['model']} on {found['machine']}: {rate}"
        print_table(title, tables.COLUMNS, tables.stage_rows(found), FORMULA)
    if found.get("predicted"):
        columns = ("stage", "predicted s", "measured s", "predicted memory", "measured memory")
        print_table("Prediction and measurement", columns, tables.prediction_rows(found))
    if before:
        columns = ("stage", "before, s", "now, s", "speed-up", "peak memory")
        title = f"Against {before.get('revision') or 'the file'}"
        print_table(title, columns, tables.comparison_rows(found["stages"], before["stages"]))
    if found.get("growth"):
        print_table("Growth", tables.GROWTH, tables.growth_rows(found["growth"]))
