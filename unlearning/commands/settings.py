"""Every setting as a command-line option, and as a row of the README's table: both made from `config`.

`label.alpha` is `--label-alpha`. Values travel as text to `make_settings`, which knows the limits: an option, `--set`
and a preset are refused with the same words.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from unlearning.config import PRESETS, Settings
from unlearning.errors import SettingsError

SHORT_NAMES = {"model.name": "--model", "model.accept_licence": "--accept-licence"}
DEFAULT = "standard"
NOTHING = ("none", "")  # how an option says that a setting shall have no value
SECTION_TITLES = {
    "model": "Model", "text": "Text", "teach": "Teaching", "reinforce": "Reinforcement", "label": "Generic labels",
    "finetune": "Fine-tuning on the labels", "evaluation": "Measuring", "": "General",
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        path: "label.alpha", or "seed" for one that is in no section.
        kind: bool, int, float or str.
        default: Before any preset; None where it may be empty.
        choices: The values there are, if they can be listed.
        limits: "0 to 100", "at least 1"; empty where there are none.
        may_be_empty: Whether None is a value.
    """

    path: str
    kind: type
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    limits: str = ""
    may_be_empty: bool = False

    @property
    def section(self) -> str:
        return self.path.rpartition(".")[0]

    @property
    def option(self) -> str:
        return "--" + self.path.replace(".", "-").replace("_", "-")

    @property
    def value_name(self) -> str:
        if self.choices:
            return "|".join(self.choices)
        return {int: "N", float: "X", str: "TEXT"}.get(self.kind, "")

    @property
    def default_text(self) -> str:
        if self.kind is bool:
            return "on" if self.default else "off"
        return "none" if self.default is None else f"{self.default:g}" if self.kind is float else str(self.default)


def all_settings() -> list[Setting]:
    """Every setting but the preset, in the order of `config`."""
    return [setting for setting in _settings(Settings) if setting.path != "preset"]


def _settings(section: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    for name, field in section.model_fields.items():
        inner, may_be_empty = _without_none(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _settings(inner, f"{prefix}{name}.")
        else:
            yield _setting(f"{prefix}{name}", inner, field, may_be_empty)


def _setting(path: str, annotation: Any, field: FieldInfo, may_be_empty: bool) -> Setting:
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    kind = str if choices else annotation
    return Setting(path, kind, field.default, field.description or "", choices, _limits(field), may_be_empty)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (types.UnionType, typing.Union):
        return annotation, False
    others = [part for part in get_args(annotation) if part is not type(None)]
    return others[0], len(others) < len(get_args(annotation))


def _limits(field: FieldInfo) -> str:
    names = ("ge", "gt", "le", "lt")
    found = {name: _number(getattr(each, name)) for each in field.metadata for name in names if hasattr(each, name)}
    low = found["ge"] if "ge" in found else f"above {found['gt']}" if "gt" in found else ""
    high = found["le"] if "le" in found else f"below {found['lt']}" if "lt" in found else ""
    if low and high:
        return f"{low} to {high}"
    return f"at least {low}" if "ge" in found else low or high


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


# --- options ------------------------------------------------------------------------------------


def with_settings(*sections: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a typer command: its parameter `changes` is replaced by an option for every setting.

    The command is called with `changes`, a mapping of dotted names to the values that were given; nothing that was
    not given is in it.

    Args:
        sections: Only the settings of these ("model", "teach", …; "" for those in no section); all without any.
    """
    chosen = [setting for setting in all_settings() if not sections or setting.section in sections]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def called(**arguments: Any) -> Any:
            given = {setting.path: arguments.pop(_parameter_name(setting)) for setting in chosen}
            changes = {path: _value(path, value) for path, value in given.items() if value is not None}
            changes |= parse_sets(arguments.pop("set_") or ())
            return command(**arguments, changes=changes)

        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "changes"]
        everything = [*own, _SET, *map(_parameter, chosen)]
        called.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
        return called

    return decorate


def parse_sets(assignments: Sequence[str]) -> dict[str, Any]:
    """`["label.alpha=3"]` as `{"label.alpha": "3"}`.

    Raises:
        SettingsError: no "=", or no such setting.
    """
    known = {setting.path for setting in all_settings()}
    changes: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals or not path.strip():
            raise SettingsError(f"--set {assignment}: there is no '=' in it.", "Write NAME=VALUE, as in label.alpha=3.")
        path = path.strip()
        if path not in known:
            raise SettingsError(f"There is no setting '{path}'.", _nearest(path, known))
        changes[path] = _value(path, value.strip())
    return changes


def _nearest(path: str, known: set[str]) -> str:
    import difflib

    close = difflib.get_close_matches(path, sorted(known), n=1)
    return f"Did you mean {close[0]}?" if close else "See `python -m unlearning unlearn --help` for the names."


def _value(path: str, value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in NOTHING and _may_be_empty(path) else value


@functools.cache
def _may_be_empty(path: str) -> bool:
    return next(setting.may_be_empty for setting in all_settings() if setting.path == path)


_SET = inspect.Parameter(
    "set_",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting by its dotted name: label.alpha=3. Repeatable."),
    ],
)


def _parameter(setting: Setting) -> inspect.Parameter:
    names = [SHORT_NAMES[setting.path]] if setting.path in SHORT_NAMES else []
    on_and_off = setting.kind is bool and not names
    names.append(f"{setting.option}/--no-{setting.option[2:]}" if on_and_off else setting.option)
    bounds = f"{setting.limits}; " if setting.limits else ""
    option = typer.Option(
        *names,
        help=f"{setting.description} ({bounds}default {setting.default_text})",
        metavar=setting.value_name or None,
        rich_help_panel=f"Settings: {SECTION_TITLES[setting.section].lower()}",
        show_default=False,
    )
    kind: Any = bool | None if setting.kind is bool else str | None
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(_parameter_name(setting), keyword, default=None, annotation=Annotated[kind, option])


def _parameter_name(setting: Setting) -> str:
    return setting.path.replace(".", "__")


# --- the README's table --------------------------------------------------------------------------


def settings_table() -> str:
    """All settings as a table in Markdown, with what each preset changes; the README holds it as it is."""
    lines = ["| setting | default | in other presets | limits | what it does |", "|---|---|---|---|---|"]
    for setting in all_settings():
        own = {preset: _text_in_preset(preset, setting) for preset in PRESETS}
        other = ", ".join(f"{preset}: {text}" for preset, text in own.items() if text != own[DEFAULT])
        limits = " \\| ".join(setting.choices) or setting.limits
        lines.append(f"| `{setting.path}` | {own[DEFAULT]} | {other} | {limits} | {setting.description} |")
    return "\n".join(lines)


def _text_in_preset(preset: str, setting: Setting) -> str:
    value: Any = PRESETS[preset]
    for part in setting.path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return setting.default_text
        value = value[part]
    return replace(setting, default=value).default_text
