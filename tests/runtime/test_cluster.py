"""Clusters of scheduler and worker processes: what a run asks of them, and says where they fall short."""

import contextlib
import io
import itertools
import os
import shutil
import socket
import subprocess
import threading

import pytest
import tornado.iostream
from fleets import another_version, fleet_in, request_for, run
from processes import assert_same, movie, wait_until

import pipeline
from pipeline.model.errors import RequestError
from pipeline.runtime.progress import Lines
from pipeline.write.work import versions

MANY = (24, 64, 64)


@pytest.fixture(scope="module")
def place(kept_folder):
    """A folder with a movie, and what a run on threads makes of it."""
    movie(kept_folder, MANY)
    run(kept_folder, "threads", "threads/out.ome.zarr")
    return kept_folder


@pytest.fixture(scope="module")
def fleet(place):
    """A scheduler and a worker of two threads that have nothing wrong with them."""
    with fleet_in(place) as started:
        yield started.start(threads=2)


@pytest.fixture
def brief(monkeypatch):
    """Let what waits for something wait for a shorter time."""
    monkeypatch.setattr("pipeline.runtime.executors.workers.ASK_SECONDS", 0.2)
    monkeypatch.setattr("pipeline.runtime.executors.workers.SEEN_SECONDS", 0.5)
    monkeypatch.setattr("pipeline.runtime.executors.reach.CONNECT_SECONDS", 1)


# Runs.


def test_workers_write_what_threads_write_and_no_pixel_passes_the_driver(place, fleet, monkeypatch):
    passed = {"sent": 0, "got": 0}
    send, get = tornado.iostream.IOStream.write_to_fd, tornado.iostream.IOStream.read_from_fd

    def counted(name, call):
        def method(stream, data):
            count = call(stream, data)
            passed[name] += count or 0
            return count

        return method

    monkeypatch.setattr(tornado.iostream.IOStream, "write_to_fd", counted("sent", send))
    monkeypatch.setattr(tornado.iostream.IOStream, "read_from_fd", counted("got", get))
    summary, _ = run(place, fleet.address)
    assert fleet.address in summary.where
    assert_same(summary.output, place / "threads/out.ome.zarr")
    tasks = MANY[0]
    assert 0 < passed["sent"] < 30_000 + 3_000 * tasks
    assert 0 < passed["got"] < 50_000 + 3_000 * tasks


def test_workers_hand_each_other_what_blocks_have_in_common(place, fleet):
    tiles = {"block": {"t": 1, "y": 32, "x": 64}}
    summary, _ = run(place, fleet.address, "tiles.ome.zarr", **tiles)
    run(place, "threads", "threads/tiles.ome.zarr", **tiles)
    assert_same(summary.output, place / "threads/tiles.ome.zarr")


def without_bgone(folder):
    """Return the environment of a process that cannot import bgone."""
    (folder / "pipeline.py").write_text("raise ImportError('this is another pipeline')")
    return {"PYTHONPATH": str(folder)}


def test_a_worker_that_differs_is_named_with_its_host_and_the_others_go_on(place, fleet):
    other = fleet.worker(environ=another_version(place / "elsewhere"))
    fleet.wait(2)
    try:
        summary, told = run(place, str(fleet.file), "beside/out.ome.zarr")
        (line,) = (line for line in told.splitlines() if "left out" in line)
        assert line.startswith("left out: the worker tcp://127.0.0.1:")
        assert f" on {socket.gethostname()} has bgone 9.9.9, and the run is started with " in line
        assert line.endswith(
            f"{versions()['bgone']}; start the workers in the environment that bgone runs in"
        )
        assert_same(summary.output, place / "threads/out.ome.zarr")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        shutil.rmtree(place / "elsewhere")


