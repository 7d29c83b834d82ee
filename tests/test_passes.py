"""Memory: which setting a person is told to lower, that it would help, and that a run goes on with fewer blocks."""

import pytest
from runs_for_tests import make_run, workspace  # noqa: F401

from unlearning.config import make_settings
from unlearning.errors import RunBusyError, SettingsError
from unlearning.runs.durable import read_json, write_json
from unlearning.runs.locks import WORKER_LOCK, take
from unlearning.runs.passes import Memory, fewer_blocks, limit_passes, memory_hint, memory_of, most_blocks


def settings(**changes):
    return make_settings(changes={"finetune.retain_blocks": 0} | changes).model_dump()


def found(stage, memory, **changes):
    relief = fewer_blocks(settings(**changes), stage, memory)
    return relief and (relief.name, relief.now, relief.lower, relief.saves)


def test_what_is_named_is_what_the_stage_takes():
    eight = Memory(pass_blocks=8, block_bytes=1e8)
    assert found("finetune", eight, **{"finetune.batch_blocks": 16}) == ("finetune.pass_blocks", 8, 4, 4e8)
    assert found("teach", eight, teach={"batch_blocks": 4}) == ("teach.pass_blocks", 4, 2, 2e8)  # a step has no more
    assert found("reinforce", eight, **{"reinforce.pass_blocks": 3, "reinforce.batch_blocks": 9})[1:3] == (3, 1)
    assert found("label", eight) == ("finetune.pass_blocks", 8, 4, None)  # labels have no batch; their cost is another
    assert found("finetune", eight, **{"finetune.batch_blocks": 1, "finetune.retain_blocks": 4})[1:3] == (4, 2)
    assert found("finetune", eight, **{"finetune.batch_blocks": 1}) is None
    assert found("evaluate", eight) is None


def test_hints_go_down_one_after_another():
    memory = Memory(pass_blocks=1, block_bytes=3e8, full_bytes=2.2e9)
    assert memory_hint(settings(), "label", memory) == (
        "Copy the run with text.block_tokens = 128 instead of 256: that saves about 0.1 GB."
    )
    shortest = {"text.block_tokens": 64}
    full = memory_hint(settings(**shortest, **{"model.mode": "full"}), "finetune", memory)
    assert full == "Copy the run with model.mode = lora: that saves about 2.2 GB."
    assert "smaller model" in memory_hint(settings(**shortest), "finetune", memory)
    assert "goes on with the evaluation" in memory_hint(settings(), "evaluate", memory)
    assert "half of what a pass holds" in memory_hint(settings(), "label")


def test_what_was_measured_goes_before_the_rule_of_thumb(workspace):
    folder = make_run(workspace, extra={"budget": {"pass_bytes": 8e8, "pass_blocks": 4}})
    assert memory_of(folder, {"batch_hint": 16}, block_bytes=1e9) == Memory(16, 2e8)
    assert memory_of(make_run(workspace), {}, block_bytes=1e9, full_bytes=2e9) == Memory(None, 1e9, 2e9)


def test_every_time_it_runs_out_it_goes_on_with_half(workspace):
    folder = make_run(workspace)
    limit_passes(folder, 4)
    assert most_blocks(folder) == 4 and memory_of(folder, {}).most_blocks == 4
    assert found("label", memory_of(folder, {"batch_hint": 32}))[1:3] == (4, 2)
    with pytest.raises(SettingsError, match="0 blocks"):
        limit_passes(folder, 0)
    with take(folder / WORKER_LOCK), pytest.raises(RunBusyError):
        limit_passes(folder, 2)
    for damaged in ({"most": 0}, {"most": "two"}, {}):
        write_json(folder / "passes.json", damaged)
        assert most_blocks(folder) is None


def test_the_default_settings_can_be_lowered(workspace):
    assert read_json(make_run(workspace) / "config.json")["settings"]["finetune"]["pass_blocks"] is None
    assert found("finetune", Memory(pass_blocks=4))[1:3] == (2, 1)
