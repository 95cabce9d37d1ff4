"""EfficientNets in Keras: both versions, and -lite."""

from __future__ import annotations

import keras

from zoobot.shared.architectures import EfficientNet, Stage
from zoobot.tensorflow.families.pieces import (
    Symbol,
    activate,
    batch_norm,
    convolve,
    drop_path,
    fan_out_normal,
)


def efficientnet_features(images: Symbol, spec: EfficientNet, drop_path_rate: float) -> Symbol:
    """Features, (batch, num_features), of images, (batch, height, width, channels).

    Args:
        images: Symbolic images.
        spec: What to build.
        drop_path_rate: Chance that the next residual branch above the last would be dropped, as timm has it;
            those below drop less, down to none.
    """
    stages = spec.scaled_stages
    total = sum(stage.repeats for stage in stages)
    x = _convolve_norm(images, spec, spec.stem_channels, 3, 2, conv="conv_stem", norm="bn1")
    blocks_below = 0
    for i, stage in enumerate(stages):
        for j in range(stage.repeats):
            rate = drop_path_rate * blocks_below / total
            x = _block(x, f"blocks.{i}.{j}", spec, stage, stage.stride if j == 0 else 1, rate)
            blocks_below += 1
    x = _convolve_norm(x, spec, spec.num_features, conv="conv_head", norm="bn2")
    return keras.layers.GlobalAveragePooling2D(name="global_pool")(x)


def _block(
    x: Symbol, name: str, spec: EfficientNet, stage: Stage, stride: int, drop_path_rate: float
) -> Symbol:
    branch = _BRANCHES[stage.kind](x, name, spec, stage, stride)
    if stride > 1 or x.shape[-1] != stage.channels:
        return branch
    return keras.layers.add([drop_path(branch, drop_path_rate, f"{name}.drop_path"), x])


def _convolution(x: Symbol, name: str, spec: EfficientNet, stage: Stage, stride: int) -> Symbol:
    conv, norm = f"{name}.conv", f"{name}.bn1"
    return _convolve_norm(x, spec, stage.channels, stage.kernel, stride, conv=conv, norm=norm)


def _separable(x: Symbol, name: str, spec: EfficientNet, stage: Stage, stride: int) -> Symbol:
    x = _depthwise_norm(x, spec, stage.kernel, stride, conv=f"{name}.conv_dw", norm=f"{name}.bn1")
    x = _squeeze_excite(x, f"{name}.se", spec, stage.squeeze)
    return _project_norm(x, spec, stage.channels, conv=f"{name}.conv_pw", norm=f"{name}.bn2")


def _fused(x: Symbol, name: str, spec: EfficientNet, stage: Stage, stride: int) -> Symbol:
    inner = x.shape[-1] * stage.expand
    conv, norm = f"{name}.conv_exp", f"{name}.bn1"
    x = _convolve_norm(x, spec, inner, stage.kernel, stride, conv=conv, norm=norm)
    return _project_norm(x, spec, stage.channels, conv=f"{name}.conv_pwl", norm=f"{name}.bn2")


def _inverted(x: Symbol, name: str, spec: EfficientNet, stage: Stage, stride: int) -> Symbol:
    inner = x.shape[-1] * stage.expand
    x = _convolve_norm(x, spec, inner, conv=f"{name}.conv_pw", norm=f"{name}.bn1")
    x = _depthwise_norm(x, spec, stage.kernel, stride, conv=f"{name}.conv_dw", norm=f"{name}.bn2")
    x = _squeeze_excite(x, f"{name}.se", spec, stage.squeeze / stage.expand)
    return _project_norm(x, spec, stage.channels, conv=f"{name}.conv_pwl", norm=f"{name}.bn3")


_BRANCHES = {
    "convolution": _convolution,
    "separable": _separable,
    "fused": _fused,
    "inverted": _inverted,
}


def _squeeze_excite(x: Symbol, name: str, spec: EfficientNet, ratio: float) -> Symbol:
    """Channels weighted by what a small network makes of their means."""
    if not ratio:
        return x
    channels = x.shape[-1]
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.mean")(x)
    weights = _biased(weights, round(channels * ratio), f"{name}.conv_reduce")
    weights = activate(weights, spec.act_layer, f"{name}.act1")
    weights = activate(_biased(weights, channels, f"{name}.conv_expand"), "sigmoid", f"{name}.gate")
    return keras.layers.multiply([x, weights])


def _convolve_norm(
    x: Symbol, spec: EfficientNet, filters: int, kernel: int = 1, stride: int = 1, *, conv: str, norm: str
) -> Symbol:
    x = convolve(x, filters, kernel, stride, name=conv, initializer=fan_out_normal(), padding=spec.pad_type)
    return activate(batch_norm(x, norm, spec.bn_eps), spec.act_layer, f"{norm}.act")


def _depthwise_norm(
    x: Symbol, spec: EfficientNet, kernel: int, stride: int, *, conv: str, norm: str
) -> Symbol:
    x = convolve(
        x,
        x.shape[-1],
        kernel,
        stride,
        name=conv,
        initializer=fan_out_normal(),
        depthwise=True,
        padding=spec.pad_type,
    )
    return activate(batch_norm(x, norm, spec.bn_eps), spec.act_layer, f"{norm}.act")


def _project_norm(x: Symbol, spec: EfficientNet, filters: int, *, conv: str, norm: str) -> Symbol:
    """The end of a branch: pointwise, without an activation."""
    return batch_norm(convolve(x, filters, name=conv, initializer=fan_out_normal()), norm, spec.bn_eps)


def _biased(x: Symbol, filters: int, name: str) -> Symbol:
    return convolve(x, filters, name=name, initializer=fan_out_normal(), bias=True)
