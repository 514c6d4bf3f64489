"""Mistakes in a config: all at once, each with its place and how to mend it."""

import re

import pytest
from config_texts import SHORT, problems, the_problem, write

from pipeline.config.load import load_config

__all__ = ["write"]  # a fixture


# The mistake stands between « and », and stands for one problem; FIELD, words of WHAT, words of MEND.
MISTAKES = {
    "unknown section": ("inptu: 3", "inptu", "no such section", "input"),
    "unknown key": ("input: {path: a.tif, lvel: 1}", "input.lvel", "no such key", "level"),
    "unknown choice": ("input: {path: a.tif, nan: refuze}", "input.nan", "'refuze'", "refuse"),
    "not a mapping": ("input: a.tif", "input", "'a.tif' is not a mapping", "path"),
    "empty section": ("input:", "input", "nothing in it", "path"),
    "missing key": ("input: {level: 1}", "input.path", "missing", "add path"),
    "negative level": ("input: {path: a.tif, level: -1}", "input.level", "-1 is below 0", "0 or more"),
    "quoted number": ('input: {path: a.tif, level: "1"}', "input.level", "'1'", "without quotes: 1"),
    "point": ("input: {path: a.tif, level: 1.0}", "input.level", "not a whole number", "write it as 1"),
    "axes": ("input: {path: a.tif, axes: tyq}", "input.axes", "'tyq' names an axis 'q'", "t, c, z, y, x"),
    "axes without x": ("input: {path: a.tif, axes: tzy}", "input.axes", "lacks y or x", "y and x"),
    "scale without unit": ("input: {path: a.tif, scale: {y: 0.325}}", "input.scale.y", "no unit", "0.325 um"),
    "scale in px": ("input: {path: a.tif, scale: {y: 2 px}}", "input.scale.y", "size of a pixel", "um"),
    "scale of 0": ("input: {path: a.tif, scale: {y: 0 um}}", "input.scale.y", "not above 0", "um"),
    "scale of an axis": ("input: {path: a.tif, scale: {q: 2 um}}", "input.scale.q", "'q'", "t, c, z, y, x"),
    "scale of time": ("input: {path: a.tif, scale: {t: 2 um}}", "input.scale.t", "2 µm is no time", "30 s"),
    "scale of channels": ("input: {path: a, scale: {c: 2 um}}", "input.scale.c", "c has no size", "leave"),
    "select word": ("input: {path: a.tif, select: {c: GFP}}", "input.select.c", "is no slice", "[GFP]"),
    "select dash": ("input: {path: a.tif, select: {t: 0-9}}", "input.select.t", "is no slice", "0:100"),
    "select nothing": ("input: {path: a.tif, select: {t: '9:3'}}", "input.select.t", "nothing", "above"),
    "select backwards": ("input: {path: a.tif, select: {t: '9:3:-1'}}", "input.select.t", "-1", "1 or more"),
    "select digits": (
        "input: {path: a.tif, select: {t: '0:" + "9" * 5000 + "'}}", "input.select.t", "no slice", "0:100"
    ),
    "scale beyond": ("input: {path: a.tif, scale: {y: 1e300 um}}", "input.scale.y", "is no size", "0.325 um"),
    "select empty": ("input: {path: a.tif, select: {t: []}}", "input.select.t", "empty", "[0, 2]"),
    "select twice": ("input: {path: a.tif, select: {t: [1, 1]}}", "input.select.t", "selected twice", "once"),
    "select name": ("input: {path: a.tif, select: {t: [a]}}", "input.select.t", "not an index", "channels"),
    "select point": ("input: {path: a.tif, select: {t: [1.5]}}", "input.select.t", "1.5", "list"),
    "no steps": ("steps: []", "steps", "empty", "white_tophat"),
    "steps as mapping": ("steps: {white_tophat: {radius: 3}}", "steps", "not a list", "dash"),
    "bare step": ("steps: [gaussian]", "steps.0", "no parameters", "- gaussian: {sigma"),
    "unknown step": ("steps: [{gausian: {sigma: 1}}]", "steps.0", "'gausian'", "gaussian"),
    "class name": ("steps: [{WhiteTophat: {radius: 1}}]", "steps.0", "'WhiteTophat'", "white_tophat"),
    "step is a number": ("steps: [5]", "steps.0", "5 is not a step", "white_tophat"),
    "two steps in one": ("steps: [{gaussian: {sigma: 1}, white_tophat: }]", "steps.0", "one step", "dash"),
    "not indented": ("steps: [{white_tophat: , radius: 3}]", "steps.0", "one column", "indent"),
    "parameters no mapping": ("steps: [{gaussian: 3}]", "steps.0", "3 is not a mapping", "{sigma"),
    "empty parameters": ("steps: [{gaussian: }]", "steps.0.sigma", "missing", "add sigma"),
    "unknown parameter": ("steps: [{gaussian: {sigma: 1, trunkat: 3}}]", "steps.0.trunkat", "key", "trun"),
    "text for a number": ('steps: [{white_tophat: {radius: "3"}}]', "steps.0.radius", "'3'", "quotes"),
    "nan": ("steps: [{white_tophat: {radius: .nan}}]", "steps.0.radius", "not a finite number", "px"),
    "infinity": ("steps: [{white_tophat: {radius: 1e999}}]", "steps.0.radius", "not a finite number", "px"),
    "too many digits": ("steps: [{gaussian: {sigma: " + "9" * 5000 + "}}]", "steps.0.sigma", "large", "give"),
    "dtype": ("output: {path: b, dtype: uint17}", "output.dtype", "'uint17'", "uint16"),
    "overflow": ("output: {path: b, overflow: wrap}", "output.overflow", "'wrap'", "clip, error"),
    "offset nan": ("output: {path: b, offset: .nan}", "output.offset", "finite", "number"),
    "offset text": ("output: {path: b, offset: '5'}", "output.offset", "'5'", "without quotes: 5"),
    "chunks 0": ("output: {path: b, chunks: {y: 0}}", "output.chunks.y", "below 1 px", "1 px"),
    "chunks axis": ("output: {path: b, chunks: {q: 5}}", "output.chunks.q", "'q'", "t, c, z, y, x"),
    "chunks number": ("output: {path: b, chunks: 512}", "output.chunks", "not a mapping", "{y: 1024"),
    "chunks empty": ("output: {path: b, chunks: {}}", "output.chunks", "empty", "{y: 1024"),
    "compressor null": ("output: {path: b, compressor: null}", "output.compressor", "no value", "blosc-lz4"),
    "compressor": ("output: {path: b, compressor: blosc}", "output.compressor", "'blosc'", "blosc-lz4"),
    "checksum": ("output: {path: b, checksum: md5}", "output.checksum", "'md5'", "crc32c"),
    "yes": ("output: {path: b, pyramid: yes}", "output.pyramid", "'yes' is not true or false", "true"),
    "version": ("output: {path: b, version: 0.3}", "output.version", "0.3", "0."),
    "stored axes": ("output: {path: b, axes: yxt}", "output.axes", "order", "tyx"),
    "share": ("output: {path: b, max_clipped: 5}", "output.max_clipped", "5 is not a share", "0.1%"),
    "memory": ("compute: {memory: lots}", "compute.memory", "'lots'", "8 GiB"),
    "memory unit": ("compute: {memory: 8 GIG}", "compute.memory", "'GIG'", "GiB"),
    "memory without unit": ("compute: {memory: 8}", "compute.memory", "8 bytes", "8 GiB"),
    "no workers": ("compute: {workers: 0}", "compute.workers", "0 is below 1", "1 or more"),
    "true workers": ("compute: {workers: true}", "compute.workers", "true is not a whole number", "4"),
    "cluster": ("compute: {cluster: thread}", "compute.cluster", "'thread'", "threads"),
    "cluster address": ("compute: {cluster: 'http://a:8787'}", "compute.cluster", "address", "tcp://"),
    "cluster key": ("compute: {cluster: {slrum: {}}}", "compute.cluster", "slrum", "slurm"),
    "slurm keywords": ("compute: {cluster: {slurm: [a]}}", "compute.cluster.slurm", "not a mapping", "queue"),
    "tag": ("output: {path: !!str b}", "output.path", "!!str is a tag", "plain"),
    "bare tag": ("output: {path: ! b}", "output.path", "! is a tag", "plain"),
    "python tag": ("output: {path: !!python/name:os.system x}", "output.path", "tag", "plain"),
    "anchor": ("output: {path: &here b}", "output.path", "&here is an anchor", "leave it out"),
    "alias": ("output: {path: *.zarr}", "output.path", "*.zarr is an alias", "quote"),
    "number as key": ("compute: {1: 2}", "compute", "'1' is not a text", "name"),
    "list as key": ("compute: {[a]: 2}", "compute", "a key is not a text", "name"),
    "duplicate key": ("output: {path: b, pyramid: true, pyramid: true}", "output.pyramid", "twice", "one"),
    "merge": ("compute: {<<: {workers: 3}}", "compute.<<", "no such key", "workers"),
}  # fmt: skip

