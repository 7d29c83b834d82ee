"""Blocks cover the text, fit, and cut no word or anchor: by properties, with tokenizers of three families."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers_for_tests import CORPUS, REAL, by_name, byte_level_bpe, metaspace_unigram, wordpiece

from unlearning.errors import SettingsError
from unlearning.text.blocks import Block, choose_blocks, cut_blocks, split_held_out

TOKENIZERS = {"bpe": byte_level_bpe, "unigram": metaspace_unigram, "wordpiece": wordpiece} | REAL
tokenizers = pytest.mark.parametrize("tokenizer", by_name(TOKENIZERS), indirect=True)
quickly = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

WORDS = st.sampled_from(
    [
        *'the keeper Marigold Finch\'s walking lighthouse, boats. "Seven," didn’t x'.split(),
        *"— naïve e\u0301te\u0301 漢字 🦄 👩\u200d👩\u200d👧 🇫🇷🇩🇪".split(),
    ]
)
SPACES = st.sampled_from([" ", " ", " ", "\n\n", "\n", "  ", "\n\n\n"])
TEXTS = st.lists(st.tuples(WORDS, SPACES), max_size=60).map(lambda pairs: "".join(a + b for a, b in pairs))
LONG = 24  # tokens that any one of WORDS fits into, with the white space before it and the special tokens


@pytest.fixture
def tokenizer(request):
    return TOKENIZERS[request.param]()


def _tokens(tokenizer, text):
    return len(tokenizer(text)["input_ids"])


def _cuts(blocks):
    return [block.start for block in blocks[1:]]


def _check_cover(text, blocks):
    assert "".join(block.text for block in blocks) == text
    assert [block.index for block in blocks] == list(range(len(blocks)))
    assert all(block.text == text[block.start : block.end] and block.text for block in blocks)


@tokenizers
@quickly
@given(text=TEXTS, limit=st.integers(LONG, 60))
def test_blocks_cover_the_text_fit_and_cut_no_word(tokenizer, text, limit):
    blocks = cut_blocks(text, tokenizer, limit)
    _check_cover(text, blocks)
    assert all(_tokens(tokenizer, block.text) <= limit for block in blocks)
    for cut in _cuts(blocks):
        assert text[cut].isspace() and not text[cut - 1].isspace(), (
            f"cut at {cut}: {text[:cut][-9:]!r}|{text[cut:][:9]!r}"
        )


@tokenizers
@quickly
@given(text=st.text(max_size=80), limit=st.integers(24, 40))
def test_any_characters_are_covered_and_fit(tokenizer, text, limit):
    blocks = cut_blocks(text, tokenizer, limit)
    _check_cover(text, blocks)
    assert all(_tokens(tokenizer, block.text) <= limit for block in blocks)


@tokenizers
@quickly
@given(text=TEXTS, data=st.data())
def test_spans_that_fit_are_kept_whole(tokenizer, text, data):
    words = [found.span() for found in re.finditer(r"\S+", text)]
    picks = data.draw(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 3)), max_size=8))
    spans = [(words[a][0], words[min(a + n, len(words)) - 1][1]) for a, n in picks if a < len(words)]
    blocks = cut_blocks(text, tokenizer, LONG, spans)
    _check_cover(text, blocks)
    merged = _union(spans)
    for cut in _cuts(blocks):
        for start, end in merged:
            assert not start < cut < end or _tokens(tokenizer, text[start:end]) > LONG


def _union(spans):
    merged = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


@tokenizers
def test_a_blocks_tokens_are_those_of_the_document(tokenizer):
    text = " ".join(CORPUS.split())
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    blocks = cut_blocks(text, tokenizer, 40)
    assert len(blocks) >= 10
    assert [i for block in blocks for i in tokenizer(block.text, add_special_tokens=False)["input_ids"]] == whole


@tokenizers
def test_blocks_are_filled(tokenizer):
    """All but the last use most of their room, or end at a paragraph's or sentence's end in the last quarter."""
    blocks = cut_blocks(CORPUS * 5, tokenizer, 64)
    assert all(_tokens(tokenizer, block.text) > 0.6 * 64 for block in blocks[:-1])


def test_paragraph_ends_are_preferred_then_sentence_ends():
    tokenizer = byte_level_bpe()
    filler = "the keeper walked slowly down the stairs and "
    room = _tokens(tokenizer, filler * 4)
    paragraph = filler * 3 + "the bell.\n\nThe cat. Nobody knew what"
    assert cut_blocks(paragraph + filler * 4, tokenizer, room)[0].text == filler * 3 + "the bell."
    sentence = filler * 3 + "the bell. The cat had nobody knew what"
    assert cut_blocks(sentence + filler * 4, tokenizer, room)[0].text == filler * 3 + "the bell."
    quoted = filler * 3 + "the “bell.” The cat had nobody knew what"
    assert cut_blocks(quoted + filler * 4, tokenizer, room)[0].text == filler * 3 + "the “bell.”"


@tokenizers
def test_a_word_longer_than_a_block_is_cut_between_visible_characters(tokenizer):
    family = "👩‍👩‍👧"
    text = "Here: " + "e\u0301o" * 60 + family * 10 + "🇫🇷🇩🇪" * 10 + " and on."
    blocks = cut_blocks(text, tokenizer, 40)
    _check_cover(text, blocks)
    assert all(_tokens(tokenizer, block.text) <= 40 for block in blocks)
    for cut in _cuts(blocks):
        assert text[cut] not in "\u0301\u200d" and text[cut - 1] != "\u200d"
        flags = re.search("[\U0001f1e6-\U0001f1ff]*$", text[:cut])
        assert flags and len(flags[0]) % 2 == 0


def test_a_character_longer_than_a_block_is_cut_rather_than_refused():
    text = "e" + "\u0301" * 500
    blocks = cut_blocks(text, byte_level_bpe(), 16)
    _check_cover(text, blocks)
    assert all(_tokens(byte_level_bpe(), block.text) <= 16 for block in blocks)


def test_a_span_longer_than_a_block_is_cut_between_its_words():
    text = "the keeper of the lighthouse " * 40
    blocks = cut_blocks(text, byte_level_bpe(), 16, [(0, len(text))])
    _check_cover(text, blocks)
    assert all(text[cut] == " " and text[cut - 1] != " " for cut in _cuts(blocks))


def test_chinese_is_cut_at_its_marks():
    text = "老人数着归来的船。他说有七条，应该是八条。" * 30
    blocks = cut_blocks(text, byte_level_bpe(), 120)
    assert all(block.text.endswith(("。", "，")) for block in blocks)


def test_white_space_longer_than_a_block():
    text = "one" + "\n" * 300 + "two"
    blocks = cut_blocks(text, byte_level_bpe(), 16)
    _check_cover(text, blocks)
    assert blocks[-1].text.strip() == "two"


def test_a_word_that_fits_by_itself_is_whole_even_where_its_white_space_does_not_fit_with_it():
    text = "one" + "\n" * 12 + "qzqzqzqzqz two"
    blocks = cut_blocks(text, byte_level_bpe(), 16)
    _check_cover(text, blocks)
    assert "qzqzqzqzqz two" in [block.text for block in blocks]


def test_no_text_no_blocks_and_a_short_text_one():
    assert cut_blocks("", byte_level_bpe(), 16) == []
    assert cut_blocks("The keeper.\n", byte_level_bpe(), 16) == [Block(0, 0, 12, "The keeper.\n")]


def test_a_limit_below_one_character_is_refused_with_the_least_that_works():
    with pytest.raises(SettingsError, match=r"block_tokens = 3.*'🦄' alone takes 4 tokens.*16 at least"):
        cut_blocks("The 🦄", byte_level_bpe(), 3)


@tokenizers
def test_the_time_grows_with_the_length_alone(tokenizer):
    text = CORPUS * 230  # 0.4 MB
    times = []
    for part in (text[: len(text) // 4], text):
        began = time.process_time()
        cut_blocks(part, tokenizer, 256)
        times.append(time.process_time() - began)
    assert times[1] < 10 * times[0] + 1  # 4 times as long; 16 times would be quadratic


@pytest.mark.slow
def test_ten_megabytes_in_one_word():
    text = "ab" * 5_000_000
    blocks = cut_blocks(text, byte_level_bpe(), 4096)
    assert sum(len(block.text) for block in blocks) == len(text)


def _numbered(count):
    return [Block(index, index * 10, index * 10 + 10, "x" * 10) for index in range(count)]


def test_choosing_the_first_blocks_stops_where_the_tokens_end():
    blocks = _numbered(5)
    assert choose_blocks(blocks, [0] * 5, [10, 10, 30, 10, 10], 35, "first") == blocks[:2]


def test_choosing_the_densest_blocks_keeps_the_documents_order():
    blocks = _numbered(5)
    chosen = choose_blocks(blocks, [1, 9, 0, 3, 8], [10, 30, 10, 10, 10], 30, "densest")
    assert [block.index for block in chosen] == [0, 3, 4]  # block 1, as dense as 3, no longer fits


def test_choosing_without_a_limit_takes_all():
    blocks = _numbered(3)
    assert choose_blocks(blocks, [0, 1, 0], [9, 9, 9], None, "densest") == blocks


def test_choosing_less_than_a_block_is_refused():
    with pytest.raises(SettingsError, match=r"max_tokens = 16 is less than one block \(200 tokens\)"):
        choose_blocks(_numbered(2), [1, 1], [200, 200], 16, "first")


@quickly
@given(count=st.integers(0, 200), share=st.floats(0, 0.5))
def test_held_out_blocks_are_a_share_spread_evenly(count, share):
    blocks = _numbered(count)
    train, held = split_held_out(blocks, share)
    assert sorted([*train, *held], key=lambda block: block.index) == blocks
    assert train == [block for block in blocks if block in train]  # still in order
    assert abs(len(held) - share * count) <= 1
    assert bool(train) == bool(blocks)
    if share > 0 and count > 1:
        assert held
        gaps = [b.index - a.index for a, b in pairwise(held)]
        assert not gaps or max(gaps) - min(gaps) <= 1
    assert (train, held) == split_held_out(blocks, share)
