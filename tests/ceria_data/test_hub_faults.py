"""Faults between the Hub and this computer: what arrives is right, or nothing is accepted."""

import json

import pytest

from ceria_data.store import read_manifest, write_manifest
from tests.hub_client import Client
from tests.hub_faults import (
    TREE,
    Killer,
    assert_refused,
    beside,
    body,
    headers,
    points,
    with_other,
    without,
)
from tests.hub_server import Blob, Fault, cut, flip, status
from tests.tiny import contents, new_version

FILES = (
    "README.md",
    "manifest.json",
    "manifest.sha256",
    "samples.parquet",
    "data.zarr/zarr.json",
    "data.zarr/counts/c/0/0/0",
    "config.yaml",
)


def resolve(name, method="GET"):
    return f"^{method} /datasets/.*/resolve/[^/]+/{name}$"


NEVER_RIGHT = {
    **{f"a flipped bit early in {name}": (resolve(name), flip(0.1)) for name in FILES},
    **{f"a flipped bit late in {name}": (resolve(name), flip(0.95, 128)) for name in FILES},
    **{
        f"{what} {name}": (resolve(name), body(change))
        for name in ("manifest.json", "samples.parquet", "data.zarr/counts/c/0/0/0")
        for what, change in {
            "a shorter": lambda old: old[:-1],
            "a longer": lambda old: old + b"\n",
            "an empty": lambda old: b"",
            "a zeroed": lambda old: bytes(len(old)),
        }.items()
    },
    **{
        f"{name} that is not there": (resolve(name, "HEAD"), status(404, "", "EntryNotFound"))
        for name in ("manifest.sha256", "columns.parquet", "data.zarr/volume/zarr.json")
    },
    **{
        f"{name} that is not listed": (TREE, without(name))
        for name in ("manifest.json", "columns.parquet", "data.zarr/volume/c/0/0/0/0")
    },
    **{
        f"{name} that nobody expects": (TREE, beside(name))
        for name in ("README.txt", "data.zarr/counts/c/99/0/0", "~partial")
    },
    "a listed size that is wrong": (TREE, with_other("samples.parquet", "size", 12)),
    "a listed checksum that is wrong": (TREE, with_other("manifest.json", "oid", "0" * 40)),
    "a listed sha256 that is wrong": (
        TREE,
        with_other("atoms.parquet", "lfs", {"oid": "0" * 64, "size": 9, "pointerSize": 1}),
    ),
    "a page instead of a file": (
        resolve("samples.parquet"),
        body(lambda old: b"<html>log in to the hotel</html>"),
    ),
    "a page instead of the list": (TREE, body(lambda old: b"<html>log in</html>")),
    "a list of something else": (TREE, body(lambda old: b'[{"type": "file", "name": 3}]')),
    "no commit": ("^GET .*/revision/", body(lambda old: b"{}")),
    "an earlier etag with its bytes": (
        resolve("samples.parquet", "(HEAD|GET)"),
        lambda reply: (headers(ETag=f'"{"1" * 40}"')(reply), body(lambda old: old[::-1])(reply)),
    ),
    "a connection cut in every answer": (resolve("samples.parquet"), cut(0.5)),
}


@pytest.mark.parametrize("case", NEVER_RIGHT)
def test_no_fault_is_accepted(hub, on_hub, small_folder, repo_id, case):
    hub.hold(repo_id, small_folder, "v0.1.0")
    assert_refused(hub, on_hub, small_folder, repo_id, Fault(*NEVER_RIGHT[case]))


