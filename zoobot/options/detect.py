"""The options of `zoobot detect`, and its words on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import ImagePlaceOptions, ReadingOptions
from zoobot.shared.settings import Options, kinds_of, refuse, setting, with_default


@dataclass(frozen=True, kw_only=True)
class FindingOptions(Options):
    """How sources are found in tiles, which are kept, and how large their images are."""

    title: ClassVar[str] = "Sources in tiles"

    detect_band: int | str | None = setting(
        None,
        "the band that sources are found in, by name, or as a plane counted from 0; without it, that nearest "
        "to red light",
        at_least=0,
        metavar="BAND",
    )
    detect_sigma: float = setting(
        2.0, "pixels of a source are so many times the noise above the sky", above=0
    )
    detect_area_pix: int = setting(9, "a source has at least so many of these, connected", at_least=1)
    mesh_pix: int = setting(
        128, "side of the meshes in which the sky is measured; larger than the galaxies", at_least=8
    )
    min_snr: float = setting(10.0, "the faintest kept: total light over its error", at_least=0)
    min_radius_pix: float = setting(0.0, "the smallest kept: half-light radius", at_least=0)
    max_sources: int | None = setting(None, "at most so many, those of the highest S/N", at_least=1)
    resolved_only: bool = setting(
        False, "leave out stars and all else that is no wider than a point source (compactness above 0.8)"
    )
    psf_fwhm_arcsec: float | None = setting(
        None,
        "width of point sources; without it, that of the smallest bright ones, if 10 are alike",
        above=0,
    )
    cutout_radii: float | None = setting(
        None,
        "side of each image in half-light radii of its galaxy; without a size, 16, about as wide as those of "
        "Galaxy Zoo",
        above=0,
    )
    cutout_limits_pix: tuple[int, int] = setting(
        (32, 1024), "the smallest and largest side of these, in pixels of the tile", at_least=3, metavar="PIX"
    )
    weights: tuple[str, ...] = setting(
        (),
        "weights or inverse variances in files of their own, one for each tile, in order: only their "
        "relative size counts, the noise itself is measured; pixels of 0 are left out",
        metavar="FILE",
    )
    weight_hdu: int | str | None = setting(
        None, "their extension; alone, of the tile's own file", metavar="HDU"
    )
    masks: tuple[str, ...] = setting(
        (), "masks likewise: pixels that are not 0 in them are left out", metavar="FILE"
    )
    mask_hdu: int | str | None = setting(
        None, "their extension; alone, of the tile's own file", metavar="HDU"
    )
    saturation: float | None = setting(
        None, "pixels of this value are saturated; without it, SATURATE of the header", above=0
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        low, high = self.cutout_limits_pix
        if low > high:
            refuse(f"--cutout-limits-pix must be the smaller first, got {low} {high}")

    def finding(self) -> dict[str, Any]:
        """These options alone, by name."""
        return {field.name: getattr(self, field.name) for field in fields(FindingOptions)}


#: What a table of galaxies is told to be like.
_OF_CATALOGS = ("root", "id_col", "file_col", "image_col", "ra_col", "dec_col", "allow_urls")


@dataclass(frozen=True, kw_only=True)
class DetectFirstOptions(FindingOptions):
    """Whether a verb takes the sources of tiles for its galaxies."""

    title: ClassVar[str] = "Galaxies that no catalog lists"

    detect: bool = setting(
        False,
        "instead of --catalog: find the galaxies in the images of --mosaic; they are left in a folder beside "
        "the table, NAME.sources, as by `zoobot detect`",
    )

    @classmethod
    def missing(cls, config: Mapping[str, Any]) -> list[str]:
        """The same, and the catalog where no galaxies are looked for."""
        has_galaxies = config.get("detect") or config.get("catalog") is not None
        instead = " (or --detect, which finds the galaxies in --mosaic)" if config.get("mosaic") else ""
        return [*([] if has_galaxies else [f"--catalog{instead}"]), *super().missing(config)]

    def check(self) -> None:  # noqa: D102
        super().check()
        if not self.detect:
            kinds = kinds_of(FindingOptions).values()
            given = [kind.flag for kind in kinds if getattr(self, kind.name) != kind.default]
            if given:
                refuse(f"{' and '.join(given)}: for --detect, which finds galaxies in --mosaic")
            if getattr(self, "catalog", None) is None:
                refuse("missing: --catalog, the galaxies; or --mosaic with --detect, to find them")
            return
        if getattr(self, "catalog", None) is not None:
            refuse("give --catalog, or --detect to find the galaxies, not both")
        if not getattr(self, "mosaic", ()):
            refuse("--detect needs --mosaic: the FITS images to find galaxies in")
        places = kinds_of(ImagePlaceOptions)
        of_catalogs = [places[name] for name in _OF_CATALOGS if name in places]
        given = [kind.flag for kind in of_catalogs if getattr(self, kind.name) != kind.default]
        if given:
            refuse(f"{' and '.join(given)}: for catalogs; --detect makes its own, of files on this machine")
        check_one_size(self)


@dataclass(frozen=True, kw_only=True)
class DetectOptions(FindingOptions):
    """Everything that `zoobot detect` can be told."""

    title: ClassVar[str] = "The run"

    mosaic: tuple[str, ...] = setting(
        MISSING,
        'FITS images to find galaxies in, such as "tiles/*.fits"; of files of several bands, those on the '
        "same pixels are one tile",
        metavar="FILE",
    )
    save_dir: str = setting(MISSING, "folder for the catalog of sources and its pictures", metavar="FOLDER")
    table_format: Literal["csv", "parquet"] = setting("csv", "format of that catalog")
    hdu: int | str | None = with_default(ReadingOptions, "hdu", None)
    cutout_arcsec: float | None = setting(None, "side of all images instead, on the sky", above=0)
    cutout_pix: int | None = with_default(ImagePlaceOptions, "cutout_pix", None)
    overwrite: bool = setting(False, "replace the run in --save-dir")

    def check(self) -> None:  # noqa: D102
        super().check()
        if not self.mosaic:
            refuse("--mosaic needs the FITS images to find galaxies in")
        check_one_size(self)


def check_one_size(options: Any) -> None:
    """Raise a ConfigError where the size of images is said in two ways."""
    sizes = (options.cutout_radii, options.cutout_arcsec, options.cutout_pix)
    if sum(size is not None for size in sizes) > 1:
        refuse("give one of --cutout-radii, --cutout-arcsec and --cutout-pix: the size of images")


COMMAND = Command(
    name="detect",
    group="look",
    meaning="find galaxies in FITS images of the sky, without a catalog",
    options=DetectOptions,
    description="""\
