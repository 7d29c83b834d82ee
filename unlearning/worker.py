"""The process that works on one run: `python -m unlearning.worker RUN_FOLDER`.

It takes the run's lock (the kernel gives it back however this process ends), opens the event stream, hands
the work to an executor and writes `result.json` last. The scheduler starts it; by hand it does the same.

Where several processes are to work on the run (`runs/processes.py`), this one starts them by torchrun's own launcher
and keeps watch; they run this same module. So may torchrun, `accelerate launch` or Slurm start them, on one machine
or several that share a disk: then the process of rank 0 takes the lock. Only rank 0 tells events.

Exit status: 0 ended or stopped as asked, 1 failed (the file `failed` says why), 75 another worker has the run,
76 the system asked this process to end (the run can be resumed).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from unlearning import together
from unlearning.errors import RunBusyError, RunDamagedError, UnlearningError
from unlearning.runs import machine
from unlearning.runs.budget import compare_with_budget
from unlearning.runs.durable import folder_bytes, read_json_or_empty, remove_file, write_json
from unlearning.runs.ending import MARK, birth
from unlearning.runs.events import EVENTS, EventWriter, last_seq, read, seconds_worked
from unlearning.runs.failures import Failure, explain, is_out_of_memory
from unlearning.runs.locks import WORKER_LOCK, take
from unlearning.runs.passes import fewer_blocks, lower_passes, memory_of
from unlearning.runs.processes import processes_of
from unlearning.runs.progress import progress
from unlearning.runs.record import check_inputs, read_config, read_settings
from unlearning.runs.store import HARDWARE

FAILED, BUSY, ASKED_TO_END = 1, 75, 76

# What a run's kind in config.json means. A run folder can come from elsewhere, so it never names code itself.
EXECUTORS = {
    "unlearn": "unlearning.training.stages:execute",
    "teach": "unlearning.training.stages:execute_teach",
    "evaluation": "unlearning.evaluation.suites_run:execute",
}

# Given back when the disk is full, so that there is room to say so.
RESERVE, RESERVE_BYTES = "reserve", 1 << 16

Executor = Callable[[Path, Callable[..., None], Callable[[], bool]], dict[str, Any]]


def main(arguments: list[str] | None = None) -> int:
    """Work on the run in the folder that is the only argument; gives the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print("usage: python -m unlearning.worker RUN_FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0]).resolve()
    if not (folder / "config.json").exists():
        print(f"{folder} is not a run: it has no config.json.", file=sys.stderr)
        return 2
    return attempt(folder)


def attempt(folder: Path, until: float | None = None) -> int:
    """Take the run's lock and do what is left of it; gives the exit status.

    Args:
        folder: The run.
        until: By `time.monotonic()`: when to save and end as if the system had asked; None works to the end.
    """
    machine.limit_kernel_caches()
    rank, size = together.place()
    if size > 1:
        together.end_with_starter()
    if rank > 0:
        return help_out(folder)
    if together.is_watched():  # by a worker that holds the lock and has begun
        return work(folder, begun=True)
    try:
        lock = take(folder / WORKER_LOCK, what=f"A worker of run {folder.name}")
    except UnlearningError as error:
        print(error, file=sys.stderr)
        return BUSY if isinstance(error, RunBusyError) else FAILED
    with lock:
        count = processes_of(folder).count
        return watch(folder, count) if size == 1 and count > 1 else work(folder, until)


def work(folder: Path, until: float | None = None, begun: bool = False) -> int:
    """Do what is left of the run, see `attempt`. The caller holds its lock, or whoever has begun it for him."""
    stop = StopRequest(folder, until)
    try:
        if not begun:
            _begin(folder)
        if stop.cancelled:
            return 0  # taken out of the queue while this process was starting
        with EventWriter(folder) as events:
            return _end(folder, _execute(folder, events, stop), events, stop)
    except BaseException as error:  # whatever it was, the owner of the run is told
        if isinstance(error, SystemExit) and stop.terminated:
            return ASKED_TO_END
        traceback.print_exc()
        if not together.is_bereaved(error):
            _say_failed(folder, _explained(folder, error))
        elif not begun:  # nobody watches: what the process said that is gone, or that it is gone
            _say_failed(folder, together.last_words(folder))
        return FAILED


def help_out(folder: Path) -> int:
    """Be one of several processes that work on the run, and not the main one. Gives the exit status."""
    stop = StopRequest(folder)
    try:
        result = load_executor(read_config(folder)["kind"])(folder, lambda kind, **fields: None, stop)
        return ASKED_TO_END if result.get("state") == "cancelled" and not stop.cancelled else 0
    except BaseException as error:
        if isinstance(error, SystemExit) and stop.terminated:
            return ASKED_TO_END
        traceback.print_exc()
        if not together.is_bereaved(error):
            with suppress(OSError, UnlearningError):  # the main one, or whoever watches, tells the followers
                write_json(folder / "failed", _explained(folder, error))
        return FAILED


def watch(folder: Path, count: int) -> int:
    """Start `count` processes that do what is left of the run, and see to the end of all of them."""
    stop = StopRequest(folder)
    try:
        together.end_those_left(folder)
        _begin(folder)
        if stop():
            return 0 if stop.cancelled else ASKED_TO_END
        told = last_seq(folder / EVENTS)
        status, failure = together.run(folder, count)
        if status == FAILED and not any(e["kind"] == "done" for e in read(folder).events if e["seq"] > told):
            _say_failed(folder, read_json_or_empty(folder / "failed") or failure)
        return status
    except BaseException as error:
        traceback.print_exc()
        _say_failed(folder, _explained(folder, error))
        return FAILED


def _explained(folder: Path, error: BaseException) -> Failure:
    """What to tell of an error. Where memory ran out, the next attempt takes fewer blocks in a pass."""
    config, hardware = read_json_or_empty(folder / "config.json"), read_json_or_empty(folder / HARDWARE)
    settings, stage = config.get("settings", {}), progress(folder, config).stage
    if not is_out_of_memory(error):
        return explain(error, settings, stage)
    memory = memory_of(folder, hardware, **_estimated(settings, hardware))
    failure = explain(error, settings, stage, memory)
    if found := fewer_blocks(settings, stage, memory):
        with suppress(OSError, UnlearningError):
            lower_passes(folder, found.lower)
    return failure


def _estimated(settings: Mapping[str, Any], hardware: Mapping[str, Any]) -> dict[str, float | None]:
    """What a block in a training pass and training every weight take, by rule of thumb; nothing where that fails."""
    from unlearning.models.hardware import memory_needed, parameters_of

    try:
        count, dtype = parameters_of(settings["model"]["name"]), str(hardware.get("dtype", "float32"))
        tokens = settings["text"]["block_tokens"] or hardware["block_hint"]
    except (KeyError, TypeError):
        return {}
    weights = memory_needed(count, dtype, 0)
    return {
        "block_bytes": memory_needed(count, dtype, tokens) - weights,
        "full_bytes": memory_needed(count, dtype, 0, full=True) - weights,
    }


class StopRequest:
    """Asked after every step: has somebody put the file `cancel`, or has the system asked this process to end?

    The first SIGTERM means "save and end"; the second one, or one that follows a request to stop, ends at once.
    """

    def __init__(self, folder: Path, until: float | None = None) -> None:
        self._cancel, self._until = folder / "cancel", until
        self.terminated = False
        if threading.current_thread() is threading.main_thread():  # in another one, signals are the program's own
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)

    def __call__(self) -> bool:
        if self._until is not None and time.monotonic() > self._until:
            self.terminated = True
        return self.terminated or self.cancelled

    @property
    def cancelled(self) -> bool:
        """Whether it was a person who asked."""
        return self._cancel.exists()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again = self.terminated or self.cancelled
        self.terminated = True
        if again:
            raise SystemExit(ASKED_TO_END)


