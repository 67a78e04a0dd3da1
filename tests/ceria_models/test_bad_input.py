"""What cannot be right ends with a clear line and the right exit code; nothing is left behind."""

import json
import pickle
import resource
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ceria_data.dataset import open_dataset
from ceria_models import cli
from ceria_models.model_files import write_checksums
from tests.ceria_models.make_model import fresh
from tests.ceria_models.test_training import TINY as TRAINING
from tests.tiny import reseal

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def shared_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "net"
    fresh().save_pretrained(folder)
    return folder


@pytest.fixture
def model(tmp_path):
    """A model that a test may damage."""
    fresh().save_pretrained(tmp_path / "net")
    return tmp_path / "net"


@pytest.fixture
def refused(monkeypatch, capsys):
    """Run a command that has to fail; return what it says."""

    def call(code, *arguments):
        monkeypatch.setattr(sys, "argv", ["ceria-models", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        assert not out
        assert "Traceback" not in err
        return " ".join(err.split())

    return call


def image():
    return open_dataset("ceria-columns-mini", "test")[41].counts.astype(float)


def with_nan():
    damaged = image()
    damaged[3, 4] = np.nan
    return damaged


IMAGES = {
    "not finite": (with_nan, "1 pixels that are not finite"),
    "constant": (lambda: np.full((64, 64), 3), "every pixel of frame 0 is 3"),
    "one dimension": (lambda: np.ones(64), "expected (y, x) or (frame, y, x)"),
    "four dimensions": (lambda: np.ones((2, 2, 8, 8)), "expected (y, x) or (frame, y, x)"),
    "no frames": (lambda: np.ones((0, 64, 64)), "is empty: its shape is (0, 64, 64)"),
    "complex": (lambda: image() + 1j, "expected real numbers"),
    "too small": (lambda: image()[:8, :8], "expected at least"),
    "objects": (lambda: np.array([{"a": 1}], dtype=object), "expected real numbers"),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_a_bad_image_is_refused(refused, tmp_path, shared_model, kind):
    make, match = IMAGES[kind]
    file = tmp_path / "image.npy"
    np.save(file, make(), allow_pickle=True)
    out = tmp_path / "out"
    said = refused(2, "predict", file, "--model", shared_model, "--pixel-size", 0.2, "--out", out)
    assert match in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("sampling", "match"),
    [
        (None, "give it with --pixel-size, in Å"),
        (2.0, "0.02 nm is 0.2 Å"),
        (0.02, "the net has seen 0.09 to 0.25 Å; is it given in Å, and of the specimen?"),
        ("nan", "0.02 nm is 0.2 Å"),
        (-0.2, "0.02 nm is 0.2 Å"),
    ],
)
def test_a_pixel_size_that_is_missing_or_ten_times_off_is_refused(
    refused, tmp_path, shared_model, monkeypatch, sampling, match
):
    """Before the net sees anything, and before an image of other pixels is made."""
    monkeypatch.setattr(
        "ceria_models.prediction_run.open_runtime",
        lambda *_, **__: lambda image: pytest.fail("ran"),
    )
    film, out = tmp_path / "film.npy", tmp_path / "out"
    # Noise has no reflections that would tell the pixel size.
    frame = image() if sampling else np.random.default_rng(0).poisson(9.0, (64, 64))
    np.save(film, frame[None].repeat(3, axis=0))
    given = [] if sampling is None else [f"--pixel-size={sampling}"]
    said = refused(2, "predict", film, "--model", shared_model, *given, "--out", out)
    assert match in said
    assert not out.exists()


def test_a_dataset_knows_its_pixel_size_better(refused, tmp_path, shared_model):
    said = refused(
        2, "predict", "ceria-columns-mini", "--model", shared_model, "--pixel-size", 2.0,
        "--limit", 1, "--out", tmp_path / "out",
    )  # fmt: skip
    assert "knows its pixel size, 0.2 Å; leave it out" in said


def test_a_header_that_asks_for_terabytes_allocates_nothing(refused, tmp_path, shared_model):
    file = tmp_path / "giant.npy"
    with file.open("wb") as stream:
        facts = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(stream, facts)
        stream.write(bytes(64))
    tracemalloc.start()
    try:
        said = refused(
            2, "predict", file, "--model", shared_model, "--pixel-size", 0.2,
            "--out", tmp_path / "out",
        )  # fmt: skip
        assert tracemalloc.get_traced_memory()[1] < 50 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert "giant.npy announces 1 frames of 1000000 × 1000000 pixels" in said


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "test.safetensors", "sha256.json"]
)
@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_one_changed_byte_ends_with_1(refused, model, name, place):
    file = model / name
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 0x55
    file.write_bytes(content)
    # A config that is no JSON any more is no model, 2; a whole one with another value is damaged.
    code = 2 if name == "config.json" and not readable(file) else 1
    said = refused(code, "verify", model)
    assert str(model) in said


def readable(file: Path) -> bool:
    from ceria_models.model import ModelConfig

    try:
        ModelConfig.model_validate_json(file.read_bytes())
    except ValueError:
        return False
    return True


def change_config(model, seal, **changes):
    config = json.loads((model / "config.json").read_text())
    config["net"] |= changes
    (model / "config.json").write_text(json.dumps(config))
    if seal:
        write_checksums(model)


@pytest.fixture(params=[True, False], ids=["checksums anew", "old checksums"])
def seal(request):
    """A file that was put in place of another is no damage, with or without its checksum."""
    return request.param


