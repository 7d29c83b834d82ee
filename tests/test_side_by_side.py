"""Roles going on with texts in one batch: each column is the text that its role writes alone."""

import copy
from functools import partial

import pytest
import torch
from tiny_models import tiny_gpt2, tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.errors import PromptError, RunError, SettingsError
from unlearning.models.adapters import AdapterFamily, FullFamily
from unlearning.models.generation import generate
from unlearning.models.side_by_side import Row, can_play, generate_columns, generate_rows
from unlearning.ui.inference import measure_text
from unlearning.ui.writing import Column, write_together

PROMPTS = ["The lighthouse keeper counted the boats as they came in, and", "Marigold", "The bell"]
ROLES = ["baseline", "unlearned", "never_taught"]


def family(make=tiny_llama, full=False):
    """Three roles that say different things."""
    tokenizer = byte_level_bpe()
    model = make(tokenizer).requires_grad_(False)
    made = FullFamily(model, tokenizer) if full else AdapterFamily(model, tokenizer, rank=4)
    for place, role in enumerate(("taught", "unlearned")):
        torch.manual_seed(place)
        for weight in made.create(role).parameters():
            if weight.requires_grad:
                weight.data += 0.15 * torch.randn_like(weight)
    return made


def alone(made, role, prompts=PROMPTS, temperature=0.0):
    with made.role(role) as model:
        return generate(model, made.tokenizer, prompts, 10, temperature, seed=3)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("batch", [2, 16])
def test_columns_are_what_each_role_writes_alone(make, temperature, batch):
    made = family(make)
    assert can_play(made, ROLES)
    columns = generate_columns(made, ROLES, PROMPTS, 10, temperature, seed=3, batch=batch)
    assert list(columns) == ROLES
    for role, texts in columns.items():
        assert texts == alone(made, role, temperature=temperature)
    assert len({tuple(texts) for texts in columns.values()}) == 3


def test_whole_models_are_asked_one_after_the_other():
    made = family(full=True)
    assert not can_play(made, ROLES)
    columns = generate_columns(made, ROLES, PROMPTS, 10, seed=3)
    for role, texts in columns.items():
        assert texts == alone(made, role)


def test_a_model_that_nothing_was_added_to_and_a_role_asked_twice():
    made = AdapterFamily(tiny_llama(byte_level_bpe()), byte_level_bpe())
    assert generate_columns(made, ["baseline"], PROMPTS, 10, seed=3) == {"baseline": alone(made, "baseline")}
    rows = [Row("baseline", PROMPTS[0]), Row("baseline", PROMPTS[0])]
    one, two = generate_rows(made, rows, 10, temperature=1.0, seed=3)
    assert one != two


def test_rows_are_told_of_while_they_grow_and_can_be_stopped():
    made, heard = family(), []

    def tell(row, new, running):
        heard.append((row, len(new)))
        if len(new) == 3:
            raise StopIteration

    with pytest.raises(StopIteration):
        generate_rows(made, [Row(role, PROMPTS[0]) for role in ROLES], 10, tell=tell)
    assert heard[:4] == [(0, 1), (1, 1), (2, 1), (0, 2)]
    with made.role("baseline") as model, torch.no_grad():  # and leaves nothing behind
        model(input_ids=torch.arange(6).view(2, 3))


def test_what_is_wrong_is_said():
    made = family()
    with pytest.raises(RunError, match="no reinforced model"):
        generate_columns(made, ["baseline", "reinforced"], PROMPTS)
    with pytest.raises(SettingsError):
        generate_columns(made, ROLES, PROMPTS, 0)
    with pytest.raises(PromptError):
        generate_columns(made, ROLES, ["bell " * 400], 10)


def with_weights(made, factor, full):
    """What the unlearned model says, computed the slow way: every weight of it interpolated in a copy."""
    whole = {}
    for role in ("baseline", "unlearned"):
        with made.role(role) as model:
            one = copy.deepcopy(model)
        if not full:
            one.set_adapter("taught" if role == "baseline" else role)
            one = one.merge_and_unload()
        whole[role] = one
    with torch.no_grad():
        for before, after in zip(whole["baseline"].parameters(), whole["unlearned"].parameters(), strict=True):
            after.copy_(before + factor * (after - before))
    return read(whole["unlearned"])


def read(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(3, 43).view(4, 10)).logits


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.5])
def test_a_role_at_another_strength_has_its_weights_in_between(full, factor):
    made = family(full=full)
    with made.role("unlearned") as model:
        usual = read(model)
    wanted = with_weights(made, factor, full)
    with made.strength("unlearned", factor):
        with made.role("unlearned") as model:
            torch.testing.assert_close(read(model), wanted, rtol=1e-4, atol=1e-4)
        with made.role("baseline") as model:
            before = read(model)
        if not full:
            with made.rows(["unlearned", "baseline", "never_taught", "unlearned"]) as model:
                mixed = read(model)
            torch.testing.assert_close(mixed[[0, 3]], wanted[[0, 3]], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(mixed[1], before[1], rtol=1e-4, atol=1e-4)
    assert torch.allclose(before, wanted, atol=1e-4) == (factor == 0)
    with made.role("unlearned") as model:
        assert torch.equal(read(model), usual)


def test_a_role_that_is_not_there_has_no_strength():
    for full in (False, True):
        with pytest.raises(RunError, match="reinforced model"), family(full=full).strength("reinforced", 0.5):
            pass


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_columns_of_the_page_are_those_written_in_turn(temperature):
    made, shares = family(), []

    def columns():
        return [Column(partial(made.role, role), prompt, PROMPTS[0], role) for role, prompt in wanted]

    wanted = [("baseline", PROMPTS[0]), ("unlearned", PROMPTS[0]), ("baseline", "Once more. " + PROMPTS[0])]
    at_once, in_turn = columns(), columns()
    write_together(at_once, made.tokenizer, 10, temperature, 5, shares.append, made)
    write_together(in_turn, made.tokenizer, 10, temperature, 5)
    assert [(one.text, one.ended, one.new) for one in at_once] == [(one.text, one.ended, one.new) for one in in_turn]
    assert shares == sorted(shares) and len(shares) > 2 and shares[-1] == 1.0


def test_a_text_read_by_both_models_in_one_pass_is_read_as_by_each(monkeypatch):
    made = family()
    models = {role: partial(made.role, role) for role in ("baseline", "unlearned")}
    passes = []
    monkeypatch.setattr("unlearning.evaluation.scoring.check_length", lambda model, length: passes.append(length))
    together = measure_text(models, made.tokenizer, " ".join(PROMPTS) * 3, family=made)
    assert len(passes) == 1
    apart = measure_text(models, made.tokenizer, " ".join(PROMPTS) * 3)
    assert len(passes) == 3
    for role in models:
        assert together["p"][role][1:] == pytest.approx(apart["p"][role][1:], rel=1e-3)
        assert together["rank"][role] == apart["rank"][role]
    assert together["kl"] == pytest.approx(apart["kl"], rel=1e-2, abs=1e-4)
