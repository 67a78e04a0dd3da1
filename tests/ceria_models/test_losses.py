"""Losses against numbers computed by hand."""

import numpy as np
import pytest
import torch
from scipy import stats

from ceria_models import losses
from ceria_models.crops import Batch
from ceria_models.nets import NetOutput


def case(logits, occupancy, probability):
    """One pixel of one species."""
    shape = (1, 1, 1, 1)
    batch = Batch(
        torch.zeros(1, 2, 1, 1),
        torch.full(shape, occupancy, dtype=torch.uint8),
        torch.full(shape, probability),
        torch.full(shape, 3.0),
        torch.zeros(1, 1, 2, 1, 1),
        torch.zeros(1, 4),
    )
    zero = torch.zeros(shape)
    values = torch.tensor(logits)[None, None, :, None, None]
    return NetOutput(values, zero, zero, torch.ones(1, 1, 2, 1, 1)), batch


def test_cross_entropy_of_a_soft_label():
    output, batch = case([0.0, 1.0, 2.0], occupancy=2, probability=0.7)
    log = np.log(np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum())
    expected = -(0.7 * log[2] + 0.3 * log[0])
    found = losses.cross_entropy(output, batch, torch.full((1, 1, 1, 1), 5.0))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_net_that_says_the_soft_label_has_the_least_cross_entropy():
    best = [float(np.log(0.3)), -30.0, float(np.log(0.7))]
    values = []
    for bend in (-0.2, 0.0, 0.2):
        output, batch = case([best[0] + bend, best[1], best[2]], 2, 0.7)
        values.append(float(losses.cross_entropy(output, batch, torch.ones(1, 1, 1, 1))))
    assert values[1] < min(values[0], values[2])


def test_weights_of_pixels_are_those_of_the_formula():
    _, batch = case([0.0] * 4, occupancy=3, probability=0.5)
    rare = torch.tensor([[1.0, 1.0, 1.0, 2.0]])
    weight = losses.pixel_weights(batch, losses.SpatialWeights(4.0, 1.5, 0.5), rare)
    assert float(weight) == pytest.approx(1 + 0.5 * (4 * 2 - 1) + 4 * 0.25 * 1.5)


def test_the_ranked_score_prefers_a_near_miss():
    near, batch = case([0.0, 0.0, 9.0, 0.0, 0.0], occupancy=3, probability=1.0)
    far, _ = case([0.0, 9.0, 0.0, 0.0, 0.0], occupancy=3, probability=1.0)
    assert losses.ranked_probability(near, batch) < losses.ranked_probability(far, batch)
    exact, _ = case([0.0, -40.0, -40.0, 40.0, -40.0], occupancy=3, probability=1.0)
    assert float(losses.ranked_probability(exact, batch)) == pytest.approx(0, abs=1e-6)


def test_dice_of_a_perfect_answer_is_nought():
    output, batch = case([-60.0, -60.0, 60.0], occupancy=2, probability=1.0)
    assert float(losses.dice(output, batch)) == pytest.approx(0, abs=1e-6)


def test_the_likelihood_of_a_depth_is_that_of_students_t():
    output, batch = case([0.0, 0.0], occupancy=1, probability=1.0)
    spread = NetOutput(output.logits, output.depth + 1.0, output.depth + np.log(2), output.offset)
    # The standard deviation is 2 Å; that of the t distribution with scale 1 is sqrt(2) for four
    # degrees of freedom. Constants do not count, so one likelihood is compared with another.
    scale = 2 / np.sqrt(2)
    far, near = (-stats.t.logpdf(d, df=4, scale=scale) for d in (1 - 3, 0.0))
    right = NetOutput(output.logits, batch.depth, output.depth + np.log(2), output.offset)
    found = losses.depth_likelihood(spread, batch) - losses.depth_likelihood(right, batch)
    assert float(found) == pytest.approx(far - near, rel=1e-5)
    wider = NetOutput(output.logits, batch.depth, output.depth + np.log(4), output.offset)
    step = losses.depth_likelihood(wider, batch) - losses.depth_likelihood(right, batch)
    assert float(step) == pytest.approx(np.log(2), rel=1e-5)


def test_a_depth_that_is_wrong_and_sure_has_a_bounded_slope():
    output, batch = case([0.0, 0.0], occupancy=1, probability=1.0)
    spread = (output.depth - 9.0).requires_grad_()
    depth = (output.depth + 1e4).requires_grad_()
    losses.depth_likelihood(
        NetOutput(output.logits, depth, spread, output.offset), batch
    ).backward()
    assert float(depth.grad.abs().sum()) < 1
    assert float(spread.grad.abs().sum()) <= 4


def test_offsets_count_in_angstrom():
    output, batch = case([0.0, 0.0], occupancy=1, probability=1.0)
    assert float(losses.offset_distance(output, batch)) == pytest.approx(1.0)
