"""Training examples: a block of tokens, and for some of its positions a target for the token that follows.

Every stage trains on this one form. Teaching and reinforcement have the text's own next token as target
(one token, probability 1); fine-tuning has generic labels, hard (one token) or soft (the k likeliest and their
probabilities); the retain term has the baseline's own predictions. Targets are already aligned: the target
at position i is for the token *after* x_i, and nothing downstream shifts it again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from unlearning.errors import RunDamagedError

if TYPE_CHECKING:
    import torch

_FORMATS = {"ids": np.int32, "positions": np.int32, "target_ids": np.int32, "target_probs": np.float16}


@dataclass(frozen=True)
class Example:
    """One block.

    Attributes:
        ids: Token ids, [time].
        positions: Positions that have a target, [n]; one that stands there several times counts as often.
        target_ids: Candidate next tokens at each of these, [n, k].
        target_probs: Their probabilities, [n, k]; what is missing to one is spread over all other tokens.
    """

    ids: np.ndarray
    positions: np.ndarray
    target_ids: np.ndarray
    target_probs: np.ndarray


def next_token_example(ids: Sequence[int]) -> Example:
    """The block as its own teacher: position i is to predict x_{i+1}. The last position has no target."""
    array = np.asarray(ids, dtype=np.int32)
    following = array[1:, None]  # [time-1, 1]
    return Example(array, np.arange(len(array) - 1, dtype=np.int32), following, np.ones_like(following, np.float16))


@dataclass
class Batch:
    """Blocks padded to one length. `rows` are indices into the flattened [batch × time] positions."""

    ids: torch.Tensor  # [batch, time]
    rows: torch.Tensor  # [n]
    target_ids: torch.Tensor  # [n, k]
    target_probs: torch.Tensor  # [n, k]
    times: torch.Tensor  # how often each of them counts, [n]
    tokens: int  # without padding


def collate(examples: Sequence[Example], device: Any = "cpu") -> Batch:
    """Pad on the right (causal attention never looks there) and stack. Absent candidates get probability 0.

    A target that is listed several times in a row is taken once, with how often: a prediction costs as much as ever
    each time it is made.
    """
    import torch

    time = max(len(example.ids) for example in examples)
    width = max(example.target_ids.shape[1] for example in examples)
    ids = np.zeros((len(examples), time), np.int64)
    columns: list[tuple[np.ndarray, ...]] = []
    for index, example in enumerate(examples):
        ids[index, : len(example.ids)] = example.ids
        first, times = _runs_of_same(example)
        padding = ((0, 0), (0, width - example.target_ids.shape[1]))
        columns.append((
            index * time + example.positions[first].astype(np.int64),
            np.pad(example.target_ids[first].astype(np.int64), padding),
            np.pad(example.target_probs[first].astype(np.float32), padding),
            times.astype(np.float32),
        ))  # fmt: skip
    arrays = (ids, *(np.concatenate(column) for column in zip(*columns, strict=True)))
    block_ids, flat, candidates, probs, often = (
        torch.from_numpy(array).to(device, non_blocking=True) for array in arrays
    )
    return Batch(block_ids, flat, candidates, probs, often, sum(len(example.ids) for example in examples))


def _runs_of_same(example: Example) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of equal targets begins, and its length."""
    parts = (example.positions[:, None], example.target_ids, example.target_probs)
    same = np.logical_and.reduce([(part[1:] == part[:-1]).all(axis=1) for part in parts])
    first = np.flatnonzero(np.concatenate([[True], ~same])[: len(example.positions)])
    return first, np.diff(first, append=len(example.positions))


