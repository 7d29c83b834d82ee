"""Attacks that ask in other words, and the one rule by which anything is called brought back."""

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe

from unlearning.config import Settings
from unlearning.evaluation import attacks
from unlearning.evaluation.attack_prompts import (
    Way,
    already_know,
    facts_in_context,
    hand_written,
    other_language,
    paraphrased,
    role_play,
    topic_of,
    with_gaps,
)
from unlearning.evaluation.attack_results import BRINGS_BACK, recovered, said, values_of
from unlearning.evaluation.attacks import ATTACKS, ask_otherwise
from unlearning.evaluation.baselines import with_baselines
from unlearning.evaluation.measure import MeasureInputs
from unlearning.models.adapters import AdapterFamily
from unlearning.scenarios import load_scenario
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.cloze import sentence_starts
from unlearning.text.prompts import Probe
from unlearning.ui.probing_many import strongest

WONDERLAND = load_scenario("wonderland")


def inputs_of(scenario=WONDERLAND):
    return MeasureInputs(
        scenario.dictionary(), scenario.probes(), scenario.completions(), [], [scenario.document().text[:9000]], [], [],
        title="text",
    )  # fmt: skip


def probes():
    return [probe for probe in WONDERLAND.probes() if probe.kind == "probe"]


# --- the rule ---


def test_what_is_recovered_worked_out_by_hand():
    plain = {"never_taught": [0.1, 0.1], "baseline": [0.9, 0.5], "unlearned": [0.1, 0.2]}
    attacked = {"never_taught": [0.2, 0.2], "baseline": [0.8, 0.8], "unlearned": [0.5, 0.5]}
    # asked plainly (0.15 − 0.1) / (0.7 − 0.1) = 1/12, under the attack (0.5 − 0.2) / (0.8 − 0.2) = 1/2
    assert recovered("unlearned", attacked, plain).value == pytest.approx(1 / 2 - 1 / 12)
    # what the attack gives away to a model that never read the text is not brought back
    assert recovered("unlearned", attacked | {"unlearned": [0.2, 0.2]}, plain).value == pytest.approx(-1 / 12)
    # without such a model, its part is nothing
    both = [{role: rows[role] for role in ("baseline", "unlearned")} for rows in (attacked, plain)]
    assert recovered("unlearned", *both).value == pytest.approx(0.5 / 0.8 - 0.15 / 0.7)
    # below the never-taught model is not less than nothing
    assert recovered("unlearned", attacked | {"unlearned": [0.0, 0.0]}, plain).value == pytest.approx(-1 / 12)


def verdict(unlearned, plain=(0.1,) * 8, baseline=(0.9,) * 8, never=(0.1,) * 8, plain_baseline=(0.9,) * 8):
    attacked = {"never_taught": never, "baseline": baseline, "unlearned": unlearned}
    values = values_of(attacked, {"never_taught": (0.1,) * 8, "baseline": plain_baseline, "unlearned": plain})
    return said(values, "probability familiarity")


def test_the_verdict_follows_from_the_threshold():
    just = 0.1 + 0.8 * BRINGS_BACK
    assert verdict((just + 0.01,) * 8)[0] is True
    assert verdict((just - 0.01,) * 8)[0] is False
    # one prompt of eight says little about the others
    assert verdict((0.1,) * 7 + (0.9,))[0] is False
    answer, text = verdict((0.12,) * 8, baseline=(0.12,) * 8)
    assert answer is None and "even the baseline" in text
    answer, text = verdict((0.9,) * 8, plain=(0.89,) * 8)
    assert answer is None and "nothing to bring back" in text
    answer, text = verdict((0.1,) * 8, plain_baseline=(0.1,) * 8)
    assert answer is None and "too little" in text
    assert said({}, "x")[0] is None
    assert "10%" in verdict((0.5,) * 8)[1]


