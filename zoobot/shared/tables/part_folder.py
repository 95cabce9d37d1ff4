"""The folder of a prediction run in parts: which files it has, and which of them are there.

    part-000000.parquet …            the predictions, each file those of one part of the catalog
    _failures/part-000000.parquet …  galaxies of that part whose image could not be read, if there are any
    _manifest.json                   what was asked of which model and catalog
    _runs/                           the records of the runs that wrote the parts

Names that begin with _ are not part of a Parquet dataset, so pandas and Arrow read the folder as one table.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from zoobot.shared.errors import BusyError, ConfigError, PredictionsError, ZoobotError
from zoobot.shared.files.locks import LOCK_ENDING, lock_file, locked, refuse_busy
from zoobot.shared.files.whole import clear_abandoned, saying_why, whole_file
from zoobot.shared.loader import Failure

# Shares of the parts of a prediction run, for processes that work at the same time.

ShardSource: TypeAlias = str | tuple[int, int]


class Shard(NamedTuple):
    """One of several processes that share the parts of a run.

    Args:
        number: Which one, counted from 1.
        total: Of how many.

    Example:
        >>> [Shard(2, 3).takes(part) for part in range(6)]
        [False, True, False, False, True, False]
    """

    number: int
    total: int

    def takes(self, part: int) -> bool:
        """Whether a part, counted from 0, is this one's."""
        return part % self.total == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def read_shard(shard: ShardSource | None) -> Shard:
    """A shard from how it is written; None is the only one of one.

    Args:
        shard: "3/8", or (3, 8): the third of eight, which are "1/8" to "8/8".

    Raises:
        ConfigError: If it is none.

    Example:
        >>> read_shard("3/8"), read_shard(None)
        (Shard(number=3, total=8), Shard(number=1, total=1))
    """
    if shard is None:
        return Shard(1, 1)
    pair: object = shard
    if isinstance(shard, str):
        found = re.fullmatch(r"(\d+)/(\d+)", shard.strip())
        pair = (int(found[1]), int(found[2])) if found else (0, 0)
    match pair:
        case (int(number), int(total)) if 1 <= number <= total:
            return Shard(number, total)
    raise ConfigError(f"shard must be one of 1/N, 2/N, …, N/N, such as 3/8, got {shard!r}")


MANIFEST_FILE = "_manifest.json"
FAILURES = "_failures"
_RUNS = "_runs"
_PART = re.compile(r"part-(\d{6,})\.parquet")
_TRIES, _PAUSE_S = 5, 0.1


@contextmanager
def intact(path: Path) -> Iterator[None]:
    """Say which file of a part is damaged, where reading it fails, and how to make it anew."""
    try:
        yield
    except ZoobotError:
        raise
    except Exception as error:  # Arrow has its own for damaged files, of many classes
        raise PredictionsError(
            f"{str(path)!r} is damaged ({type(error).__name__}: {error}): delete it, and the part of that "
            "number, and give the command that made them again, which makes only what is missing"
        ) from error


