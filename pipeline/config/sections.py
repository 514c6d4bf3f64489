"""The sections of a config as typed, frozen models: what may stand there, its defaults, and their reading."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.config import types
from pipeline.config.chain import example
from pipeline.config.cluster import ClusterName
from pipeline.model.errors import Problem, RequestError
from pipeline.model.messages import validate
from pipeline.model.paths import is_url
from pipeline.model.text import nearest, readable, shown, spacing_hint
from pipeline.read import Source, open_source
from pipeline.steps.registry import REGISTRY


class Section(BaseModel):
    """A section of a config: unknown keys and wrong types are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class InputConfig(Section):
    """What is read.

    Parameters
    ----------
    path : str
        File, folder, glob or URL; relative to the folder of this file. ~ and ${VAR} are filled in.
    axes : str, optional
        The axes of the data, in its own order, where it does not say them: a plain TIFF stack does not.
    scale : mapping of str to text, optional
        Size of a pixel with its unit along each axis, where the data does not say it, or to override.
    select : mapping of str to text or list, optional
        By axis: a slice as text, counted from 0 and without its stop, or a list of indices or channel names.
    nan : {"refuse", "propagate"}
        What NaN and infinite pixels mean: the run stops at one, or each step does with it what it
        does. A Gaussian spreads it; a minimum or maximum leaves a NaN out, and the pixel itself
        stays NaN; an infinity is a value like others to them.
    level : int
        Which level of a pyramid, 0 being the full resolution.
    series : int, optional
        Which image of a file with several, counted from 0.
    """

    path: types.FilePath = Field(examples=["../data/movie.ome.tif"])
    axes: types.DataAxes | None = Field(None, examples=["tyx"])
    scale: types.PixelSizes | None = Field(None, examples=["{t: 30 s, y: 0.325 um, x: 0.325 um}"])
    select: types.Select | None = Field(None, examples=["{t: '0:100', c: [GFP]}"])
    nan: Literal["refuse", "propagate"] = "refuse"
    level: Annotated[int, Field(ge=0)] = 0
    series: Annotated[int, Field(ge=0)] | None = Field(None, examples=[0])

    def open(self) -> Source:
        """Open the image without reading a pixel; raises what `open_source` does."""
        return open_source(
            self.path,
            axes=self.axes,
            scale=self.scale,
            select=self.select,
            series=self.series,
            level=self.level,
        )


class OutputConfig(Section):
    """What is written.

    Parameters
    ----------
    path : str
        Where the OME-Zarr appears once it is whole; relative to the folder of this file.
    dtype : str, optional
        Default: what the chain gives; `input` means the input's.
    overflow : {"clip", "error"}, optional
        What happens to a value that the dtype cannot hold; must be said where that can be.
    offset : number
        Added before the cast, recorded in the metadata: keeps negatives in an unsigned type.
    chunks : mapping of str to int, optional
        Axis → px. Default: the input's where sensible, else about 1 to 4 MB, whole planes up to 1024².
    shards : mapping of str to int, optional
        Axis → px, multiples of the chunk's: several chunks in one file.
    compressor : {"blosc-lz4", "blosc-zstd", "zstd", "none"}
        How chunks are compressed.
    checksum : bool or "crc32c"
        Whether each chunk ends in a crc32c, which every reader checks; the manifest has one anyway.
    pyramid : bool
        Whether coarser levels are written, the mean of 2 × 2 pixels each.
    version : {"0.5", "0.4"}
        Of OME-Zarr, quoted or not.
    axes : str, optional
        The axes as stored, such as tczyx: those that the image lacks are added with length 1.
    background : str, optional
        A second OME-Zarr for what the chain takes off: the input minus its result as it is before offset
        and cast (plus it after a black top-hat). In the input's dtype; float32 or wider for Gaussians.
    work : str, optional
        Folder where the unfinished run lives; default beside the output.
    max_clipped : share, optional
        Of the pixels, as 0.1% or 0.001: where more are clipped, the output does not appear.
    """

    path: types.FilePath = Field(examples=["../results/movie.ome.zarr"])
    dtype: types.Dtype | None = Field(None, examples=["uint16"])
    overflow: Literal["clip", "error"] | None = Field(None, examples=["clip"])
    offset: Annotated[float, Field(allow_inf_nan=False)] = 0
    chunks: types.PixelsByAxis | None = Field(None, examples=["{y: 1024, x: 1024}"])
    shards: types.PixelsByAxis | None = Field(None, examples=["{t: 10, y: 2048, x: 2048}"])
    compressor: Literal["blosc-lz4", "blosc-zstd", "zstd", "none"] = "blosc-lz4"
    checksum: types.Checksum = False
    pyramid: bool = True
    version: types.FormatVersion = "0.5"
    axes: types.StoredAxes | None = Field(None, examples=["tczyx"])
    background: types.FilePath | None = Field(None, examples=["../results/background.ome.zarr"])
    work: types.FolderPath | None = Field(None, examples=["/scratch"])
    max_clipped: types.Share | None = Field(None, examples=["0.1%"])


