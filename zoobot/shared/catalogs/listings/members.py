"""The galaxies of one tar or zip: its images, and in a WebDataset shard the labels beside them."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from zoobot.shared.catalogs.image_folders import IMAGE_ENDINGS
from zoobot.shared.errors import CatalogError, ImageError
from zoobot.shared.pixels.containers.tars import TarImages
from zoobot.shared.pixels.containers.zips import ZipImages
from zoobot.shared.pixels.locations import SEPARATOR

__all__ = ["ListedMembers"]

logger = logging.getLogger(__name__)

_LABELS = (".cls", ".json")


class ListedMembers:
    """The images in a tar or zip, in its order.

    In a tar whose names are a WebDataset's (each image has a key of its own: its name up to the first dot
    after the last slash), keys are ids, and what lies beside the images as `KEY.cls` (a class) and `KEY.json`
    (an object of numbers and texts) becomes columns: `cls`, and the names in the objects. Otherwise ids are
    the names.

    Args:
        path: The archive.
        archive: The archive, open.
        id_col: What the column of ids is called.

    Raises:
        CatalogError: If it holds no images.
    """

    def __init__(self, path: str, archive: TarImages | ZipImages, *, id_col: str) -> None:
        self._path, self._archive, self._id_col = path, archive, id_col
        if archive.damage:
            logger.warning("%s: %s", path, archive.damage)
        self._members = [name for name in archive.names() if name.lower().endswith(IMAGE_ENDINGS)]
        if not self._members:
            msg = f"{path} holds no images ({', '.join(IMAGE_ENDINGS)})"
            raise CatalogError(f"{msg}: {archive.damage}" if archive.damage else msg)
        keys = [_key(name) for name in self._members]
        is_webdataset = isinstance(archive, TarImages) and _are_keys(self._members, keys)
        self._ids = keys if is_webdataset else self._members
        self._labelled = is_webdataset and any(name.endswith(_LABELS) for name in archive.names())

    def __len__(self) -> int:
        return len(self._members)

    def locations(self, rows: slice) -> list[str]:
        """Where some of the images lie."""
        return [f"{self._path}{SEPARATOR}{name}" for name in self._members[rows]]

    def column_names(self) -> list[str]:
        """What is known of the galaxies besides their images."""
        labels = self._labels(self._ids) if self._labelled else []
        return list(dict.fromkeys(name for row in labels for name in row if name != self._id_col))

    def columns(self, names: Sequence[str], rows: slice) -> pd.DataFrame:
        """Ids and labels of some of the galaxies; empty where the archive has no such label."""
        ids = self._ids[rows]
        needs_labels = self._labelled and any(name != self._id_col for name in names)
        table = pd.DataFrame(self._labels(ids) if needs_labels else [], index=range(len(ids)))
        table[self._id_col] = ids
        return table.reindex(columns=list(names))

    def _labels(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        return [{**self._read_json(f"{key}.json"), **self._read_class(f"{key}.cls")} for key in keys]

    def _read_class(self, name: str) -> dict[str, Any]:
        if name not in self._archive:
            return {}
        text = self._read_text(name).strip()
        return {"cls": int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text or None}

    def _read_json(self, name: str) -> dict[str, Any]:
        if name not in self._archive:
            return {}
        try:
            found = json.loads(self._read_text(name))
        except (ValueError, RecursionError) as error:
            msg = f"{self._path}{SEPARATOR}{name} is no JSON: {error}"
            raise CatalogError(msg) from error
        if not isinstance(found, dict):
            msg = f"{self._path}{SEPARATOR}{name} must be an object of labels, got {type(found).__name__}"
            raise CatalogError(msg)
        return {key: value for key, value in found.items() if not isinstance(value, (dict, list))}

    def _read_text(self, name: str) -> str:
        try:
            return self._archive.read(name).decode("utf-8")
        except (ImageError, UnicodeDecodeError) as error:
            msg = f"can't read the labels {self._path}{SEPARATOR}{name}: {error}"
            raise CatalogError(msg) from error


def _key(name: str) -> str:
    """The name up to the first dot after the last slash.

    Example:
        >>> _key("a.b/ngc4565.fits.gz")
        'a.b/ngc4565'
    """
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _are_keys(members: Sequence[str], keys: Sequence[str]) -> bool:
    """Whether each image has a key of its own, and all that follows it is an image's ending."""
    endings = {member[len(key) :].lower() for member, key in zip(members, keys, strict=True)}
    return endings <= set(IMAGE_ENDINGS) and max(Counter(keys).values()) == 1 and _has_names(keys)


def _has_names(keys: Sequence[str]) -> bool:
    return all(key and not key.endswith("/") for key in keys)
