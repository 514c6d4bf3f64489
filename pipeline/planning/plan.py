"""What a run would do, worked out before any pixel is read. Pure: no I/O, no dask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.config.load import RunConfig
from pipeline.model.errors import PipelineError, Problem, RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.tiling import Tiling
from pipeline.planning.blocks import Resources, Work, choose_block, choose_window, force, memory_of, refusal
from pipeline.planning.memory import Memory, Writing
from pipeline.planning.warmup import WarmUp
from pipeline.steps.background import background_dtype, backgrounds
from pipeline.steps.chain import chain_dtype, chain_halo
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
    image, output : ImageSpec
        What comes in (after `select`), and what goes out, both on the image's axes.
    steps : tuple of Step
        The chain in its order, resolved.
    work : Work
        What was cut, for cutting it anew where a run goes on with less memory.
    tiling : Tiling
        Blocks and windows.
    resources : Resources
        Workers, memory, and where they are.
    memory : Memory
        What it takes.
    layout : Layout
        The output on disk.
    offset : float
        Added before the cast to the output's dtype.
    overflow : str
        "clip", "error", or "fits" where nothing can overflow.
    """

    image: ImageSpec
    output: ImageSpec
    steps: tuple[Step, ...]
    work: Work
    tiling: Tiling
    resources: Resources
    memory: Memory
    layout: Layout
    offset: float
    overflow: str

    @property
    def warm_up(self) -> WarmUp:
        """What loads the compiled code that it needs, or compiles it."""
        return warm_up_of(self.steps, self.image, self.layout, self.offset)

    @property
    def backgrounds(self) -> tuple[Background, ...]:
        """What of input and result is the background, for each channel; nothing where it is not written."""
        return () if self.layout.background is None else backgrounds(self.steps, self.image)

    @property
    def halo(self) -> Mapping[str, int]:
        """The chain's halo, axis → px."""
        return self.tiling.halo

    @property
    def chain_dtype(self) -> np.dtype:
        """The dtype that the chain gives, before the cast to the output's."""
        return chain_dtype(self.steps, self.image.dtype)


def resolve_steps(steps: tuple[Step, ...], image: ImageSpec) -> tuple[Step, ...]:
    """Return the chain bound to an image.

    Raises
    ------
    RequestError
        All mistakes of all steps at once.
    """
    resolved: list[Step] = []
    problems: list[Problem] = []
    for index, step in enumerate(steps):
        try:
            resolved.append(step.resolve(image))
            image = image.with_(dtype=chain_dtype((resolved[-1],), image.dtype))
        except PipelineError as error:
            problems.extend(error.under(f"steps.{index}").problems)
    if problems:
        raise RequestError(problems)
    return tuple(resolved)


def value_range(steps: tuple[Step, ...], dtype: np.dtype) -> tuple[float, float]:
    """Return the range of values that a chain can give for an image of `dtype`: whole numbers exactly."""
    low, high = dtype_range(dtype)
    for step in steps:
        new = step.value_range(low, high)
        low, high = new if step.channels is None else (min(low, new[0]), max(high, new[1]))
    return low, high


