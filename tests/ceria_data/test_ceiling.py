import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ceria_data.candidates import CHANGES, REACH, _End, choose_targets, column_repeat
from ceria_data.ceiling import open_ceiling
from ceria_data.ceiling_build import build_ceiling
from ceria_data.config import load_config
from ceria_data.dataset import open_dataset
from ceria_data.draw import structure_entries
from ceria_data.errors import DatasetError, NotADatasetError, OutputError
from ceria_data.limits import LimitsTask, Pair, run_limits_task
from ceria_data.optics import form_image
from ceria_data.particle import build_structure, perfect
from ceria_data.scattering import exit_waves
from ceria_data.schema import CEILING, COLUMNS
from ceria_data.simulate import (
    cell_of,
    field_of,
    label_structure,
    settings_of,
    specimen_of,
)
from ceria_data.slices import lay_slices
from ceria_data.store import CONFIG, checksums, write_table
from tests.tiny import FINE, Here, build_tiny, reseal, tiny_config

MOST = 5
PLANES = 20


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    config = tiny_config(*FINE, ("seed: 11", f"seed: 11\nmax_count: {MOST}"))
    return build_tiny(tmp_path_factory.mktemp("fine") / "fine", config)


@pytest.fixture(scope="module")
def dataset(fine):
    return open_dataset(fine)


