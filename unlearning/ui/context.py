"""What every screen is given, and what it gives back.

A screen is one module `unlearning/ui/<name>.py` with

    def build(context: Context) -> Screen        draws its components (called inside its own panel) and binds its events
    def on_open(context, where, *values)         fills them; called whenever somebody arrives there (no torch at import)

*Where* somebody is — the step, the run, the draft — is the value of one component, `context.where`, which also keeps
the address bar: a dict of short strings `{"step": "compare", "run": "ab12cd34", "draft": "…", …}`. Give it to every
listener as an input; further keys of a screen's own (`block`, `role`) are kept in the address bar too. Going somewhere
means returning a new value for it:

    start.click(launch, [context.where, form], [context.where])       # def launch(where, form): …
        return go(where, "unlearn", run=run.id)                        # address bar, panel and on_open follow

`on_open` runs on arrival: another step, another run or draft, the browser's back button, the first load.
Screens never import one another; they meet in the address bar, in runs and in the draft.

    context.workspace            the folder of all runs (runs.store.find / list_runs / create take it)
    context.drafts.open(where["draft"])   the person's unfinished text, dictionary and settings (drafts.Draft)
    context.host.open(run_id)    context manager: training.stages.Work with its models, while nobody else uses them
    context.host.plain(name)     context manager: the same Family for a model of the catalogue, without a run
    context.status               as an output: str(error) stays on the status line until somebody dismisses it

Custom components take their script from assets/js/<name>.js: `gr.HTML(js_on_load=script("strip"), …)`. All of them
have `forgetting.element(tag, attributes, ...children)` of assets/js/page.js to build nodes without any HTML string.
Names and colours of roles: roles.py. Short explanations of terms: words.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gradio as gr

    from unlearning.ui.drafts import DraftStore
    from unlearning.ui.host import ModelHost

Where = dict[str, str]


@dataclass(frozen=True)
class Context:
    """What every screen is given.

    Attributes:
        workspace: The folder that holds all runs.
        drafts: Everybody's unfinished work.
        host: Models to look at, shared by everybody.
        recorded: The folder of recorded runs, one of which plays on the first page.
        where: Component: the address bar. Its value is a `Where`.
        status: Component: the status line at the bottom. Its value is one sentence, or "" for nothing.
    """

    workspace: Path
    drafts: DraftStore
    host: ModelHost
    recorded: Path
    where: gr.HTML
    status: gr.HTML


@dataclass(frozen=True)
class Screen:
    """What a screen gives to the frame.

    Attributes:
        on_open: Called as `on_open(where, *values of inputs)`; returns values for `outputs`. None: nothing to fill.
        inputs: Components whose values it takes beside `where`.
        outputs: Components that it fills.
    """

    on_open: Callable[..., Any] | None = None
    inputs: Sequence[Any] = field(default_factory=tuple)
    outputs: Sequence[Any] = field(default_factory=tuple)


def go(where: Where, step: str, **others: str | None) -> Where:
    """The value of `context.where` that takes somebody to `step`; a key given as None or "" leaves the address bar."""
    there = {**where, "step": step, **{key: value or "" for key, value in others.items()}}
    return {key: value for key, value in there.items() if value}
