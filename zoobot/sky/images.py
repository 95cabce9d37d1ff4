"""Images found by a position alone: IVOA Simple Image Access 2, and DataLink, which tells who cuts them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import numpy as np

from zoobot.shared.catalogs.votables import scan_votable
from zoobot.shared.errors import CatalogError
from zoobot.shared.imports import import_optional
from zoobot.shared.web.client import Client, NoImage, plain_words
from zoobot.sky.folder import CutoutFolder
from zoobot.sky.surveys import SODA, SODA_CIRCLE, Asked, Cutout, Found, Service, Survey

#: The most bytes of an answer, and what it may take in memory: it tells of a thousand images at most.
LARGEST_ANSWER, _ROOM = 2**24, 2**28

_SODA, _LINKS = "ivo://ivoa.net/std/soda#sync", "ivo://ivoa.net/std/datalink#links"
_FRAMES = ("ICRS", "J2000", "FK5", "UNKNOWNFRAME")
_LONGEST_REASON = 200
#: What we tell a service that cuts; what else it describes with a value is sent back as it is.
_CHOSEN = ("ID", "POS", "CIRCLE", "POLYGON")


@dataclass(frozen=True, kw_only=True)
class _Image:
    """A row of ObsCore: an image that a service knows, and how far inside of it the galaxy lies."""

    dataset: str
    access_url: str
    access_format: str
    calib_level: int
    edge_deg: float | None
    band_m: str


@dataclass(frozen=True, kw_only=True)
class _Described:
    """A service that an answer tells of."""

    name: str
    standard: str
    address: str
    dataset: str
    takes: frozenset[str]
    fixed: dict[str, str]

    def cut_address(self, dataset: str, cutout: Cutout) -> str:
        """What it is asked: by POS, or by CIRCLE where it says that it takes that alone."""
        service = SODA_CIRCLE if "CIRCLE" in self.takes and "POS" not in self.takes else SODA
        address = _with(self.address, self.fixed) if self.fixed else self.address
        return _cut_address(service, address, dataset, cutout)


class ImageSearch:
    """What finds the image of each galaxy, and who cuts the galaxy from it; what was found is kept.

    Args:
        client: Asks for tables, which are small.
        asked: The search.
        folder: Where it is kept what was found.
        soda_endpoint: Who cuts, where the user says it.
    """

    def __init__(self, client: Client, asked: Asked, folder: CutoutFolder, soda_endpoint: str | None) -> None:
        self._client, self._asked, self._folder = client, asked, folder
        self._soda = soda_endpoint

    def find(self, cutout: Cutout) -> Cutout:
        """The same cutout, with the address that cuts it, and what it is cut from.

        Raises:
            NoImage: If no image covers it, or none that can be cut.
            ServiceError: If the service refuses.
        """
        found = self._folder.searched(cutout)
        if found is None:
            found = self._search(cutout)
            self._folder.note_searched(found)
        if self._soda is None:  # also what was kept: no file leads us elsewhere
            self._client.lead(self._asked.base, found.url)
        return found

    def _search(self, cutout: Cutout) -> Cutout:
        answer = read_answer(self._client.get(cutout.url))
        images = list(_images(answer, cutout))
        best = choose(images, cutout.size_arcsec / 7200)
        url = self._who_cuts(best, answer, cutout)
        edge = None if best.edge_deg is None else round(best.edge_deg * 3600, 3)
        found = Found(dataset=best.dataset, images=len(images), edge_arcsec=edge, band_m=best.band_m)
        return replace(cutout, url=url, found=found)

    def _who_cuts(self, image: _Image, answer: Any, cutout: Cutout) -> str:
        """The address that cuts a galaxy from an image."""
        if self._soda is not None:
            if not image.dataset:
                raise NoImage("its image has no obs_publisher_did, by which --soda-endpoint could be asked")
            return _cut_address(SODA, self._soda, image.dataset, cutout)
        links = image.access_url if "content=datalink" in image.access_format else None
        services = list(_services(answer))
        if links is None:  # the search may tell itself who cuts, or where the links are
            for one in services:
                if one.standard.startswith(_SODA) and image.dataset:
                    return self._led(one.cut_address(image.dataset, cutout))
            for one in services:
                if one.standard.startswith(_LINKS) and image.dataset:
                    links = _with(one.address, {"ID": image.dataset})
                    break
        if links is None:
            raise NoImage(
                f"{image.dataset or 'its image'} comes whole only ({image.access_format}) "
                f"from {image.access_url[:_LONGEST_REASON]}: load it down and cut from it with --mosaic, or "
                "name who cuts with --soda-endpoint"
            )
        return self._linked(self._led(links), image, cutout)

    def _linked(self, links: str, image: _Image, cutout: Cutout) -> str:
        answer = read_answer(self._client.get(links))
        rows = list(_rows(answer))
        by_service = {_text(row, "service_def"): _text(row, "id") for row in rows}
        for_cutouts = {_text(row, "service_def") for row in rows if _text(row, "semantics") == "#cutout"}
        who_cut = [one for one in _services(answer) if one.standard.startswith(_SODA)]
        if who_cut:  # several may cut in different ways
            one = min(who_cut, key=lambda one: one.name not in for_cutouts)
            return self._led(
                one.cut_address(one.dataset or by_service.get(one.name) or image.dataset, cutout)
            )
        wrong = next((said for row in rows if (said := _text(row, "error_message"))), "")
        raise NoImage(
            f"{image.dataset or 'its image'} has no service that cuts (SODA) among its links"
            + (f", which say: {wrong[:_LONGEST_REASON]}" if wrong else "")
            + ": load it down and cut from it with --mosaic"
        )

    def _led(self, address: str) -> str:
        return self._client.lead(self._asked.base, address)


def _cut_address(service: Service, address: str, dataset: str, cutout: Cutout) -> str:
    asked = Asked(survey=Survey(service=service), endpoint=address, image_format="fits")
    place = cutout.id_str, cutout.ra_deg, cutout.dec_deg, cutout.size_arcsec
    return asked.cutout(*place, dataset=dataset).url


def _with(address: str, query: dict[str, str]) -> str:
    return address + ("&" if "?" in address else "?") + urlencode(query)


def choose(images: list[_Image], radius_deg: float) -> _Image:
    """The image that covers a galaxy best.

    Those that its circle lies in whole go first, then those that its position lies in, then those that don't
    tell where they are; among them the highest calib_level, then the edge that is farthest from the galaxy,
    then the name.

    Raises:
        NoImage: If none covers it.
    """
    if not images:
        raise NoImage("no image covers it: the service knows none there")
    covering = [one for one in images if one.edge_deg is None or one.edge_deg >= 0]
    if not covering:
        raise NoImage(f"no image covers it: it lies outside of all {len(images):,} that the service found")

    def order(image: _Image) -> tuple[int, int, float, str]:
        edge = image.edge_deg
        how = 2 if edge is None else 0 if edge >= radius_deg else 1
        return how, -image.calib_level, -(edge or 0.0), image.dataset

    return min(covering, key=order)


# Reading answers.


def read_answer(content: bytes) -> Any:
    """A VOTable that a service answered, looked through before it is read.

    Raises:
        NoImage: If it is none, says that something went wrong, or that there is more than it tells.
    """
    votable = import_optional("astropy.io.votable", needed_for="--survey sia2", package="zoobot[fits]")
    if len(content) > LARGEST_ANSWER:
        raise NoImage(f"an answer of {len(content):,} bytes, more than {LARGEST_ANSWER:,}")
    try:
        scan_votable(content, "that was answered", room=_ROOM)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = votable.parse(BytesIO(content), verify="ignore")
    except CatalogError as error:
        raise NoImage(str(error)) from error
    except Exception as error:  # readers of XML fail in many ways on what is none
        words = plain_words(content) or type(error).__name__
        raise NoImage(f"no VOTable, but it says: {words}") from error
    for info in _infos(answer):
        status = str(info.value).upper() if str(info.name).upper() == "QUERY_STATUS" else "OK"
        said = " ".join(str(info.content or "no reason").split())[:_LONGEST_REASON]
        if status == "ERROR":
            raise NoImage(f"the service says that the search failed: {said}")
        if status == "OVERFLOW":
            raise NoImage(
                "more images than the service tells of (OVERFLOW), so the best is not known: ask for fewer "
                "with --collection, --band or --calib-level"
            )
    return answer


def _resources(holder: Any) -> Iterator[Any]:
    for resource in holder.resources:
        yield resource
        yield from _resources(resource)


def _infos(answer: Any) -> Iterator[Any]:
    yield from answer.infos
    for resource in _resources(answer):
        yield from resource.infos
        for table in resource.tables:
            yield from table.infos


def _rows(answer: Any) -> Iterator[dict[str, Any]]:
    """The rows of the results, with names in lower case."""
    for resource in _resources(answer):
        if resource.type == "results" and resource.tables:
            table = resource.tables[0]
            names = [str(field.name).lower() for field in table.fields]
            for row in table.array:
                yield dict(zip(names, row, strict=True))
            return


def _images(answer: Any, cutout: Cutout) -> Iterator[_Image]:
    for row in _rows(answer):
        if _text(row, "dataproduct_type").lower() not in ("", "image"):
            continue
        level = _number(row, "calib_level")
        band = [_number(row, name) for name in ("em_min", "em_max")]
        yield _Image(
            dataset=_text(row, "obs_publisher_did"),
            access_url=_text(row, "access_url"),
            access_format="".join(_text(row, "access_format").lower().split()),
            calib_level=-1 if level is None else int(level),
            edge_deg=_edge(row, cutout.ra_deg, cutout.dec_deg),
            band_m=" ".join(f"{value:g}" for value in band if value is not None),
        )


def _services(answer: Any) -> Iterator[_Described]:
    """The services that an answer describes (`utype="adhoc:service"`)."""
    for resource in _resources(answer):
        if str(resource.utype or "").lower() != "adhoc:service":
            continue
        told = {str(one.name).lower(): _plain(one.value) for one in resource.params}
        groups = [group for group in resource.groups if str(group.name).lower() == "inputparams"]
        inputs = {
            str(one.name).upper(): one
            for group in groups
            for one in group.entries
            if hasattr(one, "value") and one.name
        }
        fixed = inputs.get("ID")
        address = told.get("accessurl", "")
        if address:
            yield _Described(
                name=str(resource.ID or ""),
                standard=told.get("standardid", "").lower(),
                address=address,
                # one that refers to a column is told by the row
                dataset="" if fixed is None or fixed.ref else _plain(fixed.value),
                takes=frozenset(inputs),
                fixed={
                    name: value
                    for name, one in inputs.items()
                    if name not in _CHOSEN and one.datatype == "char" and (value := _plain(one.value))
                },
            )


def _plain(value: Any) -> str:
    if value is None or value is np.ma.masked:
        return ""
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()


def _text(row: dict[str, Any], name: str) -> str:
    return _plain(row.get(name))


def _number(row: dict[str, Any], name: str) -> float | None:
    try:
        value = float(_text(row, name))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# Where an image lies.


def _edge(row: dict[str, Any], ra_deg: float, dec_deg: float) -> float | None:
    """How far inside of an image a place lies, in degrees; negative outside, None where it is not told."""
    region = row.get("s_region")
    if isinstance(region, np.ndarray) and region.ndim:
        region = " ".join(str(value) for value in np.ma.getdata(region).ravel().tolist())
    edge = region_edge(_plain(region), ra_deg, dec_deg)
    centre = [_number(row, name) for name in ("s_ra", "s_dec", "s_fov")]
    if edge is None and None not in centre:
        ra, dec, fov = centre
        edge = region_edge(f"CIRCLE {ra} {dec} {(fov or 0.0) / 2}", ra_deg, dec_deg)
    return edge


def region_edge(region: str, ra_deg: float, dec_deg: float) -> float | None:
    """How far inside of a region a place lies, in degrees: to its nearest edge, negative from outside.

    Args:
        region: `POLYGON ICRS ra dec …` or `CIRCLE ICRS ra dec radius` (STC-S), or the numbers alone (DALI).
        ra_deg: Right ascension.
        dec_deg: Declination.

    Returns:
        Degrees; None of other regions and frames.

    Example:
        >>> round(region_edge("Polygon ICRS 359 -1 1 -1 1 1 359 1", 0.25, 0.0), 3)
        0.75
        >>> region_edge("CIRCLE 10 0 1", 12, 0), region_edge("BOX ICRS 1 2 3 4", 1, 2)
        (-1.0, None)
    """
    words = region.upper().split()
    shape = words.pop(0) if words and words[0] in ("POLYGON", "CIRCLE") else ""
    if shape and words and words[0] in _FRAMES:
        words.pop(0)
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        return None
    if not np.isfinite(numbers).all():
        return None
    if len(numbers) == 3 and shape != "POLYGON":
        east, north = _plane(numbers[:1], numbers[1:2], ra_deg, dec_deg)
        away = math.degrees(math.atan(math.hypot(east[0], north[0])))
        return float(round(numbers[2] - away, 9)) if math.isfinite(away) else -180.0
    if len(numbers) < 6 or len(numbers) % 2 or shape == "CIRCLE":
        return None
    east, north = _plane(numbers[::2], numbers[1::2], ra_deg, dec_deg)
    return _polygon_edge(east, north)


def _plane(ra: np.ndarray, dec: np.ndarray, ra_deg: float, dec_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Places on the plane that touches the sky at one: great circles are straight; NaN on its far side."""
    turned, lat, lat_0 = np.radians(ra - ra_deg), np.radians(dec), math.radians(dec_deg)
    depth = math.sin(lat_0) * np.sin(lat) + math.cos(lat_0) * np.cos(lat) * np.cos(turned)
    depth = np.where(depth > 1e-6, depth, np.nan)
    north = math.cos(lat_0) * np.sin(lat) - math.sin(lat_0) * np.cos(lat) * np.cos(turned)
    return np.cos(lat) * np.sin(turned) / depth, north / depth


def _polygon_edge(east: np.ndarray, north: np.ndarray) -> float | None:
    """From (0, 0) to the nearest edge of a polygon in degrees, negative where that lies outside."""
    if not np.isfinite(east + north).all():
        return None
    start, end = np.stack([east, north], 1), np.stack([np.roll(east, -1), np.roll(north, -1)], 1)
    along = end - start
    lengths = np.maximum((along**2).sum(1), 1e-300)
    nearest = start + along * np.clip(-(start * along).sum(1) / lengths, 0, 1)[:, None]
    edge = math.degrees(math.atan(np.hypot(*nearest.T).min()))
    crosses = (start[:, 1] > 0) != (end[:, 1] > 0)
    rise = np.where(crosses, along[:, 1], 1.0)
    is_inside = (crosses & (start[:, 0] - start[:, 1] * along[:, 0] / rise > 0)).sum() % 2 == 1
    return edge if is_inside else -edge
