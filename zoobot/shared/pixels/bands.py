"""Which bands a FITS image holds, and which of them a network looks at: red first for colour."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from zoobot.shared.errors import ImageError

if TYPE_CHECKING:
    from zoobot.shared.preprocessing import Preprocessing

#: Central wavelengths in nm, of filters as surveys call them: only their order matters. Case does not.
_WAVELENGTHS_NM = {
    "fuv": 153,
    "nuv": 231,
    "u": 355,
    "b": 440,
    "g": 475,
    "v": 550,
    "r": 625,
    "i": 770,
    "z": 910,
    "y": 1020,
    "j": 1250,
    "h": 1650,
    "ks": 2150,
    "k": 2200,
    "vis": 720,
    "w1": 3400,
    "w2": 4600,
    "w3": 12_000,
    "w4": 22_000,
    "ch1": 3600,
    "ch2": 4500,
    "ch3": 5800,
    "ch4": 8000,
}
_SPACE_FILTER = re.compile(r"f(\d{3,4})(w2|lp|w|m|n|x)")
#: Of Hubble's filters, numbers up to this are of 10 nm: WFC3's infrared channel, F098M to F167N.
_LAST_INFRARED_OF_HUBBLE = 170
#: Numbers of NIRCam's filters that Hubble has not (or as infrared ones, too): of 10 nm wherever.
_NIRCAM = frozenset(
    {182, 187, 210, 212, 250, 277, 322, 323, 335, 356, 360, 405, 430, 444, 460, 466, 470, 480}
)
_WEBB = frozenset({"JWST", "NIRCAM", "MIRI", "NIRISS"})

#: What extensions beside the image are called: inverse variances, masks and the like.
_NO_IMAGE = frozenset(
    ("invvar", "ivar", "invar", "wht", "weight", "weights", "err", "error", "var", "variance")
)
_NO_IMAGE |= {
    "sigma",
    "rms",
    "mask",
    "maskbits",
    "dq",
    "flag",
    "flags",
    "exp",
    "nexp",
    "exptime",
    "psf",
    "model",
}
_TOKENS = re.compile(r"[\s_\-.,;:/()+]+")

#: Which three of more bands stand for red, green and blue, the first that is there.
_COLOURS = (("i", "r", "g"), ("z", "r", "g"))


class Band(NamedTuple):
    """A band by name.

    Attributes:
        name: What its filter is called, without what surveys put before and after it: HSC-G is g.
        wavelength_nm: About where it lies; None of a filter that we do not know.
    """

    name: str
    wavelength_nm: float | None


class ImagePlanes(NamedTuple):
    """What a file holds, before anything is chosen or stretched.

    Attributes:
        values: (height, width, planes).
        is_physical: Whether they are physical values, as in FITS, or a picture's.
        bands: The band of each plane, where the file (or the catalog's columns) names them.
    """

    values: NDArray
    is_physical: bool
    bands: tuple[Band, ...] | None = None


class BandChoice(NamedTuple):
    """Which planes of an image are used, in which order, and why.

    Attributes:
        planes: Their numbers, from 0; None uses all as they are stored.
        names: What they are called; None where the file does not say.
        reason: How they were chosen, in words.
    """

    planes: tuple[int, ...] | None
    names: tuple[str, ...] | None
    reason: str


class ChannelError(ImageError):
    """An image has not the bands, or the number of planes, that a network looks at."""


def read_band(text: Any, *, is_webb: bool = False) -> Band | None:
    """The band that a filter's name means, whatever stands around it; None if it is none that we know.

    Args:
        text: As headers have it.
        is_webb: Whether filters such as F300M are those of JWST, and not of Hubble.

    Example:
        >>> read_band("HSC-I2").name, read_band("g DECam SDSS c0001 4720.0 1520.0").name
        ('i', 'g')
        >>> read_band("F444W").wavelength_nm, read_band("F814W").wavelength_nm, read_band("CLEAR1L")
        (4440, 814, None)
    """
    if not isinstance(text, str):
        return None
    for token in _TOKENS.split(text.strip().lower()):
        name = token.rstrip("'")
        if len(name) == 2 and name[0] in "ugriz" and name[1] in "ps2":  # gp, zs (LCO); r2, i2 (HSC)
            name = name[0]
        if name in _WAVELENGTHS_NM:
            return Band(name if name in "ugrizy" else name.upper(), _WAVELENGTHS_NM[name])
        found = _SPACE_FILTER.fullmatch(name)
        if found:
            return Band(name.upper(), _space_wavelength_nm(int(found[1]), is_webb))
    return None


def _space_wavelength_nm(number: int, is_webb: bool) -> int:
    return number * 10 if is_webb or number <= _LAST_INFRARED_OF_HUBBLE or number in _NIRCAM else number


def plane_bands(header: Mapping[str, Any], count: int) -> tuple[Band, ...] | None:
    """The bands of the planes of a cube, where its header names each of them.

    Read are BANDS = 'grz' or 'g,r,z', BAND0, BAND1 … (from 0 or 1), FILTERS, FILTER and FILTER1 … likewise.

    Args:
        header: The header of the extension.
        count: How many planes there are.

    Example:
        >>> [band.name for band in plane_bands({"BANDS": "grz"}, 3)]
        ['g', 'r', 'z']
    """
    if count == 1:
        band = own_band(header)
        return None if band is None else (band,)
    is_webb = _is_webb(header)
    for key in ("BANDS", "BAND", "FILTERS", "FILTER"):
        texts = _split_names(header.get(key), count) or _numbered(header, key, count)
        if texts:
            return tuple(read_band(text, is_webb=is_webb) or Band(text, None) for text in texts)
    return None


def _split_names(value: Any, count: int) -> list[str] | None:
    if not isinstance(value, str):
        return None
    parts = [part.strip(" '\"[]") for part in re.split(r"[,;|\s]+", value.strip(" []"))]
    if len(parts) == 1 and len(parts[0]) == count:
        parts = list(parts[0])
    return parts if len(parts) == count and all(parts) else None


def _numbered(header: Mapping[str, Any], key: str, count: int) -> list[str] | None:
    for start in (0, 1):
        texts = [header.get(f"{key}{number}") for number in range(start, start + count)]
        if all(isinstance(text, str) and text.strip() for text in texts):
            return [str(text).strip() for text in texts]
    return None


def own_band(header: Mapping[str, Any]) -> Band | None:
    """The band of an extension of one plane, where its header says it; None of weights and masks."""
    described = " ".join(str(header.get(key, "")) for key in ("EXTNAME", "IMAGETYP"))
    if _NO_IMAGE & set(_TOKENS.split(described.lower())):
        return None
    is_webb = _is_webb(header)
    for key in ("BAND", "FILTER", "FILTER1", "FILTER2", "FILTNAM1", "EXTNAME"):
        band = read_band(header.get(key), is_webb=is_webb)
        if band is not None:
            return band
    return None


def _is_webb(header: Mapping[str, Any]) -> bool:
    return bool(_WEBB & {str(header.get(key, "")).strip().upper() for key in ("TELESCOP", "INSTRUME")})


def band_of_column(column: str) -> str:
    """The band whose files a column names, such as file_g or HSC-I_path; empty where its name says none.

    Example:
        >>> band_of_column("file_loc_g"), band_of_column("NIR_Y"), band_of_column("path2")
        ('g', 'y', '')
    """
    band = read_band(column)
    return "" if band is None else band.name


def choose_bands(bands: Sequence[Band] | None, count: int, preprocessing: Preprocessing) -> BandChoice:
    """Which planes of an image of physical values a network looks at.

    Args:
        bands: The bands of the planes; None where the file names none.
        count: How many planes there are.
        preprocessing: Its `bands` are taken. Without any, a network that looks at colour (3 channels, unless
            colour is "as-is") gets three named bands red first, and of more i, r, g or else z, r, g.

    Raises:
        ChannelError: If the image lacks a band that is asked for, or three of more must be chosen.
    """
    names = None if bands is None else tuple(band.name for band in bands)
    if preprocessing.bands is not None:
        return _chosen_by_user(names, count, preprocessing)
    if count == 1 or preprocessing.channels != 3 or preprocessing.colour == "as-is":
        return BandChoice(None, names, "all, as stored")
    if bands is None or names is None:
        return BandChoice(None, None, "as stored, for the file names no bands")
    if count <= 3:
        if any(band.wavelength_nm is None for band in bands):
            return BandChoice(None, names, "as stored, for not all of these filters are known")
        order = sorted(range(count), key=lambda place: -(bands[place].wavelength_nm or 0))  # stable
        return BandChoice(tuple(order), tuple(names[place] for place in order), "red first")
    for colours in _COLOURS:
        if all(names.count(name) == 1 for name in colours):
            places = tuple(names.index(name) for name in colours)
            return BandChoice(places, colours, f"three of the {count} bands {', '.join(names)}, red first")
    msg = f"has the {count} bands {', '.join(names)}: choose three, red first, with bands (--bands)"
    raise ChannelError(msg)


def _chosen_by_user(names: tuple[str, ...] | None, count: int, preprocessing: Preprocessing) -> BandChoice:
    wanted = preprocessing.bands or ()
    reason = "as chosen"
    if names is None and any(isinstance(band, str) for band in wanted):
        if preprocessing.band_numbers is None:
            msg = f"names no bands, but bands={wanted!r} asks by name; give the planes' numbers (--bands)"
            raise ChannelError(msg)
        wanted = preprocessing.band_numbers
        reason = "the file names no bands: the planes that held the chosen ones in training"
    places = tuple(_find(band, names, count, wanted) for band in wanted)
    return BandChoice(places, None if names is None else tuple(names[place] for place in places), reason)


def _find(wanted: int | str, names: tuple[str, ...] | None, count: int, bands: Sequence[int | str]) -> int:
    """The number of the plane that is asked for by name or number."""
    if isinstance(wanted, str):
        known = read_band(wanted)
        folded = [name.casefold() for name in names or ()]
        for text in (wanted, known.name if known else wanted):
            if text.strip().casefold() in folded:
                return folded.index(text.strip().casefold())
        what = f"the bands {', '.join(names or ())}" if count > 1 else f"the one band {(names or ('',))[0]}"
        raise ChannelError(
            f"has {what}, but bands={tuple(bands)!r} asks for {wanted!r}; choose others with bands (--bands)"
        )
    if wanted >= count:
        planes = "1 plane" if count == 1 else f"{count} planes"
        msg = f"has {planes}, but bands={tuple(bands)!r} asks for plane {wanted} (counted from 0)"
        raise ChannelError(msg)
    return wanted
