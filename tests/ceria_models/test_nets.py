"""What every net of the zoo promises."""

from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file, save_file

from ceria_models.errors import NotAModelError
from ceria_models.nets import ARCHITECTURES, NetSettings, create_net, fixed_net
from ceria_models.nets.blocks import StandardisedConv
from tests.ceria_models.make_model import fresh

# smp has its own tests.
NETS = [(name, 0) for name in sorted(ARCHITECTURES.keys() - {"smp"})] + [("residual_unet", 2)]


@pytest.fixture(params=NETS, ids=lambda case: f"{case[0]}-{case[1]}")
def net(request):
    torch.manual_seed(4)
    name, bottom = request.param
    sizes = {"levels": 3, "blocks": 2, "patch": 2, "max_count": 14, "bottom": bottom}
    made = create_net(NetSettings(name, 8, **sizes))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()


def everything(output):
    return torch.cat([part.flatten(1) for part in vars(output).values()], dim=1)


@pytest.mark.parametrize("shape", [(48, 48), (37, 61), (5, 130)])
def test_the_output_has_the_pixels_of_the_input(net, shape):
    output = net(torch.randn(2, 2, *shape))
    assert output.logits.shape == (2, 2, 15, *shape)
    assert output.depth.shape == output.depth_log_spread.shape == (2, 2, *shape)
    assert output.offset.shape == (2, 2, 2, *shape)
    assert torch.isfinite(everything(output)).all()


def test_an_image_does_not_depend_on_the_others_of_a_batch(net):
    images = torch.randn(3, 2, 40, 40)
    together = everything(net(images))
    alone = everything(net(images[1:2]))
    # Another batch may be summed in another order; outputs of these weights reach some tens.
    rounding = 1e-5 * float(alone.detach().abs().max())
    torch.testing.assert_close(together[1:2], alone, atol=rounding, rtol=0)


def test_fixed_kernels_are_those_of_the_net(net):
    fixed = fixed_net(net)
    assert not any("gain" in key for key in fixed.state_dict())
    assert any("gain" in key for key in net.state_dict())
    image = torch.randn(1, 2, 37, 41)
    torch.testing.assert_close(everything(fixed(image)), everything(net(image)))


def test_evaluation_repeats_itself(net):
    image = torch.randn(1, 2, 40, 40)
    assert torch.equal(everything(net(image)), everything(net(image)))


def test_training_and_evaluation_are_the_same_function(net):
    image = torch.randn(1, 2, 40, 40)
    torch.testing.assert_close(everything(net.train()(image)), everything(net.eval()(image)))


def test_saved_weights_make_the_same_net(net, tmp_path):
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    other = create_net(net.settings).eval()
    other.load_state_dict(load_file(tmp_path / "net.safetensors"), strict=True)
    image = torch.randn(1, 2, 33, 47)
    assert torch.equal(everything(net(image)), everything(other(image)))


def test_nothing_beyond_the_reach_changes_an_output(net):
    size = 2 * net.reach + 4 * net.stride
    image = torch.randn(1, 2, size, size, requires_grad=True)
    farthest = 0
    for shift in range(net.stride):
        at = size // 2 + shift
        output = net(image)
        middle = output.logits[0, :, :, at, at].sum() + output.offset[0, :, :, at, at].sum()
        (gradient,) = torch.autograd.grad(middle, image)
        touched = torch.nonzero(gradient[0].abs().sum(0))
        farthest = max(farthest, int((touched - at).abs().max()))
    assert net.reach - net.stride - 4 <= farthest <= net.reach


SMP = {"blocks": 1, "decoder": "unet", "encoder": "resnet18"}


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_an_exported_net_says_the_same(architecture, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="needs ceria[onnx]")
    pytest.importorskip("onnxscript", reason="needs ceria[onnx]")
    # Not imported here: `smp_net` knows how, beside a torchvision that does not fit.
    if architecture == "smp" and find_spec("segmentation_models_pytorch") is None:
        pytest.skip("needs ceria[smp]")
    from ceria_models.onnx_file import OUTPUTS, export_onnx

    model = fresh(architecture=architecture, **(SMP if architecture == "smp" else {"blocks": 2}))
    with torch.no_grad():
        for parameter in model.net.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    file = export_onnx(model, tmp_path)["file"]
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for shape in ((1, 2, 48, 48), (3, 2, 37, 61)):
        image = torch.randn(shape)
        with torch.inference_mode():
            expected = vars(model.net(image))
        assert tuple(expected) == OUTPUTS
        found = session.run(OUTPUTS, {"image": image.numpy()})
        for name, values in zip(OUTPUTS, found, strict=True):
            scale = expected[name].abs().max()
            assert 0.01 < scale < 1e4
            torch.testing.assert_close(
                torch.from_numpy(values), expected[name], atol=float(1e-4 * scale), rtol=0
            )


def test_every_weight_learns(net):
    output = net.train()(torch.randn(2, 2, 48, 48))
    everything(output).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("dilation", [1, 4])
@pytest.mark.parametrize("channels", [20, 32])
def test_a_gradient_in_bfloat16_points_where_that_in_float32_does(channels, dilation):
    layer = StandardisedConv(channels, 8, dilation=dilation)
    images = torch.randn(2, channels, 32, 32).to(memory_format=torch.channels_last)
    gradients = []
    for bfloat16 in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, bfloat16):
            found = layer(images)
        found.float().square().mean().backward()
        gradients.append(layer.kernels.grad.flatten().clone())
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.parametrize(
    "change",
    [
        {"width": 100_000},
        {"levels": 0},
        {"blocks": 2.5},
        {"architecture": "os.system"},
        {"bottom": -1},
        {"bottom": 1000},
    ],
)
def test_impossible_sizes_are_refused(change):
    settings = {"architecture": "plain_unet", "width": 8, "levels": 3, "blocks": 1, "patch": 2}
    with pytest.raises(NotAModelError, match=r"expected"):
        create_net(NetSettings(**(settings | {"max_count": 14} | change)))


def test_only_u_nets_have_a_bottom():
    with pytest.raises(NotAModelError, match="takes no bottom"):
        create_net(NetSettings("mixed_scale", 8, 3, 1, 2, 14, bottom=1))


def test_blocks_added_at_the_bottom_say_nothing_at_first():
    deep, shallow = (
        create_net(NetSettings("residual_unet", 8, 3, 1, 2, 14, bottom=n)).eval() for n in (3, 0)
    )
    missing = deep.load_state_dict(shallow.state_dict(), strict=False).missing_keys
    assert missing
    assert all(name.startswith("bottom.") for name in missing)
    image = torch.randn(1, 2, 40, 40)
    torch.testing.assert_close(everything(deep(image)), everything(shallow(image)))
