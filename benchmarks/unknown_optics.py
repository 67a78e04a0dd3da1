"""How surely one atom more in every column can be told when nothing is known of the optics.

    python benchmarks/unknown_optics.py [--structures 16]      # about a minute, one core

A net that counts whole particles one atom too high or too low may lack electrons, or skill. For
structures of the split test of ceria-columns-v1, one image each of 50 to 90 Å overfocus: the image
of the structure, and of the same without the last atom of every column. Printed is d' between
them with known optics, and with unknown ones: defocus, focal spread, C30, angular spread, A1, B2
and A2 may change within the range of the benchmark to make up for the atoms, to first order.
Thermal displacements, tilt and the single counts are known to this observer.
"""

import argparse
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from ceria_data.config import load_config
from ceria_data.draw import structure_entries
from ceria_data.optics import form_image
from ceria_data.scattering import exit_waves
from ceria_data.simulate import cell_of, field_of, label_structure, settings_of, specimen_of

DOSES = (30.0, 100.0, 300.0, 1000.0)
WINDOW = (-90.0, -50.0)
PHONONS = 6
PLANES = 30
# Step of the derivative, and standard deviation in the benchmark.
SCALARS = {
    "defocus_A": (2.0, 26.0),
    "focal_spread_A": (1.0, 7.2),
    "C30_um": (0.1, 1.0),
    "angular_spread_mrad": (0.02, 0.07),
}
# The same for each of the two components of an aberration, and its symmetry.
VECTORS = {"A1": (2, 1.0, 8.0), "B2": (1, 5.0, 60.0), "A2": (3, 10.0, 120.0)}


def changes(image):
    """Yield pairs of optics around those of an image, and the spread in units of their step."""
    for name, (step, spread) in SCALARS.items():
        value = getattr(image, name)
        yield [replace(image, **{name: value + sign * step}) for sign in (1, -1)], spread / step
    for name, (symmetry, step, spread) in VECTORS.items():
        azimuth = np.deg2rad(getattr(image, f"{name}_azimuth_deg"))
        value = getattr(image, f"{name}_A") * np.exp(1j * symmetry * azimuth)
        for direction in (step, 1j * step):
            moved = [value + sign * direction for sign in (1, -1)]
            yield (
                [
                    replace(
                        image,
                        **{
                            f"{name}_A": float(abs(v)),
                            f"{name}_azimuth_deg": float(np.rad2deg(np.angle(v)) / symmetry % 360),
                        },
                    )
                    for v in moved
                ],
                spread / step,
            )


def without_last(structure, atoms):
    """Mark the atoms that stay when every column of two atoms or more loses its last one."""
    kept = np.ones(atoms, bool)
    for site in np.unique(structure.site_id):
        own = np.flatnonzero(structure.site_id == site)
        if len(own) > 1:
            kept[own[np.argmax(structure.positions[own, 2])]] = False
    return kept


def detectabilities(image, waves, field):
    """Compare both specimens: d' at every dose, optics known and unknown."""

    def seen(optics, which=0):
        return np.asarray(form_image(waves[which], optics, field), dtype=np.float64).ravel()

    intensity = seen(image)
    change = seen(image, 1) - intensity
    pairs = list(changes(image))
    slopes = np.stack([(seen(more) - seen(less)) / 2 for (more, less), _ in pairs], axis=1)
    precision = np.diag([1 / spread**2 for _, spread in pairs])
    rows = []
    for dose in DOSES:
        electrons = dose * field.sampling**2
        weight = electrons / intensity
        known = (change * weight) @ change
        imitated = (slopes * weight[:, None]).T @ change
        fisher = precision + (slopes * weight[:, None]).T @ slopes
        unknown = known - imitated @ np.linalg.solve(fisher, imitated)
        rows.append((np.sqrt(known), np.sqrt(max(unknown, 0.0))))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=16)
    arguments = parser.parse_args()
    config = load_config("ceria-columns-v1")
    field, settings, cell = field_of(config), settings_of(config), cell_of(config)
    entries = [entry for entry in structure_entries(config) if entry.split == "test"]
    print("d' of one atom more in every column, optics known / unknown\n")
    print(f"| kind | most Ce | defocus, Å | {' | '.join(f'{d:g} e⁻/Å²' for d in DOSES)} |")
    print("|---" * (3 + len(DOSES)) + "|")
    found = []
    with threadpool_limits(limits=1):
        for entry in entries[: arguments.structures]:
            labels = label_structure(config, entry, PLANES)
            inside = [i for i in labels.images if WINDOW[0] <= i.defocus_A <= WINDOW[1]]
            if not inside:
                continue
            whole = specimen_of(labels, settings.slice_thickness_A)
            whole = replace(whole, positions=whole.positions[:PHONONS])
            less = whole.of(without_last(labels.structure, len(whole.numbers)))
            waves = exit_waves([whole, less], cell, settings, "cpu", None)
            rows = detectabilities(inside[0], waves, field)
            found.append([unknown for _, unknown in rows])
            most = labels.columns.query("species == 'Ce'")["occupancy"].max()
            cells = " | ".join(f"{known:.1f} / {unknown:.1f}" for known, unknown in rows)
            kind = labels.structures["kind"].iloc[0]
            print(f"| {kind} | {most} | {inside[0].defocus_A:.0f} | {cells} |", flush=True)
    medians = ", ".join(
        f"{np.median(of):.1f} at {dose:g}"
        for dose, of in zip(DOSES, np.array(found).T, strict=True)
    )
    print(f"\nmedian of {len(found)} images, optics unknown: {medians} e⁻/Å²")


if __name__ == "__main__":
    main()
