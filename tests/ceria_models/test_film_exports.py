"""A predicted film opens in other programs with its pixel size, its time and its counts."""

import json
import re
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
import zarr

from ceria_data.film import open_film
from ceria_models import export_imagej
from ceria_models.export_hyperspy import write_hyperspy
from ceria_models.export_imagej import write_imagej
from ceria_models.export_ome_zarr import write_ome_zarr
from ceria_models.export_stack import painted_discs, stack_of
from ceria_models.napari_reader import napari_get_reader
from ceria_models.report_tables import read_predicted_film
from tests.ceria_models.command import run
from tests.ceria_models.film_folder import FRAME_TIME, SAMPLING, Script, make_folder

FRAMES = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    script = Script(frames=FRAMES, events=(("migration", 4), ("vacancy_creation", 6)))
    return make_folder(tmp_path_factory.mktemp("film"), script)


@pytest.fixture(scope="module")
def film(folder):
    return np.load(folder.parent / "film.npy")


@pytest.fixture
def stack(folder):
    return stack_of(read_predicted_film(folder))


def check_counts(folder, painted, species, frames=range(FRAMES)):
    """Every column of a species has its tracked count in the middle of its disc."""
    tables = read_predicted_film(folder)
    tracks = pd.read_parquet(folder / "tracks.parquet")
    own = tracks[(tracks["species"] == species) & tracks["frame"].isin(frames)]
    frame, site = own["frame"].to_numpy(), own["site"].to_numpy()
    places = tables.sites[["x_A", "y_A"]].to_numpy()[site] + tables.drift[frame]
    x, y = np.rint(places / SAMPLING).astype(int).T
    assert (painted[np.searchsorted(list(frames), frame), y, x] == own["occupancy"]).all()
    assert len(own) == len(frames) * (tables.sites["species"] == species).sum()
    assert 0.5 < (painted == 0).mean() < 0.97


def test_discs_do_not_leave_the_image_and_the_nearer_column_wins():
    places = np.array([[0.0, 0.0], [0.0, 5.0], [9.4, 9.4]])
    painted = painted_discs(places, np.array([3, 4, 5], np.uint8), (10, 10), 0.2)
    assert painted[0, :6].tolist() == [3, 3, 3, 4, 4, 4]
    assert painted[9, 9] == 5
    assert (painted[4:6, 3:5] == 0).all()


def test_discs_follow_the_drift(stack):
    """1 Å along x and 0.4 Å along y are 5 and 2 pixels."""
    still, moved = (
        replace(
            stack, tables=replace(stack.tables, frames=stack.tables.frames.assign(
                drift_x_A=x, drift_y_A=y))
        ).painted(5, "Ce") for x, y in ((0.0, 0.0), (1.0, 0.4))
    )  # fmt: skip
    assert (moved[2:, 5:] == still[:-2, :-5]).all()
    assert (moved != still).any()


def test_csv_has_every_row_of_every_table(folder, monkeypatch, capsys, tmp_path):
    out = tmp_path / "tables"
    code, text, _ = run(
        monkeypatch, capsys, "convert", folder, "--to", "csv", "--out", out, "--json"
    )
    assert code == 0
    names = {file.stem for file in folder.glob("*.parquet")}
    assert {file.rsplit("/", 1)[1] for file in json.loads(text)["files"]} == {
        f"{name}.csv" for name in names
    }
    for name in names:
        stored = pd.read_parquet(folder / f"{name}.parquet").reset_index(drop=True)
        read = pd.read_csv(out / f"{name}.csv", keep_default_na=False, na_values={"level": [""]})
        pd.testing.assert_frame_equal(read, stored, check_dtype=False, rtol=1e-6)


def valid_multiscale(ome, group):
    """What NGFF 0.5 demands of multiscales; https://ngff.openmicroscopy.org/0.5/."""
    assert ome["version"] == "0.5"
    (multiscale,) = ome["multiscales"]
    axes = multiscale["axes"]
    assert len({axis["name"] for axis in axes}) == len(axes)
    kinds = [axis["type"] for axis in axes]
    assert kinds.count("space") in (2, 3)
    assert kinds == sorted(kinds, key=["time", "channel", "space"].index)
    units = {"time": {"second"}, "space": {"angstrom", "nanometer"}}
    for axis in axes:
        assert axis.get("unit") in units[axis["type"]]
    for level in multiscale["datasets"]:
        array = group[level["path"]]
        assert array.metadata.zarr_format == 3
        assert list(array.metadata.dimension_names) == [axis["name"] for axis in axes]
        scales = [t for t in level["coordinateTransformations"] if t["type"] == "scale"]
        assert len(scales) == 1
        assert len(scales[0]["scale"]) == array.ndim == len(axes)
        assert all(isinstance(value, float) for value in scales[0]["scale"])
    return multiscale