def make_writable_folder(path: Path) -> None:
    """Make a folder for predictions if need be, and try that it can be written; call it before work.

    Raises:
        PredictionsError: If it can't.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass  # permissions lie on network drives; a file that was made does not
    except OSError as error:
        msg = f"can't write predictions into the folder {str(path)!r}: {error.strerror or error}"
        raise PredictionsError(msg) from error


class PartFolder:
    """A folder of parts.

    Args:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()

    @property
    def manifest(self) -> Path:
        """What was asked of which model and catalog."""
        return self.path / MANIFEST_FILE

    @property
    def runs(self) -> Path:
        """Where the records of runs are."""
        return self.path / _RUNS

    def part(self, number: int) -> Path:
        """The file of a part's predictions."""
        return self.path / f"part-{number:06d}.parquet"

    def failures(self, number: int) -> Path:
        """The file of a part's failures."""
        return self.path / FAILURES / f"part-{number:06d}.parquet"

    def prepare(self) -> None:
        """Make the folder if need be, and try that it can be written; call it before work.

        Raises:
            PredictionsError: If it can't, or holds other files.
        """
        make_writable_folder(self.path)
        others = [path.name for path in self.path.iterdir() if path.name[0] not in "._"]
        if others and not self.manifest.exists():  # looked for last: another process may just have made it
            some = ", ".join(sorted(others)[:5])
            msg = f"{self.path} holds other files ({some}); give the predictions a folder of their own"
            raise PredictionsError(msg)

    def record(self, shard: Shard) -> Path:
        """The record of a shard's last run."""
        return self.runs / f"{_name(shard)}.json"

    def lock(self, shard: Shard) -> Path:
        """The file that is locked while a process predicts a shard."""
        return self.path / LOCK_ENDING if shard.total == 1 else lock_file(self.path / _name(shard))

    @contextmanager
    def at_work(self, shard: Shard) -> Iterator[None]:
        """Hold the folder for a shard: others of as many shards may work here too, and nobody else.

        Raises:
            BusyError: If another process predicts the same shard, or the catalog is being shared in
                another number of shards: galaxies would be predicted twice.
        """
        with locked(self.lock(shard)):
            self._refuse_other_sharing(shard)
            yield

    def _refuse_other_sharing(self, shard: Shard) -> None:
        alike = set(self.path.glob(self.lock(Shard(1, shard.total)).name.replace("-1-of-", "-*-of-")))
        for path in sorted(set(self.path.glob(f"*{LOCK_ENDING}")) - alike):
            try:
                _refuse_long_busy(path)
            except BusyError as error:
                raise BusyError(
                    f"shard {shard} was asked for, but the galaxies are being shared in another number of "
                    f"shards: {error}"
                ) from error

    def refuse_busy(self) -> None:
        """Raise a BusyError if any process predicts into this folder: call it before parts are deleted."""
        for path in sorted(self.path.glob(f"*{LOCK_ENDING}")):
            refuse_busy(path)

    def done(self) -> list[int]:
        """The numbers of the parts that are there, in order."""
        return _numbers(self.path, _PART)

    def failed_parts(self) -> list[int]:
        """The numbers of the parts that are there and have failures, in order."""
        return sorted(set(_numbers(self.path / FAILURES, _PART)) & set(self.done()))

    def clean(self) -> None:
        """Delete what killed runs left unfinished, and nothing that is in the making."""
        for folder in (self.path, self.path / FAILURES, self.runs):
            clear_abandoned(folder)

    def clear(self) -> None:
        """Delete all that runs have left, and nothing else.

        Raises:
            BusyError: If one is at work here.
        """
        self.refuse_busy()
        self.clean()
        for number in self.done():
            self.part(number).unlink(missing_ok=True)
        for number in _numbers(self.path / FAILURES, _PART):
            self.failures(number).unlink(missing_ok=True)
        for record in self.runs.glob("*.json"):
            record.unlink(missing_ok=True)
        self.manifest.unlink(missing_ok=True)

    def write_failures(self, number: int, failures: Sequence[Failure]) -> None:
        """Write the failures of a part; without any, remove those of an earlier attempt."""
        path = self.failures(number)
        with saying_why(path):
            if not failures:
                path.unlink(missing_ok=True)
                return
            schema = pa.schema([(name, pa.string()) for name in Failure._fields])
            path.parent.mkdir(exist_ok=True)
            with whole_file(path) as draft:
                parquet.write_table(pa.table([_plain(c) for c in zip(*failures, strict=True)], schema), draft)

    def count_failures(self, numbers: Sequence[int]) -> int:
        """How many galaxies failed in some parts."""
        return sum(map(self.count_failures_of, set(numbers) & set(self.failed_parts())))

    def count_failures_of(self, number: int) -> int:
        """How many galaxies failed in one part, without a look at all others."""
        path = self.failures(number)
        with intact(path):
            return int(parquet.read_metadata(path).num_rows) if path.exists() else 0

    def first_failures(self, numbers: Sequence[int]) -> list[Failure]:
        """The failures of the first of some parts that has any."""
        first = min(set(numbers) & set(self.failed_parts()), default=None)
        return [] if first is None else [Failure(*row) for row in self._read(first).itertuples(index=False)]

    def read_failures(self) -> Iterator[pd.DataFrame]:
        """The failures of each part that has any, in order: `id_str`, `file_loc`, `reason`."""
        for number in self.failed_parts():
            yield self._read(number)

    def _read(self, number: int) -> pd.DataFrame:
        path = self.failures(number)
        with intact(path):
            # by itself: a folder above called x=1 is no column of it
            table: pd.DataFrame = parquet.ParquetFile(path).read(columns=list(Failure._fields)).to_pandas()
            if list(table.columns) != list(Failure._fields):
                raise ValueError(f"its columns are {list(table.columns)}, not {list(Failure._fields)}")
        return table


def _refuse_long_busy(path: Path) -> None:
    """Raise a BusyError if a lock stays held: shards that start together look into those of the dead."""
    for _ in range(_TRIES):
        with suppress(BusyError):
            refuse_busy(path)
            return
        time.sleep(_PAUSE_S)
    refuse_busy(path)


def _name(shard: Shard) -> str:
    return "run" if shard.total == 1 else f"shard-{shard.number}-of-{shard.total}"


def _plain(texts: Sequence[str]) -> list[str]:
    """Texts as Parquet can hold them: names of files need not be Unicode."""
    return [text.encode("utf-8", "backslashreplace").decode() for text in texts]


def _numbers(folder: Path, pattern: re.Pattern[str]) -> list[int]:
    return sorted(number for _, number in _matching(folder, pattern))


def _matching(folder: Path, pattern: re.Pattern[str]) -> list[tuple[Path, int]]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        found = ((entry.path, pattern.fullmatch(entry.name)) for entry in entries)
        return [(Path(path), int(match[1])) for path, match in found if match]