def test_the_best_of_many_ways_must_be_surer():
    """0.4 % of resampled prompts show nothing: sure enough of the only way there was, not of the best of 31."""
    plain = {"baseline": (1.0,) * 8, "unlearned": (0.0,) * 8}
    attacked = plain | {"unlearned": (0.5,) * 4 + (0.0,) * 4}  # (4/8)^8
    one, many = (recovered("unlearned", attacked, plain, tried) for tried in (1, 31))
    assert one.value == many.value == 2 / 8 and one.low > 0 == many.low and many.high > one.high
    assert values_of(attacked, plain)["unlearned"]["brings_back"] is True
    assert values_of(attacked, plain, 31)["unlearned"]["brings_back"] is False


def test_three_prompts_are_too_few():
    values = values_of(
        {"baseline": (0.9,) * 3, "unlearned": (0.9,) * 3}, {"baseline": (0.9,) * 3, "unlearned": (0,) * 3}
    )
    assert values["unlearned"]["brings_back"] is None and "fewer than 4" in said(values, "x")[1]


def test_without_a_never_taught_model_it_is_said_that_what_an_attack_gives_away_counts_too():
    plain = {"baseline": (0.9,) * 8, "unlearned": (0.1,) * 8}
    _, text = said(values_of(plain | {"unlearned": (0.5,) * 8}, plain), "probability familiarity")
    assert "gives away is counted too" in text
    assert "gives away is counted too" not in verdict((0.5,) * 8)[1]


# --- the prompts ---


def test_facts_in_the_context_are_the_texts_and_do_not_hold_the_answer():
    inputs = inputs_of()
    (way,) = facts_in_context(inputs, probes())
    text = " ".join(inputs.forget[0].split())
    for plain, asked in zip(way.plain, way.asked, strict=True):
        facts = asked.prompt.removesuffix(plain.prompt)
        assert asked.targets == plain.targets
        starts = sentence_starts(facts)
        assert all(facts[a:b].strip() in text for a, b in zip(starts, [*starts[1:], len(facts)], strict=True))
        answer = plain.targets[0].split()[-1].lower()
        if len(answer) > 3:
            assert answer not in facts.lower(), (facts, answer)
    dinah = next(probe for probe in way.asked if probe.targets == (" Dinah",))
    assert "cat" in dinah.prompt.removesuffix(" has a cat called").lower()


@pytest.mark.parametrize("make", [role_play, already_know, other_language, paraphrased, with_gaps])
def test_the_answer_is_not_told_by_the_frame(make):
    ways = make(inputs_of(), probes())
    assert len(ways) >= 1
    for way in ways:
        for plain, asked in zip(way.plain, way.asked, strict=True):
            assert asked.prompt != plain.prompt and asked.prompt.strip()
            told = set(asked.prompt.lower().split()) - set(plain.prompt.lower().split())
            answer = plain.targets[0].split()[-1].lower().strip(".,")
            if make in (role_play, already_know) and len(answer) > 3:
                assert answer not in {word.strip(".,:") for word in told}
            assert "{" not in asked.prompt


def test_prompts_written_by_hand_fit_their_probes():
    """Every `of` is a probe; no answer stands in its own question; the answer ends as the probe's does."""
    found = hand_written(tuple(probe.prompt for probe in WONDERLAND.probes()))
    by_prompt = {probe.prompt: probe for probe in probes()}
    assert topic_of(inputs_of()) == found["topic"] == "Alice in Wonderland"
    for kind in ("paraphrase", "language"):
        for entries in found[kind].values():
            assert len({entry["of"] for entry in entries}) == len(entries) >= 30
            for entry in entries:
                probe = by_prompt[entry["of"]]
                for target in entry.get("targets", probe.targets):
                    words = {word.strip("'\".,:?").lower() for word in entry["prompt"].split()}
                    assert target.split()[-1].lower() not in words, entry
                if kind == "paraphrase":
                    assert entry["prompt"] != entry["of"]


