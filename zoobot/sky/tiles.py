"""FITS tiles to find sources in: one file with all bands, or one for each; weights and masks beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoobot.shared.catalogs.cutouts import find_files
from zoobot.shared.errors import CatalogError, ImageError
from zoobot.shared.pixels.bands import Band, read_band
from zoobot.shared.pixels.containers import open_container
from zoobot.shared.pixels.mosaics import Mosaic, MosaicFacts

#: Where no band is chosen, that nearest to red light finds the sources: deep in most surveys.
_DETECTION_NM = 625.0
_NEAR_PIX = 0.5


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Weights or masks: an extension of the tile's own file, or files of their own.

    Args:
        files: The files, or patterns of their names: one for each tile, or for each file of --mosaic.
        hdu: The extension; None is the first image, of files of their own.
    """

    files: tuple[str, ...] = ()
    hdu: int | str | None = None

    def __bool__(self) -> bool:
        return bool(self.files) or self.hdu is not None


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A piece of sky: the plane that sources are found in, and the files that images are cut from.

    Args:
        path: The file of the plane.
        hdu: Its extension; None is the first image.
        plane: Its number, from 0.
        chosen: What it is and why it was chosen, in words.
        facts: What the file is.
        files: The file of each band, by its name, where there are several.
        weights: The file and extension of weights; None without.
        mask: The same of a mask.
        saturation: The value from which on pixels are saturated; None if it is not known.
    """

    path: str
    hdu: int | str | None
    plane: int
    chosen: str
    facts: MosaicFacts = field(repr=False)
    files: dict[str, str]
    weights: tuple[str, int | str | None] | None = None
    mask: tuple[str, int | str | None] | None = None
    saturation: float | None = None

    @property
    def height(self) -> int:
        """Rows."""
        return self.facts.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.facts.width

    @property
    def pixel_scale_arcsec(self) -> float:
        """Side of a pixel; NaN without coordinates."""
        return self.facts.pixel_scale_arcsec

    def read(self, rows: slice, columns: slice) -> tuple[NDArray, NDArray, NDArray | None]:
        """A part of the plane: values, which pixels may not be used, and weights.

        Values are float32, and 0 where they may not be used: no value, no weight, or masked.

        Raises:
            CatalogError: If a file can't be read there.
        """
        values = _read(self.path, self.plane, rows, columns, self.hdu)
        bad = ~np.isfinite(values)
        weights = None
        if self.weights is not None:
            weights = self._read_beside(self.weights, rows, columns)
            if (weights < 0).any():
                raise CatalogError(
                    f"{self.weights[0]}: weights must not be negative, but there are values down to "
                    f"{np.nanmin(weights):g} (is it the image itself?)"
                )
            bad |= ~(np.isfinite(weights) & (weights > 0))
        if self.mask is not None:
            bad |= self._read_beside(self.mask, rows, columns) != 0
        values[bad] = 0
        return values, bad, weights

    def _read_beside(self, there: tuple[str, int | str | None], rows: slice, columns: slice) -> NDArray:
        """A part of the weights or mask: of several planes, that of the band that sources are found in."""
        path, hdu = there
        return _read(path, self.plane if _describe(path, hdu).planes > 1 else 0, rows, columns, hdu)

    def to_sky(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Right ascension and declination (ICRS) in degrees of pixels from 0; NaN without coordinates."""
        if self.facts.sky is None or not len(x):
            return np.full(len(x), np.nan), np.full(len(x), np.nan)
        places = self.facts.sky.pixel_to_world(x, y).icrs
        return np.asarray(places.ra.deg, float), np.asarray(places.dec.deg, float)


def _read(path: str, plane: int, rows: slice, columns: slice, hdu: int | str | None) -> NDArray:
    try:
        part = _open(path).read_part(plane, rows, columns, hdu)
    except ImageError as error:
        raise CatalogError(f"{path}: {error}") from error
    return np.array(part, dtype=np.float32, order="C")


def _open(path: str) -> Mosaic:
    try:
        found = open_container(path)
    except ImageError as error:
        raise CatalogError(f"sources can't be looked for: {error}") from error
    if not isinstance(found, Mosaic):
        raise CatalogError(f"sources are found in FITS images, and {path} is none")
    return found


def open_tiles(
    mosaics: Sequence[str],
    *,
    hdu: int | str | None = None,
    band: int | str | None = None,
    weights: Beside,
    masks: Beside,
    saturation: float | None = None,
) -> list[Tile]:
    """The tiles of some FITS files, those of several bands on one grid of pixels together.

    Args:
        mosaics: The files, or patterns of their names.
        hdu: The extension; None is the first image.
        band: The band that sources are found in, by name, or as a plane from 0; None chooses.
        weights: Where weights are, if there are any.
        masks: Where masks are, if there are any.
        saturation: The value from which on pixels are saturated; None takes the header's.

    Raises:
        CatalogError: If a file is none, or can't be used, or bands, weights or masks do not fit.
    """
    paths = find_files(mosaics, "mosaic")
    facts = [_describe(path, hdu) for path in paths]
    groups = _group(paths, facts)
    beside = [_pair(one, what, paths, groups) for one, what in ((weights, "weights"), (masks, "masks"))]
    tiles = []
    for number, group in enumerate(groups):
        place, plane, chosen = _choose(group, paths, facts, band)
        own = {name: paths[one] for name, one in group.items()} if len(group) > 1 else {}
        tile = Tile(
            path=paths[place],
            hdu=hdu,
            plane=plane,
            chosen=chosen,
            facts=facts[place],
            files=own,
            weights=beside[0](place, number),
            mask=beside[1](place, number),
            saturation=facts[place].saturation if saturation is None else saturation,
        )
        for what, there in (("weights", tile.weights), ("a mask", tile.mask)):
            if there is not None:
                _refuse_other_shape(tile, what, there)
        tiles.append(tile)
    return tiles


