"""Workers of a cluster, one by one: what each is asked, can hold, gets to do and brings to the disk."""

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import dask
import dask.array as da
import distributed
import numpy as np
import pytest
import tifffile
from distributed.comm import CommClosedError
from fleets import request_for
from processes import files_of, movie

import pipeline
from pipeline.model.errors import RequestError, StoppedError
from pipeline.model.tiling import cut_axis
from pipeline.planning.job import prepare
from pipeline.planning.memory import memory_of
from pipeline.planning.workload import Resources
from pipeline.read import open_source
from pipeline.runtime.executors.check_plugin import CheckPlugin, different_versions
from pipeline.runtime.executors.cluster import Cluster
from pipeline.runtime.executors.remote_write import RemoteRead, sync_own, sync_shared
from pipeline.runtime.executors.worker_check import Guard, make_check
from pipeline.runtime.executors.workers import PAUSES, Worker, Workers, room_of, tiling_for_worker
from pipeline.runtime.windows import window_tasks
from pipeline.steps.chain import ApplyChain
from pipeline.storage import durable
from pipeline.write import create, make_layout, sync, write_region

# What a worker is asked.


@pytest.fixture
def asked(folder):
    """A work folder and an input, and what a worker must find of them."""
    movie(folder)
    source = open_source(str(folder / "movie.tif"))
    layout = make_layout(source.spec, str(folder / "out.ome.zarr"), fingerprint="abc")
    os.mkdir(layout.work)
    create(layout)
    return make_check(layout, source)


def test_where_all_is_as_the_driver_sees_it_nothing_is_found_and_nothing_left(asked):
    before = files_of(asked.work)
    assert asked.finding() is None
    assert files_of(asked.work) == before


def vanish(folder, probe, monkeypatch):
    os.rename(probe.work, folder / "moved")


def replace_token(folder, probe, monkeypatch):
    layout = make_layout(probe.source.spec, str(folder / "out.ome.zarr"), fingerprint="abc")
    make_check(layout, probe.source)


def forbid(folder, probe, monkeypatch):
    def refuse(path, data, temporary):
        raise durable.disk_error(PermissionError(13, "no"), path)

    monkeypatch.setattr(durable, "write_file", refuse)


def lose_input(folder, probe, monkeypatch):
    os.remove(folder / "movie.tif")


def longer_input(folder, probe, monkeypatch):
    with open(folder / "movie.tif", "ab") as file:
        file.write(b"more")


def other_input(folder, probe, monkeypatch):
    movie(folder, seed=4)


@pytest.mark.parametrize(
    ("harm", "said", "hint"),
    [
        (vanish, "does not see the output's work folder", "put the output"),
        (replace_token, "has another folder under the name", "put the output"),
        (forbid, "may not write into", "give it permission"),
        (lose_input, "does not see the input", "put the input"),
        (longer_input, "has another input under the name", "put the input"),
        (other_input, "reads other pixels from the input", "put the input"),
    ],
)
def test_what_a_worker_lacks_is_found(folder, asked, monkeypatch, harm, said, hint):
    harm(folder, asked, monkeypatch)
    event = asked()
    assert event["message"].startswith(said)
    assert event["hint"].startswith(hint)
    with pytest.raises(StoppedError, match=r"a worker on .* may not take part"):
        Guard(asked.token)()
    with pytest.raises(StoppedError, match=r"a worker on .* may not take part"):
        RemoteRead(Guard(asked.token), asked.source).read((slice(0, 1),) * 3)


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
    probe = make_check(layout, source)
    assert probe.finding() is None
    path = sorted(place.iterdir())[which]
    with open(path, "ab") as file:
        file.write(b"more")
    finding = probe.finding()
    assert finding.message.startswith(f"has another input under the name {path} (")


def test_a_last_pixel_that_differs_is_found_and_a_nan_does_not_differ_from_itself(folder):
    pixels = np.zeros((2, 8, 8), np.float32)
    pixels[0, 0, 0] = np.nan
    path = folder / "movie.tif"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "TYX"})
    source = open_source(str(path))
    layout = make_layout(source.spec, str(folder / "out.ome.zarr"), fingerprint="abc")
    os.mkdir(layout.work)
    create(layout)
    probe = make_check(layout, source)
    assert probe.finding() is None
    pixels[-1, -1, -1] = 1
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "TYX"})
    finding = replace(probe, source=open_source(str(path))).finding()
    assert finding.message.startswith("reads other pixels")


def test_a_worker_that_has_passed_is_not_looked_at_again(asked):
    assert os.path.dirname(asked()["mark"]) == f"{asked.work}/drafts"
    shutil.rmtree(asked.work)
    Guard(asked.token)()


