"""Steps made in Python: what is wrong with their parameters, in the words that a config gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ValidationError

from pipeline.model.errors import Problem, RequestError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


class StepType(ModelMetaclass):
    """The type of step classes: calling one makes a step, or says in a RequestError what is wrong."""

    def __call__(self, *values: Any, **fields: Any) -> Any:
        """Make a step of parameters given by name."""
        if values:
            raise _unnamed(self, values)
        try:
            return super().__call__(**{name: _plain(value) for name, value in fields.items()})
        except ValidationError as error:
            # Needed for a mistake alone, and brings the YAML reader with it.
            from pipeline.model.messages import explained

            raise RequestError(explained(error, self, fields, self.__name__)) from None


def _unnamed(cls: Any, values: tuple[Any, ...]) -> RequestError:
    names = list(cls.examples[0]) if cls.examples else ["…"]
    call = ", ".join(f"{name}={value!r}" for name, value in zip(names, values, strict=False))
    what = f"takes its parameters by name, and was given {', '.join(map(repr, values))} without one"
    return RequestError([Problem(what, f"write {cls.__name__}({call})", cls.__name__)])


def _plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's, inside lists and mappings too."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
