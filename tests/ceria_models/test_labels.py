"""Labels of pixels: probability falls with the distance, the nearest column wins."""

import numpy as np
import pytest

from ceria_data.dataset import open_dataset
from ceria_data.grid import Field
from ceria_data.targets import class_map, soft_targets
from ceria_models.decoded import StructureColumns
from ceria_models.labels import Mask, pixel_labels


def columns_of(table):
    own = table[table["occupancy"] > 0]
    species = (own["species"] == "O").to_numpy(int)
    values = (own[name].to_numpy() for name in ("x_A", "y_A", "z_mean_A", "occupancy"))
    return StructureColumns(species, *values)


@pytest.fixture(scope="module")
def sample():
    return open_dataset("ceria-columns-mini", "test")[3]


def test_a_hard_mask_of_the_stored_radius_is_the_stored_mask(sample):
    labels = pixel_labels(columns_of(sample.columns), sample.dataset.field, 14, Mask(0.6, 0.0))
    painted = labels.occupancy * (labels.probability > 0.5)
    np.testing.assert_array_equal(painted, sample.occupancy)


def test_soft_labels_are_the_soft_targets_of_the_dataset(sample):
    field = sample.dataset.field
    labels = pixel_labels(columns_of(sample.columns), field, 14, Mask(0.5, 0.08))
    expected = soft_targets(sample.columns, field, 14, radius=0.5, softness=0.08)
    np.testing.assert_allclose(1 - expected[:, 0], labels.probability, atol=4e-4)
    assert (class_map(sample.columns, field, 14) <= labels.occupancy.max()).all()


def test_offset_and_depth_are_those_of_the_nearest_column():
    two = StructureColumns(
        np.array([0, 0]), np.array([1.0, 3.0]), np.array([1.1, 1.1]), np.array([-4.0, 6.0]),
        np.array([3, 20]),
    )  # fmt: skip
    labels = pixel_labels(two, Field((10, 20), 0.2), 14, Mask(0.6, 0.1))
    assert labels.occupancy[0, 5, 5] == 3
    assert labels.occupancy[0, 5, 14] == 14
    assert labels.depth[0, 5, 5] == -4
    np.testing.assert_allclose(labels.offset[0, :, 5, 14], [0.1, 0.2], atol=1e-6)
