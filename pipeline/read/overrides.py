"""Apply the user's axes, scale and selection to an opened image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pipeline.model.axes import ORDER, image_axes
from pipeline.model.errors import Problem, RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.units import Quantity, check_pixel_size, is_size, size_example
from pipeline.read.files import input_error
from pipeline.read.opened import UNKNOWN, Opened, layout_text, read_dtype
from pipeline.read.select import Selector, select
from pipeline.read.source import Source

# Letter and stored axis of each axis of the image, in the order t c z y x.
Kept = tuple[tuple[str, int], ...]

_AXES = "input.axes"


def make_source(
    opened: Opened, axes: str | None, scale: Mapping[str, Quantity], selection: Mapping[str, Selector]
) -> Source:
    """Apply the user's axes, scale and selection.

    Raises
    ------
    RequestError
        The axes are missing or do not fit, a scale is invalid, or a selection reaches outside.
    """
    kept = _name_axes(opened, axes)
    opened = _with_sizes(opened, kept, scale)
    notes = opened.notes + _check_planes(opened, kept)
    whole = _scaled(_spec(opened, kept), scale)
    spec, picks = select(whole, selection)
    uneven = tuple(
        f"the scale along {axis}: what is selected of it is not evenly spaced"
        for axis in whole.scale
        if axis not in spec.scale
    )
    stored = tuple(at for _, at in kept)
    return Source(spec, opened.path, opened.store, stored, picks, opened.not_carried + uneven, notes)


def _name_axes(opened: Opened, axes: str | None) -> Kept:
    shape, stored = opened.store.shape, opened.axes
    needed = [at for at, axis in enumerate(stored) if shape[at] != 1 or axis not in opened.optional]
    letters = "".join(stored[at] for at in needed) if axes is None else image_axes(axes, _AXES)
    # The user may name the optional axes of length 1, or not.
    chosen = needed if len(letters) == len(needed) else list(range(len(shape)))
    if axes is None:
        _check_known(opened, letters, tuple(shape[at] for at in needed))
    elif len(letters) != len(chosen):
        message = f"{axes!r} names {len(letters)} axes and {opened.path!r} has {len(needed)}: "
        hint = "name one letter for each of them"
        raise RequestError(message + layout_text(stored, shape), hint, _AXES)
    return tuple(sorted(zip(letters, chosen, strict=True), key=lambda pair: ORDER.index(pair[0])))


def _check_known(opened: Opened, letters: str, shape: tuple[int, ...]) -> None:
    unknown = {letter for letter in letters if letter not in ORDER}
    if not unknown and len(set(letters)) == len(letters) and {"y", "x"} <= set(letters):
        return
    example = {2: "yx", 3: "tyx", 4: "tzyx", 5: "tczyx"}.get(len(letters))
    message = "does not say its axes" if unknown <= {UNKNOWN} else f"has axes bgone does not know ({letters})"
    hint = f"name them, such as input.axes: {example}" if example else "give an image of t, c, z, y and x"
    raise RequestError(f"{opened.path!r} {message}; its shape is {' × '.join(map(str, shape))}", hint, _AXES)


def _check_planes(opened: Opened, kept: Kept) -> tuple[str, ...]:
    """Check y and x that the user puts on other axes than the data's own planes.

    Arrays whose last axis is time exist, but letters in a wrong order are more common: they make planes of
    5 × 512 from five pages of 512 × 512. So the user's planes must be at least as square as the data's own.
    """
    own = [opened.axes.find(axis) for axis in "yx"]
    named = [at for letter in "yx" for axis, at in kept if axis == letter]
    if min(own) < 0 or set(own) == set(named):
        return ()
    shape = opened.store.shape
    (text, aspect), (own_text, own_aspect) = (
        (f"{shape[y]} × {shape[x]}", max(shape[y], shape[x]) / max(1, min(shape[y], shape[x])))
        for y, x in (named, own)
    )
    if own_aspect < aspect:
        letters = "".join(axis for axis, _ in sorted(kept, key=lambda pair: pair[1]))
        lead = "".join(letter for letter, _ in kept if letter not in "yx")
        message = f"{letters!r} makes planes of {text} out of {opened.path!r}, whose own are {own_text}"
        raise RequestError(message, f"write {lead}yx, or store the data with its planes together", _AXES)
    return (f"the planes are {text}, as input.axes says, though the data's own are {own_text}",)


def _spec(opened: Opened, kept: Kept) -> ImageSpec:
    store = opened.store
    axes = "".join(axis for axis, _ in kept)
    sizes = {axis: store.shape[at] for axis, at in kept}
    empty = [axis for axis, size in sizes.items() if size == 0]
    if empty:
        raise input_error(f"{opened.path!r} holds no pixels: its {empty[0]} is 0 long", "give another")
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


def _with_sizes(opened: Opened, kept: Kept, user_scale: Mapping[str, Quantity]) -> Opened:
    """Drop meaningless pixel sizes and offsets of the data, with notes unless the user gave better ones.

    Raises
    ------
    RequestError
        A pixel size is invalid (0 counts as unknown), and the user gave none.
    """
    scale, units, translation = dict(opened.scale), dict(opened.units), dict(opened.translation)
    notes, problems = [], []
    for axis, _ in kept:
        size, offset = scale.get(axis, 1.0), translation.get(axis, 0.0)
        if not is_size(size):
            for by_axis in (scale, units, translation):
                by_axis.pop(axis, None)
            words = opened.scale_source.get(axis, f"a scale of {size:g} along {axis}")
            example = f"input.scale: {{{axis}: {size_example(axis)}}}"
            if size == 0 and axis not in user_scale:
                notes.append(f"{words} is taken as unknown ({example} would say it)")
            elif axis not in user_scale:
                message = f"{opened.path!r} says {words}, which is no size"
                problems.append(Problem(message, f"say the right one, such as {example}", "input.scale"))
        elif not math.isfinite(offset):
            translation.pop(axis)
            notes.append(f"the translation along {axis} is {offset:g}, which is left out")
    if problems:
        raise RequestError(problems)
    return replace(opened, scale=scale, units=units, translation=translation, notes=(*opened.notes, *notes))


def _scaled(spec: ImageSpec, sizes: Mapping[str, Quantity]) -> ImageSpec:
    scale, units, translation = dict(spec.scale), dict(spec.units), dict(spec.translation)
    problems: list[Problem] = []
    for axis, raw in sizes.items():
        try:
            if axis not in spec.axes:
                raise RequestError(f"the data has no axis {axis!r}", f"its axes are {spec.axes}")
            size = check_pixel_size(axis, raw)
        except RequestError as error:
            problems += error.under(f"input.scale.{axis}").problems
            continue
        if axis in translation:
            # The offset is a number of pixels, which the user's size does not change.
            translation[axis] *= size.value / scale.get(axis, 1.0)
        scale[axis], units[axis] = float(size.value), size.unit
    if problems:
        raise RequestError(problems)
    return spec.with_(scale=scale, units=units, translation=translation)
