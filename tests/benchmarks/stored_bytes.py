"""Compare engines that encode and decode stored pixels: ours, tensorstore, zarrs, zarr-python.

    pip install '.[bench]' tensorstore zarrs
    python tests/benchmarks/stored_bytes.py
    python tests/benchmarks/stored_bytes.py --folder /scratch/bytes --frames 24 --rounds 5

Each engine writes and reads the same array (2048² uint16 frames, blosc lz4 bitshuffle; chunks of 1024², or
shards of 4 frames with inner chunks of 512²) in its own process on one core. They take turns; the minimum
of several rounds is printed:

- clock and processor time in ms per frame: write, read whole frames, read a window of 1024² off the grid,
  in memory and on disk (where files are not in the page cache when they are read);
- memory beside the pixels, in MiB, of a read of many frames and of a write of one shard;
- the cost of importing each library: seconds, MiB, threads;
- the error and the memory for chunks that decode to far more than their pixels, or are damaged.

`own` syncs each file, as a run does; `own, no sync` does not. Of the libraries only tensorstore can sync.
`tensorstore, own files` encodes with tensorstore in memory, and writes the files like ours, with the
checksum for the manifest. An engine that is not installed is left out.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import importlib.util
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE, DIFFERENT = 2048, 4
MEMORY = Path("/dev/shm")
LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {"chunks": {"t": 1, "y": 1024, "x": 1024}},
    "shards": {"chunks": {"t": 1, "y": 512, "x": 512}, "shards": {"t": 4, "y": SIDE, "x": SIDE}},
}
FRAMES_A_WRITE = {"plain": 1, "shards": 4}
# A part of a frame that intersects four plain chunks, and nine inner ones.
WINDOW = (slice(300, 1324), slice(700, 1724))

Region = tuple[slice, ...]
Write = Callable[[Region, NDArray[Any]], object]
Read = Callable[[Region], NDArray[Any]]


class Engine(NamedTuple):
    """A way to write and read an existing array.

    `writer` takes a `Layout` and returns a function that writes; `reader` takes a folder and returns one
    that reads.
    """

    module: str
    writer: Callable[[Any], Write] | None
    reader: Callable[[Path], Read] | None


def own_writer(layout: Any, *, synced: bool) -> Write:
    """Write as a run does."""
    from pipeline.write import sync, write_region

    def write(region: Region, block: NDArray[Any]) -> None:
        records = write_region(layout, 0, region, block)
        if synced:
            sync(layout, records)

    return write


def own_reader(folder: Path) -> Read:
    """Read as a run does."""
    from pipeline.read import open_source

    return open_source(folder, axes="tyx").read


def tensorstore_array(kvstore: dict[str, Any] | str, *, synced: bool = False, **more: Any) -> Any:
    """Open an array with one thread and no cache."""
    import tensorstore

    return tensorstore.open(
        {"driver": "zarr3", "kvstore": kvstore, **more},
        open=True,
        create="metadata" in more,
        context=tensorstore.Context(
            {
                "data_copy_concurrency": {"limit": 1},
                "file_io_concurrency": {"limit": 1},
                "file_io_sync": synced,
                "cache_pool": {"total_bytes_limit": 0},
            }
        ),
    ).result()


def tensorstore_writer(layout: Any, *, synced: bool) -> Write:
    """Write with tensorstore."""
    array = tensorstore_array(f"file://{layout.array_path(0)}/", synced=synced)
    return lambda region, block: array[region].write(block).result()


def tensorstore_encoder(layout: Any) -> Write:
    """Encode with tensorstore; write files with our names and checksums."""
    import json

    import tensorstore

    from pipeline.storage import durable
    from pipeline.storage.codec import crc32c

    metadata = json.loads(Path(layout.array_path(0), "zarr.json").read_bytes())
    metadata.pop("attributes", None)
    array = tensorstore_array("memory://", metadata=metadata)
    everything = tensorstore.KvStore.KeyRange()

    def write(region: Region, block: NDArray[Any]) -> None:
        array[region].write(block).result()
        for index, _ in layout.file_regions(0, region):
            key = layout.chunk_key(0, index)
            data = array.kvstore.read(key.removeprefix("0/")).result().value
            durable.write_file(f"{layout.image}/{key}", data, f"{layout.work}/drafts")
            crc32c(data)
        array.kvstore.delete_range(everything).result()

    return write


def tensorstore_reader(folder: Path) -> Read:
    """Read with tensorstore."""
    array = tensorstore_array(f"file://{folder}/")
    return lambda region: np.asarray(array[region].read().result())


def zarr_array(folder: str | Path, mode: str, *, rust: bool) -> Any:
    """Open an array with zarr-python on one thread, with its own codecs or those of zarrs."""
    import zarr

    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1})
    if rust:
        zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    return zarr.open_array(folder, mode=mode)


def zarr_writer(layout: Any, *, rust: bool) -> Write:
    """Write with zarr-python or zarrs."""
    array = zarr_array(layout.array_path(0), "r+", rust=rust)
    return array.__setitem__


def zarr_reader(folder: Path, *, rust: bool) -> Read:
    """Read with zarr-python or zarrs."""
    array = zarr_array(folder, "r", rust=rust)
    return lambda region: np.asarray(array[region])


ENGINES = {
    "own": Engine("pipeline", functools.partial(own_writer, synced=True), own_reader),
    "own, no sync": Engine("pipeline", functools.partial(own_writer, synced=False), None),
    "tensorstore": Engine(
        "tensorstore", functools.partial(tensorstore_writer, synced=False), tensorstore_reader
    ),
    "tensorstore, sync": Engine("tensorstore", functools.partial(tensorstore_writer, synced=True), None),
    "tensorstore, own files": Engine("tensorstore", tensorstore_encoder, None),
    "zarrs": Engine(
        "zarrs", functools.partial(zarr_writer, rust=True), functools.partial(zarr_reader, rust=True)
    ),
    "zarr-python": Engine(
        "zarr", functools.partial(zarr_writer, rust=False), functools.partial(zarr_reader, rust=False)
    ),
}
IMPORTS = ("numpy", "pipeline.read", "numcodecs.blosc", "zarr", "tensorstore", "zarr, zarrs")


def pin(core: int) -> None:
    """Bind this process, and the threads of its libraries, to one core."""
    os.sched_setaffinity(0, {core})
    os.environ["RAYON_NUM_THREADS"] = "1"
    import numcodecs.blosc

    numcodecs.blosc.set_nthreads(1)


@functools.cache
def some_frames() -> NDArray[np.uint16]:
    """Return a few frames of uneven background, shot noise and a few bright pixels."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    base = 400 + 200 * np.sin(rows / 300) + 150 * np.cos(columns / 400)
    bright = 500 * (rng.random(base.shape) < 0.001)
    return np.stack([rng.poisson(base + bright).astype(np.uint16) for _ in range(DIFFERENT)])


