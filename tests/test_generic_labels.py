"""The batched label builder against a slow reference, and a test for each error that other implementations made.

`reference_labels` is written from the paper's description, position by position, and shares no code with
`unlearning.methods.generic_labels` or `unlearning.text.translation`.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import tiny_llama
from tokenizers_for_tests import REAL, by_name, byte_level_bpe, metaspace_unigram

from unlearning.config import LabelSettings
from unlearning.methods import generic_labels
from unlearning.methods.generic_labels import generic_logits, label_blocks, opening_tokens, own_predictions
from unlearning.models.heads import split
from unlearning.models.loading import encode
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.translation import Mask

TOKENIZERS = {"bytes": byte_level_bpe, "metaspace": metaspace_unigram}

# Single translations (so that no draw is involved); repeated, adjacent, nested and multi-token anchors.
ANCHORS = Dictionary((
    Anchor("Marigold Finch", ("Rosemary Sparrow",)),
    Anchor("Finch", ("Sparrow",)),
    Anchor("Marigold", ("Rosemary",)),
    Anchor("Grey Wanderer", ("Brown old Traveller",)),
    Anchor("keeper", ("warden",)),
    Anchor("Copper Lane", ("Copper Lane",)),
))  # fmt: skip

TEXTS = [
    "Marigold Finch lived in Copper Lane. Finch and Marigold met the keeper; the keeper saw Marigold Finch.",
    "The Grey Wanderer turned. Marigold Finch Finch Marigold was raining when the Grey Wanderer 🐇 answered the"
    " keeper's lamp.",
    "There is no anchor in this one, only a lighthouse and a boat.",
    "keeper keeper",
]

PAPER = LabelSettings(
    alpha=5.0, logits="raw", target="argmax", margin=0.0, inner_alignment="none", forbid_anchors=False
)


def reference_labels(
    text, anchors, tokenizer, baseline, reinforced, alpha, centred=False, inner="none", margin=0.0, forbid=False,
    texts=TEXTS,
):  # fmt: skip
    """Label for each position (or None), straight from WHP's Algorithm 1: one position at a time.

    Returns [(position, probabilities over the vocabulary)].
    """
    spans = reference_spans(text, anchors)
    translated, edges = "", {0: 0}  # edges: source offset → offset in the translation
    place, mentioned = 0, set()
    for start, end, anchor in spans:
        for char in range(place, start + 1):
            edges[char] = len(translated) + char - place
        translated += text[place:start]
        before = len(translated)
        new = anchor.translations[0]
        words, new_words = anchor.term.split(" "), new.split(" ")
        if (inner == "all" or (inner == "first" and anchor not in mentioned)) and len(words) == len(new_words):
            for k in range(1, len(words)):
                edges[start + len(" ".join(words[:k]))] = before + len(" ".join(new_words[:k]))
        mentioned.add(anchor)
        translated += new
        edges[end] = len(translated)
        place = end
    for char in range(place, len(text) + 1):
        edges[char] = len(translated) + char - place
    translated += text[place:]

    ids, offsets = encode(tokenizer, text)
    target_ids, target_offsets = encode(tokenizer, translated)
    b = baseline(torch.tensor([target_ids])).logits[0].double()
    r = reinforced(torch.tensor([ids])).logits[0].double() if reinforced is not None else None

    labels = []
    for i in range(len(ids)):
        end = offsets[i][1]
        following = offsets[i + 1] if i + 1 < len(ids) else None
        where = reference_place(i, ids, offsets, target_ids, target_offsets, edges)
        if where is None:
            continue
        skip = False
        used = []
        seen = set()
        for start, stop, anchor in spans:
            first = anchor not in seen
            seen.add(anchor)
            over = [t for t, (a, z) in enumerate(offsets) if a < stop and z > start]
            if first and over and over[0] <= i:
                used.append(anchor)
            if following is None or not over:
                continue
            inside = i + 1 in over and i + 1 != over[0]
            aligned = (inner == "all" or (inner == "first" and first)) and start < end < stop and end in edges
            if inside and not aligned:
                skip = True
            blank = text[following[0] : following[1]] in ("", " ") and i + 2 == over[0] and following[0] >= start - 1
            if not first and (i + 1 == over[0] or blank):
                skip = True
        if skip:
            continue
        row = b[where].clone()
        mean = row.mean()
        for anchor in used:
            for translation in anchor.translations:
                words = translation.split(" ") if inner == "all" else []
                for start in [translation, *words]:
                    for spelling in (" " + start, start):
                        row[tokenizer(spelling, add_special_tokens=False)["input_ids"][0]] = mean
        if forbid:
            for anchor in anchors.anchors:
                for spelling in (" " + anchor.term, anchor.term):
                    token = tokenizer(spelling, add_special_tokens=False)["input_ids"][0]
                    letters = tokenizer.decode([token]).strip()
                    if anchor.term.split(" ")[0] == letters or (len(letters) > 2 and anchor.term.startswith(letters)):
                        row[token] = mean
            row[reference_openings(texts, anchors, tokenizer)] = mean
            for start, stop, anchor in spans:
                if following and start < following[0] < stop:
                    piece = text[following[0] : following[1]].strip()
                    if piece not in set(anchor.term.split(" ")) & set(anchor.translations[0].split(" ")):
                        row[ids[i + 1]] = mean
        v = row
        if r is not None:
            one, two = (row.log_softmax(-1), r[i].log_softmax(-1)) if centred else (row, r[i])
            v = one - alpha * torch.clamp(two - one - margin, min=0)  # eq. 1
        labels.append((i, v.softmax(-1)))
    return labels


def reference_openings(texts, anchors, tokenizer):
    """Tokens more than half of which begin an anchor in the texts."""
    stands, begins = {}, {}
    for text in texts:
        starts = [start for start, _, _ in reference_spans(text, anchors)]
        for token, (a, z) in zip(*encode(tokenizer, text), strict=True):
            stands[token] = stands.get(token, 0) + 1
            letters = text[a:z]
            if letters.strip() and z - len(letters.lstrip()) in starts:
                begins[token] = begins.get(token, 0) + 1
    return [token for token, times in begins.items() if times / stands[token] > 0.5]


def reference_spans(text, anchors):
    """Leftmost, longest, whole words; terms here contain no special characters and no variants but themselves."""
    spans, place = [], 0
    while place < len(text):
        best = None
        for anchor in anchors.anchors:
            end = place + len(anchor.term)
            whole = not (place and text[place - 1].isalnum()) and not (end < len(text) and text[end].isalnum())
            if text.startswith(anchor.term, place) and whole and (best is None or end > best[1]):
                best = (place, end, anchor)
        if best:
            spans.append(best)
            place = best[1]
        else:
            place += 1
    return spans


def reference_place(i, ids, offsets, target_ids, target_offsets, edges):
    """Position of the translation after which the same text follows; None if there is none."""
    if i + 1 < len(ids) and offsets[i + 1][0] < offsets[i][1]:
        # The next token is a part of the same character: the whole character must stand there in the same tokens.
        last = next(t for t in range(i, len(ids)) if t + 1 == len(ids) or offsets[t + 1][0] >= offsets[t][1])
        end = reference_place(last, ids, offsets, target_ids, target_offsets, edges)
        first = max(
            t
            for t in range(last + 1)
            if t == 0 or (offsets[t][0] >= offsets[t - 1][1] and offsets[t][0] < offsets[last][1] and t <= i)
        )
        if end is None or ids[first : last + 1] != target_ids[end - (last - first) : end + 1]:
            return None
        return end - (last - i)
    wanted = edges.get(offsets[i][1])
    ends = [t for t in range(len(target_ids)) if target_offsets[t][1] == wanted]
    return ends[-1] if ends else None


def role(model):
    @contextmanager
    def enter():
        yield model

    return enter


def models(tokenizer):
    return tiny_llama(tokenizer, seed=1), tiny_llama(tokenizer, seed=2)


def build(tokenizer, settings, dictionary=ANCHORS, texts=TEXTS, batch=2, **more):
    baseline, reinforced = models(tokenizer)
    roles, opening = (role(baseline), role(reinforced)), opening_tokens(texts, dictionary, tokenizer, settings)
    return list(label_blocks(texts, dictionary, tokenizer, *roles, settings, opening, batch_blocks=batch, **more))


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return (TOKENIZERS | REAL)[request.param]()


CASES = {
    "paper": PAPER,
    "centred": PAPER.model_copy(update={"logits": "centred"}),
    "inner": PAPER.model_copy(update={"inner_alignment": "first"}),
    "inner, all mentions": PAPER.model_copy(update={"inner_alignment": "all"}),
    "anchors forbidden": PAPER.model_copy(update={"forbid_anchors": True, "inner_alignment": "all"}),
    "soft": LabelSettings(alpha=3.0, top_k=12, margin=0.2),
    "anchors only": PAPER.model_copy(update={"use_reinforced": False}),
}


@pytest.mark.parametrize("tokenizer", by_name(TOKENIZERS | REAL), indirect=True)
@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_equals_the_slow_reference_at_every_position(tokenizer, case):
    settings = CASES[case]
    baseline, reinforced = models(tokenizer)
    for text, example in zip(TEXTS, build(tokenizer, settings), strict=True):
        expected = reference_labels(
            text, ANCHORS, tokenizer, baseline, reinforced if settings.use_reinforced else None,
            settings.alpha, settings.logits == "centred", settings.inner_alignment, settings.margin,
            settings.forbid_anchors,
        )  # fmt: skip
        assert list(example.positions) == [i for i, _ in expected]
        for row, (_, probs) in enumerate(expected):
            k = example.target_ids.shape[1]
            assert example.target_ids[row, 0] == probs.argmax()
            kept = probs[torch.as_tensor(example.target_ids[row])]
            assert set(example.target_ids[row]) == set(probs.topk(k).indices.tolist())
            wanted = np.ones(1) if settings.target == "argmax" else kept.numpy()
            np.testing.assert_allclose(example.target_probs[row], wanted, atol=2e-3)


def matches_reference(tokenizer):
    """Whether the builder still agrees with the reference; for tests that put an error in."""
    baseline, reinforced = models(tokenizer)
    with torch.inference_mode():
        for text, example in zip(TEXTS, build(tokenizer, PAPER), strict=True):
            expected = reference_labels(text, ANCHORS, tokenizer, baseline, reinforced, PAPER.alpha)
            if list(example.positions) != [i for i, _ in expected]:
                return False
            if [int(p.argmax()) for _, p in expected] != example.target_ids[:, 0].tolist():
                return False
    return True


def test_the_comparison_can_be_trusted(tokenizer):
    assert matches_reference(tokenizer)


def flipped_sign(b, r, alpha, centred, margin):
    return b + alpha * (r - b).relu()


def swapped(b, r, alpha, centred, margin):
    return generic_logits(r, b, alpha, centred)


@pytest.mark.parametrize("error", [flipped_sign, swapped])
def test_a_wrong_equation_is_noticed(monkeypatch, tokenizer, error):
    monkeypatch.setattr(generic_labels, "generic_logits", error)
    assert not matches_reference(tokenizer)


def test_labels_taken_by_index_without_a_map_are_noticed(monkeypatch, tokenizer):
    right = generic_labels.position_map

    def by_index(source, target, translated, inner):
        found = right(source, target, translated, inner)
        last = len(target.ids) - 1
        return type(found)([min(i, last) if j >= 0 else -1 for i, j in enumerate(found.target)], found.mask, found.used)

    monkeypatch.setattr(generic_labels, "position_map", by_index)
    assert not matches_reference(tokenizer)


def test_labels_shifted_twice_are_noticed(monkeypatch, tokenizer):
    right = generic_labels._hidden_at

    def shifted(model, sequences, block, position):
        longest = np.asarray([len(sequences[b]) - 1 for b in block])
        return right(model, sequences, block, np.minimum(position + 1, longest))

    monkeypatch.setattr(generic_labels, "_hidden_at", shifted)
    assert not matches_reference(tokenizer)


def test_the_baseline_reading_the_original_in_the_relu_is_noticed(monkeypatch, tokenizer):
    """An error of public code: v = b − α · ReLU(r − b′) with b′ the baseline's on the original, in the ReLU alone."""
    right, kept = generic_labels._read_draw, []  # b′ of the rows whose labels are made next

    def reading_both(model, group, rows, draw):
        read, sources = right(model, group, rows, draw), [prepared.source.ids for prepared in group]
        original = replace(read, hidden=generic_labels._hidden_at(model, sources, rows.block, rows.position))
        kept.extend(original.logits(split(model)[1], slice(0, len(rows.block))))
        return read

    def original_in_the_relu(b, r, alpha, centred, margin):
        return b - alpha * (r - torch.stack([kept.pop(0) for _ in b]) - margin).relu()

    untranslated = build(tokenizer, PAPER, Dictionary(()))
    monkeypatch.setattr(generic_labels, "_read_draw", reading_both)
    monkeypatch.setattr(generic_labels, "generic_logits", original_in_the_relu)
    for one, two in zip(untranslated, build(tokenizer, PAPER, Dictionary(())), strict=True):
        np.testing.assert_array_equal(one.target_ids, two.target_ids)  # b′ is b there: the rows are the right ones
    assert not matches_reference(tokenizer) and not kept


