"""Where an image lies, as text: a file, or a part of a file that holds many images.

    galaxy.jpg                              a file
    shard.tar::ngc/4565.jpg                 a member of an archive, by its name
    table.parquet::12                       a row of a Parquet file, from 0, with the bytes of an image
    table.parquet::image:12                 the same, where several columns hold images
    saved_dataset::12                       a row of a Hugging Face dataset that was saved in a folder
    mosaic.fits::189.0865,25.9877,20arcsec  a square of a FITS mosaic: right ascension and declination
    mosaic.fits::189.0865,25.9877,64pix     of its centre in degrees, and its side
    mosaic.fits::x511.2,y87,64pix           the same by the pixels of its centre, counted from 0 (FITS and ds9
                                            count from 1), for images without coordinates, too
    bands::g=/a_g.fits|r=/a_r.fits          an image in several files, one for each band; a | in their names
                                            is written %7C, and a % there %25

What stands before `::` is absolute, or relative as file names are. A file whose own name holds `::` is still
found by that name, unless the part before is an archive with such a member.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from zoobot.shared.errors import ImageError

SEPARATOR = "::"

_STACK = f"bands{SEPARATOR}"

_PIXEL_CUTOUT = re.compile(r"x([^,]+),y([^,]+),([^,]+)pix")

_DATASET_FILES = ("state.json", "dataset_info.json")


class Location(NamedTuple):
    """A file or folder, and which part of it; `str()` gives the text again.

    Attributes:
        container: The file, or the folder of a saved dataset.
        member: The part of it; None for a file that is one image.
    """

    container: str
    member: str | None

    def __str__(self) -> str:
        return self.container if self.member is None else f"{self.container}{SEPARATOR}{self.member}"


def split_location(text: str | Path) -> Location:
    """What a location names; where nothing that is there fits, a file of that whole name.

    Example:
        >>> split_location("/data/galaxy.jpg").member is None
        True
    """
    text = os.fspath(text)
    place = text.find(SEPARATOR)
    while place != -1:
        container = text[:place]
        if os.path.isfile(container) or is_saved_dataset(container):
            return Location(container, text[place + len(SEPARATOR) :])
        place = text.find(SEPARATOR, place + 1)
    return Location(text, None)


def join_stack(bands: Iterable[tuple[str, str]]) -> str:
    """The location of an image in several files, from the name of each band (or nothing) and its own.

    Example:
        >>> join_stack([("g", "/a_g.fits"), ("r", "/a_r.fits")])
        'bands::g=/a_g.fits|r=/a_r.fits'
    """
    quoted = (f"{name}={place.replace('%', '%25').replace('|', '%7C')}" for name, place in bands)
    return _STACK + "|".join(quoted)


def split_stack(text: str | Path) -> list[tuple[str, str]] | None:
    """The bands that `join_stack` made a location of, each with its file; None of any other location."""
    if not isinstance(text, str) or not text.startswith(_STACK):
        return None
    parts = (part.partition("=") for part in text.removeprefix(_STACK).split("|"))
    return [(name, place.replace("%7C", "|").replace("%25", "%")) for name, _, place in parts]


def is_saved_dataset(folder: str | Path) -> bool:
    """Whether a folder is one that `datasets.Dataset.save_to_disk` made."""
    return all(os.path.isfile(os.path.join(folder, name)) for name in _DATASET_FILES)


def watched_file(container: str) -> str:
    """The file whose size and time of change tell whether a container is still the same."""
    return os.path.join(container, _DATASET_FILES[0]) if os.path.isdir(container) else container


class Cutout(NamedTuple):
    """A square of the sky, as the part of a mosaic that a location names.

    Attributes:
        ra_deg: Right ascension of the centre.
        dec_deg: Declination of the centre.
        size: Side of the square.
        unit: What the side is measured in.

    Example:
        >>> str(Cutout(189.0865, 25.9877, 20, "arcsec"))
        '189.0865,25.9877,20arcsec'
        >>> Cutout.parse("189.0865,25.9877,64pix").size
        64.0
    """

    ra_deg: float
    dec_deg: float
    size: float
    unit: Literal["arcsec", "pix"]

    def __str__(self) -> str:
        return f"{float(self.ra_deg)!r},{float(self.dec_deg)!r},{self.size:.12g}{self.unit}"

    @classmethod
    def parse(cls, text: str) -> Cutout:
        """The cutout that a text means.

        Raises:
            ImageError: If the text is of another form, or no such square can be.
        """
        for unit in ("arcsec", "pix"):
            if text.endswith(unit):
                parts = text.removesuffix(unit).split(",")
                try:
                    ra_deg, dec_deg, size = map(float, parts)
                except ValueError:
                    break
                if all(map(math.isfinite, (ra_deg, dec_deg, size))) and abs(dec_deg) <= 90 and size > 0:
                    return cls(ra_deg, dec_deg, size, unit)
                break
        raise ImageError(
            f"a part of a mosaic is RA,DEC,SIZE: degrees, and a size such as 20arcsec or 64pix; or "
            f"xX,yY,SIZE in pixels; got {text!r}"
        )


class PixelCutout(NamedTuple):
    """A square of pixels, as the part of a mosaic that a location names.

    Attributes:
        x: Column of the centre; 0 is the middle of the first pixel.
        y: Row of the centre.
        size_pix: Side of the square.

    Example:
        >>> str(PixelCutout(511.25, 87, 64)), PixelCutout.parse("x511.25,y87,64pix").y
        ('x511.25,y87,64pix', 87.0)
    """

    x: float
    y: float
    size_pix: float

    def __str__(self) -> str:
        return f"x{self.x:.12g},y{self.y:.12g},{self.size_pix:.12g}pix"

    @classmethod
    def parse(cls, text: str) -> PixelCutout | None:
        """The square that a text means; None if it is of another form."""
        found = _PIXEL_CUTOUT.fullmatch(text)
        try:
            values = [float(value) for value in found.groups()] if found else []
        except ValueError:
            return None
        return cls(*values) if values and all(map(math.isfinite, values)) and values[2] > 0 else None
