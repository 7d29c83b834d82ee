"""THE training loop: teaching, reinforcement, unlearning, everything that takes a gradient step.

What one step sees follows from the seed and the step's number alone, so resuming needs no memory of the data:
weights, optimiser state and the number of steps done are the whole state.
"""

from __future__ import annotations

import math
import random
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.config import TrainSettings
from unlearning.errors import LossNotFiniteError
from unlearning.methods.examples import Batch, Example, collate
from unlearning.methods.losses import batch_cross_entropy, target_entropy
from unlearning.models.attention import attention_for_blocks
from unlearning.models.heads import unwrap
from unlearning.models.team import ALONE, Team
from unlearning.runs.machine import trim_heap
from unlearning.training.checkpoints import load_checkpoint, save_checkpoint
from unlearning.training.sharing import make_accelerator, on_whole_weights, whole

if TYPE_CHECKING:
    import torch

Report = Callable[..., None]


@dataclass(frozen=True)
class Term:
    """One addend of the loss.

    Attributes:
        name: As it is reported.
        examples: What it trains on.
        weight: Its factor in the loss.
        blocks: Examples of it in one optimiser step.
        a_block: Examples that take the room of one block in a forward pass: more than one where they are pieces.
    """

    name: str
    examples: Sequence[Example]
    weight: float = 1.0
    blocks: int = 4
    a_block: int = 1


@dataclass(frozen=True)
class Outcome:
    steps: int
    done: int  # steps done; fewer than `steps` if it was stopped
    seconds: float
    tokens: int  # read in this session


@contextmanager
def activation_checkpointing(model: Any, on: bool = True) -> Iterator[Any]:
    """The model such that training keeps each layer's input alone and computes the rest anew going backward."""
    core = unwrap(model)
    if not (on and core.supports_gradient_checkpointing):
        yield model
        return
    core.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    try:
        yield model
    finally:
        core.activation_checkpointing_disable()


def count_steps(examples: int, settings: TrainSettings) -> int:
    """Optimiser steps of all epochs; an epoch ends with a smaller step rather than wrapping round."""
    return settings.epochs * math.ceil(examples / settings.batch_blocks)


def learning_rate(step: int, steps: int, settings: TrainSettings, extra: int = 0) -> float:
    """Rate of step 0..steps−1: warm-up, then constant or falling to zero in a line.

    `extra` steps beyond these fall to zero in a line of their own. They are all that were ever asked for: a second
    request makes that line longer and goes on within it, so that a step's rate follows from the numbers alone.
    """
    rate = settings.learning_rate
    if step >= steps and settings.schedule == "linear":
        return rate * (steps + extra - step) / extra
    if step < settings.warmup_steps:
        return rate * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return rate
    return rate * (steps - step) / max(1, steps - settings.warmup_steps)


def blocks_of_step(step: int, term: Term, per_step: int, seed: int, wrap: bool) -> list[Example]:
    """The examples of one optimiser step: each epoch is a fresh shuffle named by seed and epoch.

    Args:
        step: Which step.
        term: Its examples and name.
        per_step: Examples in a step.
        seed: Seed of the run.
        wrap: False for the term that defines the epochs (its last step of an epoch may be short); True for
            one that accompanies it and goes round as often as needed.
    """
    count = len(term.examples)
    if count == 0 or per_step == 0:
        return []
    if not wrap:
        steps_an_epoch = math.ceil(count / per_step)
        epoch, place = divmod(step, steps_an_epoch)
        places = range(place * per_step, min((place + 1) * per_step, count))
        return [term.examples[index] for index in _picks(places, epoch, count, f"{seed}/{term.name}")]
    chosen = []
    for running in range(step * per_step, (step + 1) * per_step):
        epoch, place = divmod(running, count)
        chosen += [term.examples[index] for index in _picks([place], epoch, count, f"{seed}/{term.name}")]
    return chosen


def _picks(places: Sequence[int], epoch: int, count: int, seed: str) -> list[int]:
    order = list(range(count))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return [order[place] for place in places]


