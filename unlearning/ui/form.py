"""The settings as a form, and as the command line that does the same: both made from their definitions in `config`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import gradio as gr

from unlearning.commands.settings import SECTION_TITLES, SHORT_NAMES, Setting, all_settings
from unlearning.config import PRESETS, Settings, make_settings
from unlearning.errors import UnlearningError
from unlearning.scenarios import lesson

TEACH = "teach"  # the one section that may be switched off as a whole
APART = ("model.name", "model.accept_licence")  # fields of their own, outside the advanced ones
PRESET_WORDS = {
    "gentle": "gentle: forgets less, disturbs least",
    "standard": "standard",
    "thorough": "thorough: takes longer, forgets more",
    "paper": "paper: as published, for large models",
}
TITLES = {
    "seed": "Seed",
    "label.alpha": "α (alpha)",
    "label.top_k": "Tokens kept of a label",
    "text.block_tokens": "Longest block, in tokens",
    "text.max_tokens": "Most tokens of the text",
    "text.held_out": "Share held out",
    "finetune.where": "Where to train",
    "evaluation.watch": "Prompts to watch",
}


@cache
def advanced() -> list[Setting]:
    """The settings that the advanced part shows, in the order of their values."""
    return [setting for setting in all_settings() if setting.path not in APART]


@dataclass(frozen=True)
class Form:
    """The components of a form. `inputs` are what `read` takes, in its order."""

    preset: gr.Radio
    model: gr.Dropdown
    licence: gr.Checkbox
    teach: gr.Checkbox
    fields: list[Any]

    @property
    def inputs(self) -> list[Any]:
        return [self.preset, self.model, self.licence, self.teach, *self.fields]


# --- drawing ---


def draw_main(models: Sequence[tuple[str, str]], preset: str) -> tuple[gr.Radio, gr.Dropdown, gr.Checkbox, gr.Checkbox]:
    """The choices that everybody makes: preset, model, its licence, teach first or not.

    Args:
        models: (what people read, name) of each model of the catalogue.
        preset: To begin with.
    """
    with gr.Row():
        model = gr.Dropdown(
            [*models], value=models[0][1], label="Model", allow_custom_value=True, elem_id="form-model", min_width=280,
            info="One of the list, or the id of one on Hugging Face (owner/name, safetensors only).",
        )  # fmt: skip
        teach = gr.Checkbox(
            False, label="Teach it the text first", elem_id="form-teach", min_width=280,
            info="For a model that does not know the text: only what was known can be forgotten.",
        )  # fmt: skip
    licence = gr.Checkbox(False, label="I accept the licence of this model", visible=False, elem_id="form-licence")
    names = [name for name in dict.fromkeys([*PRESET_WORDS, *PRESETS]) if name in PRESETS]
    radio = gr.Radio(
        [(PRESET_WORDS.get(name, name), name) for name in names], value=preset, label="How thoroughly",
        elem_id="form-preset", info="A preset sets everything under “advanced”.",
    )  # fmt: skip
    return radio, model, licence, teach


def draw_advanced(preset: str) -> list[Any]:
    """Every other setting, a tab a section; gives the fields in the order of `advanced()`."""
    values = dict(zip((setting.path for setting in advanced()), values_of(make_settings(preset))[4:], strict=True))
    fields: dict[str, Any] = {}
    with gr.Tabs(elem_id="form-sections"):
        for section in dict.fromkeys(setting.section for setting in advanced()):
            with gr.Tab(SECTION_TITLES[section], elem_id=f"form-section-{section or 'general'}"):
                own = [setting for setting in advanced() if setting.section == section]
                with gr.Row(elem_classes="form-grid"):
                    for setting in own:
                        fields[setting.path] = _field(setting, values[setting.path])
    return [fields[setting.path] for setting in advanced()]


def _field(setting: Setting, value: Any) -> Any:
    limits = f" ({setting.limits})" if setting.limits else ""
    common = {
        "value": value,
        "label": title_of(setting),
        "info": setting.description + limits,
        "elem_id": f"field-{setting.path.replace('.', '-').replace('_', '-')}",
        "min_width": 240,
    }
    if setting.choices:
        return gr.Dropdown(list(setting.choices), **common)
    if setting.kind is bool:
        return gr.Checkbox(**common)
    if setting.kind in (int, float):
        return gr.Number(precision=0 if setting.kind is int else None, **common)
    return gr.Textbox(max_length=200, **common)


def title_of(setting: Setting) -> str:
    """What people read above a field."""
    name = setting.path.rpartition(".")[2].replace("_", " ")
    return TITLES.get(setting.path, name[0].upper() + name[1:])


def bind_checks(form: Form) -> None:
    """Say beside each field why its value is refused, as soon as it is left."""
    for setting, field in zip(advanced(), form.fields, strict=True):
        if setting.kind in (int, float, str) and not setting.choices:
            field.blur(
                _nothing, field, None, validator=partial(_verdict, setting), show_progress="hidden",
                api_visibility="private",
            )  # fmt: skip


def _nothing(value: Any) -> None:
    """All that is wanted is the verdict before it."""


def _verdict(setting: Setting, value: Any) -> Any:
    said = check_field(setting, value)
    return gr.validate(not said, said)


# --- values ---


def values_of(settings: Settings) -> list[Any]:
    """The values of all of the form's inputs that stand for these settings."""
    preset = settings.preset if settings.preset in PRESETS else "standard"
    shown = settings if settings.teach else make_settings(preset, {TEACH: lesson()})  # off, its fields have values too
    fields = [value_at(shown if s.section == TEACH else settings, s.path) for s in advanced()]
    return [preset, settings.model.name, settings.model.accept_licence, settings.teach is not None, *fields]


def value_at(settings: Settings, path: str) -> Any:
    """`value_at(settings, "label.alpha")`; None in a section that is off."""
    found: Any = settings
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def read(*values: Any) -> Settings:
    """The settings that the values of the form's inputs stand for.

    Raises:
        SettingsError: naming the setting, its value and its limits.
    """
    preset, model, licence, teach, *fields = values
    changes = {s.path: _plain(s, v) for s, v in zip(advanced(), fields, strict=True) if teach or s.section != TEACH}
    return make_settings(
        str(preset), changes | {"model.name": str(model or "").strip(), "model.accept_licence": bool(licence)}
    )


def difference(settings: Settings, base: Settings) -> dict[str, Any]:
    """What `settings` changes from `base`, by dotted names; "teach" is None where only the base teaches."""
    changes: dict[str, Any] = {}
    for setting in all_settings():
        if setting.section == TEACH and settings.teach is None:
            continue
        if (value := value_at(settings, setting.path)) != value_at(base, setting.path):
            changes[setting.path] = value
    if settings.teach is None and base.teach is not None:
        changes[TEACH] = None
    return changes


def check_field(setting: Setting, value: Any) -> str:
    """Why a value is refused, in the engine's words; "" for one that is fine."""
    section = {TEACH: lesson()} if setting.section == TEACH else {}
    try:
        make_settings("standard", {**section, setting.path: _plain(setting, value)})
    except UnlearningError as error:
        return str(error)
    return ""


def _plain(setting: Setting, value: Any) -> Any:
    if value in ("", None):
        return None if setting.may_be_empty else value
    if setting.kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


# --- the command line ---


def command_line(settings: Settings, base: Settings, source: Sequence[str]) -> str:
    """The command that starts a run with these settings.

    Args:
        settings: Of the run.
        base: What the command takes by itself from this source and preset.
        source: Where text and dictionary come from, as arguments.
    """
    words = ["python", "-m", "unlearning", "unlearn", *source]
    if settings.preset != "standard":
        words += ["--preset", settings.preset]
    changes = difference(settings, base)
    if (settings.teach is None) != (base.teach is None):
        words.append("--no-teach" if settings.teach is None else "--teach")
        changes.pop(TEACH, None)
        if settings.teach is not None:  # what --teach alone would do needs no saying
            usual = make_settings(settings.preset, {TEACH: lesson()})
            changes = {p: v for p, v in changes.items() if not p.startswith(f"{TEACH}.") or v != value_at(usual, p)}
    for path, value in changes.items():
        words += _option(path, value)
    return " ".join(map(shlex.quote, words))


def _option(path: str, value: Any) -> list[str]:
    option = SHORT_NAMES.get(path) or "--" + path.replace(".", "-").replace("_", "-")
    if isinstance(value, bool):
        return [option if value else f"--no-{option[2:]}"]
    return [option, "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)]


def kept(settings: Settings) -> Mapping[str, Any]:
    """What a draft keeps of the form: {preset, changes}, the changes by dotted name."""
    base = make_settings(settings.preset)
    changes = difference(settings, base)
    teaching = {path: changes.pop(path) for path in list(changes) if path.startswith(f"{TEACH}.")}
    own = {TEACH: {path.partition(".")[2]: value for path, value in teaching.items()}} if settings.teach else {}
    return {"preset": settings.preset, "changes": changes | own}
