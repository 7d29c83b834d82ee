"""How well does a model know a draft's text, before anything is trained? Asked of its probes; the answer in words.

The figure is the paper's probability familiarity (WHP §6): the mean probability of the words that only the text tells.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.errors import DocumentError
from unlearning.models.catalogue import CATALOGUE
from unlearning.scenarios import DEFAULT, load_scenario

if TYPE_CHECKING:
    from unlearning.ui.drafts import Draft
    from unlearning.ui.host import ModelHost
    from unlearning.ui.jobs import Job

MOST_PROBES = 24
KNOWN, LITTLE = 0.2, 0.05  # mean probability from which a text counts as known, or as known a little
EXAMPLES = 4


def model_of(draft: Draft) -> str:
    """The model that the draft is for: chosen in the form, else the scenario's, else the default one."""
    chosen = (draft.settings.get("changes") or {}).get("model.name")
    scenario = draft.scenario or load_scenario(DEFAULT)
    return str(chosen or scenario.model)


def taught_of(draft: Draft) -> Path | None:
    """The adapter of the scenario that was taught this very text to this very model."""
    scenario = draft.scenario
    fits = scenario is not None and not draft.own_text and scenario.model == model_of(draft)
    return scenario.taught if scenario is not None and fits else None


def is_here(model: str) -> bool:
    """Whether the model's files are on this machine, so that opening it downloads nothing."""
    from unlearning.models.loading import find_folder, kind_of

    return kind_of(model) == "random" or find_folder(model) is not None


def fetch(model: str, job: Job) -> None:
    """Bring a model's files to this machine, which keeps no question to other models waiting; for `Jobs.ask`.

    Raises:
        UnlearningError: it cannot be had, or its licence was not accepted yet.
    """
    from unlearning.models import catalogue, hub
    from unlearning.models.loading import kind_of

    def report(kind: str, **fields: Any) -> None:
        job.say(message=str(fields.get("message", "")))

    job.say(message="Fetching the model …")
    if kind_of(model) == "hub":
        hub.download(model, report)
    else:
        catalogue.fetch(model, report=report)


def question(host: ModelHost, draft: Draft) -> Callable[[Job], dict[str, Any]]:
    """What to ask the models about a draft; for `Jobs.ask`.

    The answer: model; roles [{role, mean, low, high}]; count; examples [{prompt, target, p: {role: …}}];
    verdict ("well", "a little", "not").
    """
    model, taught, probes = model_of(draft), taught_of(draft), [p for p in draft.probes if p.kind != "control"]
    text = draft.text

    def answer(job: Job) -> dict[str, Any]:
        from unlearning.evaluation.familiarity import probability_familiarity
        from unlearning.evaluation.scoring import target_probabilities

        asked = probes[:: max(1, len(probes) // MOST_PROBES)][:MOST_PROBES] or _proposed(text)
        by_role: dict[str, list[list[float]]] = {}
        job.say(message="Opening the model …")
        with host.plain(model, taught, lambda message: job.say(message=message)) as family:
            roles = [role for role in ("never_taught", "baseline") if taught or role == "baseline"]
            for done, role in enumerate(roles):
                job.say(share=(done + 0.2) / len(roles), message="Asking it about the text …")
                with family.role(role) as one:
                    by_role[role] = target_probabilities(one, family.tokenizer, asked)
        figures = {role: probability_familiarity(rows) for role, rows in by_role.items()}
        examples = [
            {"prompt": p.prompt, "target": p.targets[0], "p": {role: rows[i][0] for role, rows in by_role.items()}}
            for i, p in enumerate(asked)
        ]
        return {
            "model": CATALOGUE[model].title if model in CATALOGUE else model,
            "roles": [{"role": role, **figure.as_dict()} for role, figure in figures.items()],
            "count": len(asked),
            "examples": examples[:: max(1, len(examples) // EXAMPLES)][:EXAMPLES],
            "verdict": verdict(figures["baseline"].value),
        }

    return answer


def verdict(familiarity: float) -> str:
    """In a word, for the sentence "The model knows this text …"."""
    if familiarity >= KNOWN:
        return "well"
    return "a little" if familiarity >= LITTLE else "not"


def _proposed(text: str) -> list[Any]:
    from unlearning.text.cloze import make_probes
    from unlearning.text.proposals import propose_offline

    found = make_probes(text, propose_offline(text, limit=40), MOST_PROBES)
    if not found:
        raise DocumentError(
            "Nothing in this text can be asked for: no name or expression of its own stands inside a sentence.",
            "Write anchors by hand in step 2, or give a longer text.",
        )
    return found
