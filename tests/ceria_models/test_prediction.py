"""Prediction: tiles are the whole image, coordinates are the image's own, bad input is refused."""

import numpy as np
import pytest

from ceria_data.dataset import open_dataset
from ceria_models.decoding import column_rows, find_peaks
from ceria_models.domain import departures
from ceria_models.errors import ImageError
from ceria_models.model import CalibrationFacts, DecodingFacts, PixelOutput
from ceria_models.model_places import DEFAULT
from ceria_models.prediction import predict
from ceria_models.weights import from_pretrained
from tests.ceria_models.make_model import fresh

NONE = {species: CalibrationFacts.none(15) for species in ("Ce", "O")}


def counts(n=0):
    return open_dataset("ceria-columns-mini", "test")[n].counts


def perfect_output(columns, shape, sampling=0.2):
    """What a net would say that knows everything."""
    y, x = sampling * np.mgrid[: shape[0], : shape[1]]
    logits = np.zeros((2, 15, *shape), dtype=np.float32)
    logits[:, 0] = 12
    depth = np.zeros((2, *shape), dtype=np.float32)
    offset = np.zeros((2, 2, *shape), dtype=np.float32)
    nearest = np.full((2, *shape), np.inf)
    for row in columns.itertuples():
        s = 0 if row.species == "Ce" else 1
        distance = np.hypot(x - row.x_A, y - row.y_A)
        own = (distance < 0.6) & (distance < nearest[s])
        nearest[s][own] = distance[own]
        logits[s][:, own] = 0
        logits[s, row.occupancy][own] = 12
        depth[s][own] = row.z_mean_A
        offset[s, 0][own], offset[s, 1][own] = (row.y_A - y)[own], (row.x_A - x)[own]
    return PixelOutput(logits, depth, depth + 1, offset)


@pytest.mark.parametrize("row", [0, 30, 60, 90])
def test_decoding_finds_every_column_of_a_perfect_answer(row):
    sample = open_dataset("ceria-columns-mini", "test")[row]
    truth = sample.columns
    width = 0.2 * (sample.counts.shape[0] - 1)
    truth = truth[truth["occupancy"] > 0]
    output = perfect_output(truth, sample.counts.shape)
    table = column_rows(find_peaks(output, 0.2, DecodingFacts(mask_radius_A=0.6)), NONE, 300)
    inner = truth[truth["x_A"].between(0.6, width - 0.6) & truth["y_A"].between(0.6, width - 0.6)]
    for species in ("Ce", "O"):
        own, found = inner[inner["species"] == species], table[table["species"] == species]
        near = np.hypot(
            own["x_A"].to_numpy()[:, None] - found["x_A"].to_numpy(),
            own["y_A"].to_numpy()[:, None] - found["y_A"].to_numpy(),
        )
        assert (near.min(axis=1) < 0.02).all()
        match = near.argmin(axis=1)
        assert len(set(match)) == len(own)
        np.testing.assert_array_equal(found["occupancy"].to_numpy()[match], own["occupancy"])
        np.testing.assert_allclose(found["z_mean_A"].to_numpy()[match], own["z_mean_A"], atol=0.3)


def test_tiles_give_what_the_whole_image_gives():
    # A trained net on four images: maxima of a fresh one are as flat as rounding, and copies of one
    # image have columns at equal y, which rounding would put in another order.
    model = from_pretrained(DEFAULT)
    image = np.block([[counts(40), counts(41)], [counts(42), counts(43)]])[:200, :233]
    whole = predict(model, image, 0.2, probabilities=True)
    tiled = predict(model, image, 0.2, probabilities=True, tile=64)
    np.testing.assert_allclose(
        whole.probabilities.astype(float), tiled.probabilities.astype(float), atol=2e-3
    )
    assert len(whole.columns) > 20
    order = ["species", "y_A", "x_A"]
    one, other = (p.columns.sort_values(order) for p in (whole, tiled))
    assert len(one) == len(other)
    np.testing.assert_allclose(one["x_A"], other["x_A"], atol=1e-3)
    np.testing.assert_allclose(one["confidence"], other["confidence"], atol=1e-3)


def test_a_linear_scale_changes_nothing():
    model = fresh()
    one, other = predict(model, counts(), 0.2), predict(model, 0.01 * counts(), 0.2)
    np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-4)
    assert len(one.columns) == len(other.columns)


def test_coordinates_and_pixels_are_those_of_the_image_that_was_given(monkeypatch):
    """An image of pixels half as large gives the same columns, at the same places in Å."""
    monkeypatch.setattr("ceria_models.prediction.apparent_dose", lambda image, sampling: 300.0)
    model = fresh()
    image = counts(40)
    fine = np.kron(image, np.ones((2, 2)))
    coarse, found = predict(model, image, 0.2), predict(model, fine, 0.1)
    assert found.label.shape == (1, 2, *fine.shape)
    agree = (found.label[0, :, ::2, ::2] == coarse.label[0]).mean()
    assert agree > 0.9
    by_place = [p.columns.sort_values(["species", "y_A", "x_A"]) for p in (coarse, found)]
    assert abs(len(by_place[0]) - len(by_place[1])) <= 0.1 * len(by_place[0])
    one = by_place[0][by_place[0]["species"] == "Ce"]
    other = by_place[1][by_place[1]["species"] == "Ce"]
    shift = [
        other[["y_A", "x_A"]].to_numpy()[distance.argmin()] - place
        for place in one[["y_A", "x_A"]].to_numpy()
        if (distance := np.hypot(*(other[["y_A", "x_A"]].to_numpy() - place).T)).min() < 0.5
    ]
    # The first pixel of the fine image lies half a fine pixel before that of the coarse one.
    np.testing.assert_allclose(np.median(shift, axis=0), [0.05, 0.05], atol=0.02)


