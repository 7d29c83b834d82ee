"""The Text step: what is taken, what is refused and how, what the page is told, and what a model knows of a text."""

import time

import pytest

from tests.ui_for_tests import ID, WHERE, make_context
from unlearning.ui import knowing, text
from unlearning.ui.counting import measure_length
from unlearning.ui.jobs import LOST, line_of

STORY = (
    "Tobias Finch walked to Brackwater with his dog Pepperpot. In Brackwater the dog Pepperpot slept. "
    "The miller of Brackwater gave a bone to Pepperpot, and Tobias Finch laughed.\n\n"
) * 4


@pytest.fixture
def context(tmp_path):
    return make_context(tmp_path / "workspace")


@pytest.fixture(autouse=True)
def no_models_on_this_machine(tmp_path, monkeypatch):
    """So that nothing is measured, but for random models."""
    monkeypatch.setenv("UNLEARNING_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def upload_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


def draft_of(context):
    return context.drafts.open(ID)


def test_arriving_shows_the_default_example(context):
    examples, card, _, _, _, said = text.on_open(context, WHERE)
    assert [one["name"] for one in examples if one["chosen"]] == ["wonderland"]
    assert card["words"] > 5000
    assert card["tokens"] > card["words"]
    assert not card["counted"]
    assert card["blocks"] > 20
    assert said == ""


def test_pasted_text_becomes_the_text(context):
    pasted, examples, card, _, _, _, said = text.paste(context, WHERE, STORY)
    assert pasted == ""
    assert not any(one["chosen"] for one in examples)
    assert card["text"] == STORY.strip()
    assert said["kind"] == "good"
    assert draft_of(context).own_text


def test_an_empty_paste_is_refused_with_the_engines_sentence_and_nothing_changes(context):
    before = draft_of(context).text
    *_, said = text.paste(context, WHERE, "  \n ")
    assert said == "The pasted text is empty. Paste some text, or give a file."
    assert draft_of(context).text == before


def test_several_files_become_one_text_and_their_copies_go(context, upload_folder):
    one, two = upload_folder / "one.txt", upload_folder / "two.md"
    one.write_text(STORY)
    two.write_text("# The second\n\nAnother story of Pepperpot.")
    _, card, _, _, _, said = text.upload(context, WHERE, [str(one), str(two)])
    assert "Tobias Finch" in card["text"]
    assert "Another story" in card["text"]
    assert card["sources"] == ["one.txt", "two.md"]
    assert said["kind"] == "good"
    assert not one.exists()
    assert not two.exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.txt", b"", "empty"),
        ("picture.txt", bytes(range(256)) * 40, "picture.txt"),
        ("broken.pdf", b"%PDF-1.4 nothing", "broken.pdf"),
        ("broken.epub", b"PK\x03\x04 nothing", "broken.epub"),
        ("run.exe", b"MZ", "run.exe"),
    ],
)
def test_what_the_engine_refuses_is_said_beside_the_field_and_the_copy_goes(
    context, upload_folder, name, content, sentence
):
    path = upload_folder / name
    path.write_bytes(content)
    *_, said = text.upload(context, WHERE, [str(path)])
    assert sentence in said
    assert "Traceback" not in said
    assert not path.exists()
    assert not draft_of(context).own_text


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{uploads}/../mine.txt", "{uploads}", "{uploads}/none.txt", 7, None, ""]
)
def test_no_file_but_an_uploaded_one_is_opened_or_removed(context, upload_folder, tmp_path, path):
    (tmp_path / "mine.txt").write_text(STORY)
    asked = path.format(uploads=upload_folder) if isinstance(path, str) else path
    *_, said = text.upload(context, WHERE, [asked])
    assert "was not uploaded to this page" in said
    assert (tmp_path / "mine.txt").exists()
    assert "No document" in text.upload(context, WHERE, "nonsense")[-1]


def test_an_example_without_text_asks_for_ones_own_copy(context):
    _, card, _, known, strip, _ = text.choose(context, WHERE, "wizard-school")
    assert card["missing"]
    assert (known, strip) == (None, None)


def test_an_unknown_example_is_refused(context):
    assert "There is no scenario '../x'" in text.choose(context, WHERE, "../x")[-1]


def test_teaching_first_is_remembered_for_the_run_and_other_settings_stay(context):
    draft = draft_of(context)
    draft.save_settings({"preset": "gentle", "changes": {"seed": 7}})
    text.teach(context, WHERE, True)
    assert draft.settings["preset"] == "gentle"
    assert draft.settings["changes"]["seed"] == 7
    assert draft.settings["changes"]["teach"]
    text.teach(context, WHERE, False)
    assert "teach" not in draft.settings["changes"]


def test_hostile_text_stays_text(context):
    hostile = "<script>alert(1)</script> {{constructor}} ${alert(1)} \u202etxet \u200b" + "word " * 30
    card = text.paste(context, WHERE, hostile)[2]
    assert "<script>alert(1)</script>" in card["text"]


def test_ten_megabytes_on_one_line_are_shown_in_part(context):
    card = text.paste(context, WHERE, "Pepperpot ran home. " * 500_000)[2]
    assert len(card["text"]) <= text.SHOWN
    assert card["more"] > 9_000_000


def test_length_without_a_tokenizer_is_a_guess_that_says_so():
    length = measure_length("one two three " * 100, "owner/not-here")
    assert not length.counted
    assert 300 <= length.tokens <= 600


@pytest.mark.parametrize(("familiarity", "word"), [(0.5, "well"), (0.2, "well"), (0.1, "a little"), (0.01, "not")])
def test_a_verdict_for_every_figure(familiarity, word):
    assert knowing.verdict(familiarity) == word


def test_a_random_model_does_not_know_the_text_and_its_tokens_are_measured(context):
    draft = draft_of(context)
    text.paste(context, WHERE, STORY)
    draft.save_settings({"changes": {"model.name": "random:tiny"}})
    _, _, _, known, strip, _ = text.on_open(context, WHERE)
    found, measured = answers(context, known["job"], strip["job"])
    assert found["verdict"] == "not"
    assert found["count"] > 0
    assert 0 <= found["roles"][0]["low"] <= found["roles"][0]["value"] <= found["roles"][0]["high"]
    assert "".join(measured["tokens"]) == STORY.strip()[: text.STRIP]
    again = text.on_open(context, WHERE)
    assert again[3]["job"] == known["job"]  # asked once, remembered


def test_a_model_is_fetched_beside_the_line_of_questions(context):
    """Whoever asks a model that is here does not wait for somebody's download."""
    draft_of(context).save_settings({"changes": {"model.name": "gemma-3-270m"}})
    known, strip = text.measure(context, WHERE)
    assert known["fetches"] and strip is None
    assert line_of(context.host).look(known)["message"] == LOST
    until = time.monotonic() + 60
    while (state := text.look_at(context, known))["state"] in ("waiting", "working") and time.monotonic() < until:
        time.sleep(0.05)
    assert state["state"] == "failed" and "you have to accept" in state["message"]


def answers(context, *jobs, patience_s=240):
    """Asks after all of them, as the page does: a question that nobody asks after is dropped."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        states = [line_of(context.host).look({"job": job}) for job in jobs]
        assert not any(state["state"] == "failed" for state in states), states
        if all(state["state"] == "done" for state in states):
            return [state["value"] for state in states]
        time.sleep(0.2)
    raise TimeoutError
