"""ConvNeXt and ConvNeXt V2, as timm builds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

from zoobot.shared.architectures.architecture import Architecture


@dataclass(frozen=True, kw_only=True)
class ConvNeXt(Architecture):
    """A ConvNeXt: a patch stem and four stages of depthwise 7×7 convolutions with pointwise networks.

    Args:
        depths: Blocks in each stage.
        dims: Channels of each stage.
        kernel_sizes: Side of the depthwise kernels, of all stages or of each.
        patch_size: Side of the patches of the stem.
        conv_mlp: Whether the pointwise networks are stored as 1×1 convolutions instead of dense layers.
        use_grn: Whether they normalise their global response (version 2).
        ls_init_value: Where the scale of each residual branch begins; None for no such scale (version 2).
        act_layer: timm's name of the activation.
        norm_eps: Epsilon of the norms.

    References:
        Liu et al. 2022, arXiv:2201.03545; Woo et al. 2023, arXiv:2301.00808.
    """

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    kernel_sizes: int | tuple[int, ...] = 7
    patch_size: int = 4
    conv_mlp: bool = False
    use_grn: bool = False
    ls_init_value: float | None = 1e-6
    act_layer: str = "gelu"
    norm_eps: float = 1e-6

    classifier: ClassVar[str] = "head.fc"

    @property
    def first_conv(self) -> str:
        """The layer that images enter by."""
        return "stem.0"

    @property
    def num_features(self) -> int:
        """Length of the feature vector."""
        return self.dims[-1]

    @property
    def stage_kernel_sizes(self) -> tuple[int, ...]:
        """Side of the depthwise kernels of each stage."""
        sizes = self.kernel_sizes
        return (sizes,) * len(self.depths) if isinstance(sizes, int) else sizes

    @property
    def min_image_size_pix(self) -> int:
        """One pixel must be left for the last stage; each but the first halves the map."""
        return self.patch_size * prod([2] * (len(self.depths) - 1))

    @property
    def block_prefixes(self) -> dict[str, tuple[str, ...]]:
        """The stem and the stages; the final norm belongs to the top."""
        stages = [f"stages.{i}" for i in range(len(self.depths))]
        return {"stem": ("stem",), **{stage: (stage,) for stage in stages}}


_SHALLOW, _DEEP = (2, 2, 6, 2), (3, 3, 27, 3)

_V1 = (
    ConvNeXt(name="convnext_atto", depths=_SHALLOW, dims=(40, 80, 160, 320), conv_mlp=True),
    ConvNeXt(name="convnext_femto", depths=_SHALLOW, dims=(48, 96, 192, 384), conv_mlp=True),
    ConvNeXt(name="convnext_pico", depths=_SHALLOW, dims=(64, 128, 256, 512), conv_mlp=True),
    ConvNeXt(name="convnext_nano", depths=(2, 2, 8, 2), dims=(80, 160, 320, 640), conv_mlp=True),
    ConvNeXt(name="convnext_tiny", depths=(3, 3, 9, 3), dims=(96, 192, 384, 768)),
    ConvNeXt(name="convnext_small", depths=_DEEP, dims=(96, 192, 384, 768)),
    ConvNeXt(name="convnext_base", depths=_DEEP, dims=(128, 256, 512, 1024)),
    ConvNeXt(name="convnext_large", depths=_DEEP, dims=(192, 384, 768, 1536)),
)

_V2 = tuple(
    replace(v1, name=v1.name.replace("convnext_", "convnextv2_"), use_grn=True, ls_init_value=None)
    for v1 in _V1
)

_TINY = ConvNeXt(
    name="test_convnext", depths=(1, 2, 4, 2), dims=(24, 32, 48, 64), act_layer="gelu_tanh", norm_eps=1e-5
)

CONVNEXTS = (*_V1, *_V2, _TINY)
