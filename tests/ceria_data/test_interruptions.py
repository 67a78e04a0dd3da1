"""Real processes, really killed."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from distributed import Client

from ceria_data.config import resolved_yaml
from ceria_data.store import read_manifest
from ceria_data.verify import verify
from tests.tiny import TINY, build_tiny, tiny_config

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
        # Where tests run in the background of a shell, Ctrl-C is ignored.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
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
            _, errors = process.communicate(timeout=120)
            assert "Traceback" not in errors
            # A worker that dies while it starts ends the command, with advice.
            # A driver may have ended by itself just before the signal.
            expected = {-signal.SIGKILL, 0} if target == "driver" and victim else {0, 2}
            assert process.returncode in expected, errors
            assert process.returncode != 2 or "--resume" in errors
        if not out.exists():
            process = start(config, out, "--workers", "0", "--resume")
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
    if chance.random() < 0.8:  # most kills among the writes, some while workers start
        shards = staging / "dataset/data.zarr/counts/c"
        known = len(list(shards.glob("*")))
        while process.poll() is None and staging.exists():
            if len(list(shards.glob("*"))) > known:
                break
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.3))
    else:
        time.sleep(chance.uniform(0.0, 5.0))
    if process.poll() is not None:
        return None
    try:
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
    except psutil.Error:  # it ended first
        return None
    return victim


def unfinished_write(out):
    """Say whether a file is half-written, or shards wait for their receipt."""
    staging = out.parent / f".{out.name}.staging"
    if any(staging.rglob("*.partial")):
        return True
    shards = len(list((staging / "dataset/data.zarr/counts").glob("c/*")))
    return shards > len(list((staging / "receipts").glob("*.json")))


@pytest.mark.slow
def test_after_ctrl_c_resume_continues(config, tmp_path):
    # Blocks that take a while: the last must not be done before the signal arrives.
    slow = tiny_config(("phonons: 1}", "phonons: 256}"), ("phonons: 2}", "phonons: 256}"))
    config.write_text(resolved_yaml(slow))
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
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert digests(out) == digests(build_tiny(tmp_path / "uninterrupted", slow))


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
    process.communicate()
    assert addresses == {"127.0.0.1"}


@pytest.mark.slow
def test_the_workers_of_a_running_scheduler_are_used(tiny_folder, config, tmp_path):
    with running_scheduler() as address:
        process = start(config, tmp_path / "d", "--scheduler", address, "--block", "2")
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert digests(tmp_path / "d") == digests(tiny_folder)


@contextmanager
def running_scheduler():
    """Start a scheduler and a worker as an operator would."""
    port = str(free_port())
    dask = [str(Path(sys.executable).with_name("dask"))]
    common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"], **common
    )
    address = f"tcp://127.0.0.1:{port}"
    worker = subprocess.Popen(
        [*dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"],
        **common,
    )
    try:
        with Client(address, timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
        yield address
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait(30)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_slurm_jobs_become_workers(tiny_folder, config, tmp_path, monkeypatch):
    """Stand in for SLURM with an sbatch that starts the submitted script right here."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    jobs = tmp_path / "jobs"
    sbatch = bin_folder / "sbatch"
    sbatch.write_text(
        f'#!/bin/sh\ncp "$1" "$1.copy"\necho "$1" >> {jobs}\n'
        'setsid sh "$1.copy" >/dev/null 2>&1 &\necho "Submitted batch job $!"\n'
    )
    scancel = bin_folder / "scancel"
    scancel.write_text('#!/bin/sh\nkill -- "-$1" 2>/dev/null\nexit 0\n')
    for script in (sbatch, scancel):
        script.chmod(0o755)
    monkeypatch.setitem(ENVIRONMENT, "PATH", f"{bin_folder}:{os.environ['PATH']}")
    for name, value in {"CORES": "1", "MEMORY": "1GB", "INTERFACE": "lo"}.items():
        monkeypatch.setitem(ENVIRONMENT, f"DASK_JOBQUEUE__SLURM__{name}", value)
    process = start(config, tmp_path / "d", "--cluster", "slurm", "--workers", "2", "--block", "1")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert len(jobs.read_text().splitlines()) == 2
    assert digests(tmp_path / "d") == digests(tiny_folder)
