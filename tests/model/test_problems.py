"""Mistakes as lines for a terminal, and several of them at once."""

import pytest

from pipeline.model.errors import Problem, RequestError, check_each


def test_a_problem_is_one_printable_line_whatever_the_name_in_it():
    problem = Problem("is missing", "write it\nhere", "a\x1b[2Jb", "dir\r/ü\udcff.yaml", 3)
    assert str(problem) == r"dir\r/ü\udcff.yaml:3: a\x1b[2Jb: is missing; write it here"


def test_every_item_is_checked_and_every_mistake_has_its_key():
    def check(key, value):
        if value < 0:
            raise RequestError(f"{value} is below 0", field="inner")
        return value + 1

    assert check_each({"y": 1, "x": 2}, check) == {"y": 2, "x": 3}
    with pytest.raises(RequestError) as caught:
        check_each({"y": -1, "x": 2, "z": -3}, check)
    assert [problem.field for problem in caught.value.problems] == ["y.inner", "z.inner"]
