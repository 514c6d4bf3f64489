"""Where the journal's lines begin: as a dict would have it, in the order of the windows, in little memory."""

import tracemalloc

import numpy as np
import pytest
from small_run import inputs_of, layout_of

from pipeline.write import ChunkRecord
from pipeline.write.journal import begin
from pipeline.write.offsets import Offsets, WindowKey

KEYS = [WindowKey(*key) for key in ((0, 0), (0, 9), (0, 10), (0, 300), (2, 7), (9, 1), (10, 0), (10, 11))]


@pytest.mark.parametrize("seed", range(3))
def test_offsets_are_those_that_a_dict_would_give(seed):
    rng = np.random.default_rng(seed)
    offsets, expected = Offsets(), {}
    for offset in rng.permutation(200).tolist():
        key = KEYS[rng.integers(len(KEYS))]
        if rng.random() < 0.3:
            offsets.discard(key)
            expected.pop(key, None)
        else:
            offsets[key] = expected[key] = offset
        assert list(offsets) == [key for key in KEYS if key in expected]
        assert {key: offsets[key] for key in offsets} == expected
        assert offsets.last() == max(expected, key=expected.get, default=None)
        for gone in {*KEYS, WindowKey(0, 11), WindowKey(3, 0)} - expected.keys():
            assert gone not in offsets
            with pytest.raises(KeyError):
                offsets[gone]


def test_a_hundred_thousand_windows_take_a_megabyte():
    tracemalloc.start()
    offsets = Offsets()
    for number in range(100_000):
        offsets[WindowKey(0, number)] = number
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert offsets.last() == WindowKey(0, 99_999)
    assert held < 1 << 20


def test_files_are_listed_in_the_order_of_their_windows_numbers(tmp_path):
    keys = [WindowKey(0, 10), WindowKey(0, 9), WindowKey(1, 0), WindowKey(0, 1)]
    with begin(layout_of(tmp_path / "out.zarr"), inputs_of(), dict) as journal:
        for key in keys:
            journal.append(key, [ChunkRecord(f"files of {key}", 1, 1)])
        expected = [f"files of {key}" for key in sorted(keys)]
        assert [record.key for record in journal.records()] == expected
        assert [record.key for record in journal.records([*keys, keys[1]])] == expected


def test_a_line_names_its_window_as_level_and_number(tmp_path):
    """Runs that another bgone began go on: what its lines say is read, and what is no window is none."""
    layout = layout_of(tmp_path / "out.zarr")
    with begin(layout, inputs_of(), dict) as journal:
        journal.append(WindowKey(1, 23), [])
    with open(f"{layout.work}/journal") as file:
        assert '"window":"1/23"' in file.read()
