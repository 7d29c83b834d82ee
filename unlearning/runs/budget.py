"""What a run will cost on this machine: tokens, steps, memory, disk and time, before it is started.

Pure arithmetic over three things: the settings, how much text there is (`Workload`) and what this machine can do
(`Speeds`, measured by `unlearning.training.calibration` in some seconds, see `runs.speeds`). On one device:

    training stage   every block once an epoch; every token costs 1 / train_tokens_per_s
    label            one pass of the baseline per draw, one for the original and one of the reinforced model
    evaluate         every role reads the texts and the prompts and writes the completions
    peak memory      resident + a pass: pass_blocks · tokens of a block · train_bytes_per_token
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unlearning.config import Settings, TrainSettings
from unlearning.runs.workload import Workload

MOST_MEASURED = 12  # blocks of each text that the evaluation reads
ALONE = 8  # a completion written while fine-tuning is one alone: so many times slower than in a batch
BYTES_A_CANDIDATE = 6  # of a label: a token and its probability
CHECKPOINT_S = 60.0  # training saves its state so often, and at its end
SNAPSHOTS = 6  # of the adapter while fine-tuning, each of half its size


@dataclass(frozen=True)
class Speeds:
    """What a short trial measured on this machine, for one model, block length and batch.

    Attributes:
        train_tokens_per_s: Forward, backward and optimiser step.
        label_tokens_per_s: One pass of a model with its likeliest tokens at every position.
        score_tokens_per_s: One pass with the probability of every token.
        generate_tokens_per_s: New tokens, in a batch as the evaluation uses it.
        probe_s: Seconds to measure one prompt.
        load_s: Seconds until the process works with the model in memory.
        resident_bytes: Memory between passes: weights, one role in training, its optimiser.
        floor_bytes: Most memory that loading and measuring took.
        train_bytes_per_token: What a training pass holds for each token in it.
        pass_blocks: Blocks in one pass where the settings leave that open.
        role_bytes: One role's adapter or weights, in memory and on disk.
        bytes_per_token: Of text in UTF-8.
    """

    train_tokens_per_s: float
    label_tokens_per_s: float
    score_tokens_per_s: float
    generate_tokens_per_s: float
    probe_s: float
    load_s: float
    resident_bytes: float
    floor_bytes: float
    train_bytes_per_token: float
    role_bytes: float
    bytes_per_token: float
    pass_blocks: int


@dataclass(frozen=True)
class StageCost:
    tokens: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Budget:
    """What a run is expected to take. `pass_bytes` is the part of `peak_bytes` that fewer `pass_blocks` lower."""

    stages: dict[str, StageCost]
    seconds: float
    peak_bytes: float
    pass_bytes: float
    pass_blocks: int
    disk_bytes: float

    @property
    def tokens(self) -> int:
        return sum(stage.tokens for stage in self.stages.values())

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages.values())

    def dump(self) -> dict[str, Any]:
        """As JSON, the way `config.json` keeps it under `budget`."""
        return asdict(self) | {"tokens": self.tokens, "steps": self.steps}


def estimate(settings: Settings, work: Workload, speeds: Speeds, extra_steps: int = 0) -> Budget:
    """What a run of these settings over this much text will take at these speeds.

    Args:
        settings: Of the run.
        work: How much there is.
        speeds: From a calibration on this machine with this model, batch and block length.
        extra_steps: Fine-tuning steps beyond those of the settings.
    """
    stages: dict[str, StageCost] = {}
    if settings.teach is not None:
        stages["teach"] = _training(settings.teach, work.all_blocks, work.all_tokens, work, speeds)
    if settings.label.use_reinforced:
        stages["reinforce"] = _training(settings.reinforce, work.kept_blocks, work.kept_tokens, work, speeds)
    finetune = _finetuning(settings, work, speeds, extra_steps)
    stages["label"] = _labelling(settings, work, speeds, finetune.steps)
    stages["finetune"] = finetune
    stages["evaluate"] = _evaluation(settings, work, speeds)
    pass_blocks = _largest_pass(settings, work, speeds)
    pass_bytes = pass_blocks * work.kept_tokens / max(1, work.kept_blocks) * speeds.train_bytes_per_token
    made = sum(name in stages for name in ("teach", "reinforce", "finetune"))
    # Roles that are kept beside the one in training; of whole models the baseline alone, if it is not the loaded one.
    others = work.taught + ("teach" in stages if settings.model.mode == "full" else made - 1)
    roles = sum(_copies(name, stages[name], settings) for name in _used(settings))
    disk = roles * speeds.role_bytes + _stored_labels(settings, work, stages) * BYTES_A_CANDIDATE
    return Budget(
        stages=stages,
        seconds=speeds.load_s + sum(stage.seconds for stage in stages.values()),
        peak_bytes=max(speeds.floor_bytes, speeds.resident_bytes + others * speeds.role_bytes + pass_bytes),
        pass_bytes=pass_bytes,
        pass_blocks=pass_blocks,
        disk_bytes=disk,
    )


def _training(
    settings: TrainSettings, blocks: int, tokens: int, work: Workload, speeds: Speeds, extra_steps: int = 0
) -> StageCost:
    """A training stage, and before it a pass over the retain text where it is to stay close on that."""
    plain = _steps(settings, blocks, tokens, work, speeds, extra_steps)
    before = _retain_tokens(settings, work, plain.steps) / speeds.label_tokens_per_s
    return StageCost(plain.tokens, plain.steps, plain.seconds + before)


def _steps(
    settings: TrainSettings, blocks: int, tokens: int, work: Workload, speeds: Speeds, extra_steps: int
) -> StageCost:
    planned = settings.epochs * math.ceil(blocks / settings.batch_blocks)
    steps = planned + extra_steps
    read = settings.epochs * tokens * steps / max(1, planned)
    if _retains(settings, work):
        read += steps * settings.retain_blocks * work.retain_tokens / work.retain_blocks
    return StageCost(round(read), steps, read / speeds.train_tokens_per_s)


def _labelling(settings: Settings, work: Workload, speeds: Speeds, finetune_steps: int) -> StageCost:
    """Generic labels, and the baseline's own predictions on the retain text."""
    only_changed = settings.finetune.where == "changed"  # asks the baseline about the original too
    read = (settings.label.draws + settings.label.use_reinforced + only_changed) * work.kept_tokens
    read += round(_retain_tokens(settings.finetune, work, finetune_steps))
    return StageCost(read, work.kept_blocks, read / speeds.label_tokens_per_s)


