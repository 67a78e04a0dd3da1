"""The same physics on a GPU; run with ``pytest -m gpu`` where there is one."""

import numpy as np
import pytest

from ceria_data.devices import place_of, to_host
from ceria_data.grid import Field, cell_around
from ceria_data.multislice import batched_waves
from ceria_data.optics import form_image
from ceria_data.scattering import exit_waves
from ceria_data.waves import ScatteringSettings
from tests.physics.reference import image_parameters, island, specimen, wave_error

FIELD = Field((60, 72), 0.2)
CELL = cell_around(FIELD, 0.1, 4.0)


def atoms(phonons, half_z=8.0):
    positions, numbers = island(4.0, 4.0, half_z)
    positions[:, :2] += FIELD.centre
    return specimen(positions, numbers, phonons)


@pytest.mark.gpu
@pytest.mark.parametrize("transmission", ["split", "grid"])
def test_gpu_and_cpu_agree(transmission):
    settings = ScatteringSettings(transmission=transmission, kept_mrad=40.0)
    specimens = [atoms(2), atoms(1, half_z=4.0)]
    on_cpu, on_gpu = (exit_waves(specimens, CELL, settings, device) for device in ("cpu", "gpu"))
    for here, there in zip(on_cpu, on_gpu, strict=True):
        assert type(there.spectra).__module__.startswith("cupy")
        assert wave_error(to_host(there.waves), here.waves) < 1e-4
        images = [form_image(waves, image_parameters(), FIELD) for waves in (here, there)]
        assert type(images[1]).__module__.startswith("cupy")
        difference = np.abs(to_host(images[1]) - images[0]).max()
        assert difference < 3e-3 * np.std(images[0])


@pytest.mark.gpu
def test_batches_on_a_gpu_give_the_same_waves():
    place, settings = place_of("gpu"), ScatteringSettings(kept_mrad=40.0)
    specimens = [atoms(3), atoms(2, half_z=4.0)]
    alone, together = (batched_waves(specimens, CELL, settings, place, n) for n in (1, 5))
    for one, other in zip(alone, together, strict=True):
        assert wave_error(to_host(one.waves), to_host(other.waves)) < 1e-5
