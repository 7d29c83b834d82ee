"""The stages of a run, in order: teach → reinforce → label → finetune → evaluate.

`execute` walks them over a run folder. A stage that is done has its `stages/<name>/stage.json`; it is not done
again but its product is loaded, so a run that was stopped or killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from unlearning.config import Settings, TeachSettings, TrainSettings
from unlearning.errors import InputError, LossNotFiniteError, SettingsError
from unlearning.evaluation.collapse import collapse_warning
from unlearning.evaluation.measure import PARTS, MeasureInputs, add_fluency, measure_role, summarise
from unlearning.evaluation.scoring import ask_probes
from unlearning.methods.examples import Example, StoredExamples, next_token_example
from unlearning.methods.generic_labels import label_blocks, opening_tokens, own_predictions
from unlearning.models.adapters import Family, open_family
from unlearning.models.generation import generate
from unlearning.models.hardware import Hardware, choose_hardware, needs_checkpointing
from unlearning.models.heads import context_length
from unlearning.models.loading import encode
from unlearning.models.team import ALONE, Team, join, leave, own_device, share_of_machine
from unlearning.runs import machine
from unlearning.runs.durable import read_json_or_empty
from unlearning.runs.passes import most_blocks
from unlearning.runs.processes import processes_of
from unlearning.runs.queue import extra_steps
from unlearning.runs.record import read_settings
from unlearning.runs.store import HARDWARE
from unlearning.text.anchors import Dictionary, load_dictionary
from unlearning.text.blocks import Block, choose_blocks, cut_blocks, split_held_out
from unlearning.text.occurrences import find_occurrences
from unlearning.text.prompts import Probe, load_completions, load_probes
from unlearning.training.checkpoints import load_checkpoint, newest_step
from unlearning.training.loop import Outcome, Report, Term, activation_checkpointing, count_steps, train
from unlearning.training.shares import put_together, store_examples
from unlearning.training.snapshots import keeper

STAGES = ("teach", "reinforce", "label", "finetune", "evaluate")
PRODUCT = {"teach": "taught", "reinforce": "reinforced", "finetune": "unlearned"}  # stage → role it makes


OPENING = "opening.json"  # in the label stage's folder: `Work.opening_tokens`, for which the whole text is read
WATCHED_TOP = 5  # likeliest next tokens that are kept of each watched prompt


class Stopped(Exception):
    """The run was asked to stop; everything is saved."""


@dataclass
class Work:
    """A run being worked on: its folder, its inputs, its model."""

    folder: Path
    settings: Settings
    hardware: Hardware
    family: Family
    report: Report
    should_stop: Callable[[], bool]
    checkpoint_seconds: float = 60.0
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    team: Team = ALONE

    def stage_folder(self, stage: str) -> Path:
        return self.folder / "stages" / stage

    @cached_property
    def dictionary(self) -> Dictionary:
        return load_dictionary(self.folder / "anchors.json")

    @cached_property
    def opening_tokens(self) -> list[int]:
        """Tokens that begin an anchor in the blocks that are unlearned: as the label stage has kept them."""
        if (kept := read_json_or_empty(self.stage_folder("label") / OPENING).get("tokens")) is not None:
            return [int(token) for token in kept]
        texts = [block.text for block in self.blocks[0]]
        return opening_tokens(texts, self.dictionary, self.family.tokenizer, self.settings.label)

    @cached_property
    def probes(self) -> list[Probe]:
        path = self.folder / "probes.json"
        return load_probes(path) if path.exists() else []

    @cached_property
    def watched(self) -> list[Probe]:
        """Those that somebody has chosen; else every fourth a control, for a curve that should stay flat."""
        wanted = self.settings.evaluation.watch
        if wanted and (chosen := [probe for probe in self.probes if probe.watch]):
            return chosen
        controls = [probe for probe in self.probes if probe.kind == "control"]
        probes = [probe for probe in self.probes if probe.kind != "control"]
        flat = controls[: max(1, wanted // 4)] if wanted else []
        return probes[: max(0, wanted - len(flat))] + flat

    @property
    def block_tokens(self) -> int:
        return self.settings.text.block_tokens or self.hardware.block_hint

    def pass_blocks(self, settings: TrainSettings) -> int:
        """Blocks in one pass: fewer than the settings say once memory has run out (see `runs.passes`)."""
        wanted = settings.pass_blocks or self.hardware.batch_hint
        return min(wanted, most_blocks(self.folder) or wanted)

    @cached_property
    def checkpoints_activations(self) -> bool:
        """Whether training keeps less in memory and computes more (see `needs_checkpointing`): in all processes alike.

        Split weights are gathered once more for it, and all must take part in that.
        """
        with self.family.role("never_taught") as model:
            parameters = sum(weight.numel() for weight in model.parameters())
        taught = _is_taught(self.folder, self.settings)
        needs = needs_checkpointing(self.settings.model, self.hardware, parameters, self.block_tokens, taught)
        return self.team.any(needs)

    @cached_property
    def all_blocks(self) -> list[Block]:
        text = (self.folder / "text.txt").read_text(encoding="utf-8")
        whole = [(found.start, found.end) for found in find_occurrences(text, self.dictionary)]
        return cut_blocks(text, self.family.tokenizer, self.block_tokens, whole)

    @cached_property
    def blocks(self) -> tuple[list[Block], list[Block]]:
        """Blocks to unlearn, and blocks held out (taught, but not unlearned)."""
        settings = self.settings.text
        kept, held_out = split_held_out(self.all_blocks, settings.held_out)
        counts = [len(find_occurrences(block.text, self.dictionary)) for block in kept]
        tokens = [len(encode(self.family.tokenizer, block.text)[0]) for block in kept]
        return choose_blocks(kept, counts, tokens, settings.max_tokens, settings.choose), held_out

    @cached_property
    def retain_blocks(self) -> list[str]:
        return self.retain_pieces(1)

    def retain_pieces(self, pieces: int) -> list[str]:
        """The retain text in pieces, so many to a block."""
        path, most = self.folder / "retain.txt", max(8, self.block_tokens // pieces)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [b.text for b in cut_blocks(text, self.family.tokenizer, most)] if text else []


def plan(settings: Settings) -> list[str]:
    """The stages that these settings ask for, in order."""
    wanted = {"teach": settings.teach is not None, "reinforce": settings.label.use_reinforced}
    return [stage for stage in STAGES if wanted.get(stage, True)]


def execute(
    folder: Path,
    report: Report,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = 60.0,
) -> dict[str, Any]:
    """Do what is left of a run.

    Args:
        folder: The run folder, with `config.json` and the inputs.
        report: Takes every event.
        should_stop: Asked after every step.
        checkpoint_seconds: How often training saves its state.

    Returns:
        `{"state": "succeeded" | "cancelled", "stages": {...}, "evaluation": {...}}`.
    """
    work = open_work(folder, report, should_stop, checkpoint_seconds)
    _keep_hardware(work)
    try:
        for stage in plan(work.settings):
            run_stage(work, stage)
    except Stopped:
        leave(work.team)
        words = what_is_left(folder)
        report("note", message=words)
        return {"state": "cancelled", "stages": work.summaries, "left": words}
    leave(work.team)
    evaluation = work.summaries["evaluate"]["evaluation"]
    return {
        "state": "succeeded", "stages": work.summaries, "evaluation": evaluation, "headline": evaluation["headline"],
    }  # fmt: skip


def execute_teach(folder: Path, report: Report, should_stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """As `execute`, of a run that is only to teach."""
    work = open_work(folder, report, should_stop)
    _keep_hardware(work)
    try:
        run_stage(work, "teach")
    except Stopped:
        return {"state": "cancelled", "stages": work.summaries}
    finally:
        leave(work.team)
    return {"state": "succeeded", "stages": work.summaries}


def _keep_hardware(work: Work) -> None:
    if work.team.main:
        facts = {"machine": machine.name(), "processes": work.team.size}
        write_json(work.folder / HARDWARE, asdict(work.hardware) | facts)


def open_work(
    folder: Path,
    report: Report,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = 60.0,
) -> Work:
    """Read a run's settings, meet the other processes if there are any, and load the model.

    The taught adapter comes with it if the run brings one.
    """
    settings = read_settings(folder)
    taught = _is_taught(folder, settings)
    chosen = choose_hardware(own_device(settings.model), block_tokens=settings.text.block_tokens, taught=taught)
    own = share_of_machine(chosen)
    team = join(own.device, processes_of(folder).shard)
    hardware = _agreed(team, _hardware_it_began_with(folder, own, team.size))
    if team.size > 1:
        report("note", message=f"{team.size} processes work on this{', its weights split' if team.shard else ''}.")
    for line in hardware.describe(settings, most_blocks(folder)):
        report("note", message=line)
    family = open_family(settings.model, hardware, report)
    work = Work(folder, settings, hardware, family, report, should_stop, checkpoint_seconds, team=team)
    with family.role("never_taught") as model:
        longest = context_length(model)
    if work.block_tokens > longest:
        raise SettingsError(
            f"text.block_tokens is {work.block_tokens}, and {settings.model.name} reads {longest} tokens.",
            f"Set text.block_tokens to {longest} or less.",
        )
    if work.checkpoints_activations:
        report("note", message="Activations are computed anew in backward passes: slower, and it takes less memory.")
    if (folder / "taught").is_dir():
        family.load("taught", folder / "taught")
    return work


def _is_taught(folder: Path, settings: Settings) -> bool:
    return settings.teach is not None or (folder / "taught").is_dir()


def _hardware_it_began_with(folder: Path, now: Hardware, processes: int = 1) -> Hardware:
    """A run that is resumed on the same machine keeps the number format, threads and passes of its first attempt.

    Each of them is chosen from what the machine has to spare at the moment, and each changes the last bits of a loss.
    Threads and passes are those of so many processes.
    """
    kept = read_json_or_empty(folder / HARDWARE)
    if (kept.get("device"), kept.get("machine")) != (now.device, machine.name()):
        return now
    same = ("dtype", "block_hint") + (("threads", "batch_hint") if kept.get("processes", 1) == processes else ())
    return replace(now, **{name: kept[name] for name in same if name in kept})


def _agreed(team: Team, own: Hardware) -> Hardware:
    """What must be the same in all processes, as the main one has chosen it."""
    same = ("dtype", "block_hint", "batch_hint")
    return replace(own, **team.from_main({name: getattr(own, name) for name in same}))


def what_is_left(folder: Path) -> str:
    """Which models a run that was stopped has, in words: a stage that was interrupted has saved its own."""
    made = {stage: role for stage, role in PRODUCT.items() if (folder / "stages" / stage / role).is_dir()}
    if "finetune" in made:
        finished = (folder / "stages" / "finetune" / "stage.json").exists()
        step = newest_step(folder / "stages" / "finetune" / "checkpoints")
        after = "" if finished or not step else f" after {step} step{'s' if step > 1 else ''}"
        return f"Stopped. The unlearned model as it is{after} can be compared, probed and exported; resume goes on."
    so_far = f" The {' and '.join(made.values())} model{'s' * (len(made) > 1)} can be looked at." if made else ""
    return f"Stopped before anything was unlearned: the model still knows the text.{so_far} Resume goes on."


def open_roles(folder: Path, report: Report = lambda kind, **fields: None) -> Work:
    """Open a run to look at its models: every role that it has made, a stopped run's unlearned model included."""
    work = open_work(folder, report)
    for stage, role in PRODUCT.items():
        if (work.stage_folder(stage) / role).is_dir():
            work.family.load(role, work.stage_folder(stage) / role)
    return work


