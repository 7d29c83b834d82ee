"""The scenarios that come with the program: a text, its anchors, its probes, sometimes a taught model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unlearning.errors import InputError
from unlearning.ui.pages import ASSETS

DEFAULT = "wonderland"
INPUTS = {"probes.json": "probes.json", "completions.json": "completions.json", "themes.txt": "themes.txt"}


@dataclass(frozen=True)
class Scenario:
    """One folder of assets/scenarios.

    Attributes:
        about: Its scenario.json.
    """

    name: str
    folder: Path
    about: dict[str, Any]

    @property
    def title(self) -> str:
        return str(self.about.get("title", self.name))

    @property
    def text(self) -> Path | None:
        """The file of its text; None where people bring their own copy."""
        return self.folder / str(self.about["text"]) if self.about.get("text") else None

    @property
    def taught(self) -> Path | None:
        """The adapter of a model that was taught its text already."""
        folder = self.folder / "taught"
        return folder if (folder / "adapter_config.json").exists() else None


@cache
def scenarios() -> dict[str, Scenario]:
    """All scenarios by name, the default one first."""
    found = {}
    for path in sorted((ASSETS / "scenarios").glob("*/scenario.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        found[path.parent.name] = Scenario(path.parent.name, path.parent, about)
    return dict(sorted(found.items(), key=lambda item: item[0] != DEFAULT))


def find_scenario(name: str) -> Scenario:
    """The scenario of this name.

    Raises:
        InputError: there is none.
    """
    if name not in scenarios():
        raise InputError(f"There is no scenario '{name}'.", f"Choose one of: {', '.join(scenarios())}.")
    return scenarios()[name]
