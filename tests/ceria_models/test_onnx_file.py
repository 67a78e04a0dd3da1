"""Exported files: they say what the model says, and know whose they are."""

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from ceria_data.errors import ConfigError, OutputError
from ceria_models import cli
from ceria_models.errors import ExportError, NotAModelError
from ceria_models.prediction import predict
from ceria_models.weights import WEIGHTS, from_pretrained, weights_sha256
from tests.ceria_models.make_model import fresh

onnx = pytest.importorskip("onnx", reason="needs ceria[onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs ceria[onnx]")
pytest.importorskip("onnxscript", reason="needs ceria[onnx]")

from ceria_models.onnx_file import check_onnx, export_onnx  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "net"
    fresh().save_pretrained(folder)
    return from_pretrained(folder)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_onnx(model, tmp_path_factory.mktemp("exported"))


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 33, 47), (3, 5, 130)])
def test_an_exported_file_says_what_the_model_says(model, exported, shape):
    images, y, x = shape
    image = torch.randn(images, 2, y, x)
    with torch.inference_mode():
        expected = vars(model.net(image))
    session = onnxruntime.InferenceSession(exported["file"], providers=["CPUExecutionProvider"])
    outputs = session.run(list(expected), {"image": image.numpy()})
    for name, found in zip(expected, outputs, strict=True):
        assert found.shape == expected[name].shape
        np.testing.assert_allclose(found, expected[name], atol=1e-4 * expected[name].abs().max())


def test_an_exported_file_says_where_it_comes_from(model, exported):
    content = onnx.load(exported["file"])
    facts = {fact.key: fact.value for fact in content.metadata_props}
    assert facts["model"] == "fresh"
    assert facts["version"] == "0.0.0"
    assert facts["sampling_A"] == "0.2"
    assert facts["weights_sha256"] == weights_sha256(model.net)
    (image,) = content.graph.input
    axes = [axis.dim_param or axis.dim_value for axis in image.type.tensor_type.shape.dim]
    assert axes == ["image", 2, "y", "x"]


def test_the_weights_have_the_sha256_of_their_file(model, tmp_path):
    model.save_pretrained(tmp_path / "net")
    sums = json.loads((tmp_path / "net" / "sha256.json").read_text())
    assert sums[WEIGHTS] == weights_sha256(model.net)


def test_a_file_of_other_weights_fails_the_check(model, exported):
    other = deepcopy(model.net)
    with torch.no_grad():
        other.geometry.weight.mul_(1.01)
    with pytest.raises(ExportError, match=r"(depth|offset).* differs from PyTorch"):
        check_onnx(Path(exported["file"]), other)


def test_predictions_are_equal(model, exported):
    counts = np.random.default_rng(1).poisson(30.0, (2, 70, 90))
    torch_says = predict(model, counts, 0.2, probabilities=True, tile=32)
    onnx_says = predict(model, counts, 0.2, probabilities=True, tile=32, runtime=exported["file"])
    np.testing.assert_allclose(onnx_says.probabilities, torch_says.probabilities, atol=2e-3)
    # Maxima of a net that knows nothing are as flat as rounding, and some may move.
    assert len(onnx_says.columns) == pytest.approx(len(torch_says.columns), rel=0.02)


def test_a_file_of_another_model_is_not_used(exported):
    other = fresh()
    with torch.no_grad():
        other.net.stem.kernels[0, 0] += 0.5
    with pytest.raises(NotAModelError, match="not made of the weights"):
        predict(other, np.eye(40), 0.2, runtime=exported["file"])


def test_a_damaged_file_is_no_model(model, exported, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(Path(exported["file"]).read_bytes()[:5000])
    with pytest.raises(NotAModelError, match="cannot be read"):
        predict(model, np.eye(40), 0.2, runtime=str(damaged))
    with pytest.raises(NotAModelError, match="is no file"):
        predict(model, np.eye(40), 0.2, runtime=str(tmp_path / "none.onnx"))


def test_an_export_does_not_replace(model, exported):
    with pytest.raises(OutputError, match="exists already"):
        export_onnx(model, Path(exported["file"]))


def test_a_runtime_that_is_none_is_named(model):
    with pytest.raises(ConfigError, match="expected float32, bfloat16 or a file"):
        predict(model, np.eye(40), 0.2, runtime="tensorrt")


def test_the_command_exports(monkeypatch, capsys, tmp_path, model):
    model.save_pretrained(tmp_path / "net")
    out = tmp_path / "made" / "net.onnx"
    arguments = ["export", str(tmp_path / "net"), "--out", str(out), "--json"]
    for options, code in (
        (["--format", "torchscript"], 2),
        (["--format", "onnx"], 0),
        (["--format", "onnx"], 2),
    ):
        monkeypatch.setattr(sys, "argv", ["ceria-models", *arguments, *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == code
        text = capsys.readouterr().out
        if code == 0:
            assert json.loads(text)["largest_difference"] < 1e-5
    assert [file.name for file in out.parent.iterdir()] == ["net.onnx"]


def test_reading_a_model_imports_neither_onnx_nor_smp():
    code = (
        "import sys, ceria_models.cli, ceria_models.training_run, ceria_models.prediction_run;"
        "names = {'onnx', 'onnxruntime', 'onnxscript', 'segmentation_models_pytorch', 'timm'};"
        "sys.exit(', '.join(names & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
