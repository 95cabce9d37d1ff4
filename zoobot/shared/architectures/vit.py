"""Vision transformers with a class token, as timm builds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoobot.shared.architectures.architecture import Architecture


@dataclass(frozen=True, kw_only=True)
class VisionTransformer(Architecture):
    """A vision transformer: patches as tokens with learned positions; the class token is the features.

    Args:
        embed_dim: Length of each token.
        depth: Number of blocks.
        num_heads: Attention heads of each block.
        patch_size: Side of the patches.
        mlp_ratio: Width of the pointwise networks over that of the tokens.

    References:
        Dosovitskiy et al. 2020, arXiv:2010.11929.
    """

    embed_dim: int
    depth: int
    num_heads: int
    patch_size: int = 16
    mlp_ratio: float = 4.0
    fixed_image_size_pix: int | None = 224

    global_pool: ClassVar[str] = "token"
    classifier: ClassVar[str] = "head"

    @property
    def first_conv(self) -> str:
        """The layer that images enter by."""
        return "patch_embed.proj"

    @property
    def num_features(self) -> int:
        """Length of the feature vector."""
        return self.embed_dim

    @property
    def min_image_size_pix(self) -> int:
        """One patch."""
        return self.patch_size

    @property
    def block_prefixes(self) -> dict[str, tuple[str, ...]]:
        """The tokens' embedding, and each block; the final norm belongs to the top."""
        blocks = [f"blocks.{i}" for i in range(self.depth)]
        return {"stem": ("cls_token", "pos_embed", "patch_embed"), **{block: (block,) for block in blocks}}


_SIZES = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}

_STANDARD = tuple(
    VisionTransformer(name=f"vit_{size}_patch16_224", embed_dim=dim, depth=12, num_heads=heads)
    for size, (dim, heads) in _SIZES.items()
)

_TINY = VisionTransformer(
    name="test_vit",
    embed_dim=64,
    depth=6,
    num_heads=2,
    mlp_ratio=3,
    fixed_image_size_pix=160,
)

VITS = (*_STANDARD, _TINY)
