"""Lines of one paragraph to one line: hyphens and dashes at the line ends."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
BROKEN_WORD = re.compile(r"([^\W\d_]+)-$")
FIRST_WORD = re.compile(r"^[^\W\d_]+")

KeepsHyphen = Callable[[str, str], bool]


def join_lines(lines: list[str], keeps_hyphen: KeepsHyphen) -> str:
    """One paragraph of several lines.

    A dash that touches the word before or after it at a line's end touches both in the paragraph
    ("think--" + "yes" is "think--yes"); a hyphen there stays or goes as `keeps_hyphen(left, right)` says.
    """
    joined = [" ".join(lines[0].split())]
    for line in lines[1:]:
        line = " ".join(line.split())
        above = joined[-1]
        broken, first = BROKEN_WORD.search(above), FIRST_WORD.match(line)
        if above.endswith("-") and re.match(r"-(?!-)", line):
            joined.append(line)  # a dash of two hyphens, parted
        elif broken and first:
            if not keeps_hyphen(broken[1], first[0]):
                joined[-1] = above[:-1]
            joined.append(line)
        elif _touches(above, line):
            joined.append(line)
        else:
            joined += [" ", line]
    return "".join(joined)


def _touches(above: str, line: str) -> bool:
    if re.search(r"[^\s-](?:--|—)$", above) or re.match(r"(?:--|—)[^\s-]", line):
        return True
    if re.search(r"\d[-–]$|[^\W_]-$", above) and line[:1].isalnum():
        return True
    return above[-1:] >= "⺀" and line[:1] >= "⺀" and above[-1:].isalpha()  # Chinese and Japanese set no spaces


def hyphen_judge(lines: list[str]) -> KeepsHyphen:
    """Whether a hyphen at a line's end belongs to the word ("waistcoat-" "pocket") or only broke it ("con-" "sider").

    What the text itself writes elsewhere decides; then whether English has the word; then whether both
    halves are words, as those of a compound are.
    """
    counts: Counter[str] = Counter()

    def judge(left: str, right: str) -> bool:
        if not counts:
            for line in lines:
                counts.update(word.casefold() for word in WORD.findall(line.removesuffix("-")))
        whole, hyphenated = (left + right).casefold(), f"{left}-{right}".casefold()
        if counts[whole] or counts[hyphenated]:
            return counts[hyphenated] >= counts[whole]
        if right[0].isupper() and not left.isupper():
            return True
        if _frequency(whole) >= 2.0:
            return False
        return all(counts[half.casefold()] > 1 or _frequency(half) >= 3.0 for half in (left, right))

    return judge


def _frequency(word: str) -> float:
    """Zipf frequency in English: 3 is once in a million words."""
    from wordfreq import zipf_frequency

    return float(zipf_frequency(word, "en", wordlist="small"))
