"""What a run says that it took: all its processes, and peaks between two looks."""

import subprocess
import sys
import time

import pytest

from pipeline.model import machine
from pipeline.model.machine import MIB, forget_peak, tree_memory
from pipeline.runtime import peak
from pipeline.runtime.peak import PeakMemory

CHILD = "import sys; held = bytearray(b'x') * (150 << 20); print('there', flush=True); sys.stdin.read()"
BETWEEN_LOOKS = """
import numpy as np
from pipeline.runtime import peak
peak.LOOK_SECONDS = 1000
with peak.PeakMemory() as measured:
    before = measured.look()
    np.ones(200 << 20, np.uint8)
    print(measured.look() - before)
"""


def test_processes_that_it_has_started_count_too():
    before = tree_memory()
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "there\n"
        found = tree_memory()
        child.stdin.close()
    assert 150 * MIB <= found - before <= 250 * MIB
    assert tree_memory() < before + 100 * MIB


def test_what_was_held_between_two_looks_is_not_missed():
    if not forget_peak():
        pytest.skip("the system keeps no peak that can be forgotten")
    # In a process of its own: one that has run other tests may hold so much already, unused.
    found = subprocess.run([sys.executable, "-c", BETWEEN_LOOKS], capture_output=True, text=True, check=True)
    assert int(found.stdout) >= 150 * MIB


def test_a_peak_of_before_is_not_the_run_s(monkeypatch):
    """Where the system cannot forget it, an older peak says nothing of the run."""
    monkeypatch.setattr(peak, "forget_peak", lambda: False)
    monkeypatch.setattr(peak, "process_peak", lambda: 50_000 * MIB)
    with PeakMemory() as measured:
        assert 0 < measured.look() < 50_000 * MIB
    assert machine.process_peak() < 50_000 * MIB


def test_it_looks_by_itself(monkeypatch):
    monkeypatch.setattr(peak, "LOOK_SECONDS", 0.001)
    sizes = iter([*range(1, 50)] + [7 << 40] + [3] * 100_000)
    monkeypatch.setattr(peak, "tree_memory", lambda: next(sizes))
    with PeakMemory() as measured:
        end = time.monotonic() + 60
        while measured.nbytes < 7 << 40:
            assert time.monotonic() < end
            time.sleep(0.001)
    assert measured.nbytes == 7 << 40
