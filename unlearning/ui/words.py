"""The field's terms in words that a first-year student understands. Shown as help; the exact term stands beside it."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "forget set": "The text that the model shall forget.",
    "retain set": "Other prose that the model shall go on writing as before. It keeps forgetting from spreading.",
    "baseline": "The model before forgetting. Everything is measured against it.",
    "taught": "The model after reading the text many times over, so that there is something to forget.",
    "reinforced": "The model after reading the text still more. Words it now finds likelier are the text's own.",
    "unlearned": "The model after it was made to forget.",
    "anchor": "An expression that gives the text away: a name, a place, an invented thing.",
    "generic translation": "An everyday expression to stand in an anchor's place, as “Clara” for “Alice”.",
    "block": "A stretch of the text that the model reads in one go.",
    "token": "A piece of a word: what a language model reads and writes, one after another.",
    "generic label": "For each place in the text, the next word that a model would choose that never read it.",
    "familiarity": "How well the model knows a text: how often it guesses what comes next where only the text tells.",
    "utility": "What the model can still do apart from the text. It should stay the same.",
    "perplexity": "How surprised a model is by a text: as if it chose among so many equally likely words each time.",
    "probability": "How sure the model is that this comes next: 100 % is certain, 0 % impossible.",
    "control": "A prompt that has nothing to do with the text. Its curve should stay flat.",
    "probe": "A prompt that only someone who knows the text completes rightly.",
    "run": "One experiment from text to unlearned model, kept in a folder with everything that belongs to it.",
    "stage": "One of the five parts of a run: teach, reinforce, label, fine-tune, evaluate.",
    "scenario": "A ready-made example: a text, its anchors, its probes.",
    "loss": "How far the model still is from what it is trained to say. It falls while the model learns.",
    "tokens/s": "How many pieces of words the model works through in a second.",
    "seed": "Which dice are thrown: the same number gives the same words again.",
    "rank": "The place of the word in the model's list of what may come next: 1 is its first choice.",
    "adapter": "Only what training has changed, a small file; it is used together with the model it was made for.",
    "alpha": "How hard a word is pushed down that reinforcement raised (α of equation 1).",
}


def explain(term: str) -> str:
    """The sentence for a term; "" for one that needs none."""
    return WORDS.get(term, "")
