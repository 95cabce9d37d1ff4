"""A simulated survey on disk: images, and a catalog with volunteers' votes beside the truth."""

from __future__ import annotations

import glob
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image

from zoobot.shared import defaults, schemas
from zoobot.shared.errors import ConfigError
from zoobot.shared.files.spreadsheets import write_csv
from zoobot.shared.files.whole import clear_abandoned, owned_name
from zoobot.shared.imports import import_optional
from zoobot.simulate import volunteers as crowd
from zoobot.simulate.drawing import check_kinds
from zoobot.simulate.exposure import Exposure, expose, stream
from zoobot.simulate.scene import Look, get_look

if TYPE_CHECKING:
    from zoobot.shared.trees.tree import Schema

# Writes an exposure as surveys publish theirs: a colour picture, or fluxes in FITS.


def write_jpg(path: Path, exposure: Exposure, ra: float, dec: float) -> None:
    """Write the colour picture as JPEG."""
    Image.fromarray(exposure.picture()).save(path, quality=95)


def write_png(path: Path, exposure: Exposure, ra: float, dec: float) -> None:
    """Write the colour picture as PNG."""
    Image.fromarray(exposure.picture()).save(path, compress_level=3)


def write_fits(path: Path, exposure: Exposure, ra: float, dec: float) -> None:
    """Write the fluxes as a cube (band, row, column) of nanomaggies, with band names and sky coordinates.

    Raises:
        MissingPackageError: astropy is not installed.
    """
    fits = import_optional("astropy.io.fits", needed_for="writing FITS images")
    cube = exposure.flux()
    header = fits.Header()
    header["BUNIT"] = "nanomaggy"
    header["BANDS"] = "".join(exposure.look.bands)
    header["PIXSCALE"] = (exposure.pixel_scale_arcsec, "arcsec")
    degrees = exposure.pixel_scale_arcsec / 3600
    for axis, (kind, centre, step) in enumerate(
        (("RA---TAN", ra, -degrees), ("DEC--TAN", dec, degrees)), start=1
    ):
        header[f"CTYPE{axis}"] = kind
        header[f"CRVAL{axis}"] = centre
        header[f"CRPIX{axis}"] = (cube.shape[-1] + 1) / 2
        header[f"CDELT{axis}"] = step
        header[f"CUNIT{axis}"] = "deg"
    fits.PrimaryHDU(cube, header).writeto(path)


WRITERS: Mapping[str, Callable[[Path, Exposure, float, float], None]] = {
    "jpg": write_jpg,
    "png": write_png,
    "fits": write_fits,
}
"""How to write each image format."""

CATALOG_NAME = "catalog.csv"
RECORD_NAME = "simulation.json"
RECIPE = 1
"""Raised whenever the same options would give other galaxies, so that no old folder passes for a new one."""


@dataclass(frozen=True)
class _Plan:
    """What every galaxy of the survey needs to know."""

    look: Look
    schema: Schema
    kinds: dict[str, float]
    ring_fraction: float
    image_size_pix: int
    seed: int
    volunteers: int
    image_format: str

    def record(self, n_galaxies: int) -> dict[str, Any]:
        """What the survey was made of, JSON-ready."""
        options = {name: value for name, value in vars(self).items() if name not in ("look", "schema")}
        described = {"look": asdict(self.look), "schema": self.schema.to_config(), "n_galaxies": n_galaxies}
        return json.loads(json.dumps({"recipe": RECIPE, **options, **described}))


def simulate_survey(
    folder: str | Path,
    *,
    n_galaxies: int = 600,
    look: str | Look = "decals",
    image_size_pix: int = 128,
    seed: int = defaults.SEED,
    schema: str | Schema = "gz_decals_dr5",
    volunteers: int = 40,
    image_format: str = "jpg",
    kinds: Mapping[str, float] | None = None,
    ring_fraction: float = 0.35,
    num_workers: int = defaults.NUM_WORKERS,
    on_galaxy: Callable[[], None] | None = None,
) -> Path:
    """Return the path of the catalog of a survey of simulated galaxies, made now or found as made before.

    Galaxy number 17 of a seed is the same galaxy however many are asked for and whatever the number of
    workers; its shape is also the same for every look and image size. The folder appears whole or not at all.

    Args:
        folder: Where to put `catalog.csv`, `images/` and `simulation.json`. It may exist if it is empty, or
            if it holds this very survey, which is then used as it is.
        n_galaxies: How many.
        look: The survey to imitate: "decals", "sdss", "hst" (colour), "euclid" (grey), or your own `Look`.
        image_size_pix: Side of the images, at least 32.
        seed: Chooses the galaxies.
        schema: The decision tree volunteers answer, or its name: any Galaxy Zoo campaign.
        volunteers: How many look at a galaxy on average (their number is Poisson-distributed, at least one).
        image_format: "jpg" or "png" (pictures), or "fits" (nanomaggies in three bands; needs astropy).
        kinds: Weights of the kinds of galaxies: smooth, disk, edge-on, merger, artifact. None gives `KINDS`.
        ring_fraction: Share of the disks seen face-on that have a ring.
        num_workers: Threads.
        on_galaxy: Called after each galaxy, for progress bars.

    Returns:
        Path of the CSV catalog: `id_str`, `file_loc` (relative to the catalog), `ra`, `dec`, one column of
        votes per answer, ready labels (`label` and `label_name`; `ring` and `spiral`: 0 or 1) and the true
        parameters. `label` numbers `CLASS_NAMES`.

    Raises:
        ConfigError: An option can't work, or the folder holds something else.
        SchemaError: The tree is unknown, or asks what simulated volunteers can't answer.
        MissingPackageError: FITS without astropy.

    Example:
        >>> import tempfile
        >>> catalog = simulate_survey(tempfile.mkdtemp(), n_galaxies=3, image_size_pix=64)
        >>> catalog.name, len(pd.read_csv(catalog))
        ('catalog.csv', 3)
    """
    plan = _Plan(
        look=get_look(look),
        schema=schemas.get(schema) if isinstance(schema, str) else schema,
        kinds=check_kinds(kinds),
        ring_fraction=_check_fraction("ring_fraction", ring_fraction),
        image_size_pix=_check_whole("image_size_pix", image_size_pix, 32),
        seed=_check_whole("seed", seed, 0),
        volunteers=_check_whole("volunteers", volunteers, 1),
        image_format=image_format,
    )
    crowd.check_schema(plan.schema)
    _check_format(image_format)
    record = plan.record(_check_whole("n_galaxies", n_galaxies, 1))
    _check_whole("num_workers", num_workers, 1)
    folder = Path(folder).expanduser().resolve()
    if _holds(folder, record):
        return folder / CATALOG_NAME
    _require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(folder.parent, glob.escape(folder.name), endings=(".draft",))
    unfinished = owned_name(folder, ".draft")
    unfinished.mkdir()
    try:
        _write(unfinished, plan, n_galaxies, num_workers, on_galaxy)
        (unfinished / RECORD_NAME).write_text(json.dumps(record, indent=1), encoding="utf-8")
        _move(unfinished, folder, record)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder / CATALOG_NAME


