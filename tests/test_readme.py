"""Every command, config and piece of Python in the README and in docs/ works as it stands there.

`pages.py` says how a page is tried; what it shows of outputs is compared.
"""

import importlib.util
import os
import re
import sys
import types

import numpy as np
import psutil
import pytest
from fleets import need_jobqueue, slurm_in
from pages import PAGES, ROOT, blocks_of, pattern_of, pictures_of, reader_in
from processes import wait_until
from skimage import morphology

from pipeline.model.errors import RequestError
from pipeline.steps import REGISTRY


@pytest.fixture
def reader(folder):
    """Someone who tries a page, in a folder in memory."""
    with reader_in(folder) as reader:
        yield reader


def try_page(name, reader, after=lambda block: None):
    page = ROOT / name
    for block in blocks_of(page.read_text()):
        if block.run:
            reader.try_block(block)
            after(block)
    for picture in pictures_of(page.read_text()):
        made = reader.folder / picture.rpartition("/")[2]
        assert made.is_file(), f"nothing on {name} makes {picture}"


def test_the_readme_works(reader):
    try_page("README.md", reader)


def test_the_tutorial_works(reader):
    pytest.importorskip("dask_image", reason="needs the extra test")
    try_page("docs/tutorial.md", reader)


# Pairs: a line of scikit-image and a step.


def same(ours, theirs, image):
    """Require what the page promises: equal integers, or floats within 3e-5 of the range of the image."""
    assert ours.shape == theirs.shape
    if theirs.dtype.kind in "iu":
        assert ours.dtype.kind in "iu"
        np.testing.assert_array_equal(ours, theirs)
        assert ours.any()
    else:
        assert np.abs(ours - theirs).max() <= 3e-5 * np.ptp(image.astype(float))
        assert np.ptp(ours) > 0.1


def test_each_line_of_scikit_image_gives_what_our_step_and_its_config_give(reader):
    pairs, images = 0, {"frame": "yx", "stack": "zyx", "movie": "tyx"}
    last = ""

    def compare(block):
        nonlocal pairs, last
        names = reader.names
        if block.language == "python" and "theirs = " in block.text:
            last = re.search(r"\b(frame|stack|movie)\b", block.text)[1]
            same(names["ours"], names["theirs"], names[last])
            pairs += 1
        elif block.language == "yaml" and last and "output:" not in block.text:
            (step,) = reader.steps
            found = step(names[last], axes=images[last])
            assert found.dtype == names["ours"].dtype
            np.testing.assert_array_equal(found, names["ours"])

    try_page("docs/scikit-image.md", reader, compare)
    assert pairs == 11


def test_the_page_on_own_steps_works(reader, monkeypatch):
    monkeypatch.setattr(REGISTRY, "_steps", {name: REGISTRY[name] for name in REGISTRY})
    lines = types.ModuleType("lines")  # what the page's file is, so that its class can be pickled
    monkeypatch.setitem(sys.modules, "lines", lines)
    reader.names = vars(lines)
    try_page("docs/own-steps.md", reader)
    assert REGISTRY["subtract_line_opening"].__name__ == "SubtractLineOpening"


# Clusters: processes of their own, and a stand-in for SLURM.


def test_the_page_on_clusters_works(reader, monkeypatch):
    need_jobqueue()
    slurm = slurm_in(reader.folder)
    bgone = slurm.folder / "bgone"
    bgone.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline "$@"\n')
    bgone.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slurm.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr("pipeline.runtime.executors.workers.ASK_SECONDS", 0.2)

    # A job becomes the process group that bears its number only a moment after it was submitted.
    reader.jobs = lambda: wait_until(lambda: not any(map(psutil.pid_exists, slurm.submitted)))

    def wait(block):
        if "dask scheduler" in block.text:
            wait_until((reader.folder / "scheduler.json").exists)

    try_page("docs/clusters.md", reader, wait)
    assert len(slurm.submitted) > 1
    reader.jobs()


def test_what_the_page_on_clusters_says_of_errors_is_what_the_code_says():
    table = (ROOT / "docs/clusters.md").read_text().partition("## What the run asks of each worker")[2]
    code = "".join(path.read_text() for path in (ROOT / "pipeline").rglob("*.py"))
    said = [
        text
        for text in re.findall(r"`([a-zA-Z-]+ [^`]+)`", table)
        if not text.startswith(("compute", "has bgone", "left out"))
    ]
    assert len(said) > 8
    for text in said:
        assert text.split(" …")[0].split("…")[0].split(", as user")[0].rstrip(": ") in code, text


# All pages.


def test_the_readme_begins_with_the_two_commands_that_the_ci_runs():
    section = (ROOT / "README.md").read_text().partition("\n## Install and run\n")[2]
    assert blocks_of(section), "README.md has no block under '## Install and run'"
    lines = [line for line in blocks_of(section)[0].text.splitlines() if line.strip() and line[0] != "#"]
    assert len(lines) == 2
    assert "bgone run configs/quickstart.yaml" in lines[0]
    assert lines[1].endswith("pytest")


