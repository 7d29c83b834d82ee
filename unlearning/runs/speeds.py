"""What this machine can do with a model, measured once and kept in the workspace; and a run's budget from it.

No torch here: the measuring is a process of its own (`unlearning.training.calibration`), so that a page can ask.

Other programs at work can make a measure many times too slow. One that had to wait for them is kept, for want of a
better, but said to be doubtful and taken again when somebody asks some minutes later; of several such the fastest is
the one that was disturbed least.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from unlearning.config import Settings
from unlearning.errors import ModelError, RunError
from unlearning.runs import machine
from unlearning.runs.budget import Budget, Speeds, estimate
from unlearning.runs.durable import read_json_or_empty, write_json
from unlearning.runs.machine import memory_environment
from unlearning.runs.workload import workload_of

SPEEDS = "speeds.json"
LONGEST_S = 600.0
SAMPLE_BYTES = 20_000
BUSY = 0.2  # a measure is doubtful whose threads stood behind other programs' for more than this share of their time
DOUBTFUL = "Measured while other programs kept this machine busy: it may well take less."
AGAIN_S = 600.0  # a doubtful measure is taken again after so long


def budget(
    workspace: Path, settings: Settings, inputs: Mapping[str, str | bytes | Path], measure: bool = True
) -> Budget | None:
    """What a run would take on this machine.

    Args:
        workspace: Keeps what was measured.
        settings: Of the run.
        inputs: As `store.create` takes them.
        measure: Whether to measure a model that was not measured yet, or not well (some seconds); None is given
            otherwise where nothing is known.

    Raises:
        ModelError: it had to be measured and cannot be loaded.
        RunError: measuring failed for another reason.
    """
    speeds = known_speeds(workspace, settings)
    if measure and worth_measuring(workspace, settings):
        text = inputs.get("text.txt", "")
        sample = text.read_bytes() if isinstance(text, Path) else text.encode() if isinstance(text, str) else text
        try:
            speeds = measured_speeds(workspace, settings, sample[:SAMPLE_BYTES].decode("utf-8", "ignore"))
        except (ModelError, RunError):
            if speeds is None:  # a doubtful measure is better than none
                raise
    if speeds is None:
        return None
    return estimate(settings, workload_of(settings, inputs, speeds.bytes_per_token), speeds)


def known_speeds(workspace: Path, settings: Settings) -> Speeds | None:
    """What was measured before for this model, block length and batch; None where nothing was."""
    return _speeds(read_json_or_empty(workspace / SPEEDS).get(_key(settings)))


def doubtful(workspace: Path, settings: Settings) -> bool:
    """Whether the machine was busy with other programs when this was measured, or nobody looked whether it was."""
    return _doubtful(read_json_or_empty(workspace / SPEEDS).get(_key(settings)))


def worth_measuring(workspace: Path, settings: Settings) -> bool:
    """Whether nothing is known, or only a doubtful measure that is some minutes old."""
    entry = read_json_or_empty(workspace / SPEEDS).get(_key(settings))
    if _speeds(entry) is None:
        return True
    return _doubtful(entry) and not 0 <= time.time() - _number(entry, "when", 0.0) < AGAIN_S


def measured_speeds(workspace: Path, settings: Settings, sample: str) -> Speeds:
    """Measure now, in another process, and keep the result.

    Args:
        workspace: Keeps it.
        settings: Which model, device, block length and batch.
        sample: Some of the text, for its bytes per token.

    Raises:
        ModelError, RunError: as `budget`.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    root = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    environment |= memory_environment()  # as the scheduler starts a worker
    order = json.dumps({"settings": settings.model_dump(mode="json"), "sample": sample})
    with tempfile.TemporaryDirectory() as place, open(Path(place) / "output", "w+b") as output:
        answer = Path(place) / "speeds.json"
        command = [sys.executable, "-P", "-m", "unlearning.training.calibration", str(answer)]
        try:
            subprocess.run(
                command, input=order.encode(), stdout=output, stderr=output, timeout=LONGEST_S, env=environment
            )
        except subprocess.TimeoutExpired:
            raise RunError("Measuring this machine took too long.", "Choose a smaller model.") from None
        found = read_json_or_empty(answer)
        output.seek(0)
        last_words = output.read().decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
    if "message" in found:
        raise (ModelError if found.get("model") else RunError)(found["message"], found.get("hint", ""))
    speeds = _speeds(found)
    if speeds is None:
        message = f"Measuring this machine failed: {last_words or 'its process was killed'}."
        raise RunError(message, "Memory may be short: close other programs.")
    known = read_json_or_empty(workspace / SPEEDS)
    entry, before = asdict(speeds) | {"waited": found.get("waited")}, known.get(_key(settings))
    former = _speeds(before)
    if former is not None and _doubtful(entry) and former.train_tokens_per_s > speeds.train_tokens_per_s:
        speeds, entry = former, asdict(former) | {"waited": _number(before, "waited", 1.0)}
    write_json(workspace / SPEEDS, known | {_key(settings): entry | {"when": time.time()}})
    return speeds


def _doubtful(entry: object) -> bool:
    return _number(entry, "waited", 1.0) > BUSY


def _number(entry: object, name: str, otherwise: float) -> float:
    value = entry.get(name) if isinstance(entry, dict) else None
    return float(value) if isinstance(value, int | float) else otherwise


def _speeds(value: object) -> Speeds | None:
    names = {field.name for field in fields(Speeds)}
    if not isinstance(value, dict) or not names <= value.keys():
        return None
    return Speeds(**{name: value[name] for name in names})


def _key(settings: Settings) -> str:
    """What speed depends on."""
    model, text = settings.model, settings.text
    parts = (
        model.name,
        model.mode,
        model.rank,
        model.device,
        model.dtype,
        text.block_tokens,
        settings.finetune.pass_blocks,
        settings.finetune.batch_blocks,
        settings.label.top_k,
        machine.name(),
        machine.versions().get("torch"),
    )
    return " · ".join(map(str, parts))
