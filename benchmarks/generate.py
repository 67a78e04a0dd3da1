"""Time the generator: by stage, against a plain abTEM script, and over workers.

    python benchmarks/generate.py                    # all three, about six minutes
    python benchmarks/generate.py --build DIR        # 20 structures of ceria-columns-mini

The plain script is what a careful user of abTEM would write: for every image one
multislice calculation with abTEM's own potentials, frozen phonons and FFTW plans measured
beforehand (`FFTW_MEASURE`), at the same grid, slices, phonon configurations and focal sum.
Ours reuses the exit waves of a structure for all its images. Both use one thread.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from cmath import phase
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import abtem
import ase
import numpy as np
import psutil
from abtem.distributions import from_values

from ceria_data import cluster
from ceria_data.aberrations import aberrations_of
from ceria_data.build import build
from ceria_data.config import config_from_mapping, load_config, resolved_yaml
from ceria_data.draw import draw_image, structure_entries
from ceria_data.optics import focal_nodes
from ceria_data.plan import plan
from ceria_data.simulate import (
    cell_of,
    field_of,
    label_structure,
    settings_of,
    simulate_structure,
)

REPEATS = 3


def part_of(preset, **structures):
    """Take the first structures of some splits of a preset."""
    content = load_config(preset).model_dump(mode="json")
    content["splits"] = [
        split | {"structures": structures[split["name"]]}
        for split in content["splits"]
        if split["name"] in structures
    ]
    return config_from_mapping(content)


def with_images(config, images, phonons):
    """Change images per structure and phonon configurations."""
    content = config.model_dump(mode="json")
    content["images_per_structure"] = images
    content["splits"] = [split | {"phonons": phonons} for split in content["splits"]]
    return config_from_mapping(content)


def plain_abtem(config, entry, planes):
    """Make the images of one structure with one abTEM calculation each."""
    labels = label_structure(config, entry, planes)
    structure, cell, settings = labels.structure, cell_of(config), settings_of(config)
    x_min, _, y_min, _ = cell.bounds
    height, width = cell.extent
    z = structure.positions[:, 2]
    shift = np.array([-x_min, -y_min, 1.0 - z.min()])
    atoms = ase.Atoms(
        np.where(structure.species == 0, "Ce", "O"),
        structure.positions + shift,
        cell=(width, height, np.ptp(z) + 2.0),
    )
    images = []
    for position in range(config.images_per_structure):
        image = draw_image(config, entry, position)
        phonons = abtem.FrozenPhonons(
            atoms,
            structure.parameters.n_phonons,
            {"Ce": structure.parameters.rms_Ce_A, "O": structure.parameters.rms_O_A},
            seed=position,
        )
        potential = abtem.Potential(
            phonons,
            gpts=cell.shape[::-1],
            slice_thickness=settings.slice_thickness_A,
            projection="infinite",
            parametrization="lobato",
        )
        waves = abtem.PlaneWave(energy=settings.energy_eV).multislice(potential, lazy=False)
        images.append(plain_image(waves, image, field_of(config), atoms.cell[2, 2] - shift[2]))
    return images


def plain_image(waves, image, field, z_exit):
    """Form and record one image with abTEM's own transfer function, sum and noise."""
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
    intensity = waves.apply_ctf(ctf).intensity().reduce_ensemble().interpolate(field.sampling)
    return intensity.poisson_noise(dose_per_area=image.dose_e_per_A2, seed=image.number % 2**31)


