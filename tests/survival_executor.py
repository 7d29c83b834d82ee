"""The real engine with a checkpoint after every step, and with what a test wants to happen to it.

A file `memory` in the run's folder holds how many bytes the process may take beyond what it has.
"""

import resource

import psutil
import torch

from unlearning.training import stages


def execute(folder, report, should_stop):
    torch.set_num_threads(1)
    if (folder / "memory").exists():
        limit = psutil.Process().memory_info().vms + int((folder / "memory").read_text())
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return stages.execute(folder, report, should_stop, checkpoint_seconds=0.0)
