"""Step 3: choose how, start, and watch the model forget."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from unlearning.config import Settings, make_settings
from unlearning.errors import UnlearningError
from unlearning.models.catalogue import CATALOGUE
from unlearning.ui import follow as following
from unlearning.ui import form as forms
from unlearning.ui.context import Context, Screen, Where, go
from unlearning.ui.drafts import Draft
from unlearning.ui.launch import first_watched, read_lines, start_run, write_lines
from unlearning.ui.notices import field_note, note
from unlearning.ui.pages import script
from unlearning.ui.words import explain

PRESET = "standard"


def build(context: Context) -> Screen:
    """Draw the screen: the run that is being looked at, and below it the form that starts one."""
    gr.Markdown("## Make it forget", elem_classes="screen-title")
    live = _live_panel(context)
    with gr.Accordion("Start a run", open=True, elem_id="setup") as setup:
        about = gr.HTML(None, html_template=_ABOUT, js_on_load=None, elem_id="setup-about")
        preset, model, licence, teach = forms.draw_main(_models(), PRESET)
        watched, controls = _watch_fields()
        with gr.Accordion("Advanced: every setting", open=False, elem_id="advanced"):
            fields = forms.draw_advanced(PRESET)
        form = forms.Form(preset, model, licence, teach, fields)
        with gr.Row(equal_height=False):
            start = gr.Button("Start unlearning", variant="primary", elem_id="start", scale=0, min_width=200)
            expected = gr.HTML(None, html_template=_EXPECTED, js_on_load=None, elem_id="expected")
        refused = field_note("start-note")
        with gr.Accordion("The same on the command line", open=False):
            command = gr.Code("", language="shell", interactive=False, label="Command", elem_id="command", lines=1)
    _bind(context, form, [watched, controls], start, refused, [expected, command])
    forms.bind_checks(form)
    outputs = [live, setup, about, watched, controls, *form.inputs, refused, expected, command]
    return Screen(partial(on_open, context), outputs=outputs)


def _live_panel(context: Context) -> gr.HTML:
    """The panel that follows a run. Its value: {"run": …, "draft": …} or None."""

    def follow(question: Any) -> dict[str, Any]:
        return following.follow(context.workspace, question)

    def act(question: Any) -> dict[str, Any]:
        return following.act(context.workspace, question)

    def log(question: Any) -> str:
        return following.log(context.workspace, question)

    return gr.HTML(
        None, html_template="", js_on_load=script("live"), server_functions=[follow, act, log], elem_id="live"
    )


def _models() -> list[tuple[str, str]]:
    return [(f"{e.title} ({e.parameters / 1e6:.0f} M parameters, {e.licence})", e.name) for e in CATALOGUE.values()]


def _watch_fields() -> tuple[gr.Textbox, gr.Textbox]:
    with gr.Row():
        watched = gr.Textbox(
            label="Prompts to watch", lines=4, max_lines=12, elem_id="watched", scale=3,
            info="One a line: a beginning, an arrow (→ or ->), and the word that only the text tells.",
        )  # fmt: skip
        controls = gr.Textbox(
            label="Controls", lines=4, max_lines=12, elem_id="controls", scale=2, info=explain("control")
        )
    return watched, controls


def _bind(
    context: Context, form: forms.Form, watch: list[Any], start: gr.Button, refused: gr.HTML, shown: list[Any]
) -> None:
    form.preset.input(preset_chosen, form.preset, form.fields, show_progress="hidden", api_visibility="private")
    form.model.change(licence_asked, form.model, form.licence, show_progress="hidden", api_visibility="private")
    changed = [component.change for component in form.inputs]
    gr.on(
        changed, partial(summarise, context), [context.where, *form.inputs], shown,
        trigger_mode="always_last", show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    start.click(
        partial(launch, context), [context.where, *watch, *form.inputs], [context.where, refused],
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
    return live, setup, _about(draft), watched, controls, *values, "", *shown


def _remembered(draft: Draft) -> tuple[Settings, str, str]:
    """What the form was set to last, or what suits the draft's scenario."""
    kept = draft.settings
    own, flat = first_watched(draft.probes)
    if not kept:
        return _first_settings(draft), write_lines(own), write_lines(flat)
    try:
        settings = make_settings(kept.get("preset", PRESET), kept.get("changes") or {})
    except UnlearningError:  # kept by another version
        settings = _first_settings(draft)
    if kept.get("scenario") != draft.about.scenario:  # other prompts belong to another text
        return settings, write_lines(own), write_lines(flat)
    return settings, kept.get("watched") or write_lines(own), kept.get("controls") or write_lines(flat)


