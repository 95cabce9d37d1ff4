"""What every description of an encoder says, whatever its family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

from zoobot.shared.errors import EncoderError
from zoobot.shared.training.blocks import Block, check_blocks

_Self = TypeVar("_Self", bound="Architecture")

#: What timm's builders may be told without any effect here: an encoder ends before the classifier, and its
#: images have the size that it was built for.
_WITHOUT_EFFECT = ("drop_rate", "dynamic_img_size", "num_classes")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """An encoder described in timm's terms: enough to build it in any framework.

    Each family adds its own fields, named as timm's builder names them.

    Args:
        name: timm's name.
        fixed_image_size_pix: The side of its images, where its weights depend on it; None where they don't.
    """

    name: str
    fixed_image_size_pix: int | None = None

    #: How its last feature map becomes features, in timm's words.
    global_pool: ClassVar[str] = "avg"
    #: The layer that timm puts after the features.
    classifier: ClassVar[str]

    @property
    def first_conv(self) -> str:
        """The layer that images enter by."""
        raise NotImplementedError

    @property
    def num_features(self) -> int:
        """Length of the feature vector."""
        raise NotImplementedError

    @property
    def min_image_size_pix(self) -> int:
        """The smallest images it can take."""
        return 1

    @property
    def block_prefixes(self) -> dict[str, tuple[str, ...]]:
        """Blocks, bottom to top: name → what the paths of its layers begin with.

        Layers that no prefix fits (a final norm or convolution) belong to the top block.
        """
        raise NotImplementedError

    def blocks(self, parameters: Sequence[str]) -> tuple[Block, ...]:
        """The parameters by block, bottom to top.

        Args:
            parameters: The names of all the encoder's parameters.

        Raises:
            EncoderError: If some block would be empty: the names are another architecture's.
        """
        held: dict[str, list[str]] = {name: [] for name in self.block_prefixes}
        top = list(held)[-1]
        for parameter in parameters:
            held[self._block_of(parameter) or top].append(parameter)
        empty = [name for name, names in held.items() if not names]
        if empty:
            raise EncoderError(f"{self.name} has parameters in each of its blocks, got none in {empty}")
        blocks = tuple(Block(name, tuple(names)) for name, names in held.items())
        check_blocks(blocks, parameters)
        return blocks

    def _block_of(self, parameter: str) -> str | None:
        for block, prefixes in self.block_prefixes.items():
            if any(parameter == prefix or parameter.startswith(f"{prefix}.") for prefix in prefixes):
                return block
        return None

    def check_image_size(self, image_size_pix: int) -> None:
        """Raise unless the architecture can take square images of this side.

        Raises:
            EncoderError: If they are too small.
        """
        if image_size_pix < self.min_image_size_pix:
            raise EncoderError(
                f"the encoder {self.name} needs images of at least {self.min_image_size_pix} pixels a side, "
                f"got {image_size_pix}"
            )

    def with_args(self: _Self, model_args: Mapping[str, Any]) -> _Self:
        """The same architecture with what a checkpoint tells timm's builder besides the name.

        Args:
            model_args: timm's keyword arguments, such as {"norm_eps": 1e-5}.

        Raises:
            EncoderError: If an argument is none of this family's.

        Example:
            >>> from zoobot.shared.architectures import get_architecture
            >>> get_architecture("convnext_nano").with_args({"norm_eps": 1e-5}).norm_eps
            1e-05
        """
        known = [field.name for field in fields(self) if field.name not in ("name", "fixed_image_size_pix")]
        told = {k: v for k, v in model_args.items() if k not in _WITHOUT_EFFECT}
        if told.pop("global_pool", self.global_pool) != self.global_pool:
            raise EncoderError(
                f"{self.name} can only be built with global_pool={self.global_pool!r}, got {dict(model_args)}"
            )
        unknown = sorted(set(told) - set(known))
        if unknown:
            raise EncoderError(
                f"this engine can't build {self.name} with {unknown}; what it can change is {known}; "
                f"another engine may build it"
            )
        changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
        return replace(self, **changes)
