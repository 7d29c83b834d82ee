"""The state of a training stage on disk: trainable weights, optimiser, number of steps done.

A checkpoint is a folder `step-000120`, written elsewhere and renamed when it is complete; the newest two are
kept, so that a damaged one costs minutes and not the stage.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

KEPT = 2


def save_checkpoint(folder: Path, model: Any, optimizer: Any, step: int) -> Path:
    """Write the state after `step` steps and remove all but the newest two."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
    save_file({name: weight.detach().contiguous() for name, weight in _trainable(model)}, draft / "weights.safetensors")
    torch.save(optimizer.state_dict(), draft / "optimizer.pt")
    (draft / "state.json").write_text(json.dumps({"step": step}))
    for file in draft.iterdir():
        _to_disk(file)
    final = folder / f"step-{step:06d}"
    shutil.rmtree(final, ignore_errors=True)
    os.replace(draft, final)
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_checkpoint(folder: Path, model: Any, optimizer: Any) -> int:
    """Put the newest checkpoint that can be read into model and optimiser; gives its step, or 0 if there is none."""
    import torch
    from safetensors.torch import load_file

    weights = dict(_trainable(model))
    for checkpoint in _newest_first(folder):
        try:
            step = int(json.loads((checkpoint / "state.json").read_text())["step"])
            stored = load_file(checkpoint / "weights.safetensors")
            state = torch.load(checkpoint / "optimizer.pt", weights_only=True, map_location="cpu")
            if stored.keys() != weights.keys():
                continue
        except Exception:  # noqa: BLE001, S112 - a damaged file fails in many ways; the one before it may be whole
            continue
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(stored[name])
        optimizer.load_state_dict(state)
        return step
    return 0


def newest_step(folder: Path) -> int:
    """Steps done according to the newest checkpoint's name; 0 if there is none."""
    found = _newest_first(folder)
    return int(found[0].name.removeprefix("step-")) if found else 0


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True) if folder.is_dir() else []


def _trainable(model: Any) -> list[tuple[str, Any]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def _to_disk(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())
