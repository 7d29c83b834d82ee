"""The scheduler: one per workspace, in order, to the end, whoever is killed meanwhile."""

import os
import random
import shutil
import subprocess
import sys
import time

import psutil
import pytest
from counting_executor import expected_total
from runs_for_tests import (  # noqa: F401
    ROOT,
    make_run,
    processes_of,
    start_scheduler,
    start_worker,
    wait_for,
    wait_until,
    workspace,
)

from unlearning.runs import ending, queue, scheduler, store
from unlearning.runs.durable import read_json, write_json
from unlearning.runs.ending import birth, worker_process
from unlearning.runs.events import read
from unlearning.runs.locks import SCHEDULER_LOCK, held
from unlearning.runs.store import State


def first_events(folders):
    """Runs by the time of their first event."""
    return sorted(folders, key=lambda folder: read(folder).events[0]["time"])


def test_runs_end_in_order(workspace):
    folders = [make_run(workspace, {"steps": 2}) for _ in range(4)]
    for folder in folders:
        scheduler.start(folder)
    wait_for(folders[-1], State.SUCCEEDED)
    assert all(store.state(folder) is State.SUCCEEDED for folder in folders)
    assert first_events(folders) == folders


def test_two_started_together_one_serves(workspace):
    both = [start_scheduler(workspace, idle=30) for _ in range(2)]
    try:
        assert wait_until(lambda: any(process.poll() is not None for process in both), 60)
        (ended,) = [process for process in both if process.poll() is not None]
        assert ended.returncode == 75 and b"already at work" in ended.stdout.read()
        assert scheduler.ensure(workspace) is False
        folder = make_run(workspace, {"steps": 2})
        scheduler.start(folder)
        wait_for(folder, State.SUCCEEDED)
    finally:
        for process in both:
            process.kill()
            process.wait()


def test_it_ends_by_itself_and_leaves_the_lock(workspace):
    workspace.joinpath("runs").mkdir()
    process = start_scheduler(workspace, idle=0.5)
    assert process.wait(timeout=20) == 0 and not held(workspace / SCHEDULER_LOCK)


def test_killing_the_scheduler_disturbs_no_worker_and_the_next_one_goes_on(workspace):
    folders = [make_run(workspace, {"steps": 25, "sleep": 0.05}), make_run(workspace, {"steps": 2})]
    for folder in folders:
        scheduler.start(folder)
    wait_for(folders[0], State.RUNNING)
    assert wait_until(lambda: len(processes_of(workspace, "unlearning.runs.scheduler")) == 1, 5)
    (serving,) = processes_of(workspace, "unlearning.runs.scheduler")
    worker = worker_process(folders[0])
    serving.kill()
    assert wait_until(lambda: not held(workspace / SCHEDULER_LOCK), 5)
    assert worker.is_running() and store.state(folders[0]) is State.RUNNING
    assert scheduler.ensure(workspace) is True
    wait_for(folders[1], State.SUCCEEDED)
    assert store.state(folders[0]) is State.SUCCEEDED and first_events(folders) == folders
    attempts = [event["attempt"] for event in read(folders[0]).events if "attempt" in event]
    assert attempts == [1]


def test_killing_the_app_disturbs_nobody(workspace):
    """An app that queues two runs and is killed with everything in its process group, as a closed terminal does."""
    folders = [make_run(workspace, {"steps": 10, "sleep": 0.05}) for _ in range(2)]
    code = "import sys, time; from pathlib import Path; from unlearning.runs import scheduler\n"
    code += "[scheduler.start(Path(name)) for name in sys.argv[1:]]; print('queued', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, *folders]
    app = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
    assert app.stdout.readline() == b"queued\n"
    app.kill()
    app.wait()
    for folder in folders:
        wait_for(folder, State.SUCCEEDED)


def test_a_killed_worker_reads_as_interrupted_says_why_and_resumes(workspace):
    folder = make_run(workspace, {"steps": 60, "sleep": 0.02, "every": 5})
    scheduler.start(folder)
    assert wait_until(lambda: len(read(folder).events) > 10, 60)
    worker_process(folder).kill()
    wait_for(folder, State.INTERRUPTED, 20)
    assert wait_until(lambda: "memory" in store.load(folder).error.get("message", ""), 5)
    hint = store.load(folder).error["hint"]
    assert f"`python -m unlearning runs resume {folder.name} --pass-blocks 1` goes on with finetune.pass" in hint
    scheduler.start(folder)
    wait_for(folder, State.SUCCEEDED)
    assert read_json(folder / "result.json")["total"] == expected_total(60) and store.load(folder).error == {}


