"""Groups of options that several verbs have: galaxies, images, results, the engine."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.engine import choose_engine
from zoobot.shared.errors import ConfigError
from zoobot.shared.pixels.containers import catalog_kinds
from zoobot.shared.pixels.turned import check_views
from zoobot.shared.settings import Options, refuse, setting

if TYPE_CHECKING:
    from zoobot.shared.pixels.web_images import WebAccess


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
    allow_urls: bool = setting(
        False,
        "ask for images that lie at web addresses (https://…), politely and each once; those that don't come "
        "are failures; without it, such a catalog is refused",
    )
    url_hosts: tuple[str, ...] = setting(
        (),
        "--allow-urls: hosts that may also be asked by http://, lie in a private network (localhost, too) "
        "or be sent on to",
        metavar="HOST",
    )
    url_rate: float = setting(
        10.0, "--allow-urls: requests a second, at most, to each host, of each process", above=0
    )
    url_cache: str | None = setting(
        None,
        "--allow-urls: folder that keeps what came, for later epochs and runs; without it, "
        "~/.cache/zoobot/web-images",
        metavar="FOLDER",
    )
    url_cache_gb: float = setting(
        10.0, "--allow-urls: how large that folder may become; 0 keeps nothing", at_least=0
    )
    ra_col: str = setting("ra", "right ascension in degrees, for --mosaic and --split sky", metavar="COLUMN")
    dec_col: str = setting("dec", "declination in degrees, for --mosaic and --split sky", metavar="COLUMN")

    def check(self) -> None:  # noqa: D102
        super().check()
        if getattr(self, "detect", False):  # which finds its own positions, and sizes
            return
        sizes = (self.cutout_arcsec is not None) + (self.cutout_pix is not None)
        if self.mosaic and sizes != 1:
            refuse("--mosaic needs either --cutout-arcsec or --cutout-pix")
        if sizes and not self.mosaic:
            refuse("--cutout-arcsec and --cutout-pix are for --mosaic: the FITS files to cut from")
        if not self.allow_urls and (self.url_hosts or self.url_cache is not None):
            refuse("--url-hosts and --url-cache are for --allow-urls")

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
        return {
            **{name: getattr(self, name) for name in names},
            "file_col": self.files(),
            "cutouts": cutouts,
            "allow_urls": self.web_access() or False,
        }

    def web_access(self) -> WebAccess | None:
        """How images at web addresses may be asked for; None where they may not."""
        if not self.allow_urls:
            return None
        from zoobot.shared.pixels.web_images import WebAccess  # late, as above

        return WebAccess(
            hosts=self.url_hosts, rate=self.url_rate, cache=self.url_cache, cache_gb=self.url_cache_gb
        )

    def files(self) -> str | tuple[str, ...]:
        """The column of the images; or several, one for each band."""
        return self.file_col[0] if len(self.file_col) == 1 else self.file_col


@dataclass(frozen=True, kw_only=True)
class CatalogOptions(ImagePlaceOptions):
    """Which galaxies, and where their images are."""

    title: ClassVar[str] = "Galaxies"

    catalog: str = setting(
        MISSING,
        "table of galaxies, one row for each (.csv, .parquet, .fits, VOTable, or the Zooniverse's .json list "
        "of subjects); or the images themselves: a "
        f"folder, a {', '.join(kind.ending for kind in catalog_kinds())} or Hugging Face dataset that holds "
        'them, "shards/*.tar"',
        metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class ShownGalaxiesOptions(ImagePlaceOptions):
    """Which catalog says where the images of galaxies with features are."""

    title: ClassVar[str] = "Images, for the list and its picture"

    catalog: str | None = setting(
        None,
        "the catalog that the features are of, which says where the images are; without it, the one that the "
        "features remember",
        metavar="FILE",
    )


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
            refuse(f"--split {self.split} needs --split-column")
        if self.split not in ("group", "column") and self.split_column is not None:
            got = "none" if self.split is None else f"--split {self.split}"
            refuse(f"--split-column is for --split group or column, got {got}")
        if self.val_fraction + self.test_fraction >= 1:
            given = f"{self.val_fraction} + {self.test_fraction}"
            refuse(f"val_fraction + test_fraction must leave galaxies to train on, got {given}")
        if self.test_catalog is not None and self.test_fraction > 0:
            refuse("give --test-catalog or --test-fraction, not both")


_TITLE = "Images (where not given: as the encoder was trained)"


class _PixelOptions(Options):
    """What options of pixels have in common."""

    def image_changes(self) -> dict[str, Any]:
        """The values that were given, by the names of `Preprocessing.with_changes`."""
        kinds = [
            kind
            for kind in (ReadingOptions, ViewOptions, ImageOptions, TurnOptions)
            if isinstance(self, kind)
        ]
        names = dict.fromkeys(f.name for kind in kinds for f in fields(kind))
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(_PixelOptions):
    """How files unlike those of the training are read. Without a value, the model's record holds."""

    title: ClassVar[str] = "Reading images (where not given: as the model was trained)"

    colour: Literal["auto", "as-is", "to-grey", "to-rgb"] | None = setting(
        None, "how grey and colour files meet the channels; to-rgb: a FITS image of one band, too, as grey"
    )
    hdu: int | str | None = setting(
        None, "FITS: extension by number or name; without it, the first image", metavar="HDU"
    )
    bands: tuple[int | str, ...] | None = setting(
        None,
        "FITS: bands to use, in order, by name, or as planes counted from 0; without it, for colour, those "
        "that headers name, red first",
        at_least=0,
        metavar="BAND",
    )
    stretch: Literal["none", "linear", "asinh", "lupton"] | None = setting(
        None, "FITS: how values map to brightness"
    )
    limits: tuple[float, float] | None = setting(
        None, "FITS: values of black and white; without it, percentiles", metavar="VALUE"
    )
    nan_policy: Literal["error", "fill"] | None = setting(
        None, "non-finite pixels: `error` sets the galaxy aside and reports it, `fill` paints them"
    )
    crop_fraction: float | None = setting(
        None, "side of the central square that is kept, as a fraction of the image", above=0
    )


