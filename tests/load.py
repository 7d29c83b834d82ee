"""A load test of the page on loopback: `python tests/load.py [--followers 30] [--comparers 10] [--seconds 30]`.

Starts the page as `app.py` does, with a workspace of its own and a tiny model. A run works meanwhile. Each follower
does what a browser that watches it does, once a second; each comparer asks a finished run's models how a prompt goes
on, reads the answer for a moment and asks again; one visitor opens the page again and again. Prints p50 and p95 of
the answers and how many failed; --json FILE writes them.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
PROMPTS = ("Alice followed the White", "At the table sat the March", "The Queen of", "The capital of France is")
READING_S = 3.0  # of a person who has got an answer
SAVING_S = 120.0  # that the run may take to stop, on a machine that others keep busy
LONG = {"finetune.epochs": 100, "text.max_tokens": 2000, "text.block_tokens": 64, "model.name": "random:tiny"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--followers", type=int, default=30)
    parser.add_argument("--comparers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.followers, options.comparers, options.seconds)
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measure(workspace, followers, comparers, seconds):
    """Start the page, load it, end it; gives {what: {count, p50, p95, longest, errors}}, times in seconds."""
    from finished_run import make_finished_run

    from tests.browser.conftest import free_port

    finished = make_finished_run(workspace).name
    port = free_port()
    environment = os.environ | {"UNLEARNING_WORKSPACE": str(workspace), "OMP_NUM_THREADS": "1"}
    with open(workspace / "page.log", "wb") as log:
        command = [sys.executable, "app.py", "--port", str(port)]
        page = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        return asyncio.run(_load(f"http://127.0.0.1:{port}", finished, followers, comparers, seconds))
    finally:
        page.terminate()
        page.wait(30)


async def _load(url, finished, followers, comparers, seconds):
    times, errors = defaultdict(list), defaultdict(list)
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2.0)  # the server keeps idle ones for 5 s
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        live = await _wait_for_page(client)
        started = await _call(client, "start_run", {"changes": LONG, "name": "watched by many"})
        for _ in range(2):  # opening the models is not what is measured
            await _call(client, "compare", {"run": finished, "prompt": PROMPTS[0], "tokens": 10})
        end = time.monotonic() + seconds
        watch = _watcher(times, errors)
        await asyncio.gather(
            *(_follow(client, live, started["run"], end, watch) for _ in range(followers)),
            *(_compare(client, finished, end, watch) for _ in range(comparers)),
            _visit(client, end, watch),
        )
        status = await _call(client, "run_status", {"run": started["run"]})
        await _call(client, "stop_run", {"run": started["run"], "key": started["key"]})
        await _wait_for_end(client, started["run"])
    found = {what: _summary(times[what], errors[what]) for what in sorted({*times, *errors})}
    return found | {"run": {"state": status["state"], "load": os.getloadavg()[0]}}


def _watcher(times, errors):
    """Times one request and keeps what went wrong with it."""

    async def watch(what, asked):
        began = time.monotonic()
        try:
            answer = await asked
        except Exception as error:  # everything that a person would see as "it does not work"
            errors[what].append(f"{type(error).__name__}: {error}"[:200])
            return None
        times[what].append(time.monotonic() - began)
        return answer

    return watch


async def _follow(client, live, run, end, watch):
    """What assets/js/live.js does: ask once a second for what is new."""
    await asyncio.sleep(random.random())
    offset, session = 0, f"load{random.random()}"
    while time.monotonic() < end:
        began = time.monotonic()
        question = {"run": run, "offset": offset, "draft": ""}
        body = {"session_hash": session, "component_id": live, "fn_name": "follow", "data": question}
        answer = await watch("follow", _post(client, "/gradio_api/component_server/", body))
        offset = (answer or {}).get("offset", offset)
        await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - began)))


async def _compare(client, run, end, watch):
    number = 0
    await asyncio.sleep(random.random() * READING_S)
    while time.monotonic() < end:
        number += 1
        asked = {"run": run, "prompt": random.choice(PROMPTS), "tokens": 20, "temperature": 0.8, "seed": number}
        await watch("compare", _call(client, "compare", asked))
        await asyncio.sleep(READING_S)


async def _visit(client, end, watch):
    while time.monotonic() < end:
        await watch("page", _get(client, "/"))
        await asyncio.sleep(1.0)


async def _wait_for_page(client):
    """Wait until the page answers; gives the number of its live panel."""
    for _ in range(600):
        try:
            config = await _get(client, "/config")
            return next(c["id"] for c in config.json()["components"] if c["props"].get("elem_id") == "live")
        except httpx.TransportError:
            await asyncio.sleep(0.2)
    raise TimeoutError("the page did not come")


async def _wait_for_end(client, run):
    """Wait until a run that was asked to stop has saved what it has: then its folder can go."""
    end = time.monotonic() + SAVING_S
    while (state := (await _call(client, "run_status", {"run": run}))["state"]) in ("running", "cancelling"):
        if time.monotonic() > end:
            raise TimeoutError(f"the run {run} is still {state} {SAVING_S:.0f} seconds after it was asked to stop")
        await asyncio.sleep(0.2)


async def _get(client, path):
    return (await client.get(path)).raise_for_status()


async def _post(client, path, body):
    return (await client.post(path, json=body)).raise_for_status().json()


async def _call(client, name, arguments):
    """A public function, as any program calls it."""
    event = (await _post(client, f"/gradio_api/call/v2/{name}", arguments))["event_id"]
    async with client.stream("GET", f"/gradio_api/call/{name}/{event}") as answer:
        kind = ""
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind == "complete":
                return json.loads(line.removeprefix("data: "))[0]
            elif line.startswith("data: ") and kind == "error":
                raise RuntimeError(line)
    raise RuntimeError(f"{name} gave no answer")


def _summary(times, errors):
    ordered = sorted(times)
    if not ordered:
        return {"count": 0, "errors": len(errors), "said": errors[:3]}
    return {
        "count": len(ordered),
        "p50": round(statistics.median(ordered), 3),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 3),
        "longest": round(ordered[-1], 3),
        "errors": len(errors),
        "said": errors[:3],
    }


def table(figures):
    lines = ["what        answers  p50 s   p95 s   longest  errors"]
    for what, one in figures.items():
        if "count" in one:
            cells = [one.get(key, "–") for key in ("count", "p50", "p95", "longest", "errors")]
            lines.append(f"{what:<11} {cells[0]:<8} {cells[1]:<7} {cells[2]:<7} {cells[3]:<8} {cells[4]}")
            lines += [f"            {said}" for said in one["said"]]
    lines.append(
        f"the run meanwhile: {figures['run']['state']}; programs that wanted a processor: {figures['run']['load']:.1f}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
