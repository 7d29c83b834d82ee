"""Step 1: the text to forget. An example, files, or pasted; how long it is, and how well the model knows it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from unlearning.config import Settings
from unlearning.errors import DocumentError, UnlearningError
from unlearning.models.catalogue import CATALOGUE
from unlearning.scenarios import SCENARIOS, lesson, load_scenario, settings_for
from unlearning.text.documents import MAX_BYTES, SUFFIXES, Document, read_documents, read_text
from unlearning.ui import knowing
from unlearning.ui.context import Context, Screen, Where
from unlearning.ui.counting import measure_length
from unlearning.ui.drafts import Draft
from unlearning.ui.expected import expected_of, expected_panel
from unlearning.ui.jobs import Jobs, line_of
from unlearning.ui.notices import field_note, note
from unlearning.ui.pages import component, words
from unlearning.ui.strip import strip_value, token_strip

SHOWN = 12_000  # characters of the text on the page
STRIP = 6_000  # characters that the token strip reads
WORD_BY_WORD: dict[str, Any] = {
    "measure": "p",
    "heading": "Word by word: how well did it see each one coming?",
    "changes": "What the lesson changed most",
    "pins": False,
}
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_fetching = Jobs()  # models are fetched one after another, beside the questions to models
WORKING: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}


def build(context: Context) -> Screen:
    """Draw the screen."""
    words(_TITLE)
    with gr.Row(equal_height=False, elem_id="sources"):
        with gr.Column(min_width=300):
            examples = component("scenarios", None, elem_id="scenarios")
        with gr.Column(min_width=300):
            words(_OWN)
            files = component("dropzone", {"suffixes": list(SUFFIXES), "most": MAX_BYTES}, elem_id="dropzone")
            pasted = gr.Textbox(label="Or paste text", lines=4, max_lines=8, elem_id="pasted", max_length=MAX_BYTES)
            take = gr.Button("Use the pasted text", elem_id="take-pasted", size="md")
            said = field_note("text-note")
    card = component("textcard", None, elem_id="textcard")
    expected = expected_panel("text-expected")
    known = _knowing(context)
    with gr.Column(elem_id="familiar"):
        strip = token_strip(context.host, elem_id="text-strip")
    shown = [examples, card, expected, known, strip, said]
    take.click(partial(paste, context), [context.where, pasted], [pasted, *shown], **WORKING)

    # Gradio recognises gr.EventData in functions, not in partial ones.
    def chosen(where: Where, event: gr.EventData) -> tuple[Any, ...]:
        return choose(context, where, str(event.name))

    def taught(where: Where, event: gr.EventData) -> Any:
        return teach(context, where, bool(event.on))

    def dropped(where: Where, event: gr.EventData) -> tuple[Any, ...]:
        return upload(context, where, event.paths)

    files.dropped(dropped, context.where, shown, **WORKING)
    examples.choose(chosen, context.where, shown, **QUIET)
    known.measure(partial(measure, context), context.where, [known, strip], **QUIET)
    known.teach(taught, context.where, known, **QUIET)
    return Screen(partial(on_open, context), outputs=shown)


def _knowing(context: Context) -> gr.HTML:
    def look(question: dict[str, Any]) -> dict[str, Any]:
        return look_at(context, question)

    return component("knowing", None, elem_id="knowing", server_functions=[look])


def look_at(context: Context, question: dict[str, Any]) -> dict[str, Any]:
    """The state of a question to the model, or, with `fetches`, of its download."""
    return (_fetching if question.get("fetches") else line_of(context.host)).look(question)


def on_open(context: Context, where: Where, said: Any = "") -> tuple[Any, ...]:
    """Examples, the text, how well it is known, its tokens; and what is said beside the fields."""
    draft = context.drafts.open(where["draft"])
    ask = bool(draft.text) and knowing.is_here(knowing.model_of(draft))
    expected = expected_of(context.workspace, draft, _settings(draft))
    return (_examples(draft), _card(draft), expected, *(_measured(context, draft) if ask else _unmeasured(draft)), said)


def upload(context: Context, where: Where, paths: Any) -> tuple[Any, ...]:
    """Make uploaded files the text, in the order given; nothing of them stays but the text."""
    files: list[Path] = []
    try:
        files = [_uploaded(path) for path in paths] if isinstance(paths, list) else []
        document = read_documents(files)
    except UnlearningError as error:
        return _unchanged(str(error))
    finally:
        for file in files:
            file.unlink(missing_ok=True)
    return _take(context, where, document)


def _uploaded(path: Any) -> Path:
    """The uploaded file at `path`, which the browser names: nothing outside the upload folder is ever opened.

    Raises:
        DocumentError: it is no uploaded file.
    """
    folder = Path(get_upload_folder()).resolve()
    file = Path(str(path)).resolve()
    if folder not in file.parents or not file.is_file():
        raise DocumentError("That file was not uploaded to this page.", "Choose it again.")
    return file


def paste(context: Context, where: Where, pasted: str) -> tuple[Any, ...]:
    """Make pasted words the text."""
    try:
        return ("", *_take(context, where, read_text(pasted or "")))
    except UnlearningError as error:
        return (gr.skip(), *_unchanged(str(error)))


def choose(context: Context, where: Where, name: str) -> tuple[Any, ...]:
    """Start over with an example."""
    try:
        context.drafts.open(where["draft"]).take_scenario(name)
    except UnlearningError as error:
        return _unchanged(str(error))
    return on_open(context, where)


def measure(context: Context, where: Where) -> tuple[Any, Any]:
    """Ask the model; where it is not here, fetch it: the page then asks again."""
    draft = context.drafts.open(where["draft"])
    model = knowing.model_of(draft)
    if knowing.is_here(model):
        return _measured(context, draft)
    return {"job": _fetching.ask(partial(knowing.fetch, model)), "fetches": True}, None


def teach(context: Context, where: Where, first: bool) -> Any:
    """Remember for the Unlearn form whether the model is to be taught the text first."""
    draft = context.drafts.open(where["draft"])
    scenario, kept = draft.scenario, draft.settings
    wish = {"teach": scenario.changes(teach=True)["teach"] if scenario else lesson()} if first else {}

    def with_wish(changes: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in changes.items() if name != "teach"} | wish

    typed = kept.get("typed") or {}  # as the form stands, where somebody has begun to fill it in
    typed |= {"changes": with_wish(typed["changes"])} if "changes" in typed else {}
    draft.save_settings({**kept, "changes": with_wish(kept.get("changes") or {}), "typed": typed})
    return gr.skip()


def _take(context: Context, where: Where, document: Document) -> tuple[Any, ...]:
    draft = context.drafts.open(where["draft"])
    draft.take_document(document)
    return on_open(context, where, note("good", f"The text is now “{document.title}”: {document.words:,} words."))


def _unchanged(said: str) -> tuple[Any, ...]:
    return (*(gr.skip() for _ in range(5)), said)


def _settings(draft: Draft) -> Settings:
    """What a run of the draft would be set to now."""
    kept = draft.settings
    try:
        changes = kept.get("changes") or {}
        return settings_for(draft.scenario, str(kept.get("preset", "standard")), changes, own_text=draft.own_text)
    except UnlearningError:  # kept by another version
        return settings_for(draft.scenario, own_text=draft.own_text)


def _examples(draft: Draft) -> list[dict[str, Any]]:
    own = "" if draft.own_text else draft.about.scenario
    return [
        {"name": name, "title": s.title, "description": s.description, "chosen": name == own, "empty": s.text is None}
        for name, s in ((name, load_scenario(name)) for name in SCENARIOS)
    ]


def _card(draft: Draft) -> dict[str, Any]:
    text, about = draft.text, draft.about
    if not text:
        return {"title": about.title, "missing": load_scenario(about.scenario).text_licence if about.scenario else ""}
    model = knowing.model_of(draft)
    length = measure_length(text, model)
    return {
        "title": about.title,
        "sources": list(about.sources) if draft.own_text else [],
        "notes": list(about.notes),
        "words": len(text.split()),
        "tokens": length.tokens,
        "counted": length.counted,
        "blocks": length.blocks,
        "model": CATALOGUE[model].title if model in CATALOGUE else model,
        "text": text[:SHOWN],
        "more": max(0, len(text) - SHOWN),
    }


def _measured(context: Context, draft: Draft) -> tuple[Any, Any]:
    model, taught = knowing.model_of(draft), knowing.taught_of(draft)
    key = ("knowing", model, str(taught), hash(draft.text), hash(tuple(draft.probes)))
    job = line_of(context.host).ask(knowing.question(context.host, draft), key)
    wish = "teach" in (draft.settings.get("changes") or {})
    known = {"job": job, "teach": wish, "taught": taught is not None, "model": model}
    read = _reader(context, model, taught, draft.text)
    return known, strip_value(context.host, read, ("strip", *key[1:4]), role="baseline", **WORD_BY_WORD)


def _reader(context: Context, model: str, taught: Path | None, text: str) -> Any:
    def read(job: Any) -> dict[str, Any]:
        from unlearning.ui.inference import measure_text

        with context.host.plain(model, taught) as family:
            roles = ("never_taught", "baseline") if taught else ("baseline",)
            models = {role: partial(family.role, role) for role in roles}
            return measure_text(
                models, family.tokenizer, text[:STRIP], tell=lambda share: job.say(share=share), family=family
            )

    return read


def _unmeasured(draft: Draft) -> tuple[Any, Any]:
    if not draft.text:
        return None, None
    model = knowing.model_of(draft)
    entry = CATALOGUE.get(model)
    size = entry.download_mb if entry else None
    return {"ask": True, "model": entry.title if entry else model, "megabytes": size}, None


_OWN = f"""
<h3>… or bring your own</h3>
<p class="hint">One file or several, {MAX_BYTES // 1_000_000} MB together.</p>
"""
_TITLE = """
<h1 class="step-title">Which text shall the model forget?</h1>
<p class="lead">A story, a chapter, a biography: anything with names and expressions of its own. It stays on the
computer that runs this page.</p>
"""
