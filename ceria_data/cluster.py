"""Workers: the only module that imports Dask."""

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from typing import Any, TypeVar

from ceria_data.errors import ClusterError, DeviceError, MissingExtraError

try:
    import dask
    from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster, as_completed
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker
except ImportError as error:  # pragma: no cover - the base installation reads datasets only
    raise MissingExtraError("building a dataset", "generate", error.name or "dask") from error

Task = TypeVar("Task")
Result = TypeVar("Result")

LOOPBACK = "127.0.0.1"
_TASKS_PER_WORKER_IN_FLIGHT = 2
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


class WorkerLostError(Exception):
    """A task took its worker down, repeatedly."""


@contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """Start worker processes on this machine, one thread each.

    Scheduler, workers and dashboard listen on the loopback interface only.

    Parameters
    ----------
    count : int
        Worker processes, at least 1.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ClusterError
        If the workers do not start.
    """
    with (
        _silence(),
        _settings(),
        _started(
            lambda: LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:0",
                memory_limit=0,  # structures are bounded by the plan; pausing would only stall
            )
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def gpu_workers() -> Iterator[Client]:
    """Start one single-threaded worker process for every GPU of this machine.

    Raises
    ------
    MissingExtraError
        If CuPy is not installed.
    DeviceError
        If no GPU can be used.
    """
    workers = {
        index: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "host": LOOPBACK,
                "dashboard_address": None,
                "memory_limit": 0,
                "env": {**_ONE_THREAD, "CUDA_VISIBLE_DEVICES": name},
            },
        }
        for index, name in enumerate(gpu_names())
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"host": LOOPBACK, "dashboard_address": f"{LOOPBACK}:0"},
    }
    with (
        _silence(),
        _settings(),
        _started(lambda: SpecCluster(workers=workers, scheduler=scheduler)) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def existing_workers(address: str) -> Iterator[Client]:
    """Use the workers of a running scheduler.

    Parameters
    ----------
    address : str
        For example ``tcp://10.0.0.1:8786``.

    Raises
    ------
    ClusterError
        If nothing answers there within ten seconds, or if it has no workers.
    """
    with _silence():
        try:
            client = Client(address, timeout=10)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {address!r} ({error}); "
                "start one with `dask scheduler` or leave --scheduler out"
            ) from error
        with client:
            if not client.scheduler_info()["workers"]:
                raise ClusterError(f"the scheduler at {address} has no workers; start some first")
            yield client


def check_slurm() -> None:
    """See whether SLURM workers could be started, before anything is written.

    Raises
    ------
    MissingExtraError
        If dask-jobqueue is not installed.
    ClusterError
        If there is no SLURM here.
    """
    try:
        import_module("dask_jobqueue")
    except ImportError as error:
        raise MissingExtraError("--cluster slurm", "cluster", "dask_jobqueue") from error
    if shutil.which("sbatch") is None:
        raise ClusterError(
            "sbatch is not on the path; run this on a login node of a SLURM cluster, "
            "or leave --cluster out"
        )


@contextmanager
def slurm_workers(count: int) -> Iterator[Client]:
    """Submit workers to SLURM through dask-jobqueue, as its configuration file describes them.

    Raises
    ------
    ClusterError
        If SLURM is not there or dask-jobqueue is not configured.
    """
    check_slurm()
    from dask_jobqueue.slurm import SLURMCluster

    try:
        cluster = SLURMCluster(
            scheduler_options={"dashboard_address": f"{LOOPBACK}:0"},
            job_script_prologue=[f"export {name}={value}" for name, value in _ONE_THREAD.items()],
        )
        cluster.scale(count)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ClusterError(
            f"SLURM workers cannot be started ({error}); expected sbatch on the path and cores, "
            "memory and queue in the jobqueue section of the Dask configuration"
        ) from error
    with _silence(), cluster, Client(cluster) as client:
        yield client


def gpu_names() -> list[str]:
    """Name the GPUs this process may use, as CUDA_VISIBLE_DEVICES would.

    Raises
    ------
    MissingExtraError
        If CuPy is not installed.
    DeviceError
        If there is no GPU.
    """
    try:
        import cupy
    except ImportError as error:
        raise MissingExtraError("--device gpu", "gpu", "cupy") from error
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"no GPU can be used ({error}); use --device cpu") from error
    if count == 0:
        raise DeviceError("no GPU found on this machine; use --device cpu")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(i) for i in range(count)]


def run_tasks(
    client: Client,
    run: Callable[[Task], Result],
    tasks: Iterable[Task],
    in_flight: int | None = None,
) -> Iterator[tuple[Task, Result | WorkerLostError]]:
    """Run tasks on the workers and yield each result as soon as it is there.

    Only a few tasks per worker thread are known to the scheduler at a time, so that its
    load does not grow with the number of tasks.

    Parameters
    ----------
    client : distributed.Client
    run : callable
        Called with one task; importable on the workers.
    tasks : iterable
    in_flight : int, optional
        Tasks known to the scheduler at a time; by default two for each worker there is.

    Yields
    ------
    task, result
        `WorkerLostError` instead of a result where the task killed its workers.

    Raises
    ------
    Exception
        What `run` raised.
    """
    waiting = iter(tasks)
    owner: dict[Any, Task] = {}
    running = as_completed()

    def submit_more() -> None:
        # Workers of a queue join while the build is running.
        room = in_flight or _TASKS_PER_WORKER_IN_FLIGHT * max(1, _single_threaded(client))
        for task in islice(waiting, max(0, room - len(owner))):
            future = client.submit(run, task, pure=False, retries=0)
            owner[future.key] = task
            running.add(future)

    submit_more()
    for future in running:
        task = owner.pop(future.key)
        submit_more()
        try:
            yield task, future.result()
        except KilledWorker as error:
            yield task, WorkerLostError(str(error))
        except FutureCancelledError as error:
            raise ClusterError(
                f"the scheduler was lost ({error}); continue with --resume"
            ) from error
        finally:
            future.release()


def _single_threaded(client: Client) -> int:
    """Count the workers; refuse those that run several tasks in one process.

    Settings of abTEM, Zarr and BLAS belong to the process: tasks beside each other would
    change them under each other.
    """
    threads = client.nthreads()
    if any(count != 1 for count in threads.values()):
        raise ClusterError(
            f"a worker has {max(threads.values())} threads; expected 1: start workers with "
            "--nthreads 1 (SLURM: as many processes as cores)"
        )
    return len(threads)


@contextmanager
def _settings() -> Iterator[None]:
    settings: dict[str, Any] = {
        # Ctrl-C reaches the whole process group; the driver alone answers it.
        "distributed.worker.preload": [
            "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
        ],
        "distributed.nanny.pre-spawn-environ": {
            **_ONE_THREAD,
            "DASK_LOGGING__DISTRIBUTED": "critical",
        },
        "distributed.comm.timeouts.connect": "30s",
    }
    with dask.config.set(settings):
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """Keep Dask from reporting too what the build reports, in one line."""
    # Tornado reports what fails in the client's loop. Ctrl-C while the client begins to wait lets
    # `distributed.utils.sync` (2026.8.0) cancel what has not begun: a NameError, and no harm.
    logs = [logging.getLogger(name) for name in ("distributed", "tornado.application")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _started(start: Callable[[], Any]) -> Any:
    """Start a local cluster; say it plainly if that fails."""
    try:
        return start()
    except (RuntimeError, OSError, TimeoutError) as error:
        raise ClusterError(
            f"the worker processes did not start ({error}); repeat the command with --resume, "
            "with fewer --workers if memory is short"
        ) from error
