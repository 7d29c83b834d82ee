"""Labels made by several processes: each takes every so many-th forward pass, the main one puts them in order.

The passes hold the blocks that they would hold in one process, so what comes of it is the same to the last bit.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from unlearning.methods.examples import Example, StoredExamples, examples_kept, save_examples
from unlearning.models.team import Team


def store_examples(
    make: Callable[..., Iterator[Example]],
    folder: Path,
    count: int,
    batch: int,
    what: str,
    team: Team,
    report_kept: Callable[[int], None],
    every_s: float,
) -> None:
    """Save this process's share of the examples, from where an earlier attempt at the same share ended.

    Args:
        make: `make(first=block, every=passes)` gives them.
        folder: Where all of them belong (see `put_together`).
        count: How many blocks there are.
        batch: Blocks in one pass.
        what: Names them, see `save_examples`.
        team: The processes that share them.
        report_kept: Told the first block that is not done yet.
        every_s: Seconds between two notes of how far it is.
    """
    if team.from_main(examples_kept(folder, what)) == count and team.size > 1:
        return
    part = _part(folder, team.rank, team.size)
    starts = range(team.rank * batch, count, team.size * batch)  # of this process's passes
    whole = sum(min(batch, count - start) for start in starts)
    kept = examples_kept(part, what)
    if kept < whole:
        kept -= kept % batch
    first = (team.rank + team.size * (kept // batch)) * batch if kept < whole else count
    report_kept(first)
    save_examples(make(first=first, every=team.size), part, kept=kept, what=what, every_s=every_s)


def put_together(folder: Path, count: int, batch: int, what: str, team: Team) -> None:
    """Let the main process write all shares to `folder`, in order, and remove them."""
    if team.size == 1:
        return
    if team.main and examples_kept(folder, what) < count:
        parts = [StoredExamples(_part(folder, rank, team.size)) for rank in range(team.size)]
        save_examples(_in_order(parts, count, batch), folder, what=what)
    if team.main:
        for left in folder.parent.glob(f"{folder.name}-*-of-*"):  # those of another number of processes too
            shutil.rmtree(left, ignore_errors=True)
    team.wait()


def _in_order(parts: Sequence[StoredExamples], count: int, batch: int) -> Iterator[Example]:
    readers = [iter(part) for part in parts]
    for place in range(count):
        yield next(readers[place // batch % len(parts)])


def _part(folder: Path, rank: int, size: int) -> Path:
    return folder if size == 1 else folder.with_name(f"{folder.name}-{rank + 1}-of-{size}")
