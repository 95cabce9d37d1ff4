"""Images in a Hugging Face dataset that was saved in a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoobot.shared.errors import ImageError
from zoobot.shared.optional import import_optional
from zoobot.shared.pixels.containers.rows import ImageRows

__all__ = ["SavedDataset", "holds_images", "load_saved_dataset", "refuse_other_folders"]


class SavedDataset(ImageRows):
    """The rows of a folder made by `datasets.Dataset.save_to_disk`.

    Args:
        folder: The folder.

    Raises:
        ImageError: If the folder can't be read.
        MissingPackageError: If the package `datasets` is not installed.
    """

    kind = "dataset"

    def __init__(self, folder: str) -> None:
        rows = load_saved_dataset(folder)
        self.columns = [name for name, feature in rows.features.items() if holds_images(feature)]
        self._by_column = {name: rows.select_columns([name]) for name in self.columns}
        self._length = len(rows)

    def __len__(self) -> int:
        return self._length

    def _read_cell(self, column: str, row: int) -> Any:
        try:
            return self._by_column[column][row][column]
        except (OSError, ValueError) as error:  # Arrow's own errors are of these kinds
            msg = f"row {row:,} of the dataset is damaged ({error})"
            raise ImageError(msg) from error


def load_saved_dataset(folder: str) -> Any:
    """The dataset in a folder, mapped from disk, with its images as bytes and not decoded.

    Raises:
        ImageError: If the folder can't be read.
        MissingPackageError: If the package `datasets` is not installed.
    """
    datasets = import_optional("datasets", needed_for=f"the Hugging Face dataset {folder!r}")
    try:
        refuse_other_folders(
            [str(file["filename"]) for file in _read_json(Path(folder) / "state.json")["_data_files"]]
        )
        rows = datasets.load_from_disk(folder, keep_in_memory=False).with_format(None)
        for name, feature in rows.features.items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(name, datasets.Image(decode=False))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"not a readable Hugging Face dataset ({type(error).__name__}: {error})"
        raise ImageError(msg) from error
    return rows


def refuse_other_folders(names: Sequence[str]) -> None:
    """Raise an ImageError if a dataset names files or folders that do not lie directly in its own."""
    odd = [name for name in names if name in ("", ".", "..") or not re.fullmatch(r"[^/\\:]+", name)]
    if odd:
        msg = f"the dataset names {odd[0]!r}, outside of its own folder: nothing makes us open that"
        raise ImageError(msg)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def holds_images(feature: Any) -> bool:
    """Whether a column of a dataset holds images: as such, or as plain bytes."""
    return type(feature).__name__ == "Image" or getattr(feature, "dtype", None) in ("binary", "large_binary")
