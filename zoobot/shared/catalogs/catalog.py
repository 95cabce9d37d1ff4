"""What a catalog is: galaxies, where their images lie, what is known of them; and checks of its columns."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.errors import CatalogError, LabelError
from zoobot.shared.files.table_checks import LEFT_OUT
from zoobot.shared.pixels.in_memory import ImageInMemory, WholeFile
from zoobot.shared.pixels.web_images import WebImage

_LISTED_COLUMNS = 40
_LISTED_MISSING = 6


@dataclass(frozen=True, eq=False, repr=False)
class Catalog:
    """Galaxies with their images and, where known, their labels; entry i of each field is galaxy i.

    Args:
        ids: Name of each galaxy, all different, exactly as the source spells them.
        paths: Where each galaxy's image is: an absolute path, a location inside of a file
            (`zoobot.shared.pixels.locations`), or the image itself (`zoobot.shared.pixels.in_memory`).
        labels: (galaxies, label columns), float64, NaN where missing; None without label columns.
        label_cols: The columns that the labels were read from, in order.
        table: The rows that the catalog was read from, all columns kept.
        name: Where the catalog came from, for messages.
        place: Where it can be read again (`zoobot.shared.catalogs.cutouts`); None if it was in memory.

    Example:
        >>> from zoobot.shared.catalog import read_catalog
        >>> table = pd.DataFrame({"id_str": ["a", "b"], "file_loc": ["/a.jpg", "/b.jpg"], "ring": [1, 0]})
        >>> catalog = read_catalog(table, label_cols=["ring"], check_files=False)
        >>> catalog.select([1]).ids
        ['b']
    """

    ids: list[str]
    paths: list[str]
    labels: np.ndarray | None
    label_cols: tuple[str, ...]
    table: pd.DataFrame
    name: str = "catalog"
    place: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        labels = f", labels {list(self.label_cols)}" if self.label_cols else ""
        return f"Catalog({len(self):,} galaxies of {self.name}{labels})"

    def select(self, indices: Iterable[int] | np.ndarray) -> Catalog:
        """The catalog of some of the galaxies, in the order asked for.

        Args:
            indices: Positions counted from 0, or a boolean mask with one entry for each galaxy.

        Returns:
            A new catalog; this one stays as it is.
        """
        rows = np.asarray(indices if isinstance(indices, np.ndarray) else list(indices))
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return replace(
            self,
            ids=[self.ids[i] for i in rows],
            paths=[self.paths[i] for i in rows],
            labels=None if self.labels is None else self.labels[rows],
            table=self.table.iloc[rows],
        )

    def decoded_whole(self) -> Catalog:
        """The same galaxies, whose JPEG files give the very pixels that an array of the whole image has."""
        return replace(self, paths=[*map(_whole, self.paths)])

    def with_labels(self, labels: np.ndarray, label_cols: Sequence[str]) -> Catalog:
        """The same galaxies with other labels, such as those of `encode_labels`.

        Args:
            labels: (galaxies, label columns), NaN where missing; or (galaxies,) for a single column.
            label_cols: One name for each column of `labels`.

        Raises:
            LabelError: If the shape does not fit.
        """
        columns = as_columns(label_cols)
        values = np.asarray(labels, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.shape != (len(self), len(columns)):
            msg = f"labels must have the shape {(len(self), len(columns))}, got {np.shape(labels)}"
            raise LabelError(msg)
        return replace(self, labels=values, label_cols=columns)

    def record(self) -> dict[str, Any]:
        """What the record of a run says of the galaxies it was given: `source`, `galaxies`, `fingerprint`."""
        return {"source": self.name, "galaxies": len(self), "fingerprint": self.fingerprint()}

    def describe(self) -> dict[str, Any]:
        """What the record of a run that learns says of it: `record`, and `contents`.

        `contents` is the fingerprint without the folder that all images lie in: it stays where they move.
        """
        # letter by letter, then back to a folder: unlike paths, such as those of other drives, share none
        shared = os.path.commonprefix(self.paths).rpartition(os.sep)[0]  # noqa: RUF071
        paths = [p if isinstance(p, ImageInMemory) else p.removeprefix(shared) for p in self.paths]
        contents = replace(self, paths=paths).fingerprint()
        return {**self.record(), "contents": contents}

    def fingerprint(self) -> str:
        """A SHA-256 of ids, paths, label columns and labels: equal where they are, on any machine."""
        digest = hashlib.sha256()
        for part in (self.ids, self.paths, self.label_cols):
            digest.update(b"%d;" % len(part))
            for item in part:
                text = f"{item} {item.digest()}" if isinstance(item, ImageInMemory) else item
                encoded = text.encode("utf-8", "surrogatepass")
                digest.update(b"%d:" % len(encoded) + encoded)  # lengths keep "ab","c" apart from "a","bc"
        if self.labels is not None:
            values = self.labels.astype("<f8") + 0.0  # a copy, in which -0 has become 0
            values[np.isnan(values)] = np.nan  # every NaN gets the same bits
            digest.update(values.tobytes())
        return digest.hexdigest()


def _whole(path: str) -> str:
    if isinstance(path, ImageInMemory):
        return path
    return path.whole() if isinstance(path, WebImage) else WholeFile(path)


def as_columns(label_cols: Sequence[str]) -> tuple[str, ...]:
    """Names of label columns, checked to be different."""
    columns = (label_cols,) if isinstance(label_cols, str) else tuple(label_cols)
    if len(set(columns)) < len(columns):
        raise CatalogError(f"label_cols must be different columns, got {list(columns)}")
    return columns


def check_columns(
    table: pd.DataFrame, needed: Sequence[str], name: str, **options: str | Sequence[str]
) -> None:
    """Raise a CatalogError that says which needed columns are absent, what is near them, and what is there.

    `options` are the arguments of `read_catalog` that choose a column, with their values.
    """
    missing = [column for column in dict.fromkeys(needed) if column not in table.columns]
    if not missing:
        return
    there = [str(column) for column in table.columns]
    described = []
    for column in missing:
        near = _near_names(column, there)
        hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
        option = [f" (choose it with {key}=)" for key, value in options.items() if value == column]
        reason = table.attrs.get(LEFT_OUT, {}).get(column)
        left_out = f" (left out: {reason})" if reason else ""
        described.append(f"{column!r}{left_out or hint}{''.join(option)}")
    index = [level for level in table.index.names if level in missing]
    if index:
        described.append(f"{index} is the index, not a column: call reset_index() first")
    if options.get("file_col") in missing and _has_positions(there):
        described.append(
            "though it has positions: to cut images from mosaics, give --mosaic (in Python: cutouts)"
        )
    listed = ", ".join(map(repr, there[:_LISTED_COLUMNS]))
    more = f" and {len(there) - _LISTED_COLUMNS} more" if len(there) > _LISTED_COLUMNS else ""
    if len(described) > _LISTED_MISSING:  # a tree's columns: the first ones tell which survey's are meant
        others = len(described) - _LISTED_MISSING
        described = [*described[:_LISTED_MISSING], f"and {others} more of the {len(missing)} columns needed"]
    is_bare = set(there) == {"id_str", "file_loc"}
    alone = ": images alone; other columns come from a table with a row for each galaxy" if is_bare else ""
    raise CatalogError(f"{name} lacks {'; '.join(described)}. Its columns are {listed}{more}{alone}")


def _has_positions(columns: Sequence[str]) -> bool:
    """Whether names are those of right ascension and declination in some survey's spelling."""
    folded = {re.sub(r"[^a-z]|j2000|deg", "", name.casefold()) for name in columns}
    return bool(folded & {"ra", "raj"}) and bool(folded & {"dec", "dej", "de"})


def _near_names(wanted: Hashable, there: Sequence[str]) -> list[str]:
    by_folded = {name.strip().casefold(): name for name in there}
    near = difflib.get_close_matches(str(wanted).strip().casefold(), by_folded, n=3, cutoff=0.6)
    return [by_folded[folded] for folded in near]