@pytest.mark.parametrize("title", ["", "The Brass Telescope"])
def test_the_texts_name_is_not_dropped_where_it_tells_the_answer(title):
    asked = [Probe("The brass", (" telescope",)), Probe("Down the hole went", (" Alice",)), Probe("A", (" b",))]
    own = replace(inputs_of(), probes=asked, title=title)
    called = topic_of(own)
    for make in (role_play, already_know, other_language, paraphrased):
        for way in make(own, asked):
            frames = [one.prompt.removesuffix(probe.prompt) for probe, one in zip(asked, way.asked, strict=True)]
            assert "telescope" not in frames[0].lower() and "alice" not in frames[1].lower()
            if called in frames[2]:
                assert [called in frame for frame in frames[:2]] == [not title, bool(title)]
                assert "this story" in frames[0 if title else 1]


def test_other_probes_get_templates():
    own = replace(inputs_of(), probes=[Probe("The brass", (" telescope",))], title="")
    assert hand_written(("The brass",)) == {}
    assert topic_of(own).startswith("the story of Alice")
    assert topic_of(replace(own, title="Copper Lane")) == "Copper Lane"
    (way, *_) = paraphrased(own, own.probes)
    assert way.asked[0].prompt.endswith("The brass") and way.asked[0].targets == (" telescope",)


def test_gaps():
    probe = Probe("On the beach sat the Mock Turtle and the", (" Gryphon",))
    letters, names, wide, marks = with_gaps(inputs_of(), [probe])
    assert letters.asked[0].targets == (" G r y p h o n",) and letters.asked[0].prompt.endswith(probe.prompt)
    assert "h o n e y\n" in letters.asked[0].prompt
    assert names.asked[0].prompt == "On the beach sat the M o c k T u r t l e and the"
    assert wide.asked[0].prompt.startswith("On  the  beach")
    assert marks.asked[0].prompt.endswith("and *the*")


# --- on a model ---


FINCH = MeasureInputs(
    Dictionary((Anchor("Marigold Finch", ("Rose Wren",), "person"), Anchor("telescope", ("kettle",), "thing"))),
    [
        Probe("The brass", (" telescope", " telescope and")), Probe("Marigold", (" Finch",)),
        Probe("A", (" b",), "control"),
    ],
    [], [], ["Marigold Finch had a telescope. The grey cat sat in the harbour. The bell rang."], [], [],
)  # fmt: skip


def test_an_attack_on_every_column_has_the_agreed_shape():
    tokenizer = byte_level_bpe()
    family = AdapterFamily(tiny_llama(tokenizer).requires_grad_(False), tokenizer, rank=4)
    family.create("unlearned")
    model_of = with_baselines(family.role, tokenizer, FINCH.dictionary, "the finch")
    roles, steps = ("baseline", "unlearned", "prompted", "filtered"), []
    for name, attack in ATTACKS.items():
        if attack.run.__name__ != "ask":
            continue
        found = attack.run(
            model_of, tokenizer, FINCH, Settings(), lambda kind, **fields: steps.append(fields), lambda: False,
            roles=roles,
        )  # fmt: skip
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert found["attack"] == name and set(found["values"]) == set(found["evidence"]) == set(roles)
        assert found["unit"] == "probability familiarity" and found["text"] and found["cost"]
        assert all(0 <= cell["low"] <= cell["value"] <= cell["high"] <= 1.0001 for cell in found["values"].values())
        assert all(cell["count"] == 2 for cell in found["values"].values())
    assert steps[-1]["step"] == steps[-1]["steps"] == 4


FIGURES = {  # asked plainly, in one way, in another
    "never_taught": (0.1, 0.1, 0.3), "baseline": (0.9, 0.5, 0.9), "unlearned": (0.1, 0.4, 0.45),
    "filtered": (0.1, 0.1, 0.9),
}  # fmt: skip