@pytest.fixture
def little_memory():
    """Let an allocation of gigabytes fail, instead of taking the machine with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = Path("/proc/self/statm")
    if taken.exists():
        now = int(taken.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (2 << 30), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("sizes", [(512, 16, 32), (10**9, 3, 1)])
def test_a_giant_net_ends_with_2_and_small_memory(refused, model, seal, sizes):
    change_config(model, seal, **dict(zip(("width", "levels", "blocks"), sizes, strict=True)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = refused(2, "verify", model)
    assert "does not fit the net" in said or "expected a whole number from 1 to 512" in said
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # kB
    assert grown < 200 * 1024


def test_a_calibration_that_is_no_number_ends_with_2(refused, model):
    file = model / "config.json"
    config = json.loads(file.read_text())
    config["column_calibration"]["Ce"]["slope"] = float("nan")
    file.write_text(json.dumps(config))
    write_checksums(model)
    assert "column_calibration.Ce.slope" in refused(2, "verify", model)


@pytest.mark.parametrize("architecture", ["plain_unet", "attention_unet", "mixed_scale"])
def test_a_config_of_another_architecture_ends_with_2(refused, model, seal, architecture):
    change_config(model, seal, architecture=architecture)
    assert "does not fit the net" in refused(2, "verify", model)


def test_weights_of_another_architecture_end_with_2(refused, model, seal, tmp_path):
    fresh(architecture="plain_unet").save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(model / "model.safetensors")
    if seal:
        write_checksums(model)
    assert "does not fit the net" in refused(2, "verify", model)


def test_a_renamed_weight_is_damage(refused, model):
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes().replace(b'"stem.bias"', b'"stem.biat"'))
    assert "differs from its sha256" in refused(1, "verify", model)


@pytest.mark.parametrize("name", ["model.safetensors", "test.safetensors"])
def test_weights_that_end_early_end_with_1(refused, model, name):
    file = model / name
    file.write_bytes(file.read_bytes()[:-100])
    assert "differs from its sha256" in refused(1, "verify", model)


def test_the_test_input_of_another_net_ends_with_2(refused, model, tmp_path):
    from safetensors.torch import save_file

    save_file({"probability": torch.zeros(2, 3)}, model / "test.safetensors")
    write_checksums(model)
    assert "probabilities of shape (2, 3), expected" in refused(2, "verify", model)


class _Bomb:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("name", ["model.safetensors", "test.safetensors"])
@pytest.mark.parametrize("protocol", [2, 5, "torch"])
def test_a_pickle_under_the_name_of_safetensors_is_not_run(
    refused, model, seal, tmp_path, monkeypatch, name, protocol
):
    monkeypatch.chdir(tmp_path)
    if protocol == "torch":
        torch.save({"weights": _Bomb()}, model / name)
    else:
        (model / name).write_bytes(pickle.dumps(_Bomb(), protocol))
    if seal:
        write_checksums(model)
    assert "a pickle, which may run code when read" in refused(2, "verify", model)
    assert not Path("ran").exists()


def test_fine_tuning_another_architecture_is_refused(refused, tmp_path, shared_model):
    config = tmp_path / "tiny.yaml"
    config.write_text(TRAINING)
    out = tmp_path / "run"
    said = refused(
        2, "train", config, "--data", "ceria-columns-mini", "--init", shared_model, "--out", out
    )
    assert "take over its net section" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("table", "column", "commands"),
    [
        ("samples", "gain", ("predict", "train", "evaluate")),
        ("samples", "split", ("predict", "train", "evaluate")),
        ("columns", "occupancy", ("train", "evaluate")),
        ("structures", "zone_axis", ("train", "evaluate")),
    ],
)
def test_a_dataset_without_a_needed_column_is_refused(
    refused, tiny, tmp_path, monkeypatch, shared_model, table, column, commands
):
    monkeypatch.setenv("CERIA_HOME", str(tmp_path / "home"))
    samples = pd.read_parquet(tiny / "samples.parquet")
    samples.loc[samples["structure"] == 0, "split"] = "validation"
    samples.to_parquet(tiny / "samples.parquet", index=False)
    file = tiny / f"{table}.parquet"
    pd.read_parquet(file).drop(columns=column).to_parquet(file, index=False)
    reseal(tiny)
    config = tmp_path / "tiny.yaml"
    config.write_text(TRAINING.replace("crop: 32", "crop: 16"))
    out = tmp_path / "out"
    arguments = {
        "predict": (tiny, "--split", "test", "--model", shared_model),
        "train": (config, "--data", tiny, "--workers", 0),
        "evaluate": (shared_model, tiny, "--images", 1),
    }
    for command in commands:
        said = refused(2, command, *arguments[command], "--out", out)
        assert f"{table}.parquet is not a table of {table}" in said
        assert f"'{column}'" in said
        assert not out.exists()


def test_a_dataset_without_validation_is_refused(refused, tiny, tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(TRAINING.replace("crop: 32", "crop: 16"))
    said = refused(2, "train", config, "--data", tiny, "--workers", 0, "--out", tmp_path / "out")
    assert "validation" in said
    assert not (tmp_path / "out").exists()


def test_figures_of_another_model_are_refused(refused, model, tmp_path):
    from tests.ceria_models.test_card import evaluation

    evaluation("somebody else").write(tmp_path / "found.json")
    said = refused(2, "card", model, "--evaluation", tmp_path / "found.json")
    assert "no evaluation of fresh among those given, found somebody else" in said
    (tmp_path / "found.json").write_text('{"program": 1}')
    said = refused(2, "card", model, "--evaluation", tmp_path / "found.json")
    assert "is no evaluation" in said
    assert not (model / "evaluation.json").exists()
