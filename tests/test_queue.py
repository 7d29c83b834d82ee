"""The queue: first come first served, owners in turn, with expected starts, whatever the clock says."""

import math
import time

import pytest
from runs_for_tests import make_run, wait_for, workspace  # noqa: F401

from unlearning.errors import RunBusyError, RunError
from unlearning.runs import queue, scheduler, store
from unlearning.runs.durable import write_json
from unlearning.runs.events import EventWriter, read
from unlearning.runs.locks import WORKER_LOCK, take
from unlearning.runs.machine import slot_environment, suits
from unlearning.runs.progress import expected_left
from unlearning.runs.store import State


def with_budget(workspace, seconds):
    stages = {"reinforce": {"seconds": seconds / 2}, "finetune": {"seconds": seconds / 2}}
    return make_run(workspace, extra={"budget": {"seconds": seconds, "stages": stages}})


def test_first_come_first_served_even_if_the_clock_was_set_back(workspace, monkeypatch):
    folders = [make_run(workspace) for _ in range(5)]
    order = [folders[index] for index in (3, 0, 4, 1, 2)]
    now = time.time()
    for hours, folder in enumerate(order):
        monkeypatch.setattr(time, "time", lambda hours=hours: now - hours * 3600)
        queue.enqueue(folder)
    assert queue.waiting(workspace) == order
    assert queue.enqueue(order[0]) is State.QUEUED  # pressing start again keeps the place
    assert queue.waiting(workspace) == order
    queue.request_stop(order[1])
    queue.enqueue(order[1])  # who leaves and comes back queues at the end
    assert queue.waiting(workspace) == [order[0], *order[2:], order[1]]


def owned(workspace, owner):
    budget = {"seconds": 10.0, "stages": {"finetune": {"seconds": 10.0}}}
    return make_run(workspace, {"steps": 2}, extra={"owner": owner, "budget": budget})


def test_people_take_turns_and_nobody_waits_for_all_runs_of_another(workspace):
    many = [owned(workspace, "ann") for _ in range(4)]
    ben, cleo = [owned(workspace, "ben") for _ in range(2)], owned(workspace, "cleo")
    for folder in (*many, *ben, cleo):
        queue.enqueue(folder)
    order = [many[0], ben[0], cleo, many[1], ben[1], many[2], many[3]]
    assert queue.waiting(workspace) == order
    found = queue.places(workspace)
    assert [(place.folder, place.position, place.starts_in_s) for place in found] == [
        (folder, place + 1, 10.0 * place) for place, folder in enumerate(order)
    ]
    for folder in order[:4]:  # they are served; who comes now joins the turn that is reached, behind those in it
        (folder / "queued").unlink()
    dora = owned(workspace, "dora")
    queue.enqueue(dora)
    assert queue.waiting(workspace) == [ben[1], dora, many[2], many[3]]
    again = owned(workspace, "dora")
    queue.enqueue(again)
    assert queue.waiting(workspace) == [ben[1], dora, many[2], again, many[3]]


def test_the_scheduler_serves_people_in_turn(workspace):
    ann, ben = [owned(workspace, "ann") for _ in range(3)], owned(workspace, "ben")
    for folder in (*ann, ben):
        queue.enqueue(folder)
    scheduler.ensure(workspace)
    wait_for(ann[-1], State.SUCCEEDED)
    began = {folder: read(folder).events[0]["time"] for folder in (*ann, ben)}
    assert sorted(began, key=began.__getitem__) == [ann[0], ben, *ann[1:]]


def test_an_imported_run_is_queued_as_that_of_its_new_owner(workspace):
    first, other = (owned(workspace, "ann") for _ in range(2))
    write_json(other / "meta.json", {"owner": "ben"})
    line = [make_run(workspace) for _ in range(2)]  # of the command line
    for folder in (first, *line, other):
        queue.enqueue(folder)
    assert queue.waiting(workspace) == [first, line[0], other, line[1]]


def test_positions_and_expected_starts(workspace):
    at_work, second, third = (with_budget(workspace, seconds) for seconds in (100, 40, 10))
    unknown, last = make_run(workspace), with_budget(workspace, 5)
    with take(at_work / WORKER_LOCK), EventWriter(at_work) as events:
        write_json(at_work / "worker.json", {"slot": "cpu"})
        events("stage", stage="reinforce", state="started")
        events("step", stage="reinforce", step=5, steps=10, seconds_left=30.0)
        for folder in (second, third, unknown, last):
            queue.enqueue(folder)
        found = [(place.folder, place.position, place.starts_in_s) for place in queue.places(workspace)]
    assert found == [(second, 1, 80.0), (third, 2, 120.0), (unknown, 3, 130.0), (last, 4, None)]


