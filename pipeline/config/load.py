"""A config: YAML → `RunConfig`, with the location of every mistake."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from pipeline.config.chain import parse_chain
from pipeline.config.document import Document, Location, located
from pipeline.config.files import read_config
from pipeline.config.overrides import apply_overrides
from pipeline.config.sections import ComputeConfig, InputConfig, OutputConfig, parse_sections
from pipeline.config.yaml import DEEPEST
from pipeline.model.errors import PipelineError, RequestError
from pipeline.steps.step import Step


@dataclass(frozen=True)
class RunConfig:
    """A whole config, checked as far as that goes without the data; paths are absolute."""

    input: InputConfig
    steps: tuple[Step, ...]  # not yet resolved
    output: OutputConfig
    compute: ComputeConfig
    file: str = field(default="", compare=False)
    locations: Mapping[str, Location] = field(default_factory=dict, compare=False, repr=False)

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Give the errors raised inside the file and line of each field that they are about."""
        try:
            yield
        except PipelineError as error:
            raise self.locate(error) from error.__cause__

    def locate(self, error: PipelineError) -> PipelineError:
        """Return an error with the file and line of each field that it is about."""
        return type(error)(located(problem, self.file, self.locations) for problem in error.problems)

    def resolved(self) -> dict[str, Any]:
        """Return the config as plain data for YAML and JSON, with defaults filled in."""
        return {
            "input": self.input.model_dump(mode="json"),
            "steps": [_plain(step) for step in self.steps],
            "output": self.output.model_dump(mode="json"),
            "compute": self.compute.model_dump(mode="json"),
        }

    def to_yaml(self) -> str:
        """Return the config as a YAML text that loads as the same config."""
        return config_yaml(self.resolved())


def config_yaml(resolved: Mapping[str, Any]) -> str:
    """Return a resolved config as a YAML text, without fields that are None."""
    plain = {
        name: {key: value for key, value in section.items() if value is not None}
        if isinstance(section, Mapping)
        else section
        for name, section in resolved.items()
    }
    stream = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(plain, stream)
    return stream.getvalue()


def load_config(
    config: str | os.PathLike[str] | Mapping[str, Any],
    *,
    sets: Iterable[str] = (),
    input: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
) -> RunConfig:
    """Read and check a config.

    Parameters
    ----------
    config : path or mapping
        A YAML file, whose paths are relative to its folder; or the same as plain data, whose
        paths are relative to the current folder. Steps of a mapping may be `Step`s.
    sets : iterable of str
        Changes, each PATH=VALUE: steps.0.radius=25, white_tophat.radius=25, compute.memory=8 GiB.
    input, output : path, optional
        Instead of the config's; relative to the current folder, like paths in `sets`.

    Raises
    ------
    RequestError
        Every mistake in it, each with its file, line and column.
    """
    if isinstance(config, Mapping):
        document = Document(_plain(config))
    elif isinstance(config, str | os.PathLike):
        document = read_config(os.fspath(config))
    else:
        raise RequestError(f"a {type(config).__name__} is no config", "give a YAML file or a dict")
    apply_overrides(document, sets, input, output)
    sections, problems = parse_sections(document.data, document.folder_of)
    steps, more_problems = parse_chain(document.data.get("steps"))
    document.refuse([*problems, *more_problems])
    return RunConfig(**sections, steps=steps, file=document.file, locations=document.locations)


def _plain(data: Any, depth: int = 0) -> Any:
    """Convert a mapping of Python objects to the plain data that YAML gives."""
    if depth > DEEPEST:
        raise RequestError(f"is nested deeper than {DEEPEST} levels", "a config has no such depth")
    if isinstance(data, Mapping):
        return {str(key): _plain(value, depth + 1) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value, depth + 1) for value in data]
    if isinstance(data, Step):
        return {data.name: data.model_dump(mode="json", exclude_none=True)}
    if isinstance(data, np.generic):
        return data.item()
    return os.fspath(data) if isinstance(data, os.PathLike) else data
