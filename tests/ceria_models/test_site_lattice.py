"""The lattice under the sites: found where it is, and not where it is not."""

import numpy as np
import pandas as pd
import pytest

from ceria_models.site_lattice import depth_phase, fit_site_lattice, lattice_site_ids
from ceria_models.synthetic_film import synthetic_sites
from ceria_models.tracked_sites import TrackedSites, classify, merge_sites, neighbours_of

A = 5.411


def moved(sites, matrix=((1, 0), (0, 1)), shift=(0, 0)):
    places = sites[["x_A", "y_A"]].to_numpy() @ np.array(matrix).T + np.array(shift)
    return sites.assign(x_A=places[:, 0], y_A=places[:, 1])


def projected(zone, n=5):
    """Columns of a small crystal seen along a zone axis."""
    from ceria_data.crystal import lattice_around, view_axes

    axes = view_axes(zone)
    lattice = lattice_around(axes, np.zeros(3), 3.0 * n, 8.0)
    points = np.column_stack([lattice.species, lattice.projected[:, :2]])
    unique = np.unique(points, axis=0)
    places = unique[:, 1:] / axes.lengths[:2] * A / 4
    species = np.where(unique[:, 0] == 0, "Ce", "O")
    return pd.DataFrame({
        "site": np.arange(len(unique)), "species": species,
        "x_A": places[:, 0], "y_A": places[:, 1],
    })  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_every_site_of_a_turned_particle_gets_its_lattice_point(seed):
    sites = synthetic_sites(columns=70, seed=seed)
    lattice = fit_site_lattice(sites, A)
    assert lattice.axes.z == (1, 1, 0)
    assert lattice.on.all()
    assert lattice.rms < 0.2
    assert np.abs(lattice.strain).max() < 0.01
    ids = lattice_site_ids(lattice, sites)
    assert len(set(ids.tolist())) == len(sites)
    back = lattice.place(lattice.index)
    assert np.hypot(*(back - sites[["x_A", "y_A"]].to_numpy()).T).max() < 0.45


@pytest.mark.parametrize("zone", [(1, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_the_zone_axis_is_told(zone):
    lattice = fit_site_lattice(projected(zone), A)
    assert lattice.axes.z == zone
    assert lattice.on.all()


def test_strain_and_strays_do_not_disturb():
    sites = synthetic_sites(columns=80, seed=1)
    strained = moved(sites, ((1.03, 0.01), (0.0, 0.98)), (3, -2))
    rng = np.random.default_rng(0)
    strays = pd.DataFrame({
        "site": np.arange(80, 92), "species": "O",
        "x_A": rng.uniform(20, 60, 12), "y_A": rng.uniform(20, 60, 12),
    })  # fmt: skip
    lattice = fit_site_lattice(pd.concat([strained, strays], ignore_index=True), A)
    assert lattice.on[:80].mean() > 0.98
    assert lattice.strain[0] == pytest.approx(0.03, abs=0.01)
    assert lattice.strain[1] == pytest.approx(-0.02, abs=0.01)


def test_random_places_are_no_lattice():
    rng = np.random.default_rng(0)
    for _ in range(5):
        places = rng.uniform(0, 30, (80, 2))
        sites = pd.DataFrame({
            "site": np.arange(80), "species": rng.choice(["Ce", "O"], 80),
            "x_A": places[:, 0], "y_A": places[:, 1],
        })  # fmt: skip
        assert fit_site_lattice(sites, A) is None


def test_neighbouring_rows_are_shifted_along_the_beam():
    """On [110] the atoms of one row stand half a step beside those of the next."""
    sites = synthetic_sites(columns=120, seed=2)
    lattice = fit_site_lattice(sites, A)
    phase = depth_phase(lattice, sites)
    for species in ("Ce", "O"):
        own = np.flatnonzero(sites["species"] == species)
        places = lattice.place(lattice.index)[own]
        near = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
        # Ce rows are 3.31 Å apart, O rows 1.91 Å; the true depths say the same.
        step = (3.0, 3.6) if species == "Ce" else (1.7, 2.1)
        i, j = np.nonzero((near > step[0]) & (near < step[1]))
        assert len(i) > 20
        assert (phase[own][i] != phase[own][j]).all()


def test_surface_classes_are_those_of_the_labels_also_with_a_hole():
    sites = synthetic_sites(columns=500, seed=0)
    found = merge_sites(sites, A)
    present = np.ones(len(sites), bool)
    classes = classify(found, present, None)
    assert (classes["surface"] == sites["surface"]).all()
    assert (classes.loc[classes["surface"].isin(["subsurface", "bulk"]), "facet"] == "").all()
    assert set(classes.loc[classes["surface"] == "surface", "facet"]) <= {"111", "110", "100"}
    # A column inside that was not found makes no surface.
    middle = sites[sites["surface"] == "bulk"].index[0]
    there = np.arange(len(sites)) != middle
    kept = merge_sites(sites[there].reset_index(drop=True), A)
    again = classify(kept, present[there], None)
    assert (again["surface"].to_numpy() == sites["surface"].to_numpy()[there]).all()


def test_flat_faces_get_their_plane():
    """The faces of an octahedron are {111}, its truncations {100}."""
    sites = synthetic_sites(columns=500, seed=0, kind="octahedron")
    classes = classify(merge_sites(sites, A), np.ones(len(sites), bool), None)
    own = classes[classes["surface"] == "surface"]["facet"].value_counts()
    assert own["111"] > 25
    assert own.get("110", 0) == 0


def test_the_edge_of_the_image_is_no_surface():
    sites = synthetic_sites(columns=500, seed=0, kind="slab_flat")
    lower = sites["y_A"].min() + 12, sites["x_A"].min() + 12
    shown = moved(sites, shift=(-lower[1], -lower[0]))
    inside = (shown["x_A"].between(0, 30)) & (shown["y_A"].between(0, 30))
    part = shown[inside].reset_index(drop=True)
    found = merge_sites(part, A)
    cut = classify(found, np.ones(len(part), bool), (30.0, 30.0))["surface"]
    bare = classify(found, np.ones(len(part), bool), None)["surface"]
    assert bare.isin(["edge", "surface"]).sum() > cut.isin(["edge", "surface"]).sum()


def test_without_a_lattice_distances_decide():
    sites = synthetic_sites(columns=500, seed=0)
    found = merge_sites(sites, A)
    loose = TrackedSites(found.table, found.rows, found.merged, None)
    classes = classify(loose, np.ones(len(sites), bool), None)
    outer = sites["surface"].isin(["edge", "surface"])
    assert (classes["surface"].isin(["edge", "surface"]) == outer).mean() > 0.85
    assert (classes["facet"] == "").all()


def test_neighbours_are_of_the_species_and_within_reach():
    sites = synthetic_sites(columns=100, seed=0)
    near = neighbours_of(sites, {"Ce": 4.0, "O": 2.2})
    places, species = sites[["x_A", "y_A"]].to_numpy(), sites["species"].to_numpy()
    for i, others in enumerate(near):
        assert i not in others
        assert (species[others] == species[i]).all()
        away = np.hypot(*(places[others] - places[i]).T)
        assert (away <= (4.0 if species[i] == "Ce" else 2.2)).all()
        assert all(i in near[j] for j in others)
