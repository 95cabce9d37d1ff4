"""Galaxies of a table of positions as squares of FITS mosaics: which mosaic holds each, and where."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared.errors import CatalogError, ConfigError, ImageError
from zoobot.shared.files.table_checks import RowChunk, Rows, Wanted, find_column
from zoobot.shared.pixels.locations import SEPARATOR, Cutout
from zoobot.shared.pixels.mosaics import Mosaic

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Cutouts:
    """How the images of a catalog are cut from mosaics; give the size in one unit.

    A galaxy that lies in several mosaics is cut from the one in which it is farthest from the edge. Near an
    edge, the part outside has no value (NaN), and `nan_policy` decides.

    Args:
        mosaics: FITS files with celestial coordinates (WCS), or patterns of their names.
        arcsec: Side of the squares on the sky.
        pix: Side of the squares in pixels of the mosaic.
        ra_col: Column of right ascension in degrees (ICRS).
        dec_col: Column of declination in degrees.
        hdu: The extension whose coordinates decide which mosaic holds a galaxy; None is the first image.

    Raises:
        ConfigError: If there is no mosaic, or not one size.

    Example:
        >>> cutouts = Cutouts(mosaics=("tile1.fits", "tile2.fits"), arcsec=20)
        >>> catalog = read_catalog("positions.csv", cutouts=cutouts)  # doctest: +SKIP
        >>> catalog.paths[0]  # doctest: +SKIP
        '/data/tile2.fits::189.0865,25.9877,20arcsec'
    """

    mosaics: tuple[str, ...]
    arcsec: float | None = None
    pix: int | None = None
    ra_col: str = "ra"
    dec_col: str = "dec"
    hdu: int | str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.mosaics, (str, Path)) or not self.mosaics:
            raise ConfigError(f"mosaics must be a list of FITS files, got {self.mosaics!r}")
        if (self.arcsec is None) == (self.pix is None):
            msg = f"cutouts need one size, in arcsec or pix, got arcsec={self.arcsec!r}, pix={self.pix!r}"
            raise ConfigError(msg)
        size = self.arcsec if self.pix is None else self.pix
        if not (size and np.isfinite(size) and size > 0):
            raise ConfigError(f"the size of cutouts must be positive, got {size!r}")

    def for_columns(self, names: Sequence[str]) -> Cutouts:
        """The same for a table of these columns, whose positions may be in columns of other letter case."""
        return replace(self, ra_col=find_column(self.ra_col, names), dec_col=find_column(self.dec_col, names))

    @cached_property
    def _opened(self) -> list[tuple[str, Mosaic]]:
        return [(path, _open(path)) for path in find_files(self.mosaics, "mosaic")]

    def locate(self, table: pd.DataFrame, name: str, first_row: int = 0) -> list[str]:
        """Where the image of each row of a table lies.

        Args:
            table: Its columns `ra_col` and `dec_col` are looked at.
            name: What to call it in messages.
            first_row: The number of its first row, for messages.

        Raises:
            CatalogError: If a position is missing, impossible, or in no mosaic; or a mosaic can't be read.
        """
        ra_deg, dec_deg = read_positions(table, (self.ra_col, self.dec_col), name, first_row)
        margins = np.stack([self._margins(*mosaic, ra_deg, dec_deg) for mosaic in self._opened])
        best = margins.argmax(axis=0)
        outside = margins[best, np.arange(len(best))] < 0
        where = "lie in no mosaic; drop them, or give more with mosaics="
        _refuse(outside, where, ra_deg, dec_deg, name, first_row)
        unit, size = ("arcsec", self.arcsec) if self.pix is None else ("pix", self.pix)
        return [
            f"{self._opened[place][0]}{SEPARATOR}{Cutout(ra, dec, size, unit)}"  # type: ignore[arg-type]
            for place, ra, dec in zip(best.tolist(), ra_deg.tolist(), dec_deg.tolist(), strict=True)
        ]

    def _margins(self, path: str, mosaic: Mosaic, ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
        try:
            return mosaic.find_margins(ra_deg, dec_deg, self.hdu)
        except ImageError as error:
            raise CatalogError(f"{path}: {error}") from error


class CutoutRows:
    """A table of positions with a column of locations in mosaics.

    Args:
        rows: The table.
        cutouts: How its images are cut.
        file_col: What the column of locations is called; one of that name is replaced.
        name: What to call the table in messages.
    """

    def __init__(self, rows: Rows, cutouts: Cutouts, *, file_col: str, name: str) -> None:
        self.rows, self._cutouts, self._file_col, self._name = rows, cutouts, file_col, name
        has_positions = {cutouts.ra_col, cutouts.dec_col} <= set(rows.names)
        self.names: Sequence[str] = (
            list(dict.fromkeys([*rows.names, file_col])) if has_positions else rows.names
        )

    def read(self, columns: Sequence[str], wanted: Wanted) -> Iterator[RowChunk]:
        """The rows in order, those left out that are not wanted, where the format lets them be skipped."""
        positions = [self._cutouts.ra_col, self._cutouts.dec_col]
        needed = list(dict.fromkeys([*(name for name in columns if name != self._file_col), *positions]))
        for first, series in self.rows.read(needed, wanted):
            table = pd.DataFrame({s.name: s.array for s in series}, columns=needed)
            places = pd.Series(self._cutouts.locate(table, self._name, first), dtype=object)
            yield RowChunk(first, [places if n == self._file_col else table[n] for n in columns])


def find_files(texts: Sequence[str], what: str) -> list[str]:
    """The absolute paths of files that are named, or whose names have a pattern; each once.

    Args:
        texts: Names and patterns.
        what: What such a file is, for messages.

    Raises:
        CatalogError: If there is none, or a folder instead.
    """
    paths: list[str] = []
    for text in texts:
        name = str(Path(text).expanduser())
        if Path(name).is_dir():
            pattern = str(Path(text) / "*.fits")
            raise CatalogError(f"{str(text)!r} is a folder: name the files in it, such as {pattern!r}")
        found = [name] if Path(name).is_file() else sorted(glob.glob(name, recursive=True))
        if not found:
            raise CatalogError(f"there is no {what} {str(text)!r}")
        paths += [str(Path(path).absolute()) for path in found]
    return list(dict.fromkeys(paths))


def _open(path: str) -> Mosaic:
    try:
        return Mosaic(path)
    except (ImageError, OSError) as error:
        raise CatalogError(f"can't read the mosaic {path}: {error}") from error


def read_positions(
    table: pd.DataFrame, columns: tuple[str, str], name: str, first_row: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination of each row of a table, in degrees.

    Args:
        table: The table.
        columns: Of right ascension and of declination.
        name: What to call the table in messages.
        first_row: The number of its first row, for messages.

    Raises:
        CatalogError: If a position is missing, or impossible.
    """
    ra_deg, dec_deg = (_degrees(table[column], name, first_row) for column in columns)
    wrong = ~((np.abs(ra_deg) <= 360) & (np.abs(dec_deg) <= 90))
    _refuse(wrong, "have no position that can be", ra_deg, dec_deg, name, first_row)
    return ra_deg, dec_deg


def _degrees(column: pd.Series, name: str, first_row: int) -> np.ndarray:
    """Numbers, NaN where there are none."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    odd = np.isnan(values) & column.notna().to_numpy()
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        got = f"{column.iloc[row]!r} in row {first_row + row}"
        raise CatalogError(f"column {column.name!r} of {name} must hold degrees, got {got}")
    return values


def _refuse(bad: np.ndarray, what: str, ra_deg: Any, dec_deg: Any, name: str, first_row: int) -> None:
    if bad.any():
        rows = np.flatnonzero(bad)
        shown = ", ".join(f"row {first_row + i}: {ra_deg[i]}, {dec_deg[i]}" for i in rows[:_SHOWN])
        msg = f"{len(rows):,} galaxies of {name} {what}; the first (rows counted from 0): {shown}"
        raise CatalogError(msg)


# Where a catalog's images can be found again, as a record that tables made from it keep.


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
    told = {name: place[name] for name in ("root", "id_col", "file_col", "image_col") if name in place}
    cut = place.get("cutouts")
    return told | ({} if cut is None else {"cutouts": Cutouts(**{**cut, "mosaics": tuple(cut["mosaics"])})})


def _absolute(path: str | Path) -> str:
    return os.path.abspath(os.path.expanduser(path))
