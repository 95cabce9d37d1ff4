"""Which galaxies a guided run works on, where they are, and which of them train."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Any, ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.pixels.containers import catalog_kinds
from zoobot.shared.settings import Options, setting

__all__ = ["CampaignOptions", "CatalogOptions", "ImagePlaceOptions", "SplitOptions"]


@dataclass(frozen=True, kw_only=True)
class ImagePlaceOptions(Options):
    """Where the images of a catalog are."""

    title: ClassVar[str] = "Where the images are"

    root: str | None = setting(
        None, "folder that image paths are relative to; without it, the catalog's folder", metavar="FOLDER"
    )
    id_col: str = setting("id_str", "column of the galaxy ids", metavar="COLUMN")
    file_col: tuple[str, ...] = setting(
        ("file_loc",),
        "column of the images: paths, or places inside of archives such as shard.tar::a.jpg; or a column for "
        "each band of images in several files: file_g file_r file_i",
        metavar="COLUMN",
    )
    image_col: str | None = setting(
        None,
        "Parquet files and datasets with images in their rows: the column, if several hold images",
        metavar="COLUMN",
    )
    mosaic: tuple[str, ...] = setting(
        (), "cut the images from these FITS mosaics, by the positions in the catalog", metavar="FILE"
    )
    cutout_arcsec: float | None = setting(None, "side of the squares cut from mosaics, on the sky", above=0)
    cutout_pix: int | None = setting(None, "the same in pixels of the mosaic", at_least=1)
    ra_col: str = setting("ra", "right ascension in degrees, for --mosaic and --split sky", metavar="COLUMN")
    dec_col: str = setting("dec", "declination in degrees, for --mosaic and --split sky", metavar="COLUMN")

    def check(self) -> None:  # noqa: D102
        super().check()
        sizes = (self.cutout_arcsec is not None) + (self.cutout_pix is not None)
        if self.mosaic and sizes != 1:
            _refuse("--mosaic needs either --cutout-arcsec or --cutout-pix")
        if sizes and not self.mosaic:
            _refuse("--cutout-arcsec and --cutout-pix are for --mosaic: the FITS files to cut from")

    def catalog_arguments(self) -> dict[str, Any]:
        """What `read_catalog` is told of them, by the names of its arguments."""
        cutouts = None
        if self.mosaic:
            from zoobot.shared.catalogs.cutouts import (
                Cutouts,
            )  # with it comes pandas, for which no help text should wait

            cutouts = Cutouts(
                mosaics=self.mosaic,
                arcsec=self.cutout_arcsec,
                pix=self.cutout_pix,
                ra_col=self.ra_col,
                dec_col=self.dec_col,
                hdu=getattr(self, "hdu", None),  # runs that take the model's own record have no such option
            )
        names = ("root", "id_col", "image_col")
        return {**{name: getattr(self, name) for name in names}, "file_col": self.files(), "cutouts": cutouts}

    def files(self) -> str | tuple[str, ...]:
        """The column of the images; or several, one for each band."""
        return self.file_col[0] if len(self.file_col) == 1 else self.file_col


@dataclass(frozen=True, kw_only=True)
class CatalogOptions(ImagePlaceOptions):
    """Which galaxies, and where their images are."""

    title: ClassVar[str] = "Galaxies"

    catalog: str = setting(
        MISSING,
        "table of galaxies (.csv, .parquet, .fits or VOTable), one row for each; or the images themselves: a "
        f"folder, a {', '.join(kind.ending for kind in catalog_kinds())} or Hugging Face dataset that holds "
        'them, "shards/*.tar"',
        metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class CampaignOptions(ImagePlaceOptions):
    """Which galaxies, and the votes on which decision trees."""

    title: ClassVar[str] = "Galaxies and votes"

    catalog: tuple[str, ...] = setting(
        MISSING,
        "table of galaxies with votes, or several: one for each campaign; or archives with images and votes",
        metavar="FILE",
    )
    schema: tuple[str, ...] = setting(
        MISSING,
        "decision tree, or several to learn at once: names from `zoobot schemas`, or your own .yaml",
        metavar="NAME",
    )
    legacy_schema: bool = setting(False, "use the trees' dependencies as once published, errors included")


@dataclass(frozen=True, kw_only=True)
class SplitOptions(Options):
    """Which galaxies train, which choose the best epoch, and which are kept for the final score."""

    title: ClassVar[str] = "Split"

    select: str | None = setting(
        None, "only galaxies of --catalog whose column holds a value, e.g. quality=1", metavar="COLUMN=VALUE"
    )
    split: Literal["random", "stratified", "sky", "group", "column"] | None = setting(
        None,
        "without it, as the catalog's own column `split` says (train, val, test), or else random; random; "
        "stratified: the same mix of classes in each part; sky: patches of sky stay together "
        "(--ra-col and --dec-col); group: galaxies with one value of --split-column stay together; "
        "column: --split-column says train, val or test",
    )
    split_column: str | None = setting(None, "the column of --split group or column", metavar="COLUMN")
    val_fraction: float = setting(defaults.VAL_FRACTION, "share of galaxies that validate", above=0, below=1)
    test_fraction: float = setting(0.0, "share of galaxies kept for the final score", at_least=0, below=1)
    val_catalog: str | None = setting(
        None, "galaxies that validate; then --catalog only trains", metavar="FILE"
    )
    test_catalog: str | None = setting(None, "galaxies kept for the final score", metavar="FILE")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.split in ("group", "column") and self.split_column is None:
            _refuse(f"--split {self.split} needs --split-column")
        if self.split not in ("group", "column") and self.split_column is not None:
            got = "none" if self.split is None else f"--split {self.split}"
            _refuse(f"--split-column is for --split group or column, got {got}")
        if self.val_fraction + self.test_fraction >= 1:
            given = f"{self.val_fraction} + {self.test_fraction}"
            _refuse(f"val_fraction + test_fraction must leave galaxies to train on, got {given}")
        if self.test_catalog is not None and self.test_fraction > 0:
            _refuse("give --test-catalog or --test-fraction, not both")


def _refuse(message: str) -> None:
    raise ConfigError(message)
