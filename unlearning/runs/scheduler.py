"""Starts the workers of a workspace, in turn, as many at once as there are devices, and ends those that must end.

One scheduler per workspace: whoever queues a run calls `start`, which starts a scheduler process unless one holds
`scheduler.lock`. It ends by itself when there is nothing left to do. It keeps nothing in memory that matters: killed
at any moment, the next one reads the folders and goes on, and workers do not notice.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from unlearning.errors import RunBusyError, RunError, UnlearningError
from unlearning.runs import queue
from unlearning.runs.durable import disk_errors_in_words, read_json_or_empty, remove_file, write_json
from unlearning.runs.ending import MARK, Escalation, sweep, why_it_died
from unlearning.runs.locks import SCHEDULER_LOCK, held, take
from unlearning.runs.machine import memory_environment, slot_environment, slots, slots_for, suits
from unlearning.runs.processes import processes_of
from unlearning.runs.record import read_config
from unlearning.runs.store import State, state

TICK_S = 0.2
IDLE_S = 20.0  # a scheduler without work stays this long, so that a busy person does not start one a minute
TRIES = 3  # a worker that is killed before it could begin is started so many times
AGAIN_S = 5.0  # a run whose folder cannot be written is tried again after so long
WORKER_BUSY = 75  # exit status of a worker that found another one at work


def start(folder: Path) -> State:
    """Queue a run (or let it resume) and see to it that somebody works on the queue.

    Raises:
        RunError: see `queue.enqueue`.
    """
    now = queue.enqueue(folder)
    ensure(queue.workspace_of(folder))
    return now


def continue_run(folder: Path, steps: int) -> State:
    """Let a run that has ended take `steps` more steps of fine-tuning.

    Raises:
        RunError: see `queue.enqueue_more`; or it fine-tunes nothing, as an evaluation.
    """
    if read_config(folder)["kind"] != "unlearn":
        raise RunError(f"Run {folder.name} fine-tunes nothing.", "Only a run that unlearns takes more steps.")
    now = queue.enqueue_more(folder, steps)
    ensure(queue.workspace_of(folder))
    return now


def stop(folder: Path, now: bool = False) -> State:
    """Ask a run to stop; a scheduler sees to it that it does. Returns at once.

    Raises:
        RunError: see `queue.request_stop`.
    """
    queue.request_stop(folder, now)
    ensure(queue.workspace_of(folder))
    return state(folder)


def ensure(workspace: Path, idle_s: float = IDLE_S) -> bool:
    """Start a scheduler for the workspace unless there is one; gives whether one was started.

    The new process belongs to nobody: it outlives the app or the command that started it.
    """
    if held(workspace / SCHEDULER_LOCK):
        return False
    _started[:] = [process for process in _started if process.poll() is None]  # collects those that have ended
    with disk_errors_in_words(workspace / "scheduler.log"):
        arguments = ["unlearning.runs.scheduler", str(workspace), "--idle", str(idle_s)]
        _started.append(_detached(arguments, workspace / "scheduler.log", workspace, {}))
    return True


_started: list[subprocess.Popen[bytes]] = []


def _detached(arguments: list[str], log: Path, workspace: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start `python -m …` in a session of its own, printing to a file: a pipe that nobody empties would block it.

    This package is importable there whatever the current folder is, and nothing in that folder is (-P).
    """
    root = str(Path(__file__).resolve().parents[2])
    known = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != root]
    inherited = {name: value for name, value in os.environ.items() if name != MARK}
    own = {"PYTHONPATH": os.pathsep.join([root, *known]), "PYTHONUNBUFFERED": "1"}
    with open(log, "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, cwd=workspace, env=inherited | own | environment,
        )  # fmt: skip


