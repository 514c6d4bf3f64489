"""`bgone view` and whoever finds its port: what is no request, clients that stall, other names for it."""

import contextlib
import errno
import os
import socket
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from http_requests import random_request
from processes import wait_until

from pipeline.explore.sample import write_zarr
from pipeline.model.image import ImageSpec
from pipeline.reporting import serve as view
from pipeline.reporting.serve import Server

SECRET = "what lies beside the output"


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """A small output, with a large file in it and a secret beside it."""
    folder = tmp_path_factory.mktemp("out")
    path = folder / "a.ome.zarr"
    region = (slice(0, 1), slice(0, 32), slice(0, 32))
    spec = ImageSpec("tyx", (1, 32, 32), np.dtype("uint16"), (1, 32, 32))
    write_zarr(path, spec, [(region, np.ones((1, 32, 32), np.uint16))])
    (folder / "secret.txt").write_text(SECRET)
    os.symlink(folder / "secret.txt", path / "link.txt")
    bytes_beside = folder / "a.ome.zarr.old"  # begins as the output's name does
    bytes_beside.mkdir()
    (bytes_beside / "secret.txt").write_text(SECRET)
    os.symlink(bytes_beside / "secret.txt", path / "link to beside.txt")
    with open(path / "large", "wb") as file:
        file.truncate(1 << 26)
    return path


