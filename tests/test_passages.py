"""Passages that a model is to go on with, on one that was trained to know it by heart; and the KL to a baseline."""

import math
from contextlib import contextmanager

import pytest
import torch
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.evaluation.divergence import divergence_figures, kl, measure_divergence
from unlearning.evaluation.passages import Passage, cut_passage, measure_passages, passage_figures

TEXT = "There is a river in the north country that runs uphill for one hour on the first day of spring."
OTHER = "The keeper of the lamp went down to the harbour and counted the boats of the harbour again."


def test_a_passage_is_cut_between_words_and_holds_the_true_continuation():
    tokenizer = byte_level_bpe()
    passage = cut_passage(TEXT, tokenizer, 10)
    assert TEXT.startswith(passage.prompt + passage.answer)
    assert passage.answer.startswith(" ") and not passage.prompt.endswith(" ")
    assert len(tokenizer(passage.prompt)["input_ids"]) >= 10
    assert len(tokenizer(passage.prompt + passage.answer)["input_ids"]) >= 20
    assert cut_passage("Too short.", tokenizer, 10) is None
    assert cut_passage("", tokenizer, 10) is None


def learnt(text, model=None, tokenizer=None):
    tokenizer = tokenizer or byte_level_bpe()
    model = model or tiny_llama(tokenizer)
    batch = tokenizer(text, return_tensors="pt")
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        model(**batch, labels=batch["input_ids"]).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model.eval(), tokenizer


def test_what_is_known_by_heart_comes_back_and_nothing_else():
    model, tokenizer = learnt(TEXT)
    known, other = (cut_passage(text, tokenizer, 12) for text in (TEXT, OTHER))
    rows = measure_passages(model, tokenizer, [known, other], 12)
    by_heart, new = rows
    assert by_heart["text"].split()[:2] == known.answer.split()[:2]
    assert by_heart["rouge_l"] > 0.7 > 0.3 > new["rouge_l"]
    assert by_heart["longest_run"] >= 8 > new["longest_run"]
    assert by_heart["extraction"] == 1 and new["extraction"] < 0.5
    assert by_heart["p"] > 0.5 > 0.05 > new["p"]
    assert by_heart["min_k"] > new["min_k"]
    fresh = measure_passages(tiny_llama(tokenizer), tokenizer, [known], 12)
    assert fresh[0]["p"] < 0.05 and fresh[0]["rouge_l"] < 0.3


def test_the_measures_look_at_the_continuation_alone():
    """A uniform model gives every token 1/V: each figure is known."""
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    (row,) = measure_passages(model, tokenizer, [Passage("The brass", " telescope and the lamp")], 4)
    assert row["p"] == pytest.approx(1 / len(tokenizer))
    assert row["min_k"] == pytest.approx(-math.log(len(tokenizer)))
    assert row["prompt"] == "The brass" and row["answer"] == " telescope and the lamp"


def test_figures_are_means_over_passages():
    rows = [
        {"rouge_l": 1.0, "longest_run": 8, "extraction": 0.5, "p": 0.9, "min_k": -1.0},
        {"rouge_l": 0.0, "longest_run": 1, "extraction": 0.0, "p": 0.1, "min_k": -5.0},
    ]
    found = passage_figures({"passages": rows}, {})
    values = {name: figure["value"] for name, figure in found.items()}
    expected = {"rouge_l": 0.5, "longest_run": 4.5, "extraction_strength": 0.25, "min_k": -3.0}
    assert values == pytest.approx(expected | {"continuation_probability": 0.5})
    assert found["rouge_l"]["low"] == 0 and found["rouge_l"]["high"] == 1
    assert passage_figures({}, {}) == {}


def test_kl_by_hand():
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
    assert kl(p.log(), q.log()) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    both = kl(torch.cat([p, q]).log(), torch.cat([q, q]).log())
    assert both == pytest.approx(kl(p.log(), q.log()) / 2)  # mean over positions
    assert kl(q.log(), p.log()) != pytest.approx(kl(p.log(), q.log()))


def test_divergence_is_zero_for_the_baseline_and_grows_with_training():
    tokenizer = byte_level_bpe()
    models = {"baseline": tiny_llama(tokenizer), "unlearned": learnt(TEXT, tiny_llama(tokenizer), tokenizer)[0]}

    @contextmanager
    def model_of(role):
        yield models[role]

    rows = measure_divergence(model_of, "unlearned", tokenizer, [TEXT, OTHER], positions=8)
    own = measure_divergence(model_of, "baseline", tokenizer, [TEXT, OTHER], positions=8)
    assert [row["kl"] for row in own] == pytest.approx([0, 0], abs=1e-6)
    assert all(row["kl"] > 0.1 and row["tokens"] == 8 for row in rows)
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    with torch.no_grad():
        mine, theirs = (torch.log_softmax(models[role](ids).logits[0], -1) for role in ("unlearned", "baseline"))
    every = measure_divergence(model_of, "unlearned", tokenizer, [TEXT], positions=1000)
    assert every[0]["kl"] == pytest.approx(kl(mine, theirs), rel=1e-4)
    found = divergence_figures({"divergence": rows}, {})
    assert found["kl_retain"]["value"] == pytest.approx((rows[0]["kl"] + rows[1]["kl"]) / 2)
    assert divergence_figures({}, {}) == {}
