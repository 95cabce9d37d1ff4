"""Galaxies found in FITS images of the sky, with a catalog of them that every other verb takes."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot.options.detect import DetectOptions
from zoobot.plots.detections import detections
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.files.spreadsheets import write_csv
from zoobot.shared.files.whole import replacing
from zoobot.shared.pixels.locations import SEPARATOR, PixelCutout
from zoobot.shared.pixels.picture_formats import check_size
from zoobot.sky.detection import Finding, Sources, count_once, find_sources, load_sep, same_radius
from zoobot.sky.tiles import Beside, Tile, open_tiles
from zoobot.workflow.pictures import attempt_picture
from zoobot.workflow.reporting import Reported, quoted
from zoobot.workflow.run_folder import check_run_folder, open_run, read_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger("zoobot")

#: What is more compact is as narrow as a point source.
POINT_COMPACTNESS = 0.8
FLAGS = ("blended", "masked", "saturated", "truncated", "at_edge")
#: What predictions of sources tell of each.
CARRIED = (
    *(
        "ra",
        "dec",
        "x",
        "y",
        "tile",
        "half_light_radius_pix",
        "half_light_radius_arcsec",
        "axis_ratio",
        "snr",
    ),
    *("compactness", *FLAGS, "cutout_pix"),
)
_RADII = 16.0
_MOST_PICTURES = 20
_ARCSEC = 206_264.806
#: Sources of two tiles nearer than this are one, if their own radii are no larger.
_SAME_ARCSEC = 1.0
_SHAPES = ("a", "b", "theta", "kron_pix")


@dataclass(frozen=True, kw_only=True, repr=False)
class DetectResult(Reported):
    """Galaxies that were found in tiles.

    Args:
        save_dir: The folder.
        catalog: The catalog of them.
        table: What is in it.
        file_cols: Its column of the images, or one for each band.
        pictures: The tiles with an ellipse on each source.
        notes: What was decided, and what was left out.
        hdu: The extension that images are cut from, if one was chosen.
        planes: How many planes these have; None if that is not known.
    """

    save_dir: Path
    catalog: Path
    table: pd.DataFrame = field(repr=False)
    file_cols: tuple[str, ...]
    pictures: tuple[Path, ...]
    notes: tuple[str, ...]
    hdu: int | str | None = None
    planes: int | None = None

    def told(self) -> list[str]:
        """What was found, in lines."""
        lines = [*self.notes, f"catalog of {_count(len(self.table))}: {self.catalog}"]
        flagged = [f"{int(self.table[name].sum()):,} {name}" for name in FLAGS if self.table[name].any()]
        lines += [f"flagged are {', '.join(flagged)}"] if flagged else []
        lines += [f"picture: {picture}" for picture in self.pictures[:1]]
        if len(self.pictures) > 1:
            lines.append(f"  and {len(self.pictures) - 1} more beside it")
        return lines

    def report(self) -> str:
        """What came out, as a text to read."""
        lines = self.told()
        lines.append("Next: predict them")
        more = f" --file-col {' '.join(self.file_cols)}" if len(self.file_cols) > 1 else ""
        more += f" --hdu {quoted(self.hdu)}" if self.hdu is not None else ""
        more += " --colour to-rgb" if self.planes == 1 else ""
        lines.append(
            f"  zoobot predict zoobot-mini --catalog {quoted(self.catalog)}{more} --save-loc predictions.csv"
        )
        return "\n".join(lines)


def detect(options: DetectOptions, *, command: str = "zoobot.workflow.detect") -> DetectResult:
    """Find the sources of FITS tiles, and leave a catalog of them with a picture of each tile.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        CatalogError: If a file is no tile, no tile can be used, or no source is kept.
        MissingPackageError: If SEP or astropy is not installed.
        ConfigError: If the folder holds something else.
    """
    load_sep()
    folder = Path(options.save_dir).expanduser().absolute()
    check_run_folder(folder, "detect", overwrite=options.overwrite)
    tiles = _open(options)
    record = open_run(folder, "detect", options, command=command, tiles=len(tiles), files=_stamps(tiles))
    with record.running():
        notes: list[str] = []
        table, pictures, used = _find_all(tiles, options, folder, notes)
        catalog = folder / f"sources.{options.table_format}"
        with replacing(catalog) as draft:
            if options.table_format == "csv":
                write_csv(table, draft)
            else:
                table.to_parquet(draft, index=False)
        columns = _file_columns(table)
        record.update(sources=len(table), tiles=used, file_cols=list(columns), notes=notes)
    return DetectResult(
        save_dir=folder,
        catalog=catalog,
        table=table,
        file_cols=columns,
        pictures=tuple(pictures),
        notes=tuple(notes),
        hdu=options.hdu,
        planes=max(tiles[0].facts.planes, len(tiles[0].files)),
    )


def _open(options: DetectOptions) -> list[Tile]:
    tiles = open_tiles(
        options.mosaic,
        hdu=options.hdu,
        band=options.detect_band,
        weights=Beside(files=options.weights, hdu=options.weight_hdu),
        masks=Beside(files=options.masks, hdu=options.mask_hdu),
        saturation=options.saturation,
    )
    blind = [tile.path for tile in tiles if tile.facts.sky is None]
    if blind and (options.cutout_arcsec or options.psf_fwhm_arcsec):
        what = "--cutout-arcsec" if options.cutout_arcsec else "--psf-fwhm-arcsec"
        raise CatalogError(
            f"{blind[0]} has no coordinates, so nobody knows what an arcsec is there: leave {what} out"
        )
    return tiles


def _stamps(tiles: list[Tile]) -> list[dict[str, Any]]:
    """The files that tiles are made of, so that a later run knows whether they are the same."""
    paths = {path: None for tile in tiles for path in (tile.path, *tile.files.values())}
    paths |= {there[0]: None for tile in tiles for there in (tile.weights, tile.mask) if there}
    stats = {path: os.stat(path) for path in paths}
    return [{"path": path, "size": one.st_size, "mtime_ns": one.st_mtime_ns} for path, one in stats.items()]


# From tiles to one table.


def _find_all(
    tiles: list[Tile], options: DetectOptions, folder: Path, notes: list[str]
) -> tuple[pd.DataFrame, list[Path], int]:
    """The catalog of all tiles, their pictures, and how many could be used."""
    note = notes.append
    finding = Finding(
        sigma=options.detect_sigma,
        area_pix=options.detect_area_pix,
        mesh_pix=options.mesh_pix,
        psf_fwhm_arcsec=options.psf_fwhm_arcsec,
    )
    found = []
    pictures: list[Path] = []
    for number, tile in enumerate(tiles):
        logger.info("Looking for sources in %s, %s of %s", tile.path, number + 1, len(tiles))
        try:
            sources = find_sources(tile, finding)
        except CatalogError as error:
            if len(tiles) == 1:
                raise
            logger.warning("passed over: %s", error)
            note(f"passed over: {error}")
            continue
        note(_in_words(tile, sources))
        if options.resolved_only and sources.point_radius_pix is None:
            raise CatalogError(
                f"{tile.path}: too few bright, round sources of one size tell what a point source looks like "
                "there: give --psf-fwhm-arcsec, or leave --resolved-only out"
            )
        found.append(_describe(tile, sources, options).assign(tile=number))
        if number < _MOST_PICTURES:
            pictures += _draw(tile, sources, found[-1], options, folder, None if len(tiles) == 1 else number)
    if not found:
        raise CatalogError(f"not one of {len(tiles):,} tiles can be used: {notes[0]}")
    if len(tiles) > _MOST_PICTURES:
        note(f"pictures are of the first {_MOST_PICTURES} of {len(tiles)} tiles")
    table = pd.concat(found, ignore_index=True)
    table = _each_once(table, tiles, note)
    table = _selected(table, options, note).drop(columns=["depth", "same_arcsec"])
    table = table.drop(columns=[name for name in ("ra", "dec") if table[name].isna().all()])
    _say_limits(table, options, note)
    names = pd.Series(_ids(table, tiles), dtype=object)
    table.insert(0, "id_str", names.to_numpy())
    table["tile"] = [Path(tiles[number].path).name for number in table["tile"]]
    blind = "ra" not in table
    note(
        "x and y count pixels of the tile from 0, the middle of the first (FITS and ds9 count from 1)"
        + (
            "; it has no coordinates, so there are no ra and dec"
            if blind
            else "; ra and dec are ICRS degrees"
        )
    )
    return table.reset_index(drop=True), pictures, len(found)


def _in_words(tile: Tile, sources: Sources) -> str:
    beside = "".join(f", {what}" for what, one in (("weights", tile.weights), ("a mask", tile.mask)) if one)
    line = f"{Path(tile.path).name}: {_count(len(sources.table))} in {tile.chosen}{beside}"
    if sources.point_radius_pix is None:
        points = "what a point source looks like is not known, so compactness is empty"
    elif sources.points:
        points = (
            f"point sources have a half-light radius of {sources.point_radius_pix:.2f} pixels, by "
            f"{sources.points} bright ones"
        )
    else:
        points = f"point sources have a half-light radius of {sources.point_radius_pix:.2f} pixels, as said"
    level = "" if tile.saturation is not None else "; no saturation level is known"
    return f"{line}; {points}{level}"


def _count(number: int) -> str:
    return f"{number:,} {'source' if number == 1 else 'sources'}"


def _describe(tile: Tile, sources: Sources, options: DetectOptions) -> pd.DataFrame:
    """What the catalog says of the sources of a tile, with the place of each one's image."""
    table = sources.table
    sides = _sides(table["half_light_radius_pix"].to_numpy(), tile, options)
    x, y = (table[name].to_numpy() for name in ("x", "y"))
    ra_deg, dec_deg = tile.to_sky(x, y)
    margins = np.minimum.reduce([x + 0.5, y + 0.5, tile.width - 0.5 - x, tile.height - 0.5 - y])
    squares = [
        str(PixelCutout(*square))
        for square in zip(x.round(3).tolist(), y.round(3).tolist(), sides.tolist(), strict=True)
    ]
    files = {f"file_{band}": path for band, path in tile.files.items()} or {"file_loc": tile.path}
    places = {name: [f"{path}{SEPARATOR}{square}" for square in squares] for name, path in files.items()}
    return pd.DataFrame(
        {
            **places,
            "ra": ra_deg,
            "dec": dec_deg,
            "x": x,
            "y": y,
            "half_light_radius_pix": table["half_light_radius_pix"],
            "half_light_radius_arcsec": table["half_light_radius_pix"] * tile.pixel_scale_arcsec,
            "axis_ratio": table["b"] / table["a"],
            "flux": table["flux"],
            "snr": table["snr"],
            "compactness": table["compactness"],
            **{name: table[name] for name in FLAGS[:-1]},
            "at_edge": (margins < sides / 2).astype(int),
            "cutout_pix": sides,
            "pixel_scale_arcsec": tile.pixel_scale_arcsec,
            "depth": margins,
            "same_arcsec": same_radius(table) * tile.pixel_scale_arcsec,
        }
    )