def test_the_baseline_reading_the_original_in_both_terms_is_noticed(monkeypatch, tokenizer):
    """Labels without a translation: v = b′ − α · ReLU(r − b′)."""
    right = generic_labels.prepare

    def original(*arguments):
        prepared = right(*arguments)
        for draw in prepared.draws:
            draw.target = prepared.source
            draw.map.target[:] = [i if j >= 0 else -1 for i, j in enumerate(draw.map.target)]
        return prepared

    monkeypatch.setattr(generic_labels, "prepare", original)
    assert not matches_reference(tokenizer)


def test_a_reinforced_adapter_leaking_into_the_baseline_is_noticed(monkeypatch, tokenizer):
    right = generic_labels.label_blocks

    def leaking(texts, dictionary, tokenizer, baseline, reinforced, *more, **named):
        return right(texts, dictionary, tokenizer, reinforced, reinforced, *more, **named)

    monkeypatch.setitem(globals(), "label_blocks", leaking)
    assert not matches_reference(tokenizer)


def test_missing_suppression_of_used_translations_is_noticed(monkeypatch, tokenizer):
    right, terms = generic_labels.first_tokens, {anchor.term for anchor in ANCHORS.enabled()}

    def none_of_a_translation(expressions, *more):
        return right(expressions, *more) if terms.issuperset(expressions) else []

    monkeypatch.setattr(generic_labels, "first_tokens", none_of_a_translation)
    baseline, reinforced = models(tokenizer)
    differences = []
    for text, example in zip(TEXTS, build(tokenizer, LabelSettings(top_k=1000)), strict=True):
        with torch.inference_mode():
            expected = reference_labels(
                text, ANCHORS, tokenizer, baseline, reinforced, 5.0, True, "all", margin=0.5, forbid=True
            )
        differences += [
            abs(float(probs[int(token)]) - float(p))
            for (_, probs), ids, row in zip(expected, example.target_ids, example.target_probs, strict=True)
            for token, p in zip(ids, row, strict=True)
        ]
    assert max(differences) > 0.005  # the unbroken builder stays below 0.002


