"""A net that is asked for the optics: what is asked, how it is scored, what is left of it."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from ceria_data.aberrations import Aberrations, wave_aberration
from ceria_data.errors import ConfigError
from ceria_models.crops import Crops
from ceria_models.decoded import decode_split
from ceria_models.nets import NetSettings, create_net
from ceria_models.optics import OPTICS, optics_of, turned_optics
from ceria_models.trainee import Trainee, optics_likelihood
from ceria_models.training_config import load_training_config
from tests.ceria_models.test_training import tiny, trained

WITH_OPTICS = tiny(("dice: 0.1}", "dice: 0.1, optics: 0.1}"), ("crops: 96", "crops: 32"))
SMALL = NetSettings("residual_unet", 8, levels=2, blocks=1, patch=2, max_count=14)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return decode_split("ceria-columns-mini", "validation", tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_astigmatism_turns_with_the_image(quarters, mirrored):
    """The aberration of the turned parts is the turned aberration, sampled symmetrically."""
    axis = np.linspace(-0.02, 0.02, 21)
    angle = axis[None, :] + 1j * axis[:, None]

    def aberration(optics):
        return wave_aberration(angle, Aberrations(C12=complex(optics[2], optics[3])))

    optics = np.array([-60.0, 20.0, 3.0, 4.0], dtype=np.float32)
    expected = np.rot90(aberration(optics), quarters)
    if mirrored:
        expected = expected[:, ::-1]
    assert np.allclose(aberration(turned_optics(optics, quarters, mirrored)), expected)


def test_crops_carry_the_optics_of_their_image(split):
    crops = Crops(split, WITH_OPTICS.views.views(), WITH_OPTICS.mask.mask(), 14, seed=0)
    row = split.samples.iloc[5]
    twice = np.radians(2 * row["A1_azimuth_deg"])
    for number in range(8):
        found = crops[number, 5].optics.numpy()
        assert found[:2] == pytest.approx([row["defocus_A"], row["focal_spread_A"]])
        assert abs(found[2]) == pytest.approx(abs(row["A1_A"] * np.cos(twice)), rel=1e-5)
        assert abs(found[3]) == pytest.approx(abs(row["A1_A"] * np.sin(twice)), rel=1e-5)
    assert optics_of(split.samples).shape == (len(split), len(OPTICS))


def test_likelihood_is_that_of_students_t():
    """Units of 10 Å; 4 degrees of freedom with the spread as scale, up to the constant."""
    optics = torch.tensor([[-60.0, 20.0, 3.0, -4.0]])
    named = torch.zeros(1, 2, 4, 1, 1)
    named[0, 0, :, 0, 0] = torch.tensor([-6.5, 1.0, 0.3, 0.6])
    named[0, 1, :, 0, 0] = torch.tensor([0.0, 0.5, -1.0, -9.0])
    errors, spreads = [0.5, 1.0, 0.0, 1.0], np.exp([0.0, 0.5, -1.0, -2.0])
    # t over sqrt(2) of the scale: 1 + x² / 2 instead of 1 + x² / 4.
    scale = spreads / 2**0.5
    density = stats.t.logpdf(errors, 4, scale=scale) - stats.t.logpdf(0, 4, scale=1 / 2**0.5)
    found = float(optics_likelihood(named, optics))
    assert found == pytest.approx(-density.mean(), rel=1e-5)


def test_the_head_sees_the_coarsest_grid_and_leaves_the_output_alone():
    torch.manual_seed(0)
    net = create_net(SMALL)
    image = torch.randn(2, 2, 16, 24)
    output, named = Trainee(net, asks_optics=True)(image)
    assert named.shape == (2, 2, 4, 4, 6)
    assert torch.equal(output.logits, net(image).logits)
    assert not net.bottom._forward_hooks
    alone, nothing = Trainee(net, asks_optics=False)(image)
    assert nothing is None
    assert torch.equal(alone.logits, output.logits)
    named.sum().backward()
    assert net.stem.kernels.grad.abs().sum() > 0
    assert net.classes.weight.grad is None


@pytest.fixture
def folder(tmp_path):
    """Makes folders to train in."""

    def make(name):
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name

    return make


def test_what_is_asked_changes_the_weights_and_is_not_kept(split, folder):
    asked = trained(split, folder("asked"), WITH_OPTICS)
    silent = tiny(("crops: 96", "crops: 32"))
    alone = trained(split, folder("alone"), silent)
    assert asked.state_dict().keys() == alone.state_dict().keys()
    assert not torch.equal(asked.stem.kernels, alone.stem.kernels)


def test_an_interrupted_training_goes_on_with_its_head(split, folder):
    whole = trained(split, folder("whole"), WITH_OPTICS)
    with pytest.raises(KeyboardInterrupt):
        trained(split, folder("parts"), WITH_OPTICS, stop_after=2)
    again = trained(split, folder("parts"), WITH_OPTICS)
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name]), name


def test_nets_without_a_coarsest_grid_are_refused():
    text = {"architecture": "mixed_scale", "levels": 3}
    config = load_training_config("residual-unet-tiny").model_dump(mode="json")
    config["net"] = {"width": 8, "patch": 2} | text
    config["loss"]["optics"] = 0.1
    with pytest.raises(ValueError, match=r"loss.optics is 0.1, .* mixed_scale has no coarsest"):
        type(WITH_OPTICS).model_validate(config)
    with pytest.raises(TypeError, match="no coarsest grid"):
        Trainee(torch.nn.Identity(), asks_optics=True)


def test_a_factor_that_is_negative_is_refused():
    with pytest.raises(ConfigError, match="optics"):
        tiny(("dice: 0.1}", "dice: 0.1, optics: -1}"))


def test_parts_of_astigmatism_are_periodic_in_half_a_turn():
    rows = pd.DataFrame(
        {"defocus_A": 0.0, "focal_spread_A": 1.0, "A1_A": 2.0, "A1_azimuth_deg": [30.0, 210.0]}
    )
    first, second = optics_of(rows)
    assert first == pytest.approx(second, abs=1e-5)
    assert first[2:] == pytest.approx([1.0, 3**0.5], rel=1e-5)
