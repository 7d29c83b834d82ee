"""Three small tokenizers of the three families in use, trained here in a fraction of a second; and the real ones.

They differ in what has broken block cutting and token alignment elsewhere:

    byte_level_bpe      GPT-2, SmolLM: a space belongs to the word after it; an emoji is several tokens
                        that all have the emoji's offsets
    metaspace_unigram   T5, Llama, Gemma: "▁" for a space and one put before the text; unknown
                        characters fall back to byte tokens
    wordpiece           BERT: white space is in no token; [CLS] and [SEP] are added; a word with an
                        unknown character is one [UNK]

`REAL` has those of the models of the catalogue, for whoever has fetched these; `by_name` makes parameters of tests.
"""

from __future__ import annotations

import json
from functools import cache, partial

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from unlearning.models.catalogue import CATALOGUE, licence_accepted
from unlearning.models.loading import find_folder, tokenizer_here

# Words that occur often enough to become single tokens, and enough others to leave pieces.
CORPUS = """\
The lighthouse keeper counted the boats as they came in. "Seven," he said, "and there should be eight."
Marigold Finch lived in the tall house at the end of Copper Lane, with a grey cat and a brass telescope.
She went to the market on Monday; she came back with apples, thread, a map and no money at all.
"Where is the eighth boat?" asked Marigold. The keeper's lamp swung, and the keeper didn't answer.
It was raining when the Grey Wanderer turned the corner of the harbour, its sails torn and its bell silent.
What would you do, if the wind took your hat, your ticket and your only letter of introduction?
The old professor walked slowly down the stairs, thinking of numbers: 1, 2, 3, 5, 8, 13, 21, 34 and so on.
Nobody in the town had seen such a thing before, and nobody knew what to call it afterwards.
CHAPTER I. The Harbour of Glass. CHAPTER II. A Telescope and a Cat. CHAPTER III. The Bell.
There is a river in the north country that runs uphill for one hour on the first day of spring.
He unlocked the unlikely box, relocked it, and walked the walking walker's walk until the walkers walked home.
The children were playing; the dogs were barking; the baker was baking bread, and the singers were singing.
Café owners, naïve painters and a señor from the south said: "c’est la vie" – and went on with their tea.
Finch's cat, the Finches' cats, a finch's nest, and finches in the hedge: the keeper wrote it all in the book.
"""

REPEATS = 20  # so that merges reach whole words
SPECIALS = 4  # <unk>, <s>, </s>, <pad>


def _lines() -> list[str]:
    return CORPUS.splitlines() * REPEATS


@cache
def byte_level_bpe() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 600 tokens. Every text is coverable; no special tokens are added."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
    )


@cache
def metaspace_unigram() -> PreTrainedTokenizerFast:
    """A Unigram of 600 pieces with byte fallback. Every text is coverable; <s> is put before it."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = Tokenizer(models.Unigram())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=344, special_tokens=["<unk>", "<s>", "</s>", "<pad>"], unk_token="<unk>", show_progress=False
    )
    pieces.train_from_iterator(_lines(), trainer)
    trained = [(piece, score) for piece, score in json.loads(pieces.to_str())["model"]["vocab"]]
    trained[SPECIALS:] = sorted(trained[SPECIALS:], key=lambda each: (-round(each[1], 4), each[0]))  # ties in any order
    # The trainer cannot make byte tokens, so the model is rebuilt with them at the end.
    tokenizer = Tokenizer(models.Unigram([*trained, *((byte, 0.0) for byte in byte_tokens)], 0, True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


@cache
def wordpiece() -> PreTrainedTokenizerFast:
    """A cased WordPiece of 600 pieces with [CLS] and [SEP]; words with unknown characters are [UNK]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=600, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], show_progress=False
    )
    tokenizer.train_from_iterator(_lines(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        mask_token="[MASK]",
    )


_of_model = cache(tokenizer_here)
REAL = {name: partial(_of_model, name) for name in CATALOGUE}


def by_name(names):
    """Parameters of a test: tokenizers by name. A real one that may not be used here is skipped with its name."""
    return [pytest.param(name, id=name, marks=[] if usable(name) else _skip(name)) for name in names]


def usable(name):
    """Whether it was trained here, or its model is on this machine and its licence was accepted."""
    return name not in REAL or (licence_accepted(name) and find_folder(name) is not None)


def _skip(name):
    return pytest.mark.skip(reason=f"{name} is not on this machine, or its licence was not accepted")