def test_where_no_worker_may_compute_each_is_named_and_nothing_is_left(place, brief):
    folder = place / "none"
    folder.mkdir()
    movie(folder)
    with fleet_in(folder) as fleet:
        fleet.scheduler()
        environ = another_version(folder / "elsewhere")
        for _ in range(2):
            fleet.worker(environ=environ)
        fleet.worker(environ={**environ, **without_bgone(folder / "elsewhere")})
        fleet.wait(3)
        with pytest.raises(RequestError) as caught:
            run(folder, str(fleet.file), "not.ome.zarr")
    text = str(caught.value)
    assert text.startswith("compute.cluster: the worker tcp://127.0.0.1:")
    assert f"(and 2 others) has bgone 9.9.9, and the run is started with {versions()['bgone']}; start" in text
    assert "\n" not in text
    assert sorted(os.listdir(folder)) == ["elsewhere", "fleet", "movie.tif"]


def test_a_scheduler_that_differs_is_named_and_nothing_is_left(place, brief):
    folder = place / "another scheduler"
    folder.mkdir()
    movie(folder)
    with fleet_in(folder) as fleet:
        fleet.scheduler(environ=another_version(folder / "elsewhere"))
        fleet.worker()
        fleet.wait(1)
        with pytest.raises(RequestError) as caught:
            run(folder, fleet.address)
    assert str(caught.value) == (
        f"compute.cluster: the scheduler has bgone 9.9.9, and the run is started with {versions()['bgone']};"
        " start it in the environment that bgone runs in"
    )
    assert sorted(os.listdir(folder)) == ["elsewhere", "fleet", "movie.tif"]


def test_a_cluster_without_a_worker_is_waited_for(place, brief):
    folder = place / "late"
    folder.mkdir()
    movie(folder)
    with fleet_in(folder) as fleet:
        fleet.scheduler()
        told, ended = io.StringIO(), []

        def go():
            ended.append(pipeline.run(request_for(folder, fleet.address), progress=Lines(told)))

        thread = threading.Thread(target=go)
        thread.start()
        wait_until(lambda: "no worker yet: waiting for one (Ctrl-C stops)" in told.getvalue())
        fleet.worker()
        thread.join(120)
    run(folder, "threads", "threads/out.ome.zarr")
    assert_same(ended[0].output, folder / "threads/out.ome.zarr")


def test_a_scheduler_that_ends_while_a_worker_is_waited_for_is_one_clear_line(place, brief):
    folder = place / "ending"
    folder.mkdir()
    movie(folder)
    with fleet_in(folder) as fleet:
        started = fleet.scheduler()

        class Ending(Lines):
            def say(self, text):
                if "waiting for one" in text:
                    started.kill()

        with pytest.raises(RequestError, match=r"the scheduler does not answer any more .*same command"):
            pipeline.run(request_for(folder, fleet.address), progress=Ending(io.StringIO()))
    assert sorted(os.listdir(folder)) == ["fleet", "movie.tif"]


def test_the_file_of_a_scheduler_that_is_gone_is_one_clear_line(tmp_path, brief):
    movie(tmp_path)
    file = tmp_path / "scheduler.json"
    file.write_text('{"address": "tcp://127.0.0.1:9"}')
    with pytest.raises(
        RequestError, match=r"no scheduler answers at tcp://127.0.0.1:9, which .*scheduler.json names"
    ):
        run(tmp_path, str(file))
    assert sorted(os.listdir(tmp_path)) == ["movie.tif", "scheduler.json"]


@pytest.mark.slow
def test_workers_that_join_later_are_looked_at_too(place, brief):
    """One of another version is left out, and lives; one that is fit helps."""
    folder = place / "joining"
    folder.mkdir()
    movie(folder, (60, 64, 64))
    with fleet_in(folder) as fleet:
        fleet.start(threads=1)
        notes = io.StringIO()
        pause = threading.Event()

        class Slow(Lines):
            def advance(self, nbytes):
                super().advance(nbytes)
                if not pause.is_set():
                    fleet.worker(environ=another_version(folder / "elsewhere"))
                    fleet.worker()
                    first = fleet.log.count("Registered to:")
                    wait_until(lambda: fleet.log.count("Registered to:") >= first + 2)
                    pause.set()

        summary = pipeline.run(
            request_for(folder, fleet.address, window={"t": 2}), progress=Slow(notes, every=0)
        )
        assert [process.poll() for process in fleet.processes] == [None] * 4
    run(folder, "threads", "threads/out.ome.zarr", window={"t": 2})
    assert "left out: the worker" in notes.getvalue()
    assert "has bgone 9.9.9" in notes.getvalue()
    assert_same(summary.output, folder / "threads/out.ome.zarr")


