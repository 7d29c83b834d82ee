"""Training examples: a block of tokens, and for some of its positions a target for the token that follows.

Every stage trains on this one form. Teaching and reinforcement have the text's own next token as target
(one token, probability 1); fine-tuning has generic labels, hard (one token) or soft (the k likeliest and their
probabilities); the retain term has the baseline's own predictions. Targets are already aligned: the target
at position i is for the token *after* x_i, and nothing downstream shifts it again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        positions: Positions that have a target, [n].
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
    tokens: int  # without padding

    @property
    def targets(self) -> int:
        return len(self.rows)


def collate(examples: Sequence[Example], device: Any = "cpu") -> Batch:
    """Pad on the right (causal attention never looks there) and stack. Absent candidates get probability 0."""
    import torch

    time = max(len(example.ids) for example in examples)
    width = max(example.target_ids.shape[1] for example in examples)
    ids = np.zeros((len(examples), time), np.int64)
    rows, target_ids, target_probs = [], [], []
    for index, example in enumerate(examples):
        ids[index, : len(example.ids)] = example.ids
        rows.append(index * time + example.positions.astype(np.int64))
        padding = ((0, 0), (0, width - example.target_ids.shape[1]))
        target_ids.append(np.pad(example.target_ids.astype(np.int64), padding))
        target_probs.append(np.pad(example.target_probs.astype(np.float32), padding))
    arrays = (ids, np.concatenate(rows), np.concatenate(target_ids), np.concatenate(target_probs))
    tensors = (torch.from_numpy(array).to(device, non_blocking=True) for array in arrays)
    return Batch(*tensors, tokens=sum(len(example.ids) for example in examples))


def save_examples(examples: Iterable[Example], folder: Path) -> None:
    """Write examples one after another, so that memory holds one block however long the text is.

    The files are flat arrays, to be opened memory-mapped: `ids`, `positions`, `target_ids`, `target_probs`
    and `index.json` (lengths), which is written last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lengths: list[tuple[int, int]] = []
    k = 1
    files = {name: (folder / f"{name}.bin").open("wb") for name in _FORMATS}
    try:
        for example in examples:
            k = example.target_ids.shape[1]
            lengths.append((len(example.ids), len(example.positions)))
            for name, file in files.items():
                file.write(np.ascontiguousarray(getattr(example, name), _FORMATS[name]).tobytes())
    finally:
        for file in files.values():
            file.close()
    draft = folder / "index.json.draft"
    draft.write_text(json.dumps({"k": k, "lengths": lengths}))
    os.replace(draft, folder / "index.json")


class StoredExamples(Sequence[Example]):
    """Examples on disk, memory-mapped: opening a million tokens costs nothing until they are read.

    Raises:
        RunDamagedError: if a file is missing or shorter than the index says.
    """

    def __init__(self, folder: Path) -> None:
        try:
            index = json.loads((folder / "index.json").read_text())
            self._data = {name: _open(folder / f"{name}.bin", kind) for name, kind in _FORMATS.items()}
        except (OSError, ValueError) as error:
            message = f"The examples in {folder} cannot be read: {error}."
            raise RunDamagedError(message, "Run that stage again.") from None
        lengths = np.asarray(index["lengths"], dtype=np.int64).reshape(-1, 2)
        self._k = int(index["k"])
        self._ends = np.vstack([np.zeros((1, 2), np.int64), lengths.cumsum(axis=0)])
        if len(self._data["ids"]) < self._ends[-1, 0] or len(self._data["target_ids"]) < self._ends[-1, 1] * self._k:
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
        candidates = slice(row * self._k, row_end * self._k)
        return Example(
            self._data["ids"][token:token_end],
            self._data["positions"][row:row_end],
            self._data["target_ids"][candidates].reshape(-1, self._k),
            self._data["target_probs"][candidates].reshape(-1, self._k),
        )


def _open(path: Path, kind: Any) -> np.ndarray:
    return np.memmap(path, kind, mode="r") if path.stat().st_size else np.zeros(0, kind)
