"""The benchmark: its count of operations against torch's own, its ratios, its tables, every stage on a tiny model."""

import json
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from unlearning.bench import floor, runner, tables
from unlearning.bench.cost import cost_of, matrix_rate
from unlearning.bench.growth import grow, write_text
from unlearning.bench.stages import STAGES, Prepared
from unlearning.bench.trial import Order, Trial, answer, measure, paired
from unlearning.cli import main
from unlearning.config import Settings
from unlearning.errors import RunError, SettingsError
from unlearning.methods.examples import next_token_example
from unlearning.methods.losses import batch_cross_entropy
from unlearning.models.adapters import AdapterFamily
from unlearning.models.shapes import find_shape, random_config
from unlearning.runs.machine import peak_bytes
from unlearning.text.blocks import cut_blocks

TINY = Order("", "random:tiny", blocks=2, block_tokens=32, repetitions=1, tokens=3, dtype="float32")


@pytest.fixture(autouse=True)
def brief_rate(monkeypatch):
    """The matrix rate is measured before and after every stage: here for a moment, not for half a second."""
    monkeypatch.setattr("unlearning.bench.trial.matrix_rate", partial(matrix_rate, seconds=0.05))


def test_operations_are_those_that_torch_counts():
    """Eager attention multiplies all T² pairs, of which the causal half is what we count."""
    model = AutoModelForCausalLM.from_config(random_config(find_shape("tiny")), attn_implementation="eager")
    ids, block = torch.arange(3, 35).view(1, 32), 32
    cost = cost_of(model)
    unmasked = 2 * block * cost.attention * 32
    with FlopCounterMode(display=False) as counted:
        logits = model(input_ids=ids).logits
    assert counted.get_total_flops() == cost.forward(32, block, 32) + unmasked
    with FlopCounterMode(display=False) as counted:
        logits.float().sum().backward()
    assert not cost.frozen
    assert counted.get_total_flops() == cost.training(32, block, 32) - cost.forward(32, block, 32) + 2 * unmasked


def test_frozen_weights_cost_less_to_train():
    family = AdapterFamily(tiny_llama(byte_level_bpe()).requires_grad_(False), byte_level_bpe(), rank=4)
    frozen = cost_of(family.create("unlearned"))
    family.create("reinforced")
    assert frozen.frozen and frozen.low_rank > 0
    assert (
        cost_of(family.create("unlearned")).low_rank == frozen.low_rank
    )  # one adapter is at work, however many there are
    forward, both = frozen.forward(64, 32, 64), frozen.training(64, 32, 64)
    assert 1.9 < both / forward < 2.6


def test_each_turn_has_its_own_ratio():
    assert paired([2.0, 6.0], [1.0, 2.0]) == [2.0, 3.0]
    calls = []
    trial = Trial(
        lambda: calls.append("stage"), 10, floor=lambda: calls.append("floor"), floor_is="less",
        others={"more": lambda: calls.append("more")},
    )  # fmt: skip
    found = measure(trial, "cpu", 2)
    assert calls == ["stage", "floor", "more"] * 3
    assert found["to_floor"] > 0 and found["others"]["more"] > 0 and found["peak_bytes"] > 1e6
    assert len(found["all_seconds"]["floor"]) == 2


def test_the_matrix_rate_is_that_of_the_quieter_moment(monkeypatch):
    rates = iter([3e9, 2e9])
    monkeypatch.setattr("unlearning.bench.trial.matrix_rate", lambda device, dtype: next(rates))
    assert answer(replace(TINY, stage="generate"))["matrix_flops"] == 3e9
    rates = iter([2e9, 4e9])
    assert answer(replace(TINY, stage="generate"))["matrix_flops"] == 4e9


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system cannot reset a peak")
def test_the_peak_is_the_stages_own():
    held = np.ones(40_000_000)  # 320 MB
    most = peak_bytes()
    del held
    found = measure(Trial(lambda: None, 1), "cpu", 1)
    assert found["peak_bytes"] < most - 250e6