def run_stage(work: Work, stage: str) -> dict[str, Any]:
    """Do one stage, or load what it made if it is done already."""
    marker = work.stage_folder(stage) / "stage.json"
    if work.team.from_main(marker.exists()):
        work.summaries[stage] = json.loads(marker.read_text(encoding="utf-8"))
        if stage in PRODUCT:
            work.family.load(PRODUCT[stage], work.stage_folder(stage) / PRODUCT[stage])
        return work.summaries[stage]
    if work.team.any(work.should_stop()):  # it was asked for as the stage before came to its end
        raise Stopped
    work.report("stage", stage=stage, state="started")
    machine.give_back_memory()  # what loading and the stage before have left: this one's pieces have other sizes
    began = time.monotonic()
    summary = _STAGES[stage](work)
    summary["seconds"] = time.monotonic() - began
    work.summaries[stage] = summary = work.team.from_main(summary)
    if work.team.main:
        write_json(marker, summary)
    work.report("stage", stage=stage, state="done", seconds=summary["seconds"])
    return summary


def write_json(path: Path, value: Any) -> None:
    """Write elsewhere, then rename: a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def _teach(work: Work) -> dict[str, Any]:
    settings = work.settings.teach or TeachSettings()
    texts = _retained(work, settings, len(work.all_blocks))
    if texts:
        _save_retained(work, "teach", texts, "never_taught", settings, _Progress(work, "teach", len(texts)))
    return _train(work, "teach", Term("next_token", _next_token_examples(work, work.all_blocks)), settings)


def _reinforce(work: Work) -> dict[str, Any]:
    settings = work.settings.reinforce
    texts = _retained(work, settings, len(work.blocks[0]))
    if texts:
        progress = _Progress(work, "reinforce", len(texts))
        _save_retained(work, "reinforce", texts, "baseline", settings, progress)
    return _train(work, "reinforce", Term("next_token", _next_token_examples(work, work.blocks[0])), settings)


def _label(work: Work) -> dict[str, Any]:
    """Generic labels of the blocks to unlearn, and the baseline's own predictions on the retain text."""
    settings, folder = work.settings, work.stage_folder("label")
    blocks = [block.text for block in work.blocks[0]]
    retain = _retained(work, settings.finetune, len(blocks), extra_steps(work.folder))
    opening = work.team.from_main(work.opening_tokens if work.team.main else None)
    if work.team.main:
        write_json(folder / OPENING, {"tokens": opening})
    passes = settings.label.draws + settings.label.use_reinforced + (settings.finetune.where == "changed")
    progress = _Progress(work, "label", len(blocks), passes, len(retain), settings.finetune.retain_pieces)
    batch = work.pass_blocks(settings.finetune)
    labels = partial(
        label_blocks, blocks, work.dictionary, work.family.tokenizer,
        partial(work.family.role, "baseline"), partial(work.family.role, "reinforced"), settings.label, opening,
        settings.seed, batch, settings.finetune.where == "changed", progress,
    )  # fmt: skip
    _store(work, folder / "labels", labels, blocks, batch, progress)
    progress.before = len(blocks)
    _save_retained(work, "finetune", retain, "baseline", settings.finetune, progress)
    labelled = sum(len(example.positions) for example in StoredExamples(folder / "labels"))
    return {
        "blocks": len(blocks),
        "labelled": labelled,
        "retain_blocks": math.ceil(len(retain) / settings.finetune.retain_pieces),
    }


