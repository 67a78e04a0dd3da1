from dataclasses import asdict, fields

import numpy as np
import pytest

from ceria_data.config import BuildConfig, config_from_mapping
from ceria_data.draw import (
    StructureEntry,
    camera_of,
    draw_image,
    draw_structure,
    sample_number,
    structure_entries,
    structure_entry,
)
from ceria_data.parameters import Camera, ImageParameters, StructureParameters
from ceria_data.schema import SAMPLES, SAMPLES_PER_STRUCTURE_KEY, STRUCTURES


def make(structures=4, **changes) -> BuildConfig:
    content = {
        "name": "tiny",
        "version": "1.0.0",
        "seed": 5,
        "field": {"shape": [32, 32], "sampling_A": 0.2},
        "splits": [
            {"name": "train", "structures": structures, "phonons": 4},
            {"name": "test", "structures": 2, "phonons": 32},
        ],
    }
    return config_from_mapping(content | changes)


def all_draws(config):
    """Every drawn value, by the numbers of structures and images."""
    entries = structure_entries(config)
    structures = {entry.number: asdict(draw_structure(config, entry)) for entry in entries}
    images = [
        asdict(draw_image(config, entry, position))
        for entry in entries
        for position in range(config.images_per_structure)
    ]
    return structures, {image["number"]: image for image in images}


def test_entries_go_split_by_split_with_their_own_numbers():
    entries = structure_entries(make(structures=2))
    assert entries == [
        StructureEntry(0, "train", 0),
        StructureEntry(1, "train", 1),
        StructureEntry(2, "test", 1_000_000),
        StructureEntry(3, "test", 1_000_001),
    ]


def test_one_entry_is_that_of_the_list():
    config = make(structures=2)
    assert [structure_entry(config, row) for row in range(4)] == structure_entries(config)
    for row in (-1, 4):
        with pytest.raises(IndexError, match=f"no structure {row}"):
            structure_entry(config, row)


def test_adding_structures_images_or_splits_changes_no_old_draw():
    old_structures, old_images = all_draws(make())
    content = {
        "splits": [
            {"name": "train", "structures": 14, "phonons": 4},
            {"name": "test", "structures": 12, "phonons": 32},
            {"name": "more", "structures": 1},
        ],
        "images_per_structure": 7,
    }
    new_structures, new_images = all_draws(make(**content))
    assert len(new_structures) == 27
    assert len(new_images) == 27 * 7
    assert {number: new_structures[number] for number in old_structures} == old_structures
    assert {number: new_images[number] for number in old_images} == old_images


@pytest.mark.parametrize("form", [{"choice": [-20, -30]}, -40, {"normal": [-50, 2]}])
@pytest.mark.parametrize("name", ["defocus_A", "aperture_mrad", "A2_A"])
def test_another_distribution_changes_its_own_field_only(name, form):
    if name != "defocus_A":
        form = {"uniform": [15, 30]}
    structures, images = all_draws(make())
    new_structures, new_images = all_draws(make(optics={name: form}))
    assert new_structures == structures
    for number, image in images.items():
        changed = {key for key, value in image.items() if new_images[number][key] != value}
        assert changed == {name}


def test_another_distribution_of_a_structure_changes_its_own_field_only():
    structures, images = all_draws(make())
    changes = {"kind": "cube", "thickness_atoms": {"integers": [11, 14]}}
    new_structures, new_images = all_draws(make(structure=changes))
    assert new_images == images
    for number, structure in structures.items():
        changed = {key for key, value in structure.items() if new_structures[number][key] != value}
        assert changed <= set(changes)
        assert "thickness_atoms" in changed


def test_an_override_changes_its_split_only():
    splits = [
        {"name": "train", "structures": 4, "phonons": 4},
        {
            "name": "test",
            "structures": 2,
            "phonons": 32,
            "override": {
                "structure": {"mistilt_deg": {"uniform": [1, 2]}},
                "dose_e_per_A2": {"choice": [10, 10000]},
            },
        },
    ]
    structures, images = all_draws(make())
    new_structures, new_images = all_draws(make(splits=splits))
    for number, structure in structures.items():
        changed = {key for key, value in structure.items() if new_structures[number][key] != value}
        assert changed == ({"mistilt_deg"} if number >= 1_000_000 else set())
    for number, image in images.items():
        changed = {key for key, value in image.items() if new_images[number][key] != value}
        test = number >= 1_000_000 * SAMPLES_PER_STRUCTURE_KEY
        assert changed == ({"dose_e_per_A2"} if test else set())
        assert not test or new_images[number]["dose_e_per_A2"] in (10.0, 10000.0)


