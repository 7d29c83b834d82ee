"""Style sheet and scripts of the page, read from assets/."""

from __future__ import annotations

from functools import cache
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "assets"


@cache
def script(name: str) -> str:
    """The script of a custom component, assets/js/<name>.js, for `gr.HTML(js_on_load=…)`.

    It runs once, with `element`, `props`, `trigger`, `watch`, `server` and `upload` in scope, in a block of its own.
    """
    return (ASSETS / "js" / f"{name}.js").read_text(encoding="utf-8")


HELPERS = ("page", "charts")


def head() -> str:
    """What goes into the page's head: style sheets, and helpers of all components.

    Not through Gradio's own `css`, which prefixes every rule and delays it.
    """
    sheets = [ASSETS / "style.css", *sorted((ASSETS / "css").glob("*.css"))]
    style = "".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
    return f"<style>{style}</style><script>{''.join(script(name) for name in HELPERS)}</script>"
