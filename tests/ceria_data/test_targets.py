import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from ceria_data.grid import Field
from ceria_data.targets import class_map, soft_targets, volume

FIELD = Field((40, 70), 0.2)


def table(*rows):
    """Columns from (species, x_A, y_A, occupancy)."""
    columns = pd.DataFrame(rows, columns=["species", "x_A", "y_A", "occupancy"])
    return columns.assign(site_id=np.arange(len(columns)) * 3 + 5)


def random_columns(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-2, 16, n).round(4), rng.uniform(-2, 10, n).round(4)
    species = rng.choice(["Ce", "O"], n)
    return table(*zip(species, x, y, rng.integers(0, 18, n), strict=True))


def nearest_by_hand(columns, species, field):
    """Occupancy and distance of the nearest column with atoms, at every pixel."""
    own = columns[(columns["species"] == species) & (columns["occupancy"] > 0)]
    y, x = np.indices(field.shape) * field.sampling
    distance = np.array(
        [np.hypot(x - c.x_A, y - c.y_A) for c in own.itertuples()],
    )
    return own["occupancy"].to_numpy()[distance.argmin(axis=0)], distance.min(axis=0)


def test_one_column_is_painted_where_it_stands():
    painted = class_map(table(("Ce", 10.13, 2.07, 4)), FIELD, max_count=14)
    y, x = np.nonzero(painted[0])
    assert painted.shape == (2, 40, 70)
    assert painted.dtype == np.uint8
    assert set(painted[0, y, x]) == {4}
    assert y.mean() * 0.2 == pytest.approx(2.07, abs=0.05)
    assert x.mean() * 0.2 == pytest.approx(10.13, abs=0.05)
    assert len(x) * 0.04 == pytest.approx(np.pi * 0.36, rel=0.1)
    assert not painted[1].any()


def test_class_map_equals_one_painted_pixel_by_pixel():
    columns = random_columns()
    painted = class_map(columns, FIELD, max_count=14)
    for index, species in enumerate(("Ce", "O")):
        occupancy, distance = nearest_by_hand(columns, species, FIELD)
        expected = np.where(distance <= 0.6, np.minimum(occupancy, 14), 0)
        np.testing.assert_array_equal(painted[index], expected)


def test_of_two_columns_at_equal_distance_the_first_wins():
    columns = table(("O", 2.0, 2.0, 3), ("O", 3.0, 2.0, 5))
    field = Field((20, 20), 0.25)
    assert class_map(columns, field, 14)[1, 8, 10] == 3
    assert class_map(columns[::-1], field, 14)[1, 8, 10] == 5


def test_order_of_the_rows_does_not_matter_otherwise():
    columns = random_columns()
    shuffled = columns.sample(frac=1, random_state=1)
    np.testing.assert_array_equal(class_map(columns, FIELD, 14), class_map(shuffled, FIELD, 14))


def test_emptied_and_absent_columns_paint_nothing():
    assert not class_map(table(("Ce", 3.0, 3.0, 0)), FIELD, 14).any()
    assert not class_map(table(), FIELD, 14).any()


def test_column_outside_the_field_paints_what_reaches_in():
    painted = class_map(table(("Ce", -0.39, 4.0, 6)), FIELD, 14)[0]
    y, x = np.nonzero(painted)
    assert set(x) == {0, 1}
    assert y.mean() == 20
    assert not class_map(table(("Ce", -0.8, 4.0, 6)), FIELD, 14).any()


def test_volume_marks_each_atom_in_its_plane_at_its_column():
    columns = table(("Ce", 3.0, 2.0, 2), ("O", 3.5, 2.0, 1))
    atoms = pd.DataFrame({"species": ["Ce", "Ce", "O"], "plane": [0, 2, 2], "site_id": [5, 5, 8]})
    masks = volume(atoms, columns, 4, FIELD)
    assert masks.shape == (4, 40, 70)
    assert masks[:, 10, 15].tolist() == [1, 0, 3, 0]
    assert masks[:, 10, 19].tolist() == [0, 0, 2, 0]
    assert masks[:, 10, 13].tolist() == [1, 0, 1, 0]
    assert masks[:, 12, 30].tolist() == [0, 0, 0, 0]


def test_volume_counts_what_the_class_map_says():
    columns = random_columns()
    atoms = pd.DataFrame(
        [
            (c.species, plane, c.site_id)
            for c in columns.itertuples()
            for plane in np.random.default_rng(c.site_id).permutation(20)[: c.occupancy]
        ],
        columns=["species", "plane", "site_id"],
    )
    masks = volume(atoms, columns, 20, FIELD)
    painted = class_map(columns, FIELD, max_count=20)
    np.testing.assert_array_equal((masks & 1).sum(axis=0), painted[0])
    np.testing.assert_array_equal((masks >> 1).sum(axis=0), painted[1])


def test_atom_of_an_unknown_column_paints_nothing():
    columns = table(("Ce", 3.0, 2.0, 1))
    atoms = pd.DataFrame({"species": ["Ce"], "plane": [0], "site_id": [99]})
    assert not volume(atoms, columns, 1, FIELD).any()


def test_atoms_beyond_the_planes_are_refused():
    columns = table(("Ce", 3.0, 2.0, 1))
    atoms = pd.DataFrame({"species": ["Ce"], "plane": [4], "site_id": [5]})
    with pytest.raises(ValueError, match="planes 4 to 4"):
        volume(atoms, columns, 4, FIELD)


def test_soft_targets_are_logistic_in_the_distance_of_the_nearest_column():
    columns = random_columns(60)
    soft = soft_targets(columns, FIELD, 14, radius=0.5, softness=0.08)
    assert soft.shape == (2, 15, 40, 70)
    assert soft.dtype == np.float32
    for index, species in enumerate(("Ce", "O")):
        occupancy, distance = nearest_by_hand(columns, species, FIELD)
        share = 1 / (1 + np.exp((distance - 0.5) / 0.08))
        expected = np.arange(15)[:, None, None] == np.minimum(occupancy, 14)
        expected = expected * share
        expected[0] = 1 - share
        np.testing.assert_allclose(soft[index], expected, atol=1e-4)


def test_soft_targets_sum_to_one_and_their_best_class_is_the_class_map():
    columns = random_columns(60)
    soft = soft_targets(columns, FIELD, 14, radius=0.6, softness=0.05)
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
    assert soft.min() >= 0
    np.testing.assert_array_equal(soft.argmax(axis=1), class_map(columns, FIELD, 14))


def test_targets_need_nothing_of_the_generator():
    code = (
        "import sys, ceria_data.targets;"
        "print(sorted({'abtem', 'ase', 'dask', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
