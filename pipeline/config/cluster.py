"""The cluster of a config: a word, an address, a scheduler file, or dask-jobqueue's keywords for SLURM."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

from pipeline.config.types import absolute, parse_bytes
from pipeline.model.errors import RequestError
from pipeline.model.messages import as_pydantic_error
from pipeline.model.text import nearest, shown

CLUSTERS = ("auto", "local", "threads")
PROTOCOLS = ("tcp", "tls", "ucx", "ws", "wss")
# Keys of `slurm` that are bgone's and not dask-jobqueue's: the number of jobs, or its bounds.
JOBS = ("jobs", "minimum_jobs", "maximum_jobs")


def is_scheduler_file(cluster: str) -> bool:
    """Return whether `compute.cluster` is a file rather than a word or an address.

    >>> is_scheduler_file("scheduler.json"), is_scheduler_file("local"), is_scheduler_file("tcp://a:8786")
    (True, False, False)
    """
    return "://" not in cluster and cluster not in CLUSTERS and any(sign in cluster for sign in "/.~")


def address_fault(address: str) -> str:
    """Explain why a text is no address of a scheduler, or return an empty string.

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


@as_pydantic_error
def _cluster(raw: object, info: ValidationInfo) -> object:
    if isinstance(raw, Mapping):
        return _slurm(raw)
    hint = "use auto, local, threads, tcp://HOST:PORT, a scheduler file or {slurm: {…}}"
    if not isinstance(raw, str) or not raw.strip():
        raise RequestError(f"{shown(raw)} names no cluster", hint)
    if "://" in raw:
        if fault := address_fault(raw):
            raise RequestError(fault, "write it as tcp://HOST:8786, or the port that dask scheduler told")
        return raw
    if is_scheduler_file(raw):
        return absolute(raw, info)
    if raw not in CLUSTERS:
        raise RequestError(f"{shown(raw)} names no cluster", nearest(raw, CLUSTERS, hint))
    return raw


def _slurm(raw: Mapping[str, Any]) -> dict[str, Any]:
    if list(raw) != ["slurm"]:
        names = ", ".join(map(str, raw)) or "nothing"
        hint = "write {slurm: {…}} with dask-jobqueue's keywords"
        raise RequestError(f"{{{names}}} names no cluster", hint)
    keywords = {} if raw["slurm"] is None else raw["slurm"]
    if not isinstance(keywords, Mapping):
        hint = "give dask-jobqueue's keywords, as in {queue: gpu}"
        raise RequestError(f"{shown(keywords)} is not a mapping", hint, "slurm")
    plain = {str(name).replace("-", "_"): value for name, value in keywords.items()}
    _check_keywords(plain)
    _check_jobs(plain)
    try:
        json.dumps(keywords, allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"cannot be written down: {error}"
        raise RequestError(message, "give texts, numbers and lists", "slurm") from None
    return {"slurm": dict(keywords)}


def _check_jobs(keywords: Mapping[str, Any]) -> None:
    for name in JOBS:
        number = keywords.get(name)
        if number is not None and not _is_count(number):
            raise RequestError(f"{shown(number)} is no number of jobs", "give 1 or more", f"slurm.{name}")
    least, most = keywords.get("minimum_jobs") or 1, keywords.get("maximum_jobs")
    if most is not None and most < least:
        message = f"at most {most} jobs is fewer than at least {least}"
        raise RequestError(message, "raise it", "slurm.maximum_jobs")


def _is_text(value: object) -> bool:
    # `account: 1234` and `walltime: 30` are numbers to YAML.
    return bool(value.strip()) if isinstance(value, str) else _is_count(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_size(value: object) -> bool:
    try:
        parse_bytes(value)
    except RequestError:
        return False
    return True


# Dask-jobqueue's keywords by kind: a check, the kind in words, the names. A wrong kind makes nonsense of
# a job's script: a text in place of a list becomes a line for each letter.
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
# For those who mistype one; any other keyword is handed on to dask-jobqueue.
_KEYWORDS = (
    *JOBS,
    *(name for *_, names in _KINDS for name in names.split()),
    "death_timeout",
    "silence_logs",
)


def _check_keywords(keywords: Mapping[str, Any]) -> None:
    """Refuse misspelt keywords, and values of the wrong kind."""
    for name in keywords:
        hint = nearest(name, _KEYWORDS, "-")
        if name not in _KEYWORDS and hint != "-":
            raise RequestError(f"dask-jobqueue has no keyword {name}", hint, "slurm")
    for is_kind, kind, names in _KINDS:
        for name in names.split():
            value = keywords.get(name)
            if value is not None and not is_kind(value):
                raise RequestError(f"{shown(value)} is no {name}", f"give {kind}", f"slurm.{name}")


_SLURM = {
    "type": "object",
    "additionalProperties": False,
    "required": ["slurm"],
    "properties": {"slurm": {"type": ["object", "null"]}},
}
ClusterName = Annotated[
    Any,
    BeforeValidator(_cluster),
    WithJsonSchema({"anyOf": [{"enum": list(CLUSTERS)}, {"type": "string", "pattern": "[/.]"}, _SLURM]}),
]
