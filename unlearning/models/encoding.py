"""From text to the tokens a causal model reads, and back: where a prompt ends and its continuation begins.

Works with any fast tokenizer: byte-level (the space belongs to the next word), metaspace (a space is put
before the text), word pieces (white space is in no token). No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unlearning.errors import PromptError
from unlearning.models.loading import encode

# Put before a text so that a tokenizer sees it as a continuation; the first that no token straddles is taken.
_GUARDS = ("\n", "=", "|", "a")


def encode_prompt(tokenizer: Any, text: str) -> list[int]:
    """The tokens of `text`, after whatever the tokenizer puts before a text by default (often BOS).

    An empty text is the tokenizer's BOS alone.

    Raises:
        PromptError: if there is no token at all.
    """
    ids = encode(tokenizer, text)[0]
    if not ids and tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id]
    if not ids:
        raise PromptError(f"The prompt {text!r} has no token.", "Give at least one word.")
    return ids


def encode_pair(tokenizer: Any, prompt: str, target: str) -> tuple[list[int], list[int]]:
    """The tokens of a prompt, and those of a continuation of it.

    As one text where the tokenizer cuts at the boundary. Where it does not: white space that ends the
    prompt goes over to the target ("White " + "Rabbit" is "White" + " Rabbit", for no model was trained
    on a lone space there); otherwise the target is taken literally ("Hat" + "ter", whatever "Hatter" is).

    Raises:
        PromptError: if prompt or target has no token.
    """
    before, whole = encode_prompt(tokenizer, prompt), encode_prompt(tokenizer, prompt + target)
    if whole[: len(before)] == before and len(whole) > len(before):
        return before, whole[len(before) :]
    bare = prompt.rstrip()
    if bare and bare != prompt:
        return encode_pair(tokenizer, bare, prompt[len(bare) :] + target)
    after = encode_continuation(tokenizer, target)
    if not after:
        raise PromptError(f"The target {target!r} has no token in this model's vocabulary.", "Give a word.")
    return before, after


def encode_continuation(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text that is not the beginning: nothing is put before it, no special token added."""
    for guard in _GUARDS:
        encoded = tokenizer(guard + text, add_special_tokens=False, return_offsets_mapping=True)
        offsets = encoded["offset_mapping"]
        first = sum(start < len(guard) for start, _ in offsets)
        if all(end <= len(guard) for _, end in offsets[:first]):
            return list(encoded["input_ids"][first:])
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def token_text(tokenizer: Any, token: int, before: Sequence[int]) -> str:
    """What `token` adds to the text of the tokens `before` it, its leading space included.

    Part of a character (an emoji cut into bytes) reads as "�".
    """
    context = list(before[-4:])
    known, longer = _decode(tokenizer, context), _decode(tokenizer, [*context, token])
    return longer[len(known) :] if context and longer.startswith(known) else _decode(tokenizer, [token])


def _decode(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
