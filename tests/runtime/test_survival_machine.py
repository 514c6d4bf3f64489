"""Any order of runs, kills, full disks, damage and second thoughts: the output is whole or not there."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from processes import CONFIG, MEMORY, config, files_of, movie

TALL = (3, 520, 40)
STEPS = {"small": "radius: 2", "large": "radius: 5"}
COMPUTE = {
    "one by one": "workers: 1\n  window: {t: 1}",
    "all at once": "workers: 2\n  window: {t: 3}",
    "in pieces": "workers: 1\n  block: {y: 130, x: 40}\n  window: {t: 1, y: 260}",
    "with little memory": "workers: 1\n  memory: 400 MiB",
}
POINTS = st.integers(0, 160)


def text_of(step, compute):
    text = CONFIG.replace("{t: 1, y: 24, x: 48}", "{t: 1, y: 130, x: 40}").replace("radius: 3", STEPS[step])
    return text.replace("workers: 1\n  window: {t: 1}", COMPUTE[compute])


def without_manifest(output):
    """Return the files of an output; how the manifest orders them depends on the windows."""
    found = files_of(output)
    lines = found.pop("bgone/manifest.txt").splitlines()
    return found, sorted(lines[:-1])


class Survival(RuleBasedStateMachine):
    """One output, and all that can befall it."""

    zygote = None
    expected = None

    @initialize()
    def begin(self):
        self.place = Path(tempfile.mkdtemp(dir=MEMORY, prefix="bgone-"))
        movie(self.place, TALL)
        self.input = (self.place / "movie.tif").read_bytes()
        self.output = self.place / "out.ome.zarr"
        self.there = None
        self.edit("small", "one by one")

    @rule(step=st.sampled_from(sorted(STEPS)), compute=st.sampled_from(sorted(COMPUTE)))
    def edit(self, step, compute):
        self.step = step
        self.config = config(self.place, text_of(step, compute))

    @rule(overwrite=st.booleans())
    def run(self, overwrite):
        self.end(overwrite, (0, 2, 4))

    @rule(point=POINTS, overwrite=st.booleans())
    def run_killed(self, point, overwrite):
        self.end(overwrite, (0, 2, 4, -9), {"nth": point, "then": "kill"})

    @rule(point=POINTS, overwrite=st.booleans())
    def run_on_a_full_disk(self, point, overwrite):
        self.end(overwrite, (0, 2, 3, 4), {"nth": point, "then": "full"})

    @rule(point=POINTS, how=st.sampled_from([("term", 3), ("int", 130)]))
    def run_stopped(self, point, how):
        self.end(False, (0, 2, 4, how[1]), {"nth": point, "then": how[0]})

    def end(self, overwrite, codes, *harm):
        ended = self.zygote.run("run", self.config, *["--overwrite"] * overwrite, harm=list(harm))
        assert ended.code in codes, ended
        assert "Traceback" not in ended.err
        if ended.code == 0:
            self.there = self.step
        elif ended.code in (3, 130, -9) and self.same_as(self.step):
            self.there = self.step  # stopped between the commit and its end

    @rule(choice=st.integers(0, 1000), how=st.sampled_from(["flip", "cut", "remove"]))
    def damage_the_unfinished_run(self, choice, how):
        files = sorted(path for path in self.place.glob("*.work-*/**/*") if path.is_file())
        files = [path for path in files if path.name != "lock"]
        if not files:
            return
        path = files[choice % len(files)]
        if how == "flip" and "/c/" in path.as_posix():
            how = (
                "cut"  # of all chunks but the last window's, sizes alone are compared; `verify` does the rest
            )
        data = bytearray(path.read_bytes())
        if how == "remove" or not data:
            path.unlink()
        elif how == "cut":
            os.truncate(path, len(data) // 2)
        else:
            data[choice % len(data)] ^= 1 << choice % 8
            path.write_bytes(data)

    @rule()
    def touch_the_input(self):
        (self.place / "movie.tif").touch()

    def same_as(self, step):
        return self.output.exists() and without_manifest(self.output) == self.expected[step]

    @invariant()
    def the_output_is_whole_or_not_there(self):
        if hasattr(self, "place"):
            assert self.output.exists() == (self.there is not None)
            assert self.there is None or self.same_as(self.there)
            assert (self.place / "movie.tif").read_bytes() == self.input

    def teardown(self):
        if hasattr(self, "place"):
            ended = self.zygote.run("run", self.config, "--overwrite")
            assert ended.code == 0, ended.err
            assert self.same_as(self.step)
            assert sorted(os.listdir(self.place)) == ["movie.tif", "out.ome.zarr", "run.yaml"]
            shutil.rmtree(self.place)


def survives(zygote, kept_folder, examples, steps):
    Survival.zygote = zygote
    Survival.expected = {}
    for step in STEPS:
        place = kept_folder / step
        if not place.exists():
            place.mkdir()
            movie(place, TALL)
            ended = zygote.run("run", config(place, text_of(step, "one by one")))
            assert ended.code == 0, ended.err
        Survival.expected[step] = without_manifest(place / "out.ome.zarr")
    given = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=examples < 100,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Survival, settings=given)


def test_any_order_of_what_can_happen(zygote, kept_folder):
    survives(zygote, kept_folder, 12, 10)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_orders_of_what_can_happen(zygote, kept_folder):
    survives(zygote, kept_folder, 300, 30)
