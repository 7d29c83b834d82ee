"""A real Chromium over the real page. Skipped by name where there is no Chromium.

Every page that a test opens is watched: an error in its scripts, or a request to any other host, fails the test.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from unlearning.runs.durable import write_json

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
]  # fmt: skip
CACHE = Path(__file__).resolve().parents[2] / ".pytest_cache" / "browser"
TARGETS = (" Hare", " Hatter", " Paris")


@dataclass(frozen=True)
class Site:
    """A running page."""

    url: str
    workspace: Path


@dataclass
class Watched:
    """What went wrong on the pages of a test."""

    site: str
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def follow(self, page: Any) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._check(request.url))

    def _check(self, url: str) -> None:
        if not url.startswith((self.site, "data:", "blob:")):
            self.elsewhere.append(url)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need the package playwright")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        pytest.skip("no Chromium for the browser tests (Debian: apt-get install chromium, or set CHROMIUM)")
    playwright.expect.set_options(timeout=60_000)  # two busy cores may do all this at once
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page, with an empty workspace and a recording."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from unlearning.ui.app import launch_settings
    from unlearning.ui.frame import build_app

    folder = tmp_path_factory.mktemp("site")
    record(folder / "recorded" / "example")
    measure_before(folder / "workspace")
    page = build_app(folder / "workspace", folder / "recorded")
    port = free_port()
    settings = launch_settings(folder / "workspace") | {"quiet": True}
    page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, **settings)
    yield Site(f"http://127.0.0.1:{port}/", folder / "workspace")
    page.close()


def measure_before(workspace: Path) -> None:
    """The default model was measured here: the page would do so in the middle of its tests, a minute on all cores.

    What the trial of a machine finds has tests of its own; here a tiny model is measured.
    """
    from unlearning.config import make_settings
    from unlearning.runs import speeds
    from unlearning.runs.budget import Speeds

    measured = Speeds(500, 1500, 2000, 300, 0.1, 6, 9e8, 6e8, 6e5, 1e7, 4, 4)
    entry = asdict(measured) | {"waited": 0.0, "when": time.time()}
    workspace.mkdir()
    write_json(workspace / speeds.SPEEDS, {speeds._key(make_settings()): entry})


@pytest.fixture
def watched(site: Site) -> Iterator[Watched]:
    seen = Watched(site.url)
    yield seen
    assert seen.errors == []
    assert seen.elsewhere == []


@pytest.fixture
def page(browser: Any, watched: Watched) -> Iterator[Any]:
    """A new person's browser: nothing in its storage."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(30_000)
    one = context.new_page()
    watched.follow(one)
    yield one
    context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, from npm, kept in the test cache."""
    script = CACHE / "package" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("no npm to fetch axe-core with, for the accessibility tests")
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "pack", "axe-core@4", "--silent"], cwd=CACHE, capture_output=True, timeout=120)
        packed = sorted(CACHE.glob("axe-core-*.tgz"))
        if done.returncode or not packed:
            pytest.skip("npm could not fetch axe-core, for the accessibility tests")
        with tarfile.open(packed[-1]) as archive:
            archive.extract("package/axe.min.js", CACHE, filter="data")
    return script.read_text(encoding="utf-8")


def findings(page: Any, axe: str) -> list[str]:
    """What axe finds serious or critical on the page as it stands."""
    page.evaluate(axe)
    found = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    return [
        f"{one['id']} ({one['impact']}): {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def record(folder: Path) -> None:
    """A recording for tests: three prompts, of which two fall and a control stays."""
    folder.mkdir(parents=True)
    config = {"format": 1, "text": {"title": "A test", "words": 1234}, "settings": {"model": {"name": "random:tiny"}}}
    (folder / "config.json").write_text(json.dumps(config))
    prompts = ("There sat the March", "Then came the Mad", "The capital of France is")
    lines = []
    for step in range(0, 41, 10):
        fallen = 1 / (1 + math.exp((step - 20) / 4))
        probabilities = [
            {
                "prompt": prompt, "target": target, "kind": "control" if target == " Paris" else "probe",
                "p": (p := 0.9 if target == " Paris" else 0.8 * fallen + 0.001),
                "top": sorted([[target, p], [" wind", 0.6 * (1 - p)], [" old", 0.1]], key=lambda pair: -pair[1]),
            }
            for prompt, target in zip(prompts, TARGETS, strict=True)
        ]  # fmt: skip
        lines.append({"kind": "probe", "stage": "finetune", "step": step, "probabilities": probabilities})
        text = " Hare." if step < 20 else " wind."
        lines.append({"kind": "sample", "stage": "finetune", "step": step, "prompt": prompts[0], "text": text})
    events = [json.dumps({"seq": i, "time": 0.0, "elapsed": float(i)} | line) for i, line in enumerate(lines, 1)]
    (folder / "events.jsonl").write_text("\n".join(events) + "\n")