def save_examples(
    examples: Iterable[Example], folder: Path, *, kept: int = 0, what: str = "", every_s: float = 60.0
) -> None:
    """Write examples one after another, so that memory holds one block however long the text is.

    The files are flat arrays, to be opened memory-mapped: `ids`, `positions`, `target_ids`, `target_probs`
    and `index.json` (lengths), which is written last. Until then `partial.json` says how far they are complete.

    Args:
        examples: Those that are still to be written.
        folder: Where to.
        kept: Examples of an interrupted attempt that stay (at most as many as `examples_kept` gives).
        what: Names what is written; an attempt at something else is not continued.
        every_s: Seconds between two entries in `partial.json`; there also is one when an error comes through.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = _index(folder, what) if kept else {}
    k, lengths = before.get("k", 1), before.get("lengths", [])[:kept]
    for name in () if kept else ("index.json", "partial.json"):  # of something else, or not to be gone on with
        (folder / name).unlink(missing_ok=True)
    files = {name: _cut_to(folder / f"{name}.bin", size) for name, size in _sizes(lengths, k).items()}
    saved = time.monotonic()
    try:
        for example in examples:
            k = max(k, example.target_ids.shape[1])  # a block without any target has no width of its own
            for name, file in files.items():
                file.write(np.ascontiguousarray(getattr(example, name), _FORMATS[name]).tobytes())
            lengths.append((len(example.ids), len(example.positions)))
            if time.monotonic() - saved >= every_s:
                _note(folder / "partial.json", files, what, k, lengths)
                saved = time.monotonic()
        _note(folder / "index.json", files, what, k, lengths)
    except BaseException:  # a request to stop comes this way too
        with suppress(OSError):
            _note(folder / "partial.json", files, what, k, lengths)
        raise
    finally:
        for file in files.values():
            file.close()
    (folder / "partial.json").unlink(missing_ok=True)


def examples_kept(folder: Path, what: str) -> int:
    """How many examples of `what` an earlier `save_examples` has written, whether it came to its end or not."""
    return len(_index(folder, what).get("lengths", []))


def _index(folder: Path, what: str) -> dict[str, Any]:
    """What is known of the files in `folder`; empty where they are of something else or shorter than that."""
    for name in ("index.json", "partial.json"):
        try:
            index = json.loads((folder / name).read_text())
            sizes = _sizes(index["lengths"], index["k"])
            whole = all((folder / f"{file}.bin").stat().st_size >= size for file, size in sizes.items())
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if whole and index.get("what") == what:
            return dict(index)
    return {}


def _sizes(lengths: Sequence[Sequence[int]], k: int) -> dict[str, int]:
    """Bytes of each file that holds examples of these lengths."""
    tokens, rows = sum(length[0] for length in lengths), sum(length[1] for length in lengths)
    counts = {"ids": tokens, "positions": rows, "target_ids": rows * k, "target_probs": rows * k}
    return {name: count * np.dtype(_FORMATS[name]).itemsize for name, count in counts.items()}


def _cut_to(path: Path, size: int) -> BinaryIO:
    """`path` open for writing behind its first `size` bytes, which stay."""
    file = path.open("r+b" if size else "wb")
    file.truncate(size)
    file.seek(size)
    return file


def _note(path: Path, files: Mapping[str, BinaryIO], what: str, k: int, lengths: Sequence[Any]) -> None:
    """Say in `path` how far the files are complete, once they are on the disk."""
    for file in files.values():
        file.flush()
        os.fsync(file.fileno())
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps({"what": what, "k": k, "lengths": lengths}))
    os.replace(draft, path)


class StoredExamples(Sequence[Example]):
    """Examples on disk, each memory-mapped while it is in use: a million tokens take no more memory than a block.

    Raises:
        RunDamagedError: if a file is missing or shorter than the index says.
    """

    def __init__(self, folder: Path) -> None:
        try:
            index = json.loads((folder / "index.json").read_text())
            held = {name: (folder / f"{name}.bin").stat().st_size for name in _FORMATS}
        except (OSError, ValueError) as error:
            message = f"The examples in {folder} cannot be read: {error}."
            raise RunDamagedError(message, "Run that stage again.") from None
        lengths = np.asarray(index["lengths"], dtype=np.int64).reshape(-1, 2)
        self._k = int(index["k"])
        self._ends = np.vstack([np.zeros((1, 2), np.int64), lengths.cumsum(axis=0)])
        self._folder = folder
        tokens, rows = map(int, self._ends[-1])
        wanted = {"ids": tokens, "positions": rows, "target_ids": rows * self._k, "target_probs": rows * self._k}
        if any(held[name] < wanted[name] * np.dtype(kind).itemsize for name, kind in _FORMATS.items()):
            raise RunDamagedError(f"The examples in {folder} are incomplete.", "Run that stage again.")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        (token, row), (token_end, row_end) = self._ends[index], self._ends[index + 1]
        return Example(
            self._part("ids", token, token_end),
            self._part("positions", row, row_end),
            self._part("target_ids", row * self._k, row_end * self._k).reshape(-1, self._k),
            self._part("target_probs", row * self._k, row_end * self._k).reshape(-1, self._k),
        )

    def _part(self, name: str, start: int, end: int) -> np.ndarray:
        """Some numbers of a file. A map of the whole file would keep every page in memory that was ever looked at."""
        kind = np.dtype(_FORMATS[name])
        if start == end:
            return np.zeros(0, kind)
        try:
            return np.memmap(self._folder / f"{name}.bin", kind, "r", int(start) * kind.itemsize, (int(end - start),))
        except (OSError, ValueError) as error:
            message = f"The examples in {self._folder} cannot be read: {error}."
            raise RunDamagedError(message, "Run that stage again.") from None
