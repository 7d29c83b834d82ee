"""How long a run of a draft will take here and how much memory, shown by assets/js/expected.js.

Where this machine was not measured yet with the model, measuring is a job in a line of its own: it asks none of the
models that the page looks at.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.config import Settings
from unlearning.models.catalogue import CATALOGUE
from unlearning.runs.budget import Budget, gigabytes
from unlearning.runs.speeds import AGAIN_S, DOUBTFUL, budget, doubtful, worth_measuring
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
    if known is not None and not worth_measuring(workspace, settings):
        return {"lines": in_words(known, doubtful(workspace, settings))}
    if not is_here(settings.model.name):
        entry = CATALOGUE.get(settings.model.name)
        size = f" ({entry.download_mb} MB, once)" if entry else ""
        return {"lines": [f"The model is fetched first{size}; how long the run takes is known then."]}

    def measure(job: Job) -> dict[str, Any]:
        job.say(message="Measuring this machine, once for each model …")
        found = budget(workspace, settings, inputs, measure=True)
        return {"lines": in_words(found, doubtful(workspace, settings)) if found is not None else []}

    now = time.monotonic() // AGAIN_S  # an answer of long ago is no measure of the machine as it is
    return {"job": _measuring.ask(measure, ("budget", settings.model_dump_json(), hash(draft.text), now))}


def in_words(expected: Budget, doubtful: bool = False) -> list[str]:
    """What a run is expected to take, in words; `doubtful` where the machine was busy when it was measured."""
    work = f"{expected.steps} steps, {expected.tokens:,} tokens"
    memory, disk = gigabytes(expected.peak_bytes), gigabytes(expected.disk_bytes)
    takes = f"About {duration(expected.seconds)} on this machine: {work}, {memory} of memory, {disk} of disk."
    return [takes, DOUBTFUL] if doubtful else [takes]


def duration(seconds: float) -> str:
    """A time as people say it: "40 seconds", "7 minutes", "1 hour 20 minutes"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} second{'s' if round(seconds) > 1 else ''}"
    hours, minutes = divmod(round(seconds / 60), 60)
    parts = [(hours, "hour"), (minutes, "minute")]
    return " ".join(f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in parts if count)
