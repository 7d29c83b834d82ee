"""From a draft to a run: what is refused, what goes along, and that pressing twice starts one."""

import json
from pathlib import Path

import pytest
from runs_for_tests import wait_for, workspace  # noqa: F401
from ui_for_tests import make_context

from unlearning.config import make_settings
from unlearning.errors import (
    AnchorError,
    DocumentError,
    ModelNotFoundError,
    PromptError,
    SettingsError,
    UnlearningError,
)
from unlearning.runs import store
from unlearning.runs.record import read_settings
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.documents import Document
from unlearning.text.prompts import Probe
from unlearning.training.stages import Work
from unlearning.ui import form, launch, text, unlearn
from unlearning.ui.drafts import DraftStore
from unlearning.ui.follow import is_mine

DRAFT = "a" * 24
TINY = {"model.name": "random:tiny"}
WATCHED = [Probe("The keeper saw the", (" boat",)), Probe("The capital of France is", (" Paris",), "control")]


@pytest.fixture
def draft(workspace):
    """A draft whose text is also the orders for the counting executor."""
    one = DraftStore(workspace).open(DRAFT)
    one.take_document(Document("Orders", json.dumps({"steps": 3})))
    one.change(Dictionary((Anchor("steps", ("stairs",)),)), "a test")
    return one


def test_pressing_twice_starts_one_run(workspace, draft):
    settings = make_settings("standard", TINY)
    first = launch.start_run(workspace, draft, settings, WATCHED)
    assert launch.start_run(workspace, draft, settings, WATCHED) == first
    folder = store.runs_folder(workspace) / first
    assert is_mine(folder, DRAFT) and not is_mine(folder, "b" * 24)
    probes = json.loads((folder / "probes.json").read_text())
    assert [probe["prompt"] for probe in probes[:2]] == [probe.prompt for probe in WATCHED]
    wait_for(folder, "succeeded")
    other = launch.start_run(workspace, draft, make_settings("standard", TINY | {"seed": 1}), WATCHED)
    assert other != first
    wait_for(store.runs_folder(workspace) / other, "succeeded")


@pytest.mark.parametrize(("own", "flat"), [(1, 1), (3, 5)])
def test_the_prompts_that_were_written_are_those_that_are_watched(workspace, draft, own, flat):
    lines = [f"The keeper saw {i} → boats" for i in range(own)], [f"Number {i} is → nice" for i in range(flat)]
    watched = launch.read_watched(*map("\n".join, lines))
    folder = store.runs_folder(workspace) / launch.start_run(workspace, draft, make_settings("standard", TINY), watched)
    settings = read_settings(folder)
    assert settings.evaluation.watch == own + flat  # what the time is estimated from
    work = Work(folder, settings, None, None, lambda kind, **fields: None, lambda: False)
    assert [(probe.prompt, probe.targets, probe.kind) for probe in work.watched] == [
        (probe.prompt, probe.targets, probe.kind) for probe in watched
    ]
    assert len(work.probes) > own + flat
    wait_for(folder, "succeeded")


def test_what_is_missing_is_said(workspace, draft):
    settings = make_settings("standard", TINY)
    draft.change(Dictionary(()), "empty")
    with pytest.raises(AnchorError, match="dictionary is empty"):
        launch.start_run(workspace, draft, settings, WATCHED)
    draft.change(Dictionary((Anchor("steps", ("steps",)),)), "wrong")
    with pytest.raises(AnchorError, match="row 1"):
        launch.start_run(workspace, draft, settings, WATCHED)
    draft.take_document(Document("Nothing", " "))
    with pytest.raises(DocumentError, match="no text"):
        launch.start_run(workspace, draft, settings, WATCHED)
    assert store.list_runs(workspace) == []


@pytest.mark.parametrize(
    "name", ["/etc", "..", "./x", "~/models", "C:\\models", "", "a/b/c", "x" * 300, "<script>", "a\0b"]
)
def test_a_page_opens_no_folder(workspace, draft, name):
    with pytest.raises(UnlearningError):
        launch.check_model(name)


@pytest.mark.parametrize("name", ["/etc", "/nowhere", "tests", "../x"])
def test_a_page_does_not_say_which_folders_there_are(name, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda path: pytest.fail(f"looked at {path}"))
    with pytest.raises(ModelNotFoundError, match="There is no model"):
        launch.check_model(name)


def test_the_form_looks_at_no_folder_either(tmp_path):
    values = form.values_of(make_settings("standard", {"model.name": str(tmp_path)}))
    said, _ = unlearn.summarise(make_context(tmp_path), {"step": "unlearn", "draft": DRAFT}, *values)
    assert "There is no model" in said["error"]


def test_what_the_form_was_filled_in_with_is_there_without_a_run(tmp_path):
    context, where = make_context(tmp_path), {"step": "unlearn", "draft": DRAFT}
    opened = unlearn.on_open(context, where)
    assert not (tmp_path / "drafts").exists()  # looking takes no space
    usual, values = list(opened[4:6]), list(opened[6:-3])
    model, alpha = 1, 4 + [setting.path for setting in form.advanced()].index("label.alpha")
    values[model], values[alpha] = "random:tiny", 3.5
    unlearn.filled_in(context, where, "The keeper saw the → boat", usual[1], *values)
    again = unlearn.on_open(context, where)
    assert list(again[4:6]) == ["The keeper saw the → boat", usual[1]]
    assert (again[6 + model], again[6 + alpha]) == ("random:tiny", 3.5)
    unlearn.filled_in(context, where, *usual, *values[:alpha], -1.0, *values[alpha + 1 :])  # refused
    again = unlearn.on_open(context, where)
    assert list(again[4:6]) == usual and again[6 + alpha] == 3.5
    text.teach(context, where, True)
    assert unlearn.on_open(context, where)[6 + 3] is True and unlearn.on_open(context, where)[6 + alpha] == 3.5
    context.drafts.open(DRAFT).take_document(Document("Another", "Tobias met Pepperpot by the river."))
    assert unlearn.on_open(context, where)[6 + alpha] == opened[6 + alpha]  # it was filled in for the other text


def test_folder_that_looks_like_a_hub_id_is_not_opened(tmp_path, monkeypatch):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="folder"):
        launch.check_model("owner/name")


def test_lines_and_probes_are_the_same():
    probes = [Probe("The Cheshire", (" Cat",)), Probe("a ‘b’ c", (" d e",))]
    assert launch.read_lines(launch.write_lines(probes), "probe") == probes
    assert launch.read_lines("\n  The Mad -> Hatter \n\n", "control") == [Probe("The Mad", (" Hatter",), "control")]


@pytest.mark.parametrize("line", ["no arrow", "→ only a word", "only a beginning →", "a → b → c", "x" * 3000 + " → y"])
def test_lines_that_cannot_be_read_are_named(line):
    with pytest.raises(PromptError, match="Line 2 of the watched prompts"):
        launch.read_lines(f"The Mad → Hatter\n{line}", "probe")


def test_the_texts_words_are_never_watched_without_a_control():
    with pytest.raises(PromptError, match="no control"):
        launch.read_watched("The Mad → Hatter", " ")
    kinds = [probe.kind for probe in launch.read_watched("The Mad → Hatter", "The capital of France is → Paris")]
    assert kinds == ["probe", "control"]
    assert launch.read_watched("", "") == []


def test_too_many_lines_are_refused():
    with pytest.raises(PromptError, match="41"):
        launch.read_lines("The Mad → Hatter\n" * 41, "probe")
