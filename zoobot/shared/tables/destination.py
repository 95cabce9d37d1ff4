"""Where results go, told from a name: memory, one table or a folder of parts; and what is in the way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoobot.shared.errors import ConfigError
from zoobot.shared.tables.formats import FORMATS
from zoobot.shared.tables.part_folder import FAILURES, PartFolder
from zoobot.shared.tables.writer import check_save_loc

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Destination:
    """Where a catalog's predictions or features go.

    Args:
        kind: "memory", "table" for one file, or "parts" for a folder with a file for each part.
        path: The file or the folder, absolute; None in memory.
    """

    kind: Literal["memory", "table", "parts"]
    path: Path | None = None

    @classmethod
    def of(cls, save_loc: str | Path | None) -> Destination:
        """What a name means: a folder of parts has no ending, ends in a slash, or is there.

        Example:
            >>> places = ("results/desi", "desi.dr10/", "new.parquet", "new.txt", None)
            >>> [Destination.of(place).kind for place in places]
            ['parts', 'parts', 'table', 'table', 'memory']
        """
        if save_loc is None:
            return cls("memory")
        text = os.fspath(save_loc)
        path = Path(text).expanduser()
        is_folder = not path.suffix or text.endswith(("/", os.sep)) or path.is_dir()
        is_parts = is_folder and path.suffix.lower() not in FORMATS
        return cls("parts" if is_parts else "table", path.absolute())

    @property
    def is_parts(self) -> bool:
        """Whether it is a folder of parts."""
        return self.kind == "parts"

    @property
    def file(self) -> Path:
        """The file or the folder, where it is not memory.

        Raises:
            ConfigError: If it is.
        """
        if self.path is None:
            raise ConfigError("results that stay in memory have no file: give a save_loc")
        return self.path

    @property
    def folder(self) -> PartFolder:
        """The folder of parts."""
        return PartFolder(self.file)

    def prepare(self) -> None:
        """Raise before any work where nothing could be written.

        Raises:
            PredictionsError: If the file or folder can't be written, or is something else.
            MissingPackageError: If the package that writes this format is not installed.
        """
        if self.kind == "parts":
            self.folder.prepare()
        elif self.kind == "table":
            check_save_loc(self.file)

    def free(self, *, overwrite: bool, flag: str = "--save-loc") -> Path:
        """The file of a table that can be written, and is not taken.

        Raises:
            ConfigError: If it is taken.
            PredictionsError: If it can't be written there.
        """
        path = check_save_loc(self.file)
        refuse_existing(path, overwrite=overwrite, flag=flag)
        return path


def failures_of(place: Path) -> Path:
    """Where the galaxies that failed are listed: in a folder of parts, or beside a table.

    Example:
        >>> failures_of(Path("new.parquet")).name
        'new.failures.csv'
    """
    return place / FAILURES if place.is_dir() else place.with_suffix(".failures.csv")


def free_list(save_loc: str | Path, endings: Sequence[str], *, overwrite: bool) -> Path:
    """The absolute path of a list for people, once found to be possible and not taken; call it before work.

    Args:
        save_loc: Where it is to go.
        endings: What its name may end in.
        overwrite: Whether an older list may be replaced.

    Raises:
        ConfigError: If the name ends in something else, or is taken.
    """
    path = Path(save_loc).expanduser().absolute()
    if path.suffix.lower() not in endings:
        raise ConfigError(f"the list must end in {' or '.join(endings)}, got {str(save_loc)!r}")
    refuse_existing(path, overwrite=overwrite and not path.is_dir())
    return path


def refuse_existing(path: Path, *, overwrite: bool, flag: str = "--save-loc") -> None:
    """Raise a ConfigError if a file is there and is not to be replaced."""
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists: choose another {flag}, or replace it with --overwrite")
