"""Step 2: the anchors and their generic translations. A table to edit, with undo; the text with every mark shown."""

from __future__ import annotations

from functools import partial
from typing import Any

from unlearning.ui.context import Context, Screen, Where
from unlearning.ui.editing import act
from unlearning.ui.llm import look
from unlearning.ui.pages import component, words


def build(context: Context) -> Screen:
    """Draw the screen."""
    words(_TITLE)

    def change(question: dict[str, Any]) -> dict[str, Any]:
        return act(context.drafts, question)

    editor = component("dictionary", None, elem_id="dictionary", server_functions=[change, look])
    return Screen(partial(on_open, context), outputs=[editor])


def on_open(context: Context, where: Where) -> dict[str, Any]:
    """The table and the first page of the preview."""
    return act(context.drafts, {"draft": where["draft"], "action": "look"}) | {"draft": where["draft"]}


_TITLE = """
<h1 class="step-title">What is this text’s own?</h1>
<p class="lead">An <b>anchor</b> is an expression that gives the text away. Give each a <b>generic translation</b>: an
everyday expression that could stand in its place. The better they fit, the more the translated text reads like any
story.</p>
"""
