"""A trained model exported to one file that needs no engine."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoobot.shared.engine import load_engine
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.tables.destination import refuse_existing
from zoobot.workflow.reporting import Reported, quoted

if TYPE_CHECKING:
    from zoobot.options.export import ExportOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, repr=False)
class ExportResult(Reported):
    """What an export made.

    Args:
        save_loc: The file.
        columns: The columns that its model predicts.
        size_mb: How large it is, in millions of bytes.
    """

    save_loc: Path
    columns: list[str]
    size_mb: float

    def report(self) -> str:
        """What came out, as a text to read."""
        return "\n".join(
            [
                f"{len(self.columns)} columns, {self.size_mb:.1f} MB: {self.save_loc}",
                "Next: predict with it, where neither PyTorch nor TensorFlow need be",
                f"  zoobot predict {quoted(self.save_loc)} --catalog NEW.csv --save-loc new.parquet",
            ]
        )


def export(options: ExportOptions) -> ExportResult:
    """Write a checkpoint's model to an ONNX file, once it predicts there what it does in the engine.

    Args:
        options: Everything that can be chosen.

    Raises:
        ZoobotError: If the checkpoint can't be used, the file exists, or the model can't be converted.
    """
    save_loc = Path(options.save_loc).expanduser()
    refuse_existing(save_loc, overwrite=options.overwrite)
    checkpoint = find_checkpoint(options.checkpoint)
    engine = load_engine(options.backend)
    logger.info("Converting %s with the %s engine", checkpoint, options.backend)
    model = engine.checkpoint.load(checkpoint)
    path = engine.checkpoint.export(model, save_loc, views=options.views)
    return ExportResult(save_loc=path, columns=model.task.output_columns, size_mb=path.stat().st_size / 1e6)
