"""The galaxies of one Parquet file or saved dataset with images in its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zoobot.shared.errors import CatalogError, ImageError
from zoobot.shared.imports import import_optional
from zoobot.shared.pixels.containers.tables import (
    choose_column,
    holds_images,
    list_image_columns,
    load_saved_dataset,
)
from zoobot.shared.pixels.locations import SEPARATOR

__all__ = ["ListedCells", "ListedDataset", "ListedParquet"]


class ListedCells:
    """The rows of a table of which one column holds images; the other columns are the galaxies'.

    Ids are those of the column for them, if there is one; otherwise the rows' numbers.

    Args:
        path: The file or folder.
        length: How many rows it has.
        images: The columns that can hold images.
        image_col: The one that does; None is the only one.
        others: The columns to keep.
        id_col: The column of ids.
        prefix: What stands before a row's number where ids are made of it.
        extra: Values that all rows share.

    Raises:
        CatalogError: If the column of images can't be told.
    """

    def __init__(
        self,
        path: str,
        length: int,
        *,
        images: list[str],
        image_col: str | None,
        others: list[str],
        id_col: str,
        prefix: str,
        extra: dict[str, Any],
    ) -> None:
        try:
            column = choose_column(images, image_col)
        except ImageError as error:
            msg = f"{path}: {error}; choose it with image_col"
            raise CatalogError(msg) from error
        self._start = f"{path}{SEPARATOR}{f'{column}:' if len(images) > 1 else ''}"
        self._length, self._others = length, [name for name in others if name not in images]
        self._id_col, self._prefix = id_col, prefix
        self._extra = {name: value for name, value in extra.items() if name not in others}

    def __len__(self) -> int:
        return self._length

    def locations(self, rows: slice) -> list[str]:
        """Where some of the images lie."""
        return [f"{self._start}{row}" for row in range(*rows.indices(self._length))]

    def column_names(self) -> list[str]:
        """What is known of the galaxies besides their images."""
        return [*self._others, *self._extra]

    def columns(self, names: Sequence[str], rows: slice) -> pd.DataFrame:
        """Some columns for some of the galaxies; ids are made of the rows' numbers where there are none."""
        numbers = range(*rows.indices(self._length))
        table = self._read([name for name in names if name in self._others], numbers)
        table.index = pd.RangeIndex(len(numbers))
        for name in names:
            if name == self._id_col and name not in self._others:
                table[name] = [f"{self._prefix}{row}" for row in numbers]
            elif name in self._extra:
                table[name] = self._extra[name]
        return table.reindex(columns=list(names))

    def _read(self, names: list[str], numbers: range) -> pd.DataFrame:
        raise NotImplementedError


class ListedParquet(ListedCells):
    """The rows of a Parquet file with images.

    Args:
        path: The file.
        id_col: The column of ids.
        image_col: The column of images; None is the only one.
        prefix: What stands before a row's number where ids are made of it.
    """

    def __init__(self, path: str, *, id_col: str, image_col: str | None, prefix: str) -> None:
        parquet = import_optional("pyarrow.parquet", needed_for=f"reading {path}")
        with parquet.ParquetFile(path) as file:
            schema, length = file.schema_arrow, file.metadata.num_rows
        images = list_image_columns(schema)
        super().__init__(
            path,
            length,
            images=images,
            image_col=image_col,
            others=_flat(schema),
            id_col=id_col,
            prefix=prefix,
            extra={},
        )
        self._path, self._parquet = path, parquet

    def _read(self, names: list[str], numbers: range) -> pd.DataFrame:
        if not names:
            return pd.DataFrame(index=range(len(numbers)))
        with self._parquet.ParquetFile(self._path) as file:
            groups, first, start = [], None, 0
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                if stop > numbers.start and start < numbers.stop:
                    groups.append(group)
                    first = start if first is None else first
                start = stop
            table = file.read_row_groups(groups, columns=names, use_threads=False)
        table = table.slice(numbers.start - (first or 0), len(numbers))
        frame: pd.DataFrame = table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
        return frame


class ListedDataset(ListedCells):
    """The rows of a saved Hugging Face dataset with images; numbers of named classes become their names.

    Args:
        folder: The folder.
        id_col: The column of ids.
        image_col: The column of images; None is the only one.
        prefix: What stands before a row's number where ids are made of it.
        split: The part of a larger dataset that this is, as a column `split`.
    """

    def __init__(
        self, folder: str, *, id_col: str, image_col: str | None, prefix: str, split: str | None = None
    ) -> None:
        try:
            self._dataset = load_saved_dataset(folder)
        except ImageError as error:
            msg = f"{folder}: {error}"
            raise CatalogError(msg) from error
        features = self._dataset.features
        super().__init__(
            folder,
            len(self._dataset),
            images=[name for name, feature in features.items() if holds_images(feature)],
            image_col=image_col,
            others=[name for name in _flat(features.arrow_schema) if not holds_images(features[name])],
            id_col=id_col,
            prefix=prefix,
            extra={} if split is None else {"split": split},
        )

    def _read(self, names: list[str], numbers: range) -> pd.DataFrame:
        if not names:
            return pd.DataFrame(index=range(len(numbers)))
        part = self._dataset.select_columns(names)[numbers.start : numbers.stop]
        table = pd.DataFrame({name: pd.Series(part[name], dtype=object) for name in names}).infer_objects()
        for name in names:
            classes = getattr(self._dataset.features[name], "names", None)
            if isinstance(classes, list):
                table[name] = [classes[i] if i is not None and i >= 0 else None for i in part[name]]
        return table


def _flat(schema: Any) -> list[str]:
    """The columns of an Arrow schema with one number, text or truth in each row."""
    types = import_optional("pyarrow.types", needed_for="reading Parquet")
    nested = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    return [field.name for field in schema if not any(kind(field.type) for kind in nested)]


def has_images(path: Path, file_col: str) -> bool:
    """Whether a Parquet file has images in its rows, and no column that says where they are."""
    parquet = import_optional("pyarrow.parquet", needed_for=f"reading {path.name}")
    try:
        schema = parquet.read_schema(path)
    except (OSError, ValueError):
        return False  # whatever reads it as a table says what is wrong
    return file_col not in schema.names and bool(list_image_columns(schema))
