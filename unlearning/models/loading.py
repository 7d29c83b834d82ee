"""From a model's name to a model in memory, and from a text to its tokens.

A name is one of the catalogue, a local folder, a Hugging Face id (`owner/name`) or `random:<shape>`.
Whatever it is: weights come from safetensors alone, and no code that came with a model is ever run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of a text and where each token stands in it.

    Some models expect a special token before any text (Gemma without its `<bos>` predicts nonsense),
    and none expects a closing one in the middle of a document. So the specials that the tokenizer
    itself puts in front are kept, those that it would put behind are not.

    Args:
        tokenizer: Any fast tokenizer.
        text: Any text, empty included.

    Returns:
        ids and offsets, equally long. An offset is `(start, end)` in characters of `text`; a special
        token in front has `(0, 0)`.
    """
    body = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    front = leading_specials(tokenizer)
    return front + list(body["input_ids"]), [(0, 0)] * len(front) + list(body["offset_mapping"])


def leading_specials(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The ids that this tokenizer puts before a text when left to itself: `[2]` for Gemma, `[]` for SmolLM2."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return list(full[:start])
    return []
