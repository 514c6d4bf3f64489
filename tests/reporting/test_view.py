"""`bgone view`: what viewers ask of it over HTTP, and what they must not get."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from pipeline.cli import main
from pipeline.explore.sample import write_zarr
from pipeline.model.errors import RequestError
from pipeline.model.image import ImageSpec
from pipeline.reporting.serve import Server, addresses, view_message

SHAPE = (2, 600, 520)


@pytest.fixture(scope="module")
def pixels():
    image = np.arange(np.prod(SHAPE), dtype=np.uint32).reshape(SHAPE).astype(np.uint16)
    image[1] = 0
    return image


@pytest.fixture(scope="module")
def output(tmp_path_factory, pixels):
    """An output with a pyramid, a chunk that is not there, and a secret beside it."""
    folder = tmp_path_factory.mktemp("out")
    path = folder / "a b ü.ome.zarr"
    parts = [((slice(t, t + 1), slice(0, 600), slice(0, 520)), pixels[t : t + 1]) for t in range(2)]
    write_zarr(path, ImageSpec("tyx", SHAPE, np.dtype("uint16"), (1, 600, 520)), parts)
    (folder / "secret.txt").write_text("secret")
    os.symlink(folder / "secret.txt", path / "link.txt")
    return path


@pytest.fixture(scope="module")
def server(output):
    with Server(str(output)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ask(server):
    """Ask for a path as it is, without tidying it up."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)

    def ask(path, method="GET", **headers):
        connection.request(
            method, path, headers={name.replace("_", "-"): each for name, each in headers.items()}
        )
        answer = connection.getresponse()
        return answer, answer.read()

    yield ask
    connection.close()


@pytest.fixture
def root(server):
    return urlsplit(server.url).path


def test_a_file_is_sent_with_its_type_and_size_and_any_page_may_read_it(ask, root, output):
    answer, body = ask(f"{root}/zarr.json")
    assert answer.status == 200
    assert body == (output / "zarr.json").read_bytes()
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert int(answer.headers["Content-Length"]) == len(body)
    assert ask(f"{root}/0/c/0/0/0")[0].headers["Content-Type"] == "application/octet-stream"
    assert ask(f"{root}//zarr.json?v=1")[1] == body


