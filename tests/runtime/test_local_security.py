"""Worker processes of a run: who else on the machine can reach them, and what is left of them."""

import contextlib
import http.client
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from processes import movie

import pipeline
from pipeline.runtime.progress import Lines

HERE = Path(__file__).parents[1] / "helpers"
PAGES = ("/", "/status", "/health", "/metrics", "/json/counts.json", "/info/main/workers.html", "/statics/")


def family():
    """Return this process and all that it has started, directly or not."""
    return [psutil.Process(), *psutil.Process().children(recursive=True)]


def listening():
    """Return the ports of this machine on which they wait for others."""
    found = set()
    for process in family():
        with contextlib.suppress(psutil.Error):
            each = process.net_connections(kind="tcp")
            found |= {connection.laddr for connection in each if connection.status == psutil.CONN_LISTEN}
    return found


def pages_at(port):
    """Return what is answered to whoever looks for dask's pages at a port."""
    found = []
    for page in PAGES:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", page)
            answer = connection.getresponse()
            found.append((page, answer.status))
        except (OSError, http.client.HTTPException):
            pass  # no server of pages, or it was closed at once
        finally:
            connection.close()
    return found


class Watched(Lines):
    """Looks around when the first window is done, while the workers have others to do."""

    def __init__(self, look):
        super().__init__(io.StringIO(), every=0)
        self.look = look
        self.found = None

    def advance(self, nbytes):
        super().advance(nbytes)
        if self.found is None:
            self.found = self.look()


def run_with(folder, look):
    """Run something on worker processes, and return what was seen meanwhile."""
    movie(folder, (8, 40, 48))
    watched = Watched(look)
    before = listening()
    pipeline.run(
        {
            "input": {"path": str(folder / "movie.tif")},
            "steps": [{"white_tophat": {"radius": 3}}],
            "output": {"path": str(folder / "out.ome.zarr"), "chunks": {"t": 1}},
            "compute": {"cluster": "local", "workers": 2, "window": {"t": 2}},
        },
        progress=watched,
    )
    assert watched.found is not None
    return before, watched.found


@dataclass
class Seen:
    """What a stranger, `ps` and a look into the folder for temporary files gave while workers worked."""

    places: set
    stranger: subprocess.CompletedProcess
    pages: set
    texts: list
    files: dict
    mark: Path | None = None


@pytest.fixture(scope="module")
def seen(kept_folder):
    folder = kept_folder / "local"
    temporary, mark = folder / "temporary", folder / "mark"
    temporary.mkdir(parents=True)

    def look():
        places = listening()
        ports = sorted({place.port for place in places})
        command = [sys.executable, str(HERE / "intruder.py"), str(mark), *map(str, ports)]
        stranger = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        pages = {status for port in ports for _, status in pages_at(port)}
        texts = [" ".join(process.cmdline()) for process in family()]
        texts += [" ".join(process.environ().values()) for process in family()[1:]]
        inside = [Path(top) / name for top, _, names in os.walk(temporary) for name in names]
        return Seen(places, stranger, pages, texts, {path: path.read_bytes() for path in inside})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(temporary))
        patch.setenv("TMPDIR", str(temporary))
        before, found = run_with(folder, look)
    found.places -= before
    found.mark = mark
    return found


def test_a_stranger_on_this_machine_has_no_code_run(seen):
    # A scheduler, two workers, and what starts these again, at the least.
    assert len(seen.places) >= 5
    assert {place.ip for place in seen.places} == {"127.0.0.1"}
    assert (seen.stranger.returncode, seen.stranger.stdout) == (0, ""), seen.stranger.stderr
    assert not seen.mark.exists()


def test_a_stranger_sees_no_page_of_dasks(seen):
    assert seen.pages <= {400, 404}


def test_credentials_are_in_no_command_no_environment_and_no_file(seen):
    assert seen.files  # those of the workers' folders
    assert not any("PRIVATE KEY" in text for text in seen.texts)
    assert not any(b"PRIVATE KEY" in content for content in seen.files.values())


def test_without_the_package_that_makes_credentials_that_is_one_line(tmp_path, monkeypatch):
    movie(tmp_path)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(
        pipeline.model.errors.RequestError, match=r"need the package cryptography.*pip install"
    ):
        run_with(tmp_path, list)
    assert os.listdir(tmp_path) == ["movie.tif"]
