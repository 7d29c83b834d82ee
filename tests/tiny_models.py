"""Tiny random models for the tests, sharp enough that their predictions differ from word to word."""

import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GPT2Config, LlamaConfig


def tiny_llama(tokenizer, dtype=torch.float32, seed=0, layers=2):
    """Two layers of width 32, grouped-query attention."""
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.4, max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return _build(config, dtype, seed)


def tiny_gpt2(tokenizer, seed=0):
    """Learnt absolute positions, and dropout that is on in training mode."""
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return _build(config, torch.float32, seed)


def tiny_gemma3(tokenizer, seed=0):
    """Sliding-window layers of 8 tokens, so that a longer text leaves the window."""
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=8, initializer_range=0.4,
        layer_types=["sliding_attention", "full_attention"],
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=0,
    )  # fmt: skip
    return _build(config, torch.float32, seed)


def _build(config, dtype, seed):
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config).to(dtype).eval()
