"""The same physics on a GPU; run with ``pytest -m gpu`` where there is one."""

import numpy as np
import pytest

from ceria_data.grid import Field, cell_around
from ceria_data.optics import form_image
from ceria_data.scattering import ScatteringSettings, exit_waves
from ceria_data.simulate import to_host
from tests.physics.reference import image_parameters, island, rattled, wave_error

FIELD = Field((60, 72), 0.2)


@pytest.mark.gpu
def test_gpu_and_cpu_agree():
    positions, species = island(4.0, 4.0, 8.0)
    positions[:, :2] += FIELD.centre
    atoms = rattled(positions, species, 2), species, np.empty((2, 0, 3))
    cell = cell_around(FIELD, 0.1, 4.0)
    on_cpu, on_gpu = (exit_waves(*atoms, cell, ScatteringSettings(), d) for d in ("cpu", "gpu"))
    assert type(on_gpu.waves).__module__.startswith("cupy")
    assert wave_error(to_host(on_gpu.waves), on_cpu.waves) < 1e-4
    images = [form_image(waves, image_parameters(), FIELD) for waves in (on_cpu, on_gpu)]
    assert type(images[1]).__module__.startswith("cupy")
    difference = np.abs(to_host(images[1]) - images[0]).max()
    assert difference < 3e-3 * np.std(images[0])
