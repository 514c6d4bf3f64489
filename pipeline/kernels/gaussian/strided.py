"""Images of any dtype and strides, addressed by elements of memory, for the loops that read them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StridedImage:
    """An array as its elements in memory order, and strides by which pixels are found among them."""

    flat: NDArray  # everything between the array's first and last element in memory, read-only
    base: int  # index of pixel (0, 0, …)
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    offset: np.floating  # subtracted from every value; its dtype is that of the result

    @classmethod
    def of(cls, image: NDArray, offset: np.floating) -> "StridedImage":
        """Make one of an array of at least two axes."""
        if image.size == 0:
            return cls(image.reshape(-1), 0, image.shape, (0,) * image.ndim, offset)
        size = image.itemsize
        whole = not any(stride % size for stride in image.strides)
        if not (image.dtype.isnative and image.flags.aligned and whole):
            image = image.astype(image.dtype.newbyteorder("="))
        strides = tuple(stride // size for stride in image.strides)
        ends = [(n - 1) * stride for n, stride in zip(image.shape, strides, strict=True)]
        lowest = tuple(slice(-1, None) if end < 0 else slice(1) for end in ends)
        span = sum(map(abs, ends)) + 1
        flat = np.lib.stride_tricks.as_strided(image[lowest], (span,), (size,), writeable=False)
        return cls(flat, -sum(end for end in ends if end < 0), image.shape, strides, offset)

    def at(self, index: tuple[int, ...]) -> "StridedImage":
        """Return the part at an index of the leading axes."""
        moved = sum(i * stride for i, stride in zip(index, self.strides, strict=False))
        rest = len(index)
        return StridedImage(self.flat, self.base + moved, self.shape[rest:], self.strides[rest:], self.offset)

    def cut(self, axis: int, begin: int, end: int) -> "StridedImage":
        """Return a range of one axis."""
        shape = (*self.shape[:axis], end - begin, *self.shape[axis + 1 :])
        return StridedImage(
            self.flat, self.base + begin * self.strides[axis], shape, self.strides, self.offset
        )

    @property
    def adjacent(self) -> bool:
        """Whether the pixels of a row are adjacent in memory."""
        return self.strides[-1] == 1

    @property
    def _lowest(self) -> int:
        """Offset of a row's lowest element in memory from its first: negative for a reversed row."""
        return min(0, self.strides[-1] * (self.shape[-1] - 1))

    def starts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index in `flat` of the lowest element of each row of a plane.

        The height of the plane, as a row, is for beyond the border, and gives −1.
        """
        starts = rows * self.strides[-2] + (self.base + self._lowest)
        return np.where(rows < self.shape[-2], starts, -1)

    def columns(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the offset of each column from the lowest element of its row.

        The width of the plane, as a column, is for beyond the border, and gives −1.
        """
        return np.where(columns < self.shape[-1], columns * self.strides[-1] - self._lowest, -1)