def anchors_of(page):
    """Return what a page's headings are called in links."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_links_lead_somewhere():
    pages = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "pipeline/DESIGN.md"]
    for page in pages:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
            if "://" in target:
                continue
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in anchors_of(path), f"{page.name} links to {target}#{anchor}"


def test_the_design_names_files_that_exist():
    names = re.findall(r"`([\w/]+\.(?:py|html))`", (ROOT / "pipeline/DESIGN.md").read_text())
    files = [path.as_posix() for path in (*(ROOT / "pipeline").rglob("*.*"), *(ROOT / "tests").rglob("*.py"))]
    assert not [name for name in names if not any(file.endswith(f"/{name}") for file in files)]


def test_each_page_is_tried():
    tried = {"README.md", "docs/tutorial.md", "docs/scikit-image.md", "docs/clusters.md", "docs/own-steps.md"}
    assert {page.relative_to(ROOT).as_posix() for page in PAGES} == tried


def test_each_picture_is_on_a_page():
    shown = {(page.parent / link).resolve() for page in PAGES for link in pictures_of(page.read_text())}
    assert shown == set((ROOT / "docs").rglob("*.png"))


# What tries the pages.


def test_blocks_and_commands_are_found():
    page = (
        "text\n```sh\npip install . && bgone sample a.tif \\\n  --frames 3  # few\n\n# nothing\n"
        "$ bgone info a.tif\n```\n\n```text\naxes …\n```\n\n<!-- not run: needs a cluster -->\n"
        "```yaml\na: 1\n```\nSee `b.py`:\n\n```python\nx = 1\n```\n"
    )
    found = blocks_of(page)
    assert [(block.language, block.line, block.run, block.file, block.shown) for block in found] == [
        ("sh", 2, True, "", "axes …\n"), ("yaml", 15, False, "", ""), ("python", 20, True, "b.py", ""),
    ]  # fmt: skip
    assert found[0].commands == [["bgone", "sample", "a.tif", "--frames", "3"], ["bgone", "info", "a.tif"]]


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        ("a\nb\n", "x\na\nb\ny\n", True),
        ("a\nb\n", "a\nx\nb\n", False),
        ("a\n…\nb\n", "a\nx\ny\nb\n", True),
        ("took … s\n", "took 3 s\n", True),
        ("took … s\n", "took 3\ns\n", False),
        ("1 found\n", "11 found\n", False),
        ("found 1\n", "found 11\n", False),
    ],
)
def test_what_a_page_shows_is_compared_line_by_line(shown, printed, fits):
    assert bool(pattern_of(shown).search(printed)) == fits


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("```sh\nbgone rnu configs/quickstart.yaml\n```\n", "there is no command rnu"),
        ("```sh\npip install . && napari result.zarr\n```\n", "what is 'napari'"),
        ("```python\nimport pipeline.nothing\n```\n", "No module named"),
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", "line 1 prints"),
        (
            "```yaml\ninput: {path: a.tif}\n"
            "steps: [{white_tophta: {radius: 3}}]\noutput: {path: b.zarr}\n```\n",
            "tophta",
        ),
    ],
)
def test_a_mistake_on_a_page_is_found(page, words, reader):
    (block,) = blocks_of(page)
    with pytest.raises((AssertionError, ImportError, RequestError), match=words):
        reader.try_block(block)


# What makes the pictures and the tables.


@pytest.fixture(scope="module")
def make():
    specification = importlib.util.spec_from_file_location("make", ROOT / "docs/make.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_tables_of_the_readme_come_from_what_the_benchmark_prints(make):
    """Numbers as printed, each in both tables; the rest of the page is left as it was."""
    readme = (ROOT / "README.md").read_text()

    def part(name):
        return re.search(rf"<!-- {name}:[^\n]*-->\n\n(.*?)\n\n<!-- end -->", readme, re.DOTALL)[1]

    table = part("kernels")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    printed = "\n".join(
        ["AMD EPYC, one thread", "", *rows, "", "disk: 1 ms, 26.4 × a copy of the frame, 2 ms"]
    )
    assert make.kernel_table(printed).splitlines()[2:] == rows
    short, whole = part("rivals"), part("rivals, all")
    assert make.rival_tables(f"{short}\n\n### All rivals\n\n{whole}\n") == (short, whole)
    assert make.put(readme, "rivals, all", whole) == readme
    changed = make.put(readme, "runs", make.runs_text("copy ÷ bare   1.02\n"))
    assert "```\ncopy ÷ bare   1.02\n```" in changed
    assert make.put(changed, "runs", make.runs_text("copy ÷ bare   1.02\n")) == changed
    with pytest.raises(ValueError, match="no place for nothing"):
        make.put(readme, "nothing", "")


def test_each_benchmark_has_its_place_in_the_readme(make, monkeypatch, tmp_path):
    page, printed = tmp_path / "README.md", tmp_path / "printed"
    monkeypatch.setattr(make, "README", page)
    for what in make.NUMBERS:
        page.write_text((ROOT / "README.md").read_text())
        printed.write_text(f"a processor\n\n| {what} | 7 ms |\n\n### All rivals\n\nmore\n")
        monkeypatch.setattr(sys, "argv", ["make.py", what, "--from", str(printed)])
        make.main()
        place = page.read_text().partition(f"<!-- {what}: written")[2].partition("<!-- end -->")[0]
        assert f"| {what} | 7 ms |" in place


def test_the_radii_whose_crosses_are_the_disk():
    """Drawn from a point by scikit-image, whose footprints are symmetric."""
    said = re.search(r'"crosses"\)` equals `disk\(r\)`.*: ([\d–, ]+)\.', (ROOT / "README.md").read_text())[1]
    parts = [list(map(int, part.split("–"))) for part in said.split(", ")]
    radii = {radius for part in parts for radius in range(part[0], part[-1] + 1)}
    for radius in range(1, 31):
        drawn = np.pad(np.ones((1, 1), np.uint8), radius + 2)
        for footprint, count in morphology.disk(radius, decomposition="crosses"):
            for _ in range(count):
                drawn = morphology.dilation(drawn, footprint)
        same = np.array_equal(drawn, np.pad(morphology.disk(radius), 2))
        assert same == (radius in radii), radius
