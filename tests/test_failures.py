"""What a person is told when a run fails: the cause, and the setting that mends it."""

import errno

import pytest

from unlearning.config import make_settings
from unlearning.errors import LicenceError, LossNotFiniteError
from unlearning.runs.failures import explain
from unlearning.runs.passes import Memory


def settings(**changes):
    return make_settings(changes=changes).model_dump()


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: 12"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_memory_on_any_device(error):
    changes = {"reinforce.pass_blocks": 8, "reinforce.batch_blocks": 16}
    told = explain(error, settings(**changes), "reinforce", Memory(block_bytes=0.25e9))
    assert "Out of memory in stage reinforce" in told["message"]
    assert told["hint"].startswith("Resume the run: it goes on with reinforce.pass_blocks = 4 instead of 8")
    assert "which saves about 1.0 GB" in told["hint"]


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "The disk is full: cannot write /x/y", "Free some"),
        (OSError(errno.EDQUOT, "quota"), "The disk is full", "Free some"),
        (OSError(errno.EROFS, "read-only", "/x"), "No permission to write /x", "writable"),
        (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), "disk is full", "Free"),
        (RuntimeError('IoError(Os { code: 28, message: "No space left on device" })'), "disk is full", "Free"),
        (ConnectionResetError("reset by peer"), "network did not answer", "connection"),
        (LossNotFiniteError("The loss is nan.", "Lower x."), "The loss is nan.", "Lower x."),
        (LicenceError("Gemma asks.", "Add --accept-licence."), "Gemma asks.", "--accept-licence"),
        (KeyError("odd"), "KeyError: 'odd'", "output.log"),
        (RuntimeError(""), "RuntimeError: it gave no reason", "output.log"),
    ],
)
def test_every_cause_has_its_sentence(error, message, hint):
    told = explain(error, settings())
    assert message in told["message"] and hint in told["hint"] and told["error"] == type(error).__name__
    assert "\n" not in told["message"]