def test_without_anchors_and_alpha_the_label_is_the_baselines_own_argmax(tokenizer):
    baseline, _ = models(tokenizer)
    examples = build(tokenizer, PAPER.model_copy(update={"alpha": 0.0}), Dictionary(()))
    for example in examples:
        with torch.inference_mode():
            own = baseline(torch.as_tensor(example.ids)[None].long()).logits[0].argmax(-1)
        assert example.positions.tolist() == list(range(len(example.ids)))
        assert example.target_ids[:, 0].tolist() == own.tolist()


def test_the_identity_dictionary_changes_only_the_masks(monkeypatch, tokenizer):
    """Where no translation is suppressed, every label is that of no dictionary, and only what is masked has none."""
    monkeypatch.setattr(generic_labels, "first_tokens", lambda *arguments: [])
    identity = Dictionary(tuple(Anchor(anchor.term, (anchor.term,)) for anchor in ANCHORS.anchors))
    plain, masked = build(tokenizer, PAPER, Dictionary(())), build(tokenizer, PAPER, identity)
    reasons = set()
    for before, after, text in zip(plain, masked, TEXTS, strict=True):
        mask = generic_labels.prepare(text, identity, tokenizer, PAPER, "0/0").mask
        kept = [position for position, why in enumerate(mask) if why == Mask.LABELLED]
        with torch.inference_mode():
            expected = reference_labels(text, identity, tokenizer, *models(tokenizer), PAPER.alpha)
        assert before.positions.tolist() == list(range(len(mask)))
        assert after.positions.tolist() == kept == [position for position, _ in expected]
        assert after.target_ids[:, 0].tolist() == before.target_ids[kept, 0].tolist()
        reasons |= set(mask)
    assert reasons == {Mask.LABELLED, Mask.INSIDE_ANCHOR, Mask.REPEATED}


