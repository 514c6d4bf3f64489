"""The plan of a run, worked out before any pixel is read. Pure: no I/O, no Dask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.config.load import RunConfig
from pipeline.config.sections import OutputConfig
from pipeline.kernels.dtypes import dtype_range
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.tiling import Tiling
from pipeline.planning.blocks import choose_block, choose_window, force, refusal
from pipeline.planning.memory import Memory, memory_of
from pipeline.planning.warmup import WarmUp
from pipeline.planning.workload import Resources, Workload
from pipeline.steps.background import background_dtype, backgrounds
from pipeline.steps.chain import BoundChain, bind_chain
from pipeline.steps.contract import Background
from pipeline.steps.step import Step
from pipeline.write.layout import Layout, choose_chunks, make_layout, with_background

SHORT = 8 * 2**30
"""Bytes of input under which starting worker processes costs more than they save."""

FEW = 8
"""Workers up to which threads of one process are the faster ones however long a run is: a task holds
the interpreter's lock for a few hundredths of its time, and processes take more memory and a core for
what passes between them (two workers: 1.3 times the time, 2.7 times the memory)."""

WORKER_THREAD = 2 * 2**30
"""Bytes that a thread of a cluster has at the least, on most of them."""


@dataclass(frozen=True)
class Plan:
    """Everything about a run that is decided before the first pixel.

    Parameters
    ----------
    workload : Workload
        The chain, the image (after `select`) and the output on disk.
    tiling : Tiling
        Blocks and windows.
    resources : Resources
        Workers, memory, and where they are.
    memory : Memory
        What it takes.
    overflow : str
        "clip", "error", or "fits" where nothing can overflow.
    """

    workload: Workload
    tiling: Tiling
    resources: Resources
    memory: Memory
    overflow: str

    @property
    def steps(self) -> tuple[Step, ...]:
        """The chain in its order, resolved."""
        return self.workload.steps

    @property
    def image(self) -> ImageSpec:
        """What comes in."""
        return self.workload.image

    @property
    def output(self) -> ImageSpec:
        """What goes out, on the image's axes."""
        return self.image.with_(dtype=self.layout.spec.dtype)

    @property
    def layout(self) -> Layout:
        """The output on disk."""
        return self.workload.layout

    @property
    def offset(self) -> float:
        """Added before the cast to the output's dtype."""
        return self.workload.offset

    @property
    def halo(self) -> Mapping[str, int]:
        """The chain's halo, axis → px."""
        return self.workload.halo

    @property
    def warm_up(self) -> WarmUp:
        """What compiles the kernels that it needs, or loads them."""
        coarser = tuple(output.spec.dtype for output in self.layout.outputs if len(output.levels) > 1)
        return WarmUp(self.steps, self.image, self.layout.spec.dtype, self.offset, coarser)

    @property
    def backgrounds(self) -> tuple[Background, ...]:
        """What of input and result is the background, for each channel; nothing where it is not written."""
        return () if self.layout.background is None else backgrounds(self.steps, self.image)


def make_plan(
    config: RunConfig,
    image: ImageSpec,
    cores: int,
    memory: int,
    *,
    held: int = 0,
    reading: Callable[[tuple[int, ...]], int] | None = None,
) -> Plan:
    """Return the plan of a run.

    Parameters
    ----------
    config : RunConfig
        What was asked for.
    image : ImageSpec
        The input, after `select`.
    cores : int
        Workers, where the config says nothing.
    memory : int
        Bytes for the run, where the config says nothing.
    held : int
        Bytes that this process holds already, where that is known.
    reading : callable, optional
        Says what reading a region of some shape takes beside its pixels; see `Source.beside`.

    Raises
    ------
    RequestError
        Something cannot work: a length on this image, a dtype, a block, the memory.
    """
    chain, compute = bind_chain(config.steps, image), config.compute
    dtype, overflow = output_dtype(config.output, chain)
    layout = plan_layout(config, image.with_(dtype=dtype))
    if config.output.background is not None:
        layout = with_background(layout, config.output.background, background_dtype(chain.steps, image))
    workload = Workload(chain, layout, config.output.offset, reading)
    workers = compute.workers or cores
    cluster = choose_cluster(compute.cluster, image.nbytes, workers)
    # Of a cluster's workers nothing is known before it is reached. Then blocks are fitted to them.
    usual = workers * WORKER_THREAD if cluster == "remote" else memory
    resources = Resources(workers, compute.memory or usual, cluster, held)
    tiling, resources = choose_tiling(workload, resources, compute.block, compute.window)
    needed = memory_of(workload, tiling.block, tiling.window, resources)
    if needed.predicted > resources.memory:
        raise refusal(workload, tiling.block, needed, resources, needed.predicted)
    return Plan(workload, tiling, resources, needed, overflow)


