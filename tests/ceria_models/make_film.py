"""Films of one particle that drifts by a known path, recorded from a bundled image."""

import numpy as np
from scipy.ndimage import fourier_shift

from ceria_data.dataset import open_dataset
from ceria_data.detector import record
from ceria_data.parameters import Camera

SAMPLING = 0.2
CAMERA = Camera()
BUNDLED = 78


def intensity(row=BUNDLED, border=0):
    """A noise-free image, with more of what is at its borders around it."""
    image = open_dataset("ceria-columns-mini", "test")[row].intensity.astype(np.float64)
    return np.pad(image, border, mode="edge")


def moved(image, y, x):
    """Move an image by a distance in Å, exactly."""
    away = fourier_shift(np.fft.rfft2(image), (y / SAMPLING, x / SAMPLING), n=image.shape[1])
    return np.clip(np.fft.irfft2(away, s=image.shape), 0, None)


def film_of(image, path, dose=300.0, seed=0):
    """Record a film of a path, (frame, (y, x)) in Å."""
    shots = [
        record(moved(image, *place), dose, SAMPLING, CAMERA, seed * 1000 + number)
        for number, place in enumerate(path)
    ]
    return np.stack(shots)


def line(frames, far_y, far_x):
    """A path of equal steps."""
    return np.linspace((0.0, 0.0), (far_y, far_x), frames)
