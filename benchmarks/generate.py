"""Time the generator: against a plain abTEM script, in a real build, and over two workers.

    python benchmarks/generate.py                    # all, about four minutes
    python benchmarks/generate.py samples            # whole samples beside a plain script
    python benchmarks/generate.py builds             # shares of a build, two workers
    python benchmarks/generate.py --build DIR        # 20 structures of ceria-columns-mini
    python benchmarks/generate.py --engine batched_mkl   # any of them with the transforms of MKL

Structures of ceria-columns-mini at full physics: 8 phonon configurations, 4 images each.

The plain script is what a careful user of abTEM would write: `FrozenPhonons`, abTEM's own
potentials, multislice, a CTF with a focal series that is summed, Poisson noise; FFTW plans are
measured beforehand (`FFTW_MEASURE`). Number of configurations, grid, thickness of slices, nodes
of the focal sum and aberrations are ours. It is given the atoms; labels and tables are in our
time only. Either side works on one structure, then the other, in one process with one thread.
"""

import argparse
import multiprocessing
import platform
import statistics
import tempfile
import time
from cmath import phase
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path

import abtem
import ase
import numpy as np
import psutil
from abtem.distributions import from_values
from threadpoolctl import threadpool_limits

from ceria_data import cluster
from ceria_data.aberrations import aberrations_of
from ceria_data.build import build, in_this_process
from ceria_data.config import config_from_mapping, load_config
from ceria_data.draw import structure_entries
from ceria_data.image_spectrum import spectrum_of
from ceria_data.optics import focal_nodes, form_image
from ceria_data.plan import plan
from ceria_data.scattering import exit_waves
from ceria_data.simulate import (
    cell_of,
    field_of,
    label_structure,
    settings_of,
    simulate_structure,
    specimen_of,
)
from ceria_data.waves import Specimen

PRESET = "ceria-columns-mini"
PLAIN = {
    "device": "cpu", "fft": "fftw", "fftw.planning_effort": "FFTW_MEASURE", "fftw.threads": 1,
    "precision": "float32",
}  # fmt: skip
ENDS = 0.5
"""Empty space before and behind the atoms of the plain script [Å]: they move."""


def part_of(engine, images=4, first=0, **structures):
    """Take the first structures of some splits of the preset, with an engine."""
    content = load_config(PRESET).model_dump(mode="json")
    content["scattering"]["engine"] = engine
    content["splits"] = [
        split
        | {"structures": structures[split["name"]], "first_number": split["first_number"] + first}
        for split in content["splits"]
        if split["name"] in structures
    ]
    return config_from_mapping(content | {"images_per_structure": images, "limits": None})


def atoms_of(structure, positions, cell):
    """Give abTEM atoms in the cell, and the z of its exit plane."""
    x_min, _, y_min, _ = cell.bounds
    z = structure.positions[:, 2]
    shift = np.array([-x_min, -y_min, ENDS - z.min()])
    size = (*cell.extent[::-1], np.ptp(z) + 2 * ENDS)
    atoms = ase.Atoms(np.where(structure.species == 0, "Ce", "O"), positions + shift, cell=size)
    return atoms, size[2] - shift[2]


def plain_waves(ensemble, config):
    """Scatter an ensemble of atoms as a script of abTEM would."""
    settings = settings_of(config)
    potential = abtem.Potential(
        ensemble,
        gpts=cell_of(config).shape[::-1],
        slice_thickness=settings.slice_thickness_A,
        projection="infinite",
        parametrization="lobato",
    )
    return abtem.PlaneWave(energy=settings.energy_eV).multislice(potential, lazy=False)


def plain_intensity(waves, image, z_exit):
    """Form one image with abTEM's own transfer function and focal sum."""
    offsets, weights = focal_nodes(image.focal_spread_A, image.aperture_mrad, image.energy_keV)
    c = aberrations_of(image, z_exit)
    ctf = abtem.CTF(
        energy=image.energy_keV * 1e3,
        semiangle_cutoff=image.aperture_mrad,
        C10=from_values(c.C10 - offsets, weights=weights, ensemble_mean=True),
        C12=abs(c.C12), phi12=phase(c.C12) / 2,
        C21=abs(c.C21), phi21=phase(c.C21),
        C23=abs(c.C23), phi23=phase(c.C23) / 3,
        C30=c.C30, C50=c.C50,
        angular_spread=image.angular_spread_mrad,
    )  # fmt: skip
    return waves.apply_ctf(ctf).intensity().reduce_ensemble()


