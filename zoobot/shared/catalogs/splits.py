"""Catalogs split into train, validation and test, the same way whenever and wherever it is done.

Chance comes from a hash of the seed and of each galaxy's id (or of its group, or of its place on the sky),
never from the order of the rows: a catalog sorted in another way is split in the same way. Sizes are exact
where galaxies are split one by one, so enlarging a catalog can move a few of its galaxies to another part.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.errors import CatalogError, ConfigError, LabelError
from zoobot.shared.files.table_checks import find_column

if TYPE_CHECKING:
    from zoobot.shared.catalogs.catalog import Catalog

logger = logging.getLogger(__name__)

SplitMethod = Literal["random", "stratified", "sky", "group", "column"]

_SHOWN = 10
_PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def split_catalog(
    catalog: Catalog,
    *,
    method: SplitMethod | str | None = None,
    val_fraction: float = defaults.VAL_FRACTION,
    test_fraction: float = 0.0,
    seed: int = defaults.SEED,
    column: str | None = None,
    ra_col: str = "ra",
    dec_col: str = "dec",
    cell_size_deg: float = 1.0,
) -> dict[str, Catalog]:
    """The parts of a catalog by name: "train", "val" and, where asked for, "test".

    Every galaxy is in exactly one part, no part is empty, and galaxies keep the catalog's order.

    Args:
        catalog: What to split.
        method: None: by the catalog's own column `split`, if it has one that says train, val or test of each
            galaxy, and otherwise "random"; what was done with such a column is logged, and one that says it
            of some galaxies only is refused. "random": galaxy by galaxy. "stratified": likewise within each
            class, so that each part has each class in the same share; a class of two or more is both trained
            on and validated on, and a class of one is trained on, with a warning. "sky": whole cells of the
            sky, so that neighbours (one cluster, one background, one object observed twice) stay together,
            except across the edges of cells. "group": whole groups of galaxies with one value of `column`.
            "column": as `column` says.
        val_fraction: Share of galaxies that validate; of "sky" and "group", as near as whole cells or
            groups come. Ignored by "column", like the other options below.
        test_fraction: Share of galaxies kept for test; 0 for no such part.
        seed: Another seed gives another split.
        column: For "stratified" the classes (by default the only label column), for "group" the groups, for
            "column" (by default `split`) the names of the parts: train, val (or valid, validation), test.
        ra_col: Right ascension in degrees, for "sky".
        dec_col: Declination in degrees, for "sky".
        cell_size_deg: Height of a cell, and about its width, in degrees, for "sky".

    Raises:
        ConfigError: If an option can't work.
        CatalogError: If a column is absent or has an empty or impossible value, or a part would be empty.
        LabelError: If classes are missing or are no whole numbers.

    Example:
        >>> from zoobot.shared.catalog import read_catalog
        >>> table = pd.DataFrame({"id_str": [str(i) for i in range(10)], "file_loc": "a.jpg"})
        >>> parts = split_catalog(read_catalog(table, check_files=False), val_fraction=0.3)
        >>> {name: len(part) for name, part in parts.items()}
        {'train': 7, 'val': 3}
    """
    if method is None:
        return _split_as_said(
            catalog, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed, column=column
        )
    if method not in get_args(SplitMethod):
        raise ConfigError(f"split method must be one of {list(get_args(SplitMethod))}, got {method!r}")
    if method == "column":
        names = _named_parts(catalog, column or "split")
    else:
        fractions = _check_fractions(val_fraction, test_fraction)
        rank = _ranking(seed)
        if method == "stratified":
            names = _split_classes(catalog, column, fractions, rank)
        elif method == "sky":
            names = _split_units(
                catalog, _sky_cells(catalog, ra_col, dec_col, cell_size_deg), fractions, rank
            )
        elif method == "group":
            names = _split_units(catalog, _groups(catalog, column), fractions, rank)
        else:
            names = _split_units(catalog, catalog.ids, fractions, rank)
    parts = {part: np.flatnonzero(names == part) for part in ("train", "val", "test")}
    return {part: catalog.select(rows) for part, rows in parts.items() if len(rows)}


def _split_as_said(
    catalog: Catalog, *, val_fraction: float, test_fraction: float, seed: int, column: str | None
) -> dict[str, Catalog]:
    """The parts that the catalog's own column names; a random split where it names none."""
    _check_fractions(val_fraction, test_fraction)
    column = column or own_split_column(catalog)
    if column is None:
        return split_catalog(
            catalog, method="random", seed=seed, val_fraction=val_fraction, test_fraction=test_fraction
        )
    words = _words(_column(catalog, column))
    parts = {_PART_NAMES.get(word) for word in set(words)}
    if not _tell_parts(words):
        _refuse_half_a_split(words, parts, catalog, column)
        held = sorted(set(words))[:_SHOWN]
        why = f"holds {held}: it does not say which galaxies train and which do not"
        logger.warning("Column %r of %s %s. Split at random instead", column, catalog.name, why)
        return split_catalog(
            catalog, method="random", seed=seed, val_fraction=val_fraction, test_fraction=test_fraction
        )
    if test_fraction > 0:
        raise ConfigError(
            f"column {column!r} of {catalog.name} says which galaxies train, validate and test, but "
            f"test_fraction={test_fraction!r} asks for another part: leave it out, or say split='random' to "
            "split anew"
        )
    names = words.map(_PART_NAMES).to_numpy(dtype="<U5")
    named = [str(part) for part in ("train", "val", "test") if part in parts]
    found = {part: catalog.select(names == part) for part in named}
    drawn = ""
    if "val" not in found:
        found |= split_catalog(found["train"], method="random", val_fraction=val_fraction, seed=seed)
        drawn = "; it names none that validate: those were drawn from the training galaxies"
    found = {part: found[part] for part in sorted(found, key=("train", "val", "test").index)}
    sizes = ", ".join(f"{len(galaxies):,} {part}" for part, galaxies in found.items())
    logger.info("The split is the catalog's own, of column %r: %s%s", column, sizes, drawn)
    return found


