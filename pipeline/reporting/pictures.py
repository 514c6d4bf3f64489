"""Before, background and after of a few planes: read once each, made small, drawn as PNG inside SVG."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import imagecodecs
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.explore.crop import CROP, View, find_views, plane
from pipeline.explore.scales import aspect_of, bar_length, limits
from pipeline.model.image import ImageSpec, Region, region_shape
from pipeline.reporting import svg
from pipeline.reporting.report_data import ReportData, StoredPixels
from pipeline.steps.background import difference

CHANNELS = 8
"""So many channels are shown; more would make a page that opens slowly."""

PICTURE_BYTES = 128 * 2**20
"""Bytes that may have to be read and unpacked for one picture, whole chunks counted."""

# Px a side of a picture, where there are few and where there are many.
_LARGE, _SMALL, _FEW = 384, 240, 6

# Width of a drawing, in units of its own.
_UNITS = 360.0

_SAMPLES = 2**14


@dataclass(frozen=True)
class Shown:
    """One plane, or the middle of it, made small: rows and columns of float32.

    `before` and `taken` are None where the input cannot be shown; `after` has the offset in it.
    `samples` are some pixels of each at full resolution, `overview` is the whole plane after at the
    coarsest level, where `view` is only its middle.
    """

    view: View
    before: NDArray | None
    taken: NDArray | None
    after: NDArray
    samples: Mapping[str, NDArray]
    overview: NDArray | None = None


def gather_planes(data: ReportData) -> tuple[list[list[Shown]], str]:
    """Read what is shown: for each channel its first, middle and last time point, at the middle depth.

    Returns
    -------
    list of list of Shown
        By channel, then by time.
    str
        What the reader must know: that only the middle is shown, or why there is nothing to show.
    """
    spec = data.image
    frames, channels = spec.sizes.get("t", 1), spec.sizes.get("c", 1)
    times = sorted({0, frames // 2, frames - 1})
    views = find_views(
        spec,
        t=",".join(map(str, times)) if "t" in spec.axes else None,
        c=",".join(map(str, range(min(channels, CHANNELS)))) if "c" in spec.axes else None,
    )
    region = views[0].region
    heavy = data.after.bytes_met(region)
    if heavy > PICTURE_BYTES:
        return [], f"The output is stored in pieces of {heavy / 2**20:.0f} MiB, so it is not read again."
    notes, before = [], data.before
    if views[0].cropped:
        notes.append(f"Shown is the middle of each plane, {views[0].extent()}: {CROP} px a side at the most.")
    if channels > CHANNELS:
        notes.append(f"Shown are the first {CHANNELS} of {channels} channels.")
    notes.append(data.why_no_input)
    if before is not None and _input_bytes(before, views[0]) > PICTURE_BYTES:
        before = None
        notes.append("The input is stored in pieces too large to be read again, so only the result is shown.")
    if before is not None and data.section("summary").get("clipped"):
        notes.append("Where a pixel was clipped, the difference from what was written is not what was found.")
    side = _LARGE if len(views) <= _FEW else _SMALL
    shown: dict[int, list[Shown]] = {}
    for view in sorted(views, key=lambda view: (view.channel, view.at.get("t", 0))):
        shown.setdefault(view.channel, []).append(_look(data, before, view, side))
    if data.coarsest is not None and views[0].cropped:
        for planes in shown.values():
            middle = len(planes) // 2
            planes[middle] = replace(planes[middle], overview=_overview(data.coarsest, planes[middle].view))
    return list(shown.values()), " ".join(note for note in notes if note)


def _input_bytes(before: StoredPixels, view: View) -> int:
    # Of a stored chunk that `select` has cut, the spec knows what is left.
    return max(before.source.beside(region_shape(view.region)), before.bytes_met(view.region))


def _look(data: ReportData, before: StoredPixels | None, view: View, side: int) -> Shown:
    after = plane(data.after.read(view.region))
    samples, small = {"after": _thinned(after)}, shrink(after, side)
    del after  # one plane at a time is held
    if before is None or data.untouched(view.channel):
        return Shown(view, None, None, small, samples)
    raw = plane(before.read(view.region))
    samples["before"], small_raw = _thinned(raw), shrink(raw, side)
    del raw
    kind, offset = data.background(view.channel), np.float32(data.offset)
    samples["taken"] = difference(kind, samples["before"], samples["after"] - data.offset)
    return Shown(view, small_raw, difference(kind, small_raw, small - offset), small, samples)


def _overview(coarsest: StoredPixels, view: View) -> NDArray | None:
    rows, columns = coarsest.source.spec.shape[-2:]
    whole = (*view.region[:-2], slice(0, rows), slice(0, columns))
    if coarsest.bytes_met(whole) > PICTURE_BYTES:
        return None
    return shrink(plane(coarsest.read(whole)), 2 * _LARGE)


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
    thinned = [_thinned(picture) for picture in pictures if picture is not None]
    return limits(np.concatenate(thinned)) if thinned else (0.0, 1.0)


def picture(
    pixels: NDArray, bounds: tuple[float, float], view: View, title: str, frame: Region | None = None
) -> Markup:
    """Return an image with its scale bar as SVG.

    Parameters
    ----------
    pixels : numpy.ndarray
        Rows and columns, drawn over the extent of `view`.
    bounds : (float, float)
        What is black and what is white.
    view : View
        What is seen, in px of the image.
    title : str
        For a reader who does not see it.
    frame : tuple of slice, optional
        A part of the view that is framed, in px of the image.
    """
    low, high = bounds
    levels = np.nan_to_num((pixels - low) / (high - low) * 255, nan=0.0, posinf=255.0, neginf=0.0)
    encoded = imagecodecs.png_encode(np.clip(np.rint(levels), 0, 255).astype(np.uint8), level=3)
    rows, columns = region_shape(view.region)[-2:]
    # A strip is drawn high enough to be seen, and a column narrow enough to fit.
    width, height = _UNITS, min(max(_UNITS * rows * aspect_of(view.spec) / columns, 40.0), 2 * _UNITS)
    coarse = ' style="image-rendering:pixelated"' if max(pixels.shape) < 128 else ""
    image = Markup(
        '<image width="{:.0f}" height="{:.1f}" preserveAspectRatio="none"{} href="data:image/png;base64,{}"/>'
    ).format(width, height, Markup(coarse), base64.b64encode(encoded).decode())
    parts = [image, *_scale_bar(columns, view.spec, width, height)]
    if frame is not None:
        (top, bottom), (left, right) = ((span.start, span.stop) for span in frame[-2:])
        across, down = width / columns, height / rows
        box = left * across, top * down, (right - left) * across, (bottom - top) * down
        parts.append(svg.rect("frame", *box))
    return svg.image("picture", width, height, title, parts)


def _scale_bar(columns: int, spec: ImageSpec, width: float, height: float) -> list[Markup]:
    px, words = bar_length(columns, spec)
    length = px * width / columns
    right, bottom = width - 12, height - 12
    return [
        svg.rect("bar", right - length, bottom - 4, length, 4),
        svg.text(right, bottom - 9, words, "end", "bar"),
    ]
