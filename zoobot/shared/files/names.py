"""Names of files after galaxies, whatever the galaxies are called."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["file_stems"]

_LONGEST = 100


def file_stems(ids: Iterable[str]) -> list[str]:
    """A name for the files of each galaxy: its id, where a file can be called so and no other one is.

    Otherwise what no file system takes becomes "_", and the galaxy's number is added.

    Example:
        >>> file_stems(["J0004+02", "a/b", "../x", "j0004+02"])
        ['J0004+02', 'a_b-1', '_x-2', 'j0004+02-3']
    """
    stems: list[str] = []
    taken: set[str] = set()
    for number, galaxy in enumerate(ids):
        stem = re.sub(r"[^A-Za-z0-9_.+-]+", "_", galaxy)[:_LONGEST].lstrip(".-").rstrip(".")
        if not stem or stem != galaxy or stem.lower() in taken:  # some file systems know no case
            stem = f"{stem or 'galaxy'}-{number}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems
