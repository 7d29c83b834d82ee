"""Step 3: choose how, start, and watch the model forget."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from unlearning.config import Settings, make_settings
from unlearning.errors import UnlearningError
from unlearning.models.catalogue import CATALOGUE
from unlearning.scenarios import settings_for
from unlearning.ui import follow as following
from unlearning.ui import form as forms
from unlearning.ui.context import Context, Screen, Where, go
from unlearning.ui.drafts import Draft
from unlearning.ui.expected import expected_of, expected_panel
from unlearning.ui.launch import check_model, first_watched, read_watched, start_run, watching, write_lines
from unlearning.ui.notices import field_note
from unlearning.ui.pages import component, words
from unlearning.ui.words import explain

PRESET = "standard"
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(context: Context) -> Screen:
    """Draw the screen: the run that is being looked at, and below it the form that starts one."""
    title = words(_TITLE, elem_id="unlearn-title")
    live = _live_panel(context)
    with gr.Accordion("Start a run", open=True, elem_id="setup") as setup:
        about = words(_ABOUT, elem_id="setup-about")
        preset, model, licence, teach = forms.draw_main(_models(), PRESET)
        watched, controls = _watch_fields()
        with gr.Accordion("Advanced: every setting", open=False, elem_id="advanced"):
            fields = forms.draw_advanced(PRESET)
        form = forms.Form(preset, model, licence, teach, fields)
        with gr.Row(equal_height=False, elem_id="start-row"):
            start = gr.Button("Start unlearning", variant="primary", elem_id="start", scale=0, min_width=200)
            expected = expected_panel("expected")
        refused = field_note("start-note")
        with gr.Accordion("The same on the command line", open=False, elem_id="command-line"):
            command = gr.Code("", language="shell", interactive=False, label="Command", elem_id="command", lines=1)
    _bind(context, form, [watched, controls], start, refused, [expected, command])
    forms.bind_checks(form)
    outputs = [title, live, setup, about, watched, controls, *form.inputs, refused, expected, command]
    return Screen(partial(on_open, context), outputs=outputs)


def _live_panel(context: Context) -> gr.HTML:
    """The panel that follows a run. Its value: {"run": …, "draft": …} or None."""

    def follow(question: Any) -> dict[str, Any]:
        return following.follow(context.workspace, question)

    def act(question: Any) -> dict[str, Any]:
        return following.act(context.workspace, question)

    def log(question: Any) -> str:
        return following.log(context.workspace, question)

    return component("live", server_functions=[follow, act, log], elem_id="live")


def _models() -> list[tuple[str, str]]:
    return [(f"{e.title} ({e.parameters / 1e6:.0f} M parameters, {e.licence})", e.name) for e in CATALOGUE.values()]


def _watch_fields() -> tuple[gr.Textbox, gr.Textbox]:
    with gr.Row():
        watched = gr.Textbox(
            label="Prompts to watch", lines=4, max_lines=12, elem_id="watched", scale=3, min_width=280,
            info="One a line: a beginning, an arrow (→ or ->), and the word that only the text tells.",
        )  # fmt: skip
        controls = gr.Textbox(
            label="Controls", lines=4, max_lines=12, elem_id="controls", scale=2, min_width=280,
            info=explain("control"),
        )  # fmt: skip
    return watched, controls


def _bind(
    context: Context, form: forms.Form, watch: list[Any], start: gr.Button, refused: gr.HTML, shown: list[Any]
) -> None:
    asked = [context.where, *watch, *form.inputs]
    summary = partial(filled_in, context)
    chosen = form.preset.input(
        partial(preset_chosen, context), [context.where, form.preset, form.model, form.teach], form.fields, **QUIET
    )
    chosen.then(summary, asked, shown, **QUIET)
    form.model.change(licence_asked, form.model, form.licence, **QUIET)
    typed = [one.input for one in form.inputs if one is not form.preset]  # not `change`: arriving fills the form too
    typed += [one.blur for one in watch]
    gr.on(typed, summary, asked, shown, trigger_mode="always_last", **QUIET)
    start.click(
        partial(launch, context), asked, [context.where, refused],
        show_progress="minimal", show_progress_on=[start], api_visibility="private",
    )  # fmt: skip


def on_open(context: Context, where: Where) -> tuple[Any, ...]:
    """What the screen shows to somebody who arrives."""
    draft = context.drafts.open(where["draft"])
    settings, watched, controls = _remembered(draft)
    run = where.get("run")
    live = {"run": run, "draft": draft.id} if run else None
    values = forms.values_of(settings)
    setup = gr.update(open=not run, label="Start another run" if run else "Start a run")
    shown = summarise(context, where, *values)
    return bool(run), live, setup, _about(draft), watched, controls, *values, "", *shown


def _remembered(draft: Draft) -> tuple[Settings, str, str]:
    """What the form was set to last, or what suits the draft's scenario; and the prompts to watch."""
    kept, typed = draft.settings, _typed(draft)
    own, flat = _lines_of_last_run(draft)
    own, flat = typed.get("watched", own), typed.get("controls", flat)
    try:
        return _kept_settings(draft, typed if "preset" in typed else kept), own, flat
    except UnlearningError:  # kept by another version
        return usual_settings(draft, PRESET), own, flat


