"""`bgone init`: a commented config for an input, ready to run."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

from pipeline.model.errors import PipelineError, RequestError
from pipeline.model.image import ImageSpec
from pipeline.model.paths import is_url
from pipeline.model.units import Quantity
from pipeline.planning.describe import image_text
from pipeline.read import Source, open_source
from pipeline.storage.whole_file import whole_file

RADIUS = 25  # px, of the first top-hat, before anyone has looked at the pixels


class Opening(TypedDict, total=False):
    """Options of opening an input, as in the config."""

    axes: str | None
    series: int | None
    level: int


def starter(path: str, **opening: Unpack[Opening]) -> str:
    """Return a commented config for any input, without reading a pixel."""
    source = open_source(path, **opening)
    spec = source.spec
    radius = max(1, min(RADIUS, max(spec.sizes["y"], spec.sizes["x"]) // 8))
    units = "; with a unit it is physical, such as 8 um" if {"y", "x"} <= set(scale_values(spec)) else ""
    steps = [
        "# Keeps bright features smaller than a disk of this radius, and takes off the rest: a little",
        f"# larger than the features. A number is px{units}.",
        f"# Not looked at yet: `bgone suggest {shown_path(path)}` finds out what fits.",
        f"- white_tophat: {{radius: {radius}}}",
        "# For dark features on a bright background:",
        f"# - black_tophat: {{radius: {radius}}}",
        "# Instead, or after it: noise taken off too, by a narrow and a wide Gaussian:",
        f"# - difference_of_gaussians: {{low_sigma: 1, high_sigma: {2 * radius}}}",
    ]
    if named_apart(spec):
        first = spec.channel_names[0]
        steps += [
            "# A step may be for some channels; the others pass untouched:",
            f"# - gaussian: {{sigma: 1, channels: {flow_names([first])}}}",
        ]
    return config_text(source, steps, opening)


def config_text(source: Source, steps: Sequence[str], opening: Opening) -> str:
    """Return a commented config for an open input, with the given lines as its steps."""
    spec, series, level = source.spec, opening.get("series"), opening.get("level", 0)
    lines = [
        f"# {_one_line(os.path.basename(source.path.rstrip('/')))}: {_one_line(image_text(spec))}",
        _HEAD,
        f"  path: {_quoted(source.path)}",
    ]
    if series is not None:
        lines.append(f"  series: {series:<25}  # which image of the file")
    if level:
        lines.append(f"  level: {level:<26}  # of the pyramid")
    lines += _data_lines(source, opening)
    lines += ["", "steps:", *(f"  {line}" for line in steps), _OUTPUT]
    lines.append(f"  path: {_quoted(f'{stem(source.path)}.bgone.ome.zarr')}")
    if spec.dtype.kind in "iu":
        lines.append(_INTEGERS.format(spec.dtype, spec.dtype))
    return "\n".join([*lines, _TAIL])


_HEAD = """\
#
#   bgone plan CONFIG                    shows what would run, without reading a pixel
#   bgone preview CONFIG -o preview.png  draws before, background and after
#   bgone run CONFIG                     runs it, or goes on where it stopped

input:"""
_OUTPUT = """
output:
  # Relative to the folder of this file. It appears when it is whole."""
_INTEGERS = """\
  # A top-hat keeps the type; Gaussians give float32 with values below 0. To store those as
  # {} too, add an offset and say what happens to what still does not fit:
  # dtype: {}
  # offset: 100
  # overflow: clip                   # or error"""
