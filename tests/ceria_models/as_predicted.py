"""Whether the counts and confidences of pixels are those that `predict` gives."""

import numpy as np

from ceria_models.model import CalibrationFacts, Model
from ceria_models.prediction import predict
from ceria_models.weights import from_pretrained
from tests.ceria_models.make_model import fresh

TOLERANCE = 1e-3


def strange(folder):
    """Save and load a model whose calibration of the pixels differs by species and dose."""
    model = fresh()
    calibration = {
        "Ce": CalibrationFacts(slope=0.4, slope_dose=0.3, bias=tuple(np.linspace(-1, 1, 15))),
        "O": CalibrationFacts(slope=-0.5, slope_dose=-0.2, bias=tuple(np.linspace(1, -1, 15))),
    }
    config = model.config.model_copy(update={"pixel_calibration": calibration})
    Model(config, model.net).save_pretrained(folder)
    return from_pretrained(folder)


def assert_as_predicted(model, image, atoms, confidence):
    """Compare with predict in tiles; where two counts are equally probable either will do."""
    said = predict(model, image, 0.2, probabilities=True, tile=32)
    named = np.take_along_axis(said.probabilities, atoms.astype(int)[:, :, None], axis=2)[:, :, 0]
    np.testing.assert_allclose(confidence, said.confidence, atol=TOLERANCE)
    np.testing.assert_allclose(named, said.confidence, atol=TOLERANCE)
    assert (atoms == said.label).mean() > 0.999
    assert len(np.unique(said.label)) > 3
