"""Dask clusters by name: processes here, jobs of a batch system, or a scheduler that runs already."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.errors import ConfigError
from zoobot.shared.optional import import_optional
from zoobot.shared.options.cluster import BATCH_SYSTEMS

if TYPE_CHECKING:
    from distributed import Client

    from zoobot.shared.options import ClusterOptions

__all__ = ["connect", "import_distributed"]

_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
_THREADS_OF_WORKERS = "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__OMP_NUM_THREADS"
_LISTS = ("job-script-prologue", "worker-extra-args")
_REPLACE_EVERY_MS = 30_000


def import_distributed() -> Any:
    """Dask's scheduler, or an error that says how to install it."""
    return import_optional("distributed", needed_for="sharing work among Dask workers")


@contextmanager
def connect(options: ClusterOptions) -> Iterator[Client]:
    """A client of the cluster that was asked for; what was started for it ends with it.

    Each worker process takes one shard at a time. Jobs that end too early, such as at their time limit, are
    submitted again.

    Args:
        options: Which cluster, and how many workers are started.

    Raises:
        ConfigError: If the cluster can't be started, or no scheduler answers.
        MissingPackageError: If Dask is not installed.
    """
    distributed = import_distributed()
    if not options.starts_workers:
        with _client_of_scheduler(distributed, str(options.cluster)) as client:
            yield client
        return
    workers = int(options.workers or 1)
    cluster = _start_here(distributed, workers) if options.batch_system is None else _start_jobs(options)
    with cluster, distributed.Client(cluster) as client:
        yield client


def _start_here(distributed: Any, workers: int) -> Any:
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    try:
        return distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=None,  # what a model needs is not Dask's to judge
            dashboard_address=None,
            env=dict.fromkeys(_THREADS, threads),
        )
    except (RuntimeError, OSError) as error:
        msg = (
            f"the {workers} worker processes of --cluster local do not start ({error}); above stands what "
            'Dask says. A Python script that starts them must do its work below `if __name__ == "__main__":`'
        )
        raise ConfigError(msg) from error


def _start_jobs(options: ClusterOptions) -> Any:
    jobqueue = import_optional(
        "dask_jobqueue", needed_for=f"--cluster {options.cluster}", package="dask-jobqueue"
    )
    dask = import_optional("dask", needed_for="its configuration")
    tornado = import_optional("tornado.ioloop", needed_for="submitting jobs")
    system, section = options.batch_system or ("", "")
    make = getattr(jobqueue, BATCH_SYSTEMS[system])
    submit = make.job_cls.submit_command.split()[0]
    if shutil.which(submit) is None:
        msg = f"--cluster {options.cluster} submits jobs by {submit!r}, which this machine does not have"
        raise ConfigError(msg)
    if section not in dask.config.get("jobqueue"):
        msg = f"--cluster {options.cluster}: Dask's configuration has no section jobqueue.{section}"
        raise ConfigError(msg)
    stated = {name: dask.config.get(f"jobqueue.{section}.{name}", None) or [] for name in _LISTS}
    cores = dask.config.get(f"jobqueue.{section}.cores", None) or 1
    try:
        cluster = make(
            config_name=section,
            processes=1,
            job_script_prologue=[*stated["job-script-prologue"], f"export {_THREADS_OF_WORKERS}={cores}"],
            worker_extra_args=[*stated["worker-extra-args"], "--nthreads", "1"],
        )
    except (ValueError, KeyError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        msg = f"--cluster {options.cluster}: jobqueue.{section} in Dask's configuration: {what}"
        raise ConfigError(msg) from error
    cluster.scale(options.workers)
    cluster.sync(_wait_until_submitted, cluster)
    if any(job.status.name == "created" for job in cluster.workers.values()):  # Dask logs why, and waits
        with suppress(AssertionError):  # of Dask's, that each job has begun
            cluster.close()
        msg = f"--cluster {options.cluster}: {submit} does not take the jobs; above stands what it said"
        raise ConfigError(msg)
    replace_lost = tornado.PeriodicCallback(lambda: cluster.scale(options.workers), _REPLACE_EVERY_MS)
    cluster.loop.add_callback(replace_lost.start)
    return cluster


async def _wait_until_submitted(cluster: Any) -> None:
    await cluster


def _client_of_scheduler(distributed: Any, place: str) -> Client:
    is_file = place.endswith(".json")
    if is_file and not Path(place).expanduser().is_file():  # Dask would wait for it, for ever
        msg = f"--cluster {place}: there is no such scheduler file"
        raise ConfigError(msg)
    given = {"scheduler_file": str(Path(place).expanduser())} if is_file else {"address": place}
    try:
        client: Client = distributed.Client(**given)
    except (OSError, ValueError) as error:
        msg = f"no Dask scheduler answers at --cluster {place}: {error}"
        raise ConfigError(msg) from error
    return client
