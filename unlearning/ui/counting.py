"""How long a text is for a model, without loading the model: its tokenizer's file is enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

TOKENS_A_WORD = 1.35  # of English prose, where the model's own tokenizer is not on this machine
FILLED = 0.93  # blocks end with a sentence or a word: so much of them is used on average


@dataclass(frozen=True)
class Length:
    """Tokens of a text, and blocks that it will be cut into (about). `counted` says whether the tokens were counted."""

    tokens: int
    blocks: int
    counted: bool


@lru_cache(maxsize=64)
def measure_length(text: str, model: str, block_tokens: int = 256) -> Length:
    """How many tokens and blocks `text` has for `model`."""
    tokenizer = _tokenizer(model)
    tokens = len(tokenizer.encode(text, add_special_tokens=False).ids) if tokenizer else _guess(text)
    return Length(tokens, math.ceil(tokens / (FILLED * block_tokens)), tokenizer is not None)


def _guess(text: str) -> int:
    return round(TOKENS_A_WORD * len(text.split()))


@lru_cache(maxsize=4)
def _tokenizer(model: str) -> Any:
    """The tokenizer from the model's folder; None where it is not on this machine."""
    from unlearning.errors import ModelError
    from unlearning.models.loading import find_folder

    try:
        folder = find_folder(model)
    except ModelError:
        return None
    path = Path(folder) / "tokenizer.json" if folder else None
    if path is None or not path.is_file():
        return None
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))
