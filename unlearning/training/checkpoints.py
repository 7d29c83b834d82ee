"""The state of a training stage on disk: trainable weights, optimiser, number of steps done.

A checkpoint is a folder `step-000120`, written elsewhere and renamed when it is complete; the newest two are
kept, so that a damaged one costs minutes and not the stage. It holds whole tensors, whatever number of processes
trained them and however they were split, so that any other number can go on.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from unlearning.models.team import ALONE, Team
from unlearning.training.sharing import part_like, whole

KEPT = 2


def save_checkpoint(folder: Path, model: Any, optimizer: Any, step: int, team: Team = ALONE) -> None:
    """Write the state after `step` steps and remove all but the newest two. All processes call it; one writes."""
    weights = _whole_weights(model, team)
    state = _whole_state(optimizer, team)
    if team.main:
        _write(folder, weights, state, step)
    team.wait()


def _whole_weights(model: Any, team: Team) -> dict[str, Any]:
    """The trainable weights; gathered one by one and kept in the main process's own memory where they are split."""
    if not team.shard:
        return {name: weight.detach().contiguous() for name, weight in _trainable(model)}
    gathered = ((name, whole(weight.detach())) for name, weight in _trainable(model))
    return {name: weight.cpu().contiguous() for name, weight in gathered if team.main}


def _whole_state(optimizer: Any, team: Team) -> dict[str, Any]:
    """An optimiser's state, likewise."""
    state: dict[str, Any] = optimizer.state_dict()
    if not team.shard:
        return state
    found: dict[int, dict[str, Any]] = {}
    for index, kept in state["state"].items():
        for name, value in kept.items():
            gathered = whole(value)  # by all processes
            if team.main:
                found.setdefault(index, {})[name] = gathered.cpu()
    return state | {"state": found}


def _write(folder: Path, weights: dict[str, Any], state: dict[str, Any], step: int) -> None:
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    remove_drafts(folder)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
    save_file(weights, draft / "weights.safetensors")
    torch.save(state, draft / "optimizer.pt")
    (draft / "state.json").write_text(json.dumps({"step": step}))
    for file in draft.iterdir():
        _to_disk(file)
    final = folder / _name(step)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(draft, final)
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def remove_drafts(folder: Path) -> None:
    """Remove what a writer left that was killed, or that a full disk stopped. Only one ever writes there."""
    for draft in folder.glob(".draft-*"):
        shutil.rmtree(draft, ignore_errors=True)


def load_checkpoint(folder: Path, model: Any, optimizer: Any = None, team: Team = ALONE) -> int:
    """Put the newest checkpoint that can be read into model and optimiser; gives its step, or 0 if there is none.

    The main process chooses it for all.
    """
    import torch

    weights = dict(_trainable(model))
    found = _newest_whole(folder, weights.keys(), optimizer is not None) if team.main else None
    chosen = team.from_main(found[0] if found else None)
    if chosen is None:
        return 0
    _, stored, state = found or (chosen, *_read(folder / chosen, optimizer is not None))
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(part_like(stored[name], weight))
    if optimizer is not None:
        optimizer.load_state_dict(_parts(state, list(weights.values())))
    return int(chosen.removeprefix("step-"))


def _newest_whole(folder: Path, names: Any, optimizer: bool) -> tuple[str, dict[str, Any], Any] | None:
    """The newest checkpoint of these weights that is not damaged: the name of its folder, weights, optimiser state."""
    for checkpoint in _newest_first(folder):
        try:
            step = int(json.loads((checkpoint / "state.json").read_text())["step"])
            stored, state = _read(checkpoint, optimizer)
        except Exception:  # a damaged file fails in many ways; the one before it may be whole
            continue
        if stored.keys() == names and checkpoint.name == _name(step):
            return checkpoint.name, stored, state
    return None


def _read(checkpoint: Path, optimizer: bool) -> tuple[dict[str, Any], Any]:
    import torch
    from safetensors.torch import load_file

    state = torch.load(checkpoint / "optimizer.pt", weights_only=True, map_location="cpu") if optimizer else None
    return load_file(checkpoint / "weights.safetensors"), state


def _parts(state: dict[str, Any], weights: list[Any]) -> dict[str, Any]:
    """An optimiser's state, split as its weights are."""
    values = {
        index: {name: part_like(value, weights[index]) for name, value in kept.items()}
        for index, kept in state["state"].items()
    }
    return state | {"state": values}


def newest_step(folder: Path) -> int:
    """Steps done according to the newest checkpoint's name; 0 if there is none."""
    found = _newest_first(folder)
    return int(found[0].name.removeprefix("step-")) if found else 0


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True) if folder.is_dir() else []


def _trainable(model: Any) -> list[tuple[str, Any]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def _to_disk(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())
