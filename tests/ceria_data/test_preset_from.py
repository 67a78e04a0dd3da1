"""A config made from a film can be planned, and says what was measured and what was assumed."""

import json
import sys

import numpy as np
import pytest
import tifffile

from ceria_data.cli import app
from ceria_data.config import config_from_yaml, load_config
from ceria_data.dataset import open_dataset
from ceria_data.errors import CeriaError, ConfigError, FilmError
from ceria_data.film import film_of_array
from ceria_data.plan import plan
from ceria_data.preset_from import preset_from_film
from ceria_data.terminal import run

DOSE = 250.0


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `ceria-data preset-from`; exit code, standard output and error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ceria-data", "preset-from", *map(str, arguments)])
        code = run(app, CeriaError)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def frames(n=6, gain=1):
    light = open_dataset("ceria-columns-mini", "test")[5].intensity.astype(float)
    return gain * np.random.default_rng(0).poisson(light * DOSE * 0.04, (n, *light.shape))


def save(path, unit="nm", values=None):
    values = frames() if values is None else values
    tifffile.imwrite(
        path,
        values.astype(np.uint16),
        imagej=True,
        resolution=(50.0, 50.0),
        metadata={"axes": "TYX", "unit": unit, "finterval": 0.025},
    )


def test_the_config_matches_and_can_be_planned(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "My film, 3.tif")
    code, out, err = command("My film, 3.tif", "--defocus", "-65", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["config"] == "my-film-3-match.yaml"
    assert (facts["sampling_A"], facts["frame_time_s"], facts["doubted"]) == (0.2, 0.025, False)
    config = load_config(tmp_path / "my-film-3-match.yaml")
    assert config.field.sampling_A == 0.2
    assert config.field.shape == (128, 128)
    assert config.optics.defocus_A.support == (-85, -45)
    low, high = config.dose_e_per_A2.support
    assert low == pytest.approx(DOSE / 3, rel=0.1)
    assert high == pytest.approx(DOSE * 3, rel=0.1)
    assert config.camera.kind.support == ("counting",)
    assert plan(config)
    text = (tmp_path / "my-film-3-match.yaml").read_text()
    for words in ("0.025 s", "as the file says", "the reflections of CeO2 [110] give", "measured"):
        assert words in text
    assert "Energy assumed" in text
    code, _, err = command("My film, 3.tif")
    assert code == 2
    assert "exists" in err
    assert command("My film, 3.tif", "--overwrite", "--quiet") == (0, "", "")
    assert command("nothing.tif")[0] == 2
    assert command("My film, 3.tif", "--dose", "-3")[0] == 2


def test_a_missing_pixel_size_is_measured():
    preset = preset_from_film(film_of_array(frames()))
    assert preset.facts.sampling == pytest.approx(0.2, rel=0.01)
    assert "measured from the reflections" in preset.text
    assert preset.config.field.sampling_A == pytest.approx(0.2, rel=0.01)


def test_a_wrong_pixel_size_is_doubted():
    preset = preset_from_film(film_of_array(frames(), sampling=0.22))
    assert preset.config.field.sampling_A == 0.22
    assert "DOUBTED" in preset.text
    assert "is doubted" in preset.warnings[0]


def test_a_pixel_size_that_nobody_knows_is_asked_for():
    vacuum = np.random.default_rng(0).poisson(5.0, (4, 96, 96))
    with pytest.raises(FilmError, match="--pixel-size"):
        preset_from_film(film_of_array(vacuum))
    preset = preset_from_film(film_of_array(vacuum), sampling=0.1)
    assert "too weak to check it" in preset.text


def test_what_is_given_wins():
    preset = preset_from_film(
        film_of_array(frames(gain=8), sampling=0.2), energy_keV=80, dose_e_per_A2=2000
    )
    config = preset.config
    assert config.scattering.energy_keV == 80
    assert config.dose_e_per_A2.support[1] == 6000
    assert config.camera.kind.support == ("counting", "integrating")
    assert "8" in next(line for line in preset.text.splitlines() if "units per electron" in line)
    assert any("noise tells" in text for text in preset.warnings)


def test_fine_and_large_frames_get_a_part_as_field():
    rng = np.random.default_rng(0)
    film = film_of_array(rng.poisson(2.0, (1, 1200, 900)), sampling=0.05)
    preset = preset_from_film(film)
    assert preset.config.field.shape == (512, 512)
    assert plan(preset.config)


def test_hostile_names_stay_in_their_line():
    film = film_of_array(frames(1), sampling=0.2, source='a/x"}\nseed: 9 # \x1b[31m.tif')
    preset = preset_from_film(film)
    assert config_from_yaml(preset.text).seed == 1


@pytest.mark.parametrize(
    ("keys", "error"),
    [({"sampling": 3.0}, ConfigError), ({"sampling": -1.0}, FilmError)],
)
def test_what_cannot_be_built_is_refused(keys, error):
    with pytest.raises(error):
        preset_from_film(film_of_array(frames(2)), **keys)


def test_frames_without_noise_need_a_dose():
    ramp = np.arange(1.0, 65)[:, None] * np.ones(64)
    with pytest.raises(FilmError, match="--dose"):
        preset_from_film(film_of_array(ramp, sampling=0.2))
    assert preset_from_film(film_of_array(ramp, sampling=0.2), dose_e_per_A2=50)
    with pytest.raises(FilmError, match="all equal"):
        preset_from_film(film_of_array(np.zeros((3, 64, 64)), sampling=0.2))


def test_a_broken_frame_is_left_out():
    broken = np.insert(frames(4).astype(np.float32), 2, np.nan, axis=0)
    whole, found = (
        preset_from_film(film_of_array(film, sampling=0.2)).config for film in (frames(4), broken)
    )
    assert found.dose_e_per_A2 == whole.dose_e_per_A2
    with pytest.raises(FilmError, match="not finite numbers"):
        preset_from_film(film_of_array(broken[2:3], sampling=0.2))


def test_a_missing_extra_is_named(tmp_path, monkeypatch, command):
    (tmp_path / "film.mrc").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "mrcfile", None)
    code, _, err = command(tmp_path / "film.mrc")
    assert code == 2
    assert "pip install 'ceria[em]'" in err
    assert [file.name for file in tmp_path.iterdir()] == ["film.mrc"]
