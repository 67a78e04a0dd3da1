"""Resampling keeps electrons, positions and smooth images."""

import numpy as np
import pytest

from ceria_models.resampling import cosine_series, resample_counts, resample_intensity


@pytest.mark.parametrize("sampling", [0.05, 0.06, 0.0731, 0.1, 0.19])
def test_binning_moves_every_electron_to_where_it_was(sampling):
    rng = np.random.default_rng(1)
    image = np.zeros((120, 90))
    image[40:80, 30:60] = rng.poisson(3.0, (40, 30))
    view = resample_counts(image, sampling, 0.2)
    area = (0.2 / sampling) ** 2
    assert view.image.sum() * area == pytest.approx(image.sum(), rel=1e-5)
    for axis in (0, 1):
        profile, coarse = image.sum(1 - axis), view.image.sum(1 - axis)
        before = (profile * np.arange(len(profile)) * sampling).sum() / profile.sum()
        place = view.origin[axis] + np.arange(len(coarse)) * 0.2
        assert (coarse * place).sum() / coarse.sum() == pytest.approx(before, abs=0.01)


def test_binning_by_a_whole_number_is_the_mean_of_blocks():
    image = np.arange(48.0).reshape(6, 8)
    expected = image.reshape(3, 2, 4, 2).mean((1, 3))
    np.testing.assert_allclose(resample_counts(image, 0.1, 0.2).image, expected)


def test_interpolation_is_exact_for_what_the_pixels_can_hold():
    """A cosine below the Nyquist frequency that the mirrored image continues."""
    n, sampling, target = 40, 0.25, 0.2
    k = 7

    def wave(place):
        return 2 + np.cos(np.pi * k * (place / sampling + 0.5) / n)

    image = np.tile(wave(np.arange(n) * sampling), (n, 1))
    view = resample_counts(image, sampling, target)
    expected = wave(view.origin[1] + target * np.arange(view.image.shape[1]))
    np.testing.assert_allclose(view.image[5], expected, atol=1e-5)


def test_an_intensity_for_other_pixels_is_the_mean_over_them():
    """A Gaussian integrated over its pixels becomes the one integrated over other pixels."""
    from scipy.special import erf

    def integrated(sampling, first, n):
        edges = first + sampling * (np.arange(n + 1) - 0.5)
        line = np.diff(erf((edges - 5.3) / 0.5)) / sampling
        return 1 + np.outer(line, line)

    image = integrated(0.2, 0.0, 60)
    found = resample_intensity(image, 0.2, 0.13, (0.5, 0.3), (70, 80))
    rows, columns = integrated(0.13, 0.5, 80), integrated(0.13, 0.3, 80)
    expected = 1 + np.sqrt(np.outer(rows.diagonal()[:70] - 1, columns.diagonal() - 1))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_the_series_keeps_a_flat_image_flat():
    rows = cosine_series(17, 0.2, 0.11, 0.05, 25, integrated=True).sum(axis=1)
    np.testing.assert_allclose(rows, 1.0, atol=1e-12)


@pytest.mark.parametrize("sampling", [0.07, 0.25])
def test_a_large_image_is_resampled_as_its_parts_are(sampling):
    """In strips and parts of matrices: against both matrices at once."""
    image = np.random.default_rng(4).poisson(3.0, (1300, 600)).astype(np.uint8)
    view = resample_counts(image, sampling, 0.2)

    def whole(n, m):
        if sampling > 0.2:
            return cosine_series(n, sampling, 0.2, view.origin[0], m)
        edges = 0.2 / sampling * np.arange(m + 1)
        pixel = np.arange(n)
        share = np.minimum(pixel + 1, edges[1:, None]) - np.maximum(pixel, edges[:-1, None])
        return np.maximum(share, 0) * sampling / 0.2

    rows, columns = (whole(n, m) for n, m in zip(image.shape, view.image.shape, strict=True))
    np.testing.assert_allclose(view.image, rows @ image @ columns.T, atol=1e-5)


def test_the_series_is_the_sum_of_its_cosines():
    n, m = 9, 14
    matrix = cosine_series(n, 0.2, 0.15, 0.07, m)
    place = ((0.07 + 0.15 * np.arange(m)) / 0.2 + 0.5) / n
    pixels = np.random.default_rng(0).normal(size=n)
    centres = (np.arange(n) + 0.5) / n
    expected = np.full(m, pixels.mean())
    for k in range(1, n):
        expected += 2 / n * (pixels @ np.cos(np.pi * k * centres)) * np.cos(np.pi * k * place)
    np.testing.assert_allclose(matrix @ pixels, expected, atol=1e-12)
