"""The guided prediction run of a catalog of any size, into a folder of parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.errors import ConfigError, PredictionsError
from zoobot.shared.files.safe import write_safely
from zoobot.shared.parts.files import PartFolder
from zoobot.shared.parts.reading import Parts
from zoobot.shared.parts.shards import read_shard
from zoobot.workflow.run_folder import RunRecord, describe_options, loaded_versions

if TYPE_CHECKING:
    from zoobot.shared.config import PredictOptions, RepresentOptions

__all__ = ["predict_into_folder", "refuse_tables_of_a_shard"]


def predict_into_folder(
    options: PredictOptions | RepresentOptions,
    models: Any,
    predict_with: Callable[..., Any],
    *,
    command: str,
    work: str = "predict",
    tables: Callable[[Path], None] = lambda _: None,
) -> Parts:
    """Predict the parts that are missing, and give the folder as it then is.

    In the folder's `_runs` stands the record of each shard's last run.

    Args:
        options: Everything that was chosen.
        models: The trained models, or whatever `predict_with` takes as its second argument.
        predict_with: What predicts with them, as was chosen.
        command: How the run was started, for its record.
        work: What it does, in a word, for its record.
        tables: Writes further tables from the whole folder.

    Raises:
        ZoobotError: If the catalog can't be used, the folder holds another run's predictions, or another
            process predicts the same.
    """
    shard = read_shard(options.shard)
    folder = PartFolder(options.save_loc)
    galaxies = CatalogStream(options.catalog, select=options.select, **options.catalog_arguments())
    if options.overwrite:
        folder.clear()
    folder.prepare()
    with folder.at_work(shard):
        path = folder.record(shard)
        before = path.read_bytes() if path.exists() else None
        record = RunRecord(path, {"work": work, "status": "running", "command": command})
        record.update(**describe_options(options), versions=loaded_versions())
        _let_be_last(path)
        with _forgotten_if_refused(path, before), record.running():
            predict_with(
                galaxies,
                models,
                save_loc=f"{folder.path}/",
                part_rows=options.part_rows,
                shard=options.shard,
            )
            tables(folder.path)
    return Parts(folder.path)


def _let_be_last(record: Path) -> None:
    """Let no record of an earlier run look later than this one, as after the clock was set back."""
    now = record.stat().st_mtime_ns
    for other in record.parent.glob("*.json"):
        with suppress(FileNotFoundError, PermissionError):  # taken back meanwhile; another user's
            if other != record and other.stat().st_mtime_ns >= now:
                os.utime(other, ns=(now - 1, now - 1))


@contextmanager
def _forgotten_if_refused(path: Path, before: bytes | None) -> Iterator[None]:
    """Leave the record of the run that the parts are of, where this one is refused since it is another."""
    try:
        yield
    except PredictionsError:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_safely(path, before)
        raise


def refuse_tables_of_a_shard(options: PredictOptions) -> None:
    """Raise if further tables are asked for of a shard, which has not all galaxies."""
    if options.shard is not None and (options.summary or options.full_table):
        msg = (
            "--summary and --full-table are made of all parts: when every shard is done, give the same "
            "command without --shard, which then only writes them"
        )
        raise ConfigError(msg)
