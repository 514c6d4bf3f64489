"""One TIFF file, of whatever kind."""

from pipeline.read.files import check_file
from pipeline.read.opened import Opened
from pipeline.read.tiff.file import open_stack
from pipeline.read.tiff.ome import open_ome
from pipeline.read.tiff.ome_files import is_companion, is_ome


def open_file(path: str, series: int | None, level: int) -> Opened:
    """Open one TIFF file.

    Raises
    ------
    RequestError
        It is no TIFF, damaged, or of a kind that bgone does not read.
    """
    check_file(path)
    if is_companion(path) or is_ome(path):
        return open_ome(path, series, level)
    return open_stack(path, series, level)
