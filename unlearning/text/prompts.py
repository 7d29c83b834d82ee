"""Prompts that ask a model what it knows: probes with their target words, and prompts to complete.

A *probe* comes with the words that give the text away; a *control* with words that must stay as likely
as they were. Both files are JSON lists:

    [{"prompt": "The Cheshire", "targets": [" Cat"]}, …]            "kind", "note", "watch" may be added
    ["Alice followed the rabbit and", {"prompt": …, "kind": …}, …]  prompts to complete
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearning.errors import PromptError

KINDS = ("probe", "control")


@dataclass(frozen=True)
class Probe:
    """A prompt and the continuations whose probability is measured.

    Targets are taken literally: with a prompt that does not end in white space, the next word's target
    starts with a space (" Cat").

    Attributes:
        watch: Whether somebody has chosen it to be measured while training runs.
    """

    prompt: str
    targets: tuple[str, ...]
    kind: str = "probe"
    note: str = ""
    watch: bool = False


@dataclass(frozen=True)
class CompletionPrompt:
    """A prompt that the model is to go on with.

    Attributes:
        kind: probe or control.
        reference: How the text itself goes on, for a reader to compare with; where somebody wrote it down.
        names: Words that only the text has and that its continuation would bring; likewise.
    """

    prompt: str
    kind: str = "probe"
    reference: str = ""
    names: tuple[str, ...] = ()


def load_probes(path: Path) -> list[Probe]:
    """The probes and controls of a JSON file.

    Raises:
        PromptError: if it cannot be read, or naming the entry that cannot be used.
    """
    return parse_probes(_read(path), path.name)


def save_probes(probes: Sequence[Probe], path: Path) -> None:
    """Write probes so that `load_probes` gives them back equal."""
    _write(probe_rows(probes), path)


def probe_rows(probes: Sequence[Probe]) -> list[dict[str, Any]]:
    """Probes as JSON data that `parse_probes` gives back equal."""
    return [
        {"prompt": p.prompt, "targets": list(p.targets), "kind": p.kind, "note": p.note}
        | ({"watch": True} if p.watch else {})
        for p in probes
    ]


def load_completions(path: Path) -> list[CompletionPrompt]:
    """The prompts to complete of a JSON file: strings, or objects with "prompt" and "kind".

    Raises:
        PromptError: if it cannot be read, or naming the entry that cannot be used.
    """
    return parse_completions(_read(path), path.name)


def save_completions(prompts: Sequence[CompletionPrompt], path: Path) -> None:
    """Write prompts so that `load_completions` gives them back equal."""
    _write(completion_rows(prompts), path)


def completion_rows(prompts: Sequence[CompletionPrompt]) -> list[dict[str, Any]]:
    """Prompts to complete as JSON data that `parse_completions` gives back equal."""
    return [
        {"prompt": p.prompt, "kind": p.kind}
        | ({"reference": p.reference} if p.reference else {})
        | ({"names": list(p.names)} if p.names else {})
        for p in prompts
    ]


def parse_probes(data: Any, name: str = "the probes") -> list[Probe]:
    """Probes from JSON data already read; names and values of entries that it does not know are left out.

    Args:
        data: What the file held.
        name: What to call it in an error.

    Raises:
        PromptError: naming the entry (counted from 1), its value and the mend.
    """
    return [_probe(entry, f"Entry {i} of {name}") for i, entry in enumerate(_entries(data, name), start=1)]


def parse_completions(data: Any, name: str = "the prompts") -> list[CompletionPrompt]:
    """Prompts to complete from JSON data already read.

    Raises:
        PromptError: naming the entry (counted from 1), its value and the mend.
    """
    return [_completion(entry, f"Entry {i} of {name}") for i, entry in enumerate(_entries(data, name), start=1)]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise PromptError(f"There is no file {path}.", "Check the path.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise PromptError(f"{path} cannot be read ({reason}).", "Name a JSON file that may be read.") from None
    except UnicodeDecodeError:
        raise PromptError(f"{path.name} is not UTF-8 text.", "Save it as UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise PromptError(f"{path.name} is not JSON ({error.msg}, {where}).", "Mend that place.") from None


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _entries(data: Any, name: str) -> list[Any]:
    if not isinstance(data, list):
        raise PromptError(f"{name} holds {_short(data)}, not a list.", "Put the entries between [ and ].")
    if not data:
        raise PromptError(f"{name} is an empty list.", "Add at least one prompt.")
    return data


def _probe(entry: Any, where: str) -> Probe:
    if not isinstance(entry, dict):
        raise PromptError(f"{where} is {_short(entry)}.", 'Write {"prompt": "…", "targets": ["…"]}.')
    targets = entry.get("targets")
    if not isinstance(targets, list) or not targets:
        raise PromptError(f"{where}: targets is {_short(targets)}.", 'Give a list of words, as in [" Cat"].')
    for target in targets:
        if not _is_text(target):
            raise PromptError(f"{where}: the target {_short(target)} is not a word.", "Give text, or take it out.")
        if targets.count(target) > 1:
            raise PromptError(f"{where}: the target {_short(target)} is listed twice.", "Keep one.")
    note = entry.get("note") or ""
    return Probe(_prompt(entry, where), tuple(targets), _kind(entry, where), str(note), entry.get("watch") is True)


def _completion(entry: Any, where: str) -> CompletionPrompt:
    if isinstance(entry, str):
        entry = {"prompt": entry}
    if not isinstance(entry, dict):
        raise PromptError(f"{where} is {_short(entry)}.", 'Write a string, or {"prompt": "…"}.')
    names = entry.get("names")
    names = tuple(name for name in names if _is_text(name)) if isinstance(names, list) else ()
    reference = entry["reference"] if _is_text(entry.get("reference")) else ""
    return CompletionPrompt(_prompt(entry, where), _kind(entry, where), reference, names)


def _prompt(entry: dict[str, Any], where: str) -> str:
    prompt = entry.get("prompt")
    if not _is_text(prompt):
        raise PromptError(f"{where}: prompt is {_short(prompt)}.", "Give the text that the model reads.")
    return str(prompt)


def _is_text(value: Any) -> bool:
    """Whether it has something to read, and no half of a character pair (which no tokenizer takes)."""
    return isinstance(value, str) and bool(value.strip()) and not any("\ud800" <= c <= "\udfff" for c in value)


def _kind(entry: dict[str, Any], where: str) -> str:
    kind = entry.get("kind", "probe")
    if kind not in KINDS:
        raise PromptError(f"{where}: kind is {_short(kind)}.", f"Write one of: {', '.join(KINDS)}.")
    return str(kind)


def _short(value: Any) -> str:
    """A value as it stands in a message: JSON, cut at 60 characters; a missing one is called so."""
    if value is None:
        return "missing"
    text = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()
    return text if len(text) <= 60 else text[:59] + "…"
