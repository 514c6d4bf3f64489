"""Make the pictures and the tables of numbers in README.md and in the pages of this folder.

    python docs/make.py                     # the pictures: the commands of the pages, run once more
    pip install '.[bench]'
    python docs/make.py rivals              # the filters of other libraries: about 7 minutes
    python docs/make.py kernels             # all kernels: about half an hour
    python docs/make.py scripts FOLDER      # scripts from file to file, in a new FOLDER: about 8 minutes
    python docs/make.py runs FOLDER         # whole runs, likewise

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

# The benchmarks whose numbers are in the README.
NUMBERS = ("rivals", "kernels", "scripts", "runs")

# The pictures are grey: this is enough, in a quarter of the space.
COLOURS, MAX_SIDE = 256, 1200


def put(page: str, name: str, text: str) -> str:
    """Replace the text between the comments of a name; ValueError if the page has none."""
    pattern = re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"there is no place for {name}")
    return pattern.sub(lambda match: f"{match[1]}\n{text.strip()}\n\n{match[2]}", page)


def kernel_table(printed: str) -> str:
    """Return the table of kernels.py, with what it says of the processor above."""
    lines = printed.splitlines()
    return "\n".join([lines[0], "", *(line for line in lines if line.startswith("|"))])


def rival_tables(printed: str) -> tuple[str, str]:
    """Return the short table of rivals.py with the line above it, and the rest of its output."""
    short, whole = printed.split("### All rivals")
    return short.strip(), whole.strip()


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
        page = put(page, "kernels", kernel_table(printed))
    elif which == "rivals":
        short, whole = rival_tables(printed)
        page = put(put(page, "rivals", short), "rivals, all", whole)
    elif which == "scripts":
        page = put(page, "scripts", printed)
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
    parser.add_argument("what", nargs="?", choices=["pictures", *NUMBERS], default="pictures")
    parser.add_argument(
        "rest", nargs="*", help="passed on to the benchmark: scripts and runs need a new folder"
    )
    parser.add_argument("--from", dest="output", type=Path, help="what the benchmark printed before")
    options, more = parser.parse_known_args()
    if options.what == "pictures":
        make_pictures()
    else:
        arguments = [*options.rest, *more]
        output = (
            options.output.read_text() if options.output else run_benchmark(f"{options.what}.py", arguments)
        )
        write_numbers(options.what, output)


if __name__ == "__main__":
    main()
