"""Every command, config and piece of Python in the README and in docs/ works as it stands there.

Each page is tried in an empty folder with a copy of configs/ in it, from top to bottom:

- a line `bgone …` of a `sh` block is run (`&&` joins several; those of pip, pytest and git are left out);
- a `yaml` block is loaded as a config;
- a `python` block is run, after those before it;
- a block below a comment `<!-- not run: why -->` is left out.
"""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.errors import RequestError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
SHELL, OTHERS = ("sh", "bash", "console"), ("pip", "pytest", "git", "cd", "python3", "source")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    run: bool = True

    @property
    def commands(self) -> list[list[str]]:
        """The commands of bgone in a shell block, cut into words."""
        joined = self.text.replace("\\\n", " ")
        lines = [line.removeprefix("$ ").strip() for line in joined.splitlines()]
        parts = [part for line in lines for part in re.split(r"\s*&&\s*", line)]
        words = [shlex.split(part, comments=True) for part in parts]
        return [command for command in words if command and command[0] not in OTHERS]


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page in Markdown."""
    blocks = []
    pattern = re.compile(
        r"^(<!-- not run: .+? -->\s*\n)?^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL
    )
    for match in pattern.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        blocks.append(Block(match[2], match[3], line, run=match[1] is None))
    return blocks


def run(words: list[str], folder: Path, block: Block) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"line {block.line}: {shlex.join(words)}\n{done.stdout}\n{done.stderr}"


def try_block(block: Block, folder: Path, names: dict[str, object]) -> None:
    """Try a block as a reader would, in their folder, which is the current one; Python keeps `names`."""
    if block.language in SHELL:
        for command in block.commands:
            assert command[0] == "bgone", f"line {block.line}: what is {command[0]!r}?"
            run([sys.executable, "-m", "pipeline", *command[1:]], folder, block)
    elif block.language == "python":
        exec(compile("\n" * block.line + block.text, "page", "exec"), names)
    elif block.language == "yaml":
        config = folder / "configs" / f"line_{block.line}.yaml"
        config.write_text(block.text)
        assert load_config(config).steps


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_everything_on_a_page_works(page, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks_of(page.read_text()):
        if block.run:
            try_block(block, tmp_path, names)


def test_the_readme_begins_with_the_two_commands_that_the_ci_runs():
    section = (ROOT / "README.md").read_text().partition("\n## Install and run\n")[2]
    assert blocks_of(section), "README.md has no block under '## Install and run'"
    lines = [line for line in blocks_of(section)[0].text.splitlines() if line.strip() and line[0] != "#"]
    assert len(lines) == 2
    assert "bgone run configs/quickstart.yaml" in lines[0]
    assert lines[1].endswith("pytest")


def test_links_to_files_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_blocks_and_commands_are_found():
    page = (
        "text\n```sh\npip install . && bgone sample a.tif \\\n  --frames 3  # few\n\n# nothing\n"
        "$ bgone info a.tif\n```\n\n<!-- not run: needs a cluster -->\n"
        "```yaml\na: 1\n```\n```python\nx = 1\n```\n"
    )
    found = blocks_of(page)
    assert [(block.language, block.line, block.run) for block in found] == [
        ("sh", 2, True), ("yaml", 11, False), ("python", 14, True),
    ]  # fmt: skip
    assert found[0].commands == [["bgone", "sample", "a.tif", "--frames", "3"], ["bgone", "info", "a.tif"]]


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("sh", "bgone rnu configs/quickstart.yaml\n", "No such command"),
        ("sh", "pip install . && napari result.zarr\n", "what is 'napari'"),
        ("python", "import pipeline.nothing\n", "No module named"),
        (
            "yaml",
            "input: {path: a.tif}\nsteps: [{white_tophta: {radius: 3}}]\noutput: {path: b.zarr}\n",
            "tophta",
        ),
    ],
)
def test_a_mistake_on_a_page_is_found(language, text, words, tmp_path):
    (tmp_path / "configs").mkdir()
    with pytest.raises((AssertionError, ImportError, RequestError), match=words):
        try_block(Block(language, text, 1), tmp_path, {})
