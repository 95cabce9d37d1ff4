"""Predict a catalog of any size into a folder of parts, and go on after a kill as if nothing had happened.

Each part is predicted by itself: its batches begin anew and dropout is drawn from the seed and the part's
number. So its file does not depend on which other parts the same process predicted, and a run that was
killed, or shared among processes, gives the same bytes as one that was not.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared.catalogs.stream import CatalogPart, CatalogStream
from zoobot.shared.counting_bar import CountingBar
from zoobot.shared.errors import ImageError
from zoobot.shared.files.spreadsheets import write_csv
from zoobot.shared.files.whole import saying_why, whole_file
from zoobot.shared.pixels.first_images import check_first_images, say_grey
from zoobot.shared.predicting.batches import CatalogPrediction, FailureLimit
from zoobot.shared.predicting.members import (
    Member,
    describe_origin,
    distinct_pixels,
    distinct_readings,
    shared_task,
)
from zoobot.shared.predicting.rows import Rows, RowTable
from zoobot.shared.predictions import Parts, Predictions
from zoobot.shared.tables.destination import failures_of
from zoobot.shared.tables.layout import ID_COLUMN, SAMPLE_COLUMN
from zoobot.shared.tables.manifest import Manifest, claim_folder, decisive_versions, read_manifest
from zoobot.shared.tables.part_folder import PartFolder, Shard
from zoobot.shared.tables.writer import PredictionWriter, check_save_loc

if TYPE_CHECKING:
    from types import TracebackType


# One table from a folder of prediction parts, in the order of the catalog, at constant memory.

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What was merged.

    Args:
        save_loc: The table.
        rows: Its rows.
        failures: The table of failures beside it; None without any.
        failed: How many galaxies failed.
        missing_parts: How many parts were not there.
    """

    save_loc: Path
    rows: int
    failures: Path | None
    failed: int
    missing_parts: int


def merge_parts(folder: str | Path, save_loc: str | Path, *, partial: bool = False) -> Merged:
    """Write the predictions of a folder of parts as one table, and beside it its failures as CSV.

    Args:
        folder: The folder.
        save_loc: The table: .parquet, .csv, .hdf5, .h5, .fits or .vot.
        partial: Whether parts may be missing.

    Raises:
        PredictionsError: If the folder is none, lacks parts, or the table can't be written.

    Example:
        >>> merge_parts("results/desi", "results/desi.fits")  # doctest: +SKIP
    """
    path = check_save_loc(save_loc)
    parts = Parts(folder)
    if not partial:
        parts.require_all()
    metadata, whole = parts.read_metadata(), parts.read_columns()
    samples = whole[1].name == SAMPLE_COLUMN
    others = whole[2 if samples else 1 :]
    numbers = list(takewhile(lambda column: column.dtype in ("float32", "float16"), others))
    further, rows = others[len(numbers) :], 0
    half = path.suffix.lower() == ".parquet" and numbers[0].dtype == "float16"
    columns = [column.name for column in numbers]
    with PredictionWriter(
        path,
        columns,
        samples=samples,
        metadata=metadata,
        missing=True,  # an interval, or a value of the catalog
        dtype="float16" if half else "float32",
        further=further,
        meanings={column.name: column for column in numbers},
    ) as writer:
        for chunk in parts.read_chunks(_ROWS_AT_ONCE):
            values = chunk[columns].to_numpy(dtype=np.float32)
            sample = chunk[SAMPLE_COLUMN].to_numpy() if samples else None
            kept = [chunk[column.name].to_numpy() for column in further]
            writer.write(chunk[ID_COLUMN].tolist(), values, sample, kept)
            rows += len(chunk)
    failures, failed = _merge_failures(parts, failures_of(path))
    return Merged(
        save_loc=path, rows=rows, failures=failures, failed=failed, missing_parts=len(parts.missing)
    )


def _merge_failures(parts: Parts, path: Path) -> tuple[Path | None, int]:
    failed = 0
    with saying_why(path):
        if not parts.count_failures():
            path.unlink(missing_ok=True)
            return None, 0
        with whole_file(path) as draft:
            for table in parts.read_failures():
                write_csv(table, draft, mode="a", header=not failed)
                failed += len(table)
    return path, failed


# How far a prediction run in parts has come: a bar on a screen, lines in a log.


class PartProgress:
    """Shows progress over all parts of a process, those included that were done before.

    Args:
        what: What is done, such as "Predicting galaxies".
        total: Galaxies of all its parts.
        done: Those of the parts that were done before.
        shown: Whether anything is shown.
    """

    def __init__(self, what: str, total: int, *, done: int, shown: bool) -> None:
        self._done = done
        self._bar = CountingBar(what, total, done=done, unit="galaxies", shown=shown)

    def __enter__(self) -> PartProgress:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def show(self, done: int) -> None:
        """Say how many galaxies of the part in the making are done."""
        self._bar.reach(self._done + done)

    def finish_part(self, galaxies: int, *, failed: int) -> None:
        """Say that a part of so many galaxies is done, and how many have failed so far."""
        self._done += galaxies
        self._bar.note = f"{failed:,} failed"
        self.show(0)


logger = logging.getLogger(__name__)

_HOPELESS = 1000
"""So many failures, and not one galaxy predicted: something is wrong with all paths."""


