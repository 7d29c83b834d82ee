"""What this process may use of the machine: cores, processor time, memory. Containers give less than there is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def physical_cores() -> int:
    """Cores that this process may run on; the hyperthreads of one core count once."""
    import psutil

    if not hasattr(os, "sched_getaffinity"):  # macOS, Windows
        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    siblings = set()
    for cpu in allowed:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            core = (topology / "physical_package_id").read_text().strip(), (topology / "core_id").read_text().strip()
        except OSError:
            return len(allowed)
        siblings.add(core)
    return len(siblings)


def processor_share(groups: Sequence[Path] | None = None) -> float | None:
    """Cores' worth of time that a container's limit grants; None: no limit.

    Args:
        groups: Control-group folders to look in, innermost first. Unset: this process's.
    """
    shares = []
    for folder in control_groups("cpu") if groups is None else groups:
        text = _read(folder / "cpu.max")  # version 2: "200000 100000" or "max 100000"
        if text is None:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
            text = f"{quota} {period}" if quota and period else "max 1"
        quota_us, period_us = text.split()
        if quota_us not in ("max", "-1"):
            shares.append(int(quota_us) / int(period_us))
    return min(shares, default=None)


def memory_left(groups: Sequence[Path] | None = None) -> int | None:
    """Bytes until a container's memory limit is reached; None: no limit.

    Args:
        groups: As for `processor_share`.
    """
    left = []
    for folder in control_groups("memory") if groups is None else groups:
        limit, used = _read(folder / "memory.max"), _read(folder / "memory.current")
        if limit is None:
            limit, used = _read(folder / "memory.limit_in_bytes"), _read(folder / "memory.usage_in_bytes")
        if limit and used and limit != "max" and int(limit) < 1 << 60:  # version 1 writes "none" as a huge number
            left.append(max(0, int(limit) - int(used) + _reclaimable(folder)))
    return min(left, default=None)


def _reclaimable(folder: Path) -> int:
    """Bytes of cached files, which the kernel gives back when memory is wanted."""
    for line in (_read(folder / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def control_groups(controller: str) -> list[Path]:
    """Folders of this process's control group, innermost first, then the mount's root (as a container sees it)."""
    root = Path("/sys/fs/cgroup")
    folders: list[Path] = []
    for line in (_read(Path("/proc/self/cgroup")) or "").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        base = root / controller if names else root
        group = base / path.lstrip("/")
        folders += [group, *(parent for parent in group.parents if parent.is_relative_to(base))]
    return list(dict.fromkeys([*folders, root / controller, root]))


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
