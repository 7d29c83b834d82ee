"""The training loop: what a step sees, stopping and resuming, accumulation, and the rate."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_models import tiny_gemma3, tiny_gpt2, tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.config import TrainSettings
from unlearning.errors import LossNotFiniteError
from unlearning.methods.examples import Example, next_token_example
from unlearning.models.adapters import AdapterFamily
from unlearning.models.attention import SHORT_TOKENS, WRITTEN_OUT, attend, attention_for_blocks
from unlearning.training.checkpoints import newest_step
from unlearning.training.loop import Term, _passes, blocks_of_step, count_steps, learning_rate, train

GENERATOR = np.random.default_rng(0)
EXAMPLES = [next_token_example(GENERATOR.integers(3, 300, int(size)).tolist()) for size in (12, 20, 7, 16, 9)]
SETTINGS = TrainSettings(epochs=3, learning_rate=1e-2, batch_blocks=2)


def family(make=tiny_llama):
    return AdapterFamily(make(byte_level_bpe()).requires_grad_(False), byte_level_bpe(), rank=4)


def run(model, settings=SETTINGS, terms=None, **more):
    """Train and collect (step, loss)."""
    losses = []

    def report(kind, **fields):
        if kind == "step":
            losses.append((fields["step"], fields["loss"]))

    terms = terms or [Term("text", EXAMPLES), Term("retain", EXAMPLES[:3], 0.5, 1)]
    outcome = train(model, terms, settings, stage="test", report=report, **more)
    return losses, outcome


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])  # the second drops out at random
def test_a_resume_at_every_step_equals_an_uninterrupted_run(make, tmp_path):
    """Bit-equal losses and weights, whichever step it was stopped after."""
    torch.manual_seed(1)
    whole = family(make).create("unlearned")
    start = copy.deepcopy(whole.state_dict())
    losses, outcome = run(whole)
    assert [step for step, _ in losses] == list(range(1, outcome.steps + 1))
    for stop_after in range(1, outcome.steps):
        model = family(make).create("unlearned")
        model.load_state_dict(start)
        folder = tmp_path / str(stop_after)
        seen = []

        def should_stop(seen=seen, stop_after=stop_after):
            seen.append(1)
            return len(seen) == stop_after

        first, stopped = run(model, checkpoints=folder, should_stop=should_stop)
        assert stopped.done == stop_after == newest_step(folder)
        fresh = family(make).create("unlearned")
        second, _ = run(fresh, checkpoints=folder)
        assert first + second == losses
        for name, weight in weights(fresh).items():
            assert torch.equal(weight, weights(whole)[name])


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    model = family().create("unlearned")
    run(model, checkpoints=tmp_path, checkpoint_seconds=0)
    newest = sorted(tmp_path.glob("step-*"))[-1]
    (newest / "optimizer.pt").write_bytes(b"torn")
    kept = sorted(tmp_path.glob("step-*"))
    assert len(kept) == 2
    losses, _ = run(family().create("unlearned"), checkpoints=tmp_path)
    assert losses[0][0] == int(kept[0].name.removeprefix("step-")) + 1


@pytest.mark.parametrize("pass_blocks", [1, 2, 5])
def test_the_size_of_a_pass_changes_no_result(pass_blocks):
    settings = TrainSettings(epochs=2, learning_rate=1e-2, batch_blocks=5)
    reference, _ = run(family().create("unlearned"), settings, pass_blocks=3)
    losses, _ = run(family().create("unlearned"), settings, pass_blocks=pass_blocks)
    np.testing.assert_allclose([loss for _, loss in losses], [loss for _, loss in reference], rtol=1e-4)


def test_the_loss_is_the_mean_over_all_targets_of_the_step():
    """Not the mean of the means of its passes: blocks of different length would weigh the same."""
    model = family().create("unlearned")
    with torch.inference_mode():
        losses = [
            torch.nn.functional.cross_entropy(
                model(torch.as_tensor(e.ids)[None].long()).logits[0, :-1],
                torch.as_tensor(e.ids[1:]).long(),
                reduction="none",
            )
            for e in EXAMPLES
        ]
    settings = TrainSettings(epochs=1, batch_blocks=5)
    found, _ = run(model, settings, [Term("text", EXAMPLES)], pass_blocks=2)
    assert found[0][1] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)


def test_every_epoch_sees_every_block_once_in_another_order():
    term = Term("text", EXAMPLES)
    steps = count_steps(len(EXAMPLES), SETTINGS)
    epochs = []
    for epoch in range(3):
        places = range(epoch * steps // 3, (epoch + 1) * steps // 3)
        epochs.append([id(e) for step in places for e in blocks_of_step(step, term, 2, 0, wrap=False)])
    assert all(sorted(epoch) == sorted(id(e) for e in EXAMPLES) for epoch in epochs)
    assert epochs[0] != epochs[1] or epochs[1] != epochs[2]


def test_an_accompanying_term_goes_round():
    term = Term("retain", EXAMPLES[:2], 1.0, 3)
    seen = [id(e) for step in range(4) for e in blocks_of_step(step, term, 3, 0, wrap=True)]
    assert len(seen) == 12
    assert {seen.count(id(e)) for e in EXAMPLES[:2]} == {6}


def test_the_rate_falls_linearly_to_zero_after_the_warm_up():
    settings = TrainSettings(learning_rate=1.0, warmup_steps=2)
    assert [learning_rate(step, 6, settings) for step in range(6)] == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    constant = TrainSettings(learning_rate=1.0, schedule="constant")
    assert [learning_rate(step, 3, constant) for step in range(3)] == [1.0] * 3


def test_blocks_without_any_target_are_passed_over():
    """With `where = changed` nothing may be left to learn in a block, or in all blocks of a step."""
    empty = Example(EXAMPLES[0].ids, np.zeros(0, np.int32), np.zeros((0, 64), np.int32), np.zeros((0, 64), np.float16))
    model = family().create("unlearned")
    losses, outcome = run(model, TrainSettings(epochs=2, batch_blocks=2), [Term("text", [empty, empty, empty])])
    assert outcome.done == 4
    assert [loss for _, loss in losses] == [0.0] * 4


def test_extra_steps_go_on_from_the_end(tmp_path):
    run(family().create("unlearned"), checkpoints=tmp_path)
    losses, outcome = run(family().create("unlearned"), checkpoints=tmp_path, extra_steps=3)
    planned = count_steps(len(EXAMPLES), SETTINGS)
    assert [step for step, _ in losses] == [planned + 1, planned + 2, planned + 3]
    assert outcome.done == outcome.steps == planned + 3
    assert [learning_rate(planned + i, planned, SETTINGS, 2) for i in (0, 1)] == [1e-2, 0.5e-2]
    # two more after these two: the line of all four, from its middle on
    assert [learning_rate(planned + i, planned, SETTINGS, 4) for i in (2, 3)] == [0.5e-2, 0.25e-2]


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_spoilt():
    model = family().create("unlearned")
    before = weights(model)
    bad = Example(
        EXAMPLES[0].ids, np.asarray([0], np.int32), np.asarray([[5]], np.int32), np.asarray([[np.inf]], np.float16)
    )
    with pytest.raises(LossNotFiniteError, match="learning_rate"):
        run(model, terms=[Term("text", [bad])])
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_spoilt_and_saves_them(tmp_path):
    model = family().create("unlearned")
    steps = []

    def after_step(done, steps_planned):
        steps.append(weights(model))
        if done == 2:  # from now on a gradient overflows behind a loss that looks well
            next(w for w in model.parameters() if w.requires_grad).register_hook(lambda gradient: gradient * math.inf)

    settings = SETTINGS.model_copy(update={"clip_norm": None})
    with pytest.raises(LossNotFiniteError, match="gradient of step 3"):
        run(model, settings, after_step=after_step, checkpoints=tmp_path, checkpoint_seconds=60)
    assert newest_step(tmp_path) == 2
    assert all(torch.equal(weight, steps[2][name]) for name, weight in weights(model).items())


def test_training_lowers_the_loss_of_both_terms():
    losses, _ = run(family().create("unlearned"), TrainSettings(epochs=12, learning_rate=2e-2, batch_blocks=5))
    assert losses[-1][1] < 0.7 * losses[0][1]


def test_pieces_fill_a_pass_as_blocks_do():
    blocks, pieces = [object() for _ in range(4)], [object() for _ in range(24)]
    terms = [Term("generic", blocks, blocks=2), Term("retain", pieces, 1.0, blocks=12, a_block=6)]
    sizes = [(index, len(examples)) for index, examples in _passes(0, terms, 2, seed=0)]
    assert sizes == [(0, 2), (1, 12)]
    assert [(index, len(group)) for index, group in _passes(0, terms, 1, seed=0)] == [(0, 1), (0, 1), (1, 6), (1, 6)]


@pytest.mark.parametrize("make", [tiny_llama, tiny_gemma3])
def test_attention_written_out_for_training_gives_the_same_gradients(make):
    model, ids = make(byte_level_bpe()).train(), torch.arange(24).reshape(2, 12) % 50
    model.requires_grad_(True)
    gradients = []
    for dtype in ("float32", "bfloat16"):  # only the second asks for it; the weights stay in float32
        model.zero_grad()
        with attention_for_blocks(model, dtype, 12):
            assert model.config._attn_implementation == {"float32": "sdpa", "bfloat16": WRITTEN_OUT}[dtype]
            model(ids).logits.square().mean().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    assert model.config._attn_implementation == "sdpa"
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)
    with attention_for_blocks(model, "bfloat16", SHORT_TOKENS + 1):
        assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("key_heads", [1, 2, 6])
def test_attention_written_out_is_torchs_own(key_heads):
    query, key, value = torch.randn(2, 6, 5, 4), torch.randn(2, key_heads, 5, 4), torch.randn(2, key_heads, 5, 4)
    mask = torch.zeros(2, 1, 5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))
    found, _ = attend(torch.nn.Identity(), query, key, value, mask, scaling=0.3)
    wanted = F.scaled_dot_product_attention(query, key, value, mask, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(found, wanted.transpose(1, 2))
