"""The losses: short functions from model and batch to a sum over positions.

A loss returns a *sum*, never a mean: the training loop divides by the number of targets of the whole optimiser
step, which it knows beforehand, so that gradient accumulation and several processes are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from unlearning.methods.examples import Batch
from unlearning.models.heads import split

if TYPE_CHECKING:
    import torch

TINY = 1e-6  # the least probability that float32 can tell from 1 − 1 in a sum


def batch_cross_entropy(model: Any, batch: Batch) -> torch.Tensor:
    """Σ over targets of −Σ_k p_k log q_k, with q the model's next-token distribution; see `cross_entropy`.

    With one candidate of probability 1 this is the usual cross-entropy; with a distribution its gradient is
    that of KL(p ‖ q), from which it differs by the entropy of p (`target_entropy`).
    """
    backbone, head = split(model)
    hidden = backbone(batch.ids)  # [batch, time, width]; no mask: what is padded lies to the right of all targets
    chosen = hidden.flatten(0, 1)[batch.rows]  # [n, width]
    targets = batch.target_ids, batch.target_probs, batch.times
    return chunked_cross_entropy(chosen, head, head_parameters(model), *targets)


def target_entropy(batch: Batch) -> torch.Tensor:
    """Σ over targets of the entropy of the target, its tail as one event: what no model can go below."""
    probs = batch.target_probs
    tail = (1 - probs.sum(dim=-1)).clamp_min(0)
    entropy = -(probs * probs.clamp_min(TINY).log()).sum(dim=-1) - tail * tail.clamp_min(TINY).log()
    return (batch.times * entropy).sum()


def head_parameters(model: Any) -> list[torch.Tensor]:
    """The parameters of the vocabulary projection that are being trained (none with low-rank adapters)."""
    return [weight for weight in model.get_output_embeddings().parameters() if weight.requires_grad]


def cross_entropy(
    logits: torch.Tensor, target_ids: torch.Tensor, target_probs: torch.Tensor, times: torch.Tensor | None = None
) -> torch.Tensor:
    """Sum over rows of −Σ_k p_k log q_k − p_tail log q_tail, with q = softmax(logits).

    The tail is everything but the candidates: p_tail = 1 − Σ p_k, q_tail = 1 − Σ q_k. Without it, a distribution
    stored by its k likeliest tokens would teach the model that no other token ever comes, and prose that the
    model was to keep would become improbable word by word.

    Args:
        logits: [n, vocab].
        target_ids: [n, k].
        target_probs: [n, k]; rows sum to one at most, and a candidate of probability 0 is none.
        times: How often each row counts, [n]; once by default.
    """
    logits = logits.float()
    log_q = logits.gather(1, target_ids) - logits.logsumexp(dim=-1, keepdim=True)  # [n, k]
    tail, rest = _tails(log_q.exp(), target_probs)
    losses = -(target_probs * log_q).sum(dim=-1) - tail * rest.clamp_min(TINY).log()  # [n]
    return (losses if times is None else losses * times).sum()


def cross_entropy_gradient(
    logits: torch.Tensor, target_ids: torch.Tensor, target_probs: torch.Tensor, times: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`cross_entropy` and its gradient by the logits, worked out by hand.

    With S = Σ q_k over the candidates and r = p_tail / (1 − S), a row's derivative by z_j is
    q_j (Σ p_k − r S), and r q_j − p_j on top where j is a candidate. Automatic differentiation goes over the
    vocabulary ten times for that, which is most of what a small model's step costs on a processor; this four times.

    Args:
        logits: [n, vocab].
        target_ids: [n, k].
        target_probs: [n, k].
        times: How often each row counts, [n].

    Returns:
        The sum, and the gradient [n, vocab] in float32.
    """
    import torch

    top, place = logits.max(dim=-1, keepdim=True)  # [n, 1]
    gradient = torch.softmax(logits, dim=-1, dtype=torch.float32)  # reads bfloat16, writes float32, in one go
    log_sum = top.float() - gradient.gather(1, place).log()
    log_q = logits.gather(1, target_ids).float() - log_sum  # [n, k]
    q = log_q.exp()
    tail, rest = _tails(q, target_probs)
    losses = -(target_probs * log_q).sum(dim=-1) - tail * rest.clamp_min(TINY).log()
    ratio = tail / rest.clamp_min(TINY) * (rest > TINY)  # where it was clamped there is no slope
    factor = times * (target_probs.sum(dim=-1) - ratio * (1 - rest))
    gradient.mul_(factor[:, None])
    present = target_probs > 0
    gradient.scatter_add_(1, target_ids, times[:, None] * (ratio[:, None] * q * present - target_probs))
    return (losses * times).sum(), gradient


