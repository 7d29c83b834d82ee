"""What to compute on: device, number format, threads and batch, each with the reason for it.

Everything is chosen from what the machine can do now and can be overridden in the settings. Choosing
costs less than a second: the only measurement is two small matrix products on the processor.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from unlearning.config import ModelSettings, Settings
from unlearning.errors import SettingsError
from unlearning.models import limits

# A bfloat16 product must be this much faster than float32 to be taken: below that, its 8 bits of
# mantissa buy nothing. (Processors with instructions for it measure 3 to 8; emulation 0.005.)
WORTH_IT = 1.5

# Memory for activations of one training pass, per token and parameter^½, in numbers of the model's
# format. A decoder's activations grow with layers × width, its parameters with layers × width²; at the
# usual 30 layers that leaves √parameters. Measured with low-rank adapters: 57–60 on the default model in the
# benchmark (peak less what is held between passes, over the tokens of its longest pass), 41–70 on others.
ACTIVATIONS = 58

# Tokens in one pass beyond which a device gets no faster, only fuller.
ENOUGH_TOKENS = {"cpu": 1024, "mps": 4096, "cuda": 16384}

CHOSEN = "Chosen in the settings."
UNKNOWN_PARAMETERS = 135_000_000  # the default model's, where nothing is known


@dataclass(frozen=True)
class Hardware:
    """What a run computes on.

    Attributes:
        device: As torch names it: "cpu", "cuda", "cuda:1", "mps".
        dtype: "float32" or "bfloat16".
        threads: Processor threads for torch.
        memory_bytes: Free memory of the device at the time of asking.
        batch_hint: Blocks in one training pass that this memory takes.
        block_hint: Tokens in one block.
        reasons: One sentence for each of the above, by its name.
    """

    device: str
    dtype: str
    threads: int
    memory_bytes: int
    batch_hint: int
    block_hint: int
    reasons: dict[str, str]

    def describe(self, settings: Settings | None = None, most: int | None = None) -> list[str]:
        """Lines to print: each choice with its reason, as a run with these settings uses it.

        Args:
            settings: Of the run: what they say of blocks and passes goes before the hints.
            most: Blocks in a pass since memory has run out (see `runs.passes`).
        """
        block = settings.text.block_tokens if settings else None
        rows = [
            ("device", self.device, self.reasons["device"]),
            ("number format", self.dtype, self.reasons["dtype"]),
            ("threads", str(self.threads), self.reasons["threads"]),
            ("free memory", f"{self.memory_bytes / 1e9:.1f} GB", self.reasons["memory_bytes"]),
            ("block", f"{block or self.block_hint} tokens", CHOSEN if block else self.reasons["block_hint"]),
            *(("batch", f"{blocks} blocks", why) for blocks, why in self._passes(settings, most)),
        ]
        return [f"{title:<14} {value:<11} {why}" for title, value, why in rows]

    def _passes(self, settings: Settings | None, most: int | None) -> list[tuple[int, str]]:
        """Blocks in a pass, with the reason: once, or for each training stage where these differ."""
        if settings is None:
            return [self._pass(None, most)]
        reinforce = settings.reinforce if settings.label.use_reinforced else None
        stages = {"teach": settings.teach, "reinforce": reinforce, "finetune": settings.finetune}
        found = {stage: self._pass(train.pass_blocks, most) for stage, train in stages.items() if train is not None}
        if len(set(found.values())) == 1:
            return [found["finetune"]]
        return [(blocks, f"{stage}: {why}") for stage, (blocks, why) in found.items()]

    def _pass(self, wanted: int | None, most: int | None) -> tuple[int, str]:
        blocks, why = (wanted, CHOSEN) if wanted else (self.batch_hint, self.reasons["batch_hint"])
        return (most, "Fewer since memory ran out.") if most and most < blocks else (blocks, why)


def choose_hardware(
    settings: ModelSettings, *, parameters: int | None = None, block_tokens: int | None = None, taught: bool = False
) -> Hardware:
    """Choose device, number format, threads and batch for these settings.

    Args:
        settings: `device` and `dtype` other than "auto" are taken as they are.
        parameters: Of the model. Unset: looked up by `settings.name`, else taken for the default model's.
        block_tokens: Length of the blocks, where it is not left to the machine.
        taught: Whether the baseline is another model than the loaded one.

    Raises:
        SettingsError: a device that this machine or this torch does not have.
    """
    device, why_device = _device(settings.device)
    threads, why_threads = _threads()
    dtype, why_dtype = _dtype(settings.dtype, device, threads)
    memory, why_memory = _free_memory(device)
    block = 256 if device == "cpu" else 512
    count = parameters or parameters_of(settings.name)
    copies = {"full": settings.mode == "full", "taught": taught}
    batch, why_batch = _batch(memory, count, dtype, device, block_tokens or block, **copies)
    reasons = {
        "device": why_device,
        "dtype": why_dtype,
        "threads": why_threads,
        "memory_bytes": why_memory,
        "batch_hint": why_batch,
        "block_hint": "Short blocks keep steps quick on a processor."
        if device == "cpu"
        else "The paper's length, which an accelerator handles at full speed.",
    }
    return Hardware(device, dtype, threads, memory, batch, block, reasons)


def memory_needed(parameters: int, dtype: str, tokens: int, *, full: bool = False, taught: bool = False) -> int:
    """Bytes for training on `tokens` tokens in one pass: weights and activations, a rough estimate.

    weights + ACTIVATIONS · √parameters · tokens, in bytes of `dtype`. Full fine-tuning holds, for each parameter,
    4 bytes of weight, 4 of gradient and 8 of AdamW's two moments, all float32, and in bytes of `dtype` the frozen
    copies: the loaded model and the baseline where that was taught. In bfloat16 there is one copy more during a
    pass, the weights rounded for the products (autocast).
    """
    size = 2 if dtype == "bfloat16" else 4
    copies = 1 + taught + (dtype == "bfloat16") if full else 1
    weights = parameters * (copies * size + (16 if full else 0))
    return weights + int(ACTIVATIONS * math.sqrt(parameters) * tokens * size)


def needs_checkpointing(
    settings: ModelSettings, hardware: Hardware, parameters: int, tokens: int, taught: bool = False
) -> bool:
    """Whether training is to use activation checkpointing: "auto" does where a pass of one block would not fit.

    Args:
        settings: Of the model.
        hardware: With the memory that was free before the model was loaded.
        parameters: Of the model.
        tokens: In one block.
        taught: See `memory_needed`.
    """
    if settings.activation_checkpointing != "auto":
        return settings.activation_checkpointing == "on"
    need = memory_needed(parameters, hardware.dtype, tokens, full=settings.mode == "full", taught=taught)
    return need > hardware.memory_bytes


def _batch(memory: int, parameters: int, dtype: str, device: str, block: int, **copies: bool) -> tuple[int, str]:
    """The most blocks, a power of two, that leave a third of the memory free and still gain speed."""
    enough = max(1, ENOUGH_TOKENS[device.partition(":")[0]] // block)
    batch = enough
    while batch > 1 and memory_needed(parameters, dtype, batch * block, **copies) > memory * 2 // 3:
        batch //= 2
    need = memory_needed(parameters, dtype, batch * block, **copies) / 1e9
    model = f"a model of {parameters / 1e6:,.0f} M parameters"
    if batch == enough:
        return batch, f"More would not be faster here; {model} needs about {need:.1f} GB with it."
    if need > memory / 1e9 * 2 / 3:
        short = ": memory may run out" if need > memory / 1e9 else ""
        return batch, f"The least there is, and {model} needs about {need:.1f} GB with it{short}."
    return batch, f"What fits in two thirds of the free memory: {model} needs about {need:.1f} GB with it."


def parameters_of(name: str) -> int:
    """Parameters of a model of the catalogue or of a random one; of any other the default model's, for a guess."""
    from unlearning.models.catalogue import CATALOGUE
    from unlearning.models.shapes import SHAPES

    if name in CATALOGUE:
        return CATALOGUE[name].parameters
    shape = SHAPES.get(name.removeprefix("random:"))
    return shape.parameters if shape else UNKNOWN_PARAMETERS


