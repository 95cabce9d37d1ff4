"""Catalogs: which galaxies there are, where their images lie, what is known of them; checked before work."""

from __future__ import annotations

import difflib
import hashlib
import logging
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot.shared.catalogs import galaxy_files, galaxy_ids
from zoobot.shared.catalogs.cutouts import describe_place
from zoobot.shared.catalogs.image_folders import IMAGE_ENDINGS, PassedOver, id_of_image, image_names
from zoobot.shared.catalogs.labels import encode_labels, read_labels
from zoobot.shared.catalogs.listings import open_listing
from zoobot.shared.catalogs.splits import split_catalog
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import CatalogError, LabelError
from zoobot.shared.files.table_checks import LEFT_OUT, decoded_frame, refuse_repeated_columns

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from zoobot.shared.catalogs.cutouts import Cutouts

__all__ = ["Catalog", "check_columns", "encode_labels", "read_catalog", "split_catalog"]

logger = logging.getLogger(__name__)

_LISTED_COLUMNS = 40
_LISTED_MISSING = 6


@dataclass(frozen=True, eq=False, repr=False)
class Catalog:
    """Galaxies with their images and, where known, their labels; entry i of each field is galaxy i.

    Args:
        ids: Name of each galaxy, all different, exactly as the source spells them.
        paths: Where each galaxy's image is: an absolute path, or a location inside of a file
            (`zoobot.shared.pixels.locations`).
        labels: (galaxies, label columns), float64, NaN where missing; None without label columns.
        label_cols: The columns that the labels were read from, in order.
        table: The rows that the catalog was read from, all columns kept.
        name: Where the catalog came from, for messages.
        place: Where it can be read again (`zoobot.shared.catalogs.cutouts`); None if it was in memory.

    Example:
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

    def with_labels(self, labels: np.ndarray, label_cols: Sequence[str]) -> Catalog:
        """The same galaxies with other labels, such as those of `encode_labels`.

        Args:
            labels: (galaxies, label columns), NaN where missing; or (galaxies,) for a single column.
            label_cols: One name for each column of `labels`.

        Raises:
            LabelError: If the shape does not fit.
        """
        columns = _as_columns(label_cols)
        values = np.asarray(labels, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.shape != (len(self), len(columns)):
            msg = f"labels must have the shape {(len(self), len(columns))}, got {np.shape(labels)}"
            raise LabelError(msg)
        return replace(self, labels=values, label_cols=columns)

    def describe(self) -> dict[str, Any]:
        """What a run's record says of it: `source`, `galaxies`, `fingerprint`, and `contents`.

        `contents` is the fingerprint without the folder that all images lie in: it stays where they move.
        """
        # letter by letter, then back to a folder: unlike paths, such as those of other drives, share none
        shared = os.path.commonprefix(self.paths).rpartition(os.sep)[0]  # noqa: RUF071
        contents = replace(self, paths=[path.removeprefix(shared) for path in self.paths]).fingerprint()
        return {
            "source": self.name,
            "galaxies": len(self),
            "fingerprint": self.fingerprint(),
            "contents": contents,
        }

    def fingerprint(self) -> str:
        """A SHA-256 of ids, paths, label columns and labels: equal where they are, on any machine."""
        digest = hashlib.sha256()
        for part in (self.ids, self.paths, self.label_cols):
            digest.update(b"%d;" % len(part))
            for text in part:
                encoded = text.encode("utf-8", "surrogatepass")
                digest.update(b"%d:" % len(encoded) + encoded)  # lengths keep "ab","c" apart from "a","bc"
        if self.labels is not None:
            values = self.labels.astype("<f8") + 0.0  # a copy, in which -0 has become 0
            values[np.isnan(values)] = np.nan  # every NaN gets the same bits
            digest.update(values.tobytes())
        return digest.hexdigest()


def read_catalog(
    source: Catalog | pd.DataFrame | str | Path,
    *,
    label_cols: Sequence[str] = (),
    root: str | Path | None = None,
    id_col: str = "id_str",
    file_col: str | Sequence[str] = "file_loc",
    image_col: str | None = None,
    cutouts: Cutouts | None = None,
    check_files: bool = True,
) -> Catalog:
    """A checked catalog from a table, a DataFrame, archives of images, or a catalog read before.

    In a table, an image may be a file or lie inside of one: see `zoobot.shared.pixels.locations`.

    Args:
        source: A file of any format that `read_table` reads; a DataFrame; archives whose images are
            the galaxies (`zoobot.shared.catalogs.listings.open_listing`: "shards/*.tar", "survey.zip", a
            Parquet file or a Hugging Face dataset with images in its rows); a folder of images; or a
            `Catalog`, which was checked when it was read: of it only other label columns are looked up.
        label_cols: Columns that hold the labels: numbers, or empty where unknown.
        root: Folder that relative image paths start from. By default the folder of the table file; for a
            DataFrame, the current folder.
        id_col: Column of the galaxies' names. Kept exactly, as text: 18-digit integers and leading zeros too.
        file_col: Column of the image paths, absolute or relative. Several columns, such as file_g, file_r and
            file_i, hold the files of the bands of each image; a galaxy that lacks one fails when it is read.
        image_col: Column of the images, of Parquet files and datasets that hold several.
        cutouts: Cut the images from mosaics, by the positions in the table; then `file_col` is not needed.
        check_files: Whether to look that every image is there (not that it can be read).

    Returns:
        The catalog, in the order of the rows.

    Raises:
        CatalogError: If the file can't be read, has no rows, lacks a column, repeats or lacks an id (or holds
            ids that were turned into floating-point numbers), lacks a path, or names images that are not
            there.
        LabelError: If a label is not a number.
        MissingPackageError: If the package that reads this format is not installed.

    Example:
        >>> table = pd.DataFrame({"id_str": [587739505552785605], "file_loc": ["587739505552785605.jpg"]})
        >>> read_catalog(table, root="/data/sdss", check_files=False).paths
        ['/data/sdss/587739505552785605.jpg']
    """
    columns = _as_columns(label_cols)
    files = galaxy_files.file_columns(file_col)
    if isinstance(source, Catalog):
        return _with_label_cols(source, columns)
    table, name, folder, is_listed = _read_source(source, id_col, files, image_col, cutouts)
    if cutouts is not None:
        if is_listed:
            msg = f"cutouts are for a table of positions, but {name} holds images itself"
            raise CatalogError(msg)
        here = cutouts.for_columns(list(table.columns))
        check_columns(table, (here.ra_col, here.dec_col), name, ra_col=here.ra_col, dec_col=here.dec_col)
        table = table.assign(**{files[0]: here.locate(table, name)})
    check_columns(table, (id_col, *files, *columns), name, id_col=id_col, file_col=file_col)
    if table.empty:
        msg = f"{name} has no rows: expected one for each galaxy"
        raise CatalogError(msg)
    ids = galaxy_ids.read_ids(table[id_col], name, places=table[file_col] if is_listed else None)
    labels = read_labels(table, columns, ids, name) if columns else None
    base = folder if root is None or is_listed else Path(root).expanduser().absolute()
    paths = galaxy_files.read_locations([table[one] for one in files], ids, base, name)
    if check_files and not is_listed and cutouts is None:
        galaxy_files.refuse_missing_files(paths, ids, base, name)
    place = describe_place(
        source, root=root, id_col=id_col, file_col=file_col, image_col=image_col, cutouts=cutouts
    )
    return Catalog(
        ids=ids, paths=paths, labels=labels, label_cols=columns, table=table, name=name, place=place
    )


def _read_source(
    source: object, id_col: str, files: tuple[str, ...], image_col: str | None, cutouts: Cutouts | None
) -> tuple[pd.DataFrame, str, Path, bool]:
    """A table, its name, the folder its paths are relative to, and whether it was made of what is there."""
    if isinstance(source, pd.DataFrame):
        refuse_repeated_columns(source.columns, "the DataFrame")
        return decoded_frame(source), "the DataFrame", Path.cwd(), False
    if not isinstance(source, (str, Path)):
        msg = f"a catalog is a file, a folder, a DataFrame or a Catalog, got {type(source).__name__}"
        raise CatalogError(msg)
    if cutouts is not None and len(files) > 1:
        msg = f"cutouts of mosaics are whole images, but file_col names several: {list(files)}"
        raise CatalogError(msg)
    # with cutouts, no column says where images are, and none holds them; several columns are a table's
    listing = None
    if not cutouts and len(files) == 1:
        listing = open_listing(source, id_col=id_col, file_col=files[0], image_col=image_col)
    path = Path(source).expanduser()
    if listing is not None:
        return listing.read_table(), str(source), Path.cwd(), True
    if path.is_dir() and not cutouts:
        if len(files) > 1:
            msg = (
                f"the files of bands are named by the columns {list(files)} of a table, got the folder {path}"
            )
            raise CatalogError(msg)
        return _list_images(path, id_col, files[0]), str(source), path.absolute(), True
    return read_table(path, text_cols=(id_col, *files)), str(source), path.absolute().parent, False


def _list_images(folder: Path, id_col: str, file_col: str) -> pd.DataFrame:
    passed_over = PassedOver(f"the folder {str(folder)!r}")
    names = list(image_names(str(folder), passed_over))
    if not names:
        there = f"; what it holds: {passed_over}" if passed_over.kinds else ""
        msg = f"the folder {folder} holds no images ({', '.join(IMAGE_ENDINGS)}){there}"
        raise CatalogError(msg)
    passed_over.tell(logger)
    return pd.DataFrame({id_col: [id_of_image(name) for name in names], file_col: names})


def _as_columns(label_cols: Sequence[str]) -> tuple[str, ...]:
    columns = (label_cols,) if isinstance(label_cols, str) else tuple(label_cols)
    if len(set(columns)) < len(columns):
        msg = f"label_cols must be different columns, got {list(columns)}"
        raise CatalogError(msg)
    return columns


def _with_label_cols(catalog: Catalog, columns: tuple[str, ...]) -> Catalog:
    if not columns or columns == catalog.label_cols:
        return catalog
    check_columns(catalog.table, columns, catalog.name)
    labels = read_labels(catalog.table, columns, catalog.ids, catalog.name)
    return replace(catalog, labels=labels, label_cols=columns)


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
    msg = f"{name} lacks {'; '.join(described)}. Its columns are {listed}{more}{alone}"
    raise CatalogError(msg)


def _has_positions(columns: Sequence[str]) -> bool:
    """Whether names are those of right ascension and declination in some survey's spelling."""
    folded = {re.sub(r"[^a-z]|j2000|deg", "", name.casefold()) for name in columns}
    return bool(folded & {"ra", "raj"}) and bool(folded & {"dec", "dej", "de"})


def _near_names(wanted: Hashable, there: Sequence[str]) -> list[str]:
    by_folded = {name.strip().casefold(): name for name in there}
    near = difflib.get_close_matches(str(wanted).strip().casefold(), by_folded, n=3, cutoff=0.6)
    return [by_folded[folded] for folded in near]
