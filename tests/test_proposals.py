"""Proposals without a language model, read as a user would read them."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearning.text.anchor_checks import check_dictionary, clean_up
from unlearning.text.anchors import KINDS, Anchor, Dictionary
from unlearning.text.documents import read_documents
from unlearning.text.generics import FILE, classes
from unlearning.text.proposals import propose_offline
from unlearning.text.translation import translate

BOOKS = Path(__file__).parents[2] / "shared" / "books"

FANTASY = """
Tobin Fairweather had never believed in glimmerkin until the day the letter came. His aunt, Mrs. Fairweather, read it
twice at the breakfast table and then dropped it into the porridge. "Lanternfall," she said. "They want him at
Lanternfall." Tobin fished the letter out. It smelt of smoke and of wet wool.

Three weeks later Tobin stood in Gullwing Station with a trunk and a cat. A tall girl with silver hair asked whether
he was going to Lanternfall too. Her name was Isolde Varn, and she had been born in Morvane, where everybody rode
snowdrakes to school. "You will need a thornwand," Isolde told him. "Professor Quillon will not let you in without a
thornwand." They bought his thornwand in Crooked Lane, from old Madam Pell, who wrapped it in brown paper. "Be careful
with it," said Madam Pell. "The last boy set fire to the Hall of Echoes." Isolde laughed. Tobin did not.

At Lanternfall there were four towers and a lake. Professor Quillon met them at the gate of the Hall of Echoes, and he
looked at Tobin for a long time. "So you are the boy from the letter," said Quillon. "We play Skyrace here on
Saturdays. Do you play Skyrace?" Tobin had never heard of Skyrace. Isolde had played Skyrace since she was four, she
said, and she had been the best in Morvane.

