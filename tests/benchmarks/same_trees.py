"""Comparison of two outputs, file by file and key by key."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
# Group of an output with provenance, manifest, table and report.
PROVENANCE = "bgone"

# Keys of the provenance that differ between two runs of the same code.
VARYING = (
    "bgone.started",
    "bgone.finished",
    "bgone.run",
    "bgone.summary.seconds",
    "bgone.summary.startup_seconds",
    "bgone.summary.memory_peak_bytes",
    "bgone.summary.performance.*",
)

# Keys that may differ between two versions with the same results; printed, not a failure.
NOTED = ("*versions.*", "*fingerprint", "*memory_predicted_bytes", "bgone.summary.bytes_stored")

# Keys that differ after a run was stopped and continued.
RESUMED = ("bgone.summary.*",)


# Lines of a report with the times and memory of the run.
VARYING_LINES = re.compile(
    r'^.*(?:Written by|class="(?:bars|key)"'
    r"|<th>(?:took|time|memory|driver seconds|started|finished)</th>).*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Difference:
    """A difference between two outputs."""

    text: str
    fails: bool = True  # whether the results differ


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each leaf of a JSON value: its keys, joined by dots, and the leaf as JSON."""
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    if not pairs:
        yield name, json.dumps(value)
    for key, inner in pairs:
        yield from leaves(inner, f"{name}.{key}" if name else str(key))


def compare_json(where: str, old: Any, new: Any, varying: tuple[str, ...] = ()) -> Iterator[Difference]:
    """Yield the keys with different values, except those that match a pattern of `varying`."""
    before, after = dict(leaves(old)), dict(leaves(new))
    for key in dict.fromkeys([*before, *after]):
        values = before.get(key, "nothing"), after.get(key, "nothing")
        if values[0] != values[1] and not any(fnmatch(key, pattern) for pattern in varying):
            noted = any(fnmatch(key, pattern) for pattern in NOTED)
            # Printed once, so without the file.
            label = key.rpartition(".")[2] if noted else f"{where}: {key}"
            yield Difference(f"{label} was {values[0]}, is {values[1]}", not noted)


