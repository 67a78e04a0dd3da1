import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard

from ceria_data.card import dataset_card
from ceria_data.config import load_config
from ceria_data.dataset import Dataset, open_dataset
from tests.ceria_data.make_tiny import make_tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return open_dataset(make_tiny(tmp_path_factory.mktemp("card") / "tiny"))


@pytest.fixture(scope="module")
def text(tiny):
    return dataset_card(tiny)


def with_manifest(dataset, **changes):
    return Dataset(dataset.folder, dataset.manifest | changes, dataset.samples)


def rows_after(text, header):
    """Cells of the Markdown table whose header begins so."""
    lines = text[text.index(header) :].splitlines()
    table = lines[: next((i for i, line in enumerate(lines) if not line.startswith("|")), None)]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert len({len(row) for row in cells}) == 1, "a row has another number of cells"
    return {row[0]: row[1:] for row in cells[2:]}


def test_front_matter_is_what_the_hub_takes(text):
    head = DatasetCard(text).data
    assert head.license == "cc-by-4.0"
    assert head.size_categories == ["n<1K"]
    assert head.task_categories == ["image-segmentation"]
    plain = yaml.safe_load(text.split("---\n")[1])
    assert [config["config_name"] for config in plain["configs"]] == [
        "preview",
        "samples",
        "structures",
        "columns",
        "atoms",
    ]
    names = [f["split"] for config in plain["configs"] for f in config["data_files"]]
    assert all(re.fullmatch(r"\w+", name) for name in names)
    assert names[:3] == ["train", "validation", "test"]


def test_counts_by_split_and_kind_are_those_of_the_tables(tiny, text):
    splits = rows_after(text, "| split | structures")
    assert {name: row[:3] for name, row in splits.items()} == {
        "train": ["2", "4", "2"],
        "validation": ["1", "2", "2"],
        "test": ["1", "2", "2"],
    }
    assert splits["train"][3] == "17.7 %"  # 0.25 / sqrt(2)
    kinds = rows_after(text, "| kind |")
    assert kinds == {
        "cube": ["0", "1", "0"],
        "octahedron": ["1", "0", "0"],
        "slab_flat": ["1", "0", "1"],
    }
    dose = tiny.samples.groupby("split")["dose_e_per_A2"].agg(["min", "max"])
    shown = rows_after(text, "| quantity | train")["dose (e⁻/Å²)"]
    for split, cell in zip(("train", "validation", "test"), shown, strict=True):
        assert [float(n) for n in cell.split(" to ")] == pytest.approx(dose.loc[split], rel=1e-3)


def test_occupancies_are_counted_in_the_field_by_hand(text):
    # make_tiny: Ce columns of 3 and 1 atoms; O columns of 2, 0 and 2, one more outside.
    assert rows_after(text, "| atoms in the column") == {
        "0": ["0", "4"],
        "1": ["4", "0"],
        "2": ["0", "8"],
        "3": ["4", "0"],
    }
    facts = rows_after(text, "| columns in the field")
    assert facts["all"] == ["8", "12"]
    assert facts["with vacancies"] == ["4", "8"]
    assert facts["emptied"] == ["0", "4"]
    assert facts["with adatoms"] == ["0", "4"]


def test_every_drawn_quantity_is_listed_once_with_its_unit(tiny, text):
    listed = rows_after(text, "| quantity | unit |")
    keys = {"sample", "structure", "particle", "number", "frame", "camera_seed", "split"}
    assert {name.strip("`") for name in listed} == (
        set(tiny.samples.columns) | set(tiny.structures.columns)
    ) - keys
    assert listed["`defocus_A`"][0] == "Å"
    low, high = map(float, listed["`defocus_A`"][1].split(" to "))
    assert (low, high) == pytest.approx(
        (tiny.samples["defocus_A"].min(), tiny.samples["defocus_A"].max()), rel=1e-5
    )


def test_identity_and_cost_are_on_the_card(tiny, text):
    for key in ("recipe_digest", "labels_digest", "content_digest"):
        assert f"`{tiny.manifest[key]}`" in text
    assert "1.5 core seconds (optics 0.5 s, scattering 1.0 s)" in text
    assert "simd: X86_V3" in text
    assert "arXiv:2601.17046" in text
    for heading in ("Motivation", "Composition", "Intended use", "Limits", "Maintenance"):
        assert f"\n## {heading}\n" in text
    assert "\n\n\n" not in text