def _refuse_half_a_split(words: pd.Series, parts: set[str | None], catalog: Catalog, column: str) -> None:
    """Raise where galaxies are named that train and that do not, but not of all: chance would mix them."""
    if not (None in parts and "train" in parts and len(parts) > 2):
        return
    other = np.flatnonzero(~words.isin(_PART_NAMES).to_numpy())
    held = sorted(set(words.iloc[other]))[:_SHOWN]
    raise CatalogError(
        f"column {column!r} of {catalog.name} says which galaxies train, validate and test, but "
        f"{len(other):,} have {held}; the first: {[catalog.ids[row] for row in other[:_SHOWN]]}. Name a part "
        "for them, leave them out (select=), or say split='random' to split anew"
    )


def _tell_parts(words: pd.Series) -> bool:
    """Whether words say of each galaxy which part it is in, one of them the training galaxies."""
    parts = {_PART_NAMES.get(word) for word in set(words)}
    return None not in parts and "train" in parts and len(parts) > 1


def describe_split(catalog: Catalog, method: str | None, column: str | None) -> str:
    """What decides which galaxies of a catalog train, in words, for a record.

    Args:
        catalog: The catalog.
        method: As `split_catalog` takes it.
        column: As `split_catalog` takes it.

    Example:
        >>> describe_split(None, "sky", None), describe_split(None, "column", "part")
        ('sky', "column 'part'")
    """
    if method is None:
        column = column or own_split_column(catalog)
        if column is None or not _tell_parts(_words(_column(catalog, column))):
            return "random"
        method = "column"
    if method == "column":
        return f"column {column or 'split'!r}"
    return method if column is None else f"{method}, by column {column!r}"


def own_split_column(catalog: Catalog) -> str | None:
    """The column of a catalog that says by its name what is trained on; None if there is none.

    Args:
        catalog: A column of labels is never meant.
    """
    names = [name for name in catalog.table.columns if str(name).strip().casefold() == "split"]
    return next((name for name in names if name not in catalog.label_cols), None)


def _words(values: pd.Series) -> pd.Series:
    """Names of parts as they are compared; an empty cell is a word of its own."""
    return values.astype(object).where(values.notna(), "(nothing)").astype(str).str.strip().str.lower()


