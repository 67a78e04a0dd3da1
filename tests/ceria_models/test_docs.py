"""What docs/models.md tells people to type works."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from ceria_data import cli as data_cli
from ceria_data.dataset import open_dataset
from ceria_models import cli as models_cli
from ceria_models.model_places import DEFAULT, bundled_models
from ceria_models.training_config import load_training_config
from ceria_models.weights import from_pretrained, save_model
from tests.ceria_models.make_model import fresh
from tests.tiny import TINY

ROOT = Path(__file__).parents[2]
needs_bundle = pytest.mark.skipif(
    DEFAULT not in bundled_models(), reason=f"this checkout has no weights of {DEFAULT}"
)


def read(name):
    return (ROOT / name).read_text("utf-8")


@needs_bundle
def test_the_bundled_net_counts_what_stands_there():
    """Not how well, which its card says: that weights, decoding and calibration fit together."""
    from ceria_models.evaluation import evaluate
    from ceria_models.evaluation_run import program_of

    program = program_of(from_pretrained(DEFAULT))
    test = open_dataset("ceria-columns-mini", "test")
    found = evaluate(program, test, program=DEFAULT, doses=(1000.0,), images=12)
    assert found.figure("f1", "Ce", 1000.0).value > 0.7
    assert found.figure("exact", "Ce", 1000.0).value > 0.3


def call(monkeypatch, capsys, line):
    """Run one command line in this process."""
    words = line.split()
    monkeypatch.setattr(sys, "argv", words)
    program = {"ceria-data": data_cli.main, "ceria-models": models_cli.main}[words[0]]
    with pytest.raises(SystemExit) as ended:
        program()
    out, err = capsys.readouterr()
    assert ended.value.code in (0, None), f"{line}\n{err}"
    return out


def test_fine_tuning_as_the_tutorial_says_in_miniature(tmp_path, monkeypatch, capsys):
    """Every command of the section, with a dataset of a second and a training of two steps."""
    section = read("docs/models.md").split("## Another microscope\n")[1].split("\n## ")[0]
    commands = re.findall(r"`(ceria-(?:data|models) .+?)`", section)
    done = [" ".join(command.split()[:2]) for command in commands if " --" in command]
    assert done == [
        "ceria-data build", "ceria-models train", "ceria-models evaluate", "ceria-models card",
        "ceria-models predict",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CERIA_HOME", str(tmp_path / "home"))
    splits = "  - {name: validation, structures: 1, phonons: 1}\n  - {name: test"
    Path("mine.yaml").write_text(TINY.replace("  - {name: test", splits))
    config = load_training_config(DEFAULT).model_dump(mode="json")
    config["name"] = "mine"
    config["views"] |= {"crop": 16, "dose_e_per_A2": [100.0, 1000.0], "other_pixels": 0.0}
    config["schedule"] |= {"crops": 4, "batch": 2}
    Path("mine-training.yaml").write_text(yaml.safe_dump(config))
    if DEFAULT not in bundled_models():
        save_model(fresh(**config["net"]), Path(DEFAULT))  # a folder of that name
    more = {"build": " --workers 0", "train": " --workers 0", "evaluate": " --stability 0",
            "predict": " --force"}  # fmt: skip
    for command in commands:
        if " --" not in command:
            continue
        verb = command.split()[1]
        if verb == "predict":
            counts = open_dataset("mine", "test")[0].counts
            import tifffile

            tifffile.imwrite("film.tif", np.kron(counts, np.ones((2, 2), dtype=counts.dtype)))
        call(monkeypatch, capsys, f"{command}{more.get(verb, '')} --quiet")
    card = Path("mine-run/model/README.md").read_text("utf-8")
    assert "| tiny | 0.1.0 | test |" in card
    assert from_pretrained("mine-run/model").config.training.dataset == "tiny"
    assert Path("found/columns.parquet").is_file()


def test_functions_of_the_pipeline_exist():
    from importlib import import_module

    names = re.findall(r"^\| \w+ \| `(\w+(?:\.\w+)?)` \|", read("docs/models.md"), re.M)
    assert len(names) > 5
    for name in names:
        module, _, function = name.partition(".")
        found = import_module(f"ceria_models.{module}")
        assert not function or hasattr(found, function), name


def test_commands_of_the_documents_are_those_of_the_program():
    from typer.main import get_command

    known = set(get_command(models_cli.app).commands)
    for name in ("README.md", "docs/models.md", "docs/leaderboard.md", "CHANGELOG.md", "Makefile"):
        assert set(re.findall(r"ceria-models ([a-z]+)", read(name))) <= known, name
