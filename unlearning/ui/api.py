"""The page's functions for programs: six, also usable as MCP tools. Everything else of the page is private.

from gradio_client import Client
page = Client("http://127.0.0.1:7860")
started = page.predict(preset="gentle", api_name="/start_run")
page.predict(started["run"], api_name="/run_status")
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio as gr
from gradio.events import api

from unlearning.errors import InputError, UnlearningError
from unlearning.models.catalogue import CATALOGUE
from unlearning.runs import store
from unlearning.scenarios import settings_for
from unlearning.text.anchors import Dictionary, format_dictionary, parse_dictionary
from unlearning.text.documents import read_text
from unlearning.ui import asking
from unlearning.ui.compare import checked_prompt
from unlearning.ui.context import Context
from unlearning.ui.drafts import Draft
from unlearning.ui.follow import act, folder_of, follow
from unlearning.ui.jobs import line_of
from unlearning.ui.knowing import is_here
from unlearning.ui.launch import first_watched
from unlearning.ui.launch import start_run as launch

LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
LONGEST_WAIT_S = 300.0
MOST_TOKENS = 100
FOLLOWED = ("state", "progress", "place", "error", "verdicts", "facts")


def publish(context: Context) -> None:
    """Offer the functions; called inside the page's Blocks."""

    def list_models() -> list[dict[str, Any]]:
        """The models that can be unlearned with, by name.

        Returns:
            name, title, licence, parameters, what it knows, and whether it is on this machine already.
        """
        return [
            {
                "name": e.name, "title": e.title, "licence": e.licence, "parameters": e.parameters, "knows": e.knows,
                "here": is_here(e.name),
            }
            for e in CATALOGUE.values()
        ]  # fmt: skip

    def suggest_anchors(text: str) -> list[dict[str, Any]]:
        """Expressions that are a text's own, each with a generic translation, for an anchor dictionary.

        Args:
            text: The text to forget.
        """
        from unlearning.text.proposals import propose_offline

        return _rows(propose_offline(read_text(text).text))

    def start_run(
        text: str = "", anchors: list[dict[str, Any]] | None = None, preset: str = "standard", model: str = "",
        changes: dict[str, Any] | None = None, name: str = "", key: str = "",
    ) -> dict[str, str]:  # fmt: skip
        """Start unlearning a text in the background; ask run_status how it goes.

        Args:
            text: The text to forget; empty for the built-in example about Alice in Wonderland.
            anchors: Rows {term, translations, kind, enabled, note}; none: suggested from the text.
            preset: standard, gentle, thorough or paper.
            model: A name that list_models gives, or the id of a model on Hugging Face.
            changes: Settings beyond the preset, by dotted name, such as {"finetune.epochs": 4}.
            name: What to call the run.
            key: What a former start_run gave: the same owner.

        Returns:
            run, its id; key, which stop_run asks for.
        """
        draft = context.drafts.open(key or "".join(secrets.choice(LETTERS) for _ in range(24)))
        _fill(draft, text, anchors)
        chosen = dict(changes or {}) | ({"model.name": model} if model else {})
        settings = settings_for(draft.scenario, preset, chosen, own_text=draft.own_text)
        own, flat = first_watched(draft.probes)
        return {"run": launch(context.workspace, draft, settings, [*own, *flat], name), "key": draft.id}

    def run_status(run: str) -> dict[str, Any]:
        """How a run goes: its state, stage, step and time left; after its end, its verdicts or its error.

        Args:
            run: The id that start_run gave.
        """
        found = follow(context.workspace, {"run": folder_of(context.workspace, run).name})
        return {key: found[key] for key in FOLLOWED if found.get(key)}

    def compare(
        run: str, prompt: str, tokens: int = 40, temperature: float = 0.0, seed: int = 0
    ) -> list[dict[str, Any]]:
        """What the model writes after a prompt, before and after it was made to forget.

        Args:
            run: The id of a run that has reached fine-tuning.
            prompt: A beginning.
            tokens: New tokens to write.
            temperature: 0 takes the likeliest token.
            seed: Of the dice, where the temperature is above 0.
        """
        most = max(1, min(int(tokens), MOST_TOKENS))
        wishes = asking.Wishes(
            checked_prompt(prompt), ("baseline", "unlearned"), "", most, float(temperature), int(seed)
        )
        folder = folder_of(context.workspace, run)
        columns = asking.columns_of(context.workspace, folder, wishes)
        written = _wait(context, lambda job: asking.write(context.host, folder.name, wishes, job))
        return [
            {"role": column["role"], "text": text["text"]}
            for column, text in zip(columns, written["columns"], strict=True)
        ]

    def stop_run(run: str, key: str = "") -> dict[str, str]:
        """Ask a run to finish its step, save what it has and end; it can be resumed.

        Args:
            run: The id that start_run gave.
            key: The key that start_run gave.
        """
        done = act(context.workspace, {"run": run, "act": "stop", "draft": key})
        if "error" in done:
            raise InputError(done["error"])
        return {"run": run, "state": str(store.state(folder_of(context.workspace, run)))}

    for function in (list_models, suggest_anchors, start_run, run_status, compare, stop_run):
        api(_in_words(function), api_name=function.__name__, concurrency_limit=4)


def _in_words(function: Callable[..., Any]) -> Callable[..., Any]:
    """Say in a sentence what was refused, as everywhere."""

    @wraps(function)
    def asked(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except UnlearningError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return asked


def _fill(draft: Draft, text: str, anchors: list[dict[str, Any]] | None) -> None:
    if text:
        draft.take_document(read_text(text, "text of a program"))
    if anchors is not None:
        draft.change(parse_dictionary(json.dumps(anchors), "json"), "the anchors of a program")
    elif text:
        from unlearning.text.proposals import propose_offline

        draft.change(propose_offline(draft.text), "suggestions")


def _rows(dictionary: Dictionary) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(format_dictionary(dictionary, "json"))
    return rows


def _wait(context: Context, work: Callable[[Any], Any]) -> Any:
    """The answer of a question to the models, when its turn has come.

    Raises:
        InputError: it failed, or took too long.
    """
    line = line_of(context.host)
    job, until = line.ask(work), time.monotonic() + LONGEST_WAIT_S
    while time.monotonic() < until:
        state = line.look({"job": job})
        if state["state"] == "done":
            return state["value"]
        if state["state"] == "failed":
            raise InputError(state["message"], state["hint"])
        time.sleep(0.2)
    line.drop(job)
    raise InputError("The models did not answer in time.", "Ask again when fewer people are asking.")
