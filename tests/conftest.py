"""The order of the tests; and at their end nothing that they started may still be running."""

import os
import time
import uuid
from contextlib import suppress

import psutil
import pytest

MARK = "UNLEARNING_TESTS"  # inherited by every process that a test starts, whatever session it makes for itself
PATIENCE_S = float(os.environ.get("UNLEARNING_TESTS_PATIENCE", "40"))  # an idle scheduler ends by itself after 20 s
NOBODYS = ("resource_tracker", "forkserver")  # helpers of Python's own that end with the test process


def pytest_configure(config):
    config.before_marking = os.environ.get(MARK)
    os.environ[MARK] = uuid.uuid4().hex


def pytest_unconfigure(config):
    if config.before_marking is None:
        os.environ.pop(MARK, None)
    else:
        os.environ[MARK] = config.before_marking


def pytest_collection_modifyitems(items):
    """The browser's tests last: their page, its threads and its trial of this machine stay until the end."""
    items.sort(key=lambda item: "browser" in item.path.parts)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Wait for what is on its way out, end what is not, and fail the tests for it."""
    end = time.monotonic() + PATIENCE_S
    while (left := orphans()) and time.monotonic() < end:
        time.sleep(0.2)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    session.config.orphans = [f"{process.pid} {line[:200]}" for process, line in left.items()]
    if session.config.orphans and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    left = getattr(terminalreporter.config, "orphans", None)
    if left:
        terminalreporter.section("processes that the tests have left behind", red=True)
        terminalreporter.write("\n".join(left) + "\n")
    elif left is not None:
        terminalreporter.write_line("No process was left behind.")


def orphans():
    """Living processes that carry this session's mark, but for this one, with their command lines."""
    found = {}
    for process in psutil.process_iter():
        try:
            mine = process.pid != os.getpid() and process.environ().get(MARK) == os.environ[MARK]
            line = " ".join(process.cmdline()) if mine and alive(process) else ""
        except (psutil.Error, OSError):  # gone, or somebody else's
            continue
        if line and not any(word in line for word in NOBODYS):
            found[process] = line
    return found


def alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
