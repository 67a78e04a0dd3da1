"""Atoms from counts and depths: on lattice planes, and as other programs read them."""

import numpy as np
import pandas as pd
import pytest

from ceria_models.atom_files import write_cif, write_extxyz
from ceria_models.atoms3d import atoms_of, column_depths
from ceria_models.film_structures import Interval, _mean_depth, stable_intervals
from ceria_models.synthetic_film import synthetic_film, synthetic_sites
from ceria_models.tracked_sites import merge_sites
from ceria_models.tracking_run import run_tracking


def certain(counts, classes=15):
    return np.eye(classes)[np.asarray(counts)]


@pytest.fixture(scope="module")
def particle():
    sites = synthetic_sites(columns=150, seed=1)
    return sites, merge_sites(sites, 5.411).lattice


def test_depths_with_errors_snap_to_one_lattice(particle):
    """Errors of 0.6 Å are less than half of the 3.8 Å between allowed places of a column."""
    sites, lattice = particle
    rng = np.random.default_rng(0)
    z = sites["z_mean_A"].to_numpy() + rng.normal(scale=0.6, size=len(sites))
    depths = column_depths(sites, lattice, certain(sites["sites"]), z, np.full(len(z), 0.6))
    middle = (depths.first + depths.last) / 2
    error = middle - sites["z_mean_A"].to_numpy()
    # The common shift is known to 0.1 Å; a column is right, or a whole step off.
    common = np.median(error)
    assert abs(common) < 0.15
    off = np.abs(error - common)
    assert (off < 0.05).mean() > 0.99
    step = (depths.last - depths.first) / np.maximum(sites["sites"] - 1, 1)
    assert step[sites["sites"] > 1].to_numpy() == pytest.approx(5.411 / np.sqrt(2), abs=1e-9)


def test_atoms_stand_where_the_particle_has_them(particle):
    sites, lattice = particle
    p = certain(sites["sites"])
    depths = column_depths(sites, lattice, p, sites["z_mean_A"].to_numpy(), np.zeros(len(sites)))
    atoms = atoms_of(sites, p, depths)
    assert len(atoms) == sites["sites"].sum()
    # No two atoms nearer than Ce-O bonds allow, which a wrong parity would break.
    from scipy.spatial import cKDTree

    ideal = lattice.place(lattice.index)
    row = atoms["site"].to_numpy()
    places = np.column_stack([ideal[row], atoms["z_A"]])
    distance, _ = cKDTree(places).query(places, k=2)
    assert distance[:, 1].min() == pytest.approx(np.sqrt(3) / 4 * 5.411, abs=0.03)


def test_wrong_depths_of_a_row_would_break_bonds(particle):
    """The test above can fail: shifted by half a step, atoms come too near."""
    sites, lattice = particle
    p = certain(sites["sites"])
    loose = column_depths(sites, None, p, np.zeros(len(sites)), np.zeros(len(sites)))
    assert not np.allclose(loose.first, column_depths(
        sites, lattice, p, np.zeros(len(sites)), np.zeros(len(sites))
    ).first)  # fmt: skip


def test_uncertainty_holds_depth_and_count():
    sites = pd.DataFrame({"site": [0, 1], "species": "Ce", "x_A": [0.0, 9.0], "y_A": 0.0})
    p = np.array([[0, 0, 0, 1.0, 0], [0, 0, 0.25, 0.5, 0.25]])
    depths = column_depths(sites, None, p, np.zeros(2), np.array([0.5, 0.5]))
    assert depths.sd[0] == pytest.approx(0.5)
    assert depths.sd[1] == pytest.approx(np.sqrt(0.25 + 0.5 * (3.826 / 2) ** 2))
    # Without a lattice there is no place to choose.
    assert (depths.place_sd == depths.sd).all()


def test_ends_are_as_read_and_atoms_on_the_lattice(particle):
    """Middles spread by 1.2 Å of which nothing is read: stated errors are the true ones."""
    sites, lattice = particle
    rng = np.random.default_rng(1)
    n, z = len(sites), np.full(len(sites), 0.7)
    depths = column_depths(sites, lattice, certain(sites["sites"]), z, np.full(n, 1.2))
    assert (depths.top + depths.bottom) / 2 == pytest.approx(z)
    assert depths.sd == pytest.approx(1.2)
    places = (depths.first + depths.last) / 2
    assert np.abs(places - z).max() > 1
    # Of a true middle that is anywhere, the nearest place is wrong by more than what was read.
    errors = [places - z - rng.normal(scale=1.2, size=n) for _ in range(200)]
    assert np.std(errors) == pytest.approx(depths.place_sd[0], rel=0.1)


