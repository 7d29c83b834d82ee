"""`config.json`: what a run is made of, written once. Read in today's format whatever version wrote it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from pydantic import ValidationError

from unlearning.config import Settings
from unlearning.errors import RunDamagedError
from unlearning.runs import machine
from unlearning.runs.durable import read_json

FORMAT = 2
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")  # a run's id, a stage, a part: never a way out


def make_config(settings: Settings, folder: Path, title: str, kind: str) -> dict[str, Any]:
    """Everything needed to run this again elsewhere, for the inputs that lie in `folder`."""
    text = (folder / "text.txt").read_text(encoding="utf-8") if (folder / "text.txt").exists() else ""
    return {
        "format": FORMAT,
        "kind": kind,
        "created": time.time(),
        "text": {
            "title": title,
            "sha256": _sha256(text.encode()),
            "words": len(text.split()),
            "characters": len(text),
        },
        "settings": settings.model_dump(mode="json"),
        "inputs": {
            file.relative_to(folder).as_posix(): _sha256(file.read_bytes())
            for file in sorted(folder.rglob("*"))  # a taught adapter is a folder
            if file.is_file()
        },
        "versions": machine.versions(),
        "hardware": machine.hardware(),
    }


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` in today's format.

    Raises:
        RunDamagedError: unreadable, not a run, of a format that this version does not know, or naming a place outside
            the run and its neighbours.
    """
    config = read_json(folder / "config.json")
    number = config.get("format", 0)
    if not isinstance(number, int) or number > FORMAT:
        raise RunDamagedError(
            f"Run {folder.name} has format {number!r}; this version reads up to {FORMAT}.", "Update this program."
        )
    while number < FORMAT:
        if number not in MIGRATIONS:
            raise RunDamagedError(f"Run {folder.name} has format {number}, which is too old.", "Make the run anew.")
        config, number = MIGRATIONS[number](config), number + 1
    missing = [key for key in ("settings", "text") if not isinstance(config.get(key), dict)]
    if missing:
        raise RunDamagedError(f"config.json of run {folder.name} lacks '{missing[0]}'.", "Import the run again.")
    for entry, name in _outside(config):
        raise RunDamagedError(
            f"config.json of run {folder.name} has {str(name)[:80]!r} in '{entry}', which may lead out of the run.",
            "It was not made by this program.",
        )
    return config


def _outside(config: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """What becomes part of a path and could lead elsewhere, with its entry: the file may come from anywhere."""
    budget = config.get("budget")
    stages = budget.get("stages") if isinstance(budget, dict) else None
    of = [config["of"]] if "of" in config else None
    for entry, names in (("of", of), ("parts", config.get("parts")), ("budget.stages", stages)):
        for name in _each(names):
            if not (isinstance(name, str) and _FOLDER.fullmatch(name)):
                yield entry, name
    for name in _each(config.get("inputs")):
        path = PureWindowsPath(str(name))  # knows both separators, and drives
        if path.anchor or ".." in path.parts:
            yield "inputs", name


def _each(names: Any) -> list[Any]:
    if names is None:
        return []
    return list(names) if isinstance(names, list | dict) else [names]


def _migrate_0(config: dict[str, Any]) -> dict[str, Any]:
    """Format 0, of the first development versions, knew one kind of run and kept no versions."""
    return {"kind": "unlearn", "versions": {}, "hardware": {}, "created": 0.0} | config | {"format": 1}


def _migrate_1(config: dict[str, Any]) -> dict[str, Any]:
    """Format 1 knew no pieces of retain text and counted every position once; later defaults are not what it meant."""
    settings = dict(config["settings"]) if isinstance(config.get("settings"), dict) else {}
    for stage in ("teach", "reinforce", "finetune"):
        if isinstance(settings.get(stage), dict):
            settings[stage] = {"retain_pieces": 1, "retain_sure": 1} | settings[stage]
    return config | {"format": 2} | ({"settings": settings} if settings else {})


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {0: _migrate_0, 1: _migrate_1}


def read_settings(folder: Path) -> Settings:
    """The settings of the run in `folder`.

    Raises:
        RunDamagedError: this version does not know one of them, or a value is out of its limits.
    """
    try:
        return Settings.model_validate(read_config(folder)["settings"])
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise RunDamagedError(
            f"config.json of run {folder.name}: setting {name} = {first['input']!r}: {first['msg']}.",
            "It was made by another version; make the run anew with today's settings.",
        ) from None


def check_inputs(folder: Path) -> None:
    """Refuse a run whose inputs are not those it was made with.

    Raises:
        RunDamagedError: an input is missing or was changed.
    """
    for file, expected in read_config(folder).get("inputs", {}).items():
        if not (folder / file).is_file():
            raise RunDamagedError(f"{folder / file} is missing.", "Import the run again, or make it anew.")
        if _sha256((folder / file).read_bytes()) != expected:
            raise RunDamagedError(
                f"{folder / file} was changed after the run was made.", "Copy the run to a new one instead."
            )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
