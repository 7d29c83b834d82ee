"""Memory in a run: how many blocks a pass takes, fewer once it has run out, and what a person is told then.

`pass_blocks` changes memory and speed and not the result, so a run goes on with a smaller one where it was: the file
`passes.json` in its folder limits them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning.errors import RunBusyError, SettingsError
from unlearning.runs.durable import read_json_or_empty, write_json
from unlearning.runs.locks import WORKER_LOCK, held

PASSES = "passes.json"
TRAINING = ("teach", "reinforce", "finetune")
SHORTEST_BLOCK = 64


@dataclass(frozen=True)
class Memory:
    """What is known of a run's memory; None where nothing is.

    Attributes:
        pass_blocks: Blocks in one pass where the settings leave that open.
        block_bytes: What a training pass holds for each block in it.
        full_bytes: What training every weight costs beyond low-rank adapters.
        most_blocks: The limit of an attempt before this one.
    """

    pass_blocks: int | None = None
    block_bytes: float | None = None
    full_bytes: float | None = None
    most_blocks: int | None = None


@dataclass(frozen=True)
class Relief:
    """A setting that can be lowered, from what to what, and the bytes that saves (None: unknown)."""

    name: str
    now: int
    lower: int
    saves: float | None


def most_blocks(folder: Path) -> int | None:
    """Most blocks that a pass of this run may take; None: no limit."""
    most = read_json_or_empty(folder / PASSES).get("most")
    return most if isinstance(most, int) and most > 0 else None


def limit_passes(folder: Path, blocks: int) -> None:
    """From its next attempt on the run takes at most so many blocks in a pass.

    Raises:
        SettingsError: not a positive number. RunBusyError: its worker is alive. RunError: it cannot be written.
    """
    if blocks < 1:
        raise SettingsError(f"A pass cannot take {blocks} blocks.", "Give a number from 1 up.")
    if held(folder / WORKER_LOCK):
        raise RunBusyError(f"Run {folder.name} is at work.", "Stop it first.")
    lower_passes(folder, blocks)


def lower_passes(folder: Path, blocks: int) -> None:
    """As `limit_passes`, for the run's own worker."""
    write_json(folder / PASSES, {"most": blocks})


def memory_of(folder: Path, hardware: Mapping[str, Any], **known: float | None) -> Memory:
    """What is known of the memory of the run in `folder`.

    Args:
        folder: The run.
        hardware: Its `hardware.json`.
        known: `block_bytes` and `full_bytes` where somebody can tell; a budget that was measured goes before.
    """
    budget = read_json_or_empty(folder / "config.json").get("budget") or {}
    blocks, held_bytes = budget.get("pass_blocks"), budget.get("pass_bytes")
    measured = held_bytes / blocks if blocks and held_bytes else known.get("block_bytes")
    return Memory(hardware.get("batch_hint") or blocks, measured, known.get("full_bytes"), most_blocks(folder))


def fewer_blocks(settings: Mapping[str, Any], stage: str, memory: Memory) -> Relief | None:
    """Half as many blocks in a pass of this stage; None where it takes one, or none of its own."""
    if stage == "evaluate":
        return None
    section = stage if stage in TRAINING else "finetune"
    train = settings.get(section) or {}
    now = int(train.get("pass_blocks") or memory.pass_blocks or 2)
    if stage != "label":  # a step is never larger than its batch
        retained = (train.get("retain_blocks") or 0) if train.get("retain_weight") else 0
        now = min(now, max(train.get("batch_blocks") or now, retained))
    now = min(now, memory.most_blocks or now)
    saves = memory.block_bytes * (now - now // 2) if memory.block_bytes and stage != "label" else None
    return Relief(f"{section}.pass_blocks", now, now // 2, saves) if now > 1 else None


def memory_hint(settings: Mapping[str, Any], stage: str = "", memory: Memory | None = None, again: str = "") -> str:
    """Which setting to lower, and what that would save.

    Args:
        settings: The run's, as in `config.json`.
        stage: The stage at work.
        memory: What is known.
        again: Id of a run that is not sure to have run out of memory: its passes are not lowered by themselves.
    """
    memory = memory or Memory()
    tokens, model = (settings.get("text") or {}).get("block_tokens"), settings.get("model") or {}
    if found := fewer_blocks(settings, stage, memory):
        by_hand = f"`python -m unlearning runs resume {again} --pass-blocks {found.lower}`"
        it = by_hand if again else "Resume the run: it"
        words = f"{it} goes on with {found.name} = {found.lower} instead of {found.now}"
        return f"{words}, which saves {_gigabytes(found.saves)}; the result stays the same."
    if stage == "evaluate":
        return "Close other programs and resume the run: it goes on with the evaluation."
    if tokens and tokens > SHORTEST_BLOCK:
        saved = _gigabytes(memory.block_bytes and memory.block_bytes / 2)
        return f"Copy the run with text.block_tokens = {tokens // 2} instead of {tokens}: that saves {saved}."
    if model.get("mode") == "full":
        saved = f"about {memory.full_bytes / 1e9:.1f} GB" if memory.full_bytes else "what AdamW keeps of every weight"
        return f"Copy the run with model.mode = lora: that saves {saved}."
    return "Close other programs and resume, or take a smaller model."


def _gigabytes(count: float | None) -> str:
    return f"about {max(count, 1e8) / 1e9:.1f} GB" if count else "half of what a pass holds"
