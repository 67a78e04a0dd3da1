"""The command evaluate, from a model or a table to a page."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from ceria_data.bundled import dataset_folder
from ceria_data.ceiling import open_ceiling
from ceria_data.ceiling_build import build_ceiling
from ceria_data.dataset import open_dataset
from ceria_data.schema import SPECIES
from ceria_models import bounds, evaluation_run, fitted
from ceria_models.baseline import fit_baseline
from ceria_models.bounds import column_bounds, measure_bounds
from ceria_models.evaluation_record import read_evaluation
from ceria_models.prior import Prior, fit_prior, n_features
from tests.ceria_models import command
from tests.ceria_models.fake_program import FakeProgram
from tests.ceria_models.make_model import fresh
from tests.tiny import FINE, Here, build_tiny, reseal, tiny_config

MOST = 5


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """One home for all tests: the prior is fitted once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CERIA_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(fitted, "fit_prior", quick_prior)
        yield


def quick_prior(dataset, **how):
    """As good as the whole one for what is tested here, in a second."""
    return fit_prior(dataset, n_columns=300, **how)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "net"
    fresh().save_pretrained(folder)
    return folder


def run(monkeypatch, capsys, *arguments):
    return command.run(monkeypatch, capsys, "evaluate", *arguments)


def test_a_model_is_measured_from_the_command_line(monkeypatch, capsys, tmp_path, model):
    arguments = [model, "ceria-columns-mini", "--images", 2, "--pairs", 1]
    arguments += ["--dose", 300, "--stability", 0, "--out", tmp_path / "out", "--json"]
    code, text, err = run(monkeypatch, capsys, *arguments)
    assert code == 0, err
    assert json.loads(text)["program"] == "fresh"
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    assert (found.n_images, found.split) == (2, "test")
    assert {one.species for one in found.efficiencies} == set(SPECIES)
    assert found.settings["model_version"] == "0.0.0"
    assert found.settings["doses_e_per_A2"] == [300.0]
    assert any(note.startswith("no ceiling: none was given") for note in found.notes)
    assert (tmp_path / "out" / "evaluation.html").stat().st_size > 50_000
    table = pd.read_csv(tmp_path / "out" / "figures.csv")
    assert len(table) == len(found.figures) + len(found.efficiencies)
    assert set(table["program"]) == {"fresh"}
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "exists already" in err


