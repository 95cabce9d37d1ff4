"""The guided merge of a folder of prediction parts into one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoobot.shared.predicting.part_run import Merged, merge_parts
from zoobot.shared.tables.destination import Destination
from zoobot.workflow.reporting import Reported

if TYPE_CHECKING:
    from zoobot.options.merge import MergeOptions


class MergeResult(Reported, Merged):
    """What a merge made."""

    def report(self) -> str:
        """What came out, as a text to read."""
        lines = [f"{self.rows:,} rows: {self.save_loc}"]
        if self.failures is not None:
            lines.append(f"{self.failed:,} images could not be read, listed in {self.failures}")
        if self.missing_parts:
            lines.append(f"{self.missing_parts:,} parts are missing in it: see `zoobot status`")
        return "\n".join(lines)


def merge(options: MergeOptions) -> MergeResult:
    """Write the predictions of a folder of parts as one table, in the order of the catalog.

    Args:
        options: Everything that can be chosen.

    Raises:
        ZoobotError: If the folder is none, lacks parts, or the table exists or can't be written.
    """
    path = Destination.of(options.save_loc).free(overwrite=options.overwrite)
    merged = merge_parts(options.folder, path, partial=options.partial)
    return MergeResult(**vars(merged))
