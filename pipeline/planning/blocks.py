"""The choice of blocks and windows: whole planes where they fit the memory, else the largest tile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pipeline.model.errors import RequestError
from pipeline.model.machine import MIB
from pipeline.model.text import shape_text, size_text
from pipeline.model.tiling import Tiling
from pipeline.planning.memory import IN_FLIGHT, Memory, memory_of, memory_of_blocks, with_heap
from pipeline.planning.workload import Resources, Workload

SMALL_BLOCK = 4 * MIB
"""Below this a task costs more than its pixels, so blocks take in more frames or planes."""

LARGE_BLOCK = 16 * MIB
"""Above this a plane is worth cutting where there would be fewer blocks than workers."""

WINDOW = 256 * MIB
"""Bytes of input in a window: a second or two of workload, which is what a kill may lose."""

WINDOW_BLOCKS = 512
"""Blocks in a window at most, which bounds the graph."""


def choose_block(workload: Workload, resources: Resources) -> tuple[dict[str, int], Resources]:
    """Return the block, and the resources that go with it (fewer workers where memory is short).

    Raises
    ------
    RequestError
        Not even one block of the least size fits into the memory.
    """
    sizes = workload.image.sizes
    whole = {
        axis: sizes[axis] if workload.halo[axis] else min(sizes[axis], workload.file_sizes[axis])
        for axis in sizes
    }
    block = dict(whole)
    while _too_much(workload, block, resources):
        smaller = _halve(workload, block)
        if smaller is not None:
            block = smaller
        elif resources.workers > 1:
            fewer = resources.workers - max(1, resources.workers // 4)
            resources, block = replace(resources, workers=fewer), dict(whole)
        elif memory_of_blocks(workload, block, resources).predicted <= resources.memory:
            break  # a window of one block shares nothing, though it reads its halo alone
        else:
            raise refusal(workload, block, memory_of_blocks(workload, block, resources), resources)
    return _grow(workload, _share_out(workload, block, resources), resources), resources


def _too_much(workload: Workload, block: Mapping[str, int], resources: Resources) -> bool:
    memory = memory_of_blocks(workload, block, resources)
    # Blocks that wait for neighbours: at the least one row of blocks on either side of each worker.
    shared = IN_FLIGHT * 3 * memory.tasks * workload.block_bytes(block) if workload.cut_axes(block) else 0
    return memory.predicted + with_heap(shared) > resources.memory


def _halve(workload: Workload, block: Mapping[str, int]) -> dict[str, int] | None:
    ratios = {
        axis: block[axis] / workload.least(axis) for axis in block if block[axis] > workload.least(axis)
    }
    if not ratios:
        return None
    axis = max(ratios, key=lambda name: (ratios[name], block[name]))
    file = workload.file_sizes[axis]
    half = -(-block[axis] // (2 * file)) * file
    return {**block, axis: max(workload.least(axis), half if half < block[axis] else half - file)}


def _share_out(workload: Workload, block: dict[str, int], resources: Resources) -> dict[str, int]:
    """Cut large planes until each worker has a block, and what they hold together fits; else leave them."""
    shared = block
    while workload.block_bytes(shared) > LARGE_BLOCK and workload.count(shared) < resources.workers:
        smaller = _halve(workload, shared)
        if smaller is None:
            break
        shared = smaller
    while _too_much(workload, shared, resources):
        smaller = _halve(workload, shared)
        if smaller is None:
            return block
        shared = smaller
    return shared


def _grow(workload: Workload, block: dict[str, int], resources: Resources) -> dict[str, int]:
    """Take in more planes or frames: whole stored chunks of the input, and enough work for a task."""
    chunks = dict(zip(workload.image.axes, workload.image.chunks, strict=True))
    for axis in reversed(workload.image.axes):
        if workload.halo[axis]:
            continue
        size = workload.image.sizes[axis]
        aligned = min(size, math.lcm(block[axis], min(chunks[axis], size)))
        for target in (aligned * 2**power for power in range(6)):
            larger = {**block, axis: min(size, target)}
            small = (
                workload.block_bytes(larger) <= SMALL_BLOCK
                and workload.count(larger) >= 4 * resources.workers
            )
            if (target == aligned or small) and not _too_much(workload, larger, resources):
                block = larger
    return block


def choose_window(
    workload: Workload,
    block: Mapping[str, int],
    resources: Resources,
    limits: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return the window: blocks taken in from the last axis on until there is a window's work.

    Along the axes with a halo a window should be the whole image, since it reads its halo again;
    no window is larger than `limits` (axis → px; default: the image).
    """
    sizes = workload.image.sizes if limits is None else limits
    window = dict(block)
    backwards = workload.image.axes[::-1]
    with_halo = [axis for axis in backwards if workload.halo[axis]]
    for axis in with_halo + [axis for axis in backwards if not workload.halo[axis]]:
        while window[axis] < sizes[axis]:
            larger = {**window, axis: min(sizes[axis], 2 * window[axis])}
            count = math.prod(-(-larger[name] // block[name]) for name in block)
            few = count <= 4 * resources.workers
            if count > WINDOW_BLOCKS or (workload.block_bytes(larger) > WINDOW and not few):
                break
            if memory_of(workload, block, larger, resources).predicted > resources.memory:
                break
            window = larger
        if window[axis] < sizes[axis]:
            break
    return window


def least_memory(workload: Workload, resources: Resources) -> int:
    """Return the least memory in which the run fits: the smallest blocks, one at a time."""
    block = {axis: workload.least(axis) for axis in workload.image.sizes}
    return memory_of_blocks(workload, block, replace(resources, workers=1)).predicted


def refusal(
    workload: Workload,
    block: Mapping[str, int],
    memory: Memory,
    resources: Resources,
    least: int | None = None,
) -> RequestError:
    """Return the error that says how much memory is missing, and what to change.

    Parameters
    ----------
    workload : Workload
        What is to be cut.
    block : mapping of str to int
        The block that does not fit.
    memory : Memory
        What it takes.
    resources : Resources
        What there is.
    least : int, optional
        The least memory that would do; default: that of the smallest blocks, one at a time.
    """
    halo = ", ".join(f"{axis} {px}" for axis, px in workload.halo.items() if px)
    enough = -(-(least_memory(workload, resources) if least is None else least) // MIB)
    chunk = workload.beside(tuple(block.values()))
    much = 2 * chunk > memory.task
    decoded = f", each with {size_text(chunk)} to decode the stored chunks that it cuts" if much else ""
    return RequestError(
        f"the run needs {size_text(memory.predicted)} (blocks of {shape_text(block)} px with a halo of"
        f" {halo or 'nothing'}, {memory.tasks} at a time{decoded}) and may use {size_text(resources.memory)}",
        f"raise compute.memory to {enough} MiB at the least, or "
        + ("rechunk the input or " if much else "")
        + "lower compute.workers, output.chunks or the radii and sigmas",
        "compute.memory",
    )


def force(
    workload: Workload, block: Mapping[str, int] | None, window: Mapping[str, int] | None, chosen: Tiling
) -> Tiling:
    """Return the tiling with what the config forces in place of what was chosen.

    Raises
    ------
    RequestError
        A forced block is not whole output chunks, or a forced window not whole blocks.
    """
    sizes = workload.image.sizes
    blocks, windows = dict(chosen.block), dict(chosen.window)
    for field, forced in (("block", block), ("window", window)):
        unknown = [axis for axis in forced or {} if axis not in sizes]
        if unknown:
            raise RequestError(
                f"the image has no axis {unknown[0]!r} (it has {workload.image.axes})",
                "name axes of the image",
                f"compute.{field}",
            )
    for axis, px in (block or {}).items():
        file = workload.file_sizes[axis]
        if px < sizes[axis] and px % file:
            raise RequestError(
                f"{px} px along {axis} is not a multiple of the output's chunk, {file} px",
                f"say {-(-px // file) * file}, or give output.chunks", "compute.block",
            )  # fmt: skip
        blocks[axis] = min(px, sizes[axis])
    for axis, size in sizes.items():
        wanted = (window or {}).get(axis)
        if wanted is None:
            windows[axis] = min(size, -(-windows[axis] // blocks[axis]) * blocks[axis])
            continue
        if axis not in (block or {}) and wanted < blocks[axis] and wanted % workload.file_sizes[axis] == 0:
            blocks[axis] = wanted
        if wanted < size and wanted % blocks[axis]:
            raise RequestError(
                f"{wanted} px along {axis} is not a whole number of blocks of {blocks[axis]} px",
                f"say {-(-wanted // blocks[axis]) * blocks[axis]}, or give compute.block", "compute.window",
            )  # fmt: skip
        windows[axis] = min(wanted, size)
    for axis in sizes:
        # A block that is shorter than the halo cannot hand its neighbour all that it needs.
        if blocks[axis] < windows[axis] and blocks[axis] < workload.halo[axis]:
            blocks[axis] = min(windows[axis], -(-workload.halo[axis] // blocks[axis]) * blocks[axis])
            windows[axis] = min(sizes[axis], -(-windows[axis] // blocks[axis]) * blocks[axis])
    return Tiling(sizes, blocks, windows, dict(workload.halo))
