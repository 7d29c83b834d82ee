"""The dictionary table's questions and answers: editing, undo, import and export, hostile content, two tabs."""

import json
import time

import pytest
from fake_endpoint import good, serve

from unlearning.text.anchors import parse_dictionary
from unlearning.text.documents import Document
from unlearning.ui.drafts import DraftStore
from unlearning.ui.editing import LONGEST, PAGE, act, page_starts, state_of
from unlearning.ui.llm import look

ID = "abcdefghijklmnop23456789"
TEXT = "Alice ran after the White Rabbit.\n\nAlice's cat Dinah slept. The White Rabbit was late, and Alice fell."


@pytest.fixture
def drafts(tmp_path):
    drafts = DraftStore(tmp_path)
    drafts.open(ID).take_document(Document("Test", TEXT))
    return drafts


def ask(drafts, action, **more):
    return act(drafts, {"draft": ID, "action": action, **more})


def anchor(term, *translations, **more):
    return {"term": term, "translations": list(translations), "kind": "person", "enabled": True, "note": "", **more}


def terms(state):
    return [row["term"] for row in state["rows"]]


def test_add_edit_switch_delete_and_all_of_it_undone(drafts):
    state = ask(drafts, "add", anchor=anchor("Alice", "Clara", "Martha"))
    assert terms(state) == ["Alice"]
    assert state["rows"][0]["count"] == 3
    assert state["rows"][0]["findings"] == []
    state = ask(drafts, "edit", row=0, anchor=anchor("White Rabbit", "Grey Badger"))
    assert terms(state) == ["White Rabbit"]
    state = ask(drafts, "switch", row=0, on=False)
    assert (state["rows"][0]["enabled"], state["rows"][0]["count"]) == (False, 0)
    state = ask(drafts, "delete", row=0)
    assert terms(state) == []
    assert state["undo"] == "delete “White Rabbit”"
    for _ in range(4):
        state = ask(drafts, "undo")
    assert terms(state) == []
    assert state["redo"] == "add “Alice”"
    for _ in range(2):
        state = ask(drafts, "redo")
    assert terms(state) == ["White Rabbit"]


def test_what_is_wrong_is_said_beside_its_row_in_the_engines_words(drafts):
    ask(drafts, "add", anchor=anchor("Dinah", "Alice"))
    state = ask(drafts, "add", anchor=anchor("Alice", "Alice"))
    (own,) = [finding for finding in state["rows"][0]["findings"] if finding["severity"] == "error"]
    assert own["text"] == "'Alice' is translated by itself. Choose a generic expression in its place."
    assert own["field"] == "translations"
    assert state["errors"] >= 1
    state = ask(drafts, "add", anchor=anchor("Zebra", "Horse"))
    assert state["rows"][0]["findings"][0]["severity"] == "warning"  # it is not in the text


def test_the_preview_marks_every_replacement_and_knows_its_row(drafts):
    ask(drafts, "add", anchor=anchor("White Rabbit", "Grey Badger"))
    state = ask(drafts, "add", anchor=anchor("Alice", "Clara"))
    marks = [piece for piece in state["preview"]["pieces"] if len(piece) > 1]
    assert marks == [
        ["Alice", 0, "Clara"], ["White Rabbit", 1, "Grey Badger"], ["Alice", 0, "Clara"],
        ["White Rabbit", 1, "Grey Badger"], ["Alice", 0, "Clara"],
    ]  # fmt: skip
    assert "".join(piece[0] for piece in state["preview"]["pieces"]) == TEXT
    assert state["preview"]["pages_of"] == [0, 0]


def test_an_anchor_without_translation_is_marked_and_nothing_breaks(drafts):
    state = ask(drafts, "add", anchor=anchor("Alice"))
    assert ["Alice", 0, "?"] in state["preview"]["pieces"]
    assert state["rows"][0]["findings"][0]["severity"] == "error"


def test_other_translations_are_drawn_on_request(drafts):
    ask(drafts, "add", anchor=anchor("Alice", "Clara", "Martha", "Helena"))
    seen = {ask(drafts, "look", seed=seed)["preview"]["pieces"][0][2] for seed in range(12)}
    assert seen == {"Clara", "Martha", "Helena"}


def test_pages_cover_the_text_and_none_is_long():
    text = "\n\n".join(f"Paragraph {i}. " + "word " * (i % 700) for i in range(60)) + "x" * 9000
    starts = page_starts(text)
    ends = [*starts[1:], len(text)]
    assert "".join(text[a:b] for a, b in zip(starts, ends, strict=True)) == text
    assert max(b - a for a, b in zip(starts, ends, strict=True)) <= PAGE


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_export_and_import_are_lossless(drafts, kind):
    rows = [anchor('a, "b" | c', "x|y", "\\"), anchor("Ünï", "ß"), anchor("=SUM(A1)", "+1", enabled=False, note="…")]
    for row in rows:
        ask(drafts, "add", anchor=row)
    before = ask(drafts, "look")["rows"]
    file = ask(drafts, "export", format=kind)
    assert file["file"] == f"anchors.{kind}"
    assert len(parse_dictionary(file["content"], kind).anchors) == 3
    ask(drafts, "clear")
    state = ask(drafts, "import", format=kind, content=file["content"])
    assert [(row["term"], row["translations"], row["enabled"]) for row in state["rows"]] == [
        (row["term"], row["translations"], row["enabled"]) for row in before
    ]
    assert terms(ask(drafts, "undo")) == []


