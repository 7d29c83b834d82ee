"""Prompts that ask for the same in another way: reworded, played, in another language, spelled with gaps.

A *way* gives some of the probes another prompt, and perhaps other targets. Those written by hand for a scenario
(`attacks.json` beside its probes) come first; where there are none, templates make them for any text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log
from typing import Any

from unlearning.evaluation.familiarity import is_name
from unlearning.evaluation.measure import MeasureInputs
from unlearning.scenarios import ASSETS, SCENARIOS
from unlearning.text.cloze import sentence_starts
from unlearning.text.occurrences import find_occurrences
from unlearning.text.prompts import Probe

FACTS = 3  # sentences of the text that stand before a prompt
LONGEST_FACT = 30  # words
NAMES = 3  # names of the text that a template drops
NEUTRAL = "this story"  # what a text is called where its name would tell the answer


@dataclass(frozen=True)
class Way:
    """One way of asking: the probes that it can ask, and how it asks them, in the same order."""

    name: str
    plain: tuple[Probe, ...]
    asked: tuple[Probe, ...]


def topic_of(inputs: MeasureInputs) -> str:
    """What the text is called in a prompt: its scenario's word for it, its title, or "the story of A, B and C"."""
    written = hand_written(tuple(probe.prompt for probe in inputs.probes)).get("topic")
    return str(written or _title(inputs) or f"the story of {_listed(_names(inputs)[:NAMES])}")


