"""A tiny dataset made by hand, without the simulator, for tests of everything that reads one."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from ceria_data.digest import content_leaf, labels_leaf, root_digest
from ceria_data.parameters import Camera, ImageParameters, StructureParameters
from ceria_data.schema import (
    ATOMS,
    COLUMNS,
    FORMAT_VERSION,
    PAINT_RADIUS,
    SAMPLES,
    SAMPLES_PER_STRUCTURE_KEY,
    SPECIES,
    STRUCTURES,
    SUPPORT,
    TABLES,
)
from ceria_data.store import (
    CONFIG,
    Layout,
    checksums,
    create_arrays,
    empty_arrays,
    frame,
    write_block,
    write_manifest,
    write_table,
    write_text,
)

SHAPE, SAMPLING, PLANES, BLOCK, MAX_COUNT = (24, 32), 0.2, 6, 2, 14
KINDS = ("slab_flat", "octahedron", "cube")
REPEAT = 3.826
# site_id, species, x, y, sites, vacancies, adatoms; the last column lies outside the field.
SITES = (
    (10, "Ce", 1.2, 1.0, 3, 0, 0),
    (11, "Ce", 4.5, 3.2, 2, 1, 0),
    (20, "O", 2.553, 1.0, 3, 1, 0),
    (21, "O", 3.147, 3.2, 2, 2, 0),
    (22, "O", 5.0, 1.2, 1, 0, 1),
    (23, "O", 7.6, 2.0, 1, 0, 0),
)


def make_tiny(folder, structures=4, images=2, splits=None, camera="counting", name="tiny"):
    """Write a complete dataset of `structures` x `images` samples and return its folder.

    `splits` maps a split to its number of structures; by default the last two structures
    are validation and test.
    """
    if splits is None:
        splits = {"train": structures - 2, "validation": 1, "test": 1}
        splits = splits if structures > 2 else {"train": structures}
    assert sum(splits.values()) == structures
    folder = Path(folder)
    folder.mkdir(parents=True)
    layout = Layout(structures, images, SHAPE, PLANES, BLOCK)
    create_arrays(folder, layout, {"sampling_A": SAMPLING, "species": list(SPECIES)})
    entries = [
        (split, 1_000_000 * position + i)
        for position, (split, size) in enumerate(splits.items())
        for i in range(size)
    ]
    tables, labels, content = {spec.name: [] for spec in TABLES}, [], []
    for block in range(layout.blocks):
        arrays = empty_arrays(layout, block)
        for i, row in enumerate(layout.rows(block)):
            own, occupancy, volume = label(row, *entries[row], images, camera)
            pixels = expose(own["samples"], own["columns"])
            arrays["occupancy"][i], arrays["volume"][i] = occupancy, volume
            for key in ("counts", "intensity"):
                arrays[key][i * images : (i + 1) * images] = pixels[key]
            labels.append(labels_leaf([(own[s.name], s) for s in TABLES], occupancy, volume))
            content.append(content_leaf(labels[-1], pixels["counts"], pixels["intensity"]))
            for spec in TABLES:
                tables[spec.name].append(own[spec.name])
        write_block(folder, layout, block, arrays)
    for spec in TABLES:
        table = pd.concat(tables[spec.name], ignore_index=True)
        write_table(table, folder / f"{spec.name}.parquet", spec)
    write_text(folder / CONFIG, f"name: {name}\n")
    manifest = manifest_of(name, splits, images, labels, content)
    write_manifest(folder, manifest | {"files": checksums(folder)})
    return folder


def label(row, split, number, images, camera):
    """Tables and masks of one structure."""
    columns, atoms = [], []
    for site_id, species, x, y, sites, vacancies, adatoms in SITES:
        occupancy = sites - vacancies + adatoms
        z = REPEAT * (np.arange(occupancy) - 0.5) if occupancy else np.array([np.nan])
        columns.append(
            {
                "structure": row,
                "site_id": site_id,
                "species": species,
                "x_A": x,
                "y_A": y,
                "occupancy": occupancy,
                "sites": sites,
                "n_vacancies": vacancies,
                "n_adatoms": adatoms,
                "z_first_A": z[0],
                "z_last_A": z[-1],
                "z_mean_A": z.mean(),
                "surface": "bulk" if sites > 1 else "edge",
                "ambiguous": False,
                "in_field": x < (SHAPE[1] - 0.5) * SAMPLING,
            }
        )
        atoms += [
            {
                "structure": row,
                "species": species,
                "x_A": x,
                "y_A": y,
                "z_A": REPEAT * (i - 0.5),
                "plane": 2 * i,
                "site_id": site_id,
            }
            for i in range(occupancy)
        ]
    tables = {
        "columns": frame(columns, COLUMNS),
        "atoms": frame(atoms, ATOMS),
        "support": frame([], SUPPORT),
        "structures": structure_row(row, split, number, columns, atoms),
        "samples": sample_rows(row, split, number, images, camera),
    }
    return tables, *paint(tables["columns"], tables["atoms"])


def structure_row(row, split, number, columns, atoms):
    rng = np.random.default_rng(number)
    drawn = StructureParameters(
        number=number,
        kind=KINDS[row % len(KINDS)],
        zone_axis=(1, 1, 0),
        lattice_parameter_A=5.411,
        thickness_atoms=3,
        thickness_remainder=0.25,
        aspect=1.5,
        elongation=1.0,
        truncation=0.5,
        offset_1=0.1,
        offset_2=0.2,
        offset_3=0.3,
        edge_A=0.0,
        period_A=15.0,
        n_terraces=0,
        two_coordinated_oxygen=0.5,
        rotation_deg=round(float(rng.uniform(0, 360)), 6),
        shift_x_A=0.0,
        shift_y_A=0.0,
        mistilt_deg=round(float(rng.uniform(0, 1)), 6),
        mistilt_azimuth_deg=0.0,
        oxygen_vacancy_fraction=0.02,
        oxygen_vacancy_arrangement="random",
        cerium_vacancy_fraction=0.0,
        n_cerium_adatoms=0,
        n_oxygen_adatoms=1,
        relaxation_A=0.05,
        static_displacement_A=0.0,
        rms_Ce_A=0.06,
        rms_O_A=0.08,
        surface_rms_factor=1.3,
        n_phonons=2,
        support_thickness_A=0.0,
        support_side="entrance",
    )
    facts = {
        "structure": row,
        "particle": row,
        "split": split,
        "facets": "{111} {100}",
        "zone_axis": "[1 1 0]",
        "thickness_A": 2 * REPEAT,
    }
    for species in SPECIES:
        own = [column for column in columns if column["species"] == species]
        facts |= {
            f"n_{species}": sum(atom["species"] == species for atom in atoms),
            f"n_{species}_vacancies": sum(column["n_vacancies"] for column in own),
            f"max_occupancy_{species}": max(column["occupancy"] for column in own),
        }
    return frame([asdict(drawn) | facts], STRUCTURES)


def sample_rows(row, split, number, images, camera):
    integrating = Camera("integrating", 12.0, 100.0, 3.0, 0.6, 2.0, 0.8, 2.0)
    chosen = integrating if camera == "integrating" else Camera()
    rows = []
    for position in range(images):
        sample_number = number * SAMPLES_PER_STRUCTURE_KEY + position
        rng = np.random.default_rng(sample_number)
        drawn = ImageParameters(
            number=sample_number,
            energy_keV=300.0,
            defocus_A=round(float(rng.uniform(-90, -45)), 4),
            A1_A=5.0,
            A1_azimuth_deg=30.0,
            B2_A=100.0,
            B2_azimuth_deg=60.0,
            A2_A=100.0,
            A2_azimuth_deg=90.0,
            C30_um=-9.0,
            C50_mm=5.0,
            focal_spread_A=20.0,
            angular_spread_mrad=0.2,
            aperture_mrad=40.0,
            dose_e_per_A2=round(float(10 ** rng.uniform(1.5, 3.5)), 4),
            camera=chosen.kind,
            gain=chosen.gain,
            offset=chosen.offset,
            readout_noise=chosen.readout_noise,
            mtf_half=chosen.mtf_half,
            mtf_power=chosen.mtf_power,
            ntf_half=chosen.ntf_half,
            ntf_power=chosen.ntf_power,
            camera_seed=int(rng.integers(2**62)),
        )
        rows.append(
            asdict(drawn)
            | {
                "sample": row * images + position,
                "structure": row,
                "particle": row,
                "split": split,
                "frame": 0,
                "time_s": 0.0,
                "sampling_A": SAMPLING,
                "drift_x_A": 0.0,
                "drift_y_A": 0.0,
            }
        )
    return frame(rows, SAMPLES)


def paint(columns, atoms):
    """Class map and volume, pixel by pixel."""
    occupancy = np.zeros((len(SPECIES), *SHAPE), np.uint8)
    volume = np.zeros((PLANES, *SHAPE), np.uint8)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] * SAMPLING
    for column in columns.itertuples():
        disk = (x - column.x_A) ** 2 + (y - column.y_A) ** 2 <= PAINT_RADIUS**2
        index = SPECIES.index(column.species)
        occupancy[index][disk] = column.occupancy
        for plane in atoms.loc[atoms["site_id"] == column.site_id, "plane"]:
            volume[plane][disk] |= index + 1
    return occupancy, volume


def expose(samples, columns):
    """Bright Gaussian columns on vacuum, and Poisson counts of them."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] * SAMPLING
    image = np.ones(SHAPE)
    for column in columns.itertuples():
        weight = 0.5 * column.occupancy if column.species == "Ce" else 0.1 * column.occupancy
        image += weight * np.exp(-((x - column.x_A) ** 2 + (y - column.y_A) ** 2) / 0.3)
    intensity = np.stack([image.astype(np.float16)] * len(samples))
    counts = []
    for row in samples.itertuples():
        rng = np.random.default_rng(row.camera_seed)
        electrons = rng.poisson(image * row.dose_e_per_A2 * SAMPLING**2)
        counts.append((row.gain * electrons + row.offset).astype(np.uint16))
    return {"intensity": intensity, "counts": np.stack(counts)}


def manifest_of(name, splits, images, labels, content):
    structures = sum(splits.values())
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "version": "1.0.0",
        "description": "A few columns drawn by hand.",
        "seed": 7,
        "sampling_A": SAMPLING,
        "field_shape": list(SHAPE),
        "images_per_structure": images,
        "max_count": MAX_COUNT,
        "species": list(SPECIES),
        "n_structures": structures,
        "n_samples": structures * images,
        "n_planes": PLANES,
        "plane_spacing_A": 1.9131,
        "splits": {
            split: {"structures": size, "samples": size * images, "phonons": 2}
            for split, size in splits.items()
        },
        "recipe_digest": "0" * 64,
        "labels_digest": root_digest(labels),
        "content_digest": root_digest(content),
        "software": {"ceria": "0.1.0", "numpy": np.__version__},
        "machine": {"architecture": "x86_64", "system": "Linux", "simd": "X86_V3", "device": "cpu"},
        "engine": {"name": "by hand", "precision": "float64"},
        "cost": {
            "core_seconds": 1.5,
            "by_stage": {"scattering": 1.0, "optics": 0.5},
            "images_per_core_second": structures * images / 1.5,
            "peak_memory_bytes": 300_000_000,
        },
        "missing": [],
        "warnings": [],
    }
