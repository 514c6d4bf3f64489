"""OME-Zarr out, built so that a run may be killed at any moment.

The order of a run: `create`, `write_region` for every region, `sync`, journal; `build_level` for
every coarser level, `sync`, journal; `seal`; `publish`. A finished output is checked by `verify`.

Here belongs what knows the output on disk: layout, metadata, manifest, journal, lock, commit.
"""

from pipeline.write.check import check_layout
from pipeline.write.chunks import choose_chunks
from pipeline.write.contrast import contrast_limits
from pipeline.write.create import create
from pipeline.write.layout import Layout, Level, make_layout, with_background, work_path
from pipeline.write.lock import Lock, refuse_held
from pipeline.write.manifest import Damage, check_files, read_manifest, verify
from pipeline.write.metadata import ContrastLimits
from pipeline.write.publish import (
    Contents,
    check_publish,
    check_target,
    discard,
    discard_work,
    provenance_of,
    publish,
    seal,
    state,
    stored_fingerprint,
)
from pipeline.write.pyramid import LevelRegions, build_level, level_windows, numbers_meeting
from pipeline.write.region import ChunkRecord, DamagedChunksError, read_region, sync, write_region

__all__ = [
    "ChunkRecord",
    "Contents",
    "ContrastLimits",
    "Damage",
    "DamagedChunksError",
    "Layout",
    "Level",
    "LevelRegions",
    "Lock",
    "build_level",
    "check_files",
    "check_layout",
    "check_publish",
    "check_target",
    "choose_chunks",
    "contrast_limits",
    "create",
    "discard",
    "discard_work",
    "level_windows",
    "make_layout",
    "numbers_meeting",
    "provenance_of",
    "publish",
    "read_manifest",
    "read_region",
    "refuse_held",
    "seal",
    "state",
    "stored_fingerprint",
    "sync",
    "verify",
    "with_background",
    "work_path",
    "write_region",
]
