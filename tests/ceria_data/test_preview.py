import json
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ceria_data.dataset import Dataset, open_dataset
from ceria_data.pictures import _edges, binned, choose_samples, contact_sheet_png, histograms_png
from ceria_data.preview import _clearest, contact_sheet, draw_previews, html_page
from ceria_data.schema import SPECIES
from ceria_data.thumbnails import _classes
from tests.ceria_data.make_tiny import make_tiny

KILOBYTE = 1000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return open_dataset(make_tiny(tmp_path_factory.mktemp("preview") / "tiny", structures=6))


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preview") / "eight"
    return open_dataset(make_tiny(folder, structures=8, splits={"train": 8}))


def grey(png):
    return np.asarray(Image.open(BytesIO(png)).convert("L"), dtype=float)


def test_previews_are_equal_byte_for_byte_for_equal_datasets(tmp_path):
    folders = [make_tiny(tmp_path / name, structures=3) for name in "ab"]
    written = [draw_previews(open_dataset(folder)) for folder in folders]
    assert [p.name for p in written[0]] == [p.name for p in written[1]]
    assert len(written[0]) == 6
    for a, b in zip(*written, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
        assert a.stat().st_size < 400 * KILOBYTE
    pictures = [path for path in written[0] if path.suffix == ".png"]
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.info.keys() <= {"transparency"}, "a date or a version is in the file"


def test_another_count_changes_the_contact_sheet(tiny):
    samples = choose_samples(tiny, 2)
    before = contact_sheet_png(tiny, samples)

    class Changed(type(samples[0])):
        @property
        def counts(self):
            return super().counts[::-1]

    changed = [Changed(tiny, samples[0].parameters), samples[1]]
    assert contact_sheet_png(tiny, changed) != before


def test_contact_sheet_of_noisy_large_images_stays_small(tiny):
    rng = np.random.default_rng(1)
    samples = choose_samples(tiny, 12)

    class Noisy(type(samples[0])):
        @property
        def counts(self):
            return rng.poisson(10, (200, 200)).astype(np.uint16)

    sheet = contact_sheet_png(tiny, [Noisy(tiny, sample.parameters) for sample in samples])
    assert len(sheet) < 400 * KILOBYTE


def test_brighter_counts_are_drawn_brighter_and_upright(tiny):
    ny, nx = tiny.field.shape

    class Corner(type(tiny[0])):
        @property
        def counts(self):
            counts = np.zeros((ny, nx), np.uint16)
            counts[: ny // 2, : nx // 2] = 9  # first rows and columns: top left
            return counts

    picture = grey(contact_sheet_png(tiny, [Corner(tiny, tiny[0].parameters)]))
    dark = np.argwhere(picture < 5)  # the rest of the panel and the scale bar's ground
    (top, left), (bottom, right) = dark.min(axis=0), dark.max(axis=0)
    quarter_y, quarter_x = (bottom - top) // 4, (right - left) // 4
    assert picture[top + quarter_y, left + quarter_x] > 250
    assert picture[top + quarter_y, right - quarter_x] < 5
    assert picture[bottom - quarter_y, right - quarter_x] < 5


def test_samples_are_chosen_from_every_split_and_kind(tiny):
    chosen = choose_samples(tiny, 7)
    assert {s.parameters["split"] for s in chosen} == {"train", "validation", "test"}
    structures = tiny.structures.set_index("structure")["kind"]
    train = [s for s in chosen if s.parameters["split"] == "train"]
    assert len({structures[s.parameters["structure"]] for s in train}) == len(train) == 3
    assert len(choose_samples(tiny, 100)) == len(tiny)
    places = [s.parameters["split"] for s in choose_samples(tiny, 100)]
    assert places == sorted(places, key=["train", "validation", "test"].index)


@pytest.mark.parametrize("rare", range(8))
def test_a_rare_kind_is_among_the_first_chosen(eight, rare):
    kinds = ["rod" if row == rare else "cube" for row in eight.structures["structure"]]
    dataset = Dataset(eight.folder, eight.manifest, eight.samples)
    dataset.__dict__["structures"] = eight.structures.assign(kind=kinds)
    chosen = [sample.parameters["structure"] for sample in choose_samples(dataset, 2)]
    assert rare in chosen


def test_thumbnails_keep_pixels_order_and_parameters(tiny):
    draw_previews(tiny)
    table = pq.read_table(tiny.folder / "preview" / "train.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == table.column_names
    pictures = [name for name, kind in features.items() if kind == {"_type": "Image"}]
    assert pictures == ["counts", "Ce_classes", "O_classes"]
    rows = table.to_pylist()
    own = tiny.samples[tiny.samples["split"] == "train"].set_index("sample")
    assert sorted(row["sample"] for row in rows) == list(own.index)
    for row in rows:
        assert row["dose_e_per_A2"] == own.loc[row["sample"], "dose_e_per_A2"]
        drawn = grey(row["counts"]["bytes"])
        counts = tiny[row["sample"]].counts.astype(float)
        assert drawn.shape == counts.shape
        assert np.corrcoef(drawn.ravel(), counts.ravel())[0, 1] > 0.9
        for species, classes in zip(SPECIES, tiny[row["sample"]].occupancy, strict=True):
            painted = np.asarray(Image.open(BytesIO(row[f"{species}_classes"]["bytes"])))
            assert painted.shape == (*classes.shape, 3)
            colours = [np.unique(painted[classes == n], axis=0) for n in np.unique(classes)]
            assert all(len(own) == 1 for own in colours)
            assert len(np.unique(np.concatenate(colours), axis=0)) == len(colours)
            assert not painted[classes == 0].any()


@pytest.mark.parametrize("shape", [(420, 402), (201, 199), (200, 601)])
def test_counts_and_classes_of_a_large_image_are_thumbnails_of_one_size(shape):
    classes = np.random.default_rng(0).integers(0, 15, shape).astype(np.uint8)
    sums, n = binned(classes)
    painted = _classes(classes, 14)
    assert painted.shape == (*sums.shape, 3)
    one = _classes(np.full(shape, 7, dtype=np.uint8), 14)[0, 0]
    middle = classes[n // 2 :: n, n // 2 :: n][: sums.shape[0], : sums.shape[1]]
    assert ((painted == one).all(axis=-1) == (middle == 7)).all()


def test_binning_conserves_electrons():
    counts = np.random.default_rng(0).poisson(3, (420, 402)).astype(np.uint16)
    sums, n = binned(counts)
    assert n == 3
    assert sums.shape == (140, 134)
    assert sums.sum() == counts.sum()


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([3.0, 3.0], {}),
        ([3.0, 3.0], {"log": True}),
        ([30.0, 3000.0], {"log": True}),
        ([0.0, 14.0], {"whole": True}),
        ([-90.0, -45.0], {}),
    ],
)
def test_every_value_falls_into_one_bin(values, options):
    edges = _edges(np.array(values), **options)
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, bins=edges)[0].sum() == len(values)


def test_whole_numbers_lie_in_the_middle_of_their_bins():
    assert list(_edges(np.array([1.0, 3.0]), whole=True)) == [0.5, 1.5, 2.5, 3.5]


def test_page_needs_nothing_from_elsewhere_and_escapes_text(tiny):
    manifest = tiny.manifest | {
        "description": "<script>alert(1)</script> – für CeO₂",
        "warnings": ["dose & defocus"],
        "missing": [{"structure": 1, "number": 1, "error": "x"}],
    }
    page = html_page(Dataset(tiny.folder, manifest, tiny.samples))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "für CeO₂" in page
    assert "dose &amp; defocus" in page
    assert "1 structures could not be simulated" in page
    assert "http" not in page
    assert page.count('src="data:image/png;base64,') == page.count("<img") == 5


def test_datasets_of_one_image_without_columns_in_the_field_are_drawn(tmp_path):
    dataset = open_dataset(make_tiny(tmp_path / "one", structures=1, images=1))
    dataset.__dict__["columns"] = dataset.columns.assign(in_field=False)
    contact_sheet(dataset, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > KILOBYTE
    assert len(draw_previews(dataset)) == 4


def test_a_missing_structure_leaves_a_gap_not_an_error(tmp_path):
    dataset = open_dataset(make_tiny(tmp_path / "gap", structures=4))
    kept = dataset.samples[dataset.samples["structure"] != 0].reset_index(drop=True)
    rest = Dataset(dataset.folder, dataset.manifest, kept)
    for name in ("structures", "columns", "atoms"):
        table: pd.DataFrame = getattr(dataset, name)
        rest.__dict__[name] = table[table["structure"] != 0].reset_index(drop=True)
    assert histograms_png(rest) != histograms_png(dataset)
    assert {sample.parameters["structure"] for sample in _clearest(rest)} <= {1, 2, 3}
    shown = {sample.parameters["structure"] for sample in choose_samples(rest, 12)}
    assert shown == {1, 2, 3}
