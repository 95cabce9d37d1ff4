"""What a model without a head predicts: features, a column for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoobot.shared.errors import ConfigError
from zoobot.shared.tasks import Task

__all__ = ["FEATURE_TYPES", "FeatureTask"]

#: What features are kept as; float16 halves the space, and keeps three digits.
FEATURE_TYPES = ("float32", "float16")


@dataclass(frozen=True, kw_only=True)
class FeatureTask(Task):
    """Features of a block of an encoder; there is nothing to learn.

    Args:
        width: How many there are.
        block: The block's name.
        dtype: What tables keep them as.

    Example:
        >>> FeatureTask(width=2, block="stages.3").output_columns
        ['feature_0000', 'feature_0001']
    """

    kind: ClassVar[str] = "features"
    width: int
    block: str
    dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dtype not in FEATURE_TYPES:
            msg = f"dtype must be one of {list(FEATURE_TYPES)}, got {self.dtype!r}"
            raise ConfigError(msg)

    @property
    def num_label_cols(self) -> int:
        """How many features there are."""
        return self.width

    @property
    def stored_as(self) -> str:
        """The type that tables keep them in."""
        return self.dtype

    @property
    def output_columns(self) -> list[str]:
        """The names of the features in a table, in order."""
        return [f"feature_{number:04d}" for number in range(self.width)]

    def to_config(self) -> dict[str, Any]:
        """What was asked for, as JSON-ready values."""
        return {"kind": self.kind, "block": self.block, "width": self.width, "dtype": self.dtype}
