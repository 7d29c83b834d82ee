"""Why a run failed, and what its owner can do about it: one sentence each.

No torch here: its errors are known by the name of their class and by their words.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from unlearning.errors import UnlearningError
from unlearning.runs.durable import explain_disk_error
from unlearning.runs.passes import Memory, memory_hint

Failure = dict[str, str]  # {"error": class name, "message", "hint"}

_MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")
# Libraries that hide the errno; the last two are how torch.save says that it could not write.
_DISK_WORDS = ("no space left on device", "disk quota exceeded", "os error 28", "unexpected pos", "pytorchstreamwriter")
_NETWORK_HINT = "Check the connection, or use a model that is on this machine already; then resume the run."
_REPORT_HINT = "The last lines of output.log in the run's folder say where; the run can be resumed once it is mended."


def explain(
    error: BaseException, settings: Mapping[str, Any], stage: str = "", memory: Memory | None = None
) -> Failure:
    """Name, message and hint for whatever ended a run.

    Args:
        error: What was raised.
        settings: The run's settings as in `config.json`.
        stage: The stage at work.
        memory: What is known of how much a pass takes.
    """
    if is_out_of_memory(error):
        where = f" in stage {stage}" if stage else ""
        message, hint = f"Out of memory{where}: {_first_line(error)}", memory_hint(settings, stage, memory)
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


def _of_disk(error: OSError) -> tuple[str, str]:
    explained = explain_disk_error(error, error.filename or "the run's folder")
    return explained.message, explained.hint


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "it gave no reason"