def test_a_bad_file_is_refused_with_the_engines_sentence_and_changes_nothing(drafts):
    ask(drafts, "add", anchor=anchor("Alice", "Clara"))
    state = ask(drafts, "import", format="csv", content="name,other\nAlice,Clara\n")
    assert "term" in state["refused"]
    assert terms(state) == ["Alice"]
    state = ask(drafts, "import", format="json", content="{")
    assert "not valid JSON" in state["refused"]


def test_suggestions_come_below_what_is_there_and_never_twice(drafts):
    drafts.open(ID).take_document(Document("Test", TEXT * 6))
    ask(drafts, "add", anchor=anchor("Alice", "Clara"))
    state = ask(drafts, "suggest")
    assert terms(state)[0] == "Alice"
    assert "White Rabbit" in terms(state)
    assert terms(state).count("Alice") == 1
    assert "Nothing was found" in ask(drafts, "suggest")["said"]


def test_a_language_model_is_asked_only_where_the_owner_has_set_one_up(drafts, monkeypatch):
    assert "No language model is set up" in ask(drafts, "ask")["refused"]
    assert ask(drafts, "look")["llm"] is False
    reply = json.dumps({"anchors": [{"term": "White Rabbit", "translation": "Grey Badger", "kind": "creature"}]})
    with serve(good(reply)) as server:
        monkeypatch.setenv("UNLEARNING_LLM_URL", server.url)
        monkeypatch.setenv("UNLEARNING_LLM_MODEL", "any")
        assert ask(drafts, "look")["llm"] is True
        job = ask(drafts, "ask")["job"]
        until = time.monotonic() + 60
        while (state := look({"job": job}))["state"] not in ("done", "failed") and time.monotonic() < until:
            time.sleep(0.05)
    assert "1 anchors suggested" in state["value"]["said"]
    assert terms(ask(drafts, "look")) == ["White Rabbit"]
    assert terms(ask(drafts, "undo")) == []


def test_a_second_tab_cannot_overwrite_what_it_has_not_seen(drafts):
    first = ask(drafts, "add", anchor=anchor("Alice", "Clara"))
    ask(drafts, "add", anchor=anchor("Dinah", "Daisy"), version=first["version"])
    late = ask(drafts, "delete", row=0, version=first["version"])
    assert "changed in another tab" in late["refused"]
    assert terms(late) == ["Dinah", "Alice"]


def test_a_click_that_waited_means_the_row_it_was_made_on(drafts):
    for term in ("Alice", "Dinah", "White Rabbit"):
        ask(drafts, "add", anchor=anchor(term, "X"))
    ask(drafts, "delete", row=0, was="White Rabbit")
    state = ask(drafts, "delete", row=2, was="Alice")  # it stood in row 2 when somebody clicked
    assert terms(state) == ["Dinah"]
    assert "“Alice” is gone" in ask(drafts, "delete", row=0, was="Alice")["refused"]


HOSTILE = [
    "<script>alert(1)</script>", "{{constructor}}", "${alert(1)}", "\u202egnirts", "a\u200bb", "'; DROP TABLE", "\0",
    "🐇" * 50, "a" * LONGEST,
]  # fmt: skip


@pytest.mark.parametrize("term", HOSTILE)
def test_hostile_text_is_kept_as_text(drafts, term):
    state = ask(drafts, "add", anchor=anchor(term, term))
    assert state["rows"][0]["term"] == term.strip()
    json.dumps(state).encode()
    assert ask(drafts, "export", format="json")["content"]


@pytest.mark.parametrize(
    "question",
    [
        {}, {"draft": ID, "action": "explode"}, {"draft": "../../x", "action": "look"}, {"draft": ID, "action": "edit"},
        {"draft": ID, "action": "delete", "row": 99}, {"draft": ID, "action": "delete", "row": "0"},
        {"draft": ID, "action": "edit", "row": 0, "anchor": "Alice"}, {"draft": ID, "action": "add", "anchor": None},
        {"draft": ID, "action": "add", "anchor": {"term": "a" * (LONGEST + 1)}},
    ],
)  # fmt: skip
def test_no_question_brings_the_table_down(drafts, question):
    answer = act(drafts, question)
    assert answer.get("refused") or answer["rows"] is not None
    assert len(ask(drafts, "look")["rows"]) <= 1


def test_a_large_dictionary_and_a_book_are_answered_in_time(drafts):
    text = (TEXT + "\n\n") * 3000  # 330 kB
    drafts.open(ID).take_document(Document("Long", text))
    rows = [{"term": f"Name{i}", "translations": [f"Other{i}"], "kind": "person", "enabled": True} for i in range(300)]
    ask(drafts, "import", format="json", content=json.dumps(rows))
    began = time.process_time()
    state = state_of(drafts.open(ID))
    assert len(state["rows"]) == 300
    assert time.process_time() - began < 4
