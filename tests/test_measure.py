"""Measuring a real (tiny) model, and the summary of several roles on figures worked out by hand."""

import json
import math
from dataclasses import replace
from statistics import fmean

import pytest
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.config import EvaluationSettings
from unlearning.evaluation.measure import (
    MeasureInputs,
    add_fluency,
    measure_role,
    perplexity_figure,
    spread,
    summarise,
)
from unlearning.evaluation.metrics_table import METRICS
from unlearning.evaluation.scoring import perplexity, target_probabilities
from unlearning.models.generation import generate
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.prompts import CompletionPrompt, Probe

INPUTS = MeasureInputs(
    dictionary=Dictionary((Anchor("Marigold Finch", ("Rose Wren",), "person"),)),
    probes=[
        Probe("The brass", (" telescope", " telescope and")),
        Probe("Copper", (" Lane",)),
        Probe("The north", (" country",), "control"),
    ],
    completions=[CompletionPrompt("The keeper"), CompletionPrompt("The bell"), CompletionPrompt("Tea is", "control")],
    themes=["lamp"],
    forget=["The grey cat sat.", "The bell rang in the harbour.", "A"],
    held_out=[],
    unrelated=["It was raining."],
)
SETTINGS = EvaluationSettings(completions=3, completion_tokens=6, temperature=0.0)


def measured(seed=0, inputs=INPUTS, report=lambda kind, **fields: None, **changes):
    tokenizer = byte_level_bpe()
    settings = SETTINGS.model_copy(update=changes)
    return measure_role(tiny_llama(tokenizer, seed=seed), tokenizer, inputs, settings, report)


def test_a_role_is_measured_by_the_parts_it_consists_of():
    tokenizer, events = byte_level_bpe(), []
    model = tiny_llama(tokenizer)
    found = measured(report=lambda kind, **fields: events.append((kind, fields)))
    assert json.loads(json.dumps(found)) == found

    direct = target_probabilities(model, tokenizer, INPUTS.probes)
    assert [[t["p"] for t in each["targets"]] for each in found["probes"]] == [pytest.approx(row) for row in direct[:2]]
    # " telescope and" is part of " telescope" and is not added to it
    assert found["probes"][0]["p"] == pytest.approx(direct[0][0])
    assert found["controls"][0]["p"] == pytest.approx(direct[2][0])
    assert len(found["probes"][0]["top"]) == 10

    assert found["texts"]["forget"]["perplexity"] == pytest.approx(perplexity(model, tokenizer, INPUTS.forget))
    forget = found["texts"]["forget"]
    assert len(forget["log_probs"]) == len(forget["token_counts"]) == 2  # a block of one token has none
    assert forget["token_counts"][0] != forget["token_counts"][1] and sum(forget["token_counts"]) == forget["tokens"]
    assert math.exp(-fmean(forget["log_probs"], forget["token_counts"])) == pytest.approx(forget["perplexity"])
    assert found["texts"]["held_out"] is None

    texts = generate(model, tokenizer, ["The keeper", "The bell", "Tea is"], 6)
    assert [each["text"] for each in found["completions"]] == texts
    assert [fields["text"] for kind, fields in events if kind == "sample"] == texts
    assert [fields["step"] for kind, fields in events if kind == "step"] == [1, 2, 3, 4, 5]


def test_what_is_known_of_a_prompts_continuation_stands_beside_what_the_model_wrote():
    known = CompletionPrompt("The keeper", "probe", "lit the lamp", ("lamp",))
    rows = measured(inputs=replace(INPUTS, completions=[known, INPUTS.completions[1]]))["completions"]
    assert (rows[0]["expected"], rows[0]["names"]) == ("lit the lamp", ["lamp"])
    assert not {"expected", "names"} & set(rows[1])


def test_the_baseline_reads_every_roles_completions():
    tokenizer = byte_level_bpe()
    by_role = {"baseline": measured(0), "unlearned": measured(1)}
    add_fluency(tiny_llama(tokenizer), tokenizer, by_role)
    own, other = (
        [each["fluency"]["log_prob"] for each in by_role[role]["completions"]] for role in ("baseline", "unlearned")
    )
    assert all(mine > theirs for mine, theirs in zip(own, other, strict=True))  # its own likeliest words


