"""Configs for the tests to change, and helpers for their errors."""

import pytest

from pipeline.config.load import load_config
from pipeline.model.errors import RequestError

FULL = """\
input:
  path: ../data/embryo.ome.tif
  axes: tcyx
  scale: {t: 30 s, y: 0.325 um, x: 0.325 µm}
  select: {t: 0:100, c: [GFP, 2]}
  nan: propagate
  level: 1
  series: 2
steps:
  - white_tophat: {radius: 25}
  - difference_of_gaussians: {low_sigma: 1, high_sigma: 30 um}
  - gaussian:
      sigma: {z: 1, y: 2, x: 2}
      along: zyx
  - white_tophat: {radius: 8, channels: [mCherry, 0]}
output:
  path: ../results/embryo.ome.zarr
  dtype: input
  overflow: clip
  offset: -100.5
  chunks: {y: 1024, x: 512}
  shards: {t: 10, y: 2048}
  compressor: zstd
  checksum: crc32c
  pyramid: false
  version: 0.4
  axes: tczyx
  background: background.zarr
  work: /scratch
  max_clipped: 0.1%
compute:
  memory: 8 GiB
  workers: 4
  block: {y: 2048}
  window: {t: 2}
  cluster: {slurm: {queue: gpu, job_extra_directives: [--qos=high], cores: 4}}
"""

SHORT = """\
input: {path: a.tif}
steps:
  - white_tophat: {radius: 25}
  - gaussian: {sigma: 2}
output: {path: b.zarr}
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a config into the test's folder."""

    def write(text, name="configs/run.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems(source, **options):
    with pytest.raises(RequestError) as caught:
        load_config(source, **options)
    assert caught.value.exit_code == 2
    for problem in caught.value.problems:
        assert "\n" not in str(problem)
        assert problem.hint, f"there is no hint: {problem}"
    return caught.value.problems


def the_problem(source, **options):
    (problem,) = problems(source, **options)
    return problem
