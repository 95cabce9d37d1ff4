"""Services of cutouts as data: what each is asked for a square of the sky, and how large it may be."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from zoobot.shared.errors import ConfigError

#: What a template of the user's may name.
TEMPLATE_NAMES = ("ra", "dec", "size_arcsec", "size_pix", "pixel_scale", "id_str")


@dataclass(frozen=True, kw_only=True)
class Service:
    """How a service of cutouts is asked.

    Args:
        name: What tables call it.
        endpoint: Its address; none where each observatory has its own.
        path: What follows the address.
        query: Its parameters, and what they are in terms of a cutout; an empty one is left out.
        formats: Those it can give.
        least_pix: The smallest side of its images.
        most_pix: The largest.
        chooses_size: Whether it gives the side in pixels that it is asked for.
        takes_layer: Whether the user may choose a layer.
        searches: Whether it tells which images there are, instead of giving one.
    """

    name: str
    endpoint: str = ""
    path: str = ""
    query: Mapping[str, str]
    formats: tuple[str, ...] = ("jpg", "fits")
    least_pix: int = 3
    most_pix: int = 10_000
    chooses_size: bool = True
    takes_layer: bool = False
    searches: bool = False


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A survey at a service.

    Args:
        service: The service.
        layer: Which of its images.
        pixel_scale_arcsec: The survey's own; None where it is not known.
    """

    service: Service
    layer: str = ""
    pixel_scale_arcsec: float | None = None


# https://alasky.cds.unistra.fr/hips-image-services/hips2fits: at most 50 million pixels
HIPS2FITS = Service(
    name="hips2fits",
    endpoint="https://alasky.cds.unistra.fr/hips-image-services/hips2fits",
    query={
        "hips": "{layer}",
        "ra": "{ra}",
        "dec": "{dec}",
        "fov": "{size_deg}",
        "width": "{size_pix}",
        "height": "{size_pix}",
        "projection": "TAN",
        "coordsys": "icrs",
        "format": "{image_format}",
    },
    formats=("jpg", "png", "fits"),
    most_pix=7000,
)

# https://www.legacysurvey.org/viewer: larger images than 512 pixels are cut to that without a word
LEGACY_VIEWER = Service(
    name="legacysurvey",
    endpoint="https://www.legacysurvey.org/viewer",
    path="/cutout.{image_format}",
    query={
        "ra": "{ra}",
        "dec": "{dec}",
        "layer": "{layer}",
        "pixscale": "{pixel_scale}",
        "size": "{size_pix}",
        "bands": "{bands}",
    },
    most_pix=512,
    takes_layer=True,
)

# https://skyserver.sdss.org: sides of 64 to 2048 pixels
SDSS_IMAGES = Service(
    name="skyserver",
    endpoint="https://skyserver.sdss.org/dr18/SkyServerWS/ImgCutout",
    path="/getjpeg",
    query={
        "ra": "{ra}",
        "dec": "{dec}",
        "scale": "{pixel_scale}",
        "width": "{size_pix}",
        "height": "{size_pix}",
    },
    formats=("jpg",),
    least_pix=64,
    most_pix=2048,
)

# IVOA SODA 1.0, its synchronous form: pixels are the image's own
SODA = Service(
    name="soda",
    query={"ID": "{dataset}", "POS": "CIRCLE {ra} {dec} {radius_deg}"},
    formats=("fits",),
    chooses_size=False,
)

# the same, of services that describe themselves as taking this parameter alone
SODA_CIRCLE = replace(SODA, query={"ID": "{dataset}", "CIRCLE": "{ra} {dec} {radius_deg}"})

# IVOA SIA 2.0: it tells which images there are, and one of them is cut by SODA
SIA2 = Service(
    name="sia2",
    query={
        "POS": "CIRCLE {ra} {dec} {radius_deg}",
        "COLLECTION": "{layer}",
        "BAND": "{bands}",
        "CALIB": "{calib_level}",
        "DPTYPE": "image",
        "MAXREC": "1000",
    },
    formats=("fits",),
    chooses_size=False,
    searches=True,
)

