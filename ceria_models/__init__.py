"""U-Nets that count the atoms of CeO2 columns, trained on the datasets of `ceria_data`."""

from ceria_data import __version__
from ceria_models.model import Model
from ceria_models.model_places import DEFAULT, list_models
from ceria_models.prediction import Prediction, predict
from ceria_models.weights import from_pretrained

__all__ = [
    "DEFAULT",
    "Model",
    "Prediction",
    "__version__",
    "from_pretrained",
    "list_models",
    "predict",
]