def seconds_of(call):
    """Seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def stages():
    """Print the time by stage of structures of the benchmark at full physics."""
    config = part_of("ceria-columns-mini", train=3)
    planes = plan(config).layout.planes
    entries = structure_entries(config)
    simulate_structure(with_images(config, 1, 1), entries[0], planes)
    totals, runs = {}, []
    for entry in entries:
        taken, result = seconds_of(partial(simulate_structure, config, entry, planes))
        runs.append(taken)
        for stage, spent in result.seconds.items():
            totals[stage] = totals.get(stage, 0.0) + spent
    images = len(entries) * config.images_per_structure
    print("\nseconds by stage, ceria-columns-mini, 8 phonon configurations, 4 images a structure")
    for stage, spent in totals.items():
        print(f"  {stage:<22} {spent / len(entries):8.2f} s/structure")
    print(f"  images/s on one core   {images / sum(runs):8.3f}   "
          f"(structures {min(runs):.1f} to {max(runs):.1f} s)")  # fmt: skip
    print(f"  peak memory            {psutil.Process().memory_info().rss / 1e9:8.2f} GB")


def ratio_to_plain(phonons):
    """Print how much faster we are than the plain script, in turns."""
    base = part_of("ceria-columns-mini", train=1)
    entry, planes = structure_entries(base)[0], plan(base).layout.planes
    settings = {"device": "cpu", "fft": "fftw", "fftw.planning_effort": "FFTW_MEASURE",
                "fftw.threads": 1, "precision": "float32"}  # fmt: skip
    print(f"\nplain abTEM script / ours, {phonons} phonon configurations, one structure")
    print("  images  plain s/image   ours s/image   ratio (min to max of "
          f"{REPEATS} pairs)")  # fmt: skip
    for images in (1, 4, 16):
        config = with_images(base, images, phonons)
        shown = with_images(base, min(images, 2), phonons)
        pairs = []
        for repeat in range(REPEATS + 1):
            # One image of the plain script costs as much as any other: two stand for sixteen.
            with abtem.config.set(settings):
                plain, _ = seconds_of(partial(plain_abtem, shown, entry, planes))
            ours, _ = seconds_of(partial(simulate_structure, config, entry, planes))
            if repeat:
                pairs.append((plain / shown.images_per_structure, ours / images))
        ratios = sorted(a / b for a, b in pairs)
        print(f"  {images:6}  {statistics.median(a for a, _ in pairs):13.3f}  "
              f"{statistics.median(b for _, b in pairs):13.3f}   "
              f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")  # fmt: skip


def workers():
    """Print two workers beside two independent processes, both with their start."""
    config = with_images(part_of("ceria-columns-mini", train=8), 4, 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        halves = []
        for half in (0, 1):
            content = config.model_dump(mode="json")
            content["splits"][0] |= {"structures": 4, "first_number": 4 * half}
            halves.append(path / f"half{half}.yaml")
            halves[-1].write_text(resolved_yaml(config_from_mapping(content)))
        whole = path / "whole.yaml"
        whole.write_text(resolved_yaml(config))
        command = [sys.executable, "-m", "ceria_data", "build"]
        together, apart = [], []
        for repeat in range(REPEATS):
            taken, _ = seconds_of(lambda r=repeat: subprocess.run(
                [*command, whole, "--out", path / f"w{r}", "--workers", "2", "--block", "1",
                 "--quiet"], check=True, capture_output=True))  # fmt: skip
            together.append(taken)

            def both(r=repeat):
                running = [
                    subprocess.Popen([*command, half, "--out", path / f"h{i}-{r}", "--workers",
                                      "0", "--block", "1", "--quiet"], stderr=subprocess.DEVNULL)
                    for i, half in enumerate(halves)
                ]  # fmt: skip
                assert [process.wait() for process in running] == [0, 0]

            apart.append(seconds_of(both)[0])
    ratios = sorted(a / b for a, b in zip(together, apart, strict=True))
    print("\ntwo workers of one build / two independent builds of half the size (wall time)")
    print(f"  {statistics.median(together):.1f} s / {statistics.median(apart):.1f} s = "
          f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")  # fmt: skip


def build_part(out):
    """Build 20 structures of ceria-columns-mini at full physics."""
    config = part_of("ceria-columns-mini", train=14, validation=3, test=3)

    @contextmanager
    def two():
        with cluster.local_workers(2) as client:
            yield partial(cluster.run_tasks, client)

    taken, manifest = seconds_of(partial(build, config, out, workers=two, block=1, resume=True))
    print(f"20 structures of ceria-columns-mini: {manifest['n_samples']} images in {taken:.0f} s, "
          f"{manifest['cost']['core_seconds']:.0f} core-seconds, content "
          f"{manifest['content_digest']}")  # fmt: skip


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, help="folder for 20 structures of the benchmark")
    arguments = parser.parse_args()
    versions = f"numpy {np.__version__}, abTEM {abtem.__version__}"
    print(f"{platform.machine()}, {psutil.cpu_count()} cores, {versions}")
    if arguments.build:
        build_part(arguments.build)
        return
    stages()
    ratio_to_plain(phonons=2)
    workers()


if __name__ == "__main__":
    main()