def _sides(radii: NDArray, tile: Tile, options: DetectOptions) -> NDArray:
    """The side of each image in pixels."""
    fixed = options.cutout_pix
    if options.cutout_arcsec is not None:
        fixed = max(3, round(options.cutout_arcsec / tile.pixel_scale_arcsec))
    if fixed is not None:
        check_size(fixed, fixed, max(tile.facts.planes, len(tile.files)))
        return np.full(len(radii), fixed)
    sides = np.rint((options.cutout_radii or _RADII) * radii)
    return sides.clip(*options.cutout_limits_pix).astype(int)


def _say_limits(table: pd.DataFrame, options: DetectOptions, note: Any) -> None:
    """Say how many images are larger or smaller than their galaxies ask for."""
    if options.cutout_arcsec is not None or options.cutout_pix is not None:
        return
    wanted = (options.cutout_radii or _RADII) * table["half_light_radius_pix"]
    low, high = options.cutout_limits_pix
    note(f"images are {options.cutout_radii or _RADII:g} half-light radii wide, from {low} to {high} pixels")
    for bound, word, held in (("smallest", low, wanted < low), ("largest", high, wanted > high)):
        if held.any():
            note(f"  {_count(int(held.sum()))} at the {bound}, {word} pixels")


def _draw(
    tile: Tile,
    sources: Sources,
    described: pd.DataFrame,
    options: DetectOptions,
    folder: Path,
    number: int | None,
) -> list[Path]:
    """The picture of a tile, of the sources that are kept but for what other tiles say."""
    shapes = pd.concat([described, sources.table[list(_SHAPES)]], axis=1)
    kept = shapes[_reasons(described, options).isna()]
    stem = Path(tile.path).name
    place = folder / "detections" / f"{number + 1:03d}" if number is not None else folder / "detections"
    title = f"{stem}: {_count(len(kept))}"
    about = {"step": sources.step, "point_compactness": POINT_COMPACTNESS, "title": title}
    drawn = attempt_picture(place, ("png",), detections, sources.picture, kept, **about)
    return [] if drawn is None else [drawn]


