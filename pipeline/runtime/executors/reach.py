"""A look for the scheduler that a config names, before a client connects, in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
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

CONNECT_SECONDS = 10
"""How long a scheduler may take to answer."""

TELL_SECONDS = 2
"""After which it is told what is waited for."""

AGAIN_SECONDS = 0.2
"""Between two tries to reach it: it may be starting."""

LARGEST_FILE = 1 << 26
"""Bytes of a scheduler file; those of the largest clusters are a thousandth of it."""

SECURE = ("tls", "wss")
ON_TCP = ("tcp", "ws", *SECURE)


def scheduler_address(cluster: str) -> str:
    """Return the address that a config's `compute.cluster` is, or that the scheduler file there names.

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
            "say auto, local, threads, tcp://HOST:PORT, or the file that dask scheduler wrote", CLUSTER,
        )  # fmt: skip
    try:
        fault, address = _read_scheduler_file(cluster)
    except OSError as error:
        fault, address = f"cannot be read ({error.strerror})", ""
    if fault:
        raise RequestError(f"{cluster} {fault}", "give the file that dask scheduler wrote", CLUSTER)
    return address


def _read_scheduler_file(path: str) -> tuple[str, str]:
    """Return what is wrong with a scheduler file, or nothing and the address in it."""
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
    """Return credentials that exist in this process alone, and in the workers that it starts.

    Without them whatever finds the port of a scheduler or a worker, as any user of the machine, has its code
    run as the user of this process.

    Raises
    ------
    RequestError
        The package that makes them is missing.
    """
    from distributed.security import Security

    try:
        return Security.temporary()
    except ImportError:
        raise RequestError(
            "worker processes need the package cryptography, which keeps others from using them",
            "pip install cryptography, or say cluster: threads", CLUSTER,
        ) from None  # fmt: skip


def look_at_scheduler(address: str, cluster: str, say: Say) -> None:
    """Require that a Dask scheduler answers at an address.

    distributed's own client waits for ever where something takes the connection and says nothing, and
    takes whatever is said for a message of its own.

    Parameters
    ----------
    address : str
        Where.
    cluster : str
        What the config says, which may be a file.
    say : callable
        Told what is waited for, where that takes long.

    Raises
    ------
    RequestError
        None does, and why.
    """
    security = _credentials(address)
    named = f", which {cluster} names" if address != cluster else ""
    seconds = f"{CONNECT_SECONDS:g} s at the most"
    try:
        with say_after(TELL_SECONDS, say, f"waiting for a scheduler to answer at {address}, {seconds}"):
            answer = _in_a_loop_of_its_own(_identity(address, security))
    except TimeoutError:
        raise RequestError(
            f"what listens at {address}{named} does not answer as a Dask scheduler does",
            "correct the address", CLUSTER,
        ) from None  # fmt: skip
    except OSError as error:
        reason, mend = _refusal(error)
        raise RequestError(f"no scheduler answers at {address}{named} ({reason})", mend, CLUSTER) from None
    # What is no Dask may say anything, and distributed's reader fails at it in any way; so does a
    # protocol that is not installed.
    except Exception as error:
        reason = _first_line(str(error).strip() or type(error).__name__)
        raise RequestError(
            f"no Dask scheduler can be spoken to at {address}{named} ({reason})",
            "correct the address",
            CLUSTER,
        ) from None
    if not (isinstance(answer, Mapping) and "workers" in answer):
        there = answer.get("scheduler") if isinstance(answer, Mapping) else None
        raise RequestError(
            f"{address}{named} is no scheduler" + (f" but a worker of the one at {there}" if there else ""),
            "give the scheduler's address", CLUSTER,
        )  # fmt: skip


