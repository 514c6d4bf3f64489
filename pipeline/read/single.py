"""One TIFF file, of whatever kind."""

from pipeline.read.files import check_file
from pipeline.read.ome_files import is_companion, is_ome
from pipeline.read.ome_tiff import open_ome
from pipeline.read.opened import Opened
from pipeline.read.tiff import open_stack


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
