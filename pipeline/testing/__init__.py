"""Tests of the step contract, for steps of bgone and of other packages.

The promises of the contract belong here, and the images on which they are tried. A test of a step is no more
than this, beside a comparison with known results:

    import pytest
    from pipeline.testing import step_checks

    @pytest.mark.parametrize("check", step_checks(MyStep), ids=str)
    def test_my_step_keeps_the_contract(check):
        check()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.steps.step import Step
from pipeline.testing.cases import Parameters, require
from pipeline.testing.declarations import DECLARED_ONCE, DECLARED_PER_EXAMPLE
from pipeline.testing.pixels import PIXEL_PROMISES

__all__ = ["StepCheck", "check_step", "step_checks"]


@dataclass(frozen=True)
class StepCheck:
    """A callable test of one promise of a step, with one of the step's examples.

    Raises
    ------
    AssertionError
        The step breaks the promise; the message says how.
    """

    step: type[Step]
    promise: Callable[[type[Step], Parameters], None]
    number: int  # of the example

    def __str__(self) -> str:
        return f"{self.step.name}-{self.number}-{self.promise.__name__}"

    def __call__(self) -> None:
        """Run the test."""
        self.promise(self.step, self.step.examples[self.number])


def step_checks(step: type[Step]) -> list[StepCheck]:
    """Return the tests of a step: each promise with each of the step's `examples`.

    Parameters
    ----------
    step : type
        A subclass of `pipeline.steps.Step`, with examples.

    Raises
    ------
    AssertionError
        The class does not implement the whole contract, or has no examples.
    """
    missing = ", ".join(sorted(getattr(step, "__abstractmethods__", ())))
    require(not missing, f"{step.__name__} does not define {missing}")
    require(bool(step.examples), f"{step.__name__} has no examples")
    once = [StepCheck(step, promise, 0) for promise in DECLARED_ONCE]
    per_example = [*PIXEL_PROMISES, *DECLARED_PER_EXAMPLE]
    return once + [
        StepCheck(step, promise, number) for promise in per_example for number in range(len(step.examples))
    ]


def check_step(step: type[Step]) -> None:
    """Test every promise of a step; for the parameters see `step_checks`.

    Raises
    ------
    AssertionError
        With the first promise that the step breaks.
    """
    for check in step_checks(step):
        try:
            check()
        except AssertionError as error:
            raise AssertionError(f"{check}: {error}") from error
