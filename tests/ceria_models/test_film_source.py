"""A film is opened, prepared, and opened again as its record says."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from ceria_data import open_dataset
from ceria_data.errors import FilmError
from ceria_data.film import open_film
from ceria_models.film_source import Preparation, open_again, open_source
from tests.ceria_models.command import run
from tests.ceria_models.make_model import fresh


@pytest.fixture
def file(tmp_path):
    film = np.random.default_rng(0).poisson(9.0, (10, 40, 48)).astype(np.uint16)
    np.save(tmp_path / "film.npy", film)
    return tmp_path / "film.npy"


def by_hand(film, first, frames, bin_, sum_):
    film = film[first : first + frames].astype(float)
    n, y, x = film.shape
    film = film.reshape(n, y // bin_, bin_, x // bin_, bin_).sum((2, 4))
    return film[: n // sum_ * sum_].reshape(n // sum_, sum_, y // bin_, x // bin_).sum(1)


def test_a_prepared_film_is_what_a_person_would_make(file):
    preparation = Preparation(first=2, frames=7, bin=2, sum=3)
    opened = open_source(file, frame_time_s=0.1, preparation=preparation)
    np.testing.assert_array_equal(opened.film.frames(0, 2), by_hand(np.load(file), 2, 7, 2, 3))
    np.testing.assert_allclose(opened.times, [0.2, 0.5])
    assert opened.record == {"first": 2, "frames": 7, "bin": 2, "sum": 3}
    again = open_again(file, json.loads(json.dumps(opened.record)))
    np.testing.assert_array_equal(again.frames(0, 2), opened.film.frames(0, 2))


def test_a_running_sum_has_a_frame_less_for_each_neighbour(file):
    opened = open_source(file, frame_time_s=0.1, preparation=Preparation(running=4))
    film = np.load(file).astype(float)
    np.testing.assert_array_equal(opened.film.frames(3, 4)[0], film[3:7].sum(0))
    assert len(opened.film) == len(opened.times) == 7


@pytest.mark.parametrize(
    ("preparation", "match"),
    [
        ({"sum": 11}, "--sum 11: .* has 10 frames"),
        ({"running": 11}, "--running 11: .* has 10 frames"),
        ({"bin": 41}, "--bin 41: .* has 40 pixels along an axis"),
        ({"first": 10}, "no frame is left"),
        ({"sum": 2, "running": 2}, "exclude each other"),
    ],
)
def test_what_leaves_nothing_is_refused(file, preparation, match):
    with pytest.raises(FilmError, match=match):
        open_source(file, preparation=Preparation(**preparation))


def test_images_of_several_structures_are_not_summed():
    with pytest.raises(FilmError, match="several structures"):
        open_source("ceria-columns-mini", split="test", preparation=Preparation(sum=2))


@pytest.mark.parametrize("way", ["sum", "running"])
def test_a_sum_is_at_the_time_of_its_first_frame(tmp_path, monkeypatch, way):
    """Times are those of the dataset, wherever they begin."""
    dataset = open_dataset("ceria-columns-mini", "test")
    rows = dataset.samples.assign(
        particle=7, frame=np.arange(len(dataset)), time_s=3 + 0.5 * np.arange(len(dataset))
    )
    monkeypatch.setattr(
        "ceria_models.film_source.open_dataset", lambda *_: SimpleNamespace(samples=rows)
    )
    film = open_film("ceria-columns-mini", split="test", limit=6)
    monkeypatch.setattr(
        "ceria_models.film_source.open_film", lambda *_: replace(film, frame_time_s=0.5)
    )
    opened = open_source("movies", preparation=Preparation(first=2, **{way: 2}))
    expected = {"sum": [4.0, 5.0], "running": [4.0, 4.5, 5.0]}
    assert opened.times.tolist() == expected[way]


def test_an_unknown_preparation_is_not_guessed(file):
    with pytest.raises(FilmError, match="not known here"):
        open_again(file, {"gain": 3})


@pytest.mark.parametrize("binned", [1, 2])
def test_a_pixel_size_that_nobody_says_is_estimated(monkeypatch, capsys, tmp_path, binned):
    """Within 1 %, and what was done is on record, for a pixel of the file."""
    dataset = open_dataset("ceria-columns-mini", "test")
    image = dataset.at_dose(1000.0)[41].counts
    np.save(tmp_path / "image.npy", image)
    out = tmp_path / "found"
    fresh().save_pretrained(tmp_path / "net")
    code, _, err = run(
        monkeypatch, capsys, "predict", tmp_path / "image.npy", "--model", tmp_path / "net",
        "--out", out, "--pictures", 0, "--force", "--bin", binned,
    )  # fmt: skip
    assert code == 0, err
    facts = json.loads((out / "prediction.json").read_text())
    assert facts["sampling_A"] == pytest.approx(0.2 * binned, rel=0.01)
    said = re.search(r"does not say its pixel size; ([\d.]+) ± [\d.]+ Å", facts["notes"][0])
    assert float(said[1]) == pytest.approx(0.2, rel=0.01)
    assert "--pixel-size overrides it" in err.replace("\n", " ")


@pytest.mark.parametrize(("given", "noted"), [(0.2, True), (0.4, False)])
def test_a_flag_that_differs_from_the_file_counts_and_is_noted(
    monkeypatch, capsys, tmp_path, given, noted
):
    image = open_dataset("ceria-columns-mini", "test")[41].counts
    # Pixels per micrometre: 0.4 Å.
    tifffile.imwrite(
        tmp_path / "film.tif", image, imagej=True, resolution=(25000, 25000),
        metadata={"unit": "um", "axes": "YX"},
    )  # fmt: skip
    fresh().save_pretrained(tmp_path / "net")
    code, _, err = run(
        monkeypatch, capsys, "predict", tmp_path / "film.tif", "--model", tmp_path / "net",
        "--out", tmp_path / "found", "--pictures", 0, "--force", "--pixel-size", given,
    )  # fmt: skip
    assert code == 0, err
    facts = json.loads((tmp_path / "found" / "prediction.json").read_text())
    assert facts["sampling_A"] == pytest.approx(given)
    said = "film.tif says a pixel size of 0.4 Å; 0.2 Å was taken"
    assert any(said in note for note in facts["notes"]) == noted
