"""How the method works, on a run's own text: one block, its translation, and how the label of a place comes about."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from unlearning.errors import RunNotFoundError, UnlearningError
from unlearning.runs import store
from unlearning.text.translation import Mask
from unlearning.ui import nexts
from unlearning.ui.context import Context, Screen, Where, go
from unlearning.ui.follow import folder_of, is_mine
from unlearning.ui.inference import pieces
from unlearning.ui.jobs import Job, line_of
from unlearning.ui.notices import GONE
from unlearning.ui.pages import component, words

if TYPE_CHECKING:
    from unlearning.training.stages import Work

PLACES_BYTES = 256_000_000  # kept for everybody; logits of one place are up to 6 MB with a vocabulary of 262 k
SHOWN_LABELS = 5
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(context: Context) -> Screen:
    """Draw the screen."""
    words(_INTRODUCTION)
    nothing = words(_NOTHING, js=_GO, elem_id="inspector-empty")
    run = gr.Dropdown([], label="Run", elem_id="inspector-run", visible=False, allow_custom_value=True)
    kept = Kept()

    def look(question: dict[str, Any]) -> dict[str, Any]:
        return line_of(context.host).look(question)

    def alpha(question: dict[str, Any]) -> dict[str, Any]:
        return kept.table(str(question.get("key")), question.get("alpha"))

    panel = component("inspector", server_functions=[look, alpha], elem_id="inspector")

    def other_block(where: Where, event: gr.EventData) -> Where:
        return go(where, "inspector", block=str(int(getattr(event, "index", 0))))

    def place(where: Where, value: dict[str, Any], event: gr.EventData) -> dict[str, Any]:
        return ask_place(context, kept, where, value, getattr(event, "position", 0))

    panel.block(other_block, context.where, context.where, **QUIET)
    panel.place(place, [context.where, panel], panel, **QUIET)
    run.input(
        lambda where, chosen: go(where, "inspector", run=chosen, block=None), [context.where, run], context.where,
        **QUIET,
    )  # fmt: skip
    return Screen(partial(on_open, context), outputs=[nothing, run, panel])


def on_open(context: Context, where: Where) -> tuple[Any, Any, Any]:
    """Show the block of the address bar, of its run or the newest that has labels."""
    mine = [run for run in store.list_runs(context.workspace) if is_mine(run.folder, where.get("draft"))]
    choices = [(run.name, run.id) for run in mine if _has_labels(run.folder)]
    run_id = where.get("run") or (choices[0][1] if choices else "")
    if not run_id:
        return True, gr.update(visible=False), None
    try:
        folder = folder_of(context.workspace, run_id)
    except RunNotFoundError as error:
        return {"gone": str(error)}, gr.update(choices=choices, value=None, visible=bool(choices)), None
    if not _has_labels(folder):
        return True, gr.update(choices=choices, value=None, visible=bool(choices)), None
    if run_id not in [value for _, value in choices]:
        choices = [(store.load(folder).name, run_id), *choices]
    block = int(where["block"]) if where.get("block", "").isdecimal() else 0
    job = line_of(context.host).ask(partial(read_block, context.host, folder, block), ("block", folder.name, block))
    return None, gr.update(choices=choices, value=run_id, visible=True), {"job": job, "run": run_id, "block": block}


def _has_labels(folder: Path) -> bool:
    return (folder / "stages" / "label" / "stage.json").exists()


def ask_place(context: Context, kept: Kept, where: Where, value: dict[str, Any], position: Any) -> dict[str, Any]:
    """Ask every model about one place of the block that is shown."""
    try:
        folder = folder_of(context.workspace, value.get("run"))
    except UnlearningError as error:
        return {"error": error.message, "hint": error.hint}
    block, position = int(value.get("block", 0)), int(position)
    ask = partial(read_place, context.host, folder, kept, block, position)
    job = line_of(context.host).ask(ask)
    return {**value, "place": {"job": job, "position": position}}


# --- what the jobs do ---


def read_block(host: Any, folder: Path, index: int, job: Job) -> dict[str, Any]:
    """A block as its labels see it; no model is asked, but its tokenizer is needed.

    Returns:
        index, count; tokens (pieces of the text); masks, one each; piece, the replaced stretch that a token lies in
        (None for most); translation, [text, piece] in order; counts, how many places each mask has.
    """
    if not host.ready(folder.name):
        job.say(None, 0.0, "Loading the model …")
    with host.open(folder.name) as work:
        blocks = work.blocks[0]
        index = min(max(0, index), len(blocks) - 1)
        prepared = nexts.prepare_text(work, blocks[index].text, index)
    text, offsets = blocks[index].text, prepared.source.offsets
    translated = prepared.draws[0].translated
    front = sum(1 for start, end in offsets if start == end == 0)  # specials before the text
    masks = [int(mask) for mask in prepared.mask]
    masks[-1] = int(Mask.NO_BOUNDARY)  # nothing of the block follows its last token
    return {
        "index": index,
        "count": len(blocks),
        "front": front,
        "tokens": pieces(text, offsets[front:]),
        "masks": masks[front:],
        "piece": [_piece_at(translated.pieces, end) for _, end in offsets[front:]],
        "translation": _replaced(translated),
        "counts": [sum(mask == each for mask in masks[front:]) for each in range(len(Mask))],
    }


def _piece_at(pieces: Sequence[Any], end: int) -> int | None:
    """The number of the replaced stretch that the character before `end` lies in."""
    for number, piece in enumerate(pieces):
        if piece.anchor is not None and piece.start < end <= piece.end:
            return number
    return None


def _replaced(translated: Any) -> list[tuple[str, int | None]]:
    return [
        (translated.text[piece.new_start : piece.new_end], None if piece.anchor is None else number)
        for number, piece in enumerate(translated.pieces)
    ]


def read_place(host: Any, folder: Path, kept: Kept, block: int, token: int, job: Job) -> dict[str, Any]:
    """What every model expects after one token of a block, and the label that the run has there."""
    if not host.ready(folder.name):
        job.say(None, 0.0, "Loading the model …")
    with host.open(folder.name) as work:
        block = min(max(0, block), len(work.blocks[0]) - 1)
        text = work.blocks[0][block].text
        prepared = nexts.prepare_text(work, text, block)
        front = sum(1 for start, end in prepared.source.offsets if start == end == 0)
        ids = prepared.source.ids
        position = min(max(0, token + front), len(ids) - 1)
        place = nexts.look_at(work, prepared, position)
        following = ids[position + 1] if position + 1 < len(ids) else None
        always = [] if following is None else [following]
        found = Shown(place, work.settings.label, work.family.tokenizer, list(ids[: position + 1]), always)
        label = _label(work, block, position)
    key = kept.keep(found)
    end = prepared.source.offsets[position][1]
    table = found.table(work.settings.label.alpha)
    return {
        **table,
        "key": key,
        "before": text[max(0, end - 60) : end],
        "mask": nexts.MASKS[place.mask] if following is not None else "The block ends here.",
        "label": label,
        "used": work.settings.label.alpha,
        "centred": work.settings.label.logits == "centred",
        "draws": work.settings.label.draws,
    }


def _label(work: Work, block: int, position: int) -> list[tuple[str, float]] | None:
    """The label that the run has stored for a place: its likeliest tokens; None where it has none."""
    from unlearning.methods.examples import StoredExamples
    from unlearning.models.encoding import token_text

    example = StoredExamples(work.stage_folder("label") / "labels")[block]
    rows = (example.positions == position).nonzero()[0]
    if not len(rows):
        return None
    tokens, probs = example.target_ids[rows[0]], example.target_probs[rows[0]]
    before = list(example.ids[: position + 1])
    best = sorted(zip(probs.tolist(), tokens.tolist(), strict=True), reverse=True)[:SHOWN_LABELS]
    return [(token_text(work.family.tokenizer, token, before), float(f"{p:.3g}")) for p, token in best if p > 0]


# --- the slider ---


class Shown:
    """A place that somebody looks at: its logits, so that α can be moved without asking a model."""

    def __init__(self, place: nexts.Place, settings: Any, tokenizer: Any, context: list[int], always: list[int]):
        self._place, self._settings, self._tokenizer = place, settings, tokenizer
        self._context, self._always = context, always

    @property
    def bytes(self) -> int:
        """Memory that its logits take."""
        place = self._place
        logits = [place.baseline, *place.translated, place.reinforced, place.unlearned]
        return sum(one.nbytes for one in logits if one is not None)

    def table(self, alpha: float) -> dict[str, Any]:
        """Rows and roles for this α; the columns are the baseline on text and translation, reinforced, generic."""
        found = nexts.distributions(self._place, self._settings, alpha)
        found.pop("unlearned", None)
        ordered = {"baseline": found.pop("baseline")}
        if self._place.mapped:
            ordered["translated"] = self._place.translated[0].softmax(-1)
        table = nexts.table(ordered | found, self._tokenizer, self._context, always=self._always)
        named = {row["id"]: row["token"] for row in table["rows"]}
        return table | {"alpha": alpha, "actual": named[self._always[0]] if self._always else None}


class Kept:
    """The places looked at last, by a key that cannot be guessed."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, Shown] = OrderedDict()
        self._guard = threading.Lock()

    def keep(self, shown: Shown) -> str:
        """Keep a place; gives its key."""
        key = secrets.token_urlsafe(8)
        with self._guard:
            self._places[key] = shown
            while len(self._places) > 1 and sum(place.bytes for place in self._places.values()) > PLACES_BYTES:
                self._places.popitem(last=False)
        return key

    def table(self, key: str, alpha: Any) -> dict[str, Any]:
        """The table of a kept place at this α, or {"error": …}; "gone" says that the place has to be asked anew."""
        with self._guard:
            shown = self._places.get(key)
            if shown is not None:
                self._places.move_to_end(key)
        if shown is None:
            return {"error": "This place is no longer kept.", "gone": True}
        if not isinstance(alpha, int | float) or not 0 <= alpha <= 100:
            return {"error": "α lies between 0 and 100."}
        return shown.table(float(alpha))


_INTRODUCTION = (
    "<h1 class='step-title'>How a label is made</h1>"
    "<p class='lead'>For each place in the text the method asks: what would somebody say here who never read it? "
    "Choose a word of the text below and see the answer being made.</p>"
)
_NOTHING = (
    f"{{{{#if value.gone}}}}{GONE}{{{{else}}}}"
    "{{#if value}}<div class='empty'><h3>No labels yet</h3>"
    "<p>They are made in the third part of a run. Start one, or wait until it has come so far.</p>"
    "<p><a class='button primary' href='?step=unlearn' data-go='unlearn'>To the run</a></p></div>{{/if}}{{/if}}"
)
_GO = """
element.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-go]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  window.forgetting.visit({ step: link.dataset.go, ...(link.dataset.go === "runs" ? { run: "" } : {}) });
});
"""
