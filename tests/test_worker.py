"""The worker process: one per run, dies without damage, says why it failed."""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from counting_executor import expected_total
from runs_for_tests import (  # noqa: F401
    ROOT,
    make_run,
    run_worker,
    start_worker,
    wait_until,
    workspace,
)

from unlearning.runs import queue, store
from unlearning.runs.durable import read_json, write_json
from unlearning.runs.events import EVENTS, read
from unlearning.runs.record import FORMAT
from unlearning.runs.store import State


def kinds(folder):
    return [event["kind"] for event in read(folder).events]


def test_a_run_from_start_to_end(workspace):
    folder = make_run(workspace, {"steps": 5}, extra={"budget": {"seconds": 2.0}})
    queue.enqueue(folder)
    assert run_worker(folder)[0] == 0
    assert store.state(folder) is State.SUCCEEDED
    result = read_json(folder / "result.json")
    assert result["total"] == expected_total(5) and result["spent"]["peak_bytes"] > 1 << 20
    events = read(folder).events
    assert events[0]["attempt"] == 1 and events[-1]["kind"] == "done" and events[-1]["state"] == "succeeded"
    assert "(0:02 expected)" in events[-2]["message"]
    assert [e["stage"] for e in events if e["kind"] == "stage"] == ["first", "first", "second", "second"]
    assert read_json(folder / "resolved.json")["versions"]["python"]
    assert store.load(folder).summary["headline"] == {"total": result["total"]}
    assert not (folder / "reserve").exists() and not (folder / "queued").exists()


def test_double_start_the_second_says_so_and_harms_nothing(workspace):
    folder = make_run(workspace, {"steps": 1000, "sleep": 0.02})
    first = start_worker(folder)
    try:
        assert wait_until(lambda: "step" in kinds(folder), 60)
        began = time.monotonic()
        status, said = run_worker(folder)
        assert status == 75 and "already at work" in said and time.monotonic() - began < 15
        assert store.state(folder) is State.RUNNING and first.poll() is None
        events = read(folder).events
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    finally:
        first.kill()
        first.wait()


def test_ten_started_together_one_works(workspace):
    folder = make_run(workspace, {"steps": 40, "sleep": 0.2})
    workers = [start_worker(folder) for _ in range(10)]
    try:
        assert wait_until(lambda: sum(w.poll() is None for w in workers) == 1, 40)
        assert sorted(w.poll() for w in workers if w.poll() is not None) == [75] * 9
        assert kinds(folder).count("note") == 1
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def test_stop_saves_and_resume_ends_with_the_same_result(workspace):
    folder = make_run(workspace, {"steps": 30, "sleep": 0.05, "every": 1000})
    worker = start_worker(folder)
    assert wait_until(lambda: kinds(folder).count("step") > 3, 60)
    queue.request_stop(folder)
    assert store.state(folder) is State.CANCELLING
    assert worker.wait(timeout=5) == 0 and store.state(folder) is State.CANCELLED
    steps = kinds(folder).count("step")
    assert queue.enqueue(folder) is State.QUEUED
    assert run_worker(folder)[0] == 0 and store.state(folder) is State.SUCCEEDED
    assert read_json(folder / "result.json")["total"] == expected_total(30)
    assert kinds(folder).count("step") == 60 > steps  # nothing was done twice


@pytest.mark.slow
def test_sigkill_at_thirty_random_moments(workspace):
    """Every third while the worker may still be starting, the others in the middle of its work."""
    rng = random.Random(3)
    folder = make_run(workspace, {"steps": 500, "sleep": 0.01, "every": 3})  # long enough not to end between two kills
    for kill in range(30):
        before, worker = len(read(folder).events), start_worker(folder)
        try:
            if kill % 3:
                assert wait_until(lambda before=before: len(read(folder).events) > before + 1, 60)
                time.sleep(rng.random() * 0.1)
            else:
                time.sleep(rng.random() * 0.4)
        finally:
            worker.kill()
        assert worker.wait(timeout=60) == -9, f"worker {kill + 1} ended before it was killed"
        assert store.state(folder) in (State.INTERRUPTED, State.DRAFT)
    assert run_worker(folder, seconds=120)[0] == 0 and store.state(folder) is State.SUCCEEDED
    events = read(folder).events
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert read_json(folder / "result.json")["total"] == expected_total(500)


def test_killed_between_leaving_the_queue_and_its_first_event(workspace):
    folder = make_run(workspace, {"steps": 2})
    queue.enqueue(folder)
    code = "import os, sys; from pathlib import Path; from unlearning import worker; worker._begin(Path(sys.argv[1])); "
    done = subprocess.run([sys.executable, "-c", code + "os.kill(os.getpid(), 9)", folder], cwd=ROOT, timeout=60)
    assert done.returncode == -9 and kinds(folder) == []
    assert store.state(folder) is State.INTERRUPTED  # not a draft: it was started, and whoever looks is told
    assert queue.enqueue(folder) is State.QUEUED
    assert run_worker(folder)[0] == 0 and store.state(folder) is State.SUCCEEDED


def test_sigterm_saves_and_reads_as_interrupted(workspace):
    """What a shutdown of the machine sends: nobody asked for the run to be given up."""
    folder = make_run(workspace, {"steps": 400, "sleep": 0.02, "every": 1000})
    worker = start_worker(folder)
    assert wait_until(lambda: kinds(folder).count("step") > 3, 60)
    worker.terminate()
    assert worker.wait(timeout=5) == 76 and store.state(folder) is State.INTERRUPTED
    assert read_json(folder / "stages/first/checkpoint.json")["step"] >= 3
    assert "resume" in read(folder).events[-1]["message"]


