"""`open_dataset` with datasets of the Hub: a copy in the cache, or one that is pulled now."""

import json

import pytest

from ceria_data.dataset import open_dataset
from ceria_data.errors import HubError, NotADatasetError
from tests.hub_client import answers
from tests.tiny import new_version

SCRIPT = """
import json, sys
from ceria_data import open_dataset
from ceria_data.errors import CeriaError

for repository, split, version in json.loads(sys.argv[1]):
    try:
        ds = open_dataset(repository, split=split, version=version)
        print(json.dumps([ds.manifest["version"], len(ds), int(ds[0].counts.sum())]))
    except CeriaError as error:
        print(json.dumps(str(error)))
"""


def opened(hub, home, *asked):
    """Open datasets one after the other in a new Python, and say what was found."""
    return answers(hub, SCRIPT, json.dumps(asked), home=home)


def test_datasets_of_the_hub_open_by_name_and_version(hub, small, repo_id, tmp_path):
    hub.hold(repo_id, small, "v0.1.0")
    first = open_dataset(small, split="test")
    expected = ["0.1.0", len(first), int(first[0].counts.sum())]
    hub.hold(repo_id, new_version(small, "0.2.0"), "v0.2.0")
    found = opened(
        hub,
        tmp_path,
        [repo_id, "test", "0.1.0"],
        [repo_id, "test", None],
        [f"hf://datasets/{repo_id}@0.1.0", "test", None],
        [repo_id, "test", "0.3.0"],
        ["me/nothing", None, None],
    )
    assert found[0] == found[2] == expected
    assert found[1][0] == "0.2.0"
    assert "has no version 0.3.0" in found[3]
    assert "there is no dataset me/nothing" in found[4]
    hub.calm()
    assert opened(hub, tmp_path, [repo_id, "test", "0.1.0"]) == [expected]
    assert hub.requests == []  # a version never changes, so nobody is asked


def test_a_hub_that_is_down_is_told_with_what_is_in_the_cache(hub, small, repo_id, tmp_path):
    from tests.hub_server import Fault, cut

    hub.hold(repo_id, small, "v0.1.0")
    opened(hub, tmp_path, [repo_id, None, None])
    hub.faults.append(Fault("/refs", cut(-1)))
    (told,) = opened(hub, tmp_path, [repo_id, None, None])
    assert "version 0.1.0 was pulled before" in told


def test_a_version_is_demanded_of_any_dataset(small):
    assert len(open_dataset(small, version="0.1.0")) == 4
    assert open_dataset("ceria-columns-mini", version="1.0.0").manifest["version"] == "1.0.0"
    with pytest.raises(NotADatasetError, match=r"holds version 0\.1\.0, expected 0\.2\.0"):
        open_dataset(small, version="0.2.0")


def test_a_folder_wins_over_the_hub(small, tmp_path, monkeypatch):
    (tmp_path / "user").mkdir()
    small.rename(tmp_path / "user" / "name")
    monkeypatch.chdir(tmp_path)
    assert len(open_dataset("user/name")) == 4


def test_what_is_neither_a_folder_nor_a_repository_is_told():
    with pytest.raises(NotADatasetError, match="not a folder"):
        open_dataset("no-such-folder")
    with pytest.raises(HubError, match="is no repository of a dataset"):
        open_dataset("hf://models/user/name")
