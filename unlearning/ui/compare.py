"""Step 4: the model before and after, side by side, on one prompt, on a whole text, and in what the run measured."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from unlearning.errors import InputError, RunNotFoundError, UnlearningError
from unlearning.evaluation import recorded
from unlearning.runs import store
from unlearning.ui import asking, plots
from unlearning.ui.context import Context, Screen, Where, go
from unlearning.ui.follow import folder_of, is_mine
from unlearning.ui.host import roles_made
from unlearning.ui.jobs import line_of
from unlearning.ui.notices import GONE, field_note
from unlearning.ui.pages import component, words
from unlearning.ui.roles import ROLES
from unlearning.ui.strip import strip_value, token_strip
from unlearning.ui.words import explain
from unlearning.ui.writing import LONGEST, check_wishes

STRONGEST = 1.5
FIRST_PROMPT = "The story begins"
LONGEST_TEXT = 40_000  # characters that are sent to the models; more than MOST_TOKENS tokens of any tongue
COLUMNS = ("baseline", "unlearned", "never_taught", "reinforced", "prompt_only")
SHOWN_FIRST = ("baseline", "unlearned")
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(context: Context) -> Screen:
    """Draw the screen."""
    words("<h1 class='step-title'>Before and after</h1>")
    nothing = words(_NOTHING, js=_GO, elem_id="compare-empty")
    with gr.Column(visible=False) as all_of_it:
        run = gr.Dropdown([], label="Run", elem_id="compare-run", allow_custom_value=True)
        prompt, wishes, strength, write = _prompt_fields()
        refused = field_note("compare-note")
        columns = _component(context, "columns", drops=True)
        with gr.Tabs(elem_id="compare-parts"):
            with gr.Tab("Next word", elem_id="compare-next"):
                bars = _component(context, "bars")
            with gr.Tab("Read a text", elem_id="compare-text"):
                text, read, strip, pinned, scatter = _text_fields(context)
            with gr.Tab("What the run measured", elem_id="compare-measured"):
                measured = component("measured", elem_id="measured")
                measured_plot = gr.Plot(show_label=False, elem_id="measured-plot", visible=False)
    asked = [context.where, run, prompt, *wishes, strength]
    answers = [columns, bars, refused]
    start = [write.click, prompt.submit, strength.release]
    questions = [gr.on(start, partial(complete, context), asked, answers, **QUIET)]
    columns.again(partial(again, context), asked, [wishes[-1], *answers], **QUIET)
    for source in (bars.pick, pinned.pick, measured.tried):
        questions.append(source(_from_elsewhere(context), asked, [prompt, *answers], **QUIET))
    for question in questions:
        question.then(None, [run, prompt], None, js=_TO_ADDRESS, **QUIET)
    read.click(partial(read_text, context), [context.where, run, text, strength], [strip, pinned], **QUIET)
    _bind_strip(context, run, strength, strip, pinned, scatter)
    run.input(lambda where, chosen: go(where, "compare", run=chosen), [context.where, run], context.where, **QUIET)
    outputs = [
        nothing, all_of_it, run, prompt, wishes[0], wishes[1], strength, columns, bars, text, strip, pinned, scatter,
        measured, measured_plot,
    ]  # fmt: skip
    return Screen(partial(on_open, context), inputs=[run, prompt, wishes[1]], outputs=outputs)


def _component(context: Context, name: str, elem_id: str = "", drops: bool = False) -> gr.HTML:
    """One of our components that asks for a job's answer."""

    def look(question: dict[str, Any]) -> dict[str, Any]:
        return line_of(context.host).look(question)

    def drop(question: dict[str, Any]) -> None:
        line_of(context.host).drop(str(question.get("job")))

    functions: list[Any] = [look, drop] if drops else [look]
    return component(name, server_functions=functions, elem_id=elem_id or name)