def _finetune(work: Work) -> dict[str, Any]:
    labels = StoredExamples(work.stage_folder("label") / "labels")
    watch = _watch(work)
    if work.settings.model.mode == "full":  # the labels are made: a whole model's room goes to the optimiser
        work.family.drop("reinforced")
        machine.give_back_memory()
    # Of split weights no process has a whole adapter, and nothing may hold on to the model (see _open_whole_again).
    keeps = work.settings.model.mode == "lora" and work.team.main and not work.team.shard
    keep = keeper(work.family, work.folder) if keeps else None

    def after_step(done: int, steps: int) -> None:
        watch(done, steps)
        if keep:
            keep(done, steps)

    return _train(work, "finetune", Term("generic", labels), work.settings.finetune, after_step)


def _evaluate(work: Work) -> dict[str, Any]:
    """Measure every role that exists; what was measured before a stop is kept."""
    if "reinforce" in work.summaries and not work.family.has("reinforced"):  # `_finetune` may have let go of it
        work.family.load("reinforced", work.stage_folder("reinforce") / "reinforced")
    inputs, roles = measure_inputs(work), measured_roles(work)
    paths = {role: work.stage_folder("evaluate") / f"{role}.json" for role in roles}
    mine = sorted(work.team.share(roles), key=lambda role: not paths[role].exists())  # those that are kept come first
    progress = _Progress(work, "evaluate", PARTS * len(mine))
    progress.kept(PARTS * sum(paths[role].exists() for role in mine))
    with _each_on_its_own(work.team):
        for place, role in enumerate(mine):
            if not paths[role].exists():
                with work.family.role(role) as model:
                    report = partial(_report_part, work, progress, role, PARTS * place)
                    measured = measure_role(
                        model, work.family.tokenizer, inputs, work.settings.evaluation, report, seed=work.settings.seed
                    )
                write_json(paths[role], measured)
            if work.should_stop():
                raise Stopped
    if not work.team.main:
        return {}
    by_role = {role: json.loads(path.read_text(encoding="utf-8")) for role, path in paths.items()}
    with work.family.role("baseline") as model:
        add_fluency(model, work.family.tokenizer, by_role)  # the judge of fluency is the baseline
    for role, measured in by_role.items():
        write_json(work.stage_folder("evaluate") / f"{role}.json", measured)
    evaluation = summarise(by_role)
    if words := collapse_warning(evaluation["metrics"], work.settings):
        work.report("warning", message=words)
        evaluation["warnings"] = [words]
    return {"evaluation": evaluation}


