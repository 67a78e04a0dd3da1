"""Sites of a film: those of its mean, those of a part, and where they are in a frame."""

import numpy as np
import pandas as pd

from ceria_models.film_sites import (
    matched,
    places_in_frame,
    sites_of_reference,
    with_sites_of_part,
)

SHAPE, SAMPLING = (110, 130), 0.2


def columns_at(places, species="Ce"):
    y, x = np.array(places, dtype=float).reshape(-1, 2).T
    return pd.DataFrame({"species": species, "x_A": x, "y_A": y})


def reference(places=((5.0, 5.0), (5.0, 8.0)), species="Ce"):
    return sites_of_reference(columns_at(places, species))


def test_columns_of_a_part_are_sites_unless_they_are_known():
    part = columns_at([(5.1, 5.2), (5.8, 8.3), (14.0, 11.0), (5.0, 6.2)])
    sites = with_sites_of_part(reference(), part)
    assert sites["site"].tolist() == [0, 1, 2, 3]
    assert sites["source"].tolist() == ["sum", "sum", "part", "part"]
    assert sites[["y_A", "x_A"]].to_numpy()[2:].tolist() == [[14.0, 11.0], [5.0, 6.2]]
    assert len(with_sites_of_part(sites, part)) == 4


def test_a_site_of_another_species_does_not_count_as_known():
    sites = with_sites_of_part(reference(), columns_at([(5.0, 5.0)], "O"))
    assert sites["species"].tolist() == ["Ce", "Ce", "O"]


def test_a_film_whose_mean_shows_nothing_has_the_sites_of_its_parts():
    sites = with_sites_of_part(reference(()), columns_at([(3.0, 4.0)]))
    assert sites["site"].tolist() == [0]
    assert list(sites) == ["site", "species", "x_A", "y_A", "source"]


def test_a_part_that_shows_nothing_adds_nothing():
    assert with_sites_of_part(reference(), columns_at(())).equals(reference())
    assert with_sites_of_part(reference(()), columns_at(())).empty


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
