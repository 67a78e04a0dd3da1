"""Whether an image is of the kind that a net has seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceria_data.calibration import estimate_sampling
from ceria_data.strips import strips
from ceria_models.model import DomainFacts

_FAR = 8.0
"""Dose or contrast beyond its range by this factor is far outside."""
_SIGMAS = 4.0
"""An image of noise is not refused for a contrast that could be in it."""
_LATTICE_FAR = 0.07
"""A pixel size that is wrong by more is far outside."""


@dataclass(frozen=True)
class Departure:
    """One way in which an image differs from what the net has seen.

    Attributes
    ----------
    kind : str
        ``pixel size``, ``dose``, ``contrast`` or ``reflections``.
    text : str
        What was found, what the net has seen, what may help.
    far : bool
        So far outside that the result means nothing.
    """

    kind: str
    text: str
    far: bool


def image_contrast(
    image: NDArray[np.floating] | NDArray[np.integer], sampling: float, dose: float
) -> float:
    """Evaluate the rms of an image without its noise, over its mean.

    Parameters
    ----------
    image : array, shape (y, x)
        Any linear scale.
    sampling : float
        Pixel size [Å/pixel].
    dose : float
        Apparent dose [e-/Å²]; infinite for an image without noise.

    Returns
    -------
    float
    """
    mean, squares = float(np.mean(image, dtype=np.float64)), 0.0
    for rows in strips(image.shape):
        squares += float(np.square(np.asarray(image[rows], dtype=np.float64) - mean).sum())
    relative = squares / image.size / mean**2
    return float(np.sqrt(max(relative - 1 / (dose * sampling**2), 0.0)))


def departures(
    image: NDArray[np.floating] | NDArray[np.integer],
    sampling: float,
    dose: float,
    domain: DomainFacts,
    *,
    lattice: bool = True,
) -> list[Departure]:
    """List how an image differs from what a net has seen.

    Parameters
    ----------
    image : array, shape (y, x)
        As it was recorded.
    sampling : float
        Pixel size as it is believed [Å/pixel].
    dose : float
        Apparent dose [e-/Å²].
    domain : DomainFacts
    lattice : bool
        Compare the reflections with those of the crystal too, which takes most of the time.

    Returns
    -------
    list of Departure
        Empty if nothing was found.
    """
    found = pixel_size_departures(sampling, domain)
    found += _out_of_range(
        "dose",
        "dose, as its noise tells,",
        dose,
        "e-/Å²",
        domain.dose_e_per_A2,
        "sum or bin frames",
    )
    found += _out_of_range(
        "contrast",
        "contrast",
        _plausible_contrast(image, sampling, dose, domain.contrast[0]),
        "of the mean",
        domain.contrast,
        "is there a camera offset to subtract, or another specimen?",
    )
    parameter = 0.5 * sum(domain.lattice_parameter_A)
    if lattice and min(image.shape) * sampling > 4 * parameter:
        found += _another_lattice(image, sampling, parameter, domain)
    return found


def pixel_size_departures(sampling: float, domain: DomainFacts) -> list[Departure]:
    """List how a pixel size alone differs from those that a net has seen.

    Parameters
    ----------
    sampling : float
        Å/pixel.
    domain : DomainFacts

    Returns
    -------
    list of Departure
        One, or none.

    Examples
    --------
    >>> from ceria_models import DEFAULT, from_pretrained
    >>> domain = from_pretrained(DEFAULT).config.domain
    >>> pixel_size_departures(0.2, domain), pixel_size_departures(2.0, domain)[0].far
    ([], True)
    """
    low, high = domain.sampling_A
    if low <= sampling <= high:
        return []
    far = not low / 1.6 <= sampling <= high * 1.6
    return [
        Departure(
            "pixel size",
            f"the pixel size is {sampling:.4g} Å, the net has seen {low:.3g} to {high:.3g} Å; "
            "is it given in Å, and of the specimen?",
            far,
        )
    ]


def _plausible_contrast(
    image: NDArray[np.floating] | NDArray[np.integer], sampling: float, dose: float, low: float
) -> float:
    """Evaluate the contrast; one that the noise may have hidden counts as the lowest seen."""
    contrast = image_contrast(image, sampling, dose)
    # Standard deviation of the variance of white noise, over the squared mean; the dose comes
    # from the same image and is as uncertain.
    error = np.sqrt(2 * 2 / image.size) / (dose * sampling**2)
    hidden = contrast < low and low**2 < contrast**2 + _SIGMAS * error
    return low if hidden else contrast


def _out_of_range(
    kind: str, what: str, value: float, unit: str, seen: tuple[float, float], help_: str
) -> list[Departure]:
    low, high = seen
    if low <= value <= high:
        return []
    far = value < low / _FAR or value > high * _FAR
    return [
        Departure(
            kind,
            f"the {what} is {value:.3g} {unit}, the net has seen {low:.3g} to {high:.3g}; {help_}",
            far,
        )
    ]


def _another_lattice(
    image: NDArray[np.floating] | NDArray[np.integer],
    sampling: float,
    lattice: float,
    domain: DomainFacts,
) -> list[Departure]:
    estimate = estimate_sampling(image, domain.zone_axis, lattice, given=sampling)
    if not estimate.doubts(sampling):
        return []
    zone = "".join(str(i) for i in domain.zone_axis)
    return [
        Departure(
            "reflections",
            f"the reflections would be those of CeO2 [{zone}] if the pixel size were "
            f"{estimate.sampling:.4g} Å instead of {sampling:.4g} Å; check the calibration",
            abs(estimate.sampling / sampling - 1) > _LATTICE_FAR,
        )
    ]
