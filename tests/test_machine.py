"""What is said of this machine and of what a process took of it."""

import platform
import subprocess
import sys

import pytest
from runs_for_tests import ROOT

from unlearning.runs import machine

LARGE = 400 << 20

A_LARGE_PARENT = f"""
import subprocess, sys
held = bytearray(b"x" * {LARGE})
say = "from unlearning.runs.machine import peak_bytes; print(peak_bytes())"
print(subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True, close_fds=False).stdout)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is inherited")
def test_a_process_does_not_report_the_memory_of_the_one_that_started_it():
    done = subprocess.run([sys.executable, "-c", A_LARGE_PARENT], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert 1 << 20 < int(done.stdout) < LARGE // 2, done.stderr


def test_the_peak_is_seen_after_the_memory_was_given_back():
    code = (
        "from unlearning.runs.machine import peak_bytes; before = peak_bytes(); held = bytearray(b'x' * (300 << 20))\n"
    )
    code += "del held; print(peak_bytes() - before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert int(done.stdout) > 250 << 20, done.stderr


def test_where_the_system_does_not_tell_another_way_is_taken(tmp_path):
    assert machine.peak_resident_bytes(tmp_path / "absent") > 1 << 20
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n")
    assert machine.peak_resident_bytes(tmp_path / "status") == 2 << 20


A_GAP = f"""
import psutil
from unlearning.runs.machine import give_back_memory
held = [bytearray(b"x" * 100_000) for _ in range({LARGE // 100_000})]
held = held[-1:]  # above the gap, so that the C library keeps it
before = psutil.Process().memory_info().rss
give_back_memory()
print(before - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries cannot be asked")
def test_memory_under_what_is_still_held_goes_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", A_GAP], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert int(done.stdout) > LARGE // 2, done.stderr
