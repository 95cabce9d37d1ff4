"""What a user may give in the place of a catalog, besides one: images in memory, places of images, tables."""

from __future__ import annotations

import glob
import hashlib
import io
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from zoobot.shared.catalogs.catalog import Catalog
from zoobot.shared.catalogs.columns import read_ids
from zoobot.shared.catalogs.fits_tables import FitsRows
from zoobot.shared.catalogs.image_folders import PassedOver, image_ids, is_fits_name, is_image_name
from zoobot.shared.catalogs.tables import TABLE_SUFFIXES
from zoobot.shared.errors import CatalogError, ImageError
from zoobot.shared.files.table_checks import TOLD, as_told
from zoobot.shared.pixels.containers import kind_of_name
from zoobot.shared.pixels.fits_images import holds_image
from zoobot.shared.pixels.in_memory import ImageInMemory, as_image_array, is_picture
from zoobot.shared.pixels.locations import split_location
from zoobot.shared.pixels.picture_formats import find_format
from zoobot.shared.pixels.web_images import file_of_address, is_address
from zoobot.shared.settings import InMemory

logger = logging.getLogger("zoobot")

#: As many planes at the end of the axes are channels; more are the width of grey images.
_MOST_CHANNELS = 4
#: So many may be channels, too, of an image that is larger than that.
_MOST_BANDS = 16
_SHOWN = 5


def settle(
    source: Any, *, id_col: str = "id_str", file_col: str | Sequence[str] = "file_loc"
) -> Catalog | pd.DataFrame | str | Path:
    """What a catalog is read from, whatever stands for it.

    Args:
        source: A table, folder or archive by its path, a DataFrame, a `Catalog`: all of these stay as they
            are, but a DataFrame of images themselves; a table of astropy; one image, or several: a path, a
            pattern of paths ("*.jpg"), an array, (height, width) or (height, width, channels), a picture of
            Pillow, NDData, an extension of a FITS file, an open image file or its bytes, a list of any of
            these, a dictionary of them by the galaxies' ids, or one array of images of one size, (batch,
            height, width) or (batch, height, width, channels).
        id_col: What the column of ids is called in a DataFrame of paths.
        file_col: What the column of paths is called.

    Returns:
        A `Catalog` of images in memory, whose galaxies are called by their numbers from 0 where nothing else
        is said; a DataFrame for paths of images, and for a table of astropy; and all else as it came.

    Raises:
        CatalogError: If it is nothing of these, or empty.
        ImageError: If an array is not one of pixels.

    Example:
        >>> settle(np.zeros((5, 32, 32, 3), np.uint8)).ids
        ['0', '1', '2', '3', '4']
        >>> settle({"m31": np.zeros((32, 32))}).ids
        ['m31']
        >>> settle("galaxies.csv")
        'galaxies.csv'
    """
    if isinstance(source, InMemory):
        source = source.thing
    columns = (id_col, file_col) if isinstance(file_col, str) else (id_col, "file_loc")
    if isinstance(source, pd.DataFrame):
        return _of_frame(source, *columns)
    if isinstance(source, Catalog):
        return source
    if isinstance(source, (str, os.PathLike)) and not isinstance(source, ImageInMemory):
        place = os.fspath(source)
        if not place:
            raise CatalogError("the path of a catalog is empty")
        found = _images_at(place)
        return _table_of(found, columns) if found else place
    if _is_astropy_table(source):
        return frame_of(source)
    if isinstance(source, Mapping):
        return _in_memory([str(key) for key in source], _listed(list(source.values())))
    images = _listed(source)
    if not images:
        raise CatalogError("there is no galaxy: expected images, or a table with a row for each, got nothing")
    if all(isinstance(one, (str, os.PathLike)) and not isinstance(one, ImageInMemory) for one in images):
        return _of_places([os.fspath(one) for one in images], columns)
    return _in_memory([str(number) for number in range(len(images))], images)


def as_option(source: Any, **columns: Any) -> str:
    """What stands in options and records for a catalog in memory; a path stays as it is.

    Args:
        source: Whatever `settle` takes.
        **columns: `id_col` and `file_col`, where they have other names.

    Example:
        >>> as_option(pd.DataFrame({"id_str": ["a", "b"], "file_loc": ["a.jpg", "b.jpg"]}))[:37]
        '<a table in memory of 2 rows, SHA-256'
    """
    found = source if isinstance(source, InMemory) else settle(source, **columns)
    if isinstance(found, (str, os.PathLike)):
        return found if isinstance(found, str) else os.fspath(found)
    if isinstance(found, Catalog):
        count = f"{len(found):,} galaxies" if len(found) > 1 else "a galaxy"
        return InMemory(f"<{count} in memory, SHA-256 {found.fingerprint()[:8]}…>", found)
    rows = "row" if len(found) == 1 else "rows"
    text = f"<a table in memory of {len(found):,} {rows}, SHA-256 {_digest(found)[:8]}…>"
    return InMemory(text, found)


