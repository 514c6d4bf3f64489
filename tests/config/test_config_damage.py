"""Configs damaged as people and programs damage them: read and planned, or refused with their place."""

import os
import random
import re
import warnings

import numpy as np
import pytest
import tifffile
from config_texts import FULL

from pipeline.config.load import load_config
from pipeline.model.errors import PipelineError
from pipeline.planning.job import prepare

QUICK, LONG = 250, 6000

GOOD = """\
input:
  path: movie.tif
  axes: tyx
  scale: {t: 30 s, y: 0.325 um, x: 0.325 um}
  select: {t: "0:3", y: "2:40"}
  nan: refuse
steps:
  - white_tophat: {radius: 4}
  - difference_of_gaussians: {low_sigma: 1, high_sigma: 3 um, truncate: 3}
  - subtract_opening: {minimum_size: 5, maximum_size: 3}
  - gaussian:
      sigma: {y: 2, x: 1}
      mode: mirror
output:
  path: out.zarr
  dtype: uint16
  overflow: clip
  offset: 100
  chunks: {y: 16, x: 32}
  shards: {t: 2, y: 32, x: 32}
  compressor: zstd
  max_clipped: 1%
  pyramid: true
compute:
  memory: 2 GiB
  workers: 2
  block: {y: 32}
  window: {t: 2}
  cluster: threads
"""

VALUES = [
    ".nan", ".inf", "-.inf", ".NaN", "-1", "0", "-0.0", "1e999", "1e-999", "1e308", "-1e308", "9" * 400,
    "0x10", "0o17", "017", "1_000", "12,5", "1,000", "true", "false", "yes", "null", "~", "", "[]", "{}",
    "[1, 2]", "{y: 1}", "{a: {b: {c: 1}}}", "[[1]]", "2024-01-01", "2024-01-01T10:00:00Z", "12:30:45",
    "'quoted'",     '"\\u0000"',
    '"\\ud800"', "3 parsec", "1e400 um", ".nan um", "-5 um", "0 um", "inf um", "1e-300 um", "1e300 um", "µ",
    "日本",
    "\u200b5", "\u00a05", "“5”", "*a", "&a 5", "!!int 5", "!!binary aGk=", "<<", "|", ">", "%", "@x", "`x`",
    "0:0", "5:2", "::0", "-1:", "1e5", "999999999999", "-999999999999", "2.5", "0.5 %", "200%", "1e30 GiB",
    "tcp://", "tcp://:0", "tls://x:1", "http://x", "{slurm: {cores: .nan}}", "s.json", "../../..", "/", ".",
    "~root", "${HOME}", "${NOT_SET_HERE}", "a" * 5000, "x.tif", "s3://b/x", "con.zarr\\n",
]  # fmt: skip


def pieces(text):
    """Return where each value of a config stands, those in braces too."""
    return [
        match.span(1) for match in re.finditer(r"(?<=: )([^{}\[\],\n]+|\{[^{}\n]*\}|\[[^\[\]\n]*\])", text)
    ]


def another_value(text, draw):
    first, last = draw.choice(pieces(text))
    return text[:first] + draw.choice(VALUES) + text[last:]


def another_indentation(text, draw):
    lines = text.splitlines()
    at = draw.randrange(len(lines))
    lines[at] = draw.choice(["", " ", "  ", "   ", "\t", "      ", "- ", "\u00a0\u00a0"]) + lines[at].lstrip(
        " "
    )
    return "\n".join(lines) + "\n"


def a_line_twice(text, draw):
    lines = text.splitlines()
    at, to = draw.randrange(len(lines)), draw.randrange(len(lines))
    return "\n".join([*lines[:to], lines[at], *lines[to:]]) + "\n"


def a_line_less(text, draw):
    lines = text.splitlines()
    del lines[draw.randrange(len(lines))]
    return "\n".join(lines) + "\n"


def letters(text, draw):
    at = draw.randrange(len(text))
    more = "".join(
        draw.choice("{}[]:,-&*!|>'\"%@`#?~ \n\t\r\0\x1b0.é\u2028\ufeff") for _ in range(draw.randint(0, 4))
    )
    return text[:at] + more + text[at + draw.randint(0, 5) :]


def a_key_renamed(text, draw):
    match = draw.choice(list(re.finditer(r"\b\w+(?=: )", text)))
    word = draw.choice(
        [match[0][::-1], match[0].upper(), match[0] + "s", "y", "5", "rolling_ball", "<<", "''", "true"]
    )
    return text[: match.start()] + word + text[match.end() :]


def no_space(text, draw):
    match = draw.choice(list(re.finditer(r": |- ", text)))
    return text[: match.start()] + match[0].strip() + text[match.end() :]


