"""A run that trains every weight: what is held in memory in which format, and that a resumed one ends the same."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
import torch
from test_survival import new_run
from transformers.models.llama.modeling_llama import LlamaMLP

from unlearning.models.adapters import FullFamily
from unlearning.models.shapes import SHAPES, byte_tokenizer, random_model
from unlearning.training import stages

IDS = torch.arange(3, 40)[None]


def quiet(kind, **fields):
    pass


def formats(family):
    """Number format of every model that is held."""
    return {role: str(model.dtype).removeprefix("torch.") for role, model in family._models.items()}


def test_only_what_is_trained_is_float32_and_frozen_it_is_what_the_disk_gives(tmp_path):
    loaded = random_model(SHAPES["tiny"], "cpu", "bfloat16").eval().requires_grad_(False)
    buffers = {name: buffer.clone() for name, buffer in loaded.named_buffers()}
    family = FullFamily(loaded, byte_tokenizer())
    model = family.create("unlearned")
    assert formats(family) == {None: "bfloat16", "unlearned": "float32"}
    with family.trainable_copy("baseline") as twin:
        assert twin.dtype == torch.float32
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 1e-3)
    trained = copy.deepcopy(model)
    family.save("unlearned", tmp_path / "unlearned")
    family.freeze("unlearned")
    assert formats(family)["unlearned"] == "bfloat16"
    again = FullFamily(loaded, byte_tokenizer())
    again.load("unlearned", tmp_path / "unlearned")
    with family.role("unlearned") as frozen, again.role("unlearned") as read, torch.inference_mode():
        assert torch.equal(frozen(IDS).logits, read(IDS).logits)
        for (name, weight), whole in zip(frozen.named_parameters(), trained.parameters(), strict=True):
            assert torch.equal(weight, whole.bfloat16()) and not weight.requires_grad, name
        kept = dict(frozen.named_buffers())
    assert buffers
    for name, buffer in buffers.items():
        assert kept[name].dtype == buffer.dtype and torch.equal(kept[name], buffer), name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of whole models that is done, and what was held when each of its trainings began."""
    changes = {"model.mode": "full", "model.dtype": "bfloat16", "teach": None, "evaluation.completions": 1}
    folder = new_run(tmp_path_factory.mktemp("whole"), **changes, **{"label.forbid_anchors": True})
    held, right = {}, stages.train

    def train(model, terms, settings, *, stage, after_step, **more):
        def look(done, steps):
            held[stage] = formats(works[0].family)
            after_step(done, steps)

        return right(model, terms, settings, stage=stage, after_step=look, **more)

    works, right_open = [], stages.open_work
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "open_work", lambda *arguments: works.append(right_open(*arguments)) or works[0])
        patch.setattr(stages, "train", train)
        assert stages.execute(folder, quiet)["state"] == "succeeded"
    return folder, held, formats(works[0].family)


def test_a_run_holds_no_whole_model_that_it_does_not_read(run):
    _, held, after = run
    assert held["reinforce"] == {None: "bfloat16", "reinforced": "float32"}
    assert held["finetune"] == {None: "bfloat16", "unlearned": "float32"}
    assert after == {None: "bfloat16", "reinforced": "bfloat16", "unlearned": "bfloat16"}


def measured(folder, role):
    found = json.loads((folder / "stages" / "evaluate" / f"{role}.json").read_text())
    return {name: value for name, value in found.items() if name != "seconds"}


def forget(folder, stage):
    """Let a run be one that has come to this stage."""
    for later in stages.STAGES[stages.STAGES.index(stage) :]:
        for path in (folder / "stages" / later).iterdir():
            if path.name != "retain" or stage != "finetune":  # the retain text's labels are made in the stage before
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("stage", ["label", "finetune", "evaluate"])
def test_from_any_stage_on_a_resumed_run_ends_as_it_would_have(run, tmp_path, stage):
    folder, again = run[0], tmp_path / "again"
    shutil.copytree(folder, again)
    forget(again, stage)
    assert stages.execute(again, quiet)["state"] == "succeeded"
    made = [path for path in sorted((folder / "stages").rglob("*")) if path.suffix in (".safetensors", ".npy", ".bin")]
    assert len(made) > 4
    for path in made:
        assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes(), path.name
    for role in ("baseline", "reinforced", "unlearned"):
        assert measured(again, role) == measured(folder, role), role


def test_the_tokens_that_begin_an_anchor_are_looked_for_once(run, tmp_path, monkeypatch):
    folder, calls, right = tmp_path / "copy", [], stages.opening_tokens
    shutil.copytree(run[0], folder)
    monkeypatch.setattr(stages, "opening_tokens", lambda *arguments: calls.append(arguments) or right(*arguments))
    kept = json.loads((folder / "stages" / "label" / "opening.json").read_text())["tokens"]
    assert kept and stages.open_roles(folder).opening_tokens == kept and not calls
    (folder / "stages" / "label" / "opening.json").unlink()  # a run of an earlier version
    assert stages.open_roles(folder).opening_tokens == kept and len(calls) == 1
    forget(folder, "label")
    calls.clear()
    assert stages.execute(folder, quiet)["state"] == "succeeded" and len(calls) == 1


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activation_checkpointing_changes_what_is_computed_and_not_the_losses(tmp_path, monkeypatch, mode, dtype):
    changes = {"model.mode": mode, "model.dtype": dtype, "evaluation.every_steps": 0, "teach": None}
    found = {}
    for chosen in ("off", "on"):
        folder = new_run(tmp_path / chosen, **changes, **{"model.activation_checkpointing": chosen})
        passes, losses = [], []
        monkeypatch.setattr(LlamaMLP, "forward", counting(LlamaMLP.forward, passes))

        def report(kind, losses=losses, **fields):
            if kind == "step":
                losses.append(fields["loss"])

        stages.run_stage(stages.open_work(folder, report), "reinforce")
        monkeypatch.undo()
        found[chosen] = losses, len(passes)
    assert len(found["off"][0]) > 2 and found["on"][0] == found["off"][0]
    assert found["on"][1] == 2 * found["off"][1]


def counting(forward, calls):
    def counted(self, *arguments):
        calls.append(1)
        return forward(self, *arguments)

    return counted
