"""The processes that work on one run together: several cards, several machines, or one process alone.

torchrun (or `accelerate launch`, or Slurm) starts them and tells each its place in the environment variables RANK,
WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE. All of them do the same work on different data; the main one (rank 0)
alone writes what a run leaves behind.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from unlearning.config import ModelSettings
from unlearning.errors import SettingsError
from unlearning.models.hardware import Hardware

# How long one waits for the others, who may be measuring a model. Death is noticed at once by other ways.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class Team:
    """This process's place among all.

    Attributes:
        rank: Its number, from 0.
        size: How many there are.
        shard: Whether training splits weights, gradients and optimiser state among them (FSDP2).
    """

    rank: int = 0
    size: int = 1
    shard: bool = False

    @property
    def main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process. All of them must ask, and they all hear the same."""
        if self.size == 1:
            return flag
        import torch

        told = torch.tensor(int(flag))
        torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
        return bool(told)

    def wait(self) -> None:
        """Go on when all have come here."""
        self.any(False)

    def from_main(self, value: Any) -> Any:
        """The main process's value, in all of them."""
        if self.size == 1:
            return value
        import torch

        box = [value]
        torch.distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def share(self, items: Sequence[Any]) -> Sequence[Any]:
        """Every `size`-th of the items, beginning with this process's own."""
        return items[self.rank :: self.size]


ALONE = Team()


def place() -> tuple[int, int]:
    """Rank and number of processes, as whoever started this one says; (0, 1) for a process on its own."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def join(device: str, shard: bool = False) -> Team:
    """Meet the other processes of this run; costs nothing where there are none.

    Args:
        device: Where this process computes. Cards talk over NCCL; what the processes agree on goes over gloo, so
            that asking does not wait for a card.
        shard: See `Team`; `accelerate launch --use_fsdp` asks for it too.
    """
    rank, size = place()
    if size == 1:
        return ALONE
    import torch

    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # accelerate chooses itself otherwise
    if not torch.distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
    return Team(rank, size, shard or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true")


def leave(team: Team) -> None:
    """Take leave of the others at the end of the work."""
    if team.size > 1:
        import torch

        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def own_device(settings: ModelSettings) -> ModelSettings:
    """The settings with this process's own card, where several processes of a run work on a machine with cards.

    Raises:
        SettingsError: there are more processes than cards.
    """
    if place()[1] == 1 or settings.device in ("cpu", "mps"):
        return settings
    import torch

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not cards and settings.device == "auto":
        return settings
    here, index = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    if cards < here:
        raise SettingsError(
            f"{here} processes need {here} graphics cards, and this machine has {cards}.",
            f"Resume the run with fewer: `python -m unlearning runs resume RUN --processes {max(1, cards)}`.",
        )
    torch.cuda.set_device(index)
    return settings.model_copy(update={"device": f"cuda:{index}"})


def share_of_machine(hardware: Hardware) -> Hardware:
    """A part of processor and memory, where several processes of a run share them."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if place()[1] > 1 else 1
    if here == 1 or hardware.device != "cpu":
        return hardware
    chosen = "OMP_NUM_THREADS" in os.environ  # by whoever started this process, who knows how many there are
    return replace(
        hardware,
        threads=hardware.threads if chosen else max(1, hardware.threads // here),
        memory_bytes=hardware.memory_bytes // here,
        batch_hint=max(1, hardware.batch_hint // here),
    )
