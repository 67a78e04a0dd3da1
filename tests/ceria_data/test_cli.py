import json
import subprocess
import sys
from pathlib import Path

import pytest

from ceria_data.cli import app
from ceria_data.errors import CeriaError
from ceria_data.store import read_manifest, write_manifest
from ceria_data.terminal import run
from tests.tiny import TINY


@pytest.fixture
def ceria_data(monkeypatch, capsys):
    """Run the command in this process; return exit code, standard output and error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ceria-data", *map(str, arguments)])
        code = run(app, CeriaError)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_build_prints_where_everything_is(ceria_data, config, tmp_path):
    code, out, _ = ceria_data("build", config, "--out", tmp_path / "d", "--workers", 0, "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["images"] == 12
    for key in ("dataset", "card", "preview"):
        assert Path(facts[key]).exists()


BAD_CONFIGS = {
    "an unknown key": ("seed: 11", "seed: 11\ndose_e_per_A: 3", "dose_e_per_A2"),
    "a wrong scale": ("sampling_A: 0.25}", "sampling_A: 20}", "20 Å/pixel"),
    "an empty range": ("integers: [2, 3]", "integers: [3, 2]", "3"),
    "a negative dose": ("dose_e_per_A2: 200", "dose_e_per_A2: -5", "-5"),
    "an unknown engine": (
        "padding_A: 3.0",
        "padding_A: 3.0, engine: batchd",
        "scattering.engine is 'batchd'; expected 'batched', 'batched_mkl' or 'abtem'",
    ),
    "a structure that does not fit": ("seed: 11", "seed: 11\nallow_cropping: false", "cropping"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_a_bad_config_ends_with_one_clear_line(ceria_data, tmp_path, case):
    old, new, expected = BAD_CONFIGS[case]
    (tmp_path / "bad.yaml").write_text(TINY.replace(old, new))
    code, out, err = ceria_data(
        "build", tmp_path / "bad.yaml", "--out", tmp_path / "d", "--workers", 0
    )
    assert code == 2
    assert out == ""
    assert expected in err
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


BAD_FLAGS = {
    "no such preset": (["build", "demmo", "--out", "d"], "did you mean demo"),
    "too little memory for a wave": (
        ["build", "demo", "--out", "d", "--batch-memory", "0.001"],
        "allow a batch more memory",
    ),
    "a negative memory": (["build", "demo", "--out", "d", "--batch-memory", "-1"], "0.001"),
    "no memory for the limits": (
        ["limits", "ceria-columns-mini", "--out", "d", "--batch-memory", "0.001"],
        "allow a batch more memory",
    ),
    "no GPU": (["build", "demo", "--out", "d", "--device", "gpu"], "--device gpu"),
    "another device": (["build", "demo", "--out", "d", "--device", "tpu"], "expected cpu or gpu"),
    "another cluster": (["build", "demo", "--out", "d", "--cluster", "pbs"], "expected slurm"),
    "no parent": (
        ["build", "demo", "--out", "no/d", "--workers", "0"],
        "make it first",
    ),
    "no dataset": (["info", "."], "manifest.json is missing"),
    "no folder": (["verify", "nowhere"], "not a folder"),
    "no folder to compare": (["compare", "nowhere", "nowhere"], "not a folder"),
    "an unknown command": (["bild"], "No such command"),
    "no scheduler": (
        ["build", "demo", "--out", "d", "--scheduler", "tcp://127.0.0.1:9"],
        "no Dask scheduler answers",
    ),
}


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_bad_flags_end_with_code_2_and_write_nothing(ceria_data, tmp_path, monkeypatch, case):
    arguments, expected = BAD_FLAGS[case]
    monkeypatch.chdir(tmp_path)
    code, _, err = ceria_data(*arguments)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept(ceria_data, config, tiny):
    code, _, err = ceria_data("build", config, "--out", tiny, "--workers", 0)
    assert code == 2
    assert "--overwrite" in err


def test_verify_ends_0_or_1(ceria_data, tiny, tmp_path):
    assert ceria_data("verify", tiny)[0] == 0
    (tiny / "stray").write_text("x")
    code, out, _ = ceria_data("verify", tiny, "--json")
    assert code == 1
    assert json.loads(out)["problems"] == ["stray: is not in the manifest"]
    (tmp_path / "empty").mkdir()
    assert ceria_data("verify", tmp_path / "empty")[0] == 1


def test_a_newer_format_is_refused_by_name(ceria_data, tiny):
    write_manifest(tiny, read_manifest(tiny) | {"format_version": 2})
    code, _, err = ceria_data("info", tiny)
    assert code == 2
    assert "format version 2; this version of ceria reads up to 1" in err
    assert ceria_data("verify", tiny)[0] == 1


@pytest.mark.parametrize(
    "name",
    [
        "data.zarr/counts/c/0/0/0",
        "columns.parquet",
        "README.md",
        "croissant.json",
        "data.zarr/zarr.json",
    ],
)
def test_repair_makes_a_damaged_file_again(ceria_data, tiny, name):
    path = tiny / name
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    code, out, _ = ceria_data("verify", tiny, "--repair", "--json")
    assert json.loads(out)["made again"] == [name]
    assert code == 0
    assert path.read_bytes() == before


def test_info_plan_preview_regenerate_and_compare_run(ceria_data, config, tiny, tmp_path):
    assert "labels_digest" in ceria_data("info", tiny)[1]
    code, out, _ = ceria_data("plan", config, "--json")
    assert code == 0
    assert json.loads(out)["images"] == 12
    assert ceria_data("preview", tiny, "--out", tmp_path / "sheet.png")[0] == 0
    assert ceria_data("preview", tiny, "--html", "--out", tmp_path / "page.html")[0] == 0
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"
    assert "<html" in (tmp_path / "page.html").read_text()
    assert ceria_data("regenerate", tiny, "--sample", 2)[0] == 0
    assert ceria_data("compare", tiny, tiny)[0] == 0


def test_quiet_prints_nothing(ceria_data, tiny):
    assert ceria_data("verify", tiny, "--quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("hidden", "command", "line"),
    [
        ("abtem", ["build", "demo", "--out", "d"], "pip install 'ceria[generate]'"),
        ("dask_jobqueue", ["build", "demo", "--out", "d", "--cluster", "slurm"], "ceria[cluster]"),
    ],
)
def test_a_missing_extra_is_named(tmp_path, hidden, command, line):
    code = (
        f"import sys; sys.modules[{hidden!r}] = None; sys.argv = ['ceria-data', *{command!r}];"
        "from ceria_data.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert line in done.stderr
    assert list(tmp_path.iterdir()) == []


GENERATOR = ("abtem", "ase", "cupy", "dask", "distributed")


@pytest.mark.parametrize(
    "module",
    [
        "ceria_models",
        "ceria_data.dataset",
        "ceria_data.targets",
        "ceria_data.detector",
        "ceria_data.film_zarr",
        "ceria_data.preset_from",
    ],
)
def test_readers_need_no_generator(module):
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({GENERATOR!r})); import {module};"
        f"assert not any(sys.modules[m] for m in {GENERATOR!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_the_engine_with_mkl_imports_pytorch():
    code = "import sys; import ceria_data.build; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_dataset_is_verified_without_the_generator(tiny_folder):
    hidden = (*GENERATOR, "threadpoolctl")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({hidden!r}));"
        f"sys.argv = ['ceria-data', 'verify', {str(tiny_folder)!r}];"
        "from ceria_data.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_dataset_is_read_without_the_generator(tiny_folder):
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({GENERATOR!r}));"
        "import ceria_data.ceiling, ceria_data.counting, ceria_data.observer;"
        "from ceria_data import open_dataset;"
        f"print(open_dataset({str(tiny_folder)!r}, 'test')[0].counts.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "(24, 28)"


@pytest.mark.parametrize(
    "command",
    [
        ["preview", "{d}", "--out", "{d}/sheet.png"],
        ["preview", "{d}", "--html", "--out", "{d}/page.html"],
        ["preview", "{d}", "--out", "page.html"],
        ["preview", "{d}", "--html", "--out", "sheet.png"],
        ["limits", "{d}", "--out", "{d}/limits", "--workers", "0"],
        ["ceiling", "{d}", "--out", "{d}/ceiling", "--workers", "0"],
        ["build", "demo", "--out", "{d}/demo", "--workers", "0"],
    ],
    ids=" ".join,
)
def test_nothing_is_written_into_a_dataset_or_under_a_wrong_name(
    ceria_data, tiny, tmp_path, monkeypatch, command
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, _, err = ceria_data(*(part.format(d=tiny) for part in command))
    assert code == 2
    assert "error:" in err
    assert sorted(tmp_path.rglob("*")) == before


def test_plan_warns_as_the_build_would(ceria_data, config):
    warnings = json.loads(ceria_data("plan", config, "--json")[1])["warnings"]
    assert any("slice_thickness_A" in warning for warning in warnings)


def test_a_dataset_without_manifest_cannot_be_repaired_but_is_reported(ceria_data, tiny):
    (tiny / "manifest.json").unlink()
    code, _, err = ceria_data("verify", tiny, "--repair")
    assert code == 1
    assert "no repair" in err
