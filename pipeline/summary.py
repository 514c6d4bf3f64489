"""What a run did: where it wrote, what it took, what it clipped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.blocks import size_text
from pipeline.progress import MB, duration


@dataclass(frozen=True)
class Summary:
    """A finished run.

    Parameters
    ----------
    output : str
        Absolute path or URL of the OME-Zarr.
    already_complete : bool
        Whether there was nothing to do.
    windows, windows_resumed : int
        All windows, and those that an earlier start had done.
    seconds, startup_seconds : float
        From the first window's start to the commit; before that.
    bytes_in, bytes_out : int
        Pixels read and written by this start, uncompressed.
    bytes_stored : int
        All files of pixels in the output.
    pixels, clipped : int
        Pixels of the output, and how many of them its dtype could not hold.
    memory_peak_bytes, memory_predicted_bytes, memory_budget_bytes : int
        Measured over all processes on this machine; predicted; allowed.
    where : str
        What computed it.
    missing : str
        What of the input no file held, in words.
    """

    output: str
    already_complete: bool = False
    windows: int = 0
    windows_resumed: int = 0
    seconds: float = 0.0
    startup_seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_stored: int = 0
    pixels: int = 0
    clipped: int = 0
    memory_peak_bytes: int = 0
    memory_predicted_bytes: int = 0
    memory_budget_bytes: int = 0
    where: str = ""
    missing: str = ""

    @property
    def clipped_share(self) -> float:
        """Pixels clipped ÷ pixels."""
        return self.clipped / self.pixels if self.pixels else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def text(self) -> str:
        """Return it for a reader at a terminal."""
        if self.already_complete:
            return f"{self.output} is complete already: nothing to do"
        speed = self.bytes_in / MB / max(self.seconds, 1e-9)
        resumed = f", {self.windows_resumed} of them done before" if self.windows_resumed else ""
        rows = [
            (f"{self.windows} windows{resumed}", duration(self.seconds), f"{speed:.0f} MB/s on {self.where}"),
            (f"start-up {duration(self.startup_seconds)} before that, commit included after it",),
            (
                f"{size_text(self.bytes_in)} read",
                f"{size_text(self.bytes_out)} written",
                f"{size_text(self.bytes_stored)} stored",
            ),
            (
                f"memory {size_text(self.memory_peak_bytes)} at its peak",
                f"{size_text(self.memory_predicted_bytes)} predicted",
                f"{size_text(self.memory_budget_bytes)} allowed",
            ),
        ]
        if self.clipped:
            share = f"{100 * self.clipped_share:.3g} %"
            rows.append((f"clipped {self.clipped} pixels ({share}) that the dtype cannot hold",))
        if self.missing:
            rows.append((f"of the input {self.missing}",))
        return "\n  ".join([f"wrote {self.output}", *(", ".join(row) for row in rows)])
