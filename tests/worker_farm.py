"""Workers that start at once: the libraries are loaded in one process, which forks a worker for every order.

Each worker is a process of its own that takes the lock, works and can be killed like any other; what is saved is the
ten seconds that importing torch takes on a busy machine, thirty times over.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from runs_for_tests import ROOT, next_line

LONGEST_S = 300  # of a run of a tiny model on a busy machine


class Farm:
    """`start` gives the number of a new worker's process, `wait` its exit status (negative: the signal)."""

    def __init__(self):
        environment = dict(os.environ) | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        command = [sys.executable, "-m", "worker_farm"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        assert next_line(self.process, LONGEST_S) == "ready\n"

    def start(self, folder):
        return int(self._order(f"start {folder}"))

    def wait(self, number):
        return os.waitstatus_to_exitcode(int(self._order(f"wait {number}")))

    def kill(self, number):
        os.kill(number, signal.SIGKILL)
        return self.wait(number)

    def work(self, folder):
        return self.wait(self.start(folder))

    def _order(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return next_line(self.process, LONGEST_S)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=120)  # taking torch apart is slow on a busy machine
        finally:
            self.process.kill()


def serve():
    import accelerate  # noqa: F401
    import peft  # noqa: F401
    import survival_executor  # noqa: F401
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        order, _, what = line.rstrip("\n").partition(" ")
        print(fork_worker(Path(what)) if order == "start" else os.waitpid(int(what), 0)[1], flush=True)


def fork_worker(folder):
    number = os.fork()
    if number:
        return number
    from unlearning import worker

    os.setsid()
    log = os.open(folder / "output.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    status = 70
    try:
        status = worker.main([str(folder)])
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
