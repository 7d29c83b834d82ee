"""Ending a worker that was asked to: wait, terminate, kill the whole tree; and saying why one died.

Time is measured on this process's own clock from the moment it first sees the request, so that a clock that is set
back neither hurries nor delays anything.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.runs.durable import read_json_or_empty
from unlearning.runs.failures import memory_hint
from unlearning.runs.progress import progress
from unlearning.runs.queue import STOP_NOW

if TYPE_CHECKING:
    import psutil

# Seconds a worker gets to finish its step and save, then to unwind after SIGTERM, before it is killed.
GRACE_S = float(os.environ.get("UNLEARNING_STOP_GRACE", "180"))
TERMINATE_S = float(os.environ.get("UNLEARNING_TERMINATE_GRACE", "15"))


@dataclass
class Escalation:
    """One worker that was asked to stop. Every process that was ever seen below it is remembered."""

    folder: Path
    began: float = field(default_factory=time.monotonic)
    terminated_at: float | None = None
    killed: bool = False
    family: dict[int, psutil.Process] = field(default_factory=dict)

    def go_on(self, log: Callable[[str], None]) -> None:
        """Do whatever is due now."""
        worker = worker_process(self.folder)
        if worker is None:
            return
        for process in process_tree(worker):
            self.family[process.pid] = process
        now = time.monotonic()
        if self.terminated_at is None:
            if now - self.began >= GRACE_S or _at_once(self.folder):
                log(f"{self.folder.name}: terminating worker {worker.pid}")
                self.terminated_at = now
                _send(worker, signal.SIGTERM)
        elif not self.killed and now - self.terminated_at >= TERMINATE_S:
            log(f"{self.folder.name}: killing worker {worker.pid} and {len(self.family) - 1} processes below it")
            self.killed = True
            for process in self.family.values():
                _kill(process)

    def sweep(self) -> None:
        """The worker is gone: nothing of its tree may stay."""
        for process in self.family.values():
            _kill(process)


def worker_process(folder: Path) -> psutil.Process | None:
    """The process that works on the run; None where it has gone (or its number belongs to another one now)."""
    import psutil

    told = read_json_or_empty(folder / "worker.json")
    try:
        process = psutil.Process(int(told.get("pid", -1)))
        same = abs(process.create_time() - float(told.get("created", 0.0))) < 1.0
    except (psutil.Error, ValueError, TypeError):
        return None
    return process if same and process.status() != psutil.STATUS_ZOMBIE else None


def process_tree(process: psutil.Process) -> list[psutil.Process]:
    """The process and everything below it; processes of its session whose parent has died belong to it too."""
    import psutil

    try:
        tree = [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]
    if not hasattr(os, "getsid"):
        return tree
    known = {member.pid for member in tree}
    try:
        session = os.getsid(process.pid)
    except OSError:
        return tree
    if session != process.pid:  # not started by a scheduler: the session is somebody's terminal
        return tree
    return tree + [
        other for other in psutil.process_iter() if other.pid not in known and _session(other.pid) == session
    ]


def why_it_died(folder: Path, status: int) -> dict[str, Any]:
    """What is known of a worker that ended without a word: {error, message, hint, status}."""
    settings = read_json_or_empty(folder / "config.json").get("settings", {})
    if status == -signal.SIGKILL and not (folder / "cancel").exists():
        message = "The worker was killed by the system (SIGKILL), most likely because memory ran out."
        hint = f"Resume the run. If it happens again: {memory_hint(settings, progress(folder).stage)}"
    elif status < 0:
        message, hint = f"The worker ended by signal {-status} ({_signal_name(-status)}).", "Resume the run."
    else:
        message = f"The worker could not begin (status {status}): {_last_line(folder / 'output.log')}"
        hint = "Mend what output.log names, then resume the run."
    return {"error": "WorkerDied", "message": message, "hint": hint, "status": status}


def _at_once(folder: Path) -> bool:
    try:
        return (folder / "cancel").read_text().strip() == STOP_NOW
    except OSError:
        return False


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _send(process: psutil.Process, number: int) -> None:
    import psutil

    try:
        process.send_signal(number)
    except psutil.Error:
        return


def _kill(process: psutil.Process) -> None:
    import psutil

    try:
        if process.is_running():  # compares the time of creation: never somebody else with the same number
            process.kill()
    except psutil.Error:
        return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1][:300] if lines else "it printed nothing"
