"""Batched readings of a model equal a slow one, token by token, through the whole model's logits."""

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import tiny_gemma3, tiny_gpt2, tiny_llama
from tokenizers_for_tests import byte_level_bpe, metaspace_unigram

from unlearning.errors import PromptError
from unlearning.evaluation import scoring
from unlearning.evaluation.scoring import (
    ask_probes,
    next_tokens,
    perplexity,
    score_texts,
    target_probabilities,
    token_log_probs,
)
from unlearning.models.encoding import token_text
from unlearning.text.prompts import Probe

MODELS = {"llama": tiny_llama, "gpt2": tiny_gpt2, "gemma3": tiny_gemma3}
PROBES = [
    Probe("The brass", (" telescope", " cat", " telescope and a cat", " teapot")),
    Probe("Marigold Finch lived in the tall house at the end of Copper", (" Lane",)),
    Probe("He asked the", (" keeper", " keeper's boat")),
    Probe("The brass tele", ("scope",)),
]


def slowly(model, before, after):
    """Π P(token) with one forward pass of the whole model for each token."""
    p, ids = 1.0, list(before)
    for token in after:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
        p *= torch.softmax(logits.double(), dim=-1)[token].item()
        ids.append(token)
    return p


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_target_probabilities_equal_the_slow_reference(name, batch):
    tokenizer = byte_level_bpe()
    model = MODELS[name](tokenizer)
    found = target_probabilities(model, tokenizer, PROBES, batch)
    for probe, row in zip(PROBES, found, strict=True):
        before = tokenizer(probe.prompt)["input_ids"]
        expected = [slowly(model, before, tokenizer(target)["input_ids"]) for target in probe.targets]
        assert row == pytest.approx(expected, rel=1e-4)


def test_probabilities_of_all_continuations_add_up_to_one():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    total = sum(p for _, p in next_tokens(model, tokenizer, ["The brass"], k=len(tokenizer))[0])
    assert total == pytest.approx(1, abs=1e-5)


def test_bos_is_read_where_the_tokenizer_adds_it():
    tokenizer = metaspace_unigram()
    model = tiny_llama(tokenizer)
    probe = Probe("The brass", (" telescope",))
    before = tokenizer("The brass")["input_ids"]
    after = tokenizer("The brass telescope")["input_ids"][len(before) :]
    assert before[0] == tokenizer.bos_token_id
    (row,) = target_probabilities(model, tokenizer, [probe])
    assert row == pytest.approx([slowly(model, before, after)], rel=1e-4)
    assert row != pytest.approx([slowly(model, before[1:], after)], rel=1e-2)


def test_rows_that_begin_another_row_are_not_read_twice(monkeypatch):
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    read = []
    inner = scoring.hidden_states

    def counted(model, rows, positions, batch):
        read.extend(rows)
        return inner(model, rows, positions, batch)

    monkeypatch.setattr(scoring, "hidden_states", counted)
    target_probabilities(model, tokenizer, [PROBES[0]])
    assert sorted(map(tokenizer.decode, read)) == ["The brass teapo", "The brass telescope and a"]


def test_next_tokens_are_the_likeliest_with_their_space():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    prompts = ["The lighthouse keeper counted", "The"]
    for prompt, found in zip(prompts, next_tokens(model, tokenizer, prompts, k=5, batch=2), strict=True):
        with torch.no_grad():
            p = torch.softmax(model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1], dim=-1)
        top = p.topk(5)
        assert [q for _, q in found] == pytest.approx(top.values.tolist(), rel=1e-4)
        assert [text for text, _ in found] == [tokenizer.decode([i]) for i in top.indices]
    assert any(text.startswith(" ") for text, _ in found)


@pytest.mark.parametrize("make", [byte_level_bpe, metaspace_unigram])
def test_log_probs_stand_at_the_right_characters(make):
    tokenizer = make()
    model = tiny_llama(tokenizer)
    text = "The keeper's lamp swung, and Marigold answered."
    encoded = tokenizer(text, return_offsets_mapping=True)
    ids, specials = encoded["input_ids"], int(encoded["input_ids"][0] == tokenizer.bos_token_id)
    with torch.no_grad():
        log_p = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), dim=-1)
    scores = token_log_probs(model, tokenizer, text)
    assert [(s.start, s.end) for s in scores] == encoded["offset_mapping"][specials:]
    assert scores[0].nll is None
    for i, score in enumerate(scores[1:], start=specials + 1):
        assert score.nll == pytest.approx(-log_p[i - 1, ids[i]].item(), rel=1e-4)
        assert score.likeliest == (log_p[i - 1].argmax().item() == ids[i])


