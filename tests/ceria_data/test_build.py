import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from ceria_data import block, mkl, simulate
from ceria_data.build import Progress, build
from ceria_data.cluster import WorkerLostError
from ceria_data.compare import compare, regenerate
from ceria_data.dataset import open_dataset
from ceria_data.errors import (
    CeriaError,
    DatasetError,
    DeviceError,
    DiskSpaceError,
    OutputError,
    StructureError,
)
from ceria_data.multislice import bytes_per_wave
from ceria_data.store import read_manifest
from ceria_data.verify import verify
from tests.tiny import Here, build_tiny, reseal, tiny_config


def with_mkl():
    return tiny_config(("padding_A: 3.0", "padding_A: 3.0, engine: batched_mkl"))


@pytest.fixture(scope="module")
def mkl_folder(tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("mkl") / "d", with_mkl())


def digests(folder):
    manifest = read_manifest(folder)
    return manifest["labels_digest"], manifest["content_digest"]


@pytest.mark.parametrize("size", [1, 2, 6])
def test_the_block_size_changes_no_value(tiny_folder, tmp_path, size):
    assert digests(build_tiny(tmp_path / "d", block=size)) == digests(tiny_folder)


@pytest.mark.parametrize("waves", [1, 2, 5])
@pytest.mark.parametrize("engine", ["batched", "batched_mkl"])
def test_the_size_of_a_batch_changes_no_value(request, tmp_path, engine, waves):
    config = tiny_config() if engine == "batched" else with_mkl()
    folder = request.getfixturevalue("tiny_folder" if engine == "batched" else "mkl_folder")
    memory = waves * bytes_per_wave(simulate.cell_of(config), simulate.settings_of(config))
    other = build_tiny(tmp_path / "d", config, batch_memory=memory)
    assert digests(other) == digests(folder)
    assert read_manifest(other)["engine"]["waves_together"] == waves


def test_too_little_memory_for_a_wave_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DeviceError, match=r"needs 1 MB and may have 0 MB"):
        build_tiny(tmp_path / "d", batch_memory=100_000)
    assert list(tmp_path.iterdir()) == []


def test_growth_changes_no_old_value(tiny_folder, tmp_path):
    grown = tiny_config(("structures: 4", "structures: 6"), ("structures: 2", "structures: 5"))
    result = compare(tiny_folder, build_tiny(tmp_path / "grown", grown))
    assert (result.common, result.only_a, result.only_b) == (6, 0, 5)
    assert result.labels_equal
    assert result.share_of_differing_counts == 0
    assert result.largest_intensity_difference == 0


def test_another_seed_changes_everything(tiny_folder, tmp_path):
    other = build_tiny(tmp_path / "other", tiny_config(("seed: 11", "seed: 12")))
    result = compare(tiny_folder, other)
    assert len(result.differing_labels) == 6
    assert result.share_of_differing_counts > 0.1


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ("", "precision: float64"),
        ("", "engine: batched_mkl"),
        ("transmission: grid", "engine: abtem, transmission: grid, fft: fftw"),
    ],
)
def test_neither_precision_nor_engine_shows(tmp_path, base, change):
    one, other = (
        build_tiny(tmp_path / name, tiny_config(("padding_A: 3.0", f"padding_A: 3.0, {settings}")))
        for name, settings in (("one", base), ("other", change))
    )
    assert digests(one)[0] == digests(other)[0]
    result = compare(one, other)
    intensities = [zarr.open_group(folder / "data.zarr")["intensity"][:] for folder in (one, other)]
    mine, theirs = (array.astype(np.float64) for array in intensities)
    assert 0 < np.sqrt(np.mean((mine - theirs) ** 2)) < 3e-3 * mine.std()
    assert 0 < result.largest_intensity_difference < 3e-3
    # A count changes where its uniform number lies between two distribution functions.
    pixel_dose = 200 * 0.25**2
    explained = 1.2 * pixel_dose * np.abs(mine - theirs).mean() + 1e-5
    assert result.share_of_differing_counts < explained


def test_a_build_with_mkl_says_so(mkl_folder, tiny_folder):
    with_it, without = read_manifest(mkl_folder), read_manifest(tiny_folder)
    assert with_it["engine"]["engine"] == "batched_mkl"
    assert with_it["recipe_digest"] != without["recipe_digest"]
    assert with_it["software"].keys() - without["software"].keys() == {"torch"}
    assert with_it["machine"].keys() - without["machine"].keys() == {"maker"}
    assert regenerate(mkl_folder, 3).equal


def test_without_mkl_nothing_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.backends.mkl.is_available", lambda: False)
    mkl.library.cache_clear()
    with pytest.raises(DeviceError, match="PyTorch with MKL"):
        build_tiny(tmp_path / "d", with_mkl())
    assert list(tmp_path.iterdir()) == []


