"""A look, in bounded time, at the scheduler that a config names, before a client connects."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from pipeline.config.cluster import address_fault
from pipeline.model.errors import RequestError
from pipeline.model.text import shown
from pipeline.runtime.executors.executor import Say
from pipeline.runtime.executors.workers import CLUSTER
from pipeline.runtime.progress import say_after

CONNECT_SECONDS = 10  # for a scheduler to answer: it may be starting
AGAIN_SECONDS = 0.2  # between two tries to connect
TELL_SECONDS = 2  # of silence before a message says what is waited for
LARGEST_FILE = 1 << 26  # bytes of a scheduler file; those of the largest clusters have a thousandth
SECURE = ("tls", "wss")
ON_TCP = ("tcp", "ws", *SECURE)


def scheduler_address(cluster: str) -> str:
    """Return the address of a config's `compute.cluster`, itself one or a scheduler file that names it.

    Raises
    ------
    RequestError
        It is neither.
    """
    if "://" in cluster:
        return cluster
    if not os.path.isfile(cluster):
        raise RequestError(
            f"{cluster} is neither an address nor a scheduler file",
            "say auto, local, threads, tcp://HOST:PORT, or the file that dask scheduler wrote",
            CLUSTER,
        )
    try:
        fault, address = _read_scheduler_file(cluster)
    except OSError as error:
        fault, address = f"cannot be read ({error.strerror})", ""
    if fault:
        raise RequestError(f"{cluster} {fault}", "give the file that dask scheduler wrote", CLUSTER)
    return address


def _read_scheduler_file(path: str) -> tuple[str, str]:
    """Return what is wrong with a scheduler file, and the address in it."""
    if os.path.getsize(path) > LARGEST_FILE:
        return "is too large for a scheduler file", ""
    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
        except (ValueError, RecursionError):
            return "is not a scheduler file: it is no JSON", ""
    address = content.get("address") if isinstance(content, dict) else None
    if address is None:
        fault = "it names no address"
    else:
        fault = address_fault(address) if isinstance(address, str) else f"{shown(address)} is no address"
    return (f"is not a scheduler file: {fault}" if fault else ""), str(address)


def temporary_security() -> Any:
    """Return TLS credentials that exist in this process and in the workers that it starts only.

    Raises
    ------
    RequestError
        The package that makes them is missing.
    """
    # Without them any user of the machine who finds the port of a scheduler or a worker has code run
    # as the user of this process.
    from distributed.security import Security

    try:
        return Security.temporary()
    except ImportError:
        raise RequestError(
            "worker processes need the package cryptography, which keeps others from using them",
            "pip install cryptography, or say cluster: threads",
            CLUSTER,
        ) from None


def look_at_scheduler(address: str, cluster: str, say: Say) -> None:
    """Require that a Dask scheduler answers at the address, which `cluster`, perhaps a file, names.

    Raises
    ------
    RequestError
        None does, and why.
    """
    # Not by distributed's client: it waits for ever where a server takes the connection and is silent, and
    # takes any bytes for a message of its own.
    security = _credentials(address)
    name = address if address == cluster else f"{address}, which {cluster} names"
    waiting = f"waiting for a scheduler to answer at {address}, {CONNECT_SECONDS:g} s at the most"
    try:
        with say_after(TELL_SECONDS, say, waiting):
            answer = _run_in_thread(_identity(address, security))
    except TimeoutError:
        message = f"what listens at {name} does not answer as a Dask scheduler does"
        raise RequestError(message, "correct the address", CLUSTER) from None
    except OSError as error:
        reason, hint = _connection_fault(error)
        raise RequestError(f"no scheduler answers at {name} ({reason})", hint, CLUSTER) from None
    # Any other server may say anything, over which distributed's reader fails in any way; as it does
    # where the package of a protocol is not installed.
    except Exception as error:
        reason = _first_line(str(error).strip() or type(error).__name__)
        message = f"no Dask scheduler can be spoken to at {name} ({reason})"
        raise RequestError(message, "correct the address", CLUSTER) from None
    if not (isinstance(answer, Mapping) and "workers" in answer):
        scheduler = answer.get("scheduler") if isinstance(answer, Mapping) else None
        worker = f" but a worker of the one at {scheduler}" if scheduler else ""
        raise RequestError(f"{name} is no scheduler{worker}", "give the scheduler's address", CLUSTER)


def _credentials(address: str) -> dict[str, Any]:
    """Return the connection arguments that dask's configuration gives a client."""
    from distributed.security import Security

    hint = (
        "name them as distributed.comm.tls.ca-file, .client.cert and .client.key in ~/.config/dask/"
        " or in DASK_DISTRIBUTED__COMM__TLS__…"
    )
    try:
        connection: dict[str, Any] = Security().get_connection_args("client")
    except (OSError, ValueError, TypeError) as error:  # an ssl.SSLError is an OSError
        reason = getattr(error, "filename", None) or _first_line(str(error))
        message = f"the TLS credentials of dask's configuration cannot be read ({reason})"
        raise RequestError(message, hint, CLUSTER) from None
    secure = address.partition("://")[0] in SECURE
    if secure and connection["ssl_context"] is None:
        message = f"{address} needs TLS credentials, and dask's configuration has none"
        raise RequestError(message, hint, CLUSTER)
    if connection["require_encryption"] and not secure:
        message = f"dask's configuration requires encryption, and {address} has none"
        raise RequestError(message, "write tls://HOST:PORT", CLUSTER)
    return connection


