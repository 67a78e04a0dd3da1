"""Workers: what a user is told of them."""

import logging
import os
import signal
import threading
import time

import pytest

from ceria_data.cluster import existing_workers, local_workers


@pytest.fixture
def client():
    # Where tests run in the background of a shell, Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with local_workers(1) as client:
        yield client
    signal.signal(signal.SIGINT, before)


def interrupt_before_it_begins(client):
    """Press Ctrl-C while the client waits for an answer that nobody has begun to look for."""
    client.loop.add_callback(time.sleep, 1.0)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        client.nthreads()
    assert list(client.nthreads().values()) == [1]


def test_ctrl_c_at_any_time_prints_nothing_of_dask(client, caplog):
    interrupt_before_it_begins(client)
    assert not caplog.records


def test_ctrl_c_with_a_scheduler_of_others_prints_nothing_of_dask(client, caplog):
    for name in ("distributed", "tornado.application"):
        logging.getLogger(name).setLevel(logging.ERROR)  # as Dask sets them; `client` changed it
    with existing_workers(client.scheduler.address) as guest:
        interrupt_before_it_begins(guest)
    assert not caplog.records


def test_logs_are_as_loud_as_before_when_the_workers_are_gone():
    logs = [logging.getLogger(name) for name in ("distributed", "tornado.application")]
    before = [log.level for log in logs]
    with local_workers(1):
        assert all(log.level == logging.CRITICAL for log in logs)
    assert [log.level for log in logs] == before
