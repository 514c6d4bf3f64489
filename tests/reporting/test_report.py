"""The report of a run: what it shows, that it stands alone, and that nothing is lost where it fails."""

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from report_pages import TOPHAT, Whole, config, drawings, images, page_of, text_of, write_movie

import pipeline
from pipeline.cli import main
from pipeline.config.load import load_config
from pipeline.explore import crop
from pipeline.model.image import Channel, ImageSpec
from pipeline.read import Source
from pipeline.reporting import make, pictures, report
from pipeline.reporting.frames import from_csv
from pipeline.reporting.report_data import of_output
from pipeline.runtime.planes import EVERY_COLUMN, EVERY_ROW


@pytest.fixture
def movie(folder):
    return write_movie(folder)


def test_a_run_leaves_a_page_that_stands_alone_and_a_table(movie):
    done = pipeline.run(config(movie))
    page = page_of(done.output)
    parser = Whole()
    parser.feed(page)
    assert parser.open == []
    assert "script" not in parser.tags
    assert parser.fetched
    assert all(each.startswith("data:image/png") for each in parser.fetched)
    assert not re.search(r"url\(|@import|https?:", page)
    assert "prefers-color-scheme: dark" in page
    assert main(["verify", done.output]) == 0
    assert len(drawings(page, "picture")) == 9
    assert from_csv((Path(done.output) / "bgone" / "frames.csv").read_bytes()).shape == (5,)


def test_its_pictures_are_before_background_and_after(movie):
    done = pipeline.run(config(movie))
    before = tifffile.imread(movie).astype(float)
    after = pipeline.open_image(done.output).data.compute().astype(float)
    shown = images(page_of(done.output))
    for row, frame in enumerate((0, 2, 4)):
        for column, expected in enumerate((before[frame], before[frame] - after[frame], after[frame])):
            found = shown[3 * row + column].astype(float)
            inside = (found > 0) & (found < 255)
            assert found.shape == expected.shape
            assert inside.mean() > 0.5
            # Grey is the value, shifted and stretched: a straight line through all of them.
            line = np.polyfit(expected[inside], found[inside], 1)
            assert line[0] > 0
            assert np.abs(np.polyval(line, expected[inside]) - found[inside]).max() < 0.6


def test_grey_means_the_same_down_a_column(movie):
    page = page_of(pipeline.run(config(movie)).output)
    first, last = images(page)[0].astype(float), images(page)[6].astype(float)
    frames = tifffile.imread(movie).astype(float)
    both = [
        (frame[(p > 0) & (p < 255)], p[(p > 0) & (p < 255)])
        for frame, p in ((frames[0], first), (frames[4], last))
    ]
    lines = [np.polyfit(values, grey, 1) for values, grey in both]
    np.testing.assert_allclose(lines[0], lines[1], rtol=0.02)


def test_the_table_holds_what_the_planes_are(movie):
    done = pipeline.run(config(movie))
    table = from_csv((Path(done.output) / "bgone" / "frames.csv").read_bytes())
    rows = np.s_[:, ::EVERY_ROW, ::EVERY_COLUMN]
    before, after = tifffile.imread(movie)[rows], pipeline.open_image(done.output).data.compute()[rows]
    np.testing.assert_allclose(table.mean_input, before.mean(axis=(1, 2)), rtol=1e-8)
    np.testing.assert_allclose(table.mean_result, after.mean(axis=(1, 2)), rtol=1e-8)
    np.testing.assert_allclose(
        table.mean_background, before.mean(axis=(1, 2)) - after.mean(axis=(1, 2)), rtol=1e-7
    )
    np.testing.assert_array_equal(table.max_result, after.max(axis=(1, 2)))


def test_a_flash_is_told(movie):
    words = text_of(page_of(pipeline.run(config(movie)).output))
    assert re.search(
        r"background, mean of each frame .* largest step [+−]\d+ \([+−]\d+ %\), from frame [23] to [34]",
        words,
    )
    assert "one every 30 s" in words


