import shutil
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from ceria_data import film_simulation
from ceria_data.build import build, in_this_process
from ceria_data.card import dataset_card
from ceria_data.ceiling_build import build_ceiling
from ceria_data.compare import compare, regenerate
from ceria_data.config import config_from_yaml, recipe_digest, resolved_yaml
from ceria_data.dataset import open_dataset
from ceria_data.digest import labels_leaf
from ceria_data.draw import structure_entries
from ceria_data.errors import CeriaError, ConfigError, FilmError, NotADatasetError, StructureError
from ceria_data.facts import dataset_facts
from ceria_data.film import open_film
from ceria_data.film_labels import label_film
from ceria_data.film_simulation import simulate_film
from ceria_data.optics import form_image, image_spectrum
from ceria_data.part import files_of_splits, write_part
from ceria_data.plan import plan, plan_facts
from ceria_data.repair import repair
from ceria_data.scattering import exit_waves
from ceria_data.schema import EVENTS, EXPOSURES, FILM_TABLES, SAMPLES, TABLES
from ceria_data.simulate import cell_of, field_of, label_structure, settings_of
from ceria_data.store import read_manifest, read_table, write_table
from ceria_data.targets import class_map, volume
from ceria_data.verify import verify
from tests.tiny import Here, build_tiny, film_config, reseal

