"""Answers good, bad, slow and missing, from a real server on this machine."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from fake_endpoint import Server, broken, good, raw, serve

from unlearning.endpoint import Endpoint, EndpointRefusedError, ask
from unlearning.errors import EndpointError

QUESTION = [{"role": "user", "content": "Say hello."}]


def endpoint(server: Server, **changes: Any) -> Endpoint:
    return replace(Endpoint(server.url, "fake", timeout=5, retries=2, backoff=0.01, key="sk-very-secret"), **changes)


def test_good_answer_and_what_was_sent() -> None:
    with serve(good("  hello \n")) as server:
        assert ask(endpoint(server), QUESTION, max_tokens=7) == "hello"
    request = server.requests[0]
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-very-secret"
    assert request.body["model"] == "fake"
    assert request.body["messages"] == QUESTION
    assert request.body["max_tokens"] == 7


def test_full_address_is_kept_as_it_is() -> None:
    with serve(good("hello")) as server:
        ask(endpoint(server, url=server.url.replace("/v1", "/odd/chat/completions")), QUESTION)
    assert server.requests[0].path == "/odd/chat/completions"


def test_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARNING_API_KEY", "sk-from-env\n")
    with serve(good("hello")) as server:
        ask(endpoint(server, key=""), QUESTION)
    assert server.requests[0].headers["authorization"] == "Bearer sk-from-env"


def test_without_a_key_the_hub_token_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNLEARNING_API_KEY", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_private")
    with serve(good("hello")) as server:
        assert ask(endpoint(server, key=""), QUESTION) == "hello"
    assert "hf_private" not in str(server.requests[0].headers)


def test_500_then_good_is_retried_and_reported() -> None:
    notes: list[str] = []
    with serve(broken(500), broken(503), good("hello")) as server:
        assert ask(endpoint(server), QUESTION, report=lambda kind, message: notes.append(message)) == "hello"
    assert len(server.requests) == 3
    assert "HTTP 500" in notes[0] and "HTTP 503" in notes[1]


def test_500_for_ever_ends_with_an_error() -> None:
    with serve(broken(500, "out of cheese")) as server, pytest.raises(EndpointError) as caught:
        ask(endpoint(server), QUESTION)
    assert len(server.requests) == 3
    assert "HTTP 500: out of cheese (tried 3 times)" in str(caught.value)
    assert not isinstance(caught.value, EndpointRefusedError)


@pytest.mark.parametrize(("status", "hint"), [(401, "UNLEARNING_API_KEY"), (403, "UNLEARNING_API_KEY"), (404, "/v1")])
def test_refusals_are_not_retried(status: int, hint: str) -> None:
    refusal = broken(status, "Incorrect API key provided: sk-very-secret")
    with serve(refusal) as server, pytest.raises(EndpointRefusedError) as caught:
        ask(endpoint(server), QUESTION)
    assert len(server.requests) == 1
    assert str(status) in caught.value.message and hint in caught.value.hint


def test_429_waits_as_long_as_asked() -> None:
    with serve(broken(429, "slow down", Retry_After="1"), good("hello")) as server:
        start = time.monotonic()
        assert ask(endpoint(server), QUESTION) == "hello"
    assert 1.0 <= time.monotonic() - start < 4


def test_429_with_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    with serve(broken(429, "slow down", Retry_After=soon), good("hello")) as server:
        start = time.monotonic()
        assert ask(endpoint(server), QUESTION) == "hello"
    assert 0.5 <= time.monotonic() - start < 5


def test_429_that_asks_for_an_hour_is_given_up() -> None:
    with serve(broken(429, "quota", Retry_After="3600")) as server, pytest.raises(EndpointError, match="quota"):
        ask(endpoint(server), QUESTION)
    assert len(server.requests) == 1


@pytest.mark.parametrize("slow", [good("hello", delay=3), good("hello", trickle=0.05)], ids=["silent", "trickling"])
def test_slow_answers_run_into_the_time_out(slow: object) -> None:
    with serve(slow) as server:  # type: ignore[arg-type]
        start = time.monotonic()
        with pytest.raises(EndpointError, match=r"no answer within 0.3 s \(tried 2 times\)"):
            ask(endpoint(server, timeout=0.3, retries=1), QUESTION)
    assert time.monotonic() - start < 3


def test_nobody_listens() -> None:
    with serve(good("hello")) as server:
        pass
    with pytest.raises(EndpointError, match="could not be reached"):
        ask(endpoint(server, retries=0), QUESTION)


@pytest.mark.parametrize("text", ["", "   \n", None])
def test_empty_answer(text: str | None) -> None:
    with serve(good(text)) as server, pytest.raises(EndpointError, match="answered with nothing"):
        ask(endpoint(server, retries=1), QUESTION)
    assert len(server.requests) == 2


def test_answer_cut_before_its_first_word_names_the_mend() -> None:
    with serve(good(None, finish="length")) as server, pytest.raises(EndpointError, match="longer answer"):
        ask(endpoint(server, retries=0), QUESTION)


@pytest.mark.parametrize("body", ["<html>hello</html>", "[]", "{}", '{"choices": []}', '{"choices": [{}]}', "\xff", ""])
def test_answers_that_are_no_completion(body: str) -> None:
    with serve(raw(body)) as server, pytest.raises(EndpointError, match="no chat completion|nothing"):
        ask(endpoint(server, retries=0), QUESTION)


def test_answer_with_only_the_needed_fields() -> None:
    with serve(raw('{"choices": [{"message": {"content": "hello"}}]}')) as server:
        assert ask(endpoint(server), QUESTION) == "hello"


def test_a_parameter_that_the_model_does_not_take_is_left_out() -> None:
    refusal = broken(400, "Unsupported value: 'temperature' does not support 0 with this model.")
    with serve(refusal, good("hello")) as server:
        assert ask(endpoint(server, retries=0), QUESTION) == "hello"
    assert "temperature" in server.requests[0].body and "temperature" not in server.requests[1].body


def test_other_400_is_quoted() -> None:
    refusal = broken(400, "context too long\nsecond line")
    with serve(refusal) as server, pytest.raises(EndpointRefusedError, match=r"HTTP 400: context too long\."):
        ask(endpoint(server), QUESTION)


@pytest.mark.parametrize("url", ["", "127.0.0.1:80/v1", "ftp://example.org", "http://", "https://me:sk-x@example.org"])
def test_bad_addresses(url: str) -> None:
    with pytest.raises(EndpointRefusedError) as caught:
        ask(Endpoint(url, "fake"), QUESTION)
    assert "sk-x" not in str(caught.value)


def test_no_model() -> None:
    with pytest.raises(EndpointRefusedError, match="No model"):
        ask(Endpoint("http://127.0.0.1:1/v1", " "), QUESTION)


def test_the_key_shows_up_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    with serve(broken(500, "your key sk-very-secret is odd")) as server, pytest.raises(EndpointError) as caught:
        ask(endpoint(server), QUESTION, report=lambda kind, message: said.append(message))
    for place in (str(caught.value), repr(caught.value), repr(endpoint(server)), caplog.text, *said):
        assert "very-secret" not in place
