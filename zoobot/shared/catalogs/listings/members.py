"""The galaxies of one tar or zip: its images, and in a WebDataset shard the labels beside them."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pandas as pd

from zoobot.shared.catalogs.image_folders import (
    IMAGE_ENDINGS,
    PassedOver,
    id_of_image,
    is_image_name,
    refuse_shared_ids,
)
from zoobot.shared.errors import CatalogError, ImageError
from zoobot.shared.pixels.containers.tars import TarImages
from zoobot.shared.pixels.containers.zips import ZipImages
from zoobot.shared.pixels.locations import SEPARATOR

__all__ = ["ListedMembers"]

logger = logging.getLogger(__name__)

_LABELS = (".cls", ".json")


class ListedMembers:
    """The images in a tar or zip, in its order; ids are their names without the image ending.

    In a tar, as in a WebDataset, what lies beside an image as `KEY.cls` (a class) and `KEY.json` (an object
    of numbers and texts) becomes columns: `cls`, and the names in the objects. The key is the image's id; or,
    where no label is called so, its name up to the first dot, if no other image shares that.

    Args:
        path: The archive.
        archive: The archive, open.
        id_col: What the column of ids is called.
        passed_over: Counts the members that are neither images nor their labels.

    Raises:
        CatalogError: If it holds no images, or two images of one id.
    """

    def __init__(
        self, path: str, archive: TarImages | ZipImages, *, id_col: str, passed_over: PassedOver
    ) -> None:
        self._path, self._archive, self._id_col = path, archive, id_col
        if archive.damage:
            logger.warning("%s: %s", path, archive.damage)
        names = archive.names()
        self._members = [name for name in names if is_image_name(name)]
        if not self._members:
            msg = f"{path} holds no images ({', '.join(IMAGE_ENDINGS)})"
            raise CatalogError(f"{msg}: {archive.damage}" if archive.damage else msg)
        refuse_shared_ids(self._members, path)
        self._ids = [id_of_image(name) for name in self._members]
        labels = [n for n in names if n.endswith(_LABELS)] if isinstance(archive, TarImages) else []
        self._keys = _pair(self._ids, labels)
        self._paired = {f"{key}{ending}" for key in self._keys.values() for ending in _LABELS} & set(labels)
        lone = set(labels) - self._paired
        known = {*self._members, *labels}
        for name in names:
            if name not in known:
                passed_over.add(name)
        bare = [galaxy for galaxy in self._ids if galaxy not in self._keys]
        passed_over.add_pairs(len(self._ids), bare, [name for name in labels if name in lone])

    def __len__(self) -> int:
        return len(self._members)

    def locations(self, rows: slice) -> list[str]:
        """Where some of the images lie."""
        return [f"{self._path}{SEPARATOR}{name}" for name in self._members[rows]]

    def column_names(self) -> list[str]:
        """What is known of the galaxies besides their images."""
        labels = self._labels(self._ids) if self._paired else []
        return list(dict.fromkeys(name for row in labels for name in row if name != self._id_col))

    def columns(self, names: Sequence[str], rows: slice) -> pd.DataFrame:
        """Ids and labels of some of the galaxies; empty where the archive has no such label."""
        ids = self._ids[rows]
        needs_labels = self._paired and any(name != self._id_col for name in names)
        table = pd.DataFrame(self._labels(ids) if needs_labels else [], index=range(len(ids)))
        table[self._id_col] = ids
        return table.reindex(columns=list(names))

    def _labels(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        keys = [self._keys.get(galaxy) for galaxy in ids]
        return [
            {} if key is None else {**self._read_json(f"{key}.json"), **self._read_class(f"{key}.cls")}
            for key in keys
        ]

    def _read_class(self, name: str) -> dict[str, Any]:
        if name not in self._paired:
            return {}
        text = self._read_text(name).strip()
        return {"cls": int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text or None}

    def _read_json(self, name: str) -> dict[str, Any]:
        if name not in self._paired:
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


def _pair(ids: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """The key of each galaxy that has labels: what their names begin with.

    Example:
        >>> _pair(["J1+02.5", "b.image", "c.g", "c.r"], ["J1+02.5.cls", "b.json", "c.cls"])
        {'J1+02.5': 'J1+02.5', 'b.image': 'b'}
    """
    keys = {name[: -len(ending)] for name in labels for ending in _LABELS if name.endswith(ending)}
    pairs = {galaxy: galaxy for galaxy in ids if galaxy in keys}
    by_short: dict[str, list[str]] = defaultdict(list)
    for galaxy in ids:
        by_short[_up_to_first_dot(galaxy)].append(galaxy)
    for key in keys - set(pairs):
        alone = by_short.get(key, [])
        if len(alone) == 1 and alone[0] not in pairs:
            pairs[alone[0]] = key
    return pairs


def _up_to_first_dot(name: str) -> str:
    """The key that a WebDataset's own rule makes of a name: up to the first dot after the last slash."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]
