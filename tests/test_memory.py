"""Measures of verbatim memory on cases worked out by hand, and against slow ones."""

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.errors import InputError
from unlearning.evaluation.memory import (
    after,
    continuation_probability,
    extraction_strength,
    forget_quality,
    longest_common_run,
    min_k_probability,
    rouge_l,
)
from unlearning.evaluation.scoring import TokenScore, score_texts
from unlearning.models.generation import generate


def test_rouge_l_by_hand():
    # police … the gunman: two of four words in order (Lin 2004, section 3.1)
    found = rouge_l("police killed the gunman", "police kill the gunman")
    assert (found.precision, found.recall, found.f1) == pytest.approx((3 / 4, 3 / 4, 3 / 4))
    assert rouge_l("police killed the gunman", "the gunman kill police").recall == pytest.approx(2 / 4)
    longer = rouge_l("a b", "a x y b")
    assert (longer.precision, longer.recall) == (0.5, 1.0)
    assert longer.f1 == pytest.approx(2 * 0.5 / 1.5)
    assert rouge_l("Yes, sir!", "yes sir").f1 == 1
    assert rouge_l("a", "").f1 == rouge_l("", "a").f1 == 0


WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=7)


@settings(deadline=None)
@given(WORDS, WORDS)
def test_rouge_l_equals_a_search_through_all_subsequences(reference, text):
    def subsequences(words):
        return {chosen for n in range(len(words) + 1) for chosen in combinations(words, n)}

    common = max(map(len, subsequences(reference) & subsequences(text)))
    found = rouge_l(" ".join(reference), " ".join(text))
    assert (found.precision, found.recall) == pytest.approx((common / len(text), common / len(reference)))


def test_longest_common_run():
    assert longest_common_run([1, 2, 3, 4, 5], [9, 2, 3, 4, 9]) == 3
    assert longest_common_run("abcab", "cabx") == 3
    assert longest_common_run([1, 2, 3], [3, 2, 1]) == 1
    assert longest_common_run([], [1]) == 0


def test_extraction_strength():
    assert extraction_strength([True] * 5) == 1
    assert extraction_strength([False] * 5) == 0
    assert extraction_strength([False, True, True, True]) == pytest.approx(3 / 4)
    assert extraction_strength([True, True, False, True]) == pytest.approx(1 / 4)
    assert extraction_strength([True, True, True, False]) == 0


def test_extraction_strength_is_what_greedy_decoding_needs():
    """Given k tokens, the model writes the rest; given k - 1, it does not."""
    tokenizer = byte_level_bpe()
    text = "There is a river in the north country that runs uphill for one hour on the first day of spring."
    model = half_learnt(tokenizer, text)
    ids = tokenizer(text)["input_ids"]
    strength = extraction_strength([score.likeliest for score in score_texts(model, tokenizer, [text])[0][1:]])
    needed = round((1 - strength) * (len(ids) - 1))
    assert 0 < needed < len(ids) - 1

    def writes_the_rest(given):
        start = tokenizer.decode(ids[: 1 + given])
        return start + generate(model, tokenizer, [start], len(ids) - 1 - given)[0] == text

    assert writes_the_rest(needed)
    assert not writes_the_rest(needed - 1)


def half_learnt(tokenizer, text):
    """A model that was trained on the text until it writes its end by itself."""
    model = tiny_llama(tokenizer)
    batch = tokenizer(text, return_tensors="pt")
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    while not score_texts(model, tokenizer, [text])[0][-1].likeliest:
        model(**batch, labels=batch["input_ids"]).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model


def test_min_k_takes_the_least_likely():
    log_probs = [-1.0, -9.0, -2.0, -7.0, -0.5, -0.1, -0.2, -0.3, -3.0, -4.0]
    assert min_k_probability(log_probs, 0.2) == pytest.approx((-9 - 7) / 2)
    assert min_k_probability(log_probs, 1.0) == pytest.approx(sum(log_probs) / 10)
    assert min_k_probability([-2.0, -1.0], 0.2) == -2.0  # at least one


def test_continuation_probability_is_a_geometric_mean():
    assert continuation_probability([math.log(0.5), math.log(0.125)]) == pytest.approx(0.25)


def test_forget_quality_by_hand():
    apart = forget_quality([1, 2, 3, 4], [5, 6, 7, 8])
    # Of the 8!/(4!4!) = 70 orders, 2 keep the samples wholly apart.
    assert (apart.distance, apart.p_value) == pytest.approx((1.0, 2 / 70))
    same = forget_quality([1, 2, 3, 4], [1, 2, 3, 4])
    assert (same.distance, same.p_value) == pytest.approx((0.0, 1.0))
    assert forget_quality([1, 3, 5, 7], [2, 4, 6, 8]).distance == pytest.approx(1 / 4)


@pytest.mark.parametrize("wrong", [[], [math.nan]])
def test_forget_quality_needs_figures(wrong):
    with pytest.raises(InputError, match="finite"):
        forget_quality(wrong, [1.0])


def test_the_tokens_of_a_continuation():
    scores = [TokenScore(0, 3, None, False), TokenScore(3, 7, 1.0, True), TokenScore(7, 9, 2.0, False)]
    assert after(scores, 0) == scores[1:]
    assert after(scores, 7) == scores[2:]