def test_a_measured_run_makes_a_table_with_every_figure_known():
    by_role = {role: measured(seed) for seed, role in enumerate(("never_taught", "baseline", "unlearned"))}
    found = summarise(json.loads(json.dumps(by_role)))
    assert json.loads(json.dumps(found)) == found
    shown = {row["metric"] for row in found["table"]["rows"]}
    assert shown == set().union(*found["metrics"].values()) <= set(METRICS)
    assert {"probe_distance", "control_change", "completion_familiarity"} <= shown
    assert "forget_quality" not in shown  # of two blocks the test cannot tell anything
    assert found["metrics"]["never_taught"]["probe_distance"]["value"] == 0
    assert found["metrics"]["baseline"]["control_change"]["value"] == 0
    assert set(found["headline"]) == {"forgotten", "intact", "familiarity"}


def by_hand(probes, controls, log_probs, grades):
    """A measurement with these figures and nothing else."""
    return {
        "probes": [{"p": p} for p in probes],
        "controls": [{"p": p} for p in controls],
        "texts": {
            "forget": {"perplexity": math.exp(2), "tokens": 8, "log_probs": log_probs},
            "held_out": None,
            "unrelated": {"perplexity": 20.0, "tokens": 8, "log_probs": [-3.0]},
        },
        "completions": [
            {
                "prompt": str(i),
                "kind": kind,
                "grade": grade,
                "fluency": {"verdict": verdict, "repetition": 0.1, "distinct": 0.9},
            }
            for i, (kind, grade, verdict) in enumerate(grades)
        ],
    }


def test_a_prompt_that_is_gone_on_with_twice_is_drawn_twice_and_counts_once():
    for wanted, prompts in ((2, 2), (3, 3), (5, 3), (6, 6), (7, 6)):  # every prompt as often as the others
        assert len(measured(completions=wanted)["completions"]) == prompts
    found = measured(completions=6, temperature=1.0)["completions"]
    prompts, texts = [each["prompt"] for each in found], [each["text"] for each in found]
    assert prompts == 2 * [each.prompt for each in INPUTS.completions] and texts[:3] != texts[3:]
    leaks = [("probe", 3, "fluent"), ("probe", 0, "fluent")]
    once = by_hand([0.1], [0.5], [-1], leaks)
    twice = once | {"completions": 2 * once["completions"]}
    one, two = (
        summarise({"baseline": each})["metrics"]["baseline"]["completion_familiarity"] for each in (once, twice)
    )
    assert one == two | {"count": 2, "grades": [1, 0, 0, 1]}  # the same interval: there are still two prompts
    assert two["count"] == 4 and two["grades"] == [2, 0, 0, 2]


def test_figures_worked_out_by_hand():
    never = by_hand([0.1, 0.1], [0.5, 0.7], [-5, -6, -7, -8], [])
    baseline = by_hand([0.6, 0.2], [0.6, 0.6], [-1, -2, -3, -4], [("probe", 3, "fluent"), ("control", 3, "fluent")])
    unlearned = by_hand(
        [0.2, 0.1], [0.7, 0.5], [-1, -2, -3, -8],
        [("probe", 2, "fluent"), ("probe", 3, "gibberish"), ("control", 0, "fluent"), ("probe", 0, "fluent")],
    )  # fmt: skip
    found = summarise({"never_taught": never, "baseline": baseline, "unlearned": unlearned})["metrics"]
    assert found["baseline"]["probability_familiarity"]["value"] == pytest.approx(0.4)
    assert found["unlearned"]["probability_familiarity"]["value"] == pytest.approx(0.15)
    assert found["unlearned"]["probe_distance"]["value"] == pytest.approx((0.1 + 0.0) / 2)
    assert found["baseline"]["probe_distance"]["value"] == pytest.approx((0.5 + 0.1) / 2)
    # the mean of the controls stands still while each of them moved
    assert found["unlearned"]["control_probability"]["value"] == pytest.approx(0.6)
    assert found["unlearned"]["control_change"]["value"] == pytest.approx(0.1)
    # a completion of a control prompt is no sign of the text, but is writing
    assert found["baseline"]["completion_familiarity"]["value"] == 5
    assert found["unlearned"]["completion_familiarity"]["value"] == pytest.approx((5 + 1) / 3)
    assert found["unlearned"]["completion_familiarity"]["grades"] == [1, 0, 1, 1]
    assert found["unlearned"]["fluent_share"]["value"] == pytest.approx(3 / 4)
    assert found["unlearned"]["gibberish_share"]["value"] == pytest.approx(1 / 4)
    assert found["baseline"]["gibberish_share"]["value"] == 0 < found["baseline"]["gibberish_share"]["high"] < 1
    assert found["baseline"]["forget_quality"] == {"value": pytest.approx(2 / 70), "distance": 1.0, "count": 4}
    assert found["unlearned"]["forget_quality"]["distance"] == pytest.approx(3 / 4)
    assert found["unlearned"]["perplexity_unrelated"]["value"] == 20
    assert "perplexity_held_out" not in found["unlearned"]
    assert "completion_familiarity" not in found["never_taught"]


