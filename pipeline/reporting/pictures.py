"""Pictures of a few planes before and after: downsampled, and drawn as PNG inside SVG."""

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

CHANNELS = 8  # more would make a page that opens slowly
PICTURE_BYTES = 128 * 2**20  # of whole decoded chunks, read for one picture at most

# Px a side of a picture: large for up to `_FEW` planes, small for more.
_LARGE, _SMALL, _FEW = 384, 240, 6
_UNITS = 360.0  # width of a drawing, in SVG units
_SAMPLES = 2**14  # pixels of a plane that histograms and contrast are taken from


@dataclass(frozen=True)
class Shown:
    """One plane, or the middle of it, downsampled to float32."""

    view: View
    before: NDArray | None  # None, like `removed`, where the input cannot be shown
    removed: NDArray | None  # the background, or else the difference
    after: NDArray  # with the offset in it
    samples: Mapping[str, NDArray]  # some pixels of each at full resolution
    overview: NDArray | None = None  # the whole plane at the coarsest level, where `view` is a crop


def gather_planes(data: ReportData) -> tuple[list[list[Shown]], str]:
    """Read the first, middle and last time point of each channel, at the middle depth.

    Returns the planes by channel and time, and a note on what is not shown and why.
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
    # `select` may have cut the chunks that the spec tells; the source knows what is stored.
    return max(before.source.bytes_beside(region_shape(view.region)), before.bytes_met(view.region))


def _look(data: ReportData, before: StoredPixels | None, view: View, side: int) -> Shown:
    after = plane(data.after.read(view.region))
    samples, small = {"after": _thinned(after)}, shrink(after, side)
    del after  # the memory holds one full plane at a time
    if before is None or data.untouched(view.channel):
        return Shown(view, None, None, small, samples)
    raw = plane(before.read(view.region))
    samples["before"], small_raw = _thinned(raw), shrink(raw, side)
    del raw
    kind, offset = data.background(view.channel), np.float32(data.offset)
    samples["removed"] = difference(kind, samples["before"], samples["after"] - data.offset)
    return Shown(view, small_raw, difference(kind, small_raw, small - offset), small, samples)


def _overview(coarsest: StoredPixels, view: View) -> NDArray | None:
    rows, columns = coarsest.source.spec.shape[-2:]
    whole = (*view.region[:-2], slice(0, rows), slice(0, columns))
    if coarsest.bytes_met(whole) > PICTURE_BYTES:
        return None
    return shrink(plane(coarsest.read(whole)), 2 * _LARGE)


def _thinned(pixels: NDArray) -> NDArray:
    """Return about `_SAMPLES` pixels of a plane, on a regular grid."""
    step = max(1, int(np.sqrt(pixels.size / _SAMPLES)))
    return pixels[step // 2 :: step, step // 2 :: step].astype(np.float32).reshape(-1)


def shrink(pixels: NDArray, side: int) -> NDArray:
    """Downsample an image to at most `side` px by box means; an incomplete box at the far end is dropped.

    >>> shrink(np.arange(16).reshape(4, 4), 2).tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    factor = -(-max(pixels.shape) // side)
    rows, columns = (min(factor, size) for size in pixels.shape)
    height, width = pixels.shape[0] // rows, pixels.shape[1] // columns
    # Rows first: they are contiguous in memory.
    sums = np.zeros((height, width * columns), np.float32)
    for row in range(rows):
        sums += pixels[row : height * rows : rows, : width * columns]
    return sums.reshape(height, width, columns).sum(axis=2) / np.float32(rows * columns)


def bounds_of(pictures: Sequence[NDArray | None]) -> tuple[float, float]:
    """Return the black and white levels that pictures share."""
    thinned = [_thinned(picture) for picture in pictures if picture is not None]
    return limits(np.concatenate(thinned)) if thinned else (0.0, 1.0)


def picture(
    pixels: NDArray, bounds: tuple[float, float], view: View, title: str, frame: Region | None = None
) -> Markup:
    """Draw an image over the extent of `view` as SVG, with a scale bar and an optional framed region.

    `bounds` are the black and white levels, `title` is read out by screen readers.
    """
    low, high = bounds
    levels = np.nan_to_num((pixels - low) / (high - low) * 255, nan=0.0, posinf=255.0, neginf=0.0)
    encoded = imagecodecs.png_encode(np.clip(np.rint(levels), 0, 255).astype(np.uint8), level=3)
    rows, columns = region_shape(view.region)[-2:]
    # Strips of a few rows stay visible, and columns of a few px do not fill the page.
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
