"""How far two datasets agree, and whether a sample can be made again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ceria_data.config import load_config
from ceria_data.dataset import Dataset, open_dataset
from ceria_data.digest import labels_leaf
from ceria_data.draw import structure_entry
from ceria_data.errors import CeriaError
from ceria_data.film_simulation import SimulatedFilm, simulate_film
from ceria_data.simulate import SimulatedStructure, simulate_structure
from ceria_data.store import CONFIG


@dataclass(frozen=True)
class Comparison:
    """Agreement of two datasets over the structures, or films, that both have.

    Attributes
    ----------
    common, only_a, only_b : int
        Structures, or films, in both and in one of them, matched by number.
    labels_equal : bool
        There are common structures and the labels of all of them are equal.
    differing_labels : tuple of int
        Numbers of the structures whose labels differ.
    share_of_differing_counts : float
        Pixels with another count over all pixels of common samples.
    largest_intensity_difference : float
        1 = vacuum.
    content_equal : bool
        Both datasets are the same: equal content digests.
    """

    common: int
    only_a: int
    only_b: int
    labels_equal: bool
    differing_labels: tuple[int, ...]
    share_of_differing_counts: float
    largest_intensity_difference: float
    content_equal: bool


def compare(folder_a: Path, folder_b: Path) -> Comparison:
    """Compare two datasets structure by structure.

    Structures are matched by their number, so that a dataset can be compared with one
    that has grown.

    Parameters
    ----------
    folder_a, folder_b : Path

    Returns
    -------
    Comparison

    Raises
    ------
    NotADatasetError
        If one of the folders is no dataset.
    CeriaError
        If their images have different shapes or numbers of images per structure.
    """
    a, b = open_dataset(folder_a), open_dataset(folder_b)
    for key, of_a, of_b in (
        ("field_shape", a.manifest["field_shape"], b.manifest["field_shape"]),
        ("film", a.has_films, b.has_films),
        ("images_per_structure", a.layout.images, b.layout.images),
    ):
        if of_a != of_b:
            raise CeriaError(
                f"{key} is {of_a} in {folder_a} and {of_b} in {folder_b}; "
                "only datasets with equal fields can be compared"
            )
    rows_a, rows_b = _rows_by_number(a), _rows_by_number(b)
    common = sorted(rows_a.keys() & rows_b.keys())
    differing, changed, pixels, largest = [], 0, 0, 0.0
    images = a.layout.images
    for number in common:
        row_a, row_b = rows_a[number], rows_b[number]
        if labels_digest_of(a, row_a) != labels_digest_of(b, row_b):
            differing.append(number)
        for i in range(images):
            counts_a = a.read("counts", row_a * images + i)
            counts_b = b.read("counts", row_b * images + i)
            changed += int((counts_a != counts_b).sum())
            pixels += counts_a.size
            difference = a.read("intensity", row_a * images + i).astype(np.float64) - b.read(
                "intensity", row_b * images + i
            )
            largest = float(np.fmax(largest, np.nan_to_num(np.abs(difference), nan=np.inf).max()))
    return Comparison(
        common=len(common),
        only_a=len(rows_a) - len(common),
        only_b=len(rows_b) - len(common),
        labels_equal=bool(common) and not differing,
        differing_labels=tuple(differing),
        share_of_differing_counts=changed / pixels if pixels else 0.0,
        largest_intensity_difference=largest,
        content_equal=a.manifest["content_digest"] == b.manifest["content_digest"],
    )


def labels_digest_of(dataset: Dataset, row: int) -> str:
    """Digest the labels of one particle without the rows it has in this dataset."""
    particle = range(row, row + 1)
    structures = dataset.layout.structures_of(particle)
    firsts = {
        "sample": dataset.layout.samples_of(particle).start,
        "structure": structures.start,
        "particle": row,
    }
    tables = []
    for spec in dataset.tables:
        own = dataset.rows_of_particle(spec, row)
        for key in firsts.keys() & set(own):
            own[key] -= firsts[key]
        tables.append((own, spec))
    rows = slice(structures.start, structures.stop)
    occupancy, volume = dataset.read("occupancy", rows), dataset.read("volume", rows)
    filled = np.flatnonzero(volume.any(axis=(0, 2, 3)))
    planes = int(filled[-1]) + 1 if len(filled) else 0  # growth may add empty planes
    return labels_leaf(tables, occupancy, volume[:, :planes])


def _rows_by_number(dataset: Dataset) -> dict[int, int]:
    structures = dataset.structures
    return dict(zip(structures["number"].tolist(), structures["particle"].tolist(), strict=True))


@dataclass(frozen=True)
class Regeneration:
    """A sample made again from config and seed, beside the stored one.

    Attributes
    ----------
    sample, structure : int
    labels_equal : bool
    differing_counts : int
        Pixels with another count.
    largest_intensity_difference : float
    """

    sample: int
    structure: int
    labels_equal: bool
    differing_counts: int
    largest_intensity_difference: float

    @property
    def equal(self) -> bool:
        """The sample came out bit by bit as it is stored."""
        return (
            self.labels_equal
            and self.differing_counts == 0
            and self.largest_intensity_difference == 0.0
        )


def regenerate(folder: Path, sample: int, device: str = "cpu") -> Regeneration:
    """Make one sample again and compare it with the stored one.

    Parameters
    ----------
    folder : Path
    sample : int
        Its row in the arrays.
    device : str

    Returns
    -------
    Regeneration

    Raises
    ------
    CeriaError
        If the dataset has no such sample.
    """
    dataset = open_dataset(folder)
    if sample not in set(dataset.samples["sample"]):
        last = int(dataset.samples["sample"].max())
        raise CeriaError(f"{folder} has no sample {sample}; its samples are 0 to {last}")
    config = load_config(str(folder / CONFIG))
    row, position = divmod(sample, config.images_per_particle)
    entry, layout = structure_entry(config, row), dataset.layout
    again: SimulatedStructure | SimulatedFilm
    if config.film:
        frames = range(position, position + 1)
        again = simulate_film(config, entry, layout, device, frames=frames)
        rows, position = layout.structures_of(range(row, row + 1)), 0
        masks = [dataset.read(n, slice(rows.start, rows.stop)) for n in ("occupancy", "volume")]
    else:
        again = simulate_structure(config, entry, layout.planes, device)
        masks = [dataset.read(name, row) for name in ("occupancy", "volume")]
    tables = [(dataset.rows_of_particle(spec, row), spec) for spec in dataset.tables]
    stored_labels = labels_leaf(tables, *masks)
    difference = again.intensity[position].astype(np.float64) - dataset.read("intensity", sample)
    shown = dataset.samples["structure"][dataset.samples["sample"] == sample]
    return Regeneration(
        sample=sample,
        structure=int(shown.iloc[0]),
        labels_equal=again.labels.digest == stored_labels,
        differing_counts=int((again.counts[position] != dataset.read("counts", sample)).sum()),
        largest_intensity_difference=float(np.abs(difference).max()),
    )