IN_YAML = (
    "tag",
    "bare tag",
    "python tag",
    "anchor",
    "alias",
    "number as key",
    "list as key",
    "too many digits",
)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_place_and_how_to_mend_it(write, name):
    line, field, message, hint = MISTAKES[name]
    key = line.partition(":")[0]
    sections = {
        "input": "input: {path: a.tif}",
        "steps": "steps: [{gaussian: {sigma: 1}}]",
        "output": "output: {path: b}",
    }
    lines = [text for section, text in sections.items() if section != key]
    path = write("\n".join(["# a comment", *lines, line]))
    problem = the_problem(path)
    assert problem.field == field
    assert message in problem.message
    assert hint in problem.hint
    assert (problem.file, problem.line) == (str(path), len(lines) + 2)
    # A mistake in YAML itself stands where the value does; any other where its name or its surroundings do.
    if name not in IN_YAML:
        last = field.rpartition(".")[2]
        names = [match.start() + 1 for match in re.finditer(rf"(?<![a-z]){re.escape(last)}(?![a-z])", line)]
        assert problem.column in (names or [1, 9, 10])
    assert str(problem).startswith(f"{path}:{problem.line}: {field}: ")
    assert len(str(problem)) < 400 + len(str(path))


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(write):
    path = write(
        "inptu: 3\n"
        "input: {path: a.tif, scale: {y: 2, x: 3 parsec}, level: -1, level: 2}\n"
        "steps:\n"
        "  - white_tophat: {radius: {y: -1, x: 0.5}, footprint: disc}\n"
        "  - gausian: {sigma: 1}\n"
        "  - gaussian: {sigma: *a}\n"
        "output: {path: '${NOT_SET_HERE}/b', dtype: !x uint8}\n"
        "compute: {memory: 1, workers: none}\n"
    )
    found = [(problem.line, problem.field) for problem in problems(path, sets=["compute.block=3", "a.b=4"])]
    assert found == [
        (1, "inptu"), (2, "input.scale.y"), (2, "input.scale.x"), (2, "input.level"), (2, "input.level"),
        (4, "steps.0.radius.y"), (4, "steps.0.radius.x"), (4, "steps.0.footprint"), (5, "steps.1"),
        (6, "steps.2.sigma"), (7, "output.path"), (7, "output.dtype"), (8, "compute.memory"),
        (8, "compute.workers"), (None, "a.b"), (None, "compute.block"),
    ]  # fmt: skip


