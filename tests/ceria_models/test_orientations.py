"""What a net says, averaged over the eight orientations of an image."""

import json

import numpy as np
import pandas as pd
import pytest

from ceria_data.dataset import open_dataset
from ceria_models import DEFAULT, from_pretrained, predict
from ceria_models.model import PixelOutput
from ceria_models.orientations import over_orientations
from ceria_models.runtime import open_runtime
from ceria_models.tiles import tiles_of
from tests.ceria_models.command import run
from tests.ceria_models.make_model import fresh

STRIDE = 4
PARTS = ("logits", "depth", "depth_spread", "offset")


def bright_pixel(image):
    """A net that is right in every orientation: the way to the brightest pixel, and its value."""
    y, x = np.indices(image.shape[1:])
    at = np.unravel_index(image[0].argmax(), image.shape[1:])
    way = np.stack([at[0] - y, at[1] - x]).astype(np.float32)
    value = image[0]
    logits = np.stack([np.stack([0 * value, value])] * 2)
    return PixelOutput(logits, np.stack([value, -value]), np.stack([value] * 2) + 1, way[None])


def image_of(shape, seed=0):
    return np.random.default_rng(seed).random((2, *shape), dtype=np.float32)


@pytest.mark.parametrize("shape", [(16, 16), (13, 22)])
def test_who_is_right_in_every_orientation_is_right_on_average(shape):
    image = image_of(shape)
    one, eight = bright_pixel(image), over_orientations(bright_pixel, STRIDE)(image)
    normal = one.logits - np.log(np.exp(one.logits).sum(1, keepdims=True))
    np.testing.assert_allclose(eight.logits, normal, atol=1e-5)
    for part in PARTS[1:]:
        np.testing.assert_allclose(getattr(eight, part), getattr(one, part), atol=1e-4)


def test_the_average_of_a_turned_image_is_that_of_the_image_turned():
    net = fresh().net
    stride = net.stride
    image = image_of((3 * stride, 2 * stride))
    eight = open_runtime(fresh(), orientations=True)
    one, other = eight(image), eight(np.rot90(image, 1, (1, 2)).copy())
    for part in PARTS[:3]:
        turned = np.rot90(getattr(one, part), 1, (-2, -1))
        np.testing.assert_allclose(getattr(other, part), turned, atol=2e-4)


def test_every_orientation_counts_alike():
    """Classes by their probabilities' logarithms, spreads by their squares."""

    def corner(image):
        first = np.zeros(image.shape[1:], dtype=np.float32)
        first[0, 0] = 1.0
        pair = np.stack([0 * first, 8 * first])[None]
        return PixelOutput(pair, first[None], first[None], 0 * pair)

    eight = over_orientations(corner, STRIDE)(image_of((8, 8)))
    corners = np.zeros((8, 8))
    corners[::7, ::7] = 0.25  # each corner of the image is the first pixel of two orientations
    np.testing.assert_allclose(eight.logits[0, 1] - eight.logits[0, 0], 8 * corners, atol=1e-5)
    np.testing.assert_allclose(eight.depth[0], corners, atol=1e-6)
    np.testing.assert_allclose(eight.depth_spread[0], np.sqrt(corners), atol=1e-6)


def test_tiles_have_the_grids_of_the_whole_image_in_every_orientation():
    model = fresh(levels=2)
    shape = (141, 46)
    image = image_of(shape)
    eight = open_runtime(model, orientations=True)
    whole = eight(image)
    tiles = list(tiles_of(shape, model.net, 8))
    assert any(tile.rows.start > 0 and tile.rows.stop < shape[0] for tile in tiles)
    for tile in tiles:
        part = eight(image[:, tile.rows, tile.columns])
        for name in PARTS:
            inside = getattr(part, name)[..., *tile.core]
            cut = getattr(whole, name)[..., tile.core_rows, tile.core_columns]
            np.testing.assert_allclose(inside, cut, atol=2e-4)


def test_the_default_net_says_much_the_same_in_every_orientation():
    sample = open_dataset("ceria-columns-mini", "test")[78]
    model = from_pretrained(DEFAULT)
    one, eight = (
        predict(model, sample.counts, 0.2, orientations=orientations)
        for orientations in (False, True)
    )
    assert (one.label == eight.label).mean() > 0.95
    assert not np.array_equal(one.confidence, eight.confidence)
    for species in ("Ce", "O"):
        places = [
            found.columns.loc[found.columns["species"] == species, ["y_A", "x_A"]].to_numpy()
            for found in (one, eight)
        ]
        apart = np.hypot(*(places[0][:, None] - places[1][None]).transpose(2, 0, 1)).min(1)
        assert np.median(apart) < 0.06


def test_the_command_averages_and_says_so(monkeypatch, capsys, tmp_path):
    fresh(architecture="plain_unet", width=4, levels=2).save_pretrained(tmp_path / "net")
    np.save(tmp_path / "image.npy", open_dataset("ceria-columns-mini", "test")[78].counts)
    found = []
    for name, flags in (("one", []), ("eight", ["--orientations"])):
        out = tmp_path / name
        given = ["--model", tmp_path / "net", "--pixel-size", "0.2", "--out", out, *flags]
        code, _, err = run(monkeypatch, capsys, "predict", tmp_path / "image.npy", *given)
        assert code == 0, err
        facts = json.loads((out / "prediction.json").read_text(encoding="utf-8"))
        found.append((facts["orientations"], pd.read_parquet(out / "columns.parquet")))
    assert [number for number, _ in found] == [1, 8]
    assert not found[0][1].equals(found[1][1])
