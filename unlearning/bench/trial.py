"""One stage measured in a process of its own: `python -m unlearning.bench.trial ANSWER < ORDER`.

The stage and its floor take turns, so that what else the machine does falls on both. Peak memory is that of the
stage's first time, what its preparation took and gave back being forgotten. The matrix rate is measured before and
after, and the larger one counts: a rate that something else slowed down would flatter the stage.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearning.bench.cost import matrix_rate, wait
from unlearning.runs import machine
from unlearning.runs.durable import write_json
from unlearning.runs.failures import explain


@dataclass(frozen=True)
class Order:
    """What is to be measured.

    Attributes:
        stage: One of `bench.stages.STAGES`.
        model: As `models.loading.load` names it; mode, device, dtype and rank as in `ModelSettings`.
        blocks: Of the text.
        block_tokens: Longest block.
        repetitions: Of stage and floor; the medians count.
        authors: Whether labels are also made the authors' way.
        tokens: New tokens of a continuation.
    """

    stage: str
    model: str
    mode: str = "lora"
    device: str = "auto"
    dtype: str = "auto"
    rank: int = 8
    blocks: int = 8
    block_tokens: int = 256
    repetitions: int = 3
    authors: bool = True
    tokens: int = 24


@dataclass
class Trial:
    """A stage ready to be measured.

    Attributes:
        act: Does it once.
        tokens: That it reads or writes.
        flops: Of one time.
        floor: Does the same the bare way; None where there is no such thing.
        floor_is: What the floor is, in words.
        others: Other ways to the same, by name.
        variants: The stage under other settings, by name; over the same tokens.
        facts: Kept as they are.
    """

    act: Callable[[], object]
    tokens: int
    flops: float = 0.0
    floor: Callable[[], object] | None = None
    floor_is: str = ""
    others: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    variants: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def measure(trial: Trial, device: str, repetitions: int) -> dict[str, Any]:
    """Seconds of the stage, its floor and further ways, in turn; the stage's peak memory."""
    ways = {"stage": trial.act} | ({"floor": trial.floor} if trial.floor else {}) | dict(trial.others)
    ways |= dict(trial.variants)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    forget_peak()
    _seconds(trial.act, device)  # warm
    peak = machine.peak_bytes()
    for name, act in ways.items():
        if name != "stage":
            _seconds(act, device)
    for _ in range(repetitions):
        for name, act in ways.items():
            seconds[name].append(_seconds(act, device))
    found = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = {name: statistics.median(paired(times, seconds["stage"])) for name, times in seconds.items()}
    return {
        "seconds": found["stage"],
        "all_seconds": seconds,
        "tokens": trial.tokens,
        "tokens_per_s": trial.tokens / found["stage"],
        "flops": trial.flops,
        "peak_bytes": peak,
        "floor_is": trial.floor_is,
        "to_floor": ratios.get("floor"),  # floor's time over the stage's: 1 is as fast, 0.9 is 10 % slower
        "others": {name: ratios[name] for name in trial.others},
        "variants": {
            name: {
                "seconds": found[name], "tokens": trial.tokens, "tokens_per_s": trial.tokens / found[name],
                "to_floor": statistics.median(paired(seconds["floor"], seconds[name])) if trial.floor else None,
            }
            for name in trial.variants
        },
        **trial.facts,
    }  # fmt: skip


def forget_peak(clear: Path = Path("/proc/self/clear_refs")) -> None:
    """Let `machine.peak_bytes` begin at what is held now, where the system knows how: on CUDA and on Linux."""
    machine.give_back_memory()  # as a run does before each stage
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        clear.write_text("5")  # proc_pid_clear_refs(5): resets the peak resident set size


def paired(times: Sequence[float], stage: Sequence[float]) -> list[float]:
    """Each repetition's own ratio: neighbours in time share the machine's mood."""
    return [one / other for one, other in zip(times, stage, strict=True)]


def _seconds(act: Callable[[], object], device: str) -> float:
    wait(device)
    began = time.perf_counter()
    act()
    wait(device)
    return max(time.perf_counter() - began, 1e-9)


def answer(order: Order) -> dict[str, Any]:
    """Prepare the stage, measure it, and say what on."""
    from unlearning.bench.stages import STAGES, Prepared

    prepared = Prepared(order)
    trial = STAGES[order.stage](prepared)
    hardware = prepared.hardware
    before = matrix_rate(hardware.device, hardware.dtype)
    result = measure(trial, hardware.device, order.repetitions)
    rate = max(before, matrix_rate(hardware.device, hardware.dtype))
    if "weights_bytes" not in result:
        result["weights_bytes"] = prepared.weights_bytes
    return result | {
        "device": hardware.device,
        "dtype": hardware.dtype,
        "threads": hardware.threads,
        "pass_blocks": prepared.pass_blocks,
        "matrix_flops": rate,
        "mfu": trial.flops / result["seconds"] / rate if trial.flops else None,
    }


def main() -> int:
    """Answer the order on standard input in the file named on the command line."""
    machine.limit_kernel_caches()
    place, order = Path(sys.argv[1]), Order(**json.load(sys.stdin))
    try:
        write_json(place, answer(order))
    except Exception as error:
        told: Any = explain(error, {"model": {"name": order.model}})
        write_json(place, dict(told))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