@contextlib.contextmanager
def serving(output):
    with Server(str(output)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def served(output):
    """A server of it."""
    with serving(output) as server:
        yield server


@pytest.fixture
def impatient(output, monkeypatch):
    """A server of it that waits for nobody."""
    monkeypatch.setattr(view, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(view, "SEND_SECONDS", 0.2)
    with serving(output) as server:
        yield server


@pytest.fixture
def opened():
    """Open connections to a server, and close them in the end."""
    with contextlib.ExitStack() as stack:

        def connect(server, data=b""):
            address = ("127.0.0.1", server.server_port)
            connection = stack.enter_context(socket.create_connection(address, timeout=30))
            connection.sendall(data)
            return connection

        yield connect


def read_all(connection):
    """Return what comes until the other end is closed."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def request(server, *fields, name="zarr.json", method="GET"):
    path = f"{urlsplit(server.url).path}/{name}"
    return "\r\n".join((f"{method} {path} HTTP/1.1", *fields, "", "")).encode()


def status(connection, data=b""):
    connection.sendall(data)
    return int(connection.recv(1 << 16).split(b" ")[1])


def fuzzed(server, opened, seeds):
    root = urlsplit(server.url).path
    for seed in seeds:
        data = random_request(np.random.default_rng(seed), root)
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.server_port), 30))
            with contextlib.suppress(OSError):  # it may have hung up already
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            # A hang is a TimeoutError here, which fails the test.
            answer = read_all(connection)
            assert SECRET.encode() not in answer, seed
    assert status(opened(server), request(server, "Host: localhost")) == 200


def test_whatever_is_sent_there_is_an_answer_or_an_end_and_nothing_is_said(served, opened, capfd):
    fuzzed(served, opened, range(300))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_whatever_is_sent_there_is_an_answer_or_an_end_and_nothing_is_said_at_length(served, opened, capfd):
    fuzzed(served, opened, range(1000, 7000))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["link.txt", "link%20to%20beside.txt"])
def test_a_link_that_leads_out_of_the_output_leads_nowhere(served, opened, name):
    assert status(opened(served), request(served, "Host: localhost", name=name)) == 404


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.0.0.1:8000", "[::1]:8000"]
)
def test_this_machine_may_be_called_by_its_own_names(served, opened, host):
    assert status(opened(served), request(served, f"Host: {host}")) == 200


@pytest.mark.parametrize(
    "fields",
    [("Host: evil.example",), ("Host: 127.0.0.1.evil.example",), ("Host: localhost@evil.example",),
     ("Host:",), ("Host: 10.0.0.1",), ("Host: [::1",), (), ("Host: localhost", "Host: evil.example")],
    ids=str,
)  # fmt: skip
def test_whoever_calls_it_otherwise_gets_nothing(served, opened, fields):
    connection = opened(served, request(served, *fields, "Connection: close"))
    answer = read_all(connection)
    assert answer.split(b" ")[1] in (b"403", b"400")
    assert b"zarr_format" not in answer


def test_the_name_in_a_whole_address_counts_too(served, opened):
    data = request(served, "Host: localhost").replace(b"GET ", b"GET http://evil.example")
    assert status(opened(served), data) == 403
    data = request(served, "Host: localhost").replace(b"GET ", b"GET http://127.0.0.1")
    assert status(opened(served), data) == 200


def test_what_follows_a_request_with_a_body_is_not_taken_for_another(served, opened):
    inner = request(served, "Host: localhost", name="nothing")
    connection = opened(served, request(served, "Host: localhost", f"Content-Length: {len(inner)}") + inner)
    assert read_all(connection).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("data", [b"", b"GET", b"GET /a HTTP/1.1\r\nHost: loc", b"\x16\x03\x01"])
def test_a_client_that_stalls_is_hung_up_on(impatient, opened, data):
    began = time.monotonic()
    read_all(opened(impatient, data))
    assert time.monotonic() - began < 25  # not what the socket itself allows


def test_a_client_that_drips_is_hung_up_on_too(impatient, opened):
    connection = opened(impatient, b"GET /a HTTP/1.1\r\nX: ")
    ended = False
    for _ in range(400):
        try:
            connection.sendall(b"y")
        except OSError:
            ended = True
            break
        time.sleep(0.05)
    assert ended


def test_many_that_stall_keep_nobody_else_from_reading(output, opened, monkeypatch):
    monkeypatch.setattr(view, "MOST_READERS", 8)
    monkeypatch.setattr(view, "REQUEST_SECONDS", 600)
    with serving(output) as server:
        stalled = [opened(server, b"GET /half") for _ in range(50)]
        assert status(opened(server), request(server, "Host: localhost")) == 200
        # Of those who stall no more are kept than may be.
        for connection in stalled[:42]:
            assert read_all(connection) == b""
        assert len(server.readers) <= 8


def test_who_is_answered_keeps_the_connection_while_others_stall(output, opened, monkeypatch):
    monkeypatch.setattr(view, "MOST_READERS", 8)
    with serving(output) as server:
        reader = opened(server, request(server, "Host: localhost", "Connection: close", name="large"))
        assert reader.recv(1)
        for _ in range(50):
            opened(server, b"GET /half")
        assert len(read_all(reader)) > 1 << 26


def test_a_reader_that_takes_nothing_is_given_up(impatient, opened, capfd):
    connection = opened(impatient, request(impatient, "Host: localhost", name="large"))
    assert connection.recv(1)
    wait_until(lambda: all(reader.closed() for reader in impatient.readers))
    assert len(read_all(connection)) < 1 << 26
    assert capfd.readouterr().err == ""


def test_a_file_that_may_not_be_read_is_not_there(served, opened, output, monkeypatch, capfd):
    fail_to_open(output, monkeypatch, errno.EACCES)
    assert status(opened(served), request(served, "Host: localhost")) == 404
    assert capfd.readouterr().err == ""


def test_a_file_that_is_cut_while_it_is_sent_ends_the_connection(served, opened, output, capfd):
    path = output / "cut"
    with open(path, "wb") as file:
        file.truncate(1 << 26)
    connection = opened(served, request(served, "Host: localhost", "Range: bytes=1-", name="cut"))
    assert connection.recv(1)
    os.truncate(path, 10)
    assert len(read_all(connection)) < 1 << 26
    assert "Traceback" not in capfd.readouterr().err


def test_where_no_file_can_be_opened_that_is_an_answer(served, opened, output, monkeypatch, capfd):
    fail_to_open(output, monkeypatch, errno.EMFILE)
    assert status(opened(served), request(served, "Host: localhost")) == 503
    assert capfd.readouterr().err == ""


def test_a_file_that_cannot_be_read_is_a_line_and_no_traceback(served, opened, output, monkeypatch, capfd):
    fail_to_open(output, monkeypatch, errno.EIO)
    assert status(opened(served), request(served, "Host: localhost")) == 500
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: a reader was not answered (OSError: [Errno 5] Input/output error")


def fail_to_open(output, monkeypatch, number):
    system = open

    def fail(path, *rest, **keywords):
        if str(path).startswith(str(output)):
            raise OSError(number, os.strerror(number), path)
        return system(path, *rest, **keywords)

    monkeypatch.setattr("builtins.open", fail)