def test_the_floor_takes_the_same_gradients():
    """A bare loop's pass is ours: same loss, same gradients, up to the mean it takes."""
    from unlearning.methods.examples import collate

    family = AdapterFamily(tiny_llama(byte_level_bpe()).requires_grad_(False), byte_level_bpe(), rank=4)
    model = family.create("unlearned")
    rows = [list(range(5, 25)), list(range(40, 52))]
    batch = collate([next_token_example(row) for row in rows])
    (batch_cross_entropy(model, batch) / len(batch.rows)).backward()
    wanted = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad(set_to_none=True)
    kept = []
    taken = torch.optim.AdamW.step
    try:
        torch.optim.AdamW.step = lambda self: kept.extend(
            p.grad.clone() for g in self.param_groups for p in g["params"]
        )
        floor.train_steps(model, [[[(row, range(len(row) - 1)) for row in rows]]], "float32")
    finally:
        torch.optim.AdamW.step = taken
    assert len(kept) == len(wanted) > 0
    for one, other in zip(kept, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_the_floor_predicts_where_the_stage_does_and_once():
    """A position that counts three times costs the stage one prediction, and so it does the floor."""
    order = replace(TINY, stage="finetune", blocks=4)
    kept, seen = [], floor.train_steps
    try:
        floor.train_steps = lambda model, steps, dtype: kept.append(steps)
        trial = STAGES["finetune"](Prepared(order))
        trial.floor()
    finally:
        floor.train_steps = seen
    blocks = [block for passes in kept[0] for rows in passes for block in rows]
    assert all(len(positions) == len(set(positions)) for _, positions in blocks)
    assert sum(len(positions) for _, positions in blocks) < 0.9 * sum(len(ids) for ids, _ in blocks)
    pieces = Settings().finetune.retain_pieces
    assert sum(len(rows) for passes in kept[0] for rows in passes) == 4 + 2 * pieces
    model, flops = tiny_llama(byte_level_bpe()), []
    for positions in ([3, 19], range(12)):
        with FlopCounterMode(display=False) as counted:
            floor.train_steps(model, [[[(list(range(5, 25)), positions)]]], "float32")
        flops.append(counted.get_total_flops())
    assert flops[1] - flops[0] == 10 * 6 * cost_of(model).head


def test_the_authors_labels():
    tokenizer = byte_level_bpe()
    baseline, reinforced = tiny_llama(tokenizer), tiny_llama(tokenizer, seed=1)
    source, target, places = [5, 6, 7, 8], [5, 6, 9, 7, 8], [0, 1, -1, 4]
    (label,) = floor.authors_labels(baseline, reinforced, [source], [target], [places], alpha=5.0)
    b = baseline(input_ids=torch.tensor([target])).logits[0][[0, 1, 0, 4]]
    r = reinforced(input_ids=torch.tensor([source])).logits[0]
    wanted = (b - 5 * (r - b).relu()).argmax(-1)
    assert label.tolist() == [int(wanted[0]), int(wanted[1]), -100, int(wanted[3])]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_a_tiny_model(stage):
    found = answer(Order(**TINY.__dict__ | {"stage": stage}))
    assert found["seconds"] > 0 and found["matrix_flops"] > 1e8
    assert found["weights_bytes"] == 4 * find_shape("tiny").parameters
    assert (found["mfu"] is None) == (stage == "load")
    if stage != "load":
        assert found["tokens"] > 0 and found["to_floor"] > 0 and 0 < found["mfu"] < 2
    assert json.dumps(found)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_a_model_that_is_trained_whole(stage):
    found = answer(Order(**TINY.__dict__ | {"stage": stage, "mode": "full", "dtype": "bfloat16"}))
    assert found["seconds"] > 0 and found["peak_bytes"] > 1e6
    assert found["weights_bytes"] == 2 * find_shape("tiny").parameters  # float32 is what is trained alone


def test_whole_models_are_no_more_than_the_stage_needs():
    def loaded(stage):
        return set(Prepared(replace(TINY, stage=stage, mode="full")).family._models)

    assert loaded("finetune") == loaded("teach") == loaded("reinforce") == {None}
    assert loaded("label") == {None, "reinforced"}
    assert loaded("generate") == loaded("strip") == {None, "unlearned"}
    assert Prepared(replace(TINY, stage="finetune")).family.has("taught")


def test_growth_is_from_disk_to_disk():
    row = grow(TINY, 2000)
    assert 1900 < row["tokens"] < 2400 and row["disk_bytes"] > 0
    assert row["blocks"] >= row["tokens"] / TINY.block_tokens
    assert row["label_s"] > 0 and row["finetune_s"] > 0


def test_a_long_text_is_distinct_blocks(tmp_path):
    """As in a run every block is a piece of the text by itself, and memory is seen to hold it."""
    tokenizer = byte_level_bpe()
    write_text(tmp_path / "text.txt", tokenizer, 100_000)
    text = (tmp_path / "text.txt").read_text()
    assert 95_000 < len(tokenizer(text, add_special_tokens=False)["input_ids"]) < 105_000
    blocks = [block.text for block in cut_blocks(text, tokenizer, 64)]
    assert len({id(block) for block in blocks}) == len(blocks) > 1500


def test_bench_of_the_command_line_and_its_comparison(tmp_path, capsys):
    file = tmp_path / "bench.json"
    asked = ["bench", "--model", "tiny", "--stages", "generate", "--blocks", "1", "--block-tokens", "16"]
    assert main([*asked, "--repetitions", "1", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["stages"].keys() == {"generate"} and found["order"]["model"] == "random:tiny"
    assert "generate" in capsys.readouterr().out
    assert tables.comparison_rows(found["stages"], found["stages"])[0][3] == "1.00 ×"
    assert tables.stage_rows(found)[0][0] == "generate"
    assert main([*asked, "--against", str(tmp_path / "nothing")]) == 2
    assert "neither a file nor a revision" in capsys.readouterr().err
    (tmp_path / "other.json").write_text("[]")
    assert main([*asked, "--against", str(tmp_path / "other.json")]) == 2
    assert "is no benchmark" in capsys.readouterr().err


def test_what_cannot_be_measured_is_said(capsys):
    with pytest.raises(SettingsError, match="no stage 'dream'"):
        runner.bench(TINY, ["dream"])
    with pytest.raises(RunError, match="stage generate failed: There is no model"):
        runner.run(Order("generate", "random:nothing"))
    assert main(["bench", "--model", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_tables(tmp_path):
    rows = [
        {"tokens": 100, "label_s": 1.0, "finetune_s": 1.0, "peak_bytes": 1e9, "disk_bytes": 1e6},
        {"tokens": 200, "label_s": 2.1, "finetune_s": 2.1, "peak_bytes": 1e9, "disk_bytes": 2e6},
    ]
    assert [row[3] for row in tables.growth_rows(rows)] == ["–", "2.00 × as long, 2.10 × the time"]
    assert runner.SIZES[-1] == 1_000_000 and all(b == 2 * a for a, b in pairwise(runner.SIZES))
    assert tables.to_floor("label", {"to_floor": 0.5}) == "2.00 × the time"
    assert tables.to_floor("finetune", {"to_floor": 0.95}) == "0.95 × the speed"
    assert tables.AWAITS in tables.performance_table(tmp_path)
    stage = {
        "tokens": 10, "tokens_per_s": 5.0, "mfu": 0.5, "peak_bytes": 1e9, "seconds": 2.0, "to_floor": 0.95,
        "others": {}, "dtype": "float32", "threads": 2, "device": "cpu", "weights_bytes": 3e8,
    }  # fmt: skip
    kept = {"order": TINY.__dict__, "machine": "a box", "revision": "abc+", "stages": {"finetune": stage}}
    (tmp_path / "one.json").write_text(json.dumps(kept | {"growth": rows}))
    told = tables.performance_table(tmp_path)
    goals = "≥ 0.9 × the speed: met; ≤ 1.2 GB above weights: met"
    assert f"| finetune | {goals} | 5 | 50% | 1.00 GB | 0.70 GB | 2.00 | 0.95 × the speed |" in told
    assert "| 200 |" in told
    assert tables.AWAITS not in told
    (tmp_path / "one.json").write_text(json.dumps(kept | {"stages": {}, "growth": rows}))
    told = tables.performance_table(tmp_path)  # of growth alone
    assert "| 200 |" in told and "to the floor" not in told and "a box; revision abc:" in told


def test_a_goal_is_met_or_missed_or_not_measured():
    one = {"to_floor": 0.4, "mfu": 0.6, "peak_bytes": 2e9, "weights_bytes": 3e8, "others": {}}
    told = [tables.verdict(goal, one) for goal in tables.goals_of("label", "cpu")]
    assert told == [
        "two passes in ≤ 2.3 × the time: missed", "the authors' way ≥ 1.5 × its time", "≤ 1.2 GB above weights: missed",
    ]  # fmt: skip
    assert [tables.verdict(goal, one) for goal in tables.goals_of("teach", "cuda:1", "full")] == ["≥ 50 % MFU: met"]
    assert [goal.words for goal in tables.goals_of("teach", "cpu", "full")] == ["≥ 0.9 × the speed"]
    one["others"] = {tables.AUTHORS: 12.0}
    assert tables.verdict(tables.goals_of("label", "cuda")[0], one).endswith("met")


def test_labels_are_measured_both_ways():
    found = answer(replace(TINY, stage="label"))
    rows = tables.stage_rows({"order": {"mode": "lora"}, "stages": {"label": found}})
    assert [row[0] for row in rows] == [
        "label, where = all (two passes)", "label, where = changed, the default (three passes)",
    ]  # fmt: skip
    assert rows[1][7].endswith("× the time") and tables.AUTHORS in found["others"]


def test_the_matrix_rate_is_a_rate():
    assert matrix_rate("cpu", "float32", 0.05) > 1e9
