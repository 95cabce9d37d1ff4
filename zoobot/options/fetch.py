"""The options of `zoobot fetch`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, replace
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.shared.settings import Options, refuse, setting
from zoobot.sky.surveys import SURVEYS, Asked, check_address, hips_survey, template_survey


@dataclass(frozen=True, kw_only=True)
class PositionOptions(Options):
    """Which galaxies, and how much sky around each."""

    title: ClassVar[str] = "Galaxies"

    catalog: str = setting(MISSING, "table of positions: .csv, .parquet, .fits or VOTable", metavar="FILE")
    id_col: str = setting("id_str", "column of the galaxy ids", metavar="COLUMN")
    ra_col: str = setting("ra", "right ascension in degrees (ICRS)", metavar="COLUMN")
    dec_col: str = setting("dec", "declination in degrees", metavar="COLUMN")
    size_arcsec: float | None = setting(None, "side of the square around each galaxy", above=0)
    size_col: str | None = setting(
        None, "a column of sizes in arcsec instead, such as a radius", metavar="COLUMN"
    )
    size_factor: float = setting(1.0, "times what is in --size-col", above=0)

    def check(self) -> None:  # noqa: D102
        super().check()
        if (self.size_arcsec is None) == (self.size_col is None):
            refuse("give one of --size-arcsec and --size-col: how much sky there is around each galaxy")
        if self.size_factor != 1.0 and self.size_col is None:
            refuse("--size-factor is for --size-col")


@dataclass(frozen=True, kw_only=True)
class ServiceOptions(Options):
    """Who is asked, and for which images."""

    title: ClassVar[str] = "Images"

    survey: str | None = setting(
        None,
        f"one of {', '.join(SURVEYS)} (a Virtual Observatory's SODA or image search at --endpoint)",
        metavar="NAME",
    )
    hips: str | None = setting(
        None, "any HiPS instead, by its identifier, such as CDS/P/2MASS/color", metavar="ID"
    )
    url_template: str | None = setting(
        None,
        "any other service, by its address with {ra}, {dec}, {size_arcsec}, {size_pix}, {pixel_scale} or "
        "{id_str} in it",
        metavar="URL",
    )
    endpoint: str | None = setting(
        None, "the address of a mirror, or of the SODA or SIA2 service", metavar="URL"
    )
    layer: str | None = setting(None, "another layer of the Legacy Surveys' viewer", metavar="NAME")
    bands: str | None = setting(None, "bands of its FITS images, such as grz", metavar="BANDS")
    image_format: Literal["jpg", "png", "fits"] | None = setting(
        None, "format of the images (default: jpg; fits of SODA and SIA2)"
    )
    pixel_scale: float | None = setting(
        None, "side of a pixel in arcsec; without it, the survey's own", above=0
    )
    size_pix: int | None = setting(
        None, "side of all images in pixels, instead of --pixel-scale", at_least=3, at_most=10_000
    )
    dataset: str | None = setting(None, "SODA: the image to cut from, its ID", metavar="ID")
    dataset_col: str | None = setting(None, "SODA: a column of such IDs", metavar="COLUMN")
    collection: str | None = setting(None, "SIA2: images of this collection", metavar="NAME")
    band: str | None = setting(
        None, "SIA2: images of these wavelengths in metres, such as '5.5e-7 7e-7'", metavar="BAND"
    )
    calib_level: int | None = setting(
        None, "SIA2: images calibrated so far, from 0 (raw) to 4", at_least=0, at_most=4
    )
    soda_endpoint: str | None = setting(
        None, "SIA2: who cuts, by obs_publisher_did, instead of who the images' links name", metavar="URL"
    )
    token_env: str | None = setting(
        None,
        "the variable of the environment that holds a token, sent to the service alone and never written",
        metavar="NAME",
    )
    allow_hosts: tuple[str, ...] = setting(
        (), "other hosts that the service may send us on to, by https", metavar="HOST"
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        if sum(one is not None for one in (self.survey, self.hips, self.url_template)) != 1:
            refuse("give one of --survey, --hips and --url-template: where images come from")
        if self.survey is not None and self.survey not in SURVEYS:
            refuse(f"--survey must be one of {', '.join(SURVEYS)}, got {self.survey!r}")
        asked = self.asked()
        service = asked.service
        if asked.image_format not in service.formats:
            given = " or ".join(service.formats)
            refuse(f"{service.name} gives {given}, not --image-format {asked.image_format}")
        if self.layer is not None and not service.takes_layer:
            refuse("--layer is for the Legacy Surveys' viewer; another HiPS is --hips ID")
        if self.bands is not None and not (service.takes_layer and asked.image_format == "fits"):
            refuse("--bands are for FITS images of the Legacy Surveys' viewer: --image-format fits")
        if self.survey in ("soda", "sia2") and self.endpoint is None:
            refuse(f"--survey {self.survey} needs the service's address, --endpoint")
        if self.survey != "soda" and (self.dataset is not None or self.dataset_col is not None):
            refuse("--dataset and --dataset-col are for --survey soda")
        if self.dataset is not None and self.dataset_col is not None:
            refuse("give --dataset or --dataset-col, not both")
        of_search = (self.collection, self.band, self.calib_level, self.soda_endpoint)
        if self.survey != "sia2" and any(one is not None for one in of_search):
            refuse("--collection, --band, --calib-level and --soda-endpoint are for --survey sia2")
        if self.soda_endpoint is not None:
            check_address(self.soda_endpoint, "--soda-endpoint")
        if self.endpoint is not None:
            if self.url_template is not None:
                refuse("--endpoint is for named surveys and --hips: --url-template is an address itself")
            check_address(self.endpoint, "--endpoint")
        self._check_pixels(asked)

    def _check_pixels(self, asked: Asked) -> None:
        service = asked.service
        if self.pixel_scale is not None and self.size_pix is not None:
            refuse(
                "give --pixel-scale or --size-pix, not both: with the size on the sky, one tells the other"
            )
        if self.size_pix is not None and not service.chooses_size:
            refuse("--size-pix is for services that are told it, of templates by {size_pix} or {pixel_scale}")
        if self.size_pix is not None and not service.least_pix <= self.size_pix <= service.most_pix:
            limits = f"{service.least_pix} to {service.most_pix}"
            refuse(f"{service.name} gives {limits} pixels on a side, got --size-pix {self.size_pix}")
        if service.chooses_size and asked.scale is None and self.size_pix is None:
            refuse("what a pixel is, is not known here: give --pixel-scale or --size-pix")

    def asked(self) -> Asked:
        """What is asked of all galaxies alike."""
        if self.url_template is not None:
            survey, endpoint = template_survey(self.url_template), self.url_template
        else:
            survey = SURVEYS[self.survey] if self.survey is not None else hips_survey(str(self.hips))
            endpoint = self.endpoint or ""
        if (layer := self.layer or self.collection) is not None:
            survey = replace(survey, layer=layer)
        return Asked(
            survey=survey,
            endpoint=endpoint,
            image_format=self.image_format or survey.service.formats[0],
            bands=self.bands or self.band or "",
            pixel_scale_arcsec=self.pixel_scale,
            size_pix=self.size_pix,
            calib_level=self.calib_level,
        )


@dataclass(frozen=True, kw_only=True)
class FetchOptions(ServiceOptions, PositionOptions):
    """Everything that `zoobot fetch` can be told."""

    title: ClassVar[str] = "The run"

    save_dir: str = setting(
        MISSING, "folder for the images and the catalog of them; one that is there goes on", metavar="FOLDER"
    )
    table_format: Literal["csv", "parquet"] = setting("csv", "format of that catalog")
    rate: float = setting(5.0, "requests a second, at most", above=0)
    connections: int = setting(2, "requests at a time", at_least=1, at_most=16)
    retries: int = setting(4, "how often a request is made again where that may help", at_least=0)
    timeout: float = setting(60.0, "seconds to wait for an answer", above=0)
    max_failures: int = setting(100, "stop with an error when more galaxies than so many fail", at_least=0)
    progress: bool = setting(True, "draw a progress bar")
    overwrite: bool = setting(False, "start over in a folder that was asked otherwise")


COMMAND = Command(
    name="fetch",
    group="look",
    meaning="fetch images of galaxies by their positions",
    options=FetchOptions,
    description="""\
