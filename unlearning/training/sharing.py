"""How several processes share the training of one model: accelerate's DDP, or its FSDP2 where weights are split.

On disk nothing of it shows: checkpoints hold whole tensors in the order of one process, so that a run goes on with
any number of processes, split or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unlearning.models.heads import unwrap
from unlearning.models.team import Team


def make_accelerator(model: Any, team: Team) -> Any:
    """The accelerator for a model that is to be trained by a team."""
    from accelerate import Accelerator, DistributedDataParallelKwargs

    on_processor = model.device.type == "cpu"
    wrapper = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
    plugin = _sharding(model) if team.shard else None
    accelerator = Accelerator(cpu=on_processor, mixed_precision="no", kwargs_handlers=[wrapper], fsdp_plugin=plugin)
    if plugin is not None and on_processor:  # accelerate offers sharding on cards alone; its code does it anywhere
        from accelerate.utils import DistributedType

        accelerator.state.distributed_type, accelerator.state.fsdp_plugin = DistributedType.FSDP, plugin
    return accelerator


def _sharding(model: Any) -> Any:
    """FSDP2, each layer of the model gathered when it is needed and given up after."""
    from accelerate import FullyShardedDataParallelPlugin

    layers = list(getattr(unwrap(model), "_no_split_modules", None) or [])
    present = {type(module).__name__ for module in model.modules()}
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=[name for name in layers if name in present],
        reshard_after_forward=True,
        cpu_ram_efficient_loading=False,
    )


def on_whole_weights(module: Any, act: Callable[[int, int], None], team: Team) -> Callable[[int, int], None]:
    """A function that uses the model, such that it may be called in training.

    Split weights come together only inside the forward pass of `module`, and only if all processes ask for them;
    otherwise each process has them all and the main one measures alone.
    """
    import torch

    def measure(done: int, steps: int) -> None:
        if team.shard:
            with torch.no_grad():
                module(lambda: act(done, steps))
        elif team.main:
            act(done, steps)

    return measure


def whole(tensor: Any) -> Any:
    """A tensor of which every process may hold a part, as a whole; all of them must ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def part_like(tensor: Any, like: Any) -> Any:
    """This process's part of a whole tensor, split as `like` is; the tensor itself where `like` is whole."""
    if not hasattr(like, "full_tensor") or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