def test_a_worker_that_cannot_begin_fails_and_holds_nobody_up(workspace, monkeypatch):
    broken, sound = make_run(workspace), make_run(workspace)
    (broken / "worker.lock").mkdir()  # nobody can lock this
    for folder in (broken, sound):
        scheduler.start(folder)
    wait_for(sound, State.SUCCEEDED)
    assert store.state(broken) is State.FAILED and "could not begin" in store.load(broken).error["message"]


def test_one_that_is_always_killed_before_it_begins_is_not_started_for_ever(workspace, monkeypatch):
    """A module that kills its process while it is imported stands for memory that does not even hold the libraries."""
    (workspace / "sitecustomize.py").write_text(
        "import os, sys\nif 'unlearning.worker' in sys.orig_argv: os.kill(os.getpid(), 9)"
    )
    monkeypatch.setenv("PYTHONPATH", f"{workspace}:{ROOT}:{ROOT / 'tests'}")
    folder = make_run(workspace)
    scheduler.start(folder)
    wait_for(folder, State.FAILED)
    assert (workspace / "scheduler.log").read_text().count("started on cpu") == scheduler.TRIES
    assert "SIGKILL" in store.load(folder).error["message"]


def test_stop_is_seen_at_once_and_saves(workspace):
    folder, behind = make_run(workspace, {"steps": 10_000, "sleep": 0.02, "every": 10**6}), make_run(workspace)
    scheduler.start(folder), scheduler.start(behind)
    assert wait_until(lambda: len(read(folder).events) > 5, 60)
    began = time.monotonic()
    assert scheduler.stop(folder) in (State.CANCELLING, State.CANCELLED) and time.monotonic() - began < 1
    wait_for(folder, State.CANCELLED, 20)
    assert read_json(folder / "stages/first/checkpoint.json")["step"] >= 3
    wait_for(behind, State.SUCCEEDED)


def test_one_that_does_not_listen_is_terminated_then_killed_with_its_children(workspace):
    folder = make_run(workspace, {"steps": 10**6, "sleep": 0.05, "deaf": True, "children": 2})
    scheduler.start(folder)
    assert wait_until(lambda: len(read(folder).events) > 3, 60)
    family = [worker_process(folder), *worker_process(folder).children()]
    assert len(family) == 3
    scheduler.stop(folder)
    wait_for(folder, State.CANCELLED, 30)
    assert wait_until(lambda: not any(alive(process) for process in family), 5)
    log = (workspace / "scheduler.log").read_text()
    assert "terminating" in log and "killing" in log and log.index("terminating") < log.index("killing")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process's date does not follow the clock")
def test_a_worker_is_known_and_ended_after_the_clock_was_set_back(workspace, monkeypatch):
    """On Linux the date of a process is its age taken from the clock of the moment."""
    folder = make_run(workspace, {"steps": 10**6, "sleep": 0.05, "deaf": True})
    worker = start_worker(folder)
    assert wait_until(lambda: len(read(folder).events) > 3, 60)
    now, booted, day = time.time(), psutil.boot_time(), 86400
    monkeypatch.setattr(time, "time", lambda: now - day)
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: booted - day)
    monkeypatch.setattr(ending, "GRACE_S", 0.5)
    monkeypatch.setattr(ending, "TERMINATE_S", 0.5)
    assert worker_process(folder).pid == worker.pid
    queue.request_stop(folder)
    server = scheduler.Scheduler(workspace)
    assert wait_until(lambda: not server.tick() and worker.poll() is not None, 20)
    assert worker.wait(timeout=5) == -9 and store.state(folder) is State.CANCELLED


def test_another_process_of_the_same_number_is_not_taken_for_the_worker(workspace):
    folder = make_run(workspace)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)", str(folder)])
    try:
        write_json(folder / "worker.json", {"pid": other.pid, "born": birth(other.pid)})
        assert worker_process(folder).pid == other.pid
        for born in ("", "earlier", birth(os.getpid())):
            write_json(folder / "worker.json", {"pid": other.pid, "born": born})
            assert worker_process(folder) is None
    finally:
        other.kill()
        other.wait()
    assert birth(other.pid) == "" and birth(os.getpid()) == birth(os.getpid()) != ""


def test_stop_now_does_not_wait_for_the_step(workspace, monkeypatch):
    monkeypatch.setenv("UNLEARNING_STOP_GRACE", "300")
    folder = make_run(workspace, {"steps": 3, "sleep": 100})
    scheduler.start(folder)
    wait_for(folder, State.RUNNING)
    assert wait_until(lambda: len(read(folder).events) > 1, 60)
    scheduler.stop(folder)
    time.sleep(1)
    assert store.state(folder) is State.CANCELLING
    scheduler.stop(folder, now=True)
    wait_for(folder, State.CANCELLED, 30)


