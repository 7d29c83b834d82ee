"""Several processes do what one does: the same losses, the same labels, checkpoints that any number goes on with."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ranks_for_tests import together
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.config import LabelSettings, TrainSettings
from unlearning.methods.examples import StoredExamples, next_token_example
from unlearning.methods.generic_labels import label_blocks, opening_tokens
from unlearning.models.adapters import AdapterFamily, FullFamily
from unlearning.models.heads import unwrap
from unlearning.models.team import ALONE
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.training.loop import Term, train
from unlearning.training.shares import put_together, store_examples

pytestmark = pytest.mark.slow

GENERATOR = np.random.default_rng(0)
EXAMPLES = [next_token_example(GENERATOR.integers(3, 300, int(size)).tolist()) for size in (12, 20, 7, 16, 9)]
# Batches of 4 and then 1: with four processes the last pass of an epoch leaves three of them without a block.
SETTINGS = TrainSettings(epochs=2, learning_rate=1e-2, batch_blocks=4)
TOLERANCE = 2e-4  # relative, float32, after four steps of AdamW: sums of gradients in another order
FAMILIES = {"lora": lambda model, tok: AdapterFamily(model, tok, rank=4), "full": FullFamily}
LAYOUTS = [(2, False), (4, False), (2, True), (4, True)]  # processes, split weights


def family_of(mode):
    tokenizer = byte_level_bpe()
    return FAMILIES[mode](tiny_llama(tokenizer).requires_grad_(False), tokenizer)


def losses_of(mode, team=ALONE, checkpoints=None, stop_after=None, measure=None):
    """Train; gives (step, loss, loss of the retain term) of each step. The last process alone is asked to stop."""
    seen = []

    def report(kind, **fields):
        seen.append((fields["step"], fields["loss"], fields["terms"]["retain"]))

    terms = [Term("text", EXAMPLES), Term("retain", EXAMPLES[:3], 0.5, 1)]
    family = family_of(mode)
    torch.manual_seed(2)
    model = family.create("unlearned")
    more = {"after_step": lambda done, steps: measure(family)} if measure else {}
    train(
        model, terms, SETTINGS, stage="test", pass_blocks=1, report=report, team=team,
        checkpoints=checkpoints and checkpoints / mode,
        should_stop=lambda: team.rank == team.size - 1 and len(seen) == stop_after, **more,
    )  # fmt: skip
    return seen


def losses_of_both(team=ALONE, **more):
    return [losses_of("lora", team, **more), losses_of("full", team, **more)]


@pytest.fixture(scope="module")
def alone():
    return losses_of_both()


@pytest.mark.parametrize(("size", "shard"), LAYOUTS)
def test_the_losses_are_those_of_one_process(alone, tmp_path, size, shard):
    """Low-rank and full, plain and with split weights."""
    for found in together(size, losses_of_both, tmp_path, shard=shard):
        np.testing.assert_allclose(found, alone, rtol=TOLERANCE)


def test_any_layout_goes_on_from_any_other(alone, tmp_path):
    """One process, two, four with split weights, one: each takes a step and stops; the losses are those of one."""
    act = partial(losses_of_both, checkpoints=tmp_path / "checkpoints")
    parts = [act(stop_after=1)]
    parts += [
        together(size, partial(act, stop_after=1), tmp_path, shard=shard)[0]
        for size, shard in (LAYOUTS[0], LAYOUTS[-1])
    ]
    parts.append(act())
    found = [[step for part in parts for step in part[mode]] for mode in (0, 1)]
    np.testing.assert_allclose(found, alone, rtol=TOLERANCE)


@pytest.mark.parametrize("mode", FAMILIES)
def test_split_weights_are_split_in_training_and_whole_where_they_are_measured(tmp_path, mode):
    def act(team):
        held, seen = [], []

        def measure(family):
            with family.role("unlearned") as model:
                layer = unwrap(model).model.layers[0].input_layernorm.weight
                held.append(layer.to_local().numel() / layer.numel() if hasattr(layer, "to_local") else 1)
                seen.append(model(torch.arange(3, 9)[None]).logits.sum().item())

        losses_of(mode, team, measure=measure)
        return held, seen

    (whole, expected), found = act(ALONE), together(2, act, tmp_path, shard=True)
    assert set(whole) == {1} and len(expected) == 5
    for held, seen in found:
        assert set(held) == {0.5}
        np.testing.assert_allclose(seen, expected, rtol=1e-2)


BLOCKS = [f"Orlo met Wisk at the weir on day {day}, " + "and Wisk spoke, " * (day % 4) for day in range(9)]
ANCHORS = Dictionary((Anchor("Orlo", ("Peter", "Martin")), Anchor("Wisk", ("Grey",))))


def make_labels(folder, team=ALONE, stop_after=None):
    """Generic labels of nine blocks, two in a pass: with four processes five passes, with six an empty share."""
    tokenizer = byte_level_bpe()
    torch.manual_seed(3)
    family = AdapterFamily(tiny_llama(tokenizer).requires_grad_(False), tokenizer, rank=4)
    model = family.create("reinforced")
    torch.nn.init.normal_(model.get_base_model().model.layers[0].mlp.up_proj.lora_B["reinforced"].weight)
    roles, done = (partial(family.role, "baseline"), partial(family.role, "reinforced")), []

    def report_block(number):
        done.append(number)
        if len(done) == stop_after:
            raise InterruptedError

    settings = LabelSettings(top_k=4)
    opening = opening_tokens(BLOCKS, ANCHORS, tokenizer, settings)
    make = partial(label_blocks, BLOCKS, ANCHORS, tokenizer, *roles, settings, opening, 5, 2, True, report_block)
    try:
        store_examples(make, folder, len(BLOCKS), 2, "labels", team, lambda first: None, 60)
        stopped = False
    except InterruptedError:
        stopped = True
    if not team.any(stopped):
        put_together(folder, len(BLOCKS), 2, "labels", team)
    return len(done)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@pytest.mark.parametrize("size", [2, 6])
def test_labels_made_together_are_the_same_to_the_byte(tmp_path, size):
    assert make_labels(tmp_path / "alone") == 5
    expected = content(tmp_path / "alone")
    assert len(StoredExamples(tmp_path / "alone")) == len(BLOCKS) and len(expected["target_ids.bin"]) > 100
    # the first process is stopped after one pass, and goes on from there with the others
    parts = together(size, lambda team: make_labels(tmp_path / "labels", team, 1 - team.rank or None), tmp_path)
    assert not (tmp_path / "labels").exists()
    rest = together(size, partial(make_labels, tmp_path / "labels"), tmp_path)
    assert content(tmp_path / "labels") == expected
    assert sum(parts) + sum(rest) == 5 and not list(tmp_path.glob("labels-*"))