def _write(
    folder: Path, plan: _Plan, n_galaxies: int, num_workers: int, on_galaxy: Callable[[], None] | None
) -> None:
    (folder / "images").mkdir()

    def make(number: int) -> dict[str, Any]:
        return _make_galaxy(folder, plan, number)

    rows = []
    pool = ThreadPoolExecutor(num_workers)
    try:
        for row in pool.map(make, range(n_galaxies)):
            rows.append(row)
            if on_galaxy is not None:
                on_galaxy()
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted survey stops at once
    write_csv(pd.DataFrame(rows), folder / CATALOG_NAME)


def _make_galaxy(folder: Path, plan: _Plan, number: int) -> dict[str, Any]:
    """Write one image, and return its row of the catalog."""
    exposure = expose(
        plan.seed,
        number,
        look=plan.look,
        image_size_pix=plan.image_size_pix,
        kinds=plan.kinds,
        ring_fraction=plan.ring_fraction,
    )
    id_str = f"sim-{plan.seed}-{number:06d}"
    file_loc = f"images/{id_str}.{plan.image_format}"
    rng = stream(plan.seed, number, "position")
    ra, dec = rng.uniform(120, 250), math.degrees(math.asin(rng.uniform(-0.087, 0.574)))
    rng = stream(plan.seed, number, "votes")
    votes = crowd.cast_votes(
        exposure.galaxy,
        plan.schema,
        rng,
        visibility=exposure.visibility,
        volunteers=max(1, int(rng.poisson(plan.volunteers))),
    )
    WRITERS[plan.image_format](folder / file_loc, exposure, ra, dec)
    return {
        "id_str": id_str,
        "file_loc": file_loc,
        "ra": round(ra, 6),
        "dec": round(dec, 6),
        **dict(zip(plan.schema.label_cols, votes.tolist(), strict=True)),
        **_rounded(exposure),
    }


def _rounded(exposure: Exposure) -> dict[str, Any]:
    return {name: round(v, 5) if isinstance(v, float) else v for name, v in exposure.truth().items()}


def _holds(folder: Path, record: dict[str, Any]) -> bool:
    """Whether the folder already holds exactly this survey."""
    path = folder / RECORD_NAME
    if not path.is_file() or not (folder / CATALOG_NAME).is_file():
        return False
    try:
        return json.loads(path.read_text(encoding="utf-8")) == record
    except ValueError:  # not a record of ours: another program's file of that name
        return False


def _require_free(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if folder.is_file():
        raise ConfigError(f"{folder} is a file; the survey needs a folder")
    what = "a survey simulated with other options" if (folder / RECORD_NAME).exists() else "other files"
    raise ConfigError(f"{folder} already holds {what}; choose another folder, or delete this one first")


def _move(unfinished: Path, folder: Path, record: dict[str, Any]) -> None:
    """Give the finished folder its name; another run that was faster with the same survey is as good."""
    try:
        if folder.exists():
            folder.rmdir()  # empty, or this fails; some systems don't rename onto it
        os.replace(unfinished, folder)
    except OSError:
        if not _holds(folder, record):
            _require_free(folder)
            raise


def _check_whole(name: str, value: int, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise ConfigError(f"{name} must be a whole number, at least {lowest}; got {value!r}")
    return value


def _check_fraction(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ConfigError(f"{name} must be a number from 0 to 1; got {value!r}")
    return float(value)


def _check_format(image_format: str) -> None:
    if image_format not in WRITERS:
        raise ConfigError(f"unknown image_format {image_format!r}; expected one of {list(WRITERS)}")
    if image_format == "fits":
        import_optional("astropy.io.fits", needed_for="writing FITS images")
