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
# The group of an output that holds provenance, manifest, table and report.
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

# Keys that may differ between two codes of equal results: listed, no failure.
NOTED = ("*versions.*", "*fingerprint", "*memory_predicted_bytes", "bgone.summary.bytes_stored")

# Keys that differ where a run was stopped and went on.
RESUMED = ("bgone.summary.*",)


# Lines of a report that tell times and memory, as those keys do.
VARYING_LINES = re.compile(
    r'^.*(?:Written by|class="(?:bars|key)"'
    r"|<th>(?:took|time|memory|driver seconds|started|finished)</th>).*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Difference:
    """What differs; whether that means that the results do."""

    text: str
    fails: bool = True


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each leaf of a JSON value: its keys joined by dots, and the leaf as JSON."""
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
    """Yield the keys whose values differ, but for those that match a pattern of `varying`."""
    before, after = dict(leaves(old)), dict(leaves(new))
    for key in dict.fromkeys([*before, *after]):
        values = before.get(key, "nothing"), after.get(key, "nothing")
        if values[0] != values[1] and not any(fnmatch(key, pattern) for pattern in varying):
            noted = any(fnmatch(key, pattern) for pattern in NOTED)
            place = key.rpartition(".")[2] if noted else f"{where}: {key}"  # noted once, not in each file
            yield Difference(f"{place} was {values[0]}, is {values[1]}", not noted)


def files(folder: Path) -> set[str]:
    """Return the paths of all files below a folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def compare_trees(old: Path, new: Path, varying: tuple[str, ...] = VARYING) -> Iterator[Difference]:
    """Yield what differs between two folders of outputs.

    Parameters
    ----------
    old, new : Path
        Folders that hold the outputs of one config each, and nothing else.
    varying : tuple of str
        Patterns of keys of the provenance that are not compared.
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
    """Return the folder of the array that a file of pixels belongs to."""
    for parent in Path(name).parents:
        metadata = root / parent / "zarr.json"
        is_array = metadata.exists() and json.loads(metadata.read_text())["node_type"] == "array"
        if is_array or (root / parent / ".zarray").exists():
            return str(parent)
    raise ValueError(f"{name} belongs to no array")


def compare_pixels(name: str, old: Path, new: Path) -> Difference:
    """Return how the decoded pixels of two arrays differ, whose bytes do."""
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


def said_once(group: dict[str, Any]) -> dict[str, Any]:
    """Return a provenance without `inputs`, where that repeats config, input and versions, as 0.1.0 did."""
    own = dict(group["bgone"])
    twin = own.get("inputs")
    if twin is not None:
        config = {name: section for name, section in own["config"].items() if name != "compute"}
        same_input = twin["input"].items() <= own["input"].items()
        if same_input and twin["config"] == config and twin["versions"] == own["versions"]:
            del own["inputs"]
            own["files"] = twin["files"]
    return {**group, "bgone": own}


def compare_files(
    name: str, old: Path, new: Path, varying: tuple[str, ...], chunks: set[str]
) -> Iterator[Difference]:
    """Yield what differs between two files that hold no pixels; `chunks` have other bytes anyway."""
    if old.name in METADATA:
        before, after = json.loads(old.read_text()), json.loads(new.read_text())
        if old.parent.name != PROVENANCE:
            varying = ()
        elif old.name == "zarr.json":
            before, after = ({**group.pop("attributes"), "group": group} for group in (before, after))
        if old.parent.name == PROVENANCE and "bgone" in before:
            before, after = said_once(before), said_once(after)
        yield from compare_json(name, before, after, varying)
    elif old.suffix == ".csv":
        with open(old, newline="") as first, open(new, newline="") as second:
            yield from compare_json(name, list(csv.DictReader(first)), list(csv.DictReader(second)))
    elif old.name == "manifest.txt":
        image = str(Path(name).parent.parent)
        other = {str(Path(path).relative_to(image)) for path in chunks if Path(path).is_relative_to(image)}
        yield from compare_json(name, manifest(old, other), manifest(new, other))
        yield from check_manifest(name, new, other)
    elif old.suffix == ".html":
        before, after = (VARYING_LINES.sub("", path.read_text()).splitlines() for path in (old, new))
        if before != after:
            other_lines = sum(line not in before for line in after) or abs(len(after) - len(before))
            yield Difference(f"{name} differs in {other_lines} lines", fails=False)
    elif old.read_bytes() != new.read_bytes():
        yield Difference(f"{name} differs")


def manifest(path: Path, other: set[str]) -> dict[str, str]:
    """Return the lines of a manifest by file; of `other` files, whether they are there.

    The last line sums up the others, so it counts only where no file is in `other`.
    """
    lines = {}
    for line in path.read_text().splitlines():
        key, _, rest = line.rpartition(" ") if line.startswith("#") else line.partition(" ")
        if key in other or (other and key.startswith("# end")):
            rest = str(rest == "EMPTY")
        lines[key] = rest
    return lines


def check_manifest(name: str, path: Path, other: set[str]) -> Iterator[Difference]:
    """Yield which of `other` files a manifest does not describe: bytes, and crc32c of them."""
    lines = manifest(path, set())
    for key in sorted(other):
        data = (path.parent.parent / key).read_bytes()
        if lines.get(key) != f"{len(data)} {google_crc32c.value(data):08x}":
            yield Difference(f"{name}: {key} is not what it says")
