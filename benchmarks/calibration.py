"""How well the pixel size of single images is found, and a wrong one noticed.

    python benchmarks/calibration.py [DATASET] [--images N]      # a minute, one core

Every image is of its own dose, alone, and its lattice parameter is taken as 5.411 Å whatever it
is. A given pixel size is right, or wrong by ±10 %; without one all of 0.03 to 0.5 Å is searched.
"""

import argparse
import time

import numpy as np
from threadpoolctl import threadpool_limits

from ceria_data.calibration import estimate_sampling
from ceria_data.errors import FilmError
from ceria_data.film import film_of_array, open_film

ERRORS = (0.0, 0.1, -0.1)


def given(film, rows, error):
    """Estimates, their errors and doubts, when the pixel size is given with an error."""
    believed = film.sampling * (1 + error)
    found = [estimate_sampling(film.frames(i, i + 1), given=believed) for i in rows]
    off = np.array([one.sampling / film.sampling - 1 for one in found])
    return off, np.array([one.doubts(believed) for one in found])


def missing(film, rows):
    """Errors of the estimates without a pixel size, NaN where none is given; and z values."""
    off, z = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for at, i in enumerate(rows):
        try:
            found = estimate_sampling(film_of_array(film.frames(i, i + 1), source=f"image {i}"))
        except FilmError:
            continue
        off[at] = found.sampling / film.sampling - 1
        z[at] = (found.sampling - film.sampling) / found.uncertainty
    return off, z


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", default="ceria-columns-mini")
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    film = open_film(arguments.dataset)
    n = min(arguments.images, len(film))
    rows = np.sort(np.random.default_rng(0).choice(len(film), n, replace=False)).tolist()
    print(f"{arguments.dataset}: {n} images of {film.shape[1]} × {film.shape[0]} pixels\n")
    print("| given pixel size | doubted | best within 1 % | within 4 % |\n|---|---|---|---|")
    start = time.perf_counter()
    for error in ERRORS:
        off, doubted = given(film, rows, error)
        near = [np.mean(np.abs(off) < limit) for limit in (0.01, 0.04)]
        name = f"{error:+.0%}" if error else "right"
        print(f"| {name} | {doubted.mean():.1%} | {near[0]:.1%} | {near[1]:.1%} |")
    off, z = missing(film, rows)
    told = np.isfinite(off)
    near = [np.mean(np.abs(off[told]) < limit) for limit in (0.01, 0.04)]
    print(f"\nwithout a pixel size: {told.mean():.1%} answered, the others refused;")
    print(f"of the answers {near[0]:.1%} within 1 %, {near[1]:.1%} within 4 %,")
    print(f"median error {np.median(np.abs(off[told])):.2%}, {np.mean(np.abs(z[told]) < 2):.1%}")
    print("within 2 standard deviations as stated")
    print(f"{(time.perf_counter() - start) / (n * (len(ERRORS) + 1)):.2f} s an estimate")


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
