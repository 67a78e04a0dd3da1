"""Large images in tiles: each output pixel sees the same surroundings as in the whole image."""

from collections.abc import Iterator
from dataclasses import dataclass

from ceria_models.nets import ColumnNet


@dataclass(frozen=True)
class Tile:
    """A part of an image, and what of it is used.

    Attributes
    ----------
    rows, columns : slice
        Pixels that the net sees.
    core_rows, core_columns : slice
        Pixels whose output is used; the cores of all tiles cover the image once.
    """

    rows: slice
    columns: slice
    core_rows: slice
    core_columns: slice

    @property
    def core(self) -> tuple[slice, slice]:
        """The core in the coordinates of the tile."""
        return tuple(  # type: ignore[return-value]
            slice(core.start - seen.start, core.stop - seen.start)
            for core, seen in (
                (self.core_rows, self.rows),
                (self.core_columns, self.columns),
            )
        )


def tiles_of(shape: tuple[int, int], net: ColumnNet, size: int) -> Iterator[Tile]:
    """Cut an image into tiles with a halo.

    Parameters
    ----------
    shape : tuple of int
        Pixels (y, x).
    net : ColumnNet
        Its `reach` is the halo; tiles start at multiples of its `stride`.
    size : int
        Pixels of a core along each axis, at least; rounded up to the stride.

    Yields
    ------
    Tile

    Examples
    --------
    >>> from ceria_models.nets import NetSettings, create_net
    >>> net = create_net(NetSettings("plain_unet", 4, levels=2, blocks=1, patch=2, max_count=3))
    >>> [(t.rows, t.core_rows) for t in tiles_of((100, 40), net, 64)]  # doctest: +ELLIPSIS
    [(slice(0, 88, None), slice(0, 64, None)), (slice(40, 100, None), slice(64, 100, None))]
    """
    step = -(-size // net.stride) * net.stride
    for y in range(0, shape[0], step):
        for x in range(0, shape[1], step):
            cores = [slice(at, min(at + step, n)) for at, n in zip((y, x), shape, strict=True)]
            seen = [
                slice(max(core.start - net.reach, 0), min(core.stop + net.reach, n))
                for core, n in zip(cores, shape, strict=True)
            ]
            yield Tile(seen[0], seen[1], cores[0], cores[1])
