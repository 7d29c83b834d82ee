"""Comparing: what is written, what would be said next, what was measured; over a real finished run."""

import dataclasses
import os
import shutil
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from finished_run import DRAFT, HOSTILE, finished  # noqa: F401
from tiny_models import tiny_llama
from tokenizers_for_tests import byte_level_bpe
from ui_for_tests import make_context

from unlearning.errors import InputError, PromptError, SettingsError
from unlearning.evaluation import recorded
from unlearning.methods.examples import StoredExamples
from unlearning.models.generation import generate
from unlearning.text.anchors import Anchor, Dictionary
from unlearning.text.translation import Mask
from unlearning.training import snapshots
from unlearning.training.stages import open_roles
from unlearning.ui import asking, compare, inspector, nexts, plots, writing
from unlearning.ui.asking import Wishes
from unlearning.ui.host import ModelHost
from unlearning.ui.jobs import Job, line_of
from unlearning.ui.writing import Column, write_together

PROMPT = "The keeper counted the"


@pytest.fixture(scope="module")
def work(finished):
    return open_roles(finished)


@pytest.fixture
def host(finished):
    return ModelHost(finished.parents[1])


def job():
    return Job("test", lambda job: None)


# --- writing ---


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_columns_write_what_generation_writes(temperature):
    tokenizer = byte_level_bpe()
    models = [tiny_llama(tokenizer, seed=seed) for seed in (0, 1)]
    columns = [Column(partial(nullcontext, model), PROMPT) for model in models]
    write_together(columns, tokenizer, 12, temperature, seed=5)
    for model, column in zip(models, columns, strict=True):
        assert column.text == generate(model, tokenizer, [PROMPT], 12, temperature, seed=5)[0].removesuffix("\ufffd")


def test_columns_grow_together_and_stop_when_told():
    tokenizer = byte_level_bpe()
    columns = [Column(partial(nullcontext, tiny_llama(tokenizer, seed=seed)), PROMPT) for seed in (0, 1)]
    lengths = []

    def show(share):
        lengths.append([len(column.new) for column in columns])
        if share > 0.4:
            raise StopIteration

    with pytest.raises(StopIteration):
        write_together(columns, tokenizer, 30, 0.0, 0, show)
    assert len(lengths) > 2 and all(abs(a - b) <= writing.IN_TURN for a, b in lengths) and lengths[-1][0] < 30


@pytest.mark.parametrize(("tokens", "temperature"), [(0, 0.0), (writing.LONGEST + 1, 0.0), (5, -0.1), (5, 9.0)])
def test_wishes_out_of_bounds_are_refused(tokens, temperature):
    with pytest.raises(SettingsError):
        writing.check_wishes(tokens, temperature)


def test_every_column_of_a_run_is_written(finished, host):
    wishes = Wishes("Alice said", tuple(asking.ROLES), finished.name, 6, 0.0, 0)
    columns = asking.columns_of(finished.parents[1], finished, wishes)
    assert [column["key"] for column in columns] == [
        "baseline", "unlearned", "reinforced", "never_taught", "prompt_only", "other",
    ]  # fmt: skip
    texts = asking.write(host, finished.name, wishes, job())["columns"]
    assert len(texts) == len(columns) and all(text["text"] or text["ended"] for text in texts)
    by_key = dict(zip([column["key"] for column in columns], texts, strict=True))
    assert by_key["unlearned"] == by_key["other"]  # the same model, the same dice
    with pytest.raises(InputError):
        asking.columns_of(finished.parents[1], finished, dataclasses.replace(wishes, roles=(), other=""))


def test_another_runs_column_says_that_it_waits_until_it_writes(finished, host, monkeypatch):
    asked, said = job(), []
    monkeypatch.setattr(asked, "say", lambda value=None, share=0.0, message="": said.append(value))
    asking.write(host, finished.name, Wishes("Alice said", ("baseline",), finished.name, 9, 0.0, 0), asked)
    shown = [value["columns"] for value in said if value]
    assert {len(columns) for columns in shown} == {2}
    assert shown[0][1] == {"text": "", "ended": False, "waits": asking.BEHIND}
    assert all("waits" not in columns[0] for columns in shown)
    assert "waits" not in shown[-1][1] and shown[-1][1]["text"]


