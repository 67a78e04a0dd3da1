from math import e, log2, pi

import pytest

from ceria_data import plan as planning
from ceria_data.config import config_from_mapping, load_config
from ceria_data.plan import plan, plan_facts, time_transform

TINY = {
    "name": "tiny",
    "version": "1.0.0",
    "seed": 1,
    "field": {"shape": [32, 48], "sampling_A": 0.2},
    "images_per_structure": 2,
    "splits": [
        {"name": "train", "structures": 3, "phonons": 2},
        {"name": "test", "structures": 2, "phonons": 5},
    ],
    "structure": {
        "kind": "cube",
        "thickness_atoms": 4,
        "lattice_parameter_A": 5.4,
        "n_cerium_adatoms": 0,
        "n_oxygen_adatoms": 0,
    },
    "scattering": {"sampling_A": 0.1, "padding_A": 3.2, "slice_thickness_A": 0.5},
    "dose_e_per_A2": 100,
}


def tiny(**changes):
    return config_from_mapping(TINY | changes)


def test_sizes_of_a_tiny_config_are_those_of_arithmetic():
    planned = plan(tiny())
    assert planned.layout.structures == 5
    assert planned.samples == 10
    assert planned.splits == {"train": 3, "test": 2}
    # 4 atoms of a column are 8 planes of 1.909 Å on [110].
    assert planned.layout.planes == 8
    assert planned.plane_spacing_A == pytest.approx(5.4 / 8**0.5)
    pixels = 32 * 48
    arrays = 10 * pixels * 2 + 10 * pixels * 2 + 5 * 2 * pixels + 5 * 8 * pixels
    assert planned.bytes_arrays == arrays
    # Field 32 x 48 pixels of 2 points, margins of 32 points.
    assert planned.cell.shape == (128, 160)


def test_time_and_transforms_of_a_tiny_config_are_those_of_arithmetic():
    planned = plan(tiny())
    # Two planes for each of the 4 atoms of a column.
    slices = 8 * planning.SLICES_PER_PLANE
    images = 2 * planning.IMAGE_COST
    transforms = (3 * 2 + 2 * 5) * (planning.SLICE_COST * slices + images)
    assert planned.transforms == pytest.approx(transforms)
    facts = plan_facts(planned, workers=2, seconds_per_transform=100.0)
    hours = transforms * 100 / 2 / 3600
    assert facts["hours_estimate"] == pytest.approx(hours, rel=1e-3)
    assert facts["workers"] == 2


def test_files_follow_from_the_blocks():
    one, three = plan(tiny(), block=5), plan(tiny(), block=2)
    assert (one.layout.blocks, three.layout.blocks) == (1, 3)
    assert three.files - one.files == 2 * 4
    assert one.largest_file == 5 * 8 * 32 * 48
    assert one.bytes_arrays == three.bytes_arrays


def test_space_on_disk_grows_with_the_noise_of_the_counts():
    base = plan(tiny())
    strong = plan(tiny(dose_e_per_A2=1000))
    bits = [0.5 * log2(2 * pi * e * (dose * 0.04 + 1 / 12)) for dose in (100, 1000)]
    grown = (bits[1] - bits[0]) / 16 * 10 * 32 * 48 * 2 * planning.COUNTS_OVER_ENTROPY
    assert strong.bytes_on_disk - base.bytes_on_disk == pytest.approx(grown, abs=1)
    camera = {"kind": "integrating", "gain": 20, "readout_noise": 0}
    amplified = plan(tiny(camera=camera))
    assert amplified.bytes_on_disk > strong.bytes_on_disk


def test_adatoms_and_overrides_need_planes():
    thick = {"structure": {"thickness_atoms": 6}}
    splits = [TINY["splits"][0], TINY["splits"][1] | {"override": thick}]
    assert plan(tiny(splits=splits)).layout.planes == 12
    adatoms = TINY["structure"] | {"n_oxygen_adatoms": {"integers": [0, 1]}}
    assert plan(tiny(structure=adatoms)).layout.planes > 8


def test_slices_are_as_thin_as_asked_for():
    thin = TINY["scattering"] | {"slice_thickness_A": 2.0}
    thick = plan(tiny(scattering=thin)).transforms
    slices = (thick / 16 - 2 * planning.IMAGE_COST) / planning.SLICE_COST
    assert slices == pytest.approx(4 * 5.4 / 2**0.5 / 2.0)


def test_memory_grows_with_phonons_grid_precision_and_block():
    base = plan(tiny(), block=1).memory_per_worker
    splits = [TINY["splits"][0], TINY["splits"][1] | {"phonons": 9}]
    # Orders up to 40 mrad of a cell of 12.8 x 16 Å: 26 and 32, and the edge of the aperture.
    spectra = 4 * 53 * 65 * 8
    # x, y, z of 4 atoms in each column of a cell of 12.8 x 16 Å, in float64.
    positions = 24 * 4 * planning.COLUMNS_PER_A2 * 12.8 * 16
    more = plan(tiny(splits=splits), block=1).memory_per_worker - base
    assert more == pytest.approx(spectra + 4 * positions, abs=1)
    block = plan(tiny(), block=3).memory_per_worker - base
    arrays = planning.BLOCK_COPIES * 2 * (2 * 2 * 2 + 2 + 8) * 32 * 48
    assert block == pytest.approx(arrays + 2 * 5 * positions, abs=1)
    double = TINY["scattering"] | {"precision": "float64"}
    more = plan(tiny(scattering=double), block=1).memory_per_worker - base
    assert more == pytest.approx(9 * 8 * 128 * 160 + 5 * 53 * 65 * 8)


def test_blocks_are_many_when_small_and_handy_when_large():
    def block(structures, shape=(160, 160)):
        field = {"shape": list(shape), "sampling_A": 0.2}
        splits = [{"name": "train", "structures": structures}]
        return plan(tiny(splits=splits, field=field)).layout.block

    assert block(5) == 1
    assert block(160) == 10
    assert block(4000) == 32
    assert block(500_000) == 100
    # 8 planes of 2048 x 2048 are 33.5 MB a structure: one of them in 64 MB.
    assert block(4000, (2048, 2048)) == 1


def test_limits_of_the_hub_are_named_when_passed():
    assert plan(load_config("ceria-columns-v1")).warnings == ()
    splits = [{"name": "train", "structures": 1_000_000}]
    field = {"shape": [512, 512], "sampling_A": 0.2}
    many = plan(tiny(splits=splits, field=field), block=30)
    assert [text.split(";")[0].split(" ", 1)[1] for text in many.warnings] == [
        "files",
        "shards in a folder",
        "GB in all",
    ]
    huge = plan(tiny(splits=splits, field=field), block=20_000)
    assert huge.warnings[0] == "shards of up to 41.9 GB; the Hub advises at most 20 GB a file"


def test_facts_name_units_and_planning_depends_on_the_config_only():
    planned = plan(load_config("demo"))
    assert planned == plan(load_config("demo"))
    facts = plan_facts(planned, workers=1)
    assert facts["structures"] == 24
    assert facts["images"] == 96
    assert facts["hours_estimate"] > 0
    assert facts["uncompressed_GB"] == round(planned.bytes_arrays / 1e9, 3)


def test_a_transform_takes_time():
    assert 0 < time_transform((32, 32), seconds=0.01) < 1