def _describe(path: str, hdu: int | str | None) -> MosaicFacts:
    try:
        return _open(path).describe(hdu)
    except ImageError as error:
        raise CatalogError(f"{path}: {error}") from error


def _group(paths: list[str], facts: list[MosaicFacts]) -> list[dict[str, int]]:
    """Files that belong to one piece of sky, by the names of their bands; in the order of the files."""
    bands = [one.bands[0].name if one.planes == 1 and one.bands else "" for one in facts]
    if len(set(bands)) < 2 or not all(bands):
        return [{"": number} for number in range(len(paths))]
    groups: list[dict[str, int]] = []
    for number, name in enumerate(bands):
        fits = (
            g for g in groups if name not in g and _same_grid(facts[next(iter(g.values()))], facts[number])
        )
        group = next(fits, None)
        if group is None:
            groups.append({name: number})
        else:
            group[name] = number
    every = sorted(set(bands), key=bands.index)
    for group in groups:
        missing = [name for name in every if name not in group]
        if missing:
            path = paths[next(iter(group.values()))]
            raise CatalogError(
                f"the files are of the bands {', '.join(every)}, but there is none of {', '.join(missing)} "
                f"on the same pixels and coordinates as {path}; give tiles of one band, or all of each tile"
            )
    return groups


def _same_grid(one: MosaicFacts, two: MosaicFacts) -> bool:
    """Whether pixels of two images lie on the same sky."""
    if (one.height, one.width) != (two.height, two.width) or one.sky is None or two.sky is None:
        return False
    x, y = np.array([0, one.width - 1, 0]), np.array([0, one.height - 1, one.height - 1])
    there = two.sky.world_to_pixel(one.sky.pixel_to_world(x, y))
    return bool(np.hypot(there[0] - x, there[1] - y).max() < _NEAR_PIX)  # NaN is no


def _choose(
    group: dict[str, int], paths: list[str], facts: list[MosaicFacts], band: int | str | None
) -> tuple[int, int, str]:
    """The file and plane that sources are found in, and why, in words."""
    places = list(group.values())
    if len(places) > 1:
        bands: tuple[Band, ...] | None = tuple((facts[p].bands or ())[0] for p in places)
        plane, why = _choose_plane(bands, len(places), band, paths[places[0]])
        return places[plane], 0, why
    plane, why = _choose_plane(facts[places[0]].bands, facts[places[0]].planes, band, paths[places[0]])
    return places[0], plane, why


def _choose_plane(
    bands: tuple[Band, ...] | None, count: int, wanted: int | str | None, path: str
) -> tuple[int, str]:
    names = [band.name for band in bands or ()]
    if isinstance(wanted, str):
        known = read_band(wanted)
        fits = [
            place for place, name in enumerate(names) if name in (wanted, known.name if known else wanted)
        ]
        if not fits:
            there = f"has the bands {', '.join(names)}" if names else "names no bands"
            raise CatalogError(f"{path} {there}; sources can't be found in {wanted!r} (detect_band=)")
        return fits[0], f"the band {names[fits[0]]}, as chosen"
    if wanted is not None:
        if wanted >= count:
            raise CatalogError(
                f"{path} has {count} planes, counted from 0; there is no {wanted} (detect_band=)"
            )
        return wanted, f"plane {wanted}, as chosen"
    if count == 1:
        return 0, f"its one band{', ' + names[0] if names else ''}"
    if bands and all(band.wavelength_nm is not None for band in bands):
        away = [abs(float(band.wavelength_nm or 0) - _DETECTION_NM) for band in bands]
        place = away.index(min(away))
        return place, f"the band {names[place]}, of {', '.join(names)} the nearest to red light"
    return (
        count // 2,
        f"plane {count // 2} of {count} (from 0), the middle one, for no bands are named",
    )


def _pair(beside: Beside, what: str, paths: list[str], groups: list[dict[str, int]]) -> Any:
    """What gives the file and extension beside a tile, by the number of its file and its own."""
    if not beside:
        return lambda place, number: None
    if not beside.files:
        return lambda place, number: (paths[place], beside.hdu)
    files = find_files(beside.files, f"file of {what}")
    if len(files) == len(groups):
        return lambda place, number: (files[number], beside.hdu)
    if len(files) == len(paths):
        return lambda place, number: (files[place], beside.hdu)
    either = f" or {len(paths)}, one for each file" if len(paths) != len(groups) else ""
    raise CatalogError(
        f"{what} must be {len(groups)}, one for each tile{either}, in the same order; got {len(files)}"
    )


def _refuse_other_shape(tile: Tile, what: str, there: tuple[str, int | str | None]) -> None:
    facts = _describe(*there)
    same = (facts.height, facts.width) == (tile.height, tile.width)
    if not same or facts.planes not in (1, tile.facts.planes):
        planes = "1 plane" if tile.facts.planes == 1 else f"1 or {tile.facts.planes} planes"
        raise CatalogError(
            f"{what} must have the pixels of the tile, {tile.height} × {tile.width} in {planes}, got "
            f"{facts.height} × {facts.width} in {facts.planes} in {there[0]}"
        )
