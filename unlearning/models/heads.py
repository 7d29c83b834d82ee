"""A causal language model in two halves: hidden states, and their projection to the vocabulary.

The projection is the expensive half (a vocabulary of 262 k words × 512 positions is half a gigabyte of
floats a block), so whoever needs logits only at some positions takes the hidden states of all and
projects the few: `head(backbone(ids)[rows, positions])`.

    model(ids).logits == head(backbone(ids))        the only promise; `check_split` tests it on a model
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from unlearning.errors import ModelError, PromptError

if TYPE_CHECKING:
    import torch

    Backbone = Callable[..., torch.Tensor]
    Head = Callable[[torch.Tensor], torch.Tensor]

# Model types that multiply their logits by a number of their configuration, and its name; the others in
# transformers that have such a number divide by it.
_MULTIPLIED = {
    "cohere": "logit_scale",
    "cohere2": "logit_scale",
    "hyperclovax": "logits_scaling",
}
_DIVIDED = {"granite", "granite_swa", "granitemoe", "granitemoe_swa", "granitemoehybrid", "granitemoeshared"}


def split(model: Any, float_head: bool = False) -> tuple[Backbone, Head]:
    """The two halves of a causal language model, plain or wrapped by peft.

    Both run the model's own modules, so adapters that are switched on (or off) act as they do in the
    whole model, and gradients flow. Under DistributedDataParallel call them from inside the wrapped
    module's `forward`, or gradients are not shared between ranks. A model of another make (one behind a filter,
    see `evaluation.baselines`) brings `halves` of its own.

    Args:
        model: The model.
        float_head: Project in float32 whatever the model's own type, for whoever compares logits.

    Returns:
        backbone: `(input_ids [batch, time], attention_mask [batch, time] | None, **more)` → hidden
            states [batch, time, width], final norm included. `more` goes to the model (`position_ids`).
        head: hidden states [..., width] → logits [..., vocab], scaling and soft cap included.

    Raises:
        ModelError: if the model has no separate output projection.
    """
    if hasattr(model, "halves"):
        return model.halves(float_head)
    core = unwrap(model)
    body, projection = getattr(core, "base_model", core), core.get_output_embeddings()
    if body is core or projection is None:
        raise ModelError(
            f"{type(core).__name__} has no separate output projection.",
            "Choose a decoder-only language model (Llama, Qwen, Gemma, GPT-2 and the like).",
        )
    finish = _finish(core.config.get_text_config())
    project = _in_float(projection) if float_head else projection

    def backbone(input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **more: Any) -> torch.Tensor:
        output = body(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, return_dict=True, **more)
        hidden: torch.Tensor = output.last_hidden_state  # [batch, time, width]
        return hidden

    def head(hidden: torch.Tensor) -> torch.Tensor:
        return finish(project(hidden))

    return backbone, head


def _in_float(projection: Any) -> Head:
    """The projection with logits in float32, without a copy of its weights in float32.

    A product of two bfloat16 matrices is summed up in float32; only its result is rounded. A second product takes
    the rounded result away before the rounding and so gives what the first one lost. Both together are quicker than
    one in float32 wherever there are instructions for bfloat16, and as exact (to 2⁻¹⁶ of a logit).
    """
    import torch

    def project(hidden: torch.Tensor) -> torch.Tensor:
        weight = projection.weight.detach()
        if weight.dtype == torch.float32:
            return projection(hidden.float())
        rows = hidden.to(weight.dtype).reshape(-1, hidden.shape[-1])  # [n, width]
        rounded = rows @ weight.T
        logits = torch.addmm(rounded, rows, weight.T, beta=-1).float().add_(rounded)
        if (bias := getattr(projection, "bias", None)) is not None:
            logits += bias.detach()
        return logits.view(*hidden.shape[:-1], -1)

    return project


def unwrap(model: Any) -> Any:
    """The transformers model inside a peft wrapper, adapters still in place; any other model unchanged."""
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        return model.get_base_model()
    return model


def check_split(model: Any) -> None:
    """Compare both halves with the whole model on a few tokens; costs two tiny forward passes.

    For models from outside the catalogue, whose architecture may treat its logits in a way not known here.

    Raises:
        ModelError: if they differ.
    """
    import torch

    backbone, head = split(model)
    ids = torch.arange(4, device=next(model.parameters()).device)[None]  # [1, 4]
    with reading(model):
        whole, halves = model(input_ids=ids).logits.float(), head(backbone(ids)).float()
    if not torch.allclose(whole, halves, rtol=1e-2, atol=1e-2, equal_nan=True):
        raise ModelError(
            f"{type(unwrap(model)).__name__} treats its logits in a way this program does not know "
            f"(largest difference {(whole - halves).abs().max():.2g}).",
            "Choose a model of another architecture (Llama, Qwen, Gemma, GPT-2 and the like).",
        )


def read_rows_together(model: Any) -> None:
    """Make what goes into the vocabulary projection contiguous.

    `logits_to_keep=1` gives it the last position of each row as a view with gaps. On a processor torch then multiplies
    row by row, with a copy of the projection for each: 6.7 GB for twenty prompts to a vocabulary of 262 k.
    """
    if (projection := model.get_output_embeddings()) is not None:
        projection.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(), *inputs[1:]))


def _finish(config: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """What the architecture does to its logits after the projection, in its own order: scale, then cap."""
    import torch

    kind = config.model_type
    factor = float(getattr(config, _MULTIPLIED[kind])) if kind in _MULTIPLIED else 1.0
    if kind in _DIVIDED:
        factor = 1.0 / float(config.logits_scaling)
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma 2; None in Gemma 3

    def finish(logits: torch.Tensor) -> torch.Tensor:
        if factor != 1.0:
            logits = logits * factor
        return logits if cap is None else torch.tanh(logits / cap) * cap

    return finish


def check_length(model: Any, tokens: int) -> None:
    """Refuse more tokens than the model's positions.

    Raises:
        PromptError: naming both numbers.
    """
    limit = context_length(model)
    if tokens > limit:
        raise PromptError(f"{tokens} tokens in one row are too many: this model reads {limit}.", "Shorten the text.")


def context_length(model: Any) -> float:
    """Most tokens that a model reads in one row; infinite where its configuration names no limit."""
    limit = getattr(unwrap(model).config.get_text_config(), "max_position_embeddings", None)
    return math.inf if limit is None else limit


@contextmanager
def reading(model: Any) -> Iterator[None]:
    """Read with a model without training it: no dropout, no gradients; every module's mode is put back after."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        # not inference_mode: a cache that a module fills here must still serve training afterwards
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
