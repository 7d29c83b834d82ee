"""The store: a run is a folder, and its state follows from its files."""

import copy
import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from runs_for_tests import ROOT, make_run, next_line, workspace  # noqa: F401

from unlearning.config import make_settings
from unlearning.errors import RunDamagedError, RunError, RunNotFoundError, SettingsError
from unlearning.runs import queue, record, store
from unlearning.runs.durable import write_json
from unlearning.runs.events import EventWriter
from unlearning.runs.locks import WORKER_LOCK, held, take
from unlearning.runs.store import State

NAMES = [
    "two words", "it's \"quoted\"", "../../etc/passwd", "🦊🦊 ünïcode 狐", "x" * 255, "a/b\\c:d*e?f", "-rf", "👨‍👩‍👧",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_kept_and_is_never_a_path(workspace, name):
    folder = make_run(workspace, name=name)
    run = store.load(folder)
    assert run.name == name and store.find(workspace, name) == folder
    assert len(run.id) == 8 and run.id.isalnum() and folder.parent == workspace / "runs"
    store.rename(folder, name[::-1])
    assert store.load(folder).name == " ".join(name[::-1].split())


def test_names_that_cannot_be(workspace):
    with pytest.raises(SettingsError, match="256"):
        make_run(workspace, name="x" * 256)
    folder = make_run(workspace, name="a\nb\tc\x00\u202ed")
    assert store.load(folder).name == "a b c d"
    with pytest.raises(SettingsError, match="empty"):
        store.rename(folder, " \n ")


def test_config_holds_what_is_needed_elsewhere(workspace):
    run = store.create(
        workspace, make_settings(changes={"seed": 7}), {"text.txt": "Ärger im Wald", "anchors.json": "[]"},
        name="n", title="Wald", extra={"scenario": "wonderland"},
    )  # fmt: skip
    config = json.loads((run.folder / "config.json").read_text())
    assert config["text"]["words"] == 3 and config["text"]["characters"] == 13 and len(config["text"]["sha256"]) == 64
    assert config["settings"]["seed"] == 7 and config["scenario"] == "wonderland" and config["format"] == record.FORMAT
    assert set(config["versions"]) >= {"python", "torch", "transformers"} and config["hardware"]["cores"] >= 1
    assert set(config["inputs"]) == {"text.txt", "anchors.json"}
    assert record.read_settings(run.folder) == make_settings(changes={"seed": 7})
    record.check_inputs(run.folder)
    (run.folder / "anchors.json").write_text("[1]")
    with pytest.raises(RunDamagedError, match="anchors.json was changed"):
        record.check_inputs(run.folder)


def test_a_taught_adapter_is_one_of_the_inputs(workspace, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    folder = store.create(workspace, make_settings(), {"text.txt": "a", "taught": adapter}).folder
    assert set(record.read_config(folder)["inputs"]) == {"text.txt", "taught/adapter_model.safetensors"}
    record.check_inputs(folder)
    (folder / "taught/adapter_model.safetensors").write_bytes(b"others!")
    with pytest.raises(RunDamagedError, match=r"adapter_model\.safetensors was changed"):
        record.check_inputs(folder)


@pytest.mark.parametrize("name", ["../other.txt", "{there}", "taught/../../x", "..\\x", "D:\\x"])
def test_inputs_lie_in_the_run_and_nothing_else_is_looked_at(workspace, tmp_path, name):
    folder = make_run(workspace)
    there = tmp_path / "there.txt"
    there.write_text("private")
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"inputs": {name.format(there=there): "0"}})
    with pytest.raises(RunDamagedError, match="in 'inputs', which may lead out of the run"):
        record.check_inputs(folder)
    write_json(folder / "config.json", config | {"inputs": {"taught/.a..b": "0"}})
    with pytest.raises(RunDamagedError, match="is missing"):
        record.check_inputs(folder)


def test_a_run_needs_a_text_and_takes_no_other_files(workspace):
    with pytest.raises(SettingsError, match="needs a text"):
        store.create(workspace, make_settings(), {})
    with pytest.raises(SettingsError, match="no input '../x'"):
        store.create(workspace, make_settings(), {"text.txt": "a", "../x": "b"})
    assert store.list_runs(workspace) == []