def choose_tiling(
    workload: Workload,
    resources: Resources,
    forced_block: Mapping[str, int] | None,
    forced_window: Mapping[str, int] | None,
) -> tuple[Tiling, Resources]:
    """Return blocks and windows, and the resources that go with them (fewer workers where memory is short).

    Raises
    ------
    RequestError
        What is forced cannot be, or not even one block of the least size fits into the memory.
    """
    sizes, halo = workload.image.sizes, workload.halo
    block, resources = choose_block(workload, resources)
    if forced_block:
        # The window is chosen for the blocks that there will be.
        block = dict(force(workload, forced_block, None, Tiling(sizes, block, block, halo)).block)
    chosen = Tiling(sizes, block, choose_window(workload, block, resources), halo)
    return force(workload, forced_block, forced_window, chosen), resources


def output_dtype(output: OutputConfig, chain: BoundChain) -> tuple[np.dtype, str]:
    """Return the dtype of the output, and what happens to a value that it cannot hold.

    Raises
    ------
    RequestError
        It cannot hold all that the chain can give and the config does not say what then, or
        it is not a dtype of images.
    """
    names = {None: chain.dtype, "input": chain.image.dtype}
    dtype = names[output.dtype] if output.dtype in names else np.dtype(output.dtype)
    # A float64 cannot tell the ends of 64 bits apart.
    offset = int(output.offset) if float(output.offset).is_integer() else output.offset
    low, high = (bound + offset for bound in chain.value_range)
    least, most = dtype_range(dtype)
    same_floats = dtype.kind == chain.dtype.kind == "f" and dtype.itemsize >= chain.dtype.itemsize
    if same_floats or (least <= low and high <= most):
        return dtype, "fits"
    if output.overflow is None:
        raise RequestError(
            f"{dtype} cannot hold all that the chain can give, {low:g} to {high:g}",
            "say overflow: clip (counted and reported) or error, or another dtype", "output.overflow",
        )  # fmt: skip
    return dtype, output.overflow


def choose_cluster(cluster: object, nbytes: int, workers: int) -> str:
    """Return "threads", "local" or "remote", for what the config says and an input of so many bytes."""
    if cluster == "auto":
        return "threads" if nbytes < SHORT or workers <= FEW else "local"
    return str(cluster) if cluster in ("threads", "local") else "remote"


def plan_layout(config: RunConfig, image: ImageSpec) -> Layout:
    """Return the output on disk; where chunks are not said, they follow a forced block or window.

    Raises
    ------
    RequestError
        The output cannot be laid out so.
    """
    output = config.output
    chunks = dict(output.chunks or {})
    usual = dict(zip(image.axes, choose_chunks(image, {}), strict=True))
    shards = {axis: px for axis, px in (output.shards or {}).items() if px % usual.get(axis, px)}
    # A forced block has the last word: it is whole files.
    for forced in (shards, config.compute.window, config.compute.block):
        for axis, px in (forced or {}).items():
            if axis in image.axes and axis not in (output.chunks or {}) and px < image.sizes[axis]:
                chunks[axis] = px
    return make_layout(
        image,
        output.path,
        chunks=chunks,
        shards=output.shards,
        compressor=output.compressor,
        checksum=bool(output.checksum),
        pyramid=output.pyramid,
        version=output.version,
        axes=output.axes,
        work_root=output.work or "",
    )
