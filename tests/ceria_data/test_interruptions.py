"""Real processes, really killed."""

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from ceria_data.store import read_manifest
from ceria_data.verify import verify
from tests.tiny import TINY

KILLS = 20
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def start(config, out, *flags):
    command = [
        sys.executable,
        "-m",
        "ceria_data",
        "build",
        str(config),
        "--out",
        str(out),
        "--json",
    ]
    return subprocess.Popen(
        [*map(str, command), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )


def digests(out):
    manifest = read_manifest(out)
    return manifest["labels_digest"], manifest["content_digest"]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [("--workers", "1"), ("--workers", "2", "--block", "1"), ("--workers", "0", "--block", "2")],
    ids=" ".join,
)
def test_fresh_processes_and_workers_change_no_value(tiny_folder, config, tmp_path, flags):
    process = start(config, tmp_path / "d", *flags)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert digests(tmp_path / "d") == digests(tiny_folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_again_and_again_it_ends_with_the_same_content(
    tiny_folder, config, tmp_path, capsys
):
    chance = random.Random(3)
    kills = {"driver": 0, "worker": 0}
    hits = rounds = 0
    while sum(kills.values()) < KILLS:
        rounds += 1
        out = tmp_path / f"d{rounds}"
        while not out.exists() and sum(kills.values()) < KILLS:
            target = chance.choice(list(kills))
            process = start(config, out, "--workers", "2", "--block", "1", "--resume")
            victim = strike(process, out, target, chance)
            kills[target] += victim is not None
            if victim is not None:
                hits += unfinished_write(out)
            if target == "driver" and victim is not None:
                process.wait()
            else:
                _, errors = process.communicate(timeout=120)
                assert process.returncode == 0, errors
        process = start(config, out, "--workers", "2", "--resume")
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert verify(out) == []
        assert digests(out) == digests(tiny_folder)
    with capsys.disabled():
        print(
            f"\n{sum(kills.values())} kills {kills}, {hits} of them inside a write, "
            f"{rounds} datasets, all equal"
        )
    assert min(kills.values()) > 0


def strike(process, out, target, chance):
    """Kill the driver or one of its workers at a random moment after the build has begun."""
    staging = out.parent / f".{out.name}.staging"
    begin = time.monotonic()
    while not (staging / "build.json").exists() and process.poll() is None:
        assert time.monotonic() - begin < 60
        time.sleep(0.005)
    time.sleep(chance.uniform(0.0, 5.0))
    if process.poll() is not None:
        return None
    victims = [psutil.Process(process.pid)]
    if target == "worker":
        victims = [
            child
            for child in victims[0].children(recursive=True)
            if any("spawn_main" in part for part in child.cmdline())
        ]
    if not victims:
        return None
    victim = chance.choice(victims)
    victim.send_signal(signal.SIGKILL)
    return victim


def unfinished_write(out):
    """Say whether a file is half-written, or shards wait for their receipt."""
    staging = out.parent / f".{out.name}.staging"
    if any(staging.rglob("*.partial")):
        return True
    shards = len(list((staging / "dataset/data.zarr/counts").glob("c/*")))
    return shards > len(list((staging / "receipts").glob("*.json")))


@pytest.mark.slow
def test_after_ctrl_c_resume_continues(tiny_folder, config, tmp_path):
    out = tmp_path / "d"
    process = start(config, out, "--workers", "2", "--block", "1")
    staging = tmp_path / ".d.staging"
    while not list(staging.glob("receipts/*.json")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert not out.exists()
    process = start(config, out, "--workers", "2", "--resume")
    assert process.wait(120) == 0
    assert digests(out) == digests(tiny_folder)


@pytest.mark.slow
def test_every_socket_is_bound_to_loopback(config, tmp_path):
    process = start(config, tmp_path / "d", "--workers", "2", "--block", "1")
    addresses = set()
    while process.poll() is None:
        try:
            family = [psutil.Process(process.pid)]
            family += family[0].children(recursive=True)
            for member in family:
                addresses |= {c.laddr.ip for c in member.net_connections() if c.status == "LISTEN"}
        except psutil.Error:
            continue
        time.sleep(0.02)
    assert addresses == {"127.0.0.1"}