def test_chunks_and_batches_change_nothing(monkeypatch):
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    texts = [
        "The grey cat",
        "",
        "A",
        "He unlocked the unlikely box, relocked it, and walked the walking walker's walk.",
    ]
    whole = score_texts(model, tokenizer, texts, batch=8)
    monkeypatch.setattr(scoring, "POSITIONS_AT_ONCE", 3)
    for one, text, other in zip(whole, texts, score_texts(model, tokenizer, texts, batch=1), strict=True):
        alone = token_log_probs(model, tokenizer, text)
        for a, b, c in zip(one, other, alone, strict=True):
            assert (a.start, a.end) == (b.start, b.end)
            assert (a.nll is None) == (a is one[0])
            assert a.nll is None or [b.nll, c.nll] == pytest.approx([a.nll] * 2, rel=1e-4)
    assert [len(row) for row in whole[1:3]] == [0, 1]


def test_perplexity_of_a_model_that_knows_nothing_is_the_size_of_its_vocabulary():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    torch.nn.init.zeros_(model.lm_head.weight)
    assert perplexity(model, tokenizer, ["The grey cat sat.", "It rained"]) == pytest.approx(len(tokenizer), rel=1e-5)


def test_perplexity_counts_tokens_not_blocks():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    blocks = ["The old professor walked slowly down the stairs.", "The bell"]
    nll = []
    for block in blocks:
        ids = tokenizer(block, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            loss = model(input_ids=ids, labels=ids).loss.item()
        nll += [loss] * (ids.shape[1] - 1)
    assert perplexity(model, tokenizer, blocks) == pytest.approx(math.exp(sum(nll) / len(nll)), rel=1e-4)
    with pytest.raises(PromptError, match="no text"):
        perplexity(model, tokenizer, ["The"])


def test_half_precision_models_are_scored_in_float32():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer, torch.bfloat16)
    (row,) = target_probabilities(model, tokenizer, [Probe("The brass", (" telescope",))])
    with torch.no_grad():
        logits = model(**tokenizer("The brass", return_tensors="pt")).logits[0, -1]
    token = tokenizer(" telescope")["input_ids"][0]
    in_float32 = torch.softmax(logits.float(), dim=-1)[token].item()
    assert row[0] == pytest.approx(in_float32, rel=1e-5)
    total = sum(p for _, p in next_tokens(model, tokenizer, ["The brass"], k=len(tokenizer))[0])
    assert total == pytest.approx(1, abs=1e-5)  # bfloat16 would be off in the third figure


def test_adapters_switched_on_are_what_is_read():
    tokenizer = byte_level_bpe()
    plain = target_probabilities(tiny_llama(tokenizer), tokenizer, PROBES[:1])[0]
    wrapped = get_peft_model(
        tiny_llama(tokenizer), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    )
    with wrapped.disable_adapter():
        assert target_probabilities(wrapped, tokenizer, PROBES[:1])[0] == plain
    assert target_probabilities(wrapped, tokenizer, PROBES[:1])[0] != pytest.approx(plain, rel=1e-2)


def test_reading_neither_drops_out_nor_leaves_a_trace():
    tokenizer = byte_level_bpe()
    model = tiny_gpt2(tokenizer).train()
    model.transformer.h[0].eval()
    first = target_probabilities(model, tokenizer, PROBES)
    assert first == target_probabilities(model, tokenizer, PROBES)
    assert model.training and model.transformer.h[1].attn.training and not model.transformer.h[0].attn.training
    assert torch.is_grad_enabled()


def test_a_text_longer_than_the_model_reads_is_refused():
    tokenizer = byte_level_bpe()
    with pytest.raises(PromptError, match="reads 64"):
        token_log_probs(tiny_gpt2(tokenizer), tokenizer, "cat " * 100)


@pytest.mark.parametrize("name", MODELS)
def test_one_reading_gives_targets_and_likeliest_tokens(name):
    """Prompts that begin other rows, one that ends in a blank, and one without targets."""
    tokenizer = byte_level_bpe()
    model = MODELS[name](tokenizer)
    probes = [*PROBES, Probe("The brass ", ("telescope",)), Probe("The brass telescope", (" and",)), Probe("He", ())]
    for probe, (row, top) in zip(probes, ask_probes(model, tokenizer, probes, 4), strict=True):
        before = tokenizer(probe.prompt)["input_ids"]
        with torch.no_grad():
            wanted = torch.softmax(model(input_ids=torch.tensor([before])).logits[0, -1], dim=-1).topk(4)
        assert [p for _, p in top] == pytest.approx(wanted.values.tolist(), rel=1e-4)
        assert [text for text, _ in top] == [token_text(tokenizer, token, before) for token in wanted.indices.tolist()]
        alone = [target_probabilities(model, tokenizer, [Probe(probe.prompt, (target,))]) for target in probe.targets]
        assert row == pytest.approx([one[0][0] for one in alone], rel=1e-4)
