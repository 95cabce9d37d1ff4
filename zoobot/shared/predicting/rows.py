"""What stands in a row of predictions beside the numbers: the class, intervals, columns of the catalog.

A table's columns are decided before work, from the task and what was asked, whatever the galaxies.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from zoobot.shared.catalogs.catalog import check_columns
from zoobot.shared.catalogs.columns import as_kind, kind_of
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.conformal import Conformal, percent, read_levels
from zoobot.shared.errors import ConfigError
from zoobot.shared.files.table_checks import TOLD
from zoobot.shared.tables.formats import find_format
from zoobot.shared.tables.layout import ID_COLUMN, SAMPLE_COLUMN, Column, meaning_of, plain_names
from zoobot.shared.tables.writer import PredictionWriter

if TYPE_CHECKING:
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.predicting.members import Member
    from zoobot.shared.tasks import Task

logger = logging.getLogger("zoobot")

Names = Literal["full", "plain"]

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class RowsAsked:
    """What a user asks to have in each row.

    Args:
        columns: Columns of the catalog that are carried along.
        intervals: Levels of intervals or sets, in percent.
        names: "full" names of columns, or "plain" ones of letters, digits and underscores.
        class_column: Whether the most likely class and its probability have columns.
    """

    columns: Sequence[str] = ()
    intervals: float | Sequence[float] | None = None
    names: Names = "full"
    class_column: bool = False

    def check(self) -> None:
        """Raise a ConfigError if something can't be meant."""
        if isinstance(self.columns, str) or not all(isinstance(name, str) for name in self.columns):
            raise ConfigError(f"columns must be a list of names, got {self.columns!r}")
        if len(set(self.columns)) < len(list(self.columns)):
            raise ConfigError(f"each of the columns is carried once, got {list(self.columns)}")
        if self.names not in get_args(Names):
            raise ConfigError(f"names must be one of {list(get_args(Names))}, got {self.names!r}")
        read_levels(self.intervals)


NOTHING_ASKED = RowsAsked()


class Rows:
    """The columns of a prediction table, and what stands in them.

    Args:
        members: The model, or several of the same task.
        task: What they predict.
        asked: What was asked for.
        n_samples: How many dropout samples each gives.
        carried: The type of each column that is carried along, and what is said of it.

    Attributes:
        numbers: The names of the predicted numbers.
        further: The columns beside them.
        meanings: What is said of the predicted numbers, by name.
        carried: The columns of the catalog.

    Raises:
        ConfigError: If intervals are asked for that the model has not, or a column is called as one of ours.
    """

    def __init__(
        self,
        members: Sequence[Member],
        task: Task,
        asked: RowsAsked,
        *,
        n_samples: int = 1,
        carried: Sequence[Column] = (),
    ) -> None:
        asked.check()
        self._task, self._asked, self.carried = task, asked, list(carried)
        self._levels = read_levels(asked.intervals)
        self._conformal = _require(self._levels, members, n_samples) if self._levels else None
        self.with_class = asked.class_column and bool(task.class_columns)
        self._make_columns()

    def _make_columns(self) -> None:
        task = self._task
        ours = [*_class_columns(task)] if self.with_class else []
        for level in self._levels:
            told = task.interval_columns(percent(level))
            ours += [
                replace(meaning_of(name), dtype=dtype, description=f"{words[0].upper()}{words[1:]}")
                for name, dtype, words in told
            ]
        names = [*task.output_columns, *(column.name for column in ours)]
        clash = [c.name for c in self.carried if c.name in {*names, ID_COLUMN, SAMPLE_COLUMN}]
        if clash:
            msg = (
                f"columns: predictions have columns of their own called {clash}; rename those of the catalog"
            )
            raise ConfigError(msg)
        self._plain: dict[str, str] = {}
        if self._asked.names == "plain":
            self._plain = plain_names([*names, *(column.name for column in self.carried)])
        renamed = self._plain
        self.numbers = [renamed.get(name, name) for name in task.output_columns]
        self.further = [replace(c, name=renamed.get(c.name, c.name)) for c in (*ours, *self.carried)]
        self.meanings = {renamed.get(name, name): meaning_of(name) for name in task.output_columns}

    def without_class(self) -> Rows:
        """The same rows without the class: those of a folder that was begun before there was one."""
        self.with_class = False
        self._make_columns()
        return self

    def decisive(self) -> dict[str, Any]:
        """What decides the columns, for the manifest of a folder of parts."""
        told: dict[str, Any] = {}
        if self.with_class:
            told["class"] = True
        if self._asked.columns:
            told["columns"] = list(self._asked.columns)
        if self._asked.names != "full":
            told["names"] = self._asked.names
        if self._conformal is not None:
            told["intervals"] = {
                percent(level): [round(float(q), 6) for q in np.nan_to_num(self._conformal.thresholds(level))]
                for level in self._levels
            }
        return told

    def origin(self) -> dict[str, Any]:
        """What a table says of its columns."""
        told: dict[str, Any] = {}
        if self._plain:
            told["names"] = {plain: name for name, plain in self._plain.items()}
        if self._asked.columns:
            told["carried"] = list(self._asked.columns)
        if self._conformal is not None:
            galaxies = dict(zip(self._conformal.names, self._conformal.n, strict=True))
            told["intervals"] = {"levels": [percent(level) for level in self._levels], "galaxies": galaxies}
        return told

    def tell_few(self) -> None:
        """Say which intervals stay empty for lack of validation galaxies."""
        for level in self._levels:
            few = self._conformal.few(level) if self._conformal else []
            if few:
                more = f" and {len(few) - _SHOWN} more" if len(few) > _SHOWN else ""
                logger.warning(
                    "No %s%% intervals of %s%s: too few validation galaxies tell how far off it is",
                    percent(level),
                    ", ".join(few[:_SHOWN]),
                    more,
                )

    def check_texts(self, save_loc: str | Path, ids: Sequence[str], table: RowTable) -> None:
        """Raise a PredictionsError if a table of this format can't hold the ids, classes or texts carried."""
        form = find_format(Path(save_loc))
        texts = {ID_COLUMN: ids}
        if self.with_class:
            texts[self.further[0].name] = self._task.groups[0].answers
        carried = self.further[len(self.further) - len(self.carried) :]
        for column, values in zip(carried, table.of(ids), strict=True):
            if column.dtype == "str":
                texts[column.name] = values.tolist()
        for name, some in texts.items():
            form.check_texts(some, name)

    def writer(self, save_loc: str | Path, *, samples: bool, metadata: dict[str, Any]) -> PredictionWriter:
        """What writes a table of these columns."""
        return PredictionWriter(
            save_loc,
            self.numbers,
            samples=samples,
            metadata=metadata,
            dtype=self._task.stored_as,
            further=self.further,
            meanings=self.meanings,
        )

    def write(self, writer: PredictionWriter, ids: Sequence[str], values: np.ndarray, table: RowTable) -> int:
        """Append the rows of a batch, (samples, batch, outputs), and return how many galaxies."""
        return writer.write_samples(ids, values, self._further_of(ids, values, table))

    def frame(self, ids: Sequence[str], values: np.ndarray, table: RowTable) -> pd.DataFrame:
        """The further columns of a batch, in memory."""
        columns = zip(self.further, self._further_of(ids, values, table), strict=True)
        return pd.DataFrame(
            {c.name: pd.Series(v, dtype="str" if c.dtype == "str" else c.dtype) for c, v in columns},
            index=range(len(ids)),
        )

    def _further_of(self, ids: Sequence[str], values: np.ndarray, table: RowTable) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        if self.with_class:
            mixed = values.mean(axis=0)
            names = np.array(self._task.groups[0].answers, dtype=object)
            found += [names[mixed.argmax(axis=1)], mixed.max(axis=1)]
        if self._conformal is not None:
            given = np.asarray(values[0], np.float64)
            for level in self._levels:
                found += self._task.intervals(given, self._conformal.thresholds(level))
        return found + table.of(ids)