def test_children_of_a_killed_worker_go_too(workspace):
    folder = make_run(workspace, {"steps": 10**6, "sleep": 0.05, "children": 2})
    scheduler.start(folder)
    assert wait_until(lambda: len(read(folder).events) > 3, 60)
    worker = worker_process(folder)
    children = worker.children()
    assert len(children) == 2
    worker.kill()
    assert wait_until(lambda: not any(alive(child) for child in children), 10)
    wait_for(folder, State.INTERRUPTED)


def test_two_devices_two_workers(workspace, monkeypatch):
    monkeypatch.setenv("UNLEARNING_SLOTS", "cpu,cpu")
    folders = [make_run(workspace, {"steps": 40, "sleep": 0.1}) for _ in range(3)]
    for folder in folders:
        scheduler.start(folder)
    assert wait_until(lambda: len(queue.working(workspace)) == 2, 60)
    time.sleep(1)
    assert queue.working(workspace) and queue.waiting(workspace) == [folders[2]]
    for folder in folders:
        scheduler.stop(folder)
    for folder in folders:
        wait_for(folder, State.CANCELLED)


def test_a_worker_started_by_hand_takes_a_device(workspace):
    by_hand, queued = make_run(workspace, {"steps": 60, "sleep": 0.05}), make_run(workspace, {"steps": 2})
    worker = start_worker(by_hand)
    wait_for(by_hand, State.RUNNING)
    scheduler.start(queued)
    time.sleep(2)
    assert store.state(queued) is State.QUEUED
    worker.kill()
    worker.wait()
    wait_for(queued, State.SUCCEEDED)


def test_starting_on_a_thousand_finished_runs_takes_under_a_second(workspace):
    template = make_run(workspace)
    write_json(template / "summary.json", {"state": "succeeded"})
    write_json(template / "result.json", {"state": "succeeded"})
    for index in range(999):
        shutil.copytree(template, template.with_name(f"{index:08d}"))
    server = scheduler.Scheduler(workspace)
    began = time.perf_counter()
    assert server.tick() is False
    first = time.perf_counter() - began
    assert first < 0.2, first
    began = time.perf_counter()
    process = start_scheduler(workspace, idle=0.0)
    assert process.wait(timeout=20) == 0
    assert time.perf_counter() - began < 3.0  # Python itself starts in this time too


def alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@pytest.mark.slow
def test_fifty_queued_runs_with_stops_and_kills_in_between(workspace):
    rng = random.Random(11)
    folders = [make_run(workspace, {"steps": 6, "sleep": 0.02, "every": 2}) for _ in range(50)]
    for folder in folders:
        scheduler.start(folder)
    disturbed = {"stopped": set(), "killed": set(), "scheduler": set()}
    end = time.monotonic() + 400
    while not all(store.state(folder) is State.SUCCEEDED for folder in folders) and time.monotonic() < end:
        time.sleep(0.1)
        disturb(workspace, folders, rng, disturbed)
        for folder in folders:  # what a person does who finds a run that did not end
            if store.state(folder) in (State.CANCELLED, State.INTERRUPTED):
                scheduler.start(folder)
        scheduler.ensure(workspace)
    assert [store.state(folder) for folder in folders] == [State.SUCCEEDED] * 50
    assert {read_json(folder / "result.json")["total"] for folder in folders} == {expected_total(6)}
    for folder in folders:
        events = read(folder).events
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    again = disturbed["stopped"] | disturbed["killed"]  # these queued a second time
    undisturbed = [folder for folder in folders if folder not in again]
    assert first_events(undisturbed) == undisturbed
    counts = {what: len(which) for what, which in disturbed.items()}
    assert min(counts.values()) >= 1, counts
    print(f"\n50 runs ended, in order; disturbed: {counts}; lost: nothing")


def disturb(workspace, folders, rng, disturbed):
    dice = rng.random()
    busy = [folder for folder in folders if store.state(folder) is State.RUNNING]
    if dice < 0.03 and busy and len(disturbed["stopped"]) < 8:
        scheduler.stop(busy[0])
        disturbed["stopped"].add(busy[0])
    elif dice < 0.06 and len(disturbed["killed"]) < 8 and busy and (worker := worker_process(busy[0])):
        worker.kill()
        disturbed["killed"].add(busy[0])
    elif dice < 0.07 and len(disturbed["scheduler"]) < 8:
        serving = processes_of(workspace, "unlearning.runs.scheduler")[:1]
        if not serving:
            return
        serving[0].kill()
        disturbed["scheduler"].add(serving[0].pid)
