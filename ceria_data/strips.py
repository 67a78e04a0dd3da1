"""An image in strips of rows, so that work on it takes the memory of a strip."""

from collections.abc import Iterator

_PIXELS = 512 * 512
"""Of a strip; an image of 512 pixels along each axis is one."""
_FEWEST = 64
"""Rows of a strip: neighbouring rows that a filter needs too stay a small part."""


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Cut the rows of an image into strips.

    Parameters
    ----------
    shape : tuple of int
        Pixels (y, x).

    Yields
    ------
    slice
        Rows; together they are all rows once.

    Examples
    --------
    >>> list(strips((512, 512)))
    [slice(0, 512, None)]
    >>> list(strips((400, 1024)))
    [slice(0, 256, None), slice(256, 400, None)]
    """
    height, width = shape
    step = max(_PIXELS // width, _FEWEST)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
