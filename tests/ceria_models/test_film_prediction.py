"""`ceria-models predict` on films: what is in the folder, and what an interruption leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ceria_data.errors import DiskSpaceError, OutputError
from ceria_data.film import film_of_array
from ceria_models import film_frames, film_prediction
from ceria_models.errors import DomainError, ImageError
from ceria_models.film_job import FilmJob
from ceria_models.film_source import Source, frame_times, open_source
from ceria_models.film_staging import FilmStaging
from ceria_models.frame_reading import NOWHERE, FrameReading, Reader, read_frame, read_view
from ceria_models.model_places import DEFAULT
from ceria_models.prediction_run import PredictionSettings, run_prediction
from ceria_models.runtime import open_runtime
from ceria_models.tracking_run import run_tracking
from ceria_models.weights import from_pretrained
from tests.ceria_models.command import run
from tests.ceria_models.make_film import SAMPLING, film_of, intensity, line
from tests.ceria_models.make_model import fresh

TABLES = ["columns.parquet", "frames.parquet", "readings.parquet", "sites.parquet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "net"
    fresh(architecture="plain_unet", width=4, levels=2).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def film():
    """Twelve frames, 1.2 Å of drift, other height than width, the fifth dark."""
    frames = film_of(intensity(), line(12, 1.2, -0.8))[:, :100]
    frames[4] = 0
    return frames


@pytest.fixture(scope="module")
def predicted(tmp_path_factory, film, model):
    out = tmp_path_factory.mktemp("film") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(film_frames, "_FRAMES_OF_CHUNK", 4)
        run_prediction(source_of(film), SAMPLING, out, settings(model))
    return out


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    monkeypatch.setattr(film_frames, "_FRAMES_OF_CHUNK", 4)


def settings(model, **more):
    return PredictionSettings(model, **({"pictures": 0} | more))


def source_of(frames, frame_time_s=0.1):
    film = film_of_array(frames, SAMPLING, frame_time_s)
    return Source(film, frame_times(film), True, {})


def facts_of(out):
    return json.loads((out / "prediction.json").read_text(encoding="utf-8"))


def tables_of(out):
    return {name: pd.read_parquet(out / name) for name in TABLES}


def same_bytes(one, other):
    names = [*TABLES, "reference.npy", "prediction.json"]
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def left_beside(out):
    return sorted(path.name for path in out.parent.iterdir() if path != out)


def test_a_dark_frame_is_skipped_and_named(predicted, film):
    facts, tables = facts_of(predicted), tables_of(predicted)
    assert facts["skipped"] == [4]
    assert any("skipped 1 of 12 frames (4): every pixel is 0" in w for w in facts["warnings"])
    frames = tables["frames.parquet"]
    assert frames["frame"].tolist() == list(range(12))
    np.testing.assert_allclose(frames["time_s"], 0.1 * np.arange(12))
    assert np.flatnonzero(frames["mean"].isna()).tolist() == [4]
    assert 4 not in set(tables["readings.parquet"]["frame"])
    assert 4 not in set(tables["columns.parquet"]["frame"])
    assert facts["shape"] == list(film.shape[1:])
    assert facts["shape"][0] != facts["shape"][1]


def test_the_drift_is_that_of_the_film(predicted):
    frames = tables_of(predicted)["frames.parquet"]
    path = line(12, 1.2, -0.8)
    for axis, name in enumerate(("drift_y_A", "drift_x_A")):
        off = frames[name].to_numpy() - path[:, axis]
        assert (off - off.mean()).std() < 0.1
    assert facts_of(predicted)["drift"]["found"]


def test_every_site_in_the_field_has_a_reading_in_every_frame(predicted, film):
    tables = tables_of(predicted)
    sites, readings = tables["sites.parquet"], tables["readings.parquet"]
    assert sites["site"].tolist() == list(range(len(sites)))
    expected = []
    for frame in tables["frames.parquet"].itertuples():
        y = (sites["y_A"] + frame.drift_y_A) / SAMPLING
        x = (sites["x_A"] + frame.drift_x_A) / SAMPLING
        inside = y.between(-0.5, film.shape[1] - 0.5, inclusive="left")
        inside &= x.between(-0.5, film.shape[2] - 0.5, inclusive="left")
        if frame.frame != 4:
            expected += [(frame.frame, site) for site in sites["site"][inside]]
    assert len(expected) > 100
    assert list(zip(readings["frame"], readings["site"], strict=True)) == expected
    p = readings[[name for name in readings if name.startswith("p_")]].to_numpy()
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-4)


def test_readings_are_what_the_net_says_there_in_that_image_alone(predicted, film, model):
    tables, frame = tables_of(predicted), 7
    row = tables["frames.parquet"].iloc[frame]
    sites = tables["sites.parquet"]
    readings = tables["readings.parquet"]
    own = readings[readings["frame"] == frame].set_index("site")
    net = from_pretrained(model)
    reader = Reader(net, open_runtime(net))
    for species in ("Ce", "O"):
        mine = sites[(sites["species"] == species) & sites["site"].isin(own.index)]
        place = mine[["y_A", "x_A"]].to_numpy() + row[["drift_y_A", "drift_x_A"]].to_numpy(float)
        found = read_frame(
            reader, film[frame], SAMPLING, row["dose_e_per_A2"], NOWHERE | {species: place}
        )
        said = own.loc[mine["site"]]
        classes = [name for name in own if name.startswith("p_")]
        np.testing.assert_allclose(said[classes], found.p[species], atol=1e-5)
        np.testing.assert_allclose(said["z_mean_A"], found.z[species], atol=1e-4)


def test_readings_at_columns_are_the_columns(film):
    """Decoding finds a column where the net is read: both have to say the same."""
    net = from_pretrained(DEFAULT)
    reader = Reader(net, open_runtime(net))
    found = read_frame(reader, film[0], SAMPLING, 300.0, NOWHERE).columns
    places = {s: own[["y_A", "x_A"]].to_numpy() for s, own in found.groupby("species")}
    again = read_frame(reader, film[0], SAMPLING, 300.0, NOWHERE | places)
    assert len(found) > 30
    for species, own in found.groupby("species"):
        p = own[[name for name in own if name.startswith("p_")]].to_numpy()
        same = again.p[species].argmax(axis=1) == p.argmax(axis=1)
        assert same.mean() > 0.95
        assert np.median(np.abs(again.p[species] - p).max(axis=1)) < 0.05


@pytest.mark.parametrize("sampling", [0.2, 0.17])
def test_readings_are_equal_with_and_without_tiles(film, model, sampling):
    net = from_pretrained(model)
    rng = np.random.default_rng(0)
    high, wide = (np.array(film.shape[1:]) - 1) * sampling
    places = {s: rng.uniform(0, (high, wide), (400, 2)) for s in ("Ce", "O")}
    run_net = open_runtime(net)
    whole, tiled = (
        read_frame(Reader(net, run_net, tile), film[0], sampling, 300.0, places)
        for tile in (512, 32)
    )
    for species in places:
        np.testing.assert_allclose(whole.p[species], tiled.p[species], atol=2e-4)
        np.testing.assert_allclose(whole.z[species], tiled.z[species], atol=1e-3)


def test_a_film_of_one_frame_has_its_columns_as_sites(tmp_path, film, model):
    out = tmp_path / "out"
    run_prediction(source_of(film[:1]), SAMPLING, out, settings(model))
    tables = tables_of(out)
    assert len(tables["sites.parquet"]) == len(tables["columns.parquet"])
    assert len(tables["readings.parquet"]) == len(tables["columns.parquet"])
    assert tables["sites.parquet"]["n_frames_seen"].eq(1).all()
    assert tables["frames.parquet"][["drift_x_A", "drift_y_A"]].eq(0).all(axis=None)
    np.testing.assert_array_equal(np.load(out / "reference.npy"), film[0].astype(np.float32))


def test_noise_only_is_predicted_without_drift_and_says_so(tmp_path, model):
    frames = np.random.default_rng(0).poisson(12, (6, 64, 72))
    out = tmp_path / "out"
    _, warnings = run_prediction(source_of(frames), SAMPLING, out, settings(model, force=True))
    assert any("nothing in common to align" in line for line in warnings)
    assert not facts_of(out)["drift"]["found"]
    assert tables_of(out)["frames.parquet"]["drift_x_A"].eq(0).all()


def test_frames_that_cannot_be_read_at_all_are_refused(tmp_path, model):
    with pytest.raises(ImageError, match="every pixel"):
        run_prediction(source_of(np.zeros((3, 64, 64))), SAMPLING, tmp_path / "o", settings(model))
    assert left_beside(tmp_path / "o") == []


@pytest.fixture(scope="module")
def two_frames(tmp_path_factory, film, model):
    out = tmp_path_factory.mktemp("two") / "out"
    run_prediction(source_of(film[:2]), SAMPLING, out, settings(model))
    return tables_of(out)["readings.parquet"]


@pytest.mark.parametrize("kind", ["<f4", ">u2", "|u1", ">f8"])
def test_the_type_of_the_pixels_changes_nothing(tmp_path, film, model, two_frames, kind):
    out = tmp_path / "out"
    run_prediction(source_of(film[:2].astype(kind)), SAMPLING, out, settings(model))
    np.testing.assert_allclose(tables_of(out)["readings.parquet"], two_frames, atol=1e-4)


def test_a_film_may_begin_with_a_dark_frame(tmp_path, film, model):
    frames = film[[4, 0, 1]]
    run_prediction(source_of(frames), SAMPLING, tmp_path / "out", settings(model, pictures=2))
    assert facts_of(tmp_path / "out")["skipped"] == [0]
    names = [path.name for path in sorted((tmp_path / "out").glob("overlay_*.png"))]
    assert names == ["overlay_00001.png", "overlay_00002.png"]


def fake_reading(columns_of):
    """A net that sees given columns in each frame, whose number is its first pixel."""

    def read(reader, view, mean, dose, places):
        columns = columns_of(None if places is NOWHERE else int(view.image[0, 0]))
        table = pd.DataFrame(columns, columns=["species", "y_A", "x_A"])
        table = table[["species", "x_A", "y_A"]].assign(
            occupancy=1, confidence=1.0, z_mean_A=0.0, z_spread_A=0.0
        )
        classes = reader.model.config.net.max_count + 1
        table = table.assign(**{f"p_{n}": float(n == 1) for n in range(classes)})
        p = {s: np.eye(classes)[np.ones(len(own), int)] for s, own in places.items()}
        zeros = {s: np.zeros(len(own)) for s, own in places.items()}
        return FrameReading(table, p, zeros, zeros)

    return read


def test_sites_have_the_number_of_frames_that_show_them(tmp_path, film, model, monkeypatch):
    def columns_of(frame):
        there = [("Ce", 8.0, 8.0), ("Ce", 12.0, 12.0)]
        return there if frame is None else [*there[: 1 + (frame < 3)], ("Ce", 2.0, 2.0)]

    frames = film[:3].repeat(4, axis=0)
    frames[:, 0, 0] = range(12)
    monkeypatch.setattr(film_prediction, "read_view", fake_reading(columns_of))
    out = tmp_path / "out"
    run_prediction(source_of(frames), SAMPLING, out, settings(model))
    sites = tables_of(out)["sites.parquet"]
    assert sites["n_frames_seen"].tolist() == [12, 3]


def test_frames_without_columns_come_before_those_with_some(tmp_path, film, model, monkeypatch):
    """The first chunk tells the types of the table; it must do so without a row."""

    def columns_of(frame):
        return [("Ce", 8.0, 8.0)] if frame is not None and frame > 5 else []

    frames = film[:3].repeat(4, axis=0)
    frames[:, 0, 0] = range(12)
    monkeypatch.setattr(film_prediction, "read_view", fake_reading(columns_of))
    out = tmp_path / "out"
    run_prediction(source_of(frames), SAMPLING, out, settings(model))
    tables = tables_of(out)
    assert tables["columns.parquet"]["frame"].tolist() == list(range(6, 12))
    assert tables["sites.parquet"].empty
    assert tables["readings.parquet"].empty


def test_a_column_of_a_third_of_the_frames_is_a_site_and_has_readings_in_all(tmp_path):
    """The bundled net sees a Ce column for 1 s of 3; before and after it is vacuum there."""
    image = intensity()
    sample_y, sample_x = column_at_the_edge()
    away = image.copy()
    size = int(1.0 / SAMPLING)
    row, column = round(sample_y / SAMPLING), round(sample_x / SAMPLING)
    patch = np.s_[row - size : row + size + 1, column - size : column + size + 1]
    y, x = np.mgrid[-size : size + 1, -size : size + 1] / size
    weight = np.clip(2 - 2 * np.hypot(y, x), 0, 1)
    away[patch] = weight * 1.0 + (1 - weight) * image[patch]
    still = line(8, 0, 0)
    frames = np.concatenate(
        [film_of(away, still, seed=1), film_of(image, still, seed=2), film_of(away, still, seed=3)]
    )
    out = tmp_path / "out"
    run_prediction(source_of(frames, 0.125), SAMPLING, out, settings(DEFAULT))
    tables = tables_of(out)
    sites = tables["sites.parquet"]
    near = np.hypot(sites["y_A"] - sample_y, sites["x_A"] - sample_x) < 0.6
    own = sites[near & (sites["species"] == "Ce")]
    assert len(own) == 1
    assert set(sites["source"]) <= {"sum", "part"}
    readings = tables["readings.parquet"]
    mine = readings[readings["site"] == own["site"].iloc[0]]
    assert mine["frame"].tolist() == list(range(24))
    there = 1 - mine["p_0"].to_numpy()
    assert there[8:16].mean() > there[:8].mean() + 0.4
    assert there[8:16].mean() > there[16:].mean() + 0.4


def test_a_column_that_only_the_mean_of_a_part_shows_is_a_site(tmp_path, monkeypatch, model):
    """A reader of bright places: for one second of four there is one more."""
    frames = np.random.default_rng(0).poisson(20.0, (32, 64, 64)).astype(float)
    frames[:, 40, 40] += 60
    frames[8:16, 20, 20] += 60

    def columns(reader, view, mean, dose, places):
        rows = np.argwhere(view.image > 2.2 * np.median(view.image)) * view.sampling
        table = pd.DataFrame({"species": "Ce", "x_A": rows[:, 1], "y_A": rows[:, 0]})
        return SimpleNamespace(columns=table)

    means = {"reference.npy": frames.mean(0)} | {
        f"part-{i:05d}.npy": part.mean(0) for i, part in enumerate(np.split(frames, 4))
    }
    for name, mean in means.items():
        np.save(tmp_path / name, mean.astype(np.float32))
    monkeypatch.setattr("ceria_models.film_prediction.read_view", columns)
    reader = Reader(from_pretrained(model), lambda image: pytest.fail("ran"))
    job = FilmJob(source_of(frames, 0.125), SAMPLING, reader, False, lambda *told: None)
    assert [len(part) for part in job.parts()] == [8, 8, 8, 8]
    sites = film_prediction._sites_of_means(job, SimpleNamespace(file=lambda name: tmp_path / name))
    assert sites["source"].tolist() == ["sum", "part"]
    assert sites["x_A"].tolist() == pytest.approx([8.0, 4.0])


def column_at_the_edge():
    """Place of the Ce column that has the fewest neighbours."""
    from ceria_data.dataset import open_dataset

    columns = open_dataset("ceria-columns-mini", "test")[78].columns
    own = columns[(columns["species"] == "Ce") & (columns["occupancy"] > 2)]
    place = own[["y_A", "x_A"]].to_numpy()
    inner = (place > 3).all(axis=1) & (place < 18).all(axis=1)
    apart = np.hypot(*(place[:, None] - place).transpose(2, 0, 1))
    return place[inner][(apart < 6).sum(axis=1)[inner].argmin()]


def interrupted(monkeypatch, error, at):
    """Fail when the frames of the `at`-th chunk are about to be written."""
    write, seen = FilmStaging.write_table, []

    def failing(self, name, table):
        seen.append(name)
        if sum(one.endswith("-frames.parquet") for one in seen) == at:
            raise error
        write(self, name, table)

    monkeypatch.setattr(FilmStaging, "write_table", failing)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_ctrl_c_leaves_nothing_that_looks_whole_and_resume_ends_with_the_same_bytes(
    tmp_path, film, model, predicted, monkeypatch, at
):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupted(patch, KeyboardInterrupt(), at)
        with pytest.raises(KeyboardInterrupt):
            run_prediction(source_of(film), SAMPLING, out, settings(model))
    assert not out.exists()
    assert not list(tmp_path.rglob("prediction.json"))
    with pytest.raises(OutputError, match="--resume goes on"):
        run_prediction(source_of(film), SAMPLING, out, settings(model))
    read = []
    monkeypatch.setattr(
        film_prediction, "read_view", lambda *given: read.append(1) or read_view(*given)
    )
    run_prediction(source_of(film), SAMPLING, out, settings(model, resume=True))
    of_mean = 1  # its levels are learned anew
    assert len(read) == of_mean + 12 - 1 - sum([4, 3, 4][: at - 1])
    assert same_bytes(out, predicted)
    assert not [name for name in left_beside(out) if not name.endswith("lock")]


def test_resume_of_what_is_whole_does_nothing(film, model, predicted, tmp_path, monkeypatch):
    out = shutil.copytree(predicted, tmp_path / "out")
    monkeypatch.setattr(film_prediction, "read_view", lambda *_: pytest.fail("ran"))
    facts, _ = run_prediction(source_of(film), SAMPLING, out, settings(model, resume=True))
    assert facts["frames"] == 12
    assert same_bytes(out, predicted)


@pytest.mark.parametrize("change", ["film", "pixel size", "frame time", "model", "--force"])
@pytest.mark.parametrize("finished", [False, True])
def test_another_setting_does_not_go_on(
    tmp_path, film, model, predicted, monkeypatch, change, finished
):
    out = tmp_path / "out"
    if finished:
        shutil.copytree(predicted, out)
    else:
        with monkeypatch.context() as patch:
            interrupted(patch, KeyboardInterrupt(), 2)
            with pytest.raises(KeyboardInterrupt):
                run_prediction(source_of(film), SAMPLING, out, settings(model))
    given, sampling, time_s, net, force = film, SAMPLING, 0.1, model, False
    if change == "film":
        given = film.copy()
        given[-1, 3, 3] += 1
    elif change == "pixel size":
        sampling = 0.201
    elif change == "frame time":
        time_s = 0.2
    elif change == "model":
        other = fresh(architecture="plain_unet", width=4, levels=2)
        next(other.net.parameters()).data[:] += 1e-3
        net = tmp_path / "net"
        other.save_pretrained(net)
    else:
        force = True
    wanted = settings(str(net), resume=True, force=force)
    with pytest.raises(OutputError, match=f"another .*{change}"):
        run_prediction(source_of(given, time_s), sampling, out, wanted)
    if finished:
        assert same_bytes(out, predicted)
        return
    again = settings(str(net), overwrite=True, force=force)
    run_prediction(source_of(given, time_s), sampling, out, again)
    assert facts_of(out)["frames"] == 12


def test_an_earlier_prediction_stays_until_the_new_one_is_whole(
    tmp_path, film, model, predicted, monkeypatch
):
    out = shutil.copytree(predicted, tmp_path / "out")
    with pytest.raises(OutputError, match="exists already"):
        run_prediction(source_of(film[:3]), SAMPLING, out, settings(model))
    with monkeypatch.context() as patch:
        interrupted(patch, KeyboardInterrupt(), 1)
        with pytest.raises(KeyboardInterrupt):
            run_prediction(source_of(film[:3]), SAMPLING, out, settings(model, overwrite=True))
    assert same_bytes(out, predicted)
    run_prediction(source_of(film[:3]), SAMPLING, out, settings(model, resume=True))
    assert facts_of(out)["frames"] == 3


def test_a_full_disk_ends_clearly_and_can_go_on(tmp_path, film, model, predicted, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupted(patch, OSError(28, "No space left on device"), 2)
        with pytest.raises(DiskSpaceError, match=r"is full.*--resume"):
            run_prediction(source_of(film), SAMPLING, out, settings(model))
    assert not out.exists()
    run_prediction(source_of(film), SAMPLING, out, settings(model, resume=True))
    assert same_bytes(out, predicted)


def test_a_full_disk_ends_a_command_with_2(tmp_path, film, model, monkeypatch, capsys):
    np.save(tmp_path / "film.npy", film)
    interrupted(monkeypatch, OSError(28, "No space left on device"), 1)
    code, _, err = run(
        monkeypatch, capsys, "predict", tmp_path / "film.npy", "--pixel-size", SAMPLING,
        "--model", model, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert "is full" in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_prediction_goes_on(tmp_path, film, model, monkeypatch, capsys):
    """Its bytes are those of one that was left alone."""
    file = tmp_path / "film.npy"
    np.save(file, film)
    arguments = ["predict", file, "--model", model, "--pixel-size", SAMPLING, "--frame-time", 0.1]
    arguments = [*map(str, arguments), "--pictures", "0", "--quiet"]
    script = (
        "import sys, time\n"
        "from ceria_models import cli, film_frames, film_prediction as fp\n"
        "film_frames._FRAMES_OF_CHUNK = 4\n"
        "read, seen = fp.read_view, []\n"
        "def slow(*given):\n"
        "    seen.append(1)\n"
        "    if len(seen) > 6:\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "    return read(*given)\n"
        "fp.read_view = slow\n"
        "sys.argv = ['ceria-models', *sys.argv[1:]]\n"
        "cli.main()\n"
    )
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments, "--out", str(out)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    assert run(monkeypatch, capsys, *arguments, "--out", out, "--resume")[0] == 0
    assert run(monkeypatch, capsys, *arguments, "--out", tmp_path / "alone")[0] == 0
    assert same_bytes(out, tmp_path / "alone")


def test_far_outside_is_refused_and_leaves_nothing(tmp_path, model):
    frames = np.random.default_rng(0).poisson(0.02, (5, 96, 96))
    out = tmp_path / "out"
    with pytest.raises(DomainError, match="--force"):
        run_prediction(source_of(frames), SAMPLING, out, settings(model))
    assert not [name for name in left_beside(out) if not name.endswith("lock")]
    _, warnings = run_prediction(source_of(frames), SAMPLING, out, settings(model, force=True))
    facts = facts_of(out)
    assert facts["forced"]
    assert not facts["in_domain"]
    assert any(line.startswith("in all 5 frames: ") for line in warnings)


def test_warnings_are_counted_and_few_frames_far_outside_are_skipped(tmp_path, model):
    frames = film_of(intensity(), line(20, 1.0, 0.0))
    frames[3] = np.random.default_rng(0).poisson(0.02, frames[3].shape)
    out = tmp_path / "out"
    _, warnings = run_prediction(source_of(frames), SAMPLING, out, settings(model))
    assert facts_of(out)["skipped"] == [3]
    assert sum("skipped 1 of 20 frames (3)" in line for line in warnings) == 1
    counted = [line for line in warnings if line.startswith("in 1 of 20 frames (3): ")]
    assert any("the dose, as its noise tells" in line for line in counted)
    assert len(warnings) < 6


def test_images_of_a_dataset_that_do_not_follow_each_other_are_no_film(tmp_path, model):
    source = open_source("ceria-columns-mini", split="test", limit=3)
    out = tmp_path / "out"
    run_prediction(source, SAMPLING, out, settings(model))
    assert sorted(path.name for path in out.glob("*.parquet")) == TABLES[:2]
    assert not (out / "reference.npy").exists()
    assert facts_of(out)["film"] is None


def test_a_film_of_a_dataset_is_predicted_by_its_particle(tmp_path, model, monkeypatch, capsys):
    from tests.tiny import build_tiny, film_config

    folder = build_tiny(tmp_path / "films", film_config({"frames": 3, "frame_time_s": 0.1}))
    out = tmp_path / "out"
    code, _, err = run(
        monkeypatch, capsys, "predict", folder, "--split", "train", "--particle", 1,
        "--model", model, "--out", out, "--force",
    )  # fmt: skip
    assert code == 0, err
    frames = tables_of(out)["frames.parquet"]
    assert len(frames) == 3
    np.testing.assert_allclose(np.diff(frames["time_s"]), 0.1, atol=1e-6)
    assert frames["sample"].is_unique
    assert facts_of(out)["film"] is not None


def test_progress_counts_every_stage_to_its_end(tmp_path, film, model):
    told = {}
    run_prediction(
        source_of(film), SAMPLING, tmp_path / "out", settings(model),
        tell=lambda what, done, total, _: told.update({what: (done, total)}),
    )  # fmt: skip
    assert {"frames checked", "frames aligned", "frames summed", "frames"} <= told.keys()
    assert all(done == total for done, total in told.values())


def test_memory_does_not_grow_with_the_frames(tmp_path, film, model, monkeypatch):
    """Frames come from a file; the 60 more would have 0.6 MB, as float32 1.2 MB."""
    monkeypatch.setattr(film_frames, "_MOST", 8)
    peaks = []
    for frames in (12, 12, 72):  # the first loads what is kept
        file = tmp_path / f"{frames}.npy"
        np.save(file, film[:3, :64, :80].repeat(frames // 3, axis=0))
        source = open_source(file, frame_time_s=1.0)
        tracemalloc.start()
        try:
            wanted = settings(model, force=True, overwrite=True)
            run_prediction(source, SAMPLING, tmp_path / f"out-{frames}", wanted)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[2] - peaks[1] < 60 * 64 * 80


def test_a_film_of_few_frames_has_no_levels(tmp_path):
    """The mean of a few frames is too noisy to learn from."""
    few = film_of(intensity(), line(9, 0, 0))
    run_prediction(source_of(few), SAMPLING, tmp_path / "out", settings(DEFAULT))
    tables = tables_of(tmp_path / "out")
    assert len(tables["sites.parquet"]) > 40
    assert tables["readings.parquet"]["level"].isna().all()
    assert "level_spread" not in tables["sites.parquet"]


def test_an_atom_that_leaves_shows_in_the_levels_and_is_an_event(tmp_path):
    """Half-way a column of n Ce loses an n-th of its contrast; at 150 e-/Å² no frame shows it."""
    from ceria_data.dataset import open_dataset

    image = intensity()
    columns = open_dataset("ceria-columns-mini", "test")[78].columns
    y_A, x_A = column_at_the_edge()
    here = np.hypot(columns["y_A"] - y_A, columns["x_A"] - x_A) < 0.01
    n = int(columns.loc[here, "occupancy"].iloc[0])
    y, x = SAMPLING * np.mgrid[: image.shape[0], : image.shape[1]]
    near = np.exp(-(((np.hypot(y - y_A, x - x_A)) / 0.8) ** 4))
    less = image - near * (image - 1.0) / n
    path = np.cumsum(np.random.default_rng(3).normal(0, 0.04, (40, 2)), axis=0)
    film = np.concatenate(
        [film_of(image, path[:20], 150.0, seed=4), film_of(less, path[20:], 150.0, seed=5)]
    )
    out = tmp_path / "out"
    run_prediction(source_of(film, 1 / 30), SAMPLING, out, settings(DEFAULT))
    tables = tables_of(out)
    sites, readings = tables["sites.parquet"], tables["readings.parquet"]
    apart = np.hypot(sites["y_A"] - y_A, sites["x_A"] - x_A)
    own = apart.where(sites["species"] == "Ce").idxmin()
    level = readings.pivot(index="frame", columns="site", values="level")
    change = level[20:].mean() - level[:20].mean()
    error = level.std() / np.sqrt(10)
    assert change[own] == pytest.approx(-1.0, abs=0.35)
    others = (change / error).drop(own)
    assert others.abs().median() < 1.0
    run_tracking(out)
    events = pd.read_parquet(out / "events.parquet")
    assert events["kind"].tolist() == ["departure"]
    assert events["site_from"].tolist() == [own]
    assert events["frame"].iloc[0] == pytest.approx(20, abs=3)
