"""Anchors are found as whole words, the longest first, and translations take the form of their place."""

import random
import re
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.occurrences import Occurrence, find_occurrences, normal, render_translation, spellings


def anchors(*terms: str, kind: str = "phrase") -> Dictionary:
    return Dictionary(tuple(Anchor(term, ("other",), kind) for term in terms))


def found(text: str, *terms: str) -> list[str]:
    return [occurrence.text for occurrence in find_occurrences(text, anchors(*terms))]


def rendered(text: str, term: str, translation: str, kind: str = "phrase") -> str:
    """The text with every occurrence of the one anchor replaced."""
    anchor = Anchor(term, (translation,), kind)
    for occurrence in reversed(find_occurrences(text, Dictionary((anchor,)))):
        text = text[: occurrence.start] + render_translation(occurrence, anchor, translation) + text[occurrence.end :]
    return text


# --- what is found -----------------------------------------------------------------------------


def test_places_are_given_as_in_the_text() -> None:
    text = "The Mad\n Hatter and Alice’s cat."
    occurrences = find_occurrences(text, anchors("Alice", "Mad Hatter"))
    assert occurrences == [Occurrence(4, 15, 1, "Mad\n Hatter"), Occurrence(20, 25, 0, "Alice")]


@pytest.mark.parametrize(
    "text",
    [
        "Ronald",
        "environ",
        "Rony",
        "Ron2",
        "2Ron",
        "éRon",
        "e\u0301Ron",
        "Ron\u0301",
        "Roń",
        "Ro\u00adn",
        "Ron\u200dny",
        "ron",
    ],
)
def test_no_part_of_a_longer_word(text: str) -> None:
    assert found(text, "Ron") == []


@pytest.mark.parametrize(
    "text",
    [
        "Ron",
        "_Ron_",
        "'Ron'",
        "“Ron’s",
        "Ron—he",
        "half-Ron",
        "🧙‍♂️Ron🎩",
        "1️⃣Ron",
        "Ron\ufe0f",
        "\u200fRon\u200e",
        "ロンRonです",
        "א Ron א",
        "Ron'll",
        "O'Ron",
    ],
)
def test_edges_that_are_none_of_a_word(text: str) -> None:
    assert found(text, "Ron") == ["Ron"]


def test_a_negation_holds_no_name() -> None:
    assert found("Don't! don’t. DON'T. Don, Don's and Don'ts.", "Don") == ["Don"] * 3


def test_scripts_without_blanks() -> None:
    assert found("これはアリスです。", "アリス") == ["アリス"]


def test_accents_match_composed_or_not() -> None:
    for term in ("Élan", unicodedata.normalize("NFD", "Élan")):
        assert found("Élan E\u0301lan ÉLAN Elan", term) == ["Élan", "E\u0301lan", "ÉLAN"]


def test_the_longest_at_the_leftmost_place() -> None:
    terms = ("Rabbit", "White Rabbit", "White Rabbit's house", "Rabbit Hole")
    assert found("White Rabbit's house, White Rabbits, White Rabbit Hole, White rabbit", *terms) == [
        "White Rabbit's house",
        "White Rabbits",
        "White Rabbit",
    ]


def test_a_shorter_term_where_the_longer_breaks_off() -> None:
    assert found("Alice Liddelly met Alice", "Alice Liddell", "Alice") == ["Alice", "Alice"]


def test_a_very_short_term_does_not_hide_a_longer_one() -> None:
    assert found("X Ray, X, No Ray, No", "X", "X Ray", "No", "No Ray") == ["X Ray", "X", "No Ray", "No"]


def test_white_space_is_flexible_but_not_across_paragraphs_and_hyphens_are_literal() -> None:
    text = "White  Rabbit, White\u00a0Rabbit, White \r\n Rabbit, White\n\nRabbit, White-Rabbit"
    assert found(text, "White Rabbit") == ["White  Rabbit", "White\u00a0Rabbit", "White \r\n Rabbit"]
    assert found("tea party, tea-party", "tea-party") == ["tea-party"]


def test_letters_may_be_raised_never_lowered() -> None:
    assert found("Hatter HATTER hatter HaTTer", "Hatter") == ["Hatter", "HATTER"]
    assert found("wand Wand WAND", "wand") == ["wand", "Wand", "WAND"]
    assert found("Pool of Tears, Pool Of Tears, pool of Tears", "pool of tears") == ["Pool of Tears", "Pool Of Tears"]


