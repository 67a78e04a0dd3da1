"""Workers as the flags of the command line ask for them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import typer


def workers_of(
    count: int | None, scheduler: str | None, cluster: str | None, device: str
) -> Callable[[], AbstractContextManager[Any]]:
    """Choose the workers from the flags; nothing is started before the work needs it.

    Parameters
    ----------
    count : int, optional
        Of ``--workers``; 0 works in this process, None takes one for each core.
    scheduler : str, optional
        Of ``--scheduler``.
    cluster : str, optional
        Of ``--cluster``.
    device : str
        Of ``--device``.

    Returns
    -------
    callable
        Opens the workers; the context gives a function that runs tasks.

    Raises
    ------
    typer.BadParameter
        If the flags contradict each other.

    Examples
    --------
    >>> with workers_of(0, None, None, "cpu")() as run_all:
    ...     list(run_all(abs, [-3, 4]))
    [(-3, 3), (4, 4)]
    """
    from ceria_data.build import in_this_process
    from ceria_data.provenance import cores

    if device not in ("cpu", "gpu"):
        raise typer.BadParameter(f"--device is {device!r}; expected cpu or gpu")
    if cluster not in (None, "slurm"):
        raise typer.BadParameter(f"--cluster is {cluster!r}; expected slurm")
    if scheduler and (cluster or count is not None):
        raise typer.BadParameter("--scheduler brings its own workers; leave out the other flag")
    if count is not None and device == "gpu":
        raise typer.BadParameter("--device gpu takes one worker per GPU; leave out --workers")
    if count == 0 and cluster:
        raise typer.BadParameter("--workers 0 works in this process; leave out --cluster")
    if count == 0:

        @contextmanager
        def here() -> Iterator[Any]:
            yield in_this_process

        return here
    from ceria_data import cluster as dask_workers

    if device == "gpu" and not (scheduler or cluster):
        dask_workers.gpu_names()
    opened: Callable[[], AbstractContextManager[Any]]
    if scheduler:
        opened = partial(dask_workers.existing_workers, scheduler)
        with opened():
            pass
    elif cluster:
        dask_workers.check_slurm()
        opened = partial(dask_workers.slurm_workers, count or 1)
    elif device == "gpu":
        opened = dask_workers.gpu_workers
    else:
        opened = partial(dask_workers.local_workers, count or cores())

    @contextmanager
    def workers() -> Iterator[Any]:
        with opened() as client:
            yield partial(dask_workers.run_tasks, client)

    return workers
