"""The token strip: a text whose tokens are coloured by how a model, or two, saw them coming.

    strip = token_strip(context.host)                              draws it, empty
    button.click(measure, [context.where, text], strip)            # def measure(where, text): …
        return strip_value(context.host, models, text)             a question to the models: the strip waits for it
    strip.pin(pinned, context.where, …)                            # def pinned(where, event: gr.EventData): …
        event.index, event.token, event.context                    the token, and the text before it

Hovering or moving the keyboard's focus over a token shows what the models found likelier; colour, scale and
measure are chosen above the text. Its data are those of `inference.measure_text`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from unlearning.ui.jobs import Job, line_of
from unlearning.ui.pages import component

if TYPE_CHECKING:
    import gradio as gr


def token_strip(host: Any, *, elem_id: str | None = None, value: Any = None) -> gr.HTML:
    """A strip. Its value is None, `strip_value(…)`, or {"error": …, "hint": …}.

    Args:
        host: Whose line of questions it looks at.
        elem_id: For tests and style.
        value: To begin with.
    """

    def look(question: dict[str, Any]) -> dict[str, Any]:
        return line_of(host).look(question)

    return component("strip", value, server_functions=[look], elem_id=elem_id, elem_classes=["strip"])


def strip_value(host: Any, read: Callable[[Job], dict[str, Any]], key: Hashable = None, **look: Any) -> dict[str, Any]:
    """The value of a strip that waits for its data.

    Args:
        host: Its line of questions takes this one.
        read: `read(job)` gives the data, see `inference.measure_text`; runs when its turn comes, may open models.
        key: Names the question, so that asking it again costs nothing.
        look: `measure` (p, log, rank, dp, drank, kl), `scale` (linear, sqrt, log), `role`, `label` to begin with;
            `heading`, `changes`, `pins` as assets/js/strip.js has them.
    """
    return {"job": line_of(host).ask(read, key), **look}
