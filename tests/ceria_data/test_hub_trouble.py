"""What goes wrong around the Hub is said in one line, with the exit code of its kind."""

import json
import shutil
import socket
import time
from pathlib import Path

import pytest

from ceria_data.errors import TransferError
from ceria_data.shared_files import check_names, place_of
from ceria_data.store import read_manifest, write_manifest
from tests.hub_client import Client, fresh
from tests.hub_server import TOKEN, Blob, Fault, cut, status
from tests.tiny import contents, new_version

HOSTILE = [
    "/etc/ceria-was-here",
    "../outside",
    "data.zarr/../../outside",
    "data.zarr/..",
    "./README.md",
    "data.zarr//zarr.json",
    "data.zarr/",
    "C:/outside",
    "C:outside",
    "data.zarr/C:\\outside",
    "\\\\host\\share\\outside",
    "..\\outside",
    "data.zarr\\zarr.json",
    "outside\n",
    "a\0b",
    "con",
    "preview/NUL.png",
    "preview/trailing.",
    "preview/trailing ",
    ".git/config",
    ".cache/huggingface/download/x",
    "preview/\x1b[2J",
    "x" * 2000,
    "",
]


def only_the_home(on_hub):
    """Files that a command left beside the output that it captured."""
    captured = {"stdout.txt", "stderr.txt"}
    found = (path.relative_to(on_hub.home.parent) for path in on_hub.home.parent.rglob("*"))
    return {path.as_posix() for path in found if path.name not in captured | {"home"}}


@pytest.mark.parametrize("name", HOSTILE, ids=[repr(name)[:30] for name in HOSTILE])
def test_hostile_names_are_refused(name):
    with pytest.raises(TransferError, match="no plain name inside a folder"):
        check_names(["README.md", name], "user/name")


def test_names_that_are_one_file_elsewhere_are_refused():
    with pytest.raises(TransferError, match="one file on some systems"):
        check_names(["README.md", "readme.md"], "user/name")


@pytest.mark.parametrize("where", ["tree", "manifest"])
@pytest.mark.parametrize("name", ["/tmp/ceria-outside", "../outside", "C:\\outside", "a\\..\\b"])
def test_hostile_names_on_the_hub_write_nothing(hub, on_hub, tiny, repo_id, name, where):
    manifest = read_manifest(tiny)
    content = b"hostile"
    if where == "manifest":
        facts = {"sha256": Blob(content).sha256, "size": len(content)}
        write_manifest(tiny, manifest | {"files": manifest["files"] | {name: facts}})
    repository = hub.hold(repo_id, tiny, "v0.1.0")
    repository.commits[repository.tags["v0.1.0"]][name] = Blob(content)
    shutil.rmtree(tiny)
    pulled = on_hub("pull", repo_id, "--out", on_hub.home / "out")
    assert pulled.code == 1
    assert "nothing of it was written" in pulled.err
    assert not Path("/tmp/ceria-outside").exists()
    assert only_the_home(on_hub) <= {"home/.out.pull"}


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data.zarr").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TransferError, match="is a link"):
        place_of(tmp_path / "out", "data.zarr/zarr.json")


def test_a_link_in_the_place_is_replaced_not_followed(hub, on_hub, tiny, repo_id, tmp_path):
    hub.hold(repo_id, tiny, "v0.1.0")
    (tmp_path / "mine").write_text("mine")
    (tiny / "config.yaml").unlink()
    (tiny / "config.yaml").symlink_to(tmp_path / "mine")
    pulled = on_hub("pull", repo_id, "--out", tiny)
    assert pulled.code == 0, pulled
    assert not (tiny / "config.yaml").is_symlink()
    assert (tmp_path / "mine").read_text() == "mine"


REFUSALS = {
    "no token": (
        Fault("POST .*create", status(401, "Invalid user"), instead=True),
        "hf auth login",
        2,
    ),
    "a token that may only read": (
        Fault("create", status(403, "no rights"), instead=True),
        "may write",
        2,
    ),
    "a commit of somebody else": (Fault("commit/main", status(412)), "somebody else changed", 2),
    "too many requests": (Fault("/refs", status(429, "slow down")), "too many requests", 2),
    "a broken server": (Fault("/refs", status(500)), "answered 500", 2),
    "no Hub at all": (Fault("/refs", status(200, "hello")), "HF_ENDPOINT", 2),
    "a cut connection": (Fault("/refs", cut(-1)), "cannot be reached", 2),
    "a Hub that is silent": (Fault("/refs", lambda reply: time.sleep(5)), "ReadTimeout", 2),
    "a gate": (Fault("/refs", status(403, "ask first", "GatedRepo")), "private or gated", 2),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_ends_with_one_clear_line(hub, on_hub, small_folder, repo_id, case):
    fault, expected, code = REFUSALS[case]
    fault.happened = fault._seen = 0
    hub.faults.append(fault)
    if "/refs" in fault.pattern:
        hub.hold(repo_id, small_folder, "v0.0.1")
    done = on_hub("push", small_folder, repo_id, "--quiet")
    assert fault.happened
    assert done.code == code, done
    assert expected in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("error:")]) == 1
    assert "Traceback" not in done.err
    key = ("datasets", repo_id)
    assert key not in hub.repositories or "v0.1.0" not in hub.repositories[key].tags


