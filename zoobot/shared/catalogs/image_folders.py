"""The images in a folder, by name, one folder's names at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator

__all__ = ["IMAGE_ENDINGS", "image_names"]

#: What the names of images end in.
IMAGE_ENDINGS = (
    ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".fits", ".fit", ".fits.gz", ".fit.gz", ".fits.fz",
)  # fmt: skip


def image_names(folder: str) -> Iterator[str]:
    """The images of a folder and of its subfolders, as paths relative to it, in the order of `sorted` paths.

    Args:
        folder: The folder. Links to other folders are not followed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.png", "a.jpg", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     list(image_names(folder))
        ['a.jpg', 'b.png']
    """
    with os.scandir(folder) as found:
        entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    for name, is_folder in entries:
        if is_folder:
            yield from (os.path.join(name, inner) for inner in image_names(os.path.join(folder, name)))
        elif name.lower().endswith(IMAGE_ENDINGS):
            yield name
