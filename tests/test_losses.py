"""Losses against the formula written out, and examples on disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import tiny_gemma3, tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.errors import RunDamagedError
from unlearning.methods.examples import Example, StoredExamples, collate, next_token_example, save_examples
from unlearning.methods.losses import (
    batch_cross_entropy,
    chunked_cross_entropy,
    cross_entropy,
    cross_entropy_gradient,
    target_entropy,
)


def example(time=9, positions=(0, 3, 7), k=4, vocabulary=50, seed=0):
    generator = np.random.default_rng(seed)
    probs = generator.random((len(positions), k))
    ids = np.stack([generator.permutation(vocabulary)[:k] for _ in positions]) if positions else np.zeros((0, k))
    return Example(
        generator.integers(3, vocabulary, time).astype(np.int32),
        np.asarray(positions, np.int32),
        ids.astype(np.int32),
        (0.8 * probs / probs.sum(-1, keepdims=True)).astype(np.float16),  # a fifth is in the tail
    )


def reference_loss(model, examples):
    """−Σ p log q over every target and its tail, one position at a time on unpadded blocks."""
    total = 0.0
    for e in examples:
        log_q = model(torch.as_tensor(e.ids)[None].long()).logits[0].double().log_softmax(-1)
        for row, position in enumerate(e.positions):
            for token, p in zip(e.target_ids[row], e.target_probs[row], strict=True):
                total = total - float(p) * log_q[int(position), int(token)]
            rest = 1 - log_q[int(position), e.target_ids[row].tolist()].exp().sum()
            total = total - (1 - float(e.target_probs[row].astype(float).sum())) * rest.log()
    return total


@pytest.mark.parametrize("make", [tiny_llama, tiny_gemma3])
def test_a_padded_batch_equals_the_formula_and_its_gradient(make):
    examples = [example(9, (0, 3, 7)), example(5, (), seed=1), example(12, (0, 1, 11), k=2, seed=2)]
    model = make(byte_level_bpe()).train()
    model.requires_grad_(True)
    expected = reference_loss(model, examples)
    expected.backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    loss = batch_cross_entropy(model, collate(examples))
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("chunk_floats", [1, 100, 10**9])
def test_chunks_change_neither_loss_nor_gradients(chunk_floats):
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50, bias=False)
    hidden = torch.randn(7, 8, requires_grad=True)
    ids, probs = torch.randint(0, 50, (7, 3)), torch.rand(7, 3)
    whole = cross_entropy(head(hidden), ids, probs)
    wanted = torch.autograd.grad(2 * whole, [hidden, head.weight])
    loss = chunked_cross_entropy(hidden, head, [head.weight], ids, probs, None, chunk_floats)
    got = torch.autograd.grad(2 * loss, [hidden, head.weight])
    torch.testing.assert_close(loss, whole)
    for one, two in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("probs", [[[0.5, 0.3], [1.0, 0.0]], [[0.2, 0.0], [0.999, 1e-7]], [[0.7, 0.1], [0.4, 0.0]]])
def test_the_gradient_worked_out_by_hand_is_that_of_automatic_differentiation(probs):
    torch.manual_seed(0)
    logits = torch.randn(2, 9, dtype=torch.float32).mul_(3).requires_grad_()
    ids, times = torch.tensor([[4, 1], [2, 0]]), torch.tensor([1.0, 3.0])
    whole = cross_entropy(logits, ids, torch.tensor(probs), times)
    whole.backward()
    loss, gradient = cross_entropy_gradient(logits.detach(), ids, torch.tensor(probs), times)
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
    torch.testing.assert_close(gradient, logits.grad, rtol=1e-5, atol=1e-6)


def test_a_target_listed_three_times_is_predicted_once_and_counts_three_times():
    one = example(9, (0, 3, 7))
    rows = [0, 0, 0, 1, 2, 2]
    thrice = Example(one.ids, one.positions[rows], one.target_ids[rows], one.target_probs[rows])
    batch = collate([example(5, (), seed=1), thrice])
    assert batch.times.tolist() == [3, 1, 2] and len(batch.rows) == 3
    model = tiny_llama(byte_level_bpe()).train()
    loss = batch_cross_entropy(model, batch)
    assert loss.item() == pytest.approx(reference_loss(model, [thrice]).item(), rel=1e-5)
    entropy = target_entropy(batch).item()
    assert entropy == pytest.approx(sum(target_entropy(collate([one_row(one, row)])).item() for row in rows), rel=1e-5)


def one_row(e, row):
    return Example(e.ids, e.positions[[row]], e.target_ids[[row]], e.target_probs[[row]])


def test_neighbours_with_different_targets_at_one_position_stay_apart():
    one = example(9, (3, 3), seed=4)
    assert collate([one]).times.tolist() == [1, 1]


def test_cross_entropy_by_hand():
    """Two tokens with logits 0 and log 3: probabilities 1/4 and 3/4."""
    logits = torch.tensor([[0.0, np.log(3.0)]])
    loss = cross_entropy(logits, torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    assert loss.item() == pytest.approx(0.5 * np.log(4) + 0.5 * np.log(4 / 3))


def test_entropy_of_targets_is_what_no_model_goes_below():
    batch = collate([example()])
    tail = (1 - batch.target_probs.sum(-1, keepdim=True)) / 46  # spread over the 46 other tokens
    perfect = tail.log().expand(-1, 50).scatter(1, batch.target_ids, batch.target_probs.log())
    assert target_entropy(batch).item() == pytest.approx(
        cross_entropy(perfect, batch.target_ids, batch.target_probs).item(), rel=1e-3
    )


def test_a_truncated_target_does_not_sharpen_the_model():
    """Trained on the two likeliest of its own predictions, a model keeps the probability of the others."""
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]], requires_grad=True)
    top = logits.detach().softmax(-1).topk(2)
    cross_entropy(logits, top.indices, top.values).backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 4), atol=1e-6, rtol=0)


def test_next_token_targets_are_shifted_exactly_once():
    e = next_token_example([5, 6, 7, 8])
    assert e.positions.tolist() == [0, 1, 2]
    assert e.target_ids[:, 0].tolist() == [6, 7, 8]


def test_next_token_loss_is_the_usual_one():
    model = tiny_llama(byte_level_bpe())
    ids = torch.randint(3, 200, (1, 20))
    batch = collate([next_token_example(ids[0].tolist())])
    with torch.no_grad():
        usual = model(ids, labels=ids).loss
        assert batch_cross_entropy(model, batch).item() / 19 == pytest.approx(usual.item(), rel=1e-5)


def test_examples_survive_the_disk(tmp_path):
    examples = [example(9, (0, 3)), example(4, (), seed=1), example(6, (5,), seed=2)]
    save_examples(examples, tmp_path)
    stored = StoredExamples(tmp_path)
    assert len(stored) == 3
    for one, two in zip(examples, stored, strict=True):
        for name in ("ids", "positions", "target_ids", "target_probs"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_a_truncated_file_of_examples_is_refused(tmp_path):
    save_examples([example()], tmp_path)
    (tmp_path / "target_ids.bin").write_bytes(b"")
    with pytest.raises(RunDamagedError, match="incomplete"):
        StoredExamples(tmp_path)


def test_examples_without_an_index_are_refused(tmp_path):
    with pytest.raises(RunDamagedError, match="cannot be read"):
        StoredExamples(tmp_path)


def test_a_model_that_leaves_nothing_to_the_tail_gets_no_slope_from_it():
    """1 − Σ q is below the least that is told from nought, while the target still has a tail."""
    logits = torch.tensor([[30.0, -5.0, -5.0, -5.0]], requires_grad=True)
    ids, probs, once = torch.tensor([[0, 0]]), torch.tensor([[0.9, 0.0]]), torch.ones(1)
    cross_entropy(logits, ids, probs).backward()
    _, gradient = cross_entropy_gradient(logits.detach(), ids, probs, once)
    torch.testing.assert_close(gradient, logits.grad, rtol=1e-4, atol=1e-6)


def test_the_gradient_of_half_precision_logits_is_that_of_their_values():
    torch.manual_seed(0)
    half = torch.randn(3, 200).mul_(4).bfloat16()
    ids, probs, times = torch.tensor([[4, 1], [2, 0], [199, 7]]), torch.full((3, 2), 0.3), torch.tensor([1.0, 2.0, 1.0])
    loss, gradient = cross_entropy_gradient(half, ids, probs, times)
    same_loss, same_gradient = cross_entropy_gradient(half.float(), ids, probs, times)
    assert gradient.dtype == torch.float32 and loss.item() == pytest.approx(same_loss.item(), rel=1e-6)
    torch.testing.assert_close(gradient, same_gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_weight_of_the_head_is_trained_in_full_mode(dtype):
    """Under autocast too, where a copy of the head that was made without gradients must not serve training."""
    model = tiny_llama(byte_level_bpe()).train().requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        loss = batch_cross_entropy(model, collate([example()]))
    loss.backward()
    assert model.get_output_embeddings().weight.grad.abs().sum() > 0
