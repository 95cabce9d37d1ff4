"""Which block of an encoder gives the features, by name or number: one look-up for both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.shared.training.blocks import Block

__all__ = ["choose_block"]


def choose_block(blocks: Sequence[Block], asked: str | int | None) -> int:
    """The number of a block, counted from 0 at the bottom.

    Args:
        blocks: The encoder's blocks, bottom to top.
        asked: A block's name, or its number: from 0 at the bottom, or from -1 at the top; also as text. None
            is the top.

    Raises:
        ConfigError: If there is no such block; those that there are are listed.

    Example:
        >>> from zoobot.shared.training.blocks import Block
        >>> blocks = [Block("stem", ()), Block("stages.0", ()), Block("stages.1", ())]
        >>> [choose_block(blocks, asked) for asked in ("stages.0", 0, "-1", None)]
        [1, 0, 2, 2]
    """
    if asked is None:
        return len(blocks) - 1
    names = [block.name for block in blocks]
    if asked in names:
        return names.index(str(asked))
    try:
        number = int(asked)
    except ValueError:
        number = len(blocks)
    if isinstance(asked, bool) or not -len(blocks) <= number < len(blocks):
        listed = ", ".join(f"{number} {name}" for number, name in enumerate(names))
        msg = f"block must be one of this encoder's, by name or number: {listed}; got {asked!r}"
        raise ConfigError(msg)
    return number % len(blocks)
