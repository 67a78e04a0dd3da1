import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from ceria_data.draw import structure_entries
from ceria_data.simulate import simulate_structure
from tests.tiny import tiny_config

# Large enough that a matrix product is shared among threads if it may be.
LARGE = (
    ("shape: [24, 28]", "shape: [100, 140]"),
    ("aspect: 1.5", "kind: slab_flat\n  edge_A: 10\n  support_thickness_A: 20"),
    ("slice_thickness_A: 2.0", "slice_thickness_A: 4.0"),
)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_of_the_matrix_product_change_no_bit(threads):
    config = tiny_config(*LARGE)
    entry = structure_entries(config)[0]
    with threadpool_limits(limits=1):
        expected = simulate_structure(config, entry, planes=20)
    with threadpool_limits(limits=threads):
        found = simulate_structure(config, entry, planes=20)
    assert np.array_equal(found.intensity, expected.intensity)
    assert found.digest == expected.digest
