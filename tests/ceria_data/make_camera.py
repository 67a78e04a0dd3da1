"""A film from a simulated camera with uneven gain and hot pixels, and its references."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ceria_data.dataset import open_dataset
from ceria_data.detector import record
from ceria_data.film_references import CameraReferences, read_reference
from ceria_data.parameters import Camera

SAMPLING = 0.2
DOSE = 300.0
CAMERA = Camera("integrating", gain=10.0, offset=100.0, readout_noise=1.0)
HOT = 4000


def intensity():
    """The image without noise."""
    return open_dataset("ceria-columns-mini", "test")[78].intensity.astype(np.float64)


@dataclass(frozen=True)
class Shots:
    """Files of one camera, and of a counting one that saw the same electrons."""

    film: Path
    clean: Path
    dark: Path
    flat: Path
    bad: Path
    hot: np.ndarray

    @classmethod
    def write(cls, folder, frames=6, dose=DOSE):
        """Record the film, 32 dark frames and 32 evenly lit ones."""
        rng = np.random.default_rng(5)
        image = intensity()
        gain = np.clip(1 + 0.1 * rng.standard_normal(image.shape), 0.6, 1.4)
        hot = np.zeros(image.shape, bool)
        hot.ravel()[rng.choice(image.size, 12, replace=False)] = True

        def shot(seen, dose, seed):
            raw = record(seen, dose, SAMPLING, CAMERA, seed).astype(float) - CAMERA.offset
            return np.rint(np.clip(CAMERA.offset + gain * raw + HOT * hot, 0, None))

        shots = {
            "film": [shot(image, dose, i) for i in range(frames)],
            "clean": [record(image, dose, SAMPLING, Camera(), i) for i in range(frames)],
            "dark": [shot(0 * image, dose, 1000 + i) for i in range(32)],
            "flat": [shot(0 * image + 1, 10000.0, 2000 + i) for i in range(32)],
            "bad": [hot],
        }
        for name, stack in shots.items():
            np.save(folder / f"{name}.npy", np.stack(stack).astype(np.uint16))
        return cls(**{name: folder / f"{name}.npy" for name in shots}, hot=hot)

    def references(self):
        """All that the camera needs."""
        return CameraReferences(
            dark=read_reference(self.dark), flat=read_reference(self.flat), gain=CAMERA.gain,
            bad_pixels=read_reference(self.bad),
        )  # fmt: skip
