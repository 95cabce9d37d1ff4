"""EfficientNets as timm builds them: the first version, its -lite members, and the second version."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from zoobot.shared.architectures.architecture import Architecture


@dataclass(frozen=True)
class Stage:
    """Blocks of one kind, of which the first may shrink the map.

    Args:
        kind: "convolution"; "separable" (depthwise, pointwise); "fused" (expand by a full convolution, then
            project); or "inverted" (expand by a pointwise one, depthwise, project).
        repeats: Number of blocks.
        kernel: Side of the kernels.
        stride: Of the first block.
        expand: Inner channels over those of the input.
        channels: Channels given.
        squeeze: Channels of the squeeze-and-excitation over those of the block's input; 0 for none.
    """

    kind: Literal["convolution", "separable", "fused", "inverted"]
    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int
    squeeze: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EfficientNet(Architecture):
    """An EfficientNet: a stem, stages of convolutional blocks, and a final pointwise convolution.

    Args:
        stages: Its stages before scaling.
        stem_size: Channels of the stem before scaling.
        head_size: Channels of the final convolution, which are the features, before scaling.
        width: Factor on all channels.
        depth: Factor on the repeats of every stage.
        scale_ends: Whether the factors also apply to the stem, the final convolution (width), and the first
            and last stage (depth).
        round_limit: How far rounding to multiples of 8 may shrink channels; timm's second version: at will.
        act_layer: timm's name of the activation.
        pad_type: "same" for TensorFlow's padding, "" for a symmetric one.
        bn_eps: Epsilon of the batch norms.

    References:
        Tan & Le 2019, arXiv:1905.11946; Tan & Le 2021, arXiv:2104.00298.
    """

    stages: tuple[Stage, ...]
    stem_size: int = 32
    head_size: int = 1280
    width: float = 1.0
    depth: float = 1.0
    scale_ends: bool = True
    round_limit: float = 0.9
    act_layer: str = "silu"
    pad_type: Literal["", "same"] = ""
    bn_eps: float = 1e-5

    classifier: ClassVar[str] = "classifier"

    @property
    def first_conv(self) -> str:
        """The layer that images enter by."""
        return "conv_stem"

    @property
    def num_features(self) -> int:
        """Length of the feature vector."""
        return self.round_channels(self.head_size) if self.scale_ends else self.head_size

    @property
    def stem_channels(self) -> int:
        """Channels of the stem."""
        return self.round_channels(self.stem_size) if self.scale_ends else self.stem_size

    @property
    def scaled_stages(self) -> tuple[Stage, ...]:
        """The stages as they are built."""
        last = len(self.stages) - 1
        return tuple(
            replace(
                stage,
                channels=self.round_channels(stage.channels),
                repeats=stage.repeats
                if not self.scale_ends and i in (0, last)
                else math.ceil(stage.repeats * self.depth),
            )
            for i, stage in enumerate(self.stages)
        )

    @property
    def block_prefixes(self) -> dict[str, tuple[str, ...]]:
        """The stem and the stages; the final convolution belongs to the top."""
        stages = [f"blocks.{i}" for i in range(len(self.stages))]
        return {"stem": ("conv_stem", "bn1"), **{stage: (stage,) for stage in stages}}

    def round_channels(self, channels: int) -> int:
        """Channels after scaling, a multiple of 8 that is not much smaller."""
        scaled = channels * self.width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < self.round_limit * scaled else rounded


def _first_version(squeeze: float) -> tuple[Stage, ...]:
    return (
        Stage("separable", 1, 3, 1, 1, 16, squeeze),
        Stage("inverted", 2, 3, 2, 6, 24, squeeze),
        Stage("inverted", 2, 5, 2, 6, 40, squeeze),
        Stage("inverted", 3, 3, 2, 6, 80, squeeze),
        Stage("inverted", 3, 5, 1, 6, 112, squeeze),
        Stage("inverted", 4, 5, 2, 6, 192, squeeze),
        Stage("inverted", 1, 3, 1, 6, 320, squeeze),
    )


_V2_SMALL = (
    Stage("convolution", 2, 3, 1, 1, 24),
    Stage("fused", 4, 3, 2, 4, 48),
    Stage("fused", 4, 3, 2, 4, 64),
    Stage("inverted", 6, 3, 2, 4, 128, 0.25),
    Stage("inverted", 9, 3, 1, 6, 160, 0.25),
    Stage("inverted", 15, 3, 2, 6, 256, 0.25),
)
_V2_MEDIUM = (
    Stage("convolution", 3, 3, 1, 1, 24),
    Stage("fused", 5, 3, 2, 4, 48),
    Stage("fused", 5, 3, 2, 4, 80),
    Stage("inverted", 7, 3, 2, 4, 160, 0.25),
    Stage("inverted", 14, 3, 1, 6, 176, 0.25),
    Stage("inverted", 18, 3, 2, 6, 304, 0.25),
    Stage("inverted", 5, 3, 1, 6, 512, 0.25),
)
_V2_BASE = (
    Stage("convolution", 1, 3, 1, 1, 16),
    Stage("fused", 2, 3, 2, 4, 32),
    Stage("fused", 2, 3, 2, 4, 48),
    Stage("inverted", 3, 3, 2, 4, 96, 0.25),
    Stage("inverted", 5, 3, 1, 6, 112, 0.25),
    Stage("inverted", 8, 3, 2, 6, 192, 0.25),
)
#: timm's own reading of the paper, made before its authors' code was public.
_V2_RW = (
    Stage("fused", 2, 3, 1, 1, 24),
    *_V2_SMALL[1:-1],
    Stage("inverted", 15, 3, 2, 6, 272, 0.25),
)

#: Width and depth of each size.
_SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}

_V1 = tuple(
    EfficientNet(name=f"efficientnet_b{size}", stages=_first_version(0.25), width=width, depth=depth)
    for size, (width, depth) in _SCALES.items()
)
_LITE = tuple(
    EfficientNet(
        name=f"efficientnet_lite{size}",
        stages=_first_version(0.0),
        width=width,
        depth=depth,
        scale_ends=False,
        act_layer="relu6",
    )
    for size, (width, depth) in _SCALES.items()
)
_V2 = (
    EfficientNet(name="efficientnetv2_s", stages=_V2_SMALL, stem_size=24),
    EfficientNet(name="efficientnetv2_m", stages=_V2_MEDIUM, stem_size=24),
)
_V2_BASES = tuple(
    EfficientNet(name=f"efficientnetv2_b{size}", stages=_V2_BASE, width=width, depth=depth, round_limit=0.0)
    for size, (width, depth) in _SCALES.items()
    if size < 4
)
_RW = (
    EfficientNet(name="efficientnetv2_rw_t", stages=_V2_SMALL, stem_size=24, width=0.8, depth=0.9),
    EfficientNet(name="efficientnetv2_rw_s", stages=_V2_RW, stem_size=24, head_size=1792),
)
#: The same networks with the padding and epsilon of their authors' TensorFlow weights.
_TF = tuple(
    replace(torch_made, name=f"tf_{torch_made.name}", pad_type="same", bn_eps=1e-3)
    for torch_made in (*_V1, *_LITE, *_V2, *_V2_BASES)
)
_TINY = EfficientNet(
    name="test_efficientnet",
    stages=(
        Stage("convolution", 1, 3, 1, 1, 16),
        Stage("fused", 1, 3, 2, 4, 24),
        Stage("fused", 1, 3, 2, 4, 32),
        Stage("inverted", 1, 3, 2, 4, 48, 0.25),
        Stage("inverted", 1, 3, 2, 4, 64, 0.25),
    ),
    stem_size=24,
    head_size=256,
    round_limit=0.0,
)

EFFICIENTNETS = (*_V1, *_LITE, *_V2, *_RW, *_TF, _TINY)
