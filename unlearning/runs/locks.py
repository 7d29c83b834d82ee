"""Who is alive: a lock that the kernel takes back when its holder dies, however it dies.

A lock file stays where it is after its holder has gone; only the kernel's lock on it says anything.
Looking takes a *shared* lock for some microseconds, so that many onlookers do not see one another; a worker
that meets an onlooker just then tries again (`patience_s`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from unlearning.errors import RunBusyError
from unlearning.runs.durable import disk_errors_in_words

WORKER_LOCK = "worker.lock"
SCHEDULER_LOCK = "scheduler.lock"


def take(path: Path, patience_s: float = 2.0, what: str = "") -> FileLock:
    """Take the lock at `path` until it is released or this process ends.

    Args:
        path: The lock file; made if missing.
        patience_s: How long to try before giving up.
        what: Who holds it, for the message.

    Raises:
        RunBusyError: someone else holds it.
        RunError: the lock file cannot be written.
    """
    lock = FileLock(str(path))
    with disk_errors_in_words(path):
        try:
            lock.acquire(timeout=patience_s, poll_interval=0.02)
        except Timeout:
            raise RunBusyError(f"{what or path} is already at work.", "Follow it instead, or stop it first.") from None
    return lock


def held(path: Path) -> bool:
    """Whether a living process holds the lock at `path`. Makes no file and needs no right to write."""
    if sys.platform == "win32":  # no shared locks through filelock there
        return _held_by_trying(path)
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    finally:
        os.close(descriptor)
    return False


def _held_by_trying(path: Path) -> bool:
    if not path.exists():
        return False
    lock = FileLock(str(path))
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False
