"""A net with all that is needed to use it: how it was trained, how its output is read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from ceria_data.schema import SPECIES
from ceria_models.nets import ColumnNet, NetSettings, create_net, written_settings

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetFacts(_Section):
    """Size of the net, see `NetSettings`; checked before anything is allocated."""

    architecture: str
    width: int
    levels: int
    blocks: int
    patch: int
    max_count: int
    decoder: str = ""
    encoder: str = ""
    bottom: int = 0

    @model_serializer(mode="wrap")
    def _without_empty(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return written_settings(write(self))

    def settings(self) -> NetSettings:
        """Describe the net."""
        return NetSettings(**self.model_dump())


class DecodingFacts(_Section):
    """How columns are read from the probabilities of pixels.

    Attributes
    ----------
    mask_radius_A : float
        Radius of a column in the labels the net learned from.
    smoothing_A : float
        Width (sigma) of the Gaussian that smooths the probability of an atom.
    threshold : float
        Lowest smoothed probability of a column's middle.
    separation_A : float
        Two columns of one species are at least this far apart.
    pool_A : float
        Pixels within this distance of a column's middle describe it.
    """

    mask_radius_A: Positive
    smoothing_A: Positive = 0.2
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.2
    separation_A: Positive = 0.9
    pool_A: Positive = 0.35


class CalibrationFacts(_Section):
    """What turns pooled logits into probabilities that can be believed, for one species.

    With the logarithm s of the dose over 300 e-/Å², ``softmax(exp(slope + slope_dose s)
    logits + bias)``.

    Attributes
    ----------
    slope, slope_dose : float
    bias : tuple of float
        For every class.
    """

    slope: float
    slope_dose: float
    bias: tuple[float, ...]

    @classmethod
    def none(cls, classes: int) -> Self:
        """Leave logits as they are."""
        return cls(slope=0.0, slope_dose=0.0, bias=(0.0,) * classes)


class DomainFacts(_Section):
    """What the net has seen; outside, a prediction carries a warning.

    Attributes
    ----------
    dose_e_per_A2, sampling_A, contrast : tuple of float
        Lowest and highest value. The contrast is the rms of the image without its noise,
        over its mean.
    zone_axis : tuple of int
        Direction of the beam in the crystal.
    lattice_parameter_A : tuple of float
    """

    dose_e_per_A2: tuple[float, float]
    sampling_A: tuple[float, float]
    contrast: tuple[float, float]
    zone_axis: tuple[int, int, int]
    lattice_parameter_A: tuple[float, float]


class StartFacts(_Section):
    """The model whose weights a training began with.

    Attributes
    ----------
    model, version, weights_sha256 : str
    dataset, dataset_version, content_digest : str
        What it was trained on last.
    crops : int
        In all its trainings.
    """

    model: str
    version: str
    weights_sha256: str
    dataset: str
    dataset_version: str
    content_digest: str
    crops: int


class TrainingFacts(_Section):
    """What the net was trained on, and how.

    Attributes
    ----------
    dataset, dataset_version, labels_digest, content_digest : str
    crops : int
    config : dict
        The training config.
    ranges : dict of str to list
        Lowest and highest value, or the words, of every quantity drawn for the split train,
        as from `ceria_data.facts.parameter_ranges`. Empty where it was not measured.
    start : StartFacts or None
        None for weights that began as random numbers.
    """

    dataset: str
    dataset_version: str
    labels_digest: str
    content_digest: str
    crops: int
    config: dict[str, Any]
    ranges: dict[str, list[int | float | str]] = {}
    start: StartFacts | None = None


class ModelConfig(_Section):
    """Content of `config.json` beside the weights."""

    format_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    version: str
    description: str = ""
    license: str = "CC-BY-4.0"
    net: NetFacts
    sampling_A: Positive
    species: tuple[str, ...] = SPECIES
    decoding: DecodingFacts
    pixel_calibration: dict[str, CalibrationFacts]
    column_calibration: dict[str, CalibrationFacts]
    domain: DomainFacts
    training: TrainingFacts

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.species != SPECIES:
            raise ValueError(f"species are {self.species}, this version knows {SPECIES}")
        classes = self.net.max_count + 1
        for calibration in (self.pixel_calibration, self.column_calibration):
            if tuple(calibration) != SPECIES:
                raise ValueError(f"calibration of {tuple(calibration)}, expected {SPECIES}")
            for species, facts in calibration.items():
                if len(facts.bias) != classes:
                    raise ValueError(
                        f"calibration of {species} has {len(facts.bias)} classes, "
                        f"expected {classes}"
                    )
        return self


@dataclass(frozen=True)
class Model:
    """A trained net.

    Attributes
    ----------
    config : ModelConfig
    net : ColumnNet
        In evaluation mode.
    """

    config: ModelConfig
    net: ColumnNet

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights, config, a test input with its output, checksums and a card.

        Parameters
        ----------
        folder : str or Path
            New or empty folder.
        """
        from ceria_models.weights import save_model  # which needs this module

        save_model(self, Path(folder))


@dataclass(frozen=True)
class PixelOutput:
    """What a net says about the pixels of one image, as arrays.

    Attributes
    ----------
    logits : array of float32, shape (species, class, y, x)
    depth, depth_spread : array of float32, shape (species, y, x)
        Å.
    offset : array of float32, shape (species, 2, y, x)
        Å.
    """

    logits: NDArray[np.float32]
    depth: NDArray[np.float32]
    depth_spread: NDArray[np.float32]
    offset: NDArray[np.float32]


def fresh_model(config: ModelConfig) -> Model:
    """Make a model with weights that know nothing yet."""
    return Model(config, create_net(config.net.settings()).eval())


def run_net(net: ColumnNet, image: NDArray[np.float32]) -> PixelOutput:
    """Run a net on one image.

    Parameters
    ----------
    net : ColumnNet
    image : array of float32, shape (channel, y, x)
        As from `contrast.net_input`.

    Returns
    -------
    PixelOutput
    """
    device = next(net.parameters()).device
    with torch.inference_mode():
        out = net(torch.from_numpy(image)[None].to(device))
    parts = (out.logits, out.depth, out.depth_log_spread.exp(), out.offset)
    return PixelOutput(*(part[0].float().cpu().numpy() for part in parts))


def config_json(config: ModelConfig) -> str:
    """Write a config as JSON text."""
    return json.dumps(config.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
