"""References of a simulated camera give its electrons back; what cannot be right is refused."""

import numpy as np
import pytest

from ceria_data.dataset import open_dataset
from ceria_data.errors import FilmError
from ceria_data.film import film_of_array, open_film
from ceria_data.film_references import CameraReferences, read_reference, references_again
from tests.ceria_data.make_camera import DOSE, Shots, intensity


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    return Shots.write(tmp_path_factory.mktemp("camera"))


def test_the_electrons_of_the_clean_film_come_back(shots):
    found = shots.references().applied(open_film(shots.film)).frames(0, 3)
    good = ~shots.hot
    away = (found - np.load(shots.clean)[:3])[:, good]
    # Read-out, rounding, and the noise of 32 dark and 32 flat frames; the film has √λ.
    assert np.sqrt((away**2).mean()) < 0.08 * np.sqrt(DOSE * 0.04)
    # The mean of the gains is taken for 1; of so many pixels it is 1 within 0.001.
    assert abs(away.mean()) < 0.003 * DOSE * 0.04
    around = intensity().mean() * DOSE * 0.04
    assert (found[:, shots.hot] < 3 * around).all()


def test_an_offset_does_what_an_even_dark_reference_does(shots, tmp_path):
    np.save(tmp_path / "dark.npy", np.full(shots.hot.shape, 100.0))
    film, flat = open_film(shots.film), read_reference(shots.flat)
    dark = read_reference(tmp_path / "dark.npy")
    one = CameraReferences(dark=dark, flat=flat, gain=10.0).applied(film)
    other = CameraReferences(offset=100.0, flat=flat, gain=10.0).applied(film)
    np.testing.assert_array_equal(one.frames(0, 2), other.frames(0, 2))


def test_frames_are_averaged_and_read_when_asked_for(tmp_path):
    np.save(tmp_path / "dark.npy", np.arange(40 * 6).reshape(40, 2, 3))
    dark = read_reference(tmp_path / "dark.npy")
    np.testing.assert_array_equal(dark.values, np.arange(6).reshape(2, 3) + 6 * 19.5)
    read = []

    def frames(start, stop):
        read.extend(range(start, stop))
        return np.full((stop - start, 2, 3), 500.0)

    film = open_film(tmp_path / "dark.npy")
    film = type(film)("film", (2, 3), 1000, frames)
    prepared = CameraReferences(dark=dark).applied(film)
    assert len(set(read)) <= 8
    prepared.frames(500, 502)
    assert {500, 501} <= set(read)


def test_a_record_finds_the_same_files_and_no_others(shots):
    references = shots.references()
    again = references_again(references.record())
    film = open_film(shots.film)
    np.testing.assert_array_equal(
        again.applied(film).frames(0, 1), references.applied(film).frames(0, 1)
    )
    record = references.record()
    record["dark"] |= {"sha256": "0" * 64}
    with pytest.raises(FilmError, match="not the reference that was used before"):
        references_again(record)
    with pytest.raises(FilmError, match="not known here"):
        references_again({"bias": 3.0})


def of(values, tmp_path, name="ref"):
    np.save(tmp_path / f"{name}.npy", values)
    return read_reference(tmp_path / f"{name}.npy")


FILM = film_of_array(np.full((4, 8, 9), 150.0))


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        ("dark", np.ones((9, 8)), r"dark reference has the shape \(9, 8\); expected \(8, 9\)"),
        ("flat", np.ones((9, 8)), r"gain reference has the shape \(9, 8\); expected \(8, 9\)"),
        ("bad_pixels", np.ones((9, 8)), r"mask of bad pixels has the shape \(9, 8\)"),
        ("dark", np.full((8, 9), 151.0), "is 151 counts on average, array 150: nothing would be"),
        (
            "flat",
            np.eye(8, 9),
            r"not above the camera's zero in 64 of 72 pixels, first .* \(0, 1\)",
        ),
        ("bad_pixels", np.ones((8, 9)), "marked as bad"),
    ],
)
def test_references_that_do_not_fit_are_refused(tmp_path, name, values, match):
    with pytest.raises(FilmError, match=match):
        CameraReferences(**{name: of(values, tmp_path)}).applied(FILM)


def test_an_unlit_pixel_of_the_flat_may_be_bad(tmp_path):
    flat, bad = np.full((8, 9), 2.0), np.zeros((8, 9))
    flat[3, 4], bad[3, 4] = 0, 1
    flat[5, 6], bad[5, 6] = 1e6, 1  # which must not decide what even light is
    flat, bad = of(flat, tmp_path), of(bad, tmp_path, "bad")
    fixed = CameraReferences(flat=flat, bad_pixels=bad).applied(FILM)
    np.testing.assert_allclose(fixed.frames(0, 1), 150.0)
    with pytest.raises(FilmError, match="mark single pixels as bad"):
        CameraReferences(flat=flat).applied(FILM)


def test_a_flat_without_the_offset_of_the_film_is_refused(tmp_path):
    with pytest.raises(FilmError, match="as recorded, offset included"):
        CameraReferences(flat=of(np.ones((8, 9)), tmp_path), offset=100.0).applied(FILM)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"gain": 0.0}, "the gain is 0 counts per electron"),
        ({"gain": -1.0}, "the gain is -1"),
        ({"gain": np.nan}, "the gain is nan"),
        ({"offset": np.inf}, "the offset is inf"),
    ],
)
def test_impossible_numbers_are_refused(given, match):
    with pytest.raises(FilmError, match=match):
        CameraReferences(**given)


def test_a_dark_reference_has_the_offset_in_it(tmp_path):
    with pytest.raises(FilmError, match="give one of them"):
        CameraReferences(dark=of(np.ones((8, 9)), tmp_path), offset=1.0)


def test_values_that_are_no_numbers_are_refused(tmp_path):
    values = np.ones((3, 8, 9))
    values[1, 2, 3] = np.nan
    with pytest.raises(FilmError, match="no finite numbers, in 1 of 72 pixels"):
        of(values, tmp_path)


def test_datasets_are_electrons_already(tmp_path):
    film = open_film("ceria-columns-mini", split="test")
    with pytest.raises(FilmError, match="electrons already"):
        CameraReferences(offset=3.0).applied(film)
    with pytest.raises(FilmError, match="is a dataset"):
        read_reference(open_dataset("ceria-columns-mini", "test").folder)


@pytest.mark.parametrize("way", ["dark", "offset"])
def test_what_is_there_without_electrons_is_taken_off_the_flat_too(tmp_path, way):
    """Pixels that answer half and one and a half times as strongly, 100 counts above 0."""
    response = np.resize([0.5, 1.5], (8, 10))
    zero = {"dark": of(np.full((8, 10), 100.0), tmp_path)} if way == "dark" else {"offset": 100.0}
    flat = of(100 + 40 * response, tmp_path, "flat")
    film = film_of_array((100 + 30 * response)[None])
    found = CameraReferences(flat=flat, gain=3.0, **zero).applied(film).frames(0, 1)
    np.testing.assert_allclose(found, 10.0, rtol=1e-6)
