"""Probes made from a text: what they promise, on our own scenario and on random texts."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearning.scenarios import load_scenario
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.cloze import LONGEST, WORD, make_completions, make_probes, sentence_starts
from unlearning.text.occurrences import find_occurrences


def dictionary(*terms: str) -> Dictionary:
    return Dictionary(tuple(Anchor(term, (f"other {number}",)) for number, term in enumerate(terms)))


@pytest.fixture(scope="module")
def wonderland():
    scenario = load_scenario("wonderland")
    return scenario.document().text, scenario.dictionary()


def test_a_cut_inside_an_anchor_of_several_words():
    text = "It was late when we met the March Hare. Everybody knows that the March Hare is mad."
    first, second = make_probes(text, dictionary("March Hare"))
    assert (first.prompt, first.targets) == ("It was late when we met the March", (" Hare",))
    assert (second.prompt, second.targets) == ("Everybody knows that the March", (" Hare",))


def test_a_cut_before_an_anchor_of_one_word_needs_more_of_the_sentence():
    near = "We saw Dinah. And at the end of a long and tiring day in the garden came Dinah."
    probes = make_probes(near, dictionary("Dinah"))
    assert [probe.prompt for probe in probes] == ["And at the end of a long and tiring day in the garden came"]


def test_a_short_beginning_is_joined_with_the_sentence_before_but_not_with_another_paragraph():
    text = "He asked it again and again. So said Mr. Knave.\n\nSo did the other Knave."
    assert [probe.prompt for probe in make_probes(text, dictionary("Knave"))] == [
        "He asked it again and again. So said Mr."
    ]


def test_a_prompt_never_gives_its_target_away():
    text = "The Hare told the story of the March Hare. Then the other one of the two saw the March Hare."
    assert [probe.prompt for probe in make_probes(text, dictionary("March Hare"))] == [
        "Then the other one of the two saw the March"
    ]


def test_capitals_for_shouting_and_quotation_marks_before_the_word_are_left_out():
    text = 'Nobody in the whole house had seen the great ALICE. Nobody in the whole house had read of the "Alice".'
    assert make_probes(text, dictionary("Alice")) == []
    sign = "On the door of the little house stood the letters TNT."
    assert [probe.targets for probe in make_probes(sign, dictionary("TNT"))] == [(" TNT",)]


def test_sure_places_come_first():
    seldom = "After that long and dreadful evening at the house nobody wanted to meet Charlotte. "
    often = "In the park behind the house we met Lady Catherine. And in the garden at noon we met Lady Catherine."
    probes = make_probes(seldom + often, dictionary("Charlotte", "Catherine"), count=1)
    assert [probe.targets for probe in probes] == [(" Catherine",)]


def test_the_scenario_gives_forty_probes_over_many_anchors_and_the_whole_text(wonderland):
    text, anchors = wonderland
    probes = make_probes(text, anchors)
    assert len(probes) == 40
    assert max(Counter(probe.note for probe in probes).values()) <= 4
    flat = " ".join(text.split())
    places = [flat.index(probe.prompt + probe.targets[0]) / len(flat) for probe in probes]
    assert [sum(part / 4 <= place < (part + 1) / 4 for place in places) >= 5 for part in range(4)] == [True] * 4
    assert make_probes(text, anchors) == probes


def test_completions_are_spread_and_stop_before_an_anchor(wonderland):
    text, anchors = wonderland
    prompts = [each.prompt for each in make_completions(text, anchors)]
    assert len(prompts) == len(set(prompts)) == 20
    flat = " ".join(text.split())
    places = [flat.index(prompt) for prompt in prompts]
    assert places == sorted(places)
    assert places[0] < len(flat) / 8
    assert places[-1] > len(flat) * 7 / 8
    for prompt, place in zip(prompts, places, strict=True):
        soon = flat[place + len(prompt) : place + len(prompt) + 60]
        assert find_occurrences(soon, anchors), (prompt, soon)


def test_titles_end_no_sentence():
    text = 'He saw Mr. Darcy. "Good evening!" said Dr. Who? Nobody knew.\n\nthe end'
    assert [text[start : start + 4] for start in sentence_starts(text)] == ["He s", '"Goo', "Nobo", "the "]


TERMS = ["Dinah", "March Hare", "rabbit hole", "Queen of Hearts"]


PIECES = [*TERMS, "the", "saw", "Mr.", "and", "then", ".", "\n\n", "“", "QUEEN OF HEARTS"]


@given(st.lists(st.sampled_from(PIECES), max_size=90))
def test_whatever_the_text_probes_are_passages_of_it(words):
    text = re.sub(r" ([.])", r"\1", " ".join(words))
    flat = " ".join(text.split())
    probes = make_probes(text, dictionary(*TERMS), count=7)
    assert len(probes) <= 7
    assert len({probe.prompt for probe in probes}) == len(probes)
    for probe in probes:
        (target,) = probe.targets
        assert probe.prompt + target in flat
        assert target.startswith(" ")
        assert target.strip()
        assert len(WORD.findall(probe.prompt)) <= LONGEST
        assert target.lower() not in f" {probe.prompt.lower()} ".replace(".", " ")
    for prompt in make_completions(text, dictionary(*TERMS), count=5):
        assert prompt.prompt in flat
