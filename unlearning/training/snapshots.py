"""The adapter at some steps of the fine-tuning, so that any word's probability can be followed over them afterwards.

    <run>/stages/finetune/snapshots/step-000005/     an adapter, its weights in bfloat16 to halve what they take

Most happens early, so early steps are kept closer together. Whole models (`model.mode` full) are too large to keep.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from unlearning.models.adapters import Family
from unlearning.training.checkpoints import remove_drafts

KEPT = 6
ROLE = "unlearned"
PLACE = Path("stages") / "finetune" / "snapshots"


def steps_kept(steps: int) -> list[int]:
    """The steps at which a snapshot is taken in a training of so many: at squares of even shares, the last one not."""
    wanted = {round(steps * (i / (KEPT + 1)) ** 2) for i in range(1, KEPT + 1)}
    return sorted(step for step in wanted if 0 < step < steps)


def keeper(family: Family, folder: Path) -> Callable[[int, int], None]:
    """What a training calls after each step, as `after_step(done, steps)`.

    Args:
        family: Whose unlearned adapter is in training.
        folder: Of the run.
    """

    def after_step(done: int, steps: int) -> None:
        if done not in steps_kept(steps):
            return
        place = folder / PLACE
        place.mkdir(parents=True, exist_ok=True)
        remove_drafts(place)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=place))
        family.save(ROLE, draft / "adapter")
        _halve(draft / "adapter")
        shutil.rmtree(place / _name(done), ignore_errors=True)
        os.replace(draft / "adapter", place / _name(done))
        draft.rmdir()

    return after_step


def snapshots(folder: Path) -> list[tuple[int, Path]]:
    """(step, adapter folder) of a run's snapshots, in their order."""
    found = sorted((folder / PLACE).glob("step-*"))
    return [(int(path.name.removeprefix("step-")), path) for path in found if path.is_dir()]


def through_snapshots(family: Family, folder: Path) -> Generator[tuple[int, Any], None, None]:
    """The model after each kept step, as (step, model in eval mode); the run's own adapter is back afterwards.

    Args:
        family: Of the run, held by nobody else meanwhile.
        folder: Of the run, which has ended.
    """
    try:
        for step, path in snapshots(folder):
            family.load(ROLE, path)
            with family.role(ROLE) as model:
                yield step, model
    finally:
        family.load(ROLE, folder / "stages" / "finetune" / ROLE)


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _halve(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    weights = load_file(file)
    save_file({name: weight.to(torch.bfloat16) for name, weight in weights.items()}, file)
