"""Generic labels: what a model that never read the text would have predicted (WHP §2–4, Algorithm 1).

For each block two forward passes, the baseline's on the translated block and the reinforced model's on the
original; then, position by position, v = b − α · ReLU(r − b) (eq. 1). Logits live only for the few positions
of a chunk; what is kept is the likeliest token, or the k likeliest and their probabilities.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.config import LabelSettings
from unlearning.methods.examples import Example
from unlearning.methods.losses import chunks, floats_at_once
from unlearning.models.attention import attention_for_blocks
from unlearning.models.heads import split
from unlearning.models.loading import encode
from unlearning.text.anchors import Dictionary
from unlearning.text.occurrences import find_occurrences
from unlearning.text.translation import (
    Encoded,
    Mask,
    PositionMap,
    Translated,
    draw_translations,
    position_map,
    translate,
)

if TYPE_CHECKING:
    import torch

    Role = Callable[[], AbstractContextManager[Any]]  # `with role() as model:`

NO_ANCHORS = Dictionary(())
# Logits of up to 64 lie at most 0.25 apart in bfloat16. Where rises of up to twice that are left alone, rounding is
# never taken for one, and the projection to the vocabulary need not be exact, which costs as much again.
ROUNDED = 0.5
MOSTLY = 0.5  # share of a token's occurrences that begin an anchor, above which it may not be a label
HINT = 0.03  # probability of an anchor's first tokens, together, above which a position is worth a label anyway
SURE = 0.4  # probability of the likeliest next token from which a model counts as sure of it


def generic_logits(
    baseline: torch.Tensor, reinforced: torch.Tensor, alpha: float, centred: bool, margin: float = 0.0
) -> torch.Tensor:
    """v = b − α · ReLU(r − b − margin) (WHP, eq. 1, where the margin is 0).

    Args:
        baseline: Logits of the baseline on the *translated* text, [n, vocab].
        reinforced: Logits of the reinforced model on the original, [n, vocab].
        alpha: α.
        centred: Compare log-probabilities. Fine-tuning shifts all logits of a position by a constant, which
            means nothing to a softmax but which the ReLU of raw logits takes for a rise of every token.
        margin: Rises up to this are left alone.
    """
    import torch

    if not centred:
        return baseline - (reinforced - baseline).sub_(margin).relu_().mul_(alpha)
    baseline, reinforced = (logits.log_softmax(dim=-1, dtype=torch.float32) for logits in (baseline, reinforced))
    # in place: on a processor, new memory for so many logits takes longer than the arithmetic
    return baseline.sub_(reinforced.sub_(baseline).sub_(margin).relu_().mul_(alpha))


@dataclass
class Draw:
    """One translation of a block, as the baseline will read it."""

    translated: Translated
    target: Encoded
    map: PositionMap
    suppress: list[tuple[int, Sequence[int]]]  # from this source position on, these tokens may not be labels


@dataclass
class Prepared:
    """A block before any model has seen it."""

    source: Encoded
    draws: list[Draw] = field(default_factory=list)
    forbidden: dict[int, int] = field(default_factory=dict)  # position inside an anchor → the anchor's own next token

    @property
    def mask(self) -> list[Mask]:
        """Why each position has a label or not; it has one if any draw gives it one."""
        return [min(options) for options in zip(*(draw.map.mask for draw in self.draws), strict=True)]


def prepare(
    text: str,
    dictionary: Dictionary,
    tokenizer: Any,
    settings: LabelSettings,
    seed: str,
    opening: Sequence[int] = (),
) -> Prepared:
    """Translate a block and map its positions, once for each draw.

    Args:
        text: The block.
        dictionary: The anchors; ignored if the settings switch anchors off.
        tokenizer: Any fast tokenizer.
        settings: Draws, inner alignment, anchors on or off.
        seed: Names the block, so that its draws do not depend on which blocks came before.
        opening: Of `opening_tokens`; used where the settings forbid anchors.
    """
    anchors = dictionary if settings.use_anchors else NO_ANCHORS
    generator = random.Random(seed)
    prepared = Prepared(Encoded(*encode(tokenizer, text)))
    for _ in range(settings.draws):
        translated = translate(text, anchors, draw_translations(anchors, generator))
        target = Encoded(*encode(tokenizer, translated.text))
        mapped = position_map(prepared.source, target, translated, settings.inner_alignment)
        all_words = settings.inner_alignment == "all"
        suppress: list[tuple[int, Sequence[int]]] = [
            (place, first_tokens(anchors.anchors[anchor].translations, tokenizer, all_words))
            for place, anchor in mapped.used
        ]
        if settings.forbid_anchors:
            suppress.append((0, opening))
            prepared.forbidden |= _own_tokens(prepared.source, translated)
        prepared.draws.append(Draw(translated, target, mapped, suppress))
    return prepared


def first_tokens(expressions: Sequence[str], tokenizer: Any, all_words: bool = False) -> list[int]:
    """First token of every expression, as it stands after a blank and at the start of a line.

    Args:
        expressions: An anchor, or what it may have been translated by.
        tokenizer: Any fast tokenizer.
        all_words: Also the first tokens of an expression's further words, for labels inside later mentions.
    """
    starts = [word for text in expressions for word in text.split()] if all_words else []
    spellings = [prefix + start for start in dict.fromkeys([*expressions, *starts]) for prefix in (" ", "")]
    encoded = tokenizer(spellings, add_special_tokens=False)["input_ids"]
    return sorted({ids[0] for ids in encoded if ids})


def opening_tokens(texts: Sequence[str], dictionary: Dictionary, tokenizer: Any, settings: LabelSettings) -> list[int]:
    """Tokens that begin an anchor and little else; none where the settings forbid no anchors.

    They are a whole word of it, or at least three letters of one; or, however short, what mostly begins an anchor
    where it stands in the texts. A tokenizer cuts " Gryphon" into " G" and "ryphon": in a text about a Gryphon few
    other words begin so, and once a label has let the " G" out, the model knows how to go on.

    Args:
        texts: The blocks.
        dictionary: Their anchors.
        tokenizer: Any fast tokenizer.
        settings: Whether anchors are used and forbidden.
    """
    if not settings.forbid_anchors or not settings.use_anchors:
        return []
    opening = set()
    for term in {anchor.term for anchor in dictionary.enabled()}:
        word = term.split()[0]
        for token in first_tokens([term], tokenizer):
            letters = tokenizer.decode([token]).strip()
            if letters == word or (len(letters) >= 3 and word.startswith(letters)):
                opening.add(token)
    everywhere: Counter[int] = Counter()
    begins: Counter[int] = Counter()
    for text in texts:
        encoded = Encoded(*encode(tokenizer, text))
        everywhere.update(encoded.ids)
        starts = {found.start for found in find_occurrences(text, dictionary)}
        for token, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            first = next((place for place in range(start, end) if not text[place].isspace()), None)
            if first in starts:
                begins[token] += 1
    return sorted(opening | {token for token, times in begins.items() if times > MOSTLY * everywhere[token]})


def _own_tokens(source: Encoded, translated: Translated) -> dict[int, int]:
    """For positions inside an anchor the token that completes it, where its translation has another word."""
    own = {}
    for piece in translated.replaced:
        words = translated.source[piece.start : piece.end].split()
        shared = set(words) & set(translated.text[piece.new_start : piece.new_end].split())
        for position, (start, end) in enumerate(source.offsets[1:]):
            if piece.start < start < piece.end and translated.source[start:end].strip() not in shared:
                own[position] = source.ids[position + 1]
    return own


def label_blocks(
    texts: Sequence[str],
    dictionary: Dictionary,
    tokenizer: Any,
    baseline: Role,
    reinforced: Role,
    settings: LabelSettings,
    opening: Sequence[int],
    seed: int = 0,
    batch_blocks: int = 4,
    only_changed: bool = False,
    report_block: Callable[[int], None] = lambda done: None,
    first: int = 0,
    every: int = 1,
) -> Iterator[Example]:
    """Generic labels of every block.

    Args:
        texts: The blocks.
        dictionary: Their anchors.
        tokenizer: A fast tokenizer.
        baseline: `with baseline() as model:` gives the baseline, free of any other role's adapter.
        reinforced: Likewise the reinforced model.
        settings: How labels are made.
        opening: Of `opening_tokens`, of all the blocks.
        seed: Seed of the draws of translations.
        batch_blocks: Blocks in one forward pass.
        only_changed: Keep a position only if its label is not what the baseline says on the original text, or if the
            baseline may well begin an anchor there; costs another forward pass of the baseline.
        report_block: Called with the number of blocks done.
        first: Begin with this block, a multiple of `batch_blocks`: the same labels as if all were made at once.
        every: Of the forward passes from there on, do only every so many-th: the share of one of several processes.
    """
    for start in range(first, len(texts), batch_blocks * every):
        group = [
            prepare(text, dictionary, tokenizer, settings, f"{seed}/{index}", opening)
            for index, text in enumerate(texts[start : start + batch_blocks], start)
        ]
        yield from _label_group(group, baseline, reinforced, settings, only_changed, opening)
        report_block(start + len(group))


def own_predictions(
    texts: Sequence[str],
    tokenizer: Any,
    role: Role,
    top_k: int,
    batch_blocks: int = 4,
    report_block: Callable[[int], None] = lambda done: None,
    first: int = 0,
    every: int = 1,
    sure: int = 1,
) -> Iterator[Example]:
    """The k likeliest next tokens of a model at every position of its own input: what the retain term keeps.

    Args as for `label_blocks`, and `sure`: how many times a position is listed where the model is sure (`SURE`).
    Most positions of prose are open, so that their mean hardly notices when the few that hold a fact are lost.
    """
    settings = LabelSettings(use_anchors=False, use_reinforced=False, top_k=top_k, logits="raw")
    rest = (batch_blocks, False, report_block, first, every)
    for example in label_blocks(texts, NO_ANCHORS, tokenizer, role, role, settings, (), 0, *rest):
        times = np.where(example.target_probs.max(axis=1, initial=0) >= SURE, sure, 1)
        rows = np.repeat(np.arange(len(times)), times)
        yield Example(example.ids, example.positions[rows], example.target_ids[rows], example.target_probs[rows])


@dataclass
class Rows:
    """Positions of a group of blocks whose labels are computed together: one row each."""

    block: np.ndarray  # [n]
    position: np.ndarray  # [n]


def _label_group(
    group: list[Prepared],
    baseline: Role,
    reinforced: Role,
    settings: LabelSettings,
    only_changed: bool,
    opening: Sequence[int],
) -> Iterator[Example]:
    import torch

    rows = _labelled_rows(group)
    sources = [prepared.source.ids for prepared in group]
    exact = settings.use_reinforced and settings.margin < ROUNDED
    with torch.inference_mode():
        with baseline() as model:
            _, head = split(model, float_head=exact)
            draws = [_read_draw(model, group, rows, draw) for draw in range(settings.draws)]
            usual = None
            if only_changed:
                usual = _usual(model, _hidden_at(model, sources, rows.block, rows.position), opening)
        hidden_reinforced, reinforced_head = None, head
        if settings.use_reinforced:
            with reinforced() as model:
                hidden_reinforced = _hidden_at(model, sources, rows.block, rows.position)
                _, reinforced_head = split(model, float_head=exact)
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for part in chunks(len(rows.block), _vocabulary(model), floats_at_once(model.device)):
            r = None if hidden_reinforced is None else reinforced_head(hidden_reinforced[part])
            logits = [draw.logits(head, part) for draw in draws]
            probs = generic_probabilities(logits, [draw.present[part] for draw in draws], r, settings)
            ids, weights = _top(probs, settings)
            keep = np.ones(len(ids), bool) if usual is None else ids[:, 0] != usual[part]
            found.append((ids, weights, keep))
    yield from _regroup(group, rows, found)


@dataclass
class _ReadDraw:
    """What the baseline made of one draw of translations, at the rows of a group.

    Attributes:
        hidden: Its hidden states, [n, width].
        present: Rows that this draw gives a label, [n].
        suppressed: (row, token) pairs that may not be labels, rows ascending, [2, pairs].
    """

    hidden: torch.Tensor
    present: torch.Tensor
    suppressed: np.ndarray

    def logits(self, head: Callable[[torch.Tensor], torch.Tensor], part: slice) -> torch.Tensor:
        """Its logits in float32 at some rows, a suppressed token's lowered to the mean; [rows of the part, vocab].

        With a small margin or none the projection is exact (`ROUNDED`), because bfloat16 logits near 20 lie 0.125
        apart, and α times the ReLU of that noise is a bias against every token.
        """
        first, last = np.searchsorted(self.suppressed[0], [part.start, part.stop])
        row, token = self.suppressed[:, first:last]
        return suppress(head(self.hidden[part]).float(), row - part.start, token)


def _read_draw(model: Any, group: list[Prepared], rows: Rows, draw: int) -> _ReadDraw:
    import torch

    places = mapped_positions(group, rows, draw)
    hidden = _hidden_at(model, [prepared.draws[draw].target.ids for prepared in group], rows.block, places)
    return _ReadDraw(hidden, torch.from_numpy(places >= 0).to(hidden.device), suppressed_tokens(group, rows, draw))


def _vocabulary(model: Any) -> int:
    return int(model.config.get_text_config().vocab_size)


def _labelled_rows(group: list[Prepared]) -> Rows:
    places = [(b, i) for b, prepared in enumerate(group) for i, why in enumerate(prepared.mask) if why == Mask.LABELLED]
    table = np.asarray(places, dtype=np.int64).reshape(-1, 2)
    return Rows(table[:, 0], table[:, 1])


def mapped_positions(group: list[Prepared], rows: Rows, draw: int) -> np.ndarray:
    """Position in this draw's translation for each row; −1 where this draw gives the row no label."""
    maps = [np.asarray(prepared.draws[draw].map.target, dtype=np.int64) for prepared in group]
    return np.asarray([maps[b][i] for b, i in zip(rows.block, rows.position, strict=True)], dtype=np.int64)