def test_many_frames_are_no_surer_of_a_depth_than_one():
    z = np.array([[0.1, 0.3, 0.2], [np.nan] * 3])
    spread = np.array([[1.2, 1.2, 1.2], [np.nan] * 3])
    mean, sd = _mean_depth(z, spread, Interval(0, 3))
    assert mean == pytest.approx([0.2, 0.0])
    assert sd[0] == pytest.approx(1.2)
    # Nothing was read of the second: it lies anywhere in the particle.
    assert sd[1] == pytest.approx(2 * 3.826)


def test_empty_columns_have_no_ends_and_no_atoms():
    sites = pd.DataFrame({"site": [0], "species": ["O"], "x_A": [0.0], "y_A": [0.0]})
    p = certain([0])
    depths = column_depths(sites, None, p, np.zeros(1), np.zeros(1))
    assert np.isnan(depths.first).all()
    assert len(atoms_of(sites, p, depths)) == 0


def test_intervals_lie_between_events():
    assert stable_intervals([], 7) == [Interval(0, 7)]
    assert stable_intervals([0, 7, 3, 3], 7) == [Interval(0, 3), Interval(3, 7)]
    assert len(stable_intervals(range(100), 100, most=10)) == 10


def test_ase_reads_what_track_writes(tmp_path):
    ase_io = pytest.importorskip("ase.io")
    film = synthetic_film(n_frames=40, columns=60, rates_per_s=(0.05, 0.05, 0.1), seed=3)
    folder = film.write(tmp_path / "film")
    run_tracking(folder)
    interfaces = pd.read_parquet(folder / "interfaces.parquet")
    files = sorted((folder / "structures").glob("*.extxyz"))
    assert len(files) == interfaces["interval"].nunique()
    for number, file in enumerate(files):
        own = interfaces[interfaces["interval"] == number]
        atoms = ase_io.read(file)
        assert len(atoms) == own["occupancy"].sum()
        per_site = np.bincount(atoms.arrays["site"], minlength=60)
        assert (per_site == own.sort_values("site")["occupancy"].to_numpy()).all()
        assert not atoms.pbc.any()
        assert "lattice planes of CeO2 along [110]" in atoms.info["comment"]
        z = atoms.positions[:, 2] + np.array(atoms.info["origin"])[2]
        top, bottom = (own.set_index("site")[f"{end}_A"] for end in ("top", "bottom"))
        site = int(atoms.arrays["site"][0])
        mine = z[atoms.arrays["site"] == site]
        # On the nearest place of the lattice, which is at most half a step away.
        assert np.ptp(mine) == pytest.approx(bottom[site] - top[site], abs=1e-3)
        assert abs(mine.min() - top[site]) < 3.826 / 2 + 0.1
        crystal = ase_io.read(file.with_suffix(".cif"))
        assert crystal.get_chemical_formula() == atoms.get_chemical_formula()
        np.testing.assert_allclose(
            crystal.get_all_distances()[0, :9], atoms.get_all_distances()[0, :9], atol=1e-3
        )


def test_no_atoms_make_a_file_too(tmp_path):
    nothing = atoms_of(
        pd.DataFrame({"site": [], "species": [], "x_A": [], "y_A": []}), np.zeros((0, 3)),
        column_depths(
            pd.DataFrame({"site": [], "species": [], "x_A": [], "y_A": []}), None,
            np.zeros((0, 3)), np.zeros(0), np.zeros(0),
        ),
    )  # fmt: skip
    write_extxyz(nothing, tmp_path / "none.extxyz", 'a "quoted"\ncomment')
    write_cif(nothing, tmp_path / "none.cif", "none", "nothing")
    head = (tmp_path / "none.extxyz").read_text().splitlines()
    assert head[0] == "0"
    assert 'comment="a  quoted  comment"' in head[1] or 'comment="a quoted comment"' in head[1]
