import hashlib
import json
import logging

import mlcroissant
import pytest

from ceria_data.croissant import CROISSANT, croissant, write_croissant
from ceria_data.dataset import open_dataset
from ceria_data.schema import TABLES
from tests.ceria_data.make_tiny import make_tiny

# Both come from inside mlcroissant.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    dataset = open_dataset(make_tiny(tmp_path_factory.mktemp("croissant") / "tiny"))
    write_croissant(dataset)
    return dataset


@pytest.fixture(scope="module")
def described(tiny):
    logging.getLogger("absl").setLevel(logging.ERROR)
    return mlcroissant.Dataset(tiny.folder / CROISSANT)


def test_description_is_valid(described):
    assert described.metadata.ctx.issues.errors == set()
    warnings = described.metadata.ctx.issues.warnings
    # A dataset is not published when it is built, so that no date can be given.
    assert len(warnings) == 1
    assert "datePublished" in str(warnings)


def test_a_broken_description_is_found_by_the_validator(tiny):
    content = croissant(tiny, {})
    assert content["recordSet"]
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(jsonld=content)  # fields whose files are not listed


@pytest.mark.parametrize("table", ["samples", "structures", "columns", "atoms"])
def test_records_are_the_rows_of_the_tables(tiny, described, table):
    rows = getattr(tiny, table)
    records = list(described.records(table))
    assert len(records) == len(rows)
    for record, (_, row) in zip(records, rows.iterrows(), strict=True):
        plain = {name.split("/")[1]: value for name, value in record.items()}
        assert plain.keys() == set(rows.columns)
        for name in rows.columns.intersection(["sample", "structure", "dose_e_per_A2", "x_A"]):
            assert plain[name] == pytest.approx(row[name])


def test_every_column_of_the_schema_is_a_field_with_its_unit(tiny):
    content = json.loads((tiny.folder / CROISSANT).read_text("utf-8"))
    fields = {f["@id"]: f for r in content["recordSet"] for f in r["field"]}
    assert list(fields) == [f"{t.name}/{c.name}" for t in TABLES for c in t.columns]
    assert fields["samples/defocus_A"]["description"].endswith("[Å]")
    assert fields["columns/ambiguous"]["dataType"] == "sc:Boolean"


def test_checksums_are_those_of_the_files(tiny):
    content = json.loads((tiny.folder / CROISSANT).read_text("utf-8"))
    files = [f for f in content["distribution"] if f["@type"] == "cr:FileObject"]
    assert {f["@id"] for f in files} == {f"{t.name}.parquet" for t in TABLES} | {"config.yaml"}
    for file in files:
        content = (tiny.folder / file["contentUrl"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["contentSize"] == f"{len(content)} B"


def test_writing_again_writes_the_same_bytes(tiny):
    before = (tiny.folder / CROISSANT).read_bytes()
    write_croissant(tiny)
    assert (tiny.folder / CROISSANT).read_bytes() == before
