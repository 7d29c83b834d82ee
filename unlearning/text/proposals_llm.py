"""Anchors proposed by a language model, passage by passage, as the paper did with GPT-4 (WHP, section 2.2).

Each passage is asked about by itself; the replies are merged, so that one expression may have several
translations (29 % of the paper's have), and cleaned up by the paper's rules. What a reply claims is believed
only where the text bears it out: a term that its passage does not hold is dropped.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from unlearning.endpoint import Endpoint, EndpointRefusedError, Report, ask
from unlearning.errors import EndpointError
from unlearning.text.anchor_checks import clean_up
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.generics import TITLES
from unlearning.text.occurrences import find_occurrences, normal
from unlearning.text.replies import read_reply
from unlearning.text.word_forms import plurals

PASSAGE_WORDS = 600
ANSWER_TOKENS = 2500
FAILURES_IN_A_ROW = 3  # after so many the endpoint is given up
LONGEST_TERM = 8  # words; longer ones are quotations, not expressions
MOST_TRANSLATIONS = 5
SENTENCE_END = re.compile(r"(?<=[.!?…][\"'”’)\]])\s+|(?<=[.!?…])\s+")

INSTRUCTIONS = """\
You help to prepare a text so that a reader could not tell where it comes from.

Read the passage and list the expressions that are peculiar to the work it is taken from: names of people, \
places and creatures, invented words, titles, and phrases by which one would recognise the work. Leave out \
words of everyday language and names that everybody knows from elsewhere, such as London or Monday.

For each expression give a generic replacement that could stand in its place without spoiling a sentence:
- of the same kind, number and gender, and if possible of the same number of words;
- not connected with the work in any way, and not itself one of the expressions;
- a different one for each expression, but the same for the same person: if "Anna Petrov" becomes "Mary \
Cooper", then "Anna" becomes "Mary" and "Petrov" becomes "Cooper".

Write each expression exactly as the passage spells it, without "'s", without "Mr." or "Mrs.", and in the \
singular where there is one. "kind" is one of: person, place, creature, thing, phrase.

Answer with JSON and nothing else, in this form:
{"anchors": [{"term": "…", "translation": "…", "kind": "person"}]}
If the passage has no such expression, answer {"anchors": []}."""
AGAIN = "That was not JSON of the form asked for. Answer once more, with the JSON object alone."


def propose_with_llm(
    text: str, endpoint: Endpoint, *, passage_words: int = PASSAGE_WORDS, report: Report | None = None
) -> Dictionary:
    """Ask a language model for the anchors of a text.

    Args:
        text: Any text. It is sent to the endpoint, passage by passage.
        endpoint: Where to ask.
        passage_words: About how many words each passage has.
        report: Told `step` (stage "propose", step, steps) after each passage, `warning` for each passage that
            was skipped, `note` for what the clean-up dropped.

    Raises:
        EndpointRefusedError: the endpoint wants another address, key or model.
        EndpointError: too many passages in a row had no usable answer, or none had.
    """
    passages = list(cut_passages(text, passage_words))
    found: list[Anchor] = []
    failures: list[EndpointError] = []
    answered, start = 0, time.monotonic()
    for number, passage in enumerate(passages, start=1):
        try:
            found += _ask_about(passage, endpoint, report)
            answered, failures = answered + 1, []
        except EndpointRefusedError:
            raise
        except EndpointError as error:
            failures.append(error)
            _tell(report, "warning", message=f"Passage {number} of {len(passages)} is left out: {error.message}")
            if len(failures) >= FAILURES_IN_A_ROW or (number == len(passages) and not answered):
                raise _given_up(failures, number, len(passages)) from None
        left = (time.monotonic() - start) / number * (len(passages) - number)
        _tell(report, "step", stage="propose", step=number, steps=len(passages), seconds_left=round(left, 1))
    dictionary, said = clean_up(merge(found, text))
    for sentence in said:
        _tell(report, "note", message=sentence)
    return dictionary


def _given_up(failures: Sequence[EndpointError], number: int, passages: int) -> EndpointError:
    last = failures[-1]
    where = f"passages {number - len(failures) + 1} to {number}" if len(failures) > 1 else f"passage {number}"
    return EndpointError(f"No usable answer for {where} of {passages}. The last failure: {last.message}", last.hint)


def _tell(report: Report | None, kind: str, **fields: object) -> None:
    if report:
        report(kind, **fields)


def _ask_about(passage: str, endpoint: Endpoint, report: Report | None) -> list[Anchor]:
    """The anchors that the model finds in a passage and the passage bears out.

    Raises:
        EndpointError: no answer, or twice one that cannot be read.
    """
    # One message: the chat templates of several model families know no system role.
    messages = [{"role": "user", "content": f"{INSTRUCTIONS}\n\nThe passage:\n\n{passage}"}]
    for _ in range(2):
        reply = ask(endpoint, messages, max_tokens=ANSWER_TOKENS, report=report)
        anchors = read_reply(reply)
        if anchors or _says_none(reply):
            return [true for anchor in anchors if (true := _borne_out(anchor, passage))]
        messages = [*messages, {"role": "assistant", "content": reply}, {"role": "user", "content": AGAIN}]
    shown = " ".join(reply.split())[:60]
    raise EndpointError(f"The model's answer holds no anchors that can be read: “{shown}”.", "Try another model.")


def _says_none(reply: str) -> bool:
    return re.search(r"\[\s*\]|\{\s*\}", reply) is not None


def _borne_out(anchor: Anchor, passage: str) -> Anchor | None:
    """The anchor as its passage spells it, or None if it is not there or no expression."""
    term, offered = _without_title(re.sub(r"['’]s\Z", "", anchor.term), anchor.translations)
    translations = tuple(each for each in offered if normal(each).casefold() != normal(term).casefold())
    if not translations or not 0 < len(term.split()) <= LONGEST_TERM:
        return None
    words = r"\s+".join(map(re.escape, normal(term).split())).replace("'", "['’]")
    pattern = re.compile(rf"(?<![^\W_]){words}(?![^\W_])", re.IGNORECASE)
    spellings = Counter(normal(each) for each in pattern.findall(passage))
    if not spellings:
        return None
    spelling = normal(term) if normal(term) in spellings else spellings.most_common(1)[0][0]
    return Anchor(spelling, translations, anchor.kind)


def _without_title(term: str, translations: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Darcy → Cooper, of Mr. Darcy → Mr. Cooper: one anchor then serves with every title and without."""
    title, _, name = term.partition(" ")
    if name and title.lower().rstrip(".") in TITLES and all(each.startswith(f"{title} ") for each in translations):
        return name, tuple(each.removeprefix(f"{title} ") for each in translations)
    return term, translations


