"""The metaclass of steps, which registers each class and explains mistakes in its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ValidationError

from pipeline.model.errors import RequestError
from pipeline.model.messages import problems_of
from pipeline.steps.docstrings import with_inherited_parameters
from pipeline.steps.registry import REGISTRY, snake_case

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


class StepType(ModelMetaclass):
    """The metaclass of `Step`."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> type[Any]:
        """Create a class, and register it if it implements the whole contract."""
        if namespace.get("__doc__"):
            namespace["__doc__"] = with_inherited_parameters(namespace["__doc__"], bases)
        step: type[Any] = super().__new__(cls, name, bases, namespace, **kwargs)
        # cloudpickle rebuilds a class without members and fills it in later: only a class statement
        # sets __qualname__.
        if "__qualname__" in namespace and not inspect.isabstract(step):
            step.name = snake_case(name)
            REGISTRY.register(step)
        return step

    def __call__(cls, *values: Any, **fields: Any) -> Any:
        """Create a step from keyword arguments."""
        if values:
            raise _positional_error(cls, values)
        try:
            return super().__call__(**{name: _to_python(value) for name, value in fields.items()})
        except ValidationError as error:
            raise RequestError(problems_of(error, cls, fields, cls.__name__)) from None


def _positional_error(cls: Any, values: tuple[Any, ...]) -> RequestError:
    names = list(cls.examples[0]) if cls.examples else ["…"]
    call = ", ".join(f"{name}={value!r}" for name, value in zip(names, values, strict=False))
    return RequestError(
        f"takes its parameters by name, and was given {', '.join(map(repr, values))} without one",
        f"write {cls.__name__}({call})",
        cls.__name__,
    )


def _to_python(value: Any) -> Any:
    """Convert NumPy scalars to Python numbers, in lists and mappings too."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {_to_python(key): _to_python(item) for key, item in value.items()}
    return type(value)(map(_to_python, value)) if type(value) in (list, tuple) else value