def test_strength_of_forgetting_goes_from_the_model_before_to_beyond_the_one_after(finished, host):
    with host.open(finished.name) as work, work.family.role("unlearned") as model:
        torch.manual_seed(0)
        for name, weight in model.named_parameters():  # two epochs have hardly moved it
            if "lora_B.unlearned" in name:
                weight.data += 0.1 * torch.randn_like(weight)

    def ask(strength):
        wishes = Wishes("Alice said", ("baseline", "unlearned"), finished.name, 12, 0.0, 0, strength)
        texts = [column["text"] for column in asking.write(host, finished.name, wishes, job())["columns"]]
        rows = asking.say_next(host, finished, "Alice said", "", job(), strength)["rows"]
        strip = asking.read_text(host, finished, "Alice said nothing.", job(), strength)
        return texts, {row["id"]: row["p"] for row in rows}, max(strip["kl"])

    (off, weak, strip_off), (_, middle, _), (usual, strong, strip_usual) = ask(0), ask(0.5), ask(1)
    _, beyond, strip_beyond = ask(1.5)
    assert off[0] == off[1] and off[2] == usual[2]  # the other run's model stays as it is
    for p in weak.values():
        assert p["unlearned"] == pytest.approx(p["baseline"], rel=2e-3)
    token = max(strong, key=lambda token: abs(strong[token]["unlearned"] - strong[token]["baseline"]))
    at = [rows[token]["unlearned"] for rows in (weak, middle, strong, beyond) if token in rows]
    assert len(set(at)) == len(at) > 2
    assert strip_off < 1e-4 < 1e-2 < strip_usual < strip_beyond
    curves = [asking.say_next(host, finished, "Alice said", " never", job(), s)["curve"]["points"] for s in (1, 0.5)]
    assert curves[0][0] == curves[1][0] and curves[0][-1][1] != curves[1][-1][1]


def test_the_strength_is_said_above_every_answer_and_kept_within_its_limits(finished):
    context, where = make_context(finished.parents[1]), {"step": "compare", "draft": DRAFT}
    asked = (finished.name, PROMPT, ["baseline", "unlearned"], "", 5, 0.0, 0)
    columns, bars, _ = compare.complete(context, where, *asked, 0.5)
    assert [column["title"] for column in columns["columns"]] == ["before", "after, at strength 0.5"]
    assert "strength 0.5" in bars["heading"]
    strip = compare.read_text(context, where, finished.name, PROMPT, 0.5)[0]
    assert "strength 0.5" in strip["heading"]
    assert "strength 0.5" in compare.pin(context, where, finished.name, PROMPT, " boats", 0.5)["heading"]
    plain, usual, _ = compare.complete(context, where, *asked)
    assert plain["columns"][1]["title"] == "after" and not usual["heading"] and usual["job"] != bars["job"]
    assert "0 to 1.5" in compare.complete(context, where, *asked, 1.6)[2]
    line_of(context.host)._pool.shutdown(cancel_futures=True)  # no random model is made while another test makes one


# --- the next word ---


def test_generic_target_is_the_stored_label(work):
    """What the page shows as generic target is what the run was trained on, place by place."""
    label = work.settings.label
    stored = StoredExamples(work.stage_folder("label") / "labels")
    compared = 0
    for index in (0, 2):
        prepared = nexts.prepare_text(work, work.blocks[0][index].text, index)
        example = stored[index]
        for row in range(0, len(example.positions), 17):
            place = nexts.look_at(work, prepared, int(example.positions[row]))
            probs = nexts.generic(place, label, label.alpha)
            assert place.mask == Mask.LABELLED
            top = probs.topk(3)
            weights = example.target_probs[row].astype("float32")
            kept = dict(zip(example.target_ids[row].tolist(), weights.tolist(), strict=True))
            for token, p in zip(top.indices.tolist(), top.values.tolist(), strict=True):
                assert kept.get(token, 0) == pytest.approx(p, rel=0.05, abs=2e-3)
                compared += 1
    assert compared > 10


