"""Of images whose truth is known the suggested ranges hold it, or no number is given and it is said why."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from scipy.spatial import cKDTree

from pipeline.explore.estimate import suggest_for
from pipeline.explore.granulometry import polarity
from pipeline.explore.suggest import suggestion_text
from pipeline.read import open_source

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def ramp(side, height=300):
    rows, columns = np.mgrid[:side, :side] / side
    return 800 + height * np.sin(2 * columns + 1) * np.cos(1.5 * rows)


def discs(radius, side=400, seed=0, share=0.12):
    """Return a plane that is 1 in discs of one radius."""
    generator, plane = np.random.default_rng(seed), np.zeros((side, side))
    rows, columns = np.mgrid[:side, :side]
    for _ in range(max(3, int(share * side**2 / (np.pi * radius**2)))):
        row, column = generator.uniform(0, side, 2)
        plane[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 1
    return plane


def foam(width, side=400, cells=60, seed=0, own=0.0):
    """Return a plane that is 1 in the walls between cells; each cell has a brightness of its own."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(-0.1 * side, 1.1 * side, (cells, 2))
    pixels = np.stack(np.mgrid[:side, :side], -1).reshape(-1, 2)
    far, which = cKDTree(points).query(pixels, k=2)
    apart = np.linalg.norm(points[which[:, 0]] - points[which[:, 1]], axis=1)
    wall = (far[:, 1] ** 2 - far[:, 0] ** 2) / (2 * apart) <= width / 2
    inner = generator.uniform(-own, own, cells)[which[:, 0]]
    return np.where(wall, 1, inner).reshape(side, side)


def filaments(width, side=400, seed=0):
    generator, plane = np.random.default_rng(seed), np.zeros((side, side))
    rows, columns = np.mgrid[:side, :side]
    for _ in range(12):
        angle, (row, column) = generator.uniform(0, np.pi), generator.uniform(0, side, 2)
        plane[abs((rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)) <= width / 2] = 1
    return plane


def seen(signal, height=400, noise=10, background=300, seed=5):
    """Return a plane as a camera would see it."""
    blurred = ndimage.gaussian_filter(signal.astype(float), 0.7)
    side = len(signal)
    return (
        ramp(side, background) + height * blurred + np.random.default_rng(seed).normal(0, noise, (side, side))
    )


def suggested(folder, plane, wanted=None):
    tifffile.imwrite(
        folder / "a.tif", plane.clip(0, 65535).astype(np.uint16), imagej=True, metadata={"axes": "YX"}
    )
    source = open_source(folder / "a.tif")
    (found,) = suggest_for(source, wanted)
    return found, suggestion_text(source.spec, [found])


TRUE = {
    **{f"discs of {radius}": (discs, radius, radius) for radius in (2, 3, 5, 8, 12, 20, 30)},
    **{f"foam with walls of {width}": (foam, width, width / 2) for width in (2, 3, 4, 6, 8)},
    **{f"filaments of {width}": (filaments, width, width / 2) for width in (3, 6)},
}


@pytest.mark.parametrize("bright", [True, False], ids=["bright", "dark"])
@pytest.mark.parametrize("name", TRUE)
def test_a_range_holds_the_truth(tmp_path, name, bright):
    make, size, radius = TRUE[name]
    found, said = suggested(tmp_path, seen(make(size), 400 if bright else -400))
    assert found.clear
    assert found.features == ("bright" if bright else "dark")
    assert found.smallest <= max(1, radius) <= found.largest
    assert found.largest <= max(5, 2 * radius)
    assert radius < found.radius.low <= found.radius.begin <= max(7, 3 * radius)
    assert "stand out too" not in said


