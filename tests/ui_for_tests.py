"""A screen's surroundings without a page: a Context over an empty workspace."""

from __future__ import annotations

from pathlib import Path

ID = "abcdefghijklmnop23456789"
WHERE = {"step": "text", "draft": ID}


def make_context(workspace: Path):
    import gradio as gr

    from unlearning.ui.context import Context
    from unlearning.ui.drafts import DraftStore
    from unlearning.ui.host import ModelHost

    with gr.Blocks():
        where, status = gr.HTML({}), gr.HTML("")
    return Context(workspace, DraftStore(workspace), ModelHost(workspace), workspace / "recorded", where, status)
