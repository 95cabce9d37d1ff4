"""What a prediction table holds, whatever its format: its columns, their type, and what is said of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from zoobot.shared import defaults
from zoobot.shared.catalogs.parquet_tables import ParquetRows
from zoobot.shared.errors import PredictionsError

#: Under which name a file keeps the metadata.
METADATA_KEY = "zoobot"
_ROWS_OF_A_TABLE = 1_048_576


#: What a further column may hold; texts are "str".
COLUMN_TYPES = ("float32", "float64", "int16", "int32", "int64", "bool", "str")

ID_COLUMN, SAMPLE_COLUMN = "id_str", "sample"


@dataclass(frozen=True)
class Column:
    """A column of a table, and what is said of it where the format can.

    Args:
        name: Its name.
        dtype: One of `COLUMN_TYPES`.
        unit: Of its numbers, in the words of the VOUnits standard; "" for none.
        ucd: What it is, in the words of the UCD1+ standard; "" for nothing.
        description: The same in a sentence.
    """

    name: str
    dtype: str = "float32"
    unit: str = ""
    ucd: str = ""
    description: str = ""

    def told(self) -> dict[str, str]:
        """What is said of it."""
        told = {"unit": self.unit, "ucd": self.ucd, "description": self.description}
        return {key: value for key, value in told.items() if value}


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Names that expressions of TOPCAT take as they are: letters, digits and underscores, each another.

    Example:
        >>> plain_names(["bar-strength_no", "bar_strength_no", "2nd"])
        {'bar-strength_no': 'bar_strength_no', 'bar_strength_no': 'bar_strength_no_2', '2nd': '_2nd'}
    """
    found: dict[str, str] = {}
    taken = {ID_COLUMN, SAMPLE_COLUMN}
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9_]", "_", name)
        stem = f"_{stem}" if not stem or stem[0].isdigit() else stem
        plain, number = stem, 2
        while plain.lower() in taken:
            plain, number = f"{stem}_{number}", number + 1
        taken.add(plain.lower())
        found[name] = plain
    return found


def spelled_in(there: Iterable[str], columns: Sequence[str]) -> list[str]:
    """Columns by their names in a table, which may be plain ones; as they are where neither is there."""
    plain, found = plain_names(columns), set(there)
    is_plain = not found.issuperset(columns) and found.issuperset(plain.values())
    return list(plain.values() if is_plain else columns)


#: What the columns of our tables are, by the endings of their names: UCD and meaning.
_MEANINGS = tuple(
    (re.compile(ending), ucd, words)
    for ending, ucd, words in (
        (r"_probability$", "stat.probability", "Predicted probability"),
        (r"_predicted$", "stat.fit.param", "Predicted value"),
        (r"_concentration(_\d+)?$", "stat.param", "Concentration of the predicted Dirichlet distribution"),
        (r"_fraction$", "stat.fit.param", "Expected fraction of the votes"),
        (r"_asked$", "stat.probability", "Probability that a volunteer is asked"),
        (r"_lower(_[\d.]+)?$", "stat.fit.param;stat.min", "Lower end of the interval"),
        (r"_upper(_[\d.]+)?$", "stat.fit.param;stat.max", "Upper end of the interval"),
        (r"(^|_)set_size_[\d.]+$", "meta.number", "Size of the set"),
        (r"(^|_)set_[\d.]+$", "meta.code.class", "Set that holds the truth"),
        (r"^feature_\d+$", "stat.param", "Feature of the encoder"),
    )
)


def meaning_of(name: str) -> Column:
    """What is said of a predicted number by its name; nothing of a name that is not ours.

    Example:
        >>> meaning_of("ring_yes_probability").told()
        {'ucd': 'stat.probability', 'description': 'Predicted probability: ring_yes'}
    """
    for ending, ucd, words in _MEANINGS:
        stem = ending.sub("", name)
        if stem != name:
            return Column(name, ucd=ucd, description=f"{words}: {stem}" if stem else words)
    return Column(name)


#: What is said of the columns that every table has.
_EVERYWHERE = (
    Column(ID_COLUMN, "str", ucd="meta.id;meta.main", description="Name of the galaxy"),
    Column(SAMPLE_COLUMN, "int32", ucd="meta.number", description="Number of the dropout sample or model"),
)


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """The table that is to be written.

    Args:
        columns: Names of the predicted numbers, in order.
        samples: Whether rows carry a `sample` number.
        metadata: JSON-ready facts on the origin of the table.
        dtype: What numbers are kept as: "float32" or "float16".
        further: Columns of other types, which follow the predicted numbers.
        meanings: What is said of the predicted numbers, by name; of others their names tell.
    """

    columns: Sequence[str]
    samples: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    further: Sequence[Column] = ()
    meanings: Mapping[str, Column] = field(default_factory=dict)

    @property
    def header(self) -> list[str]:
        """The names of all columns, in order."""
        return [column.name for column in self.whole]

    @property
    def whole(self) -> list[Column]:
        """All columns, in order."""
        ids, sample = _EVERYWHERE
        first = [ids, sample] if self.samples else [ids]
        numbers = [
            replace(self.meanings.get(name) or meaning_of(name), name=name, dtype=self.dtype)
            for name in self.columns
        ]
        return [*first, *numbers, *self.further]


