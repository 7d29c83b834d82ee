"""Anchors out of replies as models really write them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearning.text.anchors import Anchor
from unlearning.text.replies import read_reply

GOOD = (
    '{"anchors": [{"term": "Alice", "translation": "Clara", "kind": "person"}, '
    '{"term": "Gryphon", "translation": "Ogre"}]}'
)
EXPECTED = [Anchor("Alice", ("Clara",), "person"), Anchor("Gryphon", ("Ogre",), "phrase")]


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Sure! Here are the anchors [as asked]:\n\n```\n{GOOD}\n```\nLet me know {{if}} you need more.",
        f"Here you are: {GOOD} Anything else?",
        f"<think>maybe {{'term': 'Bob', 'translation': 'Tim'}}?</think>{GOOD}",
        json.dumps(json.loads(GOOD)["anchors"]),
        GOOD.replace("}]}", "},]}"),
        GOOD.replace('"', "'"),
        GOOD[:-2] + ', {"term": "Queen of He',  # broken off
        GOOD[:-2] + ', {"term": "Qu\neen", "translation": "Lady"}]}',  # one entry is no JSON
        GOOD.replace('"Clara"', '["Clara"]').replace('"translation"', '"translations"'),
        GOOD.replace('"term"', '"Expression"').replace('"translation"', '"replacement"'),
        GOOD.replace('"Alice"', '"“Alice”"').replace('"Ogre"', '"**Ogre**"'),
    ],
)
def test_shapes_of_the_same_answer(reply: str) -> None:
    assert read_reply(reply) == EXPECTED


@pytest.mark.parametrize(
    "reply",
    [
        '{"Alice": "Clara", "Gryphon": ["Ogre"]}',
        '{"translations": {"Alice": "Clara", "Gryphon": "Ogre"}}',
        '[["Alice", "Clara"], ["Gryphon", "Ogre"]]',
        '{"Alice": "Clara", "Gryphon": "Ogre", "Que',
    ],
)
def test_shapes_without_kinds(reply: str) -> None:
    assert [(anchor.term, anchor.translations) for anchor in read_reply(reply)] == [
        ("Alice", ("Clara",)),
        ("Gryphon", ("Ogre",)),
    ]


NOTHING = ["", "I cannot help with that.", "{}", "[]", '{"anchors": []}', '{"term": "Alice", "tra', "null", "3", "{{{"]
NOTHING += [
    "[" * 5000,
    '{"anchors": [{"term": 3, "translation": "x"}, {"term": "", "translation": "x"}, {"term": "x"}]}',
]


@pytest.mark.parametrize("reply", NOTHING)
def test_nothing_to_read(reply: str) -> None:
    assert read_reply(reply) == []


def test_several_translations_and_an_unknown_kind() -> None:
    reply = '[{"term": "Alice", "translations": ["Clara", "Ann", "Clara", " "], "kind": "girl"}]'
    assert read_reply(reply) == [Anchor("Alice", ("Clara", "Ann"), "phrase")]


@given(st.text(alphabet="{}[]\",:'\\ab \n`", max_size=80))
def test_any_reply_is_read_or_left(reply: str) -> None:
    for anchor in read_reply(reply):
        assert anchor.term and all(anchor.translations)
