"""ResNets with the stems and shortcuts of timm's letters: plain, -d and -t."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoobot.shared.architectures.architecture import Architecture

ResNetBlock = Literal["basic", "bottleneck"]

_EXPANSION: dict[str, int] = {"basic": 1, "bottleneck": 4}


@dataclass(frozen=True, kw_only=True)
class ResNet(Architecture):
    """A ResNet: a convolutional stem and four stages of residual blocks, with batch norms.

    Args:
        block: The kind of residual block, of all stages or of each.
        layers: Blocks in each stage.
        channels: Inner channels of each stage; a bottleneck gives four times as many.
        stem_type: "" for one 7×7 convolution, "deep" for three 3×3, "deep_tiered" for three that widen.
        stem_width: Channels of a deep stem's inner convolutions.
        avg_down: Whether shortcuts shrink the map by averaging (-d, -t) instead of skipping pixels.

    References:
        He et al. 2015, arXiv:1512.03385; He et al. 2018, arXiv:1812.01187 (the -d stem and shortcut).
    """

    block: ResNetBlock | tuple[ResNetBlock, ...]
    layers: tuple[int, ...]
    channels: tuple[int, ...] = (64, 128, 256, 512)
    stem_type: Literal["", "deep", "deep_tiered"] = ""
    stem_width: int = 64
    avg_down: bool = False

    classifier: ClassVar[str] = "fc"

    @property
    def first_conv(self) -> str:
        """The layer that images enter by."""
        return "conv1.0" if self.stem_type else "conv1"

    @property
    def stage_blocks(self) -> tuple[ResNetBlock, ...]:
        """The kind of block of each stage."""
        return (self.block,) * len(self.layers) if isinstance(self.block, str) else self.block

    @property
    def stage_outputs(self) -> tuple[int, ...]:
        """Channels that each stage gives."""
        pairs = zip(self.stage_blocks, self.channels, strict=True)
        return tuple(_EXPANSION[block] * channels for block, channels in pairs)

    @property
    def stem_channels(self) -> tuple[int, ...]:
        """Channels of each convolution of the stem."""
        if not self.stem_type:
            return (64,)
        first = 3 * (self.stem_width // 4) if self.stem_type == "deep_tiered" else self.stem_width
        return (first, self.stem_width, 2 * self.stem_width)

    @property
    def num_features(self) -> int:
        """Length of the feature vector."""
        return self.stage_outputs[-1]

    @property
    def block_prefixes(self) -> dict[str, tuple[str, ...]]:
        """The stem and the stages."""
        stages = [f"layer{i}" for i in range(1, len(self.layers) + 1)]
        return {"stem": ("conv1", "bn1"), **{stage: (stage,) for stage in stages}}


_LAYERS: dict[int, tuple[ResNetBlock, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    26: ("bottleneck", (2, 2, 2, 2)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}

_PLAIN = tuple(
    ResNet(name=f"resnet{depth}", block=block, layers=layers) for depth, (block, layers) in _LAYERS.items()
)

_D = tuple(
    ResNet(name=f"resnet{depth}d", block=block, layers=layers, stem_type="deep", stem_width=32, avg_down=True)
    for depth, (block, layers) in _LAYERS.items()
)

_SMALL: dict[str, ResNetBlock] = {"resnet10t": "basic", "resnet14t": "bottleneck"}

_T = tuple(
    ResNet(name=name, block=block, layers=(1, 1, 1, 1), stem_type="deep_tiered", stem_width=32, avg_down=True)
    for name, block in _SMALL.items()
)

_TINY = ResNet(
    name="test_resnet",
    block=("basic", "basic", "bottleneck", "basic"),
    layers=(1, 1, 1, 1),
    channels=(32, 48, 48, 96),
    stem_type="deep",
    stem_width=16,
    avg_down=True,
)

RESNETS = (*_PLAIN, *_D, *_T, _TINY)
