"""Anchors from a language model that the owner of the page has set up; asked in a line of its own.

A visitor never names the address: the page would fetch any address for anyone.
"""

from __future__ import annotations

from typing import Any

from unlearning.endpoint import MODEL_VARIABLE, URL_VARIABLE, Endpoint
from unlearning.endpoint import configured as endpoint_set_up
from unlearning.errors import AnchorError
from unlearning.text.anchors import Dictionary
from unlearning.ui.drafts import Draft
from unlearning.ui.jobs import Job, Jobs

SET_UP = f"Whoever runs this page sets {URL_VARIABLE} and {MODEL_VARIABLE} in its environment."

_asking = Jobs()


def configured() -> bool:
    """Whether the owner of the page has named a language model to ask."""
    return endpoint_set_up() is not None


def ask(draft: Draft) -> str:
    """Let the language model read the draft's text; gives the job to look at. What it finds is in the dictionary then.

    Raises:
        AnchorError: none is set up.
    """
    endpoint = endpoint_set_up()
    if endpoint is None:
        raise AnchorError("No language model is set up for suggestions.", SET_UP)
    return _asking.ask(lambda job: {"said": _propose(draft, endpoint, job)})


def look(question: Any) -> dict[str, Any]:
    """How far it is, for the page."""
    return _asking.look(question)


def _propose(draft: Draft, endpoint: Endpoint, job: Job) -> str:
    from unlearning.text.proposals_llm import propose_with_llm

    def report(kind: str, **fields: Any) -> None:
        if kind == "step":
            step, steps = fields["step"], fields["steps"]
            job.say(share=step / steps, message=f"The language model has read {step} of {steps} passages …")

    job.say(message="The language model reads the text …")
    found = propose_with_llm(draft.text, endpoint, report=report)
    with draft.lock:
        return take_suggestions(draft, found)


def take_suggestions(draft: Draft, found: Dictionary) -> str:
    """Put what is new below what is there; gives a sentence about it."""
    known = {anchor.term.casefold() for anchor in draft.dictionary.anchors}
    new = tuple(anchor for anchor in found.anchors if anchor.term.casefold() not in known)
    if not new:
        return "Nothing was found that is not in the table already."
    draft.change(Dictionary((*draft.dictionary.anchors, *new)), f"{len(new)} suggestions")
    return f"{len(new)} anchors suggested. Look through them: switch off or mend what does not fit."
