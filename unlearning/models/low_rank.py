"""Low-rank adapters at their price: peft's linear layer with a shorter forward, and rows that play different roles.

peft computes y = W x + s·B(A x) in five passes over tensors as large as y, four of them in float32 whatever the
model's own format; an adapter of rank 8 then costs a third of the forward pass. Here s goes to the rank-r half and
one fused product adds the other: the same formula, the adapter at a few per cent.

For reading (no gradients) the adapters of a batch are stacked: with A = [A₁; A₂] and B = [B₁ | B₂], row i of the
batch takes its own adapter by a mask over the stacked rank, so that any number of roles costs two small products.
A row may also take several adapters, each times a factor: these are then in the mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import Linear
from peft.utils.other import AuxiliaryTrainingWrapper

from unlearning.errors import ModelError

Played: TypeAlias = str | tuple[tuple[str, float], ...] | None  # an adapter; some, each times a factor; or none


def parts(played: Played) -> dict[str, float]:
    """The adapters that a row goes through, and their factors."""
    return dict(played) if isinstance(played, tuple) else {} if played is None else {played: 1.0}


@dataclass(frozen=True)
class Stacked:
    """The adapters that a batch's rows play at one layer.

    Attributes:
        down: A of every adapter, one below the other, [ranks, in].
        up: s·B of every adapter, side by side, transposed, [ranks, out].
        mask: How much of which each row takes, [rows, 1, ranks], mostly ones and zeros; None where all take all.
    """

    down: torch.Tensor
    up: torch.Tensor
    mask: torch.Tensor | None


class LeanLinear(Linear):
    """peft's layer, its state and its formula; set by `make_lean`."""

    stacked: Stacked | None = None
    base_layer: Any
    lora_A: Any  # noqa: N815 (its name in peft)
    lora_B: Any  # noqa: N815

    def forward(self, x: torch.Tensor, *args: Any, **more: Any) -> torch.Tensor:
        if self.stacked is not None and not self.disable_adapters and not torch.is_grad_enabled():
            return self._read(x, self.stacked)
        name = self._only_adapter()
        if name is None or args or more or self.disable_adapters or self.merged or not self._one_format(name, x):
            return super().forward(x, *args, **more)
        result: torch.Tensor = self.base_layer(x)
        low = self.lora_A[name](self.lora_dropout[name](x)) * self.scaling[name]  # [..., rank]
        added = torch.addmm(result.flatten(0, -2), low.flatten(0, -2), self.lora_B[name].weight.T)
        return added.view(result.shape)

    def _one_format(self, name: str, x: torch.Tensor) -> bool:
        """Whether the fused product may be taken: under autocast, or where all of it has one number format."""
        same = x.dtype == self.base_layer.weight.dtype == self.lora_B[name].weight.dtype
        return x.dim() > 1 and (same or torch.is_autocast_enabled(x.device.type))

    def _only_adapter(self) -> str | None:
        """The active adapter, where there is one alone and it is a plain one."""
        here = [name for name in self.active_adapters if name in self.lora_A]
        plain = len(here) == 1 and here[0] not in self.lora_variant and not self.lora_bias[here[0]]
        return here[0] if plain else None

    def _read(self, x: torch.Tensor, stacked: Stacked) -> torch.Tensor:
        y: torch.Tensor = self.base_layer(x)
        low = F.linear(x, stacked.down)  # [..., ranks]
        if stacked.mask is not None:
            if len(low) != len(stacked.mask) or low.dim() != stacked.mask.dim():
                raise ModelError(
                    "This model's layers do not keep the rows of a batch apart.", "Ask one role at a time."
                )
            low *= stacked.mask
        y.flatten(0, -2).addmm_(low.flatten(0, -2), stacked.up)  # y is new and contiguous, so this is a view of it
        return y

    def stack(self, rows: Sequence[Played]) -> Stacked:
        """The adapters of all rows on top of each other; rows that are all alike need no mask."""
        here = [name for name in sorted({name for row in rows for name in parts(row)}) if name in self.lora_A]
        alike = parts(rows[0]) if len(set(rows)) == 1 else None
        scale = {name: self.scaling[name] * (alike[name] if alike else 1.0) for name in here}
        weight, dtype = self.base_layer.weight, self.base_layer.weight.dtype
        if not here:  # none of them reaches this layer
            return Stacked(
                weight.new_zeros(1, self.in_features or 0), weight.new_zeros(1, self.out_features or 0), None
            )
        down = torch.cat([_whole(self.lora_A[name].weight) for name in here]).to(dtype)
        up = torch.cat([_whole(self.lora_B[name].weight) * scale[name] for name in here], dim=1).T.to(dtype)
        mask = None
        if alike is None:
            ranks = [name for name in here for _ in range(len(self.lora_A[name].weight))]
            taken = [[parts(row).get(name, 0.0) for name in ranks] for row in rows]
            mask = torch.tensor(taken, dtype=dtype, device=down.device)[:, None]  # [rows, 1, ranks]
        return Stacked(down, up, mask)


def _whole(weight: Any) -> torch.Tensor:
    """A weight of which every process of a run may hold a part (FSDP2), put together."""
    whole: torch.Tensor = weight.detach().full_tensor() if hasattr(weight, "full_tensor") else weight.detach()
    return whole


def make_lean(model: Any) -> None:
    """Give peft's plain linear layers the shorter forward; others (quantised ones, say) stay as they are."""
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = LeanLinear


def can_mix(model: Any, adapters: Sequence[str]) -> bool:
    """Whether `rows_play` knows every layer that these adapters change."""
    if any(isinstance(module, AuxiliaryTrainingWrapper) for module in model.modules()):
        return False  # an adapter brings whole layers of its own
    for layer in (module for module in model.modules() if isinstance(module, LoraLayer)):
        here = [name for name in adapters if name in layer.lora_A or name in layer.lora_embedding_A]
        if here and not isinstance(layer, LeanLinear):
            return False
        if any(name in layer.lora_variant or layer.lora_bias[name] for name in here):
            return False
    return True


@contextmanager
def rows_play(model: Any, rows: Sequence[Played]) -> Iterator[None]:
    """For as long as the block lasts and no gradients are taken, row i of every batch goes through adapter `rows[i]`.

    Args:
        model: One that peft has wrapped, of which `can_mix` is true.
        rows: For each row an adapter's name, several with factors, or None for the model without any. All alike: a
            batch of any size.
    """
    layers = [module for module in model.modules() if isinstance(module, LeanLinear)]
    before = [layer.stacked for layer in layers]
    try:
        for layer in layers:
            layer.stacked = layer.stack(rows)
        yield
    finally:
        for layer, stacked in zip(layers, before, strict=True):
            layer.stacked = stacked