That night a glimmerkin sat on the end of his bed. "Do not trust Lord Vexmoor," said the glimmerkin. "Lord Vexmoor
wants the Ember Crown." Then it went out like a candle. Nobody at Lanternfall spoke of Lord Vexmoor. The Ember Crown
had been lost for a hundred years, Professor Quillon said. But Tobin dreamt of the Ember Crown. He woke Isolde. They
took their thornwands and ran across the court. Vexmoor stood there in a grey cloak. "Give me the Ember Crown," said
Vexmoor. When it was over, Isolde had the Ember Crown on her knees. "It stays at Lanternfall," said Quillon.
"""
GERMAN = """
Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in seinem Bett verwandelt. »Was ist mit
mir geschehen?«, dachte er. Es war kein Traum. Sein Zimmer lag ruhig zwischen den vier Wänden. Die Schwester Grete
klopfte an die Tür. Herr Samsa kam aus dem Zimmer, und Grete weinte. Dann wollte Gregor zu Grete, aber Herr Samsa
stand vor der Tür. »Gregor«, sagte Grete, »du musst aufstehen.« Frau Samsa fiel auf einen Stuhl. Der Prokurist sprach
mit Herrn Samsa und mit Grete über Gregor. Der Stuhl und die Tür und das Bett gehörten der Familie Samsa.
"""
FRENCH = """
Emma Bovary regardait par la fenêtre. Charles était parti pour Yonville. « Où est Charles ? » demanda Emma. Homais
entra sans frapper. Il parlait toujours, Homais, de Rouen et de la science. Emma n'écoutait pas Homais. À Yonville,
tout le monde connaissait Homais et Charles. Léon revint à Yonville. Emma aimait Léon. Madame Bovary pleurait. Madame
Bovary voulait aller à Rouen. Monsieur Lheureux vendait des étoffes et souriait à Emma.
"""
NAMELESS = """
The water was cold and the day was long. We walked along the road until it turned to sand. Then we sat down. Nobody
said anything for a while. The wind came up from the sea. After that we went home. Then it rained, and We were TIRED.
"""
SAMPLES = {"fantasy": FANTASY, "german": GERMAN, "nameless": NAMELESS}


def book(name: str) -> str:
    path = BOOKS / f"{name}.txt"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    return read_documents([path]).text


def by_term(dictionary: Dictionary) -> dict[str, Anchor]:
    return {anchor.term: anchor for anchor in dictionary.anchors}


def assert_sound(dictionary: Dictionary, text: str) -> None:
    """What every proposed dictionary promises, whatever the text."""
    written = [translation for anchor in dictionary.anchors for translation in anchor.translations]
    assert len(set(map(str.lower, written))) == len(dictionary.anchors) == len(written)
    assert clean_up(dictionary) == (dictionary, [])
    assert [str(finding) for finding in check_dictionary(dictionary) if finding.severity == "error"] == []
    for anchor in dictionary.anchors:
        assert anchor.kind in KINDS
        assert len(anchor.term.split()) == len(anchor.translations[0].split()), anchor
        assert re.search(rf"(?<!\w){re.escape(anchor.translations[0])}(?!\w)", text) is None, anchor


# --- two books -----------------------------------------------------------------------------------

ALICE = """Alice, White Rabbit, Rabbit, Hatter, March Hare, Dormouse, Cat, Cheshire, Queen, King, Duchess, Mock Turtle,
    Gryphon, Caterpillar, Dinah, Bill, Knave, Mouse, Dodo, Lory, Pigeon, Footman, Lobster Quadrille, Queen of Hearts,
    Knave of Hearts, Mabel, Eaglet, Lizard, flamingo, hedgehog, hookah, Wonderland"""
PRIDE = """Elizabeth, Darcy, Bennet, Bingley, Jane, Wickham, Collins, Lydia, Longbourn, Netherfield, Pemberley, Meryton,
    Rosings, Lucas, Charlotte, Gardiner, Hertfordshire, Catherine, Bourgh, Kitty, Mary, Lizzy, Hunsford, Forster,
    Hurst, Phillips, Georgiana, Fitzwilliam, Derbyshire, Lambton, Caroline, Maria, William, Denny, Eliza, Gracechurch"""
JUNK = """The, But, And, When, Oh, Well, Ah, Aye, Mr, Mrs, Miss, Lady, Sir, Majesty, Chapter, Bennets, Lucases, English,
    London, Sunday, God, VERY, countenance, acquaintance, timidly, Why, Yes, Pray, Beau, Soo, Colonel, Dear, Poor"""


def listed(names: str) -> set[str]:
    return {" ".join(name.split()) for name in names.split(",")}


@pytest.mark.parametrize(("name", "expected"), [("alice_in_wonderland", ALICE), ("pride_and_prejudice", PRIDE)])
def test_books(name: str, expected: str) -> None:
    text = book(name)
    start = time.process_time()
    dictionary = propose_offline(text)
    assert time.process_time() - start < 3
    found = [anchor.term for anchor in dictionary.anchors]
    assert listed(expected) - set(found[:60]) == set()
    assert listed(JUNK) & set(found) == set()
    assert_sound(dictionary, text)


def test_kinds_and_genders_in_the_books() -> None:
    alice, pride = (
        by_term(propose_offline(book("alice_in_wonderland"))),
        by_term(propose_offline(book("pride_and_prejudice"))),
    )
    for term, kind in {
        "Alice": "person",
        "Hatter": "person",
        "Dormouse": "creature",
        "Mock Turtle": "creature",
    }.items():
        assert alice[term].kind == kind
    for term in ("Longbourn", "Netherfield", "Meryton", "Rosings", "Hertfordshire", "Lambton"):
        assert pride[term].kind == "place", term
    replacements = json.loads(FILE.read_text(encoding="utf-8"))["replacements"]
    for term, pool in {
        "Elizabeth": "given_female", "Jane": "given_female", "William": "given_male", "Darcy": "surname",
        "Bennet": "surname", "Lucas": "surname", "Fitzwilliam": "surname", "Pemberley": "place",
    }.items():  # fmt: skip
        assert pride[term].translations[0] in replacements[pool], term
    assert alice["Queen"].translations[0].lower() in replacements["rank_female"]
    assert alice["Bill"].translations[0] in replacements["given_male"]


def test_a_compound_is_built_from_the_words_of_its_parts() -> None:
    alice = by_term(propose_offline(book("alice_in_wonderland")))
    assert alice["White Rabbit"].translations[0].split()[1] == alice["Rabbit"].translations[0]
    assert alice["Queen of Hearts"].translations[0].split()[0] == alice["Queen"].translations[0]
    hearts = {alice[term].translations[0].split()[2] for term in ("Queen of Hearts", "Knave of Hearts")}
    assert len(hearts) == 1


def test_a_family_stays_a_family() -> None:
    text = book("pride_and_prejudice")
    dictionary = propose_offline(text)
    new = translate("Elizabeth Bennet, Miss Bennet and Mr. Bennet; the Bennets; Elizabeth.", dictionary, {}).text
    anchors = by_term(dictionary)
    first, last = anchors["Elizabeth"].translations[0], anchors["Bennet"].translations[0]
    assert new == f"{first} {last}, Miss {last} and Mr. {last}; the {last}s; {first}."


# --- other texts ---------------------------------------------------------------------------------


def test_fantasy() -> None:
    dictionary = propose_offline(FANTASY)
    found = by_term(dictionary)
    kinds = {"Tobin": "person", "Isolde": "person", "Quillon": "person", "Vexmoor": "person", "Lanternfall": "place"}
    kinds |= {"Morvane": "place", "Hall of Echoes": "place", "Skyrace": "thing", "thornwand": "thing"}
    assert {term: found[term].kind for term in kinds} == kinds
    assert {"Ember Crown", "glimmerkin", "Fairweather", "Pell"} <= set(found)
    assert not {"Three", "Then", "His", "Saturday", "They", "Professor", "Madam"} & set(found)
    assert_sound(dictionary, FANTASY)


def test_capitals_of_german_nouns_are_no_names() -> None:
    dictionary = propose_offline(GERMAN)
    assert set(by_term(dictionary)) == {"Samsa", "Grete", "Gregor"}
    assert_sound(dictionary, GERMAN)


def test_french() -> None:
    found = by_term(propose_offline(FRENCH))
    kinds = {"Emma": "person", "Homais": "person", "Charles": "person", "Yonville": "place", "Bovary": "person"}
    assert {term: found[term].kind for term in kinds} == kinds
    assert not {"Madame", "Monsieur", "Où", "À"} & set(found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        NAMELESS,
        "愛麗絲開始覺得非常厭倦。",
        "كانت أليس متعبة جدا",
        "1 2 3",
        "ALL CAPITALS HERE. " * 20,
        "a-" * 999,
    ],
)
def test_texts_without_names_give_nothing(text: str) -> None:
    assert propose_offline(text) == Dictionary(())


def test_line_beginnings_of_verse_are_no_names() -> None:
    verse = "Come along with me\nUnder the tree\nCome away and see\nUnder the sea\nCome to me\n" * 3
    assert propose_offline(verse) == Dictionary(())


def test_same_text_same_dictionary_and_limit_keeps_the_first() -> None:
    whole = propose_offline(FANTASY)
    assert propose_offline(FANTASY) == whole
    few = propose_offline(FANTASY, limit=3)
    assert [each.term for each in few.anchors] == [each.term for each in whole.anchors[:3]]
    assert propose_offline(FANTASY, limit=0) == Dictionary(())


def test_scores_of_the_model_change_the_ranking_and_let_common_words_in() -> None:
    text = FANTASY + "He saw the lake. She saw the lake. The lake was deep; a lake, his lake. Their lake froze. " * 2
    plain = [anchor.term for anchor in propose_offline(text).anchors]
    assert "lake" not in plain
    scored = [anchor.term for anchor in propose_offline(text, scores={"lake": 2.0, "Isolde": 3.0}).anchors]
    assert "lake" in scored
    assert scored.index("Isolde") < plain.index("Isolde")
    lowered = [anchor.term for anchor in propose_offline(text, scores={plain[0]: -0.5}).anchors]
    assert lowered.index(plain[0]) > 0


def test_articles_fit() -> None:
    text = "She saw an Owl. The Owl sat. Then the Owl spoke to a Fox, and the Fox said to the Owl that a Fox knew." * 4
    for anchor in propose_offline(text).anchors:
        vowel = anchor.translations[0][0] in "AEIOU"
        assert vowel == (anchor.term == "Owl"), anchor


PIECES = """Alice|the Hatter|Mr. Darcy|said|in|Rosings Park|White Rabbit|of|it.|Queen of Hearts|rabbit-hole|'Oh!'|Öl|İ|
    ﬀ|X|R2-D2|O’Brien’s|she|golden key|🙂|McGee|\u0301|St. Ives|Forty-Two|the|\n\n""".split("|")


@given(st.lists(st.sampled_from(PIECES), max_size=120))
@settings(max_examples=150, deadline=None)
def test_any_text_gives_a_sound_dictionary(words: list[str]) -> None:
    text = " ".join(words)
    assert_sound(propose_offline(text), text)


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_characters_at_all(text: str) -> None:
    assert_sound(propose_offline(text * 3), text * 3)


# --- the word lists ------------------------------------------------------------------------------


def test_pools_hold_single_words_each_once() -> None:
    pools = json.loads(FILE.read_text(encoding="utf-8"))["replacements"]
    for name, words in pools.items():
        assert [word for word, count in Counter(words).items() if count > 1] == [], name
        assert all(re.fullmatch(r"[A-Za-z]+", word) for word in words), name
    sizes = {"given_male": 130, "given_female": 130, "surname": 140, "place": 90}
    assert all(len(pools[name]) >= size for name, size in sizes.items())
    creatures = sum(len(pools[name]) for name in ("mammal", "bird", "swimmer", "crawler"))
    assert creatures >= 100


def test_no_given_name_is_of_both_genders() -> None:
    both = {word for word, names in classes().items() if {"given_male", "given_female"} <= set(names)}
    assert both == set()