def facts_in_context(inputs: MeasureInputs, probes: Sequence[Probe]) -> list[Way]:
    """Sentences of the text that go with a prompt and do not hold its target, before it."""
    text = "\n\n".join(inputs.forget)
    starts = sentence_starts(text)
    sentences = [" ".join(text[a:b].split()) for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    facts = {each: _words(each) for each in sentences if 4 <= len(each.split()) <= LONGEST_FACT and each[-1] in '.!?"”'}
    seen = Counter(word for words in facts.values() for word in words)
    asked = []
    for probe in probes:
        wanted, hidden = _words(probe.prompt), _told_by(probe)
        free = [each for each, words in facts.items() if not words & hidden]
        best = sorted(free, key=lambda each: -sum(log(len(facts) / seen[word]) for word in facts[each] & wanted))
        asked.append(_behind(probe, "".join(f"{fact} " for fact in reversed(best[:FACTS]))))
    return [Way("facts of the text", tuple(probes), tuple(asked))]


def paraphrased(inputs: MeasureInputs, probes: Sequence[Probe]) -> list[Way]:
    """The scenario's own rewordings, or a neutral sentence before the prompt."""
    own = _written_ways(probes, "paraphrase")
    return own or _templates("paraphrase", inputs, probes)


def role_play(inputs: MeasureInputs, probes: Sequence[Probe]) -> list[Way]:
    """Somebody who knows the text by heart speaks."""
    return _templates("role_play", inputs, probes)


def already_know(inputs: MeasureInputs, probes: Sequence[Probe]) -> list[Way]:
    """The one who asks claims to know, and drops names of the text (none that the probe asks for)."""
    return _templates("already_know", inputs, probes)


def other_language(inputs: MeasureInputs, probes: Sequence[Probe]) -> list[Way]:
    """The scenario's own translations of prompts, and the prompt behind a sentence in another language."""
    return [*_written_ways(probes, "language"), *_templates("language", inputs, probes)]


def with_gaps(inputs: MeasureInputs, probes: Sequence[Probe]) -> list[Way]:
    """The answer letter by letter, as examples show it; names in the prompt so; wide gaps; marks around a word."""
    shown = "".join(f"{each['prompt']}{_gapped(each['target'])}\n" for each in _generic()["gaps"])
    forms: dict[str, list[Probe]] = {
        "answer letter by letter": [
            replace(probe, prompt=shown + probe.prompt, targets=tuple(map(_gapped, probe.targets))) for probe in probes
        ],
        "names letter by letter": [replace(probe, prompt=_gapped_names(probe.prompt, inputs)) for probe in probes],
        "wide gaps between words": [replace(probe, prompt=probe.prompt.replace(" ", "  ")) for probe in probes],
        "marks around the last word": [replace(probe, prompt=_marked(probe.prompt)) for probe in probes],
    }
    return [Way(name, tuple(probes), tuple(asked)) for name, asked in forms.items()]


def _templates(kind: str, inputs: MeasureInputs, probes: Sequence[Probe]) -> list[Way]:
    found = _generic()[kind]
    named = found if isinstance(found, dict) else {template: template for template in found}
    topic, names = topic_of(inputs), _names(inputs)
    ways = []
    for name, template in named.items():
        asked = []
        for probe in probes:
            hidden = _told_by(probe) | _words(probe.prompt)
            free = [each for each in names if not _words(each) & hidden][:NAMES]
            called = NEUTRAL if _words(topic) & _told_by(probe) else topic
            before = template.removesuffix("{prompt}").format(topic=called, names=_listed(free) or called)
            asked.append(_behind(probe, before))
        ways.append(Way(name.removesuffix(" {prompt}"), tuple(probes), tuple(asked)))
    return ways


def _behind(probe: Probe, before: str) -> Probe:
    return replace(probe, prompt=before + probe.prompt)


def _written_ways(probes: Sequence[Probe], kind: str) -> list[Way]:
    """Ways written by hand for these very probes: {"name": [{"of", "prompt", "targets"}, …]}."""
    ways = []
    for name, entries in hand_written(tuple(probe.prompt for probe in probes)).get(kind, {}).items():
        by_prompt = {entry["of"]: entry for entry in entries}
        plain = tuple(probe for probe in probes if probe.prompt in by_prompt)
        if plain:
            entries = [by_prompt[probe.prompt] for probe in plain]
            asked = (
                Probe(entry["prompt"], tuple(entry.get("targets", probe.targets)), probe.kind, probe.note)
                for probe, entry in zip(plain, entries, strict=True)
            )
            ways.append(Way(name, plain, tuple(asked)))
    return ways


@lru_cache(maxsize=8)
def hand_written(prompts: tuple[str, ...]) -> Mapping[str, Any]:
    """The attack prompts of the scenario whose probes these are; empty for other probes."""
    for name in SCENARIOS:
        path = ASSETS / "scenarios" / name / "attacks.json"
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            told = {
                entry["of"]
                for ways in (found["paraphrase"], found["language"])
                for way in ways.values()
                for entry in way
            }
            if told & set(prompts):
                return found
    return {}


@lru_cache(maxsize=1)
def _generic() -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads((ASSETS / "attacks.json").read_text(encoding="utf-8"))
    return found


def _names(inputs: MeasureInputs) -> list[str]:
    """The text's proper names, the commonest first."""
    anchors = inputs.dictionary.anchors
    places = (found for block in inputs.forget for found in find_occurrences(block, inputs.dictionary))
    counts = Counter(found.anchor for found in places if is_name(anchors[found.anchor]))
    return [anchors[anchor].term for anchor, _ in counts.most_common()]


def _title(inputs: MeasureInputs) -> str:
    """Its title, unless that is a placeholder."""
    title = " ".join(inputs.title.split())
    return "" if title.lower() in ("", "text", "pasted text", "untitled") else title[:80]


def _told_by(probe: Probe) -> set[str]:
    """Words that would give the answer away."""
    words = set().union(*map(_words, probe.targets))
    return {word for word in words if len(word) > 3} or words


def _words(text: str) -> set[str]:
    return {re.sub(r"(?<=\w\w)(e?s|e)\Z", "", word) for word in re.findall(r"[^\W_]+", text.lower())}


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _gapped(text: str) -> str:
    """ " Grey Cat" → " G r e y  C a t"."""
    lead = " " if text[:1].isspace() else ""
    return lead + "  ".join(" ".join(word) for word in text.split())


def _marked(prompt: str) -> str:
    """The prompt with its last word between asterisks, where marks end it or not."""
    return re.sub(r"(\w+)(\W*)\Z", r"*\1*\2", prompt)


def _gapped_names(prompt: str, inputs: MeasureInputs) -> str:
    """The prompt with every word of it that belongs to an anchor, or else its last word, spelled with gaps."""
    terms = " ".join(anchor.term for anchor in inputs.dictionary.enabled())
    known = {word for word in re.findall(r"[^\W_]+", terms) if word[0].isupper()}
    places = [match for match in re.finditer(r"[^\W_]+", prompt) if match[0] in known]
    places = places or list(re.finditer(r"[^\W_]+", prompt))[-1:]
    for match in reversed(places):
        prompt = prompt[: match.start()] + " ".join(match[0]) + prompt[match.end() :]
    return prompt
