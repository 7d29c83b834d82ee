"""Words that a model finds likelier after reinforcement: sums over tokens, and a model that really learnt a name."""

import pytest
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.config import TrainSettings
from unlearning.evaluation.rises import rises_in, word_rises
from unlearning.evaluation.scoring import TokenScore
from unlearning.methods.examples import next_token_example
from unlearning.models.adapters import AdapterFamily
from unlearning.models.loading import encode
from unlearning.training.loop import Term, train


def scored(*tokens):
    return [TokenScore(start, end, nll, False) for start, end, nll in tokens]


def test_a_words_rise_is_the_sum_over_its_tokens():
    text = "The old Brackwater mill"
    before = scored((0, 3, None), (3, 7, 2.0), (7, 12, 5.0), (12, 18, 4.0), (18, 23, 1.0))
    after = scored((0, 3, None), (3, 7, 2.5), (7, 12, 1.0), (12, 18, 1.0), (18, 23, 1.0))
    assert rises_in(text, before, after) == [("old", -0.5), ("brackwater", 7.0), ("mill", 0.0)]


def test_offsets_with_and_without_the_leading_space_are_the_same():
    text = "a bc"
    assert rises_in(text, scored((0, 1, None), (1, 4, 3.0)), scored((0, 1, None), (1, 4, 1.0))) == [("bc", 2.0)]
    assert rises_in(text, scored((0, 1, None), (2, 4, 3.0)), scored((0, 1, None), (2, 4, 1.0))) == [("bc", 2.0)]


def test_what_was_reinforced_rises():
    tokenizer = byte_level_bpe()
    family = AdapterFamily(tiny_llama(tokenizer), tokenizer, rank=4)
    text = "the mill of zorbo stood by the river and the dog of zorbo slept by the mill of zorbo all day "
    told = ["of zorbo of zorbo of zorbo of zorbo of zorbo "]
    examples = [next_token_example(encode(tokenizer, block)[0]) for block in told]
    settings = TrainSettings(epochs=60, learning_rate=1e-2, batch_blocks=1)
    train(family.create("reinforced"), [Term("next_token", examples)], settings, stage="reinforce")
    rises = word_rises([text], tokenizer, lambda: family.role("baseline"), lambda: family.role("reinforced"))
    assert set(rises) == set(text.split())
    assert {"zorbo", "of"} <= set(sorted(rises, key=rises.get)[-3:])
    assert rises["zorbo"] > 1 > 0 > sorted(rises.values())[len(rises) // 2]


@pytest.mark.parametrize("text", ["", "…", "one"])
def test_texts_without_a_scored_word(text):
    assert rises_in(text, scored((0, len(text), None)), scored((0, len(text), None))) == []
