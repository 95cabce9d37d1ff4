"""Where a catalog's images can be found again, as a record that tables made from it keep."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoobot.shared.catalogs.cutouts import Cutouts

__all__ = ["describe_place", "place_arguments"]


def describe_place(
    source: Any,
    *,
    root: str | Path | None,
    id_col: str,
    file_col: str | Sequence[str],
    image_col: str | None,
    cutouts: Cutouts | None,
) -> dict[str, Any] | None:
    """What `read_catalog` was told, JSON-ready and with absolute paths; None of a catalog in memory.

    Args:
        source: The catalog.
        root: Folder that relative paths start from.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths, or several.
        image_col: Column of the images.
        cutouts: How they are cut from mosaics.

    Example:
        >>> place = describe_place(
        ...     "/data/a.csv", root=None, id_col="id_str", file_col="file_loc", image_col=None, cutouts=None
        ... )
        >>> place["catalog"], place["root"]
        ('/data/a.csv', None)
    """
    if not isinstance(source, (str, Path)):
        return None
    cut = None if cutouts is None else {**asdict(cutouts), "mosaics": [*map(_absolute, cutouts.mosaics)]}
    return {
        "catalog": _absolute(source),
        "root": None if root is None else _absolute(root),
        "id_col": id_col,
        "file_col": file_col if isinstance(file_col, str) else list(file_col),
        "image_col": image_col,
        "cutouts": cut,
    }


def place_arguments(place: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `read_catalog` or `CatalogStream`, besides the catalog itself, from such a record."""
    from zoobot.shared.catalogs.cutouts import Cutouts

    told = {name: place[name] for name in ("root", "id_col", "file_col", "image_col") if name in place}
    cut = place.get("cutouts")
    return told | ({} if cut is None else {"cutouts": Cutouts(**{**cut, "mosaics": tuple(cut["mosaics"])})})


def _absolute(path: str | Path) -> str:
    return os.path.abspath(os.path.expanduser(path))
