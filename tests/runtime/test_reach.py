"""Whether a scheduler is where a config says: what is told of each way in which it is not."""

import contextlib
import json
import os
import socket
import threading

import dask
import pytest
from distributed.security import Security
from fleets import fleet_in
from processes import assert_same, movie

import pipeline
from pipeline.config.sections import ComputeConfig
from pipeline.model.errors import RequestError
from pipeline.model.messages import validate
from pipeline.runtime.executors.reach import look_at_scheduler, scheduler_address


@pytest.fixture
def brief(monkeypatch):
    """Let an answer be waited for for a shorter time."""
    monkeypatch.setattr("pipeline.runtime.executors.reach.CONNECT_SECONDS", 0.5)
    monkeypatch.setattr("pipeline.runtime.executors.reach.TELL_SECONDS", 0)


def refused(address, cluster=None, told=None):
    """Return what is said of an address where no scheduler is."""
    with pytest.raises(RequestError) as caught:
        look_at_scheduler(address, cluster or address, (told if told is not None else []).append)
    text = str(caught.value)
    assert text.startswith("compute.cluster: ")
    assert "\n" not in text
    return text


# Addresses, in the config: `plan` refuses them too.


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://node7", "names no port"), ("tls://[::1]", "names no port"), ("tcp://", "names no host"),
        ("tcp://:8786", "names no host"), ("tcp://node7:", "names no port between 1 and 65535"),
        ("tcp://node7:0", "names no port between"), ("tcp://node7:65536", "names no port between"),
        ("tcp://node7:²", "names no port between"), ("tcp://a b:8786", "is not the address of a scheduler"),
        ("tcp://::1:8786", "is not the address"), ("tcp://node7:8786/status", "names no port between"),
        ("tcp://me@node7:8786", "is not the address"), ("http://node7:8787", "is not the address"),
    ],
)  # fmt: skip
def test_an_address_without_host_or_port_is_refused_with_the_config(address, said):
    section, (problem,) = validate(ComputeConfig, {"cluster": address}, "compute")
    assert section is None
    assert problem.field == "compute.cluster"
    assert said in problem.message
    assert problem.hint.startswith("write it as tcp://HOST:8786")


@pytest.mark.parametrize("address", ["tcp://node7:8786", "tls://10.0.0.1:1", "tcp://[fe80::1]:65535"])
def test_a_whole_address_is_taken(address):
    section, problems = validate(ComputeConfig, {"cluster": address}, "compute")
    assert not problems
    assert section.cluster == address


# Scheduler files.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a scheduler file: it is no JSON"),
        (b"address: tcp://a:1", "is not a scheduler file: it is no JSON"),
        (b"\xff\xfe\x00", "is not a scheduler file: it is no JSON"),
        (b"[" * 100_000, "is not a scheduler file: it is no JSON"),
        (b"[]", "it names no address"),
        (b"{}", "it names no address"),
        (b'{"address": null}', "it names no address"),
        (b'{"address": 8786}', "8786 is no address"),
        (b'{"address": "somewhere"}', "'somewhere' is not the address of a scheduler"),
        (b'{"address": "tcp://node7"}', "'tcp://node7' names no port"),
    ],
    ids=["empty", "yaml", "bytes", "deep", "list", "nothing", "null", "number", "word", "no port"],
)
def test_a_file_that_names_no_scheduler_is_refused_with_what_it_lacks(tmp_path, content, said):
    file = tmp_path / "scheduler.json"
    file.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        scheduler_address(str(file))
    assert said in str(caught.value)
    assert "give the file that dask scheduler wrote" in str(caught.value)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: None], ids=["folder", "fifo", "missing"])
def test_what_is_no_file_is_no_scheduler_file(tmp_path, make):
    make(tmp_path / "scheduler.json")
    with pytest.raises(RequestError, match="neither an address nor a scheduler file"):
        scheduler_address(str(tmp_path / "scheduler.json"))


def test_a_file_far_too_large_is_not_read(tmp_path):
    with open(tmp_path / "scheduler.json", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RequestError, match="too large for a scheduler file"):
        scheduler_address(str(tmp_path / "scheduler.json"))


# What answers at an address.