@contextmanager
def _each_on_its_own(team: Team) -> Iterator[None]:
    """For work that each process does by itself: who is asked to stop stops, and once all are done, all of them do."""
    stopped = False
    try:
        yield
    except Stopped:
        stopped = True
    if team.any(stopped):
        raise Stopped


def _report_part(work: Work, progress: _Progress, role: str, before: int, kind: str, **fields: Any) -> None:
    """Report what `measure_role` tells, and end between two parts of it if that was asked for."""
    if kind != "step":
        work.report(kind, stage="evaluate", role=role, **fields)
        return
    progress.tell(before + fields["step"])
    if fields["step"] < PARTS and work.should_stop():  # after the last one, what was measured is saved first
        raise Stopped


def measure_inputs(work: Work) -> MeasureInputs:
    """What every role of a run is asked."""
    (kept, held_out), completions = work.blocks, work.folder / "completions.json"
    return MeasureInputs(
        dictionary=work.dictionary,
        probes=work.probes,
        completions=load_completions(completions) if completions.exists() else [],
        themes=_lines(work.folder / "themes.txt"),
        forget=[block.text for block in kept],
        held_out=[block.text for block in held_out],
        unrelated=_unrelated(work),
    )


def measured_roles(work: Work) -> list[str]:
    """The roles worth measuring: without a taught adapter the never-taught model is the baseline itself."""
    roles = [role for role in ("never_taught", "baseline", "reinforced", "unlearned") if work.family.has(role)]
    return roles if work.family.has("taught") else [role for role in roles if role != "never_taught"]


