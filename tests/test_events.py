"""Events: one writer, tolerant readers, nothing lost and nothing made up."""

import json
import math
import os
import random
import subprocess
import sys
import time

import pytest
from runs_for_tests import ROOT

from unlearning.errors import RunError
from unlearning.runs.events import EVENTS, EventWriter, read, read_tail, seconds_worked, timeline


def write(folder, count, **fields):
    with EventWriter(folder) as events:
        for step in range(count):
            events("step", stage="finetune", step=step + 1, **fields)


def steps(events):
    return [event["step"] for event in events if event["kind"] == "step"]


def test_late_reader_gets_everything_and_reads_on_cheaply(tmp_path):
    write(tmp_path, 3)
    first = read(tmp_path)
    assert [event["seq"] for event in first.events] == [1, 2, 3]
    assert read(tmp_path, first.offset).events == []
    write(tmp_path, 2)
    second = read(tmp_path, first.offset)
    assert [event["seq"] for event in second.events] == [4, 5]
    assert [event["seq"] for event in read(tmp_path).events] == [1, 2, 3, 4, 5]


def test_no_file_is_no_error(tmp_path):
    assert read(tmp_path).events == [] and read_tail(tmp_path) == []


def test_half_a_line_is_not_read_until_it_is_whole(tmp_path):
    write(tmp_path, 1)
    line = json.dumps({"seq": 2, "kind": "note", "message": "ä"}).encode() + b"\n"
    with open(tmp_path / EVENTS, "ab") as file:
        file.write(line[:10])
        file.flush()
        half = read(tmp_path)
        assert [event["seq"] for event in half.events] == [1]
        file.write(line[10:])
    assert [event["seq"] for event in read(tmp_path, half.offset).events] == [2]


@pytest.mark.parametrize("seed", range(10))
def test_a_power_cut_anywhere_loses_at_most_the_cut_events(tmp_path, seed):
    """Cut the file at any byte, with or without rubbish behind it: the next writer goes on with the next number."""
    rng = random.Random(seed)
    write(tmp_path, 20, prompt="Hase — 🐇")
    path = tmp_path / EVENTS
    whole = path.read_bytes()
    cut = rng.randrange(1, len(whole))
    path.write_bytes(whole[:cut] + b"\0" * rng.choice([0, 7, 4096]))
    complete = whole[:cut].count(b"\n") + (whole[cut : cut + 1] == b"\n" and path.stat().st_size == cut)
    offset = read(tmp_path).offset
    write(tmp_path, 3)
    events = read(tmp_path).events
    assert [event["seq"] for event in events] == list(range(1, complete + 4))
    assert [event["seq"] for event in read(tmp_path, offset).events][-3:] == [complete + 1, complete + 2, complete + 3]


def test_rubbish_in_the_middle_is_skipped(tmp_path):
    write(tmp_path, 2)
    with open(tmp_path / EVENTS, "ab") as file:
        file.write(b"\xff\xfe\0\0\n[1]\n{}\n" + b"[" * 100_000 + b"\n" + b'{"seq": "x", "kind": "note"}\n')
    write(tmp_path, 1)
    assert [event["seq"] for event in read(tmp_path).events] == [1, 2, 3]


def test_clock_set_back_changes_no_order(tmp_path, monkeypatch):
    write(tmp_path, 2)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86400)
    write(tmp_path, 2)
    events = read(tmp_path).events
    assert [event["seq"] for event in events] == [1, 2, 3, 4]
    assert events[2]["time"] < events[1]["time"]
    assert all(event["elapsed"] >= 0 for event in events)


def test_numbers_that_are_no_json_and_foreign_types_are_written_readably(tmp_path):
    class Scalar:
        def item(self):
            return 0.25

    with EventWriter(tmp_path) as events:
        events("step", stage="a", step=1, loss=math.nan, terms={"x": math.inf, "y": Scalar()}, where=tmp_path)
    text = (tmp_path / EVENTS).read_text()
    assert "NaN" not in text and "Infinity" not in text
    (event,) = read(tmp_path).events
    assert event["loss"] is None and event["terms"] == {"x": None, "y": 0.25} and event["where"] == str(tmp_path)


def test_every_text_comes_back(tmp_path):
    text = "line\nbreak \u2028 \0 🐇 \ud800 </script> {{x}}"
    with EventWriter(tmp_path) as events:
        events("sample", text=text)
    assert read(tmp_path).events[0]["text"] == text.replace("\ud800", "?")


