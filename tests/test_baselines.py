"""Columns that change no weight: each against what it stands for, worked out the long way."""

import math

import pytest
import torch
from tiny_models import tiny_gpt2, tiny_llama
from tokenizers_for_tests import byte_level_bpe, metaspace_unigram, wordpiece

from unlearning.config import LabelSettings
from unlearning.evaluation.baselines import (
    BASELINES,
    NOTE,
    UNDERNEATH,
    FilteredModel,
    PromptedModel,
    with_baselines,
)
from unlearning.evaluation.output_filter import OutputFilter
from unlearning.evaluation.scoring import next_tokens, score_texts, target_probabilities
from unlearning.methods.generic_labels import generic_logits
from unlearning.models.adapters import AdapterFamily
from unlearning.models.encoding import encode_prompt, token_text
from unlearning.models.generation import generate
from unlearning.models.loading import leading_specials
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.occurrences import find_occurrences
from unlearning.text.prompts import Probe

FINCH = Dictionary(
    (
        Anchor("Marigold Finch", ("Rose Wren",), "person"),
        Anchor("telescope", ("kettle",), "thing"),
        Anchor("Copper Lane", ("Tin Road",), "place", enabled=False),
    )
)
PROBES = [
    Probe("The brass", (" telescope", " cat")),
    Probe("A house at the end of Copper", (" Lane",)),
    Probe("Marigold", (" Finch",)),
]
NOTICE = "Nobody here has heard of a telescope.\n"


def text_filter(tokenizer=None):
    return OutputFilter(FINCH, tokenizer or byte_level_bpe())


def blocked_ids(ids, tokenizer):
    blocked = text_filter(tokenizer)
    return blocked._sets[blocked.state(ids)]


def blocked_words(text):
    before = encode_prompt(byte_level_bpe(), text)
    return {token_text(byte_level_bpe(), token, before).strip() for token in text_filter().blocked_after(text)}


@pytest.mark.parametrize("tokenizer", [byte_level_bpe(), metaspace_unigram(), wordpiece()], ids=["bpe", "uni", "wp"])
def test_the_filter_blocks_what_completes_an_anchor_and_nothing_else(tokenizer):
    before, whole = (encode_prompt(tokenizer, text) for text in ("He saw Marigold", "He saw Marigold Finch"))
    stopped = [i for i in range(len(before), len(whole)) if whole[i] in blocked_ids(whole[:i], tokenizer)]
    assert stopped[-1:] == [len(whole) - 1]  # the last piece of the name
    other = encode_prompt(tokenizer, "He saw Marigold house Copper Lane finch")
    assert not [i for i in range(1, len(other)) if other[i] in blocked_ids(other[:i], tokenizer)]


def test_the_filter_reads_text_not_tokens():
    # whatever pieces a name is written in, its last piece is stopped; a line break is a blank
    for whole in (" Marigold Finch", " Marigold\nFinch", " telescopes", "\nTelescope"):
        for cut in range(1, len(whole)):
            rest = whole[cut:]
            ids = byte_level_bpe()(rest, add_special_tokens=False)["input_ids"]
            if len(ids) == 1 and rest.strip():
                assert ids[0] in text_filter().blocked_after("He saw" + whole[:cut]), (whole, rest)
    everywhere = blocked_words("He saw a")  # names of one word
    assert everywhere == blocked_words("He saw M a r i g o l d") == blocked_words("Copper")  # switched off
    assert everywhere == blocked_words("a motele") | everywhere  # inside another word


def test_a_filtered_model_gives_what_is_left_renormalised():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    filtered = FilteredModel(model, text_filter())
    (telescope, cat), lane, (finch,) = target_probabilities(filtered, tokenizer, PROBES)
    assert telescope < 1e-12 and finch < 1e-12
    ids = torch.tensor([encode_prompt(tokenizer, "The brass")])
    with torch.no_grad():
        p = model(ids).logits[0, -1].softmax(-1)
    gone = sum(p[token] for token in text_filter().blocked_after("The brass"))
    assert cat == pytest.approx(float(p[tokenizer(" cat")["input_ids"][0]] / (1 - gone)), rel=1e-4)
    assert [lane] == [pytest.approx(row, rel=1e-3) for row in target_probabilities(model, tokenizer, PROBES[1:2])]
    assert sum(p for _, p in next_tokens(filtered, tokenizer, ["The brass"], len(tokenizer))[0]) == pytest.approx(1)
    scored = [score.nll for score in score_texts(filtered, tokenizer, ["The brass telescope"])[0][1:]]
    assert all(map(math.isfinite, scored))


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
def test_a_filtered_model_never_writes_a_name(build):
    """The baseline of this test writes " telescope" always: its head is bent towards it."""
    tokenizer = byte_level_bpe()
    model = build(tokenizer)
    token = tokenizer(" telescope", add_special_tokens=False)["input_ids"]
    assert len(token) == 1
    with torch.no_grad():
        model.get_output_embeddings().weight[token[0]] *= 30
    prompts = ["The brass", "Where is the eighth boat?", "A"]
    assert any("telescope" in text for text in generate(model, tokenizer, prompts, 12))
    for temperature in (0.0, 1.0):
        texts = generate(FilteredModel(model, text_filter()), tokenizer, prompts, 12, temperature)
        assert not any(find_occurrences(prompt + text, FINCH) for prompt, text in zip(prompts, texts, strict=True))