def _typed(draft: Draft) -> dict[str, Any]:
    """What was filled in for this text since the last run, as `filled_in` keeps it."""
    typed = draft.settings.get("typed") or {}
    return typed if _text_of(draft).items() <= typed.items() else {}


def _lines_of_last_run(draft: Draft) -> tuple[str, str]:
    kept = draft.settings
    own, flat = map(write_lines, first_watched(draft.probes))
    if _text_of(draft).items() <= kept.items():  # prompts about another text would measure nothing
        return kept.get("watched") or own, kept.get("controls") or flat
    return own, flat


def _text_of(draft: Draft) -> dict[str, str]:
    return {"scenario": draft.about.scenario, "text": draft.about.title}


def _kept_settings(draft: Draft, kept: dict[str, Any]) -> Settings:
    changes = kept.get("changes") or {}
    teach = True if "teach" in changes else False if "preset" in kept else None
    preset = str(kept.get("preset") or PRESET)
    if "preset" in kept:  # the form's own: everything is in it
        return make_settings(preset, changes)
    return settings_for(draft.scenario, preset, changes, teach, own_text=draft.own_text)


def usual_settings(draft: Draft, preset: str, teach: bool | None = None) -> Settings:
    """The settings of a preset for the draft's text, before anybody has changed one."""
    return settings_for(draft.scenario, preset, {}, teach, own_text=draft.own_text)


def preset_chosen(context: Context, where: Where, preset: str, model: str, teach: bool) -> list[Any]:
    """Set every advanced field to the preset's values."""
    draft = context.drafts.open(where["draft"])
    return forms.values_of(usual_settings(draft, preset, teach))[4:]


def licence_asked(model: str) -> Any:
    """Ask for the licence of a catalogue model that wants it accepted."""
    entry = CATALOGUE.get(model)
    if entry is None or not entry.licence_must_be_accepted:
        return gr.update(visible=False, value=False)
    return gr.update(visible=True, label=f"I accept the licence of this model: {entry.licence}", info=entry.licence_url)


def filled_in(context: Context, where: Where, watched: str, controls: str, *values: Any) -> tuple[Any, Any]:
    """Keep what the form is filled in with, until a run is started with it; and `summarise` it."""
    draft = context.drafts.open(where["draft"])
    lines = zip(("watched", "controls"), (watched, controls), _lines_of_last_run(draft), strict=True)
    typed = _text_of(draft) | {name: line for name, line, usual in lines if line != usual}
    try:
        settings = forms.read(*values)
        check_model(settings.model.name)
        typed |= forms.kept(settings)
    except UnlearningError:  # said below; what was right before is kept
        typed |= {name: value for name, value in _typed(draft).items() if name in ("preset", "changes")}
    draft.save_settings({**draft.settings, "typed": typed})
    return summarise(context, where, *values)


def summarise(context: Context, where: Where, *values: Any) -> tuple[Any, Any]:
    """What the run will take, and the command line that does the same."""
    draft = context.drafts.open(where["draft"])
    try:
        settings = forms.read(*values)
        check_model(settings.model.name)
        command = forms.command_line(settings, usual_settings(draft, settings.preset), _source(draft))
        lines = "\n".join(_remembered(draft)[1:]).splitlines()
        watched = watching(settings, sum(bool(line.strip()) for line in lines))
        return expected_of(context.workspace, draft, settings.model_copy(update={"evaluation": watched})), command
    except UnlearningError as error:
        return {"error": str(error)}, gr.skip()


def _source(draft: Draft) -> list[str]:
    about = draft.about
    anchors = ["--anchors", "anchors.csv"] if draft.history.last or not about.scenario else []
    scenario = ["--scenario", about.scenario] if about.scenario else []
    return [*((list(about.sources) or ["text.txt"]) if draft.own_text else []), *scenario, *anchors]


def _about(draft: Draft) -> dict[str, Any]:
    enabled = len(draft.dictionary.enabled())
    words = len(draft.text.split())
    return {"title": draft.about.title or "no text yet", "words": f"{words:,}", "anchors": str(enabled)}


def launch(context: Context, where: Where, watched: str, controls: str, *values: Any) -> tuple[Any, Any]:
    """Start the run and go to it; or say beside the button why not."""
    draft = context.drafts.open(where["draft"])
    try:
        settings = forms.read(*values)
        run = start_run(context.workspace, draft, settings, read_watched(watched, controls))
    except UnlearningError as error:
        return gr.skip(), str(error)
    chosen = {"watched": watched, "controls": controls, "typed": {}} | _text_of(draft)
    draft.save_settings({**draft.settings, **forms.kept(settings), **chosen})
    return go(where, "unlearn", run=run), ""


_TITLE = "<h1 class='step-title'>{{#if value}}Watch it forget{{else}}Make it forget{{/if}}</h1>"
_ABOUT = (
    "{{#if value}}<p class='lead'>The text: <strong>{{value.title}}</strong>, {{value.words}} words, "
    "{{value.anchors}} anchors.</p>{{/if}}"
)
