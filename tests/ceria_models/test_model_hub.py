"""Models to the Hub and back, with the real client and a Hub on the loopback interface."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import EvalResult, ModelCard

from ceria_data.dataset import open_dataset
from ceria_models.model_files import ONNX, write_checksums
from ceria_models.weights import attach_evaluation, from_pretrained
from tests.ceria_models.make_model import saved
from tests.hub_client import Client, answers, fresh
from tests.hub_server import TOKEN, Blob, Fault, cut, status
from tests.tiny import contents

SCRIPT = """
import json, sys
import numpy as np
import ceria_models
from ceria_data.errors import CeriaError

image = np.load(sys.argv[1])
for name, revision in json.loads(sys.argv[2]):
    try:
        net = ceria_models.from_pretrained(name, revision=revision)
        found = ceria_models.predict(net, image, 0.2)
        print(json.dumps([net.config.version, len(found.columns), float(found.confidence.sum())]))
    except CeriaError as error:
        print(json.dumps(str(error)))
models = ceria_models.list_models()
print(json.dumps(models[models["source"] == "Hub"]["name"].tolist()))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    file = tmp_path_factory.mktemp("image") / "image.npy"
    np.save(file, open_dataset("ceria-columns-mini", "test")[0].counts)
    return file


def writes(hub):
    return [request for request in hub.requests if not request.startswith(("GET", "HEAD"))]


def place(cache, repo_id, version="0.1.0"):
    return cache / "pulled" / "models" / repo_id.replace("/", "--") / f"v{version}"


def loaded(hub, home, image, *asked, **more):
    """Load models and predict with them in a new Python."""
    return answers(hub, SCRIPT, image, json.dumps(asked), home=home, **more)


def test_a_model_goes_to_the_hub_and_comes_back_the_same(hub, models_on_hub, net_folder, repo_id):
    models_on_hub.home.mkdir()
    programs = {"home": models_on_hub.home, "program": "ceria_models"}
    pushed = fresh(hub, "push", net_folder, repo_id, "--json", **programs)
    assert pushed.code == 0, pushed
    assert (pushed.facts["tag"], pushed.facts["state"]) == ("v0.1.0", "published")
    repository = hub.repository(repo_id, "models")
    assert list(repository.tags) == ["v0.1.0"]
    there = repository.commits[repository.tags["v0.1.0"]]
    assert {name: blob.content for name, blob in there.items() if name != ".gitattributes"} == (
        contents(net_folder)
    )
    pulled = fresh(hub, "pull", f"{repo_id}@0.1.0", "--json", **programs)
    assert pulled.code == 0, pulled
    assert pulled.facts["model"] == str(place(models_on_hub.cache, repo_id))
    assert contents(place(models_on_hub.cache, repo_id)) == contents(net_folder)
    verified = models_on_hub("verify", f"{repo_id}@0.1.0", "--json")
    assert verified.facts["largest_difference"] < 1e-5


def test_predictions_are_those_of_the_local_model(
    hub, models_on_hub, net_folder, repo_id, image, tmp_path
):
    """From the command and from Python, each into an empty cache."""
    hub.hold(repo_id, net_folder, "v0.1.0", kind="models")
    newer = saved(tmp_path / "newer", version="0.10.0")
    hub.hold(repo_id, newer, "v0.10.0", kind="models")
    tables = []
    for name, model in (("local", net_folder), ("hub", f"{repo_id}@0.1.0")):
        done = models_on_hub(
            "predict", image, "--model", model, "--pixel-size", "0.2", "--pictures", "0",
            "--out", tmp_path / name, "--force",
        )  # fmt: skip
        assert done.code == 0, done
        tables.append(pd.read_parquet(tmp_path / name / "columns.parquet"))
    assert len(tables[0]) > 10
    pd.testing.assert_frame_equal(*tables)
    local, *found, models = loaded(
        hub, tmp_path / "python", image,
        [str(net_folder), None], [repo_id, "v0.1.0"], [repo_id, "0.1.0"],
        [f"{repo_id}@0.1.0", None], [repo_id, None], [repo_id, "main"],
        [f"{repo_id}@0.1.0", "2.0.0"], [repo_id, "0.2.0"], [str(net_folder), "v0.2.0"],
    )  # fmt: skip
    assert found[:3] == [local] * 3
    assert local[0] == "0.1.0"
    assert found[3][0] == "0.10.0"  # the highest, by number
    assert "names no version" in found[4]
    assert "names a version, and '2.0.0' is another" in found[5]
    assert "has no version 0.2.0" in found[6]
    assert "is version 0.1.0, expected v0.2.0" in found[7]
    assert models == [f"{repo_id}@0.1.0", f"{repo_id}@0.10.0"]


