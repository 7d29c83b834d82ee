"""The weights rounded to 8 or 4 bits, as whoever runs a model on a small machine does.

Plain round-to-nearest, computed with torch's own fake quantisation: the weights take one of 2^bits values of a group
and stay floating-point numbers, so the model answers as a quantised one would and runs wherever it ran before. Not a
packed format: it saves no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from unlearning.evaluation.adapter_scale import unstacked
from unlearning.evaluation.attack_questions import (
    PROBES,
    answers,
    ask_plainly,
    opened,
    probe_figures,
    probes_of,
    stop_if,
    with_weights,
)
from unlearning.evaluation.attack_results import values_of
from unlearning.evaluation.baselines import ModelOf
from unlearning.evaluation.measure import MeasureInputs
from unlearning.models.heads import unwrap

if TYPE_CHECKING:
    import torch

GROUP = 64  # weights that share a scale at 4 bits; at 8 bits a row does


def quantised_probes(
    bits: int,
    model_of: ModelOf,
    tokenizer: Any,
    inputs: MeasureInputs,
    roles: Sequence[str],
    report: Callable[..., None],
    should_stop: Callable[[], bool],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The probes asked of every role with its weights rounded; values as `attack_results.values_of` gives them."""
    probes, own = probes_of(inputs, tokenizer, PROBES["full"]), with_weights(roles)
    if not probes:
        return {}, {"text": "There was nothing to ask."}
    plain = ask_plainly(model_of, tokenizer, roles, probes, should_stop)
    rounded: dict[str, list[float]] = {}
    for step, role in enumerate(own, start=1):
        with model_of(role) as model, quantised(model, bits):
            rounded[role] = probe_figures(model, tokenizer, probes)
        report("step", step=step, steps=len(own))
        stop_if(should_stop)
    attacked = opened(rounded, roles)
    return values_of(attacked, plain), {"evidence": answers(probes, attacked, plain)}


@contextmanager
def quantised(model: Any, bits: int) -> Iterator[None]:
    """The model with its linear layers (adapters merged, the output projection left out) rounded; then as it was.

    Args:
        model: A causal language model, plain or with adapters, in the role that is to be rounded.
        bits: 8: symmetric, a scale for each row. Fewer: a scale and a zero for each group of weights of a row.
    """
    kept, scales = [], []
    try:
        for base, layer in _linear_layers(model):
            original = base.weight.data
            merged = original.float() + sum(_deltas(layer))  # [out, in]
            rounded = round_to_nearest(merged.T, bits).T if _is_transposed(base) else round_to_nearest(merged, bits)
            kept.append((base.weight, original))
            base.weight.data = rounded.to(original.dtype)
            if layer is not None:  # the adapter is in the rounded weights now
                scales.append((layer, dict(layer.scaling)))
                layer.scaling.update(dict.fromkeys(layer.scaling, 0.0))
        with unstacked(model):
            yield
    finally:
        for weight, original in kept:
            weight.data = original
        for layer, scaling in scales:
            layer.scaling.update(scaling)


def round_to_nearest(weight: torch.Tensor, bits: int, group: int = GROUP) -> torch.Tensor:
    """Each weight by the nearest of 2^bits values of its row (8 bits and more) or group; float32 [out, in]."""
    import torch

    shape = weight.shape
    if bits >= 8:
        top = 2 ** (bits - 1) - 1
        scale = weight.abs().amax(dim=1).clamp_min(1e-12) / top
        zero = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_channel_affine(weight.contiguous(), scale, zero, 0, -top - 1, top)
    size = group if shape[1] % group == 0 else shape[1]
    rows = weight.reshape(-1, size)
    top = 2**bits - 1
    low, high = rows.amin(dim=1).clamp(max=0), rows.amax(dim=1).clamp(min=0)
    scale = ((high - low) / top).clamp_min(1e-12)
    zero = (-low / scale).round().clamp(0, top).to(torch.int32)
    return torch.fake_quantize_per_channel_affine(rows.contiguous(), scale, zero, 0, 0, top).reshape(shape)


def _linear_layers(model: Any) -> Iterator[tuple[Any, Any]]:
    """Each linear layer that holds weights, and the layer of adapters around it if there is one."""
    import torch
    from transformers.pytorch_utils import Conv1D

    core = unwrap(model)
    head = core.get_output_embeddings()
    around = {
        each.base_layer: each for each in core.modules() if hasattr(each, "lora_A") and hasattr(each, "base_layer")
    }
    for name, module in core.named_modules():
        # an adapter's own two matrices are linear layers too
        if isinstance(module, (torch.nn.Linear, Conv1D)) and ".lora_" not in name and module is not head:
            yield module, around.get(module)


def _deltas(layer: Any) -> list[Any]:
    """What the adapters that are switched on add to the weight."""
    if layer is None or layer.disable_adapters:
        return [0.0]
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    return [layer.get_delta_weight(name).detach().float() for name in active] or [0.0]


def _is_transposed(base: Any) -> bool:
    """GPT-2 keeps its weights [in, out]; peft gives its deltas in that shape too."""
    return type(base).__name__ == "Conv1D"
