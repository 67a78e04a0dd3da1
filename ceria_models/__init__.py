"""U-Nets that count the atoms of CeO2 columns, trained on the datasets of `ceria_data`."""

from ceria_data import __version__
from ceria_models.model import Model
from ceria_models.prediction import Prediction, predict
from ceria_models.weights import bundled_models, from_pretrained

DEFAULT = "residual-unet-base"
"""Name of the bundled single-frame net."""

__all__ = [
    "DEFAULT",
    "Model",
    "Prediction",
    "__version__",
    "bundled_models",
    "from_pretrained",
    "predict",
]
