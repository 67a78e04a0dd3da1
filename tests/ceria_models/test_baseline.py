"""The classical baseline finds Gaussians where they are, and learns counts from intensity."""

import numpy as np
import pytest

from ceria_data.dataset import open_dataset
from ceria_data.detector import record
from ceria_data.parameters import Camera
from ceria_models.baseline import fit_baseline, fit_blobs
from ceria_models.matching import match_columns
from ceria_models.recording import record_at


def atoms(places, height, sigma=0.42, size=80):
    """Render an image of round Gaussians of one height, 1 = vacuum."""
    y, x = 0.2 * np.mgrid[:size, :size]
    image = np.ones((size, size))
    for px, py in places:
        image += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    return image


PLACES = [(4.03, 4.1), (8.11, 4.02), (4.0, 9.97), (11.3, 11.2)]


@pytest.mark.parametrize("height", [0.8, -0.6])
def test_bright_and_dark_gaussians_are_found_exactly(height):
    blobs = fit_blobs(1000 * atoms(PLACES, height), 0.2, 0.05, 0.0)
    assert len(blobs) == 4
    for x, y in PLACES:
        near = blobs[np.hypot(blobs["x_A"] - x, blobs["y_A"] - y) < 0.01]
        assert len(near) == 1
        mean = atoms(PLACES, height).mean()
        assert near["height"].iloc[0] * mean == pytest.approx(height, rel=0.02)
        assert near["integral"].iloc[0] * mean == pytest.approx(
            2 * np.pi * 0.42**2 * height, rel=0.05
        )


def test_the_noise_threshold_keeps_specks_away():
    """At five standard deviations hardly one of 6400 pixels is a false blob."""
    empty = record(np.ones((80, 80)), 100.0, 0.2, Camera(), seed=1)
    assert len(fit_blobs(empty.astype(float), 0.2, 0.0, 5.0)) <= 2
    assert len(fit_blobs(empty.astype(float), 0.2, 0.0, 2.0)) > 10


def test_a_linear_scale_changes_nothing():
    counts = record(atoms(PLACES, 1.0), 1000.0, 0.2, Camera(), seed=1).astype(float)
    one, other = (fit_blobs(image, 0.2, 0.05, 3.0) for image in (counts, 0.3 * counts))
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.fixture(scope="module")
def baseline():
    dataset = open_dataset("ceria-columns-mini", "train")
    return fit_baseline(dataset, images=10, doses=(300.0, 3000.0))


def test_it_returns_a_table_with_honest_probabilities(baseline):
    test = open_dataset("ceria-columns-mini", "test")
    hits = real = 0
    for row in range(0, 120, 15):
        found = baseline(record_at(test[row], 3000.0), 0.2)
        p = found[[f"p_{n}" for n in range(15)]].to_numpy()
        np.testing.assert_allclose(p.sum(axis=1), 1.0)
        np.testing.assert_array_equal(p.argmax(axis=1), found["occupancy"])
        np.testing.assert_allclose(p.max(axis=1), found["confidence"])
        assert (p[:, 0] == 0).all()
        matches = match_columns(test[row].columns, found, test.field, 14)
        clear = matches[~matches["border"]]
        hits += int(((clear["true_count"] > 0) & (clear["count"] > 0)).sum())
        real += int((clear["true_count"] > 0).sum())
    assert hits / real > 0.4


def test_an_image_without_blobs_gives_an_empty_table(baseline):
    table = baseline(np.full((64, 64), 9.0) + np.eye(64) * 1e-6, 0.2)
    assert len(table) == 0
    assert {"species", "x_A", "y_A", "occupancy", "confidence", "p_14"} <= set(table)