# any other, by a template of the user's, which may tell it how many pixels are wanted
TEMPLATE = Service(name="template", query={}, formats=("jpg", "png", "fits"), chooses_size=False)
SIZED_TEMPLATE = replace(TEMPLATE, chooses_size=True)

#: The surveys that have a name here.
SURVEYS = {
    "legacy-dr10": Survey(service=LEGACY_VIEWER, layer="ls-dr10", pixel_scale_arcsec=0.262),
    "legacy-dr9": Survey(service=LEGACY_VIEWER, layer="ls-dr9", pixel_scale_arcsec=0.262),
    "sdss": Survey(service=SDSS_IMAGES, layer="dr18", pixel_scale_arcsec=0.396),
    "panstarrs": Survey(service=HIPS2FITS, layer="CDS/P/PanSTARRS/DR1/color-z-zg-g", pixel_scale_arcsec=0.25),
    "dss2": Survey(service=HIPS2FITS, layer="CDS/P/DSS2/color", pixel_scale_arcsec=1.0),
    "soda": Survey(service=SODA),
    "sia2": Survey(service=SIA2),
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """The image that a search chose.

    Args:
        dataset: Its name, obs_publisher_did.
        images: How many there were.
        edge_arcsec: How far the galaxy lies from its edge; None where that is not told.
        band_m: Its shortest and longest wavelength in metres, as text.
    """

    dataset: str
    images: int
    edge_arcsec: float | None
    band_m: str


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """One image as a service is asked for it.

    Args:
        id_str: The galaxy.
        url: What is asked.
        file: The name of its file, which follows from the galaxy and what is asked.
        size_arcsec: The side of the square.
        size_pix: The same in pixels; None where the service decides.
        pixel_scale_arcsec: The side of a pixel; None where only the answer tells it.
        ra_deg: Right ascension of its centre.
        dec_deg: Declination.
        found: What it is cut from, where that was searched for.
    """

    id_str: str
    url: str
    file: str
    size_arcsec: float
    size_pix: int | None
    pixel_scale_arcsec: float | None
    ra_deg: float
    dec_deg: float
    found: Found | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of all galaxies alike.

    Args:
        survey: Of which survey, at which service.
        endpoint: The service's address, where it is not its own; or the whole template of a user's.
        image_format: "jpg", "png" or "fits".
        bands: Of FITS, where the service lets them be chosen.
        pixel_scale_arcsec: The side of a pixel; without it, the survey's.
        size_pix: The side of all images in pixels, instead of a pixel scale.
        calib_level: How far images are calibrated, of services that search by it.
    """

    survey: Survey
    endpoint: str = ""
    image_format: str = "jpg"
    bands: str = ""
    pixel_scale_arcsec: float | None = None
    size_pix: int | None = None
    calib_level: int | None = None

    @property
    def service(self) -> Service:
        """Who is asked."""
        return self.survey.service

    @property
    def base(self) -> str:
        """The address that is asked."""
        return (self.endpoint or self.service.endpoint).rstrip("/")

    @property
    def scale(self) -> float | None:
        """The side of a pixel, where it is the same for all."""
        return self.pixel_scale_arcsec or (None if self.size_pix else self.survey.pixel_scale_arcsec)

    def grid(self, size_arcsec: float) -> tuple[float, int | None, float | None]:
        """The square's side as it can be had, in arcsec and in pixels, and the side of a pixel.

        Where the service gives no images of so many pixels, the pixels become coarser or finer.

        Example:
            >>> Asked(survey=SURVEYS["sdss"]).grid(39.6)
            (39.6, 100, 0.396)
            >>> Asked(survey=SURVEYS["sdss"]).grid(4096)
            (4096, 2048, 2.0)
        """
        service = self.service
        if self.size_pix is not None:
            return size_arcsec, self.size_pix, size_arcsec / self.size_pix
        if self.scale is None or not service.chooses_size:
            return size_arcsec, None, self.scale
        wanted = max(1, round(size_arcsec / self.scale))
        pix = min(max(wanted, service.least_pix), service.most_pix)
        if pix != wanted:
            return size_arcsec, pix, size_arcsec / pix
        return pix * self.scale, pix, self.scale

    def cutout(
        self, id_str: str, ra_deg: float, dec_deg: float, size_arcsec: float, *, dataset: str = ""
    ) -> Cutout:
        """What is asked for one galaxy.

        Args:
            id_str: The galaxy.
            ra_deg: Right ascension.
            dec_deg: Declination.
            size_arcsec: The side of the square.
            dataset: The image it is cut from, of services that are told it.
        """
        size, pix, scale = self.grid(size_arcsec)
        facts = {
            "ra": f"{ra_deg % 360:.7f}",
            "dec": f"{dec_deg:.7f}",
            "size_arcsec": _text(size),
            "size_deg": _text(size / 3600),
            "radius_deg": _text(size / 7200),
            "size_pix": _text(pix),
            "pixel_scale": _text(scale),
            "layer": self.survey.layer,
            "bands": self.bands,
            "image_format": self.image_format,
            "dataset": dataset,
            "calib_level": _text(self.calib_level),
            "id_str": id_str,
        }
        if self.service.name == TEMPLATE.name:
            asked = self.base.format_map({name: quote(facts[name], safe="") for name in TEMPLATE_NAMES})
            url = asked
        else:
            given = {name: value.format_map(facts) for name, value in self.service.query.items()}
            asked = self.service.path.format_map(facts)
            asked += "&" if "?" in self.base else "?"
            asked += urlencode({name: value for name, value in given.items() if value}, quote_via=quote)
            url = self.base + asked
            if not self.service.endpoint:  # where there is no usual address, it tells what is asked
                asked = url
        name = file_name(id_str, f"{self.service.name} {asked}", self.image_format)
        return Cutout(
            id_str=id_str,
            url=url,
            file=name,
            size_arcsec=size,
            size_pix=pix,
            pixel_scale_arcsec=scale,
            ra_deg=ra_deg % 360,
            dec_deg=dec_deg,
        )


def hips_survey(layer: str) -> Survey:
    """Any HiPS, by its identifier; what its pixels are is not known."""
    return Survey(service=HIPS2FITS, layer=layer)


def template_survey(template: str) -> Survey:
    """A template of the user's, checked: an address, with names in braces that we know.

    Raises:
        ConfigError: If it names something else, or not where the galaxy is.
    """
    try:
        fields = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ConfigError(f"--url-template can't be read ({error}): got {template!r}") from error
    names = {str(name) for _, name, _, _ in fields}
    odd = [f for f in fields if f[1] not in TEMPLATE_NAMES or f[2] or f[3]]
    if odd or not ({"ra", "dec"} <= names or "id_str" in names):
        known = ", ".join(f"{{{name}}}" for name in TEMPLATE_NAMES)
        msg = f"--url-template must have {{ra}} and {{dec}}, or {{id_str}}, and of names only {known}"
        raise ConfigError(f"{msg}: got {template!r}")
    check_address(template, "--url-template")
    if "{" in urlsplit(template).netloc:
        raise ConfigError(f"--url-template must ask one host, got {template!r}")
    return Survey(service=SIZED_TEMPLATE if {"size_pix", "pixel_scale"} & names else TEMPLATE)


def check_address(address: str, flag: str) -> None:
    """Raise a ConfigError unless this is the address of a host, without a password in it."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError as error:
        raise ConfigError(f"{flag} is no address ({error}): got {address!r}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{flag} must begin with https:// (or http://) and a host, got {address!r}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{flag} must hold no user or password: a token comes from --token-env")


def file_name(id_str: str, asked: str, ending: str) -> str:
    """The name of an image's file: the galaxy's, as far as files can be called so, and a hash of all asked.

    Example:
        >>> file_name("../a b", "sdss", "jpg")
        '_a_b-b1052a29add93a12.jpg'
    """
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "_.+-") else "_" for c in id_str)
    safe = safe[:80].lstrip(".-") or "galaxy"
    digest = hashlib.sha256(f"{id_str}\n{asked}".encode()).hexdigest()[:16]
    return f"{safe}-{digest}.{ending}"


def _text(number: Any) -> str:
    if number is None:
        return ""
    return str(number) if isinstance(number, int) else f"{number:.10g}"