def _device(wanted: str) -> tuple[str, str]:
    import torch

    found = _devices()
    if wanted == "auto" and (told := os.environ.get("UNLEARNING_DEVICE")):
        return _device(told)[0], "UNLEARNING_DEVICE in the environment says so."
    if wanted == "auto":
        if found["cuda"]:
            return "cuda", f"The fastest here: {torch.cuda.get_device_name(0)}."
        if found["mps"]:
            return "mps", "The fastest here: this Mac's graphics processor."
        return "cpu", "torch finds no graphics processor here."
    kind, _, index = wanted.partition(":")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", wanted):
        raise SettingsError(f"There is no device '{wanted}'.", f"Choose auto or one of: {', '.join(_names(found))}.")
    if found[kind] <= int(index or 0):
        raise SettingsError(
            f"The device '{wanted}' was asked for, and torch {torch.__version__} finds no such device here.",
            f"Choose auto or one of: {', '.join(_names(found))}; or install the torch build for that device.",
        )
    return wanted, CHOSEN


def _devices() -> dict[str, int]:
    """How many of each kind of device torch can use."""
    import torch

    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {"cuda": cuda, "mps": int(torch.backends.mps.is_available()), "cpu": 1}


def _names(found: dict[str, int]) -> list[str]:
    return [
        name
        for kind, count in found.items()
        for name in ([f"cuda:{i}" for i in range(count)] if kind == "cuda" else [kind] * count)
    ]


