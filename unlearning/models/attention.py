"""Attention written out as matrix products, for short blocks on a processor, where the default is not the fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unlearning.models.heads import unwrap

# Up to here the table of scores is small: 0.6 MB a block of 256 tokens and head, and half as much for its gradient.
SHORT_TOKENS = 512
WRITTEN_OUT = "written_out"  # its name among transformers' implementations


@contextmanager
def attention_for_blocks(model: Any, dtype: str, tokens: int) -> Iterator[None]:
    """Let attention be written out as matrix products while short blocks are trained on, or labelled, on a processor.

    torch's fused attention never writes the scores down, which is what long texts need. In bfloat16 on a processor its
    backward pass is two to six times as slow as the plain products, though, and its forward pass twice (`python -m
    unlearning bench` shows a whole step beside the bare loop, which uses it). In float32 there is no difference.
    The plain products round the scores to bfloat16; labels made with them lie as far from those of a float32 model as
    labels made with the fused ones (0.019 in total variation either way). All other reading keeps the fused one.

    Args:
        model: The model, plain or wrapped by peft; its implementation is put back after.
        dtype: What matrix products are computed in.
        tokens: Length of the longest block.
    """
    core = unwrap(model)
    before = getattr(core.config, "_attn_implementation", None)
    suits = core.device.type == "cpu" and dtype == "bfloat16" and tokens <= SHORT_TOKENS and before == "sdpa"
    if not (suits and core._can_set_attn_implementation()):
        yield
        return
    _register()
    core.set_attn_implementation(WRITTEN_OUT)
    try:
        yield
    finally:
        core.set_attn_implementation(before)


def attend(
    module: Any, query: Any, key: Any, value: Any, mask: Any, dropout: float = 0.0, scaling: float | None = None,
    **more: Any,
) -> tuple[Any, None]:  # fmt: skip
    """softmax(q·kᵀ·scaling + mask)·v, as a model of transformers calls it; where it may call torch's fused one.

    The query heads that share a key head are one taller matrix, so that no key is copied, and the probabilities stay
    in the model's own type: transformers' own products keep them in float32 too for the backward pass.

    Args:
        module: The layer; its mode switches dropout.
        query: [batch, heads, time, width].
        key: [batch, key heads, keys, width], the heads a multiple of the key heads.
        value: Likewise.
        mask: To be added to the scores, broadcast to [batch, heads, time, keys]; None for none.
        dropout: Share of the probabilities that is dropped in training.
        scaling: 1/√width if None.
        more: What other implementations need.

    Returns:
        [batch, time, heads, width], and no table of probabilities.
    """
    import torch.nn.functional as F

    batch, heads, time, width = query.shape
    shared = batch, key.shape[1], heads // key.shape[1] * time
    scores = (query * (width**-0.5 if scaling is None else scaling)).reshape(*shared, width) @ key.transpose(2, 3)
    if mask is not None:
        scores.view(batch, heads, time, -1).add_(mask)
    probs = F.dropout(F.softmax(scores, dim=-1), dropout, module.training)
    read = (probs.to(value.dtype) @ value).view(batch, heads, time, -1)
    return read.transpose(1, 2).contiguous(), None


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(WRITTEN_OUT, attend)
    AttentionMaskInterface.register(WRITTEN_OUT, eager_mask)
