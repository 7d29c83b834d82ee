"""Drafts: one person's unfinished text, dictionary and settings, on disk and nobody else's."""

import os
import time

import pytest

from unlearning.config import make_settings
from unlearning.errors import InputError
from unlearning.runs.store import create
from unlearning.scenarios import load_scenario
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.documents import Document
from unlearning.ui.drafts import KEPT_STATES, DraftStore

ID = "abcdefghijklmnop23456789"
ONE = Dictionary((Anchor("Alice", ("Clara",)),))
TWO = Dictionary((Anchor("Alice", ("Clara",)), Anchor("Dinah", ("Daisy",))))


@pytest.fixture
def drafts(tmp_path):
    return DraftStore(tmp_path)


def test_a_new_draft_is_the_default_scenario_and_takes_no_space(drafts, tmp_path):
    draft = drafts.open(ID)
    scenario = load_scenario("wonderland")
    assert draft.text == scenario.document().text
    assert draft.dictionary == scenario.dictionary()
    assert draft.about.scenario == "wonderland"
    assert not (tmp_path / "drafts").exists()


@pytest.mark.parametrize("name", ["", "../../etc", "ABCDEFGHIJKLMNOP23456789", "a" * 25, "a/" * 12, None, 7])
def test_what_is_no_id_is_refused(drafts, name):
    with pytest.raises(InputError, match="is not the name of a draft"):
        drafts.open(name)


def test_undo_and_redo_walk_through_the_states_by_name(drafts):
    draft = drafts.open(ID)
    first = draft.dictionary
    draft.change(ONE, "one")
    draft.change(TWO, "two")
    assert (draft.history.undo, draft.history.redo) == ("two", "")
    draft.undo()
    assert draft.dictionary == ONE
    assert (draft.history.undo, draft.history.redo) == ("one", "two")
    draft.undo()
    assert draft.dictionary == first
    assert draft.history.undo == ""
    draft.undo()
    assert draft.dictionary == first
    draft.redo()
    draft.redo()
    draft.redo()
    assert draft.dictionary == TWO


def test_a_change_after_undo_forgets_what_was_taken_back(drafts):
    draft = drafts.open(ID)
    draft.change(ONE, "one")
    draft.change(TWO, "two")
    draft.undo()
    draft.change(Dictionary(()), "none")
    assert draft.history.redo == ""
    draft.redo()
    assert draft.dictionary == Dictionary(())
    draft.undo()
    assert draft.dictionary == ONE


def test_everything_is_there_after_a_restart(drafts, tmp_path):
    drafts.open(ID).change(ONE, "one")
    drafts.open(ID).save_settings({"preset": "gentle"})
    again = DraftStore(tmp_path).open(ID)
    assert again.dictionary == ONE
    assert again.settings == {"preset": "gentle"}
    again.undo()
    assert again.dictionary == load_scenario("wonderland").dictionary()


def test_old_states_go_and_undo_stops_there(drafts):
    draft = drafts.open(ID)
    for i in range(KEPT_STATES + 20):
        draft.change(Dictionary((Anchor(f"term {i}", ("x",)),)), f"change {i}")
    assert len(list((draft.folder / "anchors").iterdir())) == KEPT_STATES
    steps = 0
    while draft.history.undo:
        draft.undo()
        steps += 1
    assert steps == KEPT_STATES - 1
    assert draft.dictionary.anchors[0].term == "term 20"


def test_ones_own_text_leaves_the_examples_dictionary_behind_but_not_ones_own(drafts):
    draft = drafts.open(ID)
    draft.take_document(Document("Mine", "Tobias met Pepperpot.", (), ("mine.txt",)))
    assert draft.text == "Tobias met Pepperpot."
    assert draft.about.scenario == ""
    assert draft.dictionary == Dictionary(())
    draft.change(ONE, "one")
    draft.take_document(Document("Mine, mended", "Tobias met a Pepperpot."))
    assert draft.dictionary == ONE


def test_the_examples_dictionary_goes_with_its_text_also_where_it_was_touched(drafts):
    draft = drafts.open(ID)
    draft.change(TWO, "fewer")
    draft.take_document(Document("Mine", "Tobias met Pepperpot."))
    assert draft.dictionary == Dictionary(()) and draft.history.undo == "the new text"
    draft.undo()
    assert draft.dictionary == TWO


def test_a_scenario_that_waits_for_its_text_keeps_its_dictionary(drafts):
    draft = drafts.open(ID)
    draft.take_scenario("wizard-school")
    assert draft.text == ""
    draft.take_document(Document("My copy", "Harry Potter went to Hogwarts."))
    assert draft.about.scenario == "wizard-school"
    assert draft.dictionary == load_scenario("wizard-school").dictionary()


def test_going_back_to_an_example_brings_its_text_and_anchors(drafts):
    draft = drafts.open(ID)
    draft.take_document(Document("Mine", "Tobias met Pepperpot."))
    draft.take_scenario("wonderland")
    assert draft.text == load_scenario("wonderland").document().text
    assert draft.dictionary == load_scenario("wonderland").dictionary()
    draft.undo()
    assert draft.dictionary == Dictionary(())


def test_a_run_can_be_made_of_a_draft(drafts, tmp_path):
    draft = drafts.open(ID)
    draft.change(ONE, "one")
    run = create(tmp_path, make_settings(), draft.inputs(make_settings()), title=draft.about.title)
    assert (run.folder / "text.txt").read_text() == draft.text
    assert "Dinah" not in (run.folder / "anchors.json").read_text()
    assert draft.probes == load_scenario("wonderland").probes()


def test_drafts_that_nobody_touched_for_long_go(drafts, tmp_path):
    drafts.open(ID).change(ONE, "one")
    drafts.open("b" * 24).change(ONE, "one")
    long_ago = time.time() - 100 * 24 * 3600
    os.utime(tmp_path / "drafts" / ID, (long_ago, long_ago))
    assert drafts.forget_old() == 1
    assert [folder.name for folder in (tmp_path / "drafts").iterdir()] == ["b" * 24]
