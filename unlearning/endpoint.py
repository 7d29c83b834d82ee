"""Asking a language model behind an OpenAI-compatible address, and what can go wrong with it.

One function, `ask`, serves whatever has a language model propose, write or grade. It retries what may pass
(time-outs, 429, 5xx, empty answers), gives up at once on what will not (401, 403, 404), and never
shows the key: not in a message, not in a repr, not in a file.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from unlearning.errors import EndpointError

KEY_VARIABLE = "UNLEARNING_API_KEY"
URL_VARIABLE, MODEL_VARIABLE = "UNLEARNING_LLM_URL", "UNLEARNING_LLM_MODEL"
LONGEST_WAIT = 60.0  # seconds; an endpoint that asks for a longer pause is given up
PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # statuses after which asking again may help
# huggingface_hub sends the user's own Hub token wherever no key is given; this word is sent instead.
NO_KEY = "none"

Report = Callable[..., None]  # report(kind, **fields), see runs/events


class EndpointRefusedError(EndpointError):
    """Asking again cannot help: wrong address, key or model name."""


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how patiently.

    Args:
        url: Base address ("http://127.0.0.1:11434/v1") or the full one, ending in "/chat/completions".
        model: The name that the endpoint knows the model by.
        timeout: Seconds that one answer may take, from the question to its last byte.
        retries: Further attempts after a failure that may pass.
        backoff: Seconds before the first of them; doubles each time.
        key: API key; by default the environment variable UNLEARNING_API_KEY. Local servers need none.
    """

    url: str
    model: str
    timeout: float = 120.0
    retries: int = 3
    backoff: float = 1.0
    key: str = field(default="", repr=False, compare=False)

    @property
    def secret(self) -> str:
        return (self.key or os.environ.get(KEY_VARIABLE, "")).strip()


def configured() -> Endpoint | None:
    """The endpoint that whoever runs the page has set up in the environment; None where nobody has."""
    url, model = os.environ.get(URL_VARIABLE), os.environ.get(MODEL_VARIABLE)
    return Endpoint(url, model) if url and model else None


class _Passing(Exception):
    """A failure that may pass, and how long the endpoint asked to wait (seconds), if it did."""

    def __init__(self, reason: str, hint: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.hint, self.wait = reason, hint, wait


def ask(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, str]],
    *,
    max_tokens: int | None = None,
    temperature: float | None = 0.0,
    report: Report | None = None,
) -> str:
    """The endpoint's answer to `messages`, stripped and never empty.

    Args:
        endpoint: Where to ask.
        messages: Chat messages, each with "role" and "content".
        max_tokens: Longest answer; by default the endpoint's own limit.
        temperature: Left out of the request when None, or when the endpoint says it takes none.
        report: Told about each retry as `report("note", message=…)`.

    Raises:
        EndpointRefusedError: where asking again cannot help.
        EndpointError: when every attempt failed.
    """
    _check(endpoint)
    options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
    attempt = 0
    while True:
        try:
            return _within(endpoint.timeout, lambda: _post(endpoint, messages, options))
        except _Passing as failure:
            if failure.reason == "":  # the request was made simpler; that is no failed attempt
                continue
            pause = endpoint.backoff * 2**attempt if failure.wait is None else failure.wait
            if attempt >= endpoint.retries or pause > LONGEST_WAIT:
                tries = f" (tried {attempt + 1} times)" if attempt else ""
                raise EndpointError(f"{_name(endpoint)} {failure.reason}{tries}.", failure.hint) from None
            attempt += 1
            if report:
                report("note", message=f"{_name(endpoint)} {failure.reason}; asking again in {pause:.0f} s.")
            time.sleep(pause)


