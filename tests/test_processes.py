"""Several processes do what one does: the same losses, the same labels, checkpoints that any number goes on with."""

from functools import partial

import numpy as np
import pytest
import torch
from ranks_for_tests import together
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.config import TrainSettings
from unlearning.methods.examples import next_token_example
from unlearning.models.adapters import AdapterFamily, FullFamily
from unlearning.models.team import ALONE
from unlearning.training.loop import Term, train

pytestmark = pytest.mark.slow

GENERATOR = np.random.default_rng(0)
EXAMPLES = [next_token_example(GENERATOR.integers(3, 300, int(size)).tolist()) for size in (12, 20, 7, 16, 9)]
# Batches of 4 and then 1: with four processes the last pass of an epoch leaves three of them without a block.
SETTINGS = TrainSettings(epochs=3, learning_rate=1e-2, batch_blocks=4)
TOLERANCE = 2e-4  # relative, float32, after six steps of AdamW: sums of gradients in another order
FAMILIES = {"lora": lambda model, tok: AdapterFamily(model, tok, rank=4), "full": FullFamily}
LAYOUTS = [(2, False), (4, False), (2, True), (4, True)]  # processes, split weights


def model_of(mode):
    tokenizer = byte_level_bpe()
    family = FAMILIES[mode](tiny_llama(tokenizer).requires_grad_(False), tokenizer)
    torch.manual_seed(2)
    return family.create("unlearned")


def losses_of(mode, team=ALONE, checkpoints=None, stop_after=None, measure=None):
    """Train; gives (step, loss, loss of the retain term) of each step. The last process alone is asked to stop."""
    seen = []

    def report(kind, **fields):
        seen.append((fields["step"], fields["loss"], fields["terms"]["retain"]))

    terms = [Term("text", EXAMPLES), Term("retain", EXAMPLES[:3], 0.5, 1)]
    model = model_of(mode)
    more = {"after_step": lambda done, steps: measure(model)} if measure else {}
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
    """One process, then each layout, then one again: each takes a step and stops; the losses are those of one."""
    act = partial(losses_of_both, checkpoints=tmp_path / "checkpoints")
    parts = [act(stop_after=1)]
    parts += [together(size, partial(act, stop_after=1), tmp_path, shard=shard)[0] for size, shard in LAYOUTS]
    parts.append(act())
    found = [[step for part in parts for step in part[mode]] for mode in (0, 1)]
    np.testing.assert_allclose(found, alone, rtol=TOLERANCE)


def test_split_weights_are_split_in_training_and_whole_where_they_are_measured(tmp_path):
    def act(team):
        held, seen = [], []

        def measure(model):
            layer = model.model.layers[0].mlp.up_proj.weight
            held.append(layer.to_local().numel() / layer.numel() if hasattr(layer, "to_local") else 1)
            seen.append(model(torch.arange(3, 9)[None]).logits.sum().item())

        losses_of("full", team, measure=measure)
        return held, seen

    (whole, expected), found = act(ALONE), together(2, act, tmp_path, shard=True)
    assert set(whole) == {1}
    for held, seen in found:
        assert set(held) == {0.5}
        np.testing.assert_allclose(seen, expected, rtol=1e-2)
