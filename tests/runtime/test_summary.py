"""What a run says it read, wrote and stored is what it did."""

from pathlib import Path

import pytest
from processes import FRAMES, config, movie

import pipeline
from pipeline.model.errors import StoppedError
from pipeline.runtime.summary import Summary
from pipeline.storage import durable

PIXELS = FRAMES[0] * FRAMES[1] * FRAMES[2]


def stored(*outputs):
    """Return the bytes of all files of pixels."""
    return sum(
        path.stat().st_size
        for output in outputs
        for path in Path(output).glob("[0-9]/c/**/*")
        if path.is_file()
    )


@pytest.mark.parametrize("background", [False, True], ids=["one output", "with a background"])
def test_bytes_pixels_and_windows_are_counted(folder, background):
    movie(folder)
    sets = ["output.dtype=float32", *[f"output.background={folder}/back.zarr"] * background]
    done = pipeline.run(str(config(folder)), sets=sets)
    outputs = [done.output, *[done.background] * background]
    assert (done.pixels, done.windows, done.windows_resumed) == (PIXELS, FRAMES[0], 0)
    assert done.bytes_in == 2 * PIXELS
    assert done.bytes_out == (4 + 2 * background) * PIXELS
    assert done.bytes_stored == stored(*outputs)
    assert done.background == (f"{folder}/back.zarr" if background else "")


def test_a_start_that_resumes_counts_its_own(folder, monkeypatch):
    movie(folder)
    made = str(config(folder))

    def stop(message, path):
        if message == "before write" and "/0/c/3" in path:
            raise StoppedError("stopped here", "go on")

    monkeypatch.setattr(durable, "hook", stop)
    with pytest.raises(StoppedError):
        pipeline.run(made)
    monkeypatch.setattr(durable, "hook", None)
    done = pipeline.run(made)
    assert (done.windows, done.windows_resumed) == (4, 3)
    assert (done.bytes_in, done.bytes_out) == (2 * PIXELS // 4, 2 * PIXELS // 4)
    assert done.bytes_stored == stored(done.output)
    assert "4 windows, 3 of them done before" in done.text()
    again = pipeline.run(made)
    assert again.already_complete
    assert (again.pixels, again.bytes_stored) == (done.pixels, done.bytes_stored)


def test_clipped_pixels_are_said_as_a_share():
    done = Summary(
        "out.zarr", pixels=400, clipped=10, seconds=2.0, bytes_in=6_000_000, windows=3, where="here"
    )
    assert done.clipped_share == 0.025
    assert "clipped 10 pixels (2.5 %)" in done.text()
    assert "3 MB/s on here" in done.text()
    assert Summary("out.zarr").clipped_share == 0
