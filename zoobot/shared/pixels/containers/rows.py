"""Images in the rows of tables: which row and column a location names, and the bytes a row holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError

__all__ = ["ImageRows", "choose_column", "image_bytes", "parse_row"]


class ImageRows(ABC):
    """Rows that hold the bytes of images; a member is a row, counted from 0, or `COLUMN:ROW`.

    Attributes:
        kind: What it is called in messages.
        damage: Always empty: such a source can't be opened at all when it is truncated.
        columns: The columns that hold images.
    """

    kind: str
    damage = ""
    columns: list[str]

    @abstractmethod
    def __len__(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def _read_cell(self, column: str, row: int) -> Any:
        """What stands in a cell: binary, or a record of `bytes` and `path`."""

    def __contains__(self, member: str) -> bool:
        try:
            column, row = parse_row(member)
        except ImageError:
            return False
        return row < len(self) and (column is None or column in self.columns)

    def names(self) -> list[str]:
        """Every row, as the text of its number."""
        return list(map(str, range(len(self))))

    def read(self, member: str) -> bytes:
        """The bytes of the image in a row.

        Raises:
            ImageError: If there is no such row or column, the row holds no image, or the source is damaged.
        """
        wanted, row = parse_row(member)
        column = choose_column(self.columns, wanted)
        if row >= len(self):
            msg = f"row {row:,} is asked for, but the {self.kind} has {len(self):,} (counted from 0)"
            raise ImageError(msg)
        return image_bytes(self._read_cell(column, row))


def parse_row(member: str) -> tuple[str | None, int]:
    """The column, or None, and the row that a member's name means.

    Raises:
        ImageError: If the name is neither ROW nor COLUMN:ROW.

    Example:
        >>> parse_row("image:12"), parse_row("12")
        (('image', 12), (None, 12))
    """
    column, _, row = member.rpartition(":")
    if row.isascii() and row.isdigit() and len(row) < 19:
        return column or None, int(row)
    msg = f"expected a row, counted from 0, or COLUMN:ROW, got {member!r}"
    raise ImageError(msg)


def choose_column(columns: list[str], wanted: str | None) -> str:
    """The column of images: the one asked for, or else the only one.

    Raises:
        ImageError: If it is not there, or there are several to choose from.
    """
    if wanted is None and len(columns) == 1:
        return columns[0]
    if wanted in columns:
        return str(wanted)
    expected = "one column of images" if wanted is None else f"the column of images {wanted!r}"
    msg = f"expected {expected}; the columns that can hold images are {columns}"
    raise ImageError(msg)


def image_bytes(value: Any) -> bytes:
    """The bytes in a cell: binary, or a record of `bytes` and `path`.

    Raises:
        ImageError: If there are none, or too many.
    """
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is None:
        path = value.get("path") if isinstance(value, dict) else None
        msg = f"the row holds no bytes, only the path {path!r}" if path else "the row holds no image"
        raise ImageError(msg)
    if len(data) > defaults.MAX_IMAGE_BYTES:
        msg = f"too large: {len(data):,} bytes, more than {defaults.MAX_IMAGE_BYTES:,}"
        raise ImageError(msg)
    return bytes(data)
