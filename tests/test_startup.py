"""What commands import: libraries that take long stay out of those that need none of them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import zarr

import pipeline

CODE = """
import json, sys
from pipeline.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""
COMPUTES = {"dask", "numba", "llvmlite", "scipy", "distributed", "matplotlib", "skimage", "jinja2"}


@pytest.fixture
def config(tmp_path):
    """A config of a top-hat and a Gaussian, and its input."""
    pixels = np.ones((2, 40, 40), "uint16")
    zarr.create_array(tmp_path / "in.zarr", data=pixels, dimension_names=("t", "y", "x"))
    path = tmp_path / "run.yaml"
    path.write_text(
        "input: {path: in.zarr}\n"
        "steps: [white_tophat: {radius: 3}, subtract_minimum: {size: 3}, gaussian: {sigma: 20}]\n"
        "output: {path: out.ome.zarr}\n"
    )
    return path


def imported(*arguments):
    """Run a command in a new process; return the packages that it imports."""
    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return {name.partition(".")[0] for name in modules}


def test_help_imports_little():
    assert not imported("run", "--help") & (COMPUTES | {"zarr", "pydantic", "tifffile"})


def test_a_plan_imports_nothing_that_computes(config):
    assert not imported("plan", config) & (COMPUTES | {"tifffile", "yaozarrs"})


def test_a_run_that_is_complete_imports_nothing_that_computes(config):
    pipeline.run(str(config))
    assert not imported("run", config) & (COMPUTES | {"tifffile"})


def test_a_run_on_threads_does_without_distributed_and_what_draws(config):
    assert not imported("run", config) & {"distributed", "matplotlib", "skimage", "tifffile"}
