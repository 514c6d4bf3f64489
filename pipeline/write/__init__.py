"""OME-Zarr output that survives a kill at any moment.

The order of a run: `create`; `write_levels` for every region, `sync`, journal; `build_level` for the
coarser levels of which regions hold no whole files, `sync`, journal; `seal`; `publish`. `verify` checks a
finished output.

Here belongs what knows the output on disk: layout, metadata, manifest, journal, lock, commit.
"""

from pipeline.write.contrast import contrast_limits
from pipeline.write.create import check_layout, create
from pipeline.write.layout import Layout, make_layout, with_background, work_path
from pipeline.write.lock import check_lock
from pipeline.write.manifest import check_files, read_manifest, verify
from pipeline.write.publish import check_publish, check_target, discard, provenance_of, publish, state
from pipeline.write.pyramid import LevelRegions, build_level, cells_of_region, level_windows, write_levels
from pipeline.write.region import ChunkRecord, DamagedChunksError, read_region, sync, write_region
from pipeline.write.seal import Contents, seal

__all__ = [
    "ChunkRecord",
    "Contents",
    "DamagedChunksError",
    "Layout",
    "LevelRegions",
    "build_level",
    "cells_of_region",
    "check_files",
    "check_layout",
    "check_lock",
    "check_publish",
    "check_target",
    "contrast_limits",
    "create",
    "discard",
    "level_windows",
    "make_layout",
    "provenance_of",
    "publish",
    "read_manifest",
    "read_region",
    "seal",
    "state",
    "sync",
    "verify",
    "with_background",
    "work_path",
    "write_levels",
    "write_region",
]