def dtype_range(dtype: np.dtype) -> tuple[float, float]:
    """Return the smallest and the largest value that a dtype holds."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def output_dtype(config: RunConfig, image: ImageSpec, steps: tuple[Step, ...]) -> tuple[np.dtype, str]:
    """Return the dtype of the output, and what happens to a value that it cannot hold.

    Raises
    ------
    RequestError
        It cannot hold all that the chain can give and the config does not say what then, or
        it is not a dtype of images.
    """
    given = chain_dtype(steps, image.dtype)
    said = config.output.dtype
    dtype = given if said is None else image.dtype if said == "input" else np.dtype(said)
    offset = config.output.offset
    added = (
        int(offset) if float(offset).is_integer() else offset
    )  # a float64 cannot tell ends of 64 bits apart
    low, high = (bound + added for bound in value_range(steps, image.dtype))
    least, most = dtype_range(dtype)
    same_floats = dtype.kind == "f" and given.kind == "f" and dtype.itemsize >= given.itemsize
    if same_floats or (least <= low and high <= most):
        return dtype, "fits"
    if config.output.overflow is None:
        raise RequestError(
            f"{dtype} cannot hold all that the chain can give, {low:g} to {high:g}",
            "say overflow: clip (counted and reported) or error, or another dtype", "output.overflow",
        )  # fmt: skip
    return dtype, config.output.overflow


def choose_cluster(config: RunConfig, image: ImageSpec, workers: int) -> str:
    """Return "threads", "local" or "remote"."""
    cluster = config.compute.cluster
    if cluster == "auto":
        return "threads" if image.nbytes < SHORT or workers <= FEW else "local"
    return cluster if cluster in ("threads", "local") else "remote"


def resources_of(config: RunConfig, image: ImageSpec, cores: int, memory: int) -> Resources:
    """Return what the run may use: as the config says, else this machine's cores and memory.

    Of a cluster's workers nothing is known before it is reached. Then blocks are fitted to them.
    """
    workers = config.compute.workers or cores
    cluster = choose_cluster(config, image, workers)
    usual = workers * WORKER_THREAD if cluster == "remote" else memory
    return Resources(workers, config.compute.memory or usual, cluster)


def make_plan(
    config: RunConfig,
    image: ImageSpec,
    cores: int,
    memory: int,
    fingerprint: str = "",
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
    fingerprint : str
        Names the folder of the unfinished run.
    held : int
        Bytes that this process holds already, where that is known.
    reading : callable, optional
        Says what reading a region of some shape takes beside its pixels; see `Source.beside`.

    Raises
    ------
    RequestError
        Something cannot work: a length on this image, a dtype, a block, the memory.
    """
    steps = resolve_steps(config.steps, image)
    dtype, overflow = output_dtype(config, image, steps)
    compute = config.compute
    layout = plan_layout(config, image.with_(dtype=dtype), fingerprint)
    if config.output.background is not None:
        backgrounds(steps, image)
        layout = with_background(layout, config.output.background, background_dtype(steps, image))
    unit = layout.unit_sizes
    output = image.with_(dtype=dtype, chunks=tuple(unit[axis] for axis in image.axes))
    # Only channels that a step leaves alone have another background than the rest.
    mixed = "c" in image.axes and any(step.channels is not None for step in steps)
    writing = Writing(layout, config.output.offset, mixed)
    work = Work(steps, chain_halo(steps, image.axes), image, output, unit, writing, reading)
    resources = replace(resources_of(config, image, cores, memory), held=held)
    block, resources = choose_block(work, resources)
    if compute.block:
        # The window is chosen for the blocks that there will be.
        block = dict(force(work, compute.block, None, Tiling(image.sizes, block, block, work.halo)).block)
    chosen = Tiling(image.sizes, block, choose_window(work, block, resources), work.halo)
    tiling = force(work, compute.block, compute.window, chosen)
    needed = memory_of(work, tiling.block, tiling.window, resources)
    if needed.predicted > resources.memory:
        raise refusal(work, tiling.block, needed, resources, needed.predicted)
    return Plan(image, output, steps, work, tiling, resources, needed, layout, config.output.offset, overflow)


def warm_up_of(steps: tuple[Step, ...], image: ImageSpec, layout: Layout, offset: float) -> WarmUp:
    """Return what loads the compiled code that a run needs."""
    coarser = tuple(output.spec.dtype for output in layout.outputs if len(output.levels) > 1)
    return WarmUp(steps, image, layout.spec.dtype, offset, coarser)


def plan_layout(config: RunConfig, output: ImageSpec, fingerprint: str = "") -> Layout:
    """Return the output on disk; where chunks are not said, they follow a forced block or window.

    Raises
    ------
    RequestError
        The output cannot be laid out so.
    """
    said = config.output
    chunks = dict(said.chunks or {})
    usual = dict(zip(output.axes, choose_chunks(output, {}), strict=True))
    shards = {axis: px for axis, px in (said.shards or {}).items() if px % usual.get(axis, px)}
    # A forced block has the last word: it is whole files.
    for forced in (shards, config.compute.window, config.compute.block):
        for axis, px in (forced or {}).items():
            if axis in output.axes and axis not in (said.chunks or {}) and px < output.sizes[axis]:
                chunks[axis] = px
    return make_layout(
        output,
        said.path,
        chunks=chunks,
        shards=said.shards,
        compressor=said.compressor,
        checksum=bool(said.checksum),
        pyramid=said.pyramid,
        version=said.version,
        axes=said.axes,
        work_root=said.work or "",
        fingerprint=fingerprint,
    )