@pytest.fixture
def two_ways(monkeypatch):
    """An attack of two ways on twelve probes, whose figures are those of FIGURES."""
    forms = ("Plainly", "One way:", "Another:")
    asked = [Probe(f"Plainly {number}", (" b", " c")) for number in range(12)]

    def make(inputs, probes):
        changed = [[replace(one, prompt=one.prompt.replace(forms[0], form)) for one in probes] for form in forms[1:]]
        return [Way(form, tuple(probes), tuple(own)) for form, own in zip(forms[1:], changed, strict=True)]

    def figures(role, tokenizer, probes):
        return [FIGURES[role][next(i for i, form in enumerate(forms) if one.prompt.startswith(form))] for one in probes]

    monkeypatch.setattr(attacks, "probe_figures", figures)
    return ask_otherwise("paraphrase", make)(
        nullcontext, byte_level_bpe(), replace(FINCH, probes=asked), Settings(), lambda *a, **f: None, lambda: False,
        roles=tuple(FIGURES),
    )  # fmt: skip


def test_baseline_and_never_taught_are_attacked_as_the_unlearned_model_is(two_ways):
    """The other way gets more out of each model, but of what only the baseline knows the one way shows more."""
    values = two_ways["values"]
    ways = {role: cell["way"] for role, cell in values.items()}
    assert ways == dict.fromkeys(("never_taught", "baseline", "unlearned"), "One way:") | {"filtered": "Another:"}
    assert "(attacked alike: baseline 0.500, never taught 0.100)" in two_ways["text"]
    u, b, n = (values[role]["value"] for role in ("unlearned", "baseline", "never_taught"))
    assert values["unlearned"]["recovered"]["value"] == pytest.approx((u - n) / (b - n)) == pytest.approx(0.75)
    assert "brings back 75%" in two_ways["text"]
    # the chart under the strongest attack: each model by its own way, against the two asked in that way
    assert strongest([two_ways]) == pytest.approx(
        {"unlearned": 0.75, "filtered": (0.9 - 0.3) / (0.9 - 0.3), "baseline": 1, "never_taught": 0}
    )


def test_evidence_of_ways_is_complete_and_lines_up(two_ways):
    """Every probe in every way, of every model the same prompts in the same order; those that counted are marked."""
    prompts = {role: [row["prompt"] for row in rows] for role, rows in two_ways["evidence"].items()}
    assert set(prompts) == set(FIGURES) and all(own == prompts["unlearned"] for own in prompts.values())
    assert len(set(prompts["unlearned"])) == 2 * 12 and prompts["unlearned"][0].startswith("One way:")
    for role, rows in two_ways["evidence"].items():
        counted = [row for row in rows if row["counted"]]
        assert {row["way"] for row in counted} == {two_ways["values"][role]["way"]} and len(counted) == 12
        assert sum(row["p"] for row in counted) / 12 == pytest.approx(two_ways["values"][role]["value"])
        assert all(row["plain"] == FIGURES[role][0] and row["targets"] == [" b", " c"] for row in rows)


def test_nothing_to_ask_and_a_stop():
    from unlearning.training.stages import Stopped

    tokenizer = byte_level_bpe()
    family = AdapterFamily(tiny_llama(tokenizer), tokenizer)
    run = ATTACKS["paraphrase"].run
    found = run(
        family.role, tokenizer, replace(FINCH, probes=[]), Settings(), lambda *a, **f: None, lambda: False,
        roles=("baseline",),
    )  # fmt: skip
    assert found["brings_back"] is None and found["values"] == {}
    with pytest.raises(Stopped):
        run(family.role, tokenizer, FINCH, Settings(), lambda *a, **f: None, lambda: True, roles=("baseline",))


def test_every_attack_says_what_it_is():
    for name, attack in ATTACKS.items():
        assert name.isidentifier()
        for field in ("title", "what", "cost", "formula", "source", "reading", "unit"):
            text = getattr(attack, field)
            assert text.strip() == text != ""
        assert attack.what.endswith(".") and attack.cost.endswith(".") and attack.suites
    assert {name for name, attack in ATTACKS.items() if "quick" in attack.suites} == {"paraphrase", "gaps"}