def predict_parts(
    stream: CatalogStream,
    members: Sequence[Member],
    folder: PartFolder,
    *,
    options: Mapping[str, Any],
    rows: Rows,
    part_rows: int,
    shard: Shard,
    max_failures: float | None,
    num_workers: int,
    progress: bool,
) -> Predictions:
    """Predict those parts of a catalog that are a shard's and not yet in the folder.

    Args:
        stream: The galaxies.
        members: The model, or several of the same task.
        folder: Where the parts go.
        options: What decides the numbers: `n_samples`, `batch_size`, `seed` and more, for the manifest.
        rows: What each row holds.
        part_rows: Galaxies in a part.
        shard: Which parts.
        max_failures: How many of the shard's images may fail, or which fraction of them; None allows any.
        num_workers: Threads that read images.
        progress: Whether progress is shown.

    Raises:
        PredictionsError: If the folder holds predictions of another model, catalog or option, or can't be
            written.
        ImageError: If more images failed than may; the parts that are done stay.
        BusyError: If another process predicts the same shard, or one of another number of shards.
    """
    folder.prepare()
    with folder.at_work(shard):
        logger.info("Reading the ids of %s", stream.name)
        stream.part_rows = part_rows
        for reading in distinct_pixels(members):
            check_first_images(stream.first_paths(), reading)
        if rows.with_class and folder.manifest.exists() and "class" not in read_manifest(folder).options:
            rows = rows.without_class()  # its parts are to be alike
            logger.info("%s was begun without a column of the class, and goes on so", folder.path)
        rows.tell_few()
        decisive = {**options, "part_rows": part_rows, **rows.decisive()}
        manifest = claim_folder(folder, _describe(stream, members, decisive))
        folder.clean()
        mine = [number for number in range(manifest.part_count) if shard.takes(number)]
        done = sorted(set(folder.done()) & set(mine))
        limit = FailureLimit(
            max_failures,
            manifest.count(mine),
            before=folder.count_failures(done),
            first=folder.first_failures(done),
        )
        limit.check()
        run = _PartRun(
            members, stream, folder, manifest, limit, rows, num_workers=num_workers, hope=bool(done)
        )
        missing = set(mine) - set(done)
        what = f"{members[0].model.task.doing} {f'shard {shard}' if shard.total > 1 else 'galaxies'}"
        with PartProgress(what, manifest.count(mine), done=manifest.count(done), shown=progress) as bar:
            for part in stream.parts(part_rows, wanted=missing.__contains__) if missing else ():
                run.predict(part, bar)
        run.say_grey()
        run.refuse_nothing()
        return Predictions(save_loc=folder.path)


def _describe(stream: CatalogStream, members: Sequence[Member], options: Mapping[str, Any]) -> Manifest:
    facts = stream.facts
    # parts must not depend on the folder that a relative name starts from
    name = stream.place["catalog"] if stream.place else stream.name
    return Manifest(
        models=[member.make_hash() for member in members],
        task=shared_task([member.model.task for member in members]).to_config(),
        preprocessing=[reading.to_config() for reading in distinct_readings(members)],
        options={"engines": [member.engine for member in members], **options},
        catalog={"name": name, "galaxies": facts.galaxies, "fingerprint": facts.fingerprint},
        versions=decisive_versions(),
    )


class _PartRun:
    """Predicts one part after the other.

    Args:
        members: The models.
        stream: The galaxies.
        folder: Where the parts go.
        manifest: What was asked.
        limit: Ends the run where too many images fail.
        rows: What each row holds.
        num_workers: Threads that read images.
        hope: Whether images could be read before.
    """

    def __init__(
        self,
        members: Sequence[Member],
        stream: CatalogStream,
        folder: PartFolder,
        manifest: Manifest,
        limit: FailureLimit,
        rows: Rows,
        *,
        num_workers: int,
        hope: bool,
    ) -> None:
        self._members, self._folder, self._limit, self._rows = members, folder, limit, rows
        self._options, self._num_workers, self._hope = manifest.options, num_workers, hope
        self._grey = self._read = 0
        self._samples = manifest.options["n_samples"] * len(members)
        self._origin = describe_origin(members, stream, n_samples=self._samples) | rows.origin()
        self._origin["catalog"] = manifest.catalog["name"]  # it may have been called from elsewhere before

    def predict(self, part: CatalogPart, bar: PartProgress) -> None:
        """Write a part: first its failures, then its predictions, which say that it is done."""
        path = self._folder.part(part.number)
        if not path.exists():  # else another process was faster
            self._seed(part.number)
            run = CatalogPrediction(
                part.galaxies,
                self._members,
                batch_size=self._options["batch_size"],
                num_workers=self._num_workers,
                limit=self._limit,
            )
            kept = RowTable(part.galaxies, self._rows.carried)
            with self._rows.writer(path, samples=self._samples > 1, metadata=self._origin) as writer:
                for chunk in run:
                    self._hope |= self._rows.write(writer, chunk.ids, chunk.values, kept) > 0
                    bar.show(chunk.done)
                self._folder.write_failures(part.number, run.failures)
            self._limit.add(run.failures)
            self._grey, self._read = self._grey + run.grey, self._read + len(part.galaxies)
            if self._limit.failed >= _HOPELESS:
                self.refuse_nothing()
        bar.finish_part(len(part.galaxies), failed=self._limit.failed)

    def say_grey(self) -> None:
        """Say how many pictures of the parts made here were grey, of those that were to be in colour."""
        say_grey(self._grey, self._read)

    def _seed(self, number: int) -> None:
        for place, member in enumerate(self._members):
            drawn = np.random.SeedSequence([self._options.get("seed", 0), number, place]).generate_state(1)
            member.seed_dropout(int(drawn[0]))

    def refuse_nothing(self) -> None:
        """Raise an ImageError if images have failed and not one could be read."""
        if self._hope or not self._limit.failed:
            return
        first = self._limit.first[0]
        raise ImageError(
            f"not one of {self._limit.failed:,} images could be read; the first: {first.file_loc}: "
            f"{first.reason}. Are paths relative to another folder (root)?"
        )