@pytest.mark.parametrize(
    ("steps", "middle"),
    [
        ([TOPHAT], "background = before − after"),
        ([{"black_tophat": {"radius": 4}}], "background = before + after"),
        ([{"gaussian": {"sigma": 1}}], "taken off = before − after"),
        (
            [TOPHAT, {"difference_of_gaussians": {"low_sigma": 1, "high_sigma": 5}}],
            "taken off = before − after",
        ),
    ],
    ids=["white", "black", "smooth", "chain"],
)
def test_the_middle_picture_is_called_what_it_is(movie, steps, middle):
    page = page_of(pipeline.run(config(movie, *steps)).output)
    assert middle in text_of(page)
    assert ("background, mean of each frame" in text_of(page)) == middle.startswith("background")


def test_names_are_shown_as_they_are_and_do_nothing(folder):
    names = ("<script>alert(1)</script>", '"GFP" & <b>more</b>')
    pixels = np.random.default_rng(0).integers(0, 99, (2, 40, 50)).astype(np.uint16)
    path = folder / "in.ome.zarr"
    spec = ImageSpec("cyx", pixels.shape, pixels.dtype, channels=tuple(Channel(name) for name in names))
    import dask.array as da

    pipeline.save(pipeline.Image(da.from_array(pixels), spec), path)
    given = config(path, output="<i>out & about.ome.zarr", scale={})
    given["input"]["axes"] = "cyx"
    page = page_of(pipeline.run(given).output)
    parser = Whole()
    parser.feed(page)
    assert not {"script", "b", "i"} & (parser.tags - {"i"})
    assert "<i>out" not in page
    assert all(name in html.unescape(page) for name in (*names, "<i>out & about.ome.zarr"))
    assert len(drawings(page, "picture")) == 6


def test_clipped_pixels_are_counted_and_said(movie):
    steps = {"subtract_opening": {"minimum_size": 1, "maximum_size": 5}}
    done = pipeline.run(config(movie, steps, dtype="uint16", overflow="clip"))
    words = text_of(page_of(done.output))
    assert done.clipped > 0
    assert f"{done.clipped:,}".replace(",", "\u202f") in html.unescape(page_of(done.output))
    assert "Where a pixel was clipped" in words
    table = from_csv((Path(done.output) / "bgone" / "frames.csv").read_bytes())
    assert np.isnan(table.clipped).all() or np.nansum(table.clipped) == done.clipped


def test_an_offset_is_taken_off_again_for_the_background(movie):
    plain = pipeline.run(config(movie, output="plain.ome.zarr"))
    moved = pipeline.run(config(movie, output="moved.ome.zarr", offset=1000, dtype="int32"))
    np.testing.assert_array_equal(images(page_of(plain.output))[1], images(page_of(moved.output))[1])
    assert "after (with 1000 added)" in text_of(page_of(moved.output))


def test_two_dimensions_and_five(folder):
    pixels = np.random.default_rng(0).integers(0, 99, (2, 2, 3, 40, 50)).astype(np.uint16)
    for axes, array in (("yx", pixels[0, 0, 0]), ("tczyx", pixels)):
        path = folder / f"{axes}.tif"
        tifffile.imwrite(path, array, photometric="minisblack")
        given = config(path, output=f"{axes}.ome.zarr", scale={})
        given["input"]["axes"] = axes
        page = page_of(pipeline.run(given).output)
        assert len(drawings(page, "picture")) == (3 if axes == "yx" else 3 * 2 * 2)
        assert len(drawings(page, "chart")) == (2 if axes == "yx" else 2 * 2 + 2 * 2)


def test_of_a_large_plane_the_middle_is_read_and_no_more(movie, monkeypatch):
    monkeypatch.setattr(crop, "WHOLE", 64)
    monkeypatch.setattr(crop, "CROP", 32)
    done = pipeline.run(config(movie))
    regions = []
    read = Source.read
    monkeypatch.setattr(Source, "read", lambda self, region: regions.append(region) or read(self, region))
    report(done.output)
    assert len(regions) == 6
    assert all(tuple(part.stop - part.start for part in region) == (1, 32, 32) for region in regions)
    assert "Shown is the middle of each plane, y 19:51, x 29:61" in text_of(page_of(done.output))
    assert all(picture.shape == (32, 32) for picture in images(page_of(done.output)))


