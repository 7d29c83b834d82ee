"""A collapsed model is noticed, and the setting that is furthest off is named."""

import math

import pytest

from unlearning.config import make_settings
from unlearning.evaluation.collapse import collapse_warning, suspects


def figures(fluent=0.9, perplexity=20.0):
    return {"fluent_share": {"value": fluent}, "perplexity_unrelated": {"value": perplexity}}


def warned(changes=None, **roles):
    return collapse_warning({"baseline": figures()} | roles, make_settings(changes=changes))


@pytest.mark.parametrize(
    ("found", "collapsed"),
    [
        (figures(), False),
        (figures(fluent=0.5), False),
        (figures(fluent=0.45), True),
        (figures(perplexity=59.0), False),
        (figures(perplexity=60.0), True),
        (figures(perplexity=math.inf), True),
        ({}, False),
    ],
)
def test_what_counts_as_collapsed(found, collapsed):
    assert bool(warned(unlearned=found)) is collapsed


def test_the_setting_that_did_it_is_named_with_its_usual_value():
    changes = {"finetune.learning_rate": 0.05, "finetune.epochs": 12, "finetune.retain_weight": 0.0}
    said = warned(changes, unlearned=figures(0.1, 900.0))
    rate, weight = make_settings().finetune.learning_rate, make_settings().finetune.retain_weight
    assert said == (
        "The unlearned model has collapsed: 10% of its completions are fluent (90% before) and the perplexity of "
        "unrelated prose went from 20 to 900. Most likely because of finetune.learning_rate = 0.05 "
        f"(usually {rate:g}), finetune.retain_weight = 0 (usually {weight:g}), "
        f"finetune.epochs = 12 (usually 4): copy the run with finetune.learning_rate = {rate:g}."
    )


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"label.alpha": 40}, "label.alpha"),
        ({"finetune.retain_weight": 0.5}, "finetune.retain_weight"),
        ({"finetune.clip_norm": None}, "finetune.clip_norm"),
        ({"finetune.batch_blocks": 1}, "finetune.batch_blocks"),
        ({"model.mode": "full", "finetune.learning_rate": 5e-4}, "finetune.learning_rate"),  # 500 times the paper's
    ],
)
def test_each_harsh_setting_is_found(changes, name):
    assert suspects(make_settings(changes=changes), "finetune")[0].name == name


def test_gentle_settings_are_no_suspects():
    gentle = {"finetune.learning_rate": 1e-5, "finetune.epochs": 1, "finetune.retain_weight": 9.0, "label.alpha": 1}
    assert suspects(make_settings(changes=gentle), "finetune") == []
    rate = make_settings().finetune.learning_rate
    assert f"half of finetune.learning_rate ({rate:g})" in warned(unlearned=figures(0.0))


def test_the_stage_that_broke_first_is_blamed():
    changes = {"reinforce.learning_rate": 0.1, "finetune.learning_rate": 0.01}
    said = warned(changes, reinforced=figures(0.0), unlearned=figures(0.0))
    assert said.startswith("The reinforced model") and "reinforce.learning_rate = 0.1" in said
    taught = {"teach": {"learning_rate": 0.5}}
    said = warned(taught, never_taught=figures(), baseline=figures(0.0), unlearned=figures(0.0))
    assert said.startswith("The baseline model has collapsed") and "teach.learning_rate = 0.5" in said


def test_without_figures_nothing_is_said():
    assert collapse_warning({}, make_settings()) == ""
