"""A catalog of any size, a part at a time: what is in it, whether it can be used, and any range of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.catalogs import galaxy_files
from zoobot.shared.catalogs.catalog import Catalog, check_columns
from zoobot.shared.catalogs.columns import (
    MOST_EXACT,
    IdHashes,
    as_kind,
    both_places,
    common_kind,
    exact_ids,
    kind_of,
    split_selection,
    where_equal,
)
from zoobot.shared.catalogs.cutouts import CutoutRows, Cutouts, describe_place
from zoobot.shared.catalogs.delimited import DelimitedRows
from zoobot.shared.catalogs.given import settle
from zoobot.shared.catalogs.listings import open_listing
from zoobot.shared.catalogs.tables import open_rows, typed_cells
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.table_checks import LEFT_OUT, Rows, TableRows
from zoobot.shared.pixels.in_memory import ImageInMemory
from zoobot.shared.pixels.web_images import WebAccess, WebImage

_SHOWN = 10

IdsAndPaths = tuple[list[str], list[str]]


@dataclass(frozen=True, kw_only=True)
class CatalogFacts:
    """What a first look at all rows says.

    Args:
        galaxies: How many there are.
        fingerprint: A SHA-256 of their ids and paths, in order.
    """

    galaxies: int
    fingerprint: str


class CatalogPart(NamedTuple):
    """Galaxies of a catalog that follow each other.

    Args:
        number: Which part they are, counted from 0.
        galaxies: The galaxies.
    """

    number: int
    galaxies: Catalog


class CatalogStream:
    """The galaxies of a table, or of a folder of images, of which only a few are in memory at a time.

    Only the columns of ids, paths and the selection are read. That the images are there is not looked at.

    Args:
        source: A table of delimited text, Parquet or FITS, a folder of Parquet files, a folder of images, or
            archives of images (`zoobot.shared.catalogs.listings.open_listing`), of which one at a time is in
            memory; or what is in memory anyway: a VOTable, a DataFrame, a `Catalog`, and all that
            `zoobot.shared.catalogs.given.settle` knows.
        root: Folder that relative image paths start from. By default the folder of the table file, or the
            folder given; for a DataFrame, the current folder.
        id_col: As for `read_catalog`, and so are `file_col`, `image_col`, `cutouts` and
            `allow_urls`.
        select: "COLUMN=VALUE" keeps the rows whose column holds that value.

    Attributes:
        name: Where the catalog came from, for messages.
        select: The selection.
        part_rows: Galaxies in the parts that it will be read in; say it before anything is read, which spares
            `parts` a second look at all rows.
        place: Where it can be read again (`zoobot.shared.catalogs.cutouts`); None if it was in memory.
        told: What the catalog says of its columns (`zoobot.shared.files.table_checks.TOLD`).

    Raises:
        CatalogError: If the source can't be read, or lacks a column.
        ConfigError: If `select` is not of that form.
        MissingPackageError: If the package that reads this format is not installed.

    Example:
        >>> table = pd.DataFrame({"id_str": ["a", "b", "c"], "file_loc": ["a.jpg", "b.jpg", "c.jpg"]})
        >>> stream = CatalogStream(table, root="/data")
        >>> stream.facts.galaxies
        3
        >>> [(part.number, part.galaxies.ids) for part in stream.parts(2)]
        [(0, ['a', 'b']), (1, ['c'])]
    """

    def __init__(
        self,
        source: Any,
        *,
        root: str | Path | None = None,
        id_col: str = "id_str",
        file_col: str | Sequence[str] = "file_loc",
        image_col: str | None = None,
        cutouts: Cutouts | None = None,
        allow_urls: bool | WebAccess = False,
        select: str | None = None,
    ) -> None:
        source = settle(source, id_col=id_col, file_col=file_col)
        self._web = WebAccess.of(allow_urls)
        self.select = select
        self.part_rows = defaults.PART_ROWS
        self.place = describe_place(
            source, root=root, id_col=id_col, file_col=file_col, image_col=image_col, cutouts=cutouts
        )
        if isinstance(source, Catalog):
            self.place = source.place
        files = galaxy_files.file_columns(file_col)
        self._columns = [id_col, *files]
        self._value: str | None = None
        self._rows, self.name, folder = _open(source, self._columns, image_col, cutouts)
        self._base = folder if root is None else Path(root).expanduser().absolute()
        if select is not None:
            column, self._value = split_selection(select)
            self._columns = [id_col, *files, column]
        self._carried: list[str] = []
        self._kinds: dict[str, str] = {}
        self.told: dict[str, dict[str, str]] = getattr(getattr(self._rows, "rows", self._rows), "told", {})
        names = self._names = pd.DataFrame(columns=list(self._rows.names))
        names.attrs[LEFT_OUT] = getattr(self._rows, "left_out", {})
        if cutouts is not None:
            here = cutouts.for_columns(list(self._rows.names))
            positions = {"ra_col": here.ra_col, "dec_col": here.dec_col}
            check_columns(names, list(positions.values()), self.name, **positions)
        check_columns(names, self._columns, self.name, id_col=id_col, file_col=file_col)

    def carry(self, columns: Sequence[str]) -> dict[str, str]:
        """Keep further columns in the tables of parts; what these hold is looked up in all rows first.

        Returns:
            The type of each (`zoobot.shared.catalogs.columns.kind_of`).

        Raises:
            CatalogError: If there is no such column.
        """
        check_columns(self._names, list(columns), self.name)
        found: dict[str, set[str]] = {name: set() for name in columns}
        inexact: set[str] = set()
        if columns:
            for _, pieces in self._rows.read(list(columns), lambda start, stop: True):
                for name, piece in zip(columns, pieces, strict=True):
                    typed = self._typed(piece, name)
                    kind = kind_of(typed)
                    found[name].add(kind)
                    if kind == "int64" and (abs(int(typed.min())) > MOST_EXACT or typed.max() > MOST_EXACT):
                        inexact.add(name)
        kinds = {name: common_kind(some, exact=name not in inexact) for name, some in found.items()}
        self._carried, self._kinds = list(columns), kinds
        return self._kinds

    def _typed(self, piece: pd.Series, name: str, kind: str | None = None) -> pd.Series:
        """Cells as what they are: in delimited text all are texts, also "007" in a column of texts."""
        source = getattr(self._rows, "rows", self._rows)
        if not isinstance(source, DelimitedRows):
            return piece
        return typed_cells(piece, as_text=kind == "str" or name in source.texts)

    @cached_property
    def facts(self) -> CatalogFacts:
        """How many galaxies there are, and their fingerprint, once every row was found to be usable.

        Raises:
            CatalogError: If there are none, an id or a path is missing, or an id is repeated.
        """
        hashes, marks = IdHashes(), _PartMarks(self.part_rows)
        digests = hashlib.sha256(), hashlib.sha256()
        for ids, paths in self._read():
            self._refuse_other_than_unicode(ids)
            hashes.add(ids)
            marks.add(ids, paths)
            for digest, texts in zip(digests, (ids, paths), strict=True):
                # lengths keep "ab", "c" apart from "a", "bc"
                digest.update("".join(f"{len(t)}:{t}" for t in texts).encode("utf-8", "surrogatepass"))
        if not len(hashes):
            self._refuse_empty()
        repeated = hashes.repeated(lambda: (ids for ids, _ in self._read()))
        if repeated:
            raise CatalogError(
                f"every galaxy must stand in {self.name} once, but ids of column {self._columns[0]!r} occur "
                f"more than once; the first: {repeated[:_SHOWN]} ({self._both_places(repeated[0])})"
            )
        self._marks = marks.finish()
        both = b"".join(digest.digest() for digest in digests)
        return CatalogFacts(galaxies=len(hashes), fingerprint=hashlib.sha256(both).hexdigest())

    def parts(self, part_rows: int, wanted: Callable[[int], bool] = lambda _: True) -> Iterator[CatalogPart]:
        """The galaxies in parts of equal size, of which the last may be smaller.

        Args:
            part_rows: Galaxies in a part.
            wanted: Which parts, by number, are needed. Others are not even read where the format lets rows be
                skipped: in Parquet and FITS, without a selection.

        Raises:
            CatalogError: If the catalog became another one since its `facts` were read.
        """
        facts = self.facts
        if self.part_rows != part_rows:
            self.part_rows = part_rows
            del self.facts  # it is looked at anew
            self._refuse_change(self.facts == facts, facts)
        total, marks = facts.galaxies, self._marks

        def is_needed(start: int, stop: int) -> bool:
            last = (min(stop, total) - 1) // part_rows
            return any(wanted(number) for number in range(start // part_rows, last + 1))

        waiting: dict[int, tuple[list[str], list[str], list[list[np.ndarray]]]] = {}
        missing = sum(map(wanted, range(-(-total // part_rows))))
        seen = 0
        for first, ids, paths, carried in self._read_rows(is_needed, self._carried):
            seen = first + len(ids)
            for number in range(first // part_rows, (seen - 1) // part_rows + 1):
                if not wanted(number):
                    continue
                piece = slice(max(0, number * part_rows - first), (number + 1) * part_rows - first)
                part = waiting.setdefault(number, ([], [], [[] for _ in carried]))
                part[0].extend(ids[piece])
                part[1].extend(paths[piece])
                for pieces, column in zip(part[2], carried, strict=True):
                    pieces.append(column[piece])
                if len(part[0]) == min(part_rows, total - number * part_rows):
                    missing -= 1
                    self._refuse_change(_mark(*part[:2]) == marks[number], facts)
                    yield CatalogPart(number, self._catalog(*waiting.pop(number)))
        self._refuse_change(not missing and seen <= total, facts)

    def _refuse_change(self, same: bool, facts: CatalogFacts) -> None:
        if not same:
            raise CatalogError(
                f"{self.name} changed while it was read: it had {facts.galaxies:,} galaxies, and now has "
                "others, or other images, or another order. Put it back as it was, and leave it so; the same "
                "command then goes on"
            )

    def first_paths(self) -> list[str]:
        """The paths of the first galaxies, a few or many."""
        return next((paths for _, paths in self._read() if paths), [])

    def find_paths(self, ids: Collection[str]) -> dict[str, str]:
        """The paths of some galaxies by their ids; those that the catalog has not are absent.

        Args:
            ids: Their ids.
        """
        wanted = set(ids)
        found: dict[str, str] = {}
        for some, paths in self._read():
            found.update((one, path) for one, path in zip(some, paths, strict=True) if one in wanted)
            if len(found) == len(wanted):
                break
        return found

    def _both_places(self, repeated: str) -> str:
        pairs = (pair for ids, paths in self._read() for pair in zip(ids, paths, strict=True))
        return both_places(path for one, path in pairs if one == repeated)

    def _catalog(self, ids: list[str], paths: list[str], carried: list[list[np.ndarray]]) -> Catalog:
        further = dict(zip(self._carried, map(np.concatenate, carried), strict=True)) if carried else {}
        table = pd.DataFrame({"id_str": ids, "file_loc": paths, **further})
        return Catalog(ids=ids, paths=paths, labels=None, label_cols=(), table=table, name=self.name)

    def _read(self) -> Iterator[IdsAndPaths]:
        return ((ids, paths) for _, ids, paths, _ in self._read_rows(lambda start, stop: True))

    def _read_rows(
        self, is_needed: Callable[[int, int], bool], carried: Sequence[str] = ()
    ) -> Iterator[tuple[int, list[str], list[str], list[np.ndarray]]]:
        """The number of the first galaxy, ids, paths and what is carried, of some galaxies at a time.

        Galaxies are counted when selected.
        """
        wanted, kept = [*self._columns, *carried], len(self._columns)
        if self._value is None:
            for first, columns in self._rows.read(wanted, is_needed):
                ids, *paths = columns[:kept]
                yield first, *self._exact(first, ids, paths), self._as_kinds(columns[kept:])
            return
        first = 0
        for _, columns in self._rows.read(wanted, lambda start, stop: True):
            ids, *paths, values = columns[:kept]
            chosen = where_equal(values, self._value)
            after = first + int(chosen.sum())
            if after > first and is_needed(first, after):
                some = [one[chosen] for one in columns[kept:]]
                exact = self._exact(first, ids[chosen], [one[chosen] for one in paths])
                yield first, *exact, self._as_kinds(some)
            first = after

    def _as_kinds(self, columns: Sequence[pd.Series]) -> list[np.ndarray]:
        return [
            as_kind(self._typed(piece, name, self._kinds[name]), self._kinds[name])
            for name, piece in zip(self._carried[: len(columns)], columns, strict=True)
        ]

    def _exact(self, first: int, ids: pd.Series, paths: Sequence[pd.Series]) -> IdsAndPaths:
        texts = exact_ids(ids, self.name, first_row=first)
        return texts, galaxy_files.read_locations(paths, texts, self._base, self.name, self._web)

    def _refuse_other_than_unicode(self, ids: list[str]) -> None:
        try:
            "".join(ids).encode()
        except UnicodeEncodeError:
            odd = next(text for text in ids if not text.isprintable() and "\\udc" in ascii(text))
            msg = f"ids must be Unicode, but {self.name} has {odd!a}: rename that file, or give a table"
            raise CatalogError(msg) from None

    def _refuse_empty(self) -> None:
        if self._value is None:
            raise CatalogError(f"{self.name} has no rows: expected one for each galaxy")
        held: set[str] = set()
        for _, columns in self._rows.read(self._columns, lambda start, stop: True):
            held |= {str(value) for value in columns[-1].unique()[: _SHOWN + 1]}
            if len(held) > _SHOWN:
                break
        msg = f"--select {self.select}: no galaxy has it; the column holds {sorted(held)[:_SHOWN]}"
        raise CatalogError(msg)


class _PartMarks:
    """What tells the galaxies of each part, ids and paths, from others: 8 bytes a part.

    Args:
        rows: Galaxies in a part.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._found: list[bytes] = []
        self._part: IdsAndPaths = ([], [])

    def add(self, ids: list[str], paths: list[str]) -> None:
        """Take up the galaxies that follow."""
        for start, stop in _pieces(len(self._part[0]), len(ids), self._rows):
            self._part[0].extend(ids[start:stop])
            self._part[1].extend(paths[start:stop])
            if len(self._part[0]) == self._rows:
                self.finish()

    def finish(self) -> list[bytes]:
        """The marks of all parts, the last of which may be smaller."""
        if self._part[0]:
            self._found.append(_mark(*self._part))
            self._part = ([], [])
        return self._found