Find sources in FITS tiles, and leave a catalog of them that every other command takes: position, size, S/N,
compactness and flags of each, and where its image is cut from; and a picture with an ellipse on each.
""",
    epilog="""\
examples:
  zoobot detect --mosaic tile.fits --save-dir sources
  zoobot predict zoobot-mini --catalog sources/sources.csv --save-loc predictions.csv
  many tiles that overlap, weights in the second extension; only what is wider than a star
    zoobot detect --mosaic "tiles/*.fits" --weight-hdu 1 --resolved-only --save-dir sources
  one file for each band, on the same pixels
    zoobot detect --mosaic t_g.fits t_r.fits t_z.fits --save-dir sources
    zoobot represent zoobot-mini --catalog sources/sources.csv --file-col file_g file_r file_z --save-loc f
  both in one command
    zoobot predict zoobot-mini --mosaic tile.fits --detect --save-loc predictions.csv

Columns of the catalog: x and y count pixels from 0, the middle of the first (FITS and ds9 count from 1);
ra and dec are ICRS degrees, where the tile has coordinates. compactness is the half-light radius of a point
source over that of the source: about 1 of stars, less of galaxies. Flags are 0 or 1: blended with another,
masked (pixels without a value in it), saturated, truncated by the edge of the tile, at_edge (its image
reaches beyond it). A source in several tiles counts once, from the tile in which it is whole, and deepest.
""",
    usage="zoobot detect --mosaic FILE [FILE ...] --save-dir FOLDER [options]",
)
