"""What may stand in a config's `compute`: sizes of memory and names of clusters, with their refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from pipeline.model.errors import RequestError
from pipeline.model.messages import nearest, shown
from pipeline.model.units import comma_mend
from pipeline.steps.lengths import collected

CLUSTERS = ("auto", "local", "threads")
PROTOCOLS = ("tcp", "tls", "ucx", "ws", "wss")
JOBS = ("jobs", "minimum_jobs", "maximum_jobs")
"""Keys of `slurm` beside dask-jobqueue's own: how many jobs, or how many at least and at most."""

SLURM_KEYWORDS = (
    *JOBS, "queue", "account", "walltime", "cores", "memory", "processes", "n_workers", "interface", "python",
    "job_cpu", "job_mem", "job_name", "job_extra_directives", "job_directives_skip", "job_script_prologue",
    "worker_command", "worker_extra_args", "local_directory", "shared_temp_directory", "log_directory",
    "scheduler_options", "death_timeout", "nanny", "protocol", "security", "shebang", "silence_logs", "name",
    "config_name",
)  # fmt: skip
"""What dask-jobqueue knows, for those who mistype it; any other is handed on to it."""

UNITS = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGTP", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", 1)},
}
LEAST_PLAIN = 2**20
"""A number without a unit below this is taken for one whose unit was forgotten."""

_BYTES = {unit.lower(): factor for unit, factor in UNITS.items()}
_SIZE = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([a-zA-Z]+)\s*")


@collected
def parse_bytes(raw: object) -> int:
    """Return a number of bytes, given as such or as a text with a unit.

    Raises
    ------
    ValueError
        It is neither.

    Examples
    --------
    >>> parse_bytes("8 GiB") == 8 * 2**30, parse_bytes("500MB")
    (True, 500000000)
    """
    mend = "give a size with a unit, such as 8 GiB"
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        if not LEAST_PLAIN <= raw < 2**63 or raw != int(raw):
            raise RequestError(f"{shown(raw)} bytes is no size for a run", mend)
        return int(raw)
    match = _SIZE.fullmatch(raw) if isinstance(raw, str) else None
    if match is None:
        comma = comma_mend(raw) if isinstance(raw, str) else ""
        raise RequestError(f"{shown(raw)} is not a size", comma or mend)
    if match[2].lower() not in _BYTES:
        raise RequestError(f"{match[2]!r} is not a unit of memory", nearest(match[2], tuple(UNITS)))
    size = float(match[1]) * _BYTES[match[2].lower()]
    if not 1 <= size < 2**63:
        raise RequestError(f"{shown(raw)} is no size for a run", mend)
    return int(size)


def is_scheduler_file(cluster: str) -> bool:
    """Return whether a text is meant as a file rather than as a word or an address.

    >>> is_scheduler_file("scheduler.json"), is_scheduler_file("local"), is_scheduler_file("tcp://a:8786")
    (True, False, False)
    """
    return (
        "://" not in cluster
        and cluster not in CLUSTERS
        and ("/" in cluster or "." in cluster or "~" in cluster)
    )


def address_fault(address: str) -> str:
    """Return what keeps a text from being the address of a scheduler, or nothing.

    >>> address_fault("tcp://node7:8786"), address_fault("tcp://[fe80::1]:8786")
    ('', '')
    >>> address_fault("tcp://node7")
    "'tcp://node7' names no port"
    """
    protocol, separator, rest = address.partition("://")
    if not separator or protocol not in PROTOCOLS:
        return f"{shown(address)} is not the address of a scheduler"
    host, colon, port = rest.rpartition(":")
    bracketed = rest.startswith("[")
    if not colon or (bracketed and not host.endswith("]")):
        return f"{shown(address)} names no port" if rest else f"{shown(address)} names no host"
    name = host[1:-1] if bracketed else host
    if not name:
        return f"{shown(address)} names no host"
    if re.search(r"[\s/@\[\]]" if bracketed else r"[\s/@\[\]:]", name):
        return f"{shown(address)} is not the address of a scheduler"
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        return f"{shown(address)} names no port between 1 and 65535"
    return ""


