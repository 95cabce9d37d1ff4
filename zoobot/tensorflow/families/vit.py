"""Vision transformers in Keras."""

from __future__ import annotations

import keras

from zoobot.shared.architectures import VisionTransformer
from zoobot.tensorflow.families.layers import ClassToken, PositionEmbedding, SelfAttention
from zoobot.tensorflow.families.pieces import Symbol, activate, drop_path, layer_norm, narrow_normal


def vit_features(images: Symbol, spec: VisionTransformer, drop_path_rate: float) -> Symbol:
    """Features, (batch, num_features), of images, (batch, height, width, channels), of one fixed size.

    Args:
        images: Symbolic images.
        spec: What to build.
        drop_path_rate: Chance that the last residual branches are dropped; those below drop less, down to
            none.
    """
    x = ClassToken(name="cls_token")(_patch_tokens(images, spec))
    x = PositionEmbedding(name="pos_embed")(x)
    for i in range(spec.depth):
        rate = drop_path_rate * i / max(1, spec.depth - 1)
        x = _block(x, f"blocks.{i}", spec, rate)
    return layer_norm(x, "norm")[:, 0]


def _patch_tokens(images: Symbol, spec: VisionTransformer) -> Symbol:
    """One token for each patch, (batch, patches, channels), row by row."""
    bound = (spec.patch_size**2 * images.shape[-1]) ** -0.5
    patches = keras.layers.Conv2D(
        spec.embed_dim,
        spec.patch_size,
        strides=spec.patch_size,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        name="patch_embed.proj",
    )(images)
    return keras.layers.Reshape((-1, spec.embed_dim), name="patch_embed")(patches)


def _block(x: Symbol, name: str, spec: VisionTransformer, drop_path_rate: float) -> Symbol:
    attended = _dense(layer_norm(x, f"{name}.norm1"), 3 * spec.embed_dim, f"{name}.attn.qkv")
    attended = SelfAttention(spec.num_heads, name=f"{name}.attn")(attended)
    attended = _dense(attended, spec.embed_dim, f"{name}.attn.proj")
    x = keras.layers.add([x, drop_path(attended, drop_path_rate, f"{name}.drop_path1")])
    wide = _dense(layer_norm(x, f"{name}.norm2"), int(spec.mlp_ratio * spec.embed_dim), f"{name}.mlp.fc1")
    wide = activate(wide, "gelu", f"{name}.mlp.act")
    narrow = _dense(wide, spec.embed_dim, f"{name}.mlp.fc2")
    return keras.layers.add([x, drop_path(narrow, drop_path_rate, f"{name}.drop_path2")])


def _dense(x: Symbol, units: int, name: str) -> Symbol:
    return keras.layers.Dense(units, kernel_initializer=narrow_normal(), name=name)(x)