@pytest.mark.parametrize("own", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("width", [3, 8])
def test_walls_of_foam_are_not_taken_for_its_cells(tmp_path, width, own):
    found, said = suggested(tmp_path, seen(foam(width, side=700, cells=40, own=own)))
    ranges = [(found.smallest, found.largest), *found.size.others]
    walls = any(low <= width / 2 <= high for low, high in ranges)
    assert walls or "no size can be told" in said
    assert found.largest < 20 or walls, "cells alone, without a doubt"


def test_a_second_size_is_said(tmp_path):
    small, large = discs(3, seed=1, share=0.04), discs(25, seed=2, share=0.08)
    found, said = suggested(tmp_path, seen(np.maximum(small, 0.6 * large)))
    ranges = [(found.smallest, found.largest), *found.size.others]
    for radius in (3, 25):
        assert any(low <= radius <= high for low, high in ranges)
    assert "px radius stand out too: " in said


@pytest.mark.parametrize("radii", [(5, 5), (4, 12), (12, 4)], ids=str)
def test_both_polarities_are_said_and_either_can_be_taken(tmp_path, radii):
    plane = seen(discs(radii[0], seed=1) - discs(radii[1], seed=2))
    found, said = suggested(tmp_path, plane)
    other = "dark" if found.features == "bright" else "bright"
    assert f"{other} features stand out too" in said
    assert f"--features {other} takes those" in said
    for features, radius in zip(("bright", "dark"), radii, strict=True):
        each, said = suggested(tmp_path, plane, features)
        assert each.features == features
        assert each.smallest <= radius <= each.largest
        assert "stand out too" in said


@pytest.mark.parametrize("radius", [5, 12, 30])
def test_one_polarity_is_not_said_to_be_two(radius):
    for sign in (1, -1):
        assert not polarity(seen(discs(radius), sign * 400)).both


def test_the_polarity_is_told_on_a_slope_far_higher_than_the_features():
    for sign in (1, -1):
        plane = seen(foam(4, side=600, cells=40), sign * 60, background=3000)
        assert polarity(plane).features == ("bright" if sign > 0 else "dark")


NOTHING = {
    "noise": (np.random.default_rng(1).normal(500, 30, (300, 300)), "none stands out"),
    "a slope": (ramp(300) + np.random.default_rng(0).normal(0, 5, (300, 300)), "stands out"),
    "a steep slope": (ramp(300, 3000) + np.random.default_rng(0).normal(0, 50, (300, 300)), "stands out"),
    "constant": (np.full((200, 200), 7), "all pixels are 7"),
    "saturated": (np.full((200, 200), 65535), "all pixels are 65535"),
    "tiny": (seen(discs(5, side=16)), "16 × 16 px are too few"),
    "small": (seen(discs(9, side=40)), "40 × 40 px are too few"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_where_no_size_can_be_told_there_is_a_reason_and_no_number(tmp_path, name):
    plane, reason = NOTHING[name]
    found, said = suggested(tmp_path, np.asarray(plane))
    assert not found.clear
    first, *rest = said.splitlines()
    assert first.startswith("no size can be told: ")
    assert reason in first
    assert not any("radius  " in line or "sigma" in line for line in rest)


def test_saturated_pixels_are_said(tmp_path):
    plane = 55.0 * seen(discs(8))
    found, said = suggested(tmp_path, plane)
    assert found.smallest <= 8 <= found.largest
    assert "% of the pixels are saturated" in said


@pytest.mark.skipif(not DATA.is_dir(), reason="the real images are not here")
def test_real_images(tmp_path):
    nuclei = tifffile.imread(DATA / "MAX_Lund_18.0_22.0_Hours Z-projection t1.tif")
    found, _ = suggested(tmp_path, nuclei)
    assert (found.clear, found.features) == (True, "bright")
    assert found.smallest <= 5 <= found.largest
    brightfield = tifffile.imread(DATA / "brightfield/bf_0012.tif")
    _, said = suggested(tmp_path, brightfield)
    assert "features stand out too" in said, "bubbles are dark rings around bright middles"


def test_frames_over_the_whole_time_lapse_are_looked_at(tmp_path):
    empty, full = seen(np.zeros((200, 200))), seen(discs(6, side=200))
    frames = np.stack([empty, empty, full, full, full, full]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", frames, imagej=True, metadata={"axes": "TYX"})
    (found,) = suggest_for(open_source(tmp_path / "a.tif"))
    assert found.clear
    assert found.smallest <= 6 <= found.largest
