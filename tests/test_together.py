"""A run by several real processes: started by torchrun's launcher, killed, stopped, resumed by fewer or more."""

import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
from runs_for_tests import ROOT, wait_until
from test_survival import new_run

from unlearning import together
from unlearning.commands.processes import asked_for, change_processes
from unlearning.errors import SettingsError
from unlearning.runs import queue, store
from unlearning.runs.durable import read_json
from unlearning.runs.ending import marked, worker_process
from unlearning.runs.events import EventWriter, read, timeline
from unlearning.runs.machine import slot_environment, slots_for
from unlearning.runs.processes import Processes, processes_of, set_processes
from unlearning.runs.store import State
from unlearning.training import stages

SHORT = {"teach": None, "evaluation.completions": 1, "text.block_tokens": 32}


def losses(folder):
    steps = [event for event in timeline(read(folder).events) if event["kind"] == "step" and "loss" in event]
    return [(event["stage"], event["step"]) for event in steps], [event["loss"] for event in steps]


def start(folder):
    """The worker, as the scheduler starts it, but with one thread for each of its processes."""
    with open(folder / "output.log", "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "unlearning.worker", str(folder)], cwd=ROOT, start_new_session=True,
            stdout=output, stderr=output, env=dict(os.environ) | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def ranks(worker):
    """The processes that work on the run, by rank."""
    found = {}
    for child in psutil.Process(worker.pid).children(recursive=True):
        try:
            found[int(child.environ()["RANK"])] = child
        except (psutil.Error, KeyError):
            continue
    return found


def said(folder):
    return (folder / "output.log").read_text()[-3000:]


def come_to(folder, worker, stage):
    there = wait_until(lambda: any(at == stage for at, _ in losses(folder)[0]) or worker.poll() is not None, 180)
    assert there and worker.poll() is None, said(folder)


@pytest.mark.slow
def test_killed_stopped_and_resumed_by_other_numbers_of_processes(tmp_path):
    long = SHORT | {"finetune.epochs": 6}  # so that the request to stop comes before the end
    alone, folder = new_run(tmp_path, **long), new_run(tmp_path, **long)
    with EventWriter(alone) as report:
        assert stages.execute(alone, report)["state"] == "succeeded"

    set_processes(folder, 2)
    worker = start(folder)
    come_to(folder, worker, "reinforce")
    ranks(worker)[1].kill()
    assert worker.wait(timeout=60) == 1, said(folder)
    assert store.state(folder) is State.FAILED and marked(folder) == []
    assert "Process 2 of 2 was killed by the system" in read_json(folder / "failed")["message"]
    assert read(folder).events[-1]["state"] == "failed"

    worker = start(folder)  # the one that keeps watch is killed: the others find out
    assert wait_until(lambda: len(ranks(worker)) == 2, 60), said(folder)
    worker.kill()
    worker.wait()
    assert wait_until(lambda: marked(folder) == [], 30) and worker_process(folder) is None

    set_processes(folder, 2, shard=True)
    worker = start(folder)
    come_to(folder, worker, "finetune")
    queue.request_stop(folder)
    assert worker.wait(timeout=120) == 0 and store.state(folder) is State.CANCELLED, said(folder)
    assert marked(folder) == []

    set_processes(folder, 1)
    queue.enqueue(folder)
    with EventWriter(folder) as report:
        assert stages.execute(folder, report)["state"] == "succeeded"
    events = read(folder).events
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    (steps, found), (expected_steps, expected) = losses(folder), losses(alone)
    assert steps == expected_steps
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_who_was_killed_is_named_and_not_who_missed_it(tmp_path):
    folder = new_run(tmp_path)
    assert together._status(folder, {0: 1, 1: -9, 2: 1}, 3)[1]["message"].startswith("Process 2 of 3 was killed")
    assert together._status(folder, {0: 1, 2: -int(signal.SIGSEGV)}, 3)[1]["message"] == (
        "Process 3 of 3 ended by signal 11 (SIGSEGV)."
    )
    assert together._status(folder, {0: -int(signal.SIGTERM), 1: -9}, 2)[1]["message"].startswith("Process 2 of 2 was")
    assert together._status(folder, {0: -int(signal.SIGTERM), 1: 1}, 2)[1]["message"].startswith("Process 2 of 2 ended")
    assert together._status(folder, {1: together.ASKED_TO_END, 0: 1}, 2) == (together.ASKED_TO_END, {})


def test_an_error_that_only_says_that_another_is_gone(monkeypatch):
    gone = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:2")
    assert not together.is_bereaved(gone)  # alone, nobody can be missed
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert together.is_bereaved(gone)
    assert not together.is_bereaved(RuntimeError("shapes differ")) and not together.is_bereaved(ValueError("gloo"))


def test_one_of_several_ends_before_anything_can_abort_it():
    code = "import atexit, os; atexit.register(os.abort); from unlearning import together; together.end(7)"
    for size, status in ((1, -signal.SIGABRT), (2, 7)):
        several = os.environ | {"RANK": str(size - 1), "WORLD_SIZE": str(size)}
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=several, timeout=60).returncode == status


def test_a_run_gets_a_card_for_each_process_and_one_place_on_a_processor(monkeypatch):
    assert slots_for(2, ("cuda:0", "cuda:1", "cuda:2")) == 2 and slots_for(8, ("cuda:0", "cuda:1")) == 2
    assert slots_for(4, ("cpu",)) == 1 and slots_for(4, ()) == 1
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert slot_environment("auto", "cuda:1,cuda:3")["CUDA_VISIBLE_DEVICES"] == "1,3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert slot_environment("cuda", "cuda:1,cuda:3")["CUDA_VISIBLE_DEVICES"] == "5,7"


def test_the_options_are_refused_in_words(tmp_path):
    for processes, shard, words in ((0, False, "0 processes"), (1, True, "nobody to split"), (2000, False, "2000")):
        with pytest.raises(SettingsError, match=words):
            asked_for(processes, shard)
    folder = new_run(tmp_path)
    asked_for(3, True)(folder)
    assert processes_of(folder) == Processes(3, True)
    change_processes(folder, 2, None)
    assert processes_of(folder) == Processes(2, True)
    change_processes(folder, 1, None)
    assert processes_of(folder) == Processes() and not (folder / "processes.json").exists()
