"""Drawing, to scale, of the blocks of a plane and of one block with its halo."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from pipeline.model.text import number_of, shape_text
from pipeline.model.tiling import Tiling
from pipeline.reporting import svg

_WIDTH, _HEIGHT, _MARGIN = 460.0, 300.0, 26.0
_TALL = 70.0  # from this height the label along y fits
_LINES = 80  # more cuts along an axis are not drawn: only lines would be seen


class _Block(NamedTuple):
    """Extent of a block along one axis: the pixels it keeps and those it reads."""

    keeps: tuple[int, int]
    reads: tuple[int, int]


def cutting(plan: Mapping[str, Any]) -> tuple[Markup, list[str]] | None:
    """Draw and describe how a plan (of `plan_dict`) cuts a plane; None where the plan is incomplete."""
    try:
        sizes = dict(zip(plan["axes"], plan["input_shape"], strict=True))
        halo = {axis: int(plan["halo"].get(axis, 0)) for axis in sizes}
        tiling = Tiling(sizes, plan["block"], plan["window"], halo)
        rows, columns = _blocks(tiling, "y"), _blocks(tiling, "x")
    except (KeyError, TypeError, ValueError):
        return None
    return _draw(tiling, rows, columns), _describe(tiling, len(rows), len(columns))


def _blocks(tiling: Tiling, axis: str) -> list[_Block]:
    return [
        _Block(keeps, reads)
        for cut in tiling.axis_windows(axis)
        for keeps, reads in zip(itertools.pairwise(cut.edges), cut.reads, strict=True)
    ]


def _draw(tiling: Tiling, rows: list[_Block], columns: list[_Block]) -> Markup:
    y_px, x_px, halo = tiling.sizes["y"], tiling.sizes["x"], tiling.halo
    scale = min((_WIDTH - 2 * _MARGIN) / x_px, (_HEIGHT - 2 * _MARGIN) / y_px)
    # A strip of a few px must stay visible.
    width, height = max(x_px * scale, 3.0), max(y_px * scale, 3.0)
    across, down = width / x_px, height / y_px
    left, top = (_WIDTH - width) / 2, _MARGIN
    right, bottom = left + width, top + height

    def box(kind: str, y: tuple[int, int], x: tuple[int, int]) -> Markup:
        return svg.rect(
            kind, left + x[0] * across, top + y[0] * down, (x[1] - x[0]) * across, (y[1] - y[0]) * down
        )

    row, column = rows[(len(rows) - 1) // 2], columns[(len(columns) - 1) // 2]
    tall = height >= _TALL
    above = f"x {x_px} px" if tall else f"x {x_px} px, y {y_px} px"
    parts = [
        box("halo", row.reads, column.reads),
        box("block", row.keeps, column.keeps),
        *(svg.line("cut", (left, top + y * down), (right, top + y * down)) for y in _edges(rows)),
        *(svg.line("cut", (left + x * across, top), (left + x * across, bottom)) for x in _edges(columns)),
        box("plane", (0, y_px), (0, x_px)),
        svg.text((left + right) / 2, top - 8, above, "middle"),
    ]
    if tall:
        parts.append(svg.text(left - 8, (top + bottom) / 2, f"y {y_px} px", "middle", upward=True))
    low = bottom + 18
    if halo["y"] or halo["x"]:
        end = left + max(halo["x"] * across, halo["y"] * down, 0.5)
        same = halo["y"] == halo["x"]
        words = f"{halo['y'] if same else shape_text({axis: halo[axis] for axis in 'yx'})} px"
        parts.append(svg.line("reach", (left, low), (end, low)))
        parts.append(svg.text(end + 8, low + 4, f"halo {words}, to scale"))
    return svg.image("drawing", _WIDTH, low + 12, "A plane, its blocks, and one block with its halo", parts)


def _edges(blocks: list[_Block]) -> list[int]:
    """Return the borders between blocks, or none where there are too many to draw."""
    return [block.keeps[0] for block in blocks[1:]] if len(blocks) <= _LINES else []


def _describe(tiling: Tiling, rows: int, columns: int) -> list[str]:
    others = ", ".join(f"{axis} ({px} px)" for axis, px in tiling.halo.items() if px and axis not in "yx")
    blocks, windows = number_of(tiling.blocks, "block"), number_of(tiling.windows, "window")
    return [
        f"A block keeps {shape_text(tiling.block)} px",
        "each plane is one block, so no pixel is filtered twice for a neighbour's sake in the plane"
        if rows * columns == 1
        else f"a plane is cut into {rows} × {columns} blocks, each read with its halo",
        *([f"there is a halo along {others} too"] if others else []),
        f"{tiling.overhead:.2f} × the pixels kept are processed",
        f"{blocks} in {windows} of {shape_text(tiling.window)} px",
    ]
