"""The scheduler: one per workspace, in order, to the end, whoever is killed meanwhile."""

import io
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from counting_executor import expected_total
from rich.console import Console
from runs_for_tests import (  # noqa: F401
    ROOT,
    make_run,
    next_line,
    processes_of,
    start_scheduler,
    start_worker,
    wait_for,
    wait_until,
    workspace,
)

from unlearning.errors import RunError
from unlearning.runs import ending, follow, queue, scheduler, store
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


def test_a_run_queued_in_its_last_moment_is_served(workspace, monkeypatch):
    """Who queued it saw the lock held and started nobody."""
    folder, rounds = make_run(workspace, {"steps": 1}), []

    def last_round(served, idle_s):
        assert held(workspace / SCHEDULER_LOCK)
        if not rounds:
            queue.enqueue(folder)
        else:
            (folder / "queued").unlink()
        rounds.append(served)

    monkeypatch.setattr(scheduler, "_serve_until_idle", last_round)
    assert scheduler.serve(workspace) == 0
    assert len(rounds) == 2 and not held(workspace / SCHEDULER_LOCK)


def test_who_follows_a_waiting_run_starts_the_scheduler_that_was_killed(workspace, monkeypatch):
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.5)
    folder = make_run(workspace, {"steps": 2})
    queue.enqueue(folder)  # and nobody serves the queue
    assert follow.follow(folder, Console(file=io.StringIO())) is State.SUCCEEDED


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
    assert next_line(app) == b"queued\n"
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


def test_a_folder_that_cannot_be_written_holds_nobody_up_and_is_tried_again(workspace):
    """A folder in the place of a file stands for one that is read-only, which the administrator's tests can write."""
    refusing, sound = make_run(workspace, {"steps": 2}), make_run(workspace, {"steps": 2})
    (refusing / "output.log").mkdir()
    for folder in (refusing, sound):
        scheduler.start(folder)
    wait_for(sound, State.SUCCEEDED)
    assert store.state(refusing) is State.QUEUED
    assert "cannot start a worker" in (workspace / "scheduler.log").read_text()
    (refusing / "output.log").rmdir()
    wait_for(refusing, State.SUCCEEDED)


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
    tick, started = processor_s(server.tick), processor_s(lambda: start_scheduler(workspace, idle=0.0).wait(timeout=60))
    print(f"\n1,000 finished runs: the scheduler starts and ends in {started:.2f} s, one round takes {tick:.3f} s")
    assert tick < 0.2 and started < 1.0  # the start of Python among it


def processor_s(act):
    """Processor time of this process and of those it waits for: on a machine with nothing else to do, the time."""
    before = os.times()
    act()
    return sum(os.times()[:4]) - sum(before[:4])


def alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@pytest.mark.slow
def test_fifty_queued_runs_with_stops_and_kills_in_between(workspace):
    rng = random.Random(11)
    folders = [make_run(workspace, {"steps": 6, "sleep": 0.005, "every": 2}) for _ in range(50)]
    for folder in folders:
        scheduler.start(folder)
    disturbed = {"stopped": set(), "killed": set(), "scheduler": set()}
    end = time.monotonic() + 400
    while not all(store.state(folder) is State.SUCCEEDED for folder in folders) and time.monotonic() < end:
        time.sleep(0.05)
        disturb(workspace, folders, rng, disturbed)
        for folder in folders:  # what a person does who finds a run that did not end
            if store.state(folder) in (State.CANCELLED, State.INTERRUPTED):
                scheduler.start(folder)
        scheduler.ensure(workspace)
    assert [store.state(folder) for folder in folders] == [State.SUCCEEDED] * 50
    rows = table_of_losses(folders, disturbed)
    print("\n" + "\n".join(f"{what:<28} {times:>5} {lost:>8}" for what, times, lost in rows))
    assert all(times >= 1 and lost == 0 for _, times, lost in rows), rows


def table_of_losses(folders, disturbed):
    """What was done, how often, and how many runs lost something by it: a step, an event, their result, their place."""
    wrong = {folder for folder in folders if not_as_alone(folder)}
    again = disturbed["stopped"] | disturbed["killed"]
    kept = [folder for folder in folders if folder not in again]
    return [
        ("run queued", len(folders), len(wrong)),
        ("stopped, resumed", len(disturbed["stopped"]), len(wrong & disturbed["stopped"])),
        ("worker killed, resumed", len(disturbed["killed"]), len(wrong & disturbed["killed"])),
        ("scheduler killed", len(disturbed["scheduler"]), len(wrong)),
        ("kept its place in the queue", len(kept), sum(a != b for a, b in zip(first_events(kept), kept, strict=True))),
    ]


def not_as_alone(folder):
    events = read(folder).events
    whole = [event["seq"] for event in events] == list(range(1, len(events) + 1))
    steps = {(event["stage"], event["step"]) for event in events if event["kind"] == "step"}
    total = read_json(folder / "result.json")["total"]
    return not (whole and len(steps) == 12 and total == expected_total(6) and store.state(folder) is State.SUCCEEDED)


def disturb(workspace, folders, rng, disturbed):
    dice = rng.random()
    busy = [folder for folder in folders if store.state(folder) is State.RUNNING]
    with suppress(RunError, psutil.NoSuchProcess):  # it ended between the look and the deed
        if dice < 0.06 and busy and len(disturbed["stopped"]) < 6:
            scheduler.stop(busy[0])
            disturbed["stopped"].add(busy[0])
        elif dice < 0.12 and len(disturbed["killed"]) < 6 and busy and (worker := worker_process(busy[0])):
            worker.kill()
            disturbed["killed"].add(busy[0])
        elif dice < 0.14 and len(disturbed["scheduler"]) < 6:
            serving = processes_of(workspace, "unlearning.runs.scheduler")[:1]
            if not serving:
                return
            serving[0].kill()
            disturbed["scheduler"].add(serving[0].pid)
