"""Promises of a step about its parameters, its docstring and what it declares."""

from __future__ import annotations

import inspect
import pickle
import re
from io import StringIO

import numpy as np
from ruamel.yaml import YAML

from pipeline.model.axes import in_order
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.steps.docstrings import described_parameters
from pipeline.steps.step import Step
from pipeline.testing.cases import Parameters, make_case, require

# What sections of a docstring must mention, as regular expressions.
_SECTIONS = {
    "Returns": r"Shape[\s\S]*(float|type)",
    "Raises": "RequestError",
    "References": "scipy|skimage|,",
}


def scratch_and_halo_are_whole_numbers(step: type[Step], parameters: Parameters) -> None:
    """Check the types of `working_bytes` and `halo`."""
    case = make_case(step, parameters)
    scratch = case.step.working_bytes(case.spec.shape, case.spec.dtype, case.spec.axes)
    require(isinstance(scratch, int) and scratch >= 0, f"working_bytes gives {scratch!r}")
    require(set(case.halo) == set(case.step.along), f"halo is for {set(case.halo)}, along {case.step.along}")
    whole = all(isinstance(px, int) and px >= 0 for px in case.halo.values())
    require(whole, f"halo gives {case.halo}")


def survives_yaml_and_pickle(step: type[Step], parameters: Parameters) -> None:
    """Check that a step is equal after a round trip through YAML, and through pickle."""
    original, case = step(**parameters), make_case(step, parameters)
    require(step(**_through_yaml(original)) == original, "is another step when it comes back from YAML")
    for value in (original, case.step):
        require(pickle.loads(pickle.dumps(value)) == value, "is another step when it was pickled")
    require(case.step.resolve(case.spec) == case.step, "a step in px changes when it is resolved again")


def _through_yaml(step: Step) -> Parameters:
    text = StringIO()
    YAML(typ="safe").dump(step.model_dump(mode="json"), text)
    return dict(YAML(typ="safe").load(text.getvalue()))


def units_mean_the_same_pixels(step: type[Step], parameters: Parameters) -> None:
    """Check that lengths in physical units give the halo of the same lengths in px."""
    original = step(**parameters)
    axes = in_order("".join({*"tyx", *original.along}))
    units = {axis: "second" if axis == "t" else "micrometer" for axis in axes}
    spec = ImageSpec(
        axes, (99,) * len(axes), np.dtype("uint16"), scale=dict.fromkeys(axes, 0.325), units=units
    )
    in_px = original.resolve(spec)
    physical = {
        field: {
            axis: f"{px * 0.325} {'s' if axis == 't' else 'um'}" if px else 0
            for axis, px in zip(original.along, in_px.pixels(field, original.along), strict=True)
        }
        for field in original.lengths
    }
    converted = step(**{**parameters, **physical})
    require(converted.resolve(spec).halo() == in_px.halo(), f"looks elsewhere with {physical}")
    back = step(**_through_yaml(converted))
    require(back == converted, "lengths with units come back otherwise from YAML")


def cannot_be_changed_or_misspelt(step: type[Step], parameters: Parameters) -> None:
    """Check that a step is frozen and refuses unknown parameters."""
    original = step(**parameters)
    for mistake in (lambda: setattr(original, "along", "t"), lambda: step(**{**parameters, "raduis": 3})):
        try:
            mistake()
        except RequestError:
            continue
        raise AssertionError("can be changed once it is made, or takes parameters that it does not have")


def says_where_its_background_is(step: type[Step], _: Parameters) -> None:
    """Check that the class declares `background` itself."""
    require("background" in vars(step), "does not say what is the background, or None")


def docstring_names_shapes_units_errors_and_source(step: type[Step], parameters: Parameters) -> None:
    """Check the sections of the docstring, which `bgone steps NAME` prints."""
    text = inspect.getdoc(step) or ""
    sections = dict(re.findall(r"^(\w+)\n-{3,}\n(.*?)(?=^\w+\n-{3,}\n|\Z)", text, re.MULTILINE | re.DOTALL))
    missing = {"Parameters", "Returns", "Raises", "References", "Examples"} - set(sections)
    require(not missing, f"the docstring has no {', '.join(sorted(missing))}")
    described = {name for names, _ in described_parameters(text) for name in names}
    undescribed = set(step.model_fields) - described
    require(not undescribed, f"the docstring does not describe {', '.join(sorted(undescribed))}")
    patterns = {**_SECTIONS, **({"Parameters": "px"} if step(**parameters).lengths else {})}
    for section, pattern in patterns.items():
        require(bool(re.search(pattern, sections[section])), f"{section} of the docstring lacks {pattern}")


DECLARED_ONCE = (
    cannot_be_changed_or_misspelt,
    says_where_its_background_is,
    docstring_names_shapes_units_errors_and_source,
)
DECLARED_PER_EXAMPLE = (
    scratch_and_halo_are_whole_numbers,
    survives_yaml_and_pickle,
    units_mean_the_same_pixels,
)