Ask a service of cutouts for a square of the sky around each galaxy, politely, and leave the images with a
catalog of them that every other command takes.

The same command goes on after any kill: what came is not asked for again, and what failed is tried again.
""",
    epilog="""\
examples:
  zoobot fetch --catalog positions.csv --survey legacy-dr10 --size-arcsec 30 --save-dir images
  zoobot predict zoobot-mini --catalog images/catalog.csv --save-loc predictions.csv
  six radii of each galaxy, all of 224 pixels
    zoobot fetch --catalog p.csv --survey sdss --size-col r50 --size-factor 6 --size-pix 224 --save-dir r
  any HiPS, any other service, and a Virtual Observatory's with a token in the environment
    zoobot fetch --catalog p.csv --hips CDS/P/2MASS/color --size-arcsec 60 --pixel-scale 1 --save-dir j
    zoobot fetch --catalog p.csv --url-template "https://host/{ra}/{dec}" --size-arcsec 9 --save-dir u
    zoobot fetch --catalog p.csv --survey soda --endpoint https://h/ --token-env KEY --size-col d --save-dir v
  whichever image of an observatory covers each galaxy best (SIA2), cut by the service that its links name
    zoobot fetch --catalog p.csv --survey sia2 --endpoint https://h/ --size-arcsec 30 --save-dir s
""",
    usage="zoobot fetch --catalog FILE --survey NAME --size-arcsec N --save-dir FOLDER [options]",
)
