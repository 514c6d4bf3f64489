"""Vectors of each width that a processor may have: the same bits, and compiled code of its own."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.kernels import morphology
from pipeline.kernels.jit import cache_folder
from pipeline.kernels.morphology import Footprint
from pipeline.kernels.processor import VECTOR

# The width is set before anything that uses it is imported, as the processor's name would set it.
SCRIPT = """
import sys
import numpy as np
from pipeline.kernels import processor
processor.VECTOR = int(sys.argv[1])
import test_vectors
from pipeline.kernels.morphology import chord_strips
assert chord_strips.VECTOR == int(sys.argv[1])
np.savez(sys.argv[2], *test_vectors.results())
print(test_vectors.cache_folder())
"""
WIDTHS = (1, 3, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 257, 700)


def results():
    """Filter rows shorter and longer than a vector, a group of them and a strip, with either kernel."""
    random = np.random.default_rng(12)
    found = []
    for width in WIDTHS:
        adjacent = random.integers(0, 2**16, (23, width), np.uint16)
        apart = random.integers(0, 2**16, (width, 23), np.uint16).T
        for image, radius in itertools.product((adjacent, apart), (1, 3, 9)):
            found.append(morphology.white_tophat(image, Footprint("disk", (radius, radius))))
        with_nan = np.where(random.random(adjacent.shape) < 0.2, np.nan, adjacent).astype(np.float32)
        for image in (with_nan, with_nan[::-1, ::-2]):
            found.append(morphology.white_tophat(image, Footprint("disk", (2, 3))))
    return found


@pytest.fixture(scope="module")
def expected():
    return results()


@pytest.mark.parametrize("width", sorted({16, 32, 64} - {VECTOR}))
def test_all_widths_give_the_same_bits(width, expected, tmp_path):
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]),
    }
    command = [sys.executable, "-c", SCRIPT, str(width), str(tmp_path / "results.npz")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "results.npz") as found:
        assert len(found.files) == len(expected)
        for name, result in zip(found.files, expected, strict=True):
            assert found[name].tobytes() == result.tobytes()
    assert done.stdout.strip() != str(cache_folder())
