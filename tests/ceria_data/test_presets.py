import pytest

from ceria_data.config import load_config, preset_names, recipe_digest, warnings_of
from ceria_data.plan import plan
from ceria_data.sections import EVENT_KINDS

BENCHMARK = ("slab_flat", "slab_sawtooth", "slab_stepped", "octahedron", "cube")


def test_the_presets_are_there_under_their_own_recipes():
    assert preset_names() == [
        "ceria-columns-mini",
        "ceria-columns-v1",
        "ceria-movie-v1",
        "ceria-particles-large",
        "demo",
        "demo-movie",
    ]
    assert len({recipe_digest(load_config(name)) for name in preset_names()}) == 6
    assert len({load_config(name).seed for name in preset_names()}) == 6


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_the_three_splits_and_writes_down_first_numbers(name):
    config = load_config(name)
    assert [split.name for split in config.splits[:3]] == ["train", "validation", "test"]
    assert [split.first_number for split in config.splits] == [
        i * 1_000_000 for i in range(len(config.splits))
    ]
    assert config.max_count == 14
    assert config.structure.zone_axis == (1, 1, 0)
    assert config.images_per_structure == (1 if config.film else 4)


def test_movies_are_calm_active_and_rich_in_vacancies():
    config = load_config("ceria-movie-v1")
    assert warnings_of(config) == []
    assert config.film.frame_time_s == pytest.approx(1 / 30)
    assert config.film.duration_s == pytest.approx(5)
    assert config.dose_e_per_A2.support == (100.0, 300.0, 1000.0)
    endings = ("", "_calm", "_vacancies")
    names = [f"{split}{ending}" for ending in endings for split in ("train", "validation", "test")]
    assert [split.name for split in config.splits] == names
    for split in config.splits:
        film = config.sections(split).film
        assert split.phonons == (32 if split.name.startswith("test") else 8)
        assert bool(film.tilt_per_s) != split.name.endswith("_calm")
        assert bool(film.oxygen_vacancy_creation_per_e_A2) == split.name.endswith("_vacancies")


def test_the_demo_of_films_has_an_event_of_each_kind():
    config = load_config("demo-movie")
    script = config.sections(config.split("test")).film.script
    assert {step.kind for step in script} == set(EVENT_KINDS)
    planned = plan(config)
    assert planned.samples == 120
    assert planned.layout.starts[-1] > 12


def test_demo_is_small_and_its_warnings_say_that_it_has_few_phonons():
    config = load_config("demo")
    assert [split.structures for split in config.splits] == [16, 4, 4]
    assert config.field.shape == (96, 96)
    assert config.field.sampling_A == 0.2
    assert config.optics.defocus_A.support == (-90.0, -45.0)
    assert config.optics.C50_mm.support == (5.0,)
    assert config.camera.kind.support == ("counting",)
    assert max(split.phonons for split in config.splits) <= 3
    warnings = warnings_of(config)
    assert warnings
    assert all("phonons" in warning for warning in warnings)


@pytest.mark.parametrize("name", ["ceria-columns-mini", "ceria-columns-v1"])
def test_the_benchmark_covers_the_range_of_segdepth_inside_the_validated_ranges(name):
    config = load_config(name)
    assert config.field.shape == ((128, 128) if name.endswith("mini") else (160, 160))
    assert config.field.sampling_A == 0.2
    assert config.scattering.energy_keV == 300
    assert config.scattering.slice_thickness_A == 0.5
    assert config.scattering.sampling_A == 0.1
    train = config.sections(config.split("train"))
    assert train.structure.kind.support == tuple(sorted(BENCHMARK))
    assert train.structure.thickness_atoms.support == (3, 10)
    assert train.structure.rotation_deg.support == (0.0, 360.0)
    assert train.structure.mistilt_deg.support == (0.0, 1.0)
    assert train.optics.defocus_A.support == (-100.0, -10.0)
    assert train.optics.focal_spread_A.support == (15.0, 40.0)
    assert train.optics.C30_um.at(0.5) == pytest.approx(-9)
    assert train.dose_e_per_A2.support == (30.0, 3000.0)
    for split in config.splits:
        assert split.phonons == (32 if split.name.startswith("test") else 8)
    assert warnings_of(config) == []


def test_mini_draws_from_the_distribution_of_the_benchmark():
    mini, benchmark = load_config("ceria-columns-mini"), load_config("ceria-columns-v1")
    assert sum(split.structures for split in mini.splits) == 150
    for split in mini.splits:
        assert mini.sections(split) == benchmark.sections(benchmark.split(split.name))
    assert mini.scattering == benchmark.scattering


def test_each_test_out_of_distribution_moves_one_thing():
    config = load_config("ceria-columns-v1")
    assert sum(split.structures for split in config.splits) == 4000
    base = config.sections(config.split("test"))
    moved = {}
    for split in config.splits[3:]:
        sections = config.sections(split)
        for section in ("structure", "optics", "camera"):
            for key in type(getattr(sections, section)).model_fields:
                value = getattr(getattr(sections, section), key)
                if value != getattr(getattr(base, section), key):
                    moved.setdefault(split.name, []).append((key, value.support))
        if sections.dose_e_per_A2 != base.dose_e_per_A2:
            moved.setdefault(split.name, []).append(("dose", sections.dose_e_per_A2.support))
    assert moved == {
        "test_thickness": [("thickness_atoms", (11, 14))],
        "test_defocus": [("defocus_A", (-150.0, -100.0, 10.0, 100.0))],
        "test_tilt": [("mistilt_deg", (1.0, 2.0))],
        "test_dose": [("dose", (10.0, 10000.0))],
        "test_kind": [("kind", ("irregular", "rod"))],
    }


def test_large_particles_have_a_larger_field():
    config = load_config("ceria-particles-large")
    assert config.field.shape == (256, 256)
    assert config.structure.thickness_atoms.support == (6, 14)
    assert "rod" in config.structure.kind.support