@dataclass(frozen=True, kw_only=True)
class ViewOptions(_PixelOptions):
    """What an encoder sees of an image. Without a value, its own record holds."""

    title: ClassVar[str] = _TITLE

    image_size_pix: int | None = setting(
        None, "side of the network input; fewer pixels are faster", at_least=1
    )
    normalisation: Literal["imagenet", "plain"] | None = setting(
        None, "mean and scatter of the pixels, by name; plain: they stay in [0, 1]"
    )
    mean: tuple[float, ...] | None = setting(
        None, "the same in numbers, for pixels in [0, 1]: subtracted from each channel (one number: from all)"
    )
    std: tuple[float, ...] | None = setting(None, "likewise, what each channel is divided by", above=0)

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.normalisation and (self.mean or self.std):
            raise ConfigError("give --normalisation by name, or --mean and --std in numbers, not both")


@dataclass(frozen=True, kw_only=True)
class ImageOptions(ViewOptions, ReadingOptions):
    """How a file becomes network input. Without a value, the encoder's own record holds."""

    title: ClassVar[str] = _TITLE

    channels: int | None = setting(None, "planes of the network input: 3 colour, 1 grey, N bands", at_least=1)
    percentiles: tuple[float, float] | None = setting(
        None, "FITS: percentiles of black and white", at_least=0, at_most=100
    )
    asinh_softness: float | None = setting(None, "FITS: smaller lifts faint light more", above=0)
    fill_value: float | None = setting(None, "brightness of pixels without data", at_least=0, at_most=1)
    pixel_scale_arcsec: float | None = setting(
        None, "size of an original pixel on the sky; kept as a record", above=0
    )


