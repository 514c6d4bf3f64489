"""What the names of a series of files say: their order, what they are, and when they were taken."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from pipeline.read.opened import Opened


@dataclass(frozen=True)
class Numbering:
    """What the names of a series of files say.

    Parameters
    ----------
    files : tuple of str
        In the order of what they count.
    axis : str
        What they count: t where the names say nothing else.
    word : str
        The word in the names that says so, or an empty text.
    ordered_by : str
        What the order goes by, in words.
    interval : float
        Seconds from one to the next where the names tell times, evenly spaced; else 0.
    uneven : str
        Where the names tell times that are not evenly spaced: which, in words.
    places : bool
        Whether what they count are places, such as stage positions.
    """

    files: tuple[str, ...]
    axis: str = "t"
    word: str = ""
    ordered_by: str = "in the order of their names"
    interval: float = 0.0
    uneven: str = ""
    places: bool = False

    def apply(self, opened: Opened, said: str | None) -> Opened:
        """Return an image made of the files, with what their names say of it, and what was assumed.

        Parameters
        ----------
        opened : Opened
            The image.
        said : str, optional
            The axis that the user says the files are.
        """
        timed = self.interval > 0 and (said or self.axis) == "t" and "t" not in opened.scale
        if timed:
            opened = replace(
                opened,
                scale={**opened.scale, "t": self.interval},
                units={**opened.units, "t": "second"},
            )
        return replace(opened, notes=opened.notes + self._notes(said, timed))

    def _notes(self, axis: str | None, timed: bool) -> tuple[str, ...]:
        if len(self.files) == 1:
            return ()
        folder = os.path.commonpath(self.files)
        first, last = (os.path.relpath(self.files[index], folder) for index in (0, -1))
        of = f"the {len(self.files)} files ({first} to {last})"
        found = []
        if axis is None:
            why = f"their names say so ({self.word!r})" if self.word else self.ordered_by
            found.append(f"{of} are taken as {self.axis}, {why}; input.axes says what else they are")
        elif self.places or (self.word and axis != self.axis):
            found.append(
                f"{of} are taken as {axis}, as input.axes says, though their names say {self.word!r}"
            )
        if timed:
            found.append(
                f"the scale along t, {duration_text(self.interval)}, is taken from the times in the names"
            )
        if self.uneven:
            found.append(f"the times in the names are not evenly spaced ({self.uneven}), so t has no scale")
        return tuple(found)


def duration_text(seconds: float) -> str:
    """Return a duration in the largest unit that it is a round number of.

    >>> duration_text(7200), duration_text(90), duration_text(0.25)
    ('2 h', '90 s', '250 ms')
    """
    for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds * 1000:g} ms"