def test_versions_are_compared_name_by_name():
    wanted = {"bgone": "1", "numpy": "2", "python": "3.11.7"}
    assert different_versions(wanted, {**wanted, "dask": "7", "python": "3.11.2.final.0"}) == ""
    assert different_versions(wanted, {"bgone": "1", "numpy": None, "python": "3.12.1"}) == (
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
    return Worker("tcp://a:1", "a", threads, memory)


def test_blocks_are_fitted_to_the_memory_of_the_smallest_worker(folder):
    plan = planned(folder, (2, 4096, 2048))
    alone = Resources(1, 2**40, "remote")
    room = memory_of(plan.workload, plan.tiling.block, plan.tiling.window, alone).predicted - 2**20
    large = tiling_for_worker(plan.workload, plan.tiling, plan.tiling.window, worker(2**40), 0)
    small = tiling_for_worker(plan.workload, plan.tiling, plan.tiling.window, worker(int(room / PAUSES)), 0)
    assert large.tiling.block == plan.tiling.block
    assert np.prod(list(small.tiling.block.values())) < np.prod(list(large.tiling.block.values()))
    assert small.memory.predicted <= room
    assert small.tiling.window == plan.tiling.window


def test_a_worker_that_cannot_hold_a_block_for_each_thread_is_refused(folder):
    plan = planned(folder)
    with pytest.raises(
        RequestError, match=r"worker tcp://a:1 has 256.0 MiB for 4 threads, and .* need"
    ) as caught:
        tiling_for_worker(plan.workload, plan.tiling, plan.tiling.window, worker(2**28, 4), 0)
    assert "more memory or fewer threads" in str(caught.value)
    with pytest.raises(RequestError, match=r"^compute.memory: the worker tcp://a:1 may hold 128.0 MiB for 4"):
        tiling_for_worker(plan.workload, plan.tiling, plan.tiling.window, worker(0, 4), 2**27)


class FakeClient:
    """A client that computes nothing."""

    status = "running"

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
        self.workers = workers
        return self

    def add_done_callback(self, call):
        pass

    def cancel(self, futures, force):
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

    fleet = Workers(SimpleNamespace(scheduler_info=scheduler_info), str, print)
    assert len(fleet.fit()) == 4
    assert fleet.smallest().name == "c"  # as little as b for each thread, and more of them
    fleet.unfit["c"] = None
    assert fleet.smallest().name == "b"
    for name in "abc":
        fleet.unfit[name] = None
    assert fleet.smallest().name == "d"  # it has no limit


@pytest.mark.parametrize(("threads", "windows"), [((1,), 2), ((4, 4), 2), ((40,) * 10, 25), ((), 2)])
def test_windows_in_flight_give_each_thread_a_task_and_one_to_go_on_with(threads, windows):
    cluster = Cluster(FakeClient(*threads), "", print)
    count = 0
    while count < cluster.in_flight:
        cluster.submit(count, da.zeros(32, chunks=1))
        count += 1
    assert count == windows


def test_as_many_workers_are_wanted_as_have_blocks_to_do():
    jobs = SimpleNamespace(replace_lost=lambda names: None, wanted=None, waiting="a job")
    cluster = Cluster(FakeClient(4, 4), "", print, jobs)
    cluster.expect(100)
    assert cluster.in_flight == 2  # asks which workers there are
    assert jobs.wanted() == 25
    cluster.submit(0, da.zeros(60, chunks=1))
    assert jobs.wanted() == 25
    cluster.submit(1, da.zeros(40, chunks=1))
    cluster.close()
    assert jobs.wanted() == 1


class Future:
    """A window's future that ended with an error."""

    status = "error"

    def __init__(self, error=None):
        self.error = error

    def add_done_callback(self, call):
        self.done = lambda: call(self)

    def result(self, timeout=None):
        raise self.error

    def cancel(self, force=False):
        pass


class Answering(FakeClient):
    """A client whose windows end when they are told to."""

    cluster = None

    def __init__(self, *threads):
        super().__init__(*threads)
        self.sent = []

    def compute(self, tasks, workers=None):
        self.workers = workers
        self.sent.append(Future(StoppedError("met with a worker that may not take part")))
        return self.sent[-1]


def unfit(cluster, address):
    """Let a worker say that it may not take part."""
    event = {"worker": address, "host": "other", "message": "has another version", "hint": "mend it"}
    cluster._workers._events.put(event)


def test_workers_that_are_not_fit_are_named_with_their_host_and_get_no_tasks():
    said = []
    client = Answering(1, 1, 1)
    cluster = Cluster(client, "", said.append)
    cluster.submit(0, da.zeros(4, chunks=1))
    assert client.workers is None  # any may
    unfit(cluster, "tcp://a:1")
    assert cluster.next(timeout=0) is None
    assert said == ["left out: the worker tcp://a:1 on other has another version; mend it"]
    cluster.submit(1, da.zeros(4, chunks=1))
    assert client.workers == ["tcp://a:0", "tcp://a:2"]


def test_a_window_that_met_with_an_unfit_worker_is_sent_to_the_others_and_only_then_has_failed():
    client = Answering(1, 1)
    cluster = Cluster(client, "", print)
    cluster.submit("window", da.zeros(4, chunks=1))
    unfit(cluster, "tcp://a:1")
    client.sent[0].done()
    assert cluster.next(timeout=0) is None
    assert (client.workers, len(client.sent)) == (["tcp://a:0"], 2)
    client.sent[1].done()
    window, error = cluster.next(timeout=0)
    assert (window, error) == ("window", client.sent[1].error)


def test_a_window_whose_workers_have_gone_is_sent_to_those_that_come(monkeypatch):
    monkeypatch.setattr("pipeline.runtime.executors.workers.ASK_SECONDS", -1)
    client = Answering(1, 1)
    cluster = Cluster(client, "", print)
    unfit(cluster, "tcp://a:0")
    cluster.next(timeout=0)
    client.threads = [1]  # no fit one is left
    cluster.submit("window", da.zeros(4, chunks=1))
    assert client.sent == []
    client.threads = [1, 1]
    cluster.next(timeout=0)
    assert (client.workers, len(client.sent)) == (["tcp://a:1"], 1)
    client.threads = [1]
    cluster.next(timeout=0)
    assert len(client.sent) == 1  # it may come again, or another
    client.threads = [1, 1, 1]
    monkeypatch.setattr(client, "scheduler_info", lambda n_workers: {"workers": {"tcp://a:2": {"name": 2,
                        "nthreads": 1, "memory_limit": 0}}})  # fmt: skip
    cluster.next(timeout=0)
    assert (client.workers, len(client.sent)) == (["tcp://a:2"], 2)
    client.sent[0].done()  # cancelled
    assert cluster.next(timeout=0) is None
    assert len(client.sent) == 2


def test_a_scheduler_that_answers_late_leaves_the_progress_as_it_was(monkeypatch):
    monkeypatch.setattr("pipeline.runtime.executors.cluster.ASKED_SECONDS", 0)
    client = Answering(1)
    client.scheduler = SimpleNamespace(who_has=None)
    cluster = Cluster(client, "", print)
    tasks = da.zeros(4, chunks=1)
    cluster.submit("window", tasks)
    client.sync = lambda call, keys, callback_timeout: {keys[0]: ["tcp://a:0"], keys[1]: []}
    assert cluster.begun() == {"window": 0.25}

    def late(call, keys, callback_timeout):
        raise TimeoutError

    client.sync = late
    assert cluster.begun() == {"window": 0.25}
    client.sent[0].done()
    cluster.next(timeout=0)
    assert cluster.begun() == {}


@pytest.mark.parametrize(
    ("threads", "seconds", "blocks"), [(4, 0.04, 1), (400, 0.04, 20), (4000, 0.04, 200), (4, 0.001, 8)]
)
def test_a_task_is_worth_what_it_costs_the_scheduler(threads, seconds, blocks):
    assert Cluster(FakeClient(threads), "", print).batch(seconds) == blocks
    assert Cluster(FakeClient(threads), "", print, own=True).batch(seconds) == 1


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
    monkeypatch.setattr("pipeline.runtime.executors.cluster.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("pipeline.runtime.executors.cluster.all_dead", lambda client: True)
    cluster = Cluster(SimpleNamespace(), "two processes", print, own=True)
    for now[0] in (1000.0, 1059.0):
        assert cluster.next(timeout=0) is None
    now[0] = 1061.0
    with pytest.raises(StoppedError, match="cannot be started again"):
        cluster.next(timeout=0)


class Registering(FakeClient):
    """A client that loses a worker in each of some registrations."""

    def __init__(self, losses):
        super().__init__(1, 1)
        self.losses = losses

    def register_plugin(self, plugin, name):
        self.losses -= 1
        if self.losses >= 0:
            raise CommClosedError("a worker has gone")


def test_a_worker_that_dies_while_the_check_is_sent_does_not_end_the_run():
    Workers(Registering(losses=2), str, print)._register(CheckPlugin("bgone-1", {}, b""))


def test_a_cluster_that_loses_workers_again_and_again_is_named_so():
    with pytest.raises(RequestError, match="does not reach all of its workers"):
        Workers(Registering(losses=100), str, print)._register(CheckPlugin("bgone-1", {}, b""))


def test_a_scheduler_that_ends_while_the_check_is_sent_is_no_lost_worker():
    client = Registering(losses=1)
    client.status = "closed"
    with pytest.raises(ConnectionError):
        Workers(client, str, print)._register(CheckPlugin("bgone-1", {}, b""))