def plain_samples(config, labels):
    """Make all images of a structure from one set of exit waves; seconds of both steps."""
    structure = labels.structure
    atoms, z_exit = atoms_of(structure, structure.positions, cell_of(config))
    phonons = abtem.FrozenPhonons(
        atoms,
        structure.parameters.n_phonons,
        {"Ce": structure.parameters.rms_Ce_A, "O": structure.parameters.rms_O_A},
        seed=structure.parameters.number,
    )
    scattering, waves = seconds_of(partial(plain_waves, phonons, config))

    def images():
        for image in labels.images:
            intensity = plain_intensity(waves, image, z_exit)
            intensity.interpolate(field_of(config).sampling).poisson_noise(
                dose_per_area=image.dose_e_per_A2, seed=image.number % 2**31
            )

    return scattering, seconds_of(images)[0]


def difference(config, labels, phonons=2):
    """Rms difference of the script's image to ours over the contrast, with the same atoms.

    The pixels of both average over their area, which abTEM's interpolation leaves out.
    """
    cell, field, settings = cell_of(config), field_of(config), settings_of(config)
    structure, image = labels.structure, labels.images[0]
    positions = labels.configurations.positions[:phonons]
    each = [atoms_of(structure, displaced, cell) for displaced in positions]
    waves = plain_waves(abtem.AtomsEnsemble([atoms for atoms, _ in each]), config)
    plain = np.ascontiguousarray(plain_intensity(waves, image, each[0][1]).array.T)
    plain = spectrum_of(plain, cell.shape, cell).pixels(field)
    specimen = specimen_of(labels, settings.slice_thickness_A)
    specimen = Specimen(positions, specimen.numbers, specimen.slices)
    ours = form_image(exit_waves([specimen], cell, settings)[0], image, field)
    return float(np.sqrt(np.mean((plain - ours) ** 2)) / np.std(ours))


