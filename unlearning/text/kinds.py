"""What kind of thing a name names, from how the text speaks of it.

"the Hatter" bears its article: a role, a creature, a thing. A bare name is a person's if titles, verbs of
speaking or possessives go with it, a place's if "in" and "at" do.
"""

from __future__ import annotations

import re

from unlearning.text.expressions import Evidence
from unlearning.text.generics import class_of, classes

GIVEN = frozenset(word for word, names in classes().items() if "given_male" in names or "given_female" in names)
THEMSELVES = frozenset(("mammal", "bird", "swimmer", "crawler", "mythical", "number", "colour"))
PEOPLE_ENDING = re.compile(r"(?:er|or|ar|man|men|woman|ess|ist|eer|ian|keeper|master)s?\Z")
MIDDLE_CAPITAL = re.compile(r"[a-z][A-Z]")  # brand names: HelioBot
PLACE_ENDING = re.compile(r"(?:shire|burgh|bourne?|field|ville|stadt|ington|borough|chester|minster|wick|ford)\Z")
GIVEN_CLASSES = ("given_male", "given_female")


def class_of_name(word: str, evidence: Evidence) -> tuple[str, bool]:
    """The class of generic words for a name of one word, and whether it is a plural.

    Args:
        word: In small letters.
        evidence: Its surroundings over the whole text.
    """
    if evidence.after_the >= 0.3 * evidence.capital:
        return _with_article(word, evidence)
    return _bare(word, evidence), False


def _with_article(word: str, evidence: Evidence) -> tuple[str, bool]:
    name, is_plural = class_of(word.rpartition("-")[2], but=(*GIVEN_CLASSES, "colour", "adjective", "number"))
    if name:
        return _gendered(name, evidence), is_plural
    is_plural = word.endswith("s") and not word.endswith("ss")
    if is_plural and not evidence.cases["lower"]:
        return "surname", True  # a family: the Gouldings
    if is_person(word) or evidence.person > 0.25 * evidence.capital:
        return _gendered("role_male", evidence), is_plural
    return ("place" if evidence.place > 0.1 * evidence.capital else "office"), is_plural


def is_person(word: str) -> bool:
    """Whether a common noun has the ending of somebody who does something: hatter, jurymen."""
    return PEOPLE_ENDING.search(word) is not None


def _gendered(name: str, evidence: Evidence) -> str:
    """A role's class as the pronouns have it: "the Cook … she"."""
    if name == "role_male" and evidence.she > 2 * evidence.he:
        return "role_female"
    return name


def _bare(word: str, evidence: Evidence) -> str:
    total = evidence.capital
    listed, _ = class_of(word)
    if listed == "region":
        return listed
    if any(MIDDLE_CAPITAL.search(written) for written in evidence.written):
        return "coined"
    if _is_surname(word, evidence):
        return "surname"
    if word in GIVEN:
        return listed if listed in GIVEN_CLASSES else _given(evidence)
    if listed in THEMSELVES:
        return listed
    if _is_place(word, evidence):
        return "place"
    acts, meant = evidence.person > 0.1 * total, max(evidence.he, evidence.she) > 0.15 * total
    if (evidence.given > evidence.surname and (acts or meant)) or (evidence.surname == 0 and acts and meant):
        return _given(evidence)
    if listed:
        return listed
    if evidence.surname or evidence.person > 0.1 * total:
        return "surname"
    return "place" if evidence.place + evidence.way > 0.3 * total else "coined"


def _is_surname(word: str, evidence: Evidence) -> bool:
    if word in GIVEN and evidence.titled == 0 and len(evidence.first_names) < 2:
        return False  # Mary Ann
    return evidence.surname >= max(2, 0.2 * evidence.capital) and evidence.surname > evidence.given


def _is_place(word: str, evidence: Evidence) -> bool:
    if PLACE_ENDING.search(word) and evidence.place > evidence.person:
        return True
    if evidence.place == 1 and evidence.person:
        return False
    return evidence.place > max(0.12 * evidence.capital, 0.3 * evidence.person, evidence.he + evidence.she - 2)


def _given(evidence: Evidence) -> str:
    return "given_female" if evidence.she > evidence.he else "given_male"