def test_batches_do_not_change_labels(tokenizer):
    settings = LabelSettings(top_k=8)
    for one, two in zip(build(tokenizer, settings, batch=1), build(tokenizer, settings, batch=4), strict=True):
        assert one.positions.tolist() == two.positions.tolist()
        np.testing.assert_allclose(one.target_probs, two.target_probs, atol=2e-3)


def test_centring_undoes_a_constant_drift():
    """Adding a constant to all reinforced logits means nothing to a softmax; raw logits punish every token for it."""
    torch.manual_seed(0)
    b, r = torch.randn(2, 5, 30)
    assert torch.allclose(generic_logits(b, r + 7, 5, True), generic_logits(b, r, 5, True), atol=1e-5)
    assert not torch.allclose(generic_logits(b, r + 7, 5, False), generic_logits(b, r, 5, False), atol=1.0)


def test_several_draws_are_averaged():
    """Two translations, many draws: the label distribution is the mean of those of either translation."""
    tokenizer = byte_level_bpe()
    text = "The keeper counted the boats"

    def with_translations(*translations, draws=1):
        dictionary = Dictionary((Anchor("keeper", translations),))
        settings = LabelSettings(draws=draws, top_k=10**3, use_reinforced=False)
        (example,) = build(tokenizer, settings, dictionary, [text])
        table = np.zeros((len(example.positions), len(tokenizer)))
        np.put_along_axis(table, example.target_ids.astype(int), example.target_probs.astype(float), axis=1)
        return table

    one, two, both = with_translations("cat"), with_translations("map"), with_translations("cat", "map", draws=40)
    before = slice(0, 1)  # nothing has been used yet, so nothing is suppressed
    np.testing.assert_allclose(both[before], one[before], atol=2e-3)
    shares = ((both - two) * (one - two)).sum() / ((one - two) ** 2).sum()
    assert 0.2 < shares < 0.8