def _digest(table: pd.DataFrame) -> str:
    """A SHA-256 of names and values."""
    digest = hashlib.sha256()
    for name in table.columns:
        column = table[name]
        try:
            hashes = pd.util.hash_pandas_object(column, index=False)
        except TypeError:  # lists and the like
            hashes = pd.util.hash_pandas_object(column.astype(str), index=False)
        digest.update(str(name).encode("utf-8", "surrogatepass") + hashes.to_numpy().tobytes())
    return digest.hexdigest()


def _of_frame(table: pd.DataFrame, id_col: str, file_col: str) -> Catalog | pd.DataFrame:
    """A DataFrame as it is; or the catalog of one that holds images themselves in the place of paths."""
    if file_col not in table or not pd.api.types.is_object_dtype(table.dtypes.get(file_col)):
        return table
    images = table[file_col].tolist()
    # bytes are paths, in a table
    held = (one for one in images if not isinstance(one, (str, bytes)))
    if not any(is_picture(one) or getattr(one, "ndim", 0) > 1 for one in held):
        return table
    ids = read_ids(table[id_col], "the DataFrame") if id_col in table else [*map(str, range(len(table)))]
    return replace(_in_memory(ids, images), table=table, name="the DataFrame")


def frame_of(table: Any) -> pd.DataFrame:
    """A table of astropy as a DataFrame; columns that hold no number or text in each row are left out.

    Args:
        table: A `Table` or `QTable`.
    """
    flat = [
        name
        for name in table.colnames
        if getattr(table[name], "ndim", 2) == 1 and getattr(table[name], "dtype", None) is not None
    ]
    left_out = [name for name in table.colnames if name not in flat]
    if left_out:
        words = "Columns %s of the table are left out: they hold no number or text in each row"
        logger.info(words, ", ".join(left_out))
    found: pd.DataFrame = table[flat].to_pandas()
    infos = {name: table[name].info for name in flat}
    found.attrs[TOLD] = {
        name: as_told(unit=info.unit, ucd=(info.meta or {}).get("ucd"), description=info.description)
        for name, info in infos.items()
    }
    return found


def is_table(source: object) -> bool:
    """Whether something is a table of galaxies, in memory."""
    return isinstance(source, (Catalog, pd.DataFrame)) or _is_astropy_table(source)


def _is_astropy_table(source: object) -> bool:
    module = sys.modules.get("astropy.table")
    return module is not None and isinstance(source, module.Table)


def _listed(source: Any) -> list[Any]:
    """The images of a source, each an item."""
    if is_picture(source) or isinstance(source, ImageInMemory):
        return [source]
    if isinstance(source, io.IOBase):
        return [_content_of(source)]
    if isinstance(source, np.ndarray) and source.dtype.kind in "OUS":
        return [os.fsdecode(one) if isinstance(one, bytes) else one for one in source.ravel().tolist()]
    is_list = isinstance(source, (list, tuple, pd.Series, pd.Index))
    if not is_list and _is_array(source):
        return _split(as_image_array(source))
    if not isinstance(source, Iterable):
        _refuse(type(source).__name__)
    images = list(source)
    for one in images:
        if not (isinstance(one, (str, os.PathLike, io.IOBase)) or is_picture(one) or _is_array(one)):
            _refuse(f"{type(source).__name__} of {type(one).__name__}")
    return [_content_of(one) if isinstance(one, io.IOBase) else one for one in images]


def _content_of(file: Any) -> bytes:
    """The bytes of an open file, from its beginning."""
    if file.seekable():
        file.seek(0)
    content = file.read()
    if not isinstance(content, bytes):
        raise CatalogError(f"an image is read from a file that is open for bytes, got {type(file).__name__}")
    return content


def _is_array(thing: object) -> bool:
    is_number = isinstance(thing, (np.generic, pd.DataFrame))
    return (hasattr(thing, "__array__") or hasattr(thing, "__array_interface__")) and not is_number


def _refuse(got: str) -> NoReturn:
    raise CatalogError(
        "a catalog is a file, a folder, a DataFrame, a table of astropy or a Catalog; or images: arrays, "
        f"pictures, paths, or a list of them; got {got}"
    )


