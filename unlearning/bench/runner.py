"""The benchmark as a whole: one process a stage, prediction against measurement, two revisions in turn, growth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from unlearning.bench.trial import Order
from unlearning.config import Settings
from unlearning.errors import RunError, SettingsError
from unlearning.runs import machine
from unlearning.runs.budget import Speeds
from unlearning.runs.durable import read_json_or_empty

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("load", "teach", "reinforce", "label", "finetune", "generate", "strip")
TRAINING = ("teach", "reinforce", "finetune")
SIZES = tuple(62_500 * 2**k for k in range(5))  # tokens of the growth table: up to a million
LONGEST_S = 3600.0
Tell = Callable[[str], None]


def bench(
    order: Order, stages: Sequence[str], others: Path | None = None, tell: Tell = lambda words: None
) -> dict[str, Any]:
    """Measure stages.

    Args:
        order: What on; its stage is replaced by each of `stages`.
        stages: Of STAGES.
        others: The root of another revision, whose stages are measured in turn with these.
        tell: Hears what is being measured.

    Returns:
        `{"format", "order", "revision", "machine", "versions", "stages": {stage: as trial.answer}, "predicted",
        "against": {stage: …} where there is another revision}`.

    Raises:
        SettingsError: a stage that there is not. RunError: a stage that failed.
    """
    if wrong := [stage for stage in stages if stage not in STAGES]:
        raise SettingsError(f"There is no stage '{wrong[0]}' to measure.", f"Stages: {', '.join(STAGES)}.")
    found: dict[str, Any] = {
        "format": 1, "order": asdict(order), "revision": revision(ROOT), "machine": machine.name(),
        "versions": machine.versions(), "stages": {},
    }  # fmt: skip
    if others:
        found |= {"against": {}, "against_revision": revision(others)}
    for stage in stages:
        tell(f"Measuring {stage} …")
        found["stages"][stage] = run(replace(order, stage=stage))
        if others:
            tell(f"Measuring {stage} of the other revision …")
            found["against"][stage] = run(replace(order, stage=stage), others)
    if any(stage in (*TRAINING, "label") for stage in stages):
        tell("Predicting …")
        found["predicted"] = predicted(order, found["stages"])
    return found


def run(order: Order, root: Path = ROOT) -> dict[str, Any]:
    """One stage, in a process of its own with a worker's memory settings.

    Raises:
        RunError: it failed.
    """
    return _answer("unlearning.bench.trial", asdict(order), f"stage {order.stage}", root)


def _answer(module: str, order: dict[str, Any], what: str, root: Path = ROOT) -> dict[str, Any]:
    environment = dict(os.environ) | machine.memory_environment() | {"PYTHONPATH": str(root)}
    with tempfile.TemporaryDirectory() as place:
        answer, output = Path(place) / "answer.json", Path(place) / "output"
        with output.open("wb") as words:
            command = [sys.executable, "-P", "-m", module, str(answer)]
            given = json.dumps(order).encode()
            try:
                subprocess.run(
                    command, input=given, stdout=words, stderr=words, timeout=LONGEST_S, env=environment, cwd=root
                )
            except subprocess.TimeoutExpired:
                raise RunError(f"Measuring {what} took more than an hour.", "Give fewer --blocks.") from None
        found = read_json_or_empty(answer)
        last = output.read_text("utf-8", "replace").strip().rpartition("\n")[2][:200]
    if "message" in found:
        raise RunError(f"Measuring {what} failed: {found['message']}", found.get("hint", ""))
    if not found:
        raise RunError(f"Measuring {what} failed: {last or 'its process was killed'}.", "Memory may be short.")
    return found


def predicted(order: Order, stages: dict[str, Any]) -> dict[str, Any]:
    """What the budget of a run would say of these stages, from a calibration now: seconds, and bytes where it says."""
    from unlearning.runs.speeds import measured_speeds

    changes = {"name": order.model, "mode": order.mode, "device": order.device, "dtype": order.dtype}
    settings = Settings.model_validate({"model": changes | {"rank": order.rank, "accept_licence": True}})
    settings = settings.model_copy(
        update={"text": settings.text.model_copy(update={"block_tokens": order.block_tokens})}
    )
    with tempfile.TemporaryDirectory() as place:
        speeds = measured_speeds(Path(place), settings, "")
    return {stage: _expected(stage, one, speeds) for stage, one in stages.items() if stage in (*TRAINING, "label")}


def _expected(stage: str, measured: dict[str, Any], speeds: Speeds) -> dict[str, float]:
    if stage == "label":  # a pass of the baseline and one of the reinforced model
        return {"seconds": 2 * measured["tokens"] / speeds.label_tokens_per_s}
    peak = max(speeds.floor_bytes, speeds.resident_bytes + measured["pass_tokens"] * speeds.train_bytes_per_token)
    return {"seconds": measured["tokens"] / speeds.train_tokens_per_s, "peak_bytes": peak}


def growth(order: Order, sizes: Sequence[int] = SIZES, tell: Tell = lambda words: None) -> list[dict[str, Any]]:
    """Labels and one epoch of fine-tuning of ever longer texts, everything on disk: seconds and memory of each."""
    rows = []
    for size in sizes:
        tell(f"Growing to {size:,} tokens …")
        rows.append(_answer("unlearning.bench.growth", asdict(order) | {"size": size}, f"{size:,} tokens"))
    return rows


def revision(root: Path) -> str:
    """Short name of the commit, with "+" where files have changed; "" outside of a repository."""
    name = _git(root, "rev-parse", "--short", "HEAD")
    return name + ("+" if name and _git(root, "status", "--porcelain", "--untracked-files=no") else "")


@contextmanager
def checked_out(name: str) -> Iterator[Path]:
    """Another revision of this program in a folder of its own, gone afterwards.

    Raises:
        SettingsError: there is no such revision, or it cannot measure itself.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "revision"
        done = subprocess.run(
            ["git", "-C", str(ROOT), "worktree", "add", "--detach", str(folder), name], capture_output=True, text=True
        )
        if done.returncode:
            raise SettingsError(f"'{name}' is neither a file nor a revision.", "Give what `bench --json` has written.")
        try:
            if not (folder / "unlearning" / "bench" / "trial.py").exists():
                raise SettingsError(f"Revision {name} has no benchmark yet.", "Choose a later one.")
            yield folder
        finally:
            _git(ROOT, "worktree", "remove", "--force", str(folder))


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