_STAGES: dict[str, Callable[[Work], dict[str, Any]]] = {
    "teach": _teach, "reinforce": _reinforce, "label": _label, "finetune": _finetune, "evaluate": _evaluate,
}  # fmt: skip


def _train(
    work: Work,
    stage: str,
    term: Term,
    settings: TrainSettings,
    after_step: Callable[[int, int], None] = lambda done, steps: None,
) -> dict[str, Any]:
    if not term.examples:
        raise InputError("The text has no block to train on.", "Give a longer text or a smaller text.held_out.")
    folder, role = work.stage_folder(stage), PRODUCT[stage]
    terms = [term]
    if (folder / "retain").is_dir():
        pieces = settings.retain_pieces
        retain = StoredExamples(folder / "retain")
        terms.append(Term("retain", retain, settings.retain_weight, settings.retain_blocks * pieces, pieces))
    _seed(f"{work.settings.seed}/{stage}")
    try:
        with activation_checkpointing(work.family.create(role), work.checkpoints_activations) as model:
            outcome: Outcome = train(
                model, terms, settings,
                stage=stage, seed=work.settings.seed, dtype=work.hardware.dtype,
                pass_blocks=work.pass_blocks(settings), report=work.report,
                should_stop=work.should_stop, after_step=after_step,
                checkpoints=folder / "checkpoints", checkpoint_seconds=work.checkpoint_seconds,
                extra_steps=extra_steps(work.folder) if stage == "finetune" else 0, team=work.team,
            )  # fmt: skip
        del model
    except LossNotFiniteError:
        if work.team.main and not work.team.shard:
            work.family.save(role, folder / role)  # that of the last good step, to look at
        raise
    if work.team.shard:
        _open_whole_again(work, stage)
    if work.team.main:
        work.family.save(role, folder / role)
    work.family.freeze(role)
    work.team.wait()
    if outcome.done < outcome.steps:
        raise Stopped
    return {"steps": outcome.steps, "tokens": outcome.tokens}