def _begin(folder: Path) -> None:
    """Leave the queue and say who works."""
    os.environ[MARK] = str(folder)  # also where nobody but a person started this process
    write_json(folder / "worker.json", {"pid": os.getpid(), "born": birth(os.getpid()), "slot": _slot()})
    (folder / RESERVE).write_bytes(b"\0" * RESERVE_BYTES)
    for file in ("failed", "exit.json", "queued"):
        remove_file(folder / file)


def _execute(folder: Path, report: Callable[..., None], stop: StopRequest) -> dict[str, Any]:
    config = read_config(folder)
    read_settings(folder)
    check_inputs(folder)
    attempt = 1 + sum("attempt" in event for event in read(folder).events)
    report("note", message="Started." if attempt == 1 else "Resumed.", attempt=attempt)
    facts = {"attempt": attempt, "slot": _slot(), "versions": machine.versions(), "hardware": machine.hardware()}
    write_json(folder / "resolved.json", facts)
    return load_executor(config["kind"])(folder, report, stop)


def load_executor(kind: str) -> Executor:
    """The function that does runs of this kind.

    UNLEARNING_EXECUTOR="module:function" in the environment replaces it (another engine, a trial of the queue).

    Raises:
        RunDamagedError: this version knows no such kind.
    """
    named = os.environ.get("UNLEARNING_EXECUTOR") or EXECUTORS.get(kind)
    if named is None:
        raise RunDamagedError(f"There are no runs of kind '{kind}' in this version.", "Update this program.")
    module, _, function = named.partition(":")
    executor: Executor = getattr(importlib.import_module(module), function)
    return executor


