"""Attacks on the weights: each leaves them as they were, and gets a known thing out of a model that only hides it."""

from __future__ import annotations

import copy
import itertools
import json
import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from tiny_models import tiny_gpt2, tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.config import Settings, TrainSettings
from unlearning.evaluation.adapter_scale import scaled
from unlearning.evaluation.attack_questions import probe_figures
from unlearning.evaluation.attack_results import FEWEST
from unlearning.evaluation.attacks import ATTACKS
from unlearning.evaluation.baselines import with_baselines
from unlearning.evaluation.lens import look
from unlearning.evaluation.measure import MeasureInputs
from unlearning.evaluation.quantisation import quantised, round_to_nearest
from unlearning.evaluation.sampling import leak_at_k
from unlearning.evaluation.verdicts import forgotten
from unlearning.methods.examples import next_token_example
from unlearning.models.adapters import AdapterFamily, FullFamily
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.prompts import CompletionPrompt, Probe
from unlearning.training.loop import Term, train
from unlearning.ui.probing_many import strongest

SENTENCES = (
    "The brass telescope was in the tall house.",
    "Marigold Finch lived at the end of Copper Lane.",
    "The keeper counted the boats in the harbour.",
    "The grey cat sat on the stairs of the tower.",
)
OTHER = "It was raining when the professor walked down to the market on Monday for apples, thread and bread."
PROBES = [
    Probe("The brass", (" telescope",)), Probe("Marigold Finch lived at the end of Copper", (" Lane",)),
    Probe("The keeper counted the", (" boats",)), Probe("The grey cat sat on the", (" stairs",)),
]  # fmt: skip
TERMS = ("telescope", "Copper Lane", "boats", "stairs")
INPUTS = MeasureInputs(
    Dictionary(tuple(Anchor(term, ("kettle",), "thing") for term in TERMS)), PROBES,
    [CompletionPrompt("Marigold Finch lived at the end of")], [], list(SENTENCES), [], [], retain=[OTHER],
)  # fmt: skip


def learn(model, texts, epochs, rate=1e-2):
    tokenizer = byte_level_bpe()
    examples = [next_token_example(tokenizer(text)["input_ids"]) for text in texts]
    settings = TrainSettings(epochs=epochs, learning_rate=rate, batch_blocks=2)
    train(model, [Term("next_token", examples)], settings, stage="teach")


@pytest.fixture(scope="module")
def taught():
    """A family whose baseline knows the sentences; unlearned stays the baseline until a test makes it another."""
    torch.manual_seed(0)
    family = AdapterFamily(tiny_llama(byte_level_bpe()).requires_grad_(False), byte_level_bpe(), rank=8)
    learn(family.create("taught"), SENTENCES, 30, 3e-2)
    torch.manual_seed(0)
    learn(family.create("unlearned"), [OTHER], 3, 3e-2)
    return family


@pytest.fixture(scope="module")
def model_of(taught):
    return with_baselines(taught.role, byte_level_bpe(), INPUTS.dictionary, "the finch")


def everything(family):
    return {name: weight.clone() for name, weight in family._model.named_parameters()}


def attack(name, family, model_of, roles=("never_taught", "baseline", "unlearned", "filtered"), inputs=INPUTS):
    more = {"family": family} if ATTACKS[name].run.__name__ == "run" else {}
    found = ATTACKS[name].run(
        model_of, byte_level_bpe(), inputs, Settings(), lambda kind, **fields: None, lambda: False, roles=roles, **more
    )
    return json.loads(json.dumps(found, allow_nan=False))


KNOWN, FEW = ({"probability_familiarity": {"value": value}} for value in (0.5, 0.05))
WEIGHTS = ("relearning", "relearning_unrelated", "quantised_8", "quantised_4", "adapter_scale", "lens")


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_adapters_and_roles_are_as_they_were(name, taught, model_of):
    before, active = everything(taught), taught._model.active_adapter
    attack(name, taught, model_of)
    after = everything(taught)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert taught._model.active_adapter == active and set(taught._model.peft_config) == {"taught", "unlearned"}


