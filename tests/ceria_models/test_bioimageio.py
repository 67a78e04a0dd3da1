"""Packages of the BioImage Model Zoo: valid, and saying what `predict` says."""

import hashlib
import json
import socket
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from ceria_data.dataset import open_dataset
from ceria_data.errors import OutputError
from ceria_models import cli
from ceria_models.errors import ExportError
from ceria_models.image_reader import OUTPUTS
from ceria_models.weights import weights_sha256
from tests.ceria_models.as_predicted import assert_as_predicted, strange

zoo = pytest.importorskip("bioimageio.spec", reason="needs ceria[bioimageio]")
onnx = pytest.importorskip("onnx", reason="needs ceria[onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs ceria[onnx]")
pytest.importorskip("onnxscript", reason="needs ceria[onnx]")

from ceria_models.bioimageio_check import check_package, compare_with_predict  # noqa: E402
from ceria_models.bioimageio_description import whole_units  # noqa: E402
from ceria_models.bioimageio_package import export_bioimageio  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return strange(tmp_path_factory.mktemp("model") / "net")


@pytest.fixture(scope="module")
def counts():
    return open_dataset("ceria-columns-mini", "test")[4].counts.astype(np.float32)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """A package, made while every connection fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _no_connection)
        return export_bioimageio(model, tmp_path_factory.mktemp("exported"))


def _no_connection(*_):
    raise AssertionError("a connection was opened")


@pytest.fixture(scope="module")
def unpacked(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with ZipFile(exported["file"]) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def recorded(unpacked, monkeypatch):
    """Recording takes most of an export: take the graph that is there."""
    graph = onnx.load(unpacked / "model.onnx")
    monkeypatch.setattr("ceria_models.bioimageio_package.record", lambda *_: graph)


def packed(folder, file, **changed):
    """Pack a folder again, with other content for some files."""
    with ZipFile(file, "w") as archive:
        for path in folder.iterdir():
            archive.writestr(path.name, changed.get(path.stem, path.read_bytes()))
    return file


def test_a_package_is_valid_and_names_its_model(model, exported):
    check_package(Path(exported["file"]))
    with ZipFile(exported["file"]) as archive, zoo.ValidationContext(log_warnings=False):
        found = zoo.load_description(archive)
    assert isinstance(found, zoo.ModelDescr)
    assert str(found.license) == "CC-BY-4.0"
    assert found.config.ceria["weights_sha256"] == weights_sha256(model.net)
    facts = found.config.ceria["training_data"]
    assert facts["content_digest"] == model.config.training.content_digest
    y, x = found.inputs[0].axes[-2:]
    assert (str(y.unit), y.scale, x.scale) == ("picometer", 20.0, 20.0)
    assert [str(output.id) for output in found.outputs] == list(OUTPUTS)
    assert Path(exported["file"]).name == "fresh-0.0.0.zip"


def test_a_changed_file_is_refused(unpacked, tmp_path):
    graph = (unpacked / "model.onnx").read_bytes()
    broken = packed(unpacked, tmp_path / "a.zip", model=graph[:-1] + bytes([graph[-1] ^ 1]))
    with pytest.raises(ExportError, match=r"(?i)sha256"):
        check_package(broken)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("unit: picometer", "unit: pixel"),
        ("license: CC-BY-4.0", "license: none of them"),
        ("min: 16", "min: 200"),  # the test image is smaller
        ("axis_id: x", "axis_id: z"),
    ],
)
def test_a_wrong_description_is_refused(unpacked, tmp_path, old, new):
    text = (unpacked / "rdf.yaml").read_text(encoding="utf-8")
    assert old in text
    broken = packed(unpacked, tmp_path / "a.zip", rdf=text.replace(old, new).encode())
    with pytest.raises(ExportError, match="no valid model of the BioImage Model Zoo"):
        check_package(broken)


@pytest.mark.parametrize("shape", [(16, 16), (37, 61), (125, 90)])
@pytest.mark.parametrize("scale", [1.0, 1.7e-4])
def test_the_graph_says_what_predict_says(model, unpacked, counts, shape, scale):
    image = counts[: shape[0], : shape[1]] * np.float32(scale)
    graph = str(unpacked / "model.onnx")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert_as_predicted(model, image, *session.run(OUTPUTS, {"image": image[None, None]}))


def test_the_graph_takes_batches_and_refuses_silently(unpacked, counts):
    graph = str(unpacked / "model.onnx")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    good = counts[:33, :47]
    nan = good.copy()
    nan[2, 2] = np.nan
    batch = np.stack([good, nan, 0 * good])[:, None]
    alone = session.run(OUTPUTS, {"image": good[None, None]})
    for found, expected in zip(session.run(OUTPUTS, {"image": batch}), alone, strict=True):
        np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
        assert not found[1:].any()


def test_the_test_case_is_what_predict_says(model, unpacked):
    image, atoms, confidence = (
        np.load(unpacked / f"test_{name}.npy") for name in ("image", *OUTPUTS)
    )
    assert_as_predicted(model, image[0, 0], atoms, confidence)


def test_a_graph_of_another_model_fails_the_check(unpacked, counts, tmp_path):
    other = strange(tmp_path / "net")
    with torch.no_grad():
        other.net.classes.weight.mul_(1.1)
    with pytest.raises(ExportError, match="differs from predict"):
        compare_with_predict(unpacked / "model.onnx", other, counts)


def test_the_package_tells_nothing_of_the_machine(unpacked):
    root = str(Path(cli.__file__).parents[1])
    for path in unpacked.iterdir():
        assert root.encode() not in path.read_bytes(), path.name


def test_the_same_model_gives_the_same_bytes(model, exported, tmp_path):
    again = export_bioimageio(model, tmp_path / "elsewhere" / "other.zip")
    digests = [
        hashlib.sha256(Path(one["file"]).read_bytes()).hexdigest() for one in (exported, again)
    ]
    assert digests[0] == digests[1]


@pytest.mark.usefixtures("recorded")
def test_an_export_neither_replaces_nor_leaves_parts(monkeypatch, model, exported, tmp_path):
    with pytest.raises(OutputError, match="exists already"):
        export_bioimageio(model, Path(exported["file"]))

    def refuse(*_):
        raise ExportError("refused")

    monkeypatch.setattr("ceria_models.bioimageio_package.check_package", refuse)
    with pytest.raises(ExportError, match="refused"):
        export_bioimageio(model, tmp_path / "net.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sampling", [0.2, 0.1, 0.0622, 0.123456, 1 / 7])
def test_sizes_of_outputs_are_whole(sampling):
    unit, scale = whole_units(sampling)
    per_A = {"picometer": 1e2, "femtometer": 1e5, "attometer": 1e8}[unit]
    assert scale / per_A == pytest.approx(sampling, rel=1e-6)
    assert all(int(n * float(scale) / float(scale)) == n for n in range(16, 5000))


@pytest.mark.usefixtures("recorded")
def test_the_command_exports(monkeypatch, capsys, tmp_path, model):
    model.save_pretrained(tmp_path / "net")
    out = tmp_path / "made" / "net.zip"
    for code in (0, 2):
        arguments = ["export", str(tmp_path / "net"), "--format", "bioimageio", "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["ceria-models", *arguments, "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == code
        text = capsys.readouterr().out
        if code == 0:
            assert json.loads(text)["largest_difference"] < 1e-4
    assert [file.name for file in out.parent.iterdir()] == ["net.zip"]