def _credentials(address: str) -> dict[str, Any]:
    """Return what dask's configuration says a client of this user shows to a scheduler."""
    from distributed.security import Security

    mend = (
        "name them as distributed.comm.tls.ca-file, .client.cert and .client.key in ~/.config/dask/"
        " or in DASK_DISTRIBUTED__COMM__TLS__…"
    )
    try:
        connection: dict[str, Any] = Security().get_connection_args("client")
    except (OSError, ValueError, TypeError) as error:  # an ssl.SSLError is an OSError
        reason = getattr(error, "filename", None) or _first_line(str(error))
        raise RequestError(
            f"the TLS credentials of dask's configuration cannot be read ({reason})", mend, CLUSTER
        ) from None
    secure = address.partition("://")[0] in SECURE
    if secure and connection["ssl_context"] is None:
        raise RequestError(
            f"{address} needs TLS credentials, and dask's configuration has none", mend, CLUSTER
        )
    if connection["require_encryption"] and not secure:
        raise RequestError(
            f"dask's configuration requires encryption, and {address} has none",
            "write tls://HOST:PORT",
            CLUSTER,
        )
    return connection


async def _identity(address: str, security: Mapping[str, Any]) -> Any:
    """Return what is said there to distributed's question who it is; TimeoutError where nothing is said."""
    from distributed.comm import connect

    end = asyncio.get_running_loop().time() + CONNECT_SECONDS
    if address.partition("://")[0] in ON_TCP:
        await _reached(address, end)
    async with asyncio.timeout_at(end + 1):
        # Nothing is unpickled of what comes back.
        comm = await connect(address, timeout=CONNECT_SECONDS, deserialize=False, **security)
        try:
            await comm.write({"op": "identity", "reply": True})
            return await comm.read()
        finally:
            comm.abort()


async def _reached(address: str, end: float) -> None:
    """Wait until something listens there; distributed tries for as long, but does not say what kept it."""
    host, _, port = address.partition("://")[2].rpartition(":")
    reason: OSError | None = None
    while True:
        try:
            async with asyncio.timeout_at(end):
                _, stream = await asyncio.open_connection(host.strip("[]"), int(port))
                return stream.close()
        except TimeoutError:
            # It may be the end of many tries that were refused, each for a reason.
            raise reason or OSError(f"nothing for {CONNECT_SECONDS:g} s") from None
        except OSError as error:
            reason = error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await asyncio.sleep(AGAIN_SECONDS)


def _in_a_loop_of_its_own(coroutine: Any) -> Any:
    """Return what a coroutine gives; in a thread, since a notebook's own has a loop that runs."""
    done: Future[Any] = Future()

    async def answer() -> None:
        try:
            done.set_result(await coroutine)
        except BaseException as error:  # handed to the caller, which raises it
            done.set_exception(error)

    # A daemon, whose end nobody waits for: it may be looking up a name, which nothing can break off.
    threading.Thread(target=asyncio.run, args=(answer(),), name="reach", daemon=True).start()
    return done.result()


def _first_line(text: str) -> str:
    return (text.splitlines() or ["no reason given"])[0]


def _refusal(error: OSError) -> tuple[str, str]:
    """Return in words why nothing was heard, and how to mend it."""
    root: BaseException = error
    while root.__cause__ is not None and not isinstance(root, ssl.SSLError):
        root = root.__cause__
    root = getattr(root, "real_error", None) or root
    if isinstance(root, ssl.SSLError):
        mend = "see that it is a tls:// scheduler, and that it takes the credentials of dask's configuration"
        return f"TLS: {(root.reason or type(root).__name__).replace('_', ' ').lower()}", mend
    # By name: tornado is distributed's, and nothing else here knows it. Of a connection that closes while
    # greetings are exchanged distributed says nothing at all.
    closed = type(root).__name__ == "StreamClosedError" or not str(root).strip()
    if closed or isinstance(root, ConnectionResetError | BrokenPipeError):
        return "the connection was closed", "correct the address, or write tls:// if that is what it takes"
    # asyncio puts the address for the words of the system, which has it already here.
    number = root.errno if isinstance(root, OSError) and not isinstance(root, socket.gaierror) else None
    reason = os.strerror(number) if number else getattr(root, "strerror", None)
    return reason or _first_line(str(root)), "start dask scheduler there, or correct the address"
