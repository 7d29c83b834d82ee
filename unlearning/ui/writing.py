"""Several models going on with a text together, a few tokens each in turn, so that they can be read side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unlearning.errors import SettingsError
from unlearning.ui.inference import Opened

if TYPE_CHECKING:
    import random

    from unlearning.models.adapters import Family

IN_TURN = 3  # tokens between two looks; where models write in turn, changing them costs as much as a token
LONGEST = 200
UNFINISHED = "\ufffd"  # how a character looks of which only some bytes are written


@dataclass
class Column:
    """One model and what it writes.

    Attributes:
        opened: `with opened() as model:`
        prompt: What it goes on from.
        asked: What the person typed, where `prompt` says more; names the dice.
        role: Of the model in its family; lets columns of one family be written in one batch.
        text: What it has written.
        ended: Whether it came to an end by itself.
    """

    opened: Opened
    prompt: str
    asked: str = ""
    role: str = ""
    text: str = ""
    ended: bool = False
    ids: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    cache: Any = None
    die: random.Random | None = None


def write_together(
    columns: Sequence[Column],
    tokenizer: Any,
    most: int,
    temperature: float,
    seed: int,
    show: Callable[[float], None] = lambda share: None,
    family: Family | None = None,
) -> None:
    """Let every column go on; their texts grow while it lasts.

    Columns of one family of adapters are rows of one batch; other models write a few tokens each in turn.

    With the same seed every column throws the same dice, and each text is the one that `models.generation.generate`
    gives for it.

    Args:
        columns: Models with the same tokenizer.
        tokenizer: Theirs.
        most: New tokens of each.
        temperature: 0 takes the likeliest token.
        seed: Of the dice.
        show: Called after every turn with the share that is done; what it raises ends the writing.
        family: Of all columns, if they are of one.

    Raises:
        SettingsError: values out of their limits. PromptError: no token, or too many.
    """
    from unlearning.models.encoding import encode_prompt
    from unlearning.models.generation import dice_of
    from unlearning.models.side_by_side import can_play

    check_wishes(most, temperature)
    if family is not None and can_play(family, [column.role for column in columns]):
        _write_at_once(columns, family, most, temperature, seed, show)
        return
    for column in columns:
        column.ids = encode_prompt(tokenizer, column.prompt)
        column.die = dice_of([column.asked or column.prompt], seed)[0]
    while any(not column.ended and len(column.new) < most for column in columns):
        for column in columns:
            if not column.ended and len(column.new) < most:
                _turn(column, tokenizer, min(IN_TURN, most - len(column.new)), temperature)
        show(sum(most if column.ended else len(column.new) for column in columns) / (most * len(columns)))


def _write_at_once(
    columns: Sequence[Column], family: Family, most: int, temperature: float, seed: int, show: Callable[[float], None]
) -> None:
    from unlearning.models.encoding import encode_prompt
    from unlearning.models.generation import continuation
    from unlearning.models.side_by_side import Row, generate_rows

    rows = [Row(column.role, column.prompt, column.asked) for column in columns]
    for column in columns:
        column.ids = encode_prompt(family.tokenizer, column.prompt)

    def heard(place: int, new: list[int], running: bool) -> None:
        columns[place].new, columns[place].ended = list(new), not running
        written = max(len(column.new) for column in columns)
        if place == len(columns) - 1 and (written % IN_TURN == 0 or written == most):
            for column in columns:
                column.text = continuation(family.tokenizer, column.ids, column.new).removesuffix(UNFINISHED)
            show(written / most)

    texts = generate_rows(family, rows, most, temperature, seed, len(rows), heard)
    for column, text in zip(columns, texts, strict=True):
        column.text = text.removesuffix(UNFINISHED)
    show(1.0)


def check_wishes(most: int, temperature: float) -> None:
    """
    Raises:
        SettingsError: values out of their limits.
    """
    if not 1 <= most <= LONGEST:
        raise SettingsError(f"{most} new tokens were asked for.", f"Ask for 1 to {LONGEST}.")
    if not 0 <= temperature <= 5:
        raise SettingsError(f"The temperature is {temperature}.", "Give 0 (always the likeliest token) to 5.")


def _turn(column: Column, tokenizer: Any, tokens: int, temperature: float) -> None:
    import torch

    from unlearning.models.generation import _choose, continuation, end_tokens
    from unlearning.models.heads import check_length, reading

    assert column.die is not None  # write_together gives every column one
    with column.opened() as model, reading(model):
        check_length(model, len(column.ids) + len(column.new) + tokens)
        ends, device = end_tokens(model, tokenizer), next(model.parameters()).device
        for _ in range(tokens):
            unread = column.new[-1:] if column.cache is not None else column.ids
            output = model(
                input_ids=torch.tensor([unread], device=device), past_key_values=column.cache, use_cache=True,
                logits_to_keep=1,
            )  # fmt: skip
            column.cache = output.past_key_values
            token = _choose(output.logits[0, -1], temperature, column.die)
            if token in ends:
                column.ended = True
                break
            column.new.append(token)
    column.text = continuation(tokenizer, column.ids, column.new).removesuffix(UNFINISHED)