def _hidden_at(model: Any, sequences: Sequence[Sequence[int]], block: np.ndarray, position: np.ndarray) -> torch.Tensor:
    """Hidden states [n, width] at some positions of a padded batch of sequences."""
    import torch

    time = max(len(ids) for ids in sequences)
    ids = torch.zeros(len(sequences), time, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.as_tensor(sequence)
    backbone, _ = split(model)
    with attention_for_blocks(model, str(model.dtype).removeprefix("torch."), time):
        hidden = backbone(ids.to(model.device))  # [blocks, time, width]; padding on the right is never attended to
    return hidden[torch.from_numpy(block), torch.from_numpy(np.maximum(position, 0))]


def _usual(model: Any, hidden: torch.Tensor, opening: Sequence[int]) -> np.ndarray:
    """Token [n] that a model says anyway at each hidden state [n, width]; −1 where it may well begin an anchor.

    There an anchor's first token comes second or third, with a share that adds up over a text, and the likeliest
    token alone would not show that the label is another one.
    """
    import torch

    _, head = split(model)
    tokens = torch.as_tensor(opening, dtype=torch.long, device=hidden.device)
    found = [hidden.new_zeros(0, dtype=torch.long)]
    for part in chunks(len(hidden), _vocabulary(model), floats_at_once(model.device)):
        logits = head(hidden[part])
        likeliest = logits.argmax(dim=-1)
        if opening:
            hint = logits.softmax(dim=-1, dtype=torch.float32)[:, tokens].sum(dim=-1)
            likeliest = likeliest.masked_fill(hint > HINT, -1)
        found.append(likeliest)
    return torch.cat(found).cpu().numpy()


def generic_probabilities(
    logits: Sequence[torch.Tensor],
    present: Sequence[torch.Tensor],
    reinforced: torch.Tensor | None,
    settings: LabelSettings,
) -> torch.Tensor:
    """The generic distribution of each row: the mean over the draws of softmax(v / temperature).

    Args:
        logits: The baseline's on each draw, suppressed tokens lowered already; each [n, vocab].
        present: Rows that each draw gives a label; each [n].
        reinforced: The reinforced model's on the original, [n, vocab]; None leaves eq. 1 out.
        settings: α, margin, temperature, raw or centred.

    Returns:
        [n, vocab].
    """
    total, count = [], []
    for b, here in zip(logits, present, strict=True):
        centred = settings.logits == "centred"
        v = b if reinforced is None else generic_logits(b, reinforced, settings.alpha, centred, settings.margin)
        probs = (v if settings.temperature == 1 else v / settings.temperature).softmax(dim=-1)
        if len(logits) == 1:
            return probs  # a row without a label in the only draw is no row
        total.append(probs * here[:, None])
        count.append(here[:, None])
    return sum(total[1:], start=total[0]) / sum(count[1:], start=count[0].long())


def suppress(logits: torch.Tensor, row: np.ndarray, token: np.ndarray) -> torch.Tensor:
    """Lower these (row, token) pairs to their row's mean, in place: no likely label, but no impossible one."""
    import torch

    if len(row):
        rows, tokens = torch.from_numpy(row).to(logits.device), torch.from_numpy(token).to(logits.device)
        logits[rows, tokens] = logits.mean(dim=-1)[rows]
    return logits


def suppressed_tokens(group: list[Prepared], rows: Rows, draw: int) -> np.ndarray:
    """Which tokens of which rows may not be labels: used translations, and anchors where these are forbidden.

    Returns:
        (row, token) pairs, rows ascending, [2, pairs].
    """
    pairs = [np.zeros((2, 0), np.int64)]
    for index, prepared in enumerate(group):
        mine = np.flatnonzero(rows.block == index)
        for start, tokens in prepared.draws[draw].suppress:
            after = mine[rows.position[mine] >= start]
            pairs.append(np.stack([after.repeat(len(tokens)), np.tile(np.asarray(tokens, np.int64), len(after))]))
        own = [
            (row, prepared.forbidden[place]) for row in mine if (place := int(rows.position[row])) in prepared.forbidden
        ]
        pairs.append(np.asarray(own, np.int64).reshape(-1, 2).T)
    table = np.concatenate(pairs, axis=1)
    return np.ascontiguousarray(table[:, table[0].argsort(kind="stable")])


def _top(probs: torch.Tensor, settings: LabelSettings) -> tuple[np.ndarray, np.ndarray]:
    """The label of each row: its likeliest token, for certain, or its k likeliest with their probabilities."""
    if settings.target == "argmax":
        label = probs.argmax(dim=-1, keepdim=True)
        return label.cpu().numpy(), np.ones(label.shape, np.float32)
    top = probs.topk(min(settings.top_k, probs.shape[-1]), dim=-1)
    return top.indices.cpu().numpy(), top.values.cpu().numpy()


def _regroup(group: list[Prepared], rows: Rows, found: list[Any]) -> Iterator[Example]:
    """One example a block, out of rows that ran over all blocks of the group."""
    ids = np.concatenate([part[0] for part in found]) if found else np.zeros((0, 1), np.int64)
    probs = np.concatenate([part[1] for part in found]) if found else np.zeros((0, 1), np.float32)
    keep = np.concatenate([part[2] for part in found]) if found else np.zeros(0, bool)
    for index, prepared in enumerate(group):
        mine = (rows.block == index) & keep
        yield Example(
            np.asarray(prepared.source.ids, np.int32), rows.position[mine].astype(np.int32), ids[mine], probs[mine]
        )