def _finetuning(settings: Settings, work: Workload, speeds: Speeds, extra_steps: int) -> StageCost:
    watch = settings.evaluation
    plain = _steps(settings.finetune, work.kept_blocks, work.kept_tokens, work, speeds, extra_steps)
    if not watch.every_steps or not watch.watch or not work.prompts:
        return plain
    every, steps = watch.every_steps, plain.steps
    looks = [step for step in range(steps + 1) if step % every == 0 or step == steps]
    quarter = max(every, steps // 4 // every * every)
    written = sum(step % quarter == 0 or step == steps for step in looks) * watch.completion_tokens
    probing = len(looks) * min(watch.watch, work.prompts) * speeds.probe_s
    watching = probing + written * ALONE / speeds.generate_tokens_per_s
    return StageCost(plain.tokens, plain.steps, plain.seconds + watching)


def _evaluation(settings: Settings, work: Workload, speeds: Speeds) -> StageCost:
    """Every role: a look at the prompts, passes over some blocks of three texts, completions and a pass over these."""
    roles = 2 + settings.label.use_reinforced + (work.taught or settings.teach is not None)
    most = MOST_MEASURED * work.kept_tokens / max(1, work.kept_blocks)
    texts = sum(min(most, tokens) for tokens in (work.kept_tokens, work.held_out_tokens, work.unrelated_tokens))
    prompts = min(settings.evaluation.completions, work.completions)
    written = prompts * settings.evaluation.rounds(work.completions) * settings.evaluation.completion_tokens
    seconds = (texts + 1.5 * written) / speeds.score_tokens_per_s + written / speeds.generate_tokens_per_s
    seconds += work.prompts * speeds.probe_s
    return StageCost(round(roles * (texts + written)), roles, roles * seconds)


def _retain_tokens(settings: TrainSettings, work: Workload, steps: int) -> float:
    """Retain text that a stage prepares: all of it, or as much as its steps will see."""
    if not _retains(settings, work):
        return 0.0
    blocks = min(work.retain_blocks, steps * settings.retain_blocks)
    return blocks * work.retain_tokens / work.retain_blocks


def _copies(name: str, stage: StageCost, settings: Settings) -> float:
    """What a training stage leaves on the disk, in sizes of its role.

    The role, its newest two checkpoints (weights and two optimiser moments; a short stage saves only one), and the
    snapshots of fine-tuning, which a whole model is too large for.
    """
    checkpoints = 2 if stage.seconds > CHECKPOINT_S else 1
    snapshots = min(SNAPSHOTS, stage.steps - 1) if name == "finetune" and settings.model.mode == "lora" else 0
    return 1 + 3 * checkpoints + snapshots / 2


def _stored_labels(settings: Settings, work: Workload, stages: Mapping[str, StageCost]) -> float:
    """Candidates in the files of labels and of the retain text's predictions: so many at each position."""
    label = settings.label
    found = work.kept_tokens * (1 if label.target == "argmax" else label.top_k)
    steps = [(train, stages[name].steps) for name, train in _used(settings).items()]
    return found + sum(_retain_tokens(train, work, count) for train, count in steps) * label.top_k


def _retains(settings: TrainSettings, work: Workload) -> bool:
    return bool(settings.retain_weight and settings.retain_blocks and work.retain_blocks)


def _largest_pass(settings: Settings, work: Workload, speeds: Speeds) -> int:
    """Blocks in the largest training pass."""
    used = _used(settings).values()
    return max(min(train.pass_blocks or speeds.pass_blocks, train.batch_blocks) for train in used)


def _used(settings: Settings) -> dict[str, TrainSettings]:
    """The training stages of these settings."""
    used: dict[str, TrainSettings] = {"finetune": settings.finetune}
    if settings.teach is not None:
        used["teach"] = settings.teach
    if settings.label.use_reinforced:
        used["reinforce"] = settings.reinforce
    return used


def compare_with_budget(spent: Mapping[str, float], budget: Mapping[str, Any]) -> str:
    """One sentence: "Took 4:10 (3:58 expected), at most 1.90 GB of memory (2.10 GB expected), 0.30 GB on disk."."""

    def part(words: str, key: str, show: Callable[[float], str]) -> str:
        expected = f" ({show(float(budget[key]))} expected)" if budget.get(key) else ""
        return words.format(show(spent[key])) + expected

    took = part("Took {}", "seconds", minutes)
    memory = part("at most {} of memory", "peak_bytes", gigabytes)
    return f"{took}, {memory}, {part('{} on disk', 'disk_bytes', gigabytes)}."


def minutes(seconds: float) -> str:
    """Seconds as "4:05" or "1:04:05"."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def gigabytes(count: float) -> str:
    """Bytes as "1.90 GB"."""
    return f"{count / 1e9:.2f} GB"
