"""The work folder of an unfinished run, and what its name is made of."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.model.errors import RequestError
from pipeline.storage import durable
from pipeline.storage.codec import crc32c
from pipeline.write.layout import Layout, work_path
from pipeline.write.lock import refuse_held
from pipeline.write.own import FINGERPRINT, holds_run
from pipeline.write.publish import discard_work
from pipeline.write.region import read_file

# What decides a pixel on its way from the input's bytes to the output's.
_DECIDES = ("bgone", "numpy", "scipy", "numba", "llvmlite", "tifffile", "imagecodecs", "zarr", "numcodecs")
_TIMES = ("mtime", "mtime_ns", "times")
_LISTED = 10


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of the code that decides pixels, and of packages that bring steps."""
    found = {}
    for name in (*_DECIDES, *packages):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that name what decides pixels.

    Parameters
    ----------
    inputs : mapping
        JSON: the resolved config without `compute`, the input's identity, the versions. Times of
        files (`mtime_ns`) do not count: a file that was only touched holds what it held.
    """
    return hashlib.sha256(canonical(_timeless(inputs))).hexdigest()[:16]


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _timeless(inner) for key, inner in value.items() if key not in _TIMES}
    if isinstance(value, list | tuple):
        return [_timeless(inner) for inner in value]
    return value


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between the inputs of two runs, file times left out.

    >>> changes({"config": {"steps": [{"radius": 25}]}}, {"config": {"steps": [{"radius": 30}]}})
    ['config.steps.0.radius was 25, is now 30']
    """
    return _differences(_timeless(old), _timeless(new))


def touched(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return in words which files have another time than at the run's first start."""
    return [words for words in _differences(old, new) if words.split(" ")[0].rpartition(".")[2] in _TIMES]


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    words = [f"{key} was {_short(before[key])}, is gone" for key in before if key not in after]
    words += [f"{key} is new: {_short(after[key])}" for key in after if key not in before]
    words += [
        f"{key} was {_short(value)}, is now {_short(after[key])}"
        for key, value in before.items()
        if key in after and after[key] != value
    ]
    return words


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


@dataclass(frozen=True)
class UnfinishedRun:
    """An unfinished run of some output: its work folder."""

    path: str
    fingerprint: str

    @property
    def inputs(self) -> dict[str, Any] | None:
        """What its fingerprint was made of, or None where that was lost."""
        found = read_checked(f"{self.path}/inputs.json")
        return found if isinstance(found, dict) else None


def find_work(output: str, work_root: str = "") -> list[UnfinishedRun]:
    """Return the unfinished runs of an output, whatever their config, beside it and in `work_root`."""
    found = []
    for prefix in dict.fromkeys([work_path(output, "", work_root), work_path(output, "")]):
        parent, start = os.path.split(prefix)
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(parent or ".")):
                path = os.path.join(parent, name)
                # Another's folder may begin alike.
                if name.startswith(start) and FINGERPRINT.fullmatch(name, len(start)) and holds_run(path):
                    found.append(UnfinishedRun(path, name[len(start) :]))
    return found


def check_others(
    layout: Layout, inputs: Mapping[str, Any], *, overwrite: bool = False
) -> list[UnfinishedRun]:
    """Refuse a run while another one of the same output is unfinished; return those to be dropped.

    Parameters
    ----------
    layout : Layout
        The output, with its fingerprint.
    inputs : mapping
        What the fingerprint was made of.
    overwrite : bool
        Whether others may be dropped, unless they are being written.

    Raises
    ------
    RequestError
        Another run is unfinished: what changed since. Or it is being written.
    """
    others = [
        other for other in find_work(layout.path, layout.work_root) if other.fingerprint != layout.fingerprint
    ]
    for other in others:
        refuse_held(other.path)
        if overwrite:
            continue
        what = changes(other.inputs, inputs) if other.inputs is not None else ["its config is lost"]
        listed = "; ".join(what[:_LISTED]) + f"; and {len(what) - _LISTED} more" * (len(what) > _LISTED)
        raise RequestError(
            f"an unfinished run of this output was started with something else ({listed})",
            f"go back to that to finish it, or drop it ({other.path}) with --overwrite",
            "output.path",
        )
    return others


def refuse_others(layout: Layout, inputs: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Do as `check_others`, and remove those to be dropped."""
    for other in check_others(layout, inputs, overwrite=overwrite):
        discard_work(other.path)


def canonical(value: Any) -> bytes:
    """Return JSON of which there is only one for a value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # A name on a disk need not be UTF-8, and is a valid escape so.
    return text.encode(errors="backslashreplace")


def write_checked(layout: Layout, name: str, value: Any) -> None:
    """Keep JSON in the work folder, with its crc32c in the first line."""
    text = canonical(value)
    path = f"{layout.work}/{name}"
    durable.write_file(path, b"%08x\n" % crc32c(text) + text + b"\n", f"{layout.work}/drafts")
    durable.sync_all([path], layout.work)


def read_checked(path: str) -> Any:
    """Return what `write_checked` wrote, or None where it is missing or changed."""
    digest, _, text = (read_file(path) or b"").partition(b"\n")
    text = text.rstrip(b"\n")
    return json.loads(text) if text and digest == b"%08x" % crc32c(text) else None
