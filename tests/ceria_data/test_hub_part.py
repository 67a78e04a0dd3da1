"""Copies that hold some splits only: they say so, and give no zeros for what they lack."""

import pytest

from ceria_data.dataset import open_dataset
from ceria_data.errors import DatasetError, NotADatasetError
from ceria_data.store import PART, read_manifest
from ceria_data.verify import verify
from tests.tiny import contents


@pytest.fixture
def part(hub, on_hub, tiny_folder, repo_id):
    """A copy of the test split, as `pull --split` makes it."""
    hub.hold(repo_id, tiny_folder, "v0.1.0")
    out = on_hub.home / "out"
    pulled = on_hub("pull", repo_id, "--out", out, "--split", "test", "--json")
    assert pulled.code == 0, pulled
    assert pulled.facts["splits"] == ["test"]
    assert not [r for r in hub.requests if "/counts/c/0/" in r or "/volume/c/3/" in r]
    return out


def test_a_split_is_the_same_as_in_the_whole_dataset(part, tiny_folder):
    whole, held = (open_dataset(folder, split="test") for folder in (tiny_folder, part))
    assert len(held) == len(whole) == 4
    for mine, theirs in zip(held, whole, strict=True):
        assert mine.parameters == theirs.parameters
        for array in ("counts", "intensity", "occupancy", "volume"):
            assert (getattr(mine, array) == getattr(theirs, array)).all()
    lacking = contents(tiny_folder).keys() - contents(part).keys()
    assert len(lacking) == 16  # four structures of the training split, in four arrays
    assert all("/c/" in name for name in lacking)


def test_what_is_not_there_is_refused_not_zero(part):
    for split in (None, "train"):
        with pytest.raises(NotADatasetError, match="holds only the split test"):
            open_dataset(part, split=split)
    held = open_dataset(part, split="test")
    for array, row in (("counts", 0), ("volume", 3), ("intensity", slice(6, 10))):
        with pytest.raises(DatasetError, match="is not in this copy"):
            held.read(array, row)
    next(part.glob("data.zarr/counts/c/5/*/*")).unlink()
    with pytest.raises(DatasetError, match="counts/c/5/0/0"):
        open_dataset(part, split="test")


def test_verify_and_push_take_whole_datasets_only(part, on_hub):
    assert "splits were left out" in str(verify(part)[0])
    pushed = on_hub("push", part, "me/part")
    assert pushed.code == 1
    assert "splits were left out" in pushed.err


def test_the_rest_can_be_pulled_later(part, hub, on_hub, tiny_folder, repo_id):
    more = on_hub("pull", repo_id, "--out", part, "--split", "train", "--json")
    assert more.facts["splits"] == ["test", "train"]
    rest = on_hub("pull", repo_id, "--out", part, "--json")
    assert rest.facts["splits"] == "all"
    assert rest.facts["bytes fetched"] == 0
    assert contents(part) == contents(tiny_folder)
    again = on_hub("pull", repo_id, "--out", part, "--split", "test", "--json")
    assert again.facts["splits"] == "all"
    assert not (part / PART).exists()


def test_wrong_splits_and_digests_are_told(hub, on_hub, tiny_folder, repo_id):
    hub.hold(repo_id, tiny_folder, "v0.1.0")
    pulled = on_hub("pull", repo_id, "--split", "tset")
    assert pulled.code == 2
    assert "has no split 'tset'; it has train, test" in pulled.err
    digest = read_manifest(tiny_folder)["content_digest"]
    pulled = on_hub("pull", repo_id, "--split", "test", "--digest", digest)
    assert pulled.code == 2
    assert not list(on_hub.cache.rglob("v*/manifest.json"))