def test_a_version_in_the_cache_is_not_asked_for(hub, models_on_hub, net_folder, repo_id):
    hub.hold(repo_id, net_folder, "v0.1.0", kind="models")
    assert models_on_hub("verify", f"{repo_id}@0.1.0").code == 0
    connections = hub.connections
    assert models_on_hub("verify", f"{repo_id}@0.1.0").code == 0
    assert hub.connections == connections
    hub.faults.append(Fault("/refs", cut(-1)))
    told = models_on_hub("verify", repo_id)
    assert told.code == 2
    assert "version 0.1.0 was pulled before" in told.err


def test_a_second_push_does_nothing(hub, models_on_hub, net_folder, repo_id):
    assert models_on_hub("push", net_folder, repo_id).code == 0
    commits = dict(hub.repository(repo_id, "models").commits)
    hub.calm()
    again = models_on_hub("push", net_folder, f"{repo_id}@0.1.0", "--json")
    assert again.code == 0, again
    assert again.facts["state"] == "there already, nothing done"
    assert writes(hub) == []
    assert hub.repository(repo_id, "models").commits == commits


@pytest.mark.parametrize("change", ["description", "card", "name"])
def test_a_version_with_other_content_is_refused(hub, models_on_hub, net, repo_id, change):
    repository = hub.hold(repo_id, net, "v0.1.0", kind="models")
    tags, commits = dict(repository.tags), dict(repository.commits)
    if change == "card":
        (net / "README.md").write_text((net / "README.md").read_text() + "\nmore\n")
    else:
        shutil.rmtree(net)
        saved(net, version="0.1.0", **{change: "other"})
    pushed = models_on_hub("push", net, repo_id)
    assert pushed.code == 2, pushed
    assert "has version 0.1.0 already, with other content" in pushed.err
    assert (repository.tags, repository.commits) == (tags, commits)
    assert writes(hub) == []


def test_a_new_version_leaves_the_old_one_and_strays_stay_at_home(
    hub, models_on_hub, net_folder, repo_id, tmp_path
):
    assert models_on_hub("push", net_folder, repo_id).code == 0
    newer = saved(tmp_path / "newer", version="0.2.0")
    (newer / "notes.txt").write_text("mine")
    (newer / ONNX).write_text("an export of the user's own, which was not asked for")
    assert models_on_hub("push", newer, repo_id).code == 0
    repository = hub.repository(repo_id, "models")
    there = repository.commits[repository.tags["v0.2.0"]]
    assert sorted(there) == sorted([".gitattributes", *contents(net_folder)])
    old = models_on_hub("pull", f"{repo_id}@0.1.0", "--out", tmp_path / "old")
    assert old.code == 0, old
    assert contents(tmp_path / "old") == contents(net_folder)


def test_a_dry_run_lists_everything_and_writes_nothing(hub, models_on_hub, net, repo_id, tmp_path):
    hub.hold(repo_id, net, "v0.1.0", kind="models")
    newer = saved(tmp_path / "newer", version="0.2.0")
    planned = models_on_hub("push", newer, repo_id, "--dry-run", "--json")
    assert planned.code == 0, planned
    facts = planned.facts
    assert (facts["state"], facts["commits"]) == ("would be published", 1)
    changed = ("README.md", "config.json", "sha256.json")
    assert facts["to upload"] == {name: (newer / name).stat().st_size for name in changed}
    assert "+# fresh 0.2.0" in facts["card"]
    new = models_on_hub("push", newer, "me/not-there-yet", "--dry-run")
    assert new.code == 0, new
    assert writes(hub) == []
    assert not [path for path in models_on_hub.home.iterdir() if path.suffix != ".txt"]


