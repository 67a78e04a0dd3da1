"""A volume rebuilt from the right counts and depths is the stored one."""

import numpy as np
import pytest

from ceria_data.dataset import open_dataset
from ceria_models.volume import rebuild_volume, volume_overlap


@pytest.fixture(scope="module")
def test_split():
    return open_dataset("ceria-columns-mini", "test")


def iou_of(overlap):
    part, whole = (sum(o[key] for o in overlap.values()) for key in ("intersection", "union"))
    return part / whole


def columns_of(sample):
    columns = sample.columns
    return columns[columns["occupancy"] > 0]


def test_columns_without_vacancies_are_rebuilt_exactly(test_split):
    """Of columns with gaps the middle of the atoms does not tell where the gaps are."""
    checked = 0
    for i in range(0, 120, 4):
        columns = columns_of(test_split[i])
        spread = columns["z_last_A"] - columns["z_first_A"]
        gapless = (spread - 3.826 * (columns["occupancy"] - 1)).abs() < 1.0
        overlap = volume_overlap(columns, test_split[i])
        if gapless.all():
            assert iou_of(overlap) > 0.98
            checked += 1
        else:
            assert 0.5 < iou_of(overlap) < 1
    assert checked >= 3


def test_an_atom_too_few_and_a_wrong_depth_cost_what_they_should(test_split):
    i = next(
        i
        for i in range(0, 120, 4)
        if iou_of(volume_overlap(columns_of(test_split[i]), test_split[i])) > 0.99
    )
    columns = columns_of(test_split[i])
    fewer = columns[columns["occupancy"] > 1].assign(
        occupancy=lambda t: t["occupancy"] - 1, z_mean_A=lambda t: t["z_mean_A"] + 1.913
    )
    expected = fewer["occupancy"].sum() / columns["occupancy"].sum()
    assert iou_of(volume_overlap(fewer, test_split[i])) == pytest.approx(expected, abs=0.02)
    shifted = columns.assign(z_mean_A=columns["z_mean_A"] + 1.913)
    assert iou_of(volume_overlap(shifted, test_split[i])) < 0.05


def test_atoms_beyond_the_planes_and_columns_without_depth_are_lost(test_split):
    field = test_split.field
    columns = columns_of(test_split[0])
    nowhere = columns.assign(z_mean_A=1e4)
    assert not rebuild_volume(nowhere, 22, 1.913, 0.0, field).any()
    assert not rebuild_volume(columns.assign(z_mean_A=np.nan), 22, 1.913, 0.0, field).any()
    overlap = volume_overlap(columns.iloc[:0], test_split[0])
    assert iou_of(overlap) == 0