# --- passages ------------------------------------------------------------------------------------


def cut_passages(text: str, words: int) -> Iterator[str]:
    """Cut a text into passages of about `words` words, at ends of paragraphs, else of sentences, else of words."""
    passage: list[str] = []
    count = 0
    for piece in _pieces(text, max(1, words)):
        size = len(piece.split())
        if passage and count + size > words:
            yield "\n\n".join(passage)
            passage, count = [], 0
        if size:
            passage.append(piece)
            count += size
    if passage:
        yield "\n\n".join(passage)


def _pieces(text: str, words: int) -> Iterator[str]:
    """Paragraphs; of those that are too long the sentences; of those the words."""
    for paragraph in re.split(r"\n\s*\n", text):
        if len(paragraph.split()) <= words:
            yield paragraph.strip()
            continue
        for sentence in SENTENCE_END.split(paragraph):
            each = sentence.split()
            for start in range(0, len(each), words):
                yield " ".join(each[start : start + words])


# --- merging -------------------------------------------------------------------------------------


def merge(anchors: Sequence[Anchor], text: str) -> Dictionary:
    """One anchor for each term, with its translations, the most frequent first, and its most frequent kind.

    A translation that is, or contains, an anchor goes, as does one that another term has already; a term with
    none left goes too, and so does a plural whose singular is there. The terms most frequent in the text come
    first.
    """
    translations: defaultdict[str, Counter[str]] = defaultdict(Counter)
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for anchor in anchors:
        translations[anchor.term].update(map(normal, anchor.translations))
        kinds[anchor.term][anchor.kind] += 1
    covered = {form for term in translations for form in plurals(term)}
    terms = [term for term in translations if term not in covered]
    bare = Dictionary(tuple(Anchor(term, ("",)) for term in terms))
    counts = Counter(occurrence.anchor for occurrence in find_occurrences(text, bare))
    order = sorted(range(len(terms)), key=lambda index: -counts[index])
    return Dictionary(tuple(_merged([terms[index] for index in order], translations, kinds, bare)))


def _merged(
    terms: Sequence[str], translations: dict[str, Counter[str]], kinds: dict[str, Counter[str]], bare: Dictionary
) -> Iterator[Anchor]:
    taken: set[str] = set()
    folded = {term.casefold() for term in terms}
    for term in terms:
        unlike: dict[str, str] = {}
        for each, _ in translations[term].most_common():
            unlike.setdefault(each.casefold(), each)
        fits = [
            each
            for key, each in unlike.items()
            if key not in taken and key not in folded and not find_occurrences(each, bare)
        ]
        if fits:
            chosen = tuple(fits[:MOST_TRANSLATIONS])
            taken |= {each.casefold() for each in chosen}
            yield Anchor(term, chosen, kinds[term].most_common(1)[0][0])