def test_plurals_are_found_unless_they_are_an_anchor() -> None:
    assert found("Muggles, MUGGLES’ and Muggle", "Muggle") == ["Muggles", "MUGGLES", "Muggle"]
    assert found("Fairies, witches", "Fairy", "witch") == ["Fairies", "witches"]
    own = find_occurrences("Muggles MUGGLES Muggle", anchors("Muggle", "Muggles"))
    assert [occurrence.anchor for occurrence in own] == [1, 1, 0]
    off = Dictionary((Anchor("Muggle", ("a",)), Anchor("Muggles", ("b",), enabled=False)))
    assert [occurrence.anchor for occurrence in find_occurrences("Muggles", off)] == [0]


def test_a_term_as_written_comes_before_the_capitals_of_another() -> None:
    both = find_occurrences("Queen queen QUEEN", anchors("queen", "Queen"))
    assert [occurrence.anchor for occurrence in both] == [1, 0, 0]


def test_what_is_never_found() -> None:
    assert find_occurrences("— , Alice", Dictionary(())) == []
    assert found("— , Alice", "", " ", "—") == []
    assert find_occurrences("Alice", Dictionary((Anchor("Alice", ("Clara",), enabled=False),))) == []


# --- what is written ---------------------------------------------------------------------------


def test_translations_take_capitals_and_number_from_their_place() -> None:
    assert (
        rendered("Muggle, MUGGLE, Muggles, MUGGLES", "Muggle", "commoner") == "commoner, COMMONER, commoners, COMMONERS"
    )
    assert rendered("Wands. The wand. WANDS’", "wand", "magic stick") == "Magic sticks. The magic stick. MAGIC STICKS’"
    assert (
        rendered("Pool of Tears. Pool of tears.", "pool of tears", "lake of sighs") == "Lake of Sighs. Lake of sighs."
    )
    assert rendered("Dormice", "Dormouse", "Field Fairy") == "Field Fairies"


def test_names_keep_their_spelling_in_the_plural() -> None:
    assert rendered("the Potters’ house", "Potter", "Kennedy", "person") == "the Kennedys’ house"


def test_possessives_and_articles_stay_in_the_text() -> None:
    assert rendered("Alice’s ALICE'S", "Alice", "Clara", "person") == "Clara’s CLARA'S"
    assert rendered("a Muggle", "Muggle", "ordinary person") == "a ordinary person"


def test_as_many_words_keep_the_line_breaks() -> None:
    assert rendered("Mad\n  Hatter", "Mad Hatter", "Crazy Tailor") == "Crazy\n  Tailor"
    assert rendered("Mad\n  Hatter", "Mad Hatter", "Old Crazy Tailor") == "Old Crazy Tailor"


def test_a_single_letter_is_a_beginning_not_all_capitals() -> None:
    assert rendered("X", "x", "unknown one") == "Unknown one"


# --- properties --------------------------------------------------------------------------------

WORDS = ["Ron", "ron", "Alice", "Mad", "Hatter", "hatters", "RON", "of", "Hearts", "fairy", "Fairies", "don", "Don't"]
ODD = [
    "'s",
    "’s",
    "\u0301",
    "🎩",
    "🧙‍♂️",
    "\ufe0f",
    "\u200d",
    "\u200f",
    "אליס",
    "é",
    "e\u0301",
    "_",
    "-",
    "s",
    "1",
    "ß",
    "ア",
]
GAPS = [" ", "  ", "\n", " \n ", "\n\n", "\u00a0", ", ", ""]
texts = st.lists(st.sampled_from(WORDS + ODD + GAPS * 4), max_size=25).map("".join)
terms = st.lists(st.sampled_from([*WORDS, *ODD]), min_size=1, max_size=4).flatmap(
    lambda words: st.sampled_from([" ", "", "-", "\n"]).map(lambda gap: gap.join(words))
)
dictionaries = st.lists(
    st.builds(
        Anchor,
        terms,
        st.lists(terms, min_size=1, max_size=2).map(tuple),
        st.sampled_from(["person", "thing"]),
        st.booleans(),
    ),
    max_size=5,
).map(lambda rows: Dictionary(tuple(rows)))


