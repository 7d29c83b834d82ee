"""Adapters with a shorter forward: the same values and gradients as peft's own, and rows in different roles."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from tiny_models import tiny_gemma3, tiny_gpt2, tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.errors import RunError
from unlearning.models.adapters import AdapterFamily, FullFamily
from unlearning.models.low_rank import LeanLinear, can_mix, make_lean, rows_play

IDS = torch.arange(3, 43).view(4, 10)
MODELS = {"llama": tiny_llama, "gpt2": tiny_gpt2, "gemma3": tiny_gemma3}
NAMES = ("one", "two")


def adapted(name="llama", dtype=torch.float32, **config):
    """A model with two random adapters of different rank."""
    model = MODELS[name](byte_level_bpe()).to(dtype).requires_grad_(False)
    for place, adapter in enumerate(NAMES):
        rank = {"r": 4 + 2 * place, "lora_alpha": 12}
        wanted = LoraConfig(**rank, target_modules="all-linear", init_lora_weights=False, **config)
        torch.manual_seed(place)
        if place:
            model.add_adapter(adapter, wanted)
        else:
            model = get_peft_model(model, wanted, adapter_name=adapter)
    return model.eval()


def lean(model):
    changed = copy.deepcopy(model)
    make_lean(changed)
    assert any(isinstance(module, LeanLinear) for module in changed.modules())
    return changed


def read(model, ids=IDS):
    with torch.no_grad():
        return model(input_ids=ids).logits


def trained(model, autocast=False):
    """Logits and every gradient of one backward pass."""
    model.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(input_ids=IDS).logits
    logits.float().log_softmax(-1)[..., 7].sum().backward()
    return logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", MODELS)
def test_values_and_gradients_are_those_of_peft(name):
    model = adapted(name)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.set_adapter("two")
    changed = lean(model)
    torch.testing.assert_close(read(changed), read(model))
    (logits, gradients), (wanted, wanted_gradients) = trained(changed), trained(model)
    torch.testing.assert_close(logits, wanted)
    assert gradients.keys() == wanted_gradients.keys() and len(gradients) > 4
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted_gradients[key], rtol=1e-4, atol=1e-4 * float(gradient.abs().max()))


def test_training_under_autocast_differs_by_rounding_alone():
    model = adapted(dtype=torch.bfloat16)
    (_, gradients), (_, wanted) = trained(lean(model), autocast=True), trained(model, autocast=True)
    for key, gradient in gradients.items():
        assert torch.nn.functional.cosine_similarity(gradient.flatten(), wanted[key].flatten(), dim=0) > 0.99


def test_dropout_is_kept():
    changed = lean(adapted(lora_dropout=0.5))
    changed.train()
    torch.manual_seed(0)
    first, second = changed(input_ids=IDS).logits, changed(input_ids=IDS).logits
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("name", MODELS)
def test_every_row_is_as_if_it_were_alone_in_its_role(name):
    model = lean(adapted(name))
    with rows_play(model, ["two", None, "one", "two"]):
        together = read(model)
    for row, adapter in enumerate(["two", None, "one", "two"]):
        if adapter is None:
            with model.disable_adapter():
                alone = read(model, IDS[row : row + 1])
        else:
            model.set_adapter(adapter)
            alone = read(model, IDS[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[2], together[3], atol=1e-2)


def test_rows_are_over_when_the_block_is_and_gradients_never_see_them():
    model = lean(adapted())
    model.set_adapter("one")
    before = read(model)
    with rows_play(model, ["two"]):
        other = read(model)
        with rows_play(model, [None, "one", "two", "one"]):
            read(model)
        assert torch.equal(read(model), other) and not torch.allclose(other, before)
        torch.testing.assert_close(model(input_ids=IDS).logits.detach(), before)
        with model.disable_adapter():
            untouched = read(model)
    assert torch.equal(read(model), before) and not torch.allclose(untouched, other)


def test_adapters_of_another_kind_are_left_to_peft():
    model = lean(adapted(use_dora=True))
    assert not can_mix(model, ["one"])
    torch.testing.assert_close(read(model), read(adapted(use_dora=True)))


def test_a_family_reads_an_adapter_of_another_kind_as_peft_does(tmp_path):
    model = adapted(use_dora=True)
    model.save_pretrained(tmp_path, selected_adapters=["one"])
    wanted = read(model)
    family = AdapterFamily(tiny_llama(byte_level_bpe()).requires_grad_(False), byte_level_bpe())
    family.load("taught", tmp_path / "one")
    with family.role("baseline") as baseline:
        torch.testing.assert_close(read(baseline), wanted)


def test_an_adapter_with_a_whole_layer_of_its_own_is_read_alone():
    assert not can_mix(lean(adapted(modules_to_save=["norm"])), ["one"])


def test_a_layer_that_only_one_adapter_reaches():
    model = MODELS["llama"](byte_level_bpe()).requires_grad_(False)
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False), "one")
    model.add_adapter("two", LoraConfig(r=4, target_modules=["up_proj"], init_lora_weights=False))
    make_lean(model.eval())
    with rows_play(model, ["one", "two", None, None]):
        together = read(model)
    for row, adapter in enumerate(NAMES):
        model.set_adapter(adapter)
        torch.testing.assert_close(together[row], read(model, IDS[row : row + 1])[0], rtol=1e-4, atol=1e-4)


def test_a_family_gives_its_layers_the_short_forward_and_mixes_roles(tmp_path):
    family = AdapterFamily(tiny_llama(byte_level_bpe()).requires_grad_(False), byte_level_bpe(), rank=4)
    model = family.create("taught")
    torch.manual_seed(1)
    for weight in (weight for weight in model.parameters() if weight.requires_grad):
        torch.nn.init.normal_(weight, std=0.3)
    family.save("taught", tmp_path / "taught")
    family.create("unlearned")
    family.load("taught", tmp_path / "taught")
    assert not any(type(module) is Linear for module in model.modules())
    roles = ["never_taught", "baseline", "unlearned", "baseline"]
    assert family.mixes(roles)
    with family.rows(roles) as mixed:
        together = read(mixed)
    for row, role in enumerate(roles):
        with family.role(role) as one:
            torch.testing.assert_close(together[row], read(one, IDS[row : row + 1])[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(RunError, match="no reinforced model"), family.rows(["reinforced"]):
        pass
    assert not hasattr(FullFamily(model, None), "rows")
