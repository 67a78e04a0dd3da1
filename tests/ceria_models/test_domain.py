"""What speaks against an image; the lattice of a large one is that of its particles."""

import numpy as np
import pytest

from ceria_data.calibration import estimate_sampling
from ceria_data.lattice import reflections
from ceria_models.domain import departures, image_contrast
from tests.ceria_models.make_model import fresh

SAMPLING = 0.2


def light(shape, middle, diameter):
    """Expected electrons: a round crystal in front of vacuum, 100 e-/Å²."""
    grid = np.mgrid[: shape[0], : shape[1]]
    y, x = (SAMPLING * (axis - m) for axis, m in zip(grid, middle, strict=True))
    k = reflections((1, 1, 0), 5.411)[:4]
    turned = k @ np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    waves = sum(np.cos(2 * np.pi * (kx * x + ky * y)) for kx, ky in turned)
    inside = np.hypot(y, x) < 0.5 * diameter * SAMPLING
    return 100 * SAMPLING**2 * (1 + inside * (0.15 * waves - 0.1))


@pytest.mark.parametrize("middle", [(260, 1240), (512, 512), (1100, 640)])
def test_a_particle_of_a_large_image_is_found(middle):
    counts = np.random.default_rng(1).poisson(light((1400, 1500), middle, 200))
    found = estimate_sampling(counts, given=SAMPLING / 1.1)
    assert found.sampling == pytest.approx(SAMPLING, rel=0.015)
    assert found.rotation_deg == pytest.approx(np.rad2deg(0.4), abs=1.5)
    assert found.doubts(SAMPLING / 1.1)


def test_a_wrong_pixel_size_of_a_large_image_is_seen():
    counts = np.random.default_rng(1).poisson(light((700, 1100), (400, 800), 200))
    found = departures(counts, SAMPLING / 1.1, 100.0, fresh().config.domain)
    assert any("reflections" in one.text and one.far for one in found)


def test_a_long_image_is_as_good():
    counts = np.random.default_rng(2).poisson(light((200, 1500), (100, 900), 180))
    found = estimate_sampling(counts, given=SAMPLING)
    assert found.sampling == pytest.approx(SAMPLING, rel=0.015)
    assert found.clear


@pytest.mark.parametrize("shape", [(300, 400), (1000, 900)])
def test_the_contrast_is_that_of_the_whole_image(shape):
    expected = 25 * light(shape, (200, 200), 150)
    counts = np.random.default_rng(3).poisson(expected)
    # numpy's own variance, of the whole image at once
    assert image_contrast(counts, 0.2, np.inf) == pytest.approx(counts.std() / counts.mean())
    dose = expected.mean() / SAMPLING**2
    assert image_contrast(counts, 0.2, dose) == pytest.approx(
        expected.std() / expected.mean(), rel=0.1
    )


@pytest.mark.parametrize(("dose", "flagged"), [(25.0, False), (1e6, True)])
def test_a_contrast_that_the_noise_may_hide_is_not_held_against_an_image(dose, flagged):
    """Vacuum: one electron per pixel could hide a particle, 40,000 cannot."""
    domain = fresh().config.domain.model_copy(update={"contrast": (0.006, 0.5)})
    counts = np.random.default_rng(4).poisson(dose * SAMPLING**2, (128, 128))
    found = departures(counts, SAMPLING, dose, domain, lattice=False)
    assert any(one.kind == "contrast" for one in found) == flagged
