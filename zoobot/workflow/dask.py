"""The guided prediction run shared among Dask workers: each predicts a shard of one folder of parts."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.options.predict import BATCH_SYSTEMS
from zoobot.shared import tasks
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.errors import BusyError, ConfigError, PredictionsError, ZoobotError
from zoobot.shared.imports import import_optional
from zoobot.shared.predicting.batches import FailureLimit
from zoobot.shared.predicting.part_run import PartProgress
from zoobot.shared.predicting.run import check_request
from zoobot.shared.predictions import Parts
from zoobot.shared.settings import InMemory
from zoobot.shared.tables.destination import Destination
from zoobot.shared.tables.manifest import read_manifest
from zoobot.shared.tables.part_folder import PartFolder
from zoobot.workflow.predict import (
    PredictResult,
    check_tables,
    find_model,
    predict,
    result_of_parts,
    tables_asked_for,
    write_tables,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from distributed import Client, Future

    from zoobot.options.predict import ClusterOptions, PredictAnywhereOptions, PredictOptions

# Dask clusters by name: processes here, jobs of a batch system, or a scheduler that runs already.

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
        raise ConfigError(
            f"the {workers} worker processes of --cluster local do not start ({error}); above stands what "
            'Dask says. A Python script that starts them must do its work below `if __name__ == "__main__":`'
        ) from error


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
        raise ConfigError(f"--cluster {place}: there is no such scheduler file")
    given = {"scheduler_file": str(Path(place).expanduser())} if is_file else {"address": place}
    try:
        client: Client = distributed.Client(**given)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Dask scheduler answers at --cluster {place}: {error}") from error
    return client


# Follows a folder of prediction parts that other processes fill: progress, and too many failures.


class FolderWatch:
    """Looks at a folder of parts from time to time.

    Until the first new part is there the folder may be another run's, which workers find out: nothing is said
    of it before.

    Args:
        folder: The folder.
        max_failures: How many images may fail in all, or which fraction of them; None allows any.
        shown: Whether progress is shown.
    """

    def __init__(self, folder: PartFolder, *, max_failures: float | None, shown: bool) -> None:
        self._folder, self._max_failures, self._shown = folder, max_failures, shown
        self._seen = set(folder.done())
        self._bar: PartProgress | None = None
        self._open = ExitStack()

    def __enter__(self) -> FolderWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def look(self) -> None:
        """Say which parts are new.

        Raises:
            ImageError: If more images failed than may.
        """
        new = set(self._folder.done()) - self._seen
        if new:
            self._tell(new)

    def finish(self) -> None:
        """Look once more, when all is done.

        Raises:
            ImageError: If more images failed than may.
        """
        self._tell(set(self._folder.done()) - self._seen)

    def _tell(self, new: set[int]) -> None:
        manifest = read_manifest(self._folder)
        if self._bar is None:
            self._failed = self._folder.count_failures(sorted(self._seen))
            before = manifest.count(sorted(self._seen))
            bar = PartProgress("Predicting galaxies", manifest.galaxies, done=before, shown=self._shown)
            self._bar = self._open.enter_context(bar)
        self._seen |= new
        self._failed += self._folder.count_failures(sorted(new))
        self._bar.finish_part(manifest.count(sorted(new)), failed=self._failed)
        first = self._folder.first_failures(sorted(self._seen))
        FailureLimit(self._max_failures, manifest.galaxies, before=self._failed, first=first).check()


logger = logging.getLogger(__name__)

_RETRIES = 2
_LOOK_EVERY_S = 1.0

# dropout is seeded for a process, so shards must not mix in the threads of a worker
_ONE_AT_A_TIME = threading.Lock()


def predict_on_cluster(
    options: PredictOptions,
    cluster: ClusterOptions,
    *,
    command: str = "zoobot.workflow.predict_on_cluster",
) -> PredictResult:
    """Predict by the workers of a cluster that is started, or found, for it: see `predict_on`.

    Args:
        options: Everything that can be chosen for a prediction into a folder.
        cluster: Which cluster, and how many workers.
        command: How the run was started, for its records.

    Raises:
        ZoobotError: As `predict_on`, or if there is no such cluster.
    """
    _check(options)
    with connect(cluster) as client:
        return predict_on(client, options, shards=cluster.workers, command=command)


def predict_anywhere(
    options: PredictAnywhereOptions, *, command: str = "zoobot.workflow.predict_anywhere"
) -> PredictResult:
    """Predict in this process, or, where a cluster is named, by its workers.

    Args:
        options: Everything that can be chosen for a prediction, and where it runs.
        command: How the run was started, for its records.

    Raises:
        ZoobotError: As `predict`, or `predict_on_cluster`.
    """
    if options.cluster is None:
        return predict(options.prediction(), command=command)
    return predict_on_cluster(options.prediction(), options, command=command)


def predict_on(
    client: Client,
    options: PredictOptions,
    *,
    shards: int | None = None,
    command: str = "zoobot.workflow.predict_on",
) -> PredictResult:
    """Predict a catalog into a folder of parts by the workers of a Dask cluster, any that you have.

    Each task is `zoobot.workflow.predict` of one shard, so the parts are those of a run without Dask, byte
    for byte on machines and versions that are the same. A shard whose worker is lost is given to another by
    Dask, and goes on after its last whole part; so does the whole run when it is called again. Catalog,
    model, images and the folder must have the same paths on all machines. Best are workers of one thread
    each (`threads_per_worker=1`), since a process predicts one shard at a time.

    If this process ends early, shards on workers that it did not start go on to their end.

    Args:
        client: Of the cluster.
        options: Everything that can be chosen; `save_loc` is a folder.
        shards: How many tasks; by default one for each worker that is there.
        command: How the run was started, for its records.

    Raises:
        ConfigError: If the options can't be shared, or there is no worker to count.
        PredictionsError: If the folder holds another run's predictions, or a shard has lost more workers than
            Dask allows.
        ZoobotError: Whatever else stops a shard, as `predict` says.

    Example:
        >>> from distributed import Client, LocalCluster
        >>> from zoobot import workflow
        >>> from zoobot.options import PredictOptions
        >>> cluster = LocalCluster(n_workers=4, threads_per_worker=1)  # doctest: +SKIP
        >>> options = PredictOptions(checkpoint="results/gz2", catalog="new.csv", save_loc="results/new")
        >>> workflow.predict_on(Client(cluster), options).galaxies  # doctest: +SKIP
        100000
    """
    _check(options)
    count = shards or len(client.nthreads())
    if not count:
        msg = "the Dask cluster has no workers yet: say how many shards to make (--workers, or shards=)"
        raise ConfigError(msg)
    whole = _with_absolute_paths(options)
    folder = PartFolder(whole.save_loc)
    tables = tables_asked_for(whole, folder.path)
    if whole.overwrite:
        folder.clear()
    # how many images may fail is counted here, over all shards
    alone = replace(whole, overwrite=False, progress=False, max_failures=None, summary=None, full_table=None)
    logger.info("Predicting in %d shards on %s", count, client)
    with FolderWatch(folder, max_failures=whole.max_failures, shown=whole.progress) as watch:
        shares = [replace(alone, shard=f"{number}/{count}") for number in range(1, count + 1)]
        futures = [client.submit(predict_shard, s, command, retries=_RETRIES, pure=False) for s in shares]
        try:
            _wait(futures, watch)
        except BaseException:
            client.cancel(futures)
            raise
    parts = Parts(folder.path)
    parts.require_all()
    task = tasks.from_config(parts.manifest.task)
    check_tables(tables, task)
    write_tables(tables, folder.path, task, whole)
    return result_of_parts(parts, tables)


def predict_shard(options: PredictOptions, command: str) -> ZoobotError | None:
    """Predict a shard, in a worker.

    Returns:
        The error that no further attempt would mend, which Dask therefore is not to see as one.
    """
    with _ONE_AT_A_TIME:
        while True:
            try:
                predict(options, command=command)
            except BusyError:  # a worker that Dask has lost may be at work on it still: go on after it
                time.sleep(_LOOK_EVERY_S)
            except ZoobotError as error:
                return error
            else:
                return None


def _wait(futures: Sequence[Future], watch: FolderWatch) -> None:
    distributed = import_distributed()
    pending = set(futures)
    while pending:
        try:
            ended = distributed.wait(pending, timeout=_LOOK_EVERY_S, return_when="FIRST_COMPLETED").done
        except distributed.TimeoutError:
            ended = set()
        for future in ended:
            _raise_error_of(future)
        pending -= ended
        watch.look()
    watch.finish()


def _raise_error_of(future: Future) -> None:
    try:
        error = future.result()
    except import_distributed().KilledWorker as death:
        raise PredictionsError(
            f"a shard was given up since its workers died, perhaps for lack of memory; Dask says: {death} "
            "The parts that are done stay: the same command goes on"
        ) from death
    except CancelledError as loss:
        msg = f"Dask lost a shard ({loss}). The parts that are done stay: the same command goes on"
        raise PredictionsError(msg) from loss
    if error is not None:
        raise error


def _check(options: PredictOptions) -> None:
    """Raise before any work if something can't be done, or not in shards."""
    if not Destination.of(options.save_loc).is_parts:
        raise ConfigError(
            "workers share a folder of parts, a save_loc without .parquet or another ending, got "
            f"{options.save_loc!r}"
        )
    if isinstance(options.catalog, InMemory):
        msg = f"the workers read the catalog themselves, and can't read {options.catalog}: write it to a file"
        raise ConfigError(msg)
    if options.shard is not None:
        raise ConfigError("the workers are given shards: leave --shard out")
    if options.detect:
        msg = "workers share a catalog: find the galaxies by `zoobot detect`, and give its sources"
        raise ConfigError(msg)
    for place in (options.checkpoint, *options.ensemble):
        find_model(place)
    CatalogStream(options.catalog, select=options.select, **options.catalog_arguments())
    check_request(
        options.n_samples,
        save_loc=options.save_loc,
        part_rows=options.part_rows,
        shard=None,
        max_failures=options.max_failures,
    )


def _with_absolute_paths(options: PredictOptions) -> PredictOptions:
    """The options as another process, in another folder, understands them."""

    def model(place: str) -> str:
        return _absolute(place) if Path(place).expanduser().exists() else place  # a bundled one's name

    def maybe(place: str | None) -> str | None:
        return None if place is None else _absolute(place)

    return replace(
        options,
        checkpoint=model(options.checkpoint),
        ensemble=tuple(map(model, options.ensemble)),
        catalog=maybe(options.catalog),
        mosaic=tuple(map(_absolute, options.mosaic)),
        root=maybe(options.root),
        url_cache=maybe(options.url_cache),
        save_loc=f"{_absolute(options.save_loc)}/",
        summary=maybe(options.summary),
        full_table=maybe(options.full_table),
    )


def _absolute(place: str) -> str:
    return os.path.abspath(Path(place).expanduser())