def _tails(q: torch.Tensor, target_probs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the targets and the model (by its probabilities `q` of the candidates, [n, k]) leave to all others, [n]."""
    return (1 - target_probs.sum(dim=-1)).clamp_min(0), 1 - (q * (target_probs > 0)).sum(dim=-1)


def chunked_cross_entropy(
    hidden: torch.Tensor,
    head: Callable[[torch.Tensor], torch.Tensor],
    parameters: list[torch.Tensor],
    target_ids: torch.Tensor,
    target_probs: torch.Tensor,
    times: torch.Tensor | None = None,
    chunk_floats: int | None = None,
) -> torch.Tensor:
    """`cross_entropy(head(hidden), …)` without ever holding all the logits.

    The gradient of a chunk is taken as soon as its loss is known, while its logits are there, and only the
    gradients of hidden states and head survive. No work is done twice.

    Args:
        hidden: [n, width].
        head: Hidden states → logits [n, vocab].
        parameters: Trainable parameters of the head.
        target_ids: [n, k].
        target_probs: [n, k].
        times: How often each row counts, [n]; once by default.
        chunk_floats: Most logits to hold at a time; by default what suits the device.
    """
    import torch

    class Chunked(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, hidden: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
            total = hidden.new_zeros((), dtype=torch.float32)
            gradients = [torch.zeros_like(weight) for weight in parameters]
            hidden_gradient = torch.empty_like(hidden)
            for rows in chunks(len(hidden), vocabulary, at_once):
                with torch.enable_grad():
                    part = hidden[rows].detach().requires_grad_()
                    logits = head(part)
                with torch.no_grad():
                    loss, slope = cross_entropy_gradient(logits, target_ids[rows], target_probs[rows], often[rows])
                found = torch.autograd.grad(logits, [part, *parameters], slope.to(logits.dtype))
                total += loss
                hidden_gradient[rows] = found[0]
                for gradient, addend in zip(gradients, found[1:], strict=True):
                    gradient += addend
            ctx.save_for_backward(hidden_gradient, *gradients)
            return total

        @staticmethod
        def backward(ctx: Any, upstream: torch.Tensor) -> Any:
            return tuple((upstream * gradient).to(gradient.dtype) for gradient in ctx.saved_tensors)

    often = torch.ones(len(hidden), device=hidden.device) if times is None else times
    vocabulary = _width_of(head, hidden)
    at_once = chunk_floats or floats_at_once(hidden.device)
    if torch.is_grad_enabled() and (hidden.requires_grad or parameters):
        return Chunked.apply(hidden, *parameters)
    losses = [
        cross_entropy(head(hidden[rows]), target_ids[rows], target_probs[rows], often[rows])
        for rows in chunks(len(hidden), vocabulary, at_once)
    ]
    return sum(losses, start=hidden.new_zeros((), dtype=torch.float32))


def floats_at_once(device: torch.device) -> int:
    """How many logits to hold at a time.

    On a processor 3 · 2²⁰ (12 MB: 64 positions of a 49 k vocabulary, 12 of a 262 k one): the allocator keeps pieces of
    that size for the next chunk, where larger ones are new memory every time. On a GPU 2²⁶, so that a kernel has
    enough to do.
    """
    return 3 * 2**20 if device.type == "cpu" else 2**26


def chunks(rows: int, vocabulary: int, chunk_floats: int) -> list[slice]:
    """Slices of at most `chunk_floats` logits each, and of one row at least."""
    size = max(1, chunk_floats // max(1, vocabulary))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def _width_of(head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor) -> int:
    import torch

    with torch.no_grad():
        return int(head(hidden[:1]).shape[-1])
