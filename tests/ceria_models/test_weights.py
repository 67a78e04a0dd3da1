"""Models on the disk: what is not exactly as it should be is not loaded."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ceria_data.errors import OutputError
from ceria_models.errors import NotAModelError, WeightsError
from ceria_models.model_files import write_checksums
from ceria_models.weights import from_pretrained, save_model, verify_model
from tests.ceria_models.make_model import fresh


@pytest.fixture
def folder(tmp_path):
    save_model(fresh(), tmp_path / "net")
    return tmp_path / "net"


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    config["net"] |= changes
    (folder / "config.json").write_text(json.dumps(config))
    write_checksums(folder)


def test_a_saved_model_loads_as_it_was_rounded(folder):
    model = from_pretrained(folder)
    assert model.config == fresh().config
    for key, value in fresh().net.state_dict().items():
        assert torch.equal(model.net.state_dict()[key], value.half().float())
    assert not model.net.training
    assert verify_model(folder)["largest_difference"] < 1e-5


def test_others_may_read_all_files_or_none(folder):
    """A model that one user puts on a shared disk is for all who may read the folder."""
    modes = {file.stat().st_mode for file in folder.iterdir()}
    assert len(modes) == 1


def test_saving_does_not_replace(folder):
    with pytest.raises(OutputError, match="exists already"):
        fresh().save_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "test.safetensors"])
def test_one_changed_byte_is_seen(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-9] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises((WeightsError, NotAModelError)):
        from_pretrained(folder)


def test_weights_of_other_values_fail_the_stored_test(folder):
    weights = load_file(folder / "model.safetensors")
    weights["stem.kernels"] = weights["stem.kernels"].flip(0)
    save_file(weights, folder / "model.safetensors")
    write_checksums(folder)
    with pytest.raises(WeightsError, match="differ by"):
        verify_model(folder)


def test_a_giant_net_is_refused_before_anything_is_allocated(folder, monkeypatch):
    change_config(folder, width=512, levels=16, blocks=32)
    asked = []
    real = torch.empty

    def watched(*size, **options):
        made = real(*size, **options)
        asked.append(0 if made.is_meta else made.numel())
        return made

    monkeypatch.setattr(torch, "empty", watched)
    with pytest.raises(NotAModelError, match="does not fit"):
        from_pretrained(folder)
    assert max(asked, default=0) < 1000


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"width": 10**9}, "expected a whole number"),
        ({"architecture": "subprocess"}, "unknown architecture"),
        ({"architecture": "plain_unet"}, "does not fit"),
        ({"max_count": 10}, "classes"),
    ],
)
def test_a_config_of_another_net_is_refused(folder, changes, match):
    change_config(folder, **changes)
    with pytest.raises(NotAModelError, match=match):
        from_pretrained(folder)


def test_pickles_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(NotAModelError, match="may run code"):
        from_pretrained(folder)


@pytest.mark.parametrize("lacks", ["sha256.json", "test.safetensors"])
def test_a_model_that_is_not_whole_is_refused(folder, lacks):
    (folder / lacks).unlink()
    with pytest.raises(WeightsError, match="get the model anew"):
        from_pretrained(folder)


def test_a_newer_format_is_refused(folder):
    config = json.loads((folder / "config.json").read_text()) | {"format_version": 2}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotAModelError, match="install a newer ceria"):
        from_pretrained(folder)


def test_an_unknown_name_names_the_choices():
    with pytest.raises(NotAModelError, match="neither a bundled model"):
        from_pretrained("no-such-net")