def _dtype(wanted: str, device: str, threads: int) -> tuple[str, str]:
    import torch

    if wanted != "auto":
        return wanted, CHOSEN
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        if native:
            return "bfloat16", "This graphics processor computes in it natively."
        return "float32", "This graphics processor has no bfloat16 units."
    if device == "mps":
        return "float32", "Safest on a Mac's graphics processor."
    speed = bfloat16_speed(threads)
    if speed >= WORTH_IT:
        return "bfloat16", f"Measured {speed:.1f} times as fast as float32 on this processor."
    return "float32", f"bfloat16 was measured {speed:.2g} times as fast on this processor: not worth its rounding."


@cache
def bfloat16_speed(threads: int) -> float:
    """How many times faster than float32 this processor multiplies matrices in bfloat16.

    Measured, not read from the processor's flags: torch and its library also claim bfloat16 where they
    emulate it, up to 200 times slower. A tiny product comes first, so that emulation costs milliseconds.

    Args:
        threads: To measure with.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        tiny = _ratio(64, 64, 64)
        return tiny if tiny < 0.1 else _ratio(512, 1024, 512)
    finally:
        torch.set_num_threads(before)


def _ratio(rows: int, inner: int, columns: int) -> float:
    """Time of a float32 product over that of a bfloat16 one: the best of four, taken in turn."""
    import torch

    def product(dtype: Any) -> Callable[[], Any]:
        a = torch.ones(rows, inner, dtype=dtype)
        b = torch.ones(inner, columns, dtype=dtype)
        return lambda: a @ b

    with torch.inference_mode():
        products = product(torch.float32), product(torch.bfloat16)
        best = [math.inf, math.inf]
        for attempt in range(5):
            for which, run in enumerate(products):
                start = time.perf_counter()
                run()
                if attempt:  # the first one builds the kernel
                    best[which] = min(best[which], time.perf_counter() - start)
    return best[0] / best[1]


def _threads() -> tuple[int, str]:
    """Cores that this process may use: hyperthreads of one core share its multipliers, so they count once."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked), "OMP_NUM_THREADS says so."
    cores = limits.physical_cores()
    share = limits.processor_share()
    if share is not None and share < cores:
        return max(1, math.floor(share)), f"This container may use {share:g} of {cores} cores."
    return cores, f"One for each core that this process may use ({os.cpu_count()} processors in the machine)."


def _free_memory(device: str) -> tuple[int, str]:
    import torch

    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device)
        return free, f"Free of the {total / 1e9:.0f} GB on this graphics processor."
    import psutil

    free = psutil.virtual_memory().available
    if device == "mps":
        return min(free, torch.mps.recommended_max_memory()), "What the Mac recommends to use at most."
    granted = limits.memory_left()
    if granted is not None and granted < free:
        return granted, "What this container's limit leaves."
    return free, f"Available of {psutil.virtual_memory().total / 1e9:.0f} GB."