def test_every_state_follows_from_files(workspace):
    folder = make_run(workspace)
    assert store.state(folder) is State.DRAFT
    assert queue.enqueue(folder) is State.QUEUED
    lock = take(folder / WORKER_LOCK)
    assert store.state(folder) is State.RUNNING
    (folder / "queued").unlink()
    with EventWriter(folder) as events:
        events("note", message="Started.", attempt=1)
    queue.request_stop(folder)
    assert store.state(folder) is State.CANCELLING
    lock.release()
    assert store.state(folder) is State.CANCELLED
    (folder / "cancel").unlink()
    assert store.state(folder) is State.INTERRUPTED
    write_json(folder / "failed", {"error": "X", "message": "m", "hint": "h"})
    assert store.state(folder) is State.FAILED and store.load(folder).error["hint"] == "h"
    assert queue.enqueue(folder) is State.QUEUED and not (folder / "failed").exists()
    (folder / "queued").unlink()
    write_json(folder / "result.json", {"state": "cancelled"})
    assert store.state(folder) is State.CANCELLED
    write_json(folder / "result.json", {"state": "succeeded"})
    assert store.state(folder) is State.SUCCEEDED


def test_the_lock_dies_with_its_holder(workspace):
    folder = make_run(workspace)
    code = "import sys, time; from pathlib import Path; from unlearning.runs.locks import take\n"
    code += "lock = take(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(folder / WORKER_LOCK)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert next_line(holder) == b"held\n"
        assert held(folder / WORKER_LOCK) and store.state(folder) is State.RUNNING
    finally:
        holder.kill()
        holder.wait()
    assert not held(folder / WORKER_LOCK)


def test_looking_never_disturbs_looking(tmp_path):
    """Onlookers share the lock: two of them must not take one another for a worker."""
    (tmp_path / "lock").touch()
    code = "import sys; from pathlib import Path; from unlearning.runs.locks import held\n"
    code += "print(sum(held(Path(sys.argv[1])) for _ in range(20000)))"
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    lookers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [looker.communicate(timeout=60)[0].strip() for looker in lookers] == ["0", "0"]


def test_listing_is_newest_first_by_number_even_if_the_clock_was_set_back(workspace, monkeypatch):
    now = time.time()
    folders = []
    for hours in (0, -48, -24):
        monkeypatch.setattr(time, "time", lambda hours=hours: now + hours * 3600)
        folders.append(make_run(workspace))
    assert [run.id for run in store.list_runs(workspace)] == [folder.name for folder in reversed(folders)]


def test_a_lost_counter_is_found_again(workspace):
    make_run(workspace), make_run(workspace)
    (workspace / "counter.json").write_bytes(b"\0\0")
    assert store.load(make_run(workspace)).number == 3


def test_copy_takes_inputs_and_settings(workspace):
    folder = make_run(workspace, {"steps": 3}, name="x" * 255)
    (folder / "result.json").write_text('{"state": "succeeded"}')
    copied = store.copy(folder, workspace, make_settings(changes={"seed": 5}))
    assert copied.state is State.DRAFT and copied.folder != folder and len(copied.name) <= 255
    assert (copied.folder / "text.txt").read_text() == '{"steps": 3}'
    assert copied.config["settings"]["seed"] == 5 and copied.config["copied_from"] == folder.name
    assert store.load(folder).state is State.SUCCEEDED


def test_find_by_id_beginning_name_and_path(workspace):
    folder, other = make_run(workspace, name="one"), make_run(workspace, name="two")
    assert store.find(workspace, folder.name) == folder
    assert store.find(workspace, "two") == other
    assert store.find(workspace, str(folder)) == folder.resolve()
    with pytest.raises(RunNotFoundError, match="no run 'three'"):
        store.find(workspace, "three")
    store.rename(other, "one")
    with pytest.raises(RunNotFoundError, match="may be any of"):
        store.find(workspace, "one")
    with pytest.raises(RunNotFoundError):
        store.find(workspace, "../../etc")


