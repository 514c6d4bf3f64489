"""Panels, headings, scale bars and histograms in matplotlib, without a display."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.explore.scales import aspect_of, bar_length, count_bins, finite
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.text import axes_text
from pipeline.model.units import short_unit
from pipeline.steps.step import Step
from pipeline.storage.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, FAINT = "#1c2330", "#667085", "#d7dce4"
BLUE, ORANGE = "#2f6db5", "#c65d12"
PICTURES = (".png", ".pdf", ".svg", ".jpg")

_BINS = 120
_MARGIN, _GAP = 0.3, 0.25  # inches: around the figure, and between columns
_STYLE = {
    "text.parse_math": False,  # a name may hold a $, which would begin a formula
    "text.color": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": FAINT,
    "xtick.color": SOFT,
    "xtick.labelsize": 7,
    "xtick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.labelcolor": SOFT,
}


def style() -> AbstractContextManager[None]:
    """Return the rcParams context of all pictures."""
    from matplotlib import rc_context

    return rc_context(_STYLE)


def new_figure(
    rows: Sequence[tuple[Sequence[str], float]], widths: Sequence[float]
) -> tuple[Figure, dict[str, Axes]]:
    """Create a figure and its axes by name from rows of (names, height in inches); "." is left empty.

    Rows of "." make room for the titles and labels of the axes above and below.
    """
    # Not pyplot: it would keep the figure, and look for a display.
    from matplotlib.figure import Figure

    width = sum(widths) + _GAP * (len(widths) - 1) + 2 * _MARGIN
    height = sum(inches for _, inches in rows) + 2 * _MARGIN
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    across, up = _MARGIN / width, _MARGIN / height
    axes: dict[str, Axes] = figure.subplot_mosaic(
        [list(names) for names, _ in rows],
        width_ratios=list(widths),
        height_ratios=[inches for _, inches in rows],
        gridspec_kw={
            "left": across, "right": 1 - across, "bottom": up, "top": 1 - up,
            "wspace": _GAP * len(widths) / sum(widths), "hspace": 0,
        },
    )  # fmt: skip
    return figure, axes


def check_picture(path: str) -> str:
    """Return `path`, its folder created; refuse suffixes that are no picture format, and folders."""
    if Path(path).suffix.lower() not in PICTURES:
        raise RequestError(f"{path!r} is no picture's name", f"let it end in {', '.join(PICTURES)}", "-o")
    if os.path.isdir(path):
        raise RequestError(f"{path!r} is a folder", "name a file", "-o")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{path!r} cannot be written: {error.strerror}", "name another", "-o") from None
    return path


def save_figure(figure: Figure, path: str) -> None:
    """Write a figure atomically."""
    with whole_file(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower())


def panel_height(shape: tuple[int, ...], spec: ImageSpec, width: float, tallest: float) -> float:
    """Return the height in inches of a panel `width` inches wide that shows `shape` pixels."""
    return min(max(width * shape[0] * aspect_of(spec) / shape[1], 0.25 * width), tallest)


def heading(ax: Axes, title: str, words: str = "", plane: str = "", size: float = 10) -> None:
    """Write a title, words below it, and at the right the name of the plane."""
    ax.set_axis_off()
    ax.text(0, 1, title, fontsize=size, fontweight="bold", va="top")
    ax.text(1, 1, plane, fontsize=size, fontweight="bold", va="top", ha="right", color=ORANGE)
    ax.annotate(
        words, (0, 1), (0, -1.75 * size), textcoords="offset points", fontsize=9, va="top", color=SOFT
    )


def title(ax: Axes, path: str, words: str, width: float) -> None:
    """Write the heading of a picture `width` inches wide: the name of its input, and words."""
    name = path.rstrip("/").rpartition("/")[2] or path
    heading(ax, wrapped(name, width, 13, 1, bold=True), words, size=13)


def show(ax: Axes, pixels: NDArray, bounds: tuple[float, float], spec: ImageSpec) -> None:
    """Draw an image in grey between black and white levels."""
    shown = pixels.astype(np.float32) if pixels.dtype != np.float32 else pixels
    ax.imshow(shown, cmap="gray", vmin=bounds[0], vmax=bounds[1], aspect=aspect_of(spec))
    # Without ticks but with spines: a white image would have no border.
    ax.set(xticks=[], yticks=[])


def scale_bar(ax: Axes, shape: tuple[int, ...], spec: ImageSpec) -> None:
    """Draw a scale bar in the image's unit, or in px where it has none."""
    from matplotlib.patheffects import withStroke

    px, words = bar_length(shape[1], spec)
    right, bottom = shape[1] * 0.96 - 0.5, shape[0] * 0.95 - 0.5
    # White on a black outline is seen on any image.
    ax.plot(
        [right - px, right],
        [bottom, bottom],
        color="white",
        linewidth=2.5,
        solid_capstyle="butt",
        path_effects=[withStroke(linewidth=4.2, foreground="black")],
    )
    ax.annotate(
        words,
        (right, bottom),
        (0, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color="white",
        fontsize=8,
        fontweight="bold",
        path_effects=[withStroke(linewidth=2.2, foreground="black")],
    )
    ax.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5))


