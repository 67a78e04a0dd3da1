"""Limits of films are those of still images, frame by frame, where the drift has moved them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
import zarr

from ceria_data.config import config_from_mapping, load_config, resolved_yaml
from ceria_data.dataset import open_dataset
from ceria_data.draw import structure_entry
from ceria_data.film_labels import label_film
from ceria_data.film_limits import FilmLimitsTask, choose_film_pairs, run_film_limits_task
from ceria_data.limits import LimitsTask, Pair, run_limits_task
from ceria_data.limits_build import build_limits
from ceria_data.optics import image_spectrum
from ceria_data.scattering import exit_waves
from ceria_data.schema import LIMITS
from ceria_data.simulate import cell_of, field_of, label_structure, settings_of
from tests.tiny import FINE, TINY, Here, build_tiny, tiny_config

PLANES = 20
STILL = {"frames": 3, "frame_time_s": 0.1}
MOVING = {"frames": 8, "frame_time_s": 0.1, "tilt_per_s": 4.0, "drift_A_per_s": 2.0}


WHOLE = (
    "relaxation_A: 0.1",
    "relaxation_A: 0.1\n  oxygen_vacancy_fraction: 0\n  cerium_vacancy_fraction: 0\n"
    "  n_cerium_adatoms: 0\n  n_oxygen_adatoms: 0",
)
"""Without defects, since a film draws the thermal motion of empty sites too."""


def films(film, *changes):
    """The fine config, of films."""
    text = TINY
    for old, new in (*FINE, *changes):
        text = text.replace(old, new)
    content = yaml.safe_load(text)
    del content["images_per_structure"]
    return config_from_mapping(content | {"film": film})


def test_a_film_of_one_still_structure_has_the_limits_of_the_still_image():
    still, film = tiny_config(*FINE, WHOLE), films(STILL, WHOLE)
    columns = label_structure(still, structure_entry(still, 1), PLANES).columns
    usable = columns[columns["in_field"] & (columns["occupancy"] > 2)]
    names = [usable.loc[usable["species"] == s, "site_id"].iloc[3] for s in ("Ce", "O")]
    cases = [(int(name), case) for name in names for case in ("end", "inner", "inner_relaxed")]
    expected = run_limits_task(
        LimitsTask(resolved_yaml(still), PLANES, tuple(Pair(1, 0, *c) for c in cases), "cpu")
    )
    task = FilmLimitsTask(
        resolved_yaml(film), PLANES, tuple(Pair(1, 2, *c) for c in cases), "cpu", first=1
    )
    rows, differences = run_film_limits_task(task)
    for row, wanted in zip(rows, expected[0], strict=True):
        assert row == wanted | {"sample": 5}  # the third frame of the second film
    for difference, wanted in zip(differences, expected[1], strict=True):
        assert np.abs(wanted).max() > 0.01
        # A half has eleven bits; the way over the spectrum rounds otherwise.
        assert np.abs(difference - wanted).max() < 2e-3 * np.abs(wanted).max()


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("moving") / "films", films(MOVING))


@pytest.fixture(scope="module")
def limits(moving, tmp_path_factory):
    out = tmp_path_factory.mktemp("limits") / "limits"
    facts = build_limits(moving, split="test", n_columns=6, out=out, workers=Here)
    difference = zarr.open_group(out / "limits.zarr", mode="r")["difference"][:]
    return facts, pd.read_parquet(out / "limits.parquet"), difference


def test_every_column_stands_in_a_frame_of_one_structure(moving, limits):
    facts, table, difference = limits
    assert list(table) == list(LIMITS.dtypes)
    assert (facts["columns"], facts["pairs"]) == (6, len(table))
    assert len(table) == len(difference)
    assert table.groupby("species")["site_id"].nunique().to_dict() == {"Ce": 3, "O": 3}
    dataset = open_dataset(moving, "test")
    shown = dataset.exposures.groupby("sample").size()
    assert (shown == 1).any()
    assert (shown > 1).any()
    assert (shown[table["sample"]] == 1).all()
    samples = dataset.samples.set_index("sample")
    assert (samples.loc[table["sample"], "structure"].to_numpy() == table["structure"]).all()
    assert table["sample"].nunique() > 1
    for row in table.itertuples():
        own = dataset.columns_of(row.structure).set_index("site_id").loc[row.site_id]
        assert (own["occupancy"], own["species"]) == (row.occupancy, row.species)
        # The column is in the middle of its patch, where the drift has moved it.
        for axis, first in (("x", row.first_x), ("y", row.first_y)):
            place = own[f"{axis}_A"] + samples.loc[row.sample, f"drift_{axis}_A"]
            assert abs(first + difference.shape[1] // 2 - place / 0.25) < 0.51


def test_the_difference_is_that_of_the_whole_frame(moving, limits):
    """Make two frames of the film again without the atom and compare."""
    _, table, differences = limits
    config = load_config(str(moving / "config.yaml"))
    dataset = open_dataset(moving, "test")
    film = int(dataset.samples["particle"].iloc[0])
    first = dataset.layout.structures_of(range(film, film + 1)).start
    field, cell = field_of(config), cell_of(config)
    labels = label_film(config, structure_entry(config, film), first, PLANES, field, cell)
    ends = table[table["case"] == "end"].groupby("species").head(1)
    for row in ends.to_dict("records"):
        index = row["structure"] - first
        structure = labels.particle.structures[index]
        own = np.flatnonzero(structure.site_id == row["site_id"])
        atom = own[np.argmax(structure.positions[own, 2])]
        whole = labels.particle.specimen(index, settings_of(config).slice_thickness_A)
        kept = np.arange(len(whole.numbers)) != atom
        waves = exit_waves([whole, whole.of(kept)], cell, settings_of(config))
        frame = int(row["sample"]) - film * MOVING["frames"]
        (part,) = (part for part in labels.parts if part.frame == frame)
        with_it, without = (
            image_spectrum(each, labels.images[frame], field)
            .moved(*labels.drift.during(part), 1.0)
            .pixels(field)
            for each in waves
        )
        stored = dataset.read("intensity", int(row["sample"])).astype(float)
        assert np.abs(stored - with_it).max() < 2e-3 * with_it.max()
        expected = without - with_it
        found = np.zeros_like(expected)
        for (y, x), value in np.ndenumerate(differences[row["pair"]]):
            at = y + row["first_y"], x + row["first_x"]
            if 0 <= at[0] < found.shape[0] and 0 <= at[1] < found.shape[1]:
                found[at] = value
        assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected), row


def test_a_split_without_a_quiet_frame_has_no_pairs(moving):
    dataset = open_dataset(moving, "test")
    busy = dataset.exposures.assign(sample=dataset.samples["sample"].iloc[0])
    dataset.__dict__["exposures"] = busy
    assert choose_film_pairs(dataset, 11, 4) == []


def test_the_choice_is_the_same_again_and_has_no_column_twice(moving):
    dataset = open_dataset(moving, "test")
    pairs = choose_film_pairs(dataset, 11, 8)
    assert pairs == choose_film_pairs(dataset, 11, 8)
    assert len({pair.site_id for pair in pairs}) == 8
    many = choose_film_pairs(dataset, 11, 10_000)
    assert len(many) == len({replace(pair, position=0) for pair in many}) > len(pairs)


def test_drift_within_a_frame_smears_the_difference():
    config = films(STILL | {"drift_A_per_s": 6.0}, WHOLE)
    field, cell = field_of(config), cell_of(config)
    labels = label_film(config, structure_entry(config, 0), 0, PLANES, field, cell)
    usable = labels.columns[labels.columns["in_field"] & (labels.columns["species"] == "Ce")]
    middle = np.hypot(usable["x_A"] - 10, usable["y_A"] - 9).idxmin()
    name = int(usable.loc[middle, "site_id"])
    task = FilmLimitsTask(resolved_yaml(config), PLANES, (Pair(0, 1, name, "end"),), "cpu")
    (row,), (difference,) = run_film_limits_task(task)
    structure = labels.particle.structures[0]
    own = np.flatnonzero(structure.site_id == name)
    atom = own[np.argmax(structure.positions[own, 2])]
    whole = labels.particle.specimen(0, settings_of(config).slice_thickness_A)
    kept = np.arange(len(whole.numbers)) != atom
    waves = exit_waves([whole, whole.of(kept)], cell, settings_of(config))
    (part,) = (part for part in labels.parts if part.frame == 1)
    shift, blur = labels.drift.during(part)
    errors = []
    for smear in (blur, 0 * blur):
        with_it, without = (
            image_spectrum(each, labels.images[1], field).moved(shift, smear, 1.0).pixels(field)
            for each in waves
        )
        ny, nx = difference.shape
        y, x = (np.arange(n) + row[f"first_{axis}"] for n, axis in ((ny, "y"), (nx, "x")))
        rows, columns = (y >= 0) & (y < field.shape[0]), (x >= 0) & (x < field.shape[1])
        expected = (without - with_it)[np.ix_(y[rows], x[columns])]
        found = difference[np.ix_(rows, columns)].astype(float)
        errors.append(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    assert errors[0] < 0.05
    assert errors[1] > 2 * errors[0]
