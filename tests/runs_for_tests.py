"""Workspaces, runs and waiting for the tests of everything that has to do with runs."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from unlearning.config import make_settings
from unlearning.runs import store

ROOT = Path(__file__).parents[1]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace in a folder with an awkward name, whose workers count; nothing of it may be left running."""
    folder = tmp_path / "a work \"space\" 'ü' 🦊"
    folder.mkdir()
    monkeypatch.setenv("UNLEARNING_EXECUTOR", "counting_executor:execute")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
    monkeypatch.setenv("UNLEARNING_SLOTS", "cpu")
    monkeypatch.setenv("UNLEARNING_STOP_GRACE", "1")
    monkeypatch.setenv("UNLEARNING_TERMINATE_GRACE", "1")
    yield folder
    for process in processes_of(folder, "unlearning.runs.scheduler"):
        process.kill()
    left = wait_until(lambda: not processes_of(folder), 10) or processes_of(folder)
    for process in left if isinstance(left, list) else []:
        process.kill()
    assert left is True, f"left running: {left}"


def processes_of(folder, module=""):
    """Living processes that name `folder` on their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if alive and any(str(folder) in part for part in line) and module in " ".join(line):
            found.append(process)
    return found


def make_run(workspace, orders=None, **options):
    """A draft whose text is the orders for the counting executor."""
    text = json.dumps(orders or {"steps": 5})
    return store.create(workspace, make_settings(), {"text.txt": text}, title="Orders", **options).folder


def next_line(process, seconds=120):
    """The next line that a process says. One that says nothing for so long is ended, and the test fails."""
    late = threading.Timer(seconds, process.kill)
    late.start()
    try:
        line = process.stdout.readline()
    finally:
        late.cancel()
    assert line, f"{process.args} has said nothing: it ended, or was ended after {seconds} seconds"
    return line


def wait_until(condition, seconds):
    """Whether `condition` came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def wait_for(folder, wanted, seconds=60):
    """Wait for a state of a run; the words of its process are shown where it does not come."""
    states = {wanted} if isinstance(wanted, str) else set(wanted)
    log = folder / "output.log"
    assert wait_until(lambda: store.state(folder) in states, seconds), (
        f"{folder.name} is {store.state(folder)}, not {wanted}: {log.read_text() if log.exists() else 'no output'}"
    )


def start_worker(folder, **options):
    """A worker process, as the scheduler starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "unlearning.worker", str(folder)], cwd=ROOT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def run_worker(folder, seconds=30, **options):
    """Run a worker to its end; gives its exit status and what it said."""
    process = start_worker(folder, **options)
    try:
        said = process.communicate(timeout=seconds)[1]
    finally:
        process.kill()
    return process.returncode, said


def start_scheduler(workspace, idle=1.0):
    """A scheduler process in the hand of the test."""
    command = [sys.executable, "-m", "unlearning.runs.scheduler", str(workspace), "--idle", str(idle)]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
