"""Work for the worker without a model: counts, saves, stops, resumes and misbehaves as it is told.

The orders stand in the run's text as JSON: {"steps": 20, "sleep": 0.01, "every": 1, "fail": …, "children": …}.
What it computes depends on every step and on their order, so a step lost or done twice shows in the result.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import time

STAGES = ("first", "second")


def execute(folder, report, should_stop):
    orders = {"steps": 20, "sleep": 0.01, "every": 1} | json.loads((folder / "text.txt").read_text())
    misbehave(orders, folder)
    total = 1
    for stage in STAGES:
        place = folder / "stages" / stage
        done = place / "stage.json"
        if done.exists():
            total = json.loads(done.read_text())["total"]
            continue
        place.mkdir(parents=True, exist_ok=True)
        report("stage", stage=stage, state="started", steps=orders["steps"])
        step, total = load(place, total)
        while step < orders["steps"]:
            time.sleep(orders["sleep"])
            step, total = step + 1, (total * 31 + step + 1) % 1_000_003
            report("step", stage=stage, step=step, steps=orders["steps"], loss=float(total), seconds_left=0.0)
            stop = should_stop() and not orders.get("deaf")
            if stop or step % orders["every"] == 0:
                replace(place / "checkpoint.json", {"step": step, "total": total})
            if stop:
                return {"state": "cancelled", "total": total}
        replace(done, {"total": total})
        report("stage", stage=stage, state="done")
    return {"state": "succeeded", "total": total, "headline": {"total": total}}


def expected_total(steps):
    """What an uninterrupted run of two stages ends with."""
    total = 1
    for _ in STAGES:
        for step in range(steps):
            total = (total * 31 + step + 1) % 1_000_003
    return total


def load(place, total):
    try:
        state = json.loads((place / "checkpoint.json").read_text())
    except (OSError, ValueError):
        return 0, total
    return state["step"], state["total"]


def replace(path, value):
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(value))
    os.replace(draft, path)


def misbehave(orders, folder):
    fail = orders.get("fail")
    if fail == "memory":
        bytearray(1 << 60)
    elif fail == "disk":
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "stages"))
    elif fail == "odd":
        raise ZeroDivisionError("nobody expected this")
    elif fail == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fail == "fill":
        fill(folder / "stages")
    for depth in range(orders.get("children", 0)):
        # each child starts its own session, as the launchers of several processes do
        code = f"import time, sys; sys.argv; time.sleep(60)  # {folder} {depth}"
        subprocess.Popen([sys.executable, "-c", code, str(folder)], start_new_session=True)
    if orders.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def fill(folder):
    """Write until the disk is full."""
    folder.mkdir(exist_ok=True)
    with open(folder / "large", "wb") as file:
        while True:
            file.write(b"x" * 65536)