def _prompt_fields() -> tuple[gr.Textbox, list[Any], gr.Slider, gr.Button]:
    with gr.Row(elem_classes="ask-row"):
        prompt = gr.Textbox(
            label="How does it go on?", lines=1, max_lines=6, elem_id="prompt", scale=5,
            placeholder="The beginning of a sentence. Enter asks all models at once.",
        )  # fmt: skip
        write = gr.Button("Let them go on", variant="primary", elem_id="write", scale=0, min_width=170)
    columns = gr.CheckboxGroup(
        [(ROLES[role].title, role) for role in COLUMNS], value=[*SHOWN_FIRST], label="Models", elem_id="columns-of"
    )
    strength = gr.Slider(
        0, STRONGEST, value=1, step=0.05, label="Strength of forgetting", elem_id="strength",
        info="0: the model before is back. 1: the model after, as trained. 1.5: half as far again. "
        "(Weights before + strength × their change.)",
    )  # fmt: skip
    with gr.Accordion("Length, chance, another run", open=False, elem_id="compare-more"), gr.Row():
        other = gr.Dropdown(
            [], label="Another run beside it", elem_id="other-run", info="Its model after forgetting.",
            allow_custom_value=True,
        )  # fmt: skip
        tokens = gr.Slider(5, LONGEST, value=40, step=1, label="New tokens, at most", elem_id="new-tokens")
        temperature = gr.Slider(
            0, 2, value=0, step=0.1, label="Temperature", elem_id="temperature",
            info="0 always takes the likeliest word; above, chance has its say.",
        )  # fmt: skip
        seed = gr.Number(0, label="Seed", precision=0, elem_id="seed", info=explain("seed"))
    return prompt, [columns, other, tokens, temperature, seed], strength, write


def _text_fields(context: Context) -> tuple[gr.Textbox, gr.Button, gr.HTML, gr.HTML, gr.Plot]:
    with gr.Row(elem_classes="ask-row"):
        text = gr.Textbox(
            label="Any text", lines=3, max_lines=10, elem_id="any-text", scale=5,
            placeholder="A passage of the text, or one that has nothing to do with it.",
        )  # fmt: skip
        read = gr.Button("Read it with both", variant="primary", elem_id="read", scale=0, min_width=170)
    strip = token_strip(context.host, elem_id="compare-strip")
    pinned = _component(context, "bars", "pinned")
    scatter = gr.Plot(show_label=False, elem_id="tokens-plot", visible=False)
    return text, read, strip, pinned, scatter


# --- arriving ---


def on_open(
    context: Context, where: Where, shown_run: str | None, prompt: str, other: str | None = ""
) -> tuple[Any, ...]:
    """Show the run of the address bar, or the newest that can be compared."""
    choices = runs_to_compare(context.workspace, where)
    run_id = where.get("run") or (choices[0][1] if choices else "")
    if not run_id:
        return True, gr.update(visible=False), *(gr.skip() for _ in range(13))
    try:
        folder = folder_of(context.workspace, run_id)
    except RunNotFoundError as error:
        return {"gone": str(error)}, gr.update(visible=False), *(gr.skip() for _ in range(13))
    if run_id not in [value for _, value in choices]:
        choices = [(store.load(folder).name, run_id), *choices]
    roles = [role for role in (*recorded.roles_on_disk(folder), "prompt_only") if role in COLUMNS]
    first = where.get("prompt") or first_prompt(folder)
    models: dict[str, Any] = {"choices": [(ROLES[role].title, role) for role in roles]}
    others: dict[str, Any] = {"choices": [("none", ""), *(choice for choice in choices if choice[1] != run_id)]}
    menu = None, gr.update(visible=True), gr.update(choices=choices, value=run_id)
    if shown_run == run_id:  # coming back: what was asked is still there
        asked = gr.skip() if prompt and not where.get("prompt") else first
        gone: dict[str, Any] = {} if other in [value for _, value in others["choices"]] else {"value": ""}
        wishes = gr.update(**models), gr.update(**others, **gone)
        return *menu, asked, *wishes, *(gr.skip() for _ in range(7)), *_measured(folder)
    wishes = gr.update(**models, value=[role for role in SHOWN_FIRST if role in roles]), gr.update(**others, value="")
    answers = None, recorded_bars(folder, first), passage(folder), None, None, gr.update(visible=False)
    return *menu, first, *wishes, 1, *answers, *_measured(folder)


def runs_to_compare(workspace: Path, where: Where) -> list[tuple[str, str]]:
    """(name, id) of this person's runs that have an unlearned model, newest first."""
    runs = [run for run in store.list_runs(workspace) if is_mine(run.folder, where.get("draft"))]
    return [(run.name, run.id) for run in runs if "unlearned" in recorded.roles_on_disk(run.folder)]