def test_a_run_that_goes_on_is_expected_to_take_what_is_left_of_it(workspace):
    stages = {"reinforce": {"seconds": 30.0, "steps": 10}, "finetune": {"seconds": 60.0, "steps": 20}}
    stages["evaluate"] = {"seconds": 8.0, "steps": 3}
    folder = make_run(workspace, extra={"budget": {"seconds": 100.0, "stages": stages}})
    assert expected_left(folder) == 100.0  # two seconds of loading among it
    (folder / "stages/reinforce").mkdir(parents=True)
    write_json(folder / "stages/reinforce/stage.json", {})
    for step in (4, 5):
        (folder / f"stages/finetune/checkpoints/step-{step:06d}").mkdir(parents=True)
    assert expected_left(folder) == 2 + 60 * 15 / 20 + 8
    write_json(folder / "stages/finetune/stage.json", {})
    (folder / "stages/finetune/checkpoints/step-000020").mkdir()
    assert expected_left(folder) == 2 + 8
    write_json(folder / "result.json", {"state": "succeeded"})
    queue.enqueue_more(folder, 4)
    behind = make_run(workspace)
    queue.enqueue(behind)
    assert [place.starts_in_s for place in queue.places(workspace)] == [0.0, 2 + 60 * 4 / 20 + 8]


def test_two_devices_share_the_queue(workspace, monkeypatch):
    monkeypatch.setenv("UNLEARNING_SLOTS", "cpu,cpu")
    folders = [with_budget(workspace, seconds) for seconds in (100, 30, 10)]
    for folder in folders:
        queue.enqueue(folder)
    assert [place.starts_in_s for place in queue.places(workspace)] == [0.0, 0.0, 30.0]


def test_what_cannot_be_asked_is_said(workspace):
    folder = make_run(workspace)
    with pytest.raises(RunError, match="is draft: there is nothing to stop"):
        queue.request_stop(folder)
    with pytest.raises(RunError, match="is draft, not ended"):
        queue.enqueue_more(folder, 5)
    write_json(folder / "result.json", {"state": "succeeded"})
    with pytest.raises(RunError, match="has ended") as refused:
        queue.enqueue(folder)
    assert f"runs continue {folder.name}" in refused.value.hint
    with pytest.raises(RunError, match="0 more steps"):
        queue.enqueue_more(folder, 0)
    (folder / "result.json").unlink()
    with take(folder / WORKER_LOCK):
        assert queue.enqueue(folder) is State.RUNNING  # already at work: no error
        queue.request_stop(folder)
        with pytest.raises(RunBusyError, match="still being stopped"):
            queue.enqueue(folder)


def test_more_steps_reopen_the_last_two_stages_only(workspace):
    folder = make_run(workspace)
    for stage in ("reinforce", "finetune", "evaluate"):
        (folder / "stages" / stage).mkdir(parents=True)
        write_json(folder / "stages" / stage / "stage.json", {})
    write_json(folder / "stages/evaluate/unlearned.json", {})
    write_json(folder / "result.json", {"state": "succeeded"})
    assert queue.enqueue_more(folder, 50) is State.QUEUED and queue.extra_steps(folder) == 50
    assert (folder / "stages/reinforce/stage.json").exists()
    assert not (folder / "stages/finetune/stage.json").exists() and not (folder / "stages/evaluate").exists()
    (folder / "queued").unlink()
    write_json(folder / "result.json", {"state": "succeeded"})
    queue.enqueue_more(folder, 7)
    assert queue.extra_steps(folder) == 57


@pytest.mark.parametrize(
    ("device", "slots", "suited"),
    [
        ("auto", ("cpu",), {"cpu"}),
        ("auto", ("cuda:0", "cuda:1", "cpu"), {"cuda:0", "cuda:1"}),
        ("auto", ("mps", "cpu"), {"mps"}),
        ("cpu", ("cuda:0", "cpu"), {"cpu"}),
        ("cuda", ("cuda:0", "cuda:1", "cpu"), {"cuda:0", "cuda:1"}),
        ("cuda:1", ("cuda:0", "cuda:1", "cpu"), {"cuda:1"}),
        ("cuda:7", ("cuda:0", "cpu"), {"cpu"}),
        ("tpu", ("cpu",), {"cpu"}),
        ("cuda", ("cpu",), {"cpu"}),
    ],
)
def test_which_device_suits_which_run(device, slots, suited):
    assert {slot for slot in slots if suits(device, slot, slots)} == suited


def test_a_run_sees_only_the_card_it_was_given(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert slot_environment("auto", "cuda:1")["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    assert slot_environment("cuda", "cuda:1")["CUDA_VISIBLE_DEVICES"] == "GPU-abc"
    assert "CUDA_VISIBLE_DEVICES" not in slot_environment("cuda:1", "cuda:1")
    assert slot_environment("auto", "cpu") == {"UNLEARNING_SLOT": "cpu"}


def test_a_ticket_that_cannot_be_read_comes_first_rather_than_never(workspace):
    first, second = make_run(workspace), make_run(workspace)
    queue.enqueue(first), queue.enqueue(second)
    (second / "queued").write_bytes(b"\0")
    assert queue.waiting(workspace) == [second, first]
    assert store.state(second) is State.QUEUED and math.isfinite(len(queue.places(workspace)))
