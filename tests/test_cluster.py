"""Clusters of scheduler and worker processes: what a run asks of them, and says where they fall short."""

import contextlib
import io
import itertools
import os
import shutil
import subprocess
import threading
from dataclasses import replace
from types import SimpleNamespace

import dask
import dask.array as da
import distributed
import numpy as np
import pytest
import tifffile
import tornado.iostream
from fleets import another_version, fleet_in, request_for, run
from processes import assert_same, files_of, movie, wait_until

import pipeline
from pipeline.blocks import Resources, memory_of
from pipeline.cluster import Cluster
from pipeline.errors import RequestError, StoppedError
from pipeline.fleet import PAUSES, Fleet, Worker, room_of
from pipeline.graph import window_tasks
from pipeline.job import prepare
from pipeline.probe import Guard, compare_versions, make_probe
from pipeline.progress import Lines
from pipeline.read import open_source
from pipeline.remote import fit, sync_own, sync_shared
from pipeline.task import ApplyChain
from pipeline.tiling import cut_axis
from pipeline.write import create, durable, make_layout, sync, write_region
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
    monkeypatch.setattr("pipeline.fleet.ASK_SECONDS", 0.2)
    monkeypatch.setattr("pipeline.fleet.SEEN_SECONDS", 0.5)
    monkeypatch.setattr("pipeline.reach.CONNECT_SECONDS", 1)


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


def test_a_worker_that_differs_is_named_and_nothing_is_left(place, fleet):
    before = sorted(os.listdir(place))
    other = fleet.worker(environ=another_version(place / "elsewhere"))
    fleet.wait(2)
    try:
        with pytest.raises(RequestError) as caught:
            run(place, str(fleet.file), "not.ome.zarr")
    finally:
        other.kill()
        other.wait()
        shutil.rmtree(place / "elsewhere")
    text = str(caught.value)
    assert text.startswith("compute.cluster: the worker tcp://127.0.0.1:")
    assert f"has bgone 9.9.9, and the run is started with {versions()['bgone']}; start the workers in" in text
    assert "\n" not in text
    assert sorted(os.listdir(place)) == before


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
    """One of another version and one that cannot see the output are left out; one that is fit helps."""
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


# What a worker is asked.


@pytest.fixture
def asked(folder):
    """A work folder and an input, and what a worker must find of them."""
    movie(folder)
    source = open_source(str(folder / "movie.tif"))
    layout = make_layout(source.spec, str(folder / "out.ome.zarr"), fingerprint="abc")
    os.mkdir(layout.work)
    create(layout)
    return make_probe(layout, source)


def test_where_all_is_as_the_driver_sees_it_nothing_is_found_and_nothing_left(asked):
    before = files_of(asked.work)
    assert asked.findings() == []
    assert files_of(asked.work) == before


def vanish(folder, probe, monkeypatch):
    os.rename(probe.work, folder / "moved")


def replace_token(folder, probe, monkeypatch):
    layout = make_layout(probe.source.spec, str(folder / "out.ome.zarr"), fingerprint="abc")
    make_probe(layout, probe.source)


def forbid(folder, probe, monkeypatch):
    def refuse(path, data, temporary):
        raise durable.explain(PermissionError(13, "no"), path)

    monkeypatch.setattr(durable, "write_file", refuse)


def lose_input(folder, probe, monkeypatch):
    os.remove(folder / "movie.tif")


def longer_input(folder, probe, monkeypatch):
    with open(folder / "movie.tif", "ab") as file:
        file.write(b"more")


def other_input(folder, probe, monkeypatch):
    movie(folder, seed=4)


@pytest.mark.parametrize(
    ("harm", "said", "mend"),
    [
        (vanish, "does not see the output's work folder", "put the output"),
        (replace_token, "has another folder under the name", "put the output"),
        (forbid, "may not write into", "give it permission"),
        (lose_input, "does not see the input", "put the input"),
        (longer_input, "has another input under the name", "put the input"),
        (other_input, "reads other pixels from the input", "put the input"),
    ],
)
def test_what_a_worker_lacks_is_found(folder, asked, monkeypatch, harm, said, mend):
    harm(folder, asked, monkeypatch)
    (finding,) = asked.findings()
    assert finding.what.startswith(said)
    assert finding.mend.startswith(mend)
    guard = Guard(asked.work, asked.token)
    with pytest.raises(StoppedError, match=f"a worker on .* {said}"):
        guard()


