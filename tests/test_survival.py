"""The engine under the worker: killed, stopped, cut, starved — and the weights come out the same.

A tiny random model, every stage, real processes. A run that was killed at any moment and resumed must end with the
weights of one that was left alone, bit for bit.
"""

import json
import math
import os
import random
import shutil
import subprocess
import time
from collections import Counter

import pytest
from runs_for_tests import wait_until
from worker_farm import Farm

from unlearning.config import make_settings
from unlearning.evaluation.measure import PARTS
from unlearning.runs import archive, queue, store
from unlearning.runs.durable import read_json, write_json
from unlearning.runs.events import EVENTS, read, timeline
from unlearning.runs.progress import progress
from unlearning.runs.store import State

pytestmark = pytest.mark.slow  # about three minutes together

TEXT = " ".join(
    f"On day {day} the miller Orlo met the heron Wisk by the Glass Weir, and Wisk told Orlo what the river said."
    for day in range(1, 9)
)
ANCHORS = [
    {"term": "Orlo", "translations": ["Peter", "Martin"], "kind": "person"},
    {"term": "Wisk", "translations": ["Grey"], "kind": "creature"},
    {"term": "Glass Weir", "translations": ["Old Mill"], "kind": "place"},
]
PROBES = [
    {"prompt": "The miller", "targets": [" Orlo"], "kind": "probe"},
    {"prompt": "The river", "targets": [" said"], "kind": "control"},
]
COMPLETIONS = ["The heron", "By the river"]
SMALL = {
    "model.name": "random:tiny", "model.dtype": "float32", "model.rank": 2, "text.block_tokens": 64,
    "evaluation.completion_tokens": 4, "evaluation.every_steps": 8, "evaluation.watch": 2, "label.top_k": 4, "seed": 3,
    "teach": {"epochs": 3, "batch_blocks": 4}, "reinforce": {"epochs": 3, "batch_blocks": 4, "learning_rate": 3e-3},
    "finetune": {"epochs": 3, "batch_blocks": 4, "retain_blocks": 1},
}  # fmt: skip
ROLES = {"teach": "taught", "reinforce": "reinforced", "finetune": "unlearned"}
ORDER = ("teach", "reinforce", "label", "finetune", "evaluate")
LAST = PARTS + 2  # events of the last model's measurement: whoever waits for these may find the run at its end


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    """Workers with the real engine and a checkpoint after every step; no model is on their machine, nor a network."""
    before = dict(os.environ)
    os.environ |= {"UNLEARNING_EXECUTOR": "survival_executor:execute", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    os.environ["UNLEARNING_HOME"] = str(tmp_path_factory.mktemp("home"))
    workers = Farm()
    os.environ.clear()
    os.environ.update(before)
    yield workers
    workers.close()


@pytest.fixture(scope="module")
def alone(farm, tmp_path_factory):
    """A run that nobody disturbed."""
    return undisturbed(farm, tmp_path_factory.mktemp("alone"))


def new_run(workspace, text=TEXT, **changes):
    inputs = {
        "text.txt": text, "anchors.json": json.dumps(ANCHORS), "probes.json": json.dumps(PROBES),
        "completions.json": json.dumps(COMPLETIONS), "themes.txt": "river\nmill\n",
        "retain.txt": "A quiet street in the town led to the market, where bread was sold. " * 8,
        "unrelated.txt": "The train left at nine and came to the coast before noon. " * 8,
    }  # fmt: skip
    return store.create(workspace, make_settings(changes=SMALL | changes), inputs, title="The Glass Weir").folder


def undisturbed(farm, place, **changes):
    folder = new_run(place, **changes)
    assert farm.work(folder) == 0, (folder / "output.log").read_text()
    return folder


def weights(folder):
    """Bytes of everything the run has trained or made labels of."""
    found = {}
    for path in folder.glob("stages/*/*/adapter_model.safetensors"):
        found[path.parent.name] = path.read_bytes()
    assert {"reinforced", "unlearned"} <= found.keys()
    for path in sorted((folder / "stages" / "label").rglob("*.bin")):
        found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def losses(folder):
    steps = [event for event in timeline(read(folder).events) if event["kind"] == "step" and "loss" in event]
    return [(event["stage"], event["step"], event["loss"]) for event in steps]


def evaluated(folder):
    """(step, steps) of the last stage, as a follower sees it count."""
    steps = [event for event in timeline(read(folder).events) if event["kind"] == "step"]
    return [(event["step"], event["steps"]) for event in steps if event["stage"] == "evaluate"]


def same_outcome(folder, alone):
    assert store.state(folder) is State.SUCCEEDED
    assert weights(folder) == weights(alone)
    assert losses(folder) == losses(alone)
    assert evaluated(folder) == evaluated(alone)
    assert read_json(folder / "result.json")["evaluation"] == read_json(alone / "result.json")["evaluation"]


def kill_again_and_again(farm, folder, story, goals):
    """Kill a worker each time the run has come to the next event of a story, then let one end.

    Gives in which stages workers were killed, and how many in each; one that ended by itself before is none of them.
    """
    where = Counter()
    for goal in goals:
        worker = farm.start(folder)
        wait_until(
            lambda goal=goal: same_place(story[goal]) in map(same_place, steps_done(folder)) or ended(folder), 60
        )
        time.sleep(random.random() * 0.05)
        stage, status = progress(folder).stage, farm.kill(worker)
        assert status in (-9, 0), said(folder)
        if status == -9:
            where[stage] += 1
    while not ended(folder):
        assert farm.work(folder) == 0, (folder / "output.log").read_text()
    return where


def steps_done(folder):
    return [event for event in timeline(read(folder).events) if event["kind"] in ("step", "stage")]


def same_place(event):
    return tuple(event.get(key) for key in ("kind", "stage", "role", "state", "step"))


def ended(folder):
    return (folder / "result.json").exists()


def come_to(farm, folder, stage, step=2):
    """Start a worker and wait until it is in the middle of a stage."""
    worker = farm.start(folder)

    def there():
        steps = [event for event in read(folder).events if event["kind"] == "step" and event.get("stage") == stage]
        return sum("loss" in event or stage not in ROLES for event in steps) >= step

    assert wait_until(there, 60), said(folder)
    return worker


def said(folder):
    return (folder / "output.log").read_text()[-2000:]


def test_killed_at_thirty_random_moments_the_weights_are_the_same(farm, alone, tmp_path):
    folder, story = new_run(tmp_path), steps_done(alone)
    rng = random.Random(7)
    each = [[place for place, event in enumerate(story[:-LAST]) if event["stage"] == stage] for stage in ORDER]
    goals = {place for places in each for place in rng.sample(places, 2)}  # every stage twice, the rest by chance
    goals |= set(rng.sample(sorted(set(range(len(story) - LAST)) - goals), 32 - len(goals)))
    where = kill_again_and_again(farm, folder, story, sorted(goals))
    same_outcome(folder, alone)
    assert set(where) >= set(ORDER) and where.total() >= 30, where
    print(f"\nkilled {where.total()} times: {dict(where)}; lost: nothing")


def test_the_same_without_teaching(farm, tmp_path):
    """The first adapter then begins at random, not as a copy: what it begins from must not depend on the kills."""
    undisturbed_run = undisturbed(farm, tmp_path / "alone", teach=None)
    story = steps_done(undisturbed_run)
    folder = new_run(tmp_path / "killed", teach=None)
    goals = sorted(random.Random(8).sample(range(len(story) - LAST), 12))
    assert kill_again_and_again(farm, folder, story, goals).total() >= 10
    same_outcome(folder, undisturbed_run)


@pytest.mark.parametrize("stage", ["teach", "reinforce", "label", "finetune", "evaluate"])
def test_stop_saves_in_every_stage_and_resume_ends_the_same(farm, alone, tmp_path, stage):
    folder = new_run(tmp_path)
    worker = come_to(farm, folder, stage, step=1 if stage == "label" else 2)  # its second event may be its last
    queue.request_stop(folder)
    assert farm.wait(worker) == 0 and store.state(folder) in (State.CANCELLED, State.SUCCEEDED), said(folder)
    if store.state(folder) is State.CANCELLED:
        usable(folder, stage)
        queue.enqueue(folder)
        assert farm.work(folder) == 0
    same_outcome(folder, alone)
    done = [e["step"] for e in read(folder).events if e["kind"] == "step" and e["stage"] == "label"]
    assert done == sorted(set(done))  # no block was labelled twice


def test_a_stop_between_the_models_of_the_last_stage_costs_no_model_measured_before(farm, alone, tmp_path):
    """What was measured counts from the start, and the count goes on behind it."""
    folder = new_run(tmp_path)
    worker = come_to(farm, folder, "evaluate", step=PARTS + 2)
    queue.request_stop(folder)
    assert farm.wait(worker) == 0 and store.state(folder) is State.CANCELLED, said(folder)
    before = len(read(folder).events)
    queue.enqueue(folder)
    assert farm.work(folder) == 0
    same_outcome(folder, alone)
    after = [e for e in read(folder).events[before:] if e["kind"] == "step" and e["stage"] == "evaluate"]
    assert after[0]["step"] > PARTS and [e["step"] for e in after] == sorted({e["step"] for e in after})


def test_the_last_stage_counts_on_over_all_models(alone):
    told = [event for event in read(alone).events if event["kind"] == "step" and event["stage"] == "evaluate"]
    assert [event["step"] for event in told] == list(range(1, told[0]["steps"] + 1))
    assert (
        told[0]["steps"] == PARTS * 4 and told[-1]["seconds_left"] == 0
    )  # never taught, baseline, reinforced, unlearned


def usable(folder, stage):
    """What a stopped run leaves can be opened and writes, and the run says which models these are."""
    from unlearning.models.generation import generate
    from unlearning.training.stages import open_roles

    work = open_roles(folder)
    made = {name: role for name, role in ROLES.items() if ORDER.index(name) <= ORDER.index(stage)}
    roles = {"taught": "baseline"}  # what was taught is the baseline of the rest
    for name, role in made.items():
        assert (folder / "stages" / name / role / "adapter_model.safetensors").exists()
        with work.family.role(roles.get(role, role)) as model:
            assert len(generate(model, work.family.tokenizer, ["The miller"], 4)) == 1
    left = store.load(folder).summary["left"]
    assert left in [event.get("message") for event in read(folder).events]
    if stage in ("finetune", "evaluate"):
        assert "The unlearned model as it is" in left and ("step" in left) == (stage == "finetune")
    else:
        assert "before anything was unlearned" in left and all(role in left for role in made.values())


def test_a_model_trained_to_pieces_is_noticed_and_the_setting_named(farm, tmp_path):
    changes = {"model.mode": "full", "teach": None, "finetune.learning_rate": 0.5, "finetune.retain_weight": 0.0}
    folder = new_run(tmp_path, **changes)
    assert farm.work(folder) == 0, said(folder)
    (warning,) = [event["message"] for event in read(folder).events if event["kind"] == "warning"]
    assert (
        warning.startswith("The unlearned model has collapsed") and "finetune.learning_rate = 0.5 (usually" in warning
    )
    assert read_json(folder / "result.json")["evaluation"]["warnings"] == [warning]


def test_a_checkpoint_cut_by_a_power_cut_costs_a_step_not_the_run(farm, alone, tmp_path):
    folder = new_run(tmp_path)
    farm.kill(come_to(farm, folder, "reinforce", 5))
    newest = max((folder / "stages" / "reinforce" / "checkpoints").glob("step-*"))
    for file in newest.iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (folder / EVENTS).write_bytes((folder / EVENTS).read_bytes()[:-30])
    assert farm.work(folder) == 0
    same_outcome(folder, alone)


def test_a_run_moved_to_another_place_resumes_there(farm, alone, tmp_path):
    folder = new_run(tmp_path / "here")
    farm.kill(come_to(farm, folder, "finetune", 3))
    (tmp_path / "there").mkdir()
    moved = shutil.move(tmp_path / "here" / "runs", tmp_path / "there" / "runs") / folder.name
    assert store.state(moved) is State.INTERRUPTED
    assert farm.work(moved) == 0
    same_outcome(moved, alone)


def test_a_resumed_run_computes_as_it_began_whatever_the_machine_has_to_spare(farm, tmp_path):
    folder = new_run(tmp_path)
    farm.kill(come_to(farm, folder, "teach"))
    kept = read_json(folder / "hardware.json")
    write_json(folder / "hardware.json", kept | {"batch_hint": 1, "dtype": "bfloat16"})
    farm.kill(come_to(farm, folder, "reinforce"))
    assert read_json(folder / "hardware.json") | {"batch_hint": 1, "dtype": "bfloat16"} == read_json(
        folder / "hardware.json"
    )
    notes = [event["message"] for event in read(folder).events if event["kind"] == "note"]
    assert any("bfloat16" in note for note in notes)
    write_json(folder / "hardware.json", kept | {"batch_hint": 1, "machine": "another one"})
    farm.kill(come_to(farm, folder, "finetune"))
    assert read_json(folder / "hardware.json") == kept | {
        "memory_bytes": read_json(folder / "hardware.json")["memory_bytes"]
    }


def test_exported_with_checkpoints_it_resumes_elsewhere(farm, alone, tmp_path):
    folder = new_run(tmp_path)
    farm.kill(come_to(farm, folder, "finetune", 3))
    archive.export_run(folder, tmp_path / "run.zip", checkpoints=True)
    run = archive.import_run(tmp_path / "elsewhere", tmp_path / "run.zip")
    assert run.state is State.INTERRUPTED and farm.work(run.folder) == 0
    same_outcome(run.folder, alone)


def test_a_model_deleted_between_stages_is_named_and_the_run_can_go_on(farm, tmp_path):
    model = tmp_path / "a model"
    save_random_model(model)
    folder = new_run(tmp_path, **{"model.name": str(model)})
    farm.kill(come_to(farm, folder, "reinforce"))
    model.rename(tmp_path / "gone")
    assert farm.work(folder) == 1 and store.state(folder) is State.FAILED
    error = store.load(folder).error
    assert error["error"].startswith("Model") and "a model" in error["message"] and error["hint"]
    (tmp_path / "gone").rename(model)
    queue.enqueue(folder)
    assert farm.work(folder) == 0 and store.state(folder) is State.SUCCEEDED


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_one_file_of_the_model_deleted_between_stages(farm, tmp_path, file):
    model = tmp_path / "a model"
    save_random_model(model)
    folder = new_run(tmp_path, **{"model.name": str(model)})
    farm.kill(come_to(farm, folder, "label", 1))
    (model / file).rename(tmp_path / "gone")
    assert farm.work(folder) == 1 and store.state(folder) is State.FAILED
    error = store.load(folder).error
    assert error["error"].startswith("Model") and "a model" in error["message"] and error["hint"], error
    (tmp_path / "gone").rename(model / file)
    queue.enqueue(folder)
    assert farm.work(folder) == 0 and store.state(folder) is State.SUCCEEDED


@pytest.mark.parametrize(
    ("model", "error", "message", "hint"),
    [
        ("random:nothing", "ModelNotFoundError", "shape 'nothing'", "tiny"),
        ("./absent", "ModelNotFoundError", "absent", ""),
        ("gemma-3-270m", "LicenceError", "Terms of Use", "--accept-licence"),
        ("owner/absent", "DownloadError", "hub cannot be reached", "network"),  # the workers of these tests are offline
    ],
)
def test_a_model_that_cannot_be_had_is_named_with_what_to_do(farm, tmp_path, model, error, message, hint):
    folder = new_run(tmp_path, **{"model.name": model})
    assert farm.work(folder) == 1 and store.state(folder) is State.FAILED
    told = store.load(folder).error
    assert told["error"] == error and message in told["message"] and hint in told["hint"] and told["hint"], told


def test_out_of_memory_names_the_setting(farm, tmp_path):
    folder = new_run(tmp_path, **{"teach.pass_blocks": 16, "teach.batch_blocks": 16, "text.block_tokens": 512})
    (folder / "memory").write_text(str(20_000_000))
    assert farm.work(folder) == 1 and store.state(folder) is State.FAILED
    error = store.load(folder).error
    assert "Out of memory" in error["message"] and "teach.pass_blocks = 8 instead of 16" in error["hint"], error
    assert read_json(folder / "passes.json") == {"most": 8}
    (folder / "memory").unlink()
    queue.enqueue(folder)
    assert farm.work(folder) == 0 and store.state(folder) is State.SUCCEEDED, said(folder)


def test_a_loss_that_is_no_number_stops_at_the_last_good_step(farm, tmp_path):
    """A model with one token that it cannot read: the step whose block holds it has no loss."""
    save_random_model(tmp_path / "model", poisoned="~")
    changes = {"model.name": str(tmp_path / "model"), "teach": None, "text.held_out": 0.0}
    folder = new_run(tmp_path, TEXT + " ~", **changes)
    assert farm.work(folder) == 1 and store.state(folder) is State.FAILED, said(folder)
    error = store.load(folder).error
    assert error["error"] == "LossNotFiniteError" and "reinforce.learning_rate" in error["hint"]
    good = losses(folder)
    assert good and all(math.isfinite(loss) for _, _, loss in good)
    newest = max((folder / "stages" / "reinforce" / "checkpoints").glob("step-*"))
    assert read_json(newest / "state.json")["step"] == len(good) and f"those of step {len(good)}" in error["hint"]


def test_more_steps_continue_where_the_run_ended(farm, tmp_path):
    folder = undisturbed(farm, tmp_path)
    before, last = weights(folder), losses(folder)[-1]
    queue.enqueue_more(folder, 5)
    assert farm.work(folder) == 0
    after = losses(folder)
    assert [step for stage, step, _ in after if stage == "finetune"][-5:] == [last[1] + n for n in range(1, 6)]
    assert weights(folder)["unlearned"] != before["unlearned"] and weights(folder)["reinforced"] == before["reinforced"]
    assert read_json(folder / "result.json")["state"] == "succeeded"


def test_a_full_disk_stops_the_run_and_with_room_it_goes_on(farm, alone, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        folder = new_run(small)
        assert farm.work(folder) == 1 and store.state(folder) is State.FAILED, said(folder)
        error = store.load(folder).error
        assert "The disk is full" in error["message"] and "Free some space" in error["hint"]
        subprocess.run(["mount", "-o", "remount,size=50m", small], check=True)
        queue.enqueue(folder)
        assert farm.work(folder) == 0, said(folder)
        same_outcome(folder, alone)
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def save_random_model(folder, poisoned=""):
    """The tiny random model as a folder; it knows no number for a poisoned token."""
    import torch

    from unlearning.models.hardware import choose_hardware
    from unlearning.models.loading import load

    settings = make_settings(changes={"model.name": "random:tiny", "model.dtype": "float32"}).model
    model, tokenizer = load("random:tiny", choose_hardware(settings))
    if poisoned:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
        model.get_input_embeddings().weight.data[tokenizer(poisoned, add_special_tokens=False)["input_ids"]] = math.nan
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
