"""The page around the screens: header with the way through, one panel a screen, status line."""

from __future__ import annotations

import importlib
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from unlearning.errors import UnlearningError
from unlearning.ui.api import publish
from unlearning.ui.context import Context, Screen
from unlearning.ui.drafts import DraftStore
from unlearning.ui.host import ModelHost
from unlearning.ui.pages import ASSETS, component


@dataclass(frozen=True)
class Panel:
    """One place of the page: its name in the address bar, its module, how it is called."""

    step: str
    module: str
    label: str
    number: str = ""


PANELS = (
    Panel("start", "landing", "Start"),
    Panel("text", "text", "Text", "1"),
    Panel("dictionary", "dictionary", "Dictionary", "2"),
    Panel("unlearn", "unlearn", "Unlearn", "3"),
    Panel("compare", "compare", "Compare", "4"),
    Panel("probe", "probing", "Probe", "5"),
    Panel("inspector", "inspector", "How it works"),
    Panel("runs", "runs", "Runs"),
)


def build_app(workspace: Path, recorded: Path = ASSETS / "recorded") -> gr.Blocks:
    """The whole page.

    Args:
        workspace: Holds the runs and everybody's drafts.
        recorded: Holds recorded runs, one of which plays on the first page.
    """
    with gr.Blocks(title="Forgetting Lab", delete_cache=(3600, 86400)) as page:
        where = component("nav", {}, html_template=header(), elem_id="header")
        with gr.Tabs(elem_id="panels") as panels:
            tabs = {panel.step: gr.Tab(panel.label, id=panel.step, elem_id=f"panel-{panel.step}") for panel in PANELS}
        status = component("status", "", elem_id="status")
        context = Context(workspace, DraftStore(workspace), ModelHost(workspace), recorded, where, status)
        for panel in PANELS:
            with tabs[panel.step]:
                _bind(context, panel, _build(context, panel))
        publish(context)
        where.change(None, where, panels, js=_SELECT, api_visibility="private")
        page.load(None, None, where, js="() => window.forgetting.fromAddress()", api_visibility="private")
    return page


_SELECT = "(where) => ({ __type__: 'update', selected: where.step })"


def _build(context: Context, panel: Panel) -> Screen:
    screen: Screen = importlib.import_module(f"unlearning.ui.{panel.module}").build(context)
    return screen


def _bind(context: Context, panel: Panel, screen: Screen) -> None:
    """Let the screen be filled on arrival; what cannot be shown is said on the status line."""
    if screen.on_open is None:
        return
    arrived = getattr(context.where, f"open_{panel.step}")
    arrived(
        partial(_opened, screen),
        [context.where, *screen.inputs],
        [context.status, *screen.outputs],
        show_progress="hidden",
        api_visibility="private",
    )


def _opened(screen: Screen, where: dict[str, str], *values: Any) -> Any:
    assert screen.on_open is not None
    try:
        found = screen.on_open(where, *values)
    except UnlearningError as error:
        return str(error), *(gr.skip() for _ in screen.outputs)
    except Exception:  # the page goes on, and says so
        traceback.print_exc()
        return _BROKEN, *(gr.skip() for _ in screen.outputs)
    if len(screen.outputs) == 1:
        found = (found,)
    return gr.skip(), *(found or ())


_BROKEN = "This screen could not be shown; what happened stands in the log of the page's program. Try again."


def header() -> str:
    """The header: plain links that work before any script has run."""
    steps = "".join(_link(panel) for panel in PANELS if panel.number)
    others = "".join(_link(panel) for panel in PANELS[1:] if not panel.number)
    return (
        '<header class="top"><a class="brand" href="?" data-step="start" data-title="Start">'
        '<span class="brand-mark" aria-hidden="true"></span>Forgetting Lab</a>'
        f'<nav aria-label="Steps" class="steps">{steps}</nav><nav aria-label="More" class="others">{others}'
        '<button type="button" class="quiet theme" data-act="theme" aria-label="Switch between dark and light">◐'
        "</button></nav></header>"
    )


def _link(panel: Panel) -> str:
    number = f'<span class="number" aria-hidden="true">{panel.number}</span>' if panel.number else ""
    return f'<a href="?step={panel.step}" data-step="{panel.step}" data-title="{panel.label}">{number}{panel.label}</a>'
