"""Continuations: equal to a slow loop without cache or padding, and the same in any company."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import tiny_gemma3, tiny_gpt2, tiny_llama
from tokenizers_for_tests import byte_level_bpe, metaspace_unigram

from unlearning.errors import PromptError, SettingsError
from unlearning.models.generation import end_tokens, generate

MODELS = {"llama": tiny_llama, "gpt2": tiny_gpt2, "gemma3": tiny_gemma3}
PROMPTS = [
    "The lighthouse keeper counted the boats as they came in, and",
    "Marigold",
    "He asked the old professor",
    "The bell",
]


def slowly(model, tokenizer, prompt, n):
    """The likeliest token, n times, each from a forward pass over everything before."""
    ids = tokenizer(prompt)["input_ids"]
    start = len(ids)
    for _ in range(n):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        ids.append(token)
    return tokenizer.decode(ids, skip_special_tokens=True)[
        len(tokenizer.decode(ids[:start], skip_special_tokens=True)) :
    ]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch", [1, 4])
def test_greedy_text_equals_the_slow_loop(name, batch):
    tokenizer = byte_level_bpe()
    model = MODELS[name](tokenizer)
    found = generate(model, tokenizer, PROMPTS, max_new_tokens=12, batch=batch)
    assert found == [slowly(model, tokenizer, prompt, 12) for prompt in PROMPTS]


def test_bos_and_the_leading_space_of_a_metaspace_tokenizer():
    tokenizer = metaspace_unigram()
    model = tiny_llama(tokenizer, seed=3)
    assert generate(model, tokenizer, PROMPTS, 8) == [slowly(model, tokenizer, prompt, 8) for prompt in PROMPTS]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_a_row_does_not_depend_on_its_company(temperature):
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    together = generate(model, tokenizer, PROMPTS, 10, temperature, seed=5)
    backwards = generate(model, tokenizer, PROMPTS[::-1], 10, temperature, seed=5, batch=3)[::-1]
    alone = [generate(model, tokenizer, [prompt], 10, temperature, seed=5)[0] for prompt in PROMPTS]
    assert together == backwards == alone


def test_seeds_and_copies_of_a_prompt_differ():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    copies = generate(model, tokenizer, ["The bell"] * 4, 10, 1.0, seed=1)
    assert len(set(copies)) == 4
    assert copies == generate(model, tokenizer, ["The bell"] * 4, 10, 1.0, seed=1, batch=2)
    assert copies[0] != generate(model, tokenizer, ["The bell"], 10, 1.0, seed=2)[0]


def test_draws_follow_the_model():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    with torch.no_grad():
        p = torch.softmax(model(**tokenizer("The bell", return_tensors="pt")).logits[0, -1], dim=-1)
    likeliest = tokenizer.decode([int(p.argmax())])
    draws = generate(model, tokenizer, ["The bell"] * 400, 1, 1.0, batch=100)
    share = draws.count(likeliest) / 400
    assert share == pytest.approx(p.max().item(), abs=4 * (p.max().item() / 400) ** 0.5)


def test_a_row_ends_at_its_end_token_and_the_others_go_on():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    free = generate(model, tokenizer, PROMPTS, 12)
    # The token that the first row would write third now ends a text.
    third = tokenizer(PROMPTS[0] + free[0])["input_ids"]
    third = third[len(tokenizer(PROMPTS[0])["input_ids"]) + 2]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, third]
    assert third in end_tokens(model, tokenizer)
    stopped = generate(model, tokenizer, PROMPTS, 12)
    assert free[0].startswith(stopped[0]) and len(tokenizer(stopped[0])["input_ids"]) == 2
    assert all(one.startswith(other) for one, other in zip(free, stopped, strict=True))
    assert any(one == other for one, other in zip(free, stopped, strict=True))


def test_adapters_change_what_is_written_and_switching_them_off_undoes_it():
    tokenizer = byte_level_bpe()
    plain = generate(tiny_llama(tokenizer), tokenizer, PROMPTS, 8)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    wrapped = get_peft_model(tiny_llama(tokenizer), config)
    assert generate(wrapped, tokenizer, PROMPTS, 8) != plain
    with wrapped.disable_adapter():
        assert generate(wrapped, tokenizer, PROMPTS, 8) == plain


def test_an_empty_list_and_an_empty_prompt():
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    assert generate(model, tokenizer, []) == []
    assert isinstance(generate(model, tokenizer, [""], 3)[0], str)


def test_more_than_the_model_reads_is_refused():
    tokenizer = byte_level_bpe()
    with pytest.raises(PromptError, match="reads 64"):
        generate(tiny_gpt2(tokenizer), tokenizer, ["The bell"], 63)


@pytest.mark.parametrize(("name", "value"), [("temperature", -0.5), ("max_new_tokens", 0)])
def test_wrong_settings_are_refused(name, value):
    tokenizer = byte_level_bpe()
    with pytest.raises(SettingsError, match=str(value)):
        generate(tiny_llama(tokenizer), tokenizer, ["a"], **{name: value})