def slow_reference(text: str, dictionary: Dictionary) -> list[tuple[int, int, int]]:
    """Leftmost-longest by trying every start and every end, character by character."""
    owner, places, start = spellings(dictionary), [], 0
    while start < len(text):
        for end in range(len(text), start, -1):
            anchor = owner.get(normal(text[start:end]))
            if anchor is not None and _is_place(text, start, end):
                places.append((start, end, anchor))
                start = end - 1
                break
        start += 1
    return places


def _is_place(text: str, start: int, end: int) -> bool:
    trimmed = text[start:end].strip() == text[start:end]
    return trimmed and _one_paragraph(text[start:end]) and _begins(text, start) and _ends(text, end)


def _letter(character: str) -> bool:
    return character.isalnum() and not "\u3040" <= character <= "\u30ff"


def _mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" and character not in "\ufe0f\u20e3"


def _one_paragraph(piece: str) -> bool:
    return all(gap.count("\n") < 2 for gap in re.findall(r"\s+", piece))


def _begins(text: str, start: int) -> bool:
    before = text[:start]
    if before[-1:] in ("\ufe0f", "\u200d"):
        return not _letter(before[-2:-1])
    return not _letter(before.rstrip("\u0301")[-1:])


def _ends(text: str, end: int) -> bool:
    rest = text[end:]
    negation = rest[:1] in ("'", "’") and rest[1:2] in ("t", "T") and not _letter(rest[2:3])
    return not (negation or (rest and _mark(rest[0])) or _letter(rest.lstrip("\u200d\ufe0f")[:1]))


@settings(max_examples=400, deadline=None)
@given(texts, dictionaries)
@example("Mad\nHatter’s", anchors("Mad Hatter", "Mad"))
@example("e\u0301Ron RON e\u0301", anchors("é", "Ron"))
def test_it_finds_what_the_slow_reference_finds(text: str, dictionary: Dictionary) -> None:
    fast = [(each.start, each.end, each.anchor) for each in find_occurrences(text, dictionary)]
    assert fast == slow_reference(text, dictionary)


@settings(max_examples=200, deadline=None)
@given(texts, dictionaries)
def test_occurrences_lie_in_order_and_carry_their_text(text: str, dictionary: Dictionary) -> None:
    place = 0
    for occurrence in find_occurrences(text, dictionary):
        assert place <= occurrence.start < occurrence.end
        assert text[occurrence.start : occurrence.end] == occurrence.text
        assert dictionary.anchors[occurrence.anchor].enabled
        place = occurrence.end


@settings(max_examples=200, deadline=None)
@given(texts, dictionaries)
def test_the_identity_dictionary_changes_nothing(text: str, dictionary: Dictionary) -> None:
    for occurrence in find_occurrences(text, dictionary):
        anchor = dictionary.anchors[occurrence.anchor]
        assert render_translation(occurrence, anchor, anchor.term) == occurrence.text


@settings(max_examples=200, deadline=None)
@given(texts, dictionaries)
def test_a_translation_loses_no_letter(text: str, dictionary: Dictionary) -> None:
    for occurrence in find_occurrences(text, dictionary):
        anchor = dictionary.anchors[occurrence.anchor]
        for translation in anchor.translations:
            new = render_translation(occurrence, anchor, translation)
            assert len(normal(new)) >= len(normal(translation)) - 4  # person → people, knife → knives, mouse → mice
            assert new == new.strip()


def test_a_megabyte_with_500_anchors_takes_about_a_second() -> None:
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdefghijklmnoprstuvwy", k=generator.randint(2, 9))) for _ in range(4000)]
    capitalised = [word.capitalize() for word in words[:500]]
    terms = [
        *capitalised[:300],
        *(" ".join(pair) for pair in zip(capitalised[300:400], capitalised[400:], strict=False)),
        *words[500:600],
    ]
    text = " ".join(generator.choices(words + capitalised, k=160_000))
    started = time.process_time()
    occurrences = find_occurrences(text, anchors(*terms))
    assert len(text) > 1_000_000
    assert len(occurrences) > 5_000
    assert time.process_time() - started < 3  # 0.3 s on one idle core


def test_long_runs_of_blanks_do_not_stall_it() -> None:
    started = time.process_time()
    assert found("White " + " " * 200_000 + "Hare " + "White\t" * 50_000, "White Rabbit Hole") == []
    assert time.process_time() - started < 2


def test_terms_that_are_prefixes_of_each_other() -> None:
    terms = ["a" * length for length in range(1, 400)]
    assert found("a" * 399 + " " + "a" * 400 + " " + "a" * 7, *terms) == ["a" * 399, "a" * 7]
