"""`predict` with references of a camera, every N-th frame, and what its facts rest on."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from ceria_models.film_source import Preparation, open_again, open_source
from tests.ceria_data.make_camera import SAMPLING, Shots
from tests.ceria_models.command import run
from tests.ceria_models.make_model import fresh


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    return Shots.write(tmp_path_factory.mktemp("camera"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "net"
    fresh(architecture="plain_unet", width=4, levels=2).save_pretrained(folder)
    return folder


def flags(shots):
    return (
        "--dark", shots.dark, "--flat", shots.flat, "--gain", 10, "--bad-pixels", shots.bad,
    )  # fmt: skip


def predict(monkeypatch, capsys, film, out, *more):
    return run(
        monkeypatch, capsys, "predict", film, "--out", out, "--pictures", 0, "--pixel-size",
        SAMPLING, *more,
    )  # fmt: skip


def readings(out, sites):
    """Probabilities at given places, (site, frame, class); not a number beside the field."""
    own = pd.read_parquet(out / "sites.parquet")
    table = pd.read_parquet(out / "readings.parquet")
    p = table.set_index(["site", "frame"])[[n for n in table if n.startswith("p_")]]
    nearest = []
    for row in sites.itertuples():
        same = own[own["species"] == row.species]
        apart = np.hypot(same["x_A"] - row.x_A, same["y_A"] - row.y_A)
        assert apart.min() < 0.5
        nearest.append(int(same["site"].loc[apart.idxmin()]))
    frames = sorted(table["frame"].unique())
    wanted = pd.MultiIndex.from_product([nearest, frames])
    return p.reindex(wanted).to_numpy().reshape(len(nearest), len(frames), -1)


def test_readings_are_those_of_the_clean_film(monkeypatch, capsys, tmp_path, shots):
    code, _, err = predict(monkeypatch, capsys, shots.clean, tmp_path / "clean")
    assert code == 0, err
    code, _, err = predict(monkeypatch, capsys, shots.film, tmp_path / "out", *flags(shots))
    assert code == 0, err
    assert "--offset" not in err
    sites = pd.read_parquet(tmp_path / "clean" / "sites.parquet")
    clean, found = (readings(tmp_path / name, sites) for name in ("clean", "out"))
    read = np.isfinite(clean[..., 0]) & np.isfinite(found[..., 0])
    assert read.mean() > 0.9
    clean, found = clean[read], found[read]
    assert (clean.argmax(-1) == found.argmax(-1)).mean() > 0.95
    assert np.abs(clean - found).max(-1).mean() < 0.05
    record = json.loads((tmp_path / "out" / "prediction.json").read_text())["preparation"]
    assert record["references"]["gain"] == 10
    for name, file in (("dark", shots.dark), ("flat", shots.flat), ("bad_pixels", shots.bad)):
        own = record["references"][name]
        assert own["file"] == str(file)
        assert own["mean"] == pytest.approx(np.load(file).mean())
        assert len(own["sha256"]) == 64
    again = open_again(shots.film, record)
    np.testing.assert_allclose(again.frames(0, 1).mean(), np.load(shots.clean)[0].mean(), rtol=0.01)


def test_an_offset_that_is_left_is_told(monkeypatch, capsys, tmp_path, small):
    shots = Shots.write(tmp_path, frames=12, dose=100.0)
    code, _, err = predict(
        monkeypatch, capsys, shots.film, tmp_path / "raw", "--model", small, "--force"
    )
    assert code == 0, err
    notes = json.loads((tmp_path / "raw" / "prediction.json").read_text())["notes"]
    assert any("unless an offset is taken off, with --dark or --offset" in n for n in notes)
    assert "--dark or --offset" in " ".join(err.split())


@pytest.mark.parametrize("finished", [True, False])
def test_other_references_do_not_resume(monkeypatch, capsys, tmp_path, shots, small, finished):
    out, net = tmp_path / "out", ("--model", small, "--force")
    if not finished:

        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("ceria_models.prediction_run._joined", stop)
    code, _, err = predict(monkeypatch, capsys, shots.film, out, *net, *flags(shots))
    assert (code == 0) == finished, err
    monkeypatch.undo()
    np.save(tmp_path / "dark.npy", np.load(shots.dark) + 1)
    other = ("--dark", tmp_path / "dark.npy", *flags(shots)[2:], "--resume")
    code, _, err = predict(monkeypatch, capsys, shots.film, out, *net, *other)
    assert code == 2
    assert "another camera references" in " ".join(err.split())
    # The same file elsewhere is the same reference.
    np.save(tmp_path / "dark.npy", np.load(shots.dark))
    code, _, err = predict(monkeypatch, capsys, shots.film, out, *net, *other)
    assert code == 0, err


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (("--dark", "gone.npy"), "--dark: gone.npy is neither a film nor a dataset"),
        (("--gain", 0), "the gain is 0 counts per electron; expected a positive number"),
        (("--gain", "nan"), "the gain is nan"),
        (("--offset", 1e6), "the offset is 1e+06 counts on average"),
        (("--flat", "{dark}", "--dark", "{flat}"), "nothing would be left"),
        (("--flat", "{dark}", "--dark", "{dark}"), "is not above the camera's zero"),
        (("--bad-pixels", "{flat}"), "marked as bad"),
        (("--dark", "{narrow}"), "has the shape (128, 127); expected (128, 128)"),
        (("--flat", "{broken}"), "--flat: "),
    ],
)
def test_wrong_references_end_with_2(monkeypatch, capsys, tmp_path, shots, more, match):
    files = {"dark": shots.dark, "flat": shots.flat}
    dark = np.load(shots.dark).mean(0)
    for name, values in (("narrow", dark[:, 1:]), ("broken", np.where(dark > 3000, np.nan, dark))):
        files[name] = tmp_path / f"{name}.npy"
        np.save(files[name], values)
    given = [str(own).format(**files) for own in more]
    code, _, err = predict(monkeypatch, capsys, shots.film, tmp_path / "out", *given)
    assert code == 2
    assert match in " ".join(err.split())
    assert not (tmp_path / "out").exists()


def test_every_third_frame(tmp_path):
    film = np.random.default_rng(0).poisson(9.0, (20, 16, 16))
    np.save(tmp_path / "film.npy", film)
    preparation = Preparation(first=2, frames=4, every=3)
    opened = open_source(tmp_path / "film.npy", frame_time_s=0.1, preparation=preparation)
    np.testing.assert_array_equal(opened.film.frames(0, 4), film[[2, 5, 8, 11]])
    np.testing.assert_allclose(opened.times, [0.2, 0.5, 0.8, 1.1])
    assert opened.record == {"first": 2, "frames": 4, "every": 3}
    again = open_again(tmp_path / "film.npy", opened.record)
    np.testing.assert_array_equal(again.frames(0, 4), opened.film.frames(0, 4))


@pytest.mark.parametrize(
    ("kind", "more", "sampling", "frame_time"),
    [
        ("tif", (), "file", "file"),
        ("tif", ("--pixel-size", 0.2, "--frame-time", 0.1), "flag", "flag"),
        ("npy", (), "estimated", None),
        ("dataset", ("--split", "test", "--limit", 1), "dataset", None),
    ],
)
def test_facts_say_what_they_rest_on(
    monkeypatch, capsys, tmp_path, small, kind, more, sampling, frame_time
):
    from ceria_data import open_dataset

    frames = open_dataset("ceria-columns-mini", "test").at_dose(1000.0)[41].counts
    if kind == "tif":
        # 5 pixels per nm
        tifffile.imwrite(
            tmp_path / "film.tif", np.stack([frames] * 2), imagej=True, resolution=(50000, 50000),
            metadata={"unit": "um", "axes": "TYX", "finterval": 0.5},
        )  # fmt: skip
    np.save(tmp_path / "film.npy", frames)
    film = "ceria-columns-mini" if kind == "dataset" else tmp_path / f"film.{kind}"
    code, _, err = run(
        monkeypatch, capsys, "predict", film, "--model", small, "--out", tmp_path / "found",
        "--pictures", 0, "--force", *more,
    )  # fmt: skip
    assert code == 0, err
    facts = json.loads((tmp_path / "found" / "prediction.json").read_text())
    assert facts["sampling_source"] == sampling
    assert facts["frame_time_source"] == frame_time
    assert facts["dose_source"] == "estimated"
    uncertainty = facts["sampling_uncertainty_A"]
    if sampling == "estimated":
        assert abs(facts["sampling_A"] - 0.2) < 4 * uncertainty < 0.02
    else:
        assert uncertainty is None