def test_nobody_listens(hub, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        pulled = fresh(hub, "pull", "me/name", home=tmp_path, HF_ENDPOINT=url)
    assert pulled.code == 2
    assert "cannot be reached" in pulled.err
    assert "check the network and HF_ENDPOINT" in pulled.err


WRONG = {
    "no repository": (["pull", "me/nothing"], "there is no dataset me/nothing"),
    "no such version": (["pull", "{repo}@0.2.0"], "has no version 0.2.0; it has 0.1.0"),
    "no version at all": (["pull", "me/untagged"], "has no version; expected a tag"),
    "no name": (["pull", "tiny"], "expected user/name"),
    "no version number": (["pull", "{repo}@newest"], "such as {repo}@1.0.0"),
    "no digest": (["pull", "{repo}", "--digest", "12"], "64 small hexadecimal digits"),
    "another version": (["push", "{tiny}", "{repo}@0.2.0"], "is version 0.1.0, not 0.2.0"),
    "a space": (["peek", "hf://spaces/me/name"], "expected user/name"),
    "no place": (["pull", "{repo}", "--out", "no/where"], "make it first"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_ends_with_code_2_and_writes_nothing(hub, on_hub, tiny_folder, repo_id, case):
    hub.hold(repo_id, tiny_folder, "v0.1.0")
    hub.hold("me/untagged", tiny_folder)
    arguments, expected = WRONG[case]
    names = {"repo": repo_id, "tiny": str(tiny_folder)}
    done = on_hub(*(argument.format(**names) for argument in arguments))
    assert done.code == 2, done
    assert expected.format(**names) in done.err
    assert only_the_home(on_hub) == set()


def test_a_digest_is_demanded_of_the_content_not_only_of_the_manifest(
    hub, on_hub, tiny, repo_id, tmp_path
):
    good = read_manifest(tiny)["content_digest"]
    hub.hold(repo_id, tiny, "v0.1.0")
    right = on_hub("pull", repo_id, "--digest", good, "--json", "--out", tmp_path / "right")
    assert right.code == 0, right
    assert right.facts["checked"] == "bytes and content"
    wrong = on_hub("pull", repo_id, "--digest", "0" * 64, "--out", tmp_path / "wrong")
    assert wrong.code == 1
    assert good in wrong.err
    # Whoever owns the repository can write any digest and seal it again.
    manifest = read_manifest(tiny)
    write_manifest(tiny, manifest | {"content_digest": "0" * 64})
    hub.hold(repo_id, tiny, "v0.1.0")
    forged = on_hub("pull", repo_id, "--digest", "0" * 64, "--out", tmp_path / "forged")
    assert forged.code == 1
    assert "content_digest does not follow from the content" in forged.err
    assert not (tmp_path / "forged").exists()


def test_what_is_there_is_checked_and_damage_is_fetched_again(
    hub, on_hub, tiny, tiny_folder, repo_id
):
    hub.hold(repo_id, tiny, "v0.1.0")
    (tiny / "samples.parquet").write_bytes(b"damaged")
    (tiny / "data.zarr" / "zarr.json").unlink()
    pulled = on_hub("pull", repo_id, "--out", tiny, "--json")
    assert pulled.code == 0, pulled
    assert contents(tiny) == contents(tiny_folder)
    sizes = [(tiny / name).stat().st_size for name in ("samples.parquet", "data.zarr/zarr.json")]
    assert pulled.facts["bytes fetched"] == sum(sizes)
    again = on_hub("pull", repo_id, "--out", tiny, "--json")
    assert again.facts["bytes fetched"] == 0


def test_another_dataset_in_the_place_is_kept(hub, on_hub, tiny, repo_id, tmp_path):
    hub.hold(repo_id, new_version(shutil.copytree(tiny, tmp_path / "new"), "0.2.0"), "v0.2.0")
    before = contents(tiny)
    pulled = on_hub("pull", repo_id, "--out", tiny)
    assert pulled.code == 2
    assert "holds another dataset than version 0.2.0" in pulled.err
    assert contents(tiny) == before


def test_a_moved_tag_is_told(hub, on_hub, tiny, repo_id):
    hub.hold(repo_id, tiny, "v0.1.0")
    assert on_hub("pull", repo_id).code == 0
    manifest = read_manifest(tiny)
    write_manifest(tiny, manifest | {"description": "changed"})
    hub.hold(repo_id, tiny, "v0.1.0")
    pulled = on_hub("pull", repo_id)
    assert pulled.code == 1
    assert "has another content now" in pulled.err


@pytest.fixture(scope="module")
def offline_client(_hub, tmp_path_factory):
    client = Client(_hub, tmp_path_factory.mktemp("offline"), HF_HUB_OFFLINE="1")
    yield client
    client.close()


def test_offline_nothing_is_asked(hub, on_hub, offline_client, small_folder, repo_id):
    hub.hold(repo_id, small_folder, "v0.1.0")

    def offline(*arguments):
        return offline_client(*arguments, home=on_hub.home)

    before = hub.connections
    for arguments in (["pull", repo_id], ["peek", repo_id], ["push", small_folder, repo_id]):
        done = offline(*arguments)
        assert done.code == 2, done
        assert "HF_HUB_OFFLINE is set" in done.err
    assert hub.connections == before
    assert on_hub("pull", repo_id).code == 0
    before = hub.connections
    pulled = offline("pull", repo_id, "--json")
    assert pulled.code == 0, pulled
    assert pulled.facts["version"] == "0.1.0"
    assert offline("peek", f"{repo_id}@0.1.0", "--json").facts["images"] == 4
    other = offline("pull", f"{repo_id}@0.2.0")
    assert other.code == 2
    assert "there are 0.1.0" in other.err
    Path(pulled.facts["dataset"], "README.md").write_text("damaged")
    damaged = offline("pull", repo_id)
    assert damaged.code == 1
    assert "README.md: has" in damaged.err
    assert hub.connections == before


def test_peek_says_what_info_says_and_fetches_no_array(hub, on_hub, tiny_folder, repo_id):
    hub.hold(repo_id, tiny_folder, "v0.1.0")
    told = on_hub("info", tiny_folder, "--json").facts
    hub.calm()
    peeked = on_hub("peek", f"hf://datasets/{repo_id}@0.1.0", "--json")
    assert peeked.code == 0, peeked
    facts = peeked.facts
    assert facts.pop("repository") == repo_id
    assert facts.pop("commit") == hub.repository(repo_id).tags["v0.1.0"]
    assert facts == told
    assert not [request for request in hub.requests if "data.zarr" in request]
    assert only_the_home(on_hub) == set()


def test_the_token_is_nowhere(hub, on_hub, tiny, repo_id):
    loud = {"HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug"}
    out = on_hub.home / "out"
    hub.hold("me/known", tiny, "v0.1.0")
    echo = f"bad token {TOKEN} in Authorization: Bearer {TOKEN}"
    echoes = [
        Fault("/refs", status(403, echo, X_Error_Message=echo, X_HF_Warning=f"token; {echo}")),
        Fault("/refs", lambda reply: setattr(reply, "body", echo.encode())),
        Fault("HEAD .*samples", status(404, echo, "EntryNotFound", X_Error_Message=echo)),
    ]
    commands = [
        ["push", tiny, repo_id, "--dry-run"],
        ["push", tiny, repo_id],
        ["push", tiny, repo_id, "--debug"],
        ["pull", repo_id, "--debug"],
        ["pull", repo_id, "--out", out],
        ["peek", f"hf://datasets/{repo_id}", "--json"],
        ["pull", "me/nothing", "--debug"],
        ["info", out],
        ["verify", out],
        ["preview", out, "--html"],
    ]
    told = [on_hub(*arguments, **loud) for arguments in commands]
    assert [each.code for each in told] == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0], told
    for echo_fault in echoes:
        hub.faults = [echo_fault]
        for arguments in (["push", tiny, "me/known"], ["pull", "me/known"], ["peek", "me/known"]):
            told += [on_hub(*arguments, "--debug", **loud)]
        assert echo_fault.happened
    assert any("<token>" in each.err for each in told)
    assert not [each for each in told if TOKEN in each.out + each.err]
    files = [path for path in on_hub.home.rglob("*") if path.is_file()]
    assert len(files) > 80
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    sent = [request for request in hub.requests if TOKEN in request]
    assert not sent
    stored = json.dumps([sorted(files) for files in hub.repository(repo_id).commits.values()])
    assert TOKEN not in stored


def test_a_token_in_a_file_is_not_shared(hub, on_hub, tiny, repo_id):
    from tests.tiny import reseal

    (tiny / "README.md").write_text(f"---\n---\nexport HF_TOKEN={TOKEN}")
    reseal(tiny)
    pushed = on_hub("push", tiny, repo_id)
    assert pushed.code == 2
    assert "README.md holds your token" in pushed.err
    assert TOKEN not in pushed.err
    assert hub.requests == []
