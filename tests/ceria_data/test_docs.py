import json
import re
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

import ceria_data
from ceria_data.config import load_config, recipe_digest
from ceria_data.schema import (
    AMBIGUOUS_SMEAR,
    ARRAYS,
    CEILING,
    FILM_TABLES,
    FORMAT_VERSION,
    LIMITS,
    PAINT_RADIUS,
    TABLES,
)
from tests.ceria_data.make_tiny import make_tiny, manifest_of

ROOT = Path(__file__).parents[2]
CARDS = sorted(ROOT.glob("cards/*/card.md"))
TEXTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("cards/*.md"), *CARDS])


def read(name):
    return (ROOT / name).read_text("utf-8")


def cells(text, header):
    """Rows of the Markdown table that begins with this header line."""
    lines = text[text.index(header) :].splitlines()[2:]
    end = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


@pytest.mark.parametrize(
    "spec", [*TABLES, *FILM_TABLES, LIMITS, CEILING], ids=lambda spec: spec.name
)
def test_format_document_lists_the_columns_of_the_schema(spec):
    section = read("docs/data_format.md").split(f"### {spec.name}.parquet\n")[1]
    assert section.startswith(f"\nA row is {spec.row}.\n")
    expected = [[f"`{c.name}`", c.dtype, c.unit, c.description] for c in spec.columns]
    assert cells(section, "| column | type |") == expected


def test_format_document_lists_the_arrays_of_the_schema():
    expected = [[f"`{a.name}`", f"({', '.join(a.dims)})", a.dtype, a.description] for a in ARRAYS]
    assert cells(read("docs/data_format.md"), "| array | axes |") == expected
    assert f"# Data format, version {FORMAT_VERSION}\n" in read("docs/data_format.md")


def test_format_document_lists_every_key_of_the_manifest_and_every_file(tmp_path):
    text = read("docs/data_format.md")
    keys = manifest_of("tiny", {"train": 1}, 1, [], []).keys() | {"files", "film"}
    rows = cells(text, "| key | content |")
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row[0])} == keys
    listed = {n for row in cells(text, "| file | content |") for n in re.findall("`(.+?)`", row[0])}
    written = {path.name for path in make_tiny(tmp_path / "tiny").iterdir()}
    assert written <= {name.rstrip("/") for name in listed}


def test_endings_of_names_mean_the_units_of_the_glossary():
    units = {row[0].strip("`"): row[1] for row in cells(read("docs/glossary.md"), "| ending |")}
    same = {"e-/Å²": "e⁻/Å²", "Å²/e-": "per e⁻/Å², that is Å²/e⁻"}
    plain = {"1/e-", "pixel"}  # gain, and rows and columns of pixels
    used = set()
    for column in (
        column for spec in (*TABLES, *FILM_TABLES, LIMITS, CEILING) for column in spec.columns
    ):
        if not column.unit or column.unit in plain:
            continue
        ending = max((e for e in units if column.name.endswith(e)), key=len, default=None)
        assert ending, f"{column.name} [{column.unit}] has no ending of the glossary"
        assert units[ending] == same.get(column.unit, column.unit), column.name
        used.add(ending)
    assert used == set(units)


def test_glossary_has_the_words_of_the_schema():
    text = read("docs/glossary.md").lower()
    words = {array.name for array in ARRAYS}
    words |= {dim for array in ARRAYS for dim in array.dims} - {"x", "y"}
    words |= {"site_id", "kind", "split", "dose", "defocus", "mistilt", "ambiguous", "in_field"}
    words |= {"focal_spread", "angular_spread", "zone_axis", "vacancy", "adatom", "support"}
    first = " ".join(re.findall(r"^\| ([^|]+)\|", text, re.M))
    assert {word for word in words if word not in first} == set()


def test_glossary_names_every_kind_of_structure():
    from ceria_data.shapes import KINDS

    row = next(line for line in read("docs/glossary.md").splitlines() if line.startswith("| kind"))
    assert re.search(r": (.+?) \|", row).group(1).split(", ") == list(KINDS)


def test_functions_of_the_pipeline_exist():
    rows = cells(read("docs/pipeline.md"), "| stage | function |")
    names = [name for row in rows for name in re.findall(r"`(\w+\.\w+)`", row[1])]
    assert len(names) > len(rows)
    for name in names:
        module, function = name.split(".")
        assert callable(getattr(import_module(f"ceria_data.{module}"), function)), name


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text("utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.parent.name)
def test_config_beside_a_card_is_that_of_the_dataset(card):
    """Somebody rebuilds the dataset from it, and compares the digests beside it."""
    built = json.loads((card.parent / "build.json").read_text("utf-8"))
    config = load_config(str(card.parent / "config.yaml"))
    assert recipe_digest(config) == built["recipe_digest"]
    assert built["content_digest"] in card.read_text("utf-8")


def test_commands_of_the_readme_are_those_of_the_program():
    from ceria_data.cli import app

    named = set(re.findall(r"^ceria-data ([\w-]+)", read("README.md"), re.M))
    assert named == set(get_command(app).commands)


def test_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", read("README.md"), re.S).group(1)
    exec(code, {})
    out = capsys.readouterr().out
    assert out.startswith("120 ")
    assert "(2, 128, 128)" in out


def test_definition_of_labels_states_the_constants_of_the_schema():
    text = read("cards/label_definition.md")
    assert f"disk of {PAINT_RADIUS} Å" in text
    assert f"farther apart than {AMBIGUOUS_SMEAR} Å" in text


def test_changelog_has_this_version():
    assert f"## {ceria_data.__version__} " in read("CHANGELOG.md")
