"""The forms in which an English expression appears: plurals, capitals, and the article before it.

Simple rules. They need not be right about every word: a plural that nobody writes is never found, and a
clumsy one in a translation costs a little fluency in a text that only a model reads.
"""

from __future__ import annotations

import re

UNCHANGED = ("people", "folk", "sheep", "fish", "deer", "salmon", "series", "species")
IRREGULAR = {  # by ending, so that Dormouse, Merman and grandchild are covered
    "mouse": "mice",
    "louse": "lice",
    "man": "men",
    "child": "children",
    "person": "people",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
}
VES = ("elf", "wolf", "half", "calf", "thief", "leaf", "loaf", "knife", "wife", "life", "dwarf", "wharf")
SMALL_WORDS = {"a", "an", "and", "as", "at", "but", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"}
VOWEL_SOUND = re.compile(r"[aeiou]|hour|heir|honest|honou?r", re.IGNORECASE)
YOU_SOUND = re.compile(r"eu|ew|uni(?!n|mp|mag)|us[eau]|ubiq|uten|uran|one\b|once\b|u\b", re.IGNORECASE)
VOWEL_NAMES = "FHLMNRSX"  # letters whose names begin with a vowel: an MP, an X


def plural(expression: str, name: bool = False) -> str:
    """The plural of an expression: Muggle → Muggles, Knave of Hearts → Knaves of Hearts.

    Args:
        expression: One or several words.
        name: Whether it names a person; names keep their y and f (the Kennedys, the Wolfs).
    """
    before, word, after = _head(expression)
    return before + _plurals(word, name)[0] + after


def plurals(expression: str) -> list[str]:
    """Every plural under which an expression may be found: House-elf → House-elves, House-elfs."""
    before, word, after = _head(expression)
    if len(word) < 3 or not word[-1].isalpha():
        return []  # too short to tell: "Al" must not find "Als"
    found = dict.fromkeys([*_plurals(word, name=False), *_plurals(word, name=True)])
    return [before + form + after for form in found if form != word]


def _head(expression: str) -> tuple[str, str, str]:
    """The word that takes the plural, with what stands before and after it: the last one, or that before "of"."""
    found = re.match(r"(.*?)(\S+)(\s+of\s.*)\Z", expression, re.DOTALL)
    found = found or re.match(r"(.*?)(\S+)(\s*)\Z", expression, re.DOTALL)
    return (found[1], found[2], found[3]) if found else ("", expression, "")


def _plurals(word: str, name: bool) -> list[str]:
    """The plurals of one word, the likeliest first."""
    lower = word.lower()
    if not name and lower.endswith(UNCHANGED):
        return [word]
    regular = word + ("es" if re.search(r"(s|x|z|ch|sh|hero|tato|mato|echo)\Z", lower) else "s")
    if name:
        return [regular]
    for ending, form in IRREGULAR.items():
        if lower.endswith(ending):
            # The first letter stays as it is written: Man → Men, Dormouse → Dormice.
            return [word[: len(word) - len(ending)] + _like(word[-len(ending)], form), regular]
    if lower.endswith(VES):
        return [re.sub(r"fe?\Z", "ves", word), regular]
    if re.search(r"[^aeiou]y\Z", lower):
        return [word[:-1] + "ies"]
    return list(dict.fromkeys((regular, word + "es"))) if lower.endswith("o") else [regular]


def _like(letter: str, word: str) -> str:
    return word[:1].upper() + word[1:] if letter.isupper() else word


def raised(expression: str) -> list[str]:
    """The spellings of an expression with more capitals: first letter, every word, every word that counts, all.

    Letters are only ever raised. A term with a capital is a name, and the common word written small is another
    word: anchor "Hatter" does not find "hatter", while anchor "hatter" finds "Hatter" at the start of a sentence.
    """
    spellings = (first_raised(expression), words_raised(expression), title(expression), expression.upper())
    return [spelling for spelling in dict.fromkeys(spellings) if spelling != expression]


def first_raised(expression: str) -> str:
    """pool of tears → Pool of tears."""
    place = next((place for place, letter in enumerate(expression) if letter.isalpha()), 0)
    return expression[:place] + expression[place : place + 1].upper() + expression[place + 1 :]


def words_raised(expression: str) -> str:
    """pool of tears → Pool Of Tears."""
    return " ".join(map(first_raised, expression.split(" ")))


def title(expression: str) -> str:
    """pool of tears → Pool of Tears."""
    words = first_raised(expression).split(" ")
    return " ".join(word if word in SMALL_WORDS else first_raised(word) for word in words)


def article(expression: str) -> str:
    """The indefinite article that goes before an expression, by its sound: "a" or "an"."""
    first = expression.split()[0] if expression.split() else ""
    if first.isupper() and len(first) < 4 and first[0] in VOWEL_NAMES:
        return "an"
    return "an" if VOWEL_SOUND.match(first) and not YOU_SOUND.match(first) else "a"
