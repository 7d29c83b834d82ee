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
from unlearning.runs.locks import WORKER_LOCK, held
from unlearning.runs.passes import memory_hint, memory_of
from unlearning.runs.progress import progress
from unlearning.runs.queue import STOP_NOW

if TYPE_CHECKING:
    import psutil

# Seconds a worker gets to finish its step and save, then to unwind after SIGTERM, before it is killed.
GRACE_S = float(os.environ.get("UNLEARNING_STOP_GRACE", "180"))
TERMINATE_S = float(os.environ.get("UNLEARNING_TERMINATE_GRACE", "15"))


# Everything that a worker starts inherits this, whatever sessions and parents it has later.
MARK = "UNLEARNING_RUN"


@dataclass
class Escalation:
    """One worker that was asked to stop, and how far it has gone with it."""

    folder: Path
    began: float = field(default_factory=time.monotonic)
    terminated_at: float | None = None
    killed: bool = False

    def go_on(self, log: Callable[[str], None]) -> None:
        """Do whatever is due now."""
        worker = worker_process(self.folder)
        if worker is None:
            return
        now = time.monotonic()
        if self.terminated_at is None:
            if now - self.began >= GRACE_S or _at_once(self.folder):
                log(f"{self.folder.name}: terminating worker {worker.pid}")
                self.terminated_at = now
                _terminate(worker)
        elif not self.killed and now - self.terminated_at >= TERMINATE_S:
            family = family_of(self.folder, worker)
            log(f"{self.folder.name}: killing worker {worker.pid} and {len(family) - 1} processes below it")
            self.killed = True
            for process in family:
                _kill(process)


def family_of(folder: Path, worker: psutil.Process) -> list[psutil.Process]:
    """The worker, everything below it, and everything that it ever started and that has lost its parent."""
    import psutil

    try:
        below = [worker, *worker.children(recursive=True)]
    except psutil.Error:
        below = [worker]
    known = {process.pid for process in below}
    return below + [process for process in marked(folder) if process.pid not in known]


def marked(folder: Path) -> list[psutil.Process]:
    """Living processes that descend from a worker of the run in `folder`."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):  # other people's processes do not show their environment
            continue
    return found


def sweep(folder: Path) -> int:
    """Kill what a worker that is gone has left behind; gives how many processes that were."""
    if held(folder / WORKER_LOCK):
        return 0
    left = [process for process in marked(folder) if not _is_worker(process)]
    for process in left:
        _kill(process)
    return len(left)


def worker_process(folder: Path) -> psutil.Process | None:
    """The process that works on the run; None where it has gone (or its number belongs to another one now)."""
    import psutil

    told = read_json_or_empty(folder / "worker.json")
    try:
        number = int(told.get("pid", -1))
        process = psutil.Process(number)
        same = told.get("born") == birth(number) != ""
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, ValueError, TypeError):
        return None


def birth(number: int) -> str:
    """When the process of this number began, as a word that no later process of that number shares; empty: it has gone.

    On Linux in ticks since the machine started, and which start that was: a date is computed from the clock of the
    moment, so that every process would look like another one when the clock is set back.
    """
    try:
        ticks = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]  # after the name: field 22
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{ticks}"
    except (OSError, IndexError):
        pass
    import psutil

    try:
        return f"{psutil.Process(number).create_time():.0f}"
    except psutil.Error:
        return ""


def why_it_died(folder: Path, status: int) -> dict[str, Any]:
    """What is known of a worker that ended without a word: {error, message, hint, status}."""
    settings = read_json_or_empty(folder / "config.json").get("settings", {})
    if status == -signal.SIGKILL and not (folder / "cancel").exists():
        message = "The worker was killed by the system (SIGKILL), most likely because memory ran out."
        memory = memory_of(folder, read_json_or_empty(folder / "hardware.json"))
        lower = memory_hint(settings, progress(folder).stage, memory, folder.name)
        hint = f"Resume the run. If it happens again: {lower}"
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


def _is_worker(process: psutil.Process) -> bool:
    """A worker that has only just been started and does not hold its lock yet."""
    import psutil

    try:
        return "unlearning.worker" in process.cmdline()
    except psutil.Error:
        return False


def _terminate(process: psutil.Process) -> None:
    import psutil

    try:
        process.terminate()
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
