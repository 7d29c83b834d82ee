"""Small words of the language that tell what the words beside them are.

Kept for English; for the other languages only what finding persons and places needs.
"""

from __future__ import annotations

ABBREVIATIONS = frozenset("mr mrs ms messrs dr prof st rev hon col capt gen lt sgt jr sr mme mlle hr fr".split())
CONNECTORS = ("of", "of the")  # between the capitals of one name
PARTICLES = frozenset("de du des la le van von der den da di del dos bin al el y".split())
DETERMINERS = {
    "en": "the a an his her their my your its our this that these those no every some two three",
    "de": "der die das den dem des ein eine einen einem einer eines mein sein ihr kein keine im am zum zur vom",
    "fr": "le la les un une des du au aux son sa ses mon ma ce cette", "es": "el la los las un una al del su mi",
    "it": "il lo la i gli le un una del della al alla suo sua", "pt": "o a os as um uma do da no na seu sua",
    "nl": "de het een zijn haar mijn",
}  # fmt: skip
ARTICLES = frozenset(("the", "a", "an"))
CLOSED = frozenset(
    "a an the and or but nor so for yet of in on at by to from with as if than that which who whom when while where "
    "is was are were be been had has have did do does will would could should can may might must not it he she they "
    "we you i me him her them us his their my your its our said then there now again until till into upon out up down "
    "off away over under round through before after".split()
)
PLACE_PREPOSITIONS = {
    "en": "in at near into around through reach reached leave left quit quitted visit visited towards",
    "de": "in nach bei aus um", "fr": "à vers dans", "es": "en hacia", "it": "a in verso", "pt": "em na no para",
    "nl": "in naar te uit",
}  # fmt: skip
BEFORE_AT = frozenset("look looks looked looking stare stared staring glance glanced laugh laughed smiled".split())
PERSON_VERBS = frozenset(
    "said thought replied cried asked answered went looked came began felt knew saw took made turned spoke "
    "remarked exclaimed smiled laughed nodded walked sat stood whispered shouted told says asks muttered sighed "
    "added continued interrupted repeated ran heard seemed wanted gave sagte fragte dit dijo disse".split()
)
FOLLOWED_BY_PERSON = frozenset("said cried thought replied asked answered exclaimed whispered sagte rief".split())
BEFORE_GIVEN = frozenset("sir aunt uncle father mother sister brother don".split())
BEFORE_EITHER = frozenset("lady miss".split())
HE, SHE = frozenset("he him his himself".split()), frozenset("she her hers herself".split())
INTERJECTIONS = frozenset(
    "ah aha ay aye alas bah dear eh em farewell fie ha hallo hello hey hi hm hmm ho huh hullo hurrah hush i'm ll "
    "lo nay no nonsense o oh ok okay ooh ouch pardon please poor pooh pray thank thanks tis twas tut ugh uh um "
    "well why wow yeah yes".split()
)
BEFORE_PLACE = frozenset("port fort mount lake cape river loch isle new san santa saint".split())  # these stay
FIXED = CLOSED | PARTICLES | frozenset(DETERMINERS["en"].split())  # words inside an expression that stay as they are
