"""Why a run failed, and what its owner can do about it: one sentence each.

No torch here: its errors are known by the name of their class and by their words.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from unlearning.errors import UnlearningError
from unlearning.runs.durable import explain_disk_error

Failure = dict[str, str]  # {"error": class name, "message", "hint"}

_MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")
# Libraries that hide the errno; the last two are how torch.save says that it could not write.
_DISK_WORDS = ("no space left on device", "disk quota exceeded", "os error 28", "unexpected pos", "pytorchstreamwriter")
_NETWORK_HINT = "Check the connection, or use a model that is on this machine already; then resume the run."
_REPORT_HINT = "The last lines of output.log in the run's folder say where; the run can be resumed once it is mended."


def explain(
    error: BaseException, settings: Mapping[str, Any], stage: str = "", budget: Mapping[str, Any] | None = None
) -> Failure:
    """Name, message and hint for whatever ended a run.

    Args:
        error: What was raised.
        settings: The run's settings as in `config.json`.
        stage: The stage at work.
        budget: The run's budget as in `config.json`, where it has one: how much memory a training pass takes.
    """
    if is_out_of_memory(error):
        where = f" in stage {stage}" if stage else ""
        message, hint = f"Out of memory{where}: {_first_line(error)}", memory_hint(settings, stage, budget)
    elif isinstance(error, UnlearningError):
        message, hint = error.message, error.hint
    elif isinstance(error, ConnectionError | TimeoutError):
        message, hint = f"The network did not answer: {_first_line(error)}", _NETWORK_HINT
    elif isinstance(error, OSError) and error.errno is not None:
        message, hint = _of_disk(error)
    elif any(words in str(error).lower() for words in _DISK_WORDS):
        message, hint = _of_disk(OSError(errno.ENOSPC, "no space"))
    else:
        message, hint = f"{type(error).__name__}: {_first_line(error)}", _REPORT_HINT
    return {"error": type(error).__name__, "message": message, "hint": hint}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the processor or on a card."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    told = str(error).lower()
    return isinstance(error, RuntimeError | OSError) and any(words in told for words in _MEMORY_WORDS)


def memory_hint(settings: Mapping[str, Any], stage: str = "", budget: Mapping[str, Any] | None = None) -> str:
    """Which setting to lower, and what that would save."""
    budget = budget or {}
    name = f"{stage if stage in ('teach', 'reinforce') else 'finetune'}.pass_blocks"
    blocks, tokens = setting(settings, name) or budget.get("pass_blocks") or 2, setting(settings, "text.block_tokens")
    saved = f"about {budget['pass_bytes'] / 2e9:.1f} GB" if budget.get("pass_bytes") else "half of what a pass holds"
    if blocks > 1:
        return f"Copy the run with {name} = {blocks // 2}: that saves {saved}, and the result stays the same."
    if tokens and tokens > 64:
        return f"Copy the run with text.block_tokens = {tokens // 2} instead of {tokens}: that saves {saved}."
    if setting(settings, "model.mode") == "full":
        return "Copy the run with model.mode = lora: it needs no optimiser state for the whole model."
    return "Close other programs and resume, or take a smaller model."


def setting(settings: Mapping[str, Any], dotted: str) -> Any:
    """The value of `section.name` in settings as JSON; None where there is none."""
    value: Any = settings
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _of_disk(error: OSError) -> tuple[str, str]:
    explained = explain_disk_error(error, error.filename or "the run's folder")
    return explained.message, explained.hint


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "it gave no reason"