@pytest.mark.parametrize("which", [0, 1, -1], ids=["first", "second", "last"])
def test_files_of_a_folder_are_compared_by_their_sizes(folder, which):
    place = folder / "frames"
    place.mkdir()
    for number in range(5):
        tifffile.imwrite(place / f"t{number}.tif", np.full((16, 16), number, np.uint16))
    source = open_source(str(place))
    layout = make_layout(source.spec, str(folder / "out.ome.zarr"), fingerprint="abc")
    os.mkdir(layout.work)
    create(layout)
    probe = make_probe(layout, source)
    assert probe.findings() == []
    path = sorted(place.iterdir())[which]
    with open(path, "ab") as file:
        file.write(b"more")
    (finding,) = probe.findings()
    assert finding.what.startswith(f"has another input under the name {path} (")


def test_a_last_pixel_that_differs_is_found_and_a_nan_does_not_differ_from_itself(folder):
    pixels = np.zeros((2, 8, 8), np.float32)
    pixels[0, 0, 0] = np.nan
    path = folder / "movie.tif"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "TYX"})
    source = open_source(str(path))
    layout = make_layout(source.spec, str(folder / "out.ome.zarr"), fingerprint="abc")
    os.mkdir(layout.work)
    create(layout)
    probe = make_probe(layout, source)
    assert probe.findings() == []
    pixels[-1, -1, -1] = 1
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "TYX"})
    (finding,) = replace(probe, source=open_source(str(path))).findings()
    assert finding.what.startswith("reads other pixels")


def test_a_guard_looks_once(asked, monkeypatch):
    guard = Guard(asked.work, asked.token)
    guard()
    shutil.rmtree(asked.work)
    guard()


def test_a_guard_refuses_another_version(asked, monkeypatch):
    monkeypatch.setattr("pipeline.probe.versions", lambda: {**versions(), "numpy": "0.1"})
    with pytest.raises(StoppedError, match=r"has numpy 0\.1, and the run is started with"):
        Guard(asked.work, asked.token)()


def test_versions_are_compared_name_by_name():
    wanted = {"bgone": "1", "numpy": "2", "python": "3.11"}
    assert compare_versions(wanted, {**wanted, "dask": "7"}) == []
    (finding,) = compare_versions(wanted, {"bgone": "1", "numpy": None, "python": "3.12"})
    assert finding.what == (
        "has no numpy, and the run is started with 2; Python 3.12, and the run is started with 3.11"
    )


# What workers can hold, and how much they get to do.


def planned(folder, shape=(4, 512, 512)):
    """Return the plan of a run whose planes are cut where memory is short."""
    movie(folder, shape)
    config = request_for(folder, "tcp://127.0.0.1:1")
    config["output"]["chunks"] = {"t": 1, "y": 64, "x": 64}
    config["compute"] = {"cluster": "tcp://127.0.0.1:1", "workers": 1}
    return prepare(config).plan


def worker(memory, threads=1):
    return Worker("tcp://a:1", "a", "a", threads, memory)


def test_blocks_are_fitted_to_the_memory_of_the_smallest_worker(folder):
    plan = planned(folder, (2, 4096, 2048))
    alone = Resources(1, 2**40, "remote", compiling="once")
    room = memory_of(plan.work, plan.tiling.block, plan.tiling.window, alone).predicted - 2**20
    large = fit(plan.work, plan.tiling, plan.tiling.window, worker(2**40), 0)
    small = fit(plan.work, plan.tiling, plan.tiling.window, worker(int(room / PAUSES)), 0)
    assert large.tiling.block == plan.tiling.block
    assert np.prod(list(small.tiling.block.values())) < np.prod(list(large.tiling.block.values()))
    assert small.memory.predicted <= room
    assert small.tiling.window == plan.tiling.window


def test_a_worker_that_cannot_hold_a_block_for_each_thread_is_refused(folder):
    plan = planned(folder)
    with pytest.raises(
        RequestError, match=r"worker tcp://a:1 has 256.0 MiB for 4 threads, and .* need"
    ) as caught:
        fit(plan.work, plan.tiling, plan.tiling.window, worker(2**28, 4), 0)
    assert "more memory or fewer threads" in str(caught.value)
    with pytest.raises(RequestError, match=r"^compute.memory: the worker tcp://a:1 may hold 256.0 MiB for 4"):
        fit(plan.work, plan.tiling, plan.tiling.window, worker(0, 4), 2**28)


class FakeClient:
    """A client that computes nothing."""

    def __init__(self, *threads):
        self.threads = threads

    def scheduler_info(self, n_workers):
        return {
            "workers": {
                f"tcp://a:{number}": {"name": number, "host": "a", "nthreads": threads, "memory_limit": 0}
                for number, threads in enumerate(self.threads)
            }
        }

    def compute(self, tasks, workers=None):
        return self

    def add_done_callback(self, call):
        pass


