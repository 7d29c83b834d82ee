"""Randomly initialised models of a known shape: what speed and memory depend on, without any download.

`random:tiny` is for tests; the others have the shapes of published models and say nothing sensible.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from unlearning.errors import ModelNotFoundError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SEED = 20231003  # of the weights: the same name gives the same model
_DRAWING = threading.Lock()  # torch's source of chance is the process's: two at once would take from one another
SPECIALS = ("<pad>", "<bos>", "<eos>")


@dataclass(frozen=True)
class Shape:
    """Attributes: model_type as transformers names it; config, what differs from its defaults; parameters in all."""

    model_type: str
    parameters: int
    config: dict[str, Any]


def _llama(parameters: int, **config: Any) -> Shape:
    return Shape("llama", parameters, config)


SHAPES: dict[str, Shape] = {
    "tiny": _llama(
        90_624,
        vocab_size=256 + len(SPECIALS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    ),
    "smollm2-135m": _llama(
        134_515_008,
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    ),
    "llama-1b": _llama(  # Llama 3.2 1B
        1_235_814_400,
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    ),
    "llama-7b": _llama(  # Llama 2 7B, the paper's
        6_738_415_616,
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        head_dim=128,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
    ),
    "gemma-3-270m": Shape(
        "gemma3_text",
        268_098_176,
        {
            "vocab_size": 262144,
            "hidden_size": 640,
            "intermediate_size": 2048,
            "num_hidden_layers": 18,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "sliding_window": 512,
            "max_position_embeddings": 32768,
            "tie_word_embeddings": True,
        },
    ),
}


def find_shape(name: str) -> Shape:
    """The shape of `random:<name>` (or of `<name>`).

    Raises:
        ModelNotFoundError: naming the shapes that there are.
    """
    shape = SHAPES.get(name.removeprefix("random:"))
    if shape is None:
        raise ModelNotFoundError(
            f"There is no model shape '{name.removeprefix('random:')}'.", f"Shapes: {', '.join(SHAPES)}."
        )
    return shape


def random_config(shape: Shape) -> Any:
    """The transformers config of a shape, with the ids of `byte_tokenizer`."""
    from transformers import AutoConfig

    return AutoConfig.for_model(shape.model_type, **shape.config, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def random_model(shape: Shape, device: str, dtype: str) -> PreTrainedModel:
    """A model of this shape, its weights drawn with a fixed seed where they will stay.

    They are created on the device in their final format, so that the peak is the model itself.
    """
    import torch
    from transformers import AutoModelForCausalLM

    on, maker = torch.device(device), cast(Any, AutoModelForCausalLM)
    with _DRAWING, torch.random.fork_rng(devices=[on] if on.type == "cuda" else []), on:
        torch.manual_seed(SEED)
        model: PreTrainedModel = maker.from_config(
            random_config(shape), dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
    return model


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A fast tokenizer that needs no file: one token for each byte, and a `<bos>` in front of every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIALS, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", padding_side="left"
    )
