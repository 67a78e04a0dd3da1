"""docs/recipe.md, every command and the example, against the Hub on the loopback interface."""

import re
from pathlib import Path

import pytest
import yaml

from ceria_data.dataset import open_dataset
from ceria_models.prediction import predict
from ceria_models.training_config import load_training_config
from ceria_models.weights import from_pretrained
from tests.hub_client import answers
from tests.tiny import FINE, TINY

ROOT = Path(__file__).parents[1]
MORE = {
    "ceria-data build": " --workers 0",
    "ceria-data limits": " --workers 0",
    "ceria-models train": " --workers 0 --threads 1",
    "ceria-models evaluate": " --images 1 --pairs 2 --stability 0 --dose 300",
    "ceria-models predict": " --force",
}
"""What makes the steps small; the recipe is for real ones."""


def dataset_config():
    text = TINY
    for old, new in FINE:
        text = text.replace(old, new)
    validation = "  - {name: validation, structures: 1, phonons: 1}\n  - {name: test"
    config = yaml.safe_load(text.replace("  - {name: test", validation))
    return yaml.safe_dump(config | {"name": "mine", "version": "1.0.0"})


def training_config():
    config = load_training_config("residual-unet-tiny").model_dump(mode="json")
    config["name"] = "mine-net"
    config["net"] |= {"width": 4, "levels": 2}
    config["views"] |= {"crop": 32, "other_pixels": 0.0}
    config["schedule"] |= {"crops": 8, "batch": 4}
    return yaml.safe_dump(config)


@pytest.mark.slow
def test_every_step_works(hub, on_hub, models_on_hub, tmp_path):
    text = (ROOT / "docs/recipe.md").read_text("utf-8").replace("ORG", "someone")
    blocks = re.findall(r"```\n(.*?)```", text, re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 14
    (tmp_path / "mine.yaml").write_text(dataset_config(), encoding="utf-8")
    (tmp_path / "mine-training.yaml").write_text(training_config(), encoding="utf-8")
    for line in lines:
        verb = " ".join(line.split()[:2])
        call = {"ceria-data": on_hub, "ceria-models": models_on_hub}[line.split()[0]]
        done = call(*(line + MORE.get(verb, "")).split()[1:], cwd=tmp_path)
        assert done.code == 0, f"{line}: {done}"
    assert list(hub.repository("someone/mine").tags) == ["v1.0.0"]
    assert list(hub.repository("someone/mine-net", "models").tags) == ["v0.1.0"]
    for digest in ("labels_digest", "content_digest"):
        manifests = [open_dataset(tmp_path / name).manifest for name in ("mine", "theirs")]
        assert manifests[0][digest] == manifests[1][digest]
    trained_on = from_pretrained(tmp_path / "their-net").config.training
    assert trained_on.content_digest == manifests[0]["content_digest"]
    assert (tmp_path / "found" / "columns.parquet").is_file()

    example = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    telling = "\nprint([found.label.ravel().tolist(), float(found.confidence.sum())])\n"
    ((label, confidence),) = answers(hub, example + telling, home=tmp_path / "reader")
    test = open_dataset(tmp_path / "mine", "test")
    here = predict(from_pretrained(tmp_path / "run/model"), test[0].counts, test.field.sampling)
    assert label == here.label.ravel().tolist()
    assert confidence == pytest.approx(float(here.confidence.sum()), rel=1e-6)
