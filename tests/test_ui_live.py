"""What the live panel is told, and what its buttons do; over a real finished run."""

import json
import time

import pytest
from finished_run import DRAFT, HOSTILE, finished  # noqa: F401
from runs_for_tests import make_run, wait_until, workspace  # noqa: F401

from unlearning.errors import RunBusyError, RunNotFoundError
from unlearning.runs import events, scheduler, store
from unlearning.training.stages import plan
from unlearning.ui import follow
from unlearning.ui.follow import act, check_mine, every, folder_of, is_mine, owner_of, planned, take_over, thinned

OTHER = "b" * 24


def ask(folder, offset=0, draft=DRAFT):
    question = {"run": folder.name, "offset": offset, "draft": draft}
    return follow.follow(folder.parents[1], question)


def test_first_answer_tells_everything(finished):
    found = ask(finished)
    assert found["state"] == "succeeded" and found["facts"]["mine"]
    assert found["facts"]["name"].startswith("Run <script>") and found["facts"]["model"] == "random:tiny"
    assert [stage["name"] for stage in found["facts"]["stages"]] == list(follow.STAGES)
    kinds = {event["kind"] for event in found["events"]}
    assert {"stage", "step", "probe", "sample", "note", "done"} <= kinds
    assert found["error"] == {} and json.dumps(found, allow_nan=False)


def test_later_answers_tell_what_is_new(finished):
    first = ask(finished)
    again = ask(finished, first["offset"])
    assert again["events"] == [] and "facts" not in again and again["offset"] == first["offset"]
    lines = (finished / "events.jsonl").read_bytes().splitlines(keepends=True)
    half = sum(map(len, lines[: len(lines) // 2]))
    rest = ask(finished, half)
    assert len(rest["events"]) == len(lines) - len(lines) // 2


def test_offset_beyond_the_end_starts_over(finished):
    found = ask(finished, 10**9)
    assert found["restart"] and found["facts"]["number"] == 1 and found["events"]


@pytest.mark.parametrize("run_id", [
    "", None, "..", "../runs/x", "/etc", "abcdefgh/..", "ABCDEFGH", "abcdefg\n", 5, ["abcdefgh"], {"a": 1}, HOSTILE,
    "zzzzzzzz",
])  # fmt: skip
def test_nothing_but_an_id_is_a_run(finished, run_id):
    with pytest.raises(RunNotFoundError):
        folder_of(finished.parents[1], run_id)
    assert follow.follow(finished.parents[1], {"run": run_id})["state"] == "missing"
    assert "error" in act(finished.parents[1], {"run": run_id, "act": "resume"})
    assert follow.log(finished.parents[1], {"run": run_id}) == ""


@pytest.mark.parametrize("question", [None, 5, "x", [], {"run": 3, "offset": "x"}])
def test_questions_without_sense(finished, question):
    assert follow.follow(finished.parents[1], question)["state"] == "missing"
    assert "error" in act(finished.parents[1], question)
    assert follow.log(finished.parents[1], question) == ""


def test_somebody_elses_run_can_be_seen_but_not_touched(finished):
    assert not ask(finished, draft=OTHER)["facts"]["mine"]
    with pytest.raises(RunBusyError):
        check_mine(finished, OTHER)
    refused = act(finished.parents[1], {"run": finished.name, "act": "stop", "draft": OTHER})["error"]
    assert "Somebody else" in refused["message"] and refused["hint"]
    assert store.state(finished) == "succeeded"


def test_buttons_start_stop_and_resume(workspace):
    folder = make_run(workspace, {"steps": 200, "pause": 0.02}, extra={"owner": owner_of(DRAFT)})
    press = lambda what: act(workspace, {"run": folder.name, "act": what, "draft": DRAFT})  # noqa: E731
    assert press("resume")["state"] in ("queued", "running")
    assert wait_until(lambda: ask(folder)["state"] == "running" and ask(folder)["events"], 20)
    assert press("stop")["state"] in ("cancelling", "cancelled")
    assert wait_until(lambda: ask(folder)["state"] == "cancelled", 20)
    assert "error" in press("stop")
    assert press("nonsense")["state"] == "cancelled"
    (folder / "output.log").write_bytes(b"x" * 50_000 + "the end \u202e".encode())
    printed = follow.log(workspace, {"run": folder.name})
    assert printed.endswith("the end \u202e") and len(printed) <= follow.LOG_BYTES


def test_queue_position_is_told(workspace):
    first = make_run(workspace, {"steps": 400, "pause": 0.02})
    second = make_run(workspace)
    scheduler.start(first)
    assert wait_until(lambda: ask(first)["state"] == "running", 20)
    scheduler.start(second)
    assert ask(second)["place"]["position"] == 1
    scheduler.stop(second)
    scheduler.stop(first, now=True)


def test_failed_run_says_why_and_what_to_do(workspace):
    folder = make_run(workspace)
    events.EventWriter(folder).close()
    (folder / "failed").write_text(json.dumps({"error": "X", "message": "It broke.", "hint": "Mend it."}))
    assert ask(folder)["error"] == {"message": "It broke.", "hint": "Mend it."}


def test_imported_run_belongs_to_its_importer(workspace):
    folder = make_run(workspace, extra={"owner": owner_of(OTHER)})
    assert not is_mine(folder, DRAFT)
    take_over(folder, DRAFT)
    assert is_mine(folder, DRAFT) and not is_mine(folder, OTHER)
    assert is_mine(make_run(workspace), DRAFT)  # the command line's runs are everybody's


def test_long_stories_are_thinned():
    told = [{"kind": "step", "stage": "finetune", "step": i, "seq": i} for i in range(5000)]
    told += [{"kind": "sample", "stage": "finetune", "step": i, "seq": 5000 + i} for i in range(200)]
    told += [{"kind": "sample", "stage": "evaluate", "role": "unlearned", "seq": 6000 + i} for i in range(80)]
    told += [{"kind": "warning", "message": "w", "seq": 9000}]
    kept = thinned(told)
    steps = [event["step"] for event in kept if event["kind"] == "step"]
    assert len(steps) <= follow.MOST_POINTS and steps[0] == 0 and steps[-1] == 4999 and steps == sorted(steps)
    samples = [event["step"] for event in kept if event["kind"] == "sample"]
    assert len(samples) == follow.MOST_SAMPLES and samples[0] == 0 and samples[-1] == 199
    assert kept[-1]["kind"] == "warning"
    assert every([1, 2, 3], 5) == [1, 2, 3]


def test_stages_are_the_engines(finished):
    from unlearning.config import make_settings
    from unlearning.scenarios import lesson

    for changes in ({}, {"teach": lesson()}, {"label.use_reinforced": False}):
        settings = make_settings("standard", changes)
        assert planned(settings.model_dump(mode="json")) == plan(settings)


def test_an_answer_costs_little(finished):
    ask(finished)
    offset = ask(finished)["offset"]
    began = time.perf_counter()
    for _ in range(50):
        ask(finished, offset)
    assert (time.perf_counter() - began) / 50 < 0.02