@dataclass(frozen=True, kw_only=True)
class TurnOptions(_PixelOptions):
    """In how many turned copies a network looks at each image. Without a value, its own record holds."""

    title: ClassVar[str] = "Views of each image"

    views: int | None = setting(
        None,
        "so many, whose mean features are taken: 1 the image as it is, 2 also upside down, 4 turned by right "
        "angles, 8 mirrored, too (not for clockwise/anticlockwise labels); often more accurate, and so many "
        "times slower; without it, what the model's record says, or 1",
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.views is not None:
            check_views(self.views)


@dataclass(frozen=True, kw_only=True)
class AugmentationOptions(Options):
    """How training images vary; validation and prediction never do."""

    title: ClassVar[str] = "Augmentation (training images only)"

    augment: bool = setting(True, "vary the training images at all")
    rotate: bool = setting(True, "turn by any angle")
    flip: bool = setting(True, "mirror; turn off for clockwise/anticlockwise labels")
    zoom: tuple[float, float] = setting(
        defaults.ZOOM, "smallest and largest magnification", above=0, metavar="X"
    )
    shift: float = setting(
        defaults.SHIFT, "largest offset, as a fraction of the image's side", at_least=0, at_most=0.5
    )
    erase_probability: float = setting(0.0, "chance of a patch being painted over", at_least=0, at_most=1)
    look_probability: float = setting(
        0.0,
        "chance of another survey's look: colours or grey, stretch, blur, noise; for models that are to be "
        "used on other images than those they learn from",
        at_least=0,
        at_most=1,
    )


@dataclass(frozen=True, kw_only=True)
class EngineOptions(Options):
    """What computes, and how many helpers it has."""

    title: ClassVar[str] = "Engine"

    backend: str = setting(
        None,
        "deep-learning engine: pytorch, tensorflow, or an installed plug-in; without a word, that of the "
        "environment variable ZOOBOT_BACKEND, or else pytorch if it is installed",
        metavar="NAME",
    )
    batch_size: int = setting(defaults.BATCH_SIZE, "galaxies in one step; less needs less memory", at_least=1)
    num_workers: int = setting(
        defaults.NUM_WORKERS, "threads that read images; results do not depend on it", at_least=0
    )
    seed: int = setting(
        defaults.SEED, "seeds weights, split, order and augmentation: same seed, same run", at_least=0
    )
    progress: bool = setting(True, "draw progress bars")

    def __post_init__(self) -> None:
        object.__setattr__(self, "backend", choose_engine(self.backend))  # so that records tell which it was
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class FigureOptions(Options):
    """What pictures are written as."""

    title: ClassVar[str] = "Pictures"

    figures: tuple[defaults.FigureFormat, ...] = setting(
        ("png",), "each picture as these: png, pdf, svg, or several of them"
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        if not self.figures or len(set(self.figures)) < len(self.figures):
            refuse(f"--figures must be one or more, all different, got {list(self.figures)}")


@dataclass(frozen=True, kw_only=True)
class ThresholdOptions(Options):
    """Which samples are told of, and what counts as a yes."""

    title: ClassVar[str] = "Thresholds"

    at_completeness: float = setting(
        0.9, "of each class, label and answer, tell the threshold of this completeness", above=0, at_most=1
    )
    at_purity: float = setting(0.9, "and that of this purity", above=0, at_most=1)
    truth_threshold: float = setting(
        0.5, "tree: an answer is true where a larger share of the volunteers give it", at_least=0, below=1
    )
    truth_votes: int = setting(
        defaults.ENOUGH_VOTES,
        "tree: where fewer volunteers were asked, nobody knows what is true",
        at_least=1,
    )


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(ThresholdOptions, EngineOptions, FigureOptions):
    """How far scores can be trusted."""

    title: ClassVar[str] = "Intervals of scores"

    bootstrap: int = setting(
        1000,
        "draw the scored galaxies so many times, and give each score the interval in which it then lies; 0: "
        "no intervals",
        at_least=0,
    )
    interval: float = setting(95, "percentage inside the intervals, such as 68 or 95", above=0, below=100)
    group_col: str | None = setting(
        None,
        "column of galaxies that belong together, such as those of a field, or one object seen twice: whole "
        "groups are drawn",
        metavar="COLUMN",
    )


@dataclass(frozen=True, kw_only=True)
class MixtureOptions(Options):
    """How many predictions of each galaxy make one: an equal mixture of dropout samples and models."""

    title: ClassVar[str] = "Several predictions of each galaxy"

    n_samples: int = setting(
        1, "more than 1: so many dropout samples for each galaxy (MC dropout)", at_least=1
    )
    ensemble: tuple[str, ...] = setting(
        (), "further models of the same task, which predict together with the first", metavar="MODEL"
    )


@dataclass(frozen=True, kw_only=True)
class StreamingOptions(Options):
    """One table, or a folder of parts."""

    title: ClassVar[str] = "Results"

    save_loc: str = setting(
        MISSING,
        "the table to write: .parquet, .csv, .hdf5, .fits or .vot; or, without such an ending, a folder of "
        "parts: for any number of galaxies, and the same command goes on after a kill",
        metavar="FILE",
    )
    part_rows: int | None = setting(
        None, f"a folder: galaxies in each part; without it, {defaults.PART_ROWS:,}", at_least=1
    )
    shard: str | None = setting(
        None, "a folder: take only the parts of one of N processes, 1/N, 2/N … N/N", metavar="I/N"
    )
    max_failures: int | float | None = setting(
        None,
        "give up when more images than this fail: a number, as 100, or a fraction, as 0.01; without it, any "
        "may, and are listed",
        at_least=0,
    )
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=test", metavar="COLUMN=VALUE"
    )
    overwrite: bool = setting(False, "replace the table, or what is in the folder")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.shard is not None and self.overwrite:
            msg = "--overwrite would delete what other shards have done: delete the folder yourself"
            raise ConfigError(msg)


@dataclass(frozen=True, kw_only=True)
class RunFolderOptions(FigureOptions):
    """Where a finetuning run leaves its results, and what becomes of those that are there."""

    title: ClassVar[str] = "Results"

    save_dir: str = setting(
        MISSING, "folder for the model, scores, predictions and pictures", metavar="FOLDER"
    )
    cache_dir: str | None = setting(
        None,
        "folder to keep decoded images in, for later epochs and runs: faster, and the same results; it needs "
        "the disk space of the uncompressed images",
        metavar="FOLDER",
    )
    resume: bool = setting(False, "continue the unfinished run in --save-dir, with its options")
    overwrite: bool = setting(False, "replace the run in --save-dir")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.resume and self.overwrite:
            refuse("give --resume or --overwrite, not both")