def new_layout(folder: Path, name: str, frames: int) -> Any:
    """Create an empty array, whose metadata all engines use."""
    from pipeline.model.image import ImageSpec
    from pipeline.write import create, make_layout

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spec = ImageSpec("tyx", (frames, SIDE, SIDE), np.dtype(np.uint16))
    layout = make_layout(spec, str(folder / "out.zarr"), pyramid=False, fingerprint="bytes", **LAYOUTS[name])
    create(layout)
    return layout


def timed(calls: Iterable[Callable[[], object]]) -> tuple[float, float]:
    """Return the clock and processor time of some calls."""
    clock, processor = time.perf_counter(), time.process_time()
    for call in calls:
        call()
    return time.perf_counter() - clock, time.process_time() - processor


def time_writes(engine: str, folder: Path, name: str, frames: int) -> tuple[float, float]:
    """Write all frames of a new array and check them with our reader; runs in the engine's process."""
    writer = ENGINES[engine].writer
    assert writer is not None
    layout = new_layout(folder, name, frames)
    write, step, images = writer(layout), FRAMES_A_WRITE[name], some_frames()
    regions = [(slice(at, at + step), slice(0, SIDE), slice(0, SIDE)) for at in range(0, frames, step)]
    blocks = [images[[at % DIFFERENT for at in range(*region[0].indices(frames))]] for region in regions]
    seconds = timed(
        functools.partial(write, region, block) for region, block in zip(regions, blocks, strict=True)
    )
    last = own_reader(Path(layout.array_path(0)))(regions[-1])
    np.testing.assert_array_equal(last, blocks[-1])
    return seconds


def time_reads(engine: str, array: Path, window: Region, frames: int, cold: bool) -> tuple[float, float]:
    """Read all frames, or a window of each, one by one; runs in the engine's process."""
    reader = ENGINES[engine].reader
    assert reader is not None
    if cold:
        drop_from_cache(array)
    read = reader(array)
    seconds = timed(functools.partial(read, (slice(frame, frame + 1), *window)) for frame in range(frames))
    last = read((slice(frames - 1, frames), *window))
    np.testing.assert_array_equal(last[0], some_frames()[(frames - 1) % DIFFERENT][window])
    return seconds


