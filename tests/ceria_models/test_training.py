"""Training: the same weights however often it was interrupted, from config to model."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from ceria_data.digest import file_sha256
from ceria_data.errors import ConfigError, OutputError
from ceria_models.checkpoint import CHECKPOINT, read_checkpoint, write_checkpoint
from ceria_models.decoded import decode_split
from ceria_models.errors import TrainingError, WeightsError
from ceria_models.machine import Machine
from ceria_models.nets import create_net
from ceria_models.start import read_start, start_of
from ceria_models.training import CropOrder, train
from ceria_models.training_config import (
    bundled_configs,
    load_training_config,
    training_config_from_yaml,
    training_config_yaml,
)
from ceria_models.training_folder import open_training_folder
from ceria_models.training_run import Watch, run_training
from ceria_models.weights import from_pretrained, verify_model

TINY = """
name: tiny
seed: 3
net: {architecture: plain_unet, width: 8, levels: 2, blocks: 1, patch: 2}
mask: {radius_A: 0.6, softness_A: 0.1}
views: {crop: 32, dose_e_per_A2: [300, 3000], other_pixels: 0.3}
loss: {spatial: {column: 2.0, boundary: 0.5, balance: 0.5}, ranked_probability: 0.1, dice: 0.1}
schedule: {crops: 96, batch: 8, learning_rate: 3.0e-3}
"""
HERE = Machine(torch.device("cpu"), workers=0)
NOBODY = Watch(count=lambda unit, done, total, reused: None, note=lambda line: None)


def tiny(*changes):
    text = TINY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return training_config_from_yaml(text, "test")


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return decode_split("ceria-columns-mini", "validation", tmp_path_factory.mktemp("cache"))


def trained(split, folder, config=None, stop_after=None, machine=HERE, init=None):
    """Train in a folder; interrupt after some steps."""

    def watch(progress, average):
        if stop_after is not None and progress.step >= stop_after:
            raise KeyboardInterrupt

    return train(
        config or tiny(),
        split,
        folder,
        machine,
        content_digest="0" * 64,
        max_count=14,
        init=init,
        every=1,
        checkpoint_every_s=-1.0,
        on_progress=watch,
    )


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_an_interrupted_training_ends_with_the_same_weights(split, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = trained(split, whole)
    for stop in (3, 4, 9):
        with pytest.raises(KeyboardInterrupt):
            trained(split, parts, stop_after=stop)
        assert read_checkpoint(parts).step == stop
    assert same(expected, trained(split, parts))
    other = tmp_path / "other"
    other.mkdir()
    assert not same(expected, trained(split, other, tiny(("seed: 3", "seed: 4"))))


def test_a_training_may_begin_with_a_net_that_has_no_bottom(split, tmp_path):
    shallow = tiny(("plain_unet", "residual_unet"), ("crops: 96", "crops: 8"))
    deep = tiny(
        ("plain_unet", "residual_unet"),
        ("crops: 96", "crops: 8"),
        ("patch: 2", "patch: 2, bottom: 1"),
    )
    folders = [tmp_path / name for name in ("shallow", "deep", "fresh")]
    for folder in folders:
        folder.mkdir()
    begun = trained(split, folders[0], shallow)
    after = trained(split, folders[1], deep, init=begun.state_dict())
    fresh = trained(split, folders[2], deep)
    assert after.state_dict().keys() == fresh.state_dict().keys() > begun.state_dict().keys()

    def distance(net):
        return sum((net.state_dict()[k] - v).square().sum() for k, v in begun.state_dict().items())

    assert distance(after) < 0.1 * distance(fresh)


def test_processes_that_make_crops_change_nothing(split, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    short = tiny(("crops: 96", "crops: 24"))
    expected = trained(split, tmp_path / "a", short)
    spawned = Machine(torch.device("cpu"), workers=2)
    assert same(expected, trained(split, tmp_path / "b", short, machine=spawned))


def test_training_lowers_the_loss(split, tmp_path):
    losses = []
    train(
        tiny(("crops: 96", "crops: 800")),
        split,
        tmp_path,
        HERE,
        content_digest="0" * 64,
        max_count=14,
        every=10,
        on_progress=lambda progress, average: losses.append(progress.loss["cross_entropy"]),
    )
    assert losses[-1] < 0.6 * losses[0]


def test_every_crop_of_a_step_goes_to_one_process():
    schedule = tiny().schedule
    orders = [
        list(CropOrder(7, schedule, 3, Machine(torch.device("cpu"), 0, rank, 2), start=2))
        for rank in (0, 1)
    ]
    whole = list(CropOrder(7, schedule, 3, HERE, start=0))[2:]
    assert [sorted(a + b) for a, b in zip(*orders, strict=True)] == [sorted(s) for s in whole]
    rows = [row for step in CropOrder(7, schedule, 3, HERE, start=0) for _, row in step]
    assert sorted(rows[:7]) == list(range(7))
    assert rows[:7] != rows[7:14]


def test_a_checkpoint_of_another_training_is_refused(split, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(split, tmp_path, stop_after=2)
    with pytest.raises(TrainingError, match="another config"):
        trained(split, tmp_path, tiny(("seed: 3", "seed: 5")))
    with pytest.raises(TrainingError, match="on the dataset"):
        train(tiny(), split, tmp_path, HERE, content_digest="1" * 64, max_count=14)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    for place in range(0, len(whole), len(whole) // 20):
        changed = bytearray(whole)
        changed[place] ^= 1
        (tmp_path / CHECKPOINT).write_bytes(changed)
        with pytest.raises(WeightsError, match="cannot be read"):
            trained(split, tmp_path)
    for damaged in (b"abc", b"", whole[:-900]):
        (tmp_path / CHECKPOINT).write_bytes(damaged)
        with pytest.raises(WeightsError, match="cannot be read"):
            trained(split, tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(whole)
    begun = read_checkpoint(tmp_path)
    assert begun.step == 2
    begun.optimiser = {"anything": tmp_path}  # no tensor and no plain value
    write_checkpoint(tmp_path, begun)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_checkpoint(tmp_path)


def test_a_loss_that_is_not_finite_ends_the_training(split, tmp_path):
    with pytest.raises(TrainingError, match="lower the learning rate"):
        trained(split, tmp_path, tiny(("learning_rate: 3.0e-3", "learning_rate: 1.0e30")))


def test_from_config_to_model(tmp_path, monkeypatch):
    monkeypatch.setenv("CERIA_HOME", str(tmp_path / "home"))
    out = tmp_path / "run"
    config = tiny()
    run_training(config, "ceria-columns-mini", out, HERE, NOBODY, tensorboard=True)
    model = from_pretrained(out / "model")
    assert verify_model(out / "model")["largest_difference"] < 1e-4
    assert model.config.training.dataset == "ceria-columns-mini"
    assert training_config_yaml(config) == (out / "config.yaml").read_text()
    assert model.config.domain.dose_e_per_A2 == (300, 3000)
    assert pd.read_csv(out / "validation.csv")["step"].tolist() == [12]
    assert (out / "curve.png").stat().st_size > 5000
    assert list((out / "tensorboard").iterdir())
    with pytest.raises(OutputError, match="--resume"):
        run_training(config, "ceria-columns-mini", out, HERE, NOBODY)
    again = tmp_path / "again"
    other = tiny(("crops: 96", "crops: 8"))
    run_training(other, "ceria-columns-mini", again, HERE, NOBODY, init=str(out / "model"))
    start = from_pretrained(again / "model").config.training.start
    assert (start.model, start.crops) == (config.name, 96)
    assert start.weights_sha256 == file_sha256(out / "model/model.safetensors")
    assert start.weights_sha256 in (again / "model/README.md").read_text()
    # A training that goes on did not begin with what is named now.
    shutil.rmtree(out / "model")
    with pytest.raises(TrainingError, match="began with random numbers, this is with --init tiny"):
        run_training(
            config, "ceria-columns-mini", out, HERE, NOBODY, init=str(again / "model"), resume=True
        )
    facts = run_training(config, "ceria-columns-mini", out, HERE, NOBODY, resume=True)
    assert from_pretrained(out / "model").config.training.start is None
    assert facts["validation"] == pytest.approx(
        pd.read_csv(out / "validation.csv").iloc[-1].drop("step").to_dict()
    )
    wider = tiny(("width: 8", "width: 16"))
    with pytest.raises(TrainingError, match="take over its net section"):
        run_training(
            wider,
            "ceria-columns-mini",
            tmp_path / "x",
            HERE,
            NOBODY,
            init=str(out / "model"),
        )


def test_a_training_goes_on_as_it_was_begun(split, tmp_path):
    """Also before its first checkpoint, when only the folder says how it was begun."""
    model = from_pretrained("residual-unet-base")
    begin, other = start_of(model), start_of(model).model_copy(update={"weights_sha256": "0" * 64})
    out = tmp_path / "run"
    open_training_folder(out, tiny(), begin, overwrite=False, resume=False)
    go_on = {"overwrite": False, "resume": True}
    open_training_folder(out, tiny(), begin, **go_on)
    with pytest.raises(TrainingError, match="another config"):
        open_training_folder(out, tiny(("seed: 3", "seed: 4")), begin, **go_on)
    for given, said in ((None, "without --init"), (other, "with --init residual-unet-base")):
        with pytest.raises(TrainingError, match=f"began with residual-unet-base .*{said}"):
            open_training_folder(out, tiny(), given, **go_on)
    assert read_start(out) == begin
    with pytest.raises(KeyboardInterrupt):
        trained(split, out, stop_after=2)
    open_training_folder(out, tiny(), None, **go_on)  # the checkpoint has the weights
    with pytest.raises(TrainingError, match="began with residual-unet-base"):
        open_training_folder(out, tiny(), other, **go_on)


def test_only_a_training_is_replaced(tmp_path):
    own = tmp_path / "mine"
    own.mkdir()
    (own / "config.yaml").write_text(TINY)
    (own / "notes.txt").write_text("hello")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="something else than a training"):
            open_training_folder(own, tiny(), None, overwrite=overwrite, resume=False)
    (own / "config.yaml").write_text(training_config_yaml(tiny()))
    (own / "model").mkdir()
    changed = tiny(("seed: 3", "seed: 4"))
    open_training_folder(own, changed, None, overwrite=True, resume=False)
    assert (own / "notes.txt").read_text() == "hello"
    assert not (own / "model").exists()
    assert (own / "config.yaml").read_text() == training_config_yaml(changed)


@pytest.mark.parametrize(
    ("doses", "error", "match"),
    [
        ("[300, .inf]", ConfigError, "finite number"),
        ("[1.0e-4, 3000]", TrainingError, "electrons in a crop"),
    ],
)
def test_doses_that_cannot_be_drawn_are_refused(tmp_path, doses, error, match):
    with pytest.raises(error, match=match):
        run_training(
            tiny(("[300, 3000]", doses)), "ceria-columns-mini", tmp_path / "run", HERE, NOBODY
        )
    assert not (tmp_path / "run").exists()


def test_crops_that_images_may_be_too_small_for_are_refused(tmp_path):
    config = load_training_config("residual-unet-base")
    with pytest.raises(TrainingError, match="needs images of 135 pixels"):
        run_training(config, "ceria-columns-mini", tmp_path / "run", HERE, NOBODY)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_train_one_net(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "ceria_models", "train", str(config), "--data", "ceria-columns-mini"]
    command += ["--out", str(out), "--workers", "0", "--threads", "1", "--quiet"]
    environment = os.environ | {"CERIA_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_checkpoint(out).step == 12
    assert verify_model(out / "model")["largest_difference"] < 1e-4


@pytest.fixture(scope="module")
def pair(tmp_path_factory, split):
    """What two processes found, and the folder."""
    folder = tmp_path_factory.mktemp("pair")
    old = folder / "old"
    old.mkdir()
    (old / "config.yaml").write_text("of another training")
    with pytest.raises(KeyboardInterrupt):
        trained(split, old, tiny(("seed: 3", "seed: 9")), stop_after=2)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "tests.ceria_models.two_processes", str(folder)]
    environment = os.environ | {"CERIA_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"found-{rank}.pt") for rank in (0, 1)]


def test_two_processes_have_the_gradient_of_one(pair, split):
    from tests.ceria_models.two_processes import gradient

    terms, gradients = gradient(split, HERE)
    for found in pair:
        theirs, their_gradients = found["gradient"]
        for name, term in terms.items():
            torch.testing.assert_close(theirs[name], term, rtol=1e-5, atol=1e-6)
        for name, own in gradients.items():
            largest = float(own.abs().max())
            assert largest > 0
            torch.testing.assert_close(their_gradients[name], own, rtol=0, atol=2e-4 * largest)


def test_two_processes_end_with_the_weights_of_one(pair, split, tmp_path):
    from tests.ceria_models.two_processes import ALL_TERMS, weights

    one, other = (found["weights"] for found in pair)
    assert all(torch.equal(one[name], other[name]) for name in one)
    alone = weights(split, HERE, tmp_path / "alone")
    torch.manual_seed(ALL_TERMS.seed)
    start = create_net(ALL_TERMS.net.settings(14)).state_dict()
    apart = sum(float((one[name] - alone[name]).square().sum()) for name in one)
    moved = sum(float((start[name] - alone[name]).square().sum()) for name in one)
    assert apart < 1e-4 * moved


def test_no_process_reads_what_another_replaces(pair):
    for found in pair:
        trained, refused = found["replaced"]
        assert trained == "trained"
        assert "holds a training; go on with --resume" in refused


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path, split):
    three = Machine(torch.device("cpu"), workers=0, rank=0, world=3)
    with pytest.raises(TrainingError, match="8 crops for 3 processes; expected a multiple of 3"):
        run_training(tiny(), "ceria-columns-mini", tmp_path / "run", three, NOBODY)
    assert not (tmp_path / "run").exists()
    with pytest.raises(TrainingError, match="multiple of 3"):
        CropOrder(len(split), tiny().schedule, 3, three, start=0)


KILLED = """
import sys
from functools import partial
from ceria_models import training_run
from ceria_models.cli import main
training_run.train = partial(training_run.train, checkpoint_every_s=-1.0, every=1)
sys.argv = ["ceria-models", "train", *sys.argv[1:]]
main()
"""


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("CERIA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("ceria_models.training_run._save", lambda *_: None)
    file = tmp_path / "tiny.yaml"
    config = tiny(("crops: 96", "crops: 800"))
    file.write_text(training_config_yaml(config))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-c", KILLED, str(file), "--data", "ceria-columns-mini"]
    command += ["--out", str(killed), "--workers", "0", "--threads", "1", "--quiet", "--resume"]
    done = 0
    for _ in range(2):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and steps_in(killed) < done + 7:
                time.sleep(0.01)
            process.kill()
            assert process.wait() == -signal.SIGKILL, process.stderr.read()
        assert done < read_checkpoint(killed).step < 100
        done = read_checkpoint(killed).step
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for out in (killed, whole):
            run_training(config, "ceria-columns-mini", out, HERE, NOBODY, resume=True)
    finally:
        torch.set_num_threads(threads)
    ends = [read_checkpoint(out) for out in (killed, whole)]
    assert [end.step for end in ends] == [100, 100]
    for part in ("net", "average"):
        one, other = (getattr(end, part) for end in ends)
        assert all(torch.equal(one[name], other[name]) for name in one)
    rows = pd.read_csv(killed / "log.csv")["step"].tolist()
    assert rows == sorted(set(rows))


def steps_in(folder):
    """Steps that the log of a running training shows."""
    log = folder / "log.csv"
    return log.read_text().count("\n") - 1 if log.is_file() else 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (("width: 8", "widht: 8"), "net.widht"),
        (("plain_unet", "os.system"), "architecture"),
        (("[300, 3000]", "[3000, 300]"), "lower end first"),
        (("crops: 96", "crops: 0"), "schedule.crops"),
        (("seed: 3", "seed: [3"), "not YAML"),
    ],
)
def test_a_wrong_config_names_the_key(change, match):
    with pytest.raises(ConfigError, match=match):
        tiny(change)


def test_bundled_configs_can_be_read():
    for name in bundled_configs():
        assert load_training_config(name).name == name
    with pytest.raises(ConfigError, match="neither a YAML file"):
        load_training_config("no-such-config")
