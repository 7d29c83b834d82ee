"""How much there is to do in a run, from its settings and inputs, before any model is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unlearning.config import Settings

USUAL_BLOCK = 256
BLOCK_FILL = 0.93  # a block ends at a sentence, so it is not full


@dataclass(frozen=True)
class Workload:
    """How much there is to do. Tokens are those of the run's own blocks.

    Attributes:
        all_blocks: Blocks of the whole text, which teaching reads; all_tokens likewise.
        kept_blocks: Blocks to unlearn; kept_tokens likewise.
        held_out_tokens: Of the blocks that no stage trains on.
        retain_blocks: Blocks of unrelated prose; retain_tokens likewise.
        unrelated_tokens: Of the prose that the evaluation reads.
        prompts: Probes and controls. completions: prompts to complete.
        taught: Whether the run brings a taught adapter along.
    """

    all_blocks: int
    all_tokens: int
    kept_blocks: int
    kept_tokens: int
    held_out_tokens: int = 0
    retain_blocks: int = 0
    retain_tokens: int = 0
    unrelated_tokens: int = 0
    prompts: int = 0
    completions: int = 0
    taught: bool = False


def workload_of(settings: Settings, inputs: Mapping[str, str | bytes | Path], bytes_per_token: float) -> Workload:
    """How much a run of these inputs has to do; token counts from the texts' sizes.

    Args:
        settings: Of the run.
        inputs: As `store.create` takes them.
        bytes_per_token: Of the calibration.
    """

    def tokens(name: str) -> int:
        return round(len(_content(inputs.get(name, b""))) / bytes_per_token)

    length = (settings.text.block_tokens or USUAL_BLOCK) * BLOCK_FILL
    everything, retain = tokens("text.txt"), tokens("retain.txt")
    kept = min(round(everything * (1 - settings.text.held_out)), settings.text.max_tokens or everything)
    return Workload(
        all_blocks=math.ceil(everything / length),
        all_tokens=everything,
        kept_blocks=math.ceil(kept / length),
        kept_tokens=kept,
        held_out_tokens=round(everything * settings.text.held_out),
        retain_blocks=math.ceil(retain / length),
        retain_tokens=retain,
        unrelated_tokens=tokens("unrelated.txt"),
        prompts=_entries(inputs.get("probes.json", b"[]")),
        completions=_entries(inputs.get("completions.json", b"[]")),
        taught="taught" in inputs,
    )


def _content(value: str | bytes | Path) -> bytes:
    if isinstance(value, Path):
        return value.read_bytes()
    return value.encode("utf-8", "replace") if isinstance(value, str) else value


def _entries(value: str | bytes | Path) -> int:
    try:
        found = json.loads(_content(value))
    except ValueError:
        return 0
    return len(found) if isinstance(found, list) else 0