@pytest.fixture(scope="module")
def ceiling(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("ceiling") / "ceiling"
    build_ceiling(dataset.folder, split="test", n_columns=6, out=out, workers=Here)
    return open_ceiling(out, dataset)


def structure_of(dataset, column):
    """The config and all that is known about the structure of a column."""
    config = load_config(str(dataset.folder / CONFIG))
    entry = structure_entries(config)[column.parameters["structure"]]
    return config, label_structure(config, entry, PLANES)


def own_atoms(structure, site_id):
    own = np.flatnonzero(structure.site_id == site_id)
    return own[np.argsort(structure.positions[own, 2])]


def of_whole_field(config, labels, column, positions, numbers):
    """The image of other atoms in the optics of a column, with slices of their own."""
    whole = specimen_of(labels, 0.5)
    z = positions.mean(axis=0)[:, 2]
    whole = replace(whole, positions=positions, numbers=numbers, slices=lay_slices(z, 0.01))
    (waves,) = exit_waves([whole], cell_of(config), settings_of(config))
    image = labels.images[column.parameters["sample"] % config.images_per_structure]
    return form_image(waves, image, field_of(config)).astype(np.float64)


def test_columns_have_all_candidates_that_are_possible(ceiling):
    table = ceiling.columns
    assert list(table) == list(CEILING.dtypes)
    assert table["column"].tolist() == list(range(6))
    assert table["species"].tolist() == ["Ce", "O"] * 3
    assert (table["lowest"] == np.maximum(table["occupancy"] - REACH, 0)).all()
    assert (table["highest"] == np.minimum(table["occupancy"] + REACH, MOST)).all()
    assert (table["highest"] - table["lowest"] < 2 * REACH).any()
    for i in range(len(ceiling)):
        one = ceiling[i]
        assert one.counts.tolist() == list(
            range(one.parameters["lowest"], one.parameters["highest"] + 1)
        )
        changed = np.abs(one.differences).max(axis=(1, 2)) > 0
        assert (changed == (one.counts != one.parameters["occupancy"])).all()


def test_one_atom_less_is_the_end_atom_of_the_limits(dataset, ceiling):
    for i in range(len(ceiling)):
        one = ceiling[i]
        row, sample = one.parameters["structure"], one.parameters["sample"]
        pair = Pair(row, sample % 2, one.parameters["site_id"], "end")
        text = (dataset.folder / CONFIG).read_text("utf-8")
        rows, (difference,) = run_limits_task(LimitsTask(text, PLANES, (pair,), "cpu"))
        less = one.differences[one.counts == one.parameters["occupancy"] - 1][0]
        assert np.array_equal(less, difference)
        assert rows[0]["first_y"] == one.parameters["first_y"]


def test_one_atom_more_changes_the_whole_field_alike(dataset, ceiling):
    """Put the atom at the next site of the column by hand and make the whole image again."""
    done = 0
    for i in range(len(ceiling)):
        one = ceiling[i]
        config, labels = structure_of(dataset, one)
        more = one.counts == one.parameters["occupancy"] + 1
        if not more.any():
            continue
        structure = labels.structure
        own = own_atoms(structure, one.parameters["site_id"])
        repeat = structure.parameters.lattice_parameter_A / np.sqrt(2)
        site = structure.positions[own].mean(axis=0)
        site[2] = structure.positions[own[-1], 2] + repeat
        whole = specimen_of(labels, 0.5)
        place = int(np.flatnonzero(labels.columns["site_id"] == one.parameters["site_id"])[0])
        motion = _End.of(config, labels, one.parameters["site_id"], place).displacements[:2, :1]
        assert 0 < np.abs(motion).max() < 0.6
        positions = np.concatenate([whole.positions, site + motion], axis=1)
        numbers = np.append(whole.numbers, whole.numbers[own[0]])
        before = of_whole_field(config, labels, one, whole.positions, whole.numbers)
        expected = of_whole_field(config, labels, one, positions, numbers) - before
        found = one.differences[more][0]
        error = np.linalg.norm(found - one.patch_of(expected)) / np.linalg.norm(found)
        assert error < 0.05
        done += 1
    assert done


def test_the_gradient_is_that_of_the_whole_field(dataset, ceiling):
    for i in (0, 1):
        one = ceiling[i]
        config, labels = structure_of(dataset, one)
        own = own_atoms(labels.structure, one.parameters["site_id"])
        whole = specimen_of(labels, 0.5)
        for axis in (0, 1):
            sides = []
            for step in (0.02, -0.02):
                moved = whole.positions.copy()
                moved[:, own, axis] += step
                sides.append(of_whole_field(config, labels, one, moved, whole.numbers))
            expected = one.patch_of((sides[0] - sides[1]) / 0.04)
            error = np.linalg.norm(one.gradient[axis] - expected) / np.linalg.norm(expected)
            assert error < 0.05


def test_the_step_is_that_between_the_atoms_of_a_tilted_column():
    config = tiny_config(*FINE)
    parameters = perfect("cube", 6, mistilt_deg=4.0, mistilt_azimuth_deg=30.0, rotation_deg=20.0)
    structure = build_structure(parameters, field_of(config), cell_of(config), 1)
    for species in (0, 1):
        sites = structure.site_id[structure.species == species]
        names, sizes = np.unique(sites, return_counts=True)
        full = own_atoms(structure, names[sizes.argmax()])
        steps = np.diff(structure.positions[full], axis=0)
        step = column_repeat(structure, species, config)
        assert steps == pytest.approx(np.tile(step, (len(steps), 1)))
        assert np.linalg.norm(step) == pytest.approx(5.411 / np.sqrt(2), rel=1e-6)
        assert np.hypot(*step[:2]) == pytest.approx(3.826 * np.sin(np.radians(4)), rel=1e-3)


def test_sites_behind_a_column_are_those_of_its_lattice(dataset):
    """Neither a gap inside nor the loss of the last atom moves them."""
    config = load_config(str(dataset.folder / CONFIG))
    labels = label_structure(config, structure_entries(config)[0], PLANES)
    structure = labels.structure
    table = labels.columns.reset_index(drop=True)
    place = int(table.index[table["occupancy"] > 3][0])
    site_id = int(table["site_id"][place])
    own = own_atoms(structure, site_id)
    places = _End.of(config, labels, site_id, place).places
    for lost, expected in (
        (own[1], places),
        (own[-1], [structure.positions[own[-1]], *places[:-1]]),
    ):
        left = structure.site_id.copy()
        left[lost] = -1
        end = _End.of(
            config, replace(labels, structure=replace(structure, site_id=left)), site_id, place
        )
        assert end.places == pytest.approx(np.array(expected), abs=0.05)
        assert len(end.own) == len(own) - 1


def test_more_columns_begin_with_the_same_ones(dataset):
    config = load_config(str(dataset.folder / CONFIG))
    few, many = (choose_targets(dataset, config, "test", n) for n in (3, 7))
    assert many[:3] == few
    assert len(set(many)) == 7
    everything = choose_targets(dataset, config, "test", 10**6)
    rows = dataset.structures.loc[dataset.structures["split"] == "test", "structure"]
    columns = dataset.columns[dataset.columns["structure"].isin(rows)]
    usable = columns[columns["in_field"] & (columns["occupancy"] > 0) & ~columns["ambiguous"]]
    assert {(t.row, t.site_id) for t in everything} == set(
        zip(usable["structure"], usable["site_id"], strict=True)
    )


def test_it_lies_beside_the_dataset_which_stays_as_it_is(tiny):
    before = checksums(tiny)
    out = tiny.parent / "c"
    facts = build_ceiling(tiny, split="test", n_columns=2, out=out, workers=Here)
    assert sum(facts["columns"].values()) == 2
    assert checksums(tiny) == before
    assert sorted(path.name for path in tiny.parent.iterdir()) == ["c", "tiny"]
    subprocess.run(["sha256sum", "--check", "--strict", "checksums.sha256"], cwd=out, check=True)
    named = {line.split("  ")[1] for line in (out / "checksums.sha256").read_text().splitlines()}
    assert named == {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()
    } - {"checksums.sha256"}
    with pytest.raises(OutputError, match="exists already"):
        build_ceiling(tiny, split="test", n_columns=2, out=out, workers=Here)
    with pytest.raises(OutputError, match="lies in the dataset"):
        build_ceiling(tiny, split="test", n_columns=2, out=tiny / "c", workers=Here)


def test_columns_are_in_the_order_of_choice_whatever_comes_first(tiny):
    class Backwards:
        def __enter__(self):
            return lambda run, tasks: [(task, run(task)) for task in reversed(tasks)]

        def __exit__(self, *_):
            return None

    tables = []
    for name, workers in (("a", Here), ("b", Backwards)):
        build_ceiling(tiny, split="test", n_columns=4, out=tiny.parent / name, workers=workers)
        tables.append(open_ceiling(tiny.parent / name, open_dataset(tiny)).columns)
        checked = (tiny.parent / name / "checksums.sha256").read_text()
        assert name == "a" or checked == (tiny.parent / "a" / "checksums.sha256").read_text()
    pd.testing.assert_frame_equal(*tables)
    config = load_config(str(tiny / CONFIG))
    chosen = choose_targets(open_dataset(tiny), config, "test", 4)
    assert tables[0]["site_id"].tolist() == [target.site_id for target in chosen]
    assert tables[0]["structure"].nunique() == 2


def test_it_opens_with_its_own_dataset_only(ceiling, dataset, tiny_folder, tmp_path):
    with pytest.raises(DatasetError, match="belongs to the dataset"):
        open_ceiling(ceiling.folder, open_dataset(tiny_folder))
    with pytest.raises(NotADatasetError, match="holds no ceiling"):
        open_ceiling(tmp_path, dataset)
    with pytest.raises(IndexError):
        ceiling[len(ceiling)]


def test_a_damaged_shard_is_noticed(ceiling, dataset, tmp_path):
    copy = shutil.copytree(ceiling.folder, tmp_path / "copy")
    shard = next((copy / "ceiling.zarr" / "gradient" / "c").rglob("0"))
    while shard.is_dir():
        shard = shard / "0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(bytes(content))
    damaged = open_ceiling(copy, dataset)
    with pytest.raises(DatasetError, match="make it again"):
        [damaged[i] for i in range(len(damaged))]


def test_a_structure_that_is_not_the_one_of_the_dataset_is_refused(tiny):
    table = pd.read_parquet(tiny / "columns.parquet")
    table["x_A"] += 0.1
    write_table(table, tiny / "columns.parquet", COLUMNS)
    reseal(tiny)
    out = tiny.parent / "c"
    with pytest.raises(DatasetError, match="use the version of ceria that built it"):
        build_ceiling(tiny, split="test", n_columns=2, out=out, workers=Here)
    assert not out.exists()


def test_a_patch_at_the_border_is_filled_with_nothing(ceiling):
    one = ceiling[0]
    one.parameters.update(first_y=-2, first_x=-1)
    patch = one.patch_of(np.ones((4, 7)))
    assert patch[2:6, 1:8].tolist() == np.ones((4, 7)).tolist()
    assert patch.sum() == 28


def test_changes_are_in_order():
    assert CHANGES == (-3, -2, -1, 0, 1, 2, 3)
