"""Several processes of one run on this machine: torchrun's launcher starts them and ends them all when one dies.

    worker (holds the run's lock, keeps watch)
    ├── worker, rank 0 (tells events, writes checkpoints)
    ├── worker, rank 1
    └── …

A process that is started by torchrun outlives it if that is killed, and is no member of its process group: so each
looks whether its starter is still there, and the scheduler kills whole trees (`runs/ending.py`).
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from unlearning.models.team import place
from unlearning.runs.durable import read_json_or_empty
from unlearning.runs.ending import marked, why_it_died
from unlearning.runs.failures import Failure, is_out_of_memory

__all__ = ["end", "end_those_left", "end_with_starter", "is_bereaved", "is_watched", "last_words", "place", "run"]

FAILED, ASKED_TO_END = 1, 76  # as in worker
WATCHED = "UNLEARNING_WATCHED_BY"  # process that keeps watch, in the environment of those it started
LOOK_S = 0.25
SAVE_S = 12  # for saving after a request to end; the scheduler kills the tree a little later
LAST_WORDS_S = 5.0
# How torch says that another process has gone; NCCL and gloo raise errors of several classes.
_BEREAVED = ("distbackenderror", "distnetworkerror", "diststoreerror")
_BEREAVED_WORDS = ("gloo", "nccl", "connection closed by peer", "connection reset", "broken pipe", "process group")


def run(folder: Path, count: int) -> tuple[int, Failure]:
    """Let `count` worker processes do the run in `folder`; gives an exit status, and of a failure what is known of it.

    Returns when all of them have ended. If one dies, the others are ended.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    root = str(Path(__file__).resolve().parents[1])
    known = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != root]
    os.environ |= {WATCHED: str(os.getpid()), "PYTHONPATH": os.pathsep.join([root, *known])}
    os.environ.setdefault("OMP_NUM_THREADS", str(_threads_each(count)))
    with tempfile.TemporaryDirectory(prefix="unlearning-") as scratch:
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=folder.name, max_restarts=0,
            rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1",
            monitor_interval=LOOK_S, shutdown_timeout=SAVE_S, logs_specs=DefaultLogsSpecs(log_dir=scratch),
        )  # fmt: skip
        try:
            elastic_launch(config, sys.executable)("-P", "-m", "unlearning.worker", str(folder))
        except SignalException:
            return ASKED_TO_END, {}
        except ChildFailedError as error:
            return _status(folder, {rank: failure.exitcode for rank, failure in error.failures.items()}, count)
    return 0, {}


def _threads_each(count: int) -> int:
    from unlearning.models.limits import physical_cores, processor_share

    return max(1, int(processor_share() or physical_cores()) // count)


def _status(folder: Path, statuses: dict[int, int], count: int) -> tuple[int, Failure]:
    """What the exit statuses of those that did not end well mean. Who was killed comes before who missed it.

    Last come those that torchrun itself ended, with SIGTERM, because another had died.
    """
    if ASKED_TO_END in statuses.values():
        return ASKED_TO_END, {}
    rank = min(statuses, key=lambda rank: (statuses[rank] == -signal.SIGTERM, statuses[rank] >= 0, rank))
    told = why_it_died(folder, statuses[rank])
    words = str(told["message"]).removeprefix("The worker ")
    which = f"Process {rank + 1} of {count}"
    if statuses[rank] > 0:
        words = f"ended with status {statuses[rank]}; output.log in the run's folder says why."
    return FAILED, {"error": "WorkerDied", "message": f"{which} {words}", "hint": str(told["hint"])}


def is_watched() -> bool:
    """Whether this process was started by a worker that keeps watch over it."""
    return WATCHED in os.environ and place()[1] > 1


def end_with_starter() -> None:
    """End this process soon after the one that started it has gone: nobody else would."""
    if not (is_watched() or "TORCHELASTIC_RUN_ID" in os.environ):
        return
    starter = int(os.environ.get(WATCHED, os.getppid()))

    def look() -> None:
        while os.getppid() == starter:
            time.sleep(LOOK_S)
        os._exit(FAILED)

    threading.Thread(target=look, daemon=True).start()


def end(status: int) -> NoReturn:
    """End this process with an exit status.

    One of several ends at once: while Python clears up, a thread that torch's process group has left behind may abort
    it ("terminate called without an active exception"), and a run that was done would count as failed.
    """
    if place()[1] > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def end_those_left(folder: Path) -> None:
    """Kill processes of an earlier attempt at this run whose watcher was killed, before there are two of each."""
    import psutil

    for process in marked(folder):
        try:
            if process.pid != os.getpid() and process.environ().get(WATCHED, "") not in ("", str(os.getpid())):
                process.kill()
        except psutil.Error:
            continue


def is_bereaved(error: BaseException) -> bool:
    """Whether an error only says that another of the run's processes is gone."""
    if place()[1] == 1 or not isinstance(error, RuntimeError | OSError) or is_out_of_memory(error):
        return False
    told = str(error).lower()
    return type(error).__name__.lower() in _BEREAVED or any(words in told for words in _BEREAVED_WORDS)


def last_words(folder: Path) -> Failure:
    """Why another process of the run has gone: what it wrote down, which takes it a moment, or that nobody knows."""
    end = time.monotonic() + LAST_WORDS_S
    while not (found := read_json_or_empty(folder / "failed")) and time.monotonic() < end:
        time.sleep(0.1)
    known: dict[str, Any] = found or {
        "error": "WorkerDied",
        "message": "Another process of this run has died or cannot be reached.",
        "hint": "The output of its processes says why; then resume the run.",
    }
    return {name: str(known.get(name, "")) for name in ("error", "message", "hint")}
