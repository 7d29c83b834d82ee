"""A text of a given length labelled and fine-tuned on once, from disk to disk: time and memory as it grows."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from unlearning.bench.stages import Prepared, dictionary
from unlearning.bench.trial import Order, forget_peak
from unlearning.config import Settings
from unlearning.methods.examples import StoredExamples, save_examples
from unlearning.methods.generic_labels import label_blocks, opening_tokens
from unlearning.runs import machine
from unlearning.runs.durable import folder_bytes, write_json
from unlearning.runs.failures import explain
from unlearning.scenarios import load_scenario
from unlearning.text.blocks import cut_blocks
from unlearning.training.loop import Term, train


def grow(order: Order, size: int) -> dict[str, Any]:
    """Labels of a text of `size` tokens written to disk, and one epoch of fine-tuning over them.

    The text is read and cut as a run does it, so that its own few bytes a token are in the memory.

    Returns:
        tokens, blocks, label_s (cutting included), finetune_s, peak_bytes, disk_bytes.
    """
    prepared = Prepared(replace(order, stage="label"))
    settings, family = Settings(), prepared.family
    with tempfile.TemporaryDirectory() as place:
        text, folder = Path(place) / "text.txt", Path(place) / "labels"
        write_text(text, family.tokenizer, size)
        forget_peak()
        began = time.perf_counter()
        whole = text.read_text(encoding="utf-8")
        texts = [block.text for block in cut_blocks(whole, family.tokenizer, order.block_tokens)]
        roles = (partial(family.role, "baseline"), partial(family.role, "reinforced"))
        opening = opening_tokens(texts, dictionary(), family.tokenizer, settings.label)
        made = label_blocks(
            texts, dictionary(), family.tokenizer, *roles, settings.label, opening, 0, prepared.pass_blocks
        )
        save_examples(made, folder)
        label_s, disk = time.perf_counter() - began, folder_bytes(folder)
        stored = StoredExamples(folder)
        tokens = sum(len(one.ids) for one in stored)
        once = settings.finetune.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
        term, model = Term("generic", stored), family.create("unlearned")
        began = time.perf_counter()
        train(
            model, [term], once, stage="growth", dtype=prepared.hardware.dtype, pass_blocks=prepared.pass_blocks
        )  # fmt: skip
        finetune_s = time.perf_counter() - began
    return {
        "tokens": tokens, "blocks": len(stored), "label_s": label_s,
        "finetune_s": finetune_s, "peak_bytes": machine.peak_bytes(), "disk_bytes": disk,
    }  # fmt: skip


def write_text(path: Path, tokenizer: Any, tokens: int) -> None:
    """About so many tokens of prose, the default scenario's over and over; never in memory as a whole."""
    source = load_scenario("wonderland").text
    story = source.read_text(encoding="utf-8") if source else ""
    a_token = len(story) / len(tokenizer(story, add_special_tokens=False)["input_ids"])
    left = round(tokens * a_token)  # characters
    with path.open("w", encoding="utf-8") as file:
        while left > 0:
            file.write(story[:left])
            left -= len(story)


def main() -> int:
    """Answer the order on standard input in the file named on the command line."""
    machine.limit_kernel_caches()
    place, order = Path(sys.argv[1]), json.load(sys.stdin)
    size = order.pop("size")
    try:
        write_json(place, grow(Order(**order), size))
    except Exception as error:
        told: Any = explain(error, {"model": {"name": order["model"]}})
        write_json(place, dict(told))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
