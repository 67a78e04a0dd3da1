"""The report of a film holds what the tables say, in a bounded size, whatever is in them."""

import gzip
import json
import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ceria_data.film import film_of_array, open_film
from ceria_models import report_run
from ceria_models.errors import FilmTableError
from ceria_models.film_frames import digest_of
from ceria_models.report_frames import choose_frames, mean_in_place, show_frames
from ceria_models.report_page import page_of
from ceria_models.report_run import Wishes, columns_at, run_report
from ceria_models.report_tables import read_predicted_film
from ceria_models.report_traces import MISSING, Traces, read_traces
from tests.ceria_models.command import run
from tests.ceria_models.film_folder import Script, make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tracked film of 24 frames with its report."""
    made = make_folder(tmp_path_factory.mktemp("film"))
    run_report(made, Wishes(frames=(3,), rows=((15, 30),)))
    return made


@pytest.fixture
def plain(monkeypatch):
    """Pictures of matplotlib take most of the time of a small report."""
    for name in ("kymograph_png", "timeline_png"):
        monkeypatch.setattr(report_run, name, lambda *_: b"")
    monkeypatch.setattr(report_run, "draw_overlay", lambda *a, **k: a[4].write_bytes(b""))


def element(page, name):
    """Text of a script element of a page."""
    (text,) = re.findall(rf'<script type="[a-z/-]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    return text


def content(page):
    return json.loads(element(page, "content"))


def unpacked(page, content):
    n, times = len(content["sites"]["species"]), len(content["traces"]["frames"])
    packed = gzip.decompress(b64decode(element(page, "counts")))
    return np.frombuffer(packed, np.uint8).reshape(7, n, times)


def test_the_page_holds_tables_and_counts(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    told = content(page)
    assert told["n_frames"] == 24
    assert told["shown"]["frames"] == list(range(24))
    sites = pd.read_parquet(folder / "sites.parquet")
    assert told["sites"]["x"] == pytest.approx(sites["x_A"], abs=1e-3)
    events = pd.read_parquet(folder / "events.parquet")
    assert [e["kind"] for e in told["events"]] == list(events["kind"])
    assert [e["site_to"] for e in told["events"]] == list(events["site_to"])
    tracks = pd.read_parquet(folder / "tracks.parquet").sort_values(["site", "frame"])
    occupancy, confidence, low, high, reading, _, level = unpacked(page, told)
    assert (occupancy.ravel() == tracks["occupancy"]).all()
    assert confidence.ravel() / 255 == pytest.approx(tracks["confidence"], abs=0.002)
    assert ((low <= occupancy) & (occupancy <= high)).all()
    single = pd.read_parquet(folder / "readings.parquet").sort_values(["site", "frame"])
    classes = single[[f"p_{i}" for i in range(15)]].to_numpy()
    assert (reading.ravel() == classes.argmax(1)).all()
    known = np.isfinite(single["level"].to_numpy())
    assert 0 < known.sum() < len(known)
    assert (level.ravel()[~known] == 255).all()
    assert level.ravel()[known] / 16 - 2 == pytest.approx(single["level"][known], abs=0.04)


def test_intervals_hold_ninety_percent(folder, tmp_path):
    """p = 0.04, 0.06, 0.8, 0.06, 0.04 leaves 5 % out on each side."""
    p = np.zeros(15, np.float32)
    p[2:7] = 0.04, 0.06, 0.8, 0.06, 0.04
    tracks = pd.read_parquet(folder / "tracks.parquet")
    tracks[[f"p_{i}" for i in range(15)]] = p
    tables = read_predicted_film(folder)
    for name in ("readings.parquet", "tracks.parquet"):
        tracks.to_parquet(tmp_path / name)
    traces = read_traces(replace(tables, folder=tmp_path))
    assert set(traces.low.flat) == {3}
    assert set(traces.high.flat) == {5}
    assert set(traces.occupancy.flat) == {4}


def test_the_page_needs_nothing_else(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "default-src 'none'" in page
    for words in ("0.2 Å", "33.3 ms", "300 e⁻/Å²", "ceria-net 1.0.0", "edge {111}", "0.8 s"):
        assert words in page


def test_the_summary_and_files_of_the_command(monkeypatch, capsys, tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=6, events=(("departure", 3),)))
    code, out, _ = run(monkeypatch, capsys, "report", made, "--json", "--no-gif", "--frame", 5)
    assert code == 0
    facts = json.loads(out)
    assert facts["frames_shown"] == 6
    assert facts["bytes"] == (made / "report.html").stat().st_size
    names = {file.name for file in (made / "pictures").iterdir()}
    assert names == {"frame_00005.png", "occupancy_map.png", "outline_Ce.png", "outline_O.png",
                     "timeline.png"}  # fmt: skip
    code, _, err = run(monkeypatch, capsys, "report", made)
    assert code == 2
    assert "--overwrite replaces it" in err
    code, _, _ = run(monkeypatch, capsys, "report", made, "--overwrite", "--quiet")
    assert code == 0
    assert (made / "pictures" / "film.gif").is_file()
    assert not list(made.glob(".report*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frame", 24], "no frame 24; expected 0 to 23"),
        (["--row", "1"], "expected two columns, as in 12,40"),
        (["--row", "0,9999"], "no column 9999"),
        (["--row", "0,60"], "of its species"),
    ],
)
def test_wrong_wishes_are_refused(folder, monkeypatch, capsys, arguments, words):
    code, _, err = run(monkeypatch, capsys, "report", folder, "--overwrite", *arguments)
    assert code == 2
    assert words in " ".join(err.split())


HOSTILE = "</script><script>alert('x')<!-- & \u2028.npy".replace("/", "∕")


def test_hostile_names_stay_text(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>"
    made = make_folder(tmp_path, Script(frames=3, events=(), source=HOSTILE, warnings=[evil] * 3))
    facts = json.loads((made / "prediction.json").read_text())
    facts["model"] = evil
    (made / "prediction.json").write_text(json.dumps(facts))
    sites = pd.read_parquet(made / "sites.parquet")
    sites.loc[0, "species"] = evil
    sites.to_parquet(made / "sites.parquet")
    tables = read_predicted_film(made)
    page = page_of(tables, read_traces(tables), None, [evil])
    assert page.count("<script") == page.count("</script>") == 4
    assert "<img src=x" not in page
    told = content(page)
    assert told["name"] == HOSTILE
    assert told["sites"]["species"][0] == evil


def test_one_frame_without_o_columns_or_events(tmp_path):
    made = make_folder(tmp_path, Script(frames=1, events=(), oxygen=False))
    facts = run_report(made)
    told = content((made / "report.html").read_text(encoding="utf-8"))
    assert (facts["frames_shown"], facts["events"]) == (1, 0)
    assert set(told["sites"]["species"]) == {"Ce"}
    assert (made / "pictures" / "timeline.png").is_file()
    assert not list((made / "pictures").glob("*_O.png"))


def test_without_track_the_counts_are_those_of_frames(tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=4, tracked=False))
    facts = run_report(made)
    page = (made / "report.html").read_text(encoding="utf-8")
    told = content(page)
    assert told["tracked"] is False
    assert "track has not run" in facts["notes"][0]
    occupancy, _, _, _, reading, *_ = unpacked(page, told)
    assert (occupancy == reading).all()


def test_without_the_film_the_mean_is_shown(tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=4, lost=True))
    facts = run_report(made)
    page = (made / "report.html").read_text(encoding="utf-8")
    pictures = json.loads(element(page, "pictures"))
    assert pictures["raw"] == []
    picture = Image.open(BytesIO(b64decode(pictures["reference"])))
    assert picture.size == (128, 128)
    assert facts["frames_shown"] == 0
    assert "No frames are shown" in facts["notes"][0]
    assert content(page)["shown"]["frames"] == [0, 1, 2, 3]


def test_another_film_of_that_name_is_not_shown(tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=4))
    np.save(tmp_path / "film.npy", np.ones((4, 100, 128)))
    assert "it is another film" in run_report(made)["notes"][0]


def test_another_film_of_the_same_size_is_not_shown(tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=4))
    film = np.load(tmp_path / "film.npy")
    name = str(tmp_path / "film.npy")
    made_of = {"film": [name, 4, list(film.shape[1:]), digest_of(open_film(name), 4)]}
    facts = json.loads((made / "prediction.json").read_text()) | {"made_of": made_of}
    (made / "prediction.json").write_text(json.dumps(facts))
    np.save(name, np.concatenate([film, film]))  # has grown since
    assert run_report(made)["frames_shown"] == 4
    np.save(name, film[::-1])
    told = run_report(made, overwrite=True)
    assert told["frames_shown"] == 0
    assert "are not those that were predicted" in told["notes"][0]


def test_a_broken_frame_blackens_no_other(tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=12, events=()))
    film = np.load(tmp_path / "film.npy").astype(np.float32)
    film[5, 3, 3] = np.nan
    film[6] = np.nan
    np.save(tmp_path / "film.npy", film)
    assert run_report(made)["frames_shown"] == 12
    page = (made / "report.html").read_text(encoding="utf-8")
    pictures = json.loads(element(page, "pictures"))
    for kind, dark in (("averaged", set()), ("raw", {6})):
        assert len(pictures[kind]) == 12
        for frame, picture in enumerate(pictures[kind]):
            grey = np.asarray(Image.open(BytesIO(b64decode(picture))), float)
            assert (grey.std() < 5) == (frame in dark), (kind, frame)


def test_tracks_that_are_not_whole_are_not_shown(tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=4))
    (made / "track.json").unlink()  # as after a kill while tracks are replaced
    assert not run_report(made)["tracked"]


def test_a_moved_folder_finds_the_film_beside_it(tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=3, events=()))
    facts = json.loads((made / "prediction.json").read_text())
    (made / "prediction.json").write_text(json.dumps(facts | {"source": "/gone/film.npy"}))
    assert run_report(made)["frames_shown"] == 3


def test_skipped_frames_have_a_time_and_no_counts(tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=5, events=()))
    for name in ("frames", "readings", "tracks"):
        table = pd.read_parquet(made / f"{name}.parquet")
        table[table["frame"] != 2].to_parquet(made / f"{name}.parquet")
    run_report(made)
    page = (made / "report.html").read_text(encoding="utf-8")
    told = content(page)
    assert told["shown"]["time"] == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30, 4 / 30], abs=1e-6)
    assert told["shown"]["dose"][2] is None
    occupancy = unpacked(page, told)[0]
    assert (occupancy[:, 2] == MISSING).all()
    assert (np.delete(occupancy, 2, axis=1) != MISSING).all()


def test_an_unknown_frame_time_is_assumed_and_said(tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=4, events=()))
    table = pd.read_parquet(made / "frames.parquet").assign(time_s=np.nan)
    table.to_parquet(made / "frames.parquet")
    facts = json.loads((made / "prediction.json").read_text())
    (made / "prediction.json").write_text(json.dumps(facts | {"frame_time_s": None}))
    assert "30 frames/s are assumed" in run_report(made)["notes"][-1]
    assert content((made / "report.html").read_text(encoding="utf-8"))["time"] == [0.0, 0.1]


def test_columns_say_where_they_stand(tmp_path, plain):
    made = make_folder(tmp_path, Script(frames=2, events=()))
    classes = {"site": [0, 1], "surface": ["edge", "bulk"], "facet": ["111", ""]}
    pd.DataFrame(classes).to_parquet(made / "site_classes.parquet")
    run_report(made)
    told = content((made / "report.html").read_text(encoding="utf-8"))
    assert told["sites"]["place"][:3] == ["edge {111}", "bulk", ""]


@pytest.mark.parametrize(
    ("record", "shown"), [({"limit": 2}, 2), ({"particle": 3}, 0), ({"gain": "dark.mrc"}, 0)]
)
def test_the_film_is_opened_as_it_was_predicted(tmp_path, plain, record, shown):
    made = make_folder(tmp_path, Script(frames=2, events=()))
    np.save(tmp_path / "film.npy", np.concatenate([np.load(tmp_path / "film.npy")] * 2))
    facts = json.loads((made / "prediction.json").read_text())
    (made / "prediction.json").write_text(json.dumps(facts | {"preparation": record}))
    assert run_report(made)["frames_shown"] == shown


def test_no_columns_at_all(tmp_path):
    made = make_folder(tmp_path, Script(frames=2, events=()))
    for name in ("sites", "readings", "tracks", "columns", "rates"):
        table = pd.read_parquet(made / f"{name}.parquet")
        table.iloc[:0].to_parquet(made / f"{name}.parquet")
    run_report(made)
    assert content((made / "report.html").read_text(encoding="utf-8"))["sites"]["x"] == []


@pytest.mark.parametrize(
    ("break_it", "code", "words"),
    [
        (lambda f: (f / "sites.parquet").write_bytes(b"PAR1"), 1, "sites.parquet cannot be read"),
        (lambda f: (f / "tracks.parquet").write_bytes(b"x"), 1, "tracks.parquet cannot be read"),
        (lambda f: (f / "prediction.json").write_text("{}"), 1, "prediction.json is damaged"),
        (lambda f: (f / "prediction.json").unlink(), 2, "holds no prediction"),
        (lambda f: (f / "readings.parquet").unlink(), 2, "without readings.parquet"),
        (lambda f: np.save(f / "reference.npy", np.ones(3)), 1, "expected an image of floats"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, monkeypatch, capsys, break_it, code, words):
    made = make_folder(tmp_path, Script(frames=2, events=()))
    break_it(made)
    found, _, err = run(monkeypatch, capsys, "report", made)
    assert found == code
    assert words in " ".join(err.split())
    assert not (made / "report.html").exists()
    assert not list(made.glob(".report*"))


def test_tables_of_different_films_are_refused(tmp_path):
    made = make_folder(tmp_path, Script(frames=2, events=()))
    sites = pd.read_parquet(made / "sites.parquet")
    sites.iloc[:-1].to_parquet(made / "sites.parquet")
    with pytest.raises(FilmTableError, match="there are"):
        run_report(made)


def test_a_long_film_stays_below_twenty_megabytes(folder):
    """10,000 frames of 512 × 512 pixels of noise, 500 columns, whose counts never rest."""
    rng = np.random.default_rng(0)
    noise = rng.poisson(3, (8, 512, 512)).astype(np.uint8)
    film = replace(
        film_of_array(noise),
        n_frames=10_000,
        read=lambda start, stop: noise[np.arange(start, stop) % 8],
    )
    events = pd.DataFrame({"frame": rng.integers(0, 10_000, 900), "confidence": rng.random(900)})
    shown = show_frames(film, np.zeros((10_000, 2)), 0.1, events)
    assert len(shown.frames) <= 300
    assert shown.regular.sum() == len(range(0, 10_000, shown.stride))
    assert max(shown.pixels) >= 220
    tables = read_predicted_film(folder)
    frames = pd.DataFrame({"frame": np.arange(10_000)}).assign(
        time_s=np.arange(10_000) / 40, dose_e_per_A2=300.0, drift_x_A=0.0, drift_y_A=0.0
    )
    sites = pd.DataFrame({"site": range(500), "species": "Ce", "x_A": rng.random(500) * 51,
                          "y_A": rng.random(500) * 51})  # fmt: skip
    row = tables.events.iloc[[0]]
    many = pd.concat([row] * 900, ignore_index=True).assign(frame=events["frame"])
    long = replace(tables, frames=frames, sites=sites, events=many)
    kept = np.union1d(np.arange(0, 10_000, 5), shown.frames)
    size = (500, len(kept))
    steady = np.repeat(rng.integers(1, 9, (500, 1)), len(kept), axis=1).astype(np.uint8)
    sure = rng.integers(200, 255, size).astype(np.uint8)
    noisy = (steady + rng.integers(0, 3, size)).astype(np.uint8)
    traces = Traces(kept, steady, sure, steady, steady, noisy, sure, noisy * 16, 5)
    page = page_of(long, traces, shown, [])
    assert len(page.encode()) < 20_000_000
    assert f"{len(shown.frames)} of 10,000" in page
    assert "Traces have every frame number 5 × n" in page


def test_frames_before_and_at_events_are_shown():
    events = pd.DataFrame({"frame": [0, 101, 999], "confidence": [0.1, 0.9, 0.5]})
    frames, regular, step = choose_frames(1000, events)
    assert step == 5
    assert {100, 101, 998, 999} <= set(frames.tolist())
    assert (np.diff(frames) > 0).all()
    assert set(frames[~regular].tolist()) == {101, 998, 999}


def test_an_average_takes_the_drift_off():
    rng = np.random.default_rng(1)
    scene = rng.random((40, 50)).astype(np.float32)
    steps = np.array([[0, 0], [3, -2], [-4, 5]])
    block = np.stack([np.roll(scene, (y, x), (0, 1)) for x, y in steps])
    mean = mean_in_place(block, steps)
    assert mean[6:-6, 6:-6] == pytest.approx(scene[6:-6, 6:-6], abs=1e-6)
    assert abs(mean_in_place(block, np.zeros((3, 2))) - scene)[6:-6, 6:-6].mean() > 0.1


def test_columns_of_a_frame_follow_the_drift(folder):
    tables = read_predicted_film(folder)
    traces = read_traces(tables)
    traces.occupancy[5, 7] = MISSING
    traces.occupancy[6, 7] = 0
    found = columns_at(tables, traces, 7)
    assert set(tables.sites["site"]) - set(found["site"]) == {5, 6}
    away = found[["x_A", "y_A"]] - tables.sites.loc[found["site"], ["x_A", "y_A"]].to_numpy()
    assert away.to_numpy() == pytest.approx(np.tile(tables.drift[7], (len(found), 1)))


def test_the_gif_moves_and_shows_counts(folder):
    with Image.open(folder / "pictures" / "film.gif") as film:
        assert film.n_frames == 24
        assert film.size == (480, 480)
        first = np.asarray(film.convert("RGB")).astype(int)
        film.seek(20)
        later = np.asarray(film.convert("RGB")).astype(int)
    colourful = (first.max(-1) - first.min(-1)) > 60
    assert 0.01 < colourful.mean() < 0.3
    assert (first != later).any(-1).mean() > 0.05
