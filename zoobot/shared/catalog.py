"""Catalogs read from what users name, checked before work: a table, a folder, archives, several campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from zoobot.shared.catalogs import galaxy_files
from zoobot.shared.catalogs.catalog import Catalog, as_columns, check_columns
from zoobot.shared.catalogs.columns import encode_labels, read_ids, read_labels
from zoobot.shared.catalogs.cutouts import Cutouts, describe_place
from zoobot.shared.catalogs.given import settle
from zoobot.shared.catalogs.image_folders import FolderRows
from zoobot.shared.catalogs.listings import open_listing
from zoobot.shared.catalogs.splits import split_catalog
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.table_checks import decoded_frame, refuse_repeated_columns
from zoobot.shared.pixels.web_images import WebAccess

if TYPE_CHECKING:
    from zoobot.shared.trees.tree import Schema

__all__ = [
    "Catalog",
    "CatalogSource",
    "check_columns",
    "encode_labels",
    "join_catalogs",
    "read_catalog",
    "split_catalog",
]

#: Whatever `read_catalog` takes: a catalog in some form, or images.
CatalogSource: TypeAlias = Any

_SHOWN = 5


def read_catalog(
    source: CatalogSource,
    *,
    label_cols: Sequence[str] = (),
    root: str | Path | None = None,
    id_col: str = "id_str",
    file_col: str | Sequence[str] = "file_loc",
    image_col: str | None = None,
    cutouts: Cutouts | None = None,
    allow_urls: bool | WebAccess = False,
    check_files: bool = True,
) -> Catalog:
    """A checked catalog from a table, a DataFrame, archives of images, or a catalog read before.

    In a table, an image may be a file or lie inside of one: see `zoobot.shared.pixels.locations`.

    Args:
        source: A file of any format that `read_table` reads; a DataFrame, or a table of astropy; archives
            whose images are the galaxies (`zoobot.shared.catalogs.listings.open_listing`: "shards/*.tar", an
            archive, a Parquet file or a Hugging Face dataset with images in its rows); a folder of images;
            images, by their paths or in memory (`zoobot.shared.catalogs.given.settle`); or a `Catalog`,
            which was checked when it was read: of it only other label columns are looked up.
        label_cols: Columns that hold the labels: numbers, or empty where unknown.
        root: Folder that relative image paths start from. By default the folder of the table file; for a
            DataFrame, the current folder.
        id_col: Column of the galaxies' names. Kept exactly, as text: 18-digit integers and leading zeros too.
        file_col: Column of the image paths, absolute or relative. Several columns, such as file_g, file_r and
            file_i, hold the files of the bands of each image; a galaxy that lacks one fails when it is read.
        image_col: Column of the images, of Parquet files and datasets that hold several.
        cutouts: Cut the images from mosaics, by the positions in the table; then `file_col` is not needed.
        allow_urls: Whether images may lie at web addresses, https://…, which are asked for when they are
            read; a `WebAccess` says how.
        check_files: Whether to look that every image is there (not that it can be read).

    Returns:
        The catalog, in the order of the rows.

    Raises:
        CatalogError: If the file can't be read, has no rows, lacks a column, repeats or lacks an id (or holds
            ids that were turned into floating-point numbers), lacks a path, names images that are not there,
            or web addresses that may not be asked for.
        LabelError: If a label is not a number.
        MissingPackageError: If the package that reads this format is not installed.

    Example:
        >>> table = pd.DataFrame({"id_str": [587739505552785605], "file_loc": ["587739505552785605.jpg"]})
        >>> read_catalog(table, root="/data/sdss", check_files=False).paths
        ['/data/sdss/587739505552785605.jpg']
    """
    columns = as_columns(label_cols)
    files = galaxy_files.file_columns(file_col)
    web = WebAccess.of(allow_urls)
    source = settle(source, id_col=id_col, file_col=file_col)
    if isinstance(source, Catalog):
        paths = galaxy_files.allow_addresses(source.paths, web, source.name)
        return _with_label_cols(source if paths is source.paths else replace(source, paths=paths), columns)
    table, name, folder, is_listed = _read_source(source, id_col, files, image_col, cutouts)
    if cutouts is not None:
        if is_listed:
            raise CatalogError(f"cutouts are for a table of positions, but {name} holds images itself")
        here = cutouts.for_columns(list(table.columns))
        check_columns(table, (here.ra_col, here.dec_col), name, ra_col=here.ra_col, dec_col=here.dec_col)
        table = table.assign(**{files[0]: here.locate(table, name)})
    check_columns(table, (id_col, *files, *columns), name, id_col=id_col, file_col=file_col)
    if table.empty:
        raise CatalogError(f"{name} has no rows: expected one for each galaxy")
    ids = read_ids(table[id_col], name, places=table[file_col] if is_listed else None)
    labels = read_labels(table, columns, ids, name) if columns else None
    base = folder if root is None or is_listed else Path(root).expanduser().absolute()
    paths = galaxy_files.read_locations([table[one] for one in files], ids, base, name, web)
    if check_files and not is_listed and cutouts is None:
        galaxy_files.refuse_missing_files(paths, ids, base, name)
    place = describe_place(
        source, root=root, id_col=id_col, file_col=file_col, image_col=image_col, cutouts=cutouts
    )
    return Catalog(
        ids=ids, paths=paths, labels=labels, label_cols=columns, table=table, name=name, place=place
    )


def _read_source(
    source: pd.DataFrame | str | Path,
    id_col: str,
    files: tuple[str, ...],
    image_col: str | None,
    cutouts: Cutouts | None,
) -> tuple[pd.DataFrame, str, Path, bool]:
    """A table, its name, the folder its paths are relative to, and whether it was made of what is there."""
    if isinstance(source, pd.DataFrame):
        refuse_repeated_columns(source.columns, "the DataFrame")
        return decoded_frame(source), str(source.attrs.get("name", "the DataFrame")), Path.cwd(), False
    if cutouts is not None and len(files) > 1:
        raise CatalogError(f"cutouts of mosaics are whole images, but file_col names several: {list(files)}")
    # with cutouts, no column says where images are, and none holds them; several columns are a table's
    listing = None
    if not cutouts and len(files) == 1:
        listing = open_listing(source, id_col=id_col, file_col=files[0], image_col=image_col)
    path = Path(source).expanduser()
    if listing is not None:
        return listing.read_table(), str(source), Path.cwd(), True
    if path.is_dir() and not cutouts:
        if len(files) > 1:
            raise CatalogError(
                f"the files of bands are named by the columns {list(files)} of a table, got the folder {path}"
            )
        return FolderRows(path, (id_col, files[0])).read_table(), str(source), path.absolute(), True
    return read_table(path, text_cols=(id_col, *files)), str(source), path.absolute().parent, False


def _with_label_cols(catalog: Catalog, columns: tuple[str, ...]) -> Catalog:
    if not columns or columns == catalog.label_cols:
        return catalog
    check_columns(catalog.table, columns, catalog.name)
    labels = read_labels(catalog.table, columns, catalog.ids, catalog.name)
    return replace(catalog, labels=labels, label_cols=columns)


# The catalogs of several campaigns as one, in which a galaxy has votes for its own campaign's questions.


def join_catalogs(sources: Sequence[CatalogSource], schema: Schema, **columns: Any) -> Catalog:
    """One catalog of the galaxies of all sources, labelled with votes for a schema; missing ones are NaN.

    A source needs the columns of one campaign at least; of a campaign it has all columns or none.

    Args:
        sources: Catalogs, in any form that `read_catalog` takes.
        schema: One campaign's, or several joined by `schemas.join`.
        **columns: `root`, `id_col`, `file_col` and more that `read_catalog` takes.

    Raises:
        CatalogError: If a source can't be used, has no campaign's columns or only some of them, or an id
            occurs in two sources.
        LabelError: If a vote is not a number.

    Example:
        >>> from zoobot.shared import schemas
        >>> both = schemas.join([schemas.get("gz_rings"), schemas.get("gz2")])
        >>> join_catalogs(["rings.csv", "gz2.csv"], both).labels.shape  # doctest: +SKIP
        (1200, 32)
    """
    parts = [_read_campaigns(source, schema, columns) for source in sources]
    seen: dict[str, str] = {}
    for part in parts:
        repeated = [galaxy for galaxy in part.ids if galaxy in seen]
        if repeated:
            raise CatalogError(
                f"{len(repeated)} ids are in both {seen[repeated[0]]} and {part.name}, such as "
                f"{repeated[:_SHOWN]}: put both votes in one row of one table if it is the same galaxy; "
                "otherwise make ids unique, for example by the survey's name in front"
            )
        seen |= dict.fromkeys(part.ids, part.name)
    if len(parts) == 1:
        return parts[0]
    return Catalog(
        ids=[galaxy for part in parts for galaxy in part.ids],
        paths=[path for part in parts for path in part.paths],
        labels=np.concatenate([part.labels for part in parts if part.labels is not None]),
        label_cols=tuple(schema.label_cols),
        table=pd.concat([part.table for part in parts], ignore_index=True),
        name=" and ".join(part.name for part in parts),
    )


def _read_campaigns(source: CatalogSource, schema: Schema, columns: dict[str, Any]) -> Catalog:
    catalog = read_catalog(source, **columns)
    there = set(catalog.table.columns)
    present: list[str] = []
    for campaign, label_cols in _columns_of_campaigns(schema).items():
        missing = [column for column in label_cols if column not in there]
        if not missing:
            present += label_cols
        elif len(missing) < len(label_cols):
            raise CatalogError(
                f"{catalog.name} has {len(label_cols) - len(missing)} of the {len(label_cols)} columns of "
                f"{campaign}, and lacks {missing[:_SHOWN]}{' …' if len(missing) > _SHOWN else ''}"
            )
    if not present:
        read_catalog(catalog, label_cols=schema.label_cols)  # raises, and says which columns are near
    known = read_catalog(catalog, label_cols=present).labels
    labels = np.full((len(catalog), len(schema.label_cols)), np.nan)
    labels[:, [schema.label_cols.index(column) for column in present]] = known
    return catalog.with_labels(labels, schema.label_cols)


def _columns_of_campaigns(schema: Schema) -> dict[str, list[str]]:
    campaigns = schema.campaigns or {schema.name: list(range(len(schema.questions)))}
    return {
        name: [column for place in places for column in schema.questions[place].label_cols]
        for name, places in campaigns.items()
    }
