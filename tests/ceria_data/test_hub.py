"""Datasets to the Hub and back, with the real client and a Hub on the loopback interface."""

import json
import shutil

import pytest

from ceria_data.dataset import open_dataset
from ceria_data.store import read_manifest
from ceria_data.verify import verify
from tests.hub_client import fresh
from tests.hub_server import Blob
from tests.tiny import build_tiny, contents, new_version, reseal, tiny_config


@pytest.fixture(scope="session")
def other_folder(tmp_path_factory):
    """A dataset of the same name and version, with other particles."""
    config = tiny_config(("seed: 11", "seed: 12"), ("structures: 4", "structures: 1"))
    return build_tiny(tmp_path_factory.mktemp("other") / "tiny", config)


def writes(hub):
    return [request for request in hub.requests if not request.startswith(("GET", "HEAD"))]


def test_a_dataset_goes_to_the_hub_and_comes_back_the_same(hub, tiny_folder, repo_id, tmp_path):
    pushed = fresh(hub, "push", tiny_folder, repo_id, "--json", home=tmp_path)
    assert pushed.code == 0, pushed
    assert pushed.facts["tag"] == "v0.1.0"
    assert list(hub.repository(repo_id).tags) == ["v0.1.0"]
    pulled = fresh(hub, "pull", f"{repo_id}@0.1.0", "--json", home=tmp_path)
    assert pulled.code == 0, pulled
    folder = tmp_path / "ceria" / "pulled" / "datasets" / repo_id.replace("/", "--") / "v0.1.0"
    assert pulled.facts["dataset"] == str(folder)
    assert contents(folder) == contents(tiny_folder)
    assert verify(folder) == []
    assert len(open_dataset(folder, split="test")) == 4
    for digest in ("labels_digest", "content_digest"):
        assert pulled.facts[digest] == read_manifest(tiny_folder)[digest]


def test_a_second_push_does_nothing(hub, on_hub, tiny_folder, repo_id):
    assert on_hub("push", tiny_folder, repo_id).code == 0
    commits = dict(hub.repository(repo_id).commits)
    hub.calm()
    again = on_hub("push", tiny_folder, repo_id, "--json")
    assert again.code == 0, again
    assert again.facts["state"] == "there already, nothing done"
    assert writes(hub) == []
    assert hub.repository(repo_id).commits == commits


@pytest.mark.parametrize("change", ["a particle", "a picture"])
def test_a_version_with_other_content_is_refused(hub, on_hub, tiny, other_folder, repo_id, change):
    repository = hub.hold(repo_id, tiny, "v0.1.0")
    tags, commits = dict(repository.tags), dict(repository.commits)
    if change == "a picture":
        (tiny / "preview" / "labels.png").write_bytes(b"another picture")
        reseal(tiny)
    pushed = on_hub("push", other_folder if change == "a particle" else tiny, repo_id)
    assert pushed.code == 2
    assert "has version 0.1.0 already, with other content" in pushed.err
    assert (repository.tags, repository.commits) == (tags, commits)
    assert writes(hub) == []


def test_another_build_of_the_same_content_is_the_same_version(hub, on_hub, tiny, repo_id):
    hub.hold(repo_id, tiny, "v0.1.0")
    (tiny / "README.md").write_text("---\n---\nbuilt elsewhere")
    reseal(tiny)
    pushed = on_hub("push", tiny, repo_id, "--json")
    assert pushed.code == 0, pushed
    assert "same content" in pushed.facts["notes"][0]
    assert writes(hub) == []


def test_a_new_version_replaces_the_head_and_keeps_the_old_one(
    hub, on_hub, tiny, repo_id, tmp_path
):
    old = shutil.copytree(tiny, tmp_path / "old")
    assert on_hub("push", old, repo_id).code == 0
    (tiny / "preview" / "labels.png").unlink()
    new_version(tiny, "0.10.0")
    pushed = on_hub("push", tiny, repo_id, "--json")
    assert pushed.code == 0, pushed
    repository = hub.repository(repo_id)
    assert "preview/labels.png" not in repository.commits[repository.branches["main"]]
    assert ".gitattributes" in repository.commits[repository.branches["main"]]
    newest = on_hub("pull", repo_id, "--json")
    assert newest.facts["version"] == "0.10.0"
    assert contents(on_hub.cache / "pulled" / "datasets" / repo_id.replace("/", "--") / "v0.10.0")
    pulled = on_hub("pull", f"{repo_id}@0.1.0", "--out", tmp_path / "again", "--json")
    assert pulled.code == 0, pulled
    assert contents(tmp_path / "again") == contents(old)


