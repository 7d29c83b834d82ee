"""A short trial of a model on this machine: how fast it trains, reads and writes, and how much memory that takes.

Every figure comes from the functions that a run uses, on blocks of the run's length: about ten seconds on two cores
for the default model. `python -m unlearning.training.calibration FILE` reads its order from standard input and writes
the figures, or what went wrong, to FILE (see `unlearning.runs.speeds`); with them, how busy the machine was otherwise.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from unlearning.config import Settings, TrainSettings
from unlearning.errors import ModelError
from unlearning.evaluation.scoring import perplexity, target_probabilities
from unlearning.methods.examples import next_token_example
from unlearning.methods.generic_labels import own_predictions
from unlearning.models.adapters import Family, open_family
from unlearning.models.generation import generate
from unlearning.models.hardware import Hardware, choose_hardware
from unlearning.models.loading import encode
from unlearning.runs import machine
from unlearning.runs.budget import Speeds
from unlearning.runs.durable import folder_bytes, write_json
from unlearning.runs.failures import explain
from unlearning.text.prompts import Probe
from unlearning.training.loop import Term, train

PROSE = (
    "The harbour lay still in the morning, and the boats that had come in during the night were being unloaded by men "
    "who did not speak much. A woman counted the crates and wrote the numbers into a book. Behind her the town went "
    "up the hill in rows of narrow houses, most of them white, some of them with a garden no larger than a table. "
)
PROBES = 16
NEW_TOKENS = 8
SAMPLE_EVERY_S = 0.005
MOST_BLOCKS = 2  # in a pass on a processor, which gets no faster with more
MOST_TRIED = 16  # blocks on anything else


def calibrate(settings: Settings, sample: str = "") -> Speeds:
    """Load the model of these settings and try everything once.

    Args:
        settings: Which model, device, mode, block length and batch.
        sample: Some of the run's text, for its bytes per token.

    Raises:
        ModelError: it cannot be loaded.
    """
    hardware = choose_hardware(settings.model, block_tokens=settings.text.block_tokens)
    family = open_family(settings.model, hardware)
    load_s = _process_age_s()
    tokenizer = family.tokenizer
    blocks = _blocks(tokenizer, settings.text.block_tokens or hardware.block_hint)
    tokens = sum(len(encode(tokenizer, block)[0]) for block in blocks[:2])
    pass_blocks = settings.finetune.pass_blocks or hardware.batch_hint
    training = _try_training(family, hardware, blocks, min(pass_blocks, settings.finetune.batch_blocks))
    probes = [Probe(PROSE[: 40 + index], (" the",)) for index in range(PROBES)]
    prompts = [probe.prompt for probe in probes]
    with family.role("reinforced") as model:
        probe_s = _seconds(lambda: target_probabilities(model, tokenizer, probes)) / PROBES
        score_s = _seconds(lambda: perplexity(model, tokenizer, blocks[:2]))
        write_s = _seconds(lambda: generate(model, tokenizer, prompts, NEW_TOKENS))
    role = partial(family.role, "baseline")
    label_s = _seconds(lambda: list(own_predictions(blocks[:2], tokenizer, role, settings.label.top_k)))
    return Speeds(
        label_tokens_per_s=tokens / label_s,
        score_tokens_per_s=tokens / score_s,
        generate_tokens_per_s=PROBES * NEW_TOKENS / write_s,
        probe_s=probe_s,
        load_s=load_s,
        floor_bytes=machine.peak_bytes(),
        role_bytes=_role_bytes(family),
        bytes_per_token=len((sample or PROSE).encode()) / len(encode(tokenizer, sample or PROSE)[0]),
        pass_blocks=pass_blocks,
        **training,
    )


def _try_training(family: Family, hardware: Hardware, blocks: Sequence[str], pass_blocks: int) -> dict[str, float]:
    """A step to get warm, then two that count: the first of its size makes the products' kernels and takes memory."""
    examples = [next_token_example(encode(family.tokenizer, block)[0]) for block in blocks]
    model = family.create("reinforced")
    trainable = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    resident = _held_bytes(hardware) + 3 * 4 * trainable  # gradients and the two moments of AdamW, in float32
    size = min(pass_blocks, MOST_BLOCKS if hardware.device == "cpu" else len(examples) // 2)
    step = partial(train, model, stage="trial", dtype=hardware.dtype, pass_blocks=size)
    settings = TrainSettings(epochs=1, batch_blocks=size, learning_rate=1e-9)
    step([Term("next_token", examples[:size])], settings)
    with _peak(hardware) as peak:
        outcome = step([Term("next_token", examples[: 2 * size])], settings)
    in_pass = outcome.tokens / 2
    return {
        "train_tokens_per_s": outcome.tokens / outcome.seconds,
        "resident_bytes": resident,
        "train_bytes_per_token": max(0.0, peak[0] - resident) / in_pass,
    }


@contextmanager
def _peak(hardware: Hardware) -> Iterator[list[float]]:
    """The most memory that is held inside, in the list's only place once it is over."""
    most = [0.0]
    if hardware.device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()
        yield most
        most[0] = torch.cuda.max_memory_allocated()
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(SAMPLE_EVERY_S):
            most[0] = max(most[0], _held_bytes(hardware))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _held_bytes(hardware: Hardware) -> float:
    """Memory held now: on the card, or by this process."""
    if hardware.device.startswith("cuda"):
        import torch

        return float(torch.cuda.memory_allocated())
    import psutil

    return float(psutil.Process().memory_info().rss)


def _blocks(tokenizer: Any, length: int) -> list[str]:
    """Blocks of prose, as long as those of the run."""
    prose = PROSE * (2 + MOST_TRIED * length // 60)
    offsets = encode(tokenizer, prose)[1]
    starts = [offsets[place][0] for place in range(0, len(offsets), length)]
    return [prose[start:end] for start, end in pairwise(starts)][:MOST_TRIED]


def _role_bytes(family: Family) -> int:
    with tempfile.TemporaryDirectory() as place:
        family.save("reinforced", Path(place) / "role")
        return folder_bytes(Path(place))


def _process_age_s() -> float:
    """Since this process began: loading libraries and model, as a run does."""
    import psutil

    return time.time() - psutil.Process().create_time()


def waited_share() -> float:
    """How much of the time that this process's threads were ready to compute, they stood behind other programs'.

    Near 0 on a quiet machine, 1/2 where one other program wants the same core. 0 where the system does not tell.
    """
    ran = waited = 0
    for file in Path("/proc/self/task").glob("*/schedstat"):  # Linux: nanoseconds at work, nanoseconds ready
        with suppress(OSError, ValueError):
            own = [int(number) for number in file.read_text().split()[:2]]
            ran, waited = ran + own[0], waited + own[1]
    return waited / (ran + waited) if ran + waited else 0.0


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return max(time.perf_counter() - began, 1e-6)


def main() -> int:
    """Answer the order on standard input in the file named on the command line."""
    machine.limit_kernel_caches()
    answer, order = Path(sys.argv[1]), json.load(sys.stdin)
    try:
        speeds = calibrate(Settings.model_validate(order["settings"]), order["sample"])
        write_json(answer, asdict(speeds) | {"waited": waited_share()})
    except Exception as error:
        told = explain(error, order["settings"])
        write_json(answer, told | {"model": isinstance(error, ModelError)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
