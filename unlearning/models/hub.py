"""Models from the Hugging Face hub: safetensors and tokenizer files only, never code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearning.errors import DownloadError, ModelError, ModelNotFoundError
from unlearning.models.catalogue import suggestion

WANTED = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "README.md", "LICENSE*", "NOTICE*"]
# Folders in a repository hold other formats of the same weights; so do these files.
UNWANTED = ["*/*", "consolidated*", "*.fp16.safetensors", "*.bf16.safetensors", "adapter_*"]

_OFFLINE = "Connect to the network, or take a local folder or a model of the catalogue (smollm2-135m)."


def is_hub_id(name: str) -> bool:
    """Whether this could be the id of a model on the hub: `owner/name`."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w][\w.-]*", name) is not None


def cached(name: str) -> Path | None:
    """The folder of a hub model that was downloaded before; no network."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=WANTED, ignore_patterns=UNWANTED, local_files_only=True))
    except OSError:  # not there, or not all of it
        return None


def download(name: str, report: Callable[..., None] | None = None) -> Path:
    """The folder of a hub model, downloaded now or before (the hub's own cache is used).

    Args:
        name: `owner/name`.
        report: Hears that a download starts.

    Raises:
        ModelNotFoundError: the hub has no such model, or does not show it.
        DownloadError: no network, a gated model, or another answer of the hub.
        ModelError: the model has no safetensors.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if report and cached(name) is None:
        report("note", message=f"Downloading {name} from the Hugging Face hub.")
    try:
        with _quiet():
            folder = Path(snapshot_download(name, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except GatedRepoError as error:
        raise DownloadError(
            f"The hub gives {name} only to those who accepted its conditions.",
            f"Accept them at {HfApi().endpoint}/{name}, then log in with `hf auth login`.",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"There is no folder and no model on the Hugging Face hub named '{name}' (or it is private).",
            f"Check the spelling. {suggestion(name)}",
        ) from error
    except (LocalEntryNotFoundError, ConnectionError) as error:
        raise DownloadError(
            f"{name} is no folder here, and the Hugging Face hub cannot be reached.", _OFFLINE
        ) from error
    except Exception as error:  # a download can fail in a hundred ways, and every one has the same mend
        raise DownloadError(
            f"The Hugging Face hub did not give {name} ({type(error).__name__}: {str(error).partition(chr(10))[0]}).",
            "Try again later, or give a local folder.",
        ) from error
    if not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"{name} on the hub has no safetensors weights, and pickled ones can run code.",
            "Choose a model that has a model.safetensors file.",
        )
    return folder


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and warnings of the hub's library: what matters comes as an exception."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    bars, verbosity = not are_progress_bars_disabled(), logging.get_verbosity()
    disable_progress_bars()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            enable_progress_bars()
