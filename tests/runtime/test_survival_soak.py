"""Killed at random for a while: workers that come again, and the driver; it ends with the same bytes."""

import os
import random
import signal
import time

import psutil
import pytest
from processes import assert_same, config, movie, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FRAMES = (160, 260, 40)
CONFIG = """\
input: {path: movie.tif}
steps:
  - white_tophat: {radius: 3}
output:
  path: out.ome.zarr
  chunks: {t: 1, y: 130, x: 40}
compute:
  cluster: threads
  workers: 2
  window: {t: 2}
"""
FORKED = {"DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "fork"}
KILLS = 15


def set_up(folder, name="here"):
    place = folder / name
    place.mkdir()
    movie(place, FRAMES)
    return config(place, CONFIG)


@pytest.fixture(scope="module")
def expected(kept_folder, zygote):
    """The output of a run that nothing stopped."""
    made = set_up(kept_folder, "not killed")
    ended = zygote.run("run", made)
    assert ended.code == 0, ended.err
    return made.parent / "out.ome.zarr"


def assert_finished(made, expected):
    assert_same(made.parent / "out.ome.zarr", expected)
    assert sorted(os.listdir(made.parent)) == ["movie.tif", "out.ome.zarr", "run.yaml"]


def workers_of(driver):
    """Return the numbers of the processes that a driver has started."""
    try:
        return [child.pid for child in psutil.Process(driver).children()]
    except psutil.NoSuchProcess:
        return []


def run_to_its_end(zygote, made, *options, harm, environ=None):
    """Run until it is done, doing harm on the way, and return how often it had to be started.

    `harm` is called with the driver's number again and again; a run may stop for what it does.
    """
    for start in range(1, 100):
        pid = zygote.start("run", made, *options, environ=environ or {})
        while zygote.code(pid) is None:
            harm(pid)
        ended = zygote.wait(pid)
        zygote.end_group(pid)
        assert ended.code in (0, 3, -9), ended.err
        assert "Traceback" not in ended.err
        if ended.code == 0:
            return start
    raise AssertionError("it did not come to an end")


@pytest.mark.parametrize("seed", range(3))
def test_worker_processes_killed_at_random(zygote, folder, expected, seed):
    made, chance, killed = set_up(folder), random.Random(seed), []

    def harm(driver):
        time.sleep(chance.uniform(0.02, 0.4))
        workers = workers_of(driver)
        if workers and len(killed) < KILLS:
            kill(chance.choice(workers), killed)

    run_to_its_end(zygote, made, "--set", "compute.cluster=local", harm=harm, environ=FORKED)
    assert killed
    assert_finished(made, expected)


@pytest.mark.parametrize("seed", range(3))
def test_workers_of_a_cluster_killed_at_random_and_started_again(zygote, folder, expected, seed):
    made, chance, killed = set_up(folder), random.Random(seed), []
    file, options = folder / "scheduler.json", ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = zygote.start(*options, "--port", "0", "--scheduler-file", file, program="scheduler")
    wait_until(lambda: file.exists() or zygote.code(scheduler) is not None)

    def worker():
        told = ["--no-nanny", "--nthreads", "1", "--death-timeout", "120", "--local-directory", folder]
        return zygote.start("--scheduler-file", file, *options, *told, program="worker")

    workers = [worker() for _ in range(3)]

    def harm(driver):
        time.sleep(chance.uniform(0.02, 0.4))
        for at, pid in enumerate(workers):
            if zygote.code(pid) is not None:
                workers[at] = worker()
        if len(killed) < KILLS:
            kill(chance.choice(workers), killed)

    try:
        run_to_its_end(zygote, made, "--set", f"compute.cluster={file}", harm=harm)
    finally:
        for pid in [*workers, scheduler]:
            zygote.kill(pid)
    assert killed
    assert_finished(made, expected)


WHERE = {
    # On threads the driver writes all there is; beside workers, the journal alone.
    "threads": ({}, 150),
    "local": ({"point": "append", "path": "journal"}, 24),
}


@pytest.mark.parametrize("cluster", WHERE)
@pytest.mark.parametrize("seed", range(3))
def test_the_driver_killed_at_random_and_started_again(zygote, folder, expected, cluster, seed):
    made, chance = set_up(folder), random.Random(seed)
    (where, most), codes = WHERE[cluster], []
    while not codes or codes[-1] != 0:
        assert len(codes) < 100
        harm = {**where, "nth": chance.randrange(most), "then": "kill"}
        pid = zygote.start("run", made, "--set", f"compute.cluster={cluster}", environ=FORKED, harm=[harm])
        ended = zygote.wait(pid)
        zygote.end_group(pid)
        assert "Traceback" not in ended.err
        codes.append(ended.code)
    assert set(codes) == {-9, 0}
    assert len(codes) > KILLS // 3
    assert_finished(made, expected)


def kill(pid, killed):
    """Kill a process, if it is still there, and note it."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    killed.append(pid)
