"""Kill −9 before and after every write, fsync and rename: the same command finishes, and nothing is lost."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "helpers"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
ELSEWHERE = "ELSEWHERE"
CASES = [
    pytest.param({}, None, True, id="a first run"),
    pytest.param({"version": "0.4"}, None, True, id="Zarr 2"),
    pytest.param({"work_root": ELSEWHERE}, None, True, id="worked on another disk"),
    pytest.param({"overwrite": True}, {"fill": 9}, True, id="over an older output"),
    pytest.param({"overwrite": True}, {}, True, id="over the same output"),
    pytest.param({"overwrite": True}, {"fill": 9}, False, id="where the kernel cannot exchange names"),
]
WITH_BACKGROUND = [
    pytest.param({"background": True}, None, True, id="with a background"),
    pytest.param(
        {"background": True, "work_root": ELSEWHERE}, None, True, id="with a background, on another disk"
    ),
    pytest.param(
        {"background": True, "overwrite": True}, {"background": True, "fill": 9}, True,
        id="with a background, over older ones",
    ),
    pytest.param(
        {"background": True, "overwrite": True}, {"background": True, "fill": 9}, False,
        id="with a background, where the kernel cannot exchange names",
    ),
]  # fmt: skip


def farm(keywords, old, kernel_helps, first, stride):
    # In memory where that can be had: these runs write for nobody.
    with (
        tempfile.TemporaryDirectory(dir=MEMORY, ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryDirectory() as elsewhere,
    ):
        if keywords.get("work_root") == ELSEWHERE:
            keywords = {**keywords, "work_root": elsewhere}
        arguments = [folder, json.dumps(keywords), json.dumps(old), json.dumps(kernel_helps), first, stride]
        done = subprocess.run(
            [sys.executable, str(HERE / "crash_farm.py"), *map(str, arguments)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert os.listdir(elsewhere) == []
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("keywords", "old", "kernel_helps"), [*CASES, *WITH_BACKGROUND[::2]])
def test_killed_at_a_point_of_seven_in_turn(keywords, old, kernel_helps):
    found = farm(keywords, old, kernel_helps, len(keywords) + 2 * kernel_helps, 7)
    assert found["problems"] == []
    assert found["points"] > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("keywords", "old", "kernel_helps"), [*CASES, *WITH_BACKGROUND])
def test_killed_at_every_point(keywords, old, kernel_helps):
    found = farm(keywords, old, kernel_helps, 0, 1)
    assert found["problems"] == []
    assert found["points"] > 100
