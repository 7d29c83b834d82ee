"""Where a prompt ends and its continuation begins, for three families of tokenizers."""

import pytest
from tokenizers_for_tests import byte_level_bpe, metaspace_unigram, wordpiece

from unlearning.errors import PromptError
from unlearning.models.encoding import encode_continuation, encode_pair, encode_prompt, token_text

FAMILIES = [byte_level_bpe, metaspace_unigram, wordpiece]


def words(tokenizer, ids):
    return tokenizer.convert_ids_to_tokens(ids)


@pytest.mark.parametrize("make", FAMILIES)
def test_a_word_after_a_space_is_cut_as_in_one_text(make):
    tokenizer = make()
    before, after = encode_pair(tokenizer, "The brass", " telescope")
    assert before == encode_prompt(tokenizer, "The brass")
    assert before + after == encode_prompt(tokenizer, "The brass telescope")
    assert tokenizer.decode(after).strip() == "telescope"


def test_bos_is_there_exactly_where_the_tokenizer_puts_it():
    bpe, metaspace = byte_level_bpe(), metaspace_unigram()
    assert words(bpe, encode_prompt(bpe, "The cat"))[0] == "The"
    assert words(metaspace, encode_prompt(metaspace, "The cat"))[0] == "<s>"
    assert words(wordpiece(), encode_prompt(wordpiece(), "The cat")) == ["[CLS]", "The", "cat"]  # no [SEP] at the end


def test_a_target_without_a_space_is_taken_literally():
    tokenizer = byte_level_bpe()
    assert len(encode_prompt(tokenizer, " telescope")) == 1  # so that the one text has no boundary there
    before, after = encode_pair(tokenizer, "The brass tele", "scope")
    assert before == encode_prompt(tokenizer, "The brass tele")
    assert after == encode_prompt(tokenizer, "scope")
    assert before + after != encode_prompt(tokenizer, "The brass telescope")


def test_a_literal_target_of_a_metaspace_tokenizer_gets_no_space():
    tokenizer = metaspace_unigram()
    before, after = encode_pair(tokenizer, "The brass tele", "scope")
    assert tokenizer.decode(before + after) == "<s> The brass telescope"
    assert not words(tokenizer, after)[0].startswith("▁")
    assert words(tokenizer, tokenizer("scope", add_special_tokens=False)["input_ids"])[0].startswith("▁")


@pytest.mark.parametrize("make", FAMILIES[:2])
def test_white_space_at_the_end_of_a_prompt_goes_over_to_the_target(make):
    tokenizer = make()
    assert encode_pair(tokenizer, "The brass ", "the") == encode_pair(tokenizer, "The brass", " the")


def test_a_line_break_that_is_a_token_of_its_own_stays_in_the_prompt():
    tokenizer = byte_level_bpe()
    before, after = encode_pair(tokenizer, "The Bell:\n", "The")
    assert words(tokenizer, before)[-1] == "Ċ" and words(tokenizer, after) == ["The"]


def test_an_empty_prompt_is_bos_alone():
    tokenizer = byte_level_bpe()
    assert encode_prompt(tokenizer, "") == [tokenizer.bos_token_id]


@pytest.mark.parametrize("make", FAMILIES[:2])
def test_a_continuation_reads_back_as_the_text(make):
    tokenizer = make()
    for text in (" cat", "cat", "'s cat", "1,2", " – é", "\nThe"):
        ids = encode_prompt(tokenizer, "x") + encode_continuation(tokenizer, text)
        assert tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == "x" + text


def test_token_text_keeps_the_leading_space():
    for tokenizer in (byte_level_bpe(), metaspace_unigram()):
        ids = encode_prompt(tokenizer, "The brass the")
        assert token_text(tokenizer, ids[-1], ids[:-1]) == " the"
    emoji = encode_prompt(byte_level_bpe(), "🐇")
    assert token_text(byte_level_bpe(), emoji[0], []) == "�"


def test_a_target_without_tokens_is_refused():
    class Deaf:
        """A tokenizer that drops what it does not know."""

        bos_token_id = 0

        def __call__(self, text, **_):
            spans = [(i, i + 1) for i, c in enumerate(text) if c.isascii()]
            return {"input_ids": [ord(text[i]) for i, _ in spans], "offset_mapping": spans}

    with pytest.raises(PromptError, match="'é' has no token"):
        encode_pair(Deaf(), "caf", "é")