def _first_settings(draft: Draft) -> Settings:
    scenario = draft.scenario
    changes: dict[str, Any] = {}
    if scenario is not None:
        changes["model.name"] = str(getattr(scenario, "model", "") or next(iter(CATALOGUE)))
        if getattr(scenario, "teach_first", False) and scenario.taught is None:
            changes["teach"] = {}
    return make_settings(PRESET, changes)


def preset_chosen(preset: str) -> list[Any]:
    """Set every advanced field to the preset's values."""
    return forms.preset_values(preset)


def licence_asked(model: str) -> Any:
    """Ask for the licence of a catalogue model that wants it accepted."""
    entry = CATALOGUE.get(model)
    if entry is None or not entry.licence_must_be_accepted:
        return gr.update(visible=False, value=False)
    return gr.update(visible=True, label=f"I accept the licence of this model: {entry.licence}", info=entry.licence_url)


def summarise(context: Context, where: Where, *values: Any) -> tuple[Any, Any]:
    """What the run will take, and the command line that does the same."""
    draft = context.drafts.open(where["draft"])
    try:
        settings = forms.read(*values)
    except UnlearningError as error:
        return note("error", str(error)), gr.skip()
    line = forms.command_line(forms.changes_of(*values), str(values[0]), _source(draft))
    return {"kind": "hint", "lines": expected_lines(draft, settings)}, line


def expected_lines(draft: Draft, settings: Settings) -> list[str]:
    """How long a run will take and how much memory, as far as this machine is known."""
    return []


def _source(draft: Draft) -> list[str]:
    about = draft.about
    own = (draft.folder / "text.txt").exists()
    if not own and not draft.history.last and about.scenario:
        return ["--scenario", about.scenario]
    source = list(about.sources) or ["text.txt"]
    return [*source, "--anchors", "anchors.csv"]


def _about(draft: Draft) -> dict[str, Any]:
    enabled = len(draft.dictionary.enabled())
    words = len(draft.text.split())
    return {"title": draft.about.title or "no text yet", "words": f"{words:,}", "anchors": str(enabled)}


def launch(context: Context, where: Where, watched: str, controls: str, *values: Any) -> tuple[Any, Any]:
    """Start the run and go to it; or say beside the button why not."""
    draft = context.drafts.open(where["draft"])
    try:
        settings = forms.read(*values)
        probes = [*read_lines(watched, "probe"), *read_lines(controls, "control")]
        run = start_run(context.workspace, draft, settings, probes)
    except UnlearningError as error:
        return gr.skip(), str(error)
    draft.save_settings({
        "preset": str(values[0]), "changes": forms.changes_of(*values), "watched": watched, "controls": controls,
        "scenario": draft.about.scenario,
    })  # fmt: skip
    return go(where, "unlearn", run=run), ""


_ABOUT = (
    "{{#if value}}<p class='lead'>The model will be made to forget <strong>{{value.title}}</strong>: "
    "{{value.words}} words, {{value.anchors}} anchors.</p>{{/if}}"
)
_EXPECTED = (
    "{{#if value}}{{#if value.text}}<p class='note {{value.kind}}' role='alert'>{{value.text}}</p>{{/if}}"
    "{{#if value.lines}}<ul class='expected'>{{#each value.lines}}<li>{{this}}</li>{{/each}}</ul>{{/if}}{{/if}}"
)
