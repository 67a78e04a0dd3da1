"""Columns from pixels, against the same rules written down plainly."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.special import logsumexp, softmax

from ceria_models.decoding import (
    Peaks,
    _log_of_sum,
    _near,
    atom_probability,
    find_and_read,
    find_peaks,
)
from ceria_models.frame_reading import _united
from ceria_models.model import DecodingFacts, PixelOutput

FACTS = DecodingFacts(mask_radius_A=0.6)


def output_of(seed, shape=(70, 90)):
    """Clumps of atoms, many of them so close that they are one column."""
    rng = np.random.default_rng(seed)
    atom = gaussian_filter(rng.normal(size=(2, *shape)), (0, 1.6, 1.6))
    logits = rng.normal(size=(2, 15, *shape))
    logits[:, 0] -= 40 * atom - 6
    for axis in (-2, -1):  # nothing at the borders: plain rules know no position outside
        np.moveaxis(logits[:, 0], axis, 0)[[*range(5), *range(-5, 0)]] += 30
    offset = 0.4 * rng.normal(size=(2, 2, *shape))
    depth = rng.normal(size=(2, *shape))
    return PixelOutput(*(v.astype(np.float32) for v in (logits, depth, depth**2, offset)))


def plainly(output, index, sampling):
    """Positions (column, (y, x)) and probabilities of one species, one column at a time."""
    p = softmax(output.logits[index].astype(np.float64), axis=0)
    atom = p[1:].sum(0)
    y, x = np.mgrid[: atom.shape[0], : atom.shape[1]] * sampling
    smooth = gaussian_filter(atom, FACTS.smoothing_A / sampling, mode="nearest")
    reach = FACTS.separation_A / (2 * sampling)
    span = np.arange(-int(reach), int(reach) + 1)
    disk = np.hypot(span[:, None], span) <= reach
    full = 1 - np.exp(-0.5 * (FACTS.mask_radius_A / FACTS.smoothing_A) ** 2)
    maxima = (smooth == maximum_filter(smooth, footprint=disk, mode="nearest")) & (
        smooth > FACTS.threshold * full
    )

    def weights(at):
        weight = np.maximum(atom, 1e-12) * (np.hypot(y - at[0], x - at[1]) <= FACTS.pool_A)
        return weight / weight.sum(), weight.sum()

    offset = np.clip(output.offset[index], -FACTS.mask_radius_A, FACTS.mask_radius_A)
    found = []
    for at in np.argwhere(maxima) * sampling:
        for _ in range(3):
            weight, strength = weights(at)
            at = np.array([(weight * (y + offset[0])).sum(), (weight * (x + offset[1])).sum()])
        found.append((strength, at))
    kept = []
    for _, at in sorted(found, key=lambda one: -one[0]):
        if all(np.hypot(*(at - other)) >= FACTS.separation_A / 2 for other in kept):
            kept.append(at)
    kept = sorted(kept, key=tuple)
    log = np.log(p)
    pooled = np.array([(weights(at)[0] * log).sum((1, 2)) for at in kept])
    return np.array(kept), softmax(pooled, axis=1), len(found)


@pytest.mark.parametrize(("seed", "sampling"), [(0, 0.2), (1, 0.2), (2, 0.15)])
def test_peaks_are_those_of_the_rules_written_plainly(seed, sampling):
    output = output_of(seed)
    merged = 0
    for index, own in enumerate(find_peaks(output, sampling, FACTS).values()):
        at, p, maxima = plainly(output, index, sampling)
        order = np.lexsort((own.x, own.y))
        assert len(own) == len(at) > 20
        np.testing.assert_allclose(np.stack([own.y, own.x], 1)[order], at, atol=1e-6)
        np.testing.assert_allclose(np.exp(own.logits[order]), p, atol=1e-6)
        merged += maxima - len(at)
    assert merged > 0  # else nothing was too close


def test_sites_where_peaks_are_say_the_same_as_the_peaks():
    output = output_of(3)
    found = find_peaks(output, 0.2, FACTS)
    places = {species: np.stack([own.y, own.x], axis=1) for species, own in found.items()}
    for species, own in find_and_read(output, places, 0.2, FACTS)[1].items():
        for name, values in vars(own).items():
            np.testing.assert_array_equal(values, getattr(found[species], name), err_msg=name)


def test_peaks_do_not_depend_on_where_the_tile_begins():
    """Sums of all pixels run in one order, whatever the shape of the array."""
    output = output_of(4)
    part = PixelOutput(*(values[..., 13:, 7:] for values in vars(output).values()))
    for species, own in find_peaks(output, 0.2, FACTS).items():
        inner = own.keep((own.y > 13 * 0.2 + 2) & (own.x > 7 * 0.2 + 2))
        moved = find_peaks(part, 0.2, FACTS)[species]
        moved = moved.keep((moved.y > 2) & (moved.x > 2))
        assert len(moved) == len(inner) > 20
        np.testing.assert_allclose(moved.logits, inner.logits, atol=1e-9)
        np.testing.assert_allclose(moved.x + 7 * 0.2, inner.x, atol=1e-9)


def test_an_atom_is_sure_or_impossible_without_a_warning():
    logits = np.array([[0.0, 0.0, -1e3, 1e3], [-200.0, 200.0, 0.0, 0.0]], dtype=np.float32)
    np.testing.assert_array_equal(atom_probability(logits), [0, 1, 1, 0])


def test_small_probabilities_keep_their_digits():
    logits = np.array([[0.0], [-20.0], [-21.0]], dtype=np.float32)
    expected = np.exp(-20.0) + np.exp(-21.0)
    assert atom_probability(logits)[0] == pytest.approx(expected, rel=1e-6)


def test_nothing_found_is_nothing():
    nothing = PixelOutput(
        np.stack([np.eye(15)[0] * 20] * 2)[:, :, None, None] * np.ones((12, 12), np.float32),
        *(np.zeros(shape, np.float32) for shape in ((2, 12, 12), (2, 12, 12), (2, 2, 12, 12))),
    )
    for own in find_peaks(nothing, 0.2, FACTS).values():
        assert len(own) == 0
        assert own.logits.shape == (0, 15)


def test_a_column_that_two_tiles_found_counts_once():
    y = np.array([1.0, 4.0, 1.01, 4.0, 1.01])
    x = np.array([2.0, 2.0, 2.01, 2.5, 2.05])
    parts = [
        Peaks(x[own], y[own], np.zeros((own.stop - own.start, 3)), y[own], y[own])
        for own in (slice(0, 2), slice(2, 5))
    ]
    assert _united(parts).x.tolist() == [2.0, 2.0, 2.5, 2.05]


@pytest.mark.parametrize("sampling", [0.175, 0.2, 0.35, 0.5])
def test_pixels_near_a_column_are_those_within_the_radius_in_the_image(sampling):
    """Some just on the radius; of columns outside of the image, the closest pixels."""
    shape, rng = (9, 12), np.random.default_rng(0)
    size = sampling * np.array(shape)
    position = np.concatenate(
        [
            sampling * rng.integers(0, shape, (20, 2)),
            rng.uniform(-1, size + 1, (200, 2)),
            [[-5.0, 0.3], [0.3, 9.0], [-4.0, -4.0]],
        ]
    )
    near = _near(position, shape, sampling, FACTS)
    reach = int(FACTS.pool_A / sampling) + 1
    lost = 0
    for column, at in enumerate(position):
        y, x = np.rint(at / sampling).astype(int)[:, None] + np.arange(-reach, reach + 1)
        away = np.hypot(y[:, None] * sampling - at[0], x * sampling - at[1])
        inside = ((y >= 0) & (y < 9))[:, None] & (x >= 0) & (x < 12)
        chosen = inside & (away <= FACTS.pool_A)
        if not chosen.any():
            chosen, lost = away == away.min(), lost + 1
        rows, columns = np.nonzero(chosen)
        pixel = np.clip(y[rows], 0, 8) * 12 + np.clip(x[columns], 0, 11)
        own = slice(near.first[column], near.first[column] + near.number[column])
        np.testing.assert_array_equal(near.pixel[own], pixel)
        middle = sampling * np.stack([pixel // 12, pixel % 12])
        np.testing.assert_allclose(near.place[:, own], middle, atol=1e-12)
    assert 3 <= lost < 200


def test_columns_and_sites_do_not_feel_each_other():
    output = output_of(5)
    rng = np.random.default_rng(5)
    places = {"Ce": rng.uniform(0, 14, (30, 2)), "O": np.empty((0, 2))}
    found, read = find_and_read(output, places, 0.2, FACTS)
    # A place read by itself, and columns found without any place.
    some = {"Ce": places["Ce"][7:8], "O": np.empty((0, 2))}
    one = find_and_read(output, some, 0.2, FACTS)[1]["Ce"]
    alone = find_peaks(output, 0.2, FACTS), {"Ce": one}
    shown = found, {"Ce": read["Ce"].keep(slice(7, 8))}
    for together, own in zip(shown, alone, strict=True):
        for species, peaks in own.items():
            for name, values in vars(peaks).items():
                np.testing.assert_array_equal(getattr(together[species], name), values)
    assert len(found["O"]) > 20
    assert len(read["Ce"]) == 30


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_logarithms_of_sums_are_those_of_scipy(scale):
    logits = scale * np.random.default_rng(0).normal(size=(15, 400)).T
    logits[::7, 3] = logits[::7, 5] = logits[::7].max(axis=1)  # the largest more than once
    expected = logsumexp(logits, axis=1, keepdims=True)
    np.testing.assert_array_equal(_log_of_sum(logits), expected)
