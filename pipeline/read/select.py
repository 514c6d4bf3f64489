"""Selections of indices along each axis, by slices, indices and channel names."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.model.errors import Problem, RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.text import shown
from pipeline.read.spans import Pick

Selector = str | int | Sequence[int | str]
_INDEX = r"\s*(-?[0-9]{1,18})?\s*"
# START:STOP or START:STOP:STEP, each of which may be left out. The JSON schema of a config has it too.
SLICE = f"^{_INDEX}:{_INDEX}(?::{_INDEX})?$"


def check_slice(text: str) -> tuple[int | None, int | None, int]:
    """Return start, stop and step of a slice given as text, checked as far as possible without the data.

    Raises
    ------
    RequestError
        It is no slice, goes backwards, or is empty whatever the length of the axis.

    Examples
    --------
    >>> check_slice("0:100"), check_slice("::2")
    ((0, 100, 1), (None, None, 2))
    """
    match = re.match(SLICE, text)
    if match is None:
        looks_listed = re.fullmatch(r"[\w., -]*[^\W\d][\w., -]*|[0-9]+", text)
        hint = f"write it as a list: [{text.strip()}]" if looks_listed else "write START:STOP, such as 0:100"
        raise RequestError(f"{shown(text)} is no slice", hint)
    start, stop, step = (int(index) if index else None for index in match.groups())
    if step is not None and step < 1:
        raise RequestError(f"{shown(text)} has a step of {step}", "give a step of 1 or more")
    same_end = start is not None and stop is not None and (start < 0) == (stop < 0)
    if stop == 0 or (same_end and start >= stop):  # type: ignore[operator]  # both are ints there
        hint = "the stop is not included: give one above the start"
        raise RequestError(f"{shown(text)} selects nothing", hint)
    return start, stop, step or 1


def select(spec: ImageSpec, selection: Mapping[str, Selector]) -> tuple[ImageSpec, tuple[Pick, ...]]:
    """Apply a selection, and return the spec of the result and the indices it has along each axis.

    Axes of length 1 stay. The translation moves to the first selected pixel, and a step multiplies the
    scale; indices of t, z, y or x that are not evenly spaced leave no scale.

    Parameters
    ----------
    spec : ImageSpec
        The whole image.
    selection : mapping
        By axis: a slice as text ("0:100", half-open, 0-based), an index, or a list of indices
        or channel names. Negative indices count from the end.

    Raises
    ------
    RequestError
        With all mistakes: unknown axes, indices outside, unknown names, empty selections.
    """
    picks: dict[str, Pick] = {axis: range(size) for axis, size in spec.sizes.items()}
    problems: list[Problem] = []
    for axis, value in selection.items():
        try:
            if axis not in picks:
                raise RequestError(f"the data has no axis {axis!r}", f"its axes are {spec.axes}")
            picks[axis] = _pick(value, axis, spec)
        except RequestError as error:
            problems += error.under(f"input.select.{axis}").problems
    if problems:
        raise RequestError(problems)
    return _selected(spec, picks), tuple(picks.values())


def _pick(value: Selector, axis: str, spec: ImageSpec) -> Pick:
    if isinstance(value, str) and (axis != "c" or re.match(SLICE, value)):
        return _slice(value, spec.sizes[axis])
    items = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    if not items:
        raise RequestError("an empty list selects nothing", "leave it out to keep all")
    indices = [_index(item, axis, spec) for item in items]
    if len(set(indices)) < len(indices):
        repeated = Counter(indices).most_common(1)[0][0]
        raise RequestError(f"index {repeated} is selected twice", "name each once")
    if axis != "c" and indices != sorted(indices):
        raise RequestError(f"the indices of {axis} are not in increasing order", "sort them")
    # A range is read in one span and has a scale.
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    even = range(indices[0], indices[-1] + 1, step) if step > 0 else range(0)
    return even if list(even) == indices else tuple(indices)


def _slice(text: str, size: int) -> range:
    start, stop, step = check_slice(text)
    start, stop = _edge(start, 0, size, text), _edge(stop, size, size, text)
    if start >= stop:
        raise RequestError(
            f"{text!r} selects nothing", f"there are {size}; the second number is one past the last"
        )
    return range(start, stop, step)


def _edge(index: int | None, default: int, size: int, text: str) -> int:
    if index is None:
        return default
    # Unlike Python's slices, which clip: an edge outside is more likely a slip than meant.
    edge = index + (size if index < 0 else 0)
    if not 0 <= edge <= size:
        raise RequestError(f"{text!r} reaches outside: there are {size}", f"stay within '0:{size}'")
    return edge


def _index(item: object, axis: str, spec: ImageSpec) -> int:
    size = spec.sizes[axis]
    if isinstance(item, bool) or not isinstance(item, int | str):
        raise RequestError(f"{item!r} is no index", "give whole numbers, or names of channels")
    if isinstance(item, str):
        if axis != "c":
            raise RequestError(f"{item!r} is no index", f"only c has names; give 0 to {size - 1}")
        return _channel_index(item, spec)
    if not -size <= item < size:
        names = spec.channel_names if axis == "c" and any(spec.channel_names) else ()
        hint = f", named {_quoted(names)}; a name that is a number needs quotes" if names else ""
        raise RequestError(f"index {item} reaches outside", f"there are {size}: 0 to {size - 1}{hint}")
    return item % size


def _channel_index(name: str, spec: ImageSpec) -> int:
    names = spec.channel_names
    if not any(names):
        last = spec.sizes["c"] - 1
        raise RequestError(
            f"the data names no channels, so there is no {name!r}", f"give an index, 0 to {last}"
        )
    if names.count(name) > 1:
        first = names.index(name)
        raise RequestError(f"several channels are named {name!r}", f"give an index, such as {first}")
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RequestError(f"no channel is named {name!r}", f"{hint}the names are {_quoted(names)}")
    return names.index(name)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _selected(spec: ImageSpec, picks: Mapping[str, Pick]) -> ImageSpec:
    scale, units, translation = dict(spec.scale), dict(spec.units), dict(spec.translation)
    for axis, pick in picks.items():
        if axis == "c":
            continue
        if isinstance(pick, tuple):
            for mapping in (scale, units, translation):
                mapping.pop(axis, None)
            continue
        if pick.start:
            translation[axis] = translation.get(axis, 0.0) + pick.start * scale.get(axis, 1.0)
        if pick.step != 1 and len(pick) > 1:
            scale[axis] = scale.get(axis, 1.0) * pick.step
    sizes = {axis: len(pick) for axis, pick in picks.items()}
    return spec.with_(
        shape=tuple(sizes.values()),
        chunks=tuple(min(chunk, sizes[axis]) for axis, chunk in zip(spec.axes, spec.chunks, strict=True)),
        scale=scale,
        units=units,
        translation=translation,
        channels=tuple(spec.channels[index] for index in picks.get("c", ())) if spec.channels else (),
    )