def _open_whole_again(work: Work, stage: str) -> None:
    """Training with split weights has taken the model apart: load it anew, and what was trained from its checkpoint."""
    del work.family
    machine.give_back_memory()
    work.family = open_family(work.settings.model, work.hardware)
    if (work.folder / "taught").is_dir():
        work.family.load("taught", work.folder / "taught")
    for earlier in STAGES[: STAGES.index(stage)]:
        if earlier in PRODUCT and earlier in work.summaries:
            work.family.load(PRODUCT[earlier], work.stage_folder(earlier) / PRODUCT[earlier])
    trained = work.family.create(PRODUCT[stage])
    load_checkpoint(work.stage_folder(stage) / "checkpoints", trained, team=work.team)


def _seed(name: str) -> None:
    """A new adapter begins at random: the same in a run that was resumed as in one that was not."""
    import torch

    torch.manual_seed(zlib.crc32(name.encode()))


def _retained(work: Work, settings: TrainSettings, blocks: int, extra: int = 0) -> list[str]:
    """The unrelated prose that a stage is to stay close on: no more of it, evenly spread, than its steps will read."""
    if not (settings.retain_weight and settings.retain_blocks):
        return []
    texts = work.retain_pieces(settings.retain_pieces)
    wanted = min(len(texts), (count_steps(blocks, settings) + extra) * settings.retain_blocks * settings.retain_pieces)
    return [texts[index * len(texts) // wanted] for index in range(wanted)]


def _save_retained(
    work: Work, stage: str, texts: list[str], role: str, settings: TrainSettings, progress: _Progress
) -> None:
    """Store what `role` predicts on the retain text, for the retain term of `stage`."""
    if not texts:
        return
    batch = work.pass_blocks(settings) * settings.retain_pieces
    kept = partial(
        own_predictions,
        texts, work.family.tokenizer, partial(work.family.role, role), work.settings.label.top_k, batch, progress,
        sure=settings.retain_sure,
    )  # fmt: skip
    _store(work, work.stage_folder(stage) / "retain", kept, texts, batch, progress)


def _store(
    work: Work,
    folder: Path,
    make: Callable[..., Iterator[Example]],
    texts: Sequence[str],
    batch: int,
    progress: _Progress,
) -> None:
    """Save what `make(first=…)` makes of the texts, from where an earlier attempt at the same was stopped or killed.

    Whole batches are kept: what a model says of a block may differ in its last bits with the blocks beside it.
    """
    what = hashlib.sha256(json.dumps([batch, work.hardware.dtype, machine.name(), *texts]).encode()).hexdigest()
    with _each_on_its_own(work.team):
        store_examples(make, folder, len(texts), batch, what, work.team, progress.kept, work.checkpoint_seconds)
    put_together(folder, len(texts), batch, what, work.team)


def _next_token_examples(work: Work, blocks: Sequence[Block]) -> list[Example]:
    return [next_token_example(encode(work.family.tokenizer, block.text)[0]) for block in blocks]


def _watch(work: Work) -> Callable[[int, int], None]:
    """Measure the watched prompts every few steps of fine-tuning, and write a completion every quarter of it."""
    every, watched, tokenizer = work.settings.evaluation.every_steps, work.watched, work.family.tokenizer

    def after_step(done: int, steps: int) -> None:
        if not watched or not every or (done % every and done != steps):
            return
        with work.family.role("unlearned") as model:
            found = ask_probes(model, tokenizer, watched, WATCHED_TOP)
            work.report(
                "probe", stage="finetune", step=done,
                probabilities=[
                    {"prompt": probe.prompt, "target": target, "kind": probe.kind, "p": p, "top": top}
                    for probe, (row, top) in zip(watched, found, strict=True)
                    for target, p in zip(probe.targets, row, strict=True)
                ],
            )  # fmt: skip
            if done == steps or done % max(every, steps // 4 // every * every) == 0:
                text = generate(model, tokenizer, [watched[0].prompt], work.settings.evaluation.completion_tokens)[0]
                work.report("sample", stage="finetune", step=done, prompt=watched[0].prompt, text=text)

    return after_step


class _Progress:
    """Turns "so many are done" into step events with time left, and a request to stop into an end.

    Args:
        blocks: Blocks to do, each read in `passes` passes.
        pieces: Then so many pieces of retain text, of which `a_block` are read like one block.
    """

    def __init__(self, work: Work, stage: str, blocks: int, passes: int = 1, pieces: int = 0, a_block: int = 1) -> None:
        self.work, self.stage, self.blocks, self.passes = work, stage, blocks, passes
        self.pieces, self.a_block = pieces, a_block
        self.before = self.first = 0
        self.began = time.monotonic()

    def kept(self, done: int) -> None:
        """So many of them were done by an earlier attempt."""
        self.first += done

    def __call__(self, done: int) -> None:
        self.tell(done)
        if self.work.should_stop():
            raise Stopped

    def tell(self, done: int) -> None:
        """Report without asking for a request to stop."""
        done += self.before
        spent, left = (
            self._read(done) - self._read(self.first),
            self._read(self.blocks + self.pieces) - self._read(done),
        )
        seconds_left = (time.monotonic() - self.began) / spent * left
        step, steps = self._in_blocks(done), self._in_blocks(self.blocks + self.pieces)
        self.work.report("step", stage=self.stage, step=step, steps=steps, seconds_left=seconds_left)

    def _read(self, done: int) -> float:
        """Blocks read for so many."""
        return min(done, self.blocks) * self.passes + max(0, done - self.blocks) / self.a_block

    def _in_blocks(self, done: int) -> int:
        return min(done, self.blocks) + math.ceil(max(0, done - self.blocks) / self.a_block)


def _unrelated(work: Work) -> list[str]:
    path = work.folder / "unrelated.txt"
    if not path.exists():
        return []
    blocks = cut_blocks(path.read_text(encoding="utf-8"), work.family.tokenizer, work.block_tokens)
    return [block.text for block in blocks]


def _lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
