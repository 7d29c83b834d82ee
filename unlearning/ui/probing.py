"""Step 5: is the text really gone, and what broke? Starts an evaluation of a run, follows it, shows what it found."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from unlearning.errors import UnlearningError
from unlearning.runs import store
from unlearning.ui import follow as following
from unlearning.ui import llm, probing_many, probing_own, probing_runs
from unlearning.ui.context import Context, Screen, Where, go
from unlearning.ui.expected import duration
from unlearning.ui.follow import folder_of
from unlearning.ui.notices import field_note
from unlearning.ui.pages import component, words
from unlearning.ui.probing_files import make_file
from unlearning.ui.probing_view import evidence, view

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
SUITES = [("Quick: the main figures", "quick"), ("Full: every figure and every attack", "full")]


def build(context: Context) -> Screen:
    """Draw the screen."""
    words(_TITLE)
    nothing = words(_NOTHING, js=_GO, elem_id="probe-empty")
    with gr.Column(visible=False) as all_of_it:
        with gr.Row(elem_classes="ask-row"):
            run = gr.Dropdown([], label="Run", elem_id="probe-run", allow_custom_value=True, scale=3, min_width=260)
            suite = gr.Radio(SUITES, value="quick", label="How thoroughly", elem_id="probe-suite", scale=4)
            start = gr.Button("Start evaluation", variant="primary", elem_id="probe-start", scale=0, min_width=170)
        with_llm = gr.Checkbox(
            label="Let a language model write questions and grade", visible=llm.configured(), elem_id="probe-llm",
            info="The language model that whoever runs this page has set up writes questions from passages of the "
            "text, where nobody has written any, and grades from 0 to 3 how much of the text shows in what the models "
            "write. This takes longer.",
        )  # fmt: skip
        own = probing_own.draw()
        expected = words("{{#if value}}<p class='hint'>{{value}}</p>{{/if}}", value="", elem_id="probe-expected")
        refused = field_note("probe-note")
        live = component("probinglive", server_functions=_live_functions(context), elem_id="probe-live")
        shown = component("probing", server_functions=_functions(context), elem_id="probing")
    many = component("probingmany", server_functions=[_several(context)], elem_id="probing-many")
    outputs = [nothing, all_of_it, run, expected, refused, live, shown, many]
    arrive = partial(on_open, context)
    start.click(
        partial(begin, context), [context.where, run, suite, *own, with_llm], [context.where, refused],
        show_progress="minimal", show_progress_on=[start], api_visibility="private",
    )  # fmt: skip
    checked = partial(check, context), [context.where, run, *own], refused
    gr.on([field.blur for field in own[1:]], *checked, trigger_mode="always_last", **QUIET)
    own[0].input(  # the first look at a model's words takes some seconds
        *checked, trigger_mode="always_last", show_progress="minimal", show_progress_on=[own[0]],
        api_visibility="private",
    )  # fmt: skip
    suite.change(partial(expect, context), [context.where, run, suite], expected, **QUIET)
    run.input(partial(choose, context), [context.where, run], context.where, **QUIET)
    live.ended(arrive, [context.where, suite], outputs, **QUIET)
    return Screen(arrive, inputs=[suite], outputs=outputs)


def _functions(context: Context) -> list[Any]:
    """What the result asks for; each answers {"error": sentence} where it cannot."""

    def look(question: Any) -> dict[str, Any]:
        return _answer(lambda: view(_result(context, question)))

    def read(question: Any) -> dict[str, Any]:
        return _answer(lambda: evidence(_result(context, question), question.get("part")))

    def file(question: Any) -> dict[str, Any]:
        def made() -> dict[str, Any]:
            ending, text = make_file(_result(context, question), question.get("what"))
            return {"name": f"{question['evaluation']}-{ending}", "text": text}

        return _answer(made)

    return [look, read, file]


def _result(context: Context, question: Any) -> dict[str, Any]:
    return probing_runs.result_of(context.workspace, question.get("evaluation") if isinstance(question, dict) else None)


def _answer(made: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return made()
    except UnlearningError as error:
        return {"error": str(error)}


def _live_functions(context: Context) -> list[Any]:
    def follow(question: Any) -> dict[str, Any]:
        return probing_runs.follow(context.workspace, question)

    def act(question: Any) -> dict[str, Any]:
        return following.act(context.workspace, question)

    def log(question: Any) -> str:
        return following.log(context.workspace, question)

    return [follow, act, log]


def _several(context: Context) -> Callable[[Any], dict[str, Any]]:
    def several(question: Any) -> dict[str, Any]:
        draft = question.get("draft") if isinstance(question, dict) else None
        return _answer(lambda: probing_many.beside(probing_runs.finished(context.workspace, draft)))

    return several


# --- arriving ---


def on_open(context: Context, where: Where, suite: str) -> tuple[Any, ...]:
    """Show the run of the address bar, or the newest; its evaluation at work and what the last one found."""
    draft = where.get("draft", "")
    choices = probing_runs.probable(context.workspace, draft)
    run_id = _run_of(context, where) or (choices[0][1] if choices else "")
    many = {"draft": draft, "run": run_id}
    if not run_id:
        return True, gr.update(visible=False), gr.skip(), "", "", None, None, many
    folder = folder_of(context.workspace, run_id)
    name = store.load(folder).name
    if run_id not in [value for _, value in choices]:
        choices = [(name, run_id), *choices]
    found = probing_runs.evaluations_of(context.workspace, run_id)
    chosen = probing_runs.shown_first(found, where.get("evaluation"))
    at_work = chosen if chosen and chosen["state"] != "succeeded" else None
    done = [one for one in found if one["done"]]
    best = chosen if chosen in done else probing_runs.shown_first(done, None)
    value = {
        "run": run_id, "name": name, "evaluations": done, "evaluation": best["id"] if best else "",
        "waiting": at_work is not None,
    }  # fmt: skip
    live = {"run": at_work["id"], "draft": draft} if at_work else None
    menu = gr.update(choices=choices, value=run_id)
    return None, gr.update(visible=True), menu, expect(context, where, run_id, suite), "", live, value, many


def _run_of(context: Context, where: Where) -> str:
    """The run of the address bar; where that is an evaluation, the run it is of."""
    run_id = where.get("run", "")
    if not run_id:
        return ""
    run = store.load(folder_of(context.workspace, run_id))
    return str(run.config.get("of", "")) if probing_runs.is_evaluation(run) else run_id


def choose(context: Context, where: Where, run: str) -> Where:
    """Look at another run."""
    return go(where, "probe", run=run, evaluation="")


def expect(context: Context, where: Where, run: str | None, suite: str) -> str:
    """How long the chosen suite takes for the run."""
    try:
        seconds = probing_runs.expected(folder_of(context.workspace, run), suite)
    except UnlearningError:
        return ""
    return f"About {duration(seconds)} on this machine." if seconds else ""


def check(context: Context, where: Where, run: str | None, other: str, probes: str, beginnings: str) -> str:
    """What cannot be used of the fields that were filled in, in words."""
    try:
        folder = folder_of(context.workspace, run or where.get("run"))
        probing_own.inputs_of(folder, probes, beginnings)
        probing_own.model_of(other, folder)
    except UnlearningError as error:
        return str(error)
    return ""


def begin(
    context: Context,
    where: Where,
    run: str | None,
    suite: str,
    other: str = "",
    probes: str = "",
    beginnings: str = "",
    with_llm: bool = False,
) -> tuple[Any, str]:
    """Start the evaluation and go to it; or say beside the button why not."""
    draft = where.get("draft")
    try:
        evaluation = probing_runs.start_evaluation(
            context.workspace, run, suite, draft, other, probes, beginnings, with_llm
        )
    except UnlearningError as error:
        return gr.skip(), str(error)
    return go(where, "probe", run=run, evaluation=evaluation), ""


_TITLE = (
    "<h1 class='step-title'>Is it really gone, and what broke?</h1>"
    "<p class='lead'>A run watches a few prompts. Here the model is questioned as a sceptic would: many prompts, "
    "attacks that try to bring the text back, and what else it can still do.</p>"
)
_NOTHING = (
    "{{#if value}}<div class='empty'><h3>There is nothing to probe yet</h3>"
    "<p>A run makes the model that has forgotten. It takes some minutes.</p>"
    "<p><a class='button primary' href='?step=unlearn' data-go='unlearn'>Start a run</a></p></div>{{/if}}"
)
_GO = """
element.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-go]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  window.forgetting.visit({ step: link.dataset.go });
});
"""