def _check_fractions(val_fraction: float, test_fraction: float) -> dict[str, float]:
    if not (0 < val_fraction < 1 and 0 <= test_fraction < 1 and val_fraction + test_fraction < 1):
        raise ConfigError(
            "val_fraction must lie between 0 and 1, test_fraction be 0 or more, and both together leave "
            f"galaxies to train on, got val_fraction={val_fraction!r}, test_fraction={test_fraction!r}"
        )
    return {"test": test_fraction, "val": val_fraction} if test_fraction else {"val": val_fraction}


def _ranking(seed: int) -> Callable[[str], bytes]:
    """A function from a name to its place in the order of chance, which the seed decides."""
    key = hashlib.sha256(str(int(seed)).encode()).digest()

    def rank(unit: str) -> bytes:
        return hashlib.blake2b(unit.encode("utf-8", "surrogatepass"), digest_size=16, key=key).digest()

    return rank


def _split_units(
    catalog: Catalog, units: Sequence[str], fractions: dict[str, float], rank: Callable[[str], bytes]
) -> np.ndarray:
    """The part of each galaxy, where galaxies of one unit go together."""
    unit_of_galaxy, unit_names = pd.factorize(np.asarray(units, dtype=object))
    sizes = np.bincount(unit_of_galaxy).tolist()
    if len(sizes) <= len(fractions):
        what = "galaxies" if len(sizes) == len(catalog) else "cells or groups of galaxies that stay together"
        raise CatalogError(
            f"{catalog.name} has {len(sizes)} {what}, too few for {len(fractions) + 1} parts that are not "
            f"empty"
        )
    part_of_unit = np.full(len(sizes), "train", dtype="<U5")
    left = sorted(range(len(sizes)), key=lambda unit: rank(unit_names[unit]))
    for done, (part, fraction) in enumerate(fractions.items(), start=1):
        kept = len(fractions) + 1 - done  # one unit at least for each part that follows
        taken = _take_units(left, sizes, fraction * len(catalog), most=len(left) - kept)
        part_of_unit[sorted(taken)] = part
        left = [unit for unit in left if unit not in taken]
    return part_of_unit[unit_of_galaxy]


def _take_units(left: Sequence[int], sizes: Sequence[int], target: float, *, most: int) -> set[int]:
    """Units in order of chance, each taken if it brings the number of galaxies closer to the target."""
    taken: set[int] = set()
    count = 0
    for unit in left:
        if count >= target or len(taken) == most:
            break
        if count + sizes[unit] / 2 <= target:
            taken.add(unit)
            count += sizes[unit]
    return taken or {min(left, key=lambda unit: sizes[unit])}


def _split_classes(
    catalog: Catalog, column: str | None, fractions: dict[str, float], rank: Callable[[str], bytes]
) -> np.ndarray:
    if len(catalog) <= len(fractions):
        raise CatalogError(
            f"{catalog.name} has {len(catalog)} galaxies, too few for {len(fractions) + 1} parts that are "
            f"not empty"
        )
    members: dict[Hashable, list[int]] = defaultdict(list)
    for row, value in enumerate(_classes(catalog, column)):
        members[value].append(row)
    names = np.full(len(catalog), "train", dtype="<U5")
    for rows in members.values():
        left = sorted(rows, key=lambda row: rank(catalog.ids[row]))
        for part in ("val", "test"):
            if part in fractions and len(left) > 1:
                count = min(max(1, round(fractions[part] * len(rows))), len(left) - 1)
                names[left[:count]] = part
                left = left[count:]
    absent = set(fractions) - set(names)
    if absent:
        raise CatalogError(
            f"no class of {catalog.name} has enough galaxies to have one in each part; the {sorted(absent)} "
            "part would be empty. Merge rare classes, or split with method='random'"
        )
    alone = sorted(str(value) for value, rows in members.items() if len(rows) == 1)
    if alone:
        words = (
            f"classes with one galaxy are trained on but never validated on: {alone[:_SHOWN]}; merge or "
            f"drop them"
        )
        warnings.warn(words, UserWarning, stacklevel=3)
    return names


