"""The questions of the Compare screen, as jobs for the line: they open a run's models and ask them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.errors import InputError
from unlearning.evaluation import recorded
from unlearning.runs import store
from unlearning.ui import inference, nexts
from unlearning.ui.jobs import Job
from unlearning.ui.roles import ROLES
from unlearning.ui.writing import Column, write_together

if TYPE_CHECKING:
    from unlearning.training.stages import Work
    from unlearning.ui.host import ModelHost

ASK_NOT_TO_KNOW = (  # the baseline with nothing but a request (Thaker et al. 2024: a strong baseline)
    "The following was written by somebody who has never read {title} and knows nothing about it.\n\n"
)
BEHIND = "waits for the others"  # said in a column that has not begun


@dataclass(frozen=True)
class Wishes:
    """What somebody wants written.

    Attributes:
        prompt: To go on from.
        roles: A column each.
        other: Id of another run whose unlearned model is a column too; "" for none.
        strength: Of forgetting: the unlearned model is baseline + strength · (unlearned − baseline). That of the other
            run stays as it is.
    """

    prompt: str
    roles: tuple[str, ...]
    other: str
    tokens: int
    temperature: float
    seed: int
    strength: float = 1.0


def columns_of(workspace: Path, folder: Path, wishes: Wishes) -> list[dict[str, str]]:
    """What stands above each column: {key, role, title, about}.

    Raises:
        InputError: no column.
    """
    chosen = _chosen(folder, wishes)
    found = [{"key": role, "role": role, "title": ROLES[role].title, "about": ""} for role in chosen]
    if wishes.strength != 1 and "unlearned" in chosen:
        found[chosen.index("unlearned")]["title"] += f", at strength {wishes.strength:g}"
    if wishes.other:
        name = store.load(store.runs_folder(workspace) / wishes.other).name
        found.append({"key": "other", "role": "unlearned", "title": "after, in another run", "about": name})
    if not found:
        raise InputError("No model is chosen.", "Tick at least one.")
    return found


def _chosen(folder: Path, wishes: Wishes) -> list[str]:
    """The roles that get a column, in their order."""
    there = {*recorded.roles_on_disk(folder), "prompt_only"}
    return [role for role in ROLES if role in wishes.roles and role in there]


def write(host: ModelHost, run_id: str, wishes: Wishes, job: Job) -> dict[str, Any]:
    """Let every column go on; the job shows the texts while they grow."""
    if not host.ready(run_id):
        job.say(None, 0.0, "Loading the model …")
    with host.open(run_id) as work, _at(work, wishes.strength):
        roles = _chosen(work.folder, wishes)
        columns = [
            Column(_opened(work, role), _prompt(work, role, wishes.prompt), wishes.prompt, _model_of(role))
            for role in roles
        ]
        shown = list(columns)

        def show(share: float) -> None:
            job.say(_texts(shown, BEHIND if wishes.other else ""), share * (0.7 if wishes.other else 1.0))

        if columns:
            tokens, temperature, seed = wishes.tokens, wishes.temperature, wishes.seed
            write_together(columns, work.family.tokenizer, tokens, temperature, seed, show, work.family)
    if wishes.other:  # after the other, never inside: whoever held two runs' models could be waited for, for ever
        if not host.ready(wishes.other):
            job.say(_texts(shown, "Loading its model …"), 0.7)
        with host.open(wishes.other) as work:
            last = Column(_opened(work, "unlearned"), wishes.prompt)
            shown.append(last)
            write_together(
                [last], work.family.tokenizer, wishes.tokens, wishes.temperature, wishes.seed,
                lambda share: job.say(_texts(shown), 0.7 + 0.3 * share),
            )  # fmt: skip
    return _texts(shown)


def _texts(columns: list[Column], waits: str = "") -> dict[str, Any]:
    """What is written so far; with one column more, if it `waits` and says for what."""
    texts: list[dict[str, Any]] = [{"text": column.text, "ended": column.ended} for column in columns]
    return {"columns": texts + ([{"text": "", "ended": False, "waits": waits}] if waits else [])}


def _prompt(work: Work, role: str, prompt: str) -> str:
    return ASK_NOT_TO_KNOW.format(title=_title(work.folder)) + prompt if role == "prompt_only" else prompt


def _title(folder: Path) -> str:
    title = str((store.load(folder).config.get("text") or {}).get("title") or "").strip()
    return f"“{title}”" if title else "the story"


def _opened(work: Work, role: str) -> inference.Opened:
    return partial(_open, work, _model_of(role))


def _at(work: Work, strength: float) -> AbstractContextManager[None]:
    """For as long as the block lasts, the run's models with forgetting at this strength."""
    changed: AbstractContextManager[None] = work.family.strength("unlearned", strength)
    return changed if strength != 1 else nullcontext()


def _model_of(role: str) -> str:
    """The role whose model writes a column."""
    return "baseline" if role == "prompt_only" else role


def _open(work: Work, role: str) -> AbstractContextManager[Any]:
    opened: AbstractContextManager[Any] = work.family.role(role)
    return opened


def say_next(host: ModelHost, folder: Path, text: str, following: str, job: Job, strength: float = 1) -> dict[str, Any]:
    """What every role would say after a text; with the word that follows in truth, also its curve over the steps."""
    with _loaded(host, folder.name, job) as work, _at(work, strength):
        found = nexts.next_table(work, text, each=10 if following else nexts.SHOWN_EACH, following=following)
        if following:
            job.say(found, 0.5)
            known = recorded.curve_at(folder, text, following) if strength == 1 else None
            found["curve"] = known or over_steps(work, found, job)
    return found


def over_steps(work: Work, found: dict[str, Any], job: Job) -> dict[str, Any] | None:
    """The probability of the word that follows in truth over the steps of forgetting: asked of the adapters that the
    run has kept, between its two ends; of runs without any, the ends alone."""
    from unlearning.training.snapshots import snapshots, through_snapshots

    row = next((row for row in found["rows"] if row["token"] == found["actual"]), None)
    if row is None or "unlearned" not in row["p"]:
        return None
    before, after, steps = row["p"]["baseline"], row["p"]["unlearned"], recorded.steps_of(work.folder)
    kept = snapshots(work.folder)
    if not kept:
        return recorded.ends(before, after, steps)
    points = [(0, before)]
    with closing(through_snapshots(work.family, work.folder)) as models:  # the run's own adapter is back at its end
        for step, model in models:
            points.append((step, nexts.probability(model, work.family.tokenizer, found["text"], row["id"])))
            job.say(found, 0.5 + 0.5 * len(points) / len(kept))
    note = "Measured just now with the adapters that the run has kept of these steps."
    return {"points": [*points, (steps, after)], "steps": steps, "recorded": True, "note": note}


def read_text(host: ModelHost, folder: Path, text: str, job: Job, strength: float = 1) -> dict[str, Any]:
    """How the models before and after saw every token of a text coming."""
    with _loaded(host, folder.name, job) as work, _at(work, strength):
        roles = [role for role in ("baseline", "unlearned") if work.family.has(role)]
        models = {role: _opened(work, role) for role in roles}
        return inference.measure_text(
            models, work.family.tokenizer, text, tell=lambda share: job.say(None, share), family=work.family
        )


@contextmanager
def _loaded(host: ModelHost, run_id: str, job: Job) -> Iterator[Work]:
    if not host.ready(run_id):
        job.say(None, 0.0, "Loading the model …")
    with host.open(run_id) as work:
        job.say(None, 0.05)
        yield work
