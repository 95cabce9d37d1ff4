"""The guided merge of a folder of prediction parts into one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoobot.shared.errors import ConfigError
from zoobot.shared.parts.merging import Merged, merge_parts
from zoobot.shared.predicting.writer import check_save_loc

if TYPE_CHECKING:
    from zoobot.shared.config import MergeOptions

__all__ = ["merge"]


def merge(options: MergeOptions) -> Merged:
    """Write the predictions of a folder of parts as one table, in the order of the catalog.

    Args:
        options: Everything that can be chosen.

    Raises:
        ZoobotError: If the folder is none, lacks parts, or the table exists or can't be written.
    """
    path = check_save_loc(options.save_loc)
    if path.exists() and not options.overwrite:
        msg = f"{path} exists: choose another --save-loc, or replace it with --overwrite"
        raise ConfigError(msg)
    return merge_parts(options.folder, path, partial=options.partial)
