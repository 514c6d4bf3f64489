"""The processor: what compiled code and the width of its vectors depend on."""

import contextlib
import platform
from collections.abc import Mapping


def _description() -> dict[str, str]:
    """Return what Linux says of the first processor, by the name of each line; else what Python knows."""
    # LLVM knows more names, but takes as long to load as all else of a plan.
    with contextlib.suppress(OSError), open("/proc/cpuinfo", errors="replace") as file:
        first = file.read(1 << 14).partition("\n\n")[0]
        return {
            name.strip(): value.strip()
            for name, _, value in (line.partition(":") for line in first.splitlines())
        }
    return {"machine": platform.machine(), "processor": platform.processor()}


def vector_bytes(description: Mapping[str, str]) -> int:
    """Return the bytes of the vectors with which a processor works through memory fastest.

    Parameters
    ----------
    description : mapping of str to str
        Of the processor, as in Linux's `/proc/cpuinfo`.

    Examples
    --------
    >>> zen4 = {"vendor_id": "AuthenticAMD", "cpu family": "25", "flags": "avx2 avx512bw"}
    >>> vector_bytes(zen4), vector_bytes({**zen4, "cpu family": "26"}), vector_bytes({"flags": "avx2"})
    (32, 64, 32)
    """
    # Zen 4 has registers of 64 bytes, but works on halves of them, and of loads of 32 bytes that begin
    # anywhere only every other one crosses a cache line.
    zen4 = description.get("vendor_id") == "AuthenticAMD" and description.get("cpu family") == "25"
    return 64 if "avx512bw" in description.get("flags", "").split() and not zen4 else 32


_FIRST = _description()
VECTOR = vector_bytes(_FIRST)
# What tells processors apart whose code differs. numba itself compares LLVM's names for them.
_X86, _ARM = ("vendor_id", "cpu family", "model", "model name", "flags"), ("Features", "CPU part")
IDENTITY = " ".join(_FIRST.get(name, "") for name in (*_X86, *_ARM, "machine", "processor"))
