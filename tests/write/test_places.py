"""Where the journal's lines begin: as a dict would have it, in the order of numbers, in little memory."""

import tracemalloc

import numpy as np
import pytest
from small_run import inputs_of, layout_of

from pipeline.write import ChunkRecord
from pipeline.write.journal import begin
from pipeline.write.offsets import Places

NUMBERED = ["0/0", "0/9", "0/10", "0/300", "2/7", "9/1", "10/0", "10/11"]
OTHERS = sorted(["0/01", "00/9", "0/67108864", "0/999999999", "0/", "/1", "1", "0/1/2", "0/-1", "²/1", "t"])


@pytest.mark.parametrize("seed", range(3))
def test_places_are_those_that_a_dict_would_give(seed):
    rng = np.random.default_rng(seed)
    places, expected = Places(), {}
    for place in rng.permutation(200).tolist():
        name = str(rng.choice([*NUMBERED, *OTHERS]))
        if rng.random() < 0.3:
            places.discard(name)
            expected.pop(name, None)
        else:
            places[name] = expected[name] = place
        assert list(places) == [name for name in [*NUMBERED, *OTHERS] if name in expected]
        assert {name: places[name] for name in places} == expected
        assert places.last() == max(expected, key=expected.get, default=None)
        for gone in {*NUMBERED, *OTHERS, "0/11", "3/0"} - expected.keys():
            assert gone not in places
            with pytest.raises(KeyError):
                places[gone]


def test_a_name_with_a_large_number_takes_no_memory_for_those_before_it():
    tracemalloc.start()
    places = Places()
    for name in ("0/67108864", "0/99999999", "0/9999999999999999999999", "99999999999/1"):
        places[name] = 7
    assert len(list(places)) == 4
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 20


def test_files_are_listed_in_the_order_of_their_windows_numbers(tmp_path):
    names = ["0/10", "0/9", "1/0", "0/1"]
    with begin(layout_of(tmp_path / "out.zarr"), inputs_of(), dict) as journal:
        for name in names:
            journal.append(name, [ChunkRecord(f"files of {name}", 1, 1)])
        expected = [f"files of {name}" for name in ("0/1", "0/9", "0/10", "1/0")]
        assert [record.key for record in journal.records()] == expected
        assert [record.key for record in journal.records([*names, "0/9"])] == expected
