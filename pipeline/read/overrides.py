"""Turn what a format says and what the user says into one source."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.model.axes import ORDER, image_axes
from pipeline.model.errors import Problem, RequestError, check_each
from pipeline.model.image import ImageSpec
from pipeline.model.units import Quantity, check_pixel_size, is_size, size_example
from pipeline.read.opened import UNKNOWN, Opened, read_dtype, shape_text
from pipeline.read.select import Wanted, select
from pipeline.read.source import Source

Kept = tuple[tuple[str, int], ...]
"""Axis letter and stored axis, for each axis kept."""


def make_source(
    opened: Opened,
    axes: str | None,
    scale: Mapping[str, Quantity] | None,
    wanted: Mapping[str, Wanted] | None,
) -> Source:
    """Apply the user's axes, scale and selection.

    Parameters
    ----------
    opened : Opened
        As the format describes it.
    axes : str, optional
        Names for the axes, instead of the format's.
    scale : mapping of str to Quantity, optional
        Sizes of a pixel, instead of the format's.
    wanted : mapping, optional
        What is selected.

    Raises
    ------
    RequestError
        The axes are missing or do not fit, an axis is unknown, a scale is none, a selection reaches outside.
    """
    kept = name_axes(opened, axes)
    opened = _measured(opened, kept, scale or {})
    notes = opened.notes + check_planes(opened, kept)
    spec = _scaled(_spec(opened, kept), scale or {})
    before = spec.scale
    spec, picks = select(spec, wanted or {})
    uneven = tuple(
        f"the scale along {axis}: what is selected of it is not evenly spaced"
        for axis in before
        if axis not in spec.scale
    )
    stored = tuple(at for _, at in kept)
    return Source(spec, opened.path, opened.store, stored, picks, opened.extras + uneven, notes)


def name_axes(opened: Opened, axes: str | None) -> Kept:
    """Return the axes of the image in the order t c z y x, each with the stored axis it is.

    Raises
    ------
    RequestError
        The data does not say its axes and neither does the user, or the two do not fit.
    """
    shape = opened.store.shape
    stored = list(enumerate(opened.axes))
    needed = [at for at, axis in stored if shape[at] != 1 or axis not in opened.optional]
    if axes is None:
        letters = "".join(opened.axes[at] for at in needed)
        _check_known(opened, letters, tuple(shape[at] for at in needed))
        chosen = needed
    else:
        letters = image_axes(axes, "input.axes")
        chosen = needed if len(letters) == len(needed) else list(range(len(shape)))
        if len(letters) != len(chosen):
            raise RequestError(
                f"{axes!r} names {len(letters)} axes and {opened.path!r} has {len(needed)}: "
                f"{shape_text(opened.axes, shape)}",
                "name one letter for each of them", "input.axes",
            )  # fmt: skip
    return tuple(sorted(zip(letters, chosen, strict=True), key=lambda pair: ORDER.index(pair[0])))


def check_planes(opened: Opened, kept: Kept) -> tuple[str, ...]:
    """Refuse y and x that are not the data's own where its planes are the likelier ones; else note it.

    Arrays whose last axis is time exist, so y and x may be others than the data says (a page of a TIFF is
    y × x by definition). But letters in the wrong order are commoner, and give planes such as 5 × 512
    out of five pages of 512 × 512. So the data's own planes hold, unless those that the user names are at
    least as square.

    Raises
    ------
    RequestError
        The data's own planes are squarer.
    """
    own = [opened.axes.find(axis) for axis in "yx"]
    named = [at for letter in "yx" for axis, at in kept if axis == letter]
    if min(own) < 0 or set(own) == set(named):
        return ()
    shape = opened.store.shape
    own_plane, plane = ([shape[at] for at in pair] for pair in (own, named))
    text, own_text = (f"{rows} × {columns}" for rows, columns in (plane, own_plane))
    letters = "".join(axis for axis, _ in sorted(kept, key=lambda pair: pair[1]))
    if _elongation(own_plane) < _elongation(plane):
        lead = "".join(letter for letter in ORDER if letter in letters and letter not in "yx")
        raise RequestError(
            f"{letters!r} makes planes of {text} out of {opened.path!r}, whose own are {own_text}",
            f"write {lead}yx, or store the data with its planes together",
            "input.axes",
        )
    return (f"the planes are {text}, as input.axes says, though the data's own are {own_text}",)


def _elongation(plane: Sequence[int]) -> float:
    return max(plane) / max(1, min(plane))


def _check_known(opened: Opened, letters: str, shape: tuple[int, ...]) -> None:
    odd = [letter for letter in letters if letter not in ORDER]
    doubled = len(set(letters)) < len(letters)
    if not odd and not doubled and {"y", "x"} <= set(letters):
        return
    example = _example(letters)
    what = "does not say its axes" if set(odd) <= {UNKNOWN} else f"has axes bgone does not know ({letters})"
    mend = f"name them, such as input.axes: {example}" if example else "give an image of t, c, z, y and x"
    raise RequestError(
        f"{opened.path!r} {what}; its shape is {' × '.join(map(str, shape))}", mend, "input.axes"
    )


def _example(letters: str) -> str:
    return {2: "yx", 3: "tyx", 4: "tzyx", 5: "tczyx"}.get(len(letters), "")


def _spec(opened: Opened, kept: Kept) -> ImageSpec:
    store = opened.store
    axes = "".join(axis for axis, _ in kept)
    sizes = {axis: store.shape[at] for axis, at in kept}
    empty = [axis for axis, size in sizes.items() if size == 0]
    if empty:
        raise RequestError(
            f"{opened.path!r} holds no pixels: its {empty[0]} is 0 long", "give another", "input.path"
        )
    physical = [axis for axis in axes if axis != "c"]
    return ImageSpec(
        axes,
        tuple(sizes.values()),
        read_dtype(store.dtype, repr(opened.path)),
        tuple(store.chunks[at] for _, at in kept),
        {axis: opened.scale[axis] for axis in physical if axis in opened.scale},
        {axis: opened.units[axis] for axis in physical if axis in opened.units},
        {axis: opened.translation[axis] for axis in physical if opened.translation.get(axis)},
        opened.channels if len(opened.channels) == sizes.get("c") else (),
        opened.name,
    )


def _measured(opened: Opened, kept: Kept, given: Mapping[str, Quantity]) -> Opened:
    """Return an image without the sizes and places that say nothing, noted where nobody said better ones.

    Raises
    ------
    RequestError
        A size of the data is none, and the user gave no other.
    """
    axes = [axis for axis, _ in kept]
    scale, units, translation = dict(opened.scale), dict(opened.units), dict(opened.translation)
    notes, problems = [], []
    for axis in axes:
        size, place = scale.get(axis, 1.0), translation.get(axis, 0.0)
        if not is_size(size):
            for said in (scale, units, translation):
                said.pop(axis, None)
            words = opened.said_by.get(axis, f"a scale of {size:g} along {axis}")
            example = f"input.scale: {{{axis}: {size_example(axis)}}}"
            if size == 0 and axis not in given:
                notes.append(f"{words} is taken as unknown ({example} would say it)")
            elif axis not in given:
                what = f"{opened.path!r} says {words}, which is no size"
                problems.append(Problem(what, f"say the right one, such as {example}", "input.scale"))
        elif not math.isfinite(place):
            translation.pop(axis)
            notes.append(f"the translation along {axis} is {place:g}, which is left out")
    if problems:
        raise RequestError(problems)
    return replace(opened, scale=scale, units=units, translation=translation, notes=(*opened.notes, *notes))


def _scaled(spec: ImageSpec, scale: Mapping[str, Quantity]) -> ImageSpec:
    try:
        sizes = check_each(scale, lambda axis, raw: _size(spec, axis, raw))
    except RequestError as error:
        raise error.under("input.scale") from None
    for axis, quantity in sizes.items():
        spec = _with_scale(spec, axis, quantity)
    return spec


def _size(spec: ImageSpec, axis: str, raw: object) -> Quantity:
    if axis not in spec.axes:
        raise RequestError(f"the data has no axis {axis!r}", f"its axes are {spec.axes}")
    return check_pixel_size(axis, raw)


def _with_scale(spec: ImageSpec, axis: str, quantity: Quantity) -> ImageSpec:
    translation = dict(spec.translation)
    if axis in translation:
        # What is known is which pixel the image begins at; its place follows the new size.
        translation[axis] *= quantity.value / spec.scale.get(axis, 1.0)
    return replace(
        spec,
        scale={**spec.scale, axis: float(quantity.value)},
        units={**spec.units, axis: quantity.unit},
        translation=translation,
    )
