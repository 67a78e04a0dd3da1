"""How the noise-free images of a test set are recorded: by which camera, on which pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ceria_data.dataset import Sample
from ceria_data.detector import electrons, record
from ceria_data.grid import Field
from ceria_data.parameters import Camera, camera_from_row
from ceria_data.randomness import sample_rng
from ceria_data.sections import CAMERAS, CameraSection
from ceria_models.errors import ImageError
from ceria_models.resampling import resample_intensity

PIXELS = (0.02, 1.0)
"""Pixel sizes that a test set may be recorded on [Å]."""
_SAME = 1e-6
_MILLI = 1000
_MEDIAN = 0.5


@dataclass(frozen=True)
class View:
    """Which part of a sample's field an image shows, and on which pixels.

    Attributes
    ----------
    field : Field
        Pixels of the image.
    origin : tuple of float
        Centre of its pixel (0, 0) in the coordinates of the sample (y, x) [Å].
    """

    field: Field
    origin: tuple[float, float] = (0.0, 0.0)

    def truth(self, columns: pd.DataFrame) -> pd.DataFrame:
        """Express true columns in the coordinates of the image.

        Parameters
        ----------
        columns : DataFrame
            As `Sample.columns`.

        Returns
        -------
        DataFrame
            The same rows; what the image does not show is no longer ``in_field``.

        Examples
        --------
        >>> columns = pd.DataFrame({"x_A": [0.0, 3.75], "y_A": 2.0, "in_field": True})
        >>> View(Field((10, 10), 0.3), (0.05, 0.05)).truth(columns).values.tolist()
        [[-0.05, 1.95, True], [3.7, 1.95, False]]
        """
        if not any(self.origin):
            return columns
        moved = self._moved(columns, -1.0)
        half = 0.5 * self.field.sampling
        shown = columns["in_field"].to_numpy(bool)
        for name, size in zip(("y_A", "x_A"), self.field.extent, strict=True):
            place = moved[name].to_numpy(float)
            shown = shown & (place >= -half) & (place < size - half)
        return moved.assign(in_field=shown)

    def to_sample(self, found: pd.DataFrame) -> pd.DataFrame:
        """Express columns found in the image in the coordinates of the sample.

        Parameters
        ----------
        found : DataFrame
            With x_A and y_A.

        Returns
        -------
        DataFrame
        """
        return self._moved(found, 1.0) if any(self.origin) else found

    def _moved(self, table: pd.DataFrame, sign: float) -> pd.DataFrame:
        y, x = self.origin
        return table.assign(x_A=table["x_A"] + sign * x, y_A=table["y_A"] + sign * y)


@dataclass(frozen=True)
class Recording:
    """What records a test set; by default the pixels and the camera of each sample.

    Attributes
    ----------
    sampling : float or None
        Pixel size [Å/pixel]; None for the dataset's. The pixels begin where those of the
        sample begin, and only whole ones are kept.
    camera : Camera or None
        None for that of each sample.

    Raises
    ------
    ImageError
        If the pixel size is no such thing.

    Examples
    --------
    >>> Recording(sampling=0.1).view(Field((128, 128), 0.2))
    View(field=Field(shape=(256, 256), sampling=0.1), origin=(-0.05, -0.05))
    """

    sampling: float | None = None
    camera: Camera | None = None

    def __post_init__(self) -> None:
        low, high = PIXELS
        if self.sampling is not None and not low <= self.sampling <= high:
            raise ImageError(
                f"the pixel size is {self.sampling:.4g} Å; expected {low} to {high} Å at the "
                "specimen (0.02 nm is 0.2 Å)"
            )

    def view(self, field: Field) -> View:
        """Lay the pixels on the field of a sample.

        Parameters
        ----------
        field : Field
            Pixels of the dataset.

        Returns
        -------
        View
            That of the field itself where the pixel size is the same.
        """
        if self.sampling is None or abs(self.sampling / field.sampling - 1) < _SAME:
            return View(field)
        first = 0.5 * (self.sampling - field.sampling)
        ny, nx = (int(size / self.sampling + _SAME) for size in field.extent)
        return View(Field((ny, nx), self.sampling), (first, first))

    def camera_of(self, sample: Sample) -> Camera:
        """Name the camera that records a sample."""
        return camera_from_row(sample.parameters) if self.camera is None else self.camera

    def on_pixels(self, intensity: NDArray[np.floating], field: Field) -> NDArray[np.floating]:
        """Bring a noise-free image to the pixels of the recording.

        Parameters
        ----------
        intensity : array of float, shape (y, x)
            On the pixels of `field`; 1 = vacuum.
        field : Field

        Returns
        -------
        array of float, shape (y, x)
            1 = vacuum, integrated over the new pixels; the image itself where they are the same.
        """
        view = self.view(field)
        if view.field == field:
            return intensity
        return resample_intensity(
            intensity, field.sampling, view.field.sampling, view.origin, view.field.shape
        )

    def expose(
        self, intensity: NDArray[np.floating], sample: Sample, dose: float, seed: int
    ) -> NDArray[np.float64]:
        """Record a noise-free image, and take gain and offset off again.

        Parameters
        ----------
        intensity : array of float, shape (y, x)
            On the pixels of the recording, as from `on_pixels`.
        sample : Sample
            Whose camera it is, unless the recording has one.
        dose : float
            e-/Å²: larger pixels get more electrons.
        seed : int

        Returns
        -------
        array of float64, shape (y, x)
            Electrons; whole numbers from a counting camera.
        """
        camera, sampling = self.camera_of(sample), self.view(sample.dataset.field).field.sampling
        counts = record(intensity, dose, sampling, camera, seed)
        return electrons(counts, camera)

    def facts(self, field: Field) -> dict[str, Any]:
        """Say for a record what images of the dataset were recorded with.

        Parameters
        ----------
        field : Field
            Pixels of the dataset.

        Returns
        -------
        dict
            ``pixel_size_A``, ``dataset_pixel_size_A``, and of ``camera`` all that is finite;
            None for that of each sample.
        """
        camera = None
        if self.camera is not None:
            # JSON has no infinity: an ideal transfer is left out.
            camera = {k: v for k, v in vars(self.camera).items() if v != np.inf}
        return {
            "pixel_size_A": self.view(field).field.sampling,
            "dataset_pixel_size_A": field.sampling,
            "camera": camera,
        }

    def remarks(self, field: Field) -> list[str]:
        """Say in words what differs from the dataset.

        Parameters
        ----------
        field : Field
            Pixels of the dataset.

        Returns
        -------
        list of str
            Empty for pixels and camera of each sample.

        Examples
        --------
        >>> Recording(0.1).remarks(Field((128, 128), 0.2))[0][:48]
        'the images were recorded on pixels of 0.1 Å inst'
        """
        remarks = []
        pixel = self.view(field).field.sampling
        if pixel != field.sampling:
            finer = "; no detail finer than the dataset's pixels is in them"
            remarks.append(
                f"the images were recorded on pixels of {pixel:g} Å instead of the dataset's "
                f"{field.sampling:g} Å, with the same electrons per area"
                + (finer if pixel < field.sampling else "")
            )
        if self.camera is not None:
            remarks.append(f"the images were recorded by {_described(self.camera)}")
        return remarks


OWN = Recording()
"""Pixels and camera of each sample."""


def _described(camera: Camera) -> str:
    if camera.kind == "counting":
        return "a counting camera, whatever that of the dataset"
    return (
        "an integrating camera, whatever that of the dataset: signal and noise transfer ½ at "
        f"{camera.mtf_half:.2g} and {camera.ntf_half:.2g} of Nyquist, {camera.gain:g} units per "
        f"electron, read-out noise of {camera.readout_noise:g} units; offset and gain were taken "
        "off again"
    )


def typical_camera(kind: str) -> Camera:
    """Describe a camera of a kind, with the medians of what configs draw by default.

    Parameters
    ----------
    kind : str
        counting or integrating.

    Returns
    -------
    Camera

    Raises
    ------
    ImageError
        If there is no such kind.

    Examples
    --------
    >>> camera = typical_camera("integrating")
    >>> round(camera.mtf_half, 2), round(camera.ntf_half, 2), camera.gain, camera.readout_noise
    (0.6, 0.8, 10.0, 2.0)
    >>> typical_camera("counting") == Camera()
    True
    """
    if kind not in CAMERAS:
        raise ImageError(f"the camera is {kind!r}; expected {' or '.join(CAMERAS)}")
    if kind == Camera().kind:
        return Camera()
    drawn = CameraSection()
    names = (name for name in vars(Camera()) if name != "kind")
    return Camera(kind, **{name: float(getattr(drawn, name).at(_MEDIAN)) for name in names})


def record_at(
    sample: Sample, dose: float, draw: int = 0, recording: Recording = OWN
) -> NDArray[np.float64]:
    """Record an image at a dose; everyone who asks gets the same electrons.

    The noise-free `intensity` is recorded with a seed that follows from the number of the
    sample and the dose. Gain and offset are taken off again.

    Parameters
    ----------
    sample : Sample
    dose : float
        e-/Å².
    draw : int
        Number of the noise draw; 0 is the one that is scored.
    recording : Recording

    Returns
    -------
    array of float64, shape (y, x)
        Electrons; whole numbers from a counting camera.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> sample = open_dataset("ceria-columns-mini", "test")[0]
    >>> mean = record_at(sample, 300.0).mean() / sample.intensity.mean(dtype=float)
    >>> bool(abs(mean - 300 * 0.2**2) < 0.2)
    True

    As many electrons per area on pixels of half the size:

    >>> fine = record_at(sample, 300.0, recording=Recording(0.1))
    >>> fine.shape, bool(abs(fine.sum() / record_at(sample, 300.0).sum() - 1) < 0.01)
    ((256, 256), True)
    """
    rng = sample_rng(round(dose * _MILLI), int(sample.parameters["number"]), "evaluation")
    seed = int(rng.integers(2**63, size=draw + 1)[draw])
    image = recording.on_pixels(sample.intensity, sample.dataset.field)
    return recording.expose(image, sample, dose, seed)


def stored_counts(sample: Sample) -> NDArray[np.float64]:
    """Read the stored counts of a sample as electrons, shape (y, x).

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> stored_counts(open_dataset("ceria-columns-mini")[0]).shape
    (128, 128)
    """
    return electrons(sample.counts, camera_from_row(sample.parameters))