def deep(text, draw):
    first, last = draw.choice(pieces(text))
    depth = draw.choice([3, 25, 200, 5000])
    left, right = draw.choice(["[]", ("{a: ", "}")])
    return text[:first] + left * depth + right * draw.choice([depth, 0]) + text[last:]


DAMAGE = [
    another_value, another_value, another_value, another_indentation, a_line_twice, a_line_less, letters,
    a_key_renamed, no_space, deep,
]  # fmt: skip
UTF8 = ("utf-8", "surrogatepass")
ENCODED = [
    *3 * [lambda text: text.encode(*UTF8)],
    lambda text: b"\xef\xbb\xbf" + text.encode(*UTF8),
    lambda text: text.replace("\n", "\r\n").encode(*UTF8),
    lambda text: text.replace("\n", "\r").encode(*UTF8),
    lambda text: text.encode("utf-16", "replace"),
    lambda text: text.encode("latin-1", "replace"),
]


@pytest.fixture
def data(tmp_path, monkeypatch):
    pixels = np.arange(4 * 48 * 64, dtype=np.uint16).reshape(4, 48, 64)
    tifffile.imwrite(tmp_path / "movie.tif", pixels, photometric="minisblack")
    (tmp_path / "x.tif").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tried(path):
    """Read, plan, and read again a config; return whether it was refused."""
    try:
        config = load_config(path)
    except PipelineError as error:
        for problem in error.problems:
            told(problem, path)
        return True
    again = path.with_name("again.yaml")
    again.write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(again) == config
    assert load_config(config.resolved()) == config
    try:
        prepare(path)
    except PipelineError as error:
        for problem in error.problems:
            assert "\n" not in str(problem)
            assert problem.message
        return True
    return False


def told(problem, path):
    assert problem.message
    assert problem.hint
    assert str(problem).isprintable()
    assert len(str(problem)) < 700 + len(str(path))
    assert problem.file == str(path)
    assert (
        problem.line is None
        or 1 <= problem.line <= len(re.split("\r\n|[\n\r\x85\u2028\u2029]", read(path))) + 1
    )
    assert (
        problem.line is not None
        or problem.field in ("input", "steps", "output")
        or "UTF-8" in problem.message
    )


def read(path):
    return path.read_bytes().decode("utf-8", "replace")


def try_many(data, count, seed):
    draw, refused = random.Random(seed), 0
    for number in range(count):
        text = GOOD if draw.random() < 0.8 else FULL
        for _ in range(draw.choice([1, 1, 1, 2, 4])):
            text = draw.choice(DAMAGE)(text, draw) if text.count(": ") > 3 and "\n" in text else text
        content = draw.choice(ENCODED)(text)
        (data / "run.yaml").write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                refused += tried(data / "run.yaml")
        except Exception as error:
            raise AssertionError(f"case {number} of seed {seed}: {content!r}") from error
    return refused


def test_a_damaged_config_is_read_and_planned_or_refused_with_its_place(data):
    (data / "run.yaml").write_text(GOOD)
    assert not tried(data / "run.yaml"), "undamaged it can be planned"
    refused = try_many(data, QUICK, seed=1)
    assert QUICK / 3 < refused < QUICK, "some of the damage is harmless"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_damaged_configs_are_read_and_planned_or_refused_with_their_place(data, seed):
    try_many(data, LONG // 4, seed)


@pytest.mark.parametrize(
    "field",
    [
        "steps.0.radius",
        "compute.memory",
        "compute.workers",
        "input.scale.y",
        "output.offset",
        "output.max_clipped",
        "input.level",
        "output.chunks.y",
    ],
)
@pytest.mark.parametrize(
    "value", [".nan", ".inf", "-.inf", "-3", "true", "[3]", "{a: 3}", "2024-01-01", "1e999"]
)
def test_no_number_that_is_none_is_taken(data, field, value):
    (data / "run.yaml").write_text(GOOD)
    if (field, value) == ("output.offset", "-3"):
        return
    with pytest.raises(PipelineError) as caught:
        load_config(data / "run.yaml", sets=[f"{field}={value}"])
    for problem in caught.value.problems:
        assert problem.field.startswith(field)


def test_what_is_no_file_is_refused(data):
    (data / "long.yaml").write_text(GOOD + "# " + "x" * 3_000_000)
    os.symlink("loop.yaml", data / "loop.yaml")
    for path in (
        data,
        data / "long.yaml",
        data / "loop.yaml",
        "/dev/zero",
        "/dev/null",
        "",
        "a\0b",
        "x" * 5000,
    ):
        with pytest.raises(PipelineError) as caught:
            load_config(path)
        assert all("\n" not in str(problem) for problem in caught.value.problems)