def test_frames_are_told_apart():
    model = fresh()
    movie = np.stack([counts(40), counts(41), counts(42)])
    together = predict(model, movie, 0.2)
    assert list(together.columns["frame"].unique()) == [0, 1, 2]
    alone = predict(model, movie[1], 0.2)
    own = together.columns[together.columns["frame"] == 1]
    np.testing.assert_array_equal(own["x_A"], alone.columns["x_A"])


def test_an_image_without_columns_keeps_the_columns_of_the_table():
    model = fresh()
    for parameter in model.net.classes.parameters():
        parameter.data.zero_()
    model.net.classes.bias.data[:4] = 9  # class 0 of Ce, four pixels of a patch
    model.net.classes.bias.data[60:64] = 9  # class 0 of O
    found = predict(model, counts(), 0.2).columns
    assert len(found) == 0
    assert list(found.columns[:6]) == ["frame", "species", "x_A", "y_A", "occupancy", "confidence"]
    assert [c for c in found if c.startswith("p_")] == [f"p_{n}" for n in range(15)]


@pytest.mark.parametrize(
    ("image", "sampling", "match"),
    [
        (np.full((64, 64), np.nan), 0.2, "not finite"),
        (np.full((64, 64), 3), 0.2, "every pixel"),
        (np.zeros((64, 64)), 0.2, "every pixel"),
        (np.zeros((2, 2, 2, 2)), 0.2, "shape"),
        (np.eye(64), 2.0, "pixel size"),
        (np.eye(64), 0.02, "expected at least"),
        (np.eye(64, dtype=complex), 0.2, "real numbers"),
        (-np.eye(64), 0.2, "mean of the image"),
        (np.eye(64) * 1e37, 0.2, "reach 1e\\+37; expected a scale"),
        (np.eye(64) * 1e300, 0.2, "expected a scale"),
        (np.eye(64) * 1e-300, 0.2, "expected a scale"),
        (np.ma.masked_equal(np.eye(64), 1), 0.2, "64 pixels are masked"),
        (np.eye(64), None, "the pixel size is None"),
        (np.eye(64), "0.2", "the pixel size is '0.2'"),
    ],
)
def test_what_is_no_image_is_refused(image, sampling, match):
    with pytest.raises(ImageError, match=match):
        predict(fresh(), image, sampling)


@pytest.mark.parametrize("scale", [1e-13, 1e13])
def test_any_other_scale_is_read_alike(scale):
    model, image = fresh(), counts()
    own, scaled = (predict(model, values, 0.2) for values in (image, image * scale))
    assert (own.label == scaled.label).all()
    np.testing.assert_allclose(own.confidence, scaled.confidence, atol=1e-4)


def test_an_image_like_those_of_training_is_inside():
    ds = open_dataset("ceria-columns-mini", "test")
    flagged = sum(
        bool(
            departures(ds[i].counts, 0.2, ds[i].parameters["dose_e_per_A2"], fresh().config.domain)
        )
        for i in range(0, 120, 3)
    )
    assert flagged <= 1


@pytest.mark.parametrize("wrong", [0.9, 1.1])
def test_a_wrong_pixel_size_is_seen(wrong):
    ds = open_dataset("ceria-columns-mini", "test")
    rows = [i for i in range(len(ds)) if ds.samples["dose_e_per_A2"].iloc[i] > 500][:20]
    domain = fresh().config.domain
    texts = [departures(ds[i].counts, 0.2 * wrong, 1000.0, domain) for i in rows]
    seen = sum(any("reflections" in d.text for d in found) for found in texts)
    assert seen >= 0.7 * len(rows)


def test_a_dose_far_outside_is_said():
    rng = np.random.default_rng(0)
    sparse = rng.poisson(0.04, (128, 128))
    found = departures(sparse, 0.2, 1.0, fresh().config.domain)
    assert any("dose" in d.text and d.far for d in found)


def test_bfloat16_says_nearly_the_same():
    model, image = fresh(), counts()
    exact, coarse = (
        predict(model, image, 0.2, probabilities=True, runtime=name).probabilities
        for name in ("float32", "bfloat16")
    )
    # The largest difference is that of one unsure pixel, and each processor rounds on its own.
    difference = np.abs(exact.astype(np.float32) - coarse.astype(np.float32))
    assert 1e-4 < difference.max() < 0.5
    assert difference.mean() < 5e-3
