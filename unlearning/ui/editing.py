"""What the dictionary table asks for: one question in, the whole state of the table out. No component in here.

A question is {"draft", "action", "version", …}; the actions are those of `_ACTIONS`. `version` is the state of the
dictionary that the table shows, so that a second tab never overwrites what it has not seen.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from unlearning.errors import AnchorError, UnlearningError
from unlearning.text.anchor_checks import check_dictionary, clean_up, count_occurrences
from unlearning.text.anchors import KINDS, Anchor, Dictionary, format_dictionary, parse_dictionary
from unlearning.text.occurrences import find_occurrences
from unlearning.text.translation import draw_translations, translate
from unlearning.ui import llm
from unlearning.ui.drafts import Draft, DraftStore

PAGE = 2400  # characters of the preview, about
MOST_ROWS = 5000
LONGEST = 400  # characters of one cell

Question = dict[str, Any]


def act(drafts: DraftStore, question: Question) -> dict[str, Any]:
    """Do what the table asks for.

    Returns:
        The state (see `state_of`), with `said` (a sentence) where there is something to say and `refused` where it
        could not be done. For "export": {"file": its name, "content": its text}; for "ask": {"job": to look at}.
    """
    try:
        draft = drafts.open(question.get("draft", ""))
        with draft.lock:
            if question.get("action") == "export":
                return _export(draft, str(question.get("format")))
            if question.get("action") == "ask":
                return {"job": llm.ask(draft)}
            said = _do(draft, question)
            return state_of(draft, int(question.get("page", 0)), int(question.get("seed", 0))) | {"said": said}
    except UnlearningError as error:
        return _refused(drafts, question, str(error))


def _refused(drafts: DraftStore, question: Question, sentence: str) -> dict[str, Any]:
    try:
        state = state_of(drafts.open(question.get("draft", "")), int(question.get("page", 0)))
    except UnlearningError:
        state = {}
    return state | {"refused": sentence}


def _do(draft: Draft, question: Question) -> str:
    action = question.get("action", "look")
    if action == "look":
        return ""
    if action not in _ACTIONS:
        raise AnchorError(f"The table cannot do '{action}'.", "Load the page again.")
    changes_rows = action in ("edit", "delete", "switch", "add")
    if changes_rows and question.get("version") not in (None, draft.history.now):
        raise AnchorError("The dictionary was changed in another tab.", "This is how it stands now; do it again.")
    return _ACTIONS[action](draft, question)


# --- actions; each gives a sentence to say, or "" ---


def _add(draft: Draft, question: Question) -> str:
    anchor = _read_anchor(question)
    rows = draft.dictionary.anchors
    if len(rows) >= MOST_ROWS:
        raise AnchorError(f"The dictionary has {len(rows):,} anchors.", "Delete some first.")
    draft.change(Dictionary((anchor, *rows)), f"add “{anchor.term}”")
    return f"Added “{anchor.term}”."


def _edit(draft: Draft, question: Question) -> str:
    rows = list(draft.dictionary.anchors)
    row, anchor = _row(question, rows), _read_anchor(question)
    if rows[row] != anchor:
        rows[row] = anchor
        draft.change(Dictionary(tuple(rows)), f"edit “{anchor.term}”")
    return ""


def _delete(draft: Draft, question: Question) -> str:
    rows = list(draft.dictionary.anchors)
    gone = rows.pop(_row(question, rows))
    draft.change(Dictionary(tuple(rows)), f"delete “{gone.term}”")
    return f"Deleted “{gone.term}”."


def _switch(draft: Draft, question: Question) -> str:
    rows = list(draft.dictionary.anchors)
    row, on = _row(question, rows), bool(question.get("on"))
    rows[row] = replace(rows[row], enabled=on)
    draft.change(Dictionary(tuple(rows)), f"switch “{rows[row].term}” {'on' if on else 'off'}")
    return ""


def _undo(draft: Draft, question: Question) -> str:
    name = draft.history.undo
    draft.undo()
    return f"Taken back: {name}." if name else "There is nothing to take back."


def _redo(draft: Draft, question: Question) -> str:
    name = draft.history.redo
    draft.redo()
    return f"Done again: {name}." if name else "There is nothing to do again."


def _suggest(draft: Draft, question: Question) -> str:
    """Proposals for the text, below what is there already."""
    if not draft.text.strip():
        raise AnchorError("There is no text to look for anchors in.", "Choose one in step 1.")
    from unlearning.text.proposals import propose_offline

    return llm.take_suggestions(draft, propose_offline(draft.text))


def _import(draft: Draft, question: Question) -> str:
    kind = "json" if question.get("format") == "json" else "csv"
    found = parse_dictionary(str(question.get("content", "")), kind)  # type: ignore[arg-type]
    if len(found.anchors) > MOST_ROWS:
        raise AnchorError(f"The file has {len(found.anchors):,} anchors.", f"Import at most {MOST_ROWS:,}.")
    draft.change(found, f"import {len(found.anchors)} anchors")
    return f"{len(found.anchors)} anchors imported in place of what was there. Undo brings that back."


def _tidy(draft: Draft, question: Question) -> str:
    smaller, reasons = clean_up(draft.dictionary)
    if not reasons:
        return "Nothing to tidy: no anchor is made of other anchors."
    draft.change(smaller, f"tidy away {len(reasons)} anchors")
    return " ".join(reasons[:3]) + (f" And {len(reasons) - 3} more." if len(reasons) > 3 else "")


def _clear(draft: Draft, question: Question) -> str:
    count = len(draft.dictionary.anchors)
    draft.change(Dictionary(()), f"delete all {count} anchors")
    return f"All {count} anchors deleted. Undo brings them back."


def _reset(draft: Draft, question: Question) -> str:
    scenario = draft.scenario
    if scenario is None:
        raise AnchorError("This text belongs to no example.", "Let the table suggest anchors, or import some.")
    draft.change(scenario.dictionary(), "reset to the example")
    return "These are the example's anchors again."


_ACTIONS: dict[str, Callable[[Draft, Question], str]] = {
    "add": _add, "edit": _edit, "delete": _delete, "switch": _switch, "undo": _undo, "redo": _redo,
    "suggest": _suggest, "import": _import, "tidy": _tidy, "clear": _clear, "reset": _reset,
}  # fmt: skip


def _row(question: Question, rows: list[Anchor]) -> int:
    """The row that is meant: number `row`, which held `was`, or where that went since the question was asked."""
    row, was = question.get("row"), question.get("was")
    if not isinstance(row, int) or not 0 <= row < len(rows) or (was is not None and rows[row].term != was):
        moved = [i for i, anchor in enumerate(rows) if anchor.term == was]
        if was is None or not moved:
            raise AnchorError(f"The row of “{was or row}” is gone.", "This is how the table stands now.")
        return moved[0]
    return row


def _read_anchor(question: Question) -> Anchor:
    """The anchor of a question; what is wrong with it otherwise is said beside its row."""
    given = question.get("anchor")
    given = given if isinstance(given, dict) else {}
    cells = [str(given.get("term", "")), *map(str, given.get("translations", [])), str(given.get("note", ""))]
    for cell in cells:
        if len(cell) > LONGEST:
            raise AnchorError(f"A cell of {len(cell):,} characters is too long.", f"Use at most {LONGEST}.")
    kind = given.get("kind") if given.get("kind") in KINDS else "phrase"
    translations = tuple(t.strip() for t in cells[1:-1] if t.strip())
    return Anchor(cells[0].strip(), translations, str(kind), bool(given.get("enabled", True)), cells[-1].strip())


def _export(draft: Draft, kind: str) -> dict[str, Any]:
    kind = "json" if kind == "json" else "csv"
    return {"file": f"anchors.{kind}", "content": format_dictionary(draft.dictionary, kind)}  # type: ignore[arg-type]


# --- the state ---


def state_of(draft: Draft, page: int = 0, seed: int = 0) -> dict[str, Any]:
    """Everything that the table shows.

    Returns:
        version; rows [{term, translations, kind, enabled, note, count, findings [{field, severity, text}]}]; undo and
        redo (what they would do, "" for nothing); errors and warnings (rows with one); found (occurrences in the
        text); preview {page, pages, pieces}; scenario; llm.
    """
    dictionary, text, history = draft.dictionary, draft.text, draft.history
    counts = count_occurrences(text, dictionary) if text else [0] * len(dictionary.anchors)
    findings: dict[int, list[dict[str, str]]] = {}
    for found in check_dictionary(dictionary, text or None):
        sentence = f"{found.message[:1].upper()}{found.message[1:]} {found.hint}"
        findings.setdefault(found.row - 1, []).append(
            {"field": found.field, "severity": found.severity, "text": sentence}
        )
    rows = [
        {
            "term": a.term, "translations": list(a.translations), "kind": a.kind, "enabled": a.enabled,
            "note": a.note, "count": counts[i], "findings": findings.get(i, []),
        }
        for i, a in enumerate(dictionary.anchors)
    ]  # fmt: skip
    return {
        "version": history.now,
        "rows": rows,
        "undo": history.undo,
        "redo": history.redo,
        "errors": sum(any(f["severity"] == "error" for f in one) for one in findings.values()),
        "warnings": sum(all(f["severity"] == "warning" for f in one) for one in findings.values()),
        "found": sum(counts),
        "preview": preview_of(text, dictionary, page, seed),
        "title": draft.about.title,
        "scenario": draft.scenario is not None,
        "llm": llm.configured(),
    }


def preview_of(text: str, dictionary: Dictionary, page: int, seed: int = 0) -> dict[str, Any]:
    """A page of the text, cut at its anchors: pieces [text] or [text, row, translation].

    Args:
        text: The forget set.
        dictionary: The anchors.
        page: From 0; beyond the last one the last one is shown.
        seed: Draws among several translations; 0 takes the first of each.
    """
    starts = page_starts(text)
    page = max(0, min(page, len(starts) - 1))
    start, end = starts[page], starts[page + 1] if page + 1 < len(starts) else len(text)
    choice = draw_translations(dictionary, random.Random(seed)) if seed else {}
    whole = Dictionary(tuple(a if a.translations else replace(a, translations=("?",)) for a in dictionary.anchors))
    done = translate(text[start:end], whole, choice)
    pieces = [
        [done.source[p.start : p.end]]
        if p.anchor is None
        else [done.source[p.start : p.end], p.anchor, done.text[p.new_start : p.new_end]]
        for p in done.pieces
    ]
    return {"page": page, "pages": len(starts), "pieces": pieces, "pages_of": _pages_of(text, dictionary, starts)}


def page_starts(text: str) -> list[int]:
    """Where the pages of the preview begin: between paragraphs, or between words where a paragraph is long."""
    starts = [0]
    while len(text) - starts[-1] > PAGE:
        low, high = starts[-1] + PAGE // 2, starts[-1] + PAGE
        cut = max(text.rfind("\n\n", low, high) + 2, text.rfind("\n", low, high) + 1)
        if cut <= low:
            cut = text.rfind(" ", low, high) + 1
        starts.append(cut if cut > low else high)
    return starts


def _pages_of(text: str, dictionary: Dictionary, starts: list[int]) -> list[int]:
    """For each anchor the page where it first occurs; −1 where it does not."""
    pages = [-1] * len(dictionary.anchors)
    page = 0
    for found in find_occurrences(text, dictionary):
        while page + 1 < len(starts) and found.start >= starts[page + 1]:
            page += 1
        if pages[found.anchor] < 0:
            pages[found.anchor] = page
    return pages
