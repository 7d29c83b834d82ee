"""Roles over one copy of the weights: with the adapter off, the model is the untouched one, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.config import TrainSettings
from unlearning.errors import RunError
from unlearning.methods.examples import next_token_example
from unlearning.models.adapters import AdapterFamily, FullFamily
from unlearning.training.loop import Term, train

IDS = torch.arange(3, 40)[None]


def logits(family, role):
    with family.role(role) as model, torch.inference_mode():
        return model(IDS).logits.clone()


def learn(family, role, epochs=3):
    examples = [next_token_example(list(range(start, start + 20))) for start in (10, 40, 70, 100)]
    settings = TrainSettings(epochs=epochs, learning_rate=1e-2, batch_blocks=2)
    return train(family.create(role), [Term("next_token", examples)], settings, stage=role)


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def model(request):
    return tiny_llama(byte_level_bpe(), dtype=request.param).requires_grad_(False)


def test_adapter_off_is_the_untouched_model_before_during_and_after(model):
    untouched = copy.deepcopy(model)
    with torch.inference_mode():
        wanted = untouched(IDS).logits
    family = AdapterFamily(model, byte_level_bpe(), rank=4)
    assert torch.equal(logits(family, "baseline"), wanted)
    during = []
    examples = [next_token_example(list(range(10, 30)))]
    train(
        family.create("unlearned"), [Term("next_token", examples)],
        TrainSettings(epochs=3, learning_rate=1e-2), stage="finetune",
        after_step=lambda done, steps: during.append(torch.equal(logits(family, "baseline"), wanted)),
    )  # fmt: skip
    assert during == [True] * 4
    assert torch.equal(logits(family, "baseline"), wanted)
    assert torch.equal(logits(family, "never_taught"), wanted)
    assert not torch.equal(logits(family, "unlearned"), wanted)


def test_a_new_role_begins_as_the_baseline(model):
    family = AdapterFamily(model, byte_level_bpe(), rank=4)
    learn(family, "taught")
    taught = logits(family, "taught")
    assert torch.equal(logits(family, "baseline"), taught)
    family.create("reinforced")
    assert torch.equal(logits(family, "reinforced"), taught)


def test_training_one_role_leaves_the_others(model):
    family = AdapterFamily(model, byte_level_bpe(), rank=4)
    learn(family, "taught")
    taught, never = logits(family, "baseline"), logits(family, "never_taught")
    learn(family, "reinforced")
    learn(family, "unlearned", epochs=1)
    assert torch.equal(logits(family, "baseline"), taught)
    assert torch.equal(logits(family, "never_taught"), never)
    assert not torch.equal(logits(family, "reinforced"), logits(family, "unlearned"))


def test_adapters_survive_the_disk(model, tmp_path):
    family = AdapterFamily(copy.deepcopy(model), byte_level_bpe(), rank=4)
    learn(family, "taught")
    learn(family, "unlearned")
    for role in ("taught", "unlearned"):
        family.save(role, tmp_path / role)
    again = AdapterFamily(model, byte_level_bpe(), rank=4)
    for role in ("unlearned", "taught"):
        again.load(role, tmp_path / role)
    for role in ("taught", "unlearned", "never_taught"):
        assert torch.equal(logits(family, role), logits(again, role))


def test_a_saved_adapter_loads_with_plain_peft(tmp_path):
    from peft import PeftModel

    model = tiny_llama(byte_level_bpe()).requires_grad_(False)
    family = AdapterFamily(copy.deepcopy(model), byte_level_bpe(), rank=4)
    learn(family, "unlearned")
    family.save("unlearned", tmp_path / "adapter")
    plain = PeftModel.from_pretrained(model, tmp_path / "adapter").eval()
    with torch.inference_mode():
        assert torch.equal(plain(IDS).logits, logits(family, "unlearned"))


def test_dropping_the_last_adapter_gives_the_model_back(model):
    with torch.inference_mode():
        wanted = model(IDS).logits
    family = AdapterFamily(model, byte_level_bpe(), rank=4)
    learn(family, "reinforced")
    family.drop("reinforced")
    assert not family.has("reinforced")
    assert torch.equal(logits(family, "baseline"), wanted)
    learn(family, "unlearned")
    assert family.has("unlearned")


def test_a_missing_role_is_refused(model):
    family = AdapterFamily(model, byte_level_bpe())
    with pytest.raises(RunError, match="no unlearned model"), family.role("unlearned"):
        pass
    with pytest.raises(RunError, match="no role 'wizard'"), family.role("wizard"):
        pass


def test_full_fine_tuning_keeps_the_baseline_and_merges_a_taught_adapter(tmp_path):
    model = tiny_llama(byte_level_bpe()).requires_grad_(False)
    with torch.inference_mode():
        wanted = model(IDS).logits
    adapters = AdapterFamily(copy.deepcopy(model), byte_level_bpe(), rank=4)
    learn(adapters, "taught")
    adapters.save("taught", tmp_path / "taught")
    family = FullFamily(model, byte_level_bpe())
    family.load("taught", tmp_path / "taught")
    torch.testing.assert_close(logits(family, "baseline"), logits(adapters, "taught"), rtol=1e-4, atol=1e-4)
    taught = logits(family, "baseline")
    learn(family, "unlearned")
    assert torch.equal(logits(family, "never_taught"), wanted)
    assert torch.equal(logits(family, "baseline"), taught)
    family.save("unlearned", tmp_path / "unlearned")
    before = logits(family, "unlearned")
    family.drop("unlearned")
    family.load("unlearned", tmp_path / "unlearned")
    assert torch.equal(logits(family, "unlearned"), before)
