"""Random chains × dtypes × selections × chunks × channels: a run equals the whole array, or is refused."""

import re
import shutil
import warnings
from collections import Counter

import numpy as np
import pytest
import whole_array
import zarr

import pipeline
from pipeline.kernels.dtypes import SUPPORTED
from pipeline.model.errors import DataError, RequestError
from pipeline.planning.job import prepare
from pipeline.read import open_source
from pipeline.reporting.recompute import recompute
from pipeline.write import verify

DTYPES = [dtype.name for dtype in SUPPORTED]
SEVERAL = {"yx": 1, "tyx": 3, "cyx": 2, "zyx": 2, "tcyx": 2}


def a_step(rng):
    name = str(
        rng.choice(
            ["white_tophat", "black_tophat", "subtract_minimum", "subtract_opening", "subtract_opening",
             "gaussian", "subtract_gaussian", "difference_of_gaussians"]
        )
    )  # fmt: skip
    if name.endswith("tophat"):
        return name, {"radius": float(rng.choice([1, 2, 3, 4.5]))}
    if name == "subtract_minimum":
        return name, {"size": int(rng.choice([3, 5, 9]))}
    if name == "subtract_opening":
        return name, {"minimum_size": int(rng.choice([3, 5])), "maximum_size": int(rng.choice([3, 7]))}
    linear = {"mode": str(rng.choice(["nearest", "reflect", "mirror", "constant"]))}
    linear["truncate"] = float(rng.choice([0.5, 1.7, 2.5, 3, 4, 4, 4, 6]))
    wide = float(rng.choice([0.69, 1.5, 3, 8.5]))
    if name == "difference_of_gaussians":
        return name, {"low_sigma": float(rng.choice([0, 0.3, 0.6])), "high_sigma": wide, **linear}
    return name, {"sigma": wide, **linear}


def pixels(rng, shape, dtype, spoiled):
    kind = np.dtype(dtype)
    if kind.kind == "f":
        image = (rng.normal(size=shape) * float(rng.choice([1, 1e3, 1e30]))).astype(kind)
        if kind == np.float64 and rng.random() < 0.3:
            image[rng.random(shape) < 0.01] = 1e300 * rng.choice([-1, 1])
        for value in spoiled:
            image[rng.random(shape) < 0.002] = value
        return image
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    if rng.random() < 0.5:
        low, high = max(low, -1000), min(high, 60000)
    return rng.integers(low, high, shape, dtype=kind, endpoint=True)