def _end(folder: Path, result: dict[str, Any], events: EventWriter, stop: StopRequest) -> int:
    """Write the result, last of all; a run that the system stopped has none and reads as interrupted."""
    if result.get("state") == "cancelled" and not stop.cancelled:
        events("note", message="The system asked the worker to end. Everything is saved: resume the run.")
        return ASKED_TO_END
    spent = {
        "seconds": round(seconds_worked(read(folder).events), 2),
        "peak_bytes": machine.peak_bytes(),
        "disk_bytes": folder_bytes(folder),
    }
    result = {"state": "succeeded"} | result | {"spent": spent}
    events("note", message=compare_with_budget(spent, read_config(folder).get("budget") or {}))
    events("done", state=result["state"], seconds=spent["seconds"])
    remove_file(folder / RESERVE)
    write_json(folder / "summary.json", summary_of(result))
    write_json(folder / "result.json", result)
    return 0


def summary_of(result: dict[str, Any]) -> dict[str, Any]:
    """What a list shows of a result: its plain values, and what the executor put under `headline`."""
    plain = {key: value for key, value in result.items() if isinstance(value, str | int | float | bool)}
    return plain | {"spent": result["spent"], "headline": result.get("headline", {})}


def _say_failed(folder: Path, failure: Failure) -> None:
    """Write `failed` and tell the followers, as far as the disk lets us."""
    print(f"{failure['message']} {failure['hint']}", file=sys.stderr, flush=True)
    acts: tuple[Callable[[], None], ...] = (
        lambda: (folder / RESERVE).unlink(missing_ok=True),
        lambda: write_json(folder / "failed", failure),
        lambda: (folder / "queued").unlink(missing_ok=True),
        lambda: _tell_failed(folder, failure),
    )
    for act in acts:
        try:
            act()
        except (OSError, UnlearningError) as error:
            print(error, file=sys.stderr)


def _tell_failed(folder: Path, failure: Failure) -> None:
    with EventWriter(folder) as events:
        events("error", **failure)
        events("done", state="failed")


def _slot() -> str:
    """The device that the scheduler gave to this process."""
    return os.environ.get("UNLEARNING_SLOT", "")


if __name__ == "__main__":
    together.end(main())
