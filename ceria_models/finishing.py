"""From trained weights to a model: measure its domain, calibrate it, describe it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ceria_data import __version__
from ceria_data.dataset import Dataset
from ceria_data.detector import electrons, record
from ceria_data.facts import parameter_ranges
from ceria_data.parameters import camera_from_row
from ceria_data.randomness import sample_rng
from ceria_data.schema import SPECIES
from ceria_data.targets import class_map
from ceria_models.calibration import fit_calibration
from ceria_models.contrast import apparent_dose, net_input
from ceria_models.decoded import DecodedSplit
from ceria_models.decoding import Peaks, find_peaks
from ceria_models.model import (
    CalibrationFacts,
    DecodingFacts,
    DomainFacts,
    Model,
    ModelConfig,
    NetFacts,
    PixelOutput,
    StartFacts,
    TrainingFacts,
    run_net,
)
from ceria_models.nets import ColumnNet
from ceria_models.training_config import TrainingConfig

_NEAR = 0.5
"""A peak this close to a column is that column [Å]."""
_PIXELS = 300
"""Pixels of an image and species that calibrate the pixels."""
_BORDER = 0.6
"""Peaks closer to the border may be columns whose middle lies outside [Å]."""


@dataclass
class _Cases:
    """Cases to calibrate with, of one species."""

    logits: list[NDArray[np.floating]] = field(default_factory=list)
    truth: list[NDArray[np.integer]] = field(default_factory=list)
    dose: list[NDArray[np.floating]] = field(default_factory=list)

    def add(self, logits: NDArray[np.floating], truth: NDArray[np.integer], dose: float) -> None:
        """Add the cases of one image."""
        self.logits.append(logits)
        self.truth.append(truth)
        self.dose.append(np.full(len(truth), dose))

    def fit(self) -> CalibrationFacts:
        """Calibrate."""
        return fit_calibration(*(np.concatenate(part) for part in vars(self).values()))


def finish_model(
    net: ColumnNet,
    config: TrainingConfig,
    dataset: Dataset,
    train: DecodedSplit,
    validation: DecodedSplit,
    start: StartFacts | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Model:
    """Make a model of a trained net.

    Parameters
    ----------
    net : ColumnNet
        In evaluation mode.
    config : TrainingConfig
    dataset : Dataset
        What it was trained on, any split.
    train, validation : DecodedSplit
        For the domain and for the calibration.
    start : StartFacts, optional
        The model whose weights the training began with.
    on_progress : callable
        Told validation images done and in all.

    Returns
    -------
    Model
    """
    manifest = dataset.manifest
    decoding = DecodingFacts(mask_radius_A=config.mask.radius_A)
    columns = {species: _Cases() for species in SPECIES}
    pixels = {species: _Cases() for species in SPECIES}
    cameras = validation.samples.to_dict("records")
    for row in range(len(validation)):
        rng = sample_rng(config.seed, row, "validation")
        dose = float(np.exp(rng.uniform(*np.log(config.views.dose_e_per_A2))))
        camera = camera_from_row(cameras[row])
        sampling = validation.field.sampling
        seed = int(rng.integers(2**63))
        counts = record(validation.intensity(row), dose, sampling, camera, seed)
        image = electrons(counts, camera)
        seen = apparent_dose(image, sampling)
        output = run_net(net, net_input(image, float(image.mean()), seen))
        found = find_peaks(output, sampling, decoding)
        for index, species in enumerate(SPECIES):
            peaks, counts_there = column_cases(validation, row, index, found[species])
            columns[species].add(peaks.logits, counts_there, seen)
        _add_pixels(pixels, dataset, validation, row, output, seen, rng)
        on_progress(row + 1, len(validation))
    model_config = ModelConfig(
        name=config.name,
        version=__version__,
        description=config.description,
        net=NetFacts(**vars(net.settings)),
        sampling_A=train.field.sampling,
        decoding=decoding,
        pixel_calibration={species: cases.fit() for species, cases in pixels.items()},
        column_calibration={species: cases.fit() for species, cases in columns.items()},
        domain=measure_domain(dataset, train, config),
        training=TrainingFacts(
            dataset=manifest["name"],
            dataset_version=manifest["version"],
            labels_digest=manifest["labels_digest"],
            content_digest=manifest["content_digest"],
            crops=config.schedule.steps * config.schedule.batch,
            config=config.model_dump(mode="json"),
            ranges=measure_ranges(dataset),
            start=start,
        ),
    )
    return Model(model_config, net)


def measure_ranges(dataset: Dataset) -> dict[str, list[int | float | str]]:
    """Measure which values the structures, optics and cameras of the split train took.

    Parameters
    ----------
    dataset : Dataset
        With the split train.

    Returns
    -------
    dict of str to list
        Lowest and highest value of a number, the distinct words.

    Examples
    --------
    >>> from ceria_data.dataset import open_dataset
    >>> measure_ranges(open_dataset("ceria-columns-mini"))["thickness_atoms"]
    [3, 10]
    """
    samples = dataset.samples[dataset.samples["split"] == "train"]
    structures = dataset.structures
    own = structures[structures["structure"].isin(samples["structure"])]
    return parameter_ranges(samples, own)


def measure_domain(dataset: Dataset, train: DecodedSplit, config: TrainingConfig) -> DomainFacts:
    """Measure what a net trained on a split has seen."""
    contrasts = []
    for row in range(len(train)):
        intensity = train.intensity(row).astype(np.float32)
        contrasts.append(float(intensity.std() / intensity.mean()))
    structures = dataset.structures
    own = structures[structures["structure"].isin(train.samples["structure"].unique())]
    zone = [int(index) for index in own["zone_axis"].iloc[0].strip("[]").split()]
    lattice = own["lattice_parameter_A"]
    sampling = train.field.sampling
    views = config.views
    low, high = views.sampling_A if views.other_pixels else (sampling, sampling)
    return DomainFacts(
        dose_e_per_A2=views.dose_e_per_A2,
        sampling_A=(min(low, sampling), max(high, sampling)),
        contrast=(min(contrasts), max(contrasts)),
        zone_axis=(zone[0], zone[1], zone[2]),
        lattice_parameter_A=(float(lattice.min()), float(lattice.max())),
    )


def column_cases(
    split: DecodedSplit, row: int, species: int, peaks: Peaks
) -> tuple[Peaks, NDArray[np.int64]]:
    """Say of every peak which count stands there.

    Parameters
    ----------
    split : DecodedSplit
    row : int
        Row of the image in `split`.
    species : int
        Position in `schema.SPECIES`.
    peaks : Peaks
        Found in that image.

    Returns
    -------
    Peaks
        Those that are not at the border, where a column outside may be seen.
    array of int64, shape (peak,)
        Atoms of the column there, 0 where none is near.
    """
    truth = split.columns(row)
    own = truth.species == species
    width, height = (side * split.field.sampling for side in split.field.shape[::-1])
    inside = (np.minimum(peaks.x, width - peaks.x) > _BORDER) & (
        np.minimum(peaks.y, height - peaks.y) > _BORDER
    )
    peaks = peaks.keep(inside)
    tree = cKDTree(np.column_stack([truth.x[own], truth.y[own]]))
    distance, nearest = tree.query(np.column_stack([peaks.x, peaks.y]))
    counts = np.append(truth.occupancy[own], 0)
    label = np.where(distance <= _NEAR, counts[np.minimum(nearest, own.sum())], 0)
    return peaks, np.minimum(label, peaks.logits.shape[1] - 1)


def _add_pixels(
    cases: dict[str, _Cases],
    dataset: Dataset,
    split: DecodedSplit,
    row: int,
    output: PixelOutput,
    dose: float,
    rng: np.random.Generator,
) -> None:
    """Add some pixels of an image with their class in the stored mask."""
    sample = split.samples.iloc[row]
    columns = dataset.columns_of(int(sample["structure"]))
    columns[["x_A", "y_A"]] += sample[["drift_x_A", "drift_y_A"]].to_numpy(float)
    painted = class_map(columns, split.field, output.logits.shape[1] - 1)
    for index, species in enumerate(SPECIES):
        y, x = (rng.integers(n, size=_PIXELS) for n in split.field.shape)
        logits = output.logits[index][:, y, x].T
        cases[species].add(logits, painted[index, y, x], dose)
