"""The numbers behind the token strip, and the line of questions that it waits in."""

import math
import threading
import time
from contextlib import nullcontext
from functools import partial

import pytest
from tiny_models import tiny_gpt2, tiny_llama
from tokenizers_for_tests import byte_level_bpe, metaspace_unigram

from unlearning.errors import InputError, PromptError
from unlearning.evaluation.scoring import token_log_probs
from unlearning.ui import inference
from unlearning.ui.inference import measure_text
from unlearning.ui.jobs import Jobs

TEXT = 'The lighthouse keeper counted the boats.\n\n"Seven," he said, 🦊 and there should be eight.'


def opened(model):
    return partial(nullcontext, model)


def answer(jobs, job_id, seconds=10.0):
    """The job's last state, asked for as the page does."""
    end = time.monotonic() + seconds
    while (state := jobs.look({"job": job_id}))["state"] in ("waiting", "working"):
        assert time.monotonic() < end, state
        time.sleep(0.01)
    return state


@pytest.mark.parametrize("make_tokenizer", [byte_level_bpe, metaspace_unigram])
def test_one_model_matches_scoring(make_tokenizer):
    tokenizer = make_tokenizer()
    model = tiny_llama(tokenizer)
    found = measure_text({"baseline": opened(model)}, tokenizer, TEXT)
    scores = token_log_probs(model, tokenizer, TEXT)
    assert "".join(found["tokens"]) == TEXT
    assert len(found["tokens"]) == len(scores) == len(found["p"]["baseline"])
    assert found["p"]["baseline"][0] is None and found["kl"] is None
    for score, p, rank in zip(scores[1:], found["p"]["baseline"][1:], found["rank"]["baseline"][1:], strict=True):
        assert p == pytest.approx(math.exp(-score.nll), rel=1e-3)
        assert (rank == 1) == score.likeliest


def test_top_lists_hold_the_token_at_its_rank():
    tokenizer = byte_level_bpe()
    found = measure_text({"baseline": opened(tiny_llama(tokenizer))}, tokenizer, TEXT, top=1000)
    for i, rank in enumerate(found["rank"]["baseline"][1:], 1):
        probabilities = found["top"]["baseline"][i][1::2]
        assert probabilities == sorted(probabilities, reverse=True)
        assert probabilities[rank - 1] == pytest.approx(found["p"]["baseline"][i], rel=5e-3)
        word = found["words"][found["top"]["baseline"][i][2 * (rank - 1)]]
        assert word.strip() == found["tokens"][i].strip() or "\ufffd" in word


def test_two_models_disagree_by_their_kl():
    tokenizer = byte_level_bpe()
    one, other = tiny_llama(tokenizer), tiny_llama(tokenizer, seed=1)
    found = measure_text({"baseline": opened(one), "unlearned": opened(other)}, tokenizer, TEXT)
    assert all(kl > 0 for kl in found["kl"][1:]) and found["kl"][0] == 0
    same = measure_text({"baseline": opened(one), "unlearned": opened(one)}, tokenizer, TEXT)
    assert max(same["kl"]) < 1e-6


def test_long_text_is_read_in_windows_and_cut(monkeypatch):
    tokenizer = byte_level_bpe()
    model = tiny_llama(tokenizer)
    text = TEXT * 4
    whole = measure_text({"baseline": opened(model)}, tokenizer, text)
    monkeypatch.setattr(inference, "WINDOW", 40)
    monkeypatch.setattr(inference, "OVERLAP", 10)
    windowed = measure_text({"baseline": opened(model)}, tokenizer, text)
    assert len(windowed["p"]["baseline"]) == len(whole["p"]["baseline"]) > 80
    assert windowed["p"]["baseline"][1:40] == pytest.approx(whole["p"]["baseline"][1:40], rel=2e-3)
    monkeypatch.setattr(inference, "MOST_TOKENS", 30)
    cut = measure_text({"baseline": opened(model)}, tokenizer, text)
    assert cut["cut"] and len(cut["tokens"]) == 30 and cut["total"] == len(whole["tokens"])
    assert text.startswith("".join(cut["tokens"]))


def test_a_model_with_few_positions_reads_in_shorter_windows():
    tokenizer = byte_level_bpe()
    text = TEXT * 4
    found = measure_text({"baseline": opened(tiny_gpt2(tokenizer))}, tokenizer, text)
    assert len(found["tokens"]) > 64  # its positions
    assert "".join(found["tokens"]) == text and None not in found["p"]["baseline"][1:]


@pytest.mark.parametrize("text", ["", "a"])
def test_hardly_any_text(text):
    tokenizer = byte_level_bpe()
    models = {"baseline": opened(tiny_llama(tokenizer))}
    if not text:
        with pytest.raises(PromptError, match="no text"):
            measure_text(models, tokenizer, text)
    else:
        found = measure_text(models, tokenizer, text)
        assert found["tokens"] == ["a"] and found["p"]["baseline"] == [None]


def test_hostile_text_comes_back_letter_by_letter():
    tokenizer = byte_level_bpe()
    text = "<script>alert('x')</script> {{value}} ${1+1} \u202e\u200b&amp; שלום"
    found = measure_text({"baseline": opened(tiny_llama(tokenizer))}, tokenizer, text)
    assert "".join(found["tokens"]) == text


# --- the line ---


def test_questions_are_answered_one_after_another_and_shared():
    jobs, order, gate = Jobs(), [], threading.Event()

    def work(name, job):
        gate.wait(5)
        order.append(name)
        job.say({"half": name}, 0.5)
        return {"name": name}

    first = jobs.ask(partial(work, "first"))
    second = jobs.ask(partial(work, "second"), key="same")
    assert jobs.ask(partial(work, "never"), key="same") == second
    assert jobs.look({"job": second})["ahead"] == 1
    gate.set()
    assert answer(jobs, second)["value"] == {"name": "second"}
    assert answer(jobs, first)["value"] == {"name": "first"} and order == ["first", "second"]


def test_what_goes_wrong_is_said_in_words():
    jobs = Jobs()

    def refused(job):
        raise InputError("The thing is wrong.", "Mend it.")

    def broken(job):
        raise ValueError("secret detail")

    state = answer(jobs, jobs.ask(refused))
    assert (state["state"], state["message"], state["hint"]) == ("failed", "The thing is wrong.", "Mend it.")
    state = answer(jobs, jobs.ask(broken))
    assert state["state"] == "failed" and "secret" not in state["message"] + state["hint"]
    assert jobs.look({"job": "nonsense"})["state"] == jobs.look("nonsense")["state"] == "failed"


def test_failed_question_may_be_asked_again():
    jobs, tries = Jobs(), []

    def work(job):
        tries.append(1)
        if len(tries) == 1:
            raise InputError("Not yet.")
        return "done"

    assert answer(jobs, jobs.ask(work, key="k"))["state"] == "failed"
    assert answer(jobs, jobs.ask(work, key="k"))["value"] == "done"


def test_dropped_question_stops_at_its_next_word():
    jobs, said, gate = Jobs(), [], threading.Event()

    def work(job):
        for i in range(1000):
            job.say(i)
            said.append(i)
            gate.set()
            time.sleep(0.01)
        return "never"

    job_id = jobs.ask(work)
    assert gate.wait(5)
    jobs.drop(job_id)
    assert answer(jobs, job_id)["state"] == "failed" and len(said) < 900
