"""The page's theme: Gradio's own variables, set to those of assets/style.css."""

from __future__ import annotations

from typing import Any

FONTS = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Noto Sans", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]


def make_theme() -> Any:
    """A plain theme: paper and ink, one accent, few borders."""
    import gradio as gr

    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue, neutral_hue=gr.themes.colors.stone, font=FONTS, font_mono=MONO
    )