@dataclass
class Scheduler:
    """What one scheduler process knows.

    Attributes:
        workspace: Whose runs it works on.
        children: Workers that it started, with the device each was given.
        busy: Runs at work when it last looked, whoever started them.
        escalations: Workers that were asked to stop, and how far it has gone with them.
        tries: How often a worker of a run died before it could begin.
        refused: Runs that cannot even be marked as failed (a read-only folder), and when each is tried again.
    """

    workspace: Path
    children: dict[Path, tuple[subprocess.Popen[bytes], str]] = field(default_factory=dict)
    busy: list[Path] = field(default_factory=list)
    escalations: dict[Path, Escalation] = field(default_factory=dict)
    tries: dict[Path, int] = field(default_factory=dict)
    refused: dict[Path, float] = field(default_factory=dict)

    def tick(self) -> bool:
        """One round; gives whether there is still something to do."""
        self._reap()
        before, self.busy = self.busy, queue.working(self.workspace)
        for folder in before:
            if folder not in self.busy and folder not in self.children and (count := sweep(folder)):
                _log(f"{folder.name}: killed {count} processes that its worker left behind")
        self._escalate()
        waiting, now = queue.waiting(self.workspace), time.monotonic()
        due = [folder for folder in waiting if now >= self.refused.get(folder, 0.0)]
        self._fill_slots([folder for folder in due if folder not in self.children])
        return bool(self.busy or self.children or any(folder not in self.refused for folder in waiting))

    def _reap(self) -> None:
        for folder, (process, _) in list(self.children.items()):
            if (status := process.poll()) is not None:
                del self.children[folder]
                _log(f"{folder.name}: worker {process.pid} ended with status {status}")
                if status != WORKER_BUSY:
                    self._explain_death(folder, process.pid, status)

    def _explain_death(self, folder: Path, pid: int, status: int) -> None:
        """Leave word for a worker that could not: it was killed, or died before it could begin."""
        # A run that is queued may be one that this worker did begin, and that somebody resumed at once.
        begun = not (folder / "queued").exists() or read_json_or_empty(folder / "worker.json").get("pid") == pid
        if status == 0 or (begun and status > 0):
            return
        if not begun and status < 0 and self.tries.get(folder, 0) < TRIES - 1:
            self.tries[folder] = self.tries.get(folder, 0) + 1  # killed while it started: it keeps its place
            return
        try:
            if begun:
                write_json(folder / "exit.json", why_it_died(folder, status))
            else:
                write_json(folder / "failed", why_it_died(folder, status))
                remove_file(folder / "queued")
        except (OSError, UnlearningError) as error:
            self.refused[folder] = time.monotonic() + AGAIN_S
            _log(f"{folder.name}: {error}")

    def _escalate(self) -> None:
        self.escalations = {folder: found for folder, found in self.escalations.items() if folder in self.busy}
        for folder in self.busy:
            if state(folder) is State.CANCELLING:
                self.escalations.setdefault(folder, Escalation(folder)).go_on(_log)

    def _fill_slots(self, waiting: list[Path]) -> None:
        if not waiting:
            return
        all_slots = slots()
        free = list(all_slots)
        taken = [slot for _, slot in self.children.values()]
        taken += [queue.slot_of(folder) for folder in self.busy if folder not in self.children]
        for slot in ",".join(taken).split(","):
            if slot in free:
                free.remove(slot)
        for folder in waiting:
            device = queue.device_of(folder)
            suited = [name for name in free if suits(device, name, all_slots)]
            every = tuple(name for name in all_slots if suits(device, name, all_slots))
            wanted = slots_for(processes_of(folder).count, every)
            if len(suited) < wanted:  # they are kept for it, or runs that need less would go before it for ever
                free = [name for name in free if name not in suited]
                continue
            for name in suited[:wanted]:
                free.remove(name)
            self._start_worker(folder, ",".join(suited[:wanted]), device)

    def _start_worker(self, folder: Path, slot: str, device: str) -> None:
        try:
            process = _detached(
                ["unlearning.worker", str(folder)],
                folder / "output.log",
                self.workspace,
                slot_environment(device, slot) | memory_environment(),
            )
        except OSError as error:
            self.refused[folder] = time.monotonic() + AGAIN_S
            _log(f"{folder.name}: cannot start a worker: {error}")
            return
        self.children[folder] = (process, slot)
        _log(f"{folder.name}: worker {process.pid} started on {slot}")


def serve(workspace: Path, idle_s: float = IDLE_S) -> int:
    """Work on the queue of `workspace` until there has been nothing to do for `idle_s` seconds.

    Returns:
        0 when done, 75 when another scheduler is at work.
    """
    while True:
        try:
            lock = take(workspace / SCHEDULER_LOCK, patience_s=1.0, what=f"A scheduler of {workspace}")
        except RunBusyError as error:
            print(error, file=sys.stderr)
            return WORKER_BUSY
        try:  # not `with`: that would take the lock a second time and give it back once
            _serve_until_idle(Scheduler(workspace), idle_s)
        finally:
            lock.release()
        # Who queued a run just before the lock was given back saw it held and started nobody: look once more.
        if not queue.waiting(workspace):
            return 0


def _serve_until_idle(scheduler: Scheduler, idle_s: float) -> None:
    _log(f"scheduler {os.getpid()} at work, devices: {', '.join(slots())}")
    last_busy = time.monotonic()
    while time.monotonic() - last_busy < idle_s:
        try:
            if scheduler.tick():
                last_busy = time.monotonic()
        except Exception:  # one broken folder must not stop the others
            _log(traceback.format_exc())
        time.sleep(TICK_S)
    _log(f"scheduler {os.getpid()}: nothing left to do")


def _log(words: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {words.rstrip()}", flush=True)


def main() -> int:
    """`python -m unlearning.runs.scheduler WORKSPACE [--idle SECONDS]`."""
    parser = argparse.ArgumentParser(prog="python -m unlearning.runs.scheduler", description=main.__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--idle", type=float, default=IDLE_S, help="end after so many seconds without work")
    arguments = parser.parse_args()
    return serve(arguments.workspace.resolve(), arguments.idle)


if __name__ == "__main__":
    sys.exit(main())