def _each_once(table: pd.DataFrame, tiles: list[Tile], note: Any) -> pd.DataFrame:
    """Sources that several tiles show, from one of them."""
    ra, dec = (np.radians(table[name].to_numpy()) for name in ("ra", "dec"))
    places = _ARCSEC * np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    clean = (table[["masked", "truncated"]] == 0).all(axis=1).to_numpy()
    radii = np.maximum(table["same_arcsec"].fillna(0).to_numpy(), _SAME_ARCSEC)
    kept = count_once(places, radii, table["tile"].to_numpy(), table["depth"].to_numpy(), clean)
    if not kept.all():
        note(
            f"{int((~kept).sum()):,} sources are in other tiles, too: each counts once, from the tile in "
            "which it is whole, and deepest"
        )
    if len(tiles) > 1 and table["ra"].isna().any():
        note("tiles without coordinates may overlap others: their sources may count twice")
    return table[kept].reset_index(drop=True)


def _reasons(table: pd.DataFrame, options: DetectOptions) -> pd.Series:
    """Why each source is left out, or nothing."""
    reasons = pd.Series(None, index=table.index, dtype=object)
    if options.resolved_only:
        reasons[table["compactness"] > POINT_COMPACTNESS] = "as narrow as point sources"
    reasons[table["half_light_radius_pix"] < options.min_radius_pix] = (
        f"smaller than {options.min_radius_pix:g} pixels"
    )
    reasons[table["snr"] < options.min_snr] = f"of S/N below {options.min_snr:g}"
    return reasons