def drop_from_cache(folder: Path) -> None:
    """Remove the files of a folder from the page cache."""
    for path in filter(Path.is_file, folder.rglob("*")):
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def compare_speed(places: dict[str, Path], frames: int, rounds: int, core: int) -> None:
    """Print the milliseconds per frame of every engine."""
    context = multiprocessing.get_context("spawn")
    pools = {engine: ProcessPoolExecutor(1, context, pin, (core,)) for engine in ENGINES if installed(engine)}

    def least(
        engines: list[str], call: Callable[..., tuple[float, float]], *arguments: Any
    ) -> dict[str, Any]:
        seconds: dict[str, list[tuple[float, float]]] = {engine: [] for engine in engines}
        for _ in range(rounds):
            for engine in engines:
                seconds[engine].append(pools[engine].submit(call, engine, *arguments).result())
        return {
            engine: [1000 * min(times) / frames for times in zip(*rounds_, strict=True)]
            for engine, rounds_ in seconds.items()
        }

    whole = (slice(0, SIDE), slice(0, SIDE))
    writers = [engine for engine in pools if ENGINES[engine].writer]
    readers = [engine for engine in pools if ENGINES[engine].reader]
    for medium, folder in places.items():
        for name in LAYOUTS:
            table = [("write", least(writers, time_writes, folder, name, frames))]
            pools["own"].submit(time_writes, "own", folder, name, frames).result()
            array = Path(new_path(folder))
            for kind, window in (("read whole", whole), ("read 1024²", WINDOW)):
                table.append((kind, least(readers, time_reads, array, window, frames, medium == "disk")))
            for kind, engines in table:
                for engine, (clock, processor) in engines.items():
                    print(f"{medium:7}{name:8}{kind:12}{engine:24}{clock:7.1f} ms {processor:7.1f} ms CPU")
            sys.stdout.flush()
            shutil.rmtree(folder)
    for pool in pools.values():
        pool.shutdown()


def new_path(folder: Path) -> str:
    """Return the path of the array that `new_layout` has made."""
    return str(next(folder.rglob("zarr.json")).parent)


def compare_memory(folder: Path, frames: int, core: int) -> None:
    """Print the memory beside the pixels of a read of all frames, and of a write of a shard of 4."""
    context = multiprocessing.get_context("spawn")
    for name in LAYOUTS:
        for engine in filter(installed, ENGINES):
            with ProcessPoolExecutor(1, context, pin, (core,)) as pool:
                mebibytes = pool.submit(write_memory, engine, folder, name).result()
            print(f"beside a write of 4 frames, {name:8}{engine:24}{mebibytes:6.0f} MiB", flush=True)
        with ProcessPoolExecutor(1, context, pin, (core,)) as pool:
            pool.submit(time_writes, "own", folder, name, frames).result()
        for engine in filter(installed, ENGINES):
            if ENGINES[engine].reader:
                with ProcessPoolExecutor(1, context, pin, (core,)) as pool:
                    mebibytes = pool.submit(read_memory, engine, Path(new_path(folder)), frames).result()
                print(
                    f"beside a read of {frames} frames, {name:8}{engine:24}{mebibytes:6.0f} MiB", flush=True
                )
        shutil.rmtree(folder)


def write_memory(engine: str, folder: Path, name: str) -> float:
    """Return the MiB that a write of 4 frames takes; runs in a new process."""
    writer = ENGINES[engine].writer
    assert writer is not None
    write, block = writer(new_layout(folder, name, 8)), some_frames()
    return peak_of(lambda: write((slice(0, 4), slice(0, SIDE), slice(0, SIDE)), block))


def read_memory(engine: str, array: Path, frames: int) -> float:
    """Return the MiB that a read of all frames takes beside them; runs in a new process."""
    reader = ENGINES[engine].reader
    assert reader is not None
    read = reader(array)
    read((slice(0, 1), slice(0, 64), slice(0, 64)))
    return (
        peak_of(lambda: read((slice(0, frames), slice(0, SIDE), slice(0, SIDE)))) - frames * SIDE**2 / 2**19
    )


def peak_of(call: Callable[[], object]) -> float:
    """Return the MiB by which a call raises the peak memory of this process."""
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    call()
    return (resident("VmHWM") - before) / 1024


def installed(engine: str) -> bool:
    """Return whether an engine can be measured here."""
    return importlib.util.find_spec(ENGINES[engine].module) is not None


