"""Where what a model makes of a catalog goes, and how a catalog of any size is gone through."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, setting

__all__ = ["StreamingOptions"]


@dataclass(frozen=True, kw_only=True)
class StreamingOptions(Options):
    """One table, or a folder of parts."""

    title: ClassVar[str] = "Results"

    save_loc: str = setting(
        MISSING,
        "the table to write: .parquet, .csv, .hdf5 or .fits; or, without such an ending, a folder of parts: "
        "for any number of galaxies, and the same command goes on after a kill",
        metavar="FILE",
    )
    part_rows: int | None = setting(
        None, f"a folder: galaxies in each part; without it, {defaults.PART_ROWS:,}", at_least=1
    )
    shard: str | None = setting(
        None, "a folder: take only the parts of one of N processes, 1/N, 2/N … N/N", metavar="I/N"
    )
    max_failures: int | float | None = setting(
        None,
        "give up when more images than this fail: a number, as 100, or a fraction, as 0.01; without it, any "
        "may, and are listed",
        at_least=0,
    )
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=test", metavar="COLUMN=VALUE"
    )
    overwrite: bool = setting(False, "replace the table, or what is in the folder")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.shard is not None and self.overwrite:
            msg = "--overwrite would delete what other shards have done: delete the folder yourself"
            raise ConfigError(msg)
