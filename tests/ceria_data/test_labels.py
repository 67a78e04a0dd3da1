from dataclasses import replace

import numpy as np
import pytest

from ceria_data.crystal import CERIUM
from ceria_data.grid import Field, cell_around
from ceria_data.labels import atom_table, column_table, support_table
from ceria_data.particle import build_structure, perfect
from ceria_data.phonons import displace
from ceria_data.schema import ATOMS, COLUMNS, SUPPORT

FIELD = Field((72, 96), 0.3)
CELL = cell_around(FIELD, 0.3, 3.0)
DEFECTS = {
    "oxygen_vacancy_fraction": 0.1,
    "cerium_vacancy_fraction": 0.05,
    "n_cerium_adatoms": 2,
    "n_oxygen_adatoms": 2,
    "relaxation_A": 0.08,
    "n_phonons": 3,
    "support_thickness_A": 3.0,
}


def label(kind="octahedron", thickness_atoms=5, seed=1, **changes):
    structure = build_structure(perfect(kind, thickness_atoms, **changes), FIELD, CELL, seed)
    configurations = displace(structure, seed)
    return structure, configurations, column_table(structure, configurations, FIELD, row=4)


def test_tables_have_the_columns_and_types_of_the_schema():
    structure, _, columns = label(**DEFECTS)
    tables = (
        (columns, COLUMNS),
        (atom_table(structure, 4), ATOMS),
        (support_table(structure, 4), SUPPORT),
        (support_table(label()[0], 4), SUPPORT),
    )
    for table, spec in tables:
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == spec.dtypes
        assert (table["structure"] == 4).all()


def test_atoms_agree_with_columns():
    structure, _, columns = label(**DEFECTS)
    atoms = atom_table(structure, 4)
    columns = columns.set_index("site_id")
    by_column = atoms.groupby("site_id")
    filled = columns[columns["occupancy"] > 0]
    assert (by_column.size() == filled["occupancy"]).all()
    assert (by_column["species"].first() == filled["species"]).all()
    np.testing.assert_array_equal(by_column["z_A"].min(), filled["z_first_A"])
    np.testing.assert_array_equal(by_column["z_A"].max(), filled["z_last_A"])
    np.testing.assert_allclose(by_column["z_A"].mean(), filled["z_mean_A"], atol=6e-5)
    assert columns["n_adatoms"].sum() >= 2
    counts = columns["sites"] - columns["n_vacancies"] + columns["n_adatoms"]
    assert (counts == columns["occupancy"]).all()
    assert columns["occupancy"].sum() == len(atoms)


def test_position_is_the_mean_over_atoms_and_configurations():
    structure, configurations, columns = label(**DEFECTS | {"rms_O_A": 0.3})
    for column in columns[columns["occupancy"] > 0].iloc[::9].itertuples():
        atoms = structure.site_id == column.site_id
        x, y, _ = configurations.positions[:, atoms].reshape(-1, 3).mean(axis=0)
        assert column.x_A == pytest.approx(x, abs=5.1e-5)
        assert column.y_A == pytest.approx(y, abs=5.1e-5)


def test_coordinates_are_multiples_of_the_step():
    structure, _, columns = label(**DEFECTS)
    for table in (columns, atom_table(structure, 0), support_table(structure, 0)):
        for name in [name for name in table if name.endswith("_A")]:
            values = table[name].dropna().to_numpy()
            np.testing.assert_array_equal(values, np.rint(values * 1e4) / 1e4)


def test_no_coordinate_is_a_negative_zero():
    structure, _, _ = label()
    table = atom_table(replace(structure, positions=structure.positions * -1e-9), 0)
    assert (table[["x_A", "y_A", "z_A"]] == 0).all(axis=None)
    assert not np.signbit(table[["x_A", "y_A", "z_A"]].to_numpy()).any()


def test_emptied_columns_keep_their_place_and_have_no_depth():
    _, _, whole = label(rms_O_A=0.0)
    _, _, columns = label(oxygen_vacancy_fraction=1.0)
    empty = columns[columns["species"] == "O"]
    assert (empty["occupancy"] == 0).all()
    assert (empty["n_vacancies"] == empty["sites"]).all()
    assert empty[["z_first_A", "z_last_A", "z_mean_A"]].isna().all(axis=None)
    oxygen = whole[whole["species"] == "O"]
    np.testing.assert_allclose(empty[["x_A", "y_A"]], oxygen[["x_A", "y_A"]], atol=1.1e-4)


@pytest.mark.parametrize(("tilt", "atoms"), [(1.0, 12), (1.5, 8), (2.0, 7), (0.8, 14)])
def test_columns_smeared_by_more_than_half_a_bond_are_ambiguous(tilt, atoms):
    _, _, columns = label(
        "slab_flat", atoms, mistilt_deg=tilt, mistilt_azimuth_deg=33.0, thickness_remainder=0.7
    )
    length = (columns["occupancy"] - 1) * 5.411 / np.sqrt(2)
    smear = length * np.sin(np.radians(tilt))
    assert columns["ambiguous"].nunique() == 2
    np.testing.assert_array_equal(columns["ambiguous"], smear > 0.67)


def test_untilted_columns_are_not_ambiguous():
    assert not label("slab_flat", 14)[2]["ambiguous"].any()


def test_tilt_smears_across_its_axis():
    structure, _, _ = label("slab_flat", 8, mistilt_deg=2.0, mistilt_azimuth_deg=0.0)
    column = structure.site_id == structure.site_id[structure.species == CERIUM][0]
    x, y, _ = np.ptp(structure.positions[column], axis=0)
    assert x == pytest.approx(0, abs=1e-9)
    assert y == pytest.approx(7 * 5.411 / np.sqrt(2) * np.sin(np.radians(2.0)))


def test_in_field_is_the_area_of_the_pixels():
    _, _, columns = label("slab_flat", 3, edge_A=100.0)  # fills the cell
    x, y = columns["x_A"] / 0.3, columns["y_A"] / 0.3
    inside = x.round().between(0, 95) & y.round().between(0, 71)
    np.testing.assert_array_equal(columns["in_field"], inside)
    assert 0 < inside.mean() < 1


def test_site_ids_stay_when_the_structure_changes():
    _, _, plain = label("slab_flat", 5)
    _, _, other = label("slab_flat", 5, edge_A=-4.0, **DEFECTS)
    both = plain.merge(other[other["occupancy"] > 0], on="site_id")
    assert len(both) > 50
    np.testing.assert_allclose(both["x_A_x"], both["x_A_y"], atol=0.6)
    np.testing.assert_allclose(both["y_A_x"], both["y_A_y"], atol=0.6)
    assert (both["species_x"] == both["species_y"]).all()
