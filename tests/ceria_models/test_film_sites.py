"""Sites of a film: those of its mean, and those that frames alone show."""

import numpy as np
import pandas as pd
import pytest

from ceria_models.film_sites import (
    Strays,
    matched,
    places_in_frame,
    sites_of_reference,
    sites_of_strays,
)

SHAPE, SAMPLING = (110, 130), 0.2
FRAMES = 90


def reference(places=((5.0, 5.0), (5.0, 8.0)), species="Ce"):
    y, x = np.array(places).T
    return sites_of_reference(pd.DataFrame({"species": species, "x_A": x, "y_A": y}))


def chance(number, seed, species="Ce"):
    """Detections evenly over the field, each in a frame of its own choice."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, np.array(SHAPE) * SAMPLING, (number, 2))
    return Strays(rng.integers(0, FRAMES, number), np.full(number, species), place)


def together(*parts):
    return Strays(*(np.concatenate([getattr(p, n) for p in parts]) for n in vars(parts[0])))


def adatom(frames, place, seed=0, species="Ce", sd=0.15):
    rng = np.random.default_rng(seed)
    return Strays(
        np.array(frames), np.full(len(frames), species), rng.normal(place, sd, (len(frames), 2))
    )


def test_a_column_in_a_third_of_the_frames_becomes_a_site():
    strays = together(chance(150, 0), adatom(range(30), (14.0, 11.0)))
    found = sites_of_strays(strays, reference(), FRAMES, SHAPE, SAMPLING)
    assert found["source"].tolist() == ["frames"]
    assert found["site"].tolist() == [2]
    assert found["species"].tolist() == ["Ce"]
    assert np.hypot(found["y_A"] - 14, found["x_A"] - 11).max() < 0.15


@pytest.mark.parametrize("number", [20, 200, 1500])
def test_chance_makes_no_sites(number):
    made = [
        len(sites_of_strays(chance(number, seed), reference(), FRAMES, SHAPE, SAMPLING))
        for seed in range(25)
    ]
    assert sum(made) <= 2


def test_detections_of_one_frame_are_one():
    strays = adatom([4] * 30, (14.0, 11.0))
    assert sites_of_strays(strays, reference(), FRAMES, SHAPE, SAMPLING).empty


def test_species_are_told_apart():
    strays = together(
        adatom(range(30), (14.0, 11.0)), adatom(range(40, 70), (14.2, 11.2), species="O")
    )
    found = sites_of_strays(strays, reference(), FRAMES, SHAPE, SAMPLING)
    assert sorted(found["species"]) == ["Ce", "O"]


def test_two_columns_of_a_lattice_stay_two():
    strays = together(adatom(range(30), (14.0, 11.0)), adatom(range(50, 80), (14.0, 12.6), 1))
    assert len(sites_of_strays(strays, reference(), FRAMES, SHAPE, SAMPLING)) == 2


def test_no_strays_make_no_sites():
    found = sites_of_strays(Strays.of([]), reference(), FRAMES, SHAPE, SAMPLING)
    assert found.empty
    assert list(found) == ["site", "species", "x_A", "y_A", "source"]


def test_columns_belong_to_the_nearest_site_of_their_species_after_drift():
    sites = reference()
    columns = pd.DataFrame(
        {
            "frame": [0, 1, 1, 1],
            "species": ["Ce", "Ce", "Ce", "O"],
            "y_A": [5.1, 7.0, 8.0, 7.0],
            "x_A": [5.0, 9.9, 9.0, 7.0],
        }
    )
    drift = np.array([[0.0, 0.0], [2.0, 2.0]])
    assert matched(columns, drift, sites).tolist() == [0, 1, -1, -1]


def test_sites_that_drift_out_of_the_frame_have_no_place_in_it():
    sites = reference([(1.0, 1.0), (21.5, 25.0)])
    places, numbers = places_in_frame(sites, (0.0, 0.0), SHAPE, SAMPLING)
    assert numbers["Ce"].tolist() == [0, 1]
    places, numbers = places_in_frame(sites, (0.5, 0.0), SHAPE, SAMPLING)
    assert numbers["Ce"].tolist() == [0]
    assert places["Ce"].tolist() == [[1.5, 1.0]]
    assert places_in_frame(sites, (0.0, -1.2), SHAPE, SAMPLING)[1]["Ce"].tolist() == [1]