@collected
def _cluster(raw: object) -> object:
    if isinstance(raw, Mapping):
        return _slurm(raw)
    mend = "use auto, local, threads, tcp://HOST:PORT, a scheduler file or {slurm: {…}}"
    if not isinstance(raw, str) or not raw.strip():
        raise RequestError(f"{shown(raw)} names no cluster", mend)
    if "://" in raw:
        if fault := address_fault(raw):
            raise RequestError(fault, "write it as tcp://HOST:8786, or the port that dask scheduler told")
        return raw
    if raw not in CLUSTERS and not is_scheduler_file(raw):
        raise RequestError(f"{shown(raw)} names no cluster", nearest(raw, CLUSTERS, mend))
    return raw


def _slurm(raw: Mapping[str, Any]) -> dict[str, Any]:
    if list(raw) != ["slurm"]:
        names = ", ".join(map(str, raw)) or "nothing"
        raise RequestError(
            f"{{{names}}} names no cluster", "write {slurm: {…}} with dask-jobqueue's keywords"
        )
    keywords = {} if raw["slurm"] is None else raw["slurm"]
    if not isinstance(keywords, Mapping):
        raise RequestError(
            f"{shown(keywords)} is not a mapping",
            "give dask-jobqueue's keywords, as in {queue: gpu}",
            "slurm",
        )
    plain = {str(name).replace("-", "_"): value for name, value in keywords.items()}
    _check_keywords(plain)
    _check_kinds(plain)
    try:
        json.dumps(keywords, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RequestError(
            f"cannot be written down: {error}", "give texts, numbers and lists", "slurm"
        ) from None
    return {"slurm": dict(keywords)}


def _check_keywords(keywords: Mapping[str, Any]) -> None:
    """Refuse what is nearly a keyword, and numbers of jobs that are none."""
    for name in keywords:
        mend = nearest(name, SLURM_KEYWORDS, "-")
        if name not in SLURM_KEYWORDS and mend != "-":
            raise RequestError(f"dask-jobqueue has no keyword {name}", mend, "slurm")
    for name in JOBS:
        number = keywords.get(name)
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise RequestError(f"{shown(number)} is no number of jobs", "give 1 or more", f"slurm.{name}")
    least, most = keywords.get("minimum_jobs") or 1, keywords.get("maximum_jobs")
    if most is not None and most < least:
        raise RequestError(
            f"at most {most} jobs is fewer than at least {least}", "raise it", "slurm.maximum_jobs"
        )


def _is_text(value: object) -> bool:
    # `account: 1234` and `walltime: 30` are numbers to YAML.
    return bool(value.strip()) if isinstance(value, str) else _is_count(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_size(value: object) -> bool:
    try:
        parse_bytes(value)
    except ValueError:
        return False
    return True


_KINDS: tuple[tuple[Callable[[object], bool], str, str], ...] = (
    (_is_text, "a text",
     "queue account walltime interface python job_mem job_name worker_command name protocol local_directory"
     " shared_temp_directory log_directory shebang config_name"),
    (_are_texts, "a list of texts, as in [--qos=high]",
     "job_extra_directives job_directives_skip job_script_prologue worker_extra_args"),
    (_is_count, "a whole number of 1 or more", "cores processes n_workers job_cpu"),
    (_is_size, "a size with a unit, such as 24 GiB", "memory"),
    (lambda value: isinstance(value, bool), "true or false", "nanny security"),
    (lambda value: isinstance(value, Mapping), "a mapping, as in {port: 8786}", "scheduler_options"),
)  # fmt: skip
"""Of dask-jobqueue's keywords: what a value must be, in words, and for which. Of others it would make
nonsense in a job's script, or nothing at all: a text taken for a list is a line for each letter."""


def _check_kinds(keywords: Mapping[str, Any]) -> None:
    for is_one, wanted, names in _KINDS:
        for name in names.split():
            value = keywords.get(name)
            if value is not None and not is_one(value):
                raise RequestError(f"{shown(value)} is no {name}", f"give {wanted}", f"slurm.{name}")


Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": LEAST_PLAIN},
                {"type": "string", "pattern": _SIZE.pattern.join("^$")},
            ]
        }
    ),
]
ClusterName = Annotated[
    Any,
    BeforeValidator(_cluster),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(CLUSTERS)},
                {"type": "string", "pattern": "[/.]"},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["slurm"],
                    "properties": {"slurm": {"type": ["object", "null"]}},
                },
            ]
        }
    ),
]
