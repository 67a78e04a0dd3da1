"""A quick look at a net in training: counts and positions where columns are known to be."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ceria_data.detector import electrons, record
from ceria_data.parameters import camera_from_row
from ceria_data.schema import SPECIES
from ceria_models.contrast import apparent_dose, net_input
from ceria_models.decoded import DecodedSplit, StructureColumns
from ceria_models.nets import ColumnNet

DOSES = (100.0, 300.0, 1000.0)
_BORDER = 1.0
"""Columns closer to the border are left out [Å]."""


@dataclass(frozen=True)
class ValidationImage:
    """One noisy image, the same every time.

    Attributes
    ----------
    dose : float
        e-/Å².
    image : array of float32, shape (channel, y, x)
    columns : StructureColumns
    """

    dose: float
    image: NDArray[np.float32]
    columns: StructureColumns


def validation_images(split: DecodedSplit, n: int) -> list[ValidationImage]:
    """Record images of a split, evenly over it, at each of `DOSES`.

    Parameters
    ----------
    split : DecodedSplit
    n : int
        Images without noise to start from.

    Returns
    -------
    list of ValidationImage
    """
    rows = np.unique(np.linspace(0, len(split) - 1, min(n, len(split))).astype(int))
    cameras = split.samples.to_dict("records")
    images = []
    for row in rows:
        camera = camera_from_row(cameras[row])
        for dose in DOSES:
            counts = record(split.intensity(row), dose, split.field.sampling, camera, int(row))
            recorded = electrons(counts, camera)
            seen = apparent_dose(recorded, split.field.sampling)
            image = net_input(recorded, float(recorded.mean()), seen)
            images.append(ValidationImage(dose, image, split.columns(int(row))))
    return images


def validate(net: ColumnNet, images: list[ValidationImage], sampling: float) -> dict[str, float]:
    """Measure counts and positions at the pixels where columns are known to be.

    It takes detection for granted, and is quick: for a look during training. What a net is
    worth is measured by `evaluation`.

    Parameters
    ----------
    net : ColumnNet
    images : list of ValidationImage
    sampling : float
        Å/pixel.

    Returns
    -------
    dict of str to float
        ``accuracy/Ce/300`` and so on, the share of exact counts; ``position_pm/Ce/300``, the
        rms error of the position along one axis.
    """
    device = next(net.parameters()).device
    hits: dict[str, list[NDArray[np.bool_]]] = {}
    errors: dict[str, list[NDArray[np.float64]]] = {}
    for case in images:
        with torch.inference_mode():
            out = net(torch.from_numpy(case.image)[None].to(device))
        count = (out.logits[0, :, 1:].argmax(1) + 1).cpu().numpy()
        offset = out.offset[0].cpu().numpy()
        height, width = count.shape[-2:]
        x, y = case.columns.x / sampling, case.columns.y / sampling
        border = _BORDER / sampling
        inside = (x > border) & (x < width - 1 - border) & (y > border) & (y < height - 1 - border)
        for index, species in enumerate(SPECIES):
            own = inside & (case.columns.species == index)
            py, px = np.rint(y[own]).astype(int), np.rint(x[own]).astype(int)
            key = f"{species}/{case.dose:.0f}"
            hits.setdefault(key, []).append(count[index, py, px] == case.columns.occupancy[own])
            off_y = py * sampling + offset[index, 0, py, px] - case.columns.y[own]
            off_x = px * sampling + offset[index, 1, py, px] - case.columns.x[own]
            errors.setdefault(key, []).append(np.concatenate([off_y, off_x]))
    figures = {}
    for key in sorted(hits):
        figures[f"accuracy/{key}"] = float(np.concatenate(hits[key]).mean())
        figures[f"position_pm/{key}"] = 100 * float(
            np.sqrt(np.square(np.concatenate(errors[key])).mean())
        )
    return figures
