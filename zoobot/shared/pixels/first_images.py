"""What the first images of a catalog say of their bands, told and settled before work starts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from zoobot.shared.errors import ImageError, MissingPackageError
from zoobot.shared.pixels.bands import Band, BandChoice, ChannelError, choose_bands
from zoobot.shared.pixels.images import match_planes, read_planes
from zoobot.shared.pixels.turned import check_views

if TYPE_CHECKING:
    from zoobot.shared.preprocessing import Preprocessing

logger = logging.getLogger("zoobot")

_LOOKED_AT = 5
#: Files of these names are colour or grey; no header says more of them.
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")


class _Look(NamedTuple):
    """How the bands of one image are chosen.

    Attributes:
        path: The image.
        bands: Its bands; None where it does not name them.
        stored: How many planes it has.
        choice: What is taken of them.
    """

    path: str
    bands: tuple[Band, ...] | None
    stored: int
    choice: BandChoice


def check_first_images(paths: Sequence[str], preprocessing: Preprocessing) -> None:
    """Say which bands of FITS images are looked at; refuse a catalog that can't fit the network.

    Args:
        paths: The images of the catalog.
        preprocessing: How they are read.

    Raises:
        ImageError: If the first few that can be read all lack the bands, or the planes, that are needed.
    """
    told = set()
    for look in _look(paths, preprocessing):
        text = _describe(look, preprocessing)
        if text and text not in told:
            told.add(text)
            logger.info("%s", text)


def settle_bands(model: Any, paths: Sequence[str]) -> None:
    """Keep in a model's record, by name and number, the bands that its rule chooses in the images it learns.

    So it looks at the same bands of other images later, in whatever order they hold them; bands that were
    chosen by number get their names. Nothing changes where the first images name none, or different ones.

    Args:
        model: A model of either engine, before it is trained.
        paths: The images.

    Raises:
        ImageError: As `check_first_images`.
    """
    record = model.preprocessing
    if record.channels == 1 and record.colour == "to-grey" and record.bands is None:
        return  # their mean
    looks = [look for look in _look(paths, record) if look.bands is not None and look.stored > 1]
    kept = {(look.choice.names, look.choice.planes or tuple(range(look.stored))) for look in looks}
    if len(kept) != 1:
        return
    names, numbers = kept.pop()
    if names is None or len(set(names)) < len(names):
        return
    read_otherwise(model, {"bands": names, "band_numbers": numbers})


def read_otherwise(model: Any, changes: Mapping[str, Any]) -> None:
    """Have a model, or an encoder, read images in another way; what its network sees keeps its shape.

    Args:
        model: It has a record `preprocessing`, and perhaps an `encoder` that has one.
        changes: Values by the names of `Preprocessing`.

    Raises:
        ConfigError: If a value can't work.
    """
    if changes:
        _set_record(model, model.preprocessing.with_changes(**changes))


def _set_record(model: Any, record: Preprocessing) -> None:
    model.preprocessing = record
    encoder = getattr(model, "encoder", None)
    if encoder is not None:
        encoder.preprocessing = record


@contextmanager
def with_reading(model: Any, changes: Mapping[str, Any]) -> Iterator[None]:
    """Have a model, or an encoder, read images in another way for a while, as by `read_otherwise`.

    Raises:
        ConfigError: If a value can't work.
    """
    before = model.preprocessing
    read_otherwise(model, changes)
    try:
        yield
    finally:
        _set_record(model, before)


@contextmanager
def with_views(model: Any, views: int | None) -> Iterator[None]:
    """Have a model, or an encoder, look at so many views of each image for a while; None changes nothing.

    Raises:
        ConfigError: If there can't be so many.
    """
    if views is not None:
        check_views(views)
    with with_reading(model, {} if views is None else {"views": views}):
        yield


def say_grey(grey: int, total: int) -> None:
    """Say how many pictures a network that looks at colour got in grey."""
    if grey:
        logger.info(
            "%s of %s pictures are grey: the one plane stands for red, green and blue",
            f"{grey:,}",
            f"{total:,}",
        )


def _look(paths: Sequence[str], preprocessing: Preprocessing) -> list[_Look]:
    """The choices in the first images that can be read, pictures aside."""
    looks: list[_Look] = []
    misfits: list[str] = []
    for path in paths[:_LOOKED_AT]:
        if path.lower().endswith(_PICTURES):
            continue
        try:
            found = read_planes(path, preprocessing)
            match_planes(found, preprocessing)
            if found.is_physical or found.bands is not None:
                count = found.values.shape[-1]
                looks.append(_Look(path, found.bands, count, choose_bands(found.bands, count, preprocessing)))
        except ChannelError as error:
            misfits.append(f"{path}: {error}")
        except (ImageError, MissingPackageError):
            continue  # it is told of when its turn comes
    if misfits and not looks:
        raise ImageError(f"the images are not what the network looks at; the first: {misfits[0]}")
    return looks


def _describe(look: _Look, preprocessing: Preprocessing) -> str:
    names, planes = look.choice.names, look.choice.planes
    if look.stored == 1:
        band = f" ({names[0]})" if names else ""
        return f"Bands: FITS images of one band{band}"
    if preprocessing.colour == "to-grey" and planes is None:
        what = ", ".join(names) if names else f"all {look.stored} planes"
        return f"Bands: the mean of {what}"
    what = ", ".join(names) if names else f"planes {', '.join(map(str, planes or range(look.stored)))}"
    stand = " stand for red, green, blue" if preprocessing.channels == 3 else ""
    stored = (
        ", ".join(band.name for band in look.bands) if look.bands else f"{look.stored} planes without names"
    )
    advice = "" if names or preprocessing.bands is not None else "; choose others with --bands (bands=)"
    return f"Bands: {what}{stand} ({look.choice.reason}; stored: {stored}){advice}"
