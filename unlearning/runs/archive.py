"""Runs on the move: one zip out, one zip in, and a trash that can be emptied.

A zip comes from anywhere, so nothing in it is believed: no path leaves the new run's folder, nothing grows beyond
its limits while it is unpacked, no file that could run code when it is read comes in, and the run appears only
when it is whole.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from unlearning.errors import RunBusyError, RunDamagedError, RunError, RunNotFoundError
from unlearning.runs.durable import (
    disk_errors_in_words,
    folder_bytes,
    read_json_or_empty,
    sync_folder,
    write_json,
)
from unlearning.runs.locks import take
from unlearning.runs.names import LONGEST_NAME, new_id
from unlearning.runs.queue import workspace_of
from unlearning.runs.record import read_config
from unlearning.runs.store import ACTIVE, Run, load, next_number, runs_folder, state

# What belongs to this machine and this moment, not to the run.
TRANSIENT = frozenset({"queued", "cancel", "worker.lock", "worker.json", "reserve", "exit.json", "passes.json"})
CHECKPOINTS = "checkpoints"

MAX_BYTES = 64 << 30
MAX_FILES = 100_000
MAX_RATIO = 200  # text compresses 3 to 20 times, repeated text 100 times; a bomb 1,000 times
RATIO_MATTERS_FROM = 64 << 20
# Names that libraries load by running what is in them. Our own labels are flat numbers in other `.bin` files.
_RUNS_CODE = re.compile(
    r".+\.(pkl|pickle|pth|ckpt|joblib|py|pyc|so|dll)|(adapter_model|pytorch_model|training_args|optimizer|scheduler).*\.bin",
    re.IGNORECASE,
)
_CHUNK = 1 << 20


def export_run(folder: Path, target: Path | IO[bytes], checkpoints: bool = False) -> None:
    """Write the run as one zip.

    Args:
        folder: The run; not while its worker is alive.
        target: A path (written beside, then moved) or an open binary file.
        checkpoints: Include training state, which a run that has not ended needs to resume elsewhere. Without it
            such a run starts its unfinished stage again.

    Raises:
        RunBusyError: it is at work. RunError: the target cannot be written.
    """
    if (now := state(folder)) in ACTIVE:
        raise RunBusyError(f"Run {folder.name} is {now}.", "Stop it first, or wait until it has ended.")
    read_config(folder)
    if not isinstance(target, Path):
        _write_zip(folder, target, checkpoints)
        return
    beside = target.with_name(f".{new_id()}.part")
    with disk_errors_in_words(target):
        try:
            with open(beside, "wb") as file:
                _write_zip(folder, file, checkpoints)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)


def _write_zip(folder: Path, file: IO[bytes], checkpoints: bool) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in _exported(folder, checkpoints):
            inside = path.relative_to(folder).as_posix()
            weights = path.suffix in (".safetensors", ".pt")  # random numbers: deflating them only takes time
            archive.write(path, inside, zipfile.ZIP_STORED if weights else zipfile.ZIP_DEFLATED)


def _exported(folder: Path, checkpoints: bool) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in inside) or path.is_symlink()
        if hidden or not path.is_file() or inside[0] in TRANSIENT or (CHECKPOINTS in inside and not checkpoints):
            continue
        yield path


def import_run(
    workspace: Path, source: Path | IO[bytes], *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
) -> Run:
    """Unpack a zip that `export_run` wrote into a new run with an id of its own.

    Raises:
        RunDamagedError: no zip, no run in it, a format from a newer version, a path that leaves the folder, a bomb.
        RunError: the workspace cannot be written.
    """
    number = next_number(workspace)
    folder = runs_folder(workspace) / new_id()
    making = folder.with_name(f".new-{folder.name}")
    try:
        with disk_errors_in_words(folder):
            making.mkdir()
            _unpack(source, making, max_bytes, max_files)
            read_config(making)
            name = str(read_json_or_empty(making / "meta.json").get("name") or f"Imported · {number}")
            write_json(making / "meta.json", {"name": name[:LONGEST_NAME], "number": number})
            making.rename(folder)
            sync_folder(folder.parent)
    except RunDamagedError as error:
        message = error.message.replace(str(making), "The imported file").replace(making.name, "in the zip")
        raise RunDamagedError(message, error.hint) from None
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return load(folder)


def _unpack(source: Path | IO[bytes], folder: Path, max_bytes: int, max_files: int) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > max_files:
                raise RunDamagedError(f"The zip holds {len(members)} files.", f"The limit is {max_files}.")
            top = _top_folder([member.filename for member in members])
            left = max_bytes
            for member in members:
                left -= _unpack_member(archive, member, folder, top, left)
    except FileNotFoundError:
        raise RunDamagedError(f"There is no file {source}.", "Check the path.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise RunDamagedError(f"This is no zip that can be read ({error}).", "Export the run again.") from None


def _unpack_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, top: str, left: int) -> int:
    """Unpack one file; gives its bytes as they were counted, not as the zip claims."""
    inside = checked_path(member, top)
    if inside.parts[0] in TRANSIENT or _RUNS_CODE.fullmatch(inside.name):
        return 0
    target = folder.joinpath(*inside.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise RunDamagedError(f"The zip holds {inside} twice.", "Export the run again.")
    written = 0
    with archive.open(member) as packed, open(target, "xb") as unpacked:
        while chunk := packed.read(_CHUNK):
            written += len(chunk)
            if written > left:
                raise RunDamagedError("The zip is too large when unpacked.", "Import it on a machine with more room.")
            if written > RATIO_MATTERS_FROM and written > MAX_RATIO * max(1, member.compress_size):
                raise RunDamagedError(f"The zip blows up when unpacked ({inside}).", "It was not made by this program.")
            unpacked.write(chunk)
    return written


def checked_path(member: zipfile.ZipInfo, top: str = "") -> PurePosixPath:
    """Where a member may go, relative to the run's folder.

    Raises:
        RunDamagedError: anywhere else.
    """
    name = member.filename.removeprefix(top)
    path = PurePosixPath(name)
    kind = stat.S_IFMT(member.external_attr >> 16)
    foul = (
        not name
        or path.is_absolute()
        or any(part in ("..", ".") or part.startswith(".") for part in path.parts)
        or re.search(r'[\\:*?"<>|\x00-\x1f]', name) is not None
        or kind not in (0, stat.S_IFREG)
        or any(len(part.encode()) > 255 for part in path.parts)
    )
    if foul:
        raise RunDamagedError(
            f"The zip holds {member.filename[:80]!r}, which may not be unpacked.", "It was not made by this program."
        )
    return path


def _top_folder(names: list[str]) -> str:
    """The one folder that everything lies in, where somebody zipped the folder itself; else empty."""
    if "config.json" in names:
        return ""
    tops = {name.partition("/")[0] for name in names}
    top = f"{tops.pop()}/" if len(tops) == 1 else ""
    if f"{top}config.json" not in names:
        raise RunDamagedError("The zip holds no run: there is no config.json in it.", "Export the run again.")
    return top


def trash_folder(workspace: Path) -> Path:
    return workspace / "trash"


def move_to_trash(folder: Path) -> Path:
    """Put a run into its workspace's trash.

    Raises:
        RunBusyError: it waits or works.
    """
    workspace = workspace_of(folder)
    target = trash_folder(workspace) / folder.name
    with disk_errors_in_words(folder), take(workspace / "workspace.lock", patience_s=10.0, what="Another process"):
        if (now := state(folder)) in ACTIVE:
            raise RunBusyError(f"Run {folder.name} is {now}.", "Stop it first.")
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            target = target.with_name(f"{folder.name}-{new_id()}")
        folder.rename(target)
    return target


def list_trash(workspace: Path) -> list[Run]:
    """What lies in the trash, newest first."""
    try:
        folders = [folder for folder in trash_folder(workspace).iterdir() if folder.is_dir()]
    except OSError:
        return []
    return sorted(map(load, folders), key=lambda run: run.number, reverse=True)


def restore(workspace: Path, run_id: str) -> Path:
    """Take a run out of the trash.

    Raises:
        RunNotFoundError: it is not there. RunError: a run of that id exists again.
    """
    found = {run.id: run.folder for run in list_trash(workspace)}.get(run_id)
    if found is None:
        raise RunNotFoundError(f"There is no run '{run_id}' in the trash.", "See `python -m unlearning runs trash`.")
    target = runs_folder(workspace) / run_id
    if target.exists():
        raise RunError(f"There is a run {run_id} already.", "Delete that one first.")
    with disk_errors_in_words(target):
        found.rename(target)
    return target


def empty_trash(workspace: Path) -> int:
    """Delete for good what lies in the trash; gives the bytes that were freed."""
    freed = 0
    for run in list_trash(workspace):
        size = folder_bytes(run.folder)
        with disk_errors_in_words(run.folder):
            shutil.rmtree(run.folder)
        freed += size
    return freed
