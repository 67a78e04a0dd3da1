"""The mean of a film that drifts by parts of a pixel is the image that stands still."""

import numpy as np
import pytest

from ceria_models.film_mean import Mean

SAMPLING = 0.2


def image(y, x):
    """Smooth, and not the same after a shift; y, x in pixels."""
    waves = np.cos(2 * np.pi * (y / 5.3 + x / 7.1))
    return 10 + waves + np.exp(-((y - 24) ** 2 + (x - 30) ** 2) / 8)


@pytest.mark.parametrize("shape", [(48, 64), (51, 37)])
def test_drift_by_parts_of_a_pixel_blurs_nothing(shape):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    mean = Mean(shape, SAMPLING)
    for dy, dx in ((0.0, 0.0), (0.5, -0.5), (-1.3, 2.4), (0.25, 0.8)):
        # What stands at p in the reference is at p + drift in the frame.
        mean.add(image(y - dy, x - dx), dy * SAMPLING, dx * SAMPLING)
    inner = np.s_[8:-8, 8:-8]
    np.testing.assert_allclose(mean.image()[inner], image(y, x)[inner], atol=0.03)


def test_pixels_that_no_frame_shows_are_the_mean_of_the_others():
    mean = Mean((8, 10), SAMPLING)
    mean.add(np.full((8, 10), 3.0), 0.0, 4 * SAMPLING)
    assert (mean.image() == 3.0).all()
    assert mean.seen[0].tolist() == [1] * 6 + [0] * 4
