"""The Slurm example without Slurm: submitit's local cluster starts the processes, as torchrun or Slurm would."""

import os
import subprocess
import sys

import pytest
from runs_for_tests import ROOT
from test_survival import new_run

from unlearning.runs import store
from unlearning.runs.events import read
from unlearning.runs.store import State

pytest.importorskip("submitit", reason="optional: the Slurm example")


@pytest.mark.slow
def test_two_tasks_of_a_job_do_a_run(tmp_path):
    folder = new_run(tmp_path, **{"teach": None, "evaluation.completions": 1, "finetune.epochs": 1})
    command = [sys.executable, "examples/slurm.py", str(folder), "--processes", "2", "--cluster", "local", "--wait"]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ) | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300
    )
    logs = "".join(path.read_text() for path in (tmp_path / "slurm").rglob("*.err"))
    assert done.returncode == 0, done.stderr + logs
    assert store.state(folder) is State.SUCCEEDED
    events = read(folder).events
    assert any("2 processes" in event.get("message", "") for event in events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_what_torch_leaves_behind_does_not_abort_a_task_that_has_written_its_result():
    """It does in clearing up; here a function stands for it that Python calls then."""
    code = """
import atexit, os, runpy
from unlearning import worker
worker.main = lambda arguments: 0
atexit.register(os.abort)
example = runpy.run_path("examples/slurm.py")
example["submitit"].helpers.TorchDistributedEnvironment.export = lambda self, **how: None
print("result", example["Process"]("run")())
"""
    environment = dict(os.environ) | {"RANK": "0", "WORLD_SIZE": "2", "PYTHONPATH": str(ROOT)}
    environment |= {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "result 0\n"), done.stderr
