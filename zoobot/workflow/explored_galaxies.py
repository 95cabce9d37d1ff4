"""The galaxies of an explorer page: which have predictions, where their images are, what is known of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared.catalog import Catalog, check_columns, read_catalog
from zoobot.shared.catalogs.galaxy_files import file_columns
from zoobot.shared.errors import CatalogError
from zoobot.shared.explorer import Column, Text
from zoobot.shared.predicting.samples import read_samples
from zoobot.workflow.galaxies import select_galaxies
from zoobot.workflow.known_labels import known_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoobot.shared.config import ExploreOptions
    from zoobot.shared.tasks import Task
    from zoobot.workflow.found_results import FoundResults

__all__ = ["Explored", "choose_galaxies", "list_galaxies", "open_catalogs", "read_chosen"]

logger = logging.getLogger("zoobot")


class Explored(NamedTuple):
    """What a catalog knows of the galaxies of a page.

    Attributes:
        paths: Where each image is; None of galaxies that are in no catalog.
        labels: (galaxies, label columns), NaN where unknown.
        columns: Numbers of the catalog that were asked for.
        texts: Where the catalog says that images are, and words that were asked for.
    """

    paths: list[str | None]
    labels: NDArray
    columns: list[Column]
    texts: list[Text]


def choose_galaxies(
    found: FoundResults, options: ExploreOptions, catalogs: Sequence[Catalog]
) -> tuple[list[str], int]:
    """The galaxies of the page, in the order of the predictions, and of how many they are a random sample.

    Raises:
        CatalogError: If none is left.
    """
    wanted = None if options.select is None else {galaxy for one in catalogs for galaxy in one.ids}
    ids = [
        galaxy
        for part, _ in read_samples(found.table, found.task.output_columns)
        for galaxy in part
        if wanted is None or galaxy in wanted
    ]
    if not ids:
        selected = "" if options.select is None else f" of a galaxy with {options.select}"
        msg = f"{found.table} holds no prediction{selected}"
        raise CatalogError(msg)
    if len(ids) <= options.n:
        return ids, len(ids)
    logger.warning("%s galaxies: the page has a random %s of them (--n)", f"{len(ids):,}", f"{options.n:,}")
    rows = np.sort(np.random.default_rng(options.seed).permutation(len(ids))[: options.n])
    return [ids[row] for row in rows], len(ids)


def read_chosen(found: FoundResults, ids: Sequence[str]) -> NDArray:
    """The predictions of some galaxies, in their order: (samples, galaxies, outputs)."""
    row = {galaxy: row for row, galaxy in enumerate(ids)}
    chosen: NDArray | None = None
    for part, values in read_samples(found.table, found.task.output_columns):
        there = [place for place, galaxy in enumerate(part) if galaxy in row]
        if chosen is None:
            chosen = np.full((len(values), len(ids), values.shape[-1]), np.nan)
        chosen[:, [row[part[place]] for place in there]] = values[:, there]
    if chosen is None:
        chosen = np.empty((1, 0, len(found.task.output_columns)))
    return chosen


def open_catalogs(found: FoundResults, options: ExploreOptions) -> list[Catalog]:
    """The catalogs that were named, or those of the run that predicted; none where nothing says.

    Raises:
        CatalogError: If one can't be used, or that of the run is no longer there.
    """
    sources = found.catalogs
    if options.catalog is not None:
        sources = [(options.catalog, options.catalog_arguments())]
    if not sources:
        for flag, given in (("--select", options.select), ("--columns", options.columns)):
            if given:
                msg = f"{flag} needs the catalog, which {found.table} does not name: give it (--catalog)"
                raise CatalogError(msg)
        return []
    opened = []
    for source, arguments in sources:
        try:
            galaxies = read_catalog(source, check_files=False, **arguments)
        except CatalogError as error:
            if options.catalog is not None:
                raise
            msg = (
                f"the catalog of the run that predicted can't be read: {error}. Start from the folder that "
                "the run was started from, or give --catalog"
            )
            raise CatalogError(msg) from error
        opened.append(galaxies if options.select is None else select_galaxies(galaxies, options.select))
    return opened


def list_galaxies(
    ids: Sequence[str], catalogs: Sequence[Catalog], task: Task, options: ExploreOptions
) -> Explored:
    """What catalogs know of some galaxies; of a galaxy in several the first counts.

    Args:
        ids: The galaxies.
        catalogs: The catalogs, or none.
        task: What was predicted, for the labels.
        options: Further columns to show.

    Raises:
        CatalogError: If the catalogs have none of the galaxies, or not a column that is asked for.
    """
    row = {galaxy: row for row, galaxy in enumerate(ids)}
    paths: list[str | None] = [None] * len(ids)
    labels = np.full((len(ids), task.num_label_cols), np.nan)
    places = [""] * len(ids)
    tables = []
    for catalog in catalogs:
        there = [k for k, galaxy in enumerate(catalog.ids) if galaxy in row and paths[row[galaxy]] is None]
        known = catalog.select(there)
        rows = [row[galaxy] for galaxy in known.ids]
        for place, path in zip(rows, known.paths, strict=True):
            paths[place] = path
        if rows:
            spelled = [_as_text(known.table[column]) for column in _file_cols(known)]
            for place, *parts in zip(rows, *spelled, strict=True):
                places[place] = " ".join(parts)
            labels[rows] = known_labels(task, known)
            tables.append(known.table.set_axis(rows))
    if not catalogs:
        return Explored(paths, labels, [], [])
    _tell_missing(paths, catalogs)
    table = pd.concat(tables).reindex(np.arange(len(ids)))
    check_columns(table, options.columns, _names(catalogs))
    columns: list[Column] = []
    texts = [Text("file_loc", "Image", places)]
    for name in options.columns:
        if pd.api.types.is_numeric_dtype(table[name]) and not pd.api.types.is_bool_dtype(table[name]):
            columns.append(Column(name, name, table[name].to_numpy(dtype=np.float64, na_value=np.nan)))
        else:
            texts.append(Text(name, name, _as_text(table[name])))
    return Explored(paths, labels, columns, texts)


def _tell_missing(paths: Sequence[str | None], catalogs: Sequence[Catalog]) -> None:
    missing = paths.count(None)
    if missing == len(paths):
        msg = f"{_names(catalogs)} has none of the {missing:,} galaxies that were predicted"
        raise CatalogError(msg)
    if missing:
        logger.warning("%s galaxies are not in %s: no pictures of them", f"{missing:,}", _names(catalogs))


def _names(catalogs: Sequence[Catalog]) -> str:
    return " and ".join(catalog.name for catalog in catalogs)


def _file_cols(catalog: Catalog) -> tuple[str, ...]:
    """The column, or those of bands, that say where images are, as the catalog was read."""
    return file_columns("file_loc" if catalog.place is None else catalog.place["file_col"])


def _as_text(column: pd.Series) -> list[str]:
    return ["" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
