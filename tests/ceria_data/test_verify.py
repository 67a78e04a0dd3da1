import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from ceria_data.schema import ARRAYS, ATOMS, COLUMNS, SAMPLES, STRUCTURES
from ceria_data.store import (
    dataset_files,
    read_table,
    shard_path,
    write_manifest,
    write_table,
)
from ceria_data.verify import verify
from tests.tiny import build_tiny, reseal, tiny_config

FAULTS = 500


@pytest.mark.parametrize("seed", range(4))
def test_a_healthy_dataset_raises_no_alarm(tmp_path, seed):
    config = tiny_config(("seed: 11", f"seed: {seed}"), ("structures: 4", "structures: 1"))
    assert verify(build_tiny(tmp_path / "healthy", config)) == []


def test_the_shared_dataset_is_healthy(tiny_folder):
    assert verify(tiny_folder) == []


def test_every_injected_fault_of_bytes_is_found(tiny):
    rng = np.random.default_rng(5)
    names = [*dataset_files(tiny), "manifest.json", "manifest.sha256"]
    missed = []
    for number in range(FAULTS):
        fault = FILE_FAULTS[number % len(FILE_FAULTS)]
        name = names[int(rng.integers(len(names)))]
        undo = fault(tiny, name, rng)
        problems = verify(tiny)
        undo()
        if not problems:
            missed.append((fault.__name__, name))
    assert missed == []
    assert verify(tiny) == []


def flip_a_bit(folder, name, rng):
    path = folder / name
    before = path.read_bytes()
    content = bytearray(before)
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    assert content != before
    return lambda: path.write_bytes(before)


def truncate(folder, name, rng):
    path = folder / name
    before = path.read_bytes()
    path.write_bytes(before[: rng.integers(len(before))])
    return lambda: path.write_bytes(before)


def remove(folder, name, rng):
    path = folder / name
    before = path.read_bytes()
    path.unlink()
    return lambda: path.write_bytes(before)


def add_a_stray_file(folder, name, rng):
    path = (folder / name).with_name(f"stray-{rng.integers(10**9)}")
    path.write_bytes(b"x")
    return path.unlink


def swap_two_shards(folder, name, rng):
    spec = ARRAYS[int(rng.integers(len(ARRAYS)))]
    one, two = (folder / shard_path(spec, block) for block in (0, 1))
    if not two.exists():
        return flip_a_bit(folder, name, rng)
    a, b = one.read_bytes(), two.read_bytes()
    assert a != b
    one.write_bytes(b)
    two.write_bytes(a)

    def undo():
        one.write_bytes(a)
        two.write_bytes(b)

    return undo


def append_a_byte(folder, name, rng):
    path = folder / name
    before = path.read_bytes()
    path.write_bytes(before + bytes([int(rng.integers(256))]))
    return lambda: path.write_bytes(before)


FILE_FAULTS = [
    flip_a_bit,
    truncate,
    remove,
    add_a_stray_file,
    swap_two_shards,
    append_a_byte,
]


def edit_table(folder, spec, edit):
    path = folder / f"{spec.name}.parquet"
    table = read_table(path, spec)
    table = edit(table)
    write_table(table, path, spec)


def edit_array(folder, name, edit):
    array = zarr.open_group(folder / "data.zarr", mode="r+")[name]
    values = array[:]
    edit(values)
    array[:] = values


def add_one(values):
    values.flat[values.size // 2] += 1


def set_nan(values):
    values.flat[3] = np.nan


def swap_rows(values):
    values[[0, 1]] = values[[1, 0]]


def clear(values):
    values[1] = 0


CONTENT_FAULTS = {
    "a count": lambda d: edit_array(d, "counts", add_one),
    "an unwritten image": lambda d: edit_array(d, "counts", clear),
    "two images swapped": lambda d: edit_array(d, "counts", swap_rows),
    "a NaN": lambda d: edit_array(d, "intensity", set_nan),
    "an unwritten intensity": lambda d: edit_array(d, "intensity", clear),
    "intensities swapped": lambda d: edit_array(d, "intensity", swap_rows),
    "a class": lambda d: edit_array(d, "occupancy", add_one),
    "an unwritten mask": lambda d: edit_array(d, "occupancy", clear),
    "a voxel": lambda d: edit_array(d, "volume", add_one),
    "an unwritten volume": lambda d: edit_array(d, "volume", clear),
    "a row lost": lambda d: edit_table(d, SAMPLES, lambda t: t.iloc[1:]),
    "rows swapped": lambda d: edit_table(d, SAMPLES, lambda t: t.iloc[[1, 0, *range(2, len(t))]]),
    "a dose": lambda d: edit_table(d, SAMPLES, lambda t: t.assign(dose_e_per_A2=250.0)),
    "a camera seed": lambda d: edit_table(d, SAMPLES, lambda t: t.assign(camera_seed=1)),
    "a split": lambda d: edit_table(d, STRUCTURES, lambda t: t.assign(split="test")),
    "a kind": lambda d: edit_table(d, STRUCTURES, lambda t: t.assign(kind="cube")),
    "an occupancy": lambda d: edit_table(
        d, COLUMNS, lambda t: t.assign(occupancy=t.occupancy + (t.index == 5))
    ),
    "a position": lambda d: edit_table(
        d, COLUMNS, lambda t: t.assign(x_A=t.x_A + 0.001 * (t.index == 5))
    ),
    "an atom lost": lambda d: edit_table(d, ATOMS, lambda t: t.drop(index=7)),
    "an atom moved": lambda d: edit_table(
        d, ATOMS, lambda t: t.assign(z_A=t.z_A + 0.01 * (t.index == 7))
    ),
}


@pytest.mark.parametrize("fault", CONTENT_FAULTS, ids=str)
def test_a_fault_in_the_content_is_found_although_the_checksums_fit(tiny, fault):
    CONTENT_FAULTS[fault](tiny)
    reseal(tiny)
    assert verify(tiny)


def test_a_manifest_that_was_edited_is_found(tiny):
    manifest = json.loads((tiny / "manifest.json").read_text())
    manifest["content_digest"] = "0" * 64
    write_manifest(tiny, manifest)
    assert [p for p in verify(tiny) if "content_digest" in str(p)]


def test_a_damaged_structure_is_named(tiny):
    edit_array(tiny, "counts", lambda values: values.__setitem__((3, 0, 0), 60000))
    reseal(tiny)
    text = " ".join(str(problem) for problem in verify(tiny))
    assert "structure 1" in text
    assert "sample 3: 1 counts" in text


def test_an_empty_folder_is_no_dataset_but_no_crash(tmp_path):
    assert verify(tmp_path)


def test_tables_carry_units(tiny_folder):
    schema = pq.read_schema(tiny_folder / "samples.parquet")
    assert schema.field("defocus_A").metadata[b"unit"] == "Å".encode()
