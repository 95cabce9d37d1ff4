"""Shares of the parts of a prediction run, for processes that work at the same time."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from zoobot.shared.errors import ConfigError

__all__ = ["Shard", "ShardSource", "read_shard"]

ShardSource: TypeAlias = str | tuple[int, int]


class Shard(NamedTuple):
    """One of several processes that share the parts of a run.

    Args:
        number: Which one, counted from 1.
        total: Of how many.

    Example:
        >>> [Shard(2, 3).takes(part) for part in range(6)]
        [False, True, False, False, True, False]
    """

    number: int
    total: int

    def takes(self, part: int) -> bool:
        """Whether a part, counted from 0, is this one's."""
        return part % self.total == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def read_shard(shard: ShardSource | None) -> Shard:
    """A shard from how it is written; None is the only one of one.

    Args:
        shard: "3/8", or (3, 8): the third of eight, which are "1/8" to "8/8".

    Raises:
        ConfigError: If it is none.

    Example:
        >>> read_shard("3/8"), read_shard(None)
        (Shard(number=3, total=8), Shard(number=1, total=1))
    """
    if shard is None:
        return Shard(1, 1)
    pair: object = shard
    if isinstance(shard, str):
        found = re.fullmatch(r"(\d+)/(\d+)", shard.strip())
        pair = (int(found[1]), int(found[2])) if found else (0, 0)
    match pair:
        case (int(number), int(total)) if 1 <= number <= total:
            return Shard(number, total)
    msg = f"shard must be one of 1/N, 2/N, …, N/N, such as 3/8, got {shard!r}"
    raise ConfigError(msg)