def _pieces(before: int, more: int, rows: int) -> Iterator[tuple[int, int]]:
    """Where so many more rows are cut into parts, when the first of these has some rows before."""
    start = 0
    while start < more:
        stop = min(more, start + rows - before)
        yield start, stop
        start, before = stop, 0


def _mark(ids: list[str], paths: list[str]) -> bytes:
    texts = "".join(f"{len(text)}:{text}" for texts in (ids, paths) for text in texts)
    return hashlib.blake2b(texts.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _open(
    source: Catalog | pd.DataFrame | str | Path,
    columns: list[str],
    image_col: str | None,
    cutouts: Cutouts | None,
) -> tuple[Rows, str, Path]:
    """What reads a source, its name, and the folder that its paths are relative to."""
    if cutouts is not None and len(columns) > 2:
        raise CatalogError(f"cutouts of mosaics are whole images, but file_col names several: {columns[1:]}")
    if cutouts is not None:
        rows, name, folder = _open_table(source, columns)
        here = cutouts.for_columns(list(rows.names))
        return CutoutRows(rows, here, file_col=columns[1], name=name), name, folder
    if isinstance(source, (str, Path)) and len(columns) == 2:
        listing = open_listing(source, id_col=columns[0], file_col=columns[1], image_col=image_col)
        if listing is not None:
            return listing, str(source), Path.cwd()
    return _open_table(source, columns)


def _open_table(source: Catalog | pd.DataFrame | str | Path, columns: list[str]) -> tuple[Rows, str, Path]:
    if isinstance(source, Catalog):
        columns[2:] = []  # its paths were read before
        if any(isinstance(path, ImageInMemory) for path in source.paths):
            raise CatalogError(
                "parts are made of what can be read again after a kill, and images in memory can't: write "
                "these, or let save_loc be a table, whose name ends in .parquet, .csv …"
            )
        ids, paths = (np.array(texts, dtype=object) for texts in (source.ids, source.paths))
        if any(isinstance(path, WebImage) for path in source.paths):
            paths = pd.Series(source.paths, dtype=object)  # else they would become plain texts
        first = {columns[0]: ids, columns[1]: paths}
        others = {name: values.array for name, values in source.table.items() if name not in first}
        return TableRows(pd.DataFrame({**first, **others})), source.name, Path.cwd()
    if isinstance(source, pd.DataFrame):
        return TableRows(source), str(source.attrs.get("name", "the DataFrame")), Path.cwd()
    path = Path(source).expanduser()
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    # a folder of images has one file for each
    return open_rows(path, folder_columns=columns if len(columns) == 2 else columns[:1]), str(source), folder
