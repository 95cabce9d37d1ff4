"""Which features a guided run takes, of which model."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.shared.options.engine import EngineOptions
from zoobot.shared.options.galaxies import CatalogOptions
from zoobot.shared.options.images import ReadingOptions, TurnOptions, ViewOptions
from zoobot.shared.options.streaming import StreamingOptions
from zoobot.shared.settings import setting

__all__ = ["RepresentOptions"]


@dataclass(frozen=True, kw_only=True)
class RepresentOptions(
    EngineOptions, TurnOptions, ViewOptions, StreamingOptions, ReadingOptions, CatalogOptions
):
    """Everything that `zoobot represent` can be told."""

    title: ClassVar[str] = "Features"

    checkpoint: str = setting(
        MISSING,
        "a trained model (the checkpoint folder, or the run's folder), or an encoder as in `zoobot finetune`",
        metavar="MODEL",
    )
    block: str | None = setting(
        None,
        "which block's features: its name, or its number from 0 at the bottom; without it those of the top, "
        "from which the model predicts; of others, means over the image",
        metavar="BLOCK",
    )
    dtype: Literal["float32", "float16"] = setting(
        "float32", ".parquet and folders: float16 halves the space, and keeps three digits"
    )
    batch_size: int | None = setting(  # type: ignore[assignment]  # the others have a number
        None, "galaxies encoded at once; without it, 32 on a CPU and 256 on a GPU", at_least=1
    )
