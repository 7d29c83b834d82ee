"""Translation and the position map, on texts, dictionaries and tokenizers of every kind."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers_for_tests import REAL, by_name, byte_level_bpe, metaspace_unigram, wordpiece

from unlearning.models.loading import encode
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.occurrences import find_occurrences
from unlearning.text.translation import Encoded, Mask, draw_translations, position_map, translate

TOKENIZERS = {"bytes": byte_level_bpe, "metaspace": metaspace_unigram, "wordpiece": wordpiece} | REAL

WORDS = [
    "Alice",
    "White Rabbit",
    "Rabbit",
    "Ron",
    "Ronald",
    "the",
    "keeper's",
    "boat,",
    "🐇",
    "e\u0301tude",
    "\u05e9\u05dc",
    "\n\n",
    "—",
]
ANCHORS = [
    Anchor("Alice", ("Clara", "Ann of the Hill")),
    Anchor("White Rabbit", ("Grey Badger",)),
    Anchor("Rabbit", ("Badger", "small Otter")),
    Anchor("Ron", ("Tom",)),
    Anchor("🐇 Rabbit", ("🦡 Badger",)),
    Anchor("\u05e9\u05dc", ("ו",)),
]

texts = st.lists(st.sampled_from(WORDS) | st.text(max_size=6), max_size=25).map(" ".join)
dictionaries = st.lists(st.sampled_from(ANCHORS), unique=True, max_size=len(ANCHORS)).map(
    lambda a: Dictionary(tuple(a))
)


def mapped(text, dictionary, tokenizer, inner="none", choice=None):
    """(source tokens, target tokens, translation, map) of a text."""
    translated = translate(text, dictionary, choice or {})
    source, target = Encoded(*encode(tokenizer, text)), Encoded(*encode(tokenizer, translated.text))
    return source, target, translated, position_map(source, target, translated, inner)


@pytest.mark.parametrize("name", by_name(TOKENIZERS))
@given(text=texts, dictionary=dictionaries, seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_the_same_text_follows_at_mapped_positions(name, text, dictionary, seed):
    """What a position map promises: translate what follows i in the source, and it is what follows j."""
    choice = draw_translations(dictionary, random.Random(seed))
    source, target, translated, found = mapped(text, dictionary, TOKENIZERS[name](), choice=choice)
    ends = slow_ends(translated)
    for i, j in enumerate(found.target):
        if j < 0:
            continue
        read, read_target = source.offsets[i][1], target.offsets[j][1]
        shared = i + 1 < len(source.offsets) and source.offsets[i + 1][0] < read  # inside one character
        if not shared:
            assert ends[read] == read_target, (text, i, j)


def slow_ends(translated) -> dict[int, int]:
    """Source offset → offset in the translation, walking character by character; anchors only at their edges."""
    ends, place, new_place = {}, 0, 0
    for piece in translated.pieces:
        if piece.anchor is None:
            for step in range(piece.end - piece.start + 1):
                ends[place + step] = new_place + step
        place, new_place = piece.end, new_place + piece.new_end - piece.new_start
        ends[place] = new_place
    ends[0] = 0
    return ends


@pytest.mark.parametrize("name", by_name(TOKENIZERS))
@given(text=texts)
@settings(max_examples=60, deadline=None)
def test_an_empty_dictionary_loses_no_position(name, text):
    source, _, translated, found = mapped(text, Dictionary(()), TOKENIZERS[name]())
    assert translated.text == text
    assert found.target == list(range(len(source.ids)))


@pytest.mark.parametrize("name", by_name(TOKENIZERS))
@given(text=texts, dictionary=dictionaries, inner=st.sampled_from(["none", "first", "all"]))
@settings(max_examples=60, deadline=None)
def test_the_identity_dictionary_maps_each_labelled_position_to_itself(name, text, dictionary, inner):
    """Translating every anchor by itself changes nothing but the masks."""
    identity = Dictionary(tuple(Anchor(anchor.term, (anchor.term,)) for anchor in dictionary.anchors))
    _, _, translated, found = mapped(text, identity, TOKENIZERS[name](), inner)
    assert translated.text == text
    assert all(j in (i, -1) for i, j in enumerate(found.target))
    if not find_occurrences(text, identity):
        assert -1 not in found.target


@pytest.mark.parametrize("name", by_name(TOKENIZERS))
@given(text=texts, dictionary=dictionaries)
@settings(max_examples=60, deadline=None)
def test_masks_follow_the_papers_rules(name, text, dictionary):
    """Re-derived from the occurrences: inside an anchor nothing, before a later mention nothing."""
    source, _, _, found = mapped(text, dictionary, TOKENIZERS[name]())
    seen = set()
    for occurrence in find_occurrences(text, dictionary):
        over = [t for t, (a, b) in enumerate(source.offsets) if a < occurrence.end and b > occurrence.start]
        for token in over[1:]:
            assert found.mask[token - 1] is not Mask.LABELLED
        if over and occurrence.anchor in seen and over[0] > 0:
            assert found.mask[over[0] - 1] is not Mask.LABELLED
        seen.add(occurrence.anchor)
    assert all((j >= 0) == (why is Mask.LABELLED) for j, why in zip(found.target, found.mask, strict=True))


@given(text=texts, dictionary=dictionaries, seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_untouched_stretches_stay_as_they_are(text, dictionary, seed):
    translated = translate(text, dictionary, draw_translations(dictionary, random.Random(seed)))
    assert "".join(text[p.start : p.end] for p in translated.pieces) == text
    for piece in translated.pieces:
        if piece.anchor is None:
            assert text[piece.start : piece.end] == translated.text[piece.new_start : piece.new_end]


def test_one_translation_for_all_mentions_in_a_block():
    dictionary = Dictionary((Anchor("Alice", ("Clara", "Martha", "Ruth")),))
    for seed in range(5):
        choice = draw_translations(dictionary, random.Random(seed))
        text = translate("Alice saw Alice; ALICE, Alice's", dictionary, choice).text
        name = dictionary.anchors[0].translations[choice[0]]
        assert text == f"{name} saw {name}; {name.upper()}, {name}'s"


@pytest.mark.parametrize("name", by_name(TOKENIZERS))
def test_a_short_text_by_hand(name):
    """The position before a first mention is mapped, the one before a later mention is not, the anchor's end is."""
    dictionary = Dictionary((Anchor("White Rabbit", ("Badger",)),))
    text = "the White Rabbit and the White Rabbit sang"
    source, target, translated, found = mapped(text, dictionary, TOKENIZERS[name]())
    assert translated.text == "the Badger and the Badger sang"
    by_end = {end: i for i, (_, end) in enumerate(source.offsets)}
    target_end = {i: end for i, (_, end) in enumerate(target.offsets)}
    assert target_end[found.target[by_end[3]]] == 3  # "the|" → "the|"
    assert found.mask[by_end[9]] is Mask.INSIDE_ANCHOR  # "the White|"
    assert target_end[found.target[by_end[16]]] == 10  # "… Rabbit|" → "the Badger|"
    assert found.mask[by_end[24]] is Mask.REPEATED  # "… and the|"
    assert found.mask[by_end[30]] is Mask.INSIDE_ANCHOR
    assert target_end[found.target[by_end[37]]] == len("the Badger and the Badger")


@pytest.mark.parametrize("name", by_name(TOKENIZERS))
def test_inner_alignment_labels_the_inside_of_a_first_mention_only(name):
    dictionary = Dictionary((Anchor("White Rabbit", ("Grey Badger",)),))
    text = "the White Rabbit and the White Rabbit sang"
    source, target, _, found = mapped(text, dictionary, TOKENIZERS[name](), inner="first")
    by_end = {end: i for i, (_, end) in enumerate(source.offsets)}
    inside = by_end[9]
    assert target.offsets[found.target[inside]][1] == len("the Grey")
    assert found.mask[by_end[30]] is Mask.INSIDE_ANCHOR  # the second "White|"


def test_inner_alignment_needs_as_many_words():
    dictionary = Dictionary((Anchor("White Rabbit", ("Grey old Badger",)),))
    source, _, _, found = mapped("the White Rabbit sang", dictionary, byte_level_bpe(), inner="first")
    by_end = {end: i for i, (_, end) in enumerate(source.offsets)}
    assert found.mask[by_end[9]] is Mask.INSIDE_ANCHOR