def note(ax: Axes, words: str, points: float) -> None:
    """Write highlighted words at the right, `points` below the axes."""
    ax.annotate(
        words,
        (1, 0),
        (0, -points),
        "axes fraction",
        "offset points",
        ha="right",
        va="top",
        fontsize=7.5,
        color=ORANGE,
    )


def draw_histogram(
    ax: Axes, values: NDArray, bounds: tuple[float, float], span: tuple[float, float], color: str
) -> None:
    """Draw a logarithmic histogram of the values in `span`, shaded beyond black and white."""
    numbers = finite(values)
    ax.set_yscale("log")
    if numbers.size:
        edges, (counts,) = count_bins([numbers], span, _BINS)
        ax.stairs(np.maximum(counts, 0.5), edges, baseline=0.5, fill=True, color=color, linewidth=0)
        ax.set(xlim=(edges[0], edges[-1]), ylim=(0.5, max(counts.max() * 2, 2)))
        for shaded in ((edges[0], bounds[0]), (bounds[1], edges[-1])):
            if shaded[0] < shaded[1]:
                ax.axvspan(*shaded, color=FAINT, alpha=0.55, linewidth=0)
    ax.yaxis.set_visible(False)
    ax.locator_params(axis="x", nbins=5)
    ax.spines[["left", "top", "right"]].set_visible(False)


def parameters(step: Step, spec: ImageSpec) -> str:
    """Describe a resolved step's parameters, such as radius 25 px = 8.13 µm, footprint box."""
    words = []
    for name in step.lengths:
        px = dict(zip(step.along, step.pixels(name, step.along), strict=True))
        real = {
            axis: f"{value * spec.scale[axis]:.3g} {short_unit(spec.units[axis])}"
            for axis, value in px.items()
            if axis in spec.scale and axis in spec.units
        }
        text = f"{name} {axes_text({axis: f'{value:g}' for axis, value in px.items()})} px"
        words.append(f"{text} = {axes_text(real)}" if len(real) == len(px) else text)
    for name, field in type(step).model_fields.items():
        value = getattr(step, name)
        if name not in ("channels", *step.lengths) and value != field.default and value is not None:
            words.append(f"{name} {value}")
    return ", ".join(words)


def wrapped(text: str, width: float, size: float, lines: int = 2, bold: bool = False) -> str:
    """Wrap text to a width in inches at a size in points; too long a text loses its middle."""
    # Mean width of a DejaVu Sans letter ÷ font size; measuring the text would need a renderer.
    letter = 0.7 if bold else 0.58
    letters = max(8, int(width * 72 / (letter * size)))
    if len(text) > letters * lines:
        half = (letters * lines - 3) // 2
        text = f"{text[:half].rstrip()} … {text[-half:].lstrip()}"
    return "\n".join(textwrap.wrap(text, letters, break_on_hyphens=False)[: lines + 1])
