"""Nets of segmentation_models_pytorch: what every net promises, and what they cannot."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from ceria_data.errors import ConfigError
from ceria_models.errors import NotAModelError
from ceria_models.nets import NetSettings, create_net
from ceria_models.nets.smp_net import DECODERS, ENCODERS, _library
from ceria_models.tiles import tiles_of
from ceria_models.training import _State
from ceria_models.training_config import load_training_config, training_config_from_yaml
from ceria_models.training_config import training_config_yaml as as_yaml
from ceria_models.weights import from_pretrained, verify_model
from tests.ceria_models.make_model import fresh

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("segmentation_models_pytorch") is None, reason="needs ceria[smp]"
)
SMP = {"architecture": "smp", "width": 4, "levels": 3, "blocks": 1, "patch": 2}
CONFIG = as_yaml(load_training_config("residual-unet-tiny"))


def made(decoder="unet", encoder="resnet18", **sizes):
    torch.manual_seed(5)
    net = create_net(
        NetSettings(**(SMP | {"max_count": 14, "decoder": decoder, "encoder": encoder} | sizes))
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


@pytest.fixture(params=sorted(DECODERS))
def net(request):
    return made(request.param)


def everything(output):
    return torch.cat([part.flatten(1) for part in vars(output).values()], dim=1)


@torch.no_grad()
def test_an_image_keeps_its_pixels_and_stays_apart_from_the_batch(net):
    images = torch.randn(3, 2, 37, 50)
    together = net(images)
    assert together.logits.shape == (3, 2, 15, 37, 50)
    assert together.offset.shape == (3, 2, 2, 37, 50)
    torch.testing.assert_close(
        everything(together)[1:2], everything(net(images[1:2])), atol=1e-5, rtol=1e-5
    )
    assert torch.equal(everything(net(images)), everything(together))


@torch.no_grad()
def test_tiles_see_what_the_whole_image_shows(net):
    image = torch.randn(1, 2, net.stride, 4 * net.reach)
    whole = net(image).logits
    parts = list(tiles_of(image.shape[-2:], net, net.reach // 2))
    assert len(parts) > 4
    for part in parts:
        seen = net(image[..., part.rows, part.columns]).logits[..., *part.core]
        expected = whole[..., part.core_rows, part.core_columns]
        torch.testing.assert_close(seen, expected, atol=1e-5, rtol=1e-5)


def farthest(net):
    """Find the farthest pixel of a strip that an output depends on.

    Kernels that average let no signal die on the way.
    """
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                size = module.weight.abs()
                module.weight.copy_(size / size.sum((1, 2, 3), keepdim=True))
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
    width = 2 * net.reach + 4 * net.stride
    image = torch.rand(1, 2, net.stride, width, requires_grad=True)
    distances = []
    for at in (width // 2, width // 2 + net.stride - 1):
        (gradient,) = torch.autograd.grad(net(image).logits[..., at].sum(), image)
        touched = torch.nonzero(gradient.abs().sum((0, 1, 2)))
        distances.append(int((touched - at).abs().max()))
    return max(distances)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_nothing_beyond_the_reach_changes_an_output_of_an_encoder(encoder):
    net = made("unet", encoder)
    assert net.reach / 4 < farthest(net) <= net.reach


@pytest.mark.parametrize("levels", [3, 4])
def test_nothing_beyond_the_reach_changes_an_output_of_a_decoder(net, levels):
    net = made(net.settings.decoder, levels=levels)
    assert net.reach / 2 < farthest(net) <= net.reach


def test_every_weight_learns(net):
    everything(net.train()(torch.randn(2, 2, 64, 64))).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_saved_model_loads_with_its_statistics(tmp_path):
    model = fresh(**(SMP | {"decoder": "unet", "encoder": "resnet18"}))
    with torch.no_grad():
        for name, buffer in model.net.named_buffers():
            if name.endswith("running_var"):
                buffer.fill_(1e5)  # float16 ends before
    model.save_pretrained(tmp_path / "net")
    assert verify_model(tmp_path / "net")["largest_difference"] < 1e-5
    loaded = from_pretrained(tmp_path / "net").net
    for name, buffer in model.net.named_buffers():
        assert torch.equal(loaded.get_buffer(name), buffer)


def test_the_average_follows_the_statistics():
    config = training_config_from_yaml(
        CONFIG.replace("architecture: residual_unet", "architecture: smp")
        .replace("levels: 4", "levels: 3\n  decoder: unet\n  encoder: resnet18")
        .replace("width: 48", "width: 4"),
        "test",
    )
    state = _State(config, "0" * 64, 14, torch.device("cpu"), None)
    for _ in range(20):
        state.learn(state.net.train()(3 + torch.randn(2, 2, 64, 64)).logits.square().mean())
    mean, average = (
        dict(net.named_buffers())["body.encoder.bn1.running_mean"]
        for net in (state.net, state.average)
    )
    assert mean.abs().max() > 0.1
    assert torch.nn.functional.cosine_similarity(mean, average, dim=0) > 0.9
    assert not state.average.training


def test_a_config_of_other_nets_is_written_as_before():
    assert "encoder" not in CONFIG
    assert "encoder" not in fresh().config.net.model_dump()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"decoder": "pspnet"}, "unknown decoder 'pspnet'; expected one of unet"),
        ({"encoder": "se_resnet50"}, "unknown encoder 'se_resnet50'; expected one of resnet18"),
        ({"encoder": ""}, "unknown encoder"),
        ({"levels": 6}, "expected 3 to 5 levels"),
        ({"blocks": 2}, "1 block"),
        ({"architecture": "plain_unet"}, "takes no decoder"),
    ],
)
def test_what_is_not_supported_is_refused(change, match):
    settings = SMP | {"max_count": 14, "decoder": "unet", "encoder": "resnet18"} | change
    with pytest.raises(NotAModelError, match=match):
        create_net(NetSettings(**settings))


def test_a_config_is_refused_where_it_is_read():
    with pytest.raises(ConfigError, match="unknown decoder"):
        training_config_from_yaml(
            CONFIG.replace("architecture: residual_unet", "architecture: smp"), "test"
        )


def test_the_library_has_every_name():
    library = _library()
    assert all(hasattr(library, name) for name in DECODERS.values())
    assert set(ENCODERS) <= set(library.encoders.get_encoder_names())


def test_a_missing_extra_is_named():
    code = (
        "import sys; sys.modules['segmentation_models_pytorch'] = None\n"
        "from ceria_models.nets import NetSettings, create_net\n"
        "create_net(NetSettings('smp', 4, 3, 1, 2, 14, 'unet', 'resnet18'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr
    assert "pip install 'ceria[smp]'" in done.stderr


def test_a_net_is_exported(tmp_path):
    pytest.importorskip("onnxscript", reason="needs ceria[onnx]")
    from ceria_models.onnx_file import export_onnx
    from ceria_models.prediction import predict

    model = fresh(**(SMP | {"decoder": "unet", "encoder": "resnet18"}))
    facts = export_onnx(model, tmp_path)
    assert facts["largest_difference"] < 1e-5
    counts = np.random.default_rng(2).poisson(20.0, (40, 50))
    torch_says, onnx_says = (
        predict(model, counts, 0.2, probabilities=True, runtime=name).probabilities
        for name in ("float32", facts["file"])
    )
    np.testing.assert_allclose(onnx_says, torch_says, atol=2e-3)
