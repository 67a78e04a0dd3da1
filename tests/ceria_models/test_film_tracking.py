"""A folder of a predicted film becomes tracks, events, rates and structures."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ceria_data.errors import OutputError
from ceria_models.errors import FilmFolderError, FilmTableError, TrackingError
from ceria_models.film_scoring import ideal_smoothing, score_counts, score_events, with_places
from ceria_models.film_tables import open_film_tables, read_readings
from ceria_models.film_tracks import smoothed_depth
from ceria_models.synthetic_film import synthetic_film
from ceria_models.tracking_fit import Film, false_changes
from ceria_models.tracking_run import WRITTEN, run_tracking
from ceria_models.tracking_settings import EvidenceSettings, MotionSettings, load_settings
from tests.ceria_models.command import run


def settings_of(film, *, biased=0.0, blank=1e-4):
    """Settings that know the net of a synthetic film."""
    usual = load_settings()
    evidence = {
        name: EvidenceSettings(
            prior=tuple(prior),
            blank=blank,
            offset=(0.0, 0.0, biased, 0.0, 1 - 2 * biased, 0.0, biased, 0.0, 0.0),
        )
        for name, prior in film.prior.items()
    }
    return usual.model_copy(update={"evidence": evidence})


def tracked(film, folder, **more):
    biased = more.pop("biased", 0.0)
    film.write(folder)
    facts, warnings = run_tracking(folder, settings=settings_of(film, biased=biased), **more)
    return facts, warnings


def table(folder, name):
    return pd.read_parquet(folder / f"{name}.parquet")


def probabilities(folder, film):
    """Smoothed probabilities, shape (site, frame, class)."""
    tracks = table(folder, "tracks").sort_values(["site", "frame"])
    names = [f"p_{n}" for n in range(film.p.shape[2])]
    return tracks[names].to_numpy().reshape(film.p.shape)


@pytest.fixture(scope="module")
def active(tmp_path_factory):
    """A film of ten seconds with some events, and its tracks."""
    film = synthetic_film(n_frames=300, columns=60, rates_per_s=(0.02, 0.02, 0.04), seed=1)
    folder = tmp_path_factory.mktemp("active") / "film"
    tracked(film, folder)
    return film, folder


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    film = synthetic_film(n_frames=300, columns=60, d2=(4.0, 0.42), seed=2)
    folder = tmp_path_factory.mktemp("calm") / "film"
    tracked(film, folder)
    return film, folder


def test_the_tables_are_there_and_without_nan(active):
    film, folder = active
    assert all((folder / name).exists() for name in WRITTEN)
    for name in ("tracks", "events", "rates", "site_classes"):
        numbers = table(folder, name).select_dtypes("number").to_numpy(float)
        assert np.isfinite(numbers).all(), name
    tracks = table(folder, "tracks")
    assert len(tracks) == film.p.shape[0] * film.p.shape[1]
    assert list(tracks.columns[:6]) == [
        "site", "frame", "time_s", "species", "occupancy", "confidence",
    ]  # fmt: skip
    p = probabilities(folder, film)
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-5)
    assert tracks["p_3"].dtype == np.float32
    facts = json.loads((folder / "track.json").read_text())
    assert facts["lattice"]["zone_axis"] == [1, 1, 0]
    assert set(facts["temperature"]) == {"Ce", "O"}


def test_counts_get_better_and_as_good_as_the_ideal_observer(active):
    """The readings are ideal, so that tracking has to reach what is possible."""
    film, folder = active
    p, times = probabilities(folder, film), film.frames["time_s"].to_numpy()
    for species in ("Ce", "O"):
        own = (film.sites["species"] == species).to_numpy()
        before = score_counts(film.p[own], film.truth[own])
        after = score_counts(p[own], film.truth[own])
        assert after.exact > before.exact + 0.02
        assert after.calibration_error < 0.02
        prior = np.bincount(film.truth[own].ravel(), minlength=15) / film.truth[own].size
        from ceria_models.chains import Chain

        chain = Chain(prior + 1e-6, 0.06, 0.06, np.zeros(1), np.ones(1))
        ideal = ideal_smoothing(film.truth[own], film.d2[own], times, chain, seed=0)
        assert after.exact > score_counts(ideal, film.truth[own]).exact - 0.01


def test_events_are_found_in_place_and_time(active):
    film, folder = active
    places = film.sites[["x_A", "y_A"]].to_numpy()
    events, truth = table(folder, "events"), with_places(film.events, places)
    cerium = score_events(events[events["species"] == "Ce"], truth[truth["species"] == "Ce"], 10.0)
    assert cerium.n_true >= 8
    assert cerium.recall >= 0.9
    assert cerium.precision >= 0.9
    assert cerium.time_error_s < 0.05
    oxygen = score_events(
        events[events["species"] == "O"], truth[truth["species"] == "O"], 10.0, window=0.5
    )
    assert oxygen.f1 > 0.6
    assert set(events["kind"]) <= {
        "migration", "arrival", "departure", "vacancy_creation", "vacancy_filling",
        "vacancy_migration",
    }  # fmt: skip
    assert (events["confidence"] >= 0.5).all()
    assert events["time_s"].is_monotonic_increasing


def test_events_are_neither_early_nor_late(tmp_path):
    """A frame's time is the start of its exposure; an atom is missed from the middle on."""
    film = synthetic_film(
        n_frames=200, columns=80, frame_time_s=1.0, dose=3000, d2=(120.0, 120.0),
        rates_per_s=(0.004, 0.004, 0.0), seed=3,
    )  # fmt: skip
    tracked(film, tmp_path / "film")
    places = film.sites[["x_A", "y_A"]].to_numpy()
    found = table(tmp_path / "film", "events")
    found = found[found["confidence"] > 0.99]
    truth = with_places(film.events, places)
    off, inside = [], []
    for event in found.to_dict("records"):
        site = max(event["site_from"], event["site_to"])
        own = truth.loc[(truth["site_from"] == site) | (truth["site_to"] == site), "time_s"]
        off.append(event["time_s"] - own.to_numpy()[abs(own - event["time_s"]).argmin()])
        inside.append(event["time_low_s"] <= event["time_s"] - off[-1] <= event["time_high_s"])
    off = np.array(off)
    near = np.abs(off) < 2
    assert near.sum() > 40
    assert abs(off[near].mean()) < 0.15
    assert np.mean(inside) > 0.8


