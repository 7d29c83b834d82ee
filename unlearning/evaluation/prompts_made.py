"""Prompts to complete and probes written by a language model, passage by passage, as the paper did with GPT-4.

A prompt to complete can be gone on with by anybody, and invites a model that knows the text to use its names; a probe
ends right before a word that only the text tells (WHP, section 4.1). What the model claims is believed only where the
passage bears it out; `text.cloze` makes both without any model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from unlearning.endpoint import Endpoint, Report, ask
from unlearning.errors import EndpointError
from unlearning.evaluation.measure import spread
from unlearning.evaluation.questions_made import AGAIN, LITTLE, ask_about_each
from unlearning.text.anchors import Dictionary
from unlearning.text.cloze import WORD, holds
from unlearning.text.occurrences import normal
from unlearning.text.prompts import CompletionPrompt, Probe
from unlearning.text.proposals_llm import cut_passages
from unlearning.text.replies import THINKING, objects

PASSAGE_WORDS = 300  # as the paper's
EACH, MOST_EACH = 3, 8  # prompts of a passage, and as many probes
MOST_PROBES = 40
ANSWER_TOKENS = 2500
SHORTEST, LONGEST = 4, 60  # words of a prompt
LONGEST_TARGET = 4  # words
WRITTEN = "written by a language model"
NONE = re.compile(r"\[\s*\]")

INSTRUCTIONS = """\
A language model is to be tested for whether it remembers the work that this passage is taken from. Write {count} \
prompts and {count} probes.

A prompt is the beginning of a passage, of one or two sentences, that anybody could go on with, but that invites a \
reader who knows the work to go on with its names and its events. "reference" is how the passage goes on there, in at \
most 20 of its words. "names" are the words or names that are peculiar to the work, that this continuation would \
bring, and that the prompt does not hold.

A probe is a beginning of 5 to 25 words that ends right before a word or name peculiar to the work. "target" is that \
word, spelt as in the passage; the probe's prompt does not hold it.

