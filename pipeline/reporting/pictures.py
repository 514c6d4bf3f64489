"""Before, background and after of a few planes: read once each, made small, drawn as PNG inside SVG."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace

import imagecodecs
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.explore.crop import CROP, View, find_views, plane
from pipeline.explore.scales import aspect_of, bar_length, limits
from pipeline.model.image import ImageSpec
from pipeline.reporting import svg
from pipeline.reporting.pixels import MOST, Pixels
from pipeline.reporting.report_data import Material
from pipeline.steps.background import difference

CHANNELS = 8
"""So many channels are shown; more would make a page that opens slowly."""

# Px a side of a picture, where there are few and where there are many.
_LARGE, _SMALL, _FEW = 384, 240, 9

# Width of a drawing, in units of its own.
_UNITS = 360.0

_SAMPLES = 2**14


@dataclass(frozen=True)
class Shown:
    """One plane, or the middle of it, made small.

    Parameters
    ----------
    view : View
        Which.
    before, taken : numpy.ndarray or None
        Float, rows and columns; None where the input cannot be shown.
    after : numpy.ndarray
        As written, the offset included.
    samples : mapping of str to numpy.ndarray
        Pixels of each at full resolution, some of them.
    overview : numpy.ndarray, optional
        The whole plane after, at the coarsest level, where `view` is only its middle.
    """

    view: View
    before: NDArray | None
    taken: NDArray | None
    after: NDArray
    samples: dict[str, NDArray]
    overview: NDArray | None = None


def gather_planes(material: Material) -> tuple[list[list[Shown]], str]:
    """Read what is shown: for each channel its first, middle and last time point, at the middle depth.

    Returns
    -------
    list of list of Shown
        By channel, then by time.
    str
        What the reader must know: that only the middle is shown, or why there is nothing to show.
    """
    spec = material.image
    frames = spec.sizes.get("t", 1)
    times = sorted({0, frames // 2, frames - 1})
    channels = range(min(spec.sizes.get("c", 1), CHANNELS))
    views = find_views(
        spec,
        t=",".join(map(str, times)) if "t" in spec.axes else None,
        c=",".join(map(str, channels)) if "c" in spec.axes else None,
    )
    heavy = material.result.reads(views[0].region)
    if heavy > MOST:
        return [], f"The output is stored in pieces of {heavy / 2**20:.0f} MiB, so it is not read again."
    before, note = material.before, material.without
    if before is not None and before.reads(views[0].region) > MOST:
        before, note = (
            None,
            "The input is stored in pieces too large to be read again, so only the result is shown.",
        )
    side = _LARGE if len(views) <= _FEW // 3 * 2 else _SMALL
    shown: dict[int, list[Shown]] = {}
    for view in sorted(views, key=lambda view: (view.channel, view.at.get("t", 0))):
        shown.setdefault(view.channel, []).append(_look(material, before, view, side))
    for planes in shown.values():
        middle = len(planes) // 2
        if planes[middle].view.cropped:
            planes[middle] = replace(planes[middle], overview=_overview(material, planes[middle].view))
    notes = (_extent(spec, views[0]), note, _of_clipped(material) if before is not None else "")
    return list(shown.values()), " ".join(part for part in notes if part)


def _of_clipped(material: Material) -> str:
    clipped = material.part("summary").get("clipped")
    return (
        "Where a pixel was clipped, the difference from what was written is not what was found."
        if clipped
        else ""
    )


def _extent(spec: ImageSpec, view: View) -> str:
    words = []
    if view.cropped:
        words.append(f"Shown is the middle of each plane, {view.extent()}: {CROP} px a side at the most.")
    if spec.sizes.get("c", 1) > CHANNELS:
        words.append(f"Shown are the first {CHANNELS} of {spec.sizes['c']} channels.")
    return " ".join(words)


def _look(material: Material, before: Pixels | None, view: View, side: int) -> Shown:
    after = plane(material.result.read(view.region))
    samples = {"after": _thinned(after)}
    small = shrink(after, side)
    del after
    if before is None or (material.untouched(view.channel) and material.steps):
        return Shown(view, None, None, small, samples)
    raw = plane(before.read(view.region))
    samples["before"] = _thinned(raw)
    given = shrink(raw, side)
    del raw
    kind, offset = material.background(view.channel), material.offset
    samples["taken"] = difference(kind, samples["before"], samples["after"] - offset)
    return Shown(view, given, difference(kind, given, small - np.float32(offset)), small, samples)


def _overview(material: Material, view: View) -> NDArray | None:
    found = material.result.overview(view.region)
    return None if found is None else shrink(found, 2 * _LARGE)


def _thinned(pixels: NDArray) -> NDArray:
    """Return some pixels of a plane, of every row and column alike."""
    step = max(1, int(np.sqrt(pixels.size / _SAMPLES)))
    return pixels[step // 2 :: step, step // 2 :: step].astype(np.float32).reshape(-1)


def shrink(pixels: NDArray, side: int) -> NDArray:
    """Return an image of at most so many px a side: the mean of equal boxes, a rest at the far end left off.

    >>> shrink(np.arange(16).reshape(4, 4), 2).tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    factor = -(-max(pixels.shape) // side)
    rows, columns = (min(factor, size) for size in pixels.shape)
    height, width = pixels.shape[0] // rows, pixels.shape[1] // columns
    # Whole rows first: that goes over memory as it lies.
    sums = np.zeros((height, width * columns), np.float32)
    for row in range(rows):
        sums += pixels[row : height * rows : rows, : width * columns]
    return sums.reshape(height, width, columns).sum(axis=2) / np.float32(rows * columns)


def bounds_of(pictures: Sequence[NDArray | None]) -> tuple[float, float]:
    """Return black and white that pictures share."""
    there = [_thinned(picture) for picture in pictures if picture is not None]
    return limits(np.concatenate(there)) if there else (0.0, 1.0)


def picture(
    pixels: NDArray,
    bounds: tuple[float, float],
    view: View,
    title: str,
    frame: tuple[slice, ...] | None = None,
) -> Markup:
    """Return an image with its scale bar as SVG.

    Parameters
    ----------
    pixels : numpy.ndarray
        Rows and columns.
    bounds : (float, float)
        What is black and what is white.
    view : View
        What is seen: its extent in px of the image, and its scale.
    title : str
        What it is, for a reader who does not see it.
    frame : tuple of slice, optional
        A part of the view, in px of the image, that is framed.
    """
    low, high = bounds
    levels = np.nan_to_num((pixels - low) / (high - low) * 255, nan=0.0, posinf=255.0, neginf=0.0)
    encoded = imagecodecs.png_encode(np.clip(np.rint(levels), 0, 255).astype(np.uint8), level=3)
    data = base64.b64encode(encoded).decode()
    rows, columns = (part.stop - part.start for part in view.region[-2:])
    width, height = _UNITS, _UNITS * rows * aspect_of(view.spec) / columns
    # A strip is drawn high enough to be seen, and a column narrow enough to fit.
    height = min(max(height, 40.0), 2 * _UNITS)
    coarse = ' style="image-rendering:pixelated"' if max(pixels.shape) < 128 else ""
    drawn = Markup(
        '<image width="{:.0f}" height="{:.1f}" preserveAspectRatio="none"{} href="data:image/png;base64,{}"/>'
    ).format(width, height, Markup(coarse), data)
    parts = [drawn, *_scale_bar(columns, view.spec, width, height)]
    if frame is not None:
        (top, bottom), (left, right) = ((part.start, part.stop) for part in frame[-2:])
        across, down = width / columns, height / rows
        box = left * across, top * down, (right - left) * across, (bottom - top) * down
        parts.append(svg.rect("frame", *box))
    return svg.image("picture", width, height, title, parts)


def _scale_bar(columns: int, spec: ImageSpec, width: float, height: float) -> list[Markup]:
    px, words = bar_length(columns, spec)
    drawn = px * width / columns
    right, bottom = width - 12, height - 12
    return [
        svg.rect("bar", right - drawn, bottom - 4, drawn, 4),
        svg.text(right, bottom - 9, words, "end", "bar"),
    ]