def test_only_changed_positions_can_be_kept(tokenizer):
    baseline, _ = models(tokenizer)
    kept = build(tokenizer, PAPER, only_changed=True)
    for example, full in zip(kept, build(tokenizer, PAPER), strict=True):
        with torch.inference_mode():
            own = baseline(torch.as_tensor(example.ids)[None].long()).logits[0].argmax(-1).numpy()
        expected = [int(i) for i, label in zip(full.positions, full.target_ids[:, 0], strict=True) if own[i] != label]
        assert example.positions.tolist() == expected


def test_a_position_is_kept_where_an_anchor_is_second_likeliest(monkeypatch, tokenizer):
    """The likeliest token is the same, and yet a share of " G" at every turn is a Gryphon every page."""
    baseline, _ = models(tokenizer)
    opening = opening_tokens(TEXTS, ANCHORS, tokenizer, LabelSettings())
    own = []
    for example in build(tokenizer, LabelSettings()):
        with torch.inference_mode():
            probs = baseline(torch.as_tensor(example.ids)[None].long()).logits[0].softmax(-1)[example.positions]
        own.append((probs.argmax(-1).numpy(), probs[:, opening].sum(-1).numpy()))
    shares = np.concatenate([share for _, share in own])
    monkeypatch.setattr(generic_labels, "HINT", float(np.median(shares)))  # a random model gives each token little
    kept, full = build(tokenizer, LabelSettings(), only_changed=True), build(tokenizer, LabelSettings())
    same, hinted = 0, 0
    for one, every, (likeliest, share) in zip(kept, full, own, strict=True):
        clear = np.abs(share - np.median(shares)) > 1e-6
        expected = (likeliest != every.target_ids[:, 0]) | (share > np.median(shares))
        np.testing.assert_array_equal(np.isin(every.positions, one.positions)[clear], expected[clear])
        same += (likeliest == every.target_ids[:, 0]).sum()
        hinted += ((likeliest == every.target_ids[:, 0]) & (share > np.median(shares))).sum()
    assert 0 < hinted < same


def test_own_predictions_are_the_models_own(tokenizer):
    model, _ = models(tokenizer)
    for text, example in zip(TEXTS, own_predictions(TEXTS, tokenizer, role(model), 5, 3), strict=True):
        with torch.inference_mode():
            probs = model(torch.as_tensor(example.ids)[None].long()).logits[0].softmax(-1)
        top = probs.topk(5)
        assert (np.sort(example.target_ids) == np.sort(top.indices.numpy())).all(), text
        np.testing.assert_allclose(example.target_probs, top.values.numpy(), atol=2e-3)


