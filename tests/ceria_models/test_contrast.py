"""What a net sees does not depend on the scale, and the noise tells the dose."""

import numpy as np
import pytest

from ceria_data.dataset import open_dataset
from ceria_data.detector import record
from ceria_data.parameters import Camera
from ceria_models.contrast import apparent_dose, net_input
from ceria_models.errors import ImageError


@pytest.mark.parametrize("dose", [30.0, 300.0, 3000.0])
def test_the_noise_of_an_image_of_atoms_tells_its_dose(dose):
    ds = open_dataset("ceria-columns-mini", "test")
    ratios = []
    for i in range(0, 120, 5):
        intensity = ds[i].intensity
        counts = record(intensity, dose, 0.2, Camera(), seed=i)
        ratios.append(apparent_dose(counts, 0.2) / (dose * float(intensity.mean(dtype=float))))
    assert np.median(ratios) == pytest.approx(1.0, abs=0.02)


def test_a_linear_scale_changes_nothing():
    counts = np.random.default_rng(3).poisson(4.0, (64, 64))
    scaled = 0.037 * counts.astype(np.float32)
    assert apparent_dose(scaled, 0.2) == pytest.approx(apparent_dose(counts, 0.2), rel=1e-5)
    np.testing.assert_allclose(
        net_input(scaled, float(scaled.mean()), 300.0),
        net_input(counts, float(counts.mean()), 300.0),
        atol=1e-5,
    )


def test_an_image_without_noise_has_an_infinite_dose_and_a_finite_channel():
    flat = np.full((32, 32), 2.0)
    assert apparent_dose(flat, 0.2) == np.inf
    assert np.isfinite(net_input(flat, 2.0, np.inf)).all()


def test_the_dose_of_a_large_image_is_that_of_its_noise():
    """In strips, whose borders meet without a seam."""
    counts = np.random.default_rng(5).poisson(12.0, (1500, 700))
    differences = np.diff(np.diff(counts, 4, axis=0), 4, axis=1)
    expected = counts.mean() ** 2 / (np.square(differences).mean() / 70**2) / 0.2**2
    assert apparent_dose(counts, 0.2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("image", "match"),
    [(np.zeros((9, 9)), "mean of the image"), (np.ones((3, 9)), "too small")],
)
def test_what_has_no_dose_is_refused(image, match):
    with pytest.raises(ImageError, match=match):
        apparent_dose(image, 0.2)
