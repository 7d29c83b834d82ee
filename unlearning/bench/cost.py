"""Floating-point operations of a stage, from a model's shape: the numerator of model FLOP utilisation.

A product of [n, a] and [a, b] counts 2·n·a·b. For one token of a block of T tokens, with

    N   weights of all linear layers of the body (low-rank adapters included), without embeddings and head
    A   low-rank weights among them
    V·d the head's weights, at positions that are projected
    L·h layers × width of all query heads

    forward    2·N + 2·V·d + 2·T·L·h                 (causal attention: T/2 keys a token on average, two products)
    backward   frozen weights: 2·(N − A) + 4·A + 2·V·d + 4·T·L·h;  all trained: 4·N + 4·V·d + 4·T·L·h

Recomputed activations count nothing, nor do softmax, norms and the optimiser: MFU = these / seconds / matrix rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelCost:
    """Attributes: body (N), low_rank (A), head (V·d), attention (L·h); frozen: whether only adapters are trained."""

    body: int
    low_rank: int
    head: int
    attention: int
    frozen: bool

    def forward(self, tokens: float, block: float, projected: float) -> float:
        """Operations of reading `tokens` tokens in blocks of `block`, with logits at `projected` positions."""
        return 2 * self.body * tokens + 2 * self.head * projected + 2 * block * self.attention * tokens

    def training(self, tokens: float, block: float, projected: float) -> float:
        """Forward and backward."""
        back = 2 * (self.body + self.low_rank) if self.frozen else 4 * self.body
        head = (2 if self.frozen else 4) * self.head
        backward = back * tokens + head * projected + 4 * block * self.attention * tokens
        return self.forward(tokens, block, projected) + backward


def cost_of(model: Any, active: int = 1) -> ModelCost:
    """The cost of a causal language model, plain or wrapped by peft.

    Args:
        model: Whose linear layers are counted.
        active: Adapters that a token goes through, of those that are loaded.
    """
    import torch

    from unlearning.models.heads import unwrap

    core = unwrap(model)
    config, head = core.config.get_text_config(), core.get_output_embeddings().weight
    plain = low_rank = adapters = 0
    for name, module in core.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None or weight is head or weight.dim() != 2 or isinstance(module, torch.nn.Embedding):
            continue
        if ".lora_" in name:
            low_rank += weight.numel()
            adapters = max(adapters, len(_adapters(core, name)))
        else:
            plain += weight.numel()
    low_rank = low_rank * active // max(1, adapters)
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    frozen = not any(weight.requires_grad for name, weight in core.named_parameters() if ".lora_" not in name)
    return ModelCost(plain + low_rank, low_rank, head.numel(), config.num_hidden_layers * width, frozen)


def _adapters(core: Any, name: str) -> Any:
    """The modules beside a low-rank weight: one for each adapter."""
    return core.get_submodule(name.rpartition(".")[0])


def matrix_rate(device: str, dtype: str, seconds: float = 0.5) -> float:
    """Floating-point operations a second of this device's best matrix product in this format: the best of many."""
    import time

    import torch

    size = 1024 if device == "cpu" else 8192
    kind = getattr(torch, dtype)
    a, b = (torch.randn(size, size).to(device, kind) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        wait(device)
        began = time.perf_counter()
        for _ in range(1 if device == "cpu" else 10):
            a @ b
        wait(device)
        best = max(best, (1 if device == "cpu" else 10) * 2 * size**3 / (time.perf_counter() - began))
    return best


def wait(device: str) -> None:
    """Until the device has done what it was asked."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
