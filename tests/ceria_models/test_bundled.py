"""Every model that comes with the package."""

from importlib import resources

import pytest

from ceria_data import open_dataset
from ceria_models import from_pretrained, predict
from ceria_models.matching import match_columns
from ceria_models.model_files import WEIGHTS
from ceria_models.model_places import DEFAULT, bundled_models
from ceria_models.recording import record_at
from ceria_models.weights import verify_model

MEGABYTES = 10
"""Weights of all of them."""
SAMPLES = (40, 41, 42, 43, 44, 45)


def test_the_default_is_bundled():
    assert DEFAULT in bundled_models()


def test_the_weights_stay_small():
    folder = resources.files("ceria_models") / "weights"
    sizes = [(folder / name / WEIGHTS).stat().st_size for name in bundled_models()]
    assert sum(sizes) <= MEGABYTES * 1e6


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_model_says_what_it_said_when_it_was_saved(name):
    assert verify_model(name)["model"] == name


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_model_counts_a_dataset_that_it_has_not_learned_from(name):
    model, dataset = from_pretrained(name), open_dataset("ceria-columns-mini", "test")
    right = scored = 0
    for number in SAMPLES:
        sample = dataset[number]
        found = predict(model, record_at(sample, 1000.0), dataset.field.sampling).columns
        pairs = match_columns(sample.columns, found, dataset.field, dataset.manifest["max_count"])
        own = pairs[(pairs["true_count"] > 0) & ~pairs["border"] & ~pairs["ambiguous"]]
        right += int((own["count"] == own["true_count"]).sum())
        scored += len(own)
    assert scored > 100
    # Ten counts are about as frequent as each other.
    assert right / scored > 0.6