def test_head_says_what_get_would_and_sends_nothing(ask, root):
    got, body = ask(f"{root}/0/c/0/0/0")
    answer, nothing = ask(f"{root}/0/c/0/0/0", "HEAD", Range="bytes=0-3")
    assert (answer.status, nothing) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(body)) == got.headers["Content-Length"]
    assert answer.headers["ETag"] == got.headers["ETag"]
    assert ask(f"{root}/0/c/1/0/0", "HEAD")[0].status == 404


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=-16", -16, -1), ("bytes=100-", 100, -1),
     ("bytes=0-", 0, -1), ("bytes=-99999999", 0, -1), ("bytes=0-99999999", 0, -1)],
)  # fmt: skip
def test_a_range_is_answered_with_that_part(ask, root, output, asked, first, last):
    whole = (output / "0/c/0/0/0").read_bytes()
    first, last = first % len(whole), last % len(whole)
    answer, body = ask(f"{root}/0/c/0/0/0", Range=asked)
    assert answer.status == 206
    assert body == whole[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"
    assert int(answer.headers["Content-Length"]) == len(body)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0", "bytes=99999999-99999999"])
def test_a_range_outside_the_file_is_refused_with_its_size(ask, root, output, asked):
    answer, body = ask(f"{root}/0/c/0/0/0", Range=asked)
    assert (answer.status, body) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{(output / '0/c/0/0/0').stat().st_size}"
    assert ask(f"{root}/zarr.json")[0].status == 200  # the connection goes on


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=5-2", "lines=1-2", "bytes=-", "bytes=a-b", ""])
def test_what_is_no_single_range_means_the_whole_file(ask, root, output, asked):
    answer, body = ask(f"{root}/zarr.json", Range=asked)
    assert (answer.status, body) == (200, (output / "zarr.json").read_bytes())


def test_an_empty_file_has_no_ranges(ask, root, output):
    (output / "empty").touch()
    assert ask(f"{root}/empty")[0].status == 200
    answer, body = ask(f"{root}/empty", Range="bytes=0-")
    assert (answer.status, body) == (416, b"")
    assert answer.headers["Content-Range"] == "bytes */0"


def test_metadata_of_zarr_2_is_json_too(ask, root, output):
    (output / ".zattrs").write_text("{}")
    assert ask(f"{root}/.zattrs")[0].headers["Content-Type"] == "application/json"


def test_a_browser_may_ask_first(ask, root):
    answer, body = ask(
        f"{root}/0/c/0/0/0", "OPTIONS", Origin="https://vizarr.example",
        Access_Control_Request_Method="GET", Access_Control_Request_Headers="range",
        Access_Control_Request_Private_Network="true",
    )  # fmt: skip
    assert (answer.status, body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert "Range" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"
    assert "Content-Range" in answer.headers["Access-Control-Expose-Headers"]


def test_a_file_that_has_not_changed_is_not_sent_again(ask, root):
    tag = ask(f"{root}/zarr.json")[0].headers["ETag"]
    answer, body = ask(f"{root}/zarr.json", If_None_Match=f'"other", {tag}')
    assert (answer.status, body) == (304, b"")
    assert ask(f"{root}/zarr.json", If_None_Match='"other"')[0].status == 200
    assert ask(f"{root}/zarr.json", Range="bytes=0-3", If_Range=tag)[0].status == 206
    assert ask(f"{root}/zarr.json", Range="bytes=0-3", If_Range='"older"')[0].status == 200


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/0/../../secret.txt",
     "/%2e%2e%2fsecret.txt", "/link.txt", "/..\\secret.txt", "/zarr.json%00",
     "", "/", "/0", "/0/", "/0/c/1/0/0", "/nothing"],
)  # fmt: skip
def test_nothing_else_is_there_and_no_folder_is_listed(ask, root, path):
    answer, body = ask(root + path)
    assert (answer.status, body) == (404, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "path", ["/", "/secret.txt", "/etc/passwd", "//etc/passwd", "http://127.0.0.1/etc/passwd"]
)
def test_nothing_beside_the_output_is_served(ask, path):
    assert ask(path)[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(ask, root, output, method):
    before = (output / "zarr.json").read_bytes()
    assert ask(f"{root}/zarr.json", method)[0].status == 405
    assert (output / "zarr.json").read_bytes() == before


def test_many_readers_at_once_get_what_they_ask_for(server, root, output):
    wanted = (output / "0/c/0/0/0").read_bytes()
    wrong = []

    def read():
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        for _ in range(10):
            connection.request("GET", f"{root}/0/c/0/0/0")
            if connection.getresponse().read() != wanted:
                wrong.append(1)
        connection.close()

    threads = [threading.Thread(target=read) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_reader_that_goes_in_the_middle_is_no_matter(server, root, ask, capfd):
    with socket.create_connection(("127.0.0.1", server.server_port)) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.sendall(f"GET {root}/0/c/0/0/0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert ask(f"{root}/zarr.json")[0].status == 200
    assert capfd.readouterr().err == ""


def fetched(url, level, chunks):
    """Return a Zarr store of what there is of a level at a URL; what is not there is left out."""
    found = {}
    for key in ("zarr.json", *("/".join(map(str, ("c", *index))) for index in chunks)):
        with contextlib.suppress(HTTPError):
            data = urlopen(f"{url}/{level}/{key}", timeout=20).read()
            found[key] = default_buffer_prototype().buffer.from_bytes(data)
    return MemoryStore(found)


def test_zarr_reads_every_level_over_http_and_a_chunk_that_is_not_there_as_zeros(server, pixels):
    chunks = [(t, 0, 0) for t in range(2)]
    fine, coarse = (fetched(server.url, level, chunks) for level in "01")
    assert len(fine._store_dict) == 2
    np.testing.assert_array_equal(zarr.open_array(store=fine, mode="r")[:], pixels)
    coarser = zarr.open_array(store=coarse, mode="r")
    assert coarser.shape == (2, 300, 260)
    assert coarser[0].any()
    assert not coarser[1].any()


def test_a_viewer_is_told_the_address_in_its_own_way(server):
    found = addresses("http://127.0.0.1:8000/a%20b.zarr", "a b.zarr")
    assert found["napari"] == "napari --plugin napari-ome-zarr http://127.0.0.1:8000/a%20b.zarr"
    page, _, state = found["neuroglancer"].partition("#!")
    assert page == "https://neuroglancer-demo.appspot.com/"
    (layer,) = json.loads(unquote(state))["layers"]
    assert layer["source"] == "zarr://http://127.0.0.1:8000/a%20b.zarr/"
    for viewer in ("vizarr", "validator"):
        assert found[viewer].endswith("?source=http://127.0.0.1:8000/a%2520b.zarr")
    text = view_message(server)
    assert all(line in text for line in addresses(server.url, server.name).values())


def test_what_cannot_be_served_is_refused_in_one_line(tmp_path, server, output, capsys):
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "empty", "holds no OME-Zarr"), (tmp_path / "nothing", "is not there")):
        assert main(["view", str(path)]) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(RequestError, match="cannot be had"):
        Server(str(output), server.server_port)


def test_ctrl_c_ends_it_quietly(output):
    command = [sys.executable, "-m", "pipeline", "view", str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line
        address = urlsplit(first.split()[-1])
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
        connection.request("GET", f"{address.path}/zarr.json")
        assert connection.getresponse().status == 200
        # Readers that keep their connection, or ask for half of something, do not keep it from ending.
        stalled = socket.create_connection((address.hostname, address.port))
        stalled.sendall(b"GET /half HTTP/1.1\r\nHost: loc")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        connection.close()
        stalled.close()
    assert (process.returncode, out, err) == (0, "", "")
