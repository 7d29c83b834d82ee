"""What every role would say next at one place of a text: before, reinforced, the generic target (eq. 1), after.

This is where the method can be seen at work: the generic target is made here in the same steps as a label is in
`methods.generic_labels`, one place at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from unlearning.text.translation import Mask

if TYPE_CHECKING:
    import torch

    from unlearning.methods.generic_labels import Prepared
    from unlearning.text.anchors import Dictionary
    from unlearning.training.stages import Work

SHOWN_EACH = 6  # likeliest tokens of each role that the page's table has a row for
MASKS = {
    Mask.LABELLED: "This place has a label: the model is trained to say it here.",
    Mask.INSIDE_ANCHOR: "No label here: the next token lies inside an anchor, where the translation has nothing that "
    "corresponds word for word.",
    Mask.REPEATED: "No label here: the anchor that comes next was mentioned before. Otherwise the model would be "
    "taught the dictionary itself, again and again.",
    Mask.NO_BOUNDARY: "No label here: no token of the translation ends where this one does.",
}


@dataclass(frozen=True)
class Place:
    """Logits [vocab] of everything that one place of a text needs; float32 on the processor.

    Attributes:
        prepared: The text, its translations, their positions.
        position: The place: what comes after this token.
        baseline: Of the baseline on the text as it is.
        translated: Of the baseline on each draw's translation.
        reinforced: Of the reinforced model on the text; None where there is none.
        unlearned: Of the unlearned model; None where there is none.
    """

    prepared: Prepared
    position: int
    baseline: torch.Tensor
    translated: list[torch.Tensor]
    reinforced: torch.Tensor | None
    unlearned: torch.Tensor | None

    @property
    def mask(self) -> Mask:
        """Why this place has a label or not."""
        return self.prepared.mask[self.position]

    @property
    def mapped(self) -> bool:
        """Whether some translation has a counterpart of this place."""
        return any(draw.map.target[self.position] >= 0 for draw in self.prepared.draws)


def prepare_text(work: Work, text: str, index: int = 0) -> Prepared:
    """Translate a text as the run's block of this index was (the same draws)."""
    from unlearning.methods.generic_labels import prepare

    seed = f"{work.settings.seed}/{index}"
    return prepare(text, work.dictionary, work.family.tokenizer, work.settings.label, seed, work.opening_tokens)


def look_at(work: Work, prepared: Prepared, position: int) -> Place:
    """Ask every role for the next token after `position` of the prepared text.

    Args:
        work: A run with its models.
        prepared: Of `prepare_text`.
        position: Index of the token after which to look.
    """
    rows = [(prepared.source.ids, position)]
    rows += [(draw.target.ids, max(0, draw.map.target[position])) for draw in prepared.draws]
    baseline, *translated = _logits(work, "baseline", rows)
    reinforced, unlearned = (
        _logits(work, role, rows[:1])[0] if work.family.has(role) else None for role in ("reinforced", "unlearned")
    )
    return Place(prepared, position, baseline, translated, reinforced, unlearned)


def _logits(work: Work, role: str, rows: Sequence[tuple[Sequence[int], int]]) -> list[torch.Tensor]:
    from unlearning.evaluation.scoring import hidden_states
    from unlearning.models.heads import reading, split

    with work.family.role(role) as model, reading(model):
        _, head = split(model, float_head=True)
        found = hidden_states(model, [list(ids) for ids, _ in rows], [[position] for _, position in rows], batch=4)
        by_row = {i: head(hidden)[0].float().cpu() for i, hidden in found}
    return [by_row[i] for i in range(len(rows))]


def generic(place: Place, settings: Any, alpha: float) -> torch.Tensor | None:
    """The generic distribution [vocab], as a label of this place is made; None where no translation has this place.

    Args:
        place: The logits.
        settings: `LabelSettings` of the run.
        alpha: α of eq. 1, in place of the run's.
    """
    import numpy as np
    import torch

    from unlearning.methods.generic_labels import (
        Rows,
        generic_probabilities,
        mapped_positions,
        suppress,
        suppressed_tokens,
    )

    if not place.mapped:
        return None
    group, rows = [place.prepared], Rows(np.asarray([0]), np.asarray([place.position]))
    reinforced = place.reinforced[None] if place.reinforced is not None and settings.use_reinforced else None
    baselines = [
        suppress(logits[None].clone(), *suppressed_tokens(group, rows, draw))
        for draw, logits in enumerate(place.translated)
    ]
    present = [torch.from_numpy(mapped_positions(group, rows, draw) >= 0) for draw in range(len(baselines))]
    changed = settings.model_copy(update={"alpha": alpha})
    return generic_probabilities(baselines, present, reinforced, changed)[0]


