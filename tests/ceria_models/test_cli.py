"""The command ceria-models as a user meets it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ceria_data.dataset import open_dataset
from tests.ceria_models.command import run
from tests.ceria_models.make_model import fresh


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "net"
    fresh().save_pretrained(folder)
    return str(folder)


def test_predicting_a_dataset_writes_tables_and_pictures(monkeypatch, capsys, tmp_path, model):
    out = tmp_path / "out"
    arguments = ["ceria-columns-mini", "--split", "test", "--limit", 2, "--model", model]
    code, text, _ = run(
        monkeypatch, capsys, "predict", *arguments, "--out", out, "--pictures", 1, "--json"
    )
    assert code == 0
    assert json.loads(text)["frames"] == 2
    table = pd.read_parquet(out / "columns.parquet")
    assert set(table["sample"]) <= set(open_dataset("ceria-columns-mini", "test").samples["sample"])
    facts = json.loads((out / "prediction.json").read_text())
    assert facts["sampling_A"] == 0.2
    assert facts["model"] == "fresh"
    assert facts["device"] == "cpu"
    assert len(list(out.glob("overlay_*.png"))) == 1
    code, _, err = run(monkeypatch, capsys, "predict", *arguments, "--out", out)
    assert code == 2
    assert "exists already" in err
    code, text, _ = run(monkeypatch, capsys, "predict", *arguments, "--out", out, "--overwrite")
    assert code == 0
    assert len(list(out.glob("overlay_*.png"))) == 2
    shown = text[text.index(" sample species") :].splitlines()
    first = table[table["frame"] == 0].groupby("species").head(6)
    assert [line.split()[4] for line in shown[1:]] == [str(n) for n in first["occupancy"]]


def test_only_a_prediction_is_replaced(monkeypatch, capsys, tmp_path, model):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    code, _, err = run(
        monkeypatch, capsys, "predict", "ceria-columns-mini", "--limit", 1, "--model", model,
        "--out", tmp_path / "mine", "--overwrite",
    )  # fmt: skip
    assert code == 2
    assert "something else than a prediction" in err
    assert (tmp_path / "mine" / "thesis.tex").exists()


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_predicting_a_film_in_a_file(monkeypatch, capsys, tmp_path, model, suffix):
    ds = open_dataset("ceria-columns-mini", "test")
    film = np.stack([ds[i].counts for i in (40, 41)])
    file = tmp_path / f"film{suffix}"
    if suffix == ".npy":
        np.save(file, film)
    else:
        import tifffile

        tifffile.imwrite(file, film)
    out = tmp_path / "out"
    code, _, err = run(
        monkeypatch, capsys, "predict", file, "--model", model, "--out", out, "--pixel-size", 0.2
    )
    assert code == 0, err
    assert set(pd.read_parquet(out / "columns.parquet")["frame"]) == {0, 1}


def test_far_outside_is_refused_without_force(monkeypatch, capsys, tmp_path, model):
    file = tmp_path / "dark.npy"
    np.save(file, np.random.default_rng(0).poisson(0.02, (128, 128)))
    arguments = ["predict", file, "--model", model, "--pixel-size", 0.2]
    code, _, err = run(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert "--force" in err
    assert not (tmp_path / "out").exists()
    code, _, _ = run(monkeypatch, capsys, *arguments, "--out", tmp_path / "out", "--force")
    assert code == 0
    assert json.loads((tmp_path / "out" / "prediction.json").read_text())["forced"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["predict", "no-such-file.npy", "--out", "x"], "neither a film nor a dataset"),
        (["train", "no-such", "--data", "ceria-columns-mini", "--out", "x"], "neither a YAML"),
        (["verify", "no-such-net"], "neither a bundled model"),
        (["train", "residual-unet-tiny", "--data", "y", "--device", "tpu"], "cpu or gpu"),
        (["predict", "ceria-columns-mini", "--out", "x", "--device", "tpu"], "cpu or gpu"),
        (["train", "residual-unet-tiny"], "ceria-data build ceria-columns-v1"),
    ],
)
def test_wrong_usage_ends_with_2(monkeypatch, capsys, tmp_path, arguments, match):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CERIA_HOME", str(tmp_path / "home"))
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert match in err.replace("\n", " ")
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["ceria-columns-v1", "home/ceria-columns-v1"])
def test_a_training_has_a_dataset_and_a_folder_of_its_own(
    monkeypatch, capsys, tmp_path, tiny_folder, there
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CERIA_HOME", str(tmp_path / "home"))
    shutil.copytree(tiny_folder, tmp_path / there)
    seen = []
    monkeypatch.setattr(
        "ceria_models.training_run.run_training",
        lambda config, data, out, *_, **__: seen.append((data, out)) or {"log": str(out)},
    )
    code, _, err = run(monkeypatch, capsys, "train", "residual-unet-tiny")
    assert code == 0, err
    ((data, out),) = seen
    assert (tmp_path / data).resolve() == tmp_path / there
    assert out == Path("residual-unet-tiny-training")


def test_an_evaluation_has_a_folder_of_its_own(monkeypatch, capsys, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    seen = []
    for name in ("evaluation_run.run_evaluation", "table_scoring.run_scoring"):
        monkeypatch.setattr(f"ceria_models.{name}", lambda *given, **_: seen.extend(given))
    monkeypatch.setattr("ceria_models.evaluation_run.shown_figures", lambda *_: {"a": 1})
    for arguments, folder in (
        ((model, "ceria-columns-mini"), "fresh-ceria-columns-mini-test"),
        ((model, ".", "--split", "train"), f"fresh-{tmp_path.name}-train"),
        (("my program/2", "v1/", "--table", "t.csv"), "my-program-2-v1-test"),
    ):
        seen.clear()
        code, _, err = run(monkeypatch, capsys, "evaluate", *arguments)
        assert code == 0, err
        assert Path(folder) in seen


def test_an_export_is_named_after_its_model(monkeypatch, capsys, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(
        "ceria_models.onnx_file.export_onnx", lambda _, file: seen.append(file) or {"a": 1}
    )
    code, _, err = run(monkeypatch, capsys, "export", model, "--format", "onnx")
    assert code == 0, err
    assert seen == [Path("fresh.onnx")]


def test_an_exported_file_does_not_run_on_a_gpu(monkeypatch, capsys, tmp_path, model):
    import torch

    monkeypatch.setattr("ceria_models.prediction_run.device_of", lambda _: torch.device("cuda"))
    code, _, err = run(
        monkeypatch, capsys, "predict", "ceria-columns-mini", "--limit", 1, "--model", model,
        "--device", "gpu", "--runtime", "net.onnx", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert "exported files run on the processor" in " ".join(err.split())
    assert not (tmp_path / "out").exists()


def test_damaged_weights_end_with_1(monkeypatch, capsys, tmp_path):
    folder = tmp_path / "net"
    fresh().save_pretrained(folder)
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    code, _, err = run(monkeypatch, capsys, "verify", folder)
    assert code == 1
    assert "sha256" in err


def test_the_list_can_be_read_by_programs(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "list", "--json")
    assert code == 0
    assert isinstance(json.loads(out)["models"], list)
