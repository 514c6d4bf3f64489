"""Unfinished runs: the fingerprint that names a work folder, and the search for other ones."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.model.errors import RequestError
from pipeline.storage.codec import crc32c
from pipeline.write.layout import Layout, work_path
from pipeline.write.lock import check_lock
from pipeline.write.own import FINGERPRINT, discard_work, holds_run, write_note
from pipeline.write.region import read_file

# Packages that decide a pixel on its way from the input's bytes to the output's.
_PACKAGES = ("bgone", "numpy", "scipy", "numba", "llvmlite", "tifffile", "imagecodecs", "zarr", "numcodecs")
_TIMES = ("mtime", "mtime_ns", "times")
_MOST_LISTED = 10


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of the packages that decide pixels: bgone's own, and those with steps."""
    installed = {}
    for name in (*_PACKAGES, *packages):
        with contextlib.suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that identify the inputs of a run.

    Parameters
    ----------
    inputs : mapping
        What decides pixels, as JSON: the resolved config without `compute`, the input's identity,
        the versions. File times do not count: a file that was only touched has the same content.
    """
    return hashlib.sha256(canonical(_timeless(inputs))).hexdigest()[:16]


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _timeless(inner) for key, inner in value.items() if key not in _TIMES}
    if isinstance(value, list | tuple):
        return [_timeless(inner) for inner in value]
    return value


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Describe how the inputs of two runs differ, apart from file times.

    >>> changes({"config": {"steps": [{"radius": 25}]}}, {"config": {"steps": [{"radius": 30}]}})
    ['config.steps.0.radius was 25, is now 30']
    """
    return _differences(_timeless(old), _timeless(new))


def touched(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Describe which file times differ between the inputs of two runs."""
    return [words for words in _differences(old, new) if words.split(" ")[0].rpartition(".")[2] in _TIMES]


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return [
        *(f"{key} was {_short(before[key])}, is gone" for key in before if key not in after),
        *(f"{key} is new: {_short(after[key])}" for key in after if key not in before),
        *(
            f"{key} was {_short(value)}, is now {_short(after[key])}"
            for key, value in before.items()
            if key in after and after[key] != value
        ),
    ]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)
    inner = [leaf for key, part in pairs for leaf in _leaves(part, f"{name}.{key}" if name else str(key))]
    # An empty list or mapping is a leaf too: {} is not the same as nothing.
    yield from inner or [(name, value)]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def find_work_folders(output: str, work_root: str = "") -> list[str]:
    """Find the work folders of an output, of any config, beside it and in `work_root`."""
    folders = []
    for prefix in dict.fromkeys([work_path(output, "", work_root), work_path(output, "")]):
        parent, start = os.path.split(prefix)
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(parent or ".")):
                path = os.path.join(parent, name)
                # A folder of the user's may begin alike.
                if name.startswith(start) and FINGERPRINT.fullmatch(name, len(start)) and holds_run(path):
                    folders.append(path)
    return folders


def check_other_runs(layout: Layout, inputs: Mapping[str, Any], *, overwrite: bool = False) -> list[str]:
    """Return the work folders of the same output with other inputs, for `overwrite` to remove.

    Raises
    ------
    RequestError
        There is one, without `overwrite`: lists what changed since. Or a process is writing it.
    """
    others = [
        work
        for work in find_work_folders(layout.path, layout.work_root)
        if not work.endswith(f".work-{layout.fingerprint}")
    ]
    for work in others:
        check_lock(work)
        if overwrite:
            continue
        known = read_checked(f"{work}/inputs.json")
        changed = changes(known, inputs) if isinstance(known, dict) else ["its config is lost"]
        listed = "; ".join(changed[:_MOST_LISTED])
        if len(changed) > _MOST_LISTED:
            listed += f"; and {len(changed) - _MOST_LISTED} more"
        raise RequestError(
            f"an unfinished run of this output was started with something else ({listed})",
            f"go back to that to finish it, or drop it ({work}) with --overwrite",
            "output.path",
        )
    return others


def remove_other_runs(layout: Layout, inputs: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Refuse a start beside other unfinished runs, as `check_other_runs` does, or remove those."""
    for work in check_other_runs(layout, inputs, overwrite=overwrite):
        discard_work(work)


def canonical(value: Any) -> bytes:
    """Encode a value as JSON in the one form that equal values share."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # A file name need not be UTF-8; its surrogates become valid JSON escapes.
    return text.encode(errors="backslashreplace")


def write_checked(layout: Layout, name: str, value: Any) -> None:
    """Write JSON to the work folder, with its crc32c in the first line."""
    text = canonical(value)
    write_note(layout, name, b"%08x\n" % crc32c(text) + text + b"\n")


def read_checked(path: str) -> Any:
    """Read what `write_checked` wrote; None if the file is missing or damaged."""
    digest, _, text = (read_file(path) or b"").partition(b"\n")
    text = text.rstrip(b"\n")
    return json.loads(text) if text and digest == b"%08x" % crc32c(text) else None
