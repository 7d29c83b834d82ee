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
from unlearning.bench.trial import Order
from unlearning.config import Settings
from unlearning.methods.examples import StoredExamples, save_examples
from unlearning.methods.generic_labels import label_blocks
from unlearning.runs import machine
from unlearning.runs.durable import folder_bytes, write_json
from unlearning.runs.failures import explain
from unlearning.training.loop import Term, train


def grow(order: Order, size: int) -> dict[str, Any]:
    """Labels of a text of `size` tokens written to disk, and one epoch of fine-tuning over them.

    Returns:
        tokens, blocks, label_s, finetune_s, peak_bytes, disk_bytes.
    """
    prepared = Prepared(replace(order, stage="label", blocks=max(1, size // order.block_tokens)))
    settings, family = Settings(), prepared.family
    tokens = prepared.tokens
    with tempfile.TemporaryDirectory() as place:
        folder, began = Path(place) / "labels", time.perf_counter()
        roles = (partial(family.role, "baseline"), partial(family.role, "reinforced"))
        made = label_blocks(
            prepared.texts, dictionary(), family.tokenizer, *roles, settings.label, 0, prepared.pass_blocks
        )
        save_examples(made, folder)
        label_s, disk = time.perf_counter() - began, folder_bytes(folder)
        once = settings.finetune.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
        term, model = Term("generic", StoredExamples(folder)), family.create("unlearned")
        began = time.perf_counter()
        train(
            model, [term], once, stage="growth", dtype=prepared.hardware.dtype, pass_blocks=prepared.pass_blocks
        )  # fmt: skip
        finetune_s = time.perf_counter() - began
    return {
        "tokens": tokens, "blocks": len(prepared.texts), "label_s": label_s, "finetune_s": finetune_s,
        "peak_bytes": machine.peak_bytes(), "disk_bytes": disk,
    }  # fmt: skip


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
