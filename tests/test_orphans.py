"""The tests' own checks: a process that a test left behind is found, and one that says nothing is not waited for."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import load
import psutil
import pytest
from runs_for_tests import next_line

LEAVES_ONE = """
import subprocess, sys
def test_it():
    code = "import time; time.sleep(300)"
    process = subprocess.Popen([sys.executable, "-c", code, "left-behind"], start_new_session=True)
    print(f"left {process.pid}.")
"""
LEAVES_NONE = """
import subprocess, sys
def test_it():
    subprocess.run([sys.executable, "-c", "pass"], check=True)
"""


@pytest.mark.parametrize(("code", "status"), [(LEAVES_ONE, 1), (LEAVES_NONE, 0)])
def test_a_process_left_behind_fails_the_tests_and_is_ended(tmp_path, code, status):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_it.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", tmp_path], cwd=tmp_path, text=True,
        capture_output=True, timeout=120, env=os.environ | {"UNLEARNING_TESTS_PATIENCE": "2"},
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert ("left-behind" in done.stdout) == bool(status)
    assert ("No process was left behind." in done.stdout) != bool(status)
    if status:
        number = int(done.stdout.partition("left ")[2].partition(".")[0])
        assert not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("code", ["import time; time.sleep(300)", "pass"])
def test_a_process_that_says_nothing_is_not_waited_for(code):
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with process, pytest.raises(AssertionError, match="has said nothing: it ended, or was ended after 1 seconds"):
        next_line(process, 1)


def test_what_a_process_says_in_time_is_given():
    with subprocess.Popen([sys.executable, "-c", "print('here')"], stdout=subprocess.PIPE, text=True) as process:
        assert next_line(process) == "here\n"


def test_the_load_test_does_not_wait_for_ever_for_its_run_to_stop(monkeypatch):
    async def still_at_work(client, name, arguments):
        return {"state": "cancelling"}

    monkeypatch.setattr(load, "_call", still_at_work)
    monkeypatch.setattr(load, "SAVING_S", 0.3)
    with pytest.raises(TimeoutError, match="the run abc is still cancelling"):
        asyncio.run(asyncio.wait_for(load._wait_for_end(None, "abc"), 20))
