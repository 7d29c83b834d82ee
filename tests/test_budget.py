"""The budget before a run: arithmetic by hand, and a real calibration of the tiny model."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from runs_for_tests import run_worker, workspace  # noqa: F401

from unlearning.config import make_settings
from unlearning.errors import ModelError
from unlearning.runs import budget, speeds, store
from unlearning.runs.budget import Speeds, compare_with_budget, estimate
from unlearning.runs.durable import read_json
from unlearning.runs.workload import Workload, workload_of
from unlearning.scenarios import inputs_of, load_scenario
from unlearning.training import checkpoints, snapshots

ROUND = Speeds(
    train_tokens_per_s=100.0, label_tokens_per_s=400.0, score_tokens_per_s=500.0, generate_tokens_per_s=40.0,
    probe_s=0.1, load_s=5.0, resident_bytes=1e9, floor_bytes=1.1e9, train_bytes_per_token=1e6, role_bytes=2e7,
    bytes_per_token=4.0, pass_blocks=4,
)  # fmt: skip
PLAIN = {
    "teach": None, "reinforce": {"epochs": 3, "batch_blocks": 4}, "evaluation.every_steps": 0,
    "finetune": {"epochs": 2, "batch_blocks": 4, "retain_weight": 0.0, "retain_blocks": 0},
}  # fmt: skip


def cost(work, **changes):
    return estimate(make_settings(changes=PLAIN | changes), work, ROUND)


def test_a_run_worked_out_by_hand():
    work = Workload(all_blocks=12, all_tokens=2400, kept_blocks=10, kept_tokens=2000, held_out_tokens=400,
                    unrelated_tokens=600, prompts=30, completions=20)  # fmt: skip
    found = cost(work, **{"evaluation.completions": 10, "evaluation.completion_tokens": 40})
    assert list(found.stages) == ["reinforce", "label", "finetune", "evaluate"]
    assert (found.stages["reinforce"].steps, found.stages["reinforce"].tokens) == (9, 6000)  # 3 epochs of ⌈10/4⌉
    assert found.stages["reinforce"].seconds == 60.0
    assert found.stages["label"].seconds == 3 * 2000 / 400  # baseline on both texts, reinforced on the original
    assert cost(work, **{"finetune.where": "all"}).stages["label"].seconds == 2 * 2000 / 400
    assert found.stages["finetune"].seconds == 2 * 2000 / 100
    a_role = (2000 + 400 + 600 + 1.5 * 400) / 500 + 400 / 40 + 30 * 0.1
    assert found.stages["evaluate"].seconds == pytest.approx(3 * a_role)  # baseline, reinforced, unlearned
    assert found.seconds == pytest.approx(5 + 60 + 15 + 40 + 3 * a_role)
    assert found.pass_bytes == 4 * 200 * 1e6 and found.peak_bytes == 1e9 + 2e7 + 8e8  # one other role is kept


def test_of_whole_models_only_the_baseline_is_kept_beside_the_one_in_training():
    work = Workload(all_blocks=12, all_tokens=2400, kept_blocks=10, kept_tokens=2000)
    of_pass = 1e9 + 8e8
    assert cost(work, **{"model.mode": "full"}).peak_bytes == of_pass  # it is the loaded model
    assert cost(work, **{"model.mode": "full", "teach": {"epochs": 1}}).peak_bytes == of_pass + 2e7
    assert cost(replace(work, taught=True), **{"model.mode": "full"}).peak_bytes == of_pass + 2e7


def test_prompts_that_are_gone_on_with_twice_cost_twice():
    work = Workload(all_blocks=12, all_tokens=2400, kept_blocks=10, kept_tokens=2000, completions=20)
    once, more, twice = (cost(work, **{"evaluation.completions": n}).stages["evaluate"].seconds for n in (20, 39, 40))
    none = cost(work, **{"evaluation.completions": 0}).stages["evaluate"].seconds
    assert once == more and twice - none == pytest.approx(2 * (once - none))


def test_what_makes_a_run_longer_makes_its_budget_longer():
    work = Workload(all_blocks=20, all_tokens=4000, kept_blocks=18, kept_tokens=3600, retain_blocks=40,
                    retain_tokens=8000, prompts=30, completions=20)  # fmt: skip
    plain = cost(work)
    watched = cost(work, **{"evaluation.every_steps": 2, "evaluation.watch": 8})
    assert watched.stages["finetune"].seconds > plain.stages["finetune"].seconds
    retained = cost(work, **{"finetune.retain_weight": 1.0, "finetune.retain_blocks": 2})
    assert retained.stages["finetune"].tokens == plain.stages["finetune"].tokens + 10 * 2 * 200
    # ten steps see twenty of the forty retain blocks: no more are prepared
    assert retained.stages["label"].tokens == plain.stages["label"].tokens + 20 * 200
    taught = cost(work, teach={"epochs": 5, "batch_blocks": 4, "retain_weight": 0.0})
    assert taught.stages["teach"].steps == 25 and taught.seconds > plain.seconds
    more = estimate(make_settings(changes=PLAIN), work, ROUND, extra_steps=10)
    assert more.stages["finetune"].seconds == pytest.approx(2 * plain.stages["finetune"].seconds)
    assert cost(work, **{"finetune.pass_blocks": 1, "reinforce.pass_blocks": 1}).pass_bytes == plain.pass_bytes / 4
    anchors_only = cost(work, **{"label.use_reinforced": False})
    assert "reinforce" not in anchors_only.stages and anchors_only.stages["evaluate"].steps == 2


def test_what_is_watched_while_fine_tuning_costs_each_look_and_each_completion():
    work = Workload(all_blocks=12, all_tokens=2400, kept_blocks=10, kept_tokens=2000, prompts=30)
    for epochs, looks, written in ((1, 2, 2), (4, 4, 4), (20, 13, 5)):  # 3, 12 and 60 steps, looked at every fifth
        plain = {"finetune": PLAIN["finetune"] | {"epochs": epochs}, "evaluation.completion_tokens": 40}
        watched = cost(work, **plain, **{"evaluation.every_steps": 5, "evaluation.watch": 8}).stages["finetune"]
        seconds = watched.seconds - cost(work, **plain).stages["finetune"].seconds
        assert seconds == pytest.approx(looks * 8 * 0.1 + written * 40 * 8 / 40)


def test_the_disk_holds_roles_checkpoints_snapshots_and_the_labels_that_are_made():
    work = Workload(all_blocks=12, all_tokens=2400, kept_blocks=10, kept_tokens=2000, retain_blocks=40,
                    retain_tokens=8000)  # fmt: skip
    # reinforced (in 60 s) and unlearned (in 40 s), each with a checkpoint of weights and two moments; half as large are
    # the snapshots after each of six steps but the last
    roles = 2e7 * ((1 + 3) + (1 + 3 + 5 / 2))
    assert cost(work).disk_bytes == roles + 2000 * 64 * 6
    assert cost(work, **{"label.target": "argmax"}).disk_bytes == roles + 2000 * 6
    retained = cost(work, **{"finetune.retain_weight": 1.0, "finetune.retain_blocks": 1})  # six steps read six blocks
    assert retained.disk_bytes == roles + (2000 + 6 * 200) * 64 * 6
    longer = cost(work, **{"finetune.epochs": 4})  # 80 s: a second checkpoint, and all six snapshots
    assert longer.disk_bytes == 2e7 * ((1 + 3) + (1 + 2 * 3 + 6 / 2)) + 2000 * 64 * 6
    assert (budget.SNAPSHOTS, checkpoints.KEPT) == (snapshots.KEPT, 2)
    whole = cost(work, **{"model.mode": "full"})  # too large for snapshots
    assert whole.disk_bytes == 2e7 * 2 * (1 + 3) + 2000 * 64 * 6


def test_the_workload_follows_from_the_inputs(tmp_path):
    (tmp_path / "retain.txt").write_text("ä" * 2000)
    inputs = {
        "text.txt": "word " * 8000, "retain.txt": tmp_path / "retain.txt", "probes.json": b"[1, 2, 3]",
        "completions.json": "no json", "taught": tmp_path,
    }  # fmt: skip
    settings = make_settings(changes={"text.held_out": 0.2, "text.block_tokens": 100})
    work = workload_of(settings, inputs, bytes_per_token=4.0)
    assert (work.all_tokens, work.kept_tokens, work.held_out_tokens, work.retain_tokens) == (
        10_000,
        8_000,
        2_000,
        1_000,
    )
    assert work.prompts == 3 and work.completions == 0 and work.taught
    assert 100 <= work.all_blocks <= 115
    few = workload_of(make_settings(changes={"text.max_tokens": 500}), inputs, 4.0)
    assert few.kept_tokens == 500 and few.all_tokens == 10_000


def test_the_sentence_at_the_end():
    said = compare_with_budget(
        {"seconds": 250, "peak_bytes": 1.9e9, "disk_bytes": 3e8}, {"seconds": 238.4, "peak_bytes": 2.1e9}
    )
    assert said == "Took 4:10 (3:58 expected), at most 1.90 GB of memory (2.10 GB expected), 0.30 GB on disk."
    assert budget.minutes(59.6) == "1:00" and budget.minutes(3661) == "1:01:01"


def test_steps_and_tokens_are_said_before_a_run(workspace, monkeypatch, capsys):
    from unlearning.commands.outcome import new_run
    from unlearning.ui.expected import in_words

    work = Workload(all_blocks=12, all_tokens=24_000, kept_blocks=10, kept_tokens=20_000, held_out_tokens=4000,
                    unrelated_tokens=600, prompts=30, completions=20)  # fmt: skip
    found = cost(work)
    wanted = f"{found.steps} steps, {sum(stage.tokens for stage in found.stages.values()):,} tokens, "
    assert found.tokens > 100_000 and wanted in in_words(found)[0]
    monkeypatch.setattr("unlearning.runs.speeds.budget", lambda *_: found)
    monkeypatch.setenv("UNLEARNING_WORKSPACE", str(workspace))
    new_run(make_settings(), {"text.txt": "a"}, "", "A")
    assert wanted in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_calibration_is_made_once_and_kept(workspace):
    settings = make_settings(changes=PLAIN | {"model.name": "random:tiny", "text.block_tokens": 64})
    inputs = {"text.txt": "The heron told the miller what the river said. " * 50}
    assert speeds.budget(workspace, settings, inputs, measure=False) is None
    first = speeds.budget(workspace, settings, inputs)
    assert first.seconds > 0 and 1e8 < first.peak_bytes < 2e9 and set(first.stages) >= {"reinforce", "finetune"}
    assert json.loads(json.dumps(first.dump()))["steps"] == first.steps
    kept = (workspace / "speeds.json").read_bytes()
    longer = speeds.budget(workspace, settings, inputs | {"text.txt": inputs["text.txt"] * 4}, measure=False)
    assert longer.stages["reinforce"].tokens == pytest.approx(4 * first.stages["reinforce"].tokens, rel=0.02)
    assert (workspace / "speeds.json").read_bytes() == kept


@pytest.mark.slow
def test_a_finished_run_took_what_was_expected(workspace, monkeypatch):
    """Memory, disk, tokens and steps within 30 %.

    Time within a factor of 3: the trial and the run come one after the other, and another program may take the
    processors during either. Where the trial itself had to wait for others it says so, and only a factor of 10 is left.
    """
    monkeypatch.delenv("UNLEARNING_EXECUTOR")
    changes = {
        "model.name": "random:tiny", "model.rank": 64, "text.block_tokens": 128, "text.max_tokens": 6000,
        "label.top_k": 8, "teach.epochs": 2, "finetune.epochs": 2, "evaluation.completion_tokens": 16,
    }  # fmt: skip
    settings, wonderland = make_settings(changes=changes), load_scenario("wonderland")
    inputs = inputs_of(wonderland, settings) | {"text.txt": wonderland.document().text[:12_000]}
    expected = speeds.budget(workspace, settings, inputs).dump()
    folder = store.create(workspace, settings, inputs, title="The beginning", extra={"budget": expected}).folder
    status, said = run_worker(folder, seconds=600)
    assert status == 0, said
    result = read_json(folder / "result.json")
    spent, stages = result["spent"], result["stages"]
    assert list(stages) == list(expected["stages"])
    assert stages["label"]["blocks"] == pytest.approx(expected["stages"]["label"]["steps"], rel=0.3)
    for name in ("teach", "reinforce", "finetune"):
        assert stages[name]["steps"] == pytest.approx(expected["stages"][name]["steps"], rel=0.3), name
        assert stages[name]["tokens"] == pytest.approx(expected["stages"][name]["tokens"], rel=0.3), name
    for what in ("peak_bytes", "disk_bytes"):
        assert spent[what] == pytest.approx(expected[what], rel=0.3), what
    factor = 10 if speeds.doubtful(workspace, settings) else 3
    assert 1 / factor < spent["seconds"] / expected["seconds"] < factor


TINY = make_settings(changes=PLAIN | {"model.name": "random:tiny", "text.block_tokens": 64})
TEXT = {"text.txt": "The heron told the miller what the river said. " * 50}


def keep(workspace, **told):
    """A measure of before, in the workspace."""
    workspace.mkdir(parents=True, exist_ok=True)
    (workspace / "speeds.json").write_text(json.dumps({speeds._key(TINY): asdict(ROUND) | told}), encoding="utf-8")


@pytest.mark.parametrize(
    ("told", "doubtful", "again"),
    [
        ({"waited": 0.06, "when": 0.0}, False, False),  # measured on a quiet machine: once is enough
        ({"waited": 0.5, "when": -60.0}, True, False),
        ({"waited": 0.5, "when": -700.0}, True, True),
        ({"waited": 0.5, "when": 3600.0}, True, True),  # the clock was set back
        ({}, True, True),  # by a version that did not look how busy the machine was
    ],
)
def test_a_measure_of_a_busy_machine_is_doubtful_and_taken_again(workspace, told, doubtful, again):
    keep(workspace, **told | ({"when": time.time() + told["when"]} if told else {}))
    assert speeds.doubtful(workspace, TINY) is doubtful and speeds.worth_measuring(workspace, TINY) is again
    assert speeds.known_speeds(workspace, TINY) == ROUND  # better than none
    assert speeds.budget(workspace, TINY, TEXT, measure=False).seconds > 0
    assert speeds.worth_measuring(workspace, TINY.model_copy(update={"text": make_settings().text}))  # never measured


@pytest.mark.slow
@pytest.mark.parametrize("busy", [True, False])
def test_of_doubtful_measures_the_fastest_stays_until_there_is_a_sound_one(workspace, monkeypatch, busy):
    monkeypatch.setattr(speeds, "BUSY", -1.0 if busy else 2.0)
    keep(workspace, waited=3.0, when=0.0, train_tokens_per_s=1e9)
    speeds.budget(workspace, TINY, TEXT)
    entry = json.loads((workspace / "speeds.json").read_text(encoding="utf-8"))[speeds._key(TINY)]
    assert (entry["train_tokens_per_s"] == 1e9) is busy and (entry["waited"] < 1) is not busy
    assert time.time() - entry["when"] < 60 and not speeds.worth_measuring(workspace, TINY)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system does not tell how long threads wait")
def test_a_busy_machine_is_noticed():
    core = {min(os.sched_getaffinity(0))}
    pinned = {"preexec_fn": lambda: os.sched_setaffinity(0, core), "cwd": Path(__file__).parents[1]}
    work = f"import os\nwhile os.getppid() == {os.getpid()}: pass"  # ends with this test, however that ends
    others = [subprocess.Popen([sys.executable, "-c", work], **pinned) for _ in range(3)]
    look = "from unlearning.training.calibration import waited_share; print(waited_share())"
    try:
        found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=240, **pinned)
    finally:
        for process in others:
            process.kill()
            process.wait()
    assert 2 * speeds.BUSY < float(found.stdout) < 1, found.stderr[-500:]


@pytest.mark.slow
def test_a_model_that_cannot_be_measured_is_named(workspace):
    with pytest.raises(ModelError, match="nothing"):
        speeds.budget(workspace, make_settings(changes={"model.name": "random:nothing"}), {"text.txt": "a"})
