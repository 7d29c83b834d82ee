"""Files that survive a power cut, and disk errors in words.

A small file is written beside its place, pushed to the disk, then moved over the old one: a reader sees
the old file or the new one, never half of either.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unlearning.errors import RunDamagedError, RunError

# What the operating system says, and what a person can do about it.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
FULL_HINT = "Free some space (`python -m unlearning runs trash --empty` removes deleted runs), then resume the run."
REFUSED_HINT = "Make the folder writable for this user, or choose another one with UNLEARNING_WORKSPACE."


def explain_disk_error(error: OSError, path: Path | str) -> RunError:
    """The sentence and the mend for an error of the file system at `path`."""
    if error.errno in FULL:
        return RunError(f"The disk is full: cannot write {path}.", FULL_HINT)
    if error.errno in REFUSED:
        return RunError(f"No permission to write {path}.", REFUSED_HINT)
    return RunError(f"Cannot write {path}: {error.strerror or error}.", "Check the disk and the path.")


@contextmanager
def disk_errors_in_words(path: Path) -> Iterator[None]:
    """Raise RunError for whatever the file system refuses inside."""
    try:
        yield
    except OSError as error:
        raise explain_disk_error(error, error.filename or path) from error


def write_file(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one step.

    Raises:
        RunError: disk full, no permission.
    """
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    beside = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    with disk_errors_in_words(path):
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON, indented so that a person can read it."""
    write_file(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        RunDamagedError: the file is missing, is not JSON, or holds no object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunDamagedError(f"{path} is missing.", "The folder is not a whole run: import it again.") from None
    except OSError as error:
        raise RunDamagedError(f"Cannot read {path}: {error.strerror}.", "Check its permissions.") from None
    except ValueError as error:
        raise RunDamagedError(f"{path} is damaged ({error}).", "Import the run again, or delete it.") from None
    if not isinstance(value, dict):
        raise RunDamagedError(f"{path} is damaged: it holds no JSON object.", "Import the run again, or delete it.")
    return value


def read_json_or_empty(path: Path) -> dict[str, Any]:
    """Like read_json, but `{}` where there is nothing usable: for files whose absence is no error."""
    try:
        return read_json(path)
    except RunDamagedError:
        return {}


def remove_file(path: Path) -> None:
    """Remove `path` if it is there."""
    with disk_errors_in_words(path):
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Push the names in `folder` to the disk; not every system lets a folder be opened for that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`; files that vanish meanwhile count nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total
