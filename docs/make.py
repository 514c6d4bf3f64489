"""Make the pictures and the tables of numbers in README.md and in the pages of this folder.

    python docs/make.py                     # the pictures: the commands of the pages, run once more
    pip install '.[bench]'
    python docs/make.py kernels             # the tables of kernels: about half an hour
    python docs/make.py runs FOLDER         # whole runs, on the file system of a new FOLDER

Numbers go into README.md between comments `<!-- NAME: … -->` and `<!-- end -->`. `--from FILE` takes
what a benchmark printed before.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import date
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
README = ROOT / "README.md"

# Rows of the short table, each of the first image size that has it.
TARGETS = (
    ("white_tophat disk 5", "uint16"),
    ("white_tophat disk 25", "uint16"),
    ("white_tophat disk 50", "uint16"),
    ("white_tophat disk 25", "uint8"),
    ("white_tophat disk 25", "float32"),
    ("subtract_minimum 7", "uint16"),
    ("subtract_minimum 25", "uint16"),
    ("gaussian 3", "uint16"),
    ("gaussian 10", "uint16"),
    ("DoG 1/100", "uint16"),
    ("white_tophat ball 10", "uint16"),
)

# The pictures are grey: this is enough, in a quarter of the space.
COLOURS, MAX_SIDE = 256, 1200


def put(page: str, name: str, text: str) -> str:
    """Replace the text between the comments of a name; ValueError if the page has none."""
    pattern = re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"there is no place for {name}")
    return pattern.sub(lambda match: f"{match[1]}\n{text.strip()}\n\n{match[2]}", page)


def kernel_tables(printed: str) -> tuple[str, str, str]:
    """Return the text above the tables, the short table and the whole one, from the output of kernels.py."""
    lines = printed.splitlines()
    table = [line for line in lines if line.startswith("|")]
    head, rows = table[:2], table[2:]
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        _, name, _, dtype, *_ = (cell.strip() for cell in row.split("|"))
        first.setdefault((name, dtype), row)
    short = [first[target] for target in TARGETS if target in first]
    return _sentence(lines), "\n".join([*head, *short]), "\n".join([*head, *rows])


def _sentence(lines: list[str]) -> str:
    processor, rest = lines[0].split(", one thread, ")
    copy = re.search(r"([\d.]+) × a copy of the frame", lines[-1])
    memory = "A top-hat with a disk of 25 px takes as long as {} copies of its frame in memory."
    return "\n".join(
        [
            f"One filter on one image, one thread of {processor}, {rest.split(';')[0]}:",
            "the time of bgone, and the multiples of it that the others take, all in one run.",
            *([memory.format(copy[1])] if copy else []),
        ]
    )


def runs_text(printed: str) -> str:
    """Format the output of runs.py for the page."""
    lines = [line.rstrip() for line in printed.splitlines() if line.strip()]
    title = f"Whole runs from file to file, {date.today()}; the times of each ratio come from one run:"
    return "\n".join([title, "", "```", *lines, "```"])


def run_benchmark(script: str, arguments: Iterable[str]) -> str:
    """Run a benchmark, show its output and return it."""
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / script), *arguments]
    output = io.StringIO()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            output.write(line)
    if process.returncode:
        raise SystemExit(process.returncode)
    return output.getvalue()


def write_numbers(which: str, printed: str) -> None:
    """Put the output of a benchmark into the README."""
    page = README.read_text()
    if which == "kernels":
        sentence, short, whole = kernel_tables(printed)
        page = put(page, "kernels", f"{sentence}\n\n{short}")
        page = put(page, "kernels, all", whole)
    else:
        page = put(page, "runs", runs_text(printed))
    README.write_text(page)


def make_pictures() -> None:
    """Run the commands of the pages and keep their pictures, smaller and with fewer colours."""
    from PIL import Image

    sys.path.insert(0, str(ROOT / "tests/helpers"))
    from pages import PAGES, blocks_of, pictures_of, reader_in

    for page in PAGES:
        links = pictures_of(page.read_text())
        if not links:
            continue
        with tempfile.TemporaryDirectory() as folder, reader_in(Path(folder)) as reader:
            for block in filter(lambda block: block.run, blocks_of(page.read_text())):
                reader.try_block(block)
            for link in links:
                picture = Image.open(Path(link).name).convert("RGB")
                picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
                target = page.parent / link
                target.parent.mkdir(exist_ok=True)
                picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
                print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1024} KiB")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="?", choices=["pictures", "kernels", "runs"], default="pictures")
    parser.add_argument("rest", nargs="*", help="passed on to the benchmark: runs needs a new folder")
    parser.add_argument("--from", dest="output", type=Path, help="what the benchmark printed before")
    options, more = parser.parse_known_args()
    if options.message == "pictures":
        make_pictures()
    else:
        arguments = [*options.rest, *more]
        output = (
            options.output.read_text()
            if options.output
            else run_benchmark(f"{options.message}.py", arguments)
        )
        write_numbers(options.message, output)


if __name__ == "__main__":
    main()
