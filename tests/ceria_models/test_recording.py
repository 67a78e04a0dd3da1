"""Every program is shown the same electrons, whatever pixels and camera record them."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import erf

from ceria_data.dataset import open_dataset
from ceria_data.detector import electrons
from ceria_data.grid import Field
from ceria_data.parameters import Camera
from ceria_models.errors import ImageError
from ceria_models.evaluation import evaluate
from ceria_models.recording import OWN, Recording, record_at, typical_camera
from ceria_models.strata import choose_rows
from tests.ceria_models.fake_program import FakeProgram


@pytest.fixture(scope="module")
def test_split():
    return open_dataset("ceria-columns-mini", "test")


def test_electrons_depend_on_sample_dose_and_draw_only(test_split):
    whole = open_dataset("ceria-columns-mini")
    sample = test_split[7]
    same = whole[int(np.flatnonzero(whole.samples["sample"] == sample.parameters["sample"])[0])]
    np.testing.assert_array_equal(record_at(sample, 300.0), record_at(same, 300.0))
    assert (record_at(sample, 300.0) != record_at(sample, 300.0, draw=1)).any()
    assert (record_at(sample, 300.0) != record_at(test_split[8], 300.0)).any()


def test_draws_are_independent_poisson_numbers_of_the_right_mean(test_split):
    sample = test_split[0]
    expected = sample.intensity.astype(float) * 100.0 * 0.2**2
    draws = np.stack([record_at(sample, 100.0, draw) for draw in range(40)])
    assert draws.mean() == pytest.approx(expected.mean(), rel=0.005)
    assert draws.var(axis=0, ddof=1).mean() == pytest.approx(expected.mean(), rel=0.02)
    # Other doses must not show the same noise on another scale.
    other = record_at(sample, 3000.0) / 30.0
    noise = [(image - expected).ravel() for image in (draws[0], other)]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.03


def test_a_recorded_movie_frame_is_not_stored_counts(test_split):
    sample = test_split[3]
    dose = sample.parameters["dose_e_per_A2"]
    assert (record_at(sample, dose) != sample.counts).any()


def test_electrons_are_what_the_camera_multiplied():
    camera = Camera("integrating", gain=4.0, offset=100)  # a whole number, as YAML may give it
    found = electrons(np.array([[0, 100, 108]], dtype=np.uint16), camera)
    np.testing.assert_array_equal(found, [[-25.0, 0.0, 2.0]])


def test_pixels_of_twice_the_size_are_the_means_of_four(test_split):
    sample = test_split[3]
    image = Recording(0.4).on_pixels(sample.intensity, test_split.field)
    expected = sample.intensity.astype(float).reshape(64, 2, 64, 2).mean((1, 3))
    np.testing.assert_allclose(image, expected, atol=1e-9)
    assert Recording(0.4).view(test_split.field).origin == (0.1, 0.1)


@pytest.mark.parametrize("sampling", [0.0731, 0.1, 0.19, 0.27, 0.4])
def test_electrons_per_area_do_not_depend_on_the_pixels(test_split, sampling):
    sample, recording = test_split[3], Recording(sampling)
    image = record_at(sample, 1000.0, recording=recording)
    assert image.shape == tuple(int(128 * 0.2 / sampling + 1e-6) for _ in range(2))
    # The part of the field that whole pixels cover, by the dataset's own pixels.
    covered = image.shape[0] * sampling / 0.2
    weight = np.clip(covered - np.arange(128), 0, 1)
    expected = 1000.0 * 0.2**2 * weight @ sample.intensity.astype(float) @ weight
    assert image.sum() == pytest.approx(expected, abs=5 * np.sqrt(expected))


@pytest.mark.parametrize("sampling", [0.09, 0.13, 0.25, 0.33])
def test_a_place_is_the_same_on_all_pixels(sampling):
    """The centre of a Gaussian column, integrated over the pixels of a dataset."""
    field, x, y = Field((100, 80), 0.2), 7.03, 11.41

    def line(n, place):
        edges = (np.arange(n + 1) - 0.5) * field.sampling
        return np.diff(erf((edges - place) / 0.6))

    recording = Recording(sampling)
    view = recording.view(field)
    image = recording.on_pixels(np.outer(line(100, y), line(80, x)), field)
    assert image.shape == view.field.shape
    rows, columns = (np.arange(n) * sampling for n in image.shape)
    found = {
        "x_A": [(image.sum(0) @ columns) / image.sum()],
        "y_A": [(image.sum(1) @ rows) / image.sum()],
    }
    place = view.to_sample(pd.DataFrame(found))
    assert place["x_A"][0] == pytest.approx(x, abs=1e-3)
    assert place["y_A"][0] == pytest.approx(y, abs=1e-3)
    truth = view.truth(pd.DataFrame({"x_A": [x], "y_A": [y], "in_field": True}))
    assert truth["x_A"][0] == pytest.approx(found["x_A"][0], abs=1e-3)
    assert truth["y_A"][0] == pytest.approx(found["y_A"][0], abs=1e-3)


def test_own_pixels_and_camera_are_those_of_the_dataset(test_split):
    sample, field = test_split[5], test_split.field
    same = Recording(0.2, typical_camera("counting"))
    np.testing.assert_array_equal(
        record_at(sample, 300.0), record_at(sample, 300.0, recording=same)
    )
    assert OWN.view(field).truth(sample.columns).equals(sample.columns)
    assert OWN.remarks(field) == Recording(0.2).remarks(field) == []
    assert OWN.facts(field) == {"pixel_size_A": 0.2, "dataset_pixel_size_A": 0.2, "camera": None}


def perfect(dataset, recording):
    """Evaluate a program that knows the truth."""
    rows = choose_rows(dataset, 4)
    fake = FakeProgram(dataset, rows, (300.0,), draws=20, recording=recording)
    return evaluate(
        fake, dataset, program="fake", doses=(300.0,), images=4, stability_images=1,
        recording=recording,
    )  # fmt: skip


@pytest.mark.parametrize("sampling", [0.1, 0.13, 0.25, 0.37, 0.83])
def test_a_perfect_program_is_perfect_on_any_pixels(test_split, sampling):
    """Also where whole pixels leave 0.7 Å at the edge unseen, of 0.83 Å."""
    found = perfect(test_split, Recording(sampling))
    for species in ("Ce", "O"):
        for metric in ("recall", "precision", "exact"):
            assert found.figure(metric, species, 300.0).value == 1.0
        assert found.figure("position_rms", species, 300.0).value < 1e-6
        assert found.figure("stability", species, 300.0).value == 0.0
    assert found.settings["pixel_size_A"] == sampling
    assert found.settings["dataset_pixel_size_A"] == 0.2
    assert f"on pixels of {sampling:g} Å instead of the dataset's 0.2 Å" in found.notes[0]
    if sampling == 0.1:  # all columns are seen, and the volume is painted where it was
        own = perfect(test_split, OWN)
        for name in ("Ce", "O", "both"):
            one, other = (e.figure("volume_iou", name, 300.0) for e in (found, own))
            assert one == other


def test_columns_at_the_edge_of_the_image_are_not_scored(test_split):
    """Whole pixels of 0.83 Å end 0.7 Å before the field does: that edge counts."""
    rows = choose_rows(test_split, 4)
    fake = FakeProgram(test_split, rows, (300.0,), recording=Recording(0.83))

    def shy(counts, sampling):
        found = fake(counts, sampling)
        far = np.ones(len(found), dtype=bool)
        for name, n in zip(("y_A", "x_A"), counts.shape, strict=True):
            far &= found[name].to_numpy() < (n - 0.5) * sampling - 0.6
        return found[far]

    found = evaluate(
        shy, test_split, program="shy", doses=(300.0,), images=4, recording=fake.recording
    )
    for species in ("Ce", "O"):
        assert found.figure("recall", species, 300.0).value == 1.0
        with_border = found.figure("recall", species, 300.0, axis="scope", label="with the border")
        assert with_border.value < 1.0


def test_a_program_that_ignores_its_pixels_is_off(test_split):
    """Half a pixel of 0.1 Å along each axis is 5 pm."""
    recording = Recording(0.1)
    fake = FakeProgram(test_split, choose_rows(test_split, 2), (300.0,), recording=recording)

    def careless(counts, sampling):
        found = fake(counts, sampling)
        return found.assign(x_A=found["x_A"] - 0.05, y_A=found["y_A"] - 0.05)

    found = evaluate(
        careless, test_split, program="careless", doses=(300.0,), images=2, recording=recording
    )
    assert found.figure("position_rms", "Ce", 300.0).value == pytest.approx(5.0, abs=1e-6)


@pytest.mark.parametrize("sampling", [0.2, 0.31])
def test_an_integrating_camera_blurs_and_adds_noise_of_its_own(test_split, sampling):
    """Means of many draws against MTF and intensity; the variance against NTF and read-out."""
    sample = test_split[3]
    recording = Recording(sampling, typical_camera("integrating"))
    draws = np.stack([record_at(sample, 1000.0, draw, recording) for draw in range(60)])
    image = recording.on_pixels(sample.intensity, test_split.field) * 1000.0 * sampling**2
    assert draws.mean() == pytest.approx(image.mean(), rel=0.003)
    # Mirrored, an image has no edges; the frequencies are in units of Nyquist.
    whole = np.block([[image, image[:, ::-1]], [image[::-1], image[::-1, ::-1]]])
    qy, qx = (2 * np.fft.fftfreq(n) for n in whole.shape)
    q = np.hypot(qy[:, None], qx)
    blurred = np.fft.ifft2(np.fft.fft2(whole) / (1 + (q / 0.6) ** 2)).real
    blurred = blurred[: image.shape[0], : image.shape[1]]
    noise = np.sqrt(draws.var(axis=0).mean() / 60)
    assert np.std(draws.mean(axis=0) - blurred) == pytest.approx(noise, rel=0.1)
    assert np.std(draws.mean(axis=0) - image) > 1.5 * noise
    qy, qx = (2 * np.fft.fftfreq(n) for n in image.shape)
    ntf = 1 / (1 + (np.hypot(qy[:, None], qx) / 0.8) ** 2)
    expected = image.mean() * (ntf**2).mean() + (2.0**2 + 1 / 12) / 10.0**2
    assert draws.var(axis=0, ddof=1).mean() == pytest.approx(expected, rel=0.03)


def test_the_record_says_which_camera(test_split):
    recording = Recording(camera=typical_camera("integrating"))
    found = perfect(test_split, recording)
    assert found.figure("recall", "Ce", 300.0).value == 1.0
    assert found.settings["camera"]["kind"] == "integrating"
    assert found.settings["camera"]["readout_noise"] == 2.0
    assert "recorded by an integrating camera" in found.notes[0]
    assert "½ at 0.6 and 0.8 of Nyquist" in found.notes[0]


@pytest.mark.parametrize("sampling", [0.0, -0.1, 2.0, float("nan")])
def test_an_impossible_pixel_size_is_refused(sampling):
    with pytest.raises(ImageError, match=r"expected 0\.02 to 1\.0 Å"):
        Recording(sampling)


def test_an_unknown_camera_is_refused():
    with pytest.raises(ImageError, match="'ccd'; expected counting or integrating"):
        typical_camera("ccd")