@pytest.mark.parametrize(
    ("preparation", "exposure"),
    [({}, 0.1), ({"every": 4}, 0.025), ({"sum": 5}, 0.1), ({"running": 5}, 0.5),
     ({"every": 4, "sum": 2}, 5 / 80), ({"every": 2, "running": 3}, 0.25)],
)  # fmt: skip
def test_exposures_of_prepared_films(tmp_path, preparation, exposure):
    """Frames 0.1 s apart; skipped ones are exposures of their own, summed ones are one."""
    film = synthetic_film(n_frames=6, columns=10, frame_time_s=0.1)
    folder = film.write(tmp_path / "film")
    (folder / "prediction.json").write_text(json.dumps({"preparation": preparation}))
    tables = open_film_tables(folder)
    assert tables.exposure_s == pytest.approx(exposure)
    np.testing.assert_allclose(tables.middles, tables.frames["time_s"] + exposure / 2)


def test_columns_that_change_in_nearly_every_frame_have_events(tmp_path):
    """Slow series: what happens between the same two frames is one event, and told."""
    film = synthetic_film(
        n_frames=5, columns=80, frame_time_s=10.0, dose=3000, d2=(120.0, 120.0),
        rates_per_s=(0.12, 0.0, 0.0), seed=2,
    )  # fmt: skip
    _, warnings = tracked(film, tmp_path / "film")
    own = np.diff(film.truth, axis=1) != 0
    found = len(table(tmp_path / "film", "events"))
    assert own.sum() > 100
    assert 0.85 * own.sum() < found < 1.15 * own.sum()
    assert any("are counted as one, so that rates are too low" in text for text in warnings)
    assert table(tmp_path / "film", "interfaces")["time_stop_s"].max() == pytest.approx(50.0)


