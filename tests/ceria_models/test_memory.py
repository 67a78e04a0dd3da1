"""Memory of a large image: what comes out, and one tile."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ceria_models.contrast import apparent_dose
from ceria_models.domain import departures, image_contrast
from ceria_models.resampling import resample_counts
from tests.ceria_models.make_model import fresh

SMALL, LARGE = 1024, 3072
PIXELS = LARGE**2 - SMALL**2
LABEL_AND_CONFIDENCE = 2 * (1 + 4)
"""Bytes of what `predict` gives for a pixel: two species, uint8 and float32."""
AS_SEEN = 4
"""Bytes of a pixel as the net sees it, float32."""


def image(size):
    return np.random.default_rng(0).poisson(12, (size, size)).astype(np.uint16)


def peak(work, size):
    """Largest memory of arrays while something works on an image, the image itself aside."""
    counts = image(size)
    tracemalloc.start()
    try:
        work(counts)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "measure", [apparent_dose, lambda counts, sampling: image_contrast(counts, sampling, 300.0)]
)
def test_dose_and_contrast_take_the_memory_of_a_strip(measure):
    """By themselves: beside the spectra of the windows their memory would not show."""
    grown = peak(lambda counts: measure(counts, 0.2), LARGE)
    grown -= peak(lambda counts: measure(counts, 0.2), SMALL)
    assert grown / PIXELS < 0.5


def test_whether_an_image_is_inside_takes_the_memory_of_a_window():
    domain = fresh().config.domain

    def check(counts):
        return departures(counts, 0.2, apparent_dose(counts, 0.2), domain)

    assert (peak(check, LARGE) - peak(check, SMALL)) / PIXELS < 0.5


@pytest.mark.parametrize("sampling", [0.1, 0.2])
def test_binning_takes_the_memory_of_its_result(sampling):
    made = 4 * (sampling / 0.2) ** 2
    grown = peak(lambda counts: resample_counts(counts, sampling, 0.2), LARGE)
    grown -= peak(lambda counts: resample_counts(counts, sampling, 0.2), SMALL)
    assert grown / PIXELS < made + 0.5


def test_interpolation_takes_the_memory_of_its_result_and_of_one_axis():
    made = 4 * 1.25**2 + 8 * 1.25
    grown = peak(lambda counts: resample_counts(counts, 0.25, 0.2), 2048)
    grown -= peak(lambda counts: resample_counts(counts, 0.25, 0.2), SMALL)
    # The matrices have as many columns as the image.
    assert grown / (2048**2 - SMALL**2) < made + 10


PREDICT = """
import sys
import numpy as np
import torch
from ceria_models.prediction import predict
from tests.ceria_models.make_model import fresh

def kilobytes(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

model = fresh(architecture="plain_unet", width=4, levels=2, max_count=2)
with torch.no_grad():  # hardly any columns: their table is not what is measured
    model.net.classes.bias[:4] = model.net.classes.bias[12:16] = 9
size, sampling = int(sys.argv[1]), float(sys.argv[2])
counts = np.random.default_rng(0).poisson(12, (size, size)).astype(np.uint16)
predict(model, counts[:300, :300], sampling, tile=256)  # what is loaded and kept once
open("/proc/self/clear_refs", "w").write("5")  # the highest is the present
before = kilobytes("VmRSS")
found = predict(model, counts, sampling, tile=256)
assert len(found.columns) < 1000, len(found.columns)
print(1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("sampling", [0.1, 0.2])
def test_a_large_image_takes_the_memory_of_its_output(sampling):
    """All memory of the process above that of before, that of torch included."""
    command = [sys.executable, "-c", PREDICT, str(LARGE), str(sampling)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A tile and what the net makes of it, whatever the size of the image.
    tile = 80 << 20
    per_pixel = LABEL_AND_CONFIDENCE + AS_SEEN * (sampling / 0.2) ** 2
    assert int(done.stdout) < per_pixel * LARGE**2 + tile