def test_ome_zarr_is_as_the_specification_says(folder, film, stack, tmp_path):
    write_ome_zarr(stack, tmp_path / "film.ome.zarr")
    root = zarr.open_group(tmp_path / "film.ome.zarr", mode="r")
    multiscale = valid_multiscale(root.attrs["ome"], root)
    (level,) = multiscale["datasets"]
    assert level["coordinateTransformations"][0]["scale"] == pytest.approx(
        [FRAME_TIME, SAMPLING, SAMPLING]
    )
    assert (root["0"][:] == film).all()
    assert root["0"].dtype == film.dtype
    names = root["labels"].attrs["ome"]["labels"]
    assert names == ["Ce", "O"]
    for name in names:
        label = root["labels"][name]
        ome = label.attrs["ome"]
        valid_multiscale(ome, label)
        assert label["0"].dtype.kind == "u"
        assert label["0"].shape == root["0"].shape
        check_counts(folder, label["0"][:], name)
        values = [entry["label-value"] for entry in ome["image-label"]["colors"]]
        assert len(set(values)) == len(values)
        assert set(np.unique(label["0"][:])) - {0} <= set(values)
        for entry in ome["image-label"]["colors"]:
            assert len(entry["rgba"]) == 4
            assert all(0 <= part <= 255 for part in entry["rgba"])
        assert ome["image-label"]["source"] == {"image": "../../"}


def test_ome_zarr_of_many_shards_loses_no_frame(film, stack, tmp_path, monkeypatch):
    monkeypatch.setattr("ceria_models.export_ome_zarr._SHARD_BYTES", 4 * film[0].nbytes)
    write_ome_zarr(stack, tmp_path / "film.ome.zarr")
    root = zarr.open_group(tmp_path / "film.ome.zarr", mode="r")
    assert root["0"].shards[0] == 4
    assert (root["0"][:] == film).all()


def test_imagej_reads_pixel_size_time_and_channels(folder, film, stack, tmp_path):
    (file,) = write_imagej(stack, tmp_path)
    with tifffile.TiffFile(file) as opened:
        assert opened.is_imagej
        told = opened.imagej_metadata
        (series,) = opened.series
        assert series.axes == "TCYX"
        values = series.asarray()
        page = opened.pages[0]
        for name in ("XResolution", "YResolution"):
            top, bottom = page.tags[name].value
            assert bottom / top == pytest.approx(0.1 * SAMPLING)
        labels = told["Labels"]
    assert told["unit"] == "nm"
    assert told["finterval"] == pytest.approx(FRAME_TIME, rel=1e-5)
    assert (told["frames"], told["channels"], told["hyperstack"]) == (FRAMES, 3, True)
    assert labels[:4] == [
        "image, frame 0",
        "Ce atoms, frame 0",
        "O atoms, frame 0",
        "image, frame 1",
    ]
    assert len(told["Ranges"]) == 6
    assert told["Ranges"][2:4] == (0.0, float(stack.traces.most))
    assert (values[:, 0] == film).all()
    check_counts(folder, values[:, 1], "Ce")
    check_counts(folder, values[:, 2], "O")


def test_our_own_reader_finds_the_calibration_of_the_hyperstack(stack, tmp_path):
    with tifffile.TiffFile(write_imagej(stack, tmp_path)[0]) as opened:
        text = opened.pages[0].description
    assert re.search(r"unit=nm\n", text)
    assert re.search(rf"finterval={FRAME_TIME:.5f}", text)


def test_a_hyperstack_beyond_four_gigabytes_is_refused(stack, tmp_path, monkeypatch):
    monkeypatch.setattr(export_imagej, "_MOST_BYTES", 500_000)
    with pytest.raises(export_imagej.FilmFolderError, match=r"--every 2, or --to ome-zarr"):
        write_imagej(stack, tmp_path)
    assert not list(tmp_path.iterdir())


