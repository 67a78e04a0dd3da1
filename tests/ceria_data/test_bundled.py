import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ceria_data import bundled
from ceria_data.bundled import bundled_datasets, dataset_folder
from ceria_data.cli import app
from ceria_data.config import load_config, recipe_digest
from ceria_data.dataset import open_dataset
from ceria_data.errors import NotADatasetError, OutputError
from ceria_data.verify import verify

MINI = "ceria-columns-mini"

READ_WITHOUT_GENERATOR = """
import sys

for name in ("abtem", "ase", "cupy", "dask", "distributed", "torch"):
    sys.modules[name] = None
import ceria_data

ds = ceria_data.open_dataset("ceria-columns-mini", split="test")
sample = ds[0]
assert sample.counts.sum() > 0
assert sample.occupancy.max() > 0
print(len(ds))
"""


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_bundled_dataset_is_whole(alone):
    assert bundled_datasets() == [MINI]
    folder = dataset_folder(MINI)
    assert verify(folder) == []
    dataset = open_dataset(MINI)
    assert len(dataset) >= 600
    assert set(dataset.samples["split"]) == {"train", "validation", "test"}
    assert dataset.manifest["missing"] == []
    assert (folder / "limits.parquet").is_file()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size <= 40_000_000


def test_it_was_built_from_the_preset():
    manifest = open_dataset(MINI).manifest
    assert manifest["recipe_digest"] == recipe_digest(load_config(MINI))


def test_it_is_read_without_the_generator(alone):
    result = subprocess.run(
        [sys.executable, "-c", READ_WITHOUT_GENERATOR], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(len(open_dataset(MINI, split="test")))


def test_a_folder_of_the_same_name_wins(alone, tiny_folder):
    shutil.copytree(tiny_folder, alone / MINI)
    assert dataset_folder(MINI) == Path(MINI)
    assert open_dataset(MINI).manifest["name"] == "tiny"


def test_names_that_are_neither_are_refused(alone):
    with pytest.raises(NotADatasetError, match=f"no-such is not a folder; .*: {MINI}"):
        open_dataset("no-such")
    # A bundled name is one word, not a way into the package.
    with pytest.raises(NotADatasetError):
        open_dataset(f"../datasets/{MINI}")


@pytest.fixture
def shelf(alone, monkeypatch, tiny_folder):
    """A shelf of bundled datasets with `small` on it, seen from an empty folder `here`."""
    shelf = alone / "shelf"
    shutil.copytree(tiny_folder, shelf / "small")
    monkeypatch.setattr(bundled, "DATASETS", shelf)
    (alone / "here").mkdir()
    monkeypatch.chdir(alone / "here")
    return shelf


def test_commands_take_the_name_and_write_here(shelf):
    here = Path.cwd()

    def run(*arguments):
        result = CliRunner().invoke(app, [*arguments, "--quiet"])
        assert result.exit_code == 0, result.output

    run("verify", "small")
    run("info", "small")
    run("compare", "small", "small")
    run("regenerate", "small", "--sample", "0")
    run("preview", "small")
    run("limits", "small", "--columns", "2", "--workers", "0")
    run("ceiling", "small", "--columns", "2", "--workers", "0")
    written = {path.name for path in here.iterdir()}
    assert written == {"small-preview.png", "small.limits", "small.ceiling"}
    assert [path.name for path in shelf.iterdir()] == ["small"]


@pytest.mark.parametrize("place", ["small", "../shelf/small"])
def test_repair_leaves_bundled_datasets_alone(shelf, place):
    (shelf / "small" / "croissant.json").unlink()
    before = sorted(shelf.rglob("*"))
    result = CliRunner().invoke(app, ["verify", place, "--repair"])
    assert result.exit_code == 1
    assert "install the package again" in " ".join(result.output.split())
    assert sorted(shelf.rglob("*")) == before


@pytest.mark.parametrize("command", ["limits", "ceiling"])
def test_limits_do_not_land_beside_bundled_datasets(shelf, command):
    result = CliRunner().invoke(
        app, [command, "../shelf/small", "--columns", "2", "--workers", "0", "--quiet"]
    )
    assert isinstance(result.exception, OutputError)
    assert "--out" in str(result.exception)
    assert [path.name for path in shelf.iterdir()] == ["small"]


def test_a_copy_of_a_bundled_dataset_can_be_repaired(shelf):
    shutil.copytree(shelf / "small", "copy")
    Path("copy/croissant.json").unlink()
    result = CliRunner().invoke(app, ["verify", "copy", "--repair", "--quiet"])
    assert result.exit_code == 0, result.output
    assert Path("copy/croissant.json").is_file()
