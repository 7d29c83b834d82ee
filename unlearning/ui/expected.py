"""How long a run of a draft will take here and how much memory, shown by assets/js/expected.js.

Where this machine was not measured yet with the model, measuring is a job in a line of its own: it asks none of the
models that the page looks at.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.config import Settings
from unlearning.models.catalogue import CATALOGUE
from unlearning.runs.budget import Budget, gigabytes, minutes
from unlearning.runs.speeds import budget
from unlearning.ui.jobs import Job, Jobs
from unlearning.ui.knowing import is_here
from unlearning.ui.pages import component

if TYPE_CHECKING:
    import gradio as gr

    from unlearning.ui.drafts import Draft

_measuring = Jobs()


def expected_panel(elem_id: str) -> gr.HTML:
    """A place for what `expected_of` gives."""

    def look(question: Any) -> dict[str, Any]:
        return _measuring.look(question)

    return component("expected", None, server_functions=[look], elem_id=elem_id)


def expected_of(workspace: Path, draft: Draft, settings: Settings) -> dict[str, Any]:
    """What a run will take: {"lines": [sentence]}, or {"job": id} of the job that measures it."""
    if not draft.text.strip():
        return {"lines": []}
    inputs = draft.inputs(settings)
    known = budget(workspace, settings, inputs, measure=False)
    if known is not None:
        return {"lines": in_words(known)}
    if not is_here(settings.model.name):
        entry = CATALOGUE.get(settings.model.name)
        size = f" ({entry.download_mb} MB, once)" if entry else ""
        return {"lines": [f"The model is fetched first{size}; how long the run takes is known then."]}

    def measure(job: Job) -> dict[str, Any]:
        job.say(message="Measuring this machine, once for each model …")
        found = budget(workspace, settings, inputs, measure=True)
        return {"lines": in_words(found) if found is not None else []}

    return {"job": _measuring.ask(measure, ("budget", settings.model_dump_json(), hash(draft.text)))}


def in_words(expected: Budget) -> list[str]:
    """What a run is expected to take, in words."""
    took = f"{minutes(expected.seconds)} min on this machine" if expected.seconds >= 60 else "less than a minute"
    return [
        f"About {took}, {expected.steps} steps, {gigabytes(expected.peak_bytes)} of memory, "
        f"{gigabytes(expected.disk_bytes)} of disk."
    ]
