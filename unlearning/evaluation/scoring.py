"""What a model gives to a text: probabilities of words, likeliest next tokens, log-probabilities, perplexity.

Every measurement of this package reads a model through these few functions. They run the transformer once
for a batch of rows and project to the vocabulary only at the positions that are asked for, a chunk at a
time; log-softmax is taken in float32 whatever the model's own number format.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearning.errors import PromptError
from unlearning.models.encoding import encode_pair, encode_prompt, token_text
from unlearning.models.heads import check_length, reading, split
from unlearning.models.loading import encode, leading_specials
from unlearning.text.prompts import Probe

if TYPE_CHECKING:
    import torch

    from unlearning.models.heads import Head

POSITIONS_AT_ONCE = 64  # whose logits exist at one time: 67 MB with Gemma's vocabulary of 262 k


@dataclass(frozen=True)
class TokenScore:
    """One token of a text as the model saw it coming.

    Args:
        start: First character of the token in the text.
        end: Character after its last.
        nll: Negative log-probability, in nats; None for the first token, which nothing precedes.
        likeliest: Whether no token was likelier.
    """

    start: int
    end: int
    nll: float | None
    likeliest: bool


def target_probabilities(model: Any, tokenizer: Any, probes: Sequence[Probe], batch: int = 16) -> list[list[float]]:
    """P(target | prompt) = Π_j P(token_j | prompt, token_<j), for each target of each probe.

    Args:
        model: A causal language model, plain or with adapters.
        tokenizer: Its fast tokenizer.
        probes: What to ask.
        batch: Rows in one forward pass.

    Returns:
        One list a probe, one probability a target, in the order given.

    Raises:
        PromptError: if a prompt or target has no token, or is longer than the model can read.
    """
    return [found for found, _ in ask_probes(model, tokenizer, probes, 0, batch)]


def next_tokens(
    model: Any, tokenizer: Any, prompts: Sequence[str], k: int = 10, batch: int = 16
) -> list[list[tuple[str, float]]]:
    """The k likeliest next tokens after each prompt, as text with its leading space, and their probabilities."""
    return [top for _, top in ask_probes(model, tokenizer, [Probe(prompt, ()) for prompt in prompts], k, batch)]


def ask_probes(
    model: Any, tokenizer: Any, probes: Sequence[Probe], k: int = 10, batch: int = 16
) -> list[tuple[list[float], list[tuple[str, float]]]]:
    """What `target_probabilities` and `next_tokens` give for each probe, out of one reading of its prompt.

    Raises:
        PromptError: as `target_probabilities`.
    """
    prompts = [tuple(encode_prompt(tokenizer, probe.prompt)) for probe in probes]
    pairs = [[encode_pair(tokenizer, probe.prompt, target) for target in probe.targets] for probe in probes]
    hosts = _hosts({_row(pair) for row in pairs for pair in row} | (set(prompts) if k else set()))
    questions: dict[tuple[int, ...], dict[tuple[int, int], None]] = {host: {} for host in hosts.values()}
    for before, after in (pair for row in pairs for pair in row):
        asked = questions[hosts[_row((before, after))]]
        asked.update(((len(before) - 1 + j, token), None) for j, token in enumerate(after))
    ends: dict[tuple[int, ...], dict[int, None]] = {host: {} for host in questions}
    for prompt in prompts if k else ():
        ends[hosts[prompt]][len(prompt) - 1] = None
    answers, tops = _answers(model, questions, ends, k, batch)
    found = [[math.exp(_sum(answers[hosts[_row(pair)]], *pair)) for pair in row] for row in pairs]
    if not k:
        return [(row, []) for row in found]
    likeliest = [
        [(token_text(tokenizer, token, prompt), p) for token, p in tops[hosts[prompt], len(prompt) - 1]]
        for prompt in prompts
    ]
    return list(zip(found, likeliest, strict=True))


def token_log_probs(model: Any, tokenizer: Any, text: str) -> list[TokenScore]:
    """Each token of `text` as the model saw it coming; special tokens are context, not counted."""
    return score_texts(model, tokenizer, [text])[0]


def score_texts(model: Any, tokenizer: Any, texts: Sequence[str], batch: int = 8) -> list[list[TokenScore]]:
    """As `token_log_probs`, for many texts in batches of similar length.

    The first token of a text has no score even where a BOS precedes it, so that models with and without
    one are counted alike.
    """
    import torch

    specials = len(leading_specials(tokenizer))
    encoded = [encode(tokenizer, text) for text in texts]
    scores = [[TokenScore(*offset, None, False) for offset in offsets[specials:][:1]] for _, offsets in encoded]
    positions = [list(range(specials, len(ids) - 1)) for ids, _ in encoded]  # position p predicts token p + 1
    with reading(model):
        _, head = split(model)
        for i, hidden in hidden_states(model, [ids for ids, _ in encoded], positions, batch):
            ids, offsets = encoded[i]
            tokens = torch.tensor([ids[p + 1] for p in positions[i]], device=hidden.device)
            for offset, nll, best in zip(offsets[specials + 1 :], *_nll(head, hidden, tokens), strict=True):
                scores[i].append(TokenScore(*offset, nll, best))
    return scores


def perplexity(model: Any, tokenizer: Any, blocks: Sequence[str], batch: int = 8) -> float:
    """exp(mean negative log-probability of a token), over all blocks together; a block's first token is not counted.

    Raises:
        PromptError: if there is no token to count.
    """
    nll = [t.nll for block in score_texts(model, tokenizer, blocks, batch) for t in block if t.nll is not None]
    if not nll:
        raise PromptError("There is no text to take the perplexity of.", "Give at least one block of two tokens.")
    return math.exp(math.fsum(nll) / len(nll))


def hidden_states(
    model: Any, rows: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], batch: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """The transformer's output at some positions of each row, before the vocabulary projection.

    Args:
        model: A causal language model.
        rows: Token ids; right-padded into batches, longest first (so that memory runs out at once or never).
        positions: For each row the positions wanted.
        batch: Rows in one forward pass.

    Yields:
        Index of the row and its hidden states [positions of the row, width]; rows without positions are skipped.

    Raises:
        PromptError: if a row is longer than the model can read.
    """
    import torch

    device, (backbone, _) = next(model.parameters()).device, split(model)
    order = sorted((i for i in range(len(rows)) if positions[i]), key=lambda i: -len(rows[i]))
    check_length(model, max((len(rows[i]) for i in order), default=0))
    for first in range(0, len(order), batch):
        group = order[first : first + batch]
        shape = len(group), len(rows[group[0]])
        ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        for r, i in enumerate(group):
            ids[r, : len(rows[i])], mask[r, : len(rows[i])] = torch.tensor(rows[i]), 1
        hidden = backbone(ids.to(device), mask.to(device))  # [batch, time, width]
        for r, i in enumerate(group):
            yield i, hidden[r, list(positions[i])]


def _row(pair: tuple[list[int], list[int]]) -> tuple[int, ...]:
    """What the model must read to score the pair: all but the last token."""
    before, after = pair
    return (*before, *after[:-1])


def _hosts(rows: Iterable[tuple[int, ...]]) -> dict[tuple[int, ...], tuple[int, ...]]:
    """For each row the row that is read in its place: a longer one that begins with it, or itself.

    Sorted, the rows that begin with a row follow it directly, so that one look back is enough.
    """
    hosts: dict[tuple[int, ...], tuple[int, ...]] = {}
    host: tuple[int, ...] = ()
    for row in sorted(rows, reverse=True):
        host = host if host[: len(row)] == row else row
        hosts[row] = host
    return hosts


def _answers(
    model: Any,
    questions: Mapping[tuple[int, ...], Iterable[tuple[int, int]]],
    ends: Mapping[tuple[int, ...], Iterable[int]],
    k: int,
    batch: int,
) -> tuple[dict[tuple[int, ...], dict[tuple[int, int], float]], dict[tuple[tuple[int, ...], int], Any]]:
    """log P(token after position) for each row's (position, token) questions; the k likeliest after its `ends`."""
    import torch

    rows = list(questions)
    asked, last = [list(questions[row]) for row in rows], [list(ends[row]) for row in rows]
    positions = [[p for p, _ in pairs] + after for pairs, after in zip(asked, last, strict=True)]
    answers: dict[tuple[int, ...], dict[tuple[int, int], float]] = {row: {} for row in rows}
    tops: dict[tuple[tuple[int, ...], int], Any] = {}
    with reading(model):
        _, head = split(model)
        for i, hidden in hidden_states(model, rows, positions, batch):
            tokens = torch.tensor([token for _, token in asked[i]], device=hidden.device, dtype=torch.long)
            nll, _ = _nll(head, hidden[: len(tokens)], tokens)
            answers[rows[i]] = {pair: -value for pair, value in zip(asked[i], nll, strict=True)}
            for place, state in zip(last[i], hidden[len(tokens) :], strict=True):
                top = torch.softmax(head(state[None])[0].float(), dim=-1).topk(k)
                tops[rows[i], place] = list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
    return answers, tops


def _sum(answers: dict[tuple[int, int], float], before: list[int], after: list[int]) -> float:
    return math.fsum(answers[len(before) - 1 + j, token] for j, token in enumerate(after))


def _nll(head: Head, hidden: torch.Tensor, tokens: torch.Tensor) -> tuple[list[float], list[bool]]:
    """−log softmax(head(hidden))[token] in float32, and whether no token was likelier; a chunk at a time."""
    nll: list[float] = []
    best: list[bool] = []
    for first in range(0, len(tokens), POSITIONS_AT_ONCE):
        wanted = tokens[first : first + POSITIONS_AT_ONCE]
        logits = head(hidden[first : first + POSITIONS_AT_ONCE]).float()  # [positions, vocab]
        own = logits.gather(-1, wanted[:, None])[:, 0]
        nll += (logits.logsumexp(-1) - own).tolist()
        best += (own == logits.amax(-1)).tolist()
    return nll, best