def test_pictures_named_on_the_card_are_those_that_are_drawn(tiny, text):
    from ceria_data.preview import HISTOGRAMS, LABELS, SHEET

    named = set(re.findall(r"\]\((preview/[^)]+)\)", text))
    assert named == {f"preview/{name}" for name in (SHEET, LABELS, HISTOGRAMS)}


def test_reduced_physics_and_small_fields_are_said_first(tiny, text):
    first = text[: text.index("![Counts")]
    assert "fewer than 4 phonon configurations in train, validation, test" in first
    assert "Small field of 4.8 × 6.4 Å: 17% of the simulated columns lie outside it." in first
    splits = {name: facts | {"phonons": 8} for name, facts in tiny.manifest["splits"].items()}
    assert "Reduced physics" not in dataset_card(with_manifest(tiny, splits=splits))


def test_warnings_and_missing_structures_are_named(tiny):
    error = "ValueError: bad | <b>\nline two"
    card = dataset_card(
        with_manifest(
            tiny,
            warnings=["optics.C30_um reaches 1300 µm"],
            missing=[{"structure": 3, "number": 2000000, "error": error}],
        )
    )
    assert "- optics.C30_um reaches 1300 µm\n" in card
    assert "- Missing: structure 3 (number 2000000) could not be simulated" in card
    assert "(ValueError: bad &#124; &lt;b> line two)" in card


def test_splits_without_a_single_image_come_last_with_zeros(tiny):
    splits = {"gone": {"structures": 0, "samples": 0, "phonons": 8}} | tiny.manifest["splits"]
    card = dataset_card(with_manifest(tiny, splits=splits))
    assert list(rows_after(card, "| split | structures"))[-1] == "gone"
    assert rows_after(card, "| split | structures")["gone"][:2] == ["0", "0"]
    assert rows_after(card, "| quantity | train")["dose (e⁻/Å²)"][-1] == "-"


def test_versions_written_down_are_listed_and_the_own_one_is_among_them(tiny):
    known = dataset_card(with_manifest(tiny, name="ceria-columns-v1", version="1.0.0"))
    assert known.count("| 1.0.0 |") == 1
    assert "| 1.0.0 | The first version. |" in known
    other = dataset_card(with_manifest(tiny, name="ceria-columns-v1", version="7.0.0 | x"))
    other = other.split("## Maintenance")[1]
    assert "| 1.0.0 | The first version. |" in other
    assert "| 7.0.0 &#124; x | this one" in other


def test_presets_have_their_version_written_down():
    known = yaml.safe_load((ROOT / "cards/versions.yaml").read_text("utf-8"))
    for name, versions in known.items():
        assert load_config(name).version == list(versions)[-1]


def test_card_does_not_depend_on_the_order_of_manifest_keys(tiny, text):
    shuffled = json.loads(json.dumps(tiny.manifest, sort_keys=True))
    backwards = dict(reversed(shuffled.items()))
    for key in ("splits", "software", "machine", "engine"):
        backwards[key] = dict(reversed(shuffled[key].items()))
    backwards["cost"]["by_stage"] = dict(reversed(shuffled["cost"]["by_stage"].items()))
    assert dataset_card(Dataset(tiny.folder, backwards, tiny.samples)) == text


def test_one_image_unicode_and_an_integrating_camera(tmp_path):
    name = 'CeO₂: "größer" #1'
    folder = make_tiny(tmp_path / "odd", structures=1, images=1, camera="integrating", name=name)
    card = dataset_card(open_dataset(folder))
    assert DatasetCard(card).data.pretty_name == f"{name} 1.0.0"
    assert f"# {name} 1.0.0\n" in card
    assert "There is no test split" in card
    assert "each has 1 image with" in card
    listed = rows_after(card, "| quantity | unit |")
    assert listed["`camera`"][1] == "integrating"
    assert listed["`mtf_half`"][1] == "0.6"
    assert 'split="train"' in card


def test_columns_above_the_last_class_are_counted(tiny):
    card = dataset_card(with_manifest(tiny, max_count=2))
    assert "4 columns hold more than K = 2" in card
    assert "hold more than K" not in dataset_card(tiny)


def test_example_on_the_card_runs(tiny, text):
    pytest.importorskip("ceria_data").open_dataset  # noqa: B018
    code = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    names = {}
    exec(code.replace('"DIR"', repr(str(tiny.folder))), names)
    assert names["sample"].counts.shape == tiny.field.shape