def test_labels_do_not_depend_on_the_transmission(tiny_folder, tmp_path):
    grid = tiny_config(("padding_A: 3.0", "padding_A: 3.0, transmission: grid"))
    other = build_tiny(tmp_path / "other", grid)
    assert digests(other)[0] == digests(tiny_folder)[0]
    assert digests(other)[1] != digests(tiny_folder)[1]


def test_a_sample_can_be_made_again(tiny_folder):
    assert regenerate(tiny_folder, 3).equal


def test_a_changed_sample_is_told_apart(tiny):
    zarr.open_group(tiny / "data.zarr", mode="r+")["counts"][3, 0, 0] = 60000
    reseal(tiny)
    assert regenerate(tiny, 3).differing_counts == 1


def test_an_unknown_sample_is_refused(tiny_folder):
    with pytest.raises(CeriaError, match="no sample 12; its samples are 0 to 11"):
        regenerate(tiny_folder, 12)


def test_progress_reaches_the_total(tmp_path):
    states: list[Progress] = []
    build_tiny(tmp_path / "d", block=2, on_progress=states.append)
    assert [(s.done, s.total) for s in states] == [(0, 12), (4, 12), (8, 12), (12, 12)]


def test_a_complete_dataset_is_not_built_again(tiny):
    def refuse():
        raise AssertionError("workers were started")

    before = (tiny / "manifest.json").stat().st_mtime_ns
    build(tiny_config(), tiny, workers=refuse, resume=True)
    assert (tiny / "manifest.json").stat().st_mtime_ns == before


def test_resume_with_nothing_there_starts(tmp_path):
    assert verify(build_tiny(tmp_path / "d", resume=True)) == []


@pytest.mark.parametrize(
    ("config", "flags", "message"),
    [
        (tiny_config(), {}, "--overwrite replaces it"),
        (tiny_config(("seed: 11", "seed: 12")), {"resume": True}, "another config"),
        (tiny_config(), {"resume": True, "overwrite": True}, "exclude each other"),
    ],
)
def test_an_existing_dataset_is_kept(tiny, config, flags, message):
    before = digests(tiny)
    with pytest.raises(OutputError, match=message):
        build_tiny(tiny, config, **flags)
    assert digests(tiny) == before


def test_overwrite_replaces_a_dataset(tiny):
    build_tiny(tiny, tiny_config(("seed: 11", "seed: 12")), overwrite=True)
    assert verify(tiny) == []
    assert read_manifest(tiny)["seed"] == 12
    assert [path.name for path in tiny.parent.iterdir() if "tiny" in path.name] == ["tiny"]


def test_overwrite_never_removes_a_folder_that_is_no_dataset(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match=r"holds files, but no manifest\.json"):
        build_tiny(tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "thesis.txt").exists()


class StopError(Exception):
    """An interruption at a chosen block."""


def interrupt_after(monkeypatch, blocks):
    real, done = block.build_block, []

    def stopping(order):
        if len(done) == blocks:
            raise StopError
        done.append(order.block)
        return real(order)

    monkeypatch.setattr("ceria_data.build.build_block", stopping)
    return done


def test_an_interrupted_build_continues_where_it_stopped(tiny_folder, tmp_path, monkeypatch):
    out = tmp_path / "d"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(StopError):
            build_tiny(out, block=2)
    assert not out.exists()
    with pytest.raises(OutputError, match="--resume continues it"):
        build_tiny(out)
    done = interrupt_after(monkeypatch, 9)
    build_tiny(out, resume=True)
    assert done == [2]
    assert digests(out) == digests(tiny_folder)
    assert verify(out) == []


@pytest.mark.parametrize("damage", ["shard", "part", "receipt"])
def test_a_block_damaged_between_two_runs_is_made_again(tiny_folder, tmp_path, monkeypatch, damage):
    out = tmp_path / "d"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(StopError):
            build_tiny(out, block=2)
    staging = tmp_path / ".d.staging"
    path = {
        "shard": staging / "dataset/data.zarr/volume/c/0/0/0/0",
        "part": staging / "parts/block-000000-atoms.parquet",
        "receipt": staging / "receipts/block-000000.json",
    }[damage]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = interrupt_after(monkeypatch, 9)
    build_tiny(out, resume=True)
    assert done == [0, 2]
    assert digests(out) == digests(tiny_folder)


