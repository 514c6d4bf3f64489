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
from pipeline.planning.blocks import choose_tiling, refusal
from pipeline.planning.memory import Memory, memory_of
from pipeline.planning.warmup import WarmUp
from pipeline.planning.workload import Resources, Workload
from pipeline.steps.background import background_dtype, backgrounds
from pipeline.steps.chain import BoundChain, bind_chain
from pipeline.steps.contract import Background
from pipeline.steps.step import Step
from pipeline.write.layout import Layout, choose_chunks, make_layout, with_background

# Bytes of input under which starting worker processes costs more than they save.
SHORT = 8 * 2**30
# Workers up to which threads are faster however long a run is: a task holds the interpreter's lock for a
# few hundredths of its time, and processes take 2.7 times the memory and 1.3 times the time (two workers).
FEW = 8
# Bytes that most clusters give a thread at the least.
WORKER_THREAD = 2 * 2**30


@dataclass(frozen=True)
class Plan:
    """Everything about a run that is decided before the first pixel."""

    workload: Workload
    tiling: Tiling
    resources: Resources
    memory: Memory
    overflow: str  # "clip", "error", or "fits" where nothing can overflow

    @property
    def steps(self) -> tuple[Step, ...]:
        """The resolved chain."""
        return self.workload.steps

    @property
    def image(self) -> ImageSpec:
        """The input after `select`."""
        return self.workload.image

    @property
    def output(self) -> ImageSpec:
        """The output on the image's axes."""
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
        """Compiles the kernels of the run."""
        return self.workload.warm_up

    @property
    def backgrounds(self) -> tuple[Background, ...]:
        """How each channel's background follows from input and result; empty where it is not written."""
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
    """Plan a run.

    Parameters
    ----------
    config : RunConfig
        Of the run.
    image : ImageSpec
        The input, after `select`.
    cores : int
        Workers, unless the config sets them.
    memory : int
        Bytes for the run, unless the config sets them.
    held : int
        Bytes that this process holds already.
    reading : callable, optional
        Shape of a region → bytes that reading it takes beside its pixels; see `Source.bytes_beside`.

    Raises
    ------
    RequestError
        Something cannot work: a length on this image, a dtype, a block, the memory.
    """
    chain, compute = bind_chain(config.steps, image), config.compute
    background = None if config.output.background is None else background_dtype(chain)
    dtype, overflow = _output_dtype(config.output, chain)
    workers = compute.workers or cores
    cluster = _cluster_kind(compute.cluster, image.nbytes, workers)
    layout = _make_layout(config, image.with_(dtype=dtype))
    if config.output.background is not None and background is not None:
        layout = with_background(layout, config.output.background, background)
    workload = Workload(chain, layout, config.output.offset, reading)
    # A cluster's workers are unknown before it is reached; the blocks are fitted to them then.
    default_memory = workers * WORKER_THREAD if cluster == "remote" else memory
    resources = Resources(workers, compute.memory or default_memory, cluster, held)
    tiling, resources = choose_tiling(workload, resources, compute.block, compute.window)
    needed = memory_of(workload, tiling.block, tiling.window, resources)
    if needed.predicted > resources.memory:
        raise refusal(workload, tiling.block, needed, resources, needed.predicted)
    return Plan(workload, tiling, resources, needed, overflow)


def _output_dtype(output: OutputConfig, chain: BoundChain) -> tuple[np.dtype, str]:
    """Return the dtype of the output, and the treatment of values that it cannot hold."""
    defaults = {None: chain.dtype, "input": chain.image.dtype}
    dtype = defaults[output.dtype] if output.dtype in defaults else np.dtype(output.dtype)
    # A float64 cannot tell the ends of 64 bits apart.
    offset = int(output.offset) if float(output.offset).is_integer() else output.offset
    low, high = (bound + offset for bound in chain.value_range)
    least, most = dtype_range(dtype)
    wide_float = dtype.kind == chain.dtype.kind == "f" and dtype.itemsize >= chain.dtype.itemsize
    if wide_float or (least <= low and high <= most):
        return dtype, "fits"
    if output.overflow is None:
        message = f"{dtype} cannot hold all that the chain can give, {low:g} to {high:g}"
        hint = "say overflow: clip (counted and reported) or error, or another dtype"
        raise RequestError(message, hint, "output.overflow")
    return dtype, output.overflow


def _cluster_kind(cluster: object, nbytes: int, workers: int) -> str:
    """Return "threads", "local" or "remote" for `compute.cluster` and an input of `nbytes`."""
    if cluster == "auto":
        return "threads" if nbytes < SHORT or workers <= FEW else "local"
    return str(cluster) if cluster in ("threads", "local") else "remote"


def _make_layout(config: RunConfig, image: ImageSpec) -> Layout:
    """Lay the output out on disk; chunks that the config leaves open follow a forced block or window."""
    output, compute = config.output, config.compute
    chunks = dict(output.chunks or {})
    defaults = dict(zip(image.axes, choose_chunks(image, {}), strict=True))
    shards = {axis: px for axis, px in (output.shards or {}).items() if px % defaults.get(axis, px)}
    # The block comes last and wins: it must be whole files.
    for forced in (shards, compute.window, compute.block):
        for axis, px in (forced or {}).items():
            if axis in image.axes and axis not in (output.chunks or {}) and px < image.sizes[axis]:
                chunks[axis] = px
    return make_layout(
        image,
        output.path,
        chunks=chunks,
        shards=output.shards,
        compressor=output.compressor,
        checksum=output.checksum,
        pyramid=output.pyramid,
        version=output.version,
        axes=output.axes,
        work_root=output.work or "",
    )
