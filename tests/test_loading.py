"""From a name to a model in memory; from a text to its tokens; what must be refused, and how."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors
from tokenizers_for_tests import byte_level_bpe, metaspace_unigram, wordpiece

from unlearning.config import ModelSettings
from unlearning.errors import LicenceError, ModelError, ModelNotFoundError
from unlearning.models.hardware import Hardware, choose_hardware
from unlearning.models.loading import encode, find_folder, identify, kind_of, leading_specials, load
from unlearning.models.shapes import SHAPES, byte_tokenizer, random_config, random_model

IDS = torch.tensor([[1, 50, 60, 70, 80, 90, 100]])


@pytest.fixture(scope="module")
def cpu() -> Hardware:
    return choose_hardware(ModelSettings(device="cpu", dtype="float32"))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test here needs a downloaded model, and none may write into the user's cache."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("UNLEARNING_HOME", str(tmp_path / "home"))
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and its tokenizer, as transformers saves them. Tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("saved")
    random_model(SHAPES["tiny"], "cpu", "float32").save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "model")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def logits_of(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS).logits


# --- encode ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokenizer", "front"),
    [
        (byte_tokenizer, ["<bos>"]),
        (byte_level_bpe, []),
        (metaspace_unigram, ["<s>"]),
        (wordpiece, ["[CLS]"]),  # and its [SEP] at the end is left out
    ],
)
@given(text=st.text(max_size=40))
def test_encode_adds_what_the_tokenizer_puts_in_front_and_nothing_behind(tokenizer: Any, front: list[str], text: str):
    tok = tokenizer()
    ids, offsets = encode(tok, text)
    assert len(ids) == len(offsets)
    assert tok.convert_ids_to_tokens(ids[: len(front)]) == front
    assert offsets[: len(front)] == [(0, 0)] * len(front)
    assert ids[len(front) :] == tok(text, add_special_tokens=False)["input_ids"]
    assert all(0 <= start <= end <= len(text) for start, end in offsets)


def test_encode_offsets_point_into_the_text():
    text = "The White Rabbit 👩‍🚀 ran."
    ids, offsets = encode(byte_tokenizer(), text)
    assert "".join(text[start:end] for start, end in dict.fromkeys(offsets)) == text
    assert byte_tokenizer().decode(ids, skip_special_tokens=True) == text


def test_a_closing_special_is_left_out_even_where_the_tokenizer_has_both():
    tok = byte_tokenizer()
    tok.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="$A $B", special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )
    assert tok("ab")["input_ids"][-1] == 2
    assert encode(tok, "ab")[0] == tok("ab")["input_ids"][:-1]
    assert leading_specials(tok) == [1]


def test_encode_takes_a_book_without_a_warning(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder):
    tok = byte_tokenizer()
    tok.model_max_length = 128
    assert len(encode(tok, "Down the rabbit hole. " * 100)[0]) == 2201
    assert capfd.readouterr() == ("", "") and not list(recwarn)


# --- random models ---------------------------------------------------------------------------------


def test_a_random_model_is_ready_to_predict_and_always_the_same(cpu: Hardware):
    model, tokenizer = load("random:tiny", cpu)
    assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())
    assert model.config._attn_implementation == "sdpa" and model.dtype == torch.float32
    assert tokenizer.is_fast and len(tokenizer) == model.config.vocab_size
    logits = logits_of(model)
    assert logits.isfinite().all() and logits.std() > 0
    torch.manual_seed(1)
    assert torch.equal(logits_of(load("random:tiny", cpu)[0]), logits)


def test_making_a_random_model_leaves_the_random_numbers_alone(cpu: Hardware):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load("random:tiny", cpu)
    assert torch.equal(torch.rand(3), expected)


def test_random_models_made_at_the_same_time_are_the_same():
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: random_model(SHAPES["tiny"], "cpu", "float32"), range(24)))
    weights = [model.get_output_embeddings().weight for model in models]
    assert all(torch.equal(weight, weights[0]) for weight in weights)


def test_a_random_model_comes_in_the_format_that_was_asked_for():
    hardware = choose_hardware(ModelSettings(device="cpu", dtype="bfloat16"))
    assert load("random:tiny", hardware)[0].dtype == torch.bfloat16


@pytest.mark.parametrize("name", SHAPES)
def test_the_table_of_shapes_counts_parameters_right(name: str):
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(random_config(SHAPES[name]))
    assert model.num_parameters() == SHAPES[name].parameters


def test_an_unknown_shape_is_answered_with_those_there_are(cpu: Hardware):
    with pytest.raises(ModelNotFoundError, match="no model shape 'llama-70b'") as caught:
        load("random:llama-70b", cpu)
    assert "llama-7b" in caught.value.hint


# --- a local folder --------------------------------------------------------------------------------


def test_a_folder_is_loaded_as_it_was_saved_and_in_silence(
    saved: Path, cpu: Hardware, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
):
    model, tokenizer = load(str(saved), cpu)
    assert torch.equal(logits_of(model), logits_of(random_model(SHAPES["tiny"], "cpu", "float32").eval()))
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())
    assert model.config._attn_implementation == "sdpa"
    assert encode(tokenizer, "Alice") == encode(byte_tokenizer(), "Alice")
    assert torch.get_num_threads() == cpu.threads
    assert capfd.readouterr() == ("", "") and not list(recwarn)


def test_several_shards_are_one_model(saved: Path, copy: Path, cpu: Hardware):
    (copy / "model.safetensors").unlink()
    random_model(SHAPES["tiny"], "cpu", "float32").save_pretrained(copy, max_shard_size="100KB")
    shards = sorted(copy.glob("*.safetensors"))
    assert len(shards) > 1
    assert torch.equal(logits_of(load(str(copy), cpu)[0]), logits_of(load(str(saved), cpu)[0]))
    assert identify(str(copy))["parameters"] == SHAPES["tiny"].parameters
    shards[0].unlink()
    with pytest.raises(ModelError, match=shards[0].name):
        load(str(copy), cpu)


def test_pickled_weights_are_refused_unopened(copy: Path, cpu: Hardware, tmp_path: Path):
    import pickle

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError, match="pickle can run any code") as caught:
        load(str(copy), cpu)
    assert "save_pretrained" in caught.value.hint
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("model_type", ["llama", "its-own"])
def test_code_that_comes_with_a_model_never_runs(copy: Path, cpu: Hardware, tmp_path: Path, model_type: str):
    trap = f"from pathlib import Path\nPath({str(tmp_path / 'sprung')!r}).touch()\n"
    (copy / "modeling_trap.py").write_text(trap)
    names = {"AutoConfig": "modeling_trap.Config", "AutoModelForCausalLM": "modeling_trap.Model"}
    edit(copy / "config.json", auto_map=names, model_type=model_type)
    if model_type == "llama":
        load(str(copy), cpu)  # an architecture that transformers knows needs no foreign code
    else:
        with pytest.raises(ModelError, match="author's own code"):
            load(str(copy), cpu)
    assert not (tmp_path / "sprung").exists()


def damage(copy: Path, how: str) -> None:
    match how:
        case "no config":
            (copy / "config.json").unlink()
        case "config is no JSON":
            (copy / "config.json").write_text("{")
        case "unknown architecture":
            edit(copy / "config.json", model_type="no-such-architecture")
        case "no weights":
            (copy / "model.safetensors").unlink()
        case "truncated weights":
            os.truncate(copy / "model.safetensors", 1000)
        case "empty weights":
            os.truncate(copy / "model.safetensors", 0)
        case "a layer more than weights":
            edit(copy / "config.json", num_hidden_layers=3, layer_types=None)
        case "another width":
            edit(copy / "config.json", hidden_size=32)
        case "quantised":
            edit(copy / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
        case "adapter":
            (copy / "adapter_config.json").write_text("{}")
        case "no tokenizer":
            (copy / "tokenizer.json").unlink()
            (copy / "tokenizer_config.json").unlink()
        case "broken tokenizer":
            (copy / "tokenizer.json").write_text("{}")
        case "torn index":
            (copy / "model.safetensors").rename(copy / "model-00001-of-00001.safetensors")
            (copy / "model.safetensors.index.json").write_text('{"weight_map": ')


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no config", "has no config.json"),
        ("config is no JSON", "config of .* cannot be used"),
        ("unknown architecture", "config of .* cannot be used"),
        ("no weights", r"has no weights"),
        ("truncated weights", "damaged"),
        ("empty weights", "damaged"),
        ("a layer more than weights", "do not fit its config"),
        ("another width", "do not fit its config|cannot be loaded"),
        ("quantised", "are quantised"),
        ("adapter", "holds an adapter"),
        ("no tokenizer", "tokenizer"),
        ("broken tokenizer", "tokenizer"),
        ("torn index", "cannot be read"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_named_with_what_it_lacks(
    copy: Path, cpu: Hardware, how: str, message: str, capfd: pytest.CaptureFixture[str]
):
    damage(copy, how)
    with pytest.raises(ModelError, match=message) as caught:
        load(str(copy), cpu)
    assert str(copy) in caught.value.message and caught.value.hint.endswith(".")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_encoder_decoder_is_refused(tmp_path: Path, cpu: Hardware):
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=259, d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    byte_tokenizer().save_pretrained(tmp_path / "t5")
    with pytest.raises(ModelError, match="causal language model"):
        load(str(tmp_path / "t5"), cpu)


def test_a_slow_tokenizer_is_refused(copy: Path, cpu: Hardware):
    (copy / "tokenizer.json").unlink()
    (copy / "vocab.json").write_text('{"a": 0}')
    (copy / "tokenizer_config.json").write_text('{"tokenizer_class": "CTRLTokenizer"}')
    (copy / "merges.txt").write_text("#version\na b\n")
    with pytest.raises(ModelError, match="tokenizer") as caught:
        load(str(copy), cpu)
    assert "tokenizer.json" in caught.value.hint


def test_a_file_is_refused(tmp_path: Path, cpu: Hardware):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="is a file") as caught:
        load(str(tmp_path / "model.gguf"), cpu)
    assert "quantised" in caught.value.hint


# --- names -----------------------------------------------------------------------------------------


def test_names_are_told_apart(saved: Path, monkeypatch: pytest.MonkeyPatch):
    assert kind_of("smollm2-135m") == "catalogue"
    assert kind_of("random:tiny") == "random"
    assert kind_of(str(saved)) == "folder"
    assert kind_of("meta-llama/Llama-2-7b-hf") == "hub"
    monkeypatch.chdir(saved.parent)
    assert kind_of(f"./{saved.name}") == kind_of(saved.name) == "folder"
    (saved.parent / "smollm2-135m").mkdir(exist_ok=True)
    assert kind_of("smollm2-135m") == "catalogue" and kind_of("./smollm2-135m") == "folder"


@pytest.mark.parametrize("name", ["smolm2-135m", "gemma-270m", "no such model", "/no/such/folder", "a/b/c", "-x/y", ""])
def test_a_name_of_nothing_is_answered_with_names_of_something(name: str, cpu: Hardware):
    with pytest.raises(ModelNotFoundError, match="There is no model") as caught:
        load(name, cpu)
    assert "gemma-3-270m" in caught.value.hint or "smollm2-135m" in caught.value.hint


def test_the_catalogue_is_reached_through_load(cpu: Hardware):
    with pytest.raises(LicenceError, match="--accept-licence"):
        load("gemma-3-270m", cpu)


# --- what a run writes down ------------------------------------------------------------------------


def test_a_folder_is_identified_by_its_weights(copy: Path, tmp_path: Path):
    (copy / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# A model\n")
    weights = copy / "model.safetensors"
    expected = hashlib.sha256(weights.read_bytes()).hexdigest()
    found = identify(str(copy))
    assert found == {
        "name": str(copy),
        "kind": "folder",
        "sha256": expected,
        "parameters": SHAPES["tiny"].parameters,
        "licence": "mit",
    }
    [side] = (tmp_path / "home" / "hashes").iterdir()
    edit(side, sha256="kept")
    assert identify(str(copy))["sha256"] == "kept"  # not computed twice
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert identify(str(copy))["sha256"] == hashlib.sha256(data).hexdigest()  # changed weights are another model


def test_several_shards_are_identified_together(copy: Path):
    (copy / "model.safetensors").unlink()
    random_model(SHAPES["tiny"], "cpu", "float32").save_pretrained(copy, max_shard_size="100KB")
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(copy.glob("*.safetensors"))]
    assert identify(str(copy))["sha256"] == hashlib.sha256("".join(hashes).encode()).hexdigest()


def test_damaged_weights_are_noticed_while_identifying(copy: Path):
    os.truncate(copy / "model.safetensors", 5000)
    with pytest.raises(ModelError, match="damaged"):
        identify(str(copy))


def test_models_without_files_are_identified_too():
    assert identify("random:tiny") == {
        "name": "random:tiny", "kind": "random", "sha256": None, "parameters": SHAPES["tiny"].parameters,
        "licence": None, "seed": 20231003,
    }  # fmt: skip
    not_here = identify("smollm2-135m")
    assert (not_here["sha256"], not_here["licence"], not_here["parameters"]) == (None, "Apache-2.0", 134_515_008)
    assert find_folder("smollm2-135m") is None


def test_logits_treated_in_an_unknown_way_are_refused(copy: Path, cpu: Hardware, monkeypatch: pytest.MonkeyPatch):
    from transformers import LlamaForCausalLM

    inner = LlamaForCausalLM.forward

    def scaled(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = inner(self, *args, **kwargs)
        output.logits = output.logits * 3
        return output

    monkeypatch.setattr(LlamaForCausalLM, "forward", scaled)
    with pytest.raises(ModelError, match="treats its logits"):
        load(str(copy), cpu)


def test_the_last_positions_reach_the_projection_without_gaps(cpu: Hardware):
    model, _ = load("random:tiny", cpu)
    seen: list[bool] = []
    model.get_output_embeddings().register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].is_contiguous())
    )
    model(input_ids=IDS.repeat(3, 1), logits_to_keep=1)
    assert seen == [True]
