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

# Below this a task costs more than its pixels, so blocks take in more frames or planes.
SMALL_BLOCK = 4 * MIB
# Above this a plane is cut where there would be fewer blocks than workers.
LARGE_BLOCK = 16 * MIB
# Bytes of input in a window: a second or two of work, which is what a kill may lose.
WINDOW = 256 * MIB
# Bounds a window's graph.
WINDOW_BLOCKS = 512


def choose_tiling(
    workload: Workload,
    resources: Resources,
    forced_block: Mapping[str, int] | None,
    forced_window: Mapping[str, int] | None,
) -> tuple[Tiling, Resources]:
    """Choose blocks and windows, and the resources for them: fewer workers where memory is short.

    Raises RequestError for a forced size that cannot be had, or where the least block does not fit.
    """
    sizes, halo = workload.image.sizes, workload.halo
    block, resources = choose_block(workload, resources)
    if forced_block:
        # The window is chosen for the blocks that there will be.
        block = dict(force(workload, forced_block, None, Tiling(sizes, block, block, halo)).block)
    chosen = Tiling(sizes, block, choose_window(workload, block, resources), halo)
    return force(workload, forced_block, forced_window, chosen), resources


def choose_block(workload: Workload, resources: Resources) -> tuple[dict[str, int], Resources]:
    """Choose the block, and the resources for it: fewer workers where memory is short."""
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
    # Blocks that wait for neighbours: at least one row of blocks on either side of each worker.
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
    """Cut large planes until each worker has a block; leave them whole where that does not fit."""
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
    """Enlarge a block by planes or frames to whole chunks of the input and to enough work for a task."""
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
    """Choose the window, at most `limits` large: blocks are added from the last axis on up to WINDOW."""
    sizes = workload.image.sizes if limits is None else limits
    window = dict(block)
    backwards = workload.image.axes[::-1]
    # First the axes with a halo: a window that is cut there reads its halo again.
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


def refusal(
    workload: Workload,
    block: Mapping[str, int],
    memory: Memory,
    resources: Resources,
    least: int | None = None,
) -> RequestError:
    """Make the error for a block that does not fit.

    `least` is the memory that would do; default: that of the smallest blocks, one at a time.
    """
    halo = ", ".join(f"{axis} {px}" for axis, px in workload.halo.items() if px)
    if least is None:
        smallest = {axis: workload.least(axis) for axis in workload.image.sizes}
        least = memory_of_blocks(workload, smallest, replace(resources, workers=1)).predicted
    chunk = workload.bytes_beside(tuple(block.values()))
    decoded = rechunk = ""
    if 2 * chunk > memory.task:
        decoded = f", each with {size_text(chunk)} to decode the stored chunks that it cuts"
        rechunk = "rechunk the input or "
    return RequestError(
        f"the run needs {size_text(memory.predicted)} (blocks of {shape_text(block)} px with a halo of"
        f" {halo or 'nothing'}, {memory.tasks} at a time{decoded})"
        f" and may use {size_text(resources.memory)}",
        f"raise compute.memory to {-(-least // MIB)} MiB at the least, or "
        f"{rechunk}lower compute.workers, output.chunks or the radii and sigmas",
        "compute.memory",
    )


def force(
    workload: Workload, block: Mapping[str, int] | None, window: Mapping[str, int] | None, chosen: Tiling
) -> Tiling:
    """Replace what was chosen by what the config forces: blocks of whole files, windows of whole blocks."""
    sizes, files = workload.image.sizes, workload.file_sizes
    block, window = block or {}, window or {}
    for field, forced in (("block", block), ("window", window)):
        for axis in forced:
            if axis not in sizes:
                message = f"the image has no axis {axis!r} (it has {workload.image.axes})"
                raise RequestError(message, "name axes of the image", f"compute.{field}")
    blocks, windows = dict(chosen.block), dict(chosen.window)
    for axis, px in block.items():
        if px < sizes[axis] and px % files[axis]:
            raise RequestError(
                f"{px} px along {axis} is not a multiple of the output's chunk, {files[axis]} px",
                f"say {_round_up(px, files[axis])}, or give output.chunks",
                "compute.block",
            )
        blocks[axis] = min(px, sizes[axis])
    for axis, size in sizes.items():
        px = window.get(axis, 0)
        if not px:
            windows[axis] = min(size, _round_up(windows[axis], blocks[axis]))
            continue
        if axis not in block and px < blocks[axis] and px % files[axis] == 0:
            blocks[axis] = px
        if px < size and px % blocks[axis]:
            raise RequestError(
                f"{px} px along {axis} is not a whole number of blocks of {blocks[axis]} px",
                f"say {_round_up(px, blocks[axis])}, or give compute.block",
                "compute.window",
            )
        windows[axis] = min(px, size)
    for axis, halo in workload.halo.items():
        # A block that is shorter than the halo cannot hand its neighbour all that it needs.
        if blocks[axis] < windows[axis] and blocks[axis] < halo:
            blocks[axis] = min(windows[axis], _round_up(halo, blocks[axis]))
            windows[axis] = min(sizes[axis], _round_up(windows[axis], blocks[axis]))
    return Tiling(sizes, blocks, windows, dict(workload.halo))


def _round_up(px: int, multiple: int) -> int:
    return -(-px // multiple) * multiple
