"""Names drawn at random, of one, two or three counted things: what is right is known beforehand."""

import itertools
import os
import re
from dataclasses import dataclass

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.model.errors import RequestError
from pipeline.read.sequence.numbering import read_numbering

WORDS = {
    "t": ["t", "T", "time", "frame", "tp"],
    "z": ["z", "Z", "slice", "plane"],
    "c": ["c", "ch", "channel", "w"],
    "place": ["Pos", "XY", "site", "Well", "position", "fov"],
    "": ["", "img", "run", "a", "exp"],
}
SEPARATORS = ["_", "-", " ", ".", "__"]
FOLDER = "/data/x5"


@dataclass(frozen=True, eq=False)
class Part:
    """One number of a name: the word before it, and its values."""

    word: str
    meaning: str
    values: tuple[int, ...]
    width: int
    durations: bool = False

    def text(self, value):
        if self.durations:
            return f"{value // 1440:02d}d{value // 60 % 24:02d}h{value % 60:02d}m"
        return f"{value:0{self.width}d}"


@st.composite
def counts(draw, meanings=("t", "z", "c", "place", "")):
    """Draw a number that counts: 2 to 7 values, evenly spaced, padded or not."""
    meaning = draw(st.sampled_from(meanings))
    start, step = draw(st.integers(0, 30)), draw(st.integers(1, 12))
    size = draw(st.integers(2, 7))
    durations = meaning == "t" and draw(st.booleans())
    step = step * 20 if durations else step
    values = tuple(range(start, start + size * step, step))
    word = "" if durations else draw(st.sampled_from(WORDS[meaning]))
    return Part(word, meaning, values, draw(st.sampled_from([0, 2, 4])), durations)


@st.composite
def fixed(draw):
    """Draw a number that stays."""
    meaning = draw(st.sampled_from(list(WORDS)))
    return Part(draw(st.sampled_from(WORDS[meaning])), meaning, (draw(st.integers(0, 999)),), 0)


@st.composite
def layouts(draw, things, meanings=("t", "z", "c", "place", "")):
    """Draw the parts of a name in some order, what stands between them, and which are folders."""
    counting = [draw(counts(meanings)) for _ in range(things)]
    assume(sum(part.durations for part in counting) < 2)
    staying = draw(st.lists(fixed(), max_size=2))
    parts = draw(st.permutations([*counting, *staying]))
    betweens = [draw(st.sampled_from(SEPARATORS)) for _ in parts]
    if len(parts) > 1 and draw(st.booleans()):
        betweens[draw(st.integers(1, len(parts) - 1))] = os.sep
    suffix = draw(st.sampled_from([".tif", ".TIFF", ".ome.tif", "_x.tif"]))
    return counting, parts, betweens, suffix


def name_of(parts, betweens, suffix, values):
    """Return the name of a file; a word keeps off the number before it."""
    texts = []
    for part, between in zip(parts, betweens, strict=True):
        texts.append(f"{between if texts else ''}{part.word}{part.text(values[part])}")
    return "".join(texts) + suffix


def names_of(layout, combinations):
    counting, parts, betweens, suffix = layout
    found = []
    for combination in combinations:
        values = {part: part.values[0] for part in parts} | dict(zip(counting, combination, strict=True))
        found.append(f"{FOLDER}/{name_of(parts, betweens, suffix, values)}")
    return found


def check_one(layout, shuffled):
    """One number varies: the files come in its order, along the axis that its word says."""
    counting, *_ = layout
    (thing,) = counting
    names = names_of(layout, [(value,) for value in thing.values])
    given = [names[index] for index in shuffled if index < len(names)]
    axes = "tyx" if thing.meaning == "place" else None
    if axes:
        with pytest.raises(RequestError, match="several places"):
            read_numbering(given)
    found = read_numbering(given, axes)
    assert list(found.files) == names
    assert found.axis == (thing.meaning if thing.meaning in ("z", "c") else "t")
    assert found.interval == ((thing.values[1] - thing.values[0]) * 60 if thing.durations else 0)


def check_gap(layout, lost):
    """A file in the middle is gone: it is named, but of times, which may be uneven, and channels."""
    counting, *_ = layout
    (thing,) = counting
    if len(thing.values) < 4:
        return
    names = names_of(layout, [(value,) for value in thing.values])
    gone = names.pop(1 + lost % (len(names) - 2))
    axes = "tyx"
    if thing.durations or thing.meaning == "c":
        found = read_numbering(names, axes)
        assert (list(found.files), found.interval) == (names, 0)
        assert bool(found.uneven) == thing.durations
        return
    with pytest.raises(RequestError) as caught:
        read_numbering(names, axes)
    assert os.path.relpath(gone, os.path.commonpath(names)) in str(caught.value)


def check_several(layout, running):
    """Two or three numbers vary, with a running number beside or not: refused, with a glob of one series."""
    counting, *_ = layout
    combinations = list(itertools.product(*(part.values for part in counting)))
    names = names_of(layout, combinations)
    if running:
        names = [
            f"{os.path.dirname(name)}/r{index:04d}_{os.path.basename(name)}"
            for index, name in enumerate(names)
        ]
    with pytest.raises(RequestError) as caught:
        read_numbering(names)
    text = str(caught.value)
    assert "things" in text or "several places" in text, text
    pattern = re.search(r"such as '([^']*)'$", text)
    if pattern is None:
        assert "rename them" in text
        return
    wanted = "".join(
        {"*": "[^/]*"}.get(piece, piece if piece.startswith("[") else re.escape(piece))
        for piece in re.findall(r"\[[^]]*\]|.", pattern[1])
    )
    members = [name for name in names if re.fullmatch(wanted, name)]
    assert members
    if len(members) > 1:
        assert list(read_numbering(members, "tyx").files) == members


ORDERS = st.permutations(range(7))


@settings(max_examples=150, deadline=None)
@given(layouts(1), ORDERS)
def test_one_number_is_a_series(layout, shuffled):
    check_one(layout, shuffled)


@settings(max_examples=80, deadline=None)
@given(layouts(1), st.integers(0, 6))
def test_a_gap_is_found(layout, lost):
    check_gap(layout, lost)


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 3).flatmap(layouts), st.booleans())
def test_several_numbers_are_refused(layout, running):
    check_several(layout, running)


@pytest.mark.slow
@settings(max_examples=6_000, deadline=None)
@given(st.integers(1, 3).flatmap(layouts), ORDERS, st.booleans())
def test_names_at_length(layout, shuffled, running):
    if len(layout[0]) == 1:
        check_one(layout, shuffled)
        check_gap(layout, shuffled[0])
    else:
        check_several(layout, running)
