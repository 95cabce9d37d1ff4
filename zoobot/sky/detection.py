"""Sources found in one tile: where they are, how large, how sure, and what may be wrong with each.

SEP does the work, the algorithms of SExtractor (Bertin & Arnouts 1996) as a library (Barbary 2016). A tile is
read in blocks that overlap, so that memory depends on no tile's size.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zoobot.shared.errors import CatalogError, MissingPackageError
from zoobot.sky.tiles import Tile

_BLOCK_PIX = 4096
#: Half of the largest galaxy that is measured whole where blocks meet.
_MARGIN_PIX = 512
#: Half-light radii are measured within a Kron ellipse, as SExtractor's MAG_AUTO: factor, and least radius.
_KRON_FACTOR, _LEAST_KRON = 2.5, 3.5
#: SEP keeps so many pixels of sources at once (or an eighth of all), and so many sources of a blend.
_PIXEL_STACK, _MOST_BLENDED = 300_000, 8192
_LARGEST_PICTURE_PIX = 1600
#: Sources that tell what a point source looks like: bright, round, clean, and so many of them alike.
_POINT_SNR, _POINT_AXIS_RATIO, _LEAST_POINTS, _POINT_SPREAD = 30.0, 0.8, 10, 1.15

_sep_is_one = threading.Lock()  # its limits are those of the process


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How sources are found.

    Args:
        sigma: Pixels of a source are so many times the noise above the background.
        area_pix: A source has at least so many of these, connected.
        mesh_pix: Side of the meshes in which the background is estimated.
        psf_fwhm_arcsec: Width of point sources; None estimates it from the tile.
    """

    sigma: float
    area_pix: int
    mesh_pix: int
    psf_fwhm_arcsec: float | None = None


class Sources(NamedTuple):
    """What was found in a tile.

    Attributes:
        table: A row for each source: x, y (from 0), a, b, theta (radians, from x to y) and kron_pix of its
            ellipse, half_light_radius_pix, flux, snr, compactness; 0 or 1 in blended, masked, saturated and
            truncated.
        picture: The tile, smaller where it is large, without its background; NaN where it has no value.
        step: How many pixels of the tile one of the picture stands for.
        point_radius_pix: Half-light radius of point sources; None if it is not known.
        points: How many sources it was estimated from; 0 if it was given.
        noise: Median noise of a pixel.
    """

    table: pd.DataFrame
    picture: NDArray
    step: int
    point_radius_pix: float | None
    points: int
    noise: float