def test_a_calm_film_has_hardly_any_event(calm):
    film, folder = calm
    assert len(table(folder, "events")) <= 1
    rates = table(folder, "rates")
    assert (rates["rate_high"] > 0).all()
    assert (rates["rate_low"] <= rates["rate_per_s"]).all()
    assert (rates["rate_per_s"] <= rates["rate_high"]).all()
    own = table(folder, "tracks")
    per_site = own.groupby("site")["occupancy"].nunique()
    assert (per_site == 1).mean() > 0.95
    # Where nothing moves, one structure stands for all frames.
    assert table(folder, "interfaces")["interval"].nunique() <= 2
    assert film.truth.shape == (60, 300)


def test_confidence_is_honest_where_readings_are_biased(tmp_path):
    """One column in five is misread throughout: more frames must not make it sure."""
    p, truth, sure = [], [], []
    for seed in range(4):
        film = synthetic_film(
            n_frames=100, columns=50, rates_per_s=(0.02, 0.02, 0.04), biased=0.1, seed=seed
        )
        folder = tmp_path / f"{seed}"
        tracked(film, folder, biased=0.1)
        p.append(probabilities(folder, film))
        truth.append(film.truth)
        film.write(tmp_path / f"plain{seed}")
        run_tracking(tmp_path / f"plain{seed}", settings=settings_of(film))
        sure.append(probabilities(tmp_path / f"plain{seed}", film))
    known = score_counts(np.concatenate(p), np.concatenate(truth))
    unknown = score_counts(np.concatenate(sure), np.concatenate(truth))
    assert known.calibration_error < 0.1
    assert unknown.calibration_error > 0.15  # what happens without the offsets
    assert unknown.confidence > 0.95


def with_levels(film, folder, levels, preparation):
    """Put levels beside readings that say nothing."""
    flat = np.full_like(film.p, 1 / film.p.shape[2])
    replace(film, p=flat).write(folder)
    readings = pd.read_parquet(folder / "readings.parquet")
    level = levels[readings["site"], readings["frame"]].astype(np.float32)
    readings.assign(level=level).to_parquet(folder / "readings.parquet", index=False)
    facts = json.loads((folder / "prediction.json").read_text())
    (folder / "prediction.json").write_text(json.dumps(facts | {"preparation": preparation}))


def test_levels_alone_find_the_events(active, tmp_path):
    film, _ = active
    with_levels(film, tmp_path, film.x, {})
    run_tracking(tmp_path)
    told = json.loads((tmp_path / "track.json").read_text())
    assert told["judged_by_levels"] == {
        species: int((film.sites["species"] == species).sum()) for species in ("Ce", "O")
    }
    truth = with_places(film.events, film.sites[["x_A", "y_A"]].to_numpy())
    events = table(tmp_path, "events")
    score = score_events(events[events["species"] == "Ce"], truth[truth["species"] == "Ce"], 10.0)
    assert score.recall >= 0.9
    assert score.precision >= 0.9


def test_frames_of_a_running_sum_are_no_new_electrons(calm, tmp_path):
    """Six frames share an electron: their levels wander together, and nothing has happened."""
    film, _ = calm
    running = np.stack([film.x[:, i : 290 + i] for i in range(6)]).mean(axis=0)
    frames = film.frames.iloc[:290]
    short = replace(film, p=film.p[:, :290], frames=frames, z=film.z[:, :290])
    for name, preparation in (("sum", {"running": 6}), ("frames", {"running": 1})):
        (tmp_path / name).mkdir()
        with_levels(short, tmp_path / name, running, preparation)
        run_tracking(tmp_path / name)
    assert len(table(tmp_path / "sum", "events")) <= 1
    assert len(table(tmp_path / "frames", "events")) > 5


def test_readings_of_running_sums_count_once(calm, tmp_path):
    """Without levels too: N frames that share their electrons say what one of them says."""
    film, _ = calm
    short = replace(film, p=film.p[:, :20], frames=film.frames.iloc[:20], z=film.z[:, :20])
    confidence = {}
    for n in (1, 10):
        folder = short.write(tmp_path / str(n))
        facts = json.loads((folder / "prediction.json").read_text())
        facts |= {"preparation": {"running": n}}
        (folder / "prediction.json").write_text(json.dumps(facts))
        run_tracking(folder, settings=settings_of(film))
        confidence[n] = table(folder, "tracks")["confidence"].mean()
    assert confidence[10] < confidence[1] - 0.1