def of_blocks(log_probs, token_counts):
    perplexity = math.exp(-fmean(log_probs, token_counts))
    found = {"perplexity": perplexity, "tokens": sum(token_counts), "log_probs": log_probs}
    return found | {"token_counts": token_counts}


def test_the_interval_of_a_perplexity_is_that_of_resampled_blocks():
    """Four blocks, one longer and harder: resamples without it give e, the 97.5 % quantile holds it three times."""
    found = perplexity_figure(of_blocks([-1.0, -1.0, -1.0, -4.0], [2, 2, 2, 6]), None)
    assert found == {
        "value": pytest.approx(math.exp(30 / 12)), "count": 12,
        "low": pytest.approx(math.e), "high": pytest.approx(math.exp((3 * 6 * 4 + 2 * 1) / (3 * 6 + 2))),
    }  # fmt: skip


def test_the_rise_of_a_perplexity_is_of_the_same_blocks():
    baseline, counts = of_blocks([-1.0, -1.0, -1.0, -4.0], [2, 2, 2, 6]), [2, 2, 2, 6]
    alike = perplexity_figure(of_blocks([-1.1, -1.1, -1.1, -4.1], counts), baseline)["rise"]
    assert list(alike.values()) == pytest.approx(3 * [math.exp(0.1) - 1])  # however much the blocks differ
    rise = perplexity_figure(of_blocks([-1.1, -1.1, -1.1, -4.5], counts), baseline)["rise"]
    middle, most = (3 * 2 * 0.1 + 6 * 0.5) / 12, (3 * 6 * 0.5 + 2 * 0.1) / 20
    assert rise == {
        "value": pytest.approx(math.exp(middle) - 1),
        "low": pytest.approx(math.exp(0.1) - 1),
        "high": pytest.approx(math.exp(most) - 1),
    }
    texts = {role: {"texts": {"unrelated": text}} for role, text in (("baseline", baseline), ("unlearned", baseline))}
    found = summarise(texts)
    assert found["metrics"]["unlearned"]["perplexity_unrelated"]["rise"] == {"value": 0, "low": 0, "high": 0}
    assert [row["cells"]["unlearned"]["detail"] for row in found["table"]["rows"]] == ["2.7–40.4"]


def test_a_perplexity_without_the_tokens_of_each_block_has_no_interval():
    """As results of older versions are, and of a single block."""
    blocks = of_blocks([-1.0, -4.0], [2, 6])
    older = {key: value for key, value in blocks.items() if key != "token_counts"}
    plain = {"value": blocks["perplexity"], "count": 8}
    assert perplexity_figure(older, blocks) == perplexity_figure(older, None) == plain
    assert "low" not in perplexity_figure(of_blocks([-1.0], [8]), None)
    assert "rise" not in perplexity_figure(blocks, older)


def test_a_run_without_any_prompts_or_texts_has_a_summary_all_the_same():
    nothing = MeasureInputs(Dictionary(()), [], [], [], [], [], [])
    by_role = {role: measured(inputs=nothing) for role in ("baseline", "unlearned")}
    found = summarise(by_role)
    assert found["table"]["rows"] == []
    assert found["headline"]["forgotten"] == found["headline"]["intact"] == "unknown"


def test_spread():
    assert spread([1, 2, 3], 5) == [1, 2, 3]
    assert spread(list(range(10)), 2) == [2, 7]
    assert spread(list(range(100)), 4) == [12, 37, 62, 87]
    assert spread([1, 2], 0) == []