def distributions(place: Place, settings: Any, alpha: float) -> dict[str, torch.Tensor]:
    """Next-token probabilities [vocab] of every role that there is, in the order in which they are shown."""
    found = {
        "baseline": place.baseline.softmax(-1),
        "reinforced": None if place.reinforced is None else place.reinforced.softmax(-1),
        "generic": generic(place, settings, alpha),
        "unlearned": None if place.unlearned is None else place.unlearned.softmax(-1),
    }
    return {role: probs for role, probs in found.items() if probs is not None}


def table(
    probabilities: Mapping[str, torch.Tensor],
    tokenizer: Any,
    context: Sequence[int],
    each: int = SHOWN_EACH,
    always: Sequence[int] = (),
) -> dict[str, Any]:
    """The likeliest tokens of every role with their probabilities in all of them.

    Args:
        probabilities: [vocab] by role.
        tokenizer: Theirs.
        context: Token ids before, so that tokens read with their spaces.
        each: Tokens taken from each role.
        always: Token ids that have a row whatever their probabilities.

    Returns:
        roles; rows of {token, id, p: {role: probability}}, the likeliest of any role first.
    """
    from unlearning.models.encoding import token_text

    chosen = dict.fromkeys(always)
    for probs in probabilities.values():
        chosen.update(dict.fromkeys(probs.topk(min(each, len(probs))).indices.tolist()))
    rows: list[dict[str, Any]] = [
        {
            "token": token_text(tokenizer, token, context),
            "id": token,
            "p": {role: float(f"{float(probs[token]):.4g}") for role, probs in probabilities.items()},
        }
        for token in chosen
    ]
    rows.sort(key=lambda row: -max(row["p"].values()))
    return {"roles": list(probabilities), "rows": rows}


def next_table(work: Work, text: str, each: int = SHOWN_EACH, following: str = "") -> dict[str, Any]:
    """What every role would say after `text`, as `table`; and `translated`, `text`, `completed`, `actual` beside it.

    Args:
        work: A run with its models.
        text: Any text; the last tokens of it that the models can read.
        each: Tokens taken from each role.
        following: What stands there in truth: its first token has a row of its own, and is named in `actual`.

    Raises:
        PromptError: no token in the text.
    """
    from unlearning.models.encoding import encode_continuation, encode_prompt

    tokenizer = work.family.tokenizer
    text = _last_words(tokenizer, text)
    ids = encode_prompt(tokenizer, text)
    actual = encode_continuation(tokenizer, following)[:1] if following else []
    completed = rest_of_anchor(text, work.dictionary)
    prepared = prepare_text(work, text + completed) if text else None
    if completed and prepared is not None and list(prepared.source.ids[: len(ids)]) != list(ids):
        completed, prepared = "", prepare_text(work, text)  # its last token goes on into the anchor's next word
    if prepared is None or (not completed and len(prepared.source.ids) != len(ids)):
        raise_no_token(text)
    place = look_at(work, prepared, len(ids) - 1)
    probabilities = distributions(place, work.settings.label, work.settings.label.alpha)
    found = table(probabilities, tokenizer, ids, each, actual)
    named = {row["id"]: row["token"] for row in found["rows"]}
    translated = prepared.draws[0].translated.text if prepared.draws else text
    return found | {
        "actual": named[actual[0]] if actual else None,
        "translated": translated,
        "text": text,
        "completed": completed,
    }


def rest_of_anchor(text: str, dictionary: Dictionary) -> str:
    """What completes the anchor that a text ends inside of (" Hatter" after "with the Mad"); "" if it ends in none.

    In the run's own text the rest stood there, and the place has its label through the anchor's translation; without
    it, the translation would leave the beginning of the anchor as it is, and the generic target would complete it.
    """
    words, rest, longest = text.split(" "), "", 0
    for anchor in dictionary.enabled():
        term = anchor.term.split(" ")
        for known in range(len(term) - 1, longest, -1):
            if words[-known:] == term[:known]:
                rest, longest = " " + " ".join(term[known:]), known
                break
    return rest


def probability(model: Any, tokenizer: Any, text: str, token: int) -> float:
    """How likely the model finds this token after the text."""
    from unlearning.evaluation.scoring import hidden_states
    from unlearning.models.encoding import encode_prompt
    from unlearning.models.heads import reading, split

    ids = encode_prompt(tokenizer, text)
    with reading(model):
        _, head = split(model, float_head=True)
        hidden = dict(hidden_states(model, [list(ids)], [[len(ids) - 1]], batch=1))[0]
        return float(f"{float(head(hidden)[0].float().softmax(-1)[token]):.4g}")


def raise_no_token(text: str) -> NoReturn:
    """
    Raises:
        PromptError: always.
    """
    from unlearning.errors import PromptError

    raise PromptError(f"The prompt {text[:40]!r} has no token.", "Give at least one word.")


def _last_words(tokenizer: Any, text: str, most: int = 480) -> str:
    """The end of a text, from a token's beginning on, that a model reads comfortably."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return text if len(offsets) <= most else text[offsets[-most][0] :]
