"""Frames per second of predicted films, by stage, and how memory grows with the film.

    python benchmarks/movie.py [MODEL] [--frames N] [--size PIXELS] [--threads N] [--runs N]
                               [--recorded N]

Prints tables in Markdown. A film of an image of the bundled dataset, repeated until it is large
enough, drifts by a random walk at 300 e-/Å². The stages are timed inside one prediction:

* read: frames from the file, in all passes (survey, drift, means, net);
* check: dose, contrast and the lattice;
* drift, sum: correlations and path; the means of film and parts;
* net: the net alone on all tiles, frames and means;
* decode: resampling, peaks and readings of a frame;
* levels: the comparison of frames with each other;
* write: tables of every chunk, and the whole folder.

Times are those of the processor, which other programs disturb less than those of the clock;
both are given from end to end. Medians of `--runs` predictions, and the smallest and largest. The
overhead is the time from end to end over that of the net. With `--recorded N` the net runs N times
only, and the last five of its outputs are given again and again: what is beside the net is measured
in a fraction of the time; the N have to reach beyond the means, which are read first. Then the
peak memory of processes of their own, for `--memory N N` frames of `--memory-size` pixels, and
what of it is no file.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict, deque
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from scipy.ndimage import fourier_shift

from ceria_data.dataset import open_dataset
from ceria_data.detector import record
from ceria_data.parameters import Camera
from ceria_models import DEFAULT, film_frames, film_job, film_prediction, prediction_run
from ceria_models.film_levels import FilmLevels
from ceria_models.film_source import open_source
from ceria_models.film_staging import FilmStaging
from ceria_models.prediction_run import PredictionSettings, run_prediction

SAMPLING, DOSE, STEP = 0.2, 300.0, 0.05
LAST = 5
MEMORY, MEMORY_SIZE = (30, 120, 256), 256
STAGES = ("read", "check", "drift", "sum", "net", "decode", "levels", "write", "other")


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
    """Processor seconds of stages; what runs inside of another counts for itself only."""

    def __init__(self):
        self.seconds = defaultdict(float)
        self._open = []

    @contextmanager
    def stage(self, name):
        """Count what happens inside as one stage."""
        start = time.process_time()
        self._open.append(0.0)
        try:
            yield
        finally:
            spent = time.process_time() - start
            self.seconds[name] += spent - self._open.pop()
            if self._open:
                self._open[-1] += spent

    def timed(self, name, call):
        """Make a call that counts as one stage."""

        def timed(*given, **more):
            with self.stage(name):
                return call(*given, **more)

        return timed


def replayed(run, number):
    """Run a net some times, and repeat what it said last."""
    outputs, left = deque(maxlen=LAST), number

    def replay(image):
        nonlocal left
        outputs.append(run(image) if left else outputs[0])
        left = max(left - 1, 0)
        return outputs[-1]

    return replay


@contextmanager
def watched(clock, recorded=None):
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

    def net(*given, **more):
        run = open_runtime(*given, **more)
        return clock.timed("net", replayed(run, recorded) if recorded else run)

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
        (film_prediction, "view_of", "decode"),
        (film_prediction, "read_view", "decode"),
        (film_prediction, "film_levels", "levels"),
        (FilmLevels, "of_frame", "levels"),
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
    runs = []
    for run in range(arguments.runs):
        clock, start = Clock(), time.perf_counter()
        with watched(clock, arguments.recorded), clock.stage("other"):
            predict(arguments.model, folder / "film.npy", folder / f"out-{run}")
        seconds = {name: clock.seconds[name] for name in STAGES}
        seconds["beside the net"] = sum(clock.seconds.values()) - clock.seconds["net"]
        seconds["end to end"] = sum(clock.seconds.values())
        seconds["by the clock"] = time.perf_counter() - start
        runs.append(seconds)
    print(f"{arguments.frames} frames of {arguments.size} pixels, {len(runs)} runs\n")
    print("| stage | ms a frame | share |\n|---|---|---|")
    whole = median(run["end to end"] for run in runs)
    for name in runs[0]:
        share = f"{100 * median(run[name] for run in runs) / whole:.0f} %"
        milliseconds = spread([1000 * run[name] / arguments.frames for run in runs], 1)
        print(f"| {name} | {milliseconds} | {share if name != 'by the clock' else ''} |")
    if arguments.recorded:
        return
    over = spread([100 * (run["end to end"] / run["net"] - 1) for run in runs], 0)
    print(f"\nend to end over the net: {over} %")


def spread(values, digits):
    """Write a median with the smallest and largest value."""
    low, high = min(values), max(values)
    return f"{median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def predict(model, file, out):
    settings = PredictionSettings(model, pictures=0, force=True)
    run_prediction(open_source(file, frame_time_s=1 / 30), SAMPLING, out, settings)


def mib(name):
    """Read a size of this process; that of `resource` begins with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


class Watch(threading.Thread):
    """Reads every 20 ms how much memory that is no mapped file this process has."""

    def __init__(self):
        super().__init__(daemon=True)
        self.largest, self.over = 0.0, threading.Event()

    def run(self):
        """Watch until it is over."""
        while not self.over.wait(0.02):
            self.largest = max(self.largest, mib("RssAnon"))


def measure_memory(arguments, folder):
    """Print the peak memory of processes that predict films of different length."""
    size = arguments.memory_size
    print(f"\n| frames of {size} pixels | peak memory, MiB | without files, MiB |\n|---|---|---|")
    for frames in arguments.memory:
        file = folder / f"film-{frames}.npy"
        write_film(file, frames, size)
        command = [sys.executable, __file__, arguments.model, "--threads", str(arguments.threads)]
        command += ["--peak-of", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"| {frames} | {done.stdout.strip()} |", flush=True)
        file.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default=DEFAULT, help="name, folder or repository")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--recorded", type=int, metavar="N", help="run the net N times only")
    parser.add_argument("--memory-size", type=int, default=MEMORY_SIZE, metavar="PIXELS")
    parser.add_argument("--memory", type=int, nargs="*", default=MEMORY, metavar="FRAMES")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.peak_of:
            watch = Watch()
            watch.start()
            predict(arguments.model, arguments.peak_of, folder / "out")
            watch.over.set()
            print(f"{mib('VmHWM'):.0f} | {watch.largest:.0f}")
            return
        machine = platform.processor() or platform.machine()
        print(f"{machine}, {arguments.threads} threads, torch {torch.__version__}")
        if arguments.runs:
            measure_speed(arguments, folder)
        measure_memory(arguments, folder)


if __name__ == "__main__":
    main()
