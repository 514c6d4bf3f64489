"""Shows that two checkouts give the same outputs.

    python tests/benchmarks/same_outputs.py OLD_CHECKOUT NEW_CHECKOUT
    python tests/benchmarks/same_outputs.py OLD_CHECKOUT NEW_CHECKOUT --resume

Runs each config of `same_cases.py` by the command line of either checkout, at the same paths one
after the other, and compares all files of the outputs (`same_trees.py`), and what `plan --json`
says. With `--resume`, runs of the old code are killed too, and the new one is given the same
command: it must end with the right output, or refuse, name what changed and offer `--overwrite`.

Prints one line a config, and what differs; exits 1 where results do. It knows the command, the keys
of a config and the format of an output, nothing of what is inside a checkout, and needs an
environment that holds what both depend on. A first run also compiles the kernels of a checkout.
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
    """Two checkouts, and the folder that the commands of both work in."""

    old: Path
    new: Path
    folder: Path

    @property
    def out(self) -> Path:
        """Where every command writes, so that no path in an output differs."""
        return self.folder / "out"

    def config(self, name: str) -> str:
        """Return the path of a config."""
        return str(self.folder / "configs" / f"{name}.yaml")


def command(checkout: Path, *arguments: object) -> dict[str, Any]:
    """Return what `subprocess` needs to call a checkout's command."""
    return {
        "args": [sys.executable, "-m", "pipeline", *map(str, arguments)],
        "env": {**os.environ, "PYTHONPATH": str(checkout)},
    }


def call(bench: Bench, checkout: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Call a checkout's command."""
    return subprocess.run(
        **command(checkout, *arguments), cwd=bench.folder, capture_output=True, text=True, timeout=PATIENCE
    )


def must(bench: Bench, checkout: Path, *arguments: object) -> str:
    """Call a command of the old checkout, which has to succeed; return what it printed."""
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
    """Write a config, as JSON, which YAML includes."""
    config = copy.deepcopy(config)
    config["output"]["path"] = f"../out/{name}.ome.zarr"
    if config["output"].get("background"):
        config["output"]["background"] = f"../out/{name}.background.ome.zarr"
    Path(bench.config(name)).write_text(json.dumps(config, indent=1))


def keep(bench: Bench, side: str, name: str) -> Path:
    """Move what was written aside; return where it is now."""
    target = bench.folder / side / name
    target.parent.mkdir(exist_ok=True)
    bench.out.rename(target)
    return target


def run(bench: Bench, checkout: Path, side: str, name: str) -> tuple[Path, float]:
    """Run a config; return where its outputs are, and seconds."""
    began = time.perf_counter()
    must(bench, checkout, "run", bench.config(name), "--quiet")
    return keep(bench, side, name), time.perf_counter() - began


def failed(result: subprocess.CompletedProcess[str]) -> Difference:
    """Return that a command of the new checkout failed."""
    last_lines = "\n".join(result.stderr.strip().splitlines()[-4:])
    return Difference(f"the new code ended with {result.returncode}: {last_lines}")


def compare_case(bench: Bench, name: str) -> tuple[list[Difference], str]:
    """Plan and run a config with both checkouts; return what differs, and how it went."""
    plans = [
        call(bench, checkout, "plan", bench.config(name), "--json") for checkout in (bench.old, bench.new)
    ]
    old, seconds = run(bench, bench.old, "old", name)
    began = time.perf_counter()
    result = call(bench, bench.new, "run", bench.config(name), "--quiet")
    if any(done.returncode != 0 for done in (*plans, result)):
        shutil.rmtree(bench.out, ignore_errors=True)
        return [failed(done) for done in (*plans, result) if done.returncode != 0], ""
    new, took = keep(bench, "new", name), time.perf_counter() - began
    differences = [
        *compare_json("plan", *(json.loads(plan.stdout) for plan in plans)),
        *compare_trees(old, new),
    ]
    sizes = [path.stat().st_size for path in new.rglob("*") if path.is_file()]
    facts = f"{len(sizes)} files, {sum(sizes) / 2**20:.1f} MiB, old {seconds:.1f} s, new {took:.1f} s"
    return differences, facts


def journalled(bench: Bench) -> int:
    """Return how many windows the unfinished run has noted as done."""
    journals = list(bench.out.glob("*.work-*/journal"))
    return journals[0].read_bytes().count(b"\n") if journals else 0


def stop_run(bench: Bench, name: str, windows: int) -> int:
    """Start a run of the old code, kill it once some windows are journalled; return how many are."""
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
    """Kill a run of the old code, let the new one go on; return what differs, and how it went."""
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
    """Print how a config went; return whether the results are the same."""
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
    """Compare all configs, or some; return whether the results are the same."""
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
    """Read the command line, compare, and exit with 0 or 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="checkout whose results are right")
    parser.add_argument("new", type=Path, help="checkout that is to give the same")
    parser.add_argument(
        "--folder", type=Path, help="a new folder for inputs and outputs, kept; default: one that goes"
    )
    parser.add_argument("--only", nargs="+", choices=[*CASES, *STOPPED], default=[], metavar="CONFIG",
                        help="these configs and no others")  # fmt: skip
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
