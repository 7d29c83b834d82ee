"""A model's folder: what is in it, whether it can be used, and reading it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.errors import ModelError
from unlearning.models.conversion import quiet
from unlearning.models.hardware import Hardware

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TO_SAFETENSORS = (
    "On a machine where you trust them, convert them: "
    "`AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder)`."
)


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not a whole model in safetensors, saying what it is instead.

    Raises:
        ModelError: a file instead of a folder, an adapter, pickled or quantised weights, no weights, a missing shard.
    """
    if not folder.is_dir():
        hint = " (a gguf file is quantised: take the model it was made from)" if folder.suffix == ".gguf" else ""
        raise ModelError(f"{folder} is a file.", f"Give the folder that holds config.json and the weights{hint}.")
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder} holds an adapter, not a model.", "Merge it first: `python -m unlearning export` writes both."
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json.", "Give the folder of a model saved by transformers.")
    if not list(folder.glob("*.safetensors")):
        if any(list(folder.glob(pattern)) for pattern in _PICKLES):
            raise ModelError(
                f"The weights in {folder} are pickled, and a pickle can run any code when it is opened.",
                _TO_SAFETENSORS,
            )
        raise ModelError(f"{folder} has no weights (*.safetensors).", "Copy the model again.")
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not (folder / "model.safetensors").is_file():
        try:
            shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(f"{index} cannot be read.", "Copy the model again.") from error
        missing = [shard for shard in shards if not (folder / Path(shard).name).is_file()]
        if missing:
            raise ModelError(f"{folder} lacks {', '.join(missing)}.", "Copy the model again.")


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer in a folder.

    Raises:
        ModelError: there is none, or only a slow one: without character offsets nothing can be aligned.
    """
    from transformers import AutoTokenizer

    hint = "A fast tokenizer is needed (tokenizer.json): copy it from the model's source."
    try:
        with quiet():
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # tokenizers raises bare Exception for a damaged file
        raise ModelError(f"{folder} has no tokenizer that can be read ({_first_line(error)}).", hint) from error
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(f"{folder} has only a slow tokenizer ({type(tokenizer).__name__}).", hint)
    fast: PreTrainedTokenizerFast = tokenizer
    return fast


def licence_of(folder: Path) -> str | None:
    """The licence that a model card's front matter names."""
    try:
        card = (folder / "README.md").read_text(errors="replace")
    except OSError:
        return None
    front = re.match(r"---\n(.*?)\n---", card, flags=re.DOTALL)
    found = front and re.search(r"^license:\s*['\"]?([^'\"\n]+?)['\"]?\s*$", front.group(1), flags=re.MULTILINE)
    return found.group(1) if found else None


def read_config(folder: Path) -> Any:
    """The transformers config of a model that can be trained.

    Raises:
        ModelError: it cannot be read, wants its author's code, or describes quantised weights.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"The model in {folder} runs only with its author's own code, which this program never does.",
                "Choose a model whose architecture transformers knows.",
            ) from error
        raise ModelError(
            f"The config of {folder} cannot be used ({_first_line(error)}).",
            "Choose a model whose architecture the installed transformers knows.",
        ) from error
    if getattr(config, "quantization_config", None):
        raise ModelError(
            f"The weights in {folder} are quantised, and quantised weights cannot be trained.",
            "Choose the same model unquantised.",
        )
    return config


def read_model(folder: Path, config: Any, hardware: Hardware) -> PreTrainedModel:
    """Read the weights straight to the device.

    Raises:
        ModelError: damaged weights, no causal language model, or weights missing, which transformers would make up.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM
    try:
        with quiet():
            model, info = loader.from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, hardware.dtype),
                device_map={"": hardware.device} if hardware.device != "cpu" else None,
                attn_implementation=_attention(config),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except torch.OutOfMemoryError:
        raise
    except SafetensorError as error:
        raise ModelError(
            f"The weights in {folder} are damaged ({_first_line(error)}).", "Copy the model again."
        ) from error
    except Exception as error:
        raise ModelError(
            f"The model in {folder} cannot be loaded as a causal language model ({_first_line(error)}).",
            "Choose a model that writes text (its config names an architecture …ForCausalLM).",
        ) from error
    lacking = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if lacking:
        raise ModelError(
            f"The weights in {folder} do not fit its config: {lacking[0]} and {len(lacking) - 1} more are missing.",
            "Copy the model again; a model without a language head cannot be used.",
        )
    loaded: PreTrainedModel = model
    return loaded


def _attention(config: Any) -> str:
    """torch's fused attention where the architecture allows it."""
    from transformers import AutoModelForCausalLM

    try:
        architecture = AutoModelForCausalLM._model_mapping[type(config)]
    except KeyError:
        return "sdpa"  # loading will say what is wrong with it
    return "sdpa" if getattr(architecture, "_supports_sdpa", True) else "eager"


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".:")[:200]