async def _identity(address: str, security: Mapping[str, Any]) -> Any:
    """Ask the server at `address` for its identity; TimeoutError where it takes the call and says nothing."""
    from distributed.comm import connect

    end = asyncio.get_running_loop().time() + CONNECT_SECONDS
    if address.partition("://")[0] in ON_TCP:
        await _wait_for_listener(address, end)
    async with asyncio.timeout_at(end + 1):  # the handshake has no end of its own
        # Nothing is unpickled of what comes back.
        comm = await connect(address, timeout=CONNECT_SECONDS, deserialize=False, **security)
        try:
            await comm.write({"op": "identity", "reply": True})
            return await comm.read()
        finally:
            comm.abort()


async def _wait_for_listener(address: str, end: float) -> None:
    """Wait until something takes connections; distributed also tries until then, but loses the reason."""
    host, _, port = address.partition("://")[2].rpartition(":")
    reason = OSError(f"nothing for {CONNECT_SECONDS:g} s")
    while True:
        try:
            async with asyncio.timeout_at(end):
                _, stream = await asyncio.open_connection(host.strip("[]"), int(port))
                return stream.close()
        except TimeoutError:
            raise reason from None
        except OSError as error:
            reason = error
        await asyncio.sleep(AGAIN_SECONDS)


def _run_in_thread(coroutine: Any) -> Any:
    """Run a coroutine in an event loop of its own, as a notebook's thread has one that runs."""
    future: Future[Any] = Future()

    async def answer() -> None:
        try:
            future.set_result(await coroutine)
        except BaseException as error:  # the caller raises it
            future.set_exception(error)

    # A daemon that is not joined: a look-up of a host's name cannot be cancelled.
    threading.Thread(target=asyncio.run, args=(answer(),), name="reach", daemon=True).start()
    return future.result()


def _first_line(text: str) -> str:
    return (text.splitlines() or ["no reason given"])[0]


def _connection_fault(error: OSError) -> tuple[str, str]:
    """Say why a connection failed, and how to mend it."""
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    cause = getattr(cause, "real_error", None) or cause  # of tornado's StreamClosedError
    if isinstance(cause, ssl.SSLError):
        hint = "see that it is a tls:// scheduler, and that it takes the credentials of dask's configuration"
        return f"TLS: {(cause.reason or type(cause).__name__).replace('_', ' ').lower()}", hint
    # By name, as tornado is distributed's; which says nothing of a connection that closes in the handshake.
    closed = type(cause).__name__ == "StreamClosedError" or not str(cause).strip()
    if closed or isinstance(cause, ConnectionResetError | BrokenPipeError):
        return "the connection was closed", "correct the address, or write tls:// if that is what it takes"
    # asyncio puts the address in place of the system's words; a gaierror has numbers and words of its own.
    number = cause.errno if isinstance(cause, OSError) and not isinstance(cause, socket.gaierror) else None
    reason = os.strerror(number) if number else getattr(cause, "strerror", None)
    return reason or _first_line(str(cause)), "start dask scheduler there, or correct the address"
