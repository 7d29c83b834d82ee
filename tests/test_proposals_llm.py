"""Proposals by a language model: a real server on this machine, good and bad answers."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import Reply, Server, broken, good, raw, serve

from unlearning.endpoint import Endpoint, EndpointRefusedError
from unlearning.errors import EndpointError
from unlearning.text.anchor_checks import check_dictionary
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.proposals_llm import cut_passages, merge, propose_with_llm

ONE = "Alice saw the White Rabbit in Wonderland. The Rabbit saw Alice."
TWO = "The Mad Hatter met Alice. “Wonderland is mad,” said the Hatter to the Muggles."
THREE = "The Queen of Hearts and Mr. Darcy met Alice’s cat, and Alice met Mr. Darcy."
TEXT = f"{ONE}\n\n{TWO}\n\n{THREE}"
WORDS = 15  # one paragraph a passage


def answer(*rows: tuple[str, str, str]) -> Reply:
    return good(json.dumps({"anchors": [{"term": t, "translation": n, "kind": k} for t, n, k in rows]}))


FIRST = answer(
    ("Alice", "Clara", "person"), ("White Rabbit", "Grey Badger", "creature"), ("Rabbit", "Badger", "creature")
)
SECOND = answer(("Alice", "Nora", "person"), ("Hatter", "Baker", "person"), ("Mad Hatter", "Odd Baker", "person"))
THIRD = answer(("Alice", "Clara", "person"), ("Mr. Darcy", "Mr. Cooper", "person"), ("Dumbledore", "Smith", "person"))


def propose(server: Server, text: str = TEXT, said: list[tuple[str, Any]] | None = None, **changes: Any) -> Dictionary:
    endpoint = Endpoint(
        server.url, "fake", **({"timeout": 5, "retries": 1, "backoff": 0.01, "key": "sk-very-secret"} | changes)
    )
    said = [] if said is None else said
    return propose_with_llm(
        text, endpoint, passage_words=WORDS, report=lambda kind, **fields: said.append((kind, fields))
    )


def as_pairs(dictionary: Dictionary) -> dict[str, tuple[str, ...]]:
    return {anchor.term: anchor.translations for anchor in dictionary.anchors}


def messages(said: list[tuple[str, Any]], kind: str) -> list[str]:
    return [fields["message"] for each, fields in said if each == kind]


def test_passages_are_asked_about_one_by_one_and_merged() -> None:
    said: list[tuple[str, Any]] = []
    with serve(FIRST, SECOND, THIRD) as server:
        dictionary = propose(server, said=said)
    assert as_pairs(dictionary) == {
        "Alice": ("Clara", "Nora"),
        "Darcy": ("Cooper",),
        "White Rabbit": ("Grey Badger",),
        "Rabbit": ("Badger",),
        "Hatter": ("Baker",),
        "Mad Hatter": ("Odd Baker",),
    }
    assert [anchor.kind for anchor in dictionary.anchors] == [
        "person",
        "person",
        "creature",
        "creature",
        "person",
        "person",
    ]
    assert [fields["step"] for kind, fields in said if kind == "step"] == [1, 2, 3]
    asked = [request.body["messages"][0]["content"] for request in server.requests]
    assert [passage in content for passage, content in zip((ONE, TWO, THREE), asked, strict=True)] == [True] * 3
    assert [ONE in content for content in asked] == [True, False, False]
    assert check_dictionary(dictionary, TEXT) == []


def test_what_the_passage_does_not_hold_is_not_believed() -> None:
    rows = [
        ("Dumbledore", "Smith", "person"),
        ("Ali", "Bob", "person"),
        ("alice", "clara", "person"),
        ("saw", "saw", "thing"),
    ]
    rows += [
        ("Alice saw the White Rabbit in Wonderland. The Rabbit saw", "x", "phrase"),
        ("Wonderland's", "Farland", "place"),
    ]
    with serve(answer(*rows)) as server:
        assert as_pairs(propose(server, ONE)) == {"Alice": ("clara",), "Wonderland": ("Farland",)}


def test_the_papers_clean_up_is_done_and_said() -> None:
    said: list[tuple[str, Any]] = []
    rows = [("White", "Grey", "thing"), ("Rabbit", "Badger", "creature"), ("White Rabbit", "Brown Otter", "creature")]
    with serve(answer(*rows)) as server:
        assert set(as_pairs(propose(server, ONE, said))) == {"White", "Rabbit"}
    assert "White Rabbit" in " ".join(messages(said, "note"))


FENCED = good("Of course!\n```json\n" + json.loads(FIRST.body)["choices"][0]["message"]["content"] + "\n```\nDone.")


def test_fenced_answer() -> None:
    with serve(FENCED) as server:
        assert set(as_pairs(propose(server, ONE))) == {"Alice", "White Rabbit", "Rabbit"}


def test_broken_json_is_asked_for_once_more() -> None:
    with serve(good("I think Alice is a name."), FIRST) as server:
        assert "Alice" in as_pairs(propose(server, ONE))
    assert len(server.requests) == 2
    assert "once more" in server.requests[1].body["messages"][-1]["content"]


def test_half_an_answer_gives_what_is_whole() -> None:
    whole = json.loads(FIRST.body)["choices"][0]["message"]["content"]
    with serve(good(whole[: whole.index('"Rabbit"')], finish="length")) as server:
        assert set(as_pairs(propose(server, ONE))) == {"Alice", "White Rabbit"}


def test_no_anchors_is_an_answer() -> None:
    with serve(good('{"anchors": []}')) as server:
        assert propose(server, ONE) == Dictionary(())
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "bad", [good("no JSON at all"), broken(500), good(""), raw("<html>")], ids="prose 500 empty html".split()
)
def test_a_bad_passage_is_skipped_and_said(bad: Reply) -> None:
    def by_passage(body: dict[str, Any]) -> Reply:
        content = body["messages"][0]["content"]
        return FIRST if ONE in content else THIRD if THREE in content else bad

    said: list[tuple[str, Any]] = []
    with serve(by_passage) as server:
        dictionary = propose(server, said=said)
    assert set(as_pairs(dictionary)) == {"Alice", "White Rabbit", "Rabbit", "Darcy"}
    (warning,) = messages(said, "warning")
    assert warning.startswith("Passage 2 of 3 is left out:")


def test_500_then_good_loses_nothing() -> None:
    with serve(broken(500), FIRST, broken(429, Retry_After="0"), SECOND, THIRD) as server:
        assert len(propose(server).anchors) == 6


def test_slow_answers_end_in_an_error_that_names_the_time() -> None:
    with serve(good("{}", delay=2)) as server, pytest.raises(EndpointError, match=r"no answer within 0\.2 s") as caught:
        propose(server, timeout=0.2, retries=0)
    assert "passages 1 to 3 of 3" in caught.value.message and caught.value.hint


def test_a_dead_endpoint_is_given_up_after_three_passages() -> None:
    with serve(broken(503)) as server, pytest.raises(EndpointError, match="passages 1 to 3 of 9"):
        propose(server, "\n\n".join([TEXT] * 3), retries=0)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_ends_it_at_once(status: int) -> None:
    with (
        serve(broken(status, "bad key sk-very-secret")) as server,
        pytest.raises(EndpointRefusedError, match=str(status)),
    ):
        propose(server)
    assert len(server.requests) == 1


def test_an_empty_text_asks_nothing() -> None:
    with serve(FIRST) as server:
        assert propose(server, " \n\n ") == Dictionary(())
    assert server.requests == []


def test_the_key_is_written_nowhere(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.chdir(tmp_path)
    said: list[tuple[str, Any]] = []
    with serve(FIRST, broken(500, "sk-very-secret?"), SECOND, THIRD) as server:
        dictionary = propose(server, said=said)
    assert all("sk-very-secret" in request.headers["authorization"] for request in server.requests)
    assert "very-secret" not in caplog.text + str(said) + str(dictionary)
    assert list(tmp_path.iterdir()) == []


# --- merging and cutting -------------------------------------------------------------------------


def test_translations_that_are_anchors_or_taken_go() -> None:
    anchors = [
        Anchor("Alice", ("Clara",)),
        Anchor("Bill", ("Alice", "Young Alice", "Tom")),
        Anchor("Tim", ("clara", "Sam")),
    ]
    assert as_pairs(merge(anchors, "Alice Alice Bill Tim")) == {"Alice": ("Clara",), "Bill": ("Tom",), "Tim": ("Sam",)}
    assert as_pairs(merge([Anchor("Alice", ("Bill",)), Anchor("Bill", ("Tom",))], "Alice")) == {"Bill": ("Tom",)}


def test_most_frequent_translation_and_kind_come_first_and_plurals_are_covered() -> None:
    anchors = [Anchor("Muggle", ("Farmer",), "thing"), Anchor("Muggle", ("Baker",), "person")]
    anchors += [Anchor("Muggle", ("Baker",), "person"), Anchor("Muggles", ("Bakers",), "person")]
    assert merge(anchors, "Muggle").anchors == (Anchor("Muggle", ("Baker", "Farmer"), "person"),)


@pytest.mark.parametrize("separator", ["\n\n", ". ", " "])
def test_passages_hold_every_word_in_order(separator: str) -> None:
    text = separator.join(f"word{number} and more" for number in range(200))
    passages = list(cut_passages(text, 50))
    assert " ".join(passages).split() == text.split()
    assert max(len(passage.split()) for passage in passages) <= 50
    assert len(passages) < 20


def test_passages_are_cut_at_paragraphs_where_they_can() -> None:
    paragraphs = [f"This is paragraph {number}. It has eight words." for number in range(12)]
    for passage in cut_passages("\n\n".join(paragraphs), 30):
        assert set(passage.split("\n\n")) <= set(paragraphs)
