import copy
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ceria_data.config import (
    BuildConfig,
    config_from_mapping,
    config_from_yaml,
    load_config,
    recipe_digest,
    resolved_yaml,
    warnings_of,
)
from ceria_data.config_checks import wavelength
from ceria_data.draw import draw_structure, structure_entries
from ceria_data.errors import ConfigError
from ceria_data.grid import Field, cell_around
from ceria_data.particle import build_structure
from ceria_data.quantities import Constant, Quantity, Words
from ceria_data.sections import KINDS, FilmSection, Section

SMALL = {
    "name": "tiny",
    "version": "1.0.0",
    "seed": 1,
    "field": {"shape": [32, 48], "sampling_A": 0.2},
    "splits": [{"name": "train", "structures": 3}, {"name": "test", "structures": 2}],
}


def changed(path, value):
    """SMALL with another value at a path such as ``splits.0.structures``."""
    content = copy.deepcopy(SMALL)
    place = content
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        place = place[part] if isinstance(part, int) else place.setdefault(part, {})
    place[last] = value
    return content


def test_a_minimal_config_gets_every_default():
    config = config_from_mapping(SMALL)
    assert config.max_count == 14
    assert config.allow_cropping is True
    assert [split.first_number for split in config.splits] == [0, 1_000_000]
    assert config.splits[0].phonons == 8
    assert config.scattering.energy_keV == 300.0


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "field.sampling_A",
            20,
            "field.sampling_A is 20 Å/pixel; expected 0.02 to 0.5 Å/pixel; "
            "values in pm must be divided by 100",
        ),
        ("field.sampling", 0.2, "field.sampling is an unknown key; did you mean field.sampling_A?"),
        ("defocus_A", -60, "defocus_A is an unknown key; did you mean optics.defocus_A?"),
        ("optics.defocus", -60, "did you mean optics.defocus_A?"),
        ("splits.1.override", {"optic": {}}, "did you mean splits[1].override.optics?"),
        (
            "splits.1.override",
            {"structure": {"thickness": 3}},
            "splits[1].override.structure.thickness is an unknown key; "
            "did you mean splits[1].override.structure.thickness_atoms?",
        ),
        ("splits.0.override", {"optics": {"A1_A": -1}}, "A1_A is -1 Å; expected 0 to 2000 Å"),
        ("splits.0.override", {"structure": {"zone_axis": [1, 0, 0]}}, "same for the whole"),
        ("dose_e_per_A2", -5, "dose_e_per_A2 is -5 e-/Å²; expected 0.01 to 1000000 e-/Å²"),
        ("dose_e_per_A2", {"uniform": [50, 20]}, "the range [50, 20] is reversed"),
        ("dose_e_per_A2", "1e3", "write 1.0e+3"),
        ("dose_e_per_A2", {"uniform": [1, 2e9]}, "reaches 2e+09 e-/Å² in {uniform: [1, 2"),
        ("optics.C30_um", 1.2e6, "values in mm must be multiplied by 1000"),
        ("optics.aperture_mrad", 110, "expected at most 93.5 mrad"),
        ("scattering.energy_keV", 300000, "values in eV must be divided by 1000"),
        ("scattering.fft", "cufft", "scattering.fft is 'cufft'; expected 'numpy' or 'fftw'"),
        ("structure.kind", "cubes", "expected slab_flat, slab_sawtooth"),
        ("structure.kind", {"uniform": [1, 2]}, "fits numbers only"),
        ("structure.thickness_atoms", {"uniform": [3, 10]}, "use integers or choice"),
        ("structure.thickness_atoms", 3.5, "3.5 is not a whole number; expected 1 to 60 atoms"),
        ("structure.rotation_deg", {"integers": [0, 90]}, "use uniform or choice"),
        ("structure.aspect", float("nan"), "nan"),
        ("structure.zone_axis", [2, 2, 0], "write it as [1, 1, 0]"),
        ("structure.zone_axis", [0, 0, 0], "three whole numbers"),
        ("structure.zone_axis", [1, 1], "three whole numbers"),
        ("structure.zone_axis", [1, 0, 0], "slab_sawtooth needs two {111} edge-on"),
        ("structure", [1], "structure is [1]; expected keys with values"),
        ("field.shape", [160], "expected two whole numbers [y, x], 16 to 4096 pixels each"),
        ("field.shape", [160, 10**6], "16 to 4096"),
        ("seed", -1, "seed is -1; expected 0 to"),
        ("seed", 10**400, "too large"),
        ("seed", True, "seed is true: True is not a number"),
        ("name", "My data", "expected small letters, digits and single hyphens"),
        ("version", 1.0, "version is 1.0; expected three numbers such as 1.0.0"),
        ("max_count", 300, "max_count is 300 atoms; expected 1 to 254 atoms"),
        ("allow_cropping", "no", "allow_cropping is 'no'; expected true or false"),
        ("splits", [], "splits is []; expected at least one entry"),
        ("splits", 3, "splits is 3; expected a list"),
        ("splits.0.name", "Train!", "splits[0].name is 'Train!'"),
        ("splits.1.name", "train", "the name train appears twice"),
        ("splits.1.first_number", 2, "share the structure numbers from 2 on"),
        ("splits.0.structures", 0, "splits[0].structures is 0 structures; expected 1 to"),
        ("splits.0.phonons", 0, "expected 1 to 256 phonon configurations"),
        ("limits", {"split": "tset"}, "limits.split is 'tset'; expected one of train, test"),
        ("camera.gain", 0, "camera.gain is 0 units per electron"),
    ],
)
def test_a_bad_value_is_named_with_what_was_found_and_expected(path, value, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        config_from_mapping(changed(path, value), "my.yaml")
    text = str(caught.value)
    assert text.startswith("my.yaml: ")
    assert "\n" not in text
    assert caught.value.exit_code == 2


def test_every_missing_required_key_is_named():
    for key in SMALL:
        content = {name: value for name, value in SMALL.items() if name != key}
        with pytest.raises(ConfigError, match=f"{key} is missing"):
            config_from_mapping(content)


def test_the_brightest_pixels_must_fit_into_the_camera():
    content = changed("camera", {"kind": "integrating", "gain": 100.0})
    content["dose_e_per_A2"] = 2000
    with pytest.raises(ConfigError, match="dose_e_per_A2 reaches 80 electrons per pixel"):
        config_from_mapping(content)
    content["dose_e_per_A2"] = 1000
    config_from_mapping(content)


def test_without_cropping_slabs_and_large_particles_are_refused_by_name_and_size():
    content = changed("allow_cropping", False)
    with pytest.raises(ConfigError, match="slab_flat"):
        config_from_mapping(content)
    content["structure"] = {
        "kind": "octahedron",
        "thickness_atoms": 2,
        "aspect": 1.0,
        "shift_x_A": 0,
        "shift_y_A": {"uniform": [-1, 0]},
    }
    # Two repeats of 3.826 Å between {111} faces; corners reach sqrt(3) times as far, adatoms
    # 2.4 Å farther on both sides.
    with pytest.raises(ConfigError, match=r"may be 18\.1 Å long and shifted by 1\.0 Å.* 6\.4 Å"):
        config_from_mapping(content)
    content["field"]["shape"] = [101, 101]
    config_from_mapping(content)
    content["field"]["shape"] = [100, 200]
    with pytest.raises(ConfigError, match=r"at most 20\.0 Å"):
        config_from_mapping(content)


@pytest.mark.parametrize("kind", ["octahedron", "cube", "rod", "irregular"])
def test_particles_of_a_config_without_cropping_lie_in_the_field(kind):
    pixels = {"octahedron": 102, "cube": 102, "rod": 120, "irregular": 84}[kind]
    content = changed("allow_cropping", False)
    content["structure"] = {
        "kind": kind,
        "thickness_atoms": 2,
        "aspect": 1.0,
        "elongation": 1.2,
        "truncation": {"uniform": [0, 0.2]},
        "shift_x_A": {"uniform": [-1, 1]},
        "shift_y_A": {"uniform": [-1, 1]},
    }
    content["splits"] = [{"name": "train", "structures": 25}]
    content["field"]["shape"] = [pixels + 4, pixels + 4]
    config = config_from_mapping(content)
    content["field"]["shape"] = [pixels - 4, pixels - 4]
    with pytest.raises(ConfigError, match="the largest particle"):
        config_from_mapping(content)
    field = Field(config.field.shape, config.field.sampling_A)
    cell = cell_around(field, 0.1, 8.0)
    for entry in structure_entries(config):
        structure = build_structure(draw_structure(config, entry), field, cell, config.seed)
        assert structure.columns.position.min() > -0.1
        assert structure.columns.position.max() < (pixels + 3.5) * 0.2


def test_an_override_changes_its_keys_and_keeps_the_others():
    content = changed("structure", {"aspect": 1.5})
    content["splits"][1]["override"] = {
        "structure": {"thickness_atoms": {"integers": [11, 14]}},
        "dose_e_per_A2": {"choice": [10, 10000]},
    }
    config = config_from_mapping(content)
    train, test = (config.sections(split) for split in config.splits)
    assert test.structure.thickness_atoms.support == (11, 14)
    assert train.structure.thickness_atoms.support == (3, 10)
    assert test.structure.aspect.support == train.structure.aspect.support == (1.5,)
    assert test.optics == train.optics == config.optics
    assert test.dose_e_per_A2.support == (10.0, 10000.0)


def test_the_resolved_config_is_complete_and_keeps_the_digest():
    content = changed("splits.1.override", {"camera": {"mtf_half": float("inf")}})
    content["structure"] = {
        "kind": {"choice": {"cube": 1, "rod": 2}},
        "aspect": {"normal": [2, 0.1]},
    }
    config = config_from_mapping(content)
    text = resolved_yaml(config)
    again = config_from_yaml(text)
    assert again == config
    assert recipe_digest(again) == recipe_digest(config)
    assert resolved_yaml(again) == text
    plain = yaml.safe_load(text)
    assert set(plain) == set(BuildConfig.model_fields) - {"film"}  # a still dataset has none
    assert [split["first_number"] for split in plain["splits"]] == [0, 1_000_000]
    assert set(plain["optics"]) == set(type(config.optics).model_fields)


def test_the_digest_names_the_meaning_and_not_the_way_it_is_written():
    digest = recipe_digest(config_from_mapping(SMALL))
    assert re.fullmatch("[0-9a-f]{64}", digest)
    same = changed("max_count", 14)
    same["splits"][0]["first_number"] = 0
    same["optics"] = {"C50_mm": 5.0}
    assert recipe_digest(config_from_mapping(same)) == digest
    same["optics"] = {"C50_mm": 5}
    assert recipe_digest(config_from_mapping(same)) == digest
    for path, value in (
        ("seed", 2),
        ("optics.C50_mm", 4),
        ("splits.0.phonons", 9),
        ("splits.1.override", {"dose_e_per_A2": 100}),
        ("structure.kind", {"choice": ["cube", "rod"]}),
    ):
        assert recipe_digest(config_from_mapping(changed(path, value))) != digest
    one_way = changed("structure.kind", {"choice": ["cube", "rod"]})
    other_way = changed("structure.kind", {"choice": ["rod", "cube"]})
    # The order decides which one is drawn.
    assert recipe_digest(config_from_mapping(one_way)) != recipe_digest(
        config_from_mapping(other_way)
    )


def test_the_digest_carries_the_version_of_the_generator(monkeypatch):
    config = config_from_mapping(SMALL)
    before = recipe_digest(config)
    monkeypatch.setattr("ceria_data.config.GENERATOR_VERSION", 999)
    assert recipe_digest(config) != before


def test_an_uncorrected_microscope_is_allowed_with_a_warning():
    content = changed("optics", {"C30_um": 1200, "defocus_A": 600, "aperture_mrad": 20})
    warnings = warnings_of(config_from_mapping(content))
    assert "optics.C30_um reaches 1200 µm; validated for -20 to 20 µm" in warnings
    assert "optics.defocus_A reaches 600 Å; validated for -150 to 100 Å" in warnings


def test_warnings_name_the_splits_they_are_about():
    content = changed("splits.1.override", {"structure": {"mistilt_deg": {"uniform": [2, 4]}}})
    content["splits"][1]["phonons"] = 16
    content["max_count"] = 9
    warnings = warnings_of(config_from_mapping(content))
    assert warnings[0] == (
        "structure.thickness_atoms reaches 10 atoms; counts above max_count = 9 share one class"
    )
    assert warnings[1] == ("structure.mistilt_deg reaches 4 °; validated for 0 to 2 ° (in test)")
    assert warnings[2].startswith("phonons is 16; 32 are advised here")
    assert len(warnings) == 3


def test_the_wavelength_is_that_of_the_tables():
    # Kirkland, Advanced Computing in Electron Microscopy (2010), table 2.2.
    assert wavelength(100.0) == pytest.approx(0.0370, abs=5e-5)
    assert wavelength(200.0) == pytest.approx(0.0251, abs=5e-5)
    assert wavelength(300.0) == pytest.approx(0.0197, abs=5e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x", "aliases"),
        ("seed: 1\nseed: 2", "'seed' appears twice"),
        ("field: {sampling_A: 0.2, sampling_A: 0.1}", "'sampling_A' appears twice"),
        ("a: [1", "not readable as YAML"),
        ("!!python/object/apply:os.getcwd []", "not readable as YAML"),
        ("- 1", "holds list"),
        ("", "holds NoneType"),
        ("1: 2", "holds dict"),
        ("[" * 50_000, "nested too deeply"),
        ("a" * 100_001, "expected at most 100000"),
        ("? [1]\n: 2", "not readable as YAML"),
    ],
)
def test_text_that_is_no_config_is_refused_in_one_line(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        config_from_yaml(text)
    assert "\n" not in str(caught.value)


def test_files_and_presets_are_found_and_missing_ones_named(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    assert load_config(path) == load_config(str(path)) == config_from_mapping(SMALL)
    with pytest.raises(ConfigError, match="did you mean demo"):
        load_config("demos")
    with pytest.raises(ConfigError, match="presets are ceria-columns-mini"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="no config file"):
        load_config(tmp_path)
    path.write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(path)
    path.write_text("#" * 400_001, encoding="utf-8")
    with pytest.raises(ConfigError, match="this is no config"):
        load_config(path)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["uniform", "choice", "normal", "integers", "mixture", "x"]),
            inner,
            max_size=2,
        )
    ),
    max_leaves=6,
)
paths = [
    "name", "version", "seed", "field", "field.shape", "splits", "splits.0.override",
    "splits.0.phonons", "structure.kind", "structure.thickness_atoms", "structure.zone_axis",
    "optics.defocus_A", "camera.kind", "camera.mtf_half", "dose_e_per_A2", "limits",
    "scattering.fft", "max_count", "description",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(paths), plain)
