"""An output filter: after what has been read, which tokens would complete an anchor.

It works on the text, not on one way to cut it into tokens: "March H" + "are" is seen as well as "March" + " Hare".
It sees what it looks for and nothing else; spelled with gaps, or in another language, a name passes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unlearning.text.anchors import Dictionary
from unlearning.text.occurrences import spellings

if TYPE_CHECKING:
    import torch

PENALTY = 40.0  # nats: what is blocked has probability e^−40, so that every log-probability stays finite
BASE, DIGITS = 128, 3  # a state of the filter in digits that every number format holds exactly
WINDOW = 32  # tokens looked back at: longer than any anchor


class OutputFilter:
    """Blocks the enabled anchors of a dictionary, in the spellings in which they are found in a text."""

    def __init__(self, dictionary: Dictionary, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._after = _completions(list(spellings(dictionary)), _tokens_by_text(tokenizer))
        self._longest = max(map(len, self._after), default=0)
        self._sets: list[tuple[int, ...]] = [()]  # state → tokens that are blocked
        self._numbers: dict[tuple[int, ...], int] = {(): 0}

    def states(self, ids: Sequence[int]) -> list[int]:
        """The state after each token of a row."""
        return [self.state(ids[: place + 1]) for place in range(len(ids))]

    def state(self, ids: Sequence[int]) -> int:
        """The state after the last token: the number of the set of tokens that may not follow."""
        known = self._tokenizer.decode(
            list(ids[-WINDOW:]), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        blocked = tuple(sorted(self.blocked_after(known)))
        if blocked not in self._numbers:
            self._numbers[blocked] = len(self._sets)
            self._sets.append(blocked)
        return self._numbers[blocked]

    def blocked_after(self, text: str) -> set[int]:
        """Tokens that, put behind this text, complete an anchor."""
        tail = re.sub(r"\s+", " ", text)[-self._longest - 1 :].replace("’", "'")
        blocked: set[int] = set()
        for start in range(len(tail) + 1):
            begins_word = start == 0 or not (tail[start - 1].isalnum())
            found = self._after.get(tail[start:]) if begins_word or start == len(tail) else None
            for token, needs_boundary in found or ():
                if not (needs_boundary and tail and tail[-1].isalnum() and start == len(tail)):
                    blocked.add(token)
        return blocked

    def apply(self, logits: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Logits [..., vocab] with what each state [...] blocks pushed down."""
        import torch

        flat, rows = logits.reshape(-1, logits.shape[-1]).clone(), states.reshape(-1).tolist()
        pairs = [(row, token) for row, state in enumerate(rows) for token in self._sets[state]]
        if pairs:
            row, token = torch.tensor(pairs, device=flat.device).T
            flat[row, token] = -torch.inf
            flat[row, token] = flat.logsumexp(-1)[row] - PENALTY
        return flat.reshape(logits.shape)

    def digits(self, states: torch.Tensor) -> torch.Tensor:
        """States [...] as digits [..., DIGITS]."""
        import torch

        return torch.stack([states // BASE**place % BASE for place in range(DIGITS)], dim=-1)

    def undigits(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states with digits behind them → hidden states, states."""
        own, digits = hidden[..., :-DIGITS], hidden[..., -DIGITS:].long()
        weights = digits.new_tensor([BASE**place for place in range(DIGITS)])
        return own, (digits * weights).sum(-1)


def _completions(terms: Sequence[str], tokens: dict[str, list[int]]) -> dict[str, list[tuple[int, bool]]]:
    """Beginning of a term → the tokens that are all the rest of it, and whether each must stand at a word's start."""
    after: defaultdict[str, list[tuple[int, bool]]] = defaultdict(list)
    for term in terms:
        after[""] += [(token, False) for token in tokens.get(" " + term, [])]
        for place in range(len(term)):
            after[term[:place]] += [(token, place == 0) for token in tokens.get(term[place:], [])]
    return {start: list(dict.fromkeys(found)) for start, found in after.items() if found}


def _tokens_by_text(tokenizer: Any) -> dict[str, list[int]]:
    """Text of a token as it stands behind a word, its leading blank included → ids."""
    before = tokenizer("a", add_special_tokens=False)["input_ids"]
    special = set(tokenizer.all_special_ids)
    ids = [token for token in tokenizer.get_vocab().values() if token not in special]
    texts = tokenizer.batch_decode([[*before, token] for token in ids], clean_up_tokenization_spaces=False)
    found: defaultdict[str, list[int]] = defaultdict(list)
    for token, text in zip(ids, texts, strict=True):
        found[text[1:]].append(token)
    return found
