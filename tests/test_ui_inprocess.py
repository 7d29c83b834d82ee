"""Runs inside the web process: to their end, or in slices as ZeroGPU lends its cards; and the program itself so."""

import json
import os
import re
import subprocess
import sys
import time
import types
from pathlib import Path

import psutil
import pytest
from counting_executor import expected_total
from gradio_client import Client
from runs_for_tests import make_run, processes_of, wait_for, workspace  # noqa: F401

from tests.browser.conftest import free_port
from unlearning.runs import queue, scheduler
from unlearning.runs.events import EventWriter, read
from unlearning.runs.store import State, state
from unlearning.ui import inprocess
from unlearning.worker import ASKED_TO_END, attempt

ROOT = Path(__file__).resolve().parents[1]


def slices(seconds):
    return lambda folder: attempt(Path(folder), time.monotonic() + seconds)


def result(folder):
    return json.loads((folder / "result.json").read_text())


def attempts(folder):
    return sum("attempt" in event for event in read(folder).events)


def test_the_thread_does_what_is_queued_and_no_process_is_started(workspace):
    inprocess.start(workspace)
    folder = make_run(workspace, {"steps": 5})
    scheduler.start(folder)
    wait_for(folder, "succeeded")
    assert result(folder)["total"] == expected_total(5)
    assert processes_of(workspace) == []


def test_slices_give_what_one_piece_gives_and_runs_take_turns(workspace):
    runs = [make_run(workspace, {"steps": 12, "sleep": 0.05}) for _ in range(2)]
    for folder in runs:
        queue.enqueue(folder)
    turns = []
    while queue.waiting(workspace):
        turns.append(queue.waiting(workspace)[0])
        assert inprocess.one_round(workspace, slices(0.3))
    assert turns[:4] == [runs[0], runs[1], runs[0], runs[1]]
    for folder in runs:
        assert result(folder)["total"] == expected_total(12)
        assert attempts(folder) > 2
    assert not inprocess.one_round(workspace, slices(0.3))


def test_a_run_that_is_stopped_between_slices_stays_stopped(workspace):
    folder = make_run(workspace, {"steps": 50, "sleep": 0.05})
    queue.enqueue(folder)
    inprocess.one_round(workspace, slices(0.2))
    assert state(folder) is State.QUEUED
    scheduler.stop(folder)
    assert not inprocess.one_round(workspace, slices(0.2))
    assert state(folder) is State.CANCELLED


def test_a_run_that_never_takes_a_step_is_told_so(workspace):
    folder = make_run(workspace)
    queue.enqueue(folder)

    def too_short(_):
        (folder / "queued").unlink()
        with EventWriter(folder) as events:
            events("note", message="Started.")
        return ASKED_TO_END

    for _ in range(inprocess.IDLE_SLICES):
        assert inprocess.one_round(workspace, too_short)
    assert state(folder) is State.FAILED
    assert "not taken a single step" in json.loads((folder / "failed").read_text())["message"]


def test_a_card_that_cannot_be_lent_fails_the_run_in_a_sentence(workspace):
    folder = make_run(workspace)
    queue.enqueue(folder)

    def refused(_):
        raise RuntimeError("ZeroGPU quota exceeded")

    inprocess.one_round(workspace, refused)
    assert state(folder) is State.FAILED
    assert "quota exceeded" in (folder / "failed").read_text()


def test_zero_gpu_lends_a_card_to_a_slice_and_the_rest_keeps_to_the_processor(workspace, monkeypatch):
    asked = []

    def lend(duration):
        asked.append(duration)
        return lambda function: function

    monkeypatch.setitem(sys.modules, "spaces", types.SimpleNamespace(GPU=lend))
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setenv("UNLEARNING_DEVICE", "")
    monkeypatch.setenv("UNLEARNING_GPU_SECONDS", "90")
    assert inprocess.on_zero_gpu()
    work = inprocess.lent_card()
    assert asked == [90]
    assert os.environ["UNLEARNING_DEVICE"] == "cpu"
    from unlearning.config import ModelSettings
    from unlearning.models.hardware import choose_hardware

    assert choose_hardware(ModelSettings(name="random:tiny")).device == "cpu"
    folder = make_run(workspace, {"steps": 3})
    queue.enqueue(folder)
    inprocess.one_round(workspace, work)
    assert state(folder) is State.SUCCEEDED


def test_the_readme_says_to_a_space_how_to_run_it():
    top = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    said = dict(line.split(": ", 1) for line in top.strip().splitlines())
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE))
    assert said["sdk"] == "gradio" and said["sdk_version"] == pins["gradio"]
    assert (ROOT / said["app_file"]).is_file()
    assert {said["colorFrom"], said["colorTo"]} <= set("red yellow green blue indigo purple pink gray".split())
    assert len(said["short_description"]) <= 60


@pytest.mark.slow
def test_the_program_on_a_space_does_a_run_without_a_second_process(tmp_path):
    port = free_port()
    environment = os.environ | {
        "SPACE_ID": "somebody/forgetting-lab", "UNLEARNING_WORKSPACE": str(tmp_path), "OMP_NUM_THREADS": "1",
        "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port),
    }  # fmt: skip
    environment.pop("PORT", None)
    program = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, start_new_session=True)
    try:
        client = wait_for_page(f"http://127.0.0.1:{port}", program)
        started = client.predict(model="random:tiny", changes=SMALL, api_name="/start_run")
        end, status = time.monotonic() + 240, {"state": "queued"}
        while status["state"] in ("queued", "running") and time.monotonic() < end:
            assert not [
                one for one in psutil.Process(program.pid).children() if "unlearning" in " ".join(one.cmdline())
            ]
            status = client.predict(started["run"], api_name="/run_status")
            time.sleep(0.5)
        assert status["state"] == "succeeded", status
    finally:
        program.kill()
        program.wait()


SMALL = {
    "text.block_tokens": 128, "text.max_tokens": 800, "reinforce.epochs": 1, "finetune.epochs": 1, "model.rank": 2,
    "evaluation.completions": 2, "evaluation.completion_tokens": 4, "finetune.retain_blocks": 1,
}  # fmt: skip


def wait_for_page(url, program):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert program.poll() is None
        try:
            return Client(url, verbose=False)
        except Exception:  # whatever a server that is not there yet makes of a request
            time.sleep(0.5)
    raise TimeoutError(url)