class Case:
    """One random request: an input on the disk, and a config for it."""

    def __init__(self, seed, folder):
        rng = self.rng = np.random.default_rng(seed)
        self.folder = folder
        axes = self.axes = str(rng.choice(list(SEVERAL)))
        sizes = [int(rng.integers(2, 4)) if axis in "tcz" else int(rng.integers(24, 44)) for axis in axes]
        self.dtype = str(rng.choice(DTYPES))
        self.nan = str(rng.choice(["refuse", "propagate"]))
        spoiled = [np.nan, np.inf, -np.inf] if rng.random() < 0.4 else []
        self.image = pixels(rng, sizes, self.dtype, spoiled)
        self.chain = [a_step(rng) for _ in range(int(rng.integers(1, 4)))]
        self.channels = [
            [int(rng.integers(0, sizes[axes.index("c")]))] if "c" in axes and rng.random() < 0.5 else None
            for _ in self.chain
        ]
        chunks = [1 if axis in "tcz" else int(rng.integers(9, 50)) for axis in axes]
        zarr.create_array(
            folder / "in.zarr", data=self.image, chunks=tuple(map(min, chunks, sizes)), overwrite=True
        )
        self.select = {}
        for axis, size in zip(axes, sizes, strict=True):
            if axis != "c" and rng.random() < 0.3:
                first = int(rng.integers(0, size // 2))
                self.select[axis] = f"{first}:{size - int(rng.integers(0, 2))}"
        self.background = rng.random() < 0.2
        self.output = self._output(rng)

    def _output(self, rng):
        said = {"path": str(self.folder / "out.zarr"), "pyramid": bool(rng.random() < 0.5)}
        if rng.random() < 0.7:
            said["dtype"] = str(rng.choice([*DTYPES, "input"]))
        said["overflow"] = str(rng.choice(["clip", "clip", "clip", "error", ""]))
        said["offset"] = float(rng.choice([0, 0, 0, 100, -3, 0.5, 1e6, -1e20]))
        said["chunks"] = {"y": int(rng.integers(9, 40)), "x": int(rng.integers(9, 40))}
        if self.background:
            said["background"] = str(self.folder / "background.zarr")
        if not said["overflow"]:
            del said["overflow"]
        return said

    @property
    def config(self):
        steps = [
            {name: {**parameters, **({"channels": channels} if channels else {})}}
            for (name, parameters), channels in zip(self.chain, self.channels, strict=True)
        ]
        selected = {"select": self.select} if self.select else {}
        return {
            "input": {"path": str(self.folder / "in.zarr"), "axes": self.axes, "nan": self.nan, **selected},
            "steps": steps,
            "output": self.output,
            "compute": {"cluster": "threads", "workers": 2},
        }

    @property
    def selected(self):
        parts = (self.select.get(axis) for axis in self.axes)
        return self.image[tuple(slice(*map(int, part.split(":"))) if part else slice(None) for part in parts)]

    def whole(self):
        """Return what the chain gives through scipy; RefusedError where nothing holds it."""
        found = whole_array.start(self.selected)
        for (name, parameters), channels in zip(self.chain, self.channels, strict=True):
            with np.errstate(all="ignore"):
                found = whole_array.after(found, name, parameters, channels, self.axes)
        return found


def refusal(case):
    """Return what plan says against it; run has to say the same, and to leave nothing behind."""
    before = sorted(path.name for path in case.folder.iterdir())
    said = None
    try:
        prepare(case.config)
    except RequestError as error:
        said = error
    if said is None:
        return None
    with pytest.raises(RequestError) as caught:
        pipeline.run(case.config)
    assert str(caught.value) == str(said)
    assert all(problem.hint for problem in said.problems)
    assert sorted(path.name for path in case.folder.iterdir()) == before
    return str(said)


KNOWN = (
    r"more than 64 bits|no type holds together|cannot hold all|output\.background|reaches .* px and the long"
)


def check(case):
    """Run a case and compare it; return what became of it."""
    said = refusal(case)
    try:
        whole = case.whole()
    except whole_array.RefusedError:
        assert said is not None
        return "refused"
    if said is not None:
        assert re.search(KNOWN, said), said
        if "cannot hold all" in said:
            assert "overflow" not in case.output
        elif "64 bits" in said and "background" not in said:
            raise AssertionError(f"refused, and there is a type for it: {said}")
        return "refused"
    dtype = case.output.get("dtype", whole.dtype)
    dtype = case.dtype if dtype == "input" else dtype
    finite = case.image.dtype.kind != "f" or np.isfinite(case.selected).all()
    with np.errstate(all="ignore"):
        expected, outside, rounding = whole_array.cast(whole, dtype, case.output["offset"])
        certain, possible = clipped_between(whole, dtype, case.output["offset"], outside)
    overflow = case.output.get("overflow", "fits")
    linear = any("gaussian" in name for name, _ in case.chain)
    summary = wrong = None
    try:
        summary = pipeline.run(case.config)
    except DataError as error:
        wrong = str(error)
    if wrong is not None:
        if case.nan == "refuse" and not finite:
            assert "NaN" in wrong or "infinity" in wrong
        else:
            assert overflow == "error"
            assert possible > 0 or (linear and not finite)
            assert "is outside" in wrong
        assert not (case.folder / "out.zarr").exists()
        return "data refused"
    assert finite or case.nan == "propagate"
    assert overflow != "error" or not certain or (linear and not finite)
    compare(case, expected, whole.error + rounding, dtype, finite or not linear)
    if finite or not linear:
        assert certain <= summary.clipped <= possible
        assert overflow != "fits" or summary.clipped == 0 or not finite
    return "equal"


def clipped_between(whole, dtype, offset, outside):
    """Return how many pixels are clipped at the least and at the most, by how well they are known."""
    rounded = np.dtype(dtype).kind in "iu"
    if not whole.error and not (rounded and whole.dtype[0] == "f" and offset):
        return int(outside.sum()), int(outside.sum())
    values = whole.values.astype(np.float64) + offset
    slack = whole.error + 1e-6 * abs(offset) + (1e-6 if rounded else 0)
    info = np.iinfo(dtype) if rounded else np.finfo(dtype)
    half = 0.5 if rounded else 0
    above, below = values - (float(info.max) + half), (float(info.min) - half) - values
    lost = np.isnan(values) if rounded else np.zeros(values.shape, bool)
    if not rounded:
        above, below = (np.where(np.isfinite(values), each, -np.inf) for each in (above, below))
    certain = (above > slack) | (below > slack) | lost
    possible = (above >= -slack) | (below >= -slack) | lost
    return int(certain.sum()), int(possible.sum())


def compare(case, expected, allowed, dtype, exact_places):
    out = str(case.folder / "out.zarr")
    stored = open_source(out)
    assert stored.spec.dtype == dtype
    found = stored.read(tuple(slice(0, size) for size in stored.spec.shape)).reshape(expected.shape)
    if exact_places and found.dtype.kind in "iu" and not allowed:
        assert (found.astype(object) == expected).all()
    elif exact_places:
        wide, wanted = found.astype(np.float64), expected.astype(np.float64)
        same = (wide == wanted) | (np.isnan(wide) & np.isnan(wanted))
        with np.errstate(all="ignore"):
            far = np.where(same, 0, np.abs(wide - wanted))
        assert (far <= allowed).all(), (float(np.nanmax(far)), allowed)
    assert list(verify(out)) == []
    recompute(out, 1, seed=1)
    if case.background:
        assert list(verify(case.output["background"])) == []
        recompute(case.output["background"], 1, seed=1)


def tried(seeds, folder):
    found = Counter()
    for seed in seeds:
        here = folder / str(seed)
        here.mkdir()
        case = Case(seed, here)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found[check(case)] += 1
            except Exception as error:
                raise AssertionError(f"seed {seed}: {case.config}") from error
        shutil.rmtree(here)
    return found


def test_chains_on_all_dtypes_equal_the_whole_array_or_are_refused(tmp_path):
    found = tried(range(24), tmp_path)
    assert found["equal"] >= 8
    assert found["refused"] >= 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
def test_a_thousand_chains_equal_the_whole_array_or_are_refused(part, tmp_path):
    found = tried(range(1000 + 100 * part, 1100 + 100 * part), tmp_path)
    assert found["equal"] >= 40
