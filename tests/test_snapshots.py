"""Adapters kept at some steps: which, that they are read back as they were, and the curve of any token over them."""

import itertools
import time

import pytest
from finished_run import finished  # noqa: F401

from unlearning.training.snapshots import KEPT, snapshots, steps_kept, through_snapshots
from unlearning.ui import asking
from unlearning.ui.host import ModelHost
from unlearning.ui.jobs import Job


@pytest.mark.parametrize(("steps", "first"), [(80, 2), (1000, 20), (156, 3), (49, 1)])
def test_early_steps_are_kept_closer_together(steps, first):
    kept = steps_kept(steps)
    gaps = [b - a for a, b in itertools.pairwise(kept)]
    assert kept[0] == first and kept[-1] < steps and len(kept) <= KEPT
    assert gaps == sorted(gaps)


def test_a_training_of_one_step_keeps_none():
    assert steps_kept(1) == []


def test_any_token_has_a_curve_and_the_models_are_as_before(finished):
    host = ModelHost(finished.parents[1])
    steps = [step for step, _ in snapshots(finished)]
    assert steps, "the run has kept no step"
    job = Job("x", lambda job: None, asked=time.monotonic() + 1000)  # somebody waits, however long it takes
    told = asking.say_next(host, finished, "The river was cold, and the", " keeper", job)
    curve = told["curve"]
    assert [step for step, _ in curve["points"]] == [0, *steps, curve["steps"]]
    row = next(row for row in told["rows"] if row["token"] == told["actual"])
    assert curve["points"][0][1] == row["p"]["baseline"] and curve["points"][-1][1] == row["p"]["unlearned"]
    again = asking.say_next(host, finished, "The river was cold, and the", " keeper", job)
    assert again["rows"] == told["rows"]
    assert len({p for _, p in curve["points"]}) > 2  # the steps between are neither end


def test_a_snapshot_is_the_model_of_its_step(finished):
    def total(model):
        return sum(float(weight.sum()) for name, weight in model.named_parameters() if ".unlearned." in name)

    with ModelHost(finished.parents[1]).open(finished.name) as work:
        seen = [total(model) for _, model in through_snapshots(work.family, finished)]
    assert len(seen) == len(set(seen)) == len(snapshots(finished))