def seconds_of(call):
    """Seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def spread(values, form=".2f"):
    """Write the median, the smallest and the largest of some values."""
    values = [format(v, form) for v in (statistics.median(values), min(values), max(values))]
    return "{} ({} to {})".format(*values)


def samples(structures, engine):
    """Print samples per second beside those of the plain script, and our time by stage."""
    config = part_of(engine, train=structures)
    single = part_of(engine, images=1, train=structures)
    planes, images = plan(config).layout.planes, config.images_per_structure
    ours, stages, ratios, differences = {1: [], images: []}, [], {}, []
    plain = {"1 image": [], f"{images} images": [], f"{images} images, scattered once": []}
    for turn, entry in enumerate([structure_entries(config)[0], *structure_entries(config)]):
        labels = label_structure(config, entry, planes)
        # Makes the plans too, so it goes before the clock.
        with abtem.config.set(PLAIN):
            apart = difference(config, labels)
            scattering, imaging = plain_samples(config, labels)
        one, _ = seconds_of(partial(simulate_structure, single, entry, planes))
        many, result = seconds_of(partial(simulate_structure, config, entry, planes))
        if not turn:  # the first makes tables and plans
            continue
        differences.append(apart)
        stages.append(result.seconds)
        ours[1].append(1 / one)
        ours[images].append(images / many)
        each = scattering + imaging / images, images * scattering + imaging, scattering + imaging
        for name, taken in zip(plain, each, strict=True):
            count, own = (1, one) if name == "1 image" else (images, many)
            plain[name].append(count / taken)
            ratios.setdefault(name, []).append(taken / own)
    phonons = config.splits[0].phonons
    print(f"\n{structures} structures of {PRESET}, {phonons} phonon configurations, one core, "
          f"engine {engine}\n")  # fmt: skip
    print(
        "| a structure | plain script, images/s | ceria_data, images/s | ratio |\n|---|---|---|---|"
    )
    for name, rates in plain.items():
        own = ours[1 if name == "1 image" else images]
        print(
            f"| {name} | {spread(rates, '.3f')} | {spread(own)} | {spread(ratios[name], '.1f')} |"
        )
    print(f"\nimages of the script differ by {spread(differences, '.1%')} of the contrast\n")
    print("| stage | ms a structure |\n|---|---|")
    for stage in stages[0]:
        print(f"| {stage} | {spread([1e3 * each[stage] for each in stages], '.0f')} |")
    print(f"\npeak memory {psutil.Process().memory_info().rss / 1e9:.2f} GB", flush=True)


def built(config, out, workers):
    """Build with workers, or in this process; worker-seconds of the steps, by stage too."""
    marks = []

    @contextmanager
    def watched():
        with cluster.local_workers(workers) if workers else in_place() as client:
            run_all = in_this_process
            for module in MODULES[config.scattering.engine]:
                if workers:
                    client.run(import_module, module)
                else:
                    import_module(module)
            if workers:
                run_all = partial(cluster.run_tasks, client)

            def run(*arguments):
                for result in run_all(*arguments):
                    yield result
                    marks.append(time.perf_counter())

            marks.append(time.perf_counter())
            yield run

    begin = time.perf_counter()
    with threadpool_limits(limits=1):
        manifest = build(config, out, workers=watched, block=1)
    end = time.perf_counter()
    window = max(1, workers) * (marks[-1] - marks[0])
    # The worker that is through first waits for the last block of the other.
    wait = marks[-1] - marks[-2] if workers == 2 else 0.0
    stages = manifest["cost"]["by_stage"]
    steps = {**stages, WAIT: wait, REST: window - wait - sum(stages.values())}
    return {"start": marks[0] - begin, "end": end - marks[-1], "window": window, "steps": steps}


@contextmanager
def in_place():
    """Stand for workers where there are none."""
    yield None


MODULES = {
    "batched": ["ceria_data.block"],
    "batched_mkl": ["ceria_data.block", "torch"],
}
"""What a worker imports in its first block, which is not to count here."""
WAIT = "waiting for the last block"
REST = "compression, writing, checksums, driver, Dask"


def builds(structures, repeats, engine):
    """Print the shares of a build with two workers, beside two independent builds."""
    halves = [
        part_of(engine, train=structures // 2, first=half * structures // 2) for half in (0, 1)
    ]
    whole = part_of(engine, train=2 * (structures // 2))
    together, apart = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for repeat in range(repeats):
            together.append(built(whole, path / f"whole{repeat}", 2))
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(2, mp_context=spawn) as pool:
                running = [
                    pool.submit(built, half, path / f"half{i}-{repeat}", 0)
                    for i, half in enumerate(halves)
                ]
                apart.append([each.result() for each in running])
    print(
        f"\n{structures} structures of {PRESET} in blocks of one, {repeats} builds each in turns, "
        f"engine {engine}\n"
    )
    print("| share of the blocks' time | two workers of a build | two independent builds |")
    print("|---|---|---|")
    for step in together[0]["steps"]:
        shares = [one["steps"][step] / one["window"] for one in together]
        sums = [[sum(_of(half, name) for half in pair) for name in (step, "")] for pair in apart]
        others = [spent / total for spent, total in sums]
        print(f"| {step} | {spread(shares, '.1%')} | {spread(others, '.1%')} |")
    for name in ("start", "end"):
        own = [one[name] for one in together]
        other = [max(half[name] for half in pair) for pair in apart]
        print(
            f"| seconds of the {name} of a build | {spread(own, '.1f')} | {spread(other, '.1f')} |"
        )
    alone = [sum(half["window"] for half in pair) for pair in apart]
    busy = [one["window"] - one["steps"][WAIT] for one in together]
    rows = ("with the wait for the last block", [one["window"] for one in together])
    for name, taken in (rows, ("without it", busy)):
        ratios = [other / own for other, own in zip(alone, taken, strict=True)]
        print(f"\nefficiency of two workers beside two builds, {name}: {spread(ratios)}")


def _of(half, step):
    """Worker-seconds of a step of a build, or of all its blocks."""
    return half["steps"][step] if step else half["window"]


def build_part(out, engine):
    """Build 20 structures of the preset."""
    config = part_of(engine, train=14, validation=3, test=3)

    @contextmanager
    def two():
        with cluster.local_workers(2) as client:
            yield partial(cluster.run_tasks, client)

    taken, manifest = seconds_of(partial(build, config, out, workers=two, block=1, resume=True))
    print(f"20 structures of {PRESET}: {manifest['n_samples']} images in {taken:.0f} s, "
          f"{manifest['cost']['core_seconds']:.0f} core-seconds, content "
          f"{manifest['content_digest']}")  # fmt: skip


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=["samples", "builds"])
    parser.add_argument("--build", type=Path, help="folder for 20 structures of the benchmark")
    parser.add_argument("--structures", type=int, default=5, help="of the plain script")
    parser.add_argument("--built", type=int, default=10, help="structures of a build")
    parser.add_argument("--repeats", type=int, default=3, help="of the builds")
    parser.add_argument("--engine", choices=list(MODULES), default="batched")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}, "
          f"NumPy {np.__version__}, abTEM {abtem.__version__}")  # fmt: skip
    if arguments.build:
        build_part(arguments.build, arguments.engine)
        return
    if arguments.part != "builds":
        with threadpool_limits(limits=1):
            samples(arguments.structures, arguments.engine)
    if arguments.part != "samples":
        builds(arguments.built, arguments.repeats, arguments.engine)


if __name__ == "__main__":
    main()
