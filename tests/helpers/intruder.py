"""Try to run code of its own at the Dask ports of other processes, without credentials.

    python intruder.py MARK PORT …

Prints a line for each port, protocol and request that was accepted.
"""

import asyncio
import itertools
import logging
import sys
from pathlib import Path

from distributed.comm import connect
from distributed.protocol.pickle import dumps
from distributed.security import Security

SECONDS = 1


def leave_a_mark(path):
    """Create a file, to show that the code has run."""
    Path(path).touch()


async def attempt(address, request, security):
    """Send a request, and return whether there was an answer."""
    try:
        comm = await asyncio.wait_for(
            connect(address, timeout=SECONDS, **security.get_connection_args("client")), SECONDS
        )
        await comm.write(request)
        await asyncio.wait_for(comm.read(), SECONDS)
    except Exception:
        return False
    return True


async def main(mark, ports):
    code = {"function": dumps(leave_a_mark), "args": dumps((mark,)), "kwargs": dumps({}), "wait": True}
    requests = [{"op": "run_function", **code}, {"op": "run", **code}, {"op": "identity"}]
    tries = [
        (f"{protocol}://127.0.0.1:{port}", {**request, "reply": True}, security)
        for port in ports
        for protocol, security in (("tcp", Security()), ("tls", Security.temporary()))
        for request in requests
    ]
    answers = await asyncio.gather(*itertools.starmap(attempt, tries))
    for (address, request, _), accepted in zip(tries, answers, strict=True):
        if accepted:
            print(f"{address} took {request['op']}")


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
