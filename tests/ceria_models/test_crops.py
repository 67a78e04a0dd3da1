"""Crops are the same whoever makes them, and their labels lie where the atoms are."""

import json
import pickle

import numpy as np
import pytest
import torch

from ceria_data.dataset import open_dataset
from ceria_data.digest import file_sha256
from ceria_data.errors import DatasetError
from ceria_models.crops import Crops, Views, collate
from ceria_models.decoded import decode_split
from ceria_models.labels import Mask

MASK = Mask(0.6, 0.1)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return decode_split("ceria-columns-mini", "validation", tmp_path_factory.mktemp("cache"))


def views_of(size, other_pixels, dose=(30.0, 3000.0)):
    return Views(size, dose, other_pixels, (0.09, 0.25), 0.03)


def crops_of(split, other_pixels=0.0, dose=(30.0, 3000.0), size=96):
    return Crops(split, views_of(size, other_pixels, dose), MASK, max_count=14, seed=5)


def test_decoded_images_are_the_stored_ones(split):
    ds = open_dataset("ceria-columns-mini", "validation")
    assert len(split) == len(ds)
    for row in (0, 7, len(ds) - 1):
        np.testing.assert_array_equal(split.intensity(row), ds[row].intensity)
        own = ds[row].columns
        own = own[own["occupancy"] > 0]
        np.testing.assert_array_equal(split.columns(row).occupancy, own["occupancy"])
        np.testing.assert_array_equal(split.columns(row).x, own["x_A"])


def test_a_damaged_shard_is_refused(tmp_path):
    import shutil

    from ceria_data.bundled import dataset_folder

    copy = tmp_path / "copy"
    shutil.copytree(dataset_folder("ceria-columns-mini"), copy)
    rows = open_dataset(copy, "validation").samples["sample"]
    shards = open_dataset(copy).arrays["intensity"].shards
    shard = copy / f"data.zarr/intensity/c/{rows.iloc[0] // shards[0]}/0/0"
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(DatasetError, match="differs from the manifest"):
        decode_split(copy, "validation", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy*"))


def changed_byte(file, seal):
    content = bytearray(file.read_bytes())
    content[-1000] ^= 1
    file.write_bytes(content)


def cut_short(file, seal):
    file.write_bytes(file.read_bytes()[:-1000])


def fewer_images(file, seal):
    """Whole, and sealed, but not of this split."""
    np.save(file, np.load(file)[:-1])
    seal.write_text(json.dumps({"bytes": file.stat().st_size, "sha256": file_sha256(file)}))


@pytest.mark.parametrize(
    "damage",
    [
        changed_byte,
        cut_short,
        fewer_images,
        lambda file, seal: file.write_bytes(b""),
        lambda file, seal: seal.unlink(),
        lambda file, seal: seal.write_text("[1]"),
        lambda file, seal: seal.write_text("{"),
    ],
)
def test_decoded_images_that_were_changed_are_decoded_anew(tmp_path, damage):
    made = decode_split("ceria-columns-mini", "validation", tmp_path)
    expected = np.load(made.file)
    used_again = []
    decode_split("ceria-columns-mini", "validation", tmp_path, lambda *_: used_again.append(1))
    assert not used_again
    seal = made.file.with_suffix(".json")
    damage(made.file, seal)
    decoded = []
    split = decode_split("ceria-columns-mini", "validation", tmp_path, lambda *_: decoded.append(1))
    assert decoded
    np.testing.assert_array_equal(np.load(split.file), expected)
    assert sorted(file.suffix for file in made.file.parent.iterdir()) == [".json", ".npy"]


def test_a_crop_depends_on_its_number_only(split):
    crops = crops_of(split, other_pixels=0.5)
    again = pickle.loads(pickle.dumps(crops))
    for key in ((0, 3), (11, 3), (12, 40)):
        for one, other in zip(vars(crops[key]).values(), vars(again[key]).values(), strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(crops[0, 3].image, crops[1, 3].image)


@pytest.mark.parametrize("other_pixels", [0.0, 1.0])
def test_labels_lie_where_the_atoms_are(split, other_pixels):
    """At 60 Å overfocus columns are bright: light and label have the same centre."""
    crops = crops_of(split, other_pixels, dose=(1e5, 1e5))
    rows = np.flatnonzero(split.samples["defocus_A"].between(-75, -50))[:40]
    moment, total = np.zeros(2), 0.0
    for number, row in enumerate(rows):
        crop = crops[number, int(row)]
        light = crop.image[0].clamp_min(0) * (crop.probability[0] > 0.5)
        moment += [float((light * crop.offset[0, axis]).sum()) for axis in (0, 1)]
        total += float(light.sum())
    assert np.abs(moment / total).max() < 0.01


def test_offsets_turn_with_the_crop(split):
    """Every pixel of a column points at one place, however the crop was turned."""
    crops = crops_of(split, other_pixels=0.3)
    for number in range(24):
        crop = crops[number, number % len(split)]
        near = crop.probability[0] > 0.5
        y, x = torch.nonzero(near, as_tuple=True)
        target = 0.2 * torch.stack([y, x]) + crop.offset[0][:, y, x]
        distance = torch.hypot(*crop.offset[0][:, y, x])
        assert float(distance.max()) < 0.65
        keys = torch.round(target * 50).T
        _, members = torch.unique(keys, dim=0, return_counts=True)
        assert float(members.float().median()) > 10


def test_crops_of_other_pixels_have_the_same_size_and_dose(split):
    crops = crops_of(split, other_pixels=1.0, dose=(300.0, 300.0))
    batch = collate([crops[n, n] for n in range(12)])
    assert batch.image.shape == (12, 2, 96, 96)
    assert float(batch.image[:, 1].abs().max()) < 0.15
    assert float(batch.image[:, 0].mean().abs()) < 0.05


@pytest.mark.parametrize("seed", [1, 2])
def test_the_largest_crop_that_fits_is_always_whole(split, seed):
    size = max(n for n in range(16, 129) if views_of(n, 1.0).smallest_image(0.2) <= 128)
    assert size > 118
    crops = Crops(split, views_of(size, 1.0), MASK, max_count=14, seed=seed)
    assert {crops[n, n % len(split)].image.shape for n in range(150)} == {(2, size, size)}
    larger = Crops(split, views_of(size + 3, 1.0), MASK, max_count=14, seed=seed)
    assert {larger[n, n % len(split)].image.shape[1] for n in range(150)} != {size + 3}