def test_resume_with_a_changed_config_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(StopError):
            build_tiny(tmp_path / "d", block=2)
    with pytest.raises(OutputError, match="another recipe"):
        build_tiny(tmp_path / "d", tiny_config(("seed: 11", "seed: 12")), resume=True)
    with pytest.raises(OutputError, match="another layout"):
        build_tiny(tmp_path / "d", block=3, resume=True)


def test_a_second_builder_is_refused(tmp_path, monkeypatch):
    real = block.build_block
    refused = []

    def second(order):
        with pytest.raises(OutputError, match="another command is writing"):
            build_tiny(tmp_path / "d", resume=True)
        refused.append(order.block)
        return real(order)

    monkeypatch.setattr("ceria_data.build.build_block", second)
    build_tiny(tmp_path / "d", block=6)
    assert refused == [0]


def poison(monkeypatch, number):
    real = simulate.label_structure

    def label(config, entry, planes):
        if entry.number == number:
            raise RuntimeError("poisoned")
        return real(config, entry, planes)

    monkeypatch.setattr("ceria_data.simulate.label_structure", label)


def test_a_poisoned_structure_is_named_and_nothing_is_published(tmp_path, monkeypatch):
    poison(monkeypatch, 2)
    with pytest.raises(StructureError, match=r"structure 2 \(number 2\): RuntimeError: poisoned"):
        build_tiny(tmp_path / "d", block=2)
    assert not (tmp_path / "d").exists()