def test_full_disk_is_said_and_leaves_a_readable_file(tmp_path):
    """A limit on the file's size stands for a full disk; after it is lifted, writing goes on with a whole line."""
    code = f"""
import resource, sys
from pathlib import Path
from unlearning.errors import RunError
from unlearning.runs.events import EventWriter
folder = Path({str(tmp_path)!r})
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
with EventWriter(folder) as events:
    try:
        for step in range(100):
            events("step", stage="a", step=step + 1)
    except RunError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    events("note", message="room again")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert "The disk is full" in done.stdout and "Free some space" in done.stdout, done.stderr
    events = read(tmp_path).events
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["message"] == "room again"


def test_read_only_folder_is_said(tmp_path):
    (tmp_path / EVENTS).mkdir()  # cannot be opened for writing by anybody, root included
    with pytest.raises(RunError, match="Cannot write"):
        EventWriter(tmp_path)


def test_a_reader_beside_the_writer_sees_every_event_once(tmp_path):
    code = f"""
from pathlib import Path
from unlearning.runs.events import EventWriter
with EventWriter(Path({str(tmp_path)!r})) as events:
    for step in range(3000):
        events("step", stage="a", step=step + 1, text="x" * (step % 300))
"""
    writer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    seen, offset, end = [], 0, time.monotonic() + 30
    while time.monotonic() < end:
        ended = writer.poll() is not None
        found = read(tmp_path, offset)
        seen, offset = seen + [event["seq"] for event in found.events], found.offset
        if ended and not found.events:
            break
    assert seen == list(range(1, 3001))


def test_timeline_replaces_what_was_done_again():
    def step(number, loss):
        return {"seq": 0, "kind": "step", "stage": "finetune", "step": number, "loss": loss, "role": None}

    def probe(number, p):
        return {"seq": 0, "kind": "probe", "stage": "finetune", "step": number, "p": p}

    first = [probe(0, 0.9), step(1, 1.0), step(2, 2.0), probe(2, 0.5), step(3, 3.0), step(4, 4.0), probe(4, 0.1)]
    again = [probe(2, 0.5), step(3, 3.5), {"seq": 0, "kind": "note", "message": "x"}, step(4, 4.5), probe(4, 0.2)]
    kept = timeline(first + again)
    assert [(e["step"], e["loss"]) for e in kept if e["kind"] == "step"] == [(1, 1.0), (2, 2.0), (3, 3.5), (4, 4.5)]
    assert [(e["step"], e["p"]) for e in kept if e["kind"] == "probe"] == [(0, 0.9), (2, 0.5), (2, 0.5), (4, 0.2)]
    assert any(event["kind"] == "note" for event in kept)


def test_timeline_keeps_other_stages_roles_and_counts_of_progress():
    events = [{"kind": "step", "stage": stage, "step": n} for stage in ("teach", "reinforce") for n in (1, 2, 3)]
    events += [{"kind": "step", "stage": "evaluate", "role": role, "step": n} for role in "ab" for n in (1, 2)]
    assert timeline(events) == events
    # a stage that first prepares something counts that too, from one again after every resume
    prepares = [{"kind": "step", "stage": "teach", "step": n} for n in (1, 2)]
    trains = [{"kind": "step", "stage": "teach", "step": n, "loss": 0.5} for n in (1, 2, 3, 4)]
    assert timeline(prepares + trains[:3] + prepares + trains[2:]) == trains[:2] + prepares + trains[2:]


def test_seconds_worked_adds_the_attempts():
    elapsed = [0.0, 2.0, 5.0, 0.1, 3.0, 0.0, 0.5]
    assert seconds_worked([{"elapsed": value} for value in elapsed]) == 8.5


def test_a_whole_story_of_a_long_run_is_read_quickly(tmp_path):
    write(tmp_path, 5000, loss=1.25, terms={"generic": 1.0, "retain": 0.25}, tokens_per_s=123.4)
    began = time.perf_counter()
    events = timeline(read(tmp_path).events)
    assert len(events) == 5000 and time.perf_counter() - began < 1.0
    began = time.perf_counter()
    for _ in range(100):
        read(tmp_path, os.path.getsize(tmp_path / EVENTS))
    assert time.perf_counter() - began < 0.1
