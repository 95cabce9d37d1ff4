"""Where a guided run leaves its results."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, setting

__all__ = ["RunFolderOptions"]


@dataclass(frozen=True, kw_only=True)
class RunFolderOptions(Options):
    """Where a finetuning run leaves its results, and what becomes of those that are there."""

    title: ClassVar[str] = "Results"

    save_dir: str = setting(
        MISSING, "folder for the model, scores, predictions and pictures", metavar="FOLDER"
    )
    cache_dir: str | None = setting(
        None,
        "folder to keep decoded images in, for later epochs and runs: faster, and the same results; it needs "
        "the disk space of the uncompressed images",
        metavar="FOLDER",
    )
    resume: bool = setting(False, "continue the unfinished run in --save-dir, with its options")
    overwrite: bool = setting(False, "replace the run in --save-dir")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.resume and self.overwrite:
            _refuse("give --resume or --overwrite, not both")


def _refuse(message: str) -> None:
    raise ConfigError(message)