def test_another_seed_draws_other_values():
    structures, images = all_draws(make())
    new_structures, new_images = all_draws(make(seed=6))
    assert all(new_structures[n]["offset_1"] != s["offset_1"] for n, s in structures.items())
    assert all(new_images[n]["camera_seed"] != i["camera_seed"] for n, i in images.items())


def test_fields_of_a_structure_and_of_its_images_are_independent():
    config = make(structures=1500, images_per_structure=1)
    structures, images = all_draws(config)
    columns = [
        [record[name] for record in records.values()]
        for records, names in (
            (structures, ("rotation_deg", "mistilt_deg", "relaxation_A", "offset_1")),
            (images, ("defocus_A", "A1_A", "dose_e_per_A2", "focal_spread_A", "camera_seed")),
        )
        for name in names
    ]
    correlation = np.corrcoef(np.array(columns, dtype=float))
    np.fill_diagonal(correlation, 0.0)
    # 36 pairs of 1502: the largest of them stays below 4 standard errors.
    assert np.abs(correlation).max() < 4 / np.sqrt(len(structures))


def test_drawn_values_follow_their_distributions():
    structures, images = all_draws(make(structures=1500, images_per_structure=1))
    defocus = np.array([image["defocus_A"] for image in images.values()])
    assert defocus.mean() == pytest.approx(-55, abs=4 * 26 / np.sqrt(len(defocus)))
    assert defocus.min() >= -100
    assert defocus.max() <= -10
    thickness = np.array([structure["thickness_atoms"] for structure in structures.values()])
    assert set(thickness) == set(range(3, 11))
    dose = np.log([image["dose_e_per_A2"] for image in images.values()])
    assert dose.mean() == pytest.approx(np.log(300), abs=4 * dose.std() / np.sqrt(len(dose)))


def test_records_have_the_types_and_names_of_the_tables():
    config = make(camera={"kind": "integrating"})
    entry = structure_entries(config)[0]
    kinds = {"int64": int, "float64": float, "str": str}
    for record, table in (
        (draw_structure(config, entry), STRUCTURES),
        (draw_image(config, entry, 3), SAMPLES),
    ):
        for name, value in asdict(record).items():
            expected = tuple if name == "zone_axis" else kinds[table.dtypes[name]]
            assert type(value) is expected, name
            if isinstance(value, float):
                assert value == float(f"{value:.9g}")


def test_sections_draw_every_field_of_the_records_once():
    config = make()
    structure = {f.name for f in fields(StructureParameters)}
    assert structure == set(type(config.structure).model_fields) | {"number", "n_phonons"}
    image = {f.name for f in fields(ImageParameters)} - {"number", "energy_keV", "camera_seed"}
    camera = set(type(config.camera).model_fields) - {"kind"} | {"camera"}
    assert image == set(type(config.optics).model_fields) | camera | {"dose_e_per_A2"}


def test_a_counting_camera_is_ideal_and_an_integrating_one_as_drawn():
    config = make(camera={"kind": {"choice": ["counting", "integrating"]}, "gain": 7})
    entries = structure_entries(config)
    cameras = [camera_of(draw_image(config, entry, i)) for entry in entries for i in range(4)]
    counting = [camera for camera in cameras if camera.kind == "counting"]
    integrating = [camera for camera in cameras if camera.kind == "integrating"]
    assert counting
    assert integrating
    assert all(camera == Camera() for camera in counting)
    assert all(camera.gain == 7 and 0.4 <= camera.mtf_half <= 0.8 for camera in integrating)


def test_sample_numbers_never_collide_and_fit_a_table():
    assert sample_number(3, 0) - sample_number(2, 65535) == 1
    assert sample_number(2**46 + 10**6, 65535) < 2**63
    config = make()
    with pytest.raises(ValueError, match="expected 0 to 3"):
        draw_image(config, structure_entries(config)[0], 4)


def test_camera_seeds_fill_63_bits():
    config = make(structures=500, images_per_structure=1)
    seeds = [draw_image(config, entry, 0).camera_seed for entry in structure_entries(config)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 0
    assert 2**62 < max(seeds) < 2**63


def test_the_draws_of_a_released_generator_never_change():
    # Literal values: a change here needs a new config.GENERATOR_VERSION.
    config = make()
    entry = structure_entries(config)[1]
    structure, image = draw_structure(config, entry), draw_image(config, entry, 2)
    assert (structure.kind, structure.thickness_atoms) == GOLDEN_STRUCTURE[:2]
    assert (structure.rotation_deg, structure.surface_rms_factor) == GOLDEN_STRUCTURE[2:]
    assert (image.defocus_A, image.dose_e_per_A2, image.camera_seed) == GOLDEN_IMAGE


GOLDEN_STRUCTURE = ("slab_stepped", 6, 304.922169, 1.18127446)
GOLDEN_IMAGE = (-15.1111404, 258.001905, 3174151130393232775)