def private_mounts():
    """Return the command that runs another with mounts of its own, or skip."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounts of one's own (unshare -m) are not allowed here")
    return ["unshare", "-m"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "said"),
    [("results", "does not see the output's work folder"), ("data", "does not see the input")],
)
def test_a_worker_that_does_not_see_a_folder_is_refused(place, brief, hidden, said):
    within = private_mounts()
    folder = place / f"hidden {hidden}"
    for name in ("data", "results"):
        (folder / name).mkdir(parents=True)
    movie(folder / "data")
    request = request_for(folder, "")
    request["input"]["path"] = str(folder / "data" / "movie.tif")
    request["output"]["path"] = str(folder / "results" / "out.ome.zarr")
    with fleet_in(folder) as fleet:
        fleet.scheduler()
        script = f'mount -t tmpfs none "{folder / hidden}" && exec "$@"'
        fleet.worker(within=[*within, "sh", "-c", script, "sh"])
        fleet.wait(1)
        request["compute"]["cluster"] = fleet.address
        with pytest.raises(RequestError) as caught:
            pipeline.run(request)
    assert f"{said} {folder / hidden}" in str(caught.value)
    assert "under the same path" in str(caught.value)
    assert os.listdir(folder / "results") == []


@pytest.mark.slow
def test_workers_that_die_and_join_during_a_run(place, brief):
    folder = place / "coming and going"
    folder.mkdir()
    movie(folder, (80, 64, 64))
    with fleet_in(folder) as fleet:
        fleet.start(2)
        counted = itertools.count()

        class Harmed(Lines):
            def advance(self, nbytes):
                super().advance(nbytes)
                number = next(counted)
                if number in (3, 9):
                    fleet.processes[1 + (number == 9)].kill()
                    fleet.worker()
                    fleet.wait(3 + (number == 9))

        summary = pipeline.run(
            request_for(folder, fleet.address, window={"t": 2}), progress=Harmed(io.StringIO())
        )
    run(folder, "threads", "threads/out.ome.zarr", window={"t": 2})
    assert_same(summary.output, folder / "threads/out.ome.zarr")


@pytest.mark.slow
def test_hosts_of_their_own(place, brief):
    """Scheduler and workers in network namespaces, joined by a bridge: addresses are those of other hosts."""
    with two_hosts() as (enter, addresses):
        folder = place / "hosts"
        folder.mkdir()
        movie(folder, MANY)
        with fleet_in(folder) as fleet:
            fleet.scheduler(host="10.97.0.1")
            for host, address in zip(enter, addresses, strict=True):
                fleet.worker("--host", address, within=host)
            fleet.wait(2)
            summary, _ = run(folder, fleet.address)
            assert all(f"tcp://{address}" in fleet.log for address in addresses)
    assert_same(summary.output, place / "threads/out.ome.zarr")


@contextlib.contextmanager
def two_hosts():
    """Give the commands that run something on each of two hosts, and the hosts' addresses."""
    names, addresses = ("bgone1", "bgone2"), ("10.97.0.11", "10.97.0.12")
    steps = ["link add bgone0 type bridge", "addr add 10.97.0.1/24 dev bgone0", "link set bgone0 up"]
    for name, address in zip(names, addresses, strict=True):
        steps += [
            f"netns add {name}",
            f"link add {name}v type veth peer name {name}w netns {name}",
            f"link set {name}v master bgone0 up",
            f"-n {name} addr add {address}/24 dev {name}w",
            f"-n {name} link set {name}w up",
            f"-n {name} link set lo up",
        ]
    undo = ["link del bgone0", *(f"netns del {name}" for name in names)]
    try:
        for step in steps:
            if (
                not shutil.which("ip")
                or subprocess.run(["ip", *step.split()], capture_output=True, check=False).returncode
            ):
                pytest.skip(f"network namespaces are not allowed here: ip {step}")
        yield [["ip", "netns", "exec", name] for name in names], addresses
    finally:
        for step in undo:
            with contextlib.suppress(FileNotFoundError):
                subprocess.run(["ip", *step.split()], capture_output=True, check=False)
