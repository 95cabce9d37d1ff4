"""Where each galaxy's image lies, and whether it is there; fast for millions of images."""

from __future__ import annotations

import logging
import os
import reprlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoobot.shared.catalogs.columns import is_missing
from zoobot.shared.errors import CatalogError, ImageError
from zoobot.shared.pixels.bands import band_of_column
from zoobot.shared.pixels.containers import open_container
from zoobot.shared.pixels.locations import SEPARATOR, join_stack, split_location, split_stack
from zoobot.shared.pixels.web_images import WebAccess, WebImage, is_address

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("zoobot")

_SHOWN = 10
# Listing a folder costs less than asking for this many of its files one by one.
_LIST_FROM = 200


def read_paths(
    column: pd.Series, ids: Sequence[str], base: Path, name: str, web: WebAccess | None = None
) -> list[str]:
    """The absolute path of each galaxy's image, or its web address.

    Args:
        column: Absolute paths, or paths relative to `base`; text or `Path`.
        ids: The galaxies, for messages.
        base: Absolute folder.
        name: The table, for messages.
        web: How addresses may be asked for; None where they may not.

    Raises:
        CatalogError: If a path is missing or is no path, or is an address, and none may be asked for.
    """
    folder = str(base)
    paths: list[str] = []
    missing = []
    refused = 0
    for galaxy, value in zip(ids, column.to_numpy(dtype=object), strict=True):
        text = _path_text(value)
        if not text.strip():
            missing.append(galaxy)
        if is_address(text):
            refused += web is None and not isinstance(value, WebImage)
            paths.append(_allowed(value, web))
        else:
            paths.append(os.path.join(folder, text))  # which leaves an absolute path as it is
    _refuse_addresses(refused, len(ids), f"column {column.name!r} of {name}")
    if missing:
        raise CatalogError(
            f"every galaxy needs an image, but {len(missing):,} of {len(ids):,} galaxies of {name} have no "
            f"path in column {column.name!r}; the first: {missing[:_SHOWN]}"
        )
    return paths


def _allowed(value: object, web: WebAccess | None) -> str:
    """An address that may be asked for; one that was allowed before stays so."""
    if isinstance(value, WebImage):
        return value
    return str(value).strip() if web is None else web.place(str(value).strip())


def _refuse_addresses(refused: int, total: int, where: str) -> None:
    if refused:
        raise CatalogError(
            f"{refused:,} of {total:,} images in {where} lie at web addresses, and none is asked for unless "
            "allow_urls=True (--allow-urls) is given where the catalog is read"
        )


def allow_addresses(paths: list[str], web: WebAccess | None, name: str) -> list[str]:
    """Places that were given as they are, of which addresses become those that may be asked for.

    Without any, it is the same list.

    Raises:
        CatalogError: If there are any, and none may be asked for.
    """
    refused = sum(is_address(path) and not isinstance(path, WebImage) for path in paths)
    if web is None:
        _refuse_addresses(refused, len(paths), name)
    return [_allowed(path, web) if is_address(path) else path for path in paths] if refused else paths


def file_columns(file_col: str | Sequence[str]) -> tuple[str, ...]:
    """The columns of image paths: one, or one for each band of an image in several files.

    Raises:
        CatalogError: If there is none, or one is given twice.
    """
    columns = (file_col,) if isinstance(file_col, str) else tuple(file_col)
    if not columns or len(set(columns)) < len(columns):
        msg = f"file_col must be a column, or a different one for each band, got {list(columns)}"
        raise CatalogError(msg)
    return columns


def read_locations(
    columns: Sequence[pd.Series], ids: Sequence[str], base: Path, name: str, web: WebAccess | None = None
) -> list[str]:
    """Where each galaxy's image is: in the file of one column, or in those of several, one for each band.

    Of several, a galaxy may lack some: reading its image fails, and says which.

    Args:
        columns: As for `read_paths`; of several, their names tell the bands, such as file_g.
        ids: The galaxies, for messages.
        base: Absolute folder.
        name: The table, for messages.
        web: As for `read_paths`.

    Raises:
        CatalogError: If a galaxy has no path at all, or one is no path, or an address that may not be.
    """
    if len(columns) == 1:
        return read_paths(columns[0], ids, base, name, web)
    bands = [band_of_column(str(column.name)) for column in columns]
    if len({band for band in bands if band}) < len(bands):
        bands = [""] * len(bands)  # the names tell no bands apart; the files' own headers may
    folder = str(base)
    texts = [[_path_text(value) for value in column.to_numpy(dtype=object)] for column in columns]
    missing = [galaxy for galaxy, *row in zip(ids, *texts, strict=True) if not "".join(row).strip()]
    if missing:
        raise CatalogError(
            f"every galaxy needs an image, but {len(missing):,} of {len(ids):,} galaxies of {name} have no "
            f"path in columns {[column.name for column in columns]}; the first: {missing[:_SHOWN]}"
        )
    if web is None:
        refused = sum(any(map(is_address, row)) for row in zip(*texts, strict=True))
        _refuse_addresses(refused, len(ids), f"columns {[column.name for column in columns]} of {name}")
    stacks = [
        join_stack((band, _file_of_band(folder, text)) for band, text in zip(bands, row, strict=True))
        for row in zip(*texts, strict=True)
    ]
    return stacks if web is None else [web.place(stack) for stack in stacks]


