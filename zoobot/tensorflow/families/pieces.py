"""The layers that all families are made of, applied to symbolic tensors, with torch's paddings."""

from __future__ import annotations

from typing import Any, Literal

import keras

from zoobot.tensorflow.families.layers import ACTIVATIONS, BatchNorm, DropPath

#: (batch, height, width, channels) or (batch, tokens, channels), before any batch is there.
Symbol = Any


def narrow_normal() -> keras.initializers.Initializer:
    """Draws from a normal distribution of deviation 0.02; one for each layer, or they would draw the same.

    timm cuts the distribution at ±2, a hundred deviations away.
    """
    return keras.initializers.RandomNormal(stddev=0.02)


def fan_out_normal() -> keras.initializers.Initializer:
    """Draws so that gradients keep their size through a ReLU; one for each layer, as above.

    References:
        He et al. 2015, arXiv:1502.01852.
    """
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")


def convolve(
    x: Symbol,
    filters: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    name: str,
    initializer: keras.initializers.Initializer,
    depthwise: bool = False,
    bias: bool = False,
    padding: Literal["", "same", "none"] = "",
) -> Symbol:
    """A convolution as timm makes it.

    Args:
        x: Images.
        filters: Channels of the result; ignored by a depthwise convolution, which keeps them.
        kernel: Side of the kernels.
        stride: Pixels between two places of the kernel.
        name: timm's path.
        initializer: Draws the kernels; a bias begins at zero.
        depthwise: Whether each channel has its own kernel.
        bias: Whether a bias is added.
        padding: "" is the same on all sides, "same" is TensorFlow's, "none" is none.
    """
    if padding == "" and kernel > 1:
        if stride > 1:
            x = keras.layers.ZeroPadding2D((stride - 1 + kernel - 1) // 2, name=f"{name}.pad")(x)
        else:
            padding = "same"  # of an odd kernel without stride is the same on all sides
    options: dict[str, Any] = {
        "strides": stride,
        "padding": "same" if padding == "same" else "valid",
        "use_bias": bias,
        "name": name,
    }
    if depthwise:
        return keras.layers.DepthwiseConv2D(kernel, depthwise_initializer=initializer, **options)(x)
    return keras.layers.Conv2D(filters, kernel, kernel_initializer=initializer, **options)(x)


def batch_norm(x: Symbol, name: str, epsilon: float = 1e-5, **options: Any) -> Symbol:
    """A batch norm over the channels."""
    return BatchNorm(epsilon=epsilon, name=name, **options)(x)


def layer_norm(x: Symbol, name: str, epsilon: float = 1e-6) -> Symbol:
    """A layer norm over the channels."""
    return keras.layers.LayerNormalization(epsilon=epsilon, name=name)(x)


def activate(x: Symbol, act_layer: str, name: str) -> Symbol:
    """An activation by timm's name."""
    return keras.layers.Activation(ACTIVATIONS[act_layer], name=name)(x)


def drop_path(branch: Symbol, rate: float, name: str) -> Symbol:
    """Stochastic depth on a residual branch."""
    return DropPath(rate, rank=len(branch.shape), name=name)(branch) if rate else branch