def test_an_image_that_gets_stronger_makes_no_events(calm, tmp_path):
    """Focus that drifts changes all levels alike, here by a fifth: of five atoms that is one."""
    film, _ = calm
    scale = np.linspace(0.9, 1.1, film.x.shape[1])
    with_levels(film, tmp_path, film.x * scale, {})
    run_tracking(tmp_path)
    assert len(table(tmp_path, "events")) <= 1


def test_columns_that_read_between_two_counts_do_not_change():
    reading = 3.5 + np.random.default_rng(0).normal(0, 0.5, (20, 150))
    p = np.exp(-((reading[..., None] - np.arange(8)) ** 2) / 0.3)
    p[..., 0] = 1e-6
    p = (p / p.sum(-1, keepdims=True)).astype(np.float32)
    film = Film(p, np.full((20, 150), 4), np.arange(150) / 30, np.full(150, 300.0))
    motion = MotionSettings(rate_per_s=0.02, hop_share=0.5, hop_time_s=0.05, reach_A=5.6)
    prior = (0.05, *[0.95 / 7] * 7)
    halves = EvidenceSettings(prior=prior, offset=(0, 0, 0.05, 0.15, 0.6, 0.15, 0.05, 0, 0))
    whole = EvidenceSettings(prior=prior, offset=(0, 0, 0.2, 0, 0.6, 0, 0.2, 0, 0))
    assert false_changes([film], halves, motion)[0] == 0
    assert false_changes([film], whole, motion)[0] > 100


def test_one_frame_one_site_and_no_oxygen(tmp_path):
    one = synthetic_film(n_frames=1, columns=40, seed=3)
    facts, _ = tracked(one, tmp_path / "frame")
    assert facts["frames"] == 1
    assert len(table(tmp_path / "frame", "events")) == 0
    assert len(table(tmp_path / "frame", "tracks")) == 40
    alone = synthetic_film(n_frames=20, columns=1, seed=3)
    facts, warnings = tracked(alone, tmp_path / "site")
    assert facts["lattice"] == "none"
    assert "do not fit the lattice" in warnings[0]
    film = synthetic_film(n_frames=20, columns=40, seed=3)
    cerium = film.sites["species"] == "Ce"
    kept = type(film)(
        film.sites[cerium].reset_index(drop=True).assign(site=np.arange(cerium.sum())),
        film.frames, film.p[cerium], film.d2[cerium], film.x[cerium], film.z[cerium], film.prior,
        film.truth[cerium], film.events,
    )  # fmt: skip
    facts, _ = tracked(kept, tmp_path / "cerium")
    assert set(facts["sites"]) == {"Ce"}
    assert set(table(tmp_path / "cerium", "rates")["species"]) == {"Ce"}


def test_no_site_at_all(tmp_path):
    film = synthetic_film(n_frames=5, columns=2, seed=3)
    empty = type(film)(
        film.sites.iloc[:0], film.frames, film.p[:0], film.d2[:0], film.x[:0], film.z[:0],
        film.prior, film.truth[:0], film.events,
    )  # fmt: skip
    facts, _ = tracked(empty, tmp_path / "film")
    assert facts["events"] == {}
    assert len(table(tmp_path / "film", "tracks")) == 0
    assert len(table(tmp_path / "film", "rates")) == 0


def test_missing_readings_are_no_evidence(tmp_path):
    film = synthetic_film(n_frames=60, columns=40, seed=4)
    film.p[3, 10:40] = np.nan
    film.p[5] = np.nan
    film.p[7, :, 2] = np.nan  # a row that is not whole is no reading
    tracked(film, tmp_path / "film")
    p = probabilities(tmp_path / "film", film)
    assert np.isfinite(p).all()
    assert p[3, 25].argmax() == film.truth[3, 25]
    assert p[5].max() < 0.6  # never read: the film's prior
    classes = table(tmp_path / "film", "site_classes")
    assert classes["exposure_s"][5] == 0
    assert classes["exposure_s"][3] == pytest.approx(1.0)


