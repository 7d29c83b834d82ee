"""All runs of a person: their state and figures, several side by side, and what can be done with one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gradio as gr

from unlearning.errors import UnlearningError
from unlearning.runs.archive import import_run
from unlearning.runs.record import read_config, read_settings
from unlearning.ui import shelf
from unlearning.ui.context import Context, Screen, Where
from unlearning.ui.follow import take_over
from unlearning.ui.jobs import Jobs
from unlearning.ui.launch import check_model
from unlearning.ui.notices import field_note, note
from unlearning.ui.pages import component, words

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
LARGEST_ZIP = 1 << 30  # bytes; a run of the default model with all its adapters has some 70 MB
LARGEST_UNPACKED = 4 << 30
_packing = Jobs()  # files to download are made one after another, beside the questions to models


def build(context: Context) -> Screen:
    """Draw the screen."""
    words(_TITLE)
    listed = component("runs", server_functions=_functions(context), elem_id="runs")
    ready = gr.File(visible=False, label="Ready to download", interactive=False, elem_id="ready-file")
    with gr.Accordion("Import a run", open=False, elem_id="import"):
        words(
            f"<p class='hint'>A zip that this page or the command line has exported, {LARGEST_ZIP >> 30} GB at most. "
            "The command line (runs import) takes larger ones.</p>"
        )
        zipped = gr.File(label="Zip of a run", file_types=[".zip"], height=110, elem_id="import-file")
        said = field_note("import-note")

    def hand_out(event: gr.EventData) -> Any:
        return hand_over(getattr(event, "job", None))

    listed.ready(hand_out, None, ready, **QUIET)

    def take_in(where: Where, path: str | None) -> tuple[Any, Any, Any]:
        return bring_in(context, where, path)

    zipped.upload(take_in, [context.where, zipped], [zipped, said, listed], api_visibility="private")

    def on_open(where: Where) -> tuple[Any, Any]:
        return {"draft": where.get("draft", "")}, gr.update(value=None, visible=False)

    return Screen(on_open, outputs=[listed, ready])


def _functions(context: Context) -> list[Any]:
    """What the list asks for, each with one argument from the page."""

    def rows(question: Any) -> dict[str, Any]:
        return shelf.rows(context.workspace, _dict(question).get("draft"))

    def act(question: Any) -> dict[str, Any]:
        return shelf.act(context.workspace, context.drafts, _dict(question))

    def beside(question: Any) -> dict[str, Any]:
        return shelf.beside(context.workspace, _dict(question).get("runs"))

    def pack(question: Any) -> dict[str, Any]:
        return shelf.pack(context.workspace, _packing, _dict(question))

    def look(question: Any) -> dict[str, Any]:
        answer = _packing.look(question)
        return {**answer, "value": bool(answer["value"])}  # where the file lies is not the page's business

    return [rows, act, beside, pack, look]


def hand_over(job: Any) -> Any:
    """The file that a job has made, to download."""
    path = _packing.look({"job": job}).get("value")
    if not isinstance(path, str) or not Path(path).is_file():
        return gr.skip()
    return gr.update(value=path, visible=True)


def bring_in(context: Context, where: Where, path: str | None) -> tuple[Any, Any, Any]:
    """Unpack an uploaded run."""
    if not path:
        return gr.skip(), gr.skip(), gr.skip()
    try:
        run = import_run(context.workspace, Path(path), max_bytes=LARGEST_UNPACKED)
        _check_models(run.folder)
        take_over(run.folder, where.get("draft"))
    except UnlearningError as error:
        return None, str(error), gr.skip()
    finally:
        Path(path).unlink(missing_ok=True)
    return None, note("good", f"Imported: {run.name}."), {"draft": where.get("draft", ""), "new": run.id}


def _check_models(folder: Path) -> None:
    """Let a run that came from elsewhere name no folder of this machine as a model: it goes again where it does."""
    try:
        for name in (read_settings(folder).model.name, read_config(folder).get("other")):
            if name:
                check_model(str(name))
    except UnlearningError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _dict(question: Any) -> dict[str, Any]:
    return question if isinstance(question, dict) else {}


_TITLE = (
    "<h1 class='step-title'>Runs</h1><p class='lead'>Every run is kept until you delete it, "
    "with its text, its settings and its models.</p>"
)
