"""English by simple rules: the words that the scenarios need, and those that simple rules get wrong."""

import pytest

from unlearning.text.word_forms import article, plural, plurals, raised


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("Muggle", "Muggles"),
        ("witch", "witches"),
        ("fairy", "fairies"),
        ("donkey", "donkeys"),
        ("House-elf", "House-elves"),
        ("penknife", "penknives"),
        ("Dormouse", "Dormice"),
        ("Man", "Men"),
        ("hero", "heroes"),
        ("dodo", "dodos"),
        ("merman", "mermen"),
        ("ordinary person", "ordinary people"),
        ("magic folk", "magic folk"),
        ("Knave of Hearts", "Knaves of Hearts"),
        ("Mystic Academy", "Mystic Academies"),
    ],
)
def test_plural(one: str, many: str) -> None:
    assert plural(one) == many


def test_names_keep_their_ending() -> None:
    assert [plural(name, name=True) for name in ("Kennedy", "Wolf", "Bush", "Newman")] == [
        "Kennedys",
        "Wolfs",
        "Bushes",
        "Newmans",
    ]


def test_every_plural_that_may_be_found() -> None:
    assert plurals("Fairy") == ["Fairies", "Fairys"]
    assert plurals("House-elf") == ["House-elves", "House-elfs"]
    assert plurals("dodo") == ["dodos", "dodoes"]
    assert plurals("Al") == plurals("Mr.") == plurals("Go!") == []


def test_letters_are_only_raised() -> None:
    assert raised("pool of tears") == ["Pool of tears", "Pool Of Tears", "Pool of Tears", "POOL OF TEARS"]
    assert raised("White Rabbit") == ["WHITE RABBIT"]
    assert raised("'arry") == ["'Arry", "'ARRY"]
    assert raised("NASA") == raised("42") == []


@pytest.mark.parametrize(
    "expression", ["apple", "hour", "honest man", "uninvited guest", "MP", "X", "Ermine", "SOS call"]
)
def test_an(expression: str) -> None:
    assert article(expression) == "an"


@pytest.mark.parametrize(
    "expression", ["badger", "unicorn", "usual day", "one-eyed man", "European", "house", "Mouse", "", "42"]
)
def test_a(expression: str) -> None:
    assert article(expression) == "a"
