"""Faults between the Hub and a model's place: what arrives is right, or nothing is accepted."""

import io
import json
import threading
import time
from pathlib import Path

import pytest
import torch

from ceria_data.digest import file_sha256
from ceria_models.model_files import CHECKSUMS, ONNX, write_checksums
from tests.ceria_models.make_model import saved
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
from tests.tiny import contents

FILES = ("README.md", "config.json", "model.safetensors", "test.safetensors", "sha256.json")


def resolve(name, method="GET"):
    return f"^{method} /me/.*/resolve/[^/]+/{name}$"


NEVER_RIGHT = {
    **{f"a flipped bit in {name}": (resolve(name), flip(0.7, 4)) for name in FILES},
    "a flipped bit in the header of the weights": (resolve("model.safetensors"), flip(0.001)),
    "shorter weights": (resolve("model.safetensors"), body(lambda old: old[:-1])),
    "longer weights": (resolve("model.safetensors"), body(lambda old: old + b"\n")),
    "an empty config": (resolve("config.json"), body(lambda old: b"")),
    "a page instead of the checksums": (resolve("sha256.json"), body(lambda old: b"<html>")),
    "a body cut in every answer": (resolve("model.safetensors"), cut(0.5)),
    "weights that are not there": (
        resolve("model.safetensors", "HEAD"),
        status(404, "", "EntryNotFound"),
    ),
    **{f"{name} that is not listed": (TREE, without(name)) for name in FILES},
    "a file that nobody expects": (TREE, beside("pytorch_model.bin")),
    "a listed size that is wrong": (TREE, with_other("model.safetensors", "size", 12)),
    "a listed checksum that is wrong": (TREE, with_other("sha256.json", "oid", "0" * 40)),
    "a listed sha256 that is wrong": (
        TREE,
        with_other("model.safetensors", "lfs", {"oid": "0" * 64, "size": 9, "pointerSize": 1}),
    ),
    "an earlier etag with its bytes": (
        resolve("model.safetensors", "(HEAD|GET)"),
        lambda reply: (headers(ETag=f'"{"1" * 40}"')(reply), body(lambda old: old[::-1])(reply)),
    ),
    "checksums without an end": (TREE, with_other("sha256.json", "size", 1 << 30)),
}


@pytest.mark.parametrize("case", NEVER_RIGHT)
def test_no_fault_is_accepted(hub, models_on_hub, net_folder, repo_id, case):
    hub.hold(repo_id, net_folder, "v0.1.0", kind="models")
    assert_refused(hub, models_on_hub, net_folder, repo_id, Fault(*NEVER_RIGHT[case]))


PASSING = {
    "a flipped bit, once": (resolve("model.safetensors"), flip(0.5), 1),
    "a cut body, once": (resolve("model.safetensors"), cut(0.3), 1),
    "a wrong etag, always": (
        resolve("model.safetensors", "(HEAD|GET)"),
        headers(ETag='"0123"'),
        99,
    ),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_passes_is_overcome(hub, models_on_hub, net_folder, repo_id, case):
    hub.hold(repo_id, net_folder, "v0.1.0", kind="models")
    pattern, change, times = PASSING[case]
    fault = Fault(pattern, change, times=times)
    hub.faults.append(fault)
    verified = models_on_hub("verify", repo_id)
    assert fault.happened
    assert verified.code == 0, verified


def _pickle(net):
    """Put a pickle under the name of the weights, and seal it."""
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, file)
    (net / "model.safetensors").write_bytes(file.getvalue())
    write_checksums(net)


def _lists(*names):
    """Put more names into the checksums, and files of these names beside them."""

    def change(net):
        sums = json.loads((net / CHECKSUMS).read_text())
        for name in names:
            (net / name).write_bytes(b"hostile")
            sums[name] = file_sha256(net / name)
        (net / CHECKSUMS).write_text(json.dumps(sums))

    return change


def _lies(net):
    sums = json.loads((net / CHECKSUMS).read_text())
    (net / CHECKSUMS).write_text(json.dumps(sums | {"model.safetensors": "0" * 64}))


def _newer(net):
    config = json.loads((net / "config.json").read_text()) | {"format_version": 2}
    (net / "config.json").write_text(json.dumps(config))
    write_checksums(net)


def _removed(*names):
    return lambda net: [(net / name).unlink() for name in names]


