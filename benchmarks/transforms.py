"""Fourier transforms of one wave with the libraries at hand, one thread.

    python benchmarks/transforms.py            # some seconds

`scipy` is what `ceria_data.fourier` uses; FFTW plans are made without timing (ESTIMATE), because
measured plans differ from run to run.
"""

import platform
import statistics
import time
from functools import partial

import numpy as np
import psutil
import pyfftw
import scipy.fft
import torch
from threadpoolctl import threadpool_limits

SIZES, REPEATS = (320, 480), 30


def libraries(n):
    """Forward complex and inverse real transforms of n x n points by library."""
    rng = np.random.default_rng(0)
    wave = (rng.standard_normal((n, n)) + 1j).astype(np.complex64)
    half = np.fft.rfft2(wave.real).astype(np.complex64)
    forward = pyfftw.builders.fft2(wave, threads=1, planner_effort="FFTW_ESTIMATE")
    inverse = pyfftw.builders.irfft2(half, threads=1, planner_effort="FFTW_ESTIMATE")
    tensor, half_tensor = torch.from_numpy(wave), torch.from_numpy(half)
    return {
        "scipy": (partial(scipy.fft.fft2, wave), partial(scipy.fft.irfft2, half)),
        "numpy": (partial(np.fft.fft2, wave), partial(np.fft.irfft2, half)),
        "torch (MKL)": (partial(torch.fft.fft2, tensor), partial(torch.fft.irfft2, half_tensor)),
        "pyfftw": (forward, inverse),
    }


def milliseconds(call):
    """Median and range of the time of a call."""
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"


def main():
    torch.set_num_threads(1)
    versions = f"NumPy {np.__version__}, SciPy {scipy.__version__}, torch {torch.__version__}"
    print(f"{platform.machine()}, {psutil.cpu_count()} cores, {versions}\n")
    print("| points | library | complex, ms | inverse real, ms |\n|---|---|---|---|")
    for n in SIZES:
        for name, calls in libraries(n).items():
            print(f"| {n} | {name} | {' | '.join(milliseconds(call) for call in calls)} |")


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