def _selected(table: pd.DataFrame, options: DetectOptions, note: Any) -> pd.DataFrame:
    """The sources that are kept; what was left out is said."""
    reasons = _reasons(table, options)
    kept = table[reasons.isna()]
    told = [f"{count:,} {reason}" for reason, count in reasons.value_counts().items()]
    if options.max_sources is not None and len(kept) > options.max_sources:
        told.append(
            f"{len(kept) - options.max_sources:,} beyond the {options.max_sources:,} of the highest S/N"
        )
        kept = kept.loc[kept["snr"].nlargest(options.max_sources).index.sort_values()]
    if told:
        note(f"left out: {', '.join(told)}")
    if kept.empty:
        what = (
            f"none of {len(table):,} sources is kept ({', '.join(told)})" if told else "no source was found"
        )
        raise CatalogError(f"{what}: lower --detect-sigma, --detect-area-pix or --min-snr")
    return kept.reset_index(drop=True)


def _file_columns(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(name for name in table.columns if name.startswith("file_"))


def _ids(table: pd.DataFrame, tiles: list[Tile]) -> list[str]:
    """The name of each source: by its position, as J123456.789+123456.78, or by its tile and pixels."""
    names = [
        f"{Path(tiles[number].path).stem}_{x:.1f}_{y:.1f}"
        for number, x, y in zip(table["tile"], table["x"], table["y"], strict=True)
    ]
    if "ra" in table:
        there = table["ra"].notna()
        found = _position_names(table["ra"].to_numpy(), table["dec"].to_numpy())
        names = [new if known else old for old, new, known in zip(names, found, there, strict=True)]
    again = pd.Series(names).groupby(names).cumcount()
    return [f"{name}_{number + 1}" if number else name for name, number in zip(names, again, strict=True)]


def _position_names(ra_deg: NDArray, dec_deg: NDArray) -> list[str]:
    """Positions cut off, not rounded, as the IAU asks of names."""
    with np.errstate(invalid="ignore"):
        millis = np.nan_to_num(np.floor(ra_deg % 360 * 240_000 + 1e-6)).astype(np.int64)
        hundredths = np.nan_to_num(np.floor(np.abs(dec_deg) * 360_000 + 1e-6)).astype(np.int64)
    signs = np.where(dec_deg < 0, "-", "+")
    return [
        f"J{m // 3_600_000:02d}{m // 60_000 % 60:02d}{m // 1000 % 60:02d}.{m % 1000:03d}"
        f"{sign}{h // 360_000:02d}{h // 6000 % 60:02d}{h // 100 % 60:02d}.{h % 100:02d}"
        for m, h, sign in zip(millis.tolist(), hundredths.tolist(), signs.tolist(), strict=True)
    ]


def how_found(catalog: Any) -> dict[str, Any]:
    """What the record of a run on a catalog says of how its galaxies were found: nothing of other catalogs.

    Args:
        catalog: The catalog.
    """
    if not isinstance(catalog, str) or Path(catalog).name not in ("sources.csv", "sources.parquet"):
        return {}
    record = read_record(Path(catalog).expanduser().parent)
    if record is None or record.content["work"] != "detect" or "sources" not in record.content:
        return {}
    options = record.content["options"]
    facts = {
        name: options[name] for name in ("detect_sigma", "detect_area_pix", "min_snr") if name in options
    }
    return {"found": {**facts, "sources": record.content["sources"], "tiles": record.content["tiles"]}}


# Sources for another verb, found in one command with it.


def detect_first(options: DetectOptions, *, command: str) -> DetectResult:
    """The sources of tiles, as they are in a folder already if that run was asked the same, or else found.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ConfigError: If the folder holds sources that were found otherwise, without `overwrite`.
        ZoobotError: As `detect`.
    """
    folder = Path(options.save_dir).expanduser().absolute()
    record = read_record(folder)
    if record is None or options.overwrite:
        return detect(options, command=command)
    before, now = record.content, options.to_config()
    if before["work"] == "detect" and before["status"] == "finished":
        same = all(before["options"].get(name) == now[name] for name in now if name != "overwrite")
        catalog = folder / f"sources.{options.table_format}"
        if same and before.get("files") == _stamps(_open(options)) and catalog.is_file():
            logger.info("%s sources were found before: %s", f"{before['sources']:,}", catalog)
            table = pd.read_parquet(catalog)
            return DetectResult(
                save_dir=folder,
                catalog=catalog,
                table=table,
                file_cols=tuple(before["file_cols"]),
                pictures=(),
                notes=tuple(before["notes"]),
                hdu=options.hdu,
            )
        raise ConfigError(
            f"{folder} holds sources of other tiles, or found with other options: choose another --save-loc, "
            "or replace all with --overwrite"
        )
    return detect(DetectOptions(**{**vars(options), "overwrite": True}), command=command)