def test_alpha_zero_is_the_baseline_on_the_translation_but_for_what_is_suppressed(work):
    prepared = nexts.prepare_text(work, work.blocks[0][0].text)
    position = next(i for i, why in enumerate(prepared.mask) if why == Mask.LABELLED and i > 5)
    place = nexts.look_at(work, prepared, position)
    ratio = nexts.generic(place, work.settings.label, 0.0) / place.translated[0].softmax(-1)
    same = (ratio / ratio.median() - 1).abs() < 1e-3
    draw = prepared.draws[0]
    suppressed = {token for start, tokens in draw.suppress if start <= position for token in tokens}
    assert {i for i, kept in enumerate(same.tolist()) if not kept} <= suppressed | set(prepared.forbidden.values())


def test_table_has_every_roles_likeliest_tokens(work):
    found = nexts.next_table(work, "Alice sat down by the", following=" Rabbit hole")
    assert found["roles"] == ["baseline", "reinforced", "generic", "unlearned"]
    assert found["actual"] in [row["token"] for row in found["rows"]]
    for row in found["rows"]:
        assert set(row["p"]) == set(found["roles"]) and all(0 <= p <= 1 for p in row["p"].values())
    heights = [max(row["p"].values()) for row in found["rows"]]
    assert heights == sorted(heights, reverse=True)


def test_a_text_that_ends_inside_an_anchor_has_the_label_of_such_a_place(work):
    """Without the anchor's rest, its beginning would stay in the translation, and the generic target complete it."""
    found = nexts.next_table(work, "Alice met the White")
    assert found["completed"] == " Rabbit" and "White" not in found["translated"]
    whole = nexts.prepare_text(work, "Alice met the White Rabbit")
    place = nexts.look_at(work, whole, whole.source.offsets.index(next(o for o in whole.source.offsets if o[1] == 19)))
    label = nexts.generic(place, work.settings.label, work.settings.label.alpha)
    for row in found["rows"]:
        assert row["p"]["generic"] == pytest.approx(float(label[row["id"]]), rel=1e-2, abs=1e-4)
    assert not nexts.next_table(work, "Alice met the girl")["completed"]


def test_rest_of_the_anchor_with_most_words_known():
    anchors = [Anchor("Mad Hatter", ("Odd Milliner",)), Anchor("the Mad Tea Party", ("a Dull Dinner",))]
    off = Anchor("Queen of Hearts", ("Lady of Clubs",), enabled=False)
    rests = {
        "He met the Mad": " Tea Party", "The Mad": " Hatter", "Mad": " Hatter", "the Mad Tea": " Party",
        "the Mad Hatter": "", "Mad ": "", "the Queen": "", "": "",
    }  # fmt: skip
    assert {text: nexts.rest_of_anchor(text, Dictionary((*anchors, off))) for text in rests} == rests


@pytest.mark.parametrize("text", ["", HOSTILE, "\u202e\u200b", "x" * 5000, "The White Rabbit"])
def test_any_prompt_is_answered_or_refused_in_words(work, text):
    try:
        found = nexts.next_table(work, text)
    except PromptError:
        assert text == ""
    else:
        assert found["rows"]


def test_pinned_token_of_a_watched_prompt_has_its_curve(finished, host):
    curve = next(c for c in recorded.curves(finished) if c.kind == "probe" and HOSTILE not in c.prompt + c.target)
    found = asking.say_next(host, finished, f"Before that. {curve.prompt}", curve.target, job())
    assert found["curve"]["recorded"] and found["curve"]["points"] == curve.points
    other = asking.say_next(host, finished, "Something else that was", " never", job())
    assert other["curve"]["note"].startswith("Measured just now") and len(other["curve"]["points"]) > 2


def test_a_run_that_kept_no_step_shows_the_two_ends_and_says_so(finished, host):
    kept, away = finished / snapshots.PLACE, finished / "away"
    kept.rename(away)
    try:
        found = asking.say_next(host, finished, "Something else that was", " never", job())
    finally:
        away.rename(kept)
    assert not found["curve"]["recorded"] and len(found["curve"]["points"]) == 2
    assert "not recorded" in found["curve"]["note"]


def test_strip_of_a_run_compares_before_and_after(finished, host):
    found = asking.read_text(host, finished, f"Alice met the White Rabbit. {HOSTILE}", job())
    assert found["roles"] == ["baseline", "unlearned"] and len(found["kl"]) == len(found["tokens"])
    assert "".join(found["tokens"]).endswith(HOSTILE)


