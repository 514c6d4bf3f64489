"""The manifest of a finished output: what each file holds, and the check against it.

A text with one line for each file, inside the group `bgone`, where readers of NGFF do not look:
its path, then its bytes and the crc32c of those, or EMPTY. The last line counts the lines and
holds the crc32c of all before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

import google_crc32c

from pipeline.model.errors import VerificationError
from pipeline.write.metadata import BGONE
from pipeline.write.own import lost_metadata, require_output
from pipeline.write.region import ChunkRecord, matches, read_file

MANIFEST = f"{BGONE}/manifest.txt"
_HEADER = b"# bgone manifest 1: path, bytes, crc32c of them; EMPTY: no file, every pixel is 0\n"
_BATCH = 512  # records in memory at a time
_READERS = 4


@dataclass(frozen=True)
class Damage:
    """A file of an output that does not match its record."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


def record_line(record: ChunkRecord) -> str:
    """Return the line of a record.

    >>> record_line(ChunkRecord("0/c/1/0/0", 812, 255)), record_line(ChunkRecord("0/c/2/0/0", 0, None))
    ('0/c/1/0/0 812 000000ff', '0/c/2/0/0 EMPTY')
    """
    return f"{record.key} EMPTY" if record.crc is None else f"{record.key} {record.nbytes} {record.crc:08x}"


def parse_line(line: str) -> ChunkRecord:
    """Return the record of a line; ValueError if it is damaged."""
    parts = line.split(" ")
    if len(parts) == 2 and parts[1] == "EMPTY":
        return ChunkRecord(parts[0], 0, None)
    key, nbytes, crc = parts
    return ChunkRecord(key, int(nbytes), int(crc, 16))


def manifest_parts(records: Iterable[ChunkRecord]) -> Iterator[bytes]:
    """Yield the bytes of a manifest in parts, so that memory does not grow with the output."""
    digest = google_crc32c.Checksum(_HEADER)
    yield _HEADER
    count, rest = 0, iter(records)
    while batch := list(islice(rest, _BATCH)):
        part = "".join(f"{record_line(record)}\n" for record in batch).encode()
        digest.update(part)
        count += len(batch)
        yield part
    yield f"# end {count} {int.from_bytes(digest.digest(), 'big'):08x}\n".encode()


def read_manifest(output: str) -> Iterator[ChunkRecord]:
    """Yield the records of a finished output, in the order of its manifest.

    Raises
    ------
    VerificationError
        The manifest is missing, cut or changed; raised after the last record at the latest.
    """
    path = f"{output}/{MANIFEST}"
    digest = google_crc32c.Checksum()
    count, last = 0, b""
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(b"# end "):
                    last = line
                    break
                digest.update(line)
                if not line.startswith(b"#"):
                    count += 1
                    yield parse_line(line.decode().rstrip("\n"))
            trailing = file.read(1)
    except (OSError, ValueError) as error:
        raise VerificationError(
            f"{path} cannot be read ({error}), so nothing can be checked", "run again with --overwrite"
        ) from error
    if last != f"# end {count} {int.from_bytes(digest.digest(), 'big'):08x}\n".encode() or trailing:
        raise VerificationError(f"{path} itself is damaged", "run again with --overwrite")


def verify(output: str) -> Iterator[Damage]:
    """Yield the files of a finished output that are not what was written.

    Every file is read once, a few at a time; memory does not grow with the output.

    Raises
    ------
    RequestError
        `output` is no output of bgone; raised at once.
    VerificationError
        The manifest is missing or damaged.
    """
    require_output(output)
    return chain(check_files(output, read_manifest(output)), _check_metadata(output))


def _check_metadata(output: str) -> Iterator[Damage]:
    # Groups' metadata has no record: users may edit it, to change a channel's colour.
    for key in lost_metadata(output):
        yield Damage(key, "the file is missing, or no longer says what the image is")


def check_files(folder: str, records: Iterable[ChunkRecord], *, content: bool = True) -> Iterator[Damage]:
    """Yield the files of the image in `folder` that do not match their records.

    Without `content` only sizes are compared, not checksums.
    """
    rest = iter(records)
    check = partial(_check_file, folder, content=content)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="bgone-check") as pool:
        while batch := list(islice(rest, _BATCH)):
            yield from (damage for damage in pool.map(check, batch) if damage is not None)


def _check_file(folder: str, record: ChunkRecord, *, content: bool) -> Damage | None:
    path = f"{folder}/{record.key}"
    fault = ""
    try:
        size = os.stat(path).st_size
        if record.empty:
            fault = "there is a file where all pixels should be 0"
        elif size != record.nbytes:
            fault = f"{size} bytes instead of {record.nbytes}"
        elif content and not matches(record, read_file(path)):
            fault = "its checksum is wrong: the bytes have changed"
    except (FileNotFoundError, NotADirectoryError):
        fault = "" if record.empty else "the file is missing"
    except OSError as error:
        fault = f"the file cannot be read: {error.strerror}"
    return Damage(record.key, fault) if fault else None
