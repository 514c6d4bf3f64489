"""How a plane is cut, to scale: its blocks, and one of them with the halo that is read around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from pipeline.model.text import number_of, shape_text
from pipeline.model.tiling import Tiling
from pipeline.reporting import svg

Span = tuple[int, int]

_WIDTH, _HEIGHT, _MARGIN = 460.0, 300.0, 26.0
_TALL = 70.0
_LINES = 80
"""More cuts than this along an axis are not drawn one by one."""


class _Block(NamedTuple):
    """One axis of a block: from where to where it keeps pixels, and reads them."""

    keeps: Span
    reads: Span


@dataclass(frozen=True)
class Cutting:
    """A drawing, and what it shows in words."""

    picture: Markup
    words: list[str]


def cutting(plan: Mapping[str, Any]) -> Cutting | None:
    """Draw how a plan cuts a plane.

    Parameters
    ----------
    plan : mapping
        Of `plan_dict`.

    Returns
    -------
    Cutting or None
        None where the plan does not say enough.
    """
    try:
        axes = plan["axes"]
        sizes = dict(zip(axes, plan["input_shape"], strict=True))
        halo = {axis: int(plan["halo"].get(axis, 0)) for axis in axes}
        tiling = Tiling(sizes, plan["block"], plan["window"], halo)
        cuts = {axis: _blocks(tiling, axis) for axis in "yx"}
    except (KeyError, TypeError, ValueError):
        return None
    return Cutting(_drawn(sizes, halo, cuts), _words(tiling, cuts))


def _blocks(tiling: Tiling, axis: str) -> list[_Block]:
    return [
        _Block((cut.edges[number], cut.edges[number + 1]), reads)
        for cut in tiling.axis_windows(axis)
        for number, reads in enumerate(cut.reads)
    ]


@dataclass(frozen=True)
class _Sheet:
    """Where the plane lies in the drawing, and how many units a pixel has along each axis."""

    sizes: Mapping[str, int]
    left: float
    top: float
    across: float
    down: float

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> _Sheet:
        """Fit a plane; a strip is drawn wide enough to be seen."""
        scale = min((_WIDTH - 2 * _MARGIN) / sizes["x"], (_HEIGHT - 2 * _MARGIN) / sizes["y"])
        width, height = max(sizes["x"] * scale, 3.0), max(sizes["y"] * scale, 3.0)
        return cls(sizes, (_WIDTH - width) / 2, _MARGIN, width / sizes["x"], height / sizes["y"])

    def place(self, y: float, x: float) -> tuple[float, float]:
        """Return where a pixel is drawn."""
        return self.left + x * self.across, self.top + y * self.down

    def box(self, kind: str, y: Span, x: Span) -> Markup:
        """Return a part of the plane."""
        (left, top), (right, bottom) = self.place(y[0], x[0]), self.place(y[1], x[1])
        return svg.rect(kind, left, top, right - left, bottom - top)


def _drawn(sizes: Mapping[str, int], halo: Mapping[str, int], cuts: Mapping[str, list[_Block]]) -> Markup:
    sheet = _Sheet.of(sizes)
    middle = {axis: blocks[(len(blocks) - 1) // 2] for axis, blocks in cuts.items()}
    rows, columns = sizes["y"], sizes["x"]
    right, bottom = sheet.place(rows, columns)
    parts = [
        sheet.box("halo", middle["y"].reads, middle["x"].reads),
        sheet.box("block", middle["y"].keeps, middle["x"].keeps),
        *(svg.line("cut", sheet.place(at, 0), sheet.place(at, columns)) for at in _edges(cuts["y"])),
        *(svg.line("cut", sheet.place(0, at), sheet.place(rows, at)) for at in _edges(cuts["x"])),
        sheet.box("plane", (0, rows), (0, columns)),
    ]
    middle_x, middle_y, tall = (sheet.left + right) / 2, (sheet.top + bottom) / 2, bottom - sheet.top >= _TALL
    above = f"x {columns} px" if tall else f"x {columns} px, y {rows} px"
    parts.append(svg.text(middle_x, sheet.top - 8, above, "middle"))
    if tall:
        parts.append(svg.text(sheet.left - 8, middle_y, f"y {rows} px", "middle", upward=True))
    low = bottom + 18
    if halo["y"] or halo["x"]:
        reach = max(halo["x"] * sheet.across, halo["y"] * sheet.down, 0.5)
        words = (
            f"{halo['y']} px" if halo["y"] == halo["x"] else shape_text({a: halo[a] for a in "yx"}) + " px"
        )
        parts.append(svg.line("reach", (sheet.left, low), (sheet.left + reach, low)))
        parts.append(svg.text(sheet.left + reach + 8, low + 4, f"halo {words}, to scale"))
    return svg.image("drawing", _WIDTH, low + 12, "A plane, its blocks, and one block with its halo", parts)


def _edges(blocks: list[_Block]) -> list[int]:
    """Return where blocks meet, if not so often that lines would be all there is to see."""
    return [block.keeps[0] for block in blocks[1:]] if len(blocks) <= _LINES else []


def _words(tiling: Tiling, cuts: Mapping[str, list[_Block]]) -> list[str]:
    count = len(cuts["y"]) * len(cuts["x"])
    words = [f"A block keeps {shape_text(tiling.block)} px"]
    if count == 1:
        words.append(
            "each plane is one block, so no pixel is filtered twice for a neighbour's sake in the plane"
        )
    else:
        words.append(
            f"a plane is cut into {len(cuts['y'])} × {len(cuts['x'])} blocks, each read with its halo"
        )
    others = {axis: px for axis, px in tiling.halo.items() if px and axis not in "yx"}
    if others:
        words.append(
            f"there is a halo along {', '.join(f'{axis} ({px} px)' for axis, px in others.items())} too"
        )
    words.append(f"{tiling.overhead:.2f} × the pixels kept are processed")
    blocks, windows = number_of(tiling.blocks, "block"), number_of(tiling.windows, "window")
    words.append(f"{blocks} in {windows} of {shape_text(tiling.window)} px")
    return words