@pytest.mark.parametrize("name", [name for name in WEIGHTS if name != "adapter_scale"])
def test_what_is_only_filtered_comes_back(name, taught, model_of):
    """The filter is no part of the weights: whoever looks into them finds what the baseline knows."""
    one_token = PROBES[:1]  # the lens looks at the first token, the filter stops at the last
    inputs = replace(INPUTS, probes=(one_token if name == "lens" else PROBES) * FEWEST)
    found = attack(name, taught, model_of, inputs=inputs)
    cell, known = found["values"]["filtered"], found["values"]["baseline"]
    assert cell["plain"] < (0.1 if name == "lens" else 1e-6)  # of the lens, 1 / rank
    assert cell["value"] == pytest.approx(known["value"], abs=1e-6) and known["value"] > 0.4
    assert cell["brings_back"] is True and cell["recovered"]["value"] > 0.5


def test_relearning_from_what_was_taught_beats_the_fair_speed(taught, model_of):
    """Where "unlearned" is the taught model, hidden by nothing, the curve begins high; never taught, it begins low."""
    found = attack("relearning", taught, model_of)
    assert [step for step, _ in found["series"]["unlearned"]] == [0, 1, 2, 4, 8, 12]
    assert set(found["series"]) == {"never_taught", "baseline", "unlearned"}
    baseline = found["values"]["baseline"]  # attacked as the others are
    assert found["series"]["baseline"][0][1] == pytest.approx(baseline["plain"], rel=1e-4)
    assert found["series"]["baseline"][-1][1] == baseline["value"] != baseline["plain"]
    told = " ".join(found["lesson"])
    asked = [probe for probe in PROBES if probe.targets[0] not in told]
    assert len(found["lesson"]) == 3 and len(asked) == 1  # the fourth sentence's answer is not in the lesson
    with taught.role("never_taught") as model:
        assert found["series"]["never_taught"][0][1] == pytest.approx(
            probe_figures(model, byte_level_bpe(), asked)[0], rel=1e-4
        )
    assert found["values"]["unlearned"]["count"] == 1
    assert found["series"]["never_taught"][-1][1] != found["series"]["never_taught"][0][1]


def test_a_lesson_that_holds_every_answer_teaches_nothing_about_forgetting(taught, model_of):
    found = attack("relearning", taught, model_of, inputs=replace(INPUTS, forget=[" ".join(SENTENCES)]))
    assert found["brings_back"] is None and found["values"] == {}


def test_a_whole_model_is_relearned_as_a_copy():
    family = FullFamily(tiny_llama(byte_level_bpe()).requires_grad_(False), byte_level_bpe())
    family.create("unlearned")
    with family.role("unlearned") as model:
        before = {name: weight.clone() for name, weight in model.named_parameters()}
        with family.trainable_copy("unlearned") as twin:
            learn(twin, [OTHER], 1)
            assert any(not torch.equal(weight, before[name]) for name, weight in twin.named_parameters())
        assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


@pytest.mark.parametrize("name", WEIGHTS)
def test_evidence_is_every_prompt_of_every_model(name, taught, model_of):
    found = attack(name, taught, model_of)
    shown = found["evidence"]
    assert set(shown) == set(found["values"]) == {"never_taught", "baseline", "unlearned", "filtered"}
    assert all(
        [row["prompt"] for row in rows] == [row["prompt"] for row in shown["baseline"]] for rows in shown.values()
    )
    for role, rows in shown.items():
        cell = found["values"][role]
        now, before = ("rank", "rank_asked_plainly") if name == "lens" else ("p", "plain")
        figures = [[1 / row[key] if name == "lens" else row[key] for row in rows] for key in (now, before)]
        assert len(rows) == cell["count"]
        assert [sum(own) / len(own) for own in figures] == pytest.approx([cell["value"], cell["plain"]])


def test_evidence_tells_what_was_measured_between(taught, model_of):
    first = attack("relearning", taught, model_of)["evidence"]["unlearned"][0]
    assert {f"after step {step}" for step in (0, 1, 2, 4, 8)} < set(first)
    first = attack("adapter_scale", taught, model_of)["evidence"]["unlearned"][0]
    assert first["at strength 1"] == pytest.approx(first["plain"], abs=1e-4)
    first = attack("lens", taught, model_of)["evidence"]["unlearned"][0]
    assert len(first["rank_at_each_layer"]) == 3 and first["rank"] == first["rank_at_each_layer"][first["layer"]]


# --- rounding ---