def test_of_a_large_plane_the_whole_is_shown_too_from_the_coarsest_level(folder, monkeypatch):
    monkeypatch.setattr(crop, "WHOLE", 64)
    monkeypatch.setattr(crop, "CROP", 60)
    pixels = np.random.default_rng(0).poisson(50, (600, 900)).astype(np.uint16)
    pixels[:, 450:] += 500
    path = folder / "wide.tif"
    tifffile.imwrite(path, pixels)
    given = config(path, {"gaussian": {"sigma": 1}})
    given["input"] |= {"axes": "yx", "scale": {"y": "1 um", "x": "1 um"}}
    done = pipeline.run(given)
    found = images(page_of(done.output))
    assert [each.shape for each in found] == [(60, 60)] * 3 + [(300, 450)]
    assert found[-1][:, :200].mean() < 60
    assert found[-1][:, 250:].mean() > 200
    (frame,) = [
        box
        for box in drawings(page_of(done.output), "picture")[-1].iter("rect")
        if box.get("class") == "frame"
    ]
    assert [float(frame.get(side)) / 360 for side in ("x", "width", "height")] == pytest.approx(
        [420 / 900, 60 / 900, 60 / 900], abs=1e-3
    )
    report(done.output)
    assert [each.tolist() for each in images(page_of(done.output))] == [each.tolist() for each in found]


def test_what_is_stored_in_pieces_too_large_is_not_read_for_pictures(movie, monkeypatch):
    done = pipeline.run(config(movie, chunks={"t": 1, "y": 35, "x": 45}))
    monkeypatch.setattr(pictures, "PICTURE_BYTES", 35 * 45 * 2 * 4 - 1)
    monkeypatch.setattr(Source, "read", lambda *_: pytest.fail("read"))
    report(done.output)
    assert "The output is stored in pieces of" in text_of(page_of(done.output))
    assert images(page_of(done.output)) == []


SHARDED = {"chunks": {"y": 20, "x": 30}, "shards": {"t": 5, "y": 80, "x": 120}}


