"""The two halves of a model give the whole model's logits, for each architecture and with adapters."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    Qwen2Config,
)

from unlearning.errors import ModelError
from unlearning.models.heads import check_split, split

SMALL = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = SMALL | {"num_key_value_heads": 2}
CONFIGS = {
    "llama": LlamaConfig(**GROUPED),
    "gpt2": GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0),
    "qwen2": Qwen2Config(**GROUPED),
    "gemma2 (soft cap)": Gemma2Config(**GROUPED, head_dim=8, final_logit_softcapping=0.3),
    "gemma3": Gemma3TextConfig(**GROUPED, head_dim=8),
    "gemma3 (soft cap)": Gemma3TextConfig(**GROUPED, head_dim=8, final_logit_softcapping=0.3),
    "cohere (multiplied)": CohereConfig(**GROUPED, logit_scale=0.25),
    "granite (divided)": GraniteConfig(**GROUPED, logits_scaling=6.0),
}
IDS = torch.arange(3, 23).reshape(2, 10)
MASK = torch.tensor([[1] * 10, [1] * 6 + [0] * 4])


def tiny(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[name]).eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_halves_equal_the_whole(name):
    model = tiny(name)
    backbone, head = split(model)
    with torch.no_grad():
        hidden = backbone(IDS, MASK)
        whole = model(input_ids=IDS, attention_mask=MASK).logits
    assert hidden.shape == (2, 10, 32)
    torch.testing.assert_close(head(hidden), whole)
    torch.testing.assert_close(head(hidden[1, 3:6]), whole[1, 3:6])  # any shape, any positions
    check_split(model)


def test_a_soft_cap_and_a_scale_really_change_the_logits():
    for name in ("gemma2 (soft cap)", "cohere (multiplied)", "granite (divided)"):
        model = tiny(name)
        backbone, head = split(model)
        with torch.no_grad():
            hidden = backbone(IDS)
            assert not torch.allclose(model.get_output_embeddings()(hidden), head(hidden)), name


def test_adapters_act_in_the_halves_as_in_the_whole():
    model = get_peft_model(tiny("llama"), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)).eval()
    backbone, head = split(model)
    with torch.no_grad():
        on = head(backbone(IDS, MASK))
        torch.testing.assert_close(on, model(input_ids=IDS, attention_mask=MASK).logits)
        with model.disable_adapter():
            off = head(backbone(IDS, MASK))
            torch.testing.assert_close(off, model(input_ids=IDS, attention_mask=MASK).logits)
    assert (on - off).abs().max() > 1e-3
    head(backbone(IDS))[0, 3, 5].backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "lora" in n)


def test_check_notices_logits_treated_in_an_unknown_way():
    model = tiny("llama")
    inner = model.forward

    def scaled(*args, **kwargs):
        output = inner(*args, **kwargs)
        output.logits = output.logits * 3 + 1
        return output

    model.forward = scaled
    with pytest.raises(ModelError, match="LlamaForCausalLM"):
        check_split(model)


def test_a_model_without_a_separate_projection_is_refused():
    from transformers import AutoModel

    body = AutoModel.from_config(CONFIGS["llama"])
    with pytest.raises(ModelError, match="LlamaModel"):
        split(body)


def test_logits_in_float32_of_a_bfloat16_model_are_not_rounded():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"], dtype=torch.bfloat16).eval()
    hidden = torch.randn(5, 7, 32, dtype=torch.bfloat16)
    exact = hidden.double() @ model.get_output_embeddings().weight.double().T
    _, rounded = split(model)
    _, head = split(model, float_head=True)
    found = head(hidden)
    assert found.dtype == torch.float32 and found.shape == (5, 7, 97)
    assert (found - exact).abs().max() < 2**-14 * exact.abs().max()
    assert (rounded(hidden) - exact).abs().max() > 2**-11 * exact.abs().max()  # what is avoided