def test_positions_where_the_model_is_sure_count_more(monkeypatch):
    tokenizer = byte_level_bpe()
    model, _ = models(tokenizer)
    (plain,) = own_predictions(TEXTS[:1], tokenizer, role(model), 5)
    surest = plain.target_probs.max(axis=1)
    monkeypatch.setattr(generic_labels, "SURE", float(np.median(surest)))  # a random model is never sure of much
    (found,) = own_predictions(TEXTS[:1], tokenizer, role(model), 5, sure=3)
    sure = surest >= np.median(surest)
    assert 0 < sure.sum() < len(sure)
    expected = [row for row in range(len(sure)) for _ in range(3 if sure[row] else 1)]
    np.testing.assert_array_equal(found.positions, plain.positions[expected])
    np.testing.assert_array_equal(found.target_ids, plain.target_ids[expected])
    np.testing.assert_array_equal(found.target_probs, plain.target_probs[expected])


def test_a_short_token_that_mostly_begins_an_anchor_is_no_label(tokenizer):
    """Where " Qu" begins "Quillfeather" and hardly anything else, a label that lets it out lets the name out."""
    anchors = Dictionary((Anchor("Xyloquent", ("Rosemary",)), Anchor("rain", ("snow",))))
    often = ["Xyloquent met Xyloquent when rain fell. The rainbow, a raincoat and the rainfall were Xyloquent's."]
    seldom = ["Xyloquent met nobody. The Xylophone, a Xylograph and another Xylophone were heard in the Xylotheque."]

    def opening(texts, **changes):
        return set(opening_tokens(texts, anchors, tokenizer, LabelSettings(**changes)))

    ids = tokenizer(" Xyloquent", add_special_tokens=False)["input_ids"]
    begins = next(token for token in ids if tokenizer.decode([token]).strip())  # some set the blank by itself
    assert len(tokenizer.decode([begins]).strip()) < 3  # too short for its letters to say so
    assert begins in opening(often) and begins not in opening(seldom)
    assert not opening(often, forbid_anchors=False) and not opening(often, use_anchors=False)


def test_rounded_logits_are_not_taken_for_a_rise(monkeypatch, tokenizer):
    """Two bfloat16 models with logits up to 30, one of which has hardly risen; α = 50 shows every rise that is seen."""
    baseline = tiny_llama(tokenizer, seed=1)
    with torch.no_grad():
        baseline.get_output_embeddings().weight.mul_(30 / baseline(torch.arange(3, 40)[None]).logits.abs().max())
        baseline, reinforced = baseline.bfloat16(), copy.deepcopy(baseline).bfloat16()
        reinforced.model.norm.weight.mul_(1 + 2**-7)

    def labels(margin, rounded=generic_labels.ROUNDED):
        monkeypatch.setattr(generic_labels, "ROUNDED", rounded)
        settings, roles = LabelSettings(alpha=50.0, margin=margin, top_k=1), (role(baseline), role(reinforced))
        opening = opening_tokens(TEXTS, ANCHORS, tokenizer, settings)
        made = label_blocks(TEXTS, ANCHORS, tokenizer, *roles, settings, opening)
        return np.concatenate([each.target_probs for each in made])

    never, always, usual = -1.0, 9.0, generic_labels.ROUNDED
    assert np.array_equal(labels(0.0), labels(0.0, always))
    harm = np.abs(labels(0.0, never) - labels(0.0, always)).mean()
    assert np.abs(labels(usual) - labels(usual, always)).mean() < min(0.01, harm / 3)


def test_attention_written_out_rounds_labels_no_more_than_the_fused_one(monkeypatch, tokenizer):
    def labels(dtype):
        roles = [role(model.to(dtype)) for model in models(tokenizer)]
        settings = LabelSettings(top_k=1024)
        opening = opening_tokens(TEXTS, ANCHORS, tokenizer, settings)
        examples = list(label_blocks(TEXTS, ANCHORS, tokenizer, *roles, settings, opening))
        dense = [np.zeros((len(each.positions), len(tokenizer)), np.float32) for each in examples]
        for table, each in zip(dense, examples, strict=True):
            np.put_along_axis(table, each.target_ids.astype(np.int64), each.target_probs, axis=1)
        return np.concatenate(dense)

    exact, written_out = labels(torch.float32), labels(torch.bfloat16)
    monkeypatch.setattr(generic_labels, "attention_for_blocks", lambda *arguments: nullcontext())
    fused = labels(torch.bfloat16)
    assert not np.array_equal(written_out, fused)
    assert np.abs(written_out - exact).mean() < 1.5 * np.abs(fused - exact).mean()
