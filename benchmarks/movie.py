"""Frames per second of predicted films, by stage, and how memory grows with the film.

    python benchmarks/movie.py [MODEL] [--frames N] [--size PIXELS] [--threads N]

Prints tables in Markdown. A film of an image of the bundled dataset, repeated until it is large
enough, drifts by a random walk at 300 e-/Å². The stages are timed inside one prediction:

* read: frames from the file, in all passes (survey, drift, means, net);
* check: dose, contrast and the lattice;
* drift, sum: correlations and path; the means of film and parts;
* net: the net alone on all tiles, frames and means;
* decode: the rest of what is done with a frame: resampling, peaks, readings;
* write: tables of every chunk, and the whole folder.

The overhead is the time from end to end over that of the net. Then the peak memory of
processes of their own, for `--memory N N` frames (by default 30 and 120 of 256 pixels).
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from scipy.ndimage import fourier_shift

from ceria_data.dataset import open_dataset
from ceria_data.detector import record
from ceria_data.parameters import Camera
from ceria_models import DEFAULT, film_frames, film_job, film_prediction, prediction_run
from ceria_models.film_source import open_source
from ceria_models.film_staging import FilmStaging
from ceria_models.prediction_run import PredictionSettings, run_prediction

SAMPLING, DOSE, STEP = 0.2, 300.0, 0.05
MEMORY, MEMORY_SIZE = (30, 120), 256
STAGES = ("read", "check", "drift", "sum", "net", "decode", "write", "other")


def write_film(file, frames, size):
    """Record a film into a file, frame by frame."""
    image = open_dataset("ceria-columns-mini", "test")[78].intensity.astype(np.float64)
    times = -(-size // min(image.shape))
    spectrum = np.fft.rfft2(np.tile(image, (times, times))[:size, :size])
    path = np.cumsum(np.random.default_rng(0).normal(0, STEP, (frames, 2)), axis=0)
    film = np.lib.format.open_memmap(file, "w+", np.uint16, (frames, size, size))
    for number, place in enumerate(path):
        moved = np.fft.irfft2(fourier_shift(spectrum, place / SAMPLING, n=size), s=(size, size))
        film[number] = record(np.clip(moved, 0, None), DOSE, SAMPLING, Camera(), number)
    film.flush()


class Clock:
    """Seconds of stages; what runs inside of another stage counts for itself only."""

    def __init__(self):
        self.seconds = defaultdict(float)
        self._open = []

    @contextmanager
    def stage(self, name):
        """Count what happens inside as one stage."""
        start = time.perf_counter()
        self._open.append(0.0)
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] += spent - self._open.pop()
            if self._open:
                self._open[-1] += spent

    def timed(self, name, call):
        """Make a call that counts as one stage."""

        def timed(*given, **more):
            with self.stage(name):
                return call(*given, **more)

        return timed


@contextmanager
def watched(clock):
    """Time the stages of a prediction."""
    frames_of, open_runtime = film_frames.frames_of, prediction_run.open_runtime

    def read(*given):
        frames = frames_of(*given)
        while True:
            with clock.stage("read"):
                one = next(frames, None)
            if one is None:
                return
            yield one

    def net(*given):
        return clock.timed("net", open_runtime(*given))

    patches = [
        patch.object(prediction_run, "open_runtime", net),
        patch.object(film_job, "frames_of", read),
        patch.object(prediction_run, "frames_of", read),
        patch("ceria_models.film_survey.frames_of", read),
    ]
    stages = (
        (film_job, "survey_film", "check"),
        (film_job, "departures", "check"),
        (film_job, "estimate_drift", "drift"),
        (film_job, "_averaged", "sum"),
        (film_prediction, "read_frame", "decode"),
        (FilmStaging, "write_table", "write"),
        (prediction_run, "_joined", "write"),
    )
    patches += [
        patch.object(place, name, clock.timed(stage, getattr(place, name)))
        for place, name, stage in stages
    ]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def measure_speed(arguments, folder):
    """Print the time of a frame by stage."""
    write_film(folder / "film.npy", arguments.frames, arguments.size)
    small = folder / "small.npy"
    write_film(small, 2, arguments.size)
    predict(arguments.model, small, folder / "warm")  # what is loaded once does not count
    clock = Clock()
    with watched(clock), clock.stage("other"):
        predict(arguments.model, folder / "film.npy", folder / "out")
    total, n = sum(clock.seconds.values()), arguments.frames
    print(f"{n} frames of {arguments.size} pixels: {n / total:.2f} frames/s\n")
    print("| stage | ms a frame | share |\n|---|---|---|")
    for name in STAGES:
        own = clock.seconds[name]
        print(f"| {name} | {1000 * own / n:.0f} | {100 * own / total:.0f} % |")
    print(f"| end to end | {1000 * total / n:.0f} | 100 % |")
    net = clock.seconds["net"]
    print(
        f"\nnet alone: {n / net:.2f} frames/s; end to end over it: {100 * (total / net - 1):.0f} %"
    )


def predict(model, file, out):
    settings = PredictionSettings(model, pictures=0, force=True)
    run_prediction(open_source(file, frame_time_s=1 / 30), SAMPLING, out, settings)


def peak_mib():
    """Read the largest memory of this process; that of `resource` begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure_memory(arguments, folder):
    """Print the peak memory of processes that predict films of different length."""
    print(f"\n| frames of {MEMORY_SIZE} pixels | peak memory |\n|---|---|")
    for frames in arguments.memory:
        file = folder / f"film-{frames}.npy"
        write_film(file, frames, MEMORY_SIZE)
        command = [sys.executable, __file__, arguments.model, "--threads", str(arguments.threads)]
        command += ["--peak-of", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"| {frames} | {done.stdout.strip()} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default=DEFAULT, help="name, folder or repository")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", type=int, nargs="*", default=MEMORY, metavar="FRAMES")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.peak_of:
            predict(arguments.model, arguments.peak_of, folder / "out")
            print(f"{peak_mib():.0f} MiB")
            return
        machine = platform.processor() or platform.machine()
        print(f"{machine}, {arguments.threads} threads, torch {torch.__version__}")
        measure_speed(arguments, folder)
        measure_memory(arguments, folder)


if __name__ == "__main__":
    main()
