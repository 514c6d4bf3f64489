"""The summary of a run: where it wrote, the time and memory it took, and what it clipped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.model.text import MB, duration, number_of, size_text
from pipeline.model.timing import KINDS, Seconds


@dataclass
class Totals:
    """Totals of one start of a run."""

    where: str = ""  # the executor, for the reader
    began: float = 0.0  # when the first window began, by `time.monotonic`
    seconds: float = 0.0  # from then to the last group of the pyramid
    resumed: int = 0  # windows that an earlier start had done
    bytes_in: int = 0  # pixels of the input that this start has filtered, uncompressed
    predicted: int = 0  # bytes of memory
    workers: int = 0  # tasks at a time; 0 where others may start and end workers
    # Seconds by kind of work: of all tasks together, and of this process between them.
    spent: Seconds = field(default_factory=dict)
    driver: Seconds = field(default_factory=dict)


def performance(spent: Seconds, driver: Seconds, workers: int, seconds: float) -> dict[str, Any]:
    """Break down the time of a run by kind of work.

    Parameters
    ----------
    spent, driver : mapping of str to float
        Seconds by kind of work: of all tasks together, and of the driver beside them.
    workers : int
        Tasks at a time; 0 where that changed on the way.
    seconds : float
        From the first task to the last.

    Returns
    -------
    dict
        `workers`; `seconds` and `shares` by kind, where "wait" is the rest of the workers' time;
        `driver_seconds`.

    Examples
    --------
    >>> performance({"filter": 6.0, "read": 1.0}, {}, workers=2, seconds=4.0)["shares"]
    {'read': 0.125, 'filter': 0.75, 'wait': 0.125}
    """
    spent = dict(spent)
    if workers:
        spent["wait"] = max(0.0, workers * seconds - sum(spent.values()))
    ordered = {kind: spent[kind] for kind in KINDS if kind in spent}
    total = sum(ordered.values())
    return {
        "workers": workers,
        "seconds": ordered,
        "shares": {kind: value / total for kind, value in ordered.items()} if total else {},
        "driver_seconds": dict(driver),
    }


def time_text(performance: dict[str, Any]) -> str:
    """Return the shares of the workers' time as a phrase, the largest first."""
    shares = sorted(performance["shares"].items(), key=lambda item: -item[1])
    phrases = [f"{100 * share:.0f} % {KINDS[kind]}" for kind, share in shares if share >= 0.005]
    return f"of the workers' time {', '.join(phrases)}" if phrases else "no time to speak of"


@dataclass(frozen=True)
class Summary:
    """Result of a run.

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
        The executor, such as "2 threads".
    missing : str
        Chunks of the input that no file held, in words.
    notes : tuple of str
        Assumptions about the input.
    background : str
        Absolute path of the second output, if any.
    performance : dict
        Time by kind of work; see `performance`.
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
    notes: tuple[str, ...] = ()
    background: str = ""
    performance: dict[str, Any] = field(default_factory=dict)

    @property
    def clipped_share(self) -> float:
        """Clipped pixels ÷ all pixels."""
        return self.clipped / self.pixels if self.pixels else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain data."""
        return asdict(self)

    def text(self) -> str:
        """Return the summary as lines for a terminal."""
        if self.already_complete:
            return f"{self.output} is complete already: nothing to do"
        speed = self.bytes_in / MB / max(self.seconds, 1e-9)
        resumed = f", {self.windows_resumed} of them done before" if self.windows_resumed else ""
        rows = [
            f"{number_of(self.windows, 'window')}{resumed}, {duration(self.seconds)},"
            f" {speed:.0f} MB/s on {self.where}",
            f"start-up {duration(self.startup_seconds)} before that, commit included after it",
            f"{size_text(self.bytes_in)} read, {size_text(self.bytes_out)} written,"
            f" {size_text(self.bytes_stored)} stored",
            f"memory {size_text(self.memory_peak_bytes)} at its peak,"
            f" {size_text(self.memory_predicted_bytes)} predicted,"
            f" {size_text(self.memory_budget_bytes)} allowed",
        ]
        if self.performance:
            rows.append(time_text(self.performance))
        if self.clipped:
            share = f"{100 * self.clipped_share:.3g} %"
            rows.append(f"clipped {self.clipped} pixels ({share}) that the dtype cannot hold")
        if self.missing:
            rows.append(f"of the input {self.missing}")
        rows += [f"note: {note}" for note in self.notes]
        outputs = " and ".join(path for path in (self.output, self.background) if path)
        return "\n  ".join([f"wrote {outputs}", *rows])
