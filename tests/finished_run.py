"""A real run of a tiny random model, finished once for all tests that look at one."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from unlearning.config import make_settings
from unlearning.runs import store
from unlearning.scenarios import load_scenario
from unlearning.text.anchors import format_dictionary

ROOT = Path(__file__).parents[1]
DRAFT = "a" * 24  # the draft that owns it
HOSTILE = "<script>alert(1)</script>{{value}}${1}<img src=x onerror=alert(2)>\u202e\u200b"
CHANGES = {
    "model.name": "random:tiny", "model.rank": 4, "text.block_tokens": 128, "text.max_tokens": 1200,
    "teach": {"epochs": 1, "batch_blocks": 4, "learning_rate": 0.01}, "reinforce.epochs": 1, "finetune.epochs": 2,
    "evaluation.every_steps": 1, "evaluation.completions": 3, "evaluation.completion_tokens": 8,
}  # fmt: skip


def tiny_inputs(hostile=False):
    """A short text about Alice with its dictionary and some probes; hostile strings in all of them if asked for."""
    scenario = load_scenario("wonderland")
    probes = json.loads((scenario.folder / "probes.json").read_text(encoding="utf-8"))
    own = [probe for probe in probes if probe.get("kind") != "control"][:4]
    controls = [probe for probe in probes if probe.get("kind") == "control"][:2]
    if hostile:
        own[0] = own[0] | {"prompt": f"{HOSTILE} sat the March", "targets": [" Hare"]}
        own[1] = own[1] | {"targets": [f" {HOSTILE}"]}
    assets = ROOT / "assets"
    text = (scenario.folder / "text.md").read_text(encoding="utf-8")[:3000]
    return {
        "text.txt": f"{HOSTILE}\n\n{text}" if hostile else text,
        "anchors.json": format_dictionary(scenario.dictionary(), "json"),
        "probes.json": json.dumps(own + controls),
        "retain.txt": (assets / "retain.md").read_text(encoding="utf-8")[:1500],
        "unrelated.txt": (assets / "retain_test.md").read_text(encoding="utf-8")[:1200],
        "completions.json": json.dumps([probe["prompt"] for probe in own[:3]]),
        "themes.txt": "tea\ncards\n",
    }


def make_finished_run(workspace, hostile=False, **options):
    """Make a run that has been done; gives its folder. A worker does the first one, whose work the others are given."""
    run = draft(workspace, hostile, **options)
    own = shutil.ignore_patterns("config.json", "meta.json")
    shutil.copytree(done(hostile), run.folder, ignore=own, dirs_exist_ok=True)
    return run.folder


def draft(workspace, hostile, **options):
    from unlearning.ui.follow import owner_of

    extra = {"owner": owner_of(DRAFT)}
    settings = make_settings("standard", CHANGES)
    title = f"Alice {HOSTILE}" if hostile else "A tiny Alice"
    return store.create(workspace, settings, tiny_inputs(hostile), title=title, extra=extra, **options)


@cache
def done(hostile):
    """The folder of a run done in a process of its own, as the scheduler would; nobody else may change it."""
    place = tempfile.mkdtemp(prefix="unlearning-tests-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    run = draft(Path(place), hostile)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("UNLEARNING_EXECUTOR", None)
    worker = subprocess.run(
        [sys.executable, "-m", "unlearning.worker", str(run.folder)], cwd=ROOT, env=environment, capture_output=True,
        text=True, timeout=240,
    )  # fmt: skip
    assert worker.returncode == 0, worker.stderr[-2000:]
    return run.folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a finished run, to be looked at: hostile strings in its name, title, text, prompts and targets."""
    if not _made:  # a fixture that several files import would be made for each of them
        _made.append(make_finished_run(tmp_path_factory.mktemp("finished"), hostile=True, name=f"Run {HOSTILE}"))
    return _made[0]


_made = []
