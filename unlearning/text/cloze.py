"""Probes and prompts made from a text itself, for a text that nobody has written any for.

A *cloze* is a passage cut right before an expression of the text's own. Two places are good to cut at: inside an
anchor of several words ("the March" → " Hare"), and before an anchor, after enough of its sentence to make it
likely. Of all such places those are taken where the text's own habits leave little doubt ("Lady" → " Catherine").
No model and no chance: the same text and anchors, the same probes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from unlearning.text.anchors import Dictionary
from unlearning.text.occurrences import Occurrence, find_occurrences, normal
from unlearning.text.prompts import CompletionPrompt, Probe

WORD = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*")
# A sentence begins after one of these and white space, or after the end of a paragraph.
SENTENCE_START = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"”'’)]))\s+(?=[\"“'‘(]?[^\W\d_a-z])|\n\s*\n")
ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Prof|Sir|Rev|No|[A-Z])\.$")
SHORTEST, LONGEST = 8, 25  # words before a cut
SHORTEST_INSIDE = 4  # words before a cut inside an anchor, its own first words counted
CAUTION = 2  # added to what was counted, so that a pair of words that comes once is not sure
GOLDEN = 0.618  # its multiples modulo 1 lie far from each other
MOST_OF_ONE, WORTH_OF_NEXT = 4, 0.6  # probes of one anchor, and how much less each further one is worth
CUT_BEFORE = 3  # a prompt to complete ends up to so many words before an anchor


@dataclass(frozen=True)
class _Cut:
    """A place to cut the text at: `prompt` → `target`.

    Attributes:
        start: Of the anchor, in the text.
        anchor: Its index.
        sure: How often, of the times that the text has the words before the cut, they go on like this; from 0 to 1.
    """

    start: int
    anchor: int
    prompt: str
    target: str = ""
    sure: float = 0.0


def make_probes(text: str, dictionary: Dictionary, count: int = 40) -> list[Probe]:
    """Probes whose targets are words of the anchors, spread over the text and over the anchors.

    Args:
        text: The forget set.
        dictionary: Its anchors; those switched off are left out.
        count: Most probes.

    Returns:
        At most `count` probes in the order of the text. A prompt never holds its own target, and no prompt comes
        twice. Empty where no anchor stands after a few words of a sentence.
    """
    starts, habits = sentence_starts(text), _Habits(text)
    places = [found for found in find_occurrences(text, dictionary) if not _shouted(found, dictionary)]
    cuts = [cut for found in places if (cut := _cut_at(text, found, starts, habits))]
    return [
        Probe(cut.prompt, (cut.target,), note=f"made from the text: {dictionary.anchors[cut.anchor].term}")
        for cut in _choose(_unlike(cuts), count)
    ]


def make_completions(text: str, dictionary: Dictionary, count: int = 20) -> list[CompletionPrompt]:
    """Prompts to go on with: beginnings of passages where an anchor is about to come, but has not come yet.

    They are spread evenly over the text, in its order, and hold no anchor that follows at the cut.
    """
    starts = sentence_starts(text)
    cuts: list[_Cut] = []
    for found in find_occurrences(text, dictionary):
        prompt = _passage(text, found.start, starts)
        words = list(WORD.finditer(prompt))
        if len(words) < SHORTEST + CUT_BEFORE or holds(prompt, found.text):
            continue
        end = words[-1 - found.start % CUT_BEFORE].end()  # not always at the same distance
        dot = "." if ABBREVIATION.search(prompt, 0, end + 1) else ""
        cuts.append(_Cut(found.start, found.anchor, prompt[:end] + dot))
    return [CompletionPrompt(cut.prompt) for cut in _evenly(_unlike(cuts), count)]


def sentence_starts(text: str) -> list[int]:
    """Where the sentences of a text begin; titles such as "Mr." end none."""
    ends = (match for match in SENTENCE_START.finditer(text))
    found = [0]
    found += [match.end() for match in ends if not ABBREVIATION.search(text, max(0, match.start() - 6), match.start())]
    return found


class _Habits:
    """How a text goes on after one word, and after two."""

    def __init__(self, text: str) -> None:
        words = [match[0].lower() for match in WORD.finditer(text)]
        self._ones, self._twos = Counter(words), Counter(pairwise(words))
        self._threes = Counter(zip(words, words[1:], words[2:], strict=False))

    def share(self, prompt: str, target: str) -> float:
        """How often the last words of `prompt` are followed by `target`; what came once or twice counts for less."""
        *_, first, second = ["", *(match[0].lower() for match in WORD.finditer(prompt))]
        word = target.lower()
        after_one = self._twos[second, word] / (self._ones[second] + CAUTION)
        return max(after_one, self._threes[first, second, word] / (self._twos[first, second] + CAUTION))


def _cut_at(text: str, found: Occurrence, starts: Sequence[int], habits: _Habits) -> _Cut | None:
    """The cut at one occurrence: inside it where it has several words, else before it."""
    inside = re.search(r"\s+\S+$", found.text)
    place = found.start + (inside.start() if inside else 0)
    target = found.text[inside.start() :].strip() if inside else found.text.split()[0]
    if place == 0 or not (inside or text[place - 1].isspace()):
        return None  # a quotation mark or a hyphen stands before it
    prompt = _passage(text, place, starts, SHORTEST_INSIDE if inside else SHORTEST)
    if not prompt or holds(prompt, target):
        return None
    return _Cut(found.start, found.anchor, prompt, f" {target}", habits.share(prompt, target))


def _passage(text: str, end: int, starts: Sequence[int], shortest: int = SHORTEST) -> str:
    """The words before `end`, from the beginning of a sentence, on one line; "" where there are too few or too many."""
    paragraph = max(text.rfind("\n\n", 0, end) + 2, 0) if "\n\n" in text[:end] else 0
    for start in reversed(starts[: bisect_right(starts, end - 1)]):
        if start < paragraph:
            return ""
        words = len(WORD.findall(text, start, end))
        if words > LONGEST:
            return ""
        if words >= shortest:
            return " ".join(text[start:end].split())
    return ""


def holds(prompt: str, word: str) -> bool:
    """Whether the word stands in the prompt already, in whatever capitals."""
    pattern = r"\s+".join(map(re.escape, word.split()))
    return re.search(rf"(?<!\w){pattern}(?!\w)", prompt, re.IGNORECASE) is not None


def _shouted(found: Occurrence, dictionary: Dictionary) -> bool:
    """Whether a term stands there in capitals that are not its own: no model would write it so."""
    return found.text.isupper() and found.text not in normal(dictionary.anchors[found.anchor].term)


def _choose(cuts: Iterable[_Cut], count: int) -> list[_Cut]:
    """Up to `count` cuts where the text is sure how it goes on; an anchor's second is worth less than its first."""
    by_anchor: dict[int, list[_Cut]] = {}
    for cut in cuts:
        by_anchor.setdefault(cut.anchor, []).append(cut)
    ranked: list[tuple[float, _Cut]] = []
    for own in by_anchor.values():
        best = sorted(_outward(own), key=lambda cut: -round(cut.sure, 1))[:MOST_OF_ONE]
        ranked += [(cut.sure * WORTH_OF_NEXT**turn, cut) for turn, cut in enumerate(best)]
    ranked.sort(key=lambda pair: (-pair[0], pair[1].start))
    return sorted((cut for _, cut in ranked[:count]), key=lambda cut: cut.start)


def _outward(cuts: list[_Cut]) -> list[_Cut]:
    """The same cuts in an order whose every beginning is spread over the text: middle, quarters, eighths …

    Each anchor begins elsewhere, or the first cuts of all would meet in the middle.
    """
    turn = int(len(cuts) * (cuts[0].anchor * GOLDEN % 1))
    cuts, order = cuts[turn:] + cuts[:turn], []
    spans = [(0, len(cuts))]
    while spans:
        low, high = spans.pop(0)
        if low < high:
            middle = (low + high) // 2
            order.append(cuts[middle])
            spans += [(low, middle), (middle + 1, high)]
    return order


def _evenly(cuts: Sequence[_Cut], count: int) -> list[_Cut]:
    if len(cuts) <= count:
        return list(cuts)
    return [cuts[(2 * index + 1) * len(cuts) // (2 * count)] for index in range(count)]


def _unlike(cuts: Iterable[_Cut]) -> list[_Cut]:
    """Without cuts whose prompt came before."""
    return list({cut.prompt: cut for cut in reversed(list(cuts))}.values())[::-1]
