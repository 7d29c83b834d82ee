"""Letting a model go on with a text: batched, with a cache, and the same again for the same seed.

The raw continuation of the prompt, without a chat template: what a model says of itself. A row's text
depends on its own prompt and the seed alone, not on what else is in the batch (but for rounding errors
where two tokens are all but equally likely).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from unlearning.errors import SettingsError
from unlearning.models.encoding import encode_prompt
from unlearning.models.heads import check_length, reading, unwrap

if TYPE_CHECKING:
    import random

    import torch


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    max_new_tokens: int = 40,
    temperature: float = 0.0,
    seed: int = 0,
    batch: int = 32,
) -> list[str]:
    """How the model goes on with each prompt, without the prompt.

    Args:
        model: A causal language model, plain or with adapters.
        tokenizer: Its fast tokenizer.
        prompts: Texts to go on with. One that is listed k times is gone on with in k ways.
        max_new_tokens: Longest continuation; it ends earlier at an end-of-text token.
        temperature: 0 takes the likeliest token; above, tokens are drawn from softmax(logits / temperature).
        seed: Same seed, same draws.
        batch: Rows in one forward pass.

    Raises:
        SettingsError: for a negative temperature or no tokens to write.
        PromptError: if a prompt and its continuation are longer than the model can read.
    """
    check_wishes(max_new_tokens, temperature)
    rows = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    check_length(model, max(map(len, rows), default=0) + max_new_tokens)
    dice, ends = dice_of(prompts, seed), end_tokens(model, tokenizer)
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    texts = [""] * len(rows)
    with reading(model):
        for first in range(0, len(order), batch):
            group = order[first : first + batch]
            new = go_on(model, [rows[i] for i in group], [dice[i] for i in group], max_new_tokens, temperature, ends)
            for i, tokens in zip(group, new, strict=True):
                texts[i] = continuation(tokenizer, rows[i], tokens)
    return texts


def check_wishes(max_new_tokens: int, temperature: float) -> None:
    """
    Raises:
        SettingsError: for a negative temperature or no tokens to write.
    """
    if temperature < 0:
        raise SettingsError(f"The temperature is {temperature}.", "Give 0 (always the likeliest token) or more.")
    if max_new_tokens < 1:
        raise SettingsError(f"max_new_tokens is {max_new_tokens}.", "Give at least 1.")


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Every token at which a text of this model ends: the tokenizer's, the configuration's, `<|endoftext|>`."""
    core = unwrap(model)
    sources = [getattr(core, "generation_config", None), core.config.get_text_config(), tokenizer]
    found: set[int] = set()
    for source in sources:
        named = getattr(source, "eos_token_id", None)
        found.update([named] if isinstance(named, int) else named or [])
    # what SmolLM and Qwen put between documents, whatever their chat format ends a turn with
    return found | {i for token, i in tokenizer.get_added_vocab().items() if token == "<|endoftext|>"}


def go_on(
    model: Any,
    rows: list[list[int]],
    dice: list[random.Random],
    longest: int,
    temperature: float,
    ends: set[int],
    tell: Callable[[list[list[int]], set[int]], None] = lambda new, running: None,
) -> list[list[int]]:
    """New tokens of each row, end tokens left out. Prompts are padded on the left, so that all go on at one place.

    `tell` hears, after every token, the new tokens of all rows and which rows go on; what it raises ends the writing.
    """
    import torch

    device = next(model.parameters()).device
    ids, mask = _left_padded(rows)
    ids, mask = ids.to(device), mask.to(device)
    new: list[list[int]] = [[] for _ in rows]
    running, cache = set(range(len(rows))), None
    for _ in range(longest):
        # Positions count real tokens: models with learnt positions do not see the padding.
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        cache = output.past_key_values
        chosen = [_choose(logits, temperature, die) for logits, die in zip(output.logits[:, -1], dice, strict=True)]
        running -= {r for r in running if chosen[r] in ends}
        for r in running:
            new[r].append(chosen[r])
        tell(new, running)
        if not running:
            break
        ids = torch.tensor(chosen, device=device)[:, None]  # [batch, 1]
        mask = torch.cat([mask, torch.ones_like(ids)], dim=-1)
    return new


def _left_padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask  # [batch, time]


def _choose(logits: torch.Tensor, temperature: float, die: random.Random) -> int:
    """The next token: the likeliest, or where a throw of the die falls in the distribution function."""
    import torch

    if temperature == 0:
        return int(logits.argmax())
    shares = torch.softmax(logits.float() / temperature, dim=-1).double().cumsum(-1)
    throw = torch.tensor(die.random(), dtype=shares.dtype, device=shares.device) * shares[-1]
    return min(int(torch.searchsorted(shares, throw, right=True)), len(shares) - 1)


def dice_of(prompts: Sequence[str], seed: int) -> list[random.Random]:
    """One source of chance a row, from the seed, its prompt, and how often that stood before in the list."""
    import random

    seen: Counter[str] = Counter()
    dice = []
    for prompt in prompts:
        name = f"{seed}/{seen[prompt]}/{prompt}"
        seen[prompt] += 1
        dice.append(random.Random(hashlib.sha256(name.encode()).digest()))
    return dice


def continuation(tokenizer: Any, row: list[int], new: list[int]) -> str:
    """What the new tokens add to the prompt's text: a leading space is kept whatever the tokenizer does with it."""
    known, whole = (
        str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        for ids in (row, row + new)
    )
    if whole.startswith(known):
        return whole[len(known) :]
    return str(tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False))