STALE = {
    "a tag on another version": ("v0.2.0", lambda net: None, "leads to version 0.1.0"),
    "a tag on half an upload": ("v0.1.0", _removed("sha256.json"), "sha256.json is missing"),
    "a file too few": ("v0.1.0", _removed("config.json"), "'config.json' is missing"),
    "no card": ("v0.1.0", _removed("README.md"), "'README.md' is missing"),
    "a file too many": (
        "v0.1.0",
        lambda net: (net / "optimiser.pt").write_bytes(b"PK"),
        "'optimiser.pt' is not expected",
    ),
    "a sealed file too many": ("v0.1.0", _lists("run.py"), "'run.py', which is no file of a model"),
    "a pickle": ("v0.1.0", _pickle, "a pickle, which may run code"),
    "checksums that lie": ("v0.1.0", _lies, "other bytes than its checksum"),
    "a newer format": ("v0.1.0", _newer, "install a newer ceria"),
}


@pytest.mark.parametrize("case", STALE)
def test_a_tag_on_something_else_is_not_accepted(hub, models_on_hub, net, repo_id, case):
    tag, change, expected = STALE[case]
    change(net)
    hub.hold(repo_id, net, tag, kind="models")
    verified = models_on_hub("verify", repo_id)
    assert verified.code in (1, 2), verified
    assert expected in verified.err
    assert not list(models_on_hub.cache.rglob("v*/config.json"))


@pytest.mark.parametrize("where", ["tree", "checksums"])
@pytest.mark.parametrize("name", ["/tmp/ceria-outside", "../outside", "C:\\outside", "a\\..\\b"])
def test_hostile_names_write_nothing(hub, models_on_hub, net, repo_id, name, where):
    if where == "checksums":
        sums = json.loads((net / CHECKSUMS).read_text()) | {name: Blob(b"hostile").sha256}
        (net / CHECKSUMS).write_text(json.dumps(sums))
    repository = hub.hold(repo_id, net, "v0.1.0", kind="models")
    if where == "tree":
        repository.commits[repository.tags["v0.1.0"]][name] = Blob(b"hostile")
    pulled = models_on_hub("pull", repo_id, "--out", models_on_hub.home / "out")
    assert pulled.code == 1, pulled
    assert not Path("/tmp/ceria-outside").exists()
    there = {path.name for path in models_on_hub.home.rglob("*")}
    assert there <= {"stdout.txt", "stderr.txt", ".out.pull", "dataset", "sha256.json"}


def test_checksums_without_an_end_are_not_fetched(hub, models_on_hub, net_folder, repo_id):
    hub.hold(repo_id, net_folder, "v0.1.0", kind="models")
    hub.faults.append(Fault(TREE, with_other("sha256.json", "size", 100_000)))
    pulled = models_on_hub("pull", repo_id)
    assert pulled.code == 1
    assert "has 100000 bytes, expected less than" in pulled.err
    assert not [request for request in hub.requests if "/resolve/" in request]


def test_a_broken_record_on_the_hub_is_not_the_same_version(hub, models_on_hub, net, repo_id):
    before = contents(net)
    (net / ONNX).write_bytes(b"an exported net")
    write_checksums(net, onnx=True)
    _lies(net)
    hub.hold(repo_id, net, "v0.1.0", kind="models")
    (net / ONNX).unlink()
    (net / CHECKSUMS).write_bytes(before[CHECKSUMS])
    pushed = models_on_hub("push", net, repo_id)
    assert pushed.code == 2
    assert "with other content" in pushed.err


def test_two_processes_may_want_the_same_model(
    hub, models_on_hub, large_client, net_folder, repo_id, tmp_path
):
    """As two ranks of a training do."""
    hub.hold(repo_id, net_folder, "v0.1.0", kind="models")

    def until_the_other_has_begun(reply):
        end = time.monotonic() + 30
        while sum("/revision/" in one for one in hub.requests) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.5)

    slow = Fault(resolve("model.safetensors"), until_the_other_has_begun, times=1)
    hub.faults.append(slow)
    both = []

    def first():
        both.append(models_on_hub("pull", repo_id, "--json"))

    thread = threading.Thread(target=first)
    thread.start()
    while not slow.happened:
        time.sleep(0.01)
    cache = {"CERIA_HOME": str(models_on_hub.cache)}
    both.append(large_client("pull", repo_id, "--json", home=tmp_path / "second", **cache))
    thread.join()
    assert [each.code for each in both] == [0, 0], both
    fetched = sorted(each.facts["bytes fetched"] for each in both)
    assert fetched[0] == 0 < fetched[1]


