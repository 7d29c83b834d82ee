"""Which of transformers' implementations of attention a model uses, where the default is not the fastest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unlearning.models.heads import unwrap

# Up to here the table of scores is small: 0.6 MB a block of 256 tokens and head, with what its gradient needs.
SHORT_TOKENS = 512


@contextmanager
def attention_for_training(model: Any, dtype: str, tokens: int) -> Iterator[None]:
    """Let attention be written out as matrix products while a model is trained on short blocks on a processor.

    torch's fused attention never writes the scores down, which is what long texts need. Its backward pass in bfloat16
    on a processor is two to six times as slow as the plain products, though (`python -m unlearning bench` shows a
    whole step beside the bare loop, which uses it). In float32 there is no difference.

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
    core.set_attn_implementation("eager")
    try:
        yield
    finally:
        core.set_attn_implementation(before)
