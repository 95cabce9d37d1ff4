"""What kind of source of galaxies a name means: archives of images, or something else."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from zoobot.shared.catalogs.image_folders import PassedOver, is_image_name
from zoobot.shared.catalogs.listings.cells import ListedDataset, ListedParquet, has_images
from zoobot.shared.catalogs.listings.members import ListedMembers
from zoobot.shared.catalogs.listings.rows import Listed, ListedRows, OpenListed
from zoobot.shared.errors import CatalogError, ImageError
from zoobot.shared.pixels.containers.saved_datasets import refuse_other_folders
from zoobot.shared.pixels.containers.tars import TarImages
from zoobot.shared.pixels.containers.zips import ZipImages
from zoobot.shared.pixels.locations import is_saved_dataset

__all__ = ["open_listing"]

logger = logging.getLogger(__name__)

_ARCHIVES = (".tar", ".zip")
_SPLITS = {"validation": "val", "valid": "val", "dev": "val"}


def open_listing(
    source: str | Path, *, id_col: str, file_col: str, image_col: str | None = None
) -> ListedRows | None:
    """The galaxies of archives of images; None if the source is something else, such as a table.

    Args:
        source: A tar, a zip, or a Parquet file with images in its rows; a folder of one of these kinds, or of
            a Hugging Face dataset saved there; or a pattern of file names, such as "shards/*.tar".
        id_col: What the column of ids is called.
        file_col: What the column of locations is called. A Parquet file that has it is a table.
        image_col: The column of images of Parquet files and datasets; None is the only one.

    Raises:
        CatalogError: If a pattern fits nothing, files are of several kinds, or a folder holds archives and
            images.

    Example:
        >>> open_listing("galaxies.csv", id_col="id_str", file_col="file_loc") is None
        True
    """
    path = Path(source).expanduser()
    archives: list[OpenListed] | None
    if path.is_dir():
        archives = _of_folder(path, id_col, file_col, image_col)
    elif path.is_file():
        archives = _of_files([path], id_col, file_col, image_col) if _is_archive(path, file_col) else None
    elif glob.has_magic(str(path)):
        archives = _of_pattern(path, id_col, file_col, image_col)
    else:
        archives = None
    if archives is None:
        return None
    return ListedRows(archives, id_col=id_col, file_col=file_col, name=str(source))


def _of_folder(folder: Path, id_col: str, file_col: str, image_col: str | None) -> list[OpenListed] | None:
    folder = folder.absolute()
    if is_saved_dataset(folder):
        return [_dataset(folder, id_col, image_col, prefix="")]
    if (folder / "dataset_dict.json").is_file():
        splits = _read_splits(folder)
        return [
            _dataset(folder / name, id_col, image_col, prefix=f"{name}/", split=_SPLITS.get(name, name))
            for name in splits
        ]
    there = sorted(path for path in folder.iterdir() if path.is_file())
    files = [path for path in there if _is_archive(path, file_col)]
    if files and any(is_image_name(path.name) for path in there):
        msg = f"the folder {str(folder)!r} holds images and archives of images; which are the catalog?"
        raise CatalogError(msg)
    if not files:
        return None
    passed_over = PassedOver(f"the folder {str(folder)!r}")
    archives = set(files)
    for path in there:
        if path not in archives:
            passed_over.add(path.name)
    passed_over.tell(logger)
    return _of_files(files, id_col, file_col, image_col)


def _read_splits(folder: Path) -> list[str]:
    """The folders of a larger dataset, which lie in its own."""
    try:
        splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        refuse_other_folders(list(map(str, splits)))
    except (ImageError, ValueError, KeyError, TypeError) as error:
        msg = f"can't read the dataset {folder}: {error}"
        raise CatalogError(msg) from error
    return list(map(str, splits))


def _dataset(
    folder: Path, id_col: str, image_col: str | None, *, prefix: str, split: str | None = None
) -> OpenListed:
    def open_dataset(passed_over: PassedOver) -> Listed:
        del passed_over  # every row is a galaxy
        return ListedDataset(str(folder), id_col=id_col, image_col=image_col, prefix=prefix, split=split)

    return open_dataset


def _of_pattern(pattern: Path, id_col: str, file_col: str, image_col: str | None) -> list[OpenListed]:
    files = [Path(found) for found in sorted(glob.glob(str(pattern), recursive=True))]
    if not files:
        msg = f"no file fits the pattern {str(pattern)!r}"
        raise CatalogError(msg)
    others = [path.name for path in files if not (path.is_file() and _is_archive(path, file_col))]
    if others:
        msg = (
            f"a pattern is for tars, zips and Parquet files with images, but {str(pattern)!r} also fits "
            f"{others[:5]}"
        )
        raise CatalogError(msg)
    return _of_files(files, id_col, file_col, image_col)


def _is_archive(path: Path, file_col: str) -> bool:
    name = path.name.lower()
    return name.endswith(_ARCHIVES) or (name.endswith(".parquet") and has_images(path, file_col))


def _of_files(files: Sequence[Path], id_col: str, file_col: str, image_col: str | None) -> list[OpenListed]:
    kinds = {path.suffix.lower() for path in files}
    if len(kinds) > 1:
        msg = f"archives of one catalog must be of one kind, got {sorted(kinds)} in {str(files[0].parent)!r}"
        raise CatalogError(msg)
    return [
        partial(
            _open_file,
            str(path.absolute()),
            id_col=id_col,
            image_col=image_col,
            prefix="" if len(files) == 1 else f"{path.stem}/",
        )
        for path in files
    ]


def _open_file(
    path: str, passed_over: PassedOver, *, id_col: str, image_col: str | None, prefix: str
) -> Listed:
    """The galaxies of one archive."""
    try:
        if path.lower().endswith(".parquet"):
            return ListedParquet(path, id_col=id_col, image_col=image_col, prefix=prefix)
        archive = TarImages(path) if path.lower().endswith(".tar") else ZipImages(path)
        return ListedMembers(path, archive, id_col=id_col, passed_over=passed_over)
    except (ImageError, OSError) as error:
        msg = f"can't read {path}: {error}"
        raise CatalogError(msg) from error
