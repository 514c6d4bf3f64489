"""The list of what every file of a finished output holds, and its check.

A text of one line a file, inside the output's group `bgone`, where readers of NGFF do not look:
the path, then bytes and crc32c (of the bytes as stored), or EMPTY. The last line counts the lines
and holds the crc32c of all before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

import google_crc32c

from pipeline.model.errors import VerificationError
from pipeline.write.metadata import BGONE
from pipeline.write.own import lost_metadata, require_output
from pipeline.write.region import ChunkRecord, matches, read_file

MANIFEST = f"{BGONE}/manifest.txt"
_HEADER = b"# bgone manifest 1: path, bytes, crc32c of them; EMPTY: no file, every pixel is 0\n"
_BATCH = 512
_READERS = 4


@dataclass(frozen=True)
class Damage:
    """A file of an output that is not what was written."""

    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.key}: {self.what}"


def record_line(record: ChunkRecord) -> str:
    """Return a record as the manifest has it.

    >>> record_line(ChunkRecord("0/c/1/0/0", 812, 255)), record_line(ChunkRecord("0/c/2/0/0", 0, None))
    ('0/c/1/0/0 812 000000ff', '0/c/2/0/0 EMPTY')
    """
    return f"{record.key} EMPTY" if record.crc is None else f"{record.key} {record.nbytes} {record.crc:08x}"


def parse_line(line: str) -> ChunkRecord:
    """Read what `record_line` wrote.

    Raises
    ------
    ValueError
        It did not write this.
    """
    parts = line.split(" ")
    if len(parts) == 2 and parts[1] == "EMPTY":
        return ChunkRecord(parts[0], 0, None)
    key, nbytes, crc = parts
    return ChunkRecord(key, int(nbytes), int(crc, 16))


def manifest_parts(records: Iterable[ChunkRecord]) -> Iterator[bytes]:
    """Yield the manifest's bytes part by part, so that it never lies in memory whole."""
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
    """Yield the records of a finished output, in the order they were written.

    Raises
    ------
    VerificationError
        The manifest is missing, cut or changed; raised where it shows, at the latest at the end.
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

    Parameters
    ----------
    output : str
        Folder of the output.

    Raises
    ------
    RequestError
        It is no output of bgone; raised at once.
    VerificationError
        There is no manifest, or it is damaged itself.

    Notes
    -----
    Reads every file once, some at a time; memory does not grow with the output.
    """
    require_output(output)
    return chain(check_files(output, read_manifest(output)), _check_metadata(output))


def _check_metadata(output: str) -> Iterator[Damage]:
    """Yield what of the groups' metadata is lost; it may be changed, a channel's colour say."""
    for key in lost_metadata(output):
        yield Damage(key, "the file is missing, or no longer says what the image is")


def check_files(folder: str, records: Iterable[ChunkRecord], *, content: bool = True) -> Iterator[Damage]:
    """Yield the files below `folder` that are not what their records say.

    Parameters
    ----------
    folder : str
        Of the image.
    records : iterable of ChunkRecord
        What the files ought to hold.
    content : bool
        Whether to read them and compare checksums, rather than their sizes alone.
    """
    rest = iter(records)

    def look(record: ChunkRecord) -> Damage | None:
        return _look(folder, record, content)

    with ThreadPoolExecutor(_READERS, thread_name_prefix="bgone-check") as pool:
        while batch := list(islice(rest, _BATCH)):
            yield from (damage for damage in pool.map(look, batch) if damage is not None)


def _look(folder: str, record: ChunkRecord, content: bool) -> Damage | None:
    path = f"{folder}/{record.key}"
    try:
        size = os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None if record.empty else Damage(record.key, "the file is missing")
    except OSError as error:
        return Damage(record.key, f"the file cannot be read: {error.strerror}")
    if record.empty:
        return Damage(record.key, "there is a file where all pixels should be 0")
    if size != record.nbytes:
        return Damage(record.key, f"{size} bytes instead of {record.nbytes}")
    if not content:
        return None
    try:
        same = matches(record, read_file(path))
    except OSError as error:
        return Damage(record.key, f"the file cannot be read: {error.strerror}")
    return None if same else Damage(record.key, "its checksum is wrong: the bytes have changed")