def _classes(catalog: Catalog, column: str | None) -> list[Hashable]:
    if column is None:
        if len(catalog.label_cols) != 1:
            raise ConfigError(
                f"a stratified split needs column=, the classes; the label columns are "
                f"{list(catalog.label_cols)}"
            )
        column = catalog.label_cols[0]
    if catalog.labels is not None and column in catalog.label_cols:
        values = pd.Series(catalog.labels[:, catalog.label_cols.index(column)], name=column)
    else:
        values = _column(catalog, column)
    _refuse_empty(values, catalog, LabelError)
    if getattr(values.dtype, "kind", "O") == "f":
        bad = np.flatnonzero(values.to_numpy() % 1 != 0)
        if len(bad):
            raise LabelError(
                f"a stratified split needs classes: whole numbers or names, but column {column!r} holds "
                f"{float(values.iloc[bad[0]])!r} for galaxy {catalog.ids[bad[0]]!r}. Split measurements "
                f"with method='random'"
            )
    return values.tolist()


def _groups(catalog: Catalog, column: str | None) -> list[str]:
    if column is None:
        raise ConfigError("a split by group needs column=, whose values are the groups")
    values = _column(catalog, column)
    _refuse_empty(values, catalog, CatalogError)
    return [str(value) for value in values]


def _named_parts(catalog: Catalog, column: str) -> np.ndarray:
    values = _column(catalog, column)
    _refuse_empty(values, catalog, CatalogError)
    words = values.astype(str).str.strip().str.lower()
    unknown = sorted(set(words) - set(_PART_NAMES))
    if unknown:
        raise CatalogError(
            f"column {column!r} of {catalog.name} must name parts: train, val (or valid, validation) or "
            f"test; got {unknown[:_SHOWN]}"
        )
    names = words.map(_PART_NAMES).to_numpy(dtype="<U5")
    absent = {"train", "val"} - set(names)
    if absent:
        raise CatalogError(
            f"column {column!r} of {catalog.name} names no galaxy {sorted(absent)}; it holds "
            f"{sorted(set(words))}"
        )
    return names


def _sky_cells(catalog: Catalog, ra_col: str, dec_col: str, cell_size_deg: float) -> list[str]:
    """The cell of each galaxy: bands of declination, cut in right ascension into about square cells."""
    if not 0 < cell_size_deg <= 90:
        raise ConfigError(f"cell_size_deg must lie between 0 and 90, got {cell_size_deg!r}")
    ra_col, dec_col = (find_column(name, list(catalog.table.columns)) for name in (ra_col, dec_col))
    ra_deg = _degrees(catalog, ra_col, low=-360.0, high=360.0) % 360
    dec_deg = _degrees(catalog, dec_col, low=-90.0, high=90.0)
    bands = max(1, round(180 / cell_size_deg))
    band = np.minimum(np.floor((dec_deg + 90) / 180 * bands), bands - 1)
    middle_deg = (band + 0.5) * 180 / bands - 90
    cells = np.maximum(1, np.round(360 * np.cos(np.deg2rad(middle_deg)) / cell_size_deg))
    cell = np.minimum(np.floor(ra_deg / 360 * cells), cells - 1)
    return [f"{b:.0f}/{c:.0f}" for b, c in zip(band, cell, strict=True)]


def _degrees(catalog: Catalog, column: str, *, low: float, high: float) -> np.ndarray:
    values = _column(catalog, column)
    degrees = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~((degrees >= low) & (degrees <= high)))
    if len(bad):
        row = int(bad[0])
        raise CatalogError(
            f"column {column!r} of {catalog.name} must hold decimal degrees from {low:g} to {high:g}, got "
            f"{values.tolist()[row]!r} for galaxy {catalog.ids[row]!r} ({len(bad):,} such galaxies)"
        )
    return degrees


def _column(catalog: Catalog, column: str) -> pd.Series:
    if column not in catalog.table.columns:
        there = list(map(str, catalog.table.columns))
        raise CatalogError(f"{catalog.name} has no column {column!r} to split by; its columns are {there}")
    return catalog.table[column]


def _refuse_empty(values: pd.Series, catalog: Catalog, error: type[CatalogError] | type[LabelError]) -> None:
    empty = np.flatnonzero(values.isna().to_numpy())
    if len(empty):
        raise error(
            f"every galaxy needs a value to be split by, but {len(empty):,} have none in column "
            f"{values.name!r} of {catalog.name}; the first: {[catalog.ids[row] for row in empty[:_SHOWN]]}"
        )