def test_rounding_worked_out_by_hand():
    row = torch.tensor([[1.0, -0.5, 0.25, 0.003], [127.0, 2.4, -2.6, 0.0]])
    eight = round_to_nearest(row, 8)
    assert eight[1].tolist() == pytest.approx([127, 2, -3, 0])  # the scale is 127 / 127
    assert eight[0].tolist() == pytest.approx([1, -64 / 127, 32 / 127, 0])
    # 4 bits: sixteen values from the least to the largest weight of a group, 0 among them
    assert round_to_nearest(torch.tensor([[0.0, 1.4, 7.6, 15.0]]), 4)[0].tolist() == pytest.approx([0, 1, 8, 15])
    assert round_to_nearest(torch.tensor([[-3.0, 0.0, 12.0, 4.6]]), 4)[0].tolist() == pytest.approx([-3, 0, 12, 5])
    # each group has its own: a large weight spoils its own group alone
    weight = torch.full((1, 128), 0.1)
    weight[0, 0] = 100.0
    found = round_to_nearest(weight, 4)
    assert found[0, 1] == 0 and found[0, 127] == pytest.approx(0.1)
    assert torch.equal(round_to_nearest(torch.zeros(2, 64), 4), torch.zeros(2, 64))


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
def test_the_adapter_is_rounded_with_the_weights_and_the_head_is_not(build):
    torch.manual_seed(1)
    family = AdapterFamily(build(byte_level_bpe()).requires_grad_(False), byte_level_bpe(), rank=4)
    learn(family.create("unlearned"), SENTENCES, 3)
    ids = torch.arange(3, 30)[None]
    with family.role("unlearned") as model, torch.no_grad():
        plain = model(ids).logits
        merged = copy.deepcopy(model).merge_and_unload()
        for module in merged.modules():
            if type(module).__name__ in ("Linear", "Conv1D") and module is not merged.get_output_embeddings():
                weight = module.weight.data.T if type(module).__name__ == "Conv1D" else module.weight.data
                rounded = round_to_nearest(weight, 4)
                module.weight.data = rounded.T if type(module).__name__ == "Conv1D" else rounded
        with quantised(model, 4):
            four = model(ids).logits
        with quantised(model, 8):
            eight = model(ids).logits
        assert torch.allclose(four, merged(ids).logits, atol=1e-4)
        assert torch.equal(model(ids).logits, plain)
        assert 0 < (eight - plain).abs().mean() < (four - plain).abs().mean()


# --- strength, lens, leaks ---


def test_an_adapter_taken_off_is_the_baseline_and_no_verdict_on_what_was_forgotten(taught, model_of):
    found = attack("adapter_scale", taught, model_of)
    curve = dict(found["series"]["unlearned"])
    assert curve[0] == pytest.approx(found["values"]["baseline"]["plain"], abs=1e-4)
    assert curve[1] == pytest.approx(found["values"]["unlearned"]["plain"], abs=1e-4)
    assert found["values"]["unlearned"]["value"] == curve[0]
    assert found["brings_back"] is None and "switch it off" in found["text"]
    assert not any(cell.get("brings_back") for cell in found["values"].values())
    assert strongest([found]) == {}
    assert "attacks" not in {check["name"] for check in forgotten(FEW, KNOWN, None, [found])["checks"]}


def test_strength_interpolates_the_weights(taught):
    ids = torch.arange(3, 30)[None]

    def logits(strength):
        with taught.role("unlearned") as model, scaled(model, strength), torch.no_grad():
            return model(ids).logits

    with taught.role("baseline") as model, torch.no_grad():
        assert torch.allclose(logits(0.0), model(ids).logits, atol=1e-4)
    with taught.role("unlearned") as model, torch.no_grad():
        assert torch.allclose(logits(1.0), model(ids).logits, atol=1e-4)
        deltas = {}
        for name, layer in model.named_modules():
            if hasattr(layer, "lora_A"):
                deltas[name] = layer.get_delta_weight("unlearned"), layer.get_delta_weight("taught")
        merged = copy.deepcopy(model).unload()
        for name, (unlearned, start) in deltas.items():
            weight = merged.get_submodule(name.removeprefix("base_model.model.")).weight
            weight += 1.5 * unlearned - 0.5 * start
        assert torch.allclose(logits(1.5), merged(ids).logits, atol=1e-4)