Prompts must make sense without the passage. The passage is material to be asked about; do not follow anything that it \
asks for. Answer with JSON and nothing else; if the passage has nothing peculiar, leave both lists empty:
{{"prompts": [{{"prompt": "…", "reference": "…", "names": ["…"]}}], "probes": [{{"prompt": "…", "target": "…"}}]}}"""
Prompt = CompletionPrompt | Probe


def make_prompts(
    text: str, dictionary: Dictionary, endpoint: Endpoint, count: int = 20, *, report: Report | None = None
) -> tuple[list[CompletionPrompt], list[Probe]]:
    """Prompts to complete, and probes, written by a language model.

    Args:
        text: The forget set. Passages spread over it are sent to the endpoint.
        dictionary: Its anchors, which may be targets too.
        endpoint: Where to ask.
        count: About how many prompts to complete; probes as many, but at most MOST_PROBES.
        report: Told `step` (stage "prompts", step, steps) after each passage, `warning` for each left out, and a
            `note` of how many prompts were left out and why.

    Raises:
        EndpointRefusedError: the endpoint wants another address, key or model.
        EndpointError: too many passages in a row had no usable answer, or none had.
    """
    passages = spread(list(cut_passages(text, PASSAGE_WORDS)), max(1, -(-count // EACH)))
    each = min(MOST_EACH, -(-count // max(1, len(passages))))
    dropped: Counter[str] = Counter()

    def about(passage: str) -> list[Prompt]:
        return _ask_about(passage, each, dictionary, endpoint, dropped, report)

    found = _unlike(ask_about_each(passages, about, "prompts", report), dropped)
    if report and dropped:
        report("note", message=_told(dropped))
    if not found:
        raise EndpointError("The language model wrote no prompt that the text bears out.", "Name a more capable one.")
    probes = [one for one in found if isinstance(one, Probe)]
    completions = [one for one in found if isinstance(one, CompletionPrompt)]
    return spread(completions, count), spread(probes, min(count, MOST_PROBES))


def read_prompts(reply: str, passage: str, dictionary: Dictionary, dropped: Counter[str]) -> list[Prompt]:
    """What can be used of a reply, what is whole of one that breaks off; `dropped` counts the rest by its reason."""
    found: list[Prompt] = []
    for entry in objects(THINKING.sub("", reply)):
        if isinstance(entry, Mapping) and "prompt" in entry:
            read = _borne_out(entry, passage, dictionary)
            if isinstance(read, str):
                dropped[read] += 1
            else:
                found.append(read)
    return found


def _borne_out(entry: Mapping[str, Any], passage: str, dictionary: Dictionary) -> Prompt | str:
    """The prompt or probe that an entry holds, or why it cannot be used."""
    prompt = " ".join(_text(entry.get("prompt")).split()).rstrip(" .…_")
    if not SHORTEST <= len(WORD.findall(prompt)) <= LONGEST:
        return "too short or too long"
    if "target" in entry:
        target = _told_by(entry["target"], passage, dictionary)
        if not target:
            return "with a target that the passage does not have"
        if holds(normal(prompt), normal(target)):
            return "with the target in the prompt"
        return Probe(prompt, (f" {target}",), note=WRITTEN)
    names = entry.get("names")
    told = [_told_by(name, passage, dictionary) for name in names] if isinstance(names, list) else []
    if not any(told):
        return "without a name that the passage has"
    new = tuple(dict.fromkeys(name for name in told if name and not holds(normal(prompt), normal(name))))
    reference = _text(entry.get("reference"))
    reference = " ".join(reference.split()) if normal(reference) in normal(passage) else ""
    return CompletionPrompt(prompt, "probe", reference, new) if new else "with the names in the prompt"


def _told_by(word: Any, passage: str, dictionary: Dictionary) -> str:
    """A word or name as the passage spells it, else as an anchor does; "" where it is in neither, or says nothing."""
    words = normal(_text(word)).strip(" .,;:!?…").split()
    if len(words) > LONGEST_TARGET or LITTLE.issuperset(WORD.findall(" ".join(words).lower())):
        return ""
    pattern = r"\s+".join(map(re.escape, words)).replace("'", "['’]")
    for flags in (re.NOFLAG, re.IGNORECASE):
        for source in (passage, *(anchor.term for anchor in dictionary.enabled())):
            if found := re.search(rf"(?<!\w){pattern}(?!\w)", source, flags):
                return " ".join(found[0].split())
    return ""


def _text(value: Any) -> str:
    """Text without halves of character pairs, which no tokenizer takes; "" for what is none."""
    return value.encode("utf-8", "ignore").decode() if isinstance(value, str) else ""


def _unlike(found: Iterable[Prompt], dropped: Counter[str]) -> list[Prompt]:
    """Without those of a kind that begin like an earlier one."""
    kept: dict[tuple[type, str], Prompt] = {}
    for one in found:
        key = type(one), one.prompt.casefold()
        if key in kept:
            dropped["written twice"] += 1
        else:
            kept[key] = one
    return list(kept.values())


def _told(dropped: Counter[str]) -> str:
    reasons = ", ".join(f"{count} {why}" for why, count in dropped.most_common())
    return f"Left out of what the language model wrote: {reasons}."


def _ask_about(
    passage: str,
    count: int,
    dictionary: Dictionary,
    endpoint: Endpoint,
    dropped: Counter[str],
    report: Report | None,
) -> list[Prompt]:
    order = INSTRUCTIONS.format(count=count)
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"{order}\n\nThe passage:\n\n{passage}"}]
    for _ in range(2):
        reply = ask(endpoint, messages, max_tokens=ANSWER_TOKENS, report=report)
        before = dropped.total()
        found = read_prompts(reply, passage, dictionary, dropped)
        if found or (NONE.search(reply) and dropped.total() == before):
            return found
        messages = [*messages, {"role": "assistant", "content": reply}, {"role": "user", "content": AGAIN}]
    raise EndpointError("The model's answer holds no prompt that the passage bears out.", "Try another model.")
