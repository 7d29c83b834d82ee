"""The Runs screen's deeds: whose runs are listed, what may be done with them, what can be downloaded."""

import json
import os
import shutil
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
from finished_run import DRAFT, HOSTILE, finished  # noqa: F401
from ui_for_tests import make_context

from unlearning.config import make_settings
from unlearning.errors import RunError
from unlearning.runs import archive, store
from unlearning.runs.record import read_settings
from unlearning.ui import runs, shelf
from unlearning.ui.drafts import DraftStore
from unlearning.ui.follow import owner_of
from unlearning.ui.jobs import Job, Jobs

OTHER = "b" * 24


@pytest.fixture
def shelved(finished, tmp_path):
    """(workspace, run folder): a copy of the finished run that may be changed, with a stranger's beside it."""
    folder = tmp_path / "runs" / finished.name
    shutil.copytree(finished, folder)
    store.create(tmp_path, make_settings(), {"text.txt": "x"}, title="Not mine", extra={"owner": owner_of(OTHER)})
    return tmp_path, folder


def act(shelved, what, **more):
    workspace, folder = shelved
    question = {"act": what, "run": folder.name, "draft": DRAFT} | more
    return shelf.act(workspace, DraftStore(workspace), question)


def test_everybody_sees_their_own(shelved):
    workspace, folder = shelved
    mine, other = shelf.rows(workspace, DRAFT)["runs"], shelf.rows(workspace, OTHER)["runs"]
    assert [row["id"] for row in mine] == [folder.name] and [row["text"] for row in other] == ["Not mine"]
    row = mine[0]
    assert row["state"] == "succeeded" and row["name"].startswith("Run <script>alert(1)</script>")
    assert len(row["spark"]) > 1 and row["before"] is not None
    assert row["forgotten"] in ("yes", "partly", "no", "unknown")
    assert "unlearned" in row["roles"] and json.dumps(mine, allow_nan=False)


def test_delete_and_restore(shelved):
    workspace, folder = shelved
    assert "trash" in act(shelved, "delete")["said"] and not folder.exists()
    assert [run["id"] for run in shelf.rows(workspace, DRAFT)["trash"]] == [folder.name]
    assert shelf.rows(workspace, OTHER)["trash"] == []
    assert "error" in act(shelved, "restore", draft=OTHER)
    assert "back" in act(shelved, "restore")["said"] and folder.exists()
    assert "error" in act(shelved, "restore")


@pytest.mark.parametrize("what", ["delete", "rename", "continue", "resume", "stop"])
def test_strangers_may_not(shelved, what):
    assert "Somebody else" in act(shelved, what, draft=OTHER, name="x", steps=3)["error"]
    assert shelved[1].exists()


@pytest.mark.parametrize("question", [
    {"act": "delete", "run": "../runs"}, {"act": "delete", "run": None}, {"act": "rename", "name": ""},
    {"act": "rename", "name": "x" * 256}, {"act": "continue", "steps": 0}, {"act": "continue", "steps": "many"},
    {"act": "continue", "steps": 10**9}, {"act": "nonsense"}, {},
])  # fmt: skip
def test_what_makes_no_sense_is_refused_in_words(shelved, question):
    workspace, folder = shelved
    answer = shelf.act(workspace, DraftStore(workspace), {"run": folder.name, "draft": DRAFT} | question)
    assert answer["error"] and "Traceback" not in answer["error"] and folder.exists()


def test_any_name_is_a_name(shelved):
    assert "said" in act(shelved, "rename", name=HOSTILE)
    assert "<script>alert(1)</script>" in store.load(shelved[1]).name


def test_settings_are_copied_to_the_draft(shelved):
    workspace, folder = shelved
    assert "said" in act(shelved, "copy", draft=OTHER)  # whoever may look may copy
    kept = DraftStore(workspace).open(OTHER).settings
    assert make_settings(kept["preset"], kept["changes"]) == read_settings(folder)


@pytest.mark.parametrize("where", ["settings", "other"])
def test_a_run_that_names_a_folder_as_its_model_is_not_brought_in(shelved, where):
    workspace, folder = shelved
    config = json.loads((folder / "config.json").read_text())
    if where == "settings":
        config["settings"]["model"]["name"] = "/etc"
    else:
        config["other"] = "/etc"
    (folder / "config.json").write_text(json.dumps(config))
    before = sorted((workspace / "runs").iterdir())
    _, said, _ = runs.bring_in(make_context(workspace), {"draft": OTHER}, str(made(folder, "run")))
    assert "There is no model '/etc'" in said and sorted((workspace / "runs").iterdir()) == before
    if where == "settings":
        assert "There is no model '/etc'" in act(shelved, "copy")["error"]


def test_side_by_side(shelved):
    workspace, folder = shelved
    copied = workspace / "runs" / "zzzzzzz1"
    shutil.copytree(folder, copied)
    config = json.loads((copied / "config.json").read_text())
    config["settings"]["label"]["alpha"] = 9.0
    (copied / "config.json").write_text(json.dumps(config))
    found = shelf.beside(workspace, [folder.name, copied.name])
    assert found["settings"] == {"label.alpha": [5.0, 9.0]} and len(found["curves"][0]) > 1
    assert found["figures"]["Probability familiarity"][0] == found["figures"]["Probability familiarity"][1]
    for ids in (None, [], [folder.name], ["..", "x"], [folder.name] * 7):
        assert "error" in shelf.beside(workspace, ids)


# --- files ---


def made(folder, what):
    return Path(shelf.make_file(folder, what, Job("test", lambda job: None)))


def test_report_adapter_and_everything(shelved):
    workspace, folder = shelved
    assert made(folder, "report").read_text(encoding="utf-8").startswith("<!doctype html>")
    with zipfile.ZipFile(made(folder, "adapter")) as packed:
        assert any(name.endswith("adapter_model.safetensors") for name in packed.namelist())
    whole = made(folder, "run")
    again = archive.import_run(workspace, whole)
    assert again.state == "succeeded" and again.id != folder.name


def test_files_that_were_downloaded_long_ago_go(shelved, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, new = made(shelved[1], "report"), made(shelved[1], "report")
    mine = tmp_path / "forgetting-something-else"
    mine.mkdir()
    for folder in (old.parent, mine):
        os.utime(folder, (time.time() - 2 * 3600,) * 2)
    made(shelved[1], "report")
    assert not old.parent.exists() and new.exists() and mine.exists()


def test_an_exported_run_is_brought_in_by_whoever_uploads_it_and_nothing_that_grows_too_large(shelved, monkeypatch):
    workspace, folder = shelved
    context, where = make_context(workspace), {"step": "runs", "draft": OTHER}
    cleared, said, listed = runs.bring_in(context, where, str(made(folder, "run")))
    assert cleared is None and said["kind"] == "good" and listed["draft"] == OTHER
    assert listed["new"] in [row["id"] for row in shelf.rows(workspace, OTHER)["runs"]]
    monkeypatch.setattr(runs, "LARGEST_UNPACKED", 10_000)
    zipped = made(folder, "run")
    _, said, _ = runs.bring_in(context, where, str(zipped))
    assert "too large when unpacked" in said and not zipped.exists()


def test_files_of_nothing_are_refused(shelved):
    workspace, folder = shelved
    for question in ({"run": "../x", "what": "run"}, {"run": folder.name, "what": "../../etc/passwd"}, {}):
        assert "error" in shelf.pack(workspace, Jobs(), question)
    shutil.rmtree(folder / "stages")
    with pytest.raises(RunError):
        made(folder, "adapter")
