"""What this machine has: devices a run can be given, and the facts worth keeping with a run.

Without torch, because the scheduler and the page ask too.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "numpy", "pydantic", "gradio")


def slots() -> tuple[str, ...]:
    """Devices that can each work on one run at a time: ("cuda:0", …, "cpu").

    The environment variable UNLEARNING_SLOTS replaces the list, e.g. `cuda:0,cuda:1,cpu,cpu` lets two runs
    share the processor.
    """
    if chosen := os.environ.get("UNLEARNING_SLOTS"):
        return tuple(name.strip() for name in chosen.split(",") if name.strip())
    cuda = tuple(f"cuda:{index}" for index in range(len(gpus())))
    mps = ("mps",) if sys.platform == "darwin" and platform.machine() == "arm64" else ()
    return (*cuda, *mps, "cpu")


def suits(device: str, slot: str, all_slots: tuple[str, ...]) -> bool:
    """Whether a run whose setting `model.device` is `device` can work on `slot`.

    A device that this machine does not have suits the processor: the worker then starts and says what is wrong,
    where a run that nothing suits would wait for ever.
    """
    kinds = [name.partition(":")[0] for name in all_slots]
    if device == "auto":
        best = next((kind for kind in ("cuda", "mps") if kind in kinds), "cpu")
        return slot.partition(":")[0] == best
    if device in all_slots:
        return slot == device
    if device in kinds:
        return slot.partition(":")[0] == device
    return slot == ("cpu" if "cpu" in all_slots else all_slots[0])


def slot_environment(device: str, slot: str) -> dict[str, str]:
    """Environment variables that keep a run with setting `device` on its `slot` (or slots: "cuda:0,cuda:1").

    A run that names its card itself ("cuda:1") sees all of them, or the name would mean another one.
    """
    if not slot.startswith("cuda:") or device.startswith("cuda:"):
        return {"UNLEARNING_SLOT": slot}
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    indices = [int(name.partition(":")[2]) for name in slot.split(",")]
    cards = [visible[index] if index < len(visible) else str(index) for index in indices]
    return {"UNLEARNING_SLOT": slot, "CUDA_VISIBLE_DEVICES": ",".join(cards)}


def slots_for(processes: int, suited: tuple[str, ...]) -> int:
    """How many of the slots that suit a run its processes take: a card each; of a processor they share one."""
    return min(processes, len(suited)) if suited and suited[0].startswith("cuda:") else 1


def memory_environment() -> dict[str, str]:
    """Let a worker keep the memory that it frees.

    glibc gives every large tensor back to the system and asks for it anew in the next step, a page fault for each
    4 kB: a tenth of a training step on two cores, and far more on virtual machines. The settings mean nothing to
    other allocators, and what a person has set stays.
    """
    wanted = {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(1 << 25),  # the most it takes; larger tensors do go back, in pages of 2 MB
        "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }
    return {name: value for name, value in wanted.items() if name not in os.environ}


@functools.lru_cache(maxsize=1)
def gpus() -> tuple[str, ...]:
    """Names of the NVIDIA cards that this process may use; empty where there is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = _gpus_by_tool() or tuple("NVIDIA GPU" for _ in Path("/dev").glob("nvidia[0-9]*"))
    if visible is None:
        return names
    chosen = [entry.strip() for entry in visible.split(",") if entry.strip()]
    known = [names[int(entry)] for entry in chosen if entry.isdigit() and int(entry) < len(names)]
    by_uuid = [names[0] for entry in chosen if not entry.lstrip("-").isdigit() and names]
    return tuple(known + by_uuid)


def _gpus_by_tool() -> tuple[str, ...]:
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(re.findall(r"^GPU \d+: (.+?) \(UUID", listing, flags=re.MULTILINE))


def hardware() -> dict[str, Any]:
    """Processor, memory and cards, for `config.json` and `resolved.json`."""
    import psutil

    return {
        "machine": platform.machine(),
        "system": platform.platform(),
        "processor": _processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": list(gpus()),
    }


def name() -> str:
    """Processor, cores and cards in one line: two machines of this name compute alike."""
    found = hardware()
    return " · ".join(map(str, (found["processor"], found["cores"], *found["gpus"])))


def _processor_name() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor()


@functools.lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of what a run's figures depend on; a package that is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def limit_kernel_caches() -> None:
    """Bound what torch's matrix library keeps; before torch is loaded.

    In bfloat16 it compiles a kernel for every shape it meets and keeps 1,024 of them. Blocks and batches have many
    lengths: 120 steps of a tiny model held 450 MB that way, and 50 MB with this limit, at the same speed.
    """
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, "32")


def give_back_memory() -> None:
    """Return to the system what is not used any more: the C library and the card's allocator keep it for later."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """The C library's part of `give_back_memory`, the quick one: 0.03 s where collecting garbage takes 0.2 s."""
    with suppress(AttributeError, OSError, TypeError):  # malloc_trim(3) is glibc's alone
        ctypes.CDLL(None).malloc_trim(0)


def peak_bytes() -> int:
    """Most memory that this process has held: on the card if it used one, else in main memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    return peak_resident_bytes()


def peak_resident_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Most main memory that this process itself has held.

    Linux tells it in /proc. What getrusage says there is at least the memory of whoever started this process,
    because it survives exec: a worker that a large app started would report the app's.
    """
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), flags=re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found.group(1)) * 1024
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(getattr(psutil.Process().memory_info(), "peak_wset", 0))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
