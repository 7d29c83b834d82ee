"""What the page asks models: how they saw a text coming, what they would say next, and how they go on with it.

Everything takes models and gives JSON; torch is imported where it is used. Questions are asked one at a time
(`jobs`), so these functions may take as long as they take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from unlearning.errors import PromptError

if TYPE_CHECKING:
    import torch

    from unlearning.models.adapters import Family
    from unlearning.models.heads import Head

Opened = Callable[[], AbstractContextManager[Any]]  # `with opened() as model:`
Tell = Callable[[float], None]  # hears which share of the work is done

MOST_TOKENS = 1200  # of a text that the page shows token by token
WINDOW, OVERLAP = MOST_TOKENS, 128  # tokens a model reads at once, and how many of them it has read before
POSITIONS_AT_ONCE = 64  # whose logits exist at one time


@dataclass(frozen=True)
class _Reading:
    """What one model made of the text: hidden states at every position that predicts a token, and their projection."""

    hidden: torch.Tensor  # [tokens − 1, width]
    head: Head


def measure_text(
    models: Mapping[str, Opened],
    tokenizer: Any,
    text: str,
    top: int = 10,
    tell: Tell = lambda share: None,
    family: Family | None = None,
) -> dict[str, Any]:
    """How one or two models saw each token of a text coming.

    Args:
        models: One, or two to compare (the first is the baseline), by role.
        tokenizer: Theirs.
        text: Any text; the first MOST_TOKENS tokens are read, in windows that overlap.
        top: Likeliest tokens to keep at each position.
        tell: Hears the share that is done.
        family: Whose roles these are, if of one: its models then read the text in one pass.

    Returns:
        roles; tokens (pieces of the text, white space included, which joined give the text read); p and rank of
        each token by role (None for the first one, which nothing precedes); kl, KL(first ‖ second) in nats at each
        position; words and top: for each role and position [word, p, word, p …], a word being an index into words;
        cut, whether the text was longer; total, its tokens.

    Raises:
        PromptError: no token in the text.
    """
    from unlearning.models.loading import encode, leading_specials

    ids, offsets = encode(tokenizer, text)
    front = len(leading_specials(tokenizer))
    total = len(ids) - front
    if total < 1:
        raise PromptError("There is no text to read.", "Type or paste some words.")
    ids, offsets = ids[: front + MOST_TOKENS], offsets[: front + MOST_TOKENS]
    readings = _read_all(models, family, ids, front, tell)
    words = _Words(tokenizer, ids)
    measured = _measure(readings, ids[front:], words, top, lambda share: tell(0.6 + 0.4 * share))
    return {
        "roles": list(models),
        "tokens": pieces(text, offsets[front:]),
        **measured,
        "words": words.known,
        "cut": total > len(ids) - front,
        "total": total,
    }


def _read_all(
    models: Mapping[str, Opened], family: Family | None, ids: list[int], front: int, tell: Tell
) -> dict[str, _Reading]:
    from unlearning.models.side_by_side import can_play, roles_as_rows

    if family is not None and can_play(family, list(models)):
        return _read(partial(roles_as_rows, family, list(models)), list(models), ids, front, tell)
    readings: dict[str, _Reading] = {}
    for done, (role, opened) in enumerate(models.items()):
        tell(0.6 * done / len(models))
        readings |= _read(opened, [role], ids, front, lambda share: None)
    return readings


def _read(opened: Opened, roles: Sequence[str], ids: list[int], front: int, tell: Tell) -> dict[str, _Reading]:
    """What a model made of the text whose batches have a row for each of these roles."""
    import torch

    from unlearning.evaluation.scoring import hidden_states
    from unlearning.models.heads import reading, split, unwrap

    parts: dict[str, list[torch.Tensor]] = {role: [] for role in roles}
    with opened() as model, reading(model):
        limit = getattr(unwrap(model).config.get_text_config(), "max_position_embeddings", None) or WINDOW
        rows, positions = _windows(ids, front, min(WINDOW, limit - front))
        _, head = split(model, float_head=True)
        width = model.get_input_embeddings().weight.shape[1]
        for done, (row, wanted) in enumerate(zip(rows, positions, strict=True), 1):
            found = dict(hidden_states(model, [row] * len(roles), [wanted] * len(roles), batch=len(roles)))
            for place, role in enumerate(roles):
                parts[role].append(found[place])
            tell(0.6 * done / len(rows))
    nothing = torch.zeros(0, width)  # of a text of one token: nothing is predicted
    return {role: _Reading(torch.cat(own) if own else nothing, head) for role, own in parts.items()}


def _windows(ids: list[int], front: int, window: int) -> tuple[list[list[int]], list[list[int]]]:
    """Rows for a model to read, and in each the positions whose next token is counted; all but the first token are."""
    specials, body = ids[:front], ids[front:]
    overlap = min(OVERLAP, window // 4)
    rows: list[list[int]] = []
    positions: list[list[int]] = []
    counted = 1  # the first body token that no row has predicted yet
    while counted < len(body):
        start = max(0, counted - overlap) if rows else 0
        end = min(len(body), start + window)
        rows.append(specials + body[start:end])
        positions.append([front + token - 1 - start for token in range(counted, end)])
        counted = end
    return rows, positions


def _measure(
    readings: Mapping[str, _Reading], tokens: list[int], words: _Words, top: int, tell: Tell
) -> dict[str, Any]:
    p: dict[str, list[float | None]] = {role: [None] for role in readings}
    rank: dict[str, list[int | None]] = {role: [None] for role in readings}
    tops: dict[str, list[list[Any]]] = {role: [[]] for role in readings}
    kl: list[float] = [0.0]
    following = tokens[1:]
    for first in range(0, len(following), POSITIONS_AT_ONCE):
        part = slice(first, first + POSITIONS_AT_ONCE)
        logs = [one.head(one.hidden[part]).float().log_softmax(-1) for one in readings.values()]  # each [part, vocab]
        for role, log in zip(readings, logs, strict=True):
            _add_role(log, following[part], p[role], rank[role])
            tops[role] += _tops(log, words, top)
        if len(logs) == 2:
            kl += (logs[0].exp() * (logs[0] - logs[1])).sum(-1).clamp(min=0).tolist()
        tell(min(1.0, (first + POSITIONS_AT_ONCE) / len(following)))
    rounded = {role: [None if x is None else float(f"{x:.4g}") for x in values] for role, values in p.items()}
    return {
        "p": rounded,
        "rank": rank,
        "top": tops,
        "kl": [float(f"{x:.4g}") for x in kl] if len(readings) == 2 else None,
    }


def _add_role(log: torch.Tensor, following: list[int], p: list[float | None], rank: list[int | None]) -> None:
    import torch

    actual = torch.tensor(following, device=log.device)[:, None]
    own = log.gather(-1, actual)  # [part, 1]
    p += own[:, 0].exp().tolist()
    rank += (1 + (log > own).sum(-1)).tolist()


def _tops(log: torch.Tensor, words: _Words, top: int) -> list[list[Any]]:
    best = log.topk(min(top, log.shape[-1]), dim=-1)
    rows = zip(best.indices.tolist(), best.values.exp().tolist(), strict=True)
    return [[x for token, p in zip(*row, strict=True) for x in (words.place(token), float(f"{p:.3g}"))] for row in rows]


class _Words:
    """Token ids as text, each written once."""

    def __init__(self, tokenizer: Any, context: Sequence[int]) -> None:
        self._tokenizer, self._context = tokenizer, list(context[:4])
        self._places: dict[int, int] = {}
        self.known: list[str] = []

    def place(self, token: int) -> int:
        """The index of the token's text in `known`."""
        from unlearning.models.encoding import token_text

        if token not in self._places:
            self._places[token] = len(self.known)
            self.known.append(token_text(self._tokenizer, token, self._context))
        return self._places[token]


def pieces(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """The text cut at the ends of its tokens: joined again it is the text, white space and all."""
    cut, reached = [], 0
    for _, end in offsets:
        cut.append(text[reached : max(reached, end)])
        reached = max(reached, end)
    return cut
