"""ConvNeXt and ConvNeXt V2 in Keras."""

from __future__ import annotations

import keras

from zoobot.shared.architectures import ConvNeXt
from zoobot.tensorflow.families.layers import GlobalResponseNorm, LayerScale
from zoobot.tensorflow.families.pieces import Symbol, activate, convolve, drop_path, layer_norm, narrow_normal


def convnext_features(images: Symbol, spec: ConvNeXt, drop_path_rate: float) -> Symbol:
    """Features, (batch, num_features), of images, (batch, height, width, channels).

    Args:
        images: Symbolic images.
        spec: What to build.
        drop_path_rate: Chance that the last residual branch is dropped; those below drop less, down to none.
    """
    x = _convolve(images, spec.dims[0], spec.patch_size, name="stem.0", stride=spec.patch_size)
    x = layer_norm(x, "stem.1", spec.norm_eps)
    blocks_below = 0
    for i, (depth, dim) in enumerate(zip(spec.depths, spec.dims, strict=True)):
        stage = f"stages.{i}"
        if i > 0:
            x = layer_norm(x, f"{stage}.downsample.0", spec.norm_eps)
            x = _convolve(x, dim, 2, name=f"{stage}.downsample.1", stride=2)
        for j in range(depth):
            rate = drop_path_rate * blocks_below / max(1, sum(spec.depths) - 1)
            x = _block(x, f"{stage}.blocks.{j}", spec, spec.stage_kernel_sizes[i], rate)
            blocks_below += 1
    x = keras.layers.GlobalAveragePooling2D(name="head.global_pool")(x)
    return layer_norm(x, "head.norm", spec.norm_eps)


def _block(shortcut: Symbol, name: str, spec: ConvNeXt, kernel: int, drop_path_rate: float) -> Symbol:
    channels = shortcut.shape[-1]
    x = convolve(
        shortcut,
        channels,
        kernel,
        name=f"{name}.conv_dw",
        initializer=narrow_normal(),
        depthwise=True,
        bias=True,
    )
    x = layer_norm(x, f"{name}.norm", spec.norm_eps)
    x = _pointwise(x, 4 * channels, f"{name}.mlp.fc1", spec)
    x = activate(x, spec.act_layer, f"{name}.mlp.act")
    if spec.use_grn:
        x = GlobalResponseNorm(name=f"{name}.mlp.grn")(x)
    x = _pointwise(x, channels, f"{name}.mlp.fc2", spec)
    if spec.ls_init_value is not None:
        x = LayerScale(spec.ls_init_value, name=f"{name}.gamma")(x)
    return keras.layers.add([drop_path(x, drop_path_rate, f"{name}.drop_path"), shortcut])


def _convolve(x: Symbol, filters: int, kernel: int, *, name: str, stride: int) -> Symbol:
    return convolve(
        x, filters, kernel, stride, name=name, initializer=narrow_normal(), bias=True, padding="none"
    )


def _pointwise(x: Symbol, units: int, name: str, spec: ConvNeXt) -> Symbol:
    """The same sum either way; what differs is the shape that its weights have in files."""
    if spec.conv_mlp:
        return convolve(x, units, name=name, initializer=narrow_normal(), bias=True)
    return keras.layers.Dense(units, kernel_initializer=narrow_normal(), name=name)(x)