_TAIL = """\
  # compressor: blosc-zstd             # smaller and slower than blosc-lz4
  # chunks: {y: 1024, x: 1024}

# compute:
#   memory: 8 GiB                      # for the whole run; 60 % of what is free without it
#   workers: 4                         # one for each core without it
"""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _data_lines(source: Source, opening: Opening) -> list[str]:
    """Return the lines of axes, scale and channels; commented out where they would open another image."""
    spec, scale = source.spec, scale_values(source.spec)
    axes = opening.get("axes") or spec.axes
    fields: list[tuple[str, str, object, str]] = [
        ("axes", axes, axes, "t time, c channel, z depth, y rows, x columns")
    ]
    if scale:
        words = ", ".join(f"{axis}: {value}" for axis, value in scale.items())
        parsed = {axis: Quantity.parse(value) for axis, value in scale.items()}
        fields.append(("scale", f"{{{words}}}", parsed, "size of a pixel, interval of frames"))
    names = list(spec.channel_names) if named_apart(spec) else []
    if names:
        fields.append(("select", f"{{c: {flow_names(names)}}}", {"c": names}, "channels that are taken"))
    lines = ["  # As the data says; for another input leave these out, or change them."]
    opened: dict[str, object] = dict(opening)
    for field, words, value, comment in fields:
        same = _opens_the_same(source, {**opened, field: value})
        if same:
            opened[field] = value
        text = f"{'' if same else '# '}{field}: {words}"
        lines.append(f"  {text:<33}  # {comment}")
    if not scale:
        examples = {"t": "30 s", "z": "1 um", "y": "0.325 um", "x": "0.325 um"}
        example = ", ".join(f"{axis}: {value}" for axis, value in examples.items() if axis in spec.axes)
        lines.append(f"  # scale: {{{example}}}  # the data does not say it; until then lengths are px")
    if not names and "t" in spec.axes:
        few = min(10, spec.sizes["t"])
        lines.append(f'  # select: {{t: "0:{few}"}}  # only some frames, while you try things')
    if spec.dtype.kind == "f":
        lines.append("  # nan: propagate  # without this a NaN stops the run")
    return lines


def _opens_the_same(source: Source, options: Mapping[str, object]) -> bool:
    try:
        again = open_source(source.path, **options).spec  # type: ignore[arg-type]  # the fields of a config
    except PipelineError:
        return False
    spec = source.spec
    return (
        again.with_(scale={}, chunks=()) == spec.with_(scale={}, chunks=())
        and set(again.scale) == set(spec.scale)
        and all(math.isclose(value, spec.scale[axis], rel_tol=5e-7) for axis, value in again.scale.items())
    )


def scale_values(spec: ImageSpec) -> dict[str, str]:
    """Return the pixel size as a config writes it, along axes with a known value and unit."""
    return {
        axis: str(Quantity(float(f"{spec.scale[axis]:.7g}"), spec.units[axis]).plain())
        for axis in spec.axes
        if axis in spec.scale and axis in spec.units and spec.scale[axis] > 0
    }


def named_apart(spec: ImageSpec) -> bool:
    """Return whether every channel has a unique name."""
    names = spec.channel_names
    return bool(names) and all(names) and len(set(names)) == len(names)


def flow_names(names: Sequence[str | int]) -> str:
    """Write channels as a YAML list; names that YAML would not read as text are quoted.

    >>> flow_names(["GFP", "488", 2])
    '[GFP, "488", 2]'
    """
    words = []
    for name in names:
        plain = isinstance(name, int) or (
            name.isascii() and name.isalnum() and name[0].isalpha() and name.lower() not in _WORDS
        )
        words.append(str(name) if plain else json.dumps(name, ensure_ascii=False))
    return f"[{', '.join(words)}]"


# Words that YAML does not read as text.
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def stem(path: str) -> str:
    """Return the name of an input without folder and format suffixes.

    >>> stem("/data/embryo.ome.tif"), stem("s3://bucket/a.zarr/"), stem("frames/*_GFP.tif")
    ('embryo', 'a', 'GFP')
    """
    name = path.rstrip("/").replace("\\", "/").rpartition("/")[2]
    name = re.sub(r"(\.(tiff?|zarr|ome|btf|tf[28]|zip|xml|companion))+$", "", name, flags=re.IGNORECASE)
    clean = "".join(letter if letter.isalnum() or letter in "-_. +()=," else "_" for letter in name)
    return clean.strip("_ .") or "image"


def shown_path(path: str) -> str:
    """Quote a path for a shell."""
    import shlex

    return shlex.quote(_one_line(path))


def write_new(path: str, text: str, overwrite: bool) -> None:
    """Write a text file; refuse to replace one without `overwrite`."""
    if is_url(path):
        raise RequestError(f"{path!r} is no file here", "name a file", "-o")
    if os.path.lexists(path) and not overwrite:
        raise RequestError(f"{path!r} exists", "name another, or add --overwrite", "-o")
    with whole_file(path, replace=overwrite) as file:
        file.write(text.encode())
