"""What a film is, and the sources that every installation reads."""

import re
from pathlib import Path

import numpy as np
import pytest

from ceria_data.dataset import open_dataset
from ceria_data.detector import electrons
from ceria_data.errors import FilmError
from ceria_data.film import film_of_array, open_film
from ceria_data.parameters import camera_from_row


def stack(frames=4, ny=6, nx=7):
    return np.arange(frames * ny * nx, dtype=np.uint16).reshape(frames, ny, nx)


def test_an_image_is_a_film_of_one_frame():
    film = film_of_array(stack()[0])
    assert (len(film), film.shape) == (1, (6, 7))
    np.testing.assert_array_equal(film.frames(0, 1), stack()[:1])


def test_frames_outside_are_refused():
    film = film_of_array(stack())
    assert film.frames(4, 4).shape == (0, 6, 7)
    for start, stop in ((-1, 2), (3, 5), (3, 2)):
        with pytest.raises(FilmError, match="it has 4"):
            film.frames(start, stop)


def test_frames_are_in_the_byte_order_of_this_machine(tmp_path):
    np.save(tmp_path / "film.npy", stack().astype(">u2"))
    frames = open_film(tmp_path / "film.npy").frames(0, 4)
    assert frames.dtype.isnative
    np.testing.assert_array_equal(frames, stack())


def test_npy_is_mapped(tmp_path):
    np.save(tmp_path / "film.npy", stack())
    film = open_film(tmp_path / "film.npy")
    np.testing.assert_array_equal(film.frames(1, 3), stack()[1:3])
    assert film.frames(1, 3).dtype == np.uint16
    assert (film.sampling, film.frame_time_s, film.notes, film.samples) == (None, None, (), None)
    assert len(open_film(tmp_path / "film.npy", limit=3)) == 3


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.ones((4, 4), complex), "complex128"),
        (np.array([[None]]), "object"),
        (np.ones((2, 2, 4, 4)), "4 axes"),
        (np.ones(4), "1 axes"),
        (np.ones((0, 4, 4)), "empty"),
    ],
)
def test_arrays_that_hold_no_frames_are_refused(tmp_path, values, found):
    np.save(tmp_path / "film.npy", values)
    with pytest.raises(FilmError, match=found):
        open_film(tmp_path / "film.npy")


def test_images_of_a_dataset_are_electrons():
    film = open_film("ceria-columns-mini", split="test", limit=5)
    dataset = open_dataset("ceria-columns-mini", split="test")
    assert (len(film), film.samples) == (5, tuple(dataset.samples["sample"][:5]))
    camera = camera_from_row(dataset[3].parameters)
    np.testing.assert_array_equal(film.frames(3, 4)[0], electrons(dataset[3].counts, camera))
    assert film.sampling == 0.2


def test_files_have_no_splits(tmp_path):
    np.save(tmp_path / "film.npy", stack())
    with pytest.raises(FilmError, match="no splits"):
        open_film(tmp_path / "film.npy", split="test")
    with pytest.raises(FilmError, match="neither a film nor a dataset"):
        open_film(tmp_path / "nothing.npy")


def test_examples_of_the_page_about_films_run(capsys):
    page = (Path(__file__).parents[2] / "docs/films.md").read_text("utf-8")
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), {})
    assert capsys.readouterr().out.startswith("120 (128, 128)\n")
