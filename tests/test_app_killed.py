"""The page's own process is killed in the middle of a run: the run goes on, and the next page finds it."""

import os
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from gradio_client import Client
from runs_for_tests import ROOT, processes_of, wait_until

from tests.browser.conftest import free_port
from tests.test_ui_api import SMALL, STORY, ask, until_over
from unlearning.runs import store
from unlearning.runs.ending import worker_process
from unlearning.runs.events import read
from unlearning.runs.locks import SCHEDULER_LOCK, held
from unlearning.runs.store import State


@pytest.fixture
def start_app(tmp_path):
    """Start `python app.py` on a workspace of its own; gives its process and a client."""
    started = []

    def start():
        port = free_port()
        own = {"UNLEARNING_WORKSPACE": str(tmp_path / "workspace"), "UNLEARNING_SLOTS": "cpu", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port)], cwd=ROOT, env=os.environ | own, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        started.append(process)
        address = f"http://127.0.0.1:{port}"
        assert wait_until(lambda: answers(address), 120), process.poll()
        return process, Client(address, verbose=False)

    yield start
    for process in started + processes_of(tmp_path / "workspace"):
        with suppress(psutil.NoSuchProcess):  # one that ends by itself, between the listing and the signal
            process.kill()
            process.wait(timeout=20)


def answers(address):
    import httpx

    try:
        return httpx.get(address, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.slow
def test_the_app_and_the_scheduler_are_killed_and_nothing_is_lost(start_app, tmp_path):
    app, client = start_app()
    long = SMALL | {"finetune.epochs": 12}
    run = ask(client, "start_run", text=STORY, model="random:tiny", changes=long)["run"]
    waits = ask(client, "start_run", text=STORY, model="random:tiny", changes=SMALL | {"seed": 1})["run"]
    folder = store.runs_folder(tmp_path / "workspace") / run
    assert wait_until(lambda: len([e for e in read(folder).events if e["kind"] == "step"]) > 3, 120)
    worker = worker_process(folder)
    app.kill()
    for scheduler in processes_of(tmp_path / "workspace", "unlearning.runs.scheduler"):
        scheduler.kill()
    app.wait(timeout=20)
    assert worker.is_running() and wait_until(lambda: not held(tmp_path / "workspace" / SCHEDULER_LOCK), 10)
    _, client = start_app()
    assert until_over(client, run)["state"] == "succeeded"
    assert until_over(client, waits)["state"] == "succeeded"
    events = read(folder).events
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["attempt"] for event in events if "attempt" in event] == [1]  # the worker never noticed


@pytest.mark.slow
def test_stop_is_answered_within_a_second(start_app, tmp_path):
    _, client = start_app()
    started = ask(client, "start_run", text=STORY, model="random:tiny", changes=SMALL | {"finetune.epochs": 100})
    folder = store.runs_folder(tmp_path / "workspace") / started["run"]
    assert wait_until(lambda: len([e for e in read(folder).events if e["kind"] == "step"]) > 3, 120)
    usual = max(seconds(lambda: ask(client, "run_status", run=started["run"])) for _ in range(3))
    took = seconds(lambda: ask(client, "stop_run", run=started["run"], key=started["key"]))
    print(f"\nstop answered in {took:.2f} s, a look at the state in {usual:.2f} s")
    assert took < 1.0 + usual  # a machine that is busy with other tests takes its time for anything
    assert ask(client, "run_status", run=started["run"])["state"] in (State.CANCELLING, State.CANCELLED)
    assert until_over(client, started["run"])["state"] == "cancelled"


def seconds(act):
    began = time.monotonic()
    act()
    return time.monotonic() - began