def test_what_is_missing_is_told_where_it_would_stand(write):
    found = problems(write("\n\noutput:\n  pyramid: false\n"))
    assert [(problem.field, problem.line) for problem in found] == [
        ("output.path", 3), ("input", None), ("steps", None)
    ]  # fmt: skip
    assert all(problem.file for problem in found)


SYNTAX = {
    "tab": ("input:\n\tpath: a.tif\n", 2, "tab"),
    "open bracket": ("input: {path: a.tif\nsteps: []\n", 2, "not closed"),
    "open quote": ("input: {path: 'a.tif}\nsteps: []\n", 1, "quoted text is not closed"),
    "indentation": ("input:\n    path: a\n  level: 1\n", 3, "indentation"),
    "colon": ("input:\n  path: a: b\n", 2, "': '"),
    "at sign": ("input:\n  path: @a\n", 2, "cannot begin"),
    "control character": ("input: \x01\n", 1, "control character"),
    "too deep": ("input: " + "[" * 500, 1, "nested"),
    "two documents": (SHORT + "---\n" + SHORT, 6, "second document"),
    "directive": ("%YAML 9.9\n---\n" + SHORT, 1, "not YAML"),
}


@pytest.mark.parametrize("name", SYNTAX)
def test_what_is_not_yaml_is_told_with_its_line(write, name):
    text, line, message = SYNTAX[name]
    problem = the_problem(write(text))
    assert message in problem.message
    assert (problem.line, problem.field) == (line, "")


FILES = {
    "empty": (b"", "is empty"),
    "a comment": (b"# nothing\n", "is empty"),
    "a list": (b"- a\n", "[a] is not a config"),
    "a word": (b"movie.tif\n", "'movie.tif' is not a config"),
    "Latin-1": ("input: {path: 3µm.tif}\n".encode("latin-1"), "not UTF-8"),
    "UTF-16": (SHORT.encode("utf-16"), "not UTF-8"),
    "a TIFF": (b"II*\0" + bytes(range(256)) * 10, "not UTF-8"),
    "a large file": (b"a" * (1 << 21), "larger than any config"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_config(write, name):
    content, message = FILES[name]
    path = write(content)
    problem = the_problem(path)
    assert problem.file == str(path)
    assert message in problem.message


def test_a_byte_order_mark_is_taken_off(write):
    assert load_config(write(b"\xef\xbb\xbf" + SHORT.encode())).input.path.endswith("a.tif")


def test_a_file_that_cannot_be_opened(tmp_path):
    missing = the_problem(tmp_path / "no.yaml")
    assert (missing.file, missing.message) == (str(tmp_path / "no.yaml"), "there is no such file")
    assert not list(tmp_path.iterdir()), "nothing was created in its place"
    assert "folder" in the_problem(tmp_path).message
    assert "cannot be read" in the_problem("a\0b").message


@pytest.mark.parametrize(("steps", "words"), [({}, "is missing"), ({"steps": []}, "is empty")])
def test_a_config_without_steps_says_whether_they_are_missing_or_empty(steps, words):
    problem = the_problem({"input": {"path": "/a"}, **steps, "output": {"path": "/b"}})
    assert (problem.message, problem.field) == (words, "steps")
    assert "white_tophat" in problem.hint