def test_a_worker_is_filled_up_to_where_dask_would_pause_it():
    # Its settings are there once it has been imported.
    assert dask.config.get(f"{distributed.__name__}.worker.memory.pause") == PAUSES
    assert room_of(worker(1000)) == 1000 * PAUSES


def test_the_smallest_worker_is_the_one_with_the_least_memory_for_each_of_its_threads():
    sizes = {"a": (1, 4e9), "b": (4, 8e9), "c": (8, 16e9), "d": (1, 0)}

    def scheduler_info(n_workers):
        return {
            "workers": {
                name: {"name": name, "host": "a", "nthreads": threads, "memory_limit": memory}
                for name, (threads, memory) in sizes.items()
            }
        }

    fleet = Fleet(SimpleNamespace(scheduler_info=scheduler_info), str)
    assert fleet.smallest().name == "c"  # as little as b for each thread, and more of them
    fleet.unfit["c"] = None
    assert fleet.smallest().name == "b"
    for name in "abc":
        fleet.unfit[name] = None
    assert fleet.smallest().name == "d"  # it has no limit


@pytest.mark.parametrize(("threads", "windows"), [((1,), 2), ((4, 4), 2), ((40,) * 10, 25), ((), 2)])
def test_windows_in_flight_give_each_thread_a_task_and_one_to_go_on_with(threads, windows):
    cluster = Cluster(FakeClient(*threads), "")
    count = 0
    while count < cluster.in_flight:
        cluster.submit(count, da.zeros(32, chunks=1))
        count += 1
    assert count == windows


@pytest.mark.parametrize(
    ("threads", "seconds", "blocks"), [(4, 0.04, 1), (400, 0.04, 20), (4000, 0.04, 200), (4, 0.001, 8)]
)
def test_a_task_is_worth_what_it_costs_the_scheduler(threads, seconds, blocks):
    assert Cluster(FakeClient(threads), "").batch(seconds) == blocks
    assert Cluster(FakeClient(threads), "", own=True).batch(seconds) == 1


# Who brings what to the disk.


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_worker_and_driver_together_sync_what_the_driver_syncs_alone(folder, monkeypatch, version):
    plan = planned(folder)
    layout = make_layout(
        plan.output, str(folder / "out.ome.zarr"), chunks={"t": 1, "y": 256, "x": 256}, version=version
    ).at("abc")
    os.mkdir(layout.work)
    create(layout)
    region = (slice(1, 3), slice(0, 512), slice(0, 512))
    records = write_region(layout, 0, region, np.ones((2, 512, 512), layout.spec.dtype))
    synced = []
    sync_path = durable.sync_path

    def noted(path):
        sync_path(path)
        synced.append(os.path.normpath(path))

    monkeypatch.setattr(durable, "sync_path", noted)
    sync(layout, records)
    alone, synced[:] = set(synced), []
    sync_own(layout, records)
    own, synced[:] = set(synced), []
    sync_shared(layout, records)
    assert own | set(synced) == alone
    assert not own & set(synced)
    assert len(synced) == 3 - (version == "0.4")


def told(region, before, after):
    """Stand in for a writer: say where a block lies, and what is in it."""
    return tuple((part.start, part.stop) for part in region), int(after.sum())


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_blocks_taken_together_are_the_same_blocks_in_the_same_order(folder, batch):
    movie(folder, (7, 40, 48))
    source = open_source(str(folder / "movie.tif"))
    step = pipeline.WhiteTophat(radius=3).resolve(source.spec)
    cuts = (cut_axis(7, 0, 7, 1, 0), cut_axis(40, 0, 40, 40, 6), cut_axis(48, 0, 48, 48, 6))
    chain = ApplyChain((step,), "tyx", cuts)
    alone = window_tasks(source, chain, told).compute(scheduler="sync").reshape(-1)
    tasks = window_tasks(source, chain, told, batch)
    assert tasks.npartitions == -(-7 // batch)
    assert list(tasks.compute(scheduler="sync")) == list(alone)


def test_workers_that_are_gone_for_a_moment_after_long_work_are_waited_for(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("pipeline.cluster.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("pipeline.cluster.is_alive", lambda client: False)
    monkeypatch.setattr(Cluster, "_revive", lambda self: None)
    cluster = Cluster(SimpleNamespace(), "two processes", own=True)
    for now[0] in (1000.0, 1059.0):
        assert cluster.next(timeout=0) is None
    now[0] = 1061.0
    with pytest.raises(StoppedError, match="cannot be started again"):
        cluster.next(timeout=0)
