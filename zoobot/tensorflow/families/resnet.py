"""ResNets in Keras."""

from __future__ import annotations

import keras

from zoobot.shared.architectures import ResNet
from zoobot.tensorflow.families.pieces import (
    Symbol,
    activate,
    batch_norm,
    convolve,
    drop_path,
    fan_out_normal,
)


def resnet_features(images: Symbol, spec: ResNet, drop_path_rate: float) -> Symbol:
    """Features, (batch, num_features), of images, (batch, height, width, channels).

    Args:
        images: Symbolic images.
        spec: What to build.
        drop_path_rate: Chance that the last residual branch is dropped; those below drop less, down to none.
    """
    x = _stem(images, spec)
    blocks_below = 0
    for i, depth in enumerate(spec.layers):
        for j in range(depth):
            rate = drop_path_rate * blocks_below / max(1, sum(spec.layers) - 1)
            stride = 2 if i > 0 and j == 0 else 1
            x = _block(x, f"layer{i + 1}.{j}", spec, i, stride, rate)
            blocks_below += 1
    return keras.layers.GlobalAveragePooling2D(name="global_pool")(x)


def _stem(images: Symbol, spec: ResNet) -> Symbol:
    if spec.stem_type:
        first, second, third = spec.stem_channels
        x = _convolve(images, first, 3, 2, name="conv1.0")
        x = activate(batch_norm(x, "conv1.1"), "relu", "conv1.2")
        x = _convolve(x, second, 3, name="conv1.3")
        x = activate(batch_norm(x, "conv1.4"), "relu", "conv1.5")
        x = _convolve(x, third, 3, name="conv1.6")
    else:
        x = _convolve(images, spec.stem_channels[0], 7, 2, name="conv1")
    x = activate(batch_norm(x, "bn1"), "relu", "act1")
    x = keras.layers.ZeroPadding2D(1, name="maxpool.pad")(x)  # no value is below 0 here
    return keras.layers.MaxPooling2D(3, 2, name="maxpool")(x)


def _block(x: Symbol, name: str, spec: ResNet, stage: int, stride: int, drop_path_rate: float) -> Symbol:
    channels, outputs = spec.channels[stage], spec.stage_outputs[stage]
    convolutions: tuple[tuple[int, int, int], ...] = ((channels, 3, stride), (outputs, 3, 1))
    if spec.stage_blocks[stage] == "bottleneck":
        convolutions = ((channels, 1, 1), (channels, 3, stride), (outputs, 1, 1))
    last = len(convolutions)
    branch = x
    for n, (filters, kernel, step) in enumerate(convolutions, start=1):
        branch = _convolve(branch, filters, kernel, step, name=f"{name}.conv{n}")
        if n < last:
            branch = activate(batch_norm(branch, f"{name}.bn{n}"), "relu", f"{name}.act{n}")
    # a branch that begins at zero lets a deep network begin as a shallow one
    branch = batch_norm(branch, f"{name}.bn{last}", gamma_initializer="zeros")
    branch = drop_path(branch, drop_path_rate, f"{name}.drop_path")
    shortcut = _shortcut(x, outputs, stride, f"{name}.downsample", spec)
    return activate(keras.layers.add([branch, shortcut]), "relu", f"{name}.act{last}")


def _shortcut(x: Symbol, outputs: int, stride: int, name: str, spec: ResNet) -> Symbol:
    if stride == 1 and x.shape[-1] == outputs:
        return x
    if not spec.avg_down:
        return batch_norm(_convolve(x, outputs, 1, stride, name=f"{name}.0"), f"{name}.1")
    if stride > 1:
        x = keras.layers.AveragePooling2D(2, stride, padding="same", name=f"{name}.0")(x)
    return batch_norm(_convolve(x, outputs, name=f"{name}.1"), f"{name}.2")


def _convolve(x: Symbol, filters: int, kernel: int = 1, stride: int = 1, *, name: str) -> Symbol:
    return convolve(x, filters, kernel, stride, name=name, initializer=fan_out_normal())