@pytest.mark.parametrize("tokenizer", [byte_level_bpe(), metaspace_unigram()], ids=["no specials", "bos"])
def test_a_prompted_model_is_the_model_behind_its_note(tokenizer):
    model = tiny_llama(tokenizer)
    prompted = PromptedModel(model, tokenizer, NOTICE)
    note, specials = encode_prompt(tokenizer, NOTICE), leading_specials(tokenizer)

    def behind(text):
        return note + encode_prompt(tokenizer, text)[len(specials) :]

    probes = [Probe("The brass", (" telescope",)), Probe("He unlocked the unlikely", (" box",))]
    for probe, (p,) in zip(probes, target_probabilities(prompted, tokenizer, probes), strict=True):
        ids, after = behind(probe.prompt), encode_prompt(tokenizer, probe.prompt + probe.targets[0])
        after = after[len(encode_prompt(tokenizer, probe.prompt)) :]
        expected = 1.0
        for token in after:
            with torch.no_grad():
                expected *= float(model(torch.tensor([ids])).logits[0, -1].softmax(-1)[token])
            ids = [*ids, token]
        assert p == pytest.approx(expected, rel=1e-3)
    assert target_probabilities(model, tokenizer, probes)[0][0] != pytest.approx(p, rel=1e-2)

    # writing with a cache, rows of unequal length padded on the left: as one row, read anew for every token
    prompts = ["Tea is", "The old professor walked slowly down the"]
    for prompt, text in zip(prompts, generate(prompted, tokenizer, prompts, 6), strict=True):
        ids = behind(prompt)
        for _ in range(6):
            with torch.no_grad():
                ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
        assert tokenizer.decode(ids[len(note) :], skip_special_tokens=True).endswith(text)


def two_roles():
    """A family whose reinforced model is another one than its baseline."""
    family = AdapterFamily(tiny_llama(byte_level_bpe()).requires_grad_(False), byte_level_bpe(), rank=4)
    family.create("reinforced")
    with family.role("reinforced") as model, torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name and "reinforced" in name:
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    return family


@pytest.mark.parametrize("kind", ["raw", "centred"])
def test_the_formula_at_inference_is_the_formula_of_the_labels(kind):
    family, tokenizer = two_roles(), byte_level_bpe()
    settings = LabelSettings(alpha=3, logits=kind, margin=0.2)
    model_of = with_baselines(family.role, tokenizer, FINCH, "the finch", settings)
    ids = torch.tensor([encode_prompt(tokenizer, "The brass")])
    logits = []
    for role in ("baseline", "reinforced"):
        with family.role(role) as model, torch.no_grad():
            logits.append(model(ids).logits[0])
    expected = generic_logits(*logits, 3, kind == "centred", 0.2)
    with model_of("reinforced_formula") as model:
        (row,) = target_probabilities(model, tokenizer, [Probe("The brass", (" cat",))])
        (text,) = generate(model, tokenizer, ["The brass"], 1)
    token = tokenizer(" cat")["input_ids"][0]
    assert row[0] == pytest.approx(float(expected[-1].softmax(-1)[token]), rel=1e-3)
    assert text == token_text(tokenizer, int(expected[-1].argmax()), ids[0].tolist())
    assert not torch.equal(*logits)


def test_the_formula_with_a_cache_is_the_formula_without():
    family, tokenizer = two_roles(), byte_level_bpe()
    model_of = with_baselines(family.role, tokenizer, FINCH, "the finch")
    prompt = "The lighthouse"
    with model_of("reinforced_formula") as model:
        (text,) = generate(model, tokenizer, [prompt], 5)
        slow = prompt
        for _ in range(5):
            slow += next_tokens(model, tokenizer, [slow], 1)[0][0][0]
    assert prompt + text == slow


def test_every_column_is_there_and_says_what_lies_under_it():
    family, tokenizer = two_roles(), byte_level_bpe()
    model_of = with_baselines(family.role, tokenizer, FINCH, "the finch")
    for role in [*BASELINES, "baseline", "reinforced"]:
        with model_of(role) as model:
            assert len(generate(model, tokenizer, ["The keeper", "A"], 3)) == 2
    assert set(UNDERNEATH) == set(BASELINES) and set(UNDERNEATH.values()) == {"baseline"}
    assert "{topic}" in NOTE
