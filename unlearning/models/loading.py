"""From a model's name to a model in memory, and from a text to its tokens.

A name is one of the catalogue, a local folder, a Hugging Face id (`owner/name`) or `random:<shape>`.
Whatever it is: weights come from safetensors alone, and no code that came with a model is ever run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unlearning.errors import ModelNotFoundError, OutOfMemoryError
from unlearning.models import hub
from unlearning.models.catalogue import CATALOGUE, fetch, home, is_whole, suggestion
from unlearning.models.folders import check_folder, licence_of, read_config, read_model, read_tokenizer
from unlearning.models.hardware import Hardware
from unlearning.models.heads import check_split, read_rows_together
from unlearning.models.shapes import SEED, byte_tokenizer, find_shape, random_model
from unlearning.models.weights import count_parameters, weight_files, weights_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Kind = Literal["catalogue", "folder", "random", "hub"]


def load(
    name: str, hardware: Hardware, accept_licence: bool = False, report: Callable[..., None] | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A causal language model and its fast tokenizer, ready to predict: evaluation mode, nothing trainable.

    Sets torch's number of threads to `hardware.threads`.

    Args:
        name: A catalogue name, a folder, `random:<shape>` or `owner/name`, in this order.
        hardware: Where the weights go and in which format.
        accept_licence: For catalogue models that ask for it.
        report: Hears of downloads: `report("note", message=…)`.

    Raises:
        ModelNotFoundError: nothing has this name.
        ModelError: the model is there and cannot be used; the message says what is wrong with which file.
        LicenceError, DownloadError: as `fetch` and `hub.download`.
        OutOfMemoryError: the device is too small for it.
    """
    import torch

    torch.set_num_threads(hardware.threads)
    kind = kind_of(name)
    try:
        if kind == "random":
            model, tokenizer = random_model(find_shape(name), hardware.device, hardware.dtype), _random_tokenizer(name)
        else:
            folder = _locate(name, kind, accept_licence, report)
            check_folder(folder)
            config, tokenizer = read_config(folder), read_tokenizer(folder)
            model = read_model(folder, config, hardware)
            if kind != "catalogue":
                check_split(model)
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"The model {name} in {hardware.dtype} does not fit into the memory of {hardware.device}.",
            "Choose a smaller model, bfloat16, or the device cpu.",
        ) from error
    read_rows_together(model)
    return model.eval().requires_grad_(False), tokenizer


def kind_of(name: str) -> Kind:
    """Where a model of this name comes from. A folder in the way of a catalogue name is reached as `./name`.

    Raises:
        ModelNotFoundError: it can be none of these.
    """
    if name in CATALOGUE:
        return "catalogue"
    if name.startswith("random:"):
        find_shape(name)
        return "random"
    if name and Path(name).expanduser().exists():
        return "folder"
    if hub.is_hub_id(name):
        return "hub"
    raise ModelNotFoundError(f"There is no model '{name}', and no folder of that name.", suggestion(name))


def find_folder(name: str) -> Path | None:
    """The folder where this model's files are on this machine now; None where it has none. No network."""
    kind = kind_of(name)
    if kind == "catalogue":
        folder = home() / "models" / name
        return folder if is_whole(folder, CATALOGUE[name]) else None
    if kind == "folder":
        return Path(name).expanduser()
    return hub.cached(name) if kind == "hub" else None


def tokenizer_here(name: str) -> PreTrainedTokenizerFast | None:
    """The tokenizer of a model whose files are on this machine; None where they are not. No network.

    Raises:
        ModelNotFoundError, ModelError: as `load`.
    """
    if kind_of(name) == "random":
        return _random_tokenizer(name)
    folder = find_folder(name)
    return read_tokenizer(folder) if folder else None


def _locate(name: str, kind: Kind, accept_licence: bool, report: Callable[..., None] | None) -> Path:
    if kind == "catalogue":
        return fetch(name, accept_licence, report)
    return hub.download(name, report) if kind == "hub" else Path(name).expanduser()


def _random_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """The real tokenizer for the default model's shape where it is on disk, else bytes."""
    folder = find_folder("smollm2-135m") if name == "random:smollm2-135m" else None
    return read_tokenizer(folder) if folder else byte_tokenizer()


def identify(name: str) -> dict[str, Any]:
    """What a run records about its model. No network, no weights in memory.

    Returns:
        name; kind ("catalogue", "folder", "random", "hub"); sha256 of the weights (None for random ones and for
        those not on this machine); parameters; licence (None where nobody says).

    Raises:
        ModelNotFoundError, ModelError: as `load`.
    """
    kind = kind_of(name)
    record = {"name": name, "kind": kind, "sha256": None, "parameters": None, "licence": None}
    if kind == "random":
        shape = find_shape(name)
        return record | {"parameters": shape.parameters, "seed": SEED}
    folder = find_folder(name)
    entry = CATALOGUE.get(name)
    if folder is None:
        return record | ({"parameters": entry.parameters, "licence": entry.licence} if entry else {})
    check_folder(folder)
    weights = weight_files(folder)
    return record | {
        "sha256": weights_hash(weights),
        "parameters": sum(count_parameters(path) for path in weights),
        "licence": entry.licence if entry else licence_of(folder),
    }


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of a text and where each token stands in it.

    Some models expect a special token before any text (Gemma without its `<bos>` predicts nonsense),
    and none expects a closing one in the middle of a document. So the specials that the tokenizer
    itself puts in front are kept, those that it would put behind are not.

    Args:
        tokenizer: Any fast tokenizer.
        text: Any text, empty included.

    Returns:
        ids and offsets, equally long. An offset is `(start, end)` in characters of `text`; a special
        token in front has `(0, 0)`.
    """
    body = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    front = leading_specials(tokenizer)
    return front + list(body["input_ids"]), [(0, 0)] * len(front) + list(body["offset_mapping"])


def leading_specials(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The ids that this tokenizer puts before a text when left to itself: `[2]` for Gemma, `[]` for SmolLM2."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return list(full[:start])
    return []
