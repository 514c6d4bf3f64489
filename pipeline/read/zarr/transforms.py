"""Scale and translation of an OME-Zarr image, from its coordinate transformations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.read.zarr.ngff import Axes, MetadataError, quoted, word_of

TRANSFORMS = "coordinateTransformations"
Stored = Callable[[str], object]


def transforms_of(
    multiscale: Mapping[str, object], level: int, axes: Axes, place: str, stored: Stored
) -> tuple[list[float], list[float]]:
    """Return scale and translation of a level along each axis.

    Applies the transformations of the level, then those of the whole image.

    Parameters
    ----------
    multiscale : mapping
        An entry of `multiscales`.
    level : int
    axes : Axes
        Of the level's array.
    place : str
        Place of the entry, for errors.
    stored : callable
        Reads the numbers of a transformation that are stored in an array, by its path.

    Raises
    ------
    MetadataError
        A transformation is invalid or of an unknown type.
    """
    datasets = multiscale["datasets"]
    own = datasets[level] if isinstance(datasets, list) else None
    lists = [
        (f"{place}.datasets.{level}.{TRANSFORMS}", own.get(TRANSFORMS) if isinstance(own, Mapping) else None),
        (f"{place}.{TRANSFORMS}", multiscale.get(TRANSFORMS)),
    ]
    scale, translation = [1.0] * len(axes.letters), [0.0] * len(axes.letters)
    for where, entries in lists:
        for number, transform in enumerate(_transform_list(entries, where)):
            name, numbers = _transform(transform, f"{where}.{number}", axes.letters, stored)
            if name == "scale":
                scale = [old * new for old, new in zip(scale, numbers, strict=True)]
                translation = [old * new for old, new in zip(translation, numbers, strict=True)]
            elif name == "translation":
                translation = [old + new for old, new in zip(translation, numbers, strict=True)]
    return scale, translation


def _transform_list(entries: object, place: str) -> list[object]:
    if entries is None:
        return []
    if isinstance(entries, Mapping):
        return [entries]
    if not isinstance(entries, list):
        raise MetadataError(place, f"{quoted(entries)} and no list of transformations")
    return entries


def _transform(transform: object, place: str, letters: str, stored: Stored) -> tuple[str, list[float]]:
    name = word_of(transform.get("type")) if isinstance(transform, Mapping) else ""
    if not isinstance(transform, Mapping) or name not in ("identity", "scale", "translation"):
        type_ = quoted(transform.get("type") if isinstance(transform, Mapping) else transform)
        raise MetadataError(place, f"{type_} is no transformation that bgone knows (scale, translation)")
    if name == "identity":
        return name, []
    numbers = transform.get(name)
    path = transform.get("path")
    if numbers is None and isinstance(path, str):
        numbers = stored(path)
    if not isinstance(numbers, list):
        reason = "missing" if numbers is None else f"{quoted(numbers)} and no list of numbers"
        raise MetadataError(f"{place}.{name}", reason)
    if len(numbers) != len(letters):
        count = f"{len(numbers)} {'number' if len(numbers) == 1 else 'numbers'} for {len(letters)} axes"
        raise MetadataError(f"{place}.{name}", f"{count} ({', '.join(letters)})")
    neutral = 1.0 if name == "scale" else 0.0
    return name, [
        # A scale along channels has no meaning, so any value will do.
        neutral if letter == "c" else _number(number, f"{place}.{name}.{at}")
        for at, (number, letter) in enumerate(zip(numbers, letters, strict=True))
    ]


def _number(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MetadataError(place, f"{quoted(value)} is no number")
    try:
        return float(value)
    except OverflowError:  # integers are unbounded in JSON
        return float("inf") if value > 0 else float("-inf")