def compare_imports() -> None:
    """Print the cost of importing a library in a new process, the minimum of three."""
    code = (
        "import os, sys, time; start = time.perf_counter(); import {}; took = time.perf_counter() - start\n"
        "status = open('/proc/self/status').read()\n"
        "of = lambda name: status.split(name + ':')[1].split()[0]\n"
        "print(took, int(of('VmRSS')) / 1024, of('Threads'))"
    )
    for names in IMPORTS:
        command = [sys.executable, "-c", code.format(names)]
        outputs = [subprocess.run(command, capture_output=True, text=True).stdout.split() for _ in range(3)]
        if all(outputs):
            seconds, mebibytes, threads = min(outputs, key=lambda output: float(output[0]))
            print(
                f"import {names:18}{float(seconds):6.2f} s {float(mebibytes):6.0f} MiB {threads:>4} threads"
            )
    sys.stdout.flush()


BOMB = 512 << 20
# Address space of a process that reads a damaged chunk.
ROOM = 8 << 30
CHUNK = (1, 512, 512)


def damages() -> Iterator[tuple[str, Any, Callable[[bytes], bytes]]]:
    """Yield a name, a codec, and a function that damages the bytes of a chunk of 512 KiB."""
    import numcodecs
    from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

    def wrong_header(data: bytes) -> bytes:
        return data[:4] + ((1 << 31) - 64).to_bytes(4, "little") + data[8:]

    zeros = np.zeros(BOMB, np.uint8)
    yield "a file of 64 GiB", [ZstdCodec()], lambda data: data
    yield "zstd bomb", [ZstdCodec()], lambda _: numcodecs.Zstd(1).encode(zeros)
    yield "blosc bomb", [BloscCodec(cname="zstd")], lambda _: numcodecs.Blosc("zstd").encode(zeros)
    yield "gzip bomb", [GzipCodec()], lambda _: gzip.compress(bytes(BOMB), 1)
    yield "blosc header lies", [BloscCodec()], wrong_header
    yield "blosc cut", [BloscCodec()], lambda data: data[: len(data) // 2]
    yield "blosc of one pixel", [BloscCodec()], lambda _: numcodecs.Blosc().encode(np.ones(1, "<u2"))
    yield "crc32c wrong", [BloscCodec(), Crc32cCodec()], lambda data: data[:-1] + bytes([data[-1] ^ 1])


def compare_damage(folder: Path, core: int) -> None:
    """Print the error and the memory of each engine for damaged chunks."""
    import zarr

    pixels = np.random.default_rng(0).integers(0, 4000, (2, 512, 512)).astype("<u2")
    for name, codecs, damage in damages():
        shutil.rmtree(folder, ignore_errors=True)
        array = zarr.create_array(folder, shape=pixels.shape, chunks=CHUNK, dtype="<u2", compressors=codecs)
        array[...] = pixels
        file = folder / "c" / "1" / "0" / "0"
        file.write_bytes(damage(file.read_bytes()))
        if "GiB" in name:
            os.truncate(file, 64 << 30)
        for engine in ENGINES:
            if ENGINES[engine].reader and installed(engine):
                context = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, context, pin, (core,)) as pool:
                    try:
                        result = pool.submit(read_damaged, engine, folder).result()
                    except Exception as error:
                        result = f"the process died: {type(error).__name__}"
                print(f"{name:20}{engine:14}{result}", flush=True)
    shutil.rmtree(folder)


def read_damaged(engine: str, array: Path) -> str:
    """Read two chunks, the second damaged; return the memory that it took and the error."""
    reader = ENGINES[engine].reader
    assert reader is not None
    read = reader(array)
    read((slice(0, 1), slice(0, 512), slice(0, 512)))
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    before, sizes = resident("VmSize"), [0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            sizes.append(resident("VmSize"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        read((slice(0, 2), slice(0, 512), slice(0, 512)))
        message = "no error"
    except Exception as error:
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
    done.set()
    watcher.join()
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) >> 10
    return f"{used:5} MiB used, {max(max(sizes) - before, 0) >> 10:5} asked for: {message[:260]}"


def resident(name: str) -> int:
    """Return a size from the status of this process, in KiB."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0])


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="on a disk; default: a temporary folder")
    parser.add_argument("--frames", type=int, default=24, help="a multiple of 4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--only", choices=["speed", "imports", "memory", "damage"])
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as disk,
        tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as memory,
    ):
        if options.only in (None, "imports"):
            compare_imports()
        if options.only in (None, "damage"):
            compare_damage(Path(memory) / "damaged.zarr", options.core)
        if options.only in (None, "memory"):
            compare_memory(Path(memory) / "bytes", options.frames, options.core)
        if options.only in (None, "speed"):
            places = {"memory": Path(memory) / "bytes", "disk": Path(disk) / "bytes"}
            compare_speed(places, options.frames, options.rounds, options.core)


if __name__ == "__main__":
    main()