class TableFile(Protocol):
    """A table that is being written."""

    def append(
        self, ids: list[str], values: np.ndarray, samples: np.ndarray | None, further: Sequence[np.ndarray]
    ) -> None:
        """Add rows: ids, (rows, columns) in the file's type, with samples (rows,) int32, further columns."""

    def close(self) -> None:
        """End the file, so that it can be read."""


class Format:
    """A file format of prediction tables."""

    def check_installed(self) -> None:
        """Raise a MissingPackageError unless the format can be read and written."""

    def check_texts(self, texts: Sequence[str], column: str) -> None:
        """Raise a PredictionsError if the format can't hold some texts of a column."""

    def create(self, path: Path, layout: TableLayout) -> TableFile:
        """A new file without rows."""
        raise NotImplementedError

    def read_table(self, path: Path) -> pd.DataFrame:
        """The rows of a file."""
        return pd.concat(self.read_chunks(path, _ROWS_OF_A_TABLE), ignore_index=True)

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        """The rows of a file, so many at a time, at constant memory."""
        raise NotImplementedError

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """The metadata of a file; empty where the format holds none."""
        del path
        return {}


def refuse_texts_with(character: str, texts: Sequence[str], format_name: str) -> None:
    """Raise a PredictionsError if a text has a character that the format can't hold."""
    odd = next((text for text in texts if character in text), None)
    if odd is not None:
        raise PredictionsError(
            f"a table in {format_name} can't hold the text {odd!r}, with {character!r} in it: write .parquet"
        )


def refuse_half(layout: TableLayout) -> None:
    """Raise a PredictionsError unless numbers are kept as float32."""
    if layout.dtype != "float32":
        raise PredictionsError(
            f"numbers as {layout.dtype} are for .parquet and folders of parts; take float32 for another table"
        )


def refuse_other_tables(columns: Sequence[str]) -> None:
    """Raise a ValueError unless the columns of a file are those of a prediction table."""
    if list(columns[:1]) != ["id_str"]:
        raise ValueError(f"the first column must be 'id_str', got {list(columns[:1])}")


def to_json(metadata: Mapping[str, Any]) -> str:
    """Metadata as text."""
    return json.dumps(dict(metadata), ensure_ascii=False)


def from_json(text: str | bytes) -> dict[str, Any]:
    """Metadata from text."""
    metadata: dict[str, Any] = json.loads(text)
    return metadata


# Prediction tables as Parquet.


def arrow_type(dtype: str) -> Any:
    """Arrow's type of a column's."""
    return pa.string() if dtype == "str" else pa.from_numpy_dtype(np.dtype(dtype))


def columns_of(schema: Any) -> list[Column]:
    """The columns of a Parquet table of ours, and what it says of them."""
    found = []
    for one in schema:
        told = {key.decode(): value.decode() for key, value in (one.metadata or {}).items()}
        said = {key: told[key] for key in ("unit", "ucd", "description") if key in told}
        dtype = "str" if pa.types.is_string(one.type) else str(np.dtype(one.type.to_pandas_dtype()))
        found.append(Column(one.name, dtype, **said))
    return found


class _Parquet(Format):
    def create(self, path: Path, layout: TableLayout) -> _ParquetFile:
        return _ParquetFile(path, layout)

    def read_table(self, path: Path) -> pd.DataFrame:
        table: pd.DataFrame = pa.Table.from_batches([*_batches(path, defaults.ROWS_AT_ONCE)]).to_pandas()
        return table

    def read_chunks(self, path: Path, rows: int) -> Iterator[pd.DataFrame]:
        for batch in _batches(path, rows):
            if len(batch):
                yield batch.to_pandas()

    def read_metadata(self, path: Path) -> dict[str, Any]:
        stored = parquet.read_schema(path).metadata or {}
        return from_json(stored.get(METADATA_KEY.encode(), b"{}"))


def _batches(path: Path, rows: int) -> Iterator[Any]:
    """Checked rows of Arrow's, ids first; at least one batch, which may be empty."""
    table = ParquetRows([path])
    names = sorted(table.names, key=lambda name: name != "id_str")
    refuse_other_tables(names)
    schema = parquet.read_schema(path).remove_metadata()
    yield pa.RecordBatch.from_arrays(
        [pa.array([], schema.field(name).type if name in schema.names else "int64") for name in names],
        names=names,
    )
    for _, _, batch in table.batches(names, lambda start, stop: True, rows):
        yield batch


class _ParquetFile:
    def __init__(self, path: Path, layout: TableLayout) -> None:
        fields = [
            pa.field(column.name, arrow_type(column.dtype), metadata=column.told()) for column in layout.whole
        ]
        self._schema = pa.schema(fields, metadata={METADATA_KEY: to_json(layout.metadata)})
        # hardly a number or an id occurs twice: a dictionary of them would only be larger
        self._writer = parquet.ParquetWriter(path, self._schema, use_dictionary=["sample"])

    def append(
        self, ids: list[str], values: np.ndarray, samples: np.ndarray | None, further: Sequence[np.ndarray]
    ) -> None:
        arrays: list[Any] = [ids] if samples is None else [ids, samples]
        arrays += [*np.asfortranarray(values).T, *further]
        self._writer.write_table(pa.table(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


#: The format of the parts of a prediction run.
PARQUET = _Parquet()
