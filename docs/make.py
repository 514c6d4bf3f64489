"""Makes what README.md and the pages here show: pictures, and tables of numbers.

    python docs/make.py                     # the pictures: the commands of the pages, run once more
    pip install '.[bench]'
    python docs/make.py kernels             # the tables of kernels: about half an hour
    python docs/make.py runs FOLDER         # whole runs, on the file system of a new FOLDER

Numbers go into README.md between comments `<!-- NAME: … -->` and `<!-- end -->`. What a benchmark
printed before can be given again with `--from FILE`.
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

TARGETS = (
    ("white_tophat disk 5", "uint16"), ("white_tophat disk 25", "uint16"), ("white_tophat disk 50", "uint16"),
    ("white_tophat disk 25", "uint8"), ("white_tophat disk 25", "float32"), ("subtract_minimum 7", "uint16"),
    ("subtract_minimum 25", "uint16"), ("gaussian 3", "uint16"), ("gaussian 10", "uint16"),
    ("DoG 1/100", "uint16"), ("white_tophat ball 10", "uint16"),
)  # fmt: skip
"""What the short table has, of the first size at which it is measured."""

COLOURS, WIDEST = 256, 1200
"""Of a picture of grey images as a page shows it: enough, in a quarter of the space."""


def put(page: str, name: str, text: str) -> str:
    """Return a page with the text between the comments of a name replaced.

    Raises
    ------
    ValueError
        The page has no such comments.
    """
    pattern = re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"there is no place for {name}")
    return pattern.sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", page)


def kernel_tables(printed: str) -> tuple[str, str, str]:
    """Return the sentence before the table, the short table and the whole one, of what kernels.py printed."""
    lines = printed.splitlines()
    table = [line for line in lines if line.startswith("|")]
    head, rows = table[:2], table[2:]
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        _, name, _, dtype, *_ = (cell.strip() for cell in row.split("|"))
        first.setdefault((name, dtype), row)
    short = [first[wanted] for wanted in TARGETS if wanted in first]
    return _sentence(lines), "\n".join([*head, *short]), "\n".join([*head, *rows])


def _sentence(lines: list[str]) -> str:
    processor, rest = lines[0].split(", one thread, ")
    copy = re.search(r"([\d.]+) × a copy of the frame", lines[-1])
    told = "A top-hat with a disk of 25 px takes as long as {} copies of its frame in memory."
    return "\n".join(
        [
            f"One filter on one image and one thread of {processor}, {rest.split(';')[0]}:",
            "how many times as long each takes as bgone, all in one run.",
            *([told.format(copy[1])] if copy else []),
        ]
    )


def runs_text(printed: str) -> str:
    """Return what runs.py printed, as a block of a page."""
    lines = [line.rstrip() for line in printed.splitlines() if line.strip()]
    told = f"Whole runs from file to file, {date.today()}, ratios side by side in one go:"
    return "\n".join([told, "", "```", *lines, "```"])


def printed_by(script: str, arguments: Iterable[str], given: Path | None) -> str:
    """Run a benchmark and return what it prints, shown on the way; or what it printed before."""
    if given is not None:
        return given.read_text()
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / script), *arguments]
    heard = io.StringIO()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            heard.write(line)
    if process.returncode:
        raise SystemExit(process.returncode)
    return heard.getvalue()


def write_numbers(which: str, printed: str) -> None:
    """Put what a benchmark printed into the README."""
    page = README.read_text()
    if which == "kernels":
        sentence, short, whole = kernel_tables(printed)
        page = put(page, "kernels", f"{sentence}\n\n{short}")
        page = put(page, "kernels, all", whole)
    else:
        page = put(page, "runs", runs_text(printed))
    README.write_text(page)


def make_pictures() -> None:
    """Run the pages and keep the pictures that they show, smaller and with fewer colours."""
    from PIL import Image

    sys.path.insert(0, str(ROOT / "tests/helpers"))
    from pages import PAGES, blocks_of, pictures_of, reader_in

    for page in PAGES:
        wanted = pictures_of(page.read_text())
        if not wanted:
            continue
        with tempfile.TemporaryDirectory() as folder, reader_in(Path(folder)) as reader:
            for block in filter(lambda block: block.run, blocks_of(page.read_text())):
                reader.try_block(block)
            for link in wanted:
                picture = Image.open(Path(link).name).convert("RGB")
                picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
                target = page.parent / link
                target.parent.mkdir(exist_ok=True)
                picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
                print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1024} KiB")


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="?", choices=["pictures", "kernels", "runs"], default="pictures")
    parser.add_argument("rest", nargs="*", help="handed on to the benchmark: runs wants a new folder")
    parser.add_argument("--from", dest="given", type=Path, help="what the benchmark printed before")
    options, more = parser.parse_known_args()
    if options.what == "pictures":
        make_pictures()
    else:
        printed = printed_by(f"{options.what}.py", [*options.rest, *more], options.given)
        write_numbers(options.what, printed)


if __name__ == "__main__":
    main()