class RowTable:
    """The columns of some galaxies that are carried along.

    Args:
        galaxies: The galaxies.
        carried: The columns.
    """

    def __init__(self, galaxies: Catalog, carried: Sequence[Column]) -> None:
        self._arrays = [as_kind(galaxies.table[column.name], column.dtype) for column in carried]
        self._row = {galaxy: row for row, galaxy in enumerate(galaxies.ids)} if carried else {}

    def of(self, ids: Sequence[str]) -> list[np.ndarray]:
        """These columns of some of the galaxies."""
        if not self._arrays:
            return []
        rows = [self._row[galaxy] for galaxy in ids]
        return [array[rows] for array in self._arrays]


def carried_of(galaxies: Catalog | CatalogStream, asked: RowsAsked) -> list[Column]:
    """The columns of a catalog that are carried along, with their types and what it says of them.

    Raises:
        CatalogError: If it lacks one.
    """
    columns = list(asked.columns)
    if not columns:
        return []
    if isinstance(galaxies, CatalogStream):
        kinds, told = galaxies.carry(columns), galaxies.told
    else:
        check_columns(galaxies.table, columns, galaxies.name)
        kinds = {name: kind_of(galaxies.table[name]) for name in columns}
        told = galaxies.table.attrs.get(TOLD, {})
    return [Column(name, kinds[name], **told.get(name, {})) for name in columns]


def _require(levels: Sequence[float], members: Sequence[Member], n_samples: int) -> Conformal:
    """The errors of the one model, by which intervals are made."""
    if len(members) > 1 or n_samples > 1:
        raise ConfigError(
            "intervals are of one model without dropout samples: errors of single ones say nothing of how "
            "far their mixture is off. Score a mixture with zoobot evaluate, or predict with one model"
        )
    model = members[0].model
    if model.conformal is None:
        raise ConfigError(
            "the model does not say how far it was off on validation galaxies, by which intervals are made: "
            "calibrate it (zoobot calibrate MODEL --catalog FILE --select split=val), and export it anew if "
            "it is an exported file"
        )
    model.conformal.require(levels, model)
    return model.conformal


def _class_columns(task: Task) -> tuple[Column, Column]:
    name, probability = task.class_columns
    return (
        Column(name, "str", "", "meta.code.class", "The most likely class"),
        Column(probability, "float32", "", "stat.probability", "Probability of the most likely class"),
    )
