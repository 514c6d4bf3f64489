"""Check that two checkouts give the same outputs.

    python tests/benchmarks/same_outputs.py OLD_CHECKOUT NEW_CHECKOUT
    python tests/benchmarks/same_outputs.py OLD_CHECKOUT NEW_CHECKOUT --resume

Runs each config of `same_cases.py` with the command of either checkout at the same paths, and compares all
files of the outputs (`same_trees.py`) and the output of `plan --json`. With `--resume`, it also kills runs
of the old code and gives the same command to the new code, which must finish with the right output, or
refuse, name the change and offer `--overwrite`.

Prints a line for each config, and the differences; exits with 1 if results differ. It uses only the
command, the config and the format of the output, and needs an environment with the dependencies of both
checkouts. The first run of a checkout also compiles its kernels.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from same_cases import CASES, STOPPED, make_inputs
from same_trees import RESUMED, VARYING, Difference, compare_json, compare_trees

# Seconds that a command may take.
PATIENCE = 600


@dataclass(frozen=True)
class Bench:
    """Two checkouts, and the working folder of their commands."""

    old: Path
    new: Path
    folder: Path

    @property
    def out(self) -> Path:
        """Output folder of both, so that paths in the outputs are equal."""
        return self.folder / "out"

    def config(self, name: str) -> str:
        """Return the path of a config."""
        return str(self.folder / "configs" / f"{name}.yaml")


def command(checkout: Path, *arguments: object) -> dict[str, Any]:
    """Return the arguments of `subprocess` for a command of a checkout."""
    return {
        "args": [sys.executable, "-m", "pipeline", *map(str, arguments)],
        "env": {**os.environ, "PYTHONPATH": str(checkout)},
    }


def call(bench: Bench, checkout: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command of a checkout."""
    return subprocess.run(
        **command(checkout, *arguments), cwd=bench.folder, capture_output=True, text=True, timeout=PATIENCE
    )


def must(bench: Bench, checkout: Path, *arguments: object) -> str:
    """Run a command of the old checkout, which must succeed; return its output."""
    result = call(bench, checkout, *arguments)
    if result.returncode != 0:
        sys.exit(
            f"{checkout}: {' '.join(map(str, arguments))} ended with {result.returncode}:\n{result.stderr}"
        )
    return result.stdout


def check_checkout(bench: Bench, checkout: Path) -> None:
    """Stop unless Python imports the package from this checkout."""
    environment = command(checkout)["env"]
    program = [sys.executable, "-c", "import pipeline; print(pipeline.__file__)"]
    result = subprocess.run(program, env=environment, cwd=bench.folder, capture_output=True, text=True)
    if not result.stdout.startswith(f"{checkout}{os.sep}"):
        sys.exit(f"{checkout} is no checkout: Python imports {result.stdout.strip() or result.stderr}")


def write_config(bench: Bench, name: str, config: dict[str, Any]) -> None:
    """Write a config as JSON, which is also YAML."""
    config = copy.deepcopy(config)
    config["output"]["path"] = f"../out/{name}.ome.zarr"
    if config["output"].get("background"):
        config["output"]["background"] = f"../out/{name}.background.ome.zarr"
    Path(bench.config(name)).write_text(json.dumps(config, indent=1))


def keep(bench: Bench, side: str, name: str) -> Path:
    """Move the output folder aside; return its new path."""
    target = bench.folder / side / name
    target.parent.mkdir(exist_ok=True)
    bench.out.rename(target)
    return target


def run(bench: Bench, checkout: Path, side: str, name: str) -> tuple[Path, float]:
    """Run a config; return the folder of its outputs, and the seconds."""
    start = time.perf_counter()
    must(bench, checkout, "run", bench.config(name), "--quiet")
    return keep(bench, side, name), time.perf_counter() - start


def failed(result: subprocess.CompletedProcess[str]) -> Difference:
    """Return the failure of a command of the new checkout as a difference."""
    last_lines = "\n".join(result.stderr.strip().splitlines()[-4:])
    return Difference(f"the new code ended with {result.returncode}: {last_lines}")