def test_a_moved_tag_is_told_and_another_model_stays(hub, models_on_hub, net, repo_id, tmp_path):
    hub.hold(repo_id, net, "v0.1.0", kind="models")
    assert models_on_hub("pull", repo_id).code == 0
    other = saved(tmp_path / "other", version="0.1.0", description="changed")
    hub.hold(repo_id, other, "v0.1.0", kind="models")
    moved = models_on_hub("pull", repo_id)
    assert moved.code == 1
    assert "has another content now" in moved.err
    before = contents(net)
    taken = models_on_hub("pull", repo_id, "--out", net)
    assert taken.code == 2
    assert "holds another model than version 0.1.0" in taken.err
    assert contents(net) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    assert "but no sha256.json" in models_on_hub("pull", repo_id, "--out", tmp_path / "mine").err


def test_a_spoilt_upload_gets_no_tag(hub, models_on_hub, net_folder, repo_id):
    def spoil(number, request):
        if "/tree/" in request and "/tree/main" not in request:
            commits = hub.repository(repo_id, "models").commits
            for oid, files in commits.items():
                commits[oid] = files | {"model.safetensors": Blob(b"spoilt")}

    hub.on_request = spoil
    pushed = models_on_hub("push", net_folder, repo_id, "--quiet")
    assert pushed.code == 1, pushed
    assert "no version was made" in pushed.err
    assert hub.repository(repo_id, "models").tags == {}
    hub.calm()
    assert models_on_hub("push", net_folder, repo_id, "--quiet").code == 0


def is_large(path, size):
    return path.endswith(".safetensors")


@pytest.fixture(scope="module")
def large_client(_hub, tmp_path_factory):
    """A client that uploads large files one by one, so that there is more to interrupt."""
    home = tmp_path_factory.mktemp("large")
    # Killed commands leave their scratch folders behind.
    client = Client(_hub, home, "ceria_models", HF_HUB_DISABLE_XET="1", TMPDIR=str(home))
    yield client
    client.close()


@pytest.fixture(scope="module")
def requests_of(_hub, large_client, net_folder, tmp_path_factory):
    """Number of requests of a push and of a pull that nobody interrupts."""
    home = tmp_path_factory.mktemp("whole")
    numbers = {}
    for name, arguments in (("push", [net_folder, "me/whole"]), ("pull", ["me/whole"])):
        _hub.calm()
        _hub.is_large = is_large
        done = large_client(name, *arguments, home=home)
        assert done.code == 0, done
        numbers[name] = len(_hub.requests)
    return numbers


def some(seed, number, more):
    """Draw points; those beyond the first few are for the long run."""
    return [
        pytest.param(*point, marks=[pytest.mark.slow] if n >= number else [])
        for n, point in enumerate(points(seed, number + more))
    ]


@pytest.mark.parametrize(("share", "delay"), some(5, 3, 12))
def test_a_killed_pull_goes_on(
    hub, large_client, models_on_hub, requests_of, net_folder, repo_id, share, delay
):
    hub.hold(repo_id, net_folder, "v0.1.0", kind="models")
    home, out = models_on_hub.home, models_on_hub.home / "out"
    codes = []
    for at in (1 + int(share * requests_of["pull"]), 5):
        hub.on_request = killer = Killer(hub, large_client, at, delay)
        codes.append(large_client("pull", repo_id, "--out", out, "--quiet", home=home).code)
        assert killer.struck or codes[-1] == 0
        assert not out.exists() or contents(out) == contents(net_folder)
    assert codes[0] == -9 or delay
    hub.calm()
    pulled = large_client("pull", repo_id, "--out", out, "--quiet", home=home)
    assert pulled.code == 0, pulled
    assert contents(out) == contents(net_folder)
    assert [path.name for path in home.iterdir() if path.name.startswith(".out")] == []


@pytest.mark.parametrize(("share", "delay"), some(6, 3, 12))
def test_a_killed_push_goes_on(
    hub, large_client, models_on_hub, requests_of, net_folder, repo_id, share, delay
):
    hub.is_large = is_large
    hub.large_files.clear()
    home = models_on_hub.home
    codes = []
    for at in (1 + int(share * requests_of["push"]), 5):
        hub.on_request = killer = Killer(hub, large_client, at, delay)
        codes.append(large_client("push", net_folder, repo_id, "--quiet", home=home).code)
        assert killer.struck or codes[-1] == 0
    assert codes[0] == -9 or delay
    hub.on_request = lambda number, request: None
    pushed = large_client("push", net_folder, repo_id, "--json", home=home)
    assert pushed.code == 0, pushed
    repository = hub.repository(repo_id, "models")
    tagged = repository.commits[repository.tags["v0.1.0"]]
    assert {name: blob.content for name, blob in tagged.items() if name != ".gitattributes"} == (
        contents(net_folder)
    )
    assert pushed.facts["commit"] == repository.tags["v0.1.0"]