def _split(values: np.ndarray) -> list[np.ndarray]:
    """The images of one array, by its axes."""
    if values.ndim == 4:
        if values.shape[1] in (1, 3, _MOST_CHANNELS) and values.shape[-1] > _MOST_CHANNELS:
            raise ImageError(
                "a stack of images has the axes (batch, height, width, channels), got "
                f"{values.shape}, which looks like (batch, channels, height, width): give "
                "np.moveaxis(images, 1, -1)"
            )
        return list(values)
    if values.ndim != 3:
        if values.ndim == 2:
            return [values]
        raise ImageError(
            "an array has the axes (height, width), (height, width, channels), (batch, height, width) or "
            f"(batch, height, width, channels), got {values.shape}"
        )
    if values.shape[-1] <= _MOST_CHANNELS:
        return [values]
    if values.shape[-1] <= _MOST_BANDS and values.shape[-1] < min(values.shape[:2]):
        count, height, width = values.shape
        raise ImageError(
            f"an array of the shape {values.shape} may be one image of {width} channels, or {count:,} grey "
            f"images of {height} × {width} px: give [image] for the former, images[..., None] for the latter"
        )
    if values.shape[0] in (3, _MOST_CHANNELS):
        raise ImageError(
            f"an array of the shape {values.shape} may be {values.shape[0]} grey images or the "
            f"{values.shape[0]} channels of one: give images[..., None] for the former, "
            "np.moveaxis(image, 0, -1) for the latter"
        )
    return list(values)


def _in_memory(ids: list[str], images: list[Any]) -> Catalog:
    """The galaxies whose images are in memory; paths among them are read where they lie."""
    places: list[str] = []
    for galaxy, one in zip(ids, images, strict=True):
        if isinstance(one, (str, os.PathLike)):
            is_told = isinstance(one, str) and (isinstance(one, ImageInMemory) or is_address(one))
            places.append(one if is_told else os.path.abspath(os.path.expanduser(one)))  # type: ignore[arg-type]
        else:
            places.append(ImageInMemory(f"image {galaxy} (in memory)", one))
    if len(set(ids)) < len(ids):
        raise CatalogError("every galaxy must have an id of its own, but keys are the same as text")
    if not ids:
        raise CatalogError("there is no galaxy: expected images by their ids, got none")
    name = "an image in memory" if len(ids) == 1 else f"{len(ids):,} images in memory"
    table = pd.DataFrame({"id_str": ids, "file_loc": [str(place) for place in places]})
    return Catalog(ids=ids, paths=places, labels=None, label_cols=(), table=table, name=name)


def _of_places(places: list[str], columns: tuple[str, str]) -> pd.DataFrame | str:
    """Images by their paths; one path alone may also be a catalog's."""
    if len(places) == 1:
        found = _images_at(places[0])
        return _table_of(found, columns) if found else places[0]
    others = [place for place in places if not _may_be_image(place)]
    if others:
        raise CatalogError(
            f"of {len(places):,} paths {len(others):,} are no images, such as {others[:_SHOWN]}: give a list "
            "of images, or one catalog"
        )
    return _table_of(places, columns)


def _table_of(places: list[str], columns: tuple[str, str]) -> pd.DataFrame:
    table = pd.DataFrame({columns[0]: image_ids(places), columns[1]: places})
    table.attrs["name"] = places[0] if len(places) == 1 else f"{len(places):,} images"
    return table


def _images_at(place: str) -> list[str]:
    """The images that a path or pattern names; none where it names a catalog, or nothing."""
    if is_address(place):
        return [place] if _may_be_image(place) else []
    path = os.path.expanduser(place)
    if os.path.isfile(path):
        is_image = is_image_name(path) and not (is_fits_name(path) and _holds_table(path))
        return [place] if is_image else []
    if split_location(path).member is not None:
        return [place]
    if os.path.exists(path):
        return []
    if not glob.has_magic(path):  # of an image that is not there, who looks for it says so
        return [place] if is_image_name(path) and not is_fits_name(path) else []
    found = sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
    images = [one for one in found if is_image_name(one)]
    if any(kind_of_name(one) is not None for one in found):
        return []  # archives, perhaps beside what can't be
    passed_over = PassedOver(place)
    for one in set(found) - set(images):
        passed_over.add(one)
    if images:
        passed_over.tell(logger)
    return images


def _may_be_image(place: str) -> bool:
    """Whether one of several paths can be an image: its content decides, unless it has another's name."""
    is_local = not is_address(place)
    path = os.path.expanduser(place) if is_local else file_of_address(place)
    if is_image_name(path) or (is_local and split_location(path).member is not None):
        return True
    named = path.lower().endswith(TABLE_SUFFIXES) or kind_of_name(path) is not None
    return not named and not (is_local and os.path.isdir(path))


def _holds_table(path: str) -> bool:
    """Whether a file with a name of FITS is a catalog: whether it holds a table, or is no FITS file."""
    with open(path, "rb") as file:
        if find_format(file.read(16)) != "fits":
            return True
    try:
        FitsRows(Path(path))
    except CatalogError:
        return not holds_image(path)
    return True