def test_floats_stay_floats(folder, film, stack, tmp_path):
    floats = replace(stack.film, read=lambda a, b: film[a:b].astype(np.float64) / 7)
    (file,) = write_imagej(replace(stack, film=floats), tmp_path)
    values = tifffile.imread(file)
    assert values.dtype == np.float32
    assert values[:, 0] == pytest.approx(film / 7, rel=1e-6)


def test_hyperspy_signals_have_axes_with_units(folder, film, stack, tmp_path):
    rsciio = pytest.importorskip("rsciio.hspy")
    written = write_hyperspy(stack, tmp_path)
    assert [file.name for file in written] == ["film.hspy", "counts_Ce.hspy", "counts_O.hspy"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(f.name for f in written)
    (signal,) = rsciio.file_reader(written[0])
    assert (signal["data"] == film).all()
    axes = [(a["name"], a["units"], a["scale"], a["navigate"]) for a in signal["axes"]]
    assert axes == [
        ("time", "s", pytest.approx(FRAME_TIME), True),
        ("y", "nm", pytest.approx(0.1 * SAMPLING), False),
        ("x", "nm", pytest.approx(0.1 * SAMPLING), False),
    ]
    (counts,) = rsciio.file_reader(written[1])
    check_counts(folder, counts["data"], "Ce")


def test_an_unknown_frame_time_stays_unknown(tmp_path):
    made = make_folder(tmp_path, Script(frames=3, events=()))
    table = pd.read_parquet(made / "frames.parquet").assign(time_s=np.nan)
    table.to_parquet(made / "frames.parquet")
    facts = json.loads((made / "prediction.json").read_text())
    (made / "prediction.json").write_text(json.dumps(facts | {"frame_time_s": None}))
    stack = stack_of(read_predicted_film(made))
    write_ome_zarr(stack, tmp_path / "film.ome.zarr")
    (tif,) = write_imagej(stack, tmp_path)
    (scale,) = {layer[1]["scale"][0] for layer in napari_get_reader(str(made))(str(made))}
    (unit,) = {layer[1]["units"][0] for layer in napari_get_reader(str(made))(str(made))}
    assert (scale, unit) == (1.0, "pixel")
    assert open_film(tmp_path / "film.ome.zarr" / "0").frame_time_s is None
    root = zarr.open_group(tmp_path / "film.ome.zarr", mode="r")
    assert "unit" not in root.attrs["ome"]["multiscales"][0]["axes"][0]
    with tifffile.TiffFile(tif) as opened:
        assert "finterval" not in opened.pages[0].description


def test_without_rosettasciio_the_extra_is_named(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "rsciio.hspy", None)
    out = tmp_path / "signals"
    code, _, err = run(monkeypatch, capsys, "convert", folder, "--to", "hyperspy", "--out", out)
    assert code == 2
    assert "pip install 'ceria[em]'" in " ".join(err.split())
    assert not list(tmp_path.iterdir())


def test_every_second_frame(folder, film, monkeypatch, capsys, tmp_path):
    out = tmp_path / "thin.ome.zarr"
    code, _, _ = run(
        monkeypatch, capsys, "convert", folder, "--to", "ome-zarr", "--every", 3, "--out", out,
        "--quiet",
    )  # fmt: skip
    assert code == 0
    root = zarr.open_group(out, mode="r")
    assert (root["0"][:] == film[::3]).all()
    level = root.attrs["ome"]["multiscales"][0]["datasets"][0]
    assert level["coordinateTransformations"][0]["scale"][0] == pytest.approx(3 * FRAME_TIME)
    check_counts(folder, root["labels/Ce/0"][:], "Ce", range(0, FRAMES, 3))


def test_what_is_there_is_replaced_only_if_a_conversion_made_it(
    folder, monkeypatch, capsys, tmp_path
):
    out = tmp_path / "mine"
    arguments = ("convert", folder, "--to", "csv", "--out", out)
    assert run(monkeypatch, capsys, *arguments)[0] == 0
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "exists already" in err
    assert run(monkeypatch, capsys, *arguments, "--overwrite")[0] == 0
    (out / "thesis.txt").write_text("years of work")
    code, _, err = run(monkeypatch, capsys, *arguments, "--overwrite")
    assert code == 2
    assert "holds something else" in err
    assert (out / "thesis.txt").is_file()


def test_wrong_formats_and_lost_films_are_refused(monkeypatch, capsys, tmp_path):
    made = make_folder(tmp_path, Script(frames=2, events=(), lost=True))
    code, _, err = run(monkeypatch, capsys, "convert", made, "--to", "avi")
    assert code == 2
    assert "expected one of csv, ome-zarr, imagej, hyperspy" in " ".join(err.split())
    code, _, err = run(monkeypatch, capsys, "convert", made, "--to", "imagej")
    assert code == 2
    assert "convert the tables with --to csv" in " ".join(err.split())
    assert not list(made.glob("*imagej*"))


def test_napari_gets_layers_in_the_same_places(folder, film):
    read = napari_get_reader(str(folder))
    image, cerium, oxygen, events = read(str(folder))
    assert [layer[2] for layer in (image, cerium, oxygen, events)] == ["image"] + 3 * ["points"]
    for _, options, _ in (image, cerium, oxygen, events):
        assert options["scale"] == pytest.approx((FRAME_TIME, SAMPLING, SAMPLING))
        assert options["units"] == ("s", "angstrom", "angstrom")
    frames = image[0]
    assert (frames.shape, frames.dtype, frames.ndim, len(frames)) == (
        film.shape, film.dtype, 3, FRAMES,
    )  # fmt: skip
    assert (frames[3] == film[3]).all()
    assert (frames[-1, 4:6, 7] == film[-1, 4:6, 7]).all()
    assert (frames[2:7:2, :, 5:9] == film[2:7:2, :, 5:9]).all()
    assert (frames[[0, 4], 2:4] == film[[0, 4], 2:4]).all()
    assert frames[3:3].shape == (0, 128, 128)
    assert (frames[()] == film).all()
    with pytest.raises(IndexError):
        frames[FRAMES]
    assert (np.asarray(frames) == film).all()
    places, options, _ = cerium
    tracks = pd.read_parquet(folder / "tracks.parquet")
    own = tracks[(tracks["species"] == "Ce") & (tracks["occupancy"] > 0)]
    assert len(places) == len(own) == len(options["features"]["occupancy"])
    assert (options["features"]["occupancy"] == own["occupancy"]).all()
    tables = read_predicted_film(folder)
    site = options["features"]["site"][50]
    at = int(places[50, 0])
    expected = tables.sites.loc[site, ["y_A", "x_A"]].to_numpy(float) + tables.drift[at, ::-1]
    assert places[50, 1:] * SAMPLING == pytest.approx(expected)
    assert events[0].shape == (2, 3)


def test_napari_gets_single_frames_without_track_and_the_mean_without_the_film(tmp_path):
    made = make_folder(tmp_path, Script(frames=3, tracked=False, lost=True))
    image, cerium, _ = napari_get_reader([str(made)])(str(made))
    assert image[0].shape == (1, 128, 128)
    columns = pd.read_parquet(made / "columns.parquet")
    assert len(cerium[0]) == (columns["species"] == "Ce").sum()
    assert napari_get_reader(str(tmp_path)) is None
    assert napari_get_reader([str(made), str(made)]) is None


def test_the_manifest_of_napari_names_what_is_there():
    text = files("ceria_models").joinpath("napari.yaml").read_text(encoding="utf-8")
    manifest = yaml.safe_load(text)
    commands = {c["id"]: c["python_name"] for c in manifest["contributions"]["commands"]}
    assert all(name.startswith(f"{manifest['name']}.") for name in commands)
    (reader,) = manifest["contributions"]["readers"]
    assert reader["accepts_directories"] is True
    module, function = commands[reader["command"]].split(":")
    assert (module, function) == (napari_get_reader.__module__, napari_get_reader.__name__)
    npe2 = pytest.importorskip("npe2")
    npe2.PluginManifest(**manifest)


def test_the_package_announces_the_manifest():
    text = (files("ceria_models") / ".." / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points."napari.manifest"]\nceria = "ceria_models:napari.yaml"' in text
    for point in entry_points(group="napari.manifest"):
        assert point.name != "ceria" or point.value == "ceria_models:napari.yaml"