def damage(net):
    content = bytearray((net / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (net / "model.safetensors").write_bytes(content)


def other_weights(net):
    from safetensors.torch import load_file, save_file

    weights = load_file(net / "model.safetensors")
    weights["stem.kernels"] = weights["stem.kernels"].flip(0)
    save_file(weights, net / "model.safetensors")
    write_checksums(net)


def edit(name, old, new):
    def change(net):
        text = (net / name).read_text()
        assert old in text
        (net / name).write_text(text.replace(old, new))
        write_checksums(net)

    return change


NOT_PUSHED = {
    "a damaged one": (damage, 1, "differs from its sha256"),
    "one that says something else": (other_weights, 1, "differ by"),
    "one without a card": (lambda net: (net / "README.md").unlink(), 2, "not the card of this"),
    "a card that is none": (edit("README.md", "cc-by-4.0", "["), 2, "not the card of this"),
    "a card with another licence": (edit("README.md", "cc-by-4.0", "mit"), 2, "expected cc-by-4.0"),
    "the card of other weights": (
        lambda net: edit("README.md", json.loads((net / "sha256.json").read_text())[
            "model.safetensors"], "0" * 64)(net), 2, "does not name the sha256",
    ),
    "no version": (edit("config.json", '"0.1.0"', '"new"'), 2, "expected three numbers"),
    "a token": (edit("README.md", "# fresh", f"HF_TOKEN={TOKEN}"), 2, "holds your token"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_PUSHED)
def test_what_is_not_as_it_should_be_is_not_pushed(hub, models_on_hub, net, repo_id, case):
    change, code, expected = NOT_PUSHED[case]
    change(net)
    pushed = models_on_hub("push", net, repo_id)
    assert pushed.code == code, pushed
    assert expected in pushed.err
    assert TOKEN not in pushed.err
    assert hub.requests == []


WRONG = {
    "no model": (["push", "no-such-net", "{repo}"], "neither a bundled model nor a folder"),
    "another version": (["push", "{net}", "{repo}@0.2.0"], "is version 0.1.0, not 0.2.0"),
    "a dataset": (["pull", "hf://datasets/me/name"], "is no repository of a model"),
    "no repository": (["pull", "me/nothing"], "there is no model me/nothing"),
    "no such version": (["verify", "{repo}@0.2.0"], "has no version 0.2.0; it has 0.1.0"),
    "no folder": (["verify", "run/model"], "run/model is no folder here, and on the Hub: there is"),
    "no place": (["pull", "{repo}", "--out", "no/where"], "make it first"),
    "a taken place": (["pull", "{repo}", "--out", "."], "cannot be replaced"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_ends_with_code_2_and_writes_nothing(
    hub, models_on_hub, net_folder, repo_id, case
):
    hub.hold(repo_id, net_folder, "v0.1.0", kind="models")
    arguments, expected = WRONG[case]
    names = {"repo": repo_id, "net": str(net_folder)}
    done = models_on_hub(*(argument.format(**names) for argument in arguments))
    assert done.code == 2, done
    assert expected.format(**names) in done.err
    assert writes(hub) == []
    assert not list(models_on_hub.home.rglob("config.json"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"config.json": b'{"name": "bert"}'}, "holds the model 'bert', not 'fresh'"),
        ({"thesis.pdf": b"the only copy"}, "no model of ceria, such as 'thesis.pdf'"),
    ],
)
def test_a_repository_with_something_else_is_left_alone(
    hub, models_on_hub, net_folder, repo_id, files, expected
):
    repository = hub.hold(repo_id, net_folder, kind="models")
    repository.commit({name: Blob(content) for name, content in files.items()})
    pushed = models_on_hub("push", net_folder, repo_id)
    assert pushed.code == 2
    assert expected in pushed.err
    assert writes(hub) == []


def test_private_repositories(hub, models_on_hub, net_folder, repo_id):
    assert models_on_hub("push", net_folder, repo_id, "--private").code == 0
    assert hub.repository(repo_id, "models").private
    assert models_on_hub("pull", repo_id).code == 0
    pulled = models_on_hub("pull", f"{repo_id}@0.1.0", HF_TOKEN="")
    assert pulled.code == 2
    assert "if it is private or gated, log in" in pulled.err


def test_the_list_has_what_was_pulled_and_skips_what_cannot_be_read(
    hub, models_on_hub, net_folder, repo_id
):
    hub.hold(repo_id, net_folder, "v0.1.0", kind="models")
    assert models_on_hub("pull", repo_id).code == 0
    models = models_on_hub("list", "--json").facts["models"]
    (own,) = [one for one in models if one["source"] == "Hub"]
    assert (own["name"], own["version"]) == (f"{repo_id}@0.1.0", "0.1.0")
    assert f"{repo_id}@0.1.0" in models_on_hub("list").out
    (place(models_on_hub.cache, repo_id) / "config.json").write_text("{")
    listed = models_on_hub("list", "--json")
    assert listed.code == 0, listed
    assert {one["source"] for one in listed.facts["models"]} <= {"bundled"}


@pytest.fixture(scope="module")
def offline_client(_hub, tmp_path_factory):
    home = tmp_path_factory.mktemp("offline")
    client = Client(_hub, home, "ceria_models", HF_HUB_OFFLINE="1")
    yield client
    client.close()


def test_offline_nothing_is_asked(hub, models_on_hub, offline_client, net_folder, repo_id):
    hub.hold(repo_id, net_folder, "v0.1.0", kind="models")

    def offline(*arguments):
        return offline_client(*arguments, home=models_on_hub.home)

    before = hub.connections
    for arguments in (["pull", repo_id], ["verify", repo_id], ["push", net_folder, repo_id]):
        done = offline(*arguments)
        assert done.code == 2, done
        assert "HF_HUB_OFFLINE is set" in done.err
    assert hub.connections == before
    assert models_on_hub("pull", repo_id).code == 0
    before = hub.connections
    pulled = offline("pull", repo_id, "--json")
    assert pulled.code == 0, pulled
    assert pulled.facts["version"] == "0.1.0"
    for name in (repo_id, f"{repo_id}@0.1.0"):
        assert offline("verify", name).code == 0
    assert "there are 0.1.0" in offline("pull", f"{repo_id}@0.2.0").err
    damage(place(models_on_hub.cache, repo_id))
    damaged = offline("pull", repo_id)
    assert damaged.code == 1
    assert "was damaged after it was pulled" in damaged.err
    assert offline("verify", f"{repo_id}@0.1.0").code == 1
    assert hub.connections == before
    again = models_on_hub("pull", repo_id, "--json")
    weights = (net_folder / "model.safetensors").stat().st_size
    assert again.facts["bytes fetched"] == weights
    assert contents(place(models_on_hub.cache, repo_id)) == contents(net_folder)


def test_the_token_is_nowhere(hub, models_on_hub, net_folder, repo_id, image):
    loud = {"HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug"}
    hub.hold("me/known-net", net_folder, "v0.1.0", kind="models")
    echo = f"bad token {TOKEN} in Authorization: Bearer {TOKEN}"
    out = models_on_hub.home / "found"
    told = [
        models_on_hub(*arguments, **loud)
        for arguments in (
            ["push", net_folder, repo_id, "--dry-run"],
            ["push", net_folder, repo_id, "--debug"],
            ["pull", repo_id, "--json"],
            ["verify", repo_id, "--debug"],
            ["predict", image, "--model", repo_id, "--pixel-size", "0.2", "--force", "--out", out],
            ["list"],
            ["pull", "me/nothing", "--debug"],
        )
    ]
    assert [each.code for each in told] == [0, 0, 0, 0, 0, 0, 1], told
    for fault in (
        Fault("/refs", status(403, echo, X_Error_Message=echo, X_HF_Warning=f"token; {echo}")),
        Fault("HEAD .*config", status(404, echo, "EntryNotFound", X_Error_Message=echo)),
    ):
        hub.faults = [fault]
        told += [
            models_on_hub(*arguments, "--debug", **loud)
            for arguments in (["push", net_folder, "me/known-net"], ["pull", "me/known-net"])
        ]
        assert fault.happened
    assert any("<token>" in each.err for each in told)
    assert not [each for each in told if TOKEN in each.out + each.err]
    files = [path for path in models_on_hub.home.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    stored = [blob for files in hub.repository(repo_id, "models").commits.values()
              for blob in files.values()]  # fmt: skip
    assert not [blob for blob in stored if TOKEN.encode() in blob.content]


def test_the_card_is_what_the_hub_takes(hub, models_on_hub, net, repo_id):
    """With an evaluation: the results name dataset, version and digest."""
    from ceria_models.model_evaluation import ModelEvaluation
    from tests.ceria_models.test_card import evaluation

    attach_evaluation(net, ModelEvaluation(own=[evaluation()]))
    assert models_on_hub("push", net, repo_id).code == 0
    repository = hub.repository(repo_id, "models")
    blob = repository.commits[repository.tags["v0.1.0"]]["README.md"]
    assert blob.content == (net / "README.md").read_bytes()
    head = ModelCard(blob.content.decode()).data
    assert (head.license, head.library_name, head.model_name) == ("cc-by-4.0", "ceria", "fresh")
    assert {"HRTEM", "cerium-oxide"} <= set(head.tags)
    assert len(head.eval_results) > 10
    for result in head.eval_results:
        assert isinstance(result, EvalResult)
        assert result.dataset_name == "data 1.2.0"
        assert result.dataset_revision == "c" * 64
        assert result.dataset_args["version"] == "1.2.0"
    assert [request for request in hub.requests if "validate-yaml" in request]


def test_an_exported_net_is_a_known_file_that_is_sealed(hub, models_on_hub, net, repo_id, tmp_path):
    """What it holds does not matter here: the other test makes one."""
    (net / ONNX).write_bytes(b"an exported net")
    write_checksums(net, onnx=True)
    hub.hold(repo_id, net, "v0.1.0", kind="models")
    pulled = models_on_hub("pull", repo_id, "--json")
    assert pulled.code == 0, pulled
    file = place(models_on_hub.cache, repo_id) / ONNX
    assert pulled.facts["onnx"] == str(file)
    assert file.read_bytes() == b"an exported net"
    file.write_bytes(b"another net")
    damaged = models_on_hub("verify", f"{repo_id}@0.1.0")
    assert damaged.code == 1
    assert f"{ONNX} differs from its sha256" in damaged.err
    # Pushing the same model without an export is the same version, and takes nothing away.
    pushed = models_on_hub("push", net, repo_id, "--json")
    assert pushed.code == 0, pushed
    assert pushed.facts["notes"] == [
        "the version on the Hub is the same model, with an export of it"
    ]
    # An unsealed one is of the user's own, and is neither checked nor pushed.
    write_checksums(net)
    assert models_on_hub("verify", net).code == 0
    hub.hold("me/without", net, "v0.1.0", kind="models")
    refused = models_on_hub("pull", "me/without", "--out", tmp_path / "out")
    assert refused.code == 1
    assert f"'{ONNX}' is not expected" in refused.err


@pytest.mark.slow
def test_a_net_is_exported_on_request(hub, net_folder, repo_id, tmp_path, image):
    pytest.importorskip("onnxscript", reason="needs ceria[onnx]")
    from ceria_models.onnx_file import check_onnx

    arguments = {"home": tmp_path, "program": "ceria_models"}
    before = contents(net_folder)
    pushed = fresh(hub, "push", net_folder, repo_id, "--onnx", "--json", **arguments)
    assert pushed.code == 0, pushed
    assert contents(net_folder) == before
    pulled = fresh(hub, "pull", repo_id, "--json", **arguments)
    assert pulled.code == 0, pulled
    net = from_pretrained(pulled.facts["model"]).net
    assert check_onnx(Path(pulled.facts["onnx"]), net) < 1e-4
    again = fresh(hub, "push", net_folder, repo_id, "--onnx", "--json", **arguments)
    assert again.facts["state"] == "there already, nothing done"
    predicted = fresh(
        hub, "predict", image, "--model", f"{repo_id}@0.1.0", "--runtime", pulled.facts["onnx"],
        "--pixel-size", "0.2", "--force", "--out", tmp_path / "found", **arguments,
    )  # fmt: skip
    assert predicted.code == 0, predicted
    without = saved(tmp_path / "without", version="0.2.0")
    hub.hold(repo_id, without, "v0.2.0", kind="models")
    refused = fresh(hub, "push", without, repo_id, "--onnx", **arguments)
    assert refused.code == 2
    assert f"'{ONNX}' is missing" in refused.err
