"""Run the commands, configs and Python of a Markdown page, from top to bottom.

- A `sh` block is run line by line (`&&` joins commands; `dask` is started in the background; those in
  `LEFT_OUT` are not run).
- A `yaml` block is loaded as a config; a part of a config replaces those keys in the last whole one.
- A `python` block is run, with the names of those before it.
- A block after a line that ends in the name of a file, as in "`configs/movie.yaml`:", is written there first.
- A `text` block after one of these is its output; `…` stands for anything.
- A block below a comment `<!-- not run: why -->` is skipped.
"""

import contextlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dask
from ruamel.yaml import YAML

from pipeline import cli
from pipeline.config.load import load_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
SHELL, LEFT_OUT = ("sh", "bash", "console"), ("pip", "pytest", "git", "cd", "python", "source")

_FENCE = re.compile(
    r"^(?P<out><!-- not run: .+? -->\s*\n)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```\s*$",
    re.MULTILINE | re.DOTALL,
)
_NAME = re.compile(r"`([^`\s]+)`:\s*\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    run: bool = True
    file: str = ""
    # Its output, as the page shows it.
    shown: str = ""

    @property
    def commands(self) -> list[list[str]]:
        """The commands of a shell block, split into words."""
        joined = self.text.replace("\\\n", " ")
        lines = [line.removeprefix("$ ").strip() for line in joined.splitlines()]
        parts = [part for line in lines for part in re.split(r"\s*&&\s*", line)]
        words = [shlex.split(part, comments=True) for part in parts]
        return [command for command in words if command and command[0] not in LEFT_OUT]


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page, each with the output that the page shows."""
    blocks: list[Block] = []
    for match in _FENCE.finditer(text):
        if match["language"] == "text":
            assert blocks, "a text block has nothing before it that would print it"
            blocks[-1] = replace(blocks[-1], shown=match["text"])
            continue
        name = _NAME.search(text[: match.start()].rstrip(" "))
        blocks.append(
            Block(
                match["language"],
                match["text"],
                text.count("\n", 0, match.start("language")) + 1,
                run=match["out"] is None,
                file=name[1] if name else "",
            )
        )
    return blocks


def pattern_of(shown: str) -> re.Pattern[str]:
    """Return a pattern that finds the lines of a page in an output; `…` matches anything."""
    lines = [line.rstrip() for line in shown.strip("\n").splitlines()]
    parts = [
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines
    ]
    return re.compile("^" + "".join(parts), re.MULTILINE)


@dataclass
class Reader:
    """State of a reader who tries a page, block by block, in `folder`, which is the current one."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)
    whole: dict[str, Any] = field(default_factory=dict)
    # Steps of the last config.
    steps: list[Any] = field(default_factory=list)
    servers: list[subprocess.Popen] = field(default_factory=list)
    # Waits until the submitted jobs have ended.
    jobs: Callable[[], Any] = lambda: None

    def try_block(self, block: Block) -> None:
        """Run a block; AssertionError if a command fails, or prints something else than the page shows."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            self._do(block, printed)
        text = printed.getvalue().replace(f"{self.folder}/", "")
        lines = "".join(line.rstrip() + "\n" for line in text.splitlines())
        assert pattern_of(block.shown).search(lines), f"line {block.line} prints\n{lines}\nnot\n{block.shown}"

    def _do(self, block: Block, printed: io.StringIO) -> None:
        if block.file:
            self._write(block)
        if block.language in SHELL and not block.file:
            for command in block.commands:
                code = self._run(command)
                assert code == 0, f"line {block.line}: {shlex.join(command)} ended with {code}\n" + (
                    printed.getvalue()
                )
        elif block.language == "python":
            exec(compile("\n" * block.line + block.text, "page", "exec"), self.names)
        elif block.language == "yaml":
            self._load(block)

    def _write(self, block: Block) -> None:
        path = self.folder / block.file.replace("~", "home")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        if path.parent.name == "dask":
            dask.config.refresh(paths=[str(path.parent)])

    def _load(self, block: Block) -> None:
        section = YAML(typ="safe").load(block.text)
        if block.file.startswith("~"):
            return
        if "steps" in section and "input" in section:
            self.whole = section
            path = self.folder / (block.file or f"configs/line_{block.line}.yaml")
            if not block.file:
                path.write_text(block.text)
        else:
            path = self.folder / f"configs/line_{block.line}.yaml"
            with open(path, "w") as file:
                YAML().dump({**self.whole, **section}, file)
        self.steps = list(load_config(path).steps)

    def _run(self, command: list[str]) -> int:
        program, *arguments = command
        if program == "bgone":
            return _view(arguments) if arguments[0] == "view" else cli.main(arguments)
        if program == "dask":
            with open(self.folder / "dask.log", "a") as log:
                started = [sys.executable, "-m", "dask", *arguments]
                self.servers.append(subprocess.Popen(started, stdout=log, stderr=log))
            return 0
        assert program == "sbatch", f"what is {program!r}?"
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr)
        self.jobs()
        return done.returncode

    def end(self) -> None:
        """Stop the background processes."""
        for server in reversed(self.servers):  # a worker ends sooner while its scheduler lives
            server.terminate()
            server.wait()
        dask.config.refresh()


def _view(arguments: list[str]) -> int:
    """Start `bgone view`, wait until it prints its address, and stop it with Ctrl-C."""
    command = [sys.executable, "-m", "pipeline", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        print(server.stdout.readline(), end="")
        server.send_signal(signal.SIGINT)
        print(server.stdout.read())
        return server.wait()


@contextlib.contextmanager
def reader_in(folder: Path) -> Iterator[Reader]:
    """Yield a reader in a folder with the example configs."""
    before = os.getcwd()
    (folder / "configs").mkdir()
    for path in (ROOT / "configs").glob("*.yaml"):
        (folder / "configs" / path.name).write_text(path.read_text())
    os.chdir(folder)
    reader = Reader(Path(os.getcwd()))
    try:
        yield reader
    finally:
        reader.end()
        os.chdir(before)


def pictures_of(text: str) -> list[str]:
    """Return the links of a page's pictures."""
    return re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text)