PASSING = {
    "a flipped bit, once": (resolve("samples.parquet"), flip(0.5), 1),
    "a cut connection, twice": (resolve("atoms.parquet"), cut(0.3), 2),
    "a connection without an answer": (resolve("config.yaml"), cut(-1), 1),
    "a broken server, once": (resolve("README.md", "HEAD"), status(503), 1),
    "too many requests, once": (resolve("README.md"), status(429, Retry_After="0"), 1),
    "a wrong etag, always": (
        resolve("samples.parquet", "(HEAD|GET)"),
        headers(ETag='"0123"'),
        99,
    ),
    "an etag of another file": (
        resolve("atoms.parquet", "(HEAD|GET)"),
        headers(ETag=f'"{"a" * 64}"'),
        99,
    ),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_passes_is_overcome(hub, on_hub, small_folder, repo_id, case):
    hub.hold(repo_id, small_folder, "v0.1.0")
    pattern, change, times = PASSING[case]
    fault = Fault(pattern, change, times=times)
    hub.faults.append(fault)
    pulled = on_hub("pull", repo_id, "--out", on_hub.home / "out")
    assert fault.happened
    assert pulled.code == 0, pulled
    assert contents(on_hub.home / "out") == contents(small_folder)


STALE = {
    "a tag on another version": ({}, "leads to version 0.2.0"),
    "a tag on half an upload": ({"manifest.json": None}, "manifest.json or"),
    "a tag on two versions mixed": ({"config.yaml": b"older\n"}, "config.yaml"),
    "a tag with a file too many": ({"notes.txt": b"mine"}, "'notes.txt' is not expected"),
    "a tag with a file too few": ({"atoms.parquet": None}, "'atoms.parquet' is missing"),
    "a manifest without its seal": ({"manifest.sha256": b"0" * 80}, "manifest.sha256"),
}


@pytest.mark.parametrize("case", STALE)
def test_a_stale_tag_is_not_accepted(hub, on_hub, small, repo_id, case):
    changes, expected = STALE[case]
    version = "0.3.0" if changes == {} else "0.2.0"
    repository = hub.hold(repo_id, new_version(small, "0.2.0"), f"v{version}")
    files = repository.commits[repository.tags[f"v{version}"]]
    for name, content in changes.items():
        if content is None:
            del files[name]
        else:
            files[name] = Blob(content)
    pulled = on_hub("pull", repo_id)
    assert pulled.code in (1, 2), pulled
    assert expected in pulled.err
    assert not list(on_hub.cache.rglob("v*/manifest.json"))
    assert on_hub("peek", repo_id).code == pulled.code


def test_a_manifest_that_lies_of_its_files_is_not_accepted(hub, on_hub, small, repo_id):
    manifest = read_manifest(small)
    facts = manifest["files"]["samples.parquet"]
    write_manifest(
        small,
        manifest | {"files": manifest["files"] | {"samples.parquet": facts | {"sha256": "0" * 64}}},
    )
    hub.hold(repo_id, small, "v0.1.0")
    pulled = on_hub("pull", repo_id, "--out", on_hub.home / "out")
    assert pulled.code == 1
    assert "samples.parquet" in pulled.err
    assert not (on_hub.home / "out").exists()


SPOILT = {
    "a flipped bit": lambda files: files | {"samples.parquet": Blob(b"flipped")},
    "a file too few": lambda files: {n: f for n, f in files.items() if n != "atoms.parquet"},
    "a file too many": lambda files: files | {"notes.txt": Blob(b"mine")},
    "an old file": lambda files: files | {"config.yaml": Blob(b"older")},
    "a large file with another sha256": lambda files: (
        files | {"samples.parquet": Blob(b"flipped", large=True)}
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_upload_gets_no_tag(hub, on_hub, small_folder, repo_id, case):
    def spoil(number, request):
        key = ("datasets", repo_id)
        if "/tree/" in request and "/tree/main" not in request and key in hub.repositories:
            commits = hub.repositories[key].commits
            for oid in commits:
                commits[oid] = SPOILT[case](commits[oid])

    hub.on_request = spoil
    pushed = on_hub("push", small_folder, repo_id, "--quiet")
    assert pushed.code == 1, pushed
    assert "no version was made" in pushed.err
    assert hub.repository(repo_id).tags == {}
    hub.calm()
    assert on_hub("push", small_folder, repo_id, "--quiet").code == 0
    assert on_hub("pull", repo_id, "--out", on_hub.home / "out").code == 0
    assert contents(on_hub.home / "out") == contents(small_folder)


ON_THE_WAY_UP = {
    "a commit that fails once": (Fault("POST .*commit/", status(503), times=1, instead=True), 0),
    "a commit whose answer is lost": (Fault("POST .*commit/", cut(-1), times=1), 0),
    "a preupload that fails once": (Fault("POST .*preupload/", status(500), times=1), 0),
    "a tag whose answer is lost": (Fault("POST .*tag/", cut(-1), times=1), 2),
    "a tag that is refused": (Fault("POST .*tag/", status(403), times=1, instead=True), 2),
    "a repository whose answer is lost": (Fault("POST .*create", cut(-1), times=1), 2),
    "a list that is cut": (Fault("GET .*/tree/main", cut(0.5), times=1), 2),
}


@pytest.mark.parametrize("case", ON_THE_WAY_UP)
def test_a_push_goes_on_after_a_fault(hub, on_hub, small_folder, repo_id, case):
    fault, code = ON_THE_WAY_UP[case]
    fault.happened = fault._seen = 0
    hub.faults.append(fault)
    first = on_hub("push", small_folder, repo_id, "--quiet")
    assert fault.happened
    assert first.code in (0, code), first
    assert on_hub("push", small_folder, repo_id, "--quiet").code == 0
    repository = hub.repository(repo_id)
    tagged = repository.commits[repository.tags["v0.1.0"]]
    assert {name: blob.content for name, blob in tagged.items() if name != ".gitattributes"} == (
        contents(small_folder)
    )


def test_a_tag_that_somebody_made_meanwhile_stays(hub, on_hub, small_folder, repo_id):
    def overtake(number, request):
        if "/tag/" in request:
            repository = hub.repository(repo_id)
            repository.tags["v0.1.0"] = repository.commit({"theirs": Blob(b"theirs")}, "other")

    hub.on_request = overtake
    pushed = on_hub("push", small_folder, repo_id)
    assert pushed.code == 2
    assert "has version 0.1.0 already" in pushed.err
    repository = hub.repository(repo_id)
    assert list(repository.commits[repository.tags["v0.1.0"]]) == ["theirs"]


def test_a_tag_that_lands_elsewhere_is_told(hub, on_hub, small_folder, repo_id):
    def change(reply):
        repository = hub.repository(repo_id)
        repository.tags["v0.1.0"] = next(iter(repository.commits))

    hub.faults.append(Fault("POST .*/tag/", change))
    pushed = on_hub("push", small_folder, repo_id)
    assert pushed.code == 1
    assert "the tag v0.1.0" in pushed.err


@pytest.fixture(scope="module")
def large_client(_hub, tmp_path_factory):
    """A client that uploads large files one by one, so that there is more to interrupt."""
    client = Client(_hub, tmp_path_factory.mktemp("large"), HF_HUB_DISABLE_XET="1")
    yield client
    client.close()


@pytest.fixture(scope="module")
def requests_of(_hub, _client, large_client, tiny_folder, tmp_path_factory):
    """Number of requests of a pull and of a push that nobody interrupts."""
    home = tmp_path_factory.mktemp("whole")
    numbers = {}
    for name, client in (("push", large_client), ("pull", _client)):
        _hub.calm()
        _hub.is_large = is_large
        arguments = [tiny_folder, "me/whole"] if name == "push" else ["me/whole"]
        assert client(name, *arguments, home=home).code == 0
        numbers[name] = len(_hub.requests)
    return numbers


def is_large(path, size):
    return size > 300


@pytest.mark.slow
@pytest.mark.parametrize(("share", "delay"), points(5, 15))
def test_a_killed_pull_goes_on(hub, on_hub, requests_of, tiny_folder, repo_id, share, delay):
    hub.hold(repo_id, tiny_folder, "v0.1.0")
    out = on_hub.home / "out"
    codes = []
    for at in (1 + int(share * requests_of["pull"]), 8):
        hub.on_request = killer = Killer(hub, on_hub.client, at, delay)
        codes.append(on_hub("pull", repo_id, "--out", out, "--quiet").code)
        assert killer.struck or codes[-1] == 0
        assert not out.exists() or contents(out) == contents(tiny_folder)
    assert codes[0] == -9 or delay
    hub.calm()
    pulled = on_hub("pull", repo_id, "--out", out, "--quiet")
    assert pulled.code == 0, pulled
    assert contents(out) == contents(tiny_folder)
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".out")] == []


@pytest.mark.slow
@pytest.mark.parametrize(("share", "delay"), points(6, 15))
def test_a_killed_push_goes_on(
    hub, on_hub, large_client, requests_of, tiny_folder, repo_id, share, delay
):
    hub.is_large = is_large
    hub.large_files.clear()
    home = on_hub.home
    codes = []
    for at in (1 + int(share * requests_of["push"]), 8):
        hub.on_request = killer = Killer(hub, large_client, at, delay)
        codes.append(large_client("push", tiny_folder, repo_id, "--quiet", home=home).code)
        assert killer.struck or codes[-1] == 0
    assert codes[0] == -9 or delay
    hub.on_request = lambda number, request: None
    pushed = large_client("push", tiny_folder, repo_id, "--json", home=home)
    assert pushed.code == 0, pushed
    repository = hub.repository(repo_id)
    tagged = repository.commits[repository.tags["v0.1.0"]]
    assert {name: blob.content for name, blob in tagged.items() if name != ".gitattributes"} == (
        contents(tiny_folder)
    )
    assert json.loads(pushed.out)["commit"] == repository.tags["v0.1.0"]