CALM = {"frames": 3, "frame_time_s": 0.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ceria_data.finish.draw_previews", lambda d: (d.folder / "preview").mkdir())
        return build_tiny(tmp_path_factory.mktemp("films") / "d", film_config())


@pytest.fixture
def films(folder, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(folder, tmp_path / "films")


@pytest.fixture(scope="module")
def dataset(folder):
    return open_dataset(folder)


def test_one_particle_is_a_film_and_all_of_them_are_none(dataset, folder):
    particles = sorted(set(dataset.samples["particle"].tolist()))
    assert len(particles) > 1
    with pytest.raises(FilmError, match=f"holds {len(particles)} films.*--particle"):
        open_film(folder)
    with pytest.raises(FilmError, match="no particle 99"):
        open_film(folder, particle=99)
    film = open_film(folder, particle=particles[1])
    own = dataset.samples[dataset.samples["particle"] == particles[1]]
    assert film.samples == tuple(own["sample"])
    assert film.frame_time_s == pytest.approx(own["time_s"].diff().iloc[1], rel=1e-6)
    np.testing.assert_array_equal(film.frames(1, 2)[0], dataset[int(own.index[1])].counts)
    assert len(open_film(folder, particle=particles[1], limit=2)) == 2


def digests(folder):
    manifest = read_manifest(folder)
    return manifest["labels_digest"], manifest["content_digest"]


def film_of(config, number=0):
    entry, layout = structure_entries(config)[number], plan(config).layout
    return entry, layout, simulate_film(config, entry, layout)


def test_a_dataset_of_films_is_whole(folder, dataset):
    assert verify(folder) == []
    assert len(dataset) == 18
    assert dataset.samples["particle"].tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert dataset.samples["frame"].tolist() == list(range(6)) * 3
    assert dataset.samples["time_s"].iloc[:3].tolist() == [0, 0.1, 0.2]
    assert len(dataset.events) > 8
    assert dataset.structures.groupby("particle").size().sum() == len(dataset.events) + 3
    facts = dataset_facts(dataset)["films"]
    assert (facts["films"], facts["frames_per_film"]) == (3, 6)
    assert sum(facts["events"].values()) == len(dataset.events)


def test_events_replay_every_structure_atom_by_atom(dataset):
    atoms = {
        row: set(zip(own["species"], own["site_id"], own["plane"], strict=True))
        for row, own in dataset.atoms.groupby("structure")
    }
    assert len(dataset.events) > 8
    for event in dataset.events.to_dict("records"):
        now = set(atoms[event["structure"] - 1])
        if event["site_id_from"] != -1:
            now.remove((event["species"], event["site_id_from"], event["plane_from"]))
        if event["site_id_to"] != -1:
            new = (event["species"], event["site_id_to"], event["plane_to"])
            assert new not in now
            now.add(new)
        assert now == atoms[event["structure"]]


def test_columns_of_a_film_are_the_same_from_first_to_last(dataset):
    for _, own in dataset.columns.merge(
        dataset.structures[["structure", "particle"]], on="structure"
    ).groupby("particle"):
        ids = [each["site_id"].tolist() for _, each in own.groupby("structure")]
        assert all(each == ids[0] for each in ids)
        surface = [each["surface"].tolist() for _, each in own.groupby("structure")]
        assert all(each == surface[0] for each in surface)


def test_columns_that_arise_are_listed_from_the_start():
    film = {"frames": 4, "frame_time_s": 0.1, "cerium_arrival_per_s": 3}
    splits = [{"name": "train", "structures": 1, "phonons": 1}]
    structure = {"kind": "slab_sawtooth", "thickness_atoms": 4, "n_cerium_adatoms": 0}
    labels = labels_of(film_config(film, splits=splits, structure=structure))
    first = labels.columns[labels.columns["structure"] == 0].set_index("site_id")
    gained = labels.events["site_id_to"]
    fresh = [site for site in gained if first.loc[site, "sites"] == 0]
    assert fresh
    assert (first.loc[fresh, "occupancy"] == 0).all()
    assert first.loc[fresh, "z_mean_A"].isna().all()
    final = labels.structures["structure"].max()
    last = labels.columns[labels.columns["structure"] == final].set_index("site_id")
    assert (last.loc[fresh, "occupancy"] > 0).all()


def labels_of(config, number=0):
    entry, layout = structure_entries(config)[number], plan(config).layout
    field, cell = field_of(config), cell_of(config)
    return label_film(config, entry, layout.starts[number], layout.planes, field, cell)


def test_an_atom_that_stays_is_displaced_alike_in_all_structures():
    config = film_config(structure={"kind": "cube", "thickness_atoms": 3, "relaxation_A": 0})
    particle = labels_of(config).particle
    poses = [state.pose for state in particle.history.states]
    for i in range(1, len(particle.structures)):
        if poses[i] != poses[i - 1]:
            continue
        both = particle.occupied(i) & particle.occupied(i - 1)
        old, new = (
            particle.configurations(k).positions[:, both[particle.occupied(k)]] for k in (i - 1, i)
        )
        np.testing.assert_array_equal(old, new)


def test_a_still_atom_scatters_from_the_same_slice():
    config = film_config(structure={"kind": "cube", "thickness_atoms": 3, "relaxation_A": 0})
    particle = labels_of(config).particle
    planes = []
    for i in range(len(particle.structures)):
        specimen = particle.specimen(i, 0.5)
        z = specimen.slices.z[specimen.slices.member]
        sites = particle.shared.kept[particle.occupied(i)]
        planes.append(dict(zip(sites.tolist(), z[: len(sites)].tolist(), strict=True)))
    untilted = [
        i for i, (a, b) in enumerate(pairwise(particle.history.states), 1) if a.pose == b.pose
    ]
    assert untilted
    for i in untilted:
        common = planes[i].keys() & planes[i - 1].keys()
        assert [planes[i][s] for s in common] == [planes[i - 1][s] for s in common]


def test_a_calm_film_has_one_structure_and_one_image():
    config = film_config(CALM, dose_e_per_A2=50)
    _, layout, film = film_of(config)
    assert layout.starts == (0, 1, 2, 3)
    assert len(film.labels.events) == 0
    assert (film.intensity == film.intensity[0]).all()
    assert (film.counts[0] != film.counts[1]).any()
    assert film.labels.exposures["weight"].tolist() == [1.0] * 3
    seeds = film.labels.samples["camera_seed"]
    assert seeds.nunique() == 3
    for name in ("dose_e_per_A2", "defocus_A", "A1_A", "gain"):
        assert film.labels.samples[name].nunique() == 1


def test_a_film_may_have_one_frame(tmp_path):
    config = film_config({"frames": 1, "frame_time_s": 0.1})
    assert verify(build_tiny(tmp_path / "d", config)) == []


def test_exit_waves_are_computed_once_for_every_structure(monkeypatch):
    computed = []

    def counting(specimens, *rest):
        computed.extend(specimens)
        return exit_waves(specimens, *rest)

    monkeypatch.setattr(film_simulation, "exit_waves", counting)
    config = film_config()
    entry, layout, film = film_of(config)
    assert len(computed) == film.labels.exposures["structure"].nunique() > 3
    computed.clear()
    one = simulate_film(config, entry, layout, frames=range(2, 3))
    np.testing.assert_array_equal(one.counts[0], film.counts[2])
    np.testing.assert_array_equal(one.intensity[0], film.intensity[2])
    assert len(computed) == sum(part.frame == 2 for part in film.labels.parts)


def waves_of(config, labels, index, shift=(0.0, 0.0)):
    settings = settings_of(config)
    specimen = labels.particle.specimen(index, settings.slice_thickness_A)
    moved = specimen.positions + np.array([*shift, 0.0])
    (waves,) = exit_waves(
        [type(specimen)(moved, specimen.numbers, specimen.slices)], cell_of(config), settings
    )
    return waves


def test_drift_is_the_motion_of_the_atoms():
    # A steady drift would smear the frame as well, a walk makes its steps between frames.
    config = film_config(CALM | {"drift_walk_A_per_root_s": 0.7})
    _, _, film = film_of(config)
    labels, field = film.labels, field_of(config)
    shift = labels.drift.path[2]
    assert np.hypot(*shift) > 0.15
    moved = form_image(waves_of(config, labels, 0, shift), labels.images[2], field)
    still = form_image(waves_of(config, labels, 0), labels.images[2], field)
    assert np.abs(film.intensity[0] - still).max() < 1e-3
    assert np.abs(film.intensity[2] - moved).max() < 2e-3
    assert np.abs(still - moved).max() > 0.1
    assert labels.samples.loc[2, ["drift_x_A", "drift_y_A"]].tolist() == shift.tolist()


def test_a_frame_is_the_mean_over_its_time():
    config = film_config(
        {
            "frames": 2,
            "frame_time_s": 0.1,
            "drift_A_per_s": 6.0,
            "script": [
                {"kind": "departure", "time_s": 0.13},
                {"kind": "vacancy_creation", "time_s": 0.18},
            ],
        }
    )
    _, _, film = film_of(config)
    labels, field = film.labels, field_of(config)
    images = [
        image_spectrum(waves_of(config, labels, i), labels.images[0], field) for i in range(3)
    ]
    steps = 200
    total = 0.0
    for step in range(steps):
        time = 1 + (step + 0.5) / steps  # in frames
        structure = int(np.searchsorted([1.3, 1.8], time, side="right"))
        shift = labels.drift.path[0] + labels.drift.velocity * (time - 0.5)
        total = total + images[structure].moved(shift, np.zeros(2), 1 / steps).pixels(field)
    assert np.abs(film.intensity[1] - total).max() < 2e-3
    at_middle = images[1].moved(labels.drift.path[1], np.zeros(2), 1.0).pixels(field)
    assert np.abs(at_middle - total).max() > 0.02
    weights = labels.exposures.set_index("structure").loc[[0, 1, 2], "weight"].tolist()
    assert weights == pytest.approx([1, 0.3, 0.5, 0.2])
    assert labels.samples["structure"].tolist() == [0, 1]


def test_an_event_changes_the_image_around_itself_only():
    config = film_config(
        {
            "frames": 2,
            "frame_time_s": 0.1,
            "script": [{"kind": "vacancy_creation", "time_s": 0.1, "nth": 1}],
        },
        structure={"kind": "cube", "thickness_atoms": 3, "aspect": 1.8, "relaxation_A": 0},
    )
    _, _, film = film_of(config)
    change = np.abs(film.intensity[1].astype(float) - film.intensity[0])
    event = film.labels.events.iloc[0]
    columns = film.labels.columns[film.labels.columns["structure"] == 0].set_index("site_id")
    x, y = columns.loc[event["site_id_from"], ["x_A", "y_A"]].astype(float)
    rows, cols = np.indices(change.shape)
    far = np.hypot(cols * 0.25 - x, rows * 0.25 - y) > 5
    assert change[~far].max() > 8 * change[far].max() > 0


def test_labels_follow_the_drift(dataset):
    sample = dataset[5]
    dx, dy = sample.parameters["drift_x_A"], sample.parameters["drift_y_A"]
    assert np.hypot(dx, dy) > 0.05
    stored = dataset.columns_of(sample.parameters["structure"])
    columns = sample.columns
    np.testing.assert_allclose(columns["x_A"], stored["x_A"] + dx)
    np.testing.assert_allclose(columns["y_A"], stored["y_A"] + dy)
    field, planes = dataset.field, dataset.arrays["volume"].shape[1]
    np.testing.assert_array_equal(sample.occupancy, class_map(columns, field, 14))
    atoms = dataset.atoms[dataset.atoms["structure"] == sample.parameters["structure"]]
    np.testing.assert_array_equal(sample.volume, volume(atoms, columns, planes, field))
    still = dataset[0]
    assert still.columns["x_A"].equals(dataset.columns_of(0)["x_A"])
    np.testing.assert_array_equal(still.occupancy, dataset.read("occupancy", 0))


def test_a_film_is_recorded_again_at_the_doses_of_a_ladder(dataset):
    stored = float(dataset.samples["dose_e_per_A2"].iloc[0])
    again = dataset.at_dose(stored)
    np.testing.assert_array_equal(again[3].counts, dataset[3].counts)
    bright = dataset.at_dose(2000.0)[3]
    assert bright.counts.mean() == pytest.approx(10 * dataset[3].counts.mean(), rel=0.02)
    assert bright.parameters["dose_e_per_A2"] == 2000
    assert bright.columns.equals(dataset[3].columns)
    with pytest.raises(ValueError, match="expected more than 0"):
        dataset.at_dose(0)


def test_a_column_that_drifts_out_is_no_longer_in_the_field(dataset):
    sample = dataset[0]
    moved = type(sample)(dataset, sample.parameters | {"drift_x_A": 8.0, "drift_y_A": 0.0})
    columns = moved.columns
    assert columns["in_field"].tolist() == (columns["x_A"] < 72 * 0.25 - 0.125).tolist()
    assert not columns["in_field"].all()


def test_blocks_and_the_order_of_the_tasks_change_no_value(folder, tmp_path):
    class Backwards:
        def __enter__(self):
            return lambda run, tasks, in_flight=None: in_this_process(run, reversed(list(tasks)))

        def __exit__(self, *_):
            return None

    build(film_config(), tmp_path / "d", workers=Backwards, block=2)
    assert digests(tmp_path / "d") == digests(folder)


def test_growth_changes_no_old_film(folder, tmp_path):
    splits = [
        {"name": "train", "structures": 3, "phonons": 1},
        {"name": "test", "structures": 1, "phonons": 2},
    ]
    grown = build_tiny(tmp_path / "grown", film_config(splits=splits))
    result = compare(folder, grown)
    assert (result.common, result.only_a, result.only_b) == (3, 0, 1)
    assert result.labels_equal
    assert result.share_of_differing_counts == 0


def test_any_frame_is_made_again(folder):
    for sample in (0, 9, 17):
        assert regenerate(folder, sample).equal


def test_a_film_that_fails_is_left_out_if_that_is_allowed(tmp_path, monkeypatch):
    real = film_simulation.label_film

    def label(config, entry, *rest):
        if entry.row == 1:
            raise StructureError("an atom lies 9.00 Å outside")
        return real(config, entry, *rest)

    monkeypatch.setattr("ceria_data.film_simulation.label_film", label)
    config = film_config(CALM | {"tilt_per_s": 5})
    with pytest.raises(StructureError, match="1 of 3 films could not be simulated; structure"):
        build_tiny(tmp_path / "d", config)
    folder = build_tiny(tmp_path / "d", config, resume=True, allow_missing=True)
    assert verify(folder) == []
    dataset = open_dataset(folder)
    assert dataset.samples["particle"].unique().tolist() == [0, 2]
    assert [entry["number"] for entry in dataset.manifest["missing"]] == [1]
    monkeypatch.undo()


def test_an_interrupted_build_goes_on(folder, tmp_path):
    class Stops:
        def __enter__(self):
            def run(task, tasks, in_flight=None):
                yield next(iter(in_this_process(task, tasks)))
                raise KeyboardInterrupt

            return run

        def __exit__(self, *_):
            return None

    with pytest.raises(KeyboardInterrupt):
        build(film_config(), tmp_path / "d", workers=Stops)
    assert not (tmp_path / "d").exists()
    reused = []
    build_tiny(
        tmp_path / "d", film_config(), resume=True, on_progress=lambda p: reused.append(p.reused)
    )
    assert reused[-1] == 6
    assert digests(tmp_path / "d") == digests(folder)


@pytest.mark.parametrize(
    ("spec", "change", "problem"),
    [
        (EVENTS, ("site_id_to", 0), "names a column that the film has not"),
        (EVENTS, ("site_id_to", -1), "is not what event"),
        (EVENTS, ("time_s", 0.59), "order of their times|does not follow from its time"),
        (EXPOSURES, ("weight", 0.5), "do not sum to 1"),
        (SAMPLES, ("drift_x_A", 0.1), "do not follow from config and seed"),
        (SAMPLES, ("structure", 1), "longest"),
    ],
    ids=["columns", "events", "times", "weights", "drift", "labels"],
)
def test_a_table_that_does_not_fit_is_found(films, spec, change, problem):
    path = films / f"{spec.name}.parquet"
    table = read_table(path, spec)
    chosen = table["kind"].isin(["migration", "vacancy_filling"]) if spec is EVENTS else table.index
    table.loc[table.index[chosen][0] if spec is EVENTS else 0, change[0]] = change[1]
    write_table(table, path, spec)
    reseal(films)
    found = [str(each) for each in verify(films)]
    assert any(pd.Series([text]).str.contains(problem).any() for text in found), found


@pytest.mark.parametrize("name", ["exposures.parquet", "columns.parquet"])
def test_a_damaged_table_is_made_again(films, name):
    (films / name).write_bytes(b"damaged")
    assert verify(films)
    assert repair(films) == [name]
    assert verify(films) == []


def test_damaged_shards_are_made_again(films):
    names = ["data.zarr/counts/c/1/0/0", "data.zarr/occupancy/c/3/0/0/0"]
    for name in names:
        (films / name).write_bytes(b"damaged")
    assert sorted(repair(films)) == names
    assert verify(films) == []


def test_a_part_holds_the_films_of_its_splits(films):
    manifest = read_manifest(films)
    both = [files_of_splits(films, manifest, [name]) for name in ("train", "test")]
    assert both[0] | both[1] == set(manifest["files"])
    shards = {name for name in both[0] & both[1] if "/c/" in name}
    assert shards == set()
    for name in set(manifest["files"]) - both[1]:
        (films / name).unlink()
    write_part(films, ["test"])
    dataset = open_dataset(films, split="test")
    assert [sample.counts.shape for sample in dataset] == [(64, 72)] * 6
    assert all(sample.occupancy.any() for sample in dataset)
    with pytest.raises(NotADatasetError, match="holds only the split test"):
        open_dataset(films, split="train")


def test_films_go_through_the_hub(hub, on_hub, folder, repo_id):
    hub.hold(repo_id, folder, "v0.1.0")
    peeked = on_hub("peek", f"hf://datasets/{repo_id}@0.1.0", "--json")
    assert peeked.code == 0, peeked
    assert peeked.facts["films"]["films"] == 3
    out = on_hub.home / "out"
    assert on_hub("pull", repo_id, "--out", out, "--split", "test", "--json").code == 0
    held, whole = (open_dataset(place, split="test") for place in (out, folder))
    assert all(
        (mine.counts == theirs.counts).all() for mine, theirs in zip(held, whole, strict=True)
    )
    assert all(
        (mine.volume == theirs.volume).all() for mine, theirs in zip(held, whole, strict=True)
    )
    assert held.events.equals(whole.events)


def test_tables_of_films_are_described_and_counted_in_the_digests(folder, dataset):
    assert all((folder / f"{spec.name}.parquet").is_file() for spec in FILM_TABLES)
    card = dataset_card(dataset)
    assert "| `cerium_migration_per_s` | 0.5 | 0.5 |" in card
    for kind, count in dataset.events["kind"].value_counts().items():
        row = next(line for line in card.splitlines() if line.startswith(f"| {kind} |"))
        assert sum(int(cell) for cell in row.split("|")[2:4]) == count


def test_the_plan_knows_the_films(folder):
    planned = plan(film_config())
    assert planned.layout == open_dataset(folder).layout
    assert planned.samples == 18
    facts = plan_facts(planned, 1, 1e-3)
    assert (facts["films"], facts["frames_per_film"]) == (3, 6)
    assert facts["structures"] == planned.layout.starts[-1]
    files = len(read_manifest(folder)["files"])
    assert files <= planned.files <= files + 8


def test_a_ceiling_of_films_is_refused(folder, tmp_path):
    with pytest.raises(CeriaError, match="holds films, and a ceiling can be computed of still"):
        build_ceiling(folder, split="test", n_columns=2, out=tmp_path / "l", workers=Here)


def test_the_config_of_films_is_kept_whole():
    config = film_config()
    assert config_from_yaml(resolved_yaml(config)) == config
    assert config.images_per_particle == 6
    other = film_config({"frames": 6, "frame_time_s": 0.1, "tilt_per_s": 0.1})
    assert recipe_digest(other) != recipe_digest(config)


def test_a_split_has_rates_of_its_own():
    override = {"film": {"tilt_per_s": 9.0}}
    splits = [{"name": "a", "structures": 1}, {"name": "b", "structures": 1, "override": override}]
    config = film_config(splits=splits)
    rates = [config.sections(split).film.tilt_per_s for split in config.splits]
    assert rates == [1.0, 9.0]
    assert config_from_yaml(resolved_yaml(config)) == config


def one(**override):
    return [{"name": "train", "structures": 1, "override": override}]


@pytest.mark.parametrize(
    ("film", "changes", "message"),
    [
        (CALM, {"images_per_structure": 4}, "images_per_structure is 4 in a dataset of films"),
        (CALM, {"limits": {"split": "test"}}, "leave limits out beside film"),
        (CALM, {"splits": one(film={"frames": 5})}, "sets frames"),
        (CALM | {"drift_A_per_s": 30}, {}, r"the drift may reach 9 Å in 0\.3 s .* at most 2 Å"),
        (CALM | {"drift_walk_A_per_root_s": 3}, {}, r"the drift may reach 6\.57 Å"),
        (
            CALM | {"tilt_per_s": 1, "script": [{"kind": "tilt", "time_s": 0.1}]},
            {},
            "tilt_per_s and a script",
        ),
        (CALM | {"script": [{"kind": "tilt", "time_s": 0.3}]}, {}, "an event at 0.3 s"),
        (CALM | {"script": [{"kind": "melting", "time_s": 0.1}]}, {}, "film.script"),
        (CALM | {"cerium_migration_per_s": -1}, {}, "is -1 1/s; expected 0 to 1000"),
        (CALM | {"frames": 0}, {}, "film.frames is 0 frames"),
    ],
)
def test_films_that_cannot_be_are_refused(film, changes, message):
    with pytest.raises(ConfigError, match=message):
        film_config(film, **changes)


def test_a_still_dataset_has_no_films_in_a_split():
    from tests.tiny import tiny_config

    film = "phonons: 1, override: {film: {tilt_per_s: 1}}}"
    with pytest.raises(ConfigError, match="train overrides film"):
        tiny_config(("structures: 4, phonons: 1}", f"structures: 4, {film}"))


def test_still_datasets_are_as_they_were_before_films():
    mini = open_dataset("ceria-columns-mini")
    text = (mini.folder / "config.yaml").read_text("utf-8")
    config = config_from_yaml(text)
    assert resolved_yaml(config) == text
    assert recipe_digest(config) == mini.manifest["recipe_digest"]
    assert plan(config).layout == mini.layout
    for entry in structure_entries(config)[::75]:
        tables = [(mini.rows_of(spec, entry.row), spec) for spec in TABLES]
        masks = [mini.read(name, entry.row) for name in ("occupancy", "volume")]
        again = label_structure(config, entry, mini.layout.planes)
        assert again.digest == labels_leaf(tables, *masks)
