"""`python -m unlearning runs …`, as a person types it."""

import json
import re
import subprocess
import sys
import time

import pytest
from runs_for_tests import ROOT, make_run, wait_for, wait_until, workspace  # noqa: F401

from unlearning.cli import main
from unlearning.runs import store
from unlearning.runs.durable import write_json
from unlearning.runs.events import EventWriter, read
from unlearning.runs.store import State


@pytest.fixture
def runs(workspace, monkeypatch, capsys):
    """Type a command; gives what was printed."""
    monkeypatch.setenv("UNLEARNING_WORKSPACE", str(workspace))

    def typed(*arguments, status=0):
        ended = main(["runs", *map(str, arguments)])
        printed = "".join(capsys.readouterr())
        assert ended == status, printed
        return printed

    return typed


def finished(workspace, name, alpha=5.0):
    folder = make_run(workspace, name=name)
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["label"]["alpha"] = alpha
    config["budget"] = {"seconds": 60.0, "peak_bytes": 1e9}
    write_json(folder / "config.json", config)
    spent = {"seconds": 65.2, "peak_bytes": 1.1e9, "disk_bytes": 2e7}
    write_json(folder / "summary.json", {"state": "succeeded", "spent": spent, "headline": {"familiarity": 0.04}})
    write_json(folder / "result.json", {"state": "succeeded"})
    return folder


def test_list_and_show_and_compare(workspace, runs, tmp_path):
    one, two = finished(workspace, "[red]one[/red] 🦊"), finished(workspace, "two", alpha=3.0)
    shown = runs("list", "--json", tmp_path / "list.json")
    assert "[red]one[/red]" in shown and one.name in shown and "1:05" in shown
    rows = json.loads((tmp_path / "list.json").read_text())
    assert [row["name"] for row in rows] == ["two", "[red]one[/red] 🦊"] and rows[0]["state"] == "succeeded"
    shown = runs("show", "two", "--json", tmp_path / "show.json")
    assert "1:05, 1:00 expected" in shown and "0.04" in shown
    assert json.loads((tmp_path / "show.json").read_text())["settings"]["label"]["alpha"] == 3.0
    shown = runs("compare", one.name, two.name)
    assert "label.alpha" in shown and "label.top_k" not in shown and "familiarity" in shown


def test_from_start_to_end_and_what_follow_prints(workspace, runs):
    folder = make_run(workspace, {"steps": 4}, name="demo")
    said = runs("start", "demo", "--follow")
    assert "Started." in said and "Took 0:" in said and f"Run {folder.name} ended." in said
    assert re.search(r"second\s.*4/4", said)
    assert store.state(folder) is State.SUCCEEDED
    assert "has ended" in runs("resume", folder.name, status=2)


def test_stop_answers_within_a_second_and_resume_goes_on(workspace, runs):
    folder = make_run(workspace, {"steps": 60, "sleep": 0.05, "every": 1000})
    runs("start", folder.name)
    assert wait_until(lambda: len(read(folder).events) > 5, 60)
    began = time.monotonic()
    said = runs("stop", folder.name)
    took = time.monotonic() - began  # of the command itself: starting Python comes on top of it
    assert re.search("cancelling|cancelled", said) and took < 1
    wait_for(folder, State.CANCELLED)
    assert "there is nothing to stop" in runs("stop", folder.name, status=2)
    assert "was stopped" in runs("follow", folder.name, status=1)
    assert "0 blocks" in runs("resume", folder.name, "--pass-blocks", "0", status=2)
    assert f"Run {folder.name} is queued" in runs("resume", folder.name, "--pass-blocks", "3")
    assert json.loads((folder / "passes.json").read_text()) == {"most": 3}
    wait_for(folder, State.SUCCEEDED)


def test_continue_takes_more_steps(workspace, runs):
    folder = finished(workspace, "done")
    config = json.loads((folder / "config.json").read_text())
    config["budget"]["stages"] = {"finetune": {"seconds": 60.0, "steps": 20}}
    write_json(folder / "config.json", config)
    (folder / "stages/finetune/checkpoints/step-000020").mkdir(parents=True)
    said = runs("continue", "done", "5")
    assert "queued" in said and "Expected to take 0:15." in said
    assert json.loads((folder / "more.json").read_text()) == {"finetune": 5}
    wait_for(folder, State.SUCCEEDED)


def test_copy_with_a_setting_changed(workspace, runs):
    folder = finished(workspace, "done")
    runs("copy", "done", "--set", "finetune.pass_blocks=2", "--set", "model.name=random:tiny", "--name", "smaller")
    copied = store.load(store.find(workspace, "smaller"))
    assert copied.config["settings"]["finetune"]["pass_blocks"] == 2 and copied.state is State.DRAFT
    assert copied.config["settings"]["model"]["name"] == "random:tiny" and copied.config["copied_from"] == folder.name
    assert "no setting 'label.alhpa'" in runs("copy", "done", "--set", "label.alhpa=2", status=2)
    assert "changes nothing" in runs("copy", "done", "--set", "label.alpha", status=2)


def test_export_import_rename_delete_restore_empty(workspace, runs, tmp_path):
    folder = finished(workspace, "one")
    runs("export", "one", tmp_path / "one.zip")
    runs("rename", "one", "first")
    runs("import", tmp_path / "one.zip")
    assert {run.name for run in store.list_runs(workspace)} == {"one", "first"}
    assert "trash --restore" in runs("delete", "one", "first")
    assert "first" in runs("trash", "--json", tmp_path / "trash.json") and store.list_runs(workspace) == []
    runs("trash", "--restore", folder.name)
    assert [run.name for run in store.list_runs(workspace)] == ["first"]
    assert "freed" in runs("trash", "--empty")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "nothing"), "There is no run 'nothing'"),
        (("stop", "../../etc"), "There is no run"),
        (("import", "absent.zip"), "There is no file absent.zip"),
        (("continue", "x", "many"), "valid integer"),
        (("trash", "--restore", "x"), "no run 'x' in the trash"),
        (("juggle",), "No such command 'juggle'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(runs, arguments, words):
    said = runs(*arguments, status=2)
    assert words in said and len(said.strip().splitlines()) == 1


def test_the_reason_of_a_failure_is_shown(workspace, runs):
    folder = make_run(workspace, {"fail": "memory"}, name="large")
    assert "Out of memory" in runs("start", "large", "--follow", status=1)
    shown = runs("show", folder.name)
    assert "Out of memory" in shown and "pass_blocks" in shown


def test_watching_can_be_left_and_the_run_goes_on(workspace, runs):
    folder = make_run(workspace, {"steps": 1000, "sleep": 0.05})
    command = [sys.executable, "-m", "unlearning", "runs", "start", "--follow", folder.name]
    watcher = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert wait_until(lambda: len(read(folder).events) > 5, 60)
    time.sleep(0.5)
    watcher.send_signal(2)
    _, said = watcher.communicate(timeout=20)
    assert watcher.returncode == 130 and "The run goes on" in said
    assert store.state(folder) is State.RUNNING
    runs("stop", folder.name, "--wait")
    assert store.state(folder) is State.CANCELLED


def test_follow_shows_hostile_words_as_words(workspace, runs):
    folder = finished(workspace, "x")
    with EventWriter(folder) as events:
        events("warning", message="[bold]not markup[/bold] {x} \x1b[31m")
        events("sample", step=3, prompt="[link=x]P[/link]", text="[/]")
        events("step", stage="[red]", step=1, steps=2, loss=None)
    said = runs("follow", folder.name)
    assert "[bold]not markup[/bold]" in said and "[link=x]P[/link] …[/]" in said and "\x1b[31m" not in said
