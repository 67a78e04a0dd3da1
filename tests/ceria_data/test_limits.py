import numpy as np
import pandas as pd
import pytest
import zarr

from ceria_data.dataset import open_dataset
from ceria_data.errors import OutputError
from ceria_data.limits import choose_pairs, in_order
from ceria_data.limits_build import build_limits
from ceria_data.observer import detectability
from ceria_data.parameters import camera_from_row
from ceria_data.schema import LIMITS
from ceria_data.store import checksums, read_manifest
from ceria_data.verify import verify
from tests.tiny import FINE, Here, build_tiny, tiny_config


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("fine") / "fine", tiny_config(*FINE))


@pytest.fixture(scope="module")
def limits(fine, tmp_path_factory):
    out = tmp_path_factory.mktemp("limits") / "limits"
    build_limits(fine, split="test", n_columns=10, out=out, workers=Here)
    difference = zarr.open_group(out / "limits.zarr", mode="r")["difference"][:]
    return pd.read_parquet(out / "limits.parquet"), difference


def test_every_chosen_column_has_its_cases(limits):
    table, difference = limits
    assert list(table) == list(LIMITS.dtypes)
    assert len(table) == len(difference)
    assert table["pair"].tolist() == list(range(len(table)))
    assert set(table["species"]) == {"Ce", "O"}
    assert table.groupby("site_id").size().max() == 3


def test_the_difference_is_that_of_the_full_field(fine, limits):
    """Make one image of the whole field again without the atom and compare."""
    from ceria_data.config import load_config
    from ceria_data.draw import structure_entries
    from ceria_data.optics import form_image
    from ceria_data.scattering import exit_waves
    from ceria_data.simulate import (
        cell_of,
        field_of,
        label_structure,
        settings_of,
        specimen_of,
    )

    table, differences = limits
    config = load_config(fine / "config.yaml")
    for row in table[table["case"] == "end"].to_dict("records"):
        entry = structure_entries(config)[row["structure"]]
        labels = label_structure(config, entry, 20)
        own = np.flatnonzero(labels.structure.site_id == row["site_id"])
        atom = own[np.argmax(labels.structure.positions[own, 2])]
        image = labels.images[row["sample"] % 2]
        pictures = []
        for lost in ([], [atom]):
            whole = specimen_of(labels, 0.5)
            kept = np.ones(len(whole.numbers), bool)
            kept[lost] = False
            (waves,) = exit_waves([whole.of(kept)], cell_of(config), settings_of(config))
            pictures.append(form_image(waves, image, field_of(config)))
        expected = pictures[1] - pictures[0]
        found = np.zeros_like(expected)
        for (y, x), value in np.ndenumerate(differences[row["pair"]]):
            at = y + row["first_y"], x + row["first_x"]
            if 0 <= at[0] < found.shape[0] and 0 <= at[1] < found.shape[1]:
                found[at] = value
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error < 0.05, row


def test_d2_follows_from_intensity_and_difference(fine, limits):
    table, differences = limits
    dataset = open_dataset(fine)
    row = table.iloc[0]
    sample = dataset[int(row["sample"])]
    other = sample.intensity.astype(np.float64)
    ny, nx = differences[0].shape
    for y in range(max(0, row["first_y"]), min(other.shape[0], row["first_y"] + ny)):
        for x in range(max(0, row["first_x"]), min(other.shape[1], row["first_x"] + nx)):
            other[y, x] += differences[0, y - row["first_y"], x - row["first_x"]]
    dose = sample.parameters["dose_e_per_A2"]
    d2 = detectability(
        sample.intensity, other, dose, dataset.field.sampling, camera_from_row(sample.parameters)
    )
    assert row["d2_per_e_per_A2"] == pytest.approx(d2 / dose)


def test_cerium_is_easier_to_miss_than_oxygen_and_relaxation_helps(limits):
    table, _ = limits
    median = table.groupby(["species", "case"])["d2_per_e_per_A2"].median()
    assert median["Ce", "end"] > 3 * median["O", "end"]
    assert median["O", "inner_relaxed"] > median["O", "inner"]


def test_limits_lie_beside_a_dataset_which_stays_as_it_is(tiny):
    before = checksums(tiny)
    out = tiny.parent / "limits"
    facts = build_limits(tiny, split="test", n_columns=2, out=out, workers=Here)
    assert facts["columns"] == 2
    assert checksums(tiny) == before
    with pytest.raises(OutputError, match="exists already"):
        build_limits(tiny, split="test", n_columns=2, out=out, workers=Here)
    with pytest.raises(OutputError, match="make it first"):
        build_limits(tiny, split="test", n_columns=2, out=out / "no" / "x", workers=Here)


def test_limits_asked_for_by_the_config_come_with_the_build(tmp_path):
    config = tiny_config(("seed: 11", "seed: 11\nlimits: {split: test, columns: 2}"))
    out = build_tiny(tmp_path / "d", config)
    assert "limits.parquet" in read_manifest(out)["files"]
    assert verify(out) == []


def test_a_build_interrupted_after_its_limits_can_be_continued(tmp_path, monkeypatch):
    config = tiny_config(("seed: 11", "seed: 11\nlimits: {split: test, columns: 2}"))
    with monkeypatch.context() as patch:
        patch.setattr("ceria_data.build.verify", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_tiny(tmp_path / "d", config)
    assert verify(build_tiny(tmp_path / "d", config, resume=True)) == []


def test_the_choice_does_not_depend_on_the_order_of_results(fine):
    from ceria_data.config import load_config

    dataset, config = open_dataset(fine), load_config(fine / "config.yaml")
    pairs = choose_pairs(dataset, config, "test", 4)
    assert pairs == choose_pairs(dataset, config, "test", 4)

    class Task:
        def __init__(self, row):
            self.pairs = [pairs[0].__class__(row, 0, 0, "end")]

    results = [(Task(row), ([{"row": row}], [np.full((2, 2), row, np.float16)])) for row in (3, 1)]
    rows, differences = in_order(results)
    assert [row["row"] for row in rows] == [1, 3]
    assert differences[:, 0, 0].tolist() == [1, 3]
