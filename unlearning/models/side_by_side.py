"""Several roles of one family going on with texts together: one batch, one copy of the weights, one cache.

On a processor a token's time goes into reading the weights, so a second column is almost free: row i of the batch
plays the role of its column (`AdapterFamily.rows`). Families that cannot do that (full fine-tuning: as many models
as roles) are asked one role after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearning.models.encoding import encode_prompt
from unlearning.models.generation import check_wishes, continuation, dice_of, end_tokens, go_on
from unlearning.models.heads import check_length, reading

if TYPE_CHECKING:
    from unlearning.models.adapters import Family

Tell = Callable[[int, list[int], bool], None]  # (row, its new tokens, whether it is still going on)
NOBODY: Tell = lambda row, new, running: None  # noqa: E731


@dataclass(frozen=True)
class Row:
    """Attributes: role that writes; prompt to go on from; asked, whose rows all throw the same dice if it is given."""

    role: str
    prompt: str
    asked: str = ""


def generate_columns(
    family: Family, roles: Sequence[str], prompts: Sequence[str], max_new_tokens: int = 40, temperature: float = 0.0,
    seed: int = 0, batch: int = 16,
) -> dict[str, list[str]]:  # fmt: skip
    """How every role goes on with every prompt: what `generation.generate` gives for each of them."""
    rows = [Row(role, prompt) for prompt in prompts for role in roles]
    texts = generate_rows(family, rows, max_new_tokens, temperature, seed, batch)
    return {role: texts[place :: len(roles)] for place, role in enumerate(roles)}


def generate_rows(
    family: Family, rows: Sequence[Row], max_new_tokens: int = 40, temperature: float = 0.0, seed: int = 0,
    batch: int = 16, tell: Tell = NOBODY,
) -> list[str]:  # fmt: skip
    """How each row goes on with its prompt in its role, without the prompt.

    Args:
        family: With all of these roles.
        rows: Roles and prompts.
        max_new_tokens: Longest continuation.
        temperature: 0 takes the likeliest token.
        seed: Same seed, same draws; in every role those that `generate` makes.
        batch: Rows in one forward pass.
        tell: Hears of every row after every token.

    Raises:
        SettingsError, PromptError: as `generation.generate`. RunError: a role that there is not.
    """
    check_wishes(max_new_tokens, temperature)
    encoded = [encode_prompt(family.tokenizer, row.prompt) for row in rows]
    dice = _dice(rows, seed)
    new: list[list[int]] = [[] for _ in rows]
    longest = max(map(len, encoded), default=0) + max_new_tokens
    for group in _groups(family, rows, encoded, batch):
        with roles_as_rows(family, [rows[i].role for i in group]) as model, reading(model):
            check_length(model, longest)
            ends = end_tokens(model, family.tokenizer)

            def say(found: list[list[int]], running: set[int], group: Sequence[int] = group) -> None:
                for place, i in enumerate(group):
                    tell(i, found[place], place in running)

            found = go_on(
                model, [encoded[i] for i in group], [dice[i] for i in group], max_new_tokens, temperature, ends, say
            )
        for i, tokens in zip(group, found, strict=True):
            new[i] = tokens
    return [continuation(family.tokenizer, ids, tokens) for ids, tokens in zip(encoded, new, strict=True)]


def _dice(rows: Sequence[Row], seed: int) -> list[Any]:
    """A source of chance for each row: the roles throw the same."""
    found: list[Any] = [dice_of([row.asked], seed)[0] for row in rows]
    for role in {row.role for row in rows}:
        mine = [i for i, row in enumerate(rows) if row.role == role and not row.asked]
        for i, die in zip(mine, dice_of([rows[i].prompt for i in mine], seed), strict=True):
            found[i] = die
    return found


def _groups(family: Family, rows: Sequence[Row], encoded: Sequence[list[int]], batch: int) -> Iterator[list[int]]:
    """Rows to be read together, the longest first; of one role each where a family cannot do otherwise."""
    roles = list(dict.fromkeys(row.role for row in rows))
    for together in [roles] if can_play(family, roles) else [[role] for role in roles]:
        order = sorted((i for i, row in enumerate(rows) if row.role in together), key=lambda i: -len(encoded[i]))
        yield from (order[first : first + batch] for first in range(0, len(order), batch))


def can_play(family: Family, roles: Sequence[str]) -> bool:
    """Whether the rows of one batch can play these roles."""
    return len(set(roles)) > 1 and hasattr(family, "mixes") and bool(family.mixes(roles))


@contextmanager
def roles_as_rows(family: Any, roles: Sequence[str]) -> Iterator[Any]:
    """The model with row i of a batch in `roles[i]`; a single role is the family's usual one."""
    with family.rows(roles) if len(set(roles)) > 1 else family.role(roles[0]) as model:
        yield model
