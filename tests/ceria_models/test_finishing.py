"""Finishing: what a peak is compared with, and what a net is said to have seen."""

import numpy as np
import pytest

from ceria_data.dataset import open_dataset
from ceria_models.decoded import decode_split
from ceria_models.decoding import Peaks
from ceria_models.finishing import column_cases, measure_domain
from tests.ceria_models.test_training import tiny


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return decode_split("ceria-columns-mini", "validation", tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(("away", "known"), [(0.0, True), (0.4, True), (0.6, False)])
def test_a_peak_is_the_column_it_stands_on(split, away, known):
    truth = split.columns(20)
    own = truth.species == 0
    x, y = truth.x[own] + away, truth.y[own]
    n = int(own.sum())
    assert n > 5
    peaks = Peaks(x, y, np.zeros((n, 15)), np.zeros(n), np.ones(n))
    found, counts = column_cases(split, 20, 0, peaks)
    side = split.field.sampling * np.array(split.field.shape)
    inner = (np.minimum(x, side[1] - x) > 0.6) & (np.minimum(y, side[0] - y) > 0.6)
    assert len(found) == inner.sum()
    expected = truth.occupancy[own][inner] if known else np.zeros(inner.sum())
    np.testing.assert_array_equal(counts, expected)


def test_the_domain_is_what_the_images_were(split):
    domain = measure_domain(open_dataset("ceria-columns-mini"), split, tiny())
    assert domain.zone_axis == (1, 1, 0)
    assert domain.dose_e_per_A2 == (300, 3000)
    assert domain.sampling_A == (0.05, 0.25)
    contrasts = [split.intensity(row).astype(float) for row in range(0, len(split), 10)]
    for image in contrasts:
        relative = image.std() / image.mean()
        assert domain.contrast[0] - 1e-3 <= relative <= domain.contrast[1] + 1e-3
    lattice = open_dataset("ceria-columns-mini").structures["lattice_parameter_A"]
    assert lattice.min() - 1e-9 <= domain.lattice_parameter_A[0]
    assert domain.lattice_parameter_A[1] <= lattice.max() + 1e-9
