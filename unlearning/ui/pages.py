"""Style sheet and scripts of the page, read from assets/."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.ui.words import WORDS

if TYPE_CHECKING:
    import gradio as gr

ASSETS = Path(__file__).resolve().parents[2] / "assets"


@cache
def script(name: str) -> str:
    """The script of a custom component, assets/js/<name>.js, for `gr.HTML(js_on_load=…)`.

    It runs once, with `element`, `props`, `trigger`, `watch`, `server` and `upload` in scope, in a block of its own.
    """
    return (ASSETS / "js" / f"{name}.js").read_text(encoding="utf-8")


def component(name: str, value: Any = None, **settings: Any) -> gr.HTML:
    """A custom component: nodes made by assets/js/<name>.js, looks from assets/css, none of Gradio's own for HTML."""
    import gradio as gr

    template = settings.pop("html_template", "")
    return gr.HTML(value, html_template=template, js_on_load=script(name), apply_default_css=False, **settings)


def words(html: str, **settings: Any) -> gr.HTML:
    """Fixed words of ours as HTML; nothing that a person or a model wrote."""
    import gradio as gr

    return gr.HTML(html_template=html, js_on_load=settings.pop("js", None), apply_default_css=False, **settings)


HELPERS = ("page", "charts", "figures")


def style() -> str:
    """All style sheets. Not for Gradio's own `css`, which prefixes every rule and delays it."""
    sheets = [ASSETS / "style.css", *sorted((ASSETS / "css").glob("*.css"))]
    return "".join(sheet.read_text(encoding="utf-8") for sheet in sheets)


def head() -> str:
    """What goes into the page's head: the helpers of all components, and the field's terms in words."""
    terms = f"window.forgetting.WORDS = {json.dumps(WORDS, ensure_ascii=False)};"
    return f"<script>{''.join(script(name) for name in HELPERS)}{terms}</script>"