@pytest.mark.slow
def test_other_pixels_camera_and_doses_of_pairs(monkeypatch, capsys, tmp_path, model):
    arguments = [model, "ceria-columns-mini", "--images", 1, "--pairs", 1, "--stability", 1]
    arguments += ["--pair-dose", 3000, "--pair-dose", 1000, "--dose", 1000, "--ceiling", tmp_path]
    arguments += ["--pixel-size", 0.25, "--camera", "integrating", "--json"]
    monkeypatch.setattr(evaluation_run, "open_ceiling", lambda folder, dataset: folder)
    code, text, err = run(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")
    assert code == 0, err
    assert json.loads(text)["images"] == "test, pixels of 0.25 Å, integrating camera"
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    assert found.settings["pixel_size_A"] == 0.25
    assert found.settings["camera"]["kind"] == "integrating"
    assert found.settings["pair_doses_e_per_A2"] == [1000.0, 3000.0]
    doses = [one.dose_e_per_A2 for one in found.efficiencies]
    assert [doses.count(dose) for dose in (None, 1000.0, 3000.0)] == [6, 6, 6]
    for words in ("on pixels of 0.25 Å instead", "by an integrating camera", "no ceiling: it is"):
        assert any(words in note for note in found.notes)
    assert not found.bounds
    assert found.figure("prior_exact", "Ce", 1000.0) is not None
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "test, pixels of 0.25 Å, integrating camera" in page
    table = pd.read_csv(tmp_path / "out" / "figures.csv")
    pairs = table[table["metric"] == "efficiency"]
    assert set(pairs["dose_e_per_A2"].dropna()) == {1000.0, 3000.0}
    assert len(pairs) == 18


def test_a_failure_leaves_nothing_behind(monkeypatch, capsys, tmp_path, model):
    def broken(*_, **__):
        raise ValueError("the pen is empty")

    monkeypatch.setattr(evaluation_run, "write_tables", broken)
    arguments = [model, "ceria-columns-mini", "--images", 1, "--pairs", 0, "--dose", 300]
    arguments += ["--stability", 0, "--out", tmp_path / "out"]
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "pen is empty" in err
    assert not list(tmp_path.iterdir())


def test_images_outside_of_what_the_net_has_seen_are_counted(model):
    from ceria_models.weights import from_pretrained

    program = evaluation_run.program_of(from_pretrained(model))
    inside = open_dataset("ceria-columns-mini", "test")[41]
    program(inside.counts.astype(float), 0.2)
    assert program.remarks() == []
    program(np.random.default_rng(0).poisson(0.02, (64, 64)).astype(float), 0.2)
    assert "1 of the 2 images" in program.remarks()[0]
    assert "1 of them far outside" in program.remarks()[0]


def test_the_table_of_any_program_is_scored(monkeypatch, capsys, tmp_path):
    test = open_dataset("ceria-columns-mini", "test")
    rows = [
        test[i].columns.query("in_field and occupancy > 0")[["species", "x_A", "y_A", "occupancy"]]
        .assign(sample=test[i].parameters["sample"])
        for i in range(2)
    ]  # fmt: skip
    file = tmp_path / "columns.csv"
    pd.concat(rows).to_csv(file, index=False)
    arguments = ["another program", "ceria-columns-mini", "--table", file]
    code, _, err = run(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")
    assert code == 0, err
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    assert found.program == "another program"
    assert found.figure("precision", "Ce").value == 1
    assert found.figure("recall", "Ce").value < 0.5  # most images have no rows
    parquet = tmp_path / "columns.parquet"
    pd.concat(rows).to_parquet(parquet)
    arguments = ["another program", "ceria-columns-mini", "--table", parquet, "--listed"]
    code, _, err = run(monkeypatch, capsys, *arguments, "--out", tmp_path / "listed")
    assert code == 0, err
    found = read_evaluation(tmp_path / "listed" / "evaluation.json")
    assert (found.n_images, found.figure("recall", "Ce").value) == (2, 1.0)
    assert "only the 2 images that the table lists are scored" in found.notes


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("species,x_A,y_A,occupancy\nCe,1,1,3\n", "lacks sample"),
        ("sample,species,x_A,y_A\n480,Ce,1,1\n", "lacks occupancy"),
        ("sample,species,x_A,y_A,occupancy\n1,Ce,1,1,3\n", "right split"),
        ("sample,species,x_A,y_A,occupancy\n480,Ce,1,1,three\n", "occupancy is 'three'"),
        ("sample,species,x_A,y_A,occupancy\n480,Ce,,1,3\n", "not a finite number"),
        ("sample,species,x_A,y_A,occupancy\n480.5,Ce,1,1,3\n", "a whole number in every row"),
        ("sample,species,x_A,y_A,occupancy\n480,Zr,1,1,3\n", "the species 'Zr'"),
        (
            "sample,species,x_A,y_A,occupancy\n480,Ce,60,70,3\n",
            "1 of 1 columns lie outside of the images of 25.6 × 25.6 Å, up to x_A 60",
        ),
        ("", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_scored_is_refused(monkeypatch, capsys, tmp_path, content, match):
    file = tmp_path / "columns.csv"
    if content is not None:
        file.write_text(content)
    arguments = ["x", "ceria-columns-mini", "--table", file, "--out", tmp_path / "out"]
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert match in " ".join(err.split())
    assert not (tmp_path / "out").exists()


def test_a_table_without_rows_lists_nothing(monkeypatch, capsys, tmp_path):
    file = tmp_path / "columns.csv"
    file.write_text("sample,species,x_A,y_A,occupancy\n")
    arguments = ["x", "ceria-columns-mini", "--table", file, "--out", tmp_path / "out"]
    code, _, err = run(monkeypatch, capsys, *arguments, "--listed")
    assert code == 2
    assert "has no rows, so that --listed leaves no image" in " ".join(err.split())


def test_what_is_not_there_is_named(monkeypatch, capsys, tmp_path, model):
    for arguments, match in (
        ([model, "ceria-columns-mini", "--split", "tset"], "tset"),
        ([tmp_path / "nothing", "ceria-columns-mini"], "nothing"),
        ([model, tmp_path / "no-dataset"], "no-dataset"),
        ([model, "ceria-columns-mini", "--ceiling", tmp_path], "holds no ceiling"),
        ([model, "ceria-columns-mini", "--listed"], "belongs to --table"),
        (["x", "ceria-columns-mini", "--table", "x.csv", "--images", 3], "--images and --table"),
        (
            ["x", "ceria-columns-mini", "--table", "x.csv", "--pixel-size", 0.1, "--pair-dose", 9],
            "--pair-dose, --pixel-size and --table",
        ),
        (
            ["x", "ceria-columns-mini", "--table", "x.csv", "--camera", "integrating"],
            "--camera and --table",
        ),
        ([model, "ceria-columns-mini", "--pixel-size", 20], "expected 0.02 to 1.0 Å"),
        ([model, "ceria-columns-mini", "--camera", "ccd"], "expected counting or integrating"),
    ):
        code, _, err = run(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")
        assert code == 2
        assert match in err
        assert not (tmp_path / "out").exists()


@pytest.fixture
def mini(tmp_path):
    """A copy of the bundled dataset that a test may damage."""
    return shutil.copytree(dataset_folder("ceria-columns-mini"), tmp_path / "mini")


def test_a_dataset_without_a_column_is_no_dataset(monkeypatch, capsys, tmp_path, mini, model):
    file = mini / "columns.parquet"
    pd.read_parquet(file).drop(columns="occupancy").to_parquet(file)
    reseal(mini)
    code, _, err = run(monkeypatch, capsys, model, mini, "--out", tmp_path / "out")
    assert code == 2
    assert "occupancy" in err
    assert not (tmp_path / "out").exists()


def test_damaged_differences_are_damage(monkeypatch, capsys, tmp_path, mini, model):
    for file in (mini / "limits.zarr" / "difference" / "c").rglob("*"):
        if file.is_file():
            content = bytearray(file.read_bytes())
            quarter = len(content) // 4
            content[quarter : 2 * quarter] = bytes(quarter)
            file.write_bytes(content)
    arguments = [model, mini, "--images", 1, "--pairs", 5, "--dose", 300, "--stability", 0]
    code, _, err = run(monkeypatch, capsys, *arguments, "--out", tmp_path / "out")
    assert code == 1, err
    assert "differences cannot be read" in err
    assert not (tmp_path / "out").exists()


def test_a_split_without_pairs_is_measured_without_them(monkeypatch, capsys, tmp_path, model):
    arguments = [model, "ceria-columns-mini", "--split", "validation", "--images", 1]
    arguments += ["--pairs", 3, "--dose", 300, "--stability", 0, "--out", tmp_path / "out"]
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 0, err
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    assert any("no pair of this split" in note for note in found.notes)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    config = tiny_config(*FINE, ("seed: 11", f"seed: 11\nmax_count: {MOST}"))
    folder = build_tiny(tmp_path_factory.mktemp("fine") / "fine", config)
    dataset = open_dataset(folder, "test")
    out = tmp_path_factory.mktemp("ceiling") / "ceiling"
    build_ceiling(folder, split="test", n_columns=6, out=out, workers=Here)
    return dataset, open_ceiling(out, dataset)


def flat():
    return Prior({name: np.zeros((n_features() + 1, MOST)) for name in SPECIES})


def test_the_truth_is_right_and_so_is_the_ceiling_of_a_bright_image(tiny):
    dataset, ceiling = tiny
    doses = (1e-3, 3e5)
    program = FakeProgram(dataset, range(len(dataset)), doses, draws=5)
    best = column_bounds(dataset, ceiling, flat(), doses)
    assert len(best) == len(doses) * len(ceiling)
    found = measure_bounds(program, dataset, best)
    everywhere = [one for one in found if one.label == "all"]
    assert sum(one.n for one in everywhere) == len(best)
    assert all(one.program == 1 for one in everywhere)
    assert all(one.program_position_pm == 0 for one in everywhere)
    assert all(one.share == 1 / one.ceiling for one in everywhere)
    assert all(one.ceiling > 0.99 for one in everywhere if one.dose_e_per_A2 == 3e5)
    dark = [one.ceiling for one in everywhere if one.dose_e_per_A2 == 1e-3]
    assert max(dark) < 0.7


def test_a_prior_that_knows_needs_no_electrons(tiny):
    dataset, ceiling = tiny

    class Knows(Prior):
        def probabilities(self, columns):
            return np.eye(MOST + 1)[columns["occupancy"].to_numpy()]

    program = FakeProgram(dataset, range(len(dataset)), (1e-3,), missed=1.0, draws=5)
    best = column_bounds(dataset, ceiling, Knows(flat().weights), (1e-3,))
    assert (best["ceiling"] == 1).all()
    assert (best["prior"] == 1).all()
    # What the pixels alone tell does not profit from it.
    assert best["flat"].max() < 0.7
    found = measure_bounds(program, dataset, best)
    assert all(one.ceiling == one.prior == 1 for one in found)
    assert all(one.program == 0 and one.program_position_pm is None for one in found)


def test_the_share_is_of_five_noise_draws_and_the_position_of_the_first(tiny):
    dataset, ceiling = tiny
    best = column_bounds(dataset, ceiling, flat(), (300.0,))
    truthful, seen = FakeProgram(dataset, range(len(dataset)), (300.0,), draws=5), []

    def program(counts, sampling):
        seen.append(counts)
        found = truthful(counts, sampling)
        return found if len(seen) % 5 == 1 else found.iloc[:0]

    found = [one for one in measure_bounds(program, dataset, best) if one.label == "all"]
    assert len({image.tobytes() for image in seen}) == len(seen) == 5 * best["sample"].nunique()
    assert all(one.program == pytest.approx(0.2) for one in found)
    assert all(one.program_position_pm == 0 for one in found)


def test_columns_are_summed_up_with_intervals_over_particles():
    """Half of 400 columns right where 4 of 5 can be; 3 pm of error where 1 pm is possible."""
    rng = np.random.default_rng(0)
    n = 400
    rows = pd.DataFrame(
        {
            "particle": np.arange(n) // 4,
            "species": "Ce",
            "defocus_A": np.where(np.arange(n) < n // 2, -60.0, -20.0),
            "dose": 300.0,
            "ceiling": 0.8,
            "flat": 0.6,
            "prior": 0.7,
            "position_pm": 1.0,
            "right": (np.arange(n) % 2).astype(float),
            "dx_A": rng.normal(0, 0.03, n),
            "dy_A": rng.normal(0, 0.03, n),
        }
    )
    rows.loc[::7, ["dx_A", "dy_A"]] = np.nan  # not found
    rows.loc[1, "dx_A"] = 0.5  # one that is far off says little about the others
    whole, window = bounds._summed(rows)
    assert (whole.n, window.n, window.label) == (n, n // 2, "-90 to -50")
    assert (whole.program, whole.share) == (0.5, pytest.approx(0.625))
    assert whole.program_position_pm == pytest.approx(3.0, rel=0.1)
    rows["right"] = (np.arange(n) // 8 % 2).astype(float)  # particles agree in themselves
    spread = bounds._summed(rows)[0]
    # 100 particles that are wholly right or wrong: 1.96 sqrt(0.25 / 100) to either side
    assert spread.program_high - spread.program_low == pytest.approx(0.196, abs=0.03)
    assert spread.share_low == pytest.approx(spread.program_low / 0.8)


def test_what_is_fitted_is_kept_and_damage_is_healed(monkeypatch, tiny):
    dataset, ceiling = tiny
    calls = []

    def counted(*arguments, **how):
        calls.append(arguments)
        return column_bounds(*arguments, **how)

    monkeypatch.setattr(fitted, "column_bounds", counted)
    first = fitted.ceiling_of(ceiling, dataset, flat(), (300.0,))
    again = fitted.ceiling_of(ceiling, dataset, flat(), (300.0,))
    pd.testing.assert_frame_equal(first, again)
    assert len(calls) == 1
    fitted.ceiling_of(ceiling, dataset, flat(), (100.0,))
    other = Prior({name: weights + 1.0 for name, weights in flat().weights.items()})
    fitted.ceiling_of(ceiling, dataset, other, (300.0,))
    assert len(calls) == 3
    for file in fitted.folder_of(dataset).glob("ceiling-*.parquet"):
        file.write_bytes(b"nonsense")
    pd.testing.assert_frame_equal(fitted.ceiling_of(ceiling, dataset, flat(), (300.0,)), first)


def test_ceiling_and_baseline_stand_beside_the_program(monkeypatch, capsys, tmp_path, tiny, model):
    dataset, ceiling = tiny
    monkeypatch.setattr(
        fitted, "fit_baseline", lambda data, **_: fit_baseline(data, images=2, doses=(3000.0,))
    )
    arguments = [model, dataset.folder, "--ceiling", ceiling.folder, "--baseline"]
    arguments += ["--dose", 3000, "--stability", 0, "--out", tmp_path / "out"]
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 0, err
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    # The other species may have no column in the window.
    assert {one.species for one in found.bounds if one.label == "all"} == set(SPECIES)
    assert any("no paired test: the dataset has no limits" in note for note in found.notes)
    beside = read_evaluation(tmp_path / "out" / "baseline.json")
    assert (beside.program, beside.split) == (evaluation_run.BASELINE_NAME, found.split)
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "share of it reached" in page
    assert set(pd.read_csv(tmp_path / "out" / "figures.csv")["program"]) == {
        "fresh",
        evaluation_run.BASELINE_NAME,
    }


def test_prior_and_baseline_survive_the_disk(monkeypatch):
    calls = []

    def quick_baseline(dataset, **_):
        calls.append("baseline")
        return fit_baseline(dataset, images=5, doses=(1000.0,))

    monkeypatch.setattr(fitted, "fit_baseline", quick_baseline)
    image = np.random.default_rng(1).poisson(40.0, (64, 64)).astype(float)
    tables = [fitted.baseline_of("ceria-columns-mini")(image, 0.2) for _ in range(2)]
    pd.testing.assert_frame_equal(*tables)
    assert calls == ["baseline"]
    one, again = (fitted.prior_of("ceria-columns-mini") for _ in range(2))
    for name in SPECIES:
        np.testing.assert_array_equal(one.weights[name], again.weights[name])
    file = fitted.folder_of(open_dataset("ceria-columns-mini")) / "baseline.json"
    file.write_text(file.read_text().replace("ceria-baseline 1", "ceria-baseline 0"))
    fitted.baseline_of("ceria-columns-mini")
    assert calls == ["baseline"] * 2
