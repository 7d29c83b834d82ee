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


def measure_length(text: str, model: str, block_tokens: int = 256) -> Length:
    """How many tokens and blocks `text` has for `model`."""
    path = _tokenizer_file(model)
    tokens = _count(text, path, path.stat().st_mtime_ns) if path else _guess(text)
    return Length(tokens, math.ceil(tokens / (FILLED * block_tokens)), path is not None)


def _guess(text: str) -> int:
    return round(TOKENS_A_WORD * len(text.split()))


def _tokenizer_file(model: str) -> Path | None:
    """Where the model's tokenizer lies; None where it is not on this machine. Looked for each time: a model may be
    fetched, or the folder of the models changed, at any moment."""
    from unlearning.errors import ModelError
    from unlearning.models.loading import find_folder

    try:
        folder = find_folder(model)
    except ModelError:
        return None
    path = folder / "tokenizer.json" if folder else None
    return path if path is not None and path.is_file() else None


@lru_cache(maxsize=64)
def _count(text: str, path: Path, changed_ns: int) -> int:
    return len(_tokenizer(path, changed_ns).encode(text, add_special_tokens=False).ids)


@lru_cache(maxsize=4)
def _tokenizer(path: Path, changed_ns: int) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))
