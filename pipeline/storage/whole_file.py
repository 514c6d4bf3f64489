"""Files that a user names, such as pictures and reports, written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.model.errors import RequestError
from pipeline.storage.durable import rename_new


@contextlib.contextmanager
def whole_file(
    path: str | os.PathLike[str], *, replace: bool = True, field: str = "-o"
) -> Iterator[BinaryIO]:
    """Open a file that gets its name when the block ends without an error, and is removed otherwise.

    Missing folders are made.

    Parameters
    ----------
    path : str or os.PathLike
        Its name.
    replace : bool
        Whether to replace a file of that name.
    field : str
        The option or argument that names the file, for errors.

    Raises
    ------
    RequestError
        It cannot be written, or something of that name exists and `replace` is false.
    """
    folder, name = os.path.split(os.path.abspath(path))
    # The name is cut, as a longer one than the file system takes would be refused.
    target, draft = f"{folder}/{name}", f"{folder}/.{name[:50]}.{uuid.uuid4().hex[:8]}.part"
    try:
        os.makedirs(folder, exist_ok=True)
        with open(draft, "xb+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, target)
        else:
            rename_new(draft, target)
    except FileExistsError as error:
        raise RequestError(f"{error.filename} is in the way", "choose another name", field) from None
    except OSError as error:
        reason = error.strerror or error
        raise RequestError(f"{str(path)!r} cannot be written: {reason}", "name another", field) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(draft)