def test_two_sites_on_one_lattice_point_are_one(tmp_path):
    film = synthetic_film(n_frames=30, columns=40, seed=5)
    twin = film.sites.iloc[[0]].assign(site=40, x_A=lambda t: t["x_A"] + 0.3, n_frames_seen=0)
    p = np.concatenate([film.p, film.p[:1]])
    p[0, 10:] = np.nan
    double = type(film)(
        pd.concat([film.sites, twin], ignore_index=True), film.frames, p,
        np.append(film.d2, film.d2[0]), film.x, np.concatenate([film.z, film.z[:1]]), film.prior,
        film.truth, film.events,
    )  # fmt: skip
    tracked(double, tmp_path / "film")
    tracks = table(tmp_path / "film", "tracks")
    assert tracks["site"].nunique() == 40
    classes = table(tmp_path / "film", "site_classes")
    assert classes["stands_for_it"][40] == 0
    # The twin's readings stand in for those that are missing, and count once.
    assert classes["exposure_s"][0] == pytest.approx(1.0)


def test_unknown_frame_times_are_assumed_and_told(tmp_path):
    film = synthetic_film(n_frames=10, columns=20, seed=6)
    folder = film.write(tmp_path / "film")
    film.frames.drop(columns=["time_s", "dose_e_per_A2"]).to_parquet(folder / "frames.parquet")
    _, warnings = run_tracking(folder, settings=settings_of(film))
    assert "does not say its frame time" in warnings[0]
    facts = json.loads((folder / "track.json").read_text())
    assert facts["warnings"] == warnings
    assert table(folder, "tracks")["time_s"].max() == pytest.approx(9 / 30)
    (folder / "prediction.json").write_text('{"frame_time_s": 0.5}')
    _, warnings = run_tracking(folder, settings=settings_of(film), overwrite=True)
    assert not any("frame time" in text for text in warnings)
    assert table(folder, "tracks")["time_s"].max() == pytest.approx(4.5)


def test_skipped_frames_keep_their_numbers(tmp_path):
    film = synthetic_film(n_frames=30, columns=20, rates_per_s=(1.0, 0, 0), seed=6)
    folder = film.write(tmp_path / "film")
    numbers = np.arange(30) * 2 + 7
    film.frames.assign(frame=numbers).to_parquet(folder / "frames.parquet")
    readings = table(folder, "readings")
    readings["frame"] = numbers[readings["frame"]]
    readings.to_parquet(folder / "readings.parquet")
    run_tracking(folder, settings=settings_of(film), frames=[9, 65])
    assert table(folder, "tracks")["frame"].unique().tolist() == numbers.tolist()
    assert set(table(folder, "events")["frame"]) <= set(numbers.tolist())
    assert table(folder, "interfaces")["interval"].nunique() == 2
    with pytest.raises(TrackingError, match="frame 8 is not in the film; its frames are 7 to 65"):
        run_tracking(folder, settings=settings_of(film), frames=[8], overwrite=True)


def test_tracks_are_replaced_on_request_only(active, tmp_path):
    film, _ = active
    folder = film.write(tmp_path / "film")
    run_tracking(folder, settings=settings_of(film))
    first = (folder / "tracks.parquet").read_bytes()
    with pytest.raises(OutputError, match="tracked already; replace its tracks with --overwrite"):
        run_tracking(folder, settings=settings_of(film))
    run_tracking(folder, settings=settings_of(film), overwrite=True)
    assert (folder / "tracks.parquet").read_bytes() == first
    assert not list(folder.glob(".*staging"))


def test_nothing_half_written_looks_whole(active, tmp_path, monkeypatch):
    film, _ = active
    folder = film.write(tmp_path / "film")
    run_tracking(folder, settings=settings_of(film))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ceria_models.tracking_run.write_structures", full)
    with pytest.raises(OSError, match="No space left"):
        run_tracking(folder, settings=settings_of(film), overwrite=True)
    assert (folder / "track.json").exists()  # the earlier tracks are still there, whole
    assert len(table(folder, "events"))
    assert not list(folder.glob(".*staging"))