def test_a_poisoned_structure_is_skipped_on_demand_and_the_card_says_so(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        poison(patch, 2)
        out = build_tiny(tmp_path / "d", allow_missing=True)
    assert verify(out) == []
    assert read_manifest(out)["missing"] == [
        {"structure": 2, "number": 2, "error": "RuntimeError: poisoned"}
    ]
    assert "poisoned" in (out / "README.md").read_text()
    dataset = open_dataset(out)
    assert len(dataset) == 10
    assert 2 not in set(dataset.samples["structure"])


def test_a_structure_that_failed_is_tried_again_on_resume(tiny_folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        poison(patch, 2)
        with pytest.raises(StructureError):
            build_tiny(tmp_path / "d")
    build_tiny(tmp_path / "d", resume=True)
    assert digests(tmp_path / "d") == digests(tiny_folder)


def test_an_image_that_is_not_finite_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ceria_data.simulate.form_image", lambda *_: np.full((24, 28), np.nan, np.float32)
    )
    with pytest.raises(StructureError, match="not finite"):
        build_tiny(tmp_path / "d")


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("ceria_data.staging.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DiskSpaceError, match=r"0\.0 MB free; the build needs about"):
        build_tiny(tmp_path / "d")
    assert not (tmp_path / ".d.staging").exists()


def test_a_disk_that_fills_loses_nothing(tiny_folder, tmp_path, monkeypatch):
    real, written = block.write_block, []

    def filling(*arguments):
        if len(written) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(arguments)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("ceria_data.block.write_block", filling)
        with pytest.raises(DiskSpaceError, match="--resume"):
            build_tiny(tmp_path / "d", block=2)
    assert not (tmp_path / "d").exists()
    build_tiny(tmp_path / "d", resume=True)
    assert digests(tmp_path / "d") == digests(tiny_folder)


def test_a_dataset_that_does_not_verify_is_not_published(tmp_path, monkeypatch):
    monkeypatch.setattr("ceria_data.finish.root_digest", lambda leaves: "0" * 64)
    with pytest.raises(DatasetError, match="was not published"):
        build_tiny(tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_workers_that_write_elsewhere_are_noticed(tmp_path, monkeypatch):
    real = block.build_block

    def elsewhere(order):
        receipt = real(order)
        (tmp_path / ".d.staging/receipts/block-000000.json").unlink()
        return receipt

    monkeypatch.setattr("ceria_data.build.build_block", elsewhere)
    with pytest.raises(OutputError, match="must see the same folder"):
        build_tiny(tmp_path / "d", block=6)


def test_the_config_of_a_dataset_rebuilds_it(tiny_folder, tmp_path):
    from ceria_data.config import load_config

    again = tmp_path / "again"
    build(load_config(tiny_folder / "config.yaml"), again, workers=Here)
    assert digests(again) == digests(tiny_folder)


def test_counts_follow_dose_and_intensity(tiny_folder):
    sample = open_dataset(tiny_folder, "test")[0]
    electrons = 200 * 0.25**2
    expected = electrons * float(sample.intensity.astype(np.float64).sum())
    assert abs(float(sample.counts.sum()) - expected) < 5 * np.sqrt(expected)


def test_json_facts_can_be_dumped(tiny_folder):
    from ceria_data.facts import dataset_facts

    facts = json.loads(json.dumps(dataset_facts(open_dataset(tiny_folder))))
    assert facts["images"] == 12
    assert facts["ranges"]["dose_e_per_A2"] == [200.0, 200.0]


def test_a_worker_that_comes_late_cannot_write_into_another_build(tmp_path, monkeypatch):
    """A task of one build still runs while another build takes its place."""
    orders = []
    real = block.build_block
    with monkeypatch.context() as patch:
        patch.setattr("ceria_data.build.build_block", lambda order: orders.append(order) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_tiny(tmp_path / "d", block=2)
    other = tiny_config(("seed: 11", "seed: 12"))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(StopError):
            build_tiny(tmp_path / "d", other, block=2, overwrite=True)
    with pytest.raises(OutputError, match="belongs to another build"):
        real(orders[0])
    build_tiny(tmp_path / "d", other, resume=True)
    build_tiny(tmp_path / "e", other)
    assert digests(tmp_path / "d") == digests(tmp_path / "e")


def test_a_receipt_of_another_build_is_not_accepted(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(StopError):
            build_tiny(tmp_path / "d", block=2)
    receipts = tmp_path / ".d.staging/receipts"
    assert block.read_receipt(tmp_path / ".d.staging", 0, key="another") is None
    (receipts / "block-000002.json").write_bytes((receipts / "block-000000.json").read_bytes())
    done = interrupt_after(monkeypatch, 9)
    build_tiny(tmp_path / "d", resume=True)
    assert done == [2]


def test_an_interrupted_replacement_is_continued_and_replaces(tiny, monkeypatch):
    other = tiny_config(("seed: 11", "seed: 12"))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(StopError):
            build_tiny(tiny, other, block=2, overwrite=True)
    assert verify(tiny) == []
    assert read_manifest(tiny)["seed"] == 11
    done = interrupt_after(monkeypatch, 9)
    build_tiny(tiny, other, resume=True)
    assert done == [1, 2]
    assert read_manifest(tiny)["seed"] == 12


def test_a_dataset_that_appears_meanwhile_is_not_replaced(tiny_folder, tmp_path, monkeypatch):
    real = block.build_block

    def publishing(order):
        if not (tmp_path / "d").exists():
            shutil.copytree(tiny_folder, tmp_path / "d")
        return real(order)

    monkeypatch.setattr("ceria_data.build.build_block", publishing)
    with pytest.raises(OutputError, match="was not replaced"):
        build_tiny(tmp_path / "d", tiny_config(("seed: 11", "seed: 12")))
    assert digests(tmp_path / "d") == digests(tiny_folder)


class Fragile:
    """Workers that die whenever a task has to simulate one certain structure."""

    def __enter__(self):
        return self.run_all

    def __exit__(self, *_):
        return None

    def run_all(self, run, tasks, in_flight=None):
        for task in tasks:
            rows = [task.row] if hasattr(task, "row") else self.rows(task)
            yield task, WorkerLostError("killed") if 3 in rows else run(task)

    @staticmethod
    def rows(order):
        return [row for row in order.layout.rows(order.block) if row not in order.lost]


def test_a_structure_that_kills_its_workers_is_found_among_its_block(tmp_path):
    with pytest.raises(StructureError, match=r"1 of 6 .* structure 3 .*took its worker down"):
        build(tiny_config(), tmp_path / "d", workers=Fragile, block=3)
    build(tiny_config(), tmp_path / "d", workers=Fragile, resume=True, allow_missing=True)
    assert [entry["structure"] for entry in read_manifest(tmp_path / "d")["missing"]] == [3]
    assert verify(tmp_path / "d") == []


def test_blocks_of_different_software_are_not_joined(tmp_path, monkeypatch):
    versions = iter([{"numpy": "1"}, {"numpy": "2"}, {"numpy": "2"}])
    monkeypatch.setattr("ceria_data.block.software", lambda engine: next(versions))
    with pytest.raises(OutputError, match="workers of one kind"):
        build_tiny(tmp_path / "d", block=2)


@pytest.mark.parametrize("out", [".", ".."])
def test_the_current_folder_cannot_be_the_dataset(tmp_path, monkeypatch, out):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(OutputError, match="name a folder inside"):
        build_tiny(Path(out))


def test_what_is_written_already_needs_no_more_room(tiny_folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(StopError):
            build_tiny(tmp_path / "d", block=2)
    from ceria_data.plan import plan

    needed = plan(tiny_config(), block=2).bytes_on_disk
    usage = shutil.disk_usage(tmp_path)._replace(free=needed - 1)
    monkeypatch.setattr("ceria_data.staging.shutil.disk_usage", lambda _: usage)
    build_tiny(tmp_path / "d", resume=True)
    assert digests(tmp_path / "d") == digests(tiny_folder)