@contextlib.contextmanager
def listener(says=b"", *, closes=False):
    """Give the address of something that takes connections and is no scheduler."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.sendall(says)
                    if closes:
                        connection.close()
                    kept.append(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        for connection in kept:
            connection.close()


@pytest.mark.parametrize(
    ("says", "closes", "said"),
    [
        (b"", False, "does not answer as a Dask scheduler does; correct the address"),
        (b"", True, "(the connection was closed); correct the address, or write tls://"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False, "no Dask scheduler can be spoken to"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False, "no Dask scheduler can be spoken to"),
        (b"\x10" + b"\0" * 7 + b"\xff" * 16, False, "no Dask scheduler can be spoken to"),
        (b"\x08" + b"\0" * 15, False, "no Dask scheduler can be spoken to"),
    ],
    ids=["silent", "closes", "http", "ssh", "noise", "no frames"],
)
def test_what_is_no_scheduler_is_told_in_bounded_time_and_what_is_waited_for(brief, says, closes, said):
    told = []
    with listener(says, closes=closes) as address:
        text = refused(address, told=told)
    assert said in text
    assert address in text
    if not says and not closes:
        assert told == [f"waiting for a scheduler to answer at {address}, 0.5 s at the most"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:9", "no scheduler answers at tcp://127.0.0.1:9 (Connection refused)"),
        ("tcp://no-such-host.invalid:8786", "no scheduler answers at tcp://no-such-host.invalid:8786 ("),
        ("ucx://127.0.0.1:9", "at ucx://127.0.0.1:9 ("),
    ],
)
def test_an_address_that_cannot_be_reached_is_told_with_the_reason(brief, address, said):
    assert said in refused(address)


def test_a_file_whose_scheduler_has_gone_is_named(brief):
    assert "no scheduler answers at tcp://127.0.0.1:9, which a.json names" in refused(
        "tcp://127.0.0.1:9", "a.json"
    )


# TLS.


def test_tls_without_credentials_is_told_before_anything_is_asked():
    text = refused("tls://127.0.0.1:9")
    assert "needs TLS credentials, and dask's configuration has none; name them as" in text


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "broken"])
def test_credentials_that_cannot_be_read_are_told(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with dask.config.set({f"distributed.comm.tls.{name}": str(path) for name in ("ca-file", "client.cert")}):
        assert "credentials of dask's configuration cannot be read (" in refused("tls://127.0.0.1:9")


def test_where_encryption_is_required_a_plain_address_is_refused(brief):
    with dask.config.set({"distributed.comm.require-encryption": True}):
        assert "dask's configuration requires encryption" in refused("tcp://127.0.0.1:9")


def credentials(folder):
    """Write credentials as an administrator would, and return what dask's configuration says of them."""
    made = Security.temporary()
    ca, key = folder / "ca.pem", folder / "key.pem"
    ca.write_text(made.tls_ca_file)
    key.write_text(made.tls_client_key)
    return {
        f"distributed.comm.tls.{name}": str(path)
        for name, path in (
            ("ca-file", ca), *((f"{role}.cert", ca) for role in ("client", "scheduler", "worker")),
            *((f"{role}.key", key) for role in ("client", "scheduler", "worker")),
        )
    }  # fmt: skip


def environ_of(settings):
    """Return settings of dask's as variables of the environment."""
    return {
        "DASK_" + name.upper().replace(".", "__").replace("-", "_"): value for name, value in settings.items()
    }


@pytest.fixture(scope="module")
def secure(kept_folder):
    """A scheduler and a worker that speak TLS, and the settings that let a client in."""
    folder = kept_folder / "secure"
    folder.mkdir()
    settings = credentials(folder)
    with fleet_in(folder) as fleet:
        fleet.scheduler("--protocol", "tls", environ=environ_of(settings))
        fleet.worker(environ=environ_of(settings))
        fleet.wait(1)
        yield fleet, settings


def test_a_tls_scheduler_computes_for_who_has_credentials(secure, folder):
    fleet, settings = secure
    assert fleet.address.startswith("tls://")
    movie(folder)
    request = {
        "input": {"path": str(folder / "movie.tif")},
        "steps": [{"white_tophat": {"radius": 3}}],
        "output": {"path": str(folder / "out.ome.zarr")},
        "compute": {"cluster": fleet.address},
    }
    with dask.config.set(settings):
        summary = pipeline.run(request)
    assert fleet.address in summary.where
    request["output"]["path"] = str(folder / "threads" / "out.ome.zarr")
    request["compute"]["cluster"] = "threads"
    assert_same(summary.output, pipeline.run(request).output)


def test_a_tls_scheduler_refuses_everybody_else(secure, brief, tmp_path):
    fleet, _ = secure
    assert "needs TLS credentials" in refused(fleet.address)
    with dask.config.set(credentials(tmp_path)):
        assert "see that it is a tls:// scheduler, and that it takes the credentials" in refused(
            fleet.address
        )
    assert "write tls://" in refused(fleet.address.replace("tls://", "tcp://"))


def test_the_address_of_a_worker_leads_to_its_scheduler(secure):
    fleet, settings = secure
    with dask.config.set(settings):
        (worker,) = workers_of(fleet)
        assert f"is no scheduler but a worker of the one at {fleet.address}" in refused(worker)
        look_at_scheduler(fleet.address, fleet.address, print)


def workers_of(fleet):
    """Return the addresses of a fleet's workers."""
    found = [line.split()[-1] for line in fleet.log.splitlines() if "Start worker at:" in line]
    assert json.loads(fleet.file.read_text())["type"] == "Scheduler"
    return found