def test_a_run_that_went_on_is_asked_anew(finished, tmp_path):
    folder = tmp_path / "runs" / finished.name
    shutil.copytree(finished, folder)
    context, where = make_context(tmp_path), {"step": "compare", "draft": DRAFT, "run": finished.name}
    asked = (finished.name, PROMPT, ["baseline", "unlearned"], "", 5, 0.0, 0)

    def jobs():
        return [
            compare.complete(context, where, *asked)[1]["job"],
            compare.read_text(context, where, finished.name, PROMPT)[0]["job"],
            compare.pin(context, where, finished.name, PROMPT, " boats")["job"],
        ]

    first = jobs()
    assert jobs() == first
    os.utime(folder / "stages" / "finetune" / "unlearned" / "adapter_config.json")  # it has taken more steps
    assert not set(jobs()) & set(first)
    for name in line_of(context.host)._jobs:
        line_of(context.host).drop(name)


def test_what_is_asked_is_asked_of_the_run_that_is_shown(finished):
    context, where = make_context(finished.parents[1]), {"step": "compare", "draft": DRAFT}
    other = dict(where, run="zzzzzzzz")  # no such run: nobody asks it
    asked = (finished.name, PROMPT, ["baseline"], "", 5, 0.0, 0)
    assert compare.complete(context, other, *asked)[2] == "" and compare.complete(context, where, *asked)[2] == ""
    assert "no run" in compare.complete(context, where, "", *asked[1:])[2]


@pytest.mark.parametrize("screen", [compare, inspector])
def test_a_run_that_is_gone_is_said_and_in_nobodys_way(tmp_path, screen):
    context, where = make_context(tmp_path), {"step": "x", "draft": DRAFT, "run": "zzzzzzzz"}
    found = screen.on_open(context, where, *([None, ""] if screen is compare else []))
    assert "There is no run 'zzzzzzzz'" in found[0]["gone"] and found[1]["visible"] is False


def test_coming_back_leaves_what_was_chosen(finished):
    context, where = make_context(finished.parents[1]), {"step": "compare", "draft": DRAFT}
    first = compare.on_open(context, where, None, "")
    assert first[4]["value"] == ["baseline", "unlearned"] and first[5]["value"] == "" and first[6] == 1
    again = compare.on_open(context, where, finished.name, "typed", "")
    assert "value" not in again[4] and "value" not in again[5] and len(again) == len(first)
    assert compare.on_open(context, where, finished.name, "typed", "a run that is gone")[5]["value"] == ""
    assert again[-2] == first[-2] and again[-2]["probes"]  # what was measured may be new
    linked = compare.on_open(context, where | {"prompt": "from a link"}, finished.name, "typed", "")
    assert linked[3] == "from a link" and again[3] != "typed"


# --- what was measured ---


def test_before_and_after_is_what_the_evaluation_wrote(finished):
    found = recorded.before_and_after(finished)
    assert {one["kind"] for one in found} == {"probe", "control"} and all(0 <= one["after"] <= 1 for one in found)
    by_role = recorded.measured(finished)
    row = by_role["unlearned"]["probes"][2]
    same = next(one for one in found if one["prompt"] == row["prompt"])
    assert same["after"] == row["targets"][0]["p"]
    assert recorded.evaluation(finished)["verdicts"]["forgotten"]["answer"] in ("yes", "partly", "no", "unknown")


def test_measured_prompts_have_their_next_words_without_a_model(finished):
    row = recorded.measured(finished)["unlearned"]["probes"][2]
    found = recorded.next_words(finished, row["prompt"])
    assert found["roles"] == ["never_taught", "baseline", "reinforced", "unlearned"] and len(found["rows"]) == 8
    top = {one["text"]: one["p"] for one in row["top"]}
    assert all(line["p"]["unlearned"] == top.get(line["token"]) for line in found["rows"])
    assert recorded.next_words(finished, "never asked") is None