def first_prompt(folder: Path) -> str:
    """A prompt to begin with: the watched one that changed most."""
    probes = [one for one in recorded.before_and_after(folder) if one["kind"] != "control"]
    best = max(probes, key=lambda one: one["before"] - one["after"], default=None)
    return str(best["prompt"]) if best else FIRST_PROMPT


def passage(folder: Path, characters: int = 900) -> str:
    """A passage of the run's own text to begin with: where its anchors are dense enough to show something."""
    try:
        text = (folder / "text.txt").read_text(encoding="utf-8")
    except OSError:
        return ""
    start = text.find("\n\n", len(text) // 5)
    start = start + 2 if start >= 0 else 0
    end = text.rfind(" ", start, start + characters)
    return text[start : end if end > start else start + characters].strip()


def _measured(folder: Path) -> tuple[Any, Any]:
    probes = recorded.before_and_after(folder)
    own = [one for one in probes if one["kind"] != "control"]
    controls = [one for one in probes if one["kind"] == "control"]
    own.sort(key=lambda one: -abs(one["after"] - one["before"]))
    controls.sort(key=lambda one: -abs(one["after"] - one["before"]))
    evaluation = recorded.evaluation(folder)
    value = {key: evaluation.get(key) for key in ("verdicts", "table")} | {"probes": own, "controls": controls}
    if not probes:
        value["note"] = "This run has not measured anything yet: it does so at its end."
        return value, gr.update(visible=False)
    return value, gr.update(value=plots.scatter(probes, folder.name), visible=True)


def recorded_bars(folder: Path, prompt: str) -> dict[str, Any] | None:
    """What the run's own evaluation has found after this prompt, to show before anybody asks a model."""
    found = recorded.next_words(folder, prompt)
    return found | {"heading": "Measured at the end of the run", "context": prompt} if found else None


# --- asking ---


def complete(
    context: Context, where: Where, run: str | None, prompt: str, roles: list[str], other: str, tokens: float,
    temperature: float, seed: float, strength: float = 1,
) -> tuple[Any, Any, str]:  # fmt: skip
    """Let all models go on with the prompt, and show what each would say next."""
    try:
        folder = _asked_of(context, where, run)
        beside = folder_of(context.workspace, other).name if other else ""
        wishes = asking.Wishes(
            checked_prompt(prompt), tuple(roles), beside, int(tokens), temperature, int(seed or 0), strength
        )
        check_strength(strength)
        check_wishes(wishes.tokens, wishes.temperature)
        columns = asking.columns_of(context.workspace, folder, wishes)
    except UnlearningError as error:
        return gr.skip(), gr.skip(), str(error)
    line = line_of(context.host)
    say_next = partial(asking.say_next, context.host, folder, prompt, "", strength=strength)
    nexts = line.ask(say_next, _key("next", folder, prompt, strength))
    job = line.ask(partial(asking.write, context.host, folder.name, wishes))  # takes longer, so it comes second
    value = {"job": job, "prompt": prompt, "columns": columns, "chance": temperature > 0}
    return value, {"job": nexts, "context": prompt, "heading": _said_of(strength)}, ""


def check_strength(strength: float) -> None:
    """
    Raises:
        InputError: it is out of the slider's limits.
    """
    if not 0 <= strength <= STRONGEST:
        raise InputError(f"The strength of forgetting is {strength:g}.", f"Give 0 to {STRONGEST}.")


def _said_of(strength: float) -> str:
    """What stands above an answer whose model after forgot more or less than it was trained to."""
    return "" if strength == 1 else f"After: at strength {strength:g}. "


def again(context: Context, where: Where, *asked: Any) -> tuple[Any, ...]:
    """The same with other dice."""
    run, prompt, roles, other, tokens, temperature, seed, strength = asked
    seed = int(seed or 0) + 1
    return seed, *complete(context, where, run, prompt, roles, other, tokens, temperature, seed, strength)


def _from_elsewhere(context: Context) -> Any:
    """Go on from a token that was clicked, which joins the text before it, or from a measured prompt.

    Gradio finds `gr.EventData` in the signature of a plain function only.
    """

    def going_on(
        where: Where, run: str | None, prompt: str, roles: list[str], other: str, tokens: float, temperature: float,
        seed: float, strength: float, event: gr.EventData,
    ) -> tuple[Any, ...]:  # fmt: skip
        longer = str(getattr(event, "context", "")) + str(getattr(event, "token", ""))
        wanted = longer or str(getattr(event, "prompt", prompt))
        return wanted, *complete(context, where, run, wanted, roles, other, tokens, temperature, seed, strength)

    return going_on


def _bind_strip(
    context: Context, run: gr.Dropdown, strength: gr.Slider, strip: gr.HTML, pinned: gr.HTML, scatter: gr.Plot
) -> None:
    """A clicked token shows what every role says there; a text that was read, its scatter."""

    def pin_token(where: Where, shown: str | None, strength: float, event: gr.EventData) -> Any:
        before, word = str(getattr(event, "context", "")), str(getattr(event, "token", ""))
        return pin(context, where, shown, before, word, strength)

    def plot_tokens(shown: str | None, event: gr.EventData) -> Any:
        return tokens_plot(context, getattr(event, "job", None), shown)

    strip.pin(pin_token, [context.where, run, strength], pinned, **QUIET)
    strip.measured(plot_tokens, [run], scatter, **QUIET)


def read_text(context: Context, where: Where, run: str | None, text: str, strength: float = 1) -> tuple[Any, None]:
    """Measure every token of a text with both models."""
    try:
        folder = _asked_of(context, where, run)
        if not text.strip():
            raise InputError("There is no text to read.", "Type or paste some words.")
        check_strength(strength)
    except UnlearningError as error:
        return {"error": error.message, "hint": error.hint}, None
    text = text[:LONGEST_TEXT]
    read = partial(asking.read_text, context.host, folder, text, strength=strength)
    told = {"label": "The text", "heading": _said_of(strength)}
    return strip_value(context.host, read, _key("strip", folder, text, strength), **told), None


def pin(context: Context, where: Where, run: str | None, before: str, word: str, strength: float = 1) -> Any:
    """What every role would say at the token that was clicked, and its probability over the steps."""
    if not before.strip():
        return {"error": "Nothing stands before the first token, so no model could see it coming.", "hint": ""}
    try:
        folder = _asked_of(context, where, run)
        check_strength(strength)
    except UnlearningError as error:
        return {"error": error.message, "hint": error.hint}
    ask = partial(asking.say_next, context.host, folder, before[-LONGEST_TEXT:], word, strength=strength)
    job = line_of(context.host).ask(ask, _key("next", folder, before, word, strength))
    return {"job": job, "heading": f"{_said_of(strength)}At ", "token": word, "context": before, "closable": True}


def tokens_plot(context: Context, job: Any, run: str | None) -> Any:
    """The tokens of the text just read, before against after."""
    answer = line_of(context.host).look({"job": job}).get("value")
    if not answer or len(answer["roles"]) < 2:
        return gr.update(visible=False)
    return gr.update(value=plots.tokens_scatter(answer, run or ""), visible=True)


def _key(what: str, folder: Path, *asked: str | float) -> tuple[Any, ...]:
    """Names a question for the line: the same answer only while the run's models are the same."""
    return (what, folder.name, roles_made(folder), *asked)


def checked_prompt(prompt: str) -> str:
    """
    Raises:
        InputError: there is none, or it is too long.
    """
    if not prompt or not prompt.strip():
        raise InputError("There is no prompt.", "Type the beginning of a sentence.")
    if len(prompt) > LONGEST_TEXT:
        raise InputError(f"The prompt has {len(prompt):,} characters.", f"Give at most {LONGEST_TEXT:,}.")
    return prompt


def _asked_of(context: Context, where: Where, run: str | None) -> Path:
    """The folder of the run that is shown, which stays the same when a newer one has ended meanwhile."""
    return folder_of(context.workspace, run or where.get("run"))


_NOTHING = (
    f"{{{{#if value.gone}}}}{GONE}{{{{else}}}}"
    "{{#if value}}<div class='empty'><h3>There is nothing to compare yet</h3>"
    "<p>A run makes the model that has forgotten. It takes some minutes.</p>"
    "<p><a class='button primary' href='?step=unlearn' data-go='unlearn'>Start a run</a></p></div>{{/if}}{{/if}}"
)
_TO_ADDRESS = "(run, prompt) => window.forgetting.keep({ run, prompt: prompt.length <= 300 ? prompt : '' })"
_GO = """
element.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-go]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  window.forgetting.visit({ step: link.dataset.go, ...(link.dataset.go === "runs" ? { run: "" } : {}) });
});
"""