def test_older_formats_are_migrated_and_newer_ones_refused(workspace):
    folder = make_run(workspace)
    config = json.loads((folder / "config.json").read_text())
    old = {key: config[key] for key in ("settings", "text")}  # format 0 had no number, kind, versions, date
    write_json(folder / "config.json", old)
    assert record.read_config(folder)["kind"] == "unlearn" and store.load(folder).problem == ""
    assert queue.enqueue(folder) is State.QUEUED
    plain = copy.deepcopy(config["settings"])
    for name in ("retain_pieces", "retain_sure"):  # format 1 had neither, and meant 1 by it
        del plain["finetune"][name]
    write_json(folder / "config.json", config | {"format": 1, "settings": plain})
    assert config["settings"]["finetune"]["retain_pieces"] > 1
    assert record.read_settings(folder).finetune.retain_pieces == record.read_settings(folder).finetune.retain_sure == 1
    for number in (record.FORMAT + 1, "two", -3):
        write_json(folder / "config.json", config | {"format": number})
        with pytest.raises(RunDamagedError, match=r"format"):
            record.read_config(folder)
    assert "Make the run anew" in store.load(folder).problem


def test_settings_of_another_version_are_named(workspace):
    folder = make_run(workspace)
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["finetune"]["wizardry"] = 3
    write_json(folder / "config.json", config)
    with pytest.raises(RunDamagedError, match=r"finetune\.wizardry = 3"):
        record.read_settings(folder)
    assert store.load(folder).name  # it is still listed


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\0", b"{}", b'{"format": 1, "settings": 3, "text": {}}'])
def test_damaged_config_is_listed_with_its_problem(workspace, content):
    folder = make_run(workspace, name="still has its name")
    (folder / "config.json").write_bytes(content)
    (run,) = store.list_runs(workspace)
    assert run.name == "still has its name" and "config.json" in run.problem
    with pytest.raises(RunDamagedError):
        queue.enqueue(folder)


def test_a_moved_workspace_works_the_same(workspace, tmp_path):
    folder = make_run(workspace, name="traveller")
    moved = tmp_path / "elsewhere"
    shutil.move(workspace, moved)
    workspace.mkdir()
    assert store.find(moved, "traveller") == moved / "runs" / folder.name
    assert queue.enqueue(moved / "runs" / folder.name) is State.QUEUED


def test_a_run_outside_a_workspace_is_read_but_not_started(workspace, tmp_path):
    folder = shutil.copytree(make_run(workspace), tmp_path / "loose")
    assert store.load(folder).problem == ""
    with pytest.raises(RunError, match="not in a workspace"):
        queue.enqueue(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's rights on")
def test_read_only_workspace_is_said_as_nobody(workspace):
    code = f"""
from pathlib import Path
from unlearning.config import make_settings
from unlearning.errors import RunError
from unlearning.runs import queue, store
import os
os.setgid(65534); os.setuid(65534)
workspace = Path({str(workspace)!r})
for act in (lambda: store.create(workspace, make_settings(), {{"text.txt": "a"}}),
            lambda: store.rename(next((workspace / "runs").iterdir()), "b"),
            lambda: queue.enqueue(next((workspace / "runs").iterdir()))):
    try:
        act()
    except RunError as error:
        print(error)
print(store.list_runs(workspace)[0].state)
"""
    make_run(workspace)
    for folder in (workspace, *workspace.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.count("No permission to write") == 3 and done.stdout.count("UNLEARNING_WORKSPACE") == 3, done
    assert done.stdout.endswith("draft\n")


def test_full_disk_leaves_no_half_run(workspace):
    code = f"""
import resource
from pathlib import Path
from unlearning.config import make_settings
from unlearning.errors import RunError
from unlearning.runs import store
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    store.create(Path({str(workspace)!r}), make_settings(), {{"text.txt": "long " * 10000}})
except RunError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "The disk is full" in done.stdout, done.stderr
    assert list((workspace / "runs").iterdir()) == []


def test_listing_a_thousand_finished_runs_takes_under_a_second(workspace):
    template = make_run(workspace, name="finished")
    write_json(template / "summary.json", {"state": "succeeded", "headline": {"familiarity": 0.1}})
    write_json(template / "result.json", {"state": "succeeded", "evaluation": ["x" * 100] * 1000})
    for index in range(999):
        shutil.copytree(template, template.with_name(f"{index:08d}"))
    began = time.process_time()  # a machine that is busy with other tests takes its time for anything
    runs = store.list_runs(workspace)
    seconds = time.process_time() - began
    print(f"\n1,000 finished runs are listed in {seconds:.2f} s")
    assert len(runs) == 1000 and all(run.state is State.SUCCEEDED and run.summary["headline"] for run in runs)
    assert seconds < 1.0
