"""An image in its eight orientations: quarter turns, and the mirror image of each.

Turned or mirrored, an image shows the same atoms, under aberrations that are turned with it. A net
does not say quite the same of all eight, and the mean is closer to the truth than one of them.
"""

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ceria_models.model import PixelOutput

if TYPE_CHECKING:
    from ceria_models.runtime import Runtime

_ORIENTATIONS = tuple(product(range(4), (False, True)))
"""Quarter turns, and whether a mirror along x follows."""


def over_orientations(run: "Runtime", stride: int) -> "Runtime":
    """Average what a net says over the orientations of an image; it takes eight times as long.

    Probabilities of classes are averaged as logarithms, spreads of depths as variances.

    Parameters
    ----------
    run : callable
        As from `runtime.open_runtime`.
    stride : int
        Pixels of the net's coarsest grid. Images are filled up to multiples of it before they are
        turned, so that a tile has the same grids as the whole image in every orientation.

    Returns
    -------
    callable
        As `run`.

    References
    ----------
    .. [1] Lim et al., arXiv:1707.02921 (2017): geometric self-ensemble.

    Examples
    --------
    >>> def slope(image):  # a net that goes by where a pixel is
    ...     first = np.broadcast_to(np.arange(image.shape[2]), image.shape[1:]).astype(np.float32)
    ...     logits = np.stack([0 * first, first])[None]
    ...     return PixelOutput(logits, first[None], first[None], np.stack([first, first])[None])
    >>> over_orientations(slope, 2)(np.zeros((2, 4, 4), np.float32)).depth[0, :2].tolist()
    [[1.5, 1.5, 1.5, 1.5], [1.5, 1.5, 1.5, 1.5]]
    """

    def averaged(image: NDArray[np.float32]) -> PixelOutput:
        y, x = image.shape[-2:]
        filled = np.pad(image, ((0, 0), (0, -y % stride), (0, -x % stride)))
        total: list[NDArray[np.float32]] = []
        for quarters, mirrored in _ORIENTATIONS:
            seen = run(np.ascontiguousarray(_turned(filled, quarters, mirrored=mirrored)))
            parts = (
                _log_probabilities(seen.logits),
                seen.depth,
                np.square(seen.depth_spread),
                _vectors_back(seen.offset, quarters, mirrored=mirrored),
            )
            back = [_turned_back(part, quarters, mirrored=mirrored)[..., :y, :x] for part in parts]
            if not total:
                total = [np.zeros_like(part, order="C") for part in back]
            for whole, part in zip(total, back, strict=True):
                whole += part / np.float32(len(_ORIENTATIONS))
        logits, depth, variance, offset = total
        return PixelOutput(logits, depth, np.sqrt(variance), offset)

    return averaged


def _turned(array: NDArray[np.float32], quarters: int, *, mirrored: bool) -> NDArray[np.float32]:
    turned = np.rot90(array, quarters, axes=(-2, -1))
    return turned[..., ::-1] if mirrored else turned


def _turned_back(
    array: NDArray[np.float32], quarters: int, *, mirrored: bool
) -> NDArray[np.float32]:
    return np.rot90(array[..., ::-1] if mirrored else array, -quarters, axes=(-2, -1))


def _vectors_back(
    vectors: NDArray[np.float32], quarters: int, *, mirrored: bool
) -> NDArray[np.float32]:
    """Turn vectors (species, (y, x), y, x) back; where they stand does not change."""
    y, x = vectors[:, 0], -vectors[:, 1] if mirrored else vectors[:, 1]
    for _ in range(quarters):  # rot90 takes the vector (y, x) to (-x, y)
        y, x = x, -y
    return np.stack([y, x], axis=1)


def _log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise the logits of a pixel's classes: (species, class, y, x)."""
    above = logits - logits.max(axis=1, keepdims=True)
    normal: NDArray[np.float32] = above - np.log(np.exp(above).sum(axis=1, keepdims=True))
    return normal
