"""What a person may ask beside, or instead of, what an evaluation asks by itself: own prompts, a further model.

Checked as the engine and the command line do, before anything is queued.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from unlearning.errors import PromptError
from unlearning.models.catalogue import CATALOGUE
from unlearning.text.prompts import load_probes, parse_completions, probe_rows
from unlearning.ui.launch import LONGEST_PROMPT, check_model, read_lines

MOST_BEGINNINGS = 20  # to go on with
PROBES, COMPLETIONS = "probes.json", "completions.json"


def draw() -> list[Any]:
    """The fields: further model, own prompts with their words, own beginnings."""
    models = [("none", ""), *((entry.title, name) for name, entry in CATALOGUE.items())]
    with gr.Accordion("Own prompts, a further model", open=False, elem_id="probe-own"):
        with gr.Row():
            probes = gr.Textbox(
                label="Own prompts", lines=3, max_lines=12, elem_id="probe-prompts", scale=3, min_width=280,
                info="Instead of the run's; its controls stay. One a line: a beginning → the word that only the text "
                "tells.",
            )  # fmt: skip
            beginnings = gr.Textbox(
                label="Own beginnings to complete", lines=3, max_lines=12, elem_id="probe-beginnings", scale=2,
                min_width=280, info="Instead of the run's. One a line; every model goes on with each.",
            )  # fmt: skip
        other = gr.Dropdown(
            models, value="", label="A further model of the same family", allow_custom_value=True,
            elem_id="probe-other", info="One of the list, or the id of one on Hugging Face (owner/name, safetensors "
            "only). It is asked the same; its figures are in the table of every figure.",
        )  # fmt: skip
    return [other, probes, beginnings]


def inputs_of(folder: Path, probes: str, beginnings: str) -> dict[str, str]:
    """The files of an evaluation in which a person's own prompts stand in place of the run's.

    Args:
        folder: Of the run; its controls stay.
        probes: A line each, as `launch.read_lines` has them; none leaves the run's.
        beginnings: A line each; none leaves the run's.

    Raises:
        PromptError: naming the line that cannot be used.
    """
    found = {}
    if own := read_lines(probes or "", "probe", "own prompt"):
        file = folder / PROBES
        controls = [probe for probe in (load_probes(file) if file.is_file() else []) if probe.kind == "control"]
        found[PROBES] = json.dumps(probe_rows([*own, *controls]), ensure_ascii=False)
    if starts := [line.strip() for line in (beginnings or "").splitlines() if line.strip()]:
        found[COMPLETIONS] = json.dumps(_checked(starts), ensure_ascii=False)
    return found


def _checked(starts: list[str]) -> list[str]:
    if len(starts) > MOST_BEGINNINGS:
        raise PromptError(f"There are {len(starts)} own beginnings.", f"Give at most {MOST_BEGINNINGS}.")
    for number, start in enumerate(starts, 1):
        if len(start) > LONGEST_PROMPT:
            raise PromptError(f"Own beginning {number} has {len(start)} characters.", "Shorten it.")
    parse_completions(starts, "the own beginnings")
    return starts


def model_of(other: str | None, folder: Path) -> str:
    """The name of the further model; "" for none.

    Raises:
        UnlearningError: no model that the page opens, or one of another family than the run's.
    """
    from unlearning.evaluation.suites import check_other

    name = (other or "").strip()
    if name:
        check_model(name)
        check_other(folder, name)
    return name
