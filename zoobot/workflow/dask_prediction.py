"""The guided prediction run shared among Dask workers: each predicts a shard of one folder of parts."""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoobot.shared import tasks
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.errors import BusyError, ConfigError, PredictionsError, ZoobotError
from zoobot.shared.parts.files import PartFolder, is_folder_of_parts
from zoobot.shared.parts.reading import Parts
from zoobot.shared.predicting.run import check_request
from zoobot.workflow.dask_cluster import connect, import_distributed
from zoobot.workflow.dask_progress import FolderWatch
from zoobot.workflow.prediction import check_tables, find_model, predict, tables_asked_for, write_tables
from zoobot.workflow.prediction_result import PredictResult, result_of_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Client, Future

    from zoobot.shared.config import PredictOptions
    from zoobot.shared.options import ClusterOptions

__all__ = ["predict_on", "predict_on_cluster"]

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
        >>> from zoobot.shared.config import PredictOptions
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
        msg = (
            f"a shard was given up since its workers died, perhaps for lack of memory; Dask says: {death} "
            "The parts that are done stay: the same command goes on"
        )
        raise PredictionsError(msg) from death
    except CancelledError as loss:
        msg = f"Dask lost a shard ({loss}). The parts that are done stay: the same command goes on"
        raise PredictionsError(msg) from loss
    if error is not None:
        raise error


def _check(options: PredictOptions) -> None:
    """Raise before any work if something can't be done, or not in shards."""
    if not is_folder_of_parts(options.save_loc):
        msg = (
            "workers share a folder of parts, a save_loc without .parquet or another ending, got "
            f"{options.save_loc!r}"
        )
        raise ConfigError(msg)
    if options.shard is not None:
        msg = "the workers are given shards: leave --shard out"
        raise ConfigError(msg)
    for place in (options.checkpoint, *options.ensemble):
        find_model(place)
    CatalogStream(options.catalog, select=options.select, **options.catalog_arguments())
    check_request(
        options.save_loc,
        options.n_samples,
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
        catalog=_absolute(options.catalog),
        mosaic=tuple(map(_absolute, options.mosaic)),
        root=maybe(options.root),
        save_loc=f"{_absolute(options.save_loc)}/",
        summary=maybe(options.summary),
        full_table=maybe(options.full_table),
    )


def _absolute(place: str) -> str:
    return os.path.abspath(Path(place).expanduser())