def test_cancelled_before_it_could_begin(workspace):
    folder = make_run(workspace)
    queue.enqueue(folder)
    queue.request_stop(folder)
    assert store.state(folder) is State.CANCELLED
    assert run_worker(folder)[0] == 0
    assert store.state(folder) is State.CANCELLED and kinds(folder) == []


@pytest.mark.parametrize(
    ("fail", "message", "hint"),
    [
        ("memory", "Out of memory", "finetune.pass_blocks = 1 instead of 2, which saves about 0.3 GB"),
        ("disk", "The disk is full", "Free some space"),
        ("odd", "ZeroDivisionError: nobody expected this", "output.log"),
    ],
)
def test_failures_say_what_to_do(workspace, fail, message, hint):
    folder = make_run(workspace, {"fail": fail}, extra={"budget": {"pass_bytes": 6e8, "pass_blocks": 2}})
    status, said = run_worker(folder)
    assert status == 1 and store.state(folder) is State.FAILED
    error = store.load(folder).error
    assert message in error["message"] and hint in error["hint"] and message in said
    told = [event for event in read(folder).events if event["kind"] == "error"]
    assert [event["message"] for event in told] == [error["message"]]
    assert read(folder).events[-1] | {"state": "failed"} == read(folder).events[-1]


def test_a_failed_run_resumes(workspace):
    folder = make_run(workspace, {"steps": 3})
    write_json(folder / "failed", {"error": "X", "message": "m", "hint": "h"})
    queue.enqueue(folder)
    assert run_worker(folder)[0] == 0 and store.load(folder).error == {}


def test_changed_inputs_unknown_kind_and_damaged_config_fail_clearly(workspace):
    changed, unknown, damaged = make_run(workspace), make_run(workspace), make_run(workspace)
    (changed / "text.txt").write_text('{"steps": 6}')
    config = read_json(unknown / "config.json")
    write_json(unknown / "config.json", config | {"format": FORMAT + 1})
    (damaged / "config.json").write_text("{")
    for folder, words in ((changed, "was changed"), (unknown, f"format {FORMAT + 1}"), (damaged, "damaged")):
        assert run_worker(folder)[0] == 1
        assert words in store.load(folder).error["message"] and store.state(folder) is State.FAILED
    status, said = run_worker(workspace / "runs" / "nothing")
    assert status == 2 and "not a run" in said


def test_kind_of_another_version(workspace, monkeypatch):
    monkeypatch.delenv("UNLEARNING_EXECUTOR")
    folder = make_run(workspace, kind="juggling")
    assert run_worker(folder)[0] == 1 and "kind 'juggling'" in store.load(folder).error["message"]


def test_events_cut_by_a_power_cut_are_continued(workspace):
    folder = make_run(workspace, {"steps": 60, "sleep": 0.01})
    worker = start_worker(folder)
    assert wait_until(lambda: kinds(folder).count("step") > 10, 60)
    worker.kill()
    worker.wait()
    path = folder / EVENTS
    path.write_bytes(path.read_bytes()[:-25] + b"\0\0")
    (folder / "stages/first/checkpoint.json").write_bytes(b'{"step": 1')
    assert run_worker(folder)[0] == 0
    events = read(folder).events
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert read_json(folder / "result.json")["total"] == expected_total(60)


def mounted(folder, size):
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    return done.returncode == 0


def test_a_disk_that_fills_up(workspace, tmp_path):
    """On a file system of 1 MB of its own; the reserve leaves room to say what happened."""
    small = tmp_path / "small"
    small.mkdir()
    if not mounted(small, "1m"):
        pytest.skip("no right to mount a small file system; test_full_disk_is_said_… uses a limit on file sizes")
    try:
        folder = make_run(small, {"fail": "fill"})
        assert run_worker(folder)[0] == 1
        assert store.state(folder) is State.FAILED
        error = store.load(folder).error
        assert "The disk is full" in error["message"] and "Free some space" in error["hint"]
        (folder / "text.txt").unlink()  # room again: the run says something else now
        (folder / "stages" / "large").unlink()
        assert run_worker(folder)[0] == 1 and "text.txt is missing" in store.load(folder).error["message"]
    finally:
        subprocess.run(["umount", "-l", small], check=True)


AS_NOBODY = """
import os, sys
import psutil, counting_executor, filelock._unix
from unlearning.worker import main
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's rights on")
def test_a_read_only_run_folder_is_said(monkeypatch):
    """By a user without rights: root may write everywhere."""
    monkeypatch.setenv("UNLEARNING_EXECUTOR", "counting_executor:execute")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        folder = make_run(Path(place))
        for lock_may_be_taken in (False, True):
            if lock_may_be_taken:
                (folder / "worker.lock").touch()
                (folder / "worker.lock").chmod(0o666)
            done = subprocess.run(
                [sys.executable, "-c", AS_NOBODY, folder], cwd=ROOT, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 1, done
            assert "No permission to write" in done.stderr and "Make the folder writable" in done.stderr
        assert store.state(folder) is State.DRAFT


def test_nothing_heavy_is_loaded_before_the_work():
    code = "import sys; import unlearning.worker, unlearning.runs.scheduler; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"