def compare_case(bench: Bench, name: str) -> tuple[list[Difference], str]:
    """Plan and run a config with both checkouts; return the differences, and a summary."""
    plans = [
        call(bench, checkout, "plan", bench.config(name), "--json") for checkout in (bench.old, bench.new)
    ]
    old, seconds = run(bench, bench.old, "old", name)
    start = time.perf_counter()
    result = call(bench, bench.new, "run", bench.config(name), "--quiet")
    if any(done.returncode != 0 for done in (*plans, result)):
        shutil.rmtree(bench.out, ignore_errors=True)
        return [failed(done) for done in (*plans, result) if done.returncode != 0], ""
    new, took = keep(bench, "new", name), time.perf_counter() - start
    differences = [
        *compare_json("plan", *(json.loads(plan.stdout) for plan in plans)),
        *compare_trees(old, new),
    ]
    sizes = [path.stat().st_size for path in new.rglob("*") if path.is_file()]
    facts = f"{len(sizes)} files, {sum(sizes) / 2**20:.1f} MiB, old {seconds:.1f} s, new {took:.1f} s"
    return differences, facts


def journalled(bench: Bench) -> int:
    """Return the number of windows in the journal of the unfinished run."""
    journals = list(bench.out.glob("*.work-*/journal"))
    return journals[0].read_bytes().count(b"\n") if journals else 0


def stop_run(bench: Bench, name: str, windows: int) -> int:
    """Start a run of the old code, kill it after some windows; return how many are in the journal."""
    arguments = command(bench.old, "run", bench.config(name), "--quiet")
    process = subprocess.Popen(
        **arguments, cwd=bench.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    try:
        while journalled(bench) < windows and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        sys.exit(f"{name}: the run ended with {process.returncode} before it could be killed")
    return journalled(bench)


def compare_stopped(bench: Bench, name: str, windows: int) -> tuple[list[Difference], str]:
    """Kill a run of the old code, continue it with the new; return the differences, and a summary."""
    whole, _ = run(bench, bench.old, "old", name)
    facts = f"killed after {stop_run(bench, name, windows)} windows"
    result = call(bench, bench.new, "run", bench.config(name), "--quiet")
    if result.returncode == 0:
        facts += ", the new code went on"
    elif result.returncode == 2:
        message = " ".join(result.stderr.split())
        facts += f", refused: {message}"
        if "--overwrite" not in message or not re.search(r"\bversions?\b", message):
            return [Difference("the refusal does not name a version and --overwrite")], facts
        result = call(bench, bench.new, "run", bench.config(name), "--quiet", "--overwrite")
    if result.returncode != 0:
        return [failed(result)], facts
    return list(compare_trees(whole, keep(bench, "new", name), (*VARYING, *RESUMED))), facts


def report(name: str, differences: Iterable[Difference], facts: str) -> bool:
    """Print the result of a config; return whether the outputs are the same."""
    failures = [difference.text for difference in differences if difference.fails]
    notes = list(dict.fromkeys(difference.text for difference in differences if not difference.fails))
    print(f"{name:24}{'DIFFERS' if failures else 'equal':9}{facts}")
    for kind, texts in (("", failures), ("note: ", notes)):
        for text in texts[:8]:
            print(f"    {kind}{text}")
        if len(texts) > 8:
            print(f"    {kind}… {len(texts)} in all")
    sys.stdout.flush()
    return not failures


def compare(bench: Bench, only: list[str], resume: bool) -> bool:
    """Compare all configs, or some; return whether all outputs are the same."""
    for checkout in (bench.old, bench.new):
        check_checkout(bench, checkout)
    make_inputs(bench.folder / "inputs", lambda *arguments: must(bench, bench.old, "sample", *arguments))
    (bench.folder / "configs").mkdir()
    chosen = only or [*CASES, *(STOPPED if resume else ())]
    same = []
    for name in chosen:
        if name in CASES:
            write_config(bench, name, CASES[name])
            same.append(report(name, *compare_case(bench, name)))
        else:
            config, windows = STOPPED[name]
            write_config(bench, name, config)
            same.append(report(name, *compare_stopped(bench, name, windows)))
    print(f"{sum(same)} of {len(same)} configs are equal")
    return all(same)


def main() -> None:
    """Run the command line; exit with 0 or 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="checkout with the right results")
    parser.add_argument("new", type=Path, help="checkout that must give the same")
    parser.add_argument(
        "--folder",
        type=Path,
        help="a new folder for inputs and outputs, which is kept; default: a temporary one",
    )
    parser.add_argument("--only", nargs="+", choices=[*CASES, *STOPPED], default=[], metavar="CONFIG",
                        help="only these configs")  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="also let the new code finish killed runs")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="same-"))
    if options.folder:
        folder.mkdir(parents=True)
    bench = Bench(options.old.resolve(), options.new.resolve(), folder.resolve())
    try:
        same = compare(bench, options.only, options.resume)
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