def _file_of_band(folder: str, text: str) -> str:
    if not text.strip():
        return ""
    return text.strip() if is_address(text) else os.path.join(folder, text)


def _path_text(value: object) -> str:
    """The path as text; empty where it is missing."""
    if isinstance(value, str):
        # a file may also be called ~
        return os.path.expanduser(value) if value.startswith("~") and "/" in value else value
    if isinstance(value, (os.PathLike, bytes)):
        return os.fsdecode(value)
    if is_missing(value):
        return ""
    raise CatalogError(
        f"image paths must be text or Path, got {reprlib.repr(value)} ({type(value).__name__})"
    )


def refuse_missing_files(paths: Sequence[str], ids: Sequence[str], base: Path, name: str) -> None:
    """Raise a CatalogError that counts and names the images which are not there.

    Of images in several files, one for each band, some may be incomplete: how many is said.

    Args:
        paths: Where each galaxy's image is: an absolute path, or a location inside of a file.
        ids: The galaxies, for messages.
        base: What relative paths were relative to, for messages.
        name: The table, for messages.
    """
    stacks = [split_stack(path) for path in paths]
    if any(stacks):
        _refuse_missing_bands(stacks, ids, base, name)
        return
    wanted: dict[str, list[int]] = defaultdict(list)
    inside: list[int] = []
    for row, path in enumerate(paths):
        if isinstance(path, WebImage):
            continue  # whether it is there is known when it is asked for
        if SEPARATOR in path:
            inside.append(row)
        else:
            wanted[os.path.dirname(path)].append(row)
    missing = [row for folder, rows in wanted.items() for row in _missing_in(folder, rows, paths)]
    missing = sorted([*missing, *(row for row in inside if not _is_there(paths[row]))])
    if not missing:
        return
    first = "".join(f"\n  {ids[row]}: {paths[row]}" for row in missing[:_SHOWN])
    hint = (
        f" Not one image is there: relative paths start from {str(base)!r}; give another folder with root=."
    )
    hint = hint if len(missing) == len(paths) else ""
    named = [paths[row] for row in missing]
    if any(path != path.strip() or os.path.basename(path).startswith(" ") for path in named):
        hint += " Some paths begin or end with blanks: strip them."
    if os.sep == "/" and any("\\" in path for path in named):
        hint += " Some paths have backslashes, as on Windows: write / instead."
    raise CatalogError(
        f"{len(missing):,} of {len(paths):,} images of {name} are "
        f"missing.{hint} "
        f"Mend the paths or drop the rows; the first:{first}"
    )


def _refuse_missing_bands(
    stacks: Sequence[list[tuple[str, str]] | None], ids: Sequence[str], base: Path, name: str
) -> None:
    """Say how many galaxies lack a file, and raise if all do."""
    missing = [
        (galaxy, band, place)
        for galaxy, stack in zip(ids, stacks, strict=True)
        for band, place in stack or ()
        if not place or not (is_address(place) or _is_there(place))
    ]
    lacking = len({galaxy for galaxy, _, _ in missing})
    first = "".join(f"\n  {galaxy}: {band} {place or '(empty)'}" for galaxy, band, place in missing[:_SHOWN])
    if lacking == len(ids):
        raise CatalogError(
            f"not one galaxy of {name} has the files of all its bands: relative paths start from "
            f"{str(base)!r}; give another folder with root=. The first:{first}"
        )
    if lacking:
        logger.warning(
            "%s of %s galaxies of %s lack the file of a band and will fail; the first:%s",
            f"{lacking:,}",
            f"{len(ids):,}",
            name,
            first,
        )


def _missing_in(folder: str, rows: Sequence[int], paths: Sequence[str]) -> list[int]:
    there = _list_files(folder) if len(rows) >= _LIST_FROM else frozenset()
    # What a listing lacks may still open under that name, as on file systems that ignore letter case.
    return [
        row for row in rows if os.path.basename(paths[row]) not in there and not os.path.isfile(paths[row])
    ]


def _is_there(location: str) -> bool:
    """Whether an archive has a member, or a file has such a name; what can't be opened is told when read."""
    container, member = split_location(location)
    if member is None:
        return os.path.isfile(container)
    try:
        return member in open_container(container) or os.path.isfile(location)
    except ImageError:
        return True


def _list_files(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return frozenset()  # it can't be listed, and each file is asked for instead