def train(
    model: Any,
    terms: Sequence[Term],
    settings: TrainSettings,
    *,
    stage: str,
    seed: int = 0,
    dtype: str = "float32",
    pass_blocks: int = 4,
    report: Report = lambda kind, **fields: None,
    should_stop: Callable[[], bool] = lambda: False,
    after_step: Callable[[int, int], None] = lambda done, steps: None,
    checkpoints: Path | None = None,
    checkpoint_seconds: float = 60.0,
    extra_steps: int = 0,
    team: Team = ALONE,
) -> Outcome:
    """Train `model`'s parameters that ask for a gradient.

    Several processes take the same steps as one: each reads its share of every pass, and the gradients are summed.
    With `team.shard` the model is taken apart for good: its weights are in the checkpoint when this returns.

    Args:
        model: A causal language model, plain or wrapped by peft.
        terms: The loss; the first term defines epochs and steps, the others go round beside it.
        settings: Epochs, rate, batch.
        stage: Name for the events.
        seed: Names the shuffles.
        pass_blocks: Blocks in one forward pass (of each process); changes memory and speed, not the result.
        dtype: What matrix products are computed in ("bfloat16" trains under autocast).
        report: Takes the events `step` and `warning`.
        should_stop: Asked after every step; the state is saved before the loop ends.
        after_step: Called with (steps done, steps), for measurements on the way; also before the first step.
        checkpoints: Where the state is kept; None keeps none.
        checkpoint_seconds: How often it is saved; it also is at the end.
        extra_steps: Steps beyond those of the settings.
        team: The processes that train together; all of them call this with the same arguments.

    Returns:
        What was done.

    Raises:
        LossNotFiniteError: before the step that would have spoilt the weights.
    """
    import torch

    accelerator = make_accelerator(model, team)
    terms = [replace(terms[0], blocks=settings.batch_blocks), *terms[1:]]
    betas = (0.9, settings.beta2)
    optimizer = torch.optim.AdamW(
        _trainable(model), lr=0.0, betas=betas, weight_decay=settings.weight_decay,
        fused=model.device.type == "cuda" or None,  # the usual way there takes room for all weights once more
    )  # fmt: skip
    module, optimizer = accelerator.prepare(_loss_module(model), optimizer)
    weights = _trainable(model)  # only now: sharding puts others in place
    planned = count_steps(len(terms[0].examples), settings)
    steps = planned + extra_steps
    first = load_checkpoint(checkpoints, model, optimizer, team) if checkpoints else 0
    pace = Pace(steps, first)
    saved = began = time.monotonic()
    done = first
    measure = on_whole_weights(module, after_step, team)
    measure(done, steps)
    model.train()
    longest = max((len(example.ids) for term in terms for example in term.examples), default=0)
    largest = 0  # tokens of the largest pass so far
    for step in range(first, steps):
        rate = learning_rate(step, planned, settings, extra_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        passes = _passes(step, terms, pass_blocks * team.size, seed)
        if (size := max(map(_padded_tokens, passes), default=0)) > largest:
            if largest:
                trim_heap()  # what smaller passes left fits nothing of this one, and would lie beside it
            largest = size
        torch.manual_seed(zlib.crc32(f"{seed}/{stage}/{step}/{team.rank}".encode()))  # for models with dropout
        with attention_for_blocks(model, dtype, longest):
            values, tokens = _accumulate_gradients(module, passes, terms, accelerator, dtype)
        loss = sum(term.weight * values.get(term.name, 0.0) for term in terms)
        # The norm without a limit (inf) leaves the gradient as it is; it shows a gradient that would spoil the weights.
        norm = float(whole(accelerator.clip_grad_norm_(weights, settings.clip_norm or math.inf)))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            if checkpoints and done > first:
                save_checkpoint(checkpoints, model, optimizer, done, team)
            what, value = ("gradient", norm) if math.isfinite(loss) else ("loss", loss)
            raise LossNotFiniteError(
                f"The {what} of step {step + 1} of {stage} is {value}.",
                f"Lower {stage}.learning_rate (now {settings.learning_rate:g}); the weights are those of step {step}.",
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        done = step + 1
        pace.count(tokens)
        report(
            "step", stage=stage, step=done, steps=steps, loss=loss, terms=values, learning_rate=rate,
            tokens_per_s=pace.tokens_per_s, seconds_left=pace.seconds_left,
        )  # fmt: skip
        measure(done, steps)
        stop = team.any(should_stop())
        due = stop or done == steps or team.any(team.main and time.monotonic() - saved > checkpoint_seconds)
        if checkpoints and due:
            save_checkpoint(checkpoints, model, optimizer, done, team)
            saved = time.monotonic()
        if stop:
            break
    model.eval()
    return Outcome(steps, done, time.monotonic() - began, pace.tokens)


def _trainable(model: Any) -> list[Any]:
    return [weight for weight in model.parameters() if weight.requires_grad]


def _loss_module(model: Any) -> Any:
    """The loss as a module's forward, which is what distributed wrappers hook into.

    Given a function instead of a batch it calls that, for what else needs the whole weights of a sharded model.
    """
    import torch

    class LossModule(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: Batch | Callable[[], None]) -> torch.Tensor | None:
            return batch_cross_entropy(self.model, batch) if isinstance(batch, Batch) else batch()

    return LossModule()


def _passes(step: int, terms: Sequence[Term], pass_blocks: int, seed: int) -> list[tuple[int, list[Example]]]:
    """The forward passes of one optimiser step, as (index of the term, examples).

    All processes know all of them, so the number of targets of a step needs no communication. `pass_blocks` are
    those of all processes together.
    """
    passes = []
    for index, term in enumerate(terms):
        examples = blocks_of_step(step, term, term.blocks, seed, wrap=index > 0)
        size = pass_blocks * term.a_block
        passes += [(index, examples[start : start + size]) for start in range(0, len(examples), size)]
    return passes


def _padded_tokens(one: tuple[int, list[Example]]) -> int:
    _, examples = one
    return len(examples) * max(len(example.ids) for example in examples)


def _accumulate_gradients(
    module: Any, passes: Sequence[tuple[int, list[Example]]], terms: Sequence[Term], accelerator: Any, dtype: str
) -> tuple[dict[str, float], int]:
    """Backward through every forward pass of a step.

    Returns:
        Each term's mean loss over the targets of the step (as a KL divergence: less the targets' own entropy),
        and the tokens read.
    """
    import torch

    counts = [sum(len(e.positions) for i, group in passes if i == index for e in group) for index in range(len(terms))]
    sums = torch.zeros(len(terms), device=accelerator.device)
    tokens = torch.zeros((), device=accelerator.device)
    for place, (index, examples) in enumerate(passes):
        mine = share_of_pass(examples, accelerator.process_index, accelerator.num_processes)
        batch = collate(mine, accelerator.device)
        # Sharded gradients are summed in every pass: to keep them until the last one would take whole ones.
        last = place == len(passes) - 1 or accelerator.is_fsdp2
        with nullcontext() if last else accelerator.no_sync(module):
            with _autocast(accelerator.device, dtype):
                total = module(batch)
            # DistributedDataParallel averages over the processes; the sum is wanted
            accelerator.backward(total * (terms[index].weight * accelerator.num_processes / max(1, counts[index])))
        sums[index] += total.detach() - target_entropy(batch)
        tokens += batch.tokens
    *shares, read = accelerator.reduce(torch.cat([sums, tokens[None]]), "sum").tolist()
    values = {term.name: share / count for term, share, count in zip(terms, shares, counts, strict=True) if count}
    return values, int(read)


def share_of_pass(examples: Sequence[Example], rank: int, size: int) -> Sequence[Example]:
    """What one of `size` processes reads of a pass.

    One for which nothing is left reads a token that has no target: the others wait for its (zero) gradient.
    """
    blank = examples[0]
    nothing = Example(blank.ids[:1], blank.positions[:0], blank.target_ids[:0], blank.target_probs[:0])
    return examples[rank::size] or [nothing]


def _autocast(device: torch.device, dtype: str) -> Any:
    import torch

    return torch.autocast(device.type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()


class Pace:
    """Tokens a second and time left, over the last twenty steps."""

    def __init__(self, steps: int, done: int) -> None:
        self.left, self.tokens = steps - done, 0
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=21)

    def count(self, tokens: int) -> None:
        self.left -= 1
        self.tokens += tokens
        self._marks.append((time.monotonic(), self.tokens))

    @property
    def _span(self) -> tuple[float, int, int]:
        (start, before), (end, after) = self._marks[0], self._marks[-1]
        return max(end - start, 1e-9), after - before, max(1, len(self._marks) - 1)

    @property
    def tokens_per_s(self) -> float:
        seconds, tokens, _ = self._span
        return tokens / seconds

    @property
    def seconds_left(self) -> float:
        seconds, _, steps = self._span
        return seconds / steps * self.left