@pytest.mark.parametrize("output", [{}, SHARDED, {"version": "0.4"}], ids=["plain", "sharded", "0.4"])
def test_it_is_made_again_from_the_output(movie, capsys, output):
    done = pipeline.run(config(movie, **output))
    first = page_of(done.output)
    target = Path(movie).parent / "again.html"
    assert main(["report", done.output, "-o", str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    assert text_of(target.read_text()) == text_of(first)
    assert [each.tolist() for each in images(target.read_text())] == [each.tolist() for each in images(first)]
    (Path(done.output) / "bgone" / "report.html").unlink()
    assert main(["report", done.output]) == 0
    assert page_of(done.output) == target.read_text()
    assert main(["verify", done.output]) == 0


def test_an_output_that_keeps_all_of_its_input_in_one_place_has_its_page_too(movie, capsys):
    done = pipeline.run(config(movie))
    first = page_of(done.output)
    file = Path(done.output) / "bgone" / "zarr.json"
    found = json.loads(file.read_text())
    kept = found["attributes"]["bgone"]
    kept["inputs"] = {name: kept.pop(name) for name in ("config", "input", "versions")}
    file.write_text(json.dumps(found))
    report(done.output)
    assert text_of(page_of(done.output)) == text_of(first)
    assert len(images(page_of(done.output))) == 9
    assert main(["verify", done.output, "--recompute", "2"]) == 0


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_an_input_that_is_not_what_it_was_is_not_shown(movie, change):
    done = pipeline.run(config(movie))
    if change == "gone":
        movie.unlink()
    else:
        tifffile.imwrite(movie, tifffile.imread(movie) + 1, photometric="minisblack")
    report(done.output)
    words = text_of(page_of(done.output))
    assert {"gone": "no longer where it was", "changed": "does not match"}[change] in words
    assert len(images(page_of(done.output))) == 3
    assert "background, mean of each frame" in words  # out of the table


def test_what_is_no_output_is_one_line_and_exit_2(movie, tmp_path, capsys):
    done = pipeline.run(config(movie))
    blocked = tmp_path / "file"
    blocked.write_text("")
    thesis = tmp_path / "thesis.doc"
    thesis.write_text("my thesis")
    kept = Path(done.output) / "bgone" / "zarr.json"
    for given in (
        [str(tmp_path)],
        [str(movie)],
        [str(tmp_path / "nothing")],
        [done.output, "-o", str(blocked / "page.html")],
        [done.output, "-o", str(tmp_path)],
        [done.output, "-o", str(thesis)],
    ):
        assert main(["report", *given]) == 2
        assert re.fullmatch(r"error: [^\n]+; [^\n]+\n", capsys.readouterr().err)
    assert thesis.read_text() == "my thesis"
    found = json.loads(kept.read_text())
    found["attributes"]["bgone"]["config"]["steps"] = [{"future_step": {"radius": 3}}]
    kept.write_text(json.dumps(found))
    assert main(["report", done.output]) == 2
    assert "future_step" in capsys.readouterr().err


def test_the_background_of_a_run_is_sent_to_the_runs_own_report(movie, capsys):
    background = Path(movie).parent / "background.ome.zarr"
    done = pipeline.run(config(movie, background=str(background)))
    assert str(background) in text_of(page_of(done.output))
    assert main(["report", str(background)]) == 2
    assert re.fullmatch(
        rf"error: .*background .* {re.escape(done.output)}; [^\n]+\n", capsys.readouterr().err
    )


def test_a_report_that_fails_loses_nothing_of_the_run(movie, monkeypatch):
    whole = pipeline.run(config(movie, output="whole.ome.zarr"))
    said = []

    class Told:
        def say(self, text):
            said.append(text)

        def start(self, *_):
            pass

        advance = start

        def stop(self):
            pass

    def fails(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(make, "render", fails)
    done = pipeline.run(config(movie), progress=Told())
    assert any(re.search("report could not be made .MemoryError: no room", line) for line in said)
    assert not (Path(done.output) / "bgone" / "report.html").exists()
    assert (Path(done.output) / "bgone" / "frames.csv").exists()
    found, expected = (pipeline.open_image(each.output).data.compute() for each in (done, whole))
    np.testing.assert_array_equal(found, expected)
    assert main(["verify", done.output]) == 0
    monkeypatch.undo()
    assert main(["report", done.output]) == 0
    monkeypatch.setattr(make, "gather", fails)
    other = pipeline.run(config(movie, output="other.ome.zarr"), progress=Told())
    assert sorted(path.name for path in (Path(other.output) / "bgone").iterdir()) == [
        "manifest.txt",
        "report.html",
        "zarr.json",
    ]


def test_the_config_on_the_page_is_the_runs_own(movie, tmp_path):
    done = pipeline.run(
        config(movie, {"white_tophat": {"radius": "2 um"}}, {"subtract_gaussian": {"sigma": 9}})
    )
    (text,) = re.findall(r"<pre>(.*?)</pre>", page_of(done.output), re.DOTALL)
    (tmp_path / "again.yaml").write_text(html.unescape(text))
    assert load_config(tmp_path / "again.yaml").resolved() == of_output(done.output).provenance["config"]
    assert pipeline.run(tmp_path / "again.yaml").already_complete


def test_the_page_says_steps_versions_and_identity(movie):
    done = pipeline.run(config(movie, {"white_tophat": {"radius": "2 um"}}))
    words, kept = text_of(page_of(done.output)), of_output(done.output).provenance
    assert "radius 6.154 px = 2 µm" in words
    for known in (kept["fingerprint"], kept["started"], str(movie), f"numpy {np.__version__}", "y 12 × x 12"):
        assert known in words, known


def test_an_image_saved_from_python_has_a_page_too(movie):
    image = pipeline.open_image(movie, axes="tyx")
    done = pipeline.save(pipeline.WhiteTophat(radius=3)(image), Path(movie).parent / "saved.ome.zarr")
    words = text_of(page_of(done.output))
    assert "The input was an array in memory" in words
    assert len(images(page_of(done.output))) == 3
    shutil.move(movie, f"{movie}.away")
    report(done.output)
    assert text_of(page_of(done.output)) == words