def files(folder: Path) -> set[str]:
    """Return the paths of all files below a folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def compare_trees(old: Path, new: Path, varying: tuple[str, ...] = VARYING) -> Iterator[Difference]:
    """Yield the differences between two folders of outputs.

    Parameters
    ----------
    old, new : Path
        Folders with the outputs of one config each, and nothing else.
    varying : tuple of str
        Patterns of keys in the provenance that are not compared.
    """
    before, after = files(old), files(new)
    yield from (Difference(f"{name} is missing") for name in sorted(before - after))
    yield from (Difference(f"{name} is new") for name in sorted(after - before))
    common = sorted(before & after)
    chunks = {
        name
        for name in common
        if is_chunk(name) and (old / name).read_bytes() != (new / name).read_bytes()
    }  # fmt: skip
    for name in sorted({array_of(old, name) for name in chunks}):
        yield compare_pixels(name, old / name, new / name)
    for name in common:
        if not is_chunk(name):
            yield from compare_files(name, old / name, new / name, varying, chunks)


def is_chunk(name: str) -> bool:
    """Return whether a file holds pixels."""
    path = Path(name)
    return path.name not in METADATA and path.parent.name != PROVENANCE


def array_of(root: Path, name: str) -> str:
    """Return the folder of the array that a chunk belongs to."""
    for parent in Path(name).parents:
        metadata = root / parent / "zarr.json"
        is_array = metadata.exists() and json.loads(metadata.read_text())["node_type"] == "array"
        if is_array or (root / parent / ".zarray").exists():
            return str(parent)
    raise ValueError(f"{name} belongs to no array")


def compare_pixels(name: str, old: Path, new: Path) -> Difference:
    """Compare the decoded pixels of two arrays with different bytes."""
    before, after = (np.asarray(zarr.open_array(path, mode="r")[...]) for path in (old, new))
    if (before.shape, before.dtype) != (after.shape, after.dtype):
        return Difference(f"{name} was {before.dtype} {before.shape}, is {after.dtype} {after.shape}")
    bits = [array.view(f"u{array.dtype.itemsize}") for array in (before, after)]
    count = np.count_nonzero(bits[0] != bits[1])
    if count == 0:
        return Difference(f"{name} has other bytes for the same pixels", fails=False)
    with np.errstate(invalid="ignore"):
        most = np.nanmax(np.abs(after.astype(np.float64) - before.astype(np.float64)))
    return Difference(f"{name}: {count} of {before.size} pixels differ, by up to {most:g}")


def without_inputs(group: dict[str, Any]) -> dict[str, Any]:
    """Return a provenance without the `inputs` of 0.1.0, if they repeat config, input and versions."""
    provenance = dict(group["bgone"])
    inputs = provenance.get("inputs")
    if inputs is not None:
        config = {name: section for name, section in provenance["config"].items() if name != "compute"}
        same_input = inputs["input"].items() <= provenance["input"].items()
        if same_input and inputs["config"] == config and inputs["versions"] == provenance["versions"]:
            del provenance["inputs"]
            provenance["files"] = inputs["files"]
    return {**group, "bgone": provenance}


def compare_files(
    name: str, old: Path, new: Path, varying: tuple[str, ...], chunks: set[str]
) -> Iterator[Difference]:
    """Yield the differences of two files without pixels; `chunks` are the files with different bytes."""
    if old.name in METADATA:
        before, after = json.loads(old.read_text()), json.loads(new.read_text())
        if old.parent.name != PROVENANCE:
            varying = ()
        elif old.name == "zarr.json":
            before, after = ({**group.pop("attributes"), "group": group} for group in (before, after))
        if old.parent.name == PROVENANCE and "bgone" in before:
            before, after = without_inputs(before), without_inputs(after)
        yield from compare_json(name, before, after, varying)
    elif old.suffix == ".csv":
        with open(old, newline="") as first, open(new, newline="") as second:
            yield from compare_json(name, list(csv.DictReader(first)), list(csv.DictReader(second)))
    elif old.name == "manifest.txt":
        image = str(Path(name).parent.parent)
        changed = {str(Path(path).relative_to(image)) for path in chunks if Path(path).is_relative_to(image)}
        yield from compare_json(name, manifest(old, changed), manifest(new, changed))
        yield from check_manifest(name, new, changed)
    elif old.suffix == ".html":
        before, after = (VARYING_LINES.sub("", path.read_text()).splitlines() for path in (old, new))
        if before != after:
            other_lines = sum(line not in before for line in after) or abs(len(after) - len(before))
            yield Difference(f"{name} differs in {other_lines} lines", fails=False)
    elif old.read_bytes() != new.read_bytes():
        yield Difference(f"{name} differs")


def manifest(path: Path, changed: set[str]) -> dict[str, str]:
    """Return the lines of a manifest by file; of files in `changed` only whether they are EMPTY.

    The last line is a checksum of the others, so it is compared only if no file has changed.
    """
    lines = {}
    for line in path.read_text().splitlines():
        key, _, rest = line.rpartition(" ") if line.startswith("#") else line.partition(" ")
        if key in changed or (changed and key.startswith("# end")):
            rest = str(rest == "EMPTY")
        lines[key] = rest
    return lines


def check_manifest(name: str, path: Path, changed: set[str]) -> Iterator[Difference]:
    """Yield the `changed` files whose size and crc32c differ from the manifest."""
    lines = manifest(path, set())
    for key in sorted(changed):
        data = (path.parent.parent / key).read_bytes()
        if lines.get(key) != f"{len(data)} {google_crc32c.value(data):08x}":
            yield Difference(f"{name}: {key} is not what it says")