def test_a_dry_run_lists_everything_and_writes_nothing(hub, on_hub, tiny, repo_id):
    hub.hold(repo_id, tiny, "v0.1.0")
    (tiny / "README.md").write_text((tiny / "README.md").read_text() + "\na new line\n")
    (tiny / "preview" / "labels.png").unlink()
    new_version(tiny, "0.2.0")
    hub.calm()
    planned = on_hub("push", tiny, repo_id, "--dry-run", "--json")
    assert planned.code == 0, planned
    assert writes(hub) == []
    facts = planned.facts
    assert facts["state"] == "would be published"
    changed = {"README.md", "config.yaml", "manifest.json", "manifest.sha256"}
    assert facts["to upload"] == {name: (tiny / name).stat().st_size for name in sorted(changed)}
    assert facts["to remove from the head"] == ["preview/labels.png"]
    assert facts["commits"] == 1
    assert "+a new line" in facts["card"]
    new = on_hub("push", tiny, "me/not-there-yet", "--dry-run")
    assert new.code == 0, new
    assert "new repository  " in new.out
    assert writes(hub) == []


def test_a_repository_with_something_else_is_left_alone(hub, on_hub, tiny, repo_id):
    repository = hub.hold(repo_id, tiny)
    head = repository.commits[repository.branches["main"]]
    manifest = json.loads(head["manifest.json"].content) | {"name": "another"}
    repository.commit(head | {"manifest.json": Blob(json.dumps(manifest).encode())})
    pushed = on_hub("push", tiny, repo_id)
    assert pushed.code == 2
    assert "holds the dataset 'another', not 'tiny'" in pushed.err
    repository.commit({"thesis.pdf": Blob(b"the only copy")})
    pushed = on_hub("push", tiny, repo_id)
    assert pushed.code == 2
    assert "no dataset of ceria, such as 'thesis.pdf'" in pushed.err
    assert writes(hub) == []


def test_a_damaged_dataset_is_not_pushed(hub, on_hub, tiny, repo_id):
    (tiny / "stray").write_text("x")
    pushed = on_hub("push", tiny, repo_id)
    assert pushed.code == 1
    assert "stray: is not in the manifest" in pushed.err
    assert hub.requests == []


def test_private_repositories(hub, on_hub, tiny_folder, repo_id):
    assert on_hub("push", tiny_folder, repo_id, "--private").code == 0
    assert hub.repository(repo_id).private
    assert on_hub("pull", repo_id).code == 0
    pulled = on_hub("pull", repo_id, HF_TOKEN="")
    assert pulled.code == 2
    assert "if it is private or gated, log in with `hf auth login`" in pulled.err
    hub.repository(repo_id).private = False
    pushed = on_hub("push", tiny_folder, repo_id, "--private")
    assert pushed.code == 2
    assert "is there and public" in pushed.err


def test_large_files_go_to_their_own_storage_without_the_token(hub, tiny_folder, repo_id, tmp_path):
    hub.is_large = lambda path, size: path.endswith(".parquet") or "/c/" in path
    basic = {"HF_HUB_DISABLE_XET": "1", "home": tmp_path}
    pushed = fresh(hub, "push", tiny_folder, repo_id, **basic)
    assert pushed.code == 0, pushed
    stored = [request for request in hub.requests if request.startswith("PUT /storage")]
    assert len(stored) > 20
    pulled = fresh(hub, "pull", repo_id, "--out", tmp_path / "out", **basic)
    assert pulled.code == 0, pulled
    assert contents(tmp_path / "out") == contents(tiny_folder)
    assert not [request for request in hub.authorised if "/storage/" in request]
    again = fresh(hub, "push", tiny_folder, repo_id, "--json", **basic)
    assert again.facts["state"] == "there already, nothing done"