@example("camera.mtf_half", 1_000_000_001)
def test_any_value_at_any_place_is_accepted_whole_or_refused_in_one_line(path, value):
    refusal = ""
    try:
        config = config_from_mapping(changed(path, value))
        assert config_from_yaml(resolved_yaml(config)) == config
        assert not any("\n" in text for text in warnings_of(config))
    except ConfigError as error:
        refusal = str(error)
    assert "\n" not in refusal


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abc:-[]{}&*!?|>#%@'\" \n\t,0123.~", max_size=60))
def test_any_text_is_refused_in_one_line(text):
    with pytest.raises(ConfigError) as caught:
        config_from_yaml(text)
    assert "\n" not in str(caught.value)


def documented_rows():
    text = (Path(__file__).parents[2] / "docs" / "config.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): " ".join(cell.strip() for cell in row[1:]) for row in rows}


def keys_of(section, prefix=""):
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from keys_of(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def test_every_key_is_documented_with_its_limits():
    rows = documented_rows()
    keys = dict(keys_of(BuildConfig)) | dict(keys_of(FilmSection, "film."))
    assert set(rows) >= set(keys)
    for key, field in keys.items():
        for marker in field.metadata:
            if isinstance(marker, Quantity | Constant) and key != "seed":
                assert f"{marker.low:.9g} to {marker.high:.9g}" in rows[key], key
                if marker.usual:
                    assert f"{marker.usual[0]:.9g} to {marker.usual[1]:.9g}" in rows[key], key
            if isinstance(marker, Words):
                assert all(word in rows[key] for word in marker.values), key


def test_kinds_are_those_that_can_be_built():
    from ceria_data.shapes import KINDS as BUILT

    assert KINDS == BUILT