def _check(endpoint: Endpoint) -> None:
    parts = urlsplit(endpoint.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EndpointRefusedError(
            f"'{endpoint.url}' is not the address of an endpoint.",
            "Give it with its scheme, such as http://127.0.0.1:11434/v1 or https://example.org/v1.",
        )
    if parts.username or parts.password:
        raise EndpointRefusedError(
            f"The address of the endpoint at {parts.hostname} holds a user name or password.",
            f"Take it out; a key goes into the environment variable {KEY_VARIABLE}.",
        )
    if not endpoint.model.strip():
        raise EndpointRefusedError("No model is named for the endpoint.", "Give the name it knows the model by.")


def _name(endpoint: Endpoint) -> str:
    return f"The endpoint at {urlsplit(endpoint.url).netloc}"


def _within(seconds: float, call: Callable[[], str]) -> str:
    """`call()`, or a passing failure after `seconds`.

    The HTTP client's own time-out starts anew with every byte, so an endpoint that trickles would
    hold us for ever. The abandoned thread is a daemon: it ends with its connection or the process.
    """
    outcome: queue.Queue[tuple[str | None, BaseException | None]] = queue.Queue(maxsize=1)

    def work() -> None:
        try:
            outcome.put((call(), None))
        except BaseException as error:
            outcome.put((None, error))

    threading.Thread(target=work, daemon=True, name="endpoint").start()
    try:
        answer, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise _Passing(*_too_slow(seconds)) from None
    if error is not None:
        raise error
    return answer or ""


def _too_slow(seconds: float) -> tuple[str, str]:
    return f"gave no answer within {seconds:g} s", "Allow it more time, or take a faster model."


def _post(endpoint: Endpoint, messages: Sequence[Mapping[str, str]], options: dict[str, Any]) -> str:
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError, OfflineModeIsEnabled

    client = InferenceClient(base_url=endpoint.url.strip(), api_key=endpoint.secret or NO_KEY, timeout=endpoint.timeout)
    try:
        reply = client.chat_completion([dict(message) for message in messages], model=endpoint.model, **options)
        choice = reply.choices[0]
        text, ended = choice.message.content, choice.finish_reason
    except InferenceTimeoutError:
        raise _Passing(*_too_slow(endpoint.timeout)) from None
    except OfflineModeIsEnabled:
        raise EndpointRefusedError(
            f"{_name(endpoint)} was not asked: the environment variable HF_HUB_OFFLINE forbids it.",
            "Unset HF_HUB_OFFLINE, or propose anchors without an endpoint.",
        ) from None
    except HfHubHTTPError as error:
        raise _by_status(endpoint, error, options) from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise _Passing("answered with something that is no chat completion", "Is its address right?") from None
    except Exception as error:  # the HTTP client's own errors: no connection, reset, bad TLS, bad proxy
        reason = _hide(endpoint, str(error) or type(error).__name__)
        raise _Passing(f"could not be reached: {reason}", "Is it running, and its address right?") from None
    if not isinstance(text, str) or not text.strip():
        hint = "Allow it a longer answer." if ended == "length" else "Try another model."
        raise _Passing("answered with nothing", hint)
    return text.strip()


def _by_status(endpoint: Endpoint, error: Any, options: dict[str, Any]) -> Exception:
    """The error for an HTTP status; `options` loses a parameter that the endpoint does not take."""
    status = int(error.response.status_code)
    said = _hide(endpoint, _said(error))
    quoted = f": {said}" if said else ""
    if status in (401, 403):
        hint = f"Set the environment variable {KEY_VARIABLE} to a key that it accepts."
        return EndpointRefusedError(f"{_name(endpoint)} refused the key (HTTP {status}).", hint)
    if status == 404:
        hint = "Check the address (it often ends in /v1) and the model's name."
        return EndpointRefusedError(f"{_name(endpoint)} knows no model '{endpoint.model}' there (HTTP 404).", hint)
    if status in PASSING:
        hint = "Wait a little, or ask a less busy endpoint." if status == 429 else "Try again later."
        return _Passing(f"answered HTTP {status}{quoted}", hint, _retry_after(error.response.headers))
    refused = next((name for name in options if options[name] is not None and name in said), None)
    if status in (400, 422) and refused:
        options[refused] = None
        return _Passing("", "")
    return EndpointRefusedError(f"{_name(endpoint)} answered HTTP {status}{quoted}.", "See what it says.")


def _said(error: Any) -> str:
    """The first line of what the server said about its refusal, at most 200 characters."""
    try:
        body = error.response.json()
        inner = body.get("error", body)
        said = inner.get("message", "") if isinstance(inner, dict) else inner
    except Exception:
        said = getattr(error, "server_message", None) or ""
    lines = str(said).strip().splitlines()
    return lines[0][:200].rstrip(".") if lines else ""


def _hide(endpoint: Endpoint, message: str) -> str:
    return message.replace(endpoint.secret, "•••") if endpoint.secret else message


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds asked for by a Retry-After header, which is a number or a date (RFC 9110 §10.2.3)."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
