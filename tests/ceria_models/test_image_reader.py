"""A net that takes images as they are says what `predict` says."""

import numpy as np
import pytest
import torch

from ceria_data.dataset import open_dataset
from ceria_models.image_reader import ImageReader
from ceria_models.prediction import predict
from tests.ceria_models.as_predicted import TOLERANCE, assert_as_predicted, strange


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return strange(tmp_path_factory.mktemp("model") / "net")


@pytest.fixture(scope="module")
def counts():
    return open_dataset("ceria-columns-mini", "test")[4].counts.astype(np.float32)


@pytest.mark.parametrize("shape", [(16, 16), (37, 61), (125, 90)])
@pytest.mark.parametrize("scale", [1.0, 1.7e-4, 300.0])
def test_a_reader_says_what_predict_says(model, counts, shape, scale):
    image = counts[: shape[0], : shape[1]] * np.float32(scale)
    atoms, confidence = ImageReader(model)(torch.from_numpy(image[None, None]))
    assert_as_predicted(model, image, atoms.numpy(), confidence.numpy())


def test_images_of_a_batch_do_not_see_each_other(model, counts):
    one, other = counts[:40, :48], 9 * counts[60:100, 60:108]
    reader = ImageReader(model)
    together = reader(torch.from_numpy(np.stack([one, other])[:, None]))
    alone = reader(torch.from_numpy(other[None, None]))
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(found[1], expected[0], atol=1e-4)


def test_an_image_without_noise_is_read_as_predict_reads_it(model):
    y, x = np.mgrid[:40, :48]
    image = (100 + y + 2 * x).astype(np.float32)  # fourth differences are exactly 0
    _, confidence = ImageReader(model)(torch.from_numpy(image[None, None]))
    said = predict(model, image, 0.2)
    np.testing.assert_allclose(confidence, said.confidence, atol=TOLERANCE)


@pytest.mark.parametrize("bad", ["constant", "negative", "nan", "infinite"])
def test_what_predict_refuses_gets_no_confidence(model, counts, bad):
    image = counts[:32, :40].copy()
    if bad == "constant":
        image[:] = 7
    elif bad == "negative":
        image *= -1
    else:
        image[3, 5] = np.nan if bad == "nan" else np.inf
    good = counts[:32, :40]
    batch = torch.from_numpy(np.stack([image, good])[:, None])
    for values in ImageReader(model)(batch):
        assert (values[0] == 0).all()
        assert (values[1] > 0).any()
