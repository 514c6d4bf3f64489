"""Whatever stops a run with a second output, the same command finishes both, and neither is seen damaged."""

import os
import shutil
import signal

import pytest
from processes import CONFIG, assert_same, config, movie

from pipeline.write import verify

TALL = (3, 520, 40)
BOTH = CONFIG.replace("{t: 1, y: 24, x: 48}", "{t: 1, y: 260, x: 40}").replace(
    "  path: out.ome.zarr\n", "  path: out.ome.zarr\n  background: back.ome.zarr\n"
)
NAMES = ("out.ome.zarr", "back.ome.zarr")


def set_up(folder, name, text=BOTH):
    """Make a folder with a movie and its config, and return the config."""
    assert "background: back.ome.zarr" in text
    place = folder / name
    place.mkdir()
    movie(place, TALL)
    return config(place, text)


@pytest.fixture(scope="session")
def expected(kept_folder, zygote):
    """The folder of a run that nothing stopped."""
    made = set_up(kept_folder, "expected-both")
    ended = zygote.run("run", made)
    assert ended.code == 0, ended.err
    return made.parent


def assert_both(made, expected):
    for name in NAMES:
        assert_same(made.parent / name, expected / name)
    assert sorted(os.listdir(made.parent)) == sorted(["movie.tif", "run.yaml", *NAMES])


def killed_in_turn(zygote, folder, expected, first, stride, old=None):
    """Kill a run at every `stride`-th point, resume it, and collect what is wrong; return the points too."""
    arguments = ["--overwrite"] if old is not None else []
    problems, point = [], first
    while True:
        made = set_up(folder, f"at-{point}")
        for name in NAMES if old is not None else ():
            shutil.copytree(old / name, made.parent / name)
        where = folder / "point"
        ended = zygote.run("run", made, *arguments, harm=[{"nth": point, "then": "kill"}], points=str(where))
        if ended.code == 0:
            return problems, point
        try:
            assert ended.code == -signal.SIGKILL, ended.err
            there = [name for name in NAMES if (made.parent / name).exists()]
            assert all(list(verify(str(made.parent / name))) == [] for name in there)
            assert old is None or len(there) == 2
            assert there != ["out.ome.zarr"], "the output was seen without its background"
            again = zygote.run("run", made, *arguments)
            assert again.code == 0, again.err
            assert_both(made, expected)
        except AssertionError as error:
            problems.append(f"{where.read_text()}: {error}")
        shutil.rmtree(made.parent)
        point += stride


def older(zygote, folder):
    """Return the folder of two older outputs with other pixels."""
    made = set_up(folder, "older", BOTH.replace("radius: 3", "radius: 2"))
    assert zygote.run("run", made).code == 0
    return made.parent


def test_killed_at_a_point_of_seventeen_in_turn(zygote, folder, expected):
    problems, points = killed_in_turn(zygote, folder, expected, 3, 17)
    assert problems == []
    assert points > 200


def test_killed_at_a_point_of_nineteen_in_turn_while_older_ones_are_replaced(zygote, folder, expected):
    problems, points = killed_in_turn(zygote, folder, expected, 5, 19, older(zygote, folder))
    assert problems == []
    assert points > 200


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("replaced", [False, True], ids=["first", "overwrite"])
def test_killed_at_every_point(zygote, folder, expected, replaced):
    old = older(zygote, folder) if replaced else None
    problems, points = killed_in_turn(zygote, folder, expected, 0, 1, old)
    assert problems == []
    assert points > 200


def test_killed_between_the_two_renames_it_is_finished_by_the_next_start(zygote, folder, expected):
    made = set_up(folder, "between")
    ended = zygote.run("run", made, harm=[{"point": "after rename", "path": "back.ome.zarr", "then": "kill"}])
    assert ended.code == -signal.SIGKILL
    assert (made.parent / "back.ome.zarr").exists()
    assert not (made.parent / "out.ome.zarr").exists()
    again = zygote.run("run", made)
    assert again.code == 0, again.err
    assert "windows to do" not in again.err
    assert_both(made, expected)


def test_what_comes_to_lie_in_the_way_of_either_is_not_replaced(zygote, folder, expected):
    made = set_up(folder, "in-the-way")
    ended = zygote.run("run", made, harm=[{"point": "after rename", "path": "back.ome.zarr", "then": "kill"}])
    assert ended.code == -signal.SIGKILL
    (made.parent / "out.ome.zarr").mkdir()
    again = zygote.run("run", made)
    assert again.code == 2
    assert "out.ome.zarr has come to exist during the run" in again.err
    (made.parent / "out.ome.zarr").rmdir()
    assert zygote.run("run", made).code == 0
    assert_both(made, expected)