def test_wrong_folders_and_damaged_tables(tmp_path):
    film = synthetic_film(n_frames=5, columns=10, seed=0)
    with pytest.raises(FilmFolderError, match=r"has no sites\.parquet"):
        run_tracking(tmp_path)
    folder = film.write(tmp_path / "film")
    with pytest.raises(TrackingError, match="confidence is 0; expected more than 0"):
        run_tracking(folder, confidence=0.0)
    whole = (folder / "readings.parquet").read_bytes()
    (folder / "readings.parquet").write_bytes(whole[:-200])
    with pytest.raises(FilmTableError, match=r"readings\.parquet cannot be read"):
        run_tracking(folder)
    readings = film.write(folder)
    readings = table(folder, "readings")
    readings.assign(site=99).to_parquet(folder / "readings.parquet")
    with pytest.raises(FilmTableError, match="frame 0 at site 99"):
        run_tracking(folder)
    readings.assign(p_1=5.0).to_parquet(folder / "readings.parquet")
    with pytest.raises(FilmTableError, match="expected probabilities that sum to 1"):
        run_tracking(folder)
    readings.assign(level="much").to_parquet(folder / "readings.parquet")
    with pytest.raises(FilmTableError, match=r"readings\.parquet cannot be read to its end"):
        run_tracking(folder)
    readings.drop(columns="p_14").to_parquet(folder / "readings.parquet")
    with pytest.raises(TrackingError, match="classes 0 to 13"):
        run_tracking(folder)
    film.write(folder)
    film.frames.assign(time_s=1.0).to_parquet(folder / "frames.parquet")
    with pytest.raises(FilmTableError, match="same time_s"):
        run_tracking(folder)
    film.write(folder)
    film.sites.assign(species="Ti").to_parquet(folder / "sites.parquet")
    with pytest.raises(FilmTableError, match=r"species \['Ti'\]"):
        run_tracking(folder)


def test_large_readings_lie_on_the_disk(tmp_path, monkeypatch):
    film = synthetic_film(n_frames=20, columns=10, seed=0)
    tables = open_film_tables(film.write(tmp_path / "film"))
    monkeypatch.setattr("ceria_models.film_tables._IN_MEMORY", 0)
    readings = read_readings(tables, tmp_path)
    assert isinstance(readings.p, np.memmap)
    np.testing.assert_allclose(readings.p, film.p, atol=1e-6)


def test_blocks_of_columns_give_the_same_tables(active, tmp_path, monkeypatch):
    """What bounds the memory changes nothing."""
    film, folder = active
    monkeypatch.setattr("ceria_models.film_chain._BYTES", 3e6)
    other = film.write(tmp_path / "film")
    run_tracking(other, settings=settings_of(film))
    for name in ("tracks", "events", "rates", "interfaces"):
        pd.testing.assert_frame_equal(table(other, name), table(folder, name), rtol=1e-5)


def test_depths_are_averaged_while_the_count_stays():
    z = np.array([np.nan, 2.0, 4.0, 9.0, np.nan])
    count = np.array([5, 5, 5, 4, 3])
    smooth = smoothed_depth(z, np.ones(5), count)
    assert smooth.tolist() == [3, 3, 3, 9, 5]  # never read with three atoms: the mean of all
    assert smoothed_depth(np.full(2, np.nan), np.ones(2), count[:2]).tolist() == [0, 0]


def test_the_command(tmp_path, monkeypatch, capsys):
    film = synthetic_film(n_frames=10, columns=20, seed=0)
    folder = film.write(tmp_path / "film")
    code, out, _ = run(monkeypatch, capsys, "track", folder, "--json")
    assert code == 0
    assert json.loads(out)["frames"] == 10
    code, _, err = run(monkeypatch, capsys, "track", folder)
    assert code == 2
    assert "tracked already" in err
    code, out, _ = run(
        monkeypatch, capsys, "track", folder, "--overwrite", "--quiet", "--frames", "0,5",
        "--confidence", "0.9",
    )  # fmt: skip
    assert (code, out) == (0, "")
    assert len(list((folder / "structures").glob("*.cif"))) == 2
    code, _, err = run(monkeypatch, capsys, "track", folder, "--frames", "zero")
    assert code == 2
    assert "expected numbers of frames" in err
    code, _, err = run(monkeypatch, capsys, "track", tmp_path / "none")
    assert code == 2
    (folder / "sites.parquet").write_bytes(b"")
    code, _, err = run(monkeypatch, capsys, "track", folder, "--overwrite")
    assert code == 1