def test_figures_hold_every_point_and_no_markup(finished):
    figure = plots.scatter(recorded.before_and_after(finished), finished.name).to_dict()
    points = sum(len(trace["x"]) for trace in figure["data"] if trace["mode"] == "markers")
    assert points == len(recorded.before_and_after(finished))
    assert "<script" not in str(figure["data"]) and "<img" not in str(figure["data"])


def test_figures_keep_a_zoom_for_as_long_as_they_show_the_same_of_the_same_run(finished):
    probes = recorded.before_and_after(finished)
    text = {"roles": ["baseline", "unlearned"], "tokens": [" a"], "p": {"baseline": [0.1], "unlearned": [0.2]}}
    context, where = make_context(finished.parents[1]), {"step": "compare", "draft": DRAFT}
    arrived, back = (compare.on_open(context, where, shown, "")[-1]["value"] for shown in (None, finished.name))
    assert arrived.layout.uirevision == back.layout.uirevision
    assert arrived.to_json() == back.to_json()  # Gradio draws any other figure anew, whatever its uirevision
    same = plots.scatter(probes[:1], finished.name).layout.uirevision  # it has measured more since
    assert same == arrived.layout.uirevision
    others = (
        plots.scatter(probes, "another"),
        plots.tokens_scatter(text, finished.name),
        plots.tokens_scatter(text, "x"),
    )
    assert len({same, *(other.layout.uirevision for other in others)}) == 4


# --- the inspector ---


def test_block_shows_masks_and_translation(finished, host, work):
    found = inspector.read_block(host, finished, 1, job())
    assert "".join(found["tokens"]) == work.blocks[0][1].text and len(found["masks"]) == len(found["tokens"])
    assert sum(found["counts"]) == len(found["tokens"])
    positions = StoredExamples(work.stage_folder("label") / "labels")[1].positions - found["front"]
    labelled = {i for i, mask in enumerate(found["masks"]) if mask == Mask.LABELLED}
    trained = {i for i in positions.tolist() if 0 <= i < len(found["tokens"]) - 1}
    assert trained  # of the places that could have a label, those whose label says something new
    assert trained <= labelled
    assert any(piece is not None for piece in found["piece"])
    assert inspector.read_block(host, finished, 999, job())["index"] == found["count"] - 1


def test_place_shows_its_label_and_the_slider_recomputes(finished, host, work):
    kept = inspector.Kept()
    example = StoredExamples(work.stage_folder("label") / "labels")[0]
    front = inspector.read_block(host, finished, 0, job())["front"]
    found = inspector.read_place(host, finished, kept, 0, int(example.positions[3]) - front, job())
    assert found["roles"] == ["baseline", "translated", "reinforced", "generic"] and found["label"]
    stored = dict(zip(example.target_ids[3].tolist(), example.target_probs[3].tolist(), strict=True))
    assert found["label"][0][1] == pytest.approx(max(stored.values()), rel=0.01)
    assert kept.table(found["key"], found["used"])["rows"] == found["rows"]
    assert kept.table(found["key"], 50)["rows"] != found["rows"]
    assert "error" in kept.table("nonsense", 1) and "error" in kept.table(found["key"], "x")
    assert "error" in kept.table(found["key"], -1)
    last = inspector.read_place(host, finished, kept, 999, 0, job())  # a block that is not there, as in read_block
    assert last["before"] != found["before"]


def test_only_the_last_places_are_kept(work, monkeypatch):
    kept = inspector.Kept()
    prepared = nexts.prepare_text(work, "Alice ran after the Rabbit")
    place = nexts.look_at(work, prepared, 3)
    shown = inspector.Shown(place, work.settings.label, work.family.tokenizer, [1, 2], [])
    monkeypatch.setattr(inspector, "PLACES_BYTES", 3 * shown.bytes)
    assert shown.bytes >= 3 * place.baseline.nbytes
    keys = [kept.keep(shown) for _ in range(4)]
    assert kept.table(keys[0], 1)["gone"] and all("rows" in kept.table(key, 1) for key in keys[1:])
    monkeypatch.setattr(inspector, "PLACES_BYTES", 0)
    assert "rows" in kept.table(kept.keep(shown), 1)  # the one that somebody looks at now


def test_draft_of_the_tests_is_one():
    from unlearning.ui.drafts import ID

    assert ID.fullmatch(DRAFT)