def find_sources(tile: Tile, finding: Finding) -> Sources:
    """All sources of a tile, each once.

    Args:
        tile: The tile.
        finding: How they are found.

    Raises:
        CatalogError: If the tile has no pixel with a value, or SEP can't go on.
        MissingPackageError: If SEP is not installed.
    """
    sep = load_sep()
    step = max(1, math.ceil(max(tile.height, tile.width) / _LARGEST_PICTURE_PIX))
    picture = np.full((-(-tile.height // step), -(-tile.width // step)), np.nan, np.float32)
    found, noises = [], []
    for number, block in enumerate(_blocks(tile.height, tile.width, step)):
        values, bad, weights = tile.read(block.rows, block.columns)
        if bad.all():
            continue
        table, noise = _find_in(sep, values, bad, weights, tile, finding)
        values[bad] = np.nan
        block.draw(values, picture, step)
        noises.append(noise)
        found.append(block.in_tile(table, tile).assign(block=number))
    if not found:
        raise CatalogError(f"{tile.path}: not one pixel has a value that may be used")
    table = pd.concat(found, ignore_index=True)
    places, blocks, depth = table[["x", "y"]].to_numpy(), table["block"].to_numpy(), table["depth"].to_numpy()
    kept = count_once(places, np.maximum(same_radius(table), 2.0), blocks, depth)
    table = table[kept].drop(columns=["block", "depth"]).reset_index(drop=True)
    radius, points = point_radius(table), 0
    if finding.psf_fwhm_arcsec is not None:
        radius = finding.psf_fwhm_arcsec / tile.pixel_scale_arcsec / 2, 0  # that of a Gaussian
    pix, points = radius
    table["compactness"] = np.nan if pix is None else pix / table["half_light_radius_pix"]
    return Sources(table, picture, step, pix, points, float(np.median(noises)))


def load_sep() -> Any:
    """SEP.

    Raises:
        MissingPackageError: If it is not installed.
    """
    try:
        import sep
    except ImportError as error:
        msg = 'finding sources in tiles needs SEP: pip install "zoobot[detect]"'
        raise MissingPackageError(msg) from error
    return sep


class _Block(NamedTuple):
    """A part of a tile that is read at once: its core, and a margin around it."""

    rows: slice
    columns: slice
    core_rows: slice
    core_columns: slice

    def in_tile(self, table: pd.DataFrame, tile: Tile) -> pd.DataFrame:
        """Sources of the block in pixels of the tile, and how far each is from where the block was cut."""
        table["x"] += self.columns.start
        table["y"] += self.rows.start
        distances = [np.full(len(table), np.inf)]
        for name, part, end in (("x", self.columns, tile.width), ("y", self.rows, tile.height)):
            if part.start > 0:
                distances.append(table[name].to_numpy() - part.start)
            if part.stop < end:
                distances.append(part.stop - table[name].to_numpy())
        depth = np.minimum.reduce(distances)
        # the next block has what lies nearer, whole
        return table.assign(depth=depth)[depth >= _MARGIN_PIX / 2]

    def draw(self, values: NDArray, picture: NDArray, step: int) -> None:
        """Put the core into the picture, the mean of each square of pixels."""
        top, left = self.core_rows.start - self.rows.start, self.core_columns.start - self.columns.start
        height = self.core_rows.stop - self.core_rows.start
        width = self.core_columns.stop - self.core_columns.start
        core = values[top : top + height, left : left + width]
        padded = np.pad(core, ((0, -height % step), (0, -width % step)), constant_values=np.nan)
        squares = padded.reshape(len(padded) // step, step, -1, step)
        there = np.isfinite(squares)
        counts = there.sum(axis=(1, 3))
        sums = np.where(there, squares, 0).sum(axis=(1, 3))
        place = (slice(self.core_rows.start // step, None), slice(self.core_columns.start // step, None))
        target = picture[place][: len(counts), : counts.shape[1]]
        np.divide(sums, counts, out=target, where=counts > 0)


def _blocks(height: int, width: int, step: int) -> Iterator[_Block]:
    side = _BLOCK_PIX - _BLOCK_PIX % step
    for top in range(0, height, side):
        for left in range(0, width, side):
            rows, columns = slice(top, min(top + side, height)), slice(left, min(left + side, width))
            yield _Block(_with_margin(rows, height), _with_margin(columns, width), rows, columns)


def _with_margin(core: slice, end: int) -> slice:
    return slice(max(0, core.start - _MARGIN_PIX), min(core.stop + _MARGIN_PIX, end))


def _find_in(
    sep: Any, values: NDArray, bad: NDArray, weights: NDArray | None, tile: Tile, finding: Finding
) -> tuple[pd.DataFrame, float]:
    """Sources of an array of values, which loses its background, and the median noise of its pixels."""
    saturated = None if tile.saturation is None else values >= tile.saturation
    scale = _power_of_two(values[~bad])
    values /= scale
    noise = _subtract_sky(sep, values, bad, finding.mesh_pix)
    typical = float(np.median(noise[~bad]))
    if not typical > 0:
        raise CatalogError(
            f"{tile.path}: its pixels have no noise to hold sources against (their scatter is 0); "
            "is it a model, or a mask?"
        )
    if weights is not None:
        noise = typical * np.sqrt(np.median(weights[~bad]) / np.where(bad, 1, weights), dtype=np.float32)
    try:
        with _sep_is_one:
            sep.set_extract_pixstack(max(_PIXEL_STACK, values.size // 8))
            sep.set_sub_object_limit(_MOST_BLENDED)
            objects, parts = sep.extract(
                values, finding.sigma, err=noise, mask=bad, minarea=finding.area_pix, segmentation_map=True
            )
    except Exception as error:  # what SEP raises is Exception itself
        raise CatalogError(
            f"{tile.path}: sources can't be found ({error}); a higher --detect-sigma finds fewer"
        ) from error
    table = _measure(sep, values, noise, bad, objects, parts, saturated)
    values *= scale
    table["flux"] *= scale
    return table, typical * scale


def _power_of_two(good: NDArray) -> float:
    """What values are about as large as, so that SEP, who takes squares, leaves no float32's range.

    Example:
        >>> _power_of_two(np.array([-3e-20, 1e-20, 2e-20])) == 2.0**-66
        True
    """
    typical = float(np.median(np.abs(good - np.median(good))))
    return 2.0 ** round(math.log2(typical)) if typical > 0 else 1.0


def _subtract_sky(sep: Any, values: NDArray, bad: NDArray, mesh: int) -> NDArray:
    """Take the sky away from values, and give the noise of each pixel."""
    height, width = values.shape
    corners = ((top, left) for top in range(0, height, mesh) for left in range(0, width, mesh))
    if any(bad[top : top + mesh, left : left + mesh].mean() < 0.5 for top, left in corners):
        background = sep.Background(values, mask=bad, bw=mesh, bh=mesh, fw=3, fh=3)
        background.subfrom(values)
        return background.rms(dtype=np.float32)
    good = values[~bad]  # SEP needs half of a mesh, and without any takes the sky for 0
    level = np.median(good)
    values -= level
    return np.full(values.shape, 1.4826 * np.median(np.abs(good - level)), np.float32)


def _measure(
    sep: Any,
    values: NDArray,
    noise: NDArray,
    bad: NDArray,
    objects: NDArray,
    parts: NDArray,
    saturated: NDArray | None,
) -> pd.DataFrame:
    x, y = objects["x"].astype(float), objects["y"].astype(float)
    a, b = (np.nan_to_num(objects[name].astype(float), nan=0.5).clip(0.5) for name in ("a", "b"))
    theta = np.nan_to_num(objects["theta"].astype(float)).clip(-np.pi / 2, np.pi / 2)
    others = {"mask": bad, "seg_id": np.arange(1, len(x) + 1, dtype=np.int32), "segmap": parts}
    kron, _ = sep.kron_radius(values, x, y, a, b, theta, 6.0, **others)
    scale = np.maximum(_KRON_FACTOR * np.nan_to_num(kron), _LEAST_KRON)
    flux, error, seen = sep.sum_ellipse(values, x, y, a, b, theta, scale, err=noise, subpix=5, **others)
    half, _ = sep.flux_radius(values, x, y, scale * a, 0.5, normflux=flux, subpix=5, **others)
    peak = np.zeros(len(x), int)
    if saturated is not None:
        peak = saturated[objects["ypeak"], objects["xpeak"]].astype(int)
    flags = objects["flag"]
    table = pd.DataFrame(
        {
            "x": x,
            "y": y,
            "a": a,
            "b": b,
            "theta": theta,
            "kron_pix": scale * a,
            "half_light_radius_pix": half,
            "flux": flux,
            "snr": flux / error,
            "blended": (flags & sep.OBJ_MERGED > 0).astype(int),
            "masked": _touches(bad, objects).astype(int),
            "saturated": peak,
            "truncated": ((flags & sep.OBJ_TRUNC > 0) | (seen & sep.APER_TRUNC > 0)).astype(int),
        }
    )
    sound = np.isfinite(table[["half_light_radius_pix", "flux", "snr"]]).all(axis=1)
    return table[sound & (table["flux"] > 0) & (table["half_light_radius_pix"] > 0)].copy()


def _touches(bad: NDArray, objects: NDArray) -> NDArray:
    """Whether a pixel without a value lies in or beside the bounding box of each source."""
    if not bad.any():
        return np.zeros(len(objects), bool)
    edges = zip(*(objects[name].tolist() for name in ("ymin", "ymax", "xmin", "xmax")), strict=True)
    return np.array([bad[max(0, t - 1) : d + 2, max(0, e - 1) : r + 2].any() for t, d, e, r in edges], bool)


def same_radius(table: pd.DataFrame) -> NDArray:
    """How near to a source another is the same, in pixels: of one cut off at an edge, all of its light."""
    return np.where(table["truncated"] > 0, table["kron_pix"], table["half_light_radius_pix"])


def count_once(
    places: NDArray, radii: NDArray, seen_in: NDArray, depth: NDArray, clean: NDArray | None = None
) -> NDArray:
    """Which of the sources seen in several images to keep, so that each counts once.

    Of two sources in different images, nearer to each other than the larger one's radius, the one is kept
    that is whole, or else the one that is deeper in its image.

    Args:
        places: (sources, dimensions); NaN where unknown, and then kept.
        radii: How near is the same, (sources,), in the units of `places`.
        seen_in: The number of the image of each source.
        depth: How far each lies from the edge of its image.
        clean: Whether each is whole; all, where not said.

    Returns:
        (sources,), bool.

    Example:
        >>> places = np.array([[10.0, 10.0], [10.4, 10.0], [50.0, 50.0]])
        >>> count_once(places, np.full(3, 2.0), np.array([0, 1, 1]), np.array([5.0, 90.0, 60.0])).tolist()
        [False, True, True]
    """
    from scipy.spatial import KDTree

    kept = np.ones(len(places), bool)
    known = np.flatnonzero(np.isfinite(places).all(axis=1))
    if len(np.unique(seen_in[known])) < 2:
        return kept
    near: Sequence[list[int]] = KDTree(places[known]).query_ball_point(places[known], radii[known])
    rivals: dict[int, set[int]] = {}
    for here, others in enumerate(near):
        for other in others:
            one, two = int(known[here]), int(known[other])
            if seen_in[one] != seen_in[two]:
                rivals.setdefault(one, set()).add(two)
                rivals.setdefault(two, set()).add(one)
    whole = np.ones(len(places), bool) if clean is None else clean
    order = sorted(rivals, key=lambda one: (not whole[one], -depth[one], one))
    done: set[int] = set()
    for one in order:
        if kept[one]:
            done.add(one)
            for other in rivals[one] - done:
                kept[other] = False
    return kept


def point_radius(table: pd.DataFrame) -> tuple[float | None, int]:
    """The half-light radius of point sources in pixels, and from how many sources it is known.

    Point sources are the smallest, and all of one size: of the bright, round, clean sources it is the size
    that most share within 15 %, unless a fifth of them is smaller still.

    Example:
        >>> radii = np.r_[np.full(30, 1.7), np.linspace(2, 9, 60)]
        >>> flags = {name: 0 for name in ("blended", "masked", "saturated", "truncated")}
        >>> table = pd.DataFrame({"half_light_radius_pix": radii, "snr": 99.0, "a": 1.0, "b": 1.0, **flags})
        >>> point_radius(table)
        (1.7, 30)
    """
    clean = (table[["blended", "masked", "saturated", "truncated"]] == 0).all(axis=1)
    bright = clean & (table["snr"] >= _POINT_SNR) & (table["b"] >= _POINT_AXIS_RATIO * table["a"])
    radii = np.sort(table.loc[bright, "half_light_radius_pix"].to_numpy())
    if len(radii) < _LEAST_POINTS:
        return None, 0
    after = np.searchsorted(radii, radii * _POINT_SPREAD, side="right")
    counts = after - np.arange(len(radii))
    first = int(counts.argmax())
    if counts[first] < _LEAST_POINTS or first > len(radii) / 5:
        return None, 0
    return float(np.median(radii[first : after[first]])), int(counts[first])
