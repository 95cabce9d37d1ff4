"""The catalogs of several campaigns as one, in which a galaxy has votes for its own campaign's questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot.shared.catalog import Catalog, read_catalog
from zoobot.shared.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.shared.galaxy_data import CatalogSource
    from zoobot.shared.schemas import Schema

__all__ = ["join_catalogs"]

_SHOWN = 5


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
    parts = [_read(source, schema, columns) for source in sources]
    seen: dict[str, str] = {}
    for part in parts:
        repeated = [galaxy for galaxy in part.ids if galaxy in seen]
        if repeated:
            msg = (
                f"{len(repeated)} ids are in both {seen[repeated[0]]} and {part.name}, such as "
                f"{repeated[:_SHOWN]}: put both votes in one row of one table if it is the same galaxy; "
                "otherwise make ids unique, for example by the survey's name in front"
            )
            raise CatalogError(msg)
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


def _read(source: CatalogSource, schema: Schema, columns: dict[str, Any]) -> Catalog:
    catalog = read_catalog(source, **columns)
    there = set(catalog.table.columns)
    present: list[str] = []
    for campaign, label_cols in _columns_of_campaigns(schema).items():
        missing = [column for column in label_cols if column not in there]
        if not missing:
            present += label_cols
        elif len(missing) < len(label_cols):
            msg = (
                f"{catalog.name} has {len(label_cols) - len(missing)} of the {len(label_cols)} columns of "
                f"{campaign}, and lacks {missing[:_SHOWN]}{' …' if len(missing) > _SHOWN else ''}"
            )
            raise CatalogError(msg)
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
