"""A net that takes images as they are and names the atoms at every pixel, as one graph."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from ceria_data.noise import FOURTH_DIFFERENCE, NOISE_GAIN
from ceria_data.schema import SPECIES
from ceria_models.contrast import DOSE_CHANNEL_ENDS, REFERENCE_DOSE
from ceria_models.model import CalibrationFacts, Model
from ceria_models.nets import fixed_net

OUTPUTS = ("atoms", "confidence")
"""In the order of the results."""


class ImageReader(nn.Module):
    """What `predict` does for the pixels of images on the net's sampling.

    Mean and dose are computed from the image, and the classes are calibrated, so that a
    program needs nothing but this graph. It cannot refuse: an image that `predict` refuses
    gets 0 atoms with a confidence of 0 everywhere.

    Parameters
    ----------
    model : Model
        Stays as it is.

    Examples
    --------
    >>> from ceria_models import DEFAULT, from_pretrained
    >>> reader = ImageReader(from_pretrained(DEFAULT))
    >>> vacuum = np.random.default_rng(0).poisson(12.0, (1, 1, 40, 50)).astype(np.float32)
    >>> atoms, confidence = reader(torch.from_numpy(vacuum))
    >>> atoms.shape, float(atoms.max())
    (torch.Size([1, 2, 40, 50]), 0.0)
    """

    slope: Tensor
    slope_dose: Tensor
    bias: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net = fixed_net(model.net).cpu()
        self.sampling = model.config.sampling_A
        facts = [model.config.pixel_calibration[species] for species in SPECIES]
        self.register_buffer("slope", _of_species(facts, "slope"))
        self.register_buffer("slope_dose", _of_species(facts, "slope_dose"))
        self.register_buffer("bias", _of_species(facts, "bias").float()[None, ..., None, None])
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Count the atoms at every pixel.

        Parameters
        ----------
        image : Tensor, shape (image, 1, y, x)
            Any linear scale, zero = no electrons; each axis at least 16 pixels.

        Returns
        -------
        atoms : Tensor, shape (image, species, y, x)
            Most probable class, 0 = background, as float32.
        confidence : Tensor, shape (image, species, y, x)
            Its calibrated probability.
        """
        exact = image.double()
        mean = exact.mean((1, 2, 3), keepdim=True)
        low, high = exact.amin((1, 2, 3), keepdim=True), exact.amax((1, 2, 3), keepdim=True)
        # No comparison with a number that is none is true.
        readable = (mean > 0) & (low < high) & (high < torch.finfo(torch.float32).max)
        mean = torch.where(readable, mean, 1.0)
        variance = _noise(exact)
        noisy = variance > 0
        dose = mean**2 / torch.where(noisy, variance, 1.0) / self.sampling**2
        weakest, strongest = DOSE_CHANNEL_ENDS
        channel = torch.where(noisy, dose.clamp(weakest, strongest), strongest)
        channel = torch.log(channel / REFERENCE_DOSE) / math.log(10)
        contrast = image / mean.float() - 1
        seen = torch.cat([contrast, channel.float().expand_as(contrast)], dim=1)
        logits = self.net(seen).logits
        strength = torch.where(noisy, torch.log(dose / REFERENCE_DOSE), 0.0)
        slope = torch.exp(self.slope + self.slope_dose * strength[:, 0, :, 0])
        scaled = slope.float()[..., None, None, None] * logits + self.bias
        atoms = scaled.argmax(2).float()
        confidence = torch.softmax(scaled, 2).amax(2)
        return torch.where(readable, atoms, 0.0), torch.where(readable, confidence, 0.0)


def _noise(image: Tensor) -> Tensor:
    """Estimate the variance of white noise, (image, 1, 1, 1), as `contrast.apparent_dose`."""
    for axis in (2, 3):
        n, width = image.shape[axis], len(FOURTH_DIFFERENCE)
        parts = [
            factor * image.narrow(axis, at, n - width + 1)
            for at, factor in enumerate(FOURTH_DIFFERENCE.tolist())
        ]
        image = torch.stack(parts).sum(0)
    return image.square().mean((1, 2, 3), keepdim=True) / NOISE_GAIN**2


def _of_species(facts: list[CalibrationFacts], name: str) -> Tensor:
    return torch.from_numpy(np.array([getattr(one, name) for one in facts], dtype=np.float64))