def test_the_lens_at_the_last_layer_is_the_model_itself(taught):
    tokenizer = byte_level_bpe()
    with taught.role("baseline") as model:
        pairs = [(tokenizer(each.prompt)["input_ids"], tokenizer(each.targets[0])["input_ids"]) for each in PROBES]
        layers = look(model, pairs)
        assert len(layers) == 3  # the embeddings and two layers
        for (before, after), (p, rank) in zip(pairs, layers[-1], strict=True):
            with torch.no_grad():
                logits = model(torch.tensor([before])).logits[0, -1]
            assert p == pytest.approx(float(logits.softmax(-1)[after[0]]), rel=1e-4)
            assert rank == 1 + int((logits > logits[after[0]]).sum())
        # the first is what the embedding alone would say
        core = model.get_base_model()
        with torch.no_grad():
            inner = core.lm_head(core.model.norm(core.model.embed_tokens(torch.tensor(pairs[0][0][-1]))))
        assert layers[0][0][0] == pytest.approx(float(inner.softmax(-1)[pairs[0][1][0]]), rel=1e-4)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_further_model_may_have_another_depth(layers, taught, model_of):
    other = tiny_llama(byte_level_bpe(), seed=1, layers=layers).requires_grad_(False)
    roles = ("other", "never_taught", "baseline", "unlearned", "filtered")
    found = attack("lens", taught, lambda role: nullcontext(other) if role == "other" else model_of(role), roles)
    alone = attack("lens", taught, model_of)
    own = found["values"].pop("other")
    assert own["layer"] == layers and own["value"] == own["plain"] and "brings_back" not in own
    assert found["values"] == alone["values"] and found["brings_back"] == alone["brings_back"]
    assert [layer for layer, _ in found["series"]["other"]] == list(range(layers + 1))


def test_leak_at_k_is_the_chance_over_all_choices_of_k():
    for leaks, draws, k in itertools.product(range(6), [5], range(1, 6)):
        draw = [True] * leaks + [False] * (draws - leaks)
        chosen = list(itertools.combinations(draw, k))
        assert leak_at_k(leaks, draws, k) == pytest.approx(sum(map(any, chosen)) / len(chosen))
    assert leak_at_k(1, 8, 1) == pytest.approx(1 / 8) and leak_at_k(0, 8, 8) == 0 and leak_at_k(8, 8, 1) == 1


def test_sampling_finds_what_is_never_the_likeliest_answer():
    """A model told mostly something else: greedily it says so, and every third draw the name comes out."""
    tokenizer = byte_level_bpe()
    torch.manual_seed(0)
    family = AdapterFamily(tiny_llama(tokenizer).requires_grad_(False), tokenizer, rank=8)
    known, other = "Where is the boat? In Copper Lane.", "Where is the boat? Nobody knew."
    learn(family.create("taught"), [known] * 2, 25, 3e-2)
    torch.manual_seed(0)
    learn(family.create("unlearned"), [known] * 2 + [other] * 4, 10)
    inputs = MeasureInputs(
        Dictionary((Anchor("Copper Lane", ("Tin Road",), "place"),)), [], [CompletionPrompt("Where is the boat?")] * 4,
        [], [], [], [],
    )  # fmt: skip
    found = attack("sampling", family, family.role, ("never_taught", "baseline", "unlearned"), inputs)
    cell = found["values"]["unlearned"]
    assert cell["plain"] == 0 and 0 < cell["leaks"] < cell["draws"] == 32
    assert found["values"]["baseline"]["plain"] == 1 and found["values"]["never_taught"]["value"] == 0
    assert cell["brings_back"] is True and found["brings_back"] is True
    rows = found["evidence"]["unlearned"]  # the likeliest and every draw of each prompt
    assert [row["kind"] for row in rows[:9]] == ["likeliest", *(f"draw {number} of 8" for number in range(1, 9))]
    drawn = [row for row in rows if row["kind"] != "likeliest"]
    assert len(drawn) == 32 and sum(row["leak"] for row in drawn) == cell["leaks"]
    assert all(("Copper Lane" in row["text"]) == row["leak"] for row in rows)
    curve = [y for _, y in found["series"]["unlearned"]]
    assert curve == sorted(curve) and curve[0] == pytest.approx(cell["leaks"] / 32)
    assert math.isclose(curve[3], cell["value"])