class ComputeConfig(Section):
    """Where it is computed, and with how much.

    Parameters
    ----------
    memory : bytes or text, optional
        For the whole run on this machine, such as 8 GiB; default 60 % of what is free.
    workers : int, optional
        Default: the cores that this process may use.
    block : mapping of str to int, optional
        Axis → px: the block that the planner would choose; a multiple of the output's chunks.
    window : mapping of str to int, optional
        Axis → px: the window that the planner would choose, the unit of progress and of resuming.
    cluster : str or mapping
        auto (threads where a run is short, else local), local, threads, tcp://HOST:PORT, a
        scheduler file, or {slurm: {…}} with dask-jobqueue's keywords over the user's jobqueue.yaml,
        and with jobs, how many there are, or minimum_jobs and maximum_jobs (1 and 10 if not said).
    """

    memory: types.Bytes | None = Field(None, examples=["8 GiB"])
    workers: Annotated[int, Field(ge=1)] | None = Field(None, examples=[4])
    block: types.PixelsByAxis | None = Field(None, examples=["{y: 1024, x: 1024}"])
    window: types.PixelsByAxis | None = Field(None, examples=["{t: 10}"])
    cluster: ClusterName = "auto"


SECTIONS: dict[str, type[Section]] = {"input": InputConfig, "output": OutputConfig, "compute": ComputeConfig}
# The keys at the top of a config.
NAMES = ("input", "steps", "output", "compute")


def parse_sections(
    data: Mapping[str, Any], folder_of: Callable[[str, str], Path]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the sections of a config, and the mistakes in them.

    `folder_of` takes a section and a key and gives the folder that a path there is relative to.
    """
    unknown = [name for name in data if name not in NAMES]
    problems = [Problem("there is no such section", _hint(name), readable(name)) for name in unknown]
    sections: dict[str, Any] = {}
    for name, model in SECTIONS.items():
        section = data.get(name)
        if section is None and name == "compute":
            section = {}
        if section is None:
            message = "has nothing in it" if name in data else "is missing"
            problems.append(Problem(message, f"add {name}: with a path in it", name))
        elif not isinstance(section, dict):
            fields = model.model_fields
            hint = f"write {'path: …' if 'path' in fields else 'KEY: VALUE'} below {name}:, indented"
            if isinstance(section, str) and "path" in fields and section.strip():
                hint = f"write {name}: {{path: {readable(section)}}}"
            hint = spacing_hint(section, fields) or hint
            problems.append(Problem(f"{shown(section)} is not a mapping", hint, name))
        else:
            sections[name], mistakes = validate(model, section, name, partial(folder_of, name))
            problems += mistakes
    return sections, [*problems, *_path_problems(sections)]


def _path_problems(sections: Mapping[str, Any]) -> list[Problem]:
    input, output = sections.get("input"), sections.get("output")
    paths = {
        "input.path": input and input.path,
        "output.path": output and output.path,
        "output.background": output and output.background,
    }
    names: dict[str, str] = {}
    problems: list[Problem] = []
    for name, path in paths.items():
        if not path:
            continue
        first = names.setdefault(path.rstrip("/") if is_url(path) else os.path.realpath(path), name)
        try:
            if first != name:
                raise RequestError(f"is the same as {first}", "write somewhere else")
            if name != "input.path":
                types.check_output_path(path)
        except RequestError as error:
            problems += error.under(name).problems
    return problems


def _hint(name: str) -> str:
    """Return where an unknown key at the top of a config belongs."""
    if hint := spacing_hint(name, NAMES):
        return hint
    if name in REGISTRY:
        return f"write it below steps: with a dash: {example(name)}"
    inside = [f"{section}:" for section, model in SECTIONS.items() if name in model.model_fields]
    return f"write it below {' or '.join(inside)}, indented" if inside else nearest(name, NAMES)
