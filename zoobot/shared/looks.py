"""Another survey's look on a training view: other colours, contrast, blur and noise, never other shapes."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

_CHANCE = 0.5
"""Of each kind of change, in a view that gets another look."""

_GREY_CHANCE = 0.4
"""Of all channels showing their mean, where colours change: single bands are common."""

_GAIN = 0.2  # standard deviation of the logarithm of a channel's factor
_GAMMA = 0.4  # largest logarithm of the power that values in [0, 1] are raised to
_BLUR_PIX = (0.5, 1.5)  # standard deviations of the Gaussian, in pixels of a view of 128
_NOISE = (0.01, 0.06)  # standard deviations of the noise, of values in [0, 1]


def change_look(view: NDArray, key: str) -> NDArray:
    """A view as another camera or survey might show it, of the same shape and type.

    Each of four changes is made to half of the views: of colour (a factor for each channel, or all of them
    grey), of the stretch (a power), of sharpness (a Gaussian blur), of the noise.

    Args:
        view: Pixels, (height, width, channels), uint8 or float32 in [0, 1].
        key: Decides what is changed, and how: the same key changes the same.

    Example:
        >>> change_look(np.full((8, 8, 3), 90, np.uint8), "warp|0|1|J1").shape
        (8, 8, 3)
    """
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    draws = np.random.default_rng(int.from_bytes(digest, "little"))
    recolour, restretch, blur, add_noise = draws.random(4) < _CHANCE
    pixels = view.astype(np.float32) / np.float32(255) if view.dtype == np.uint8 else view
    if recolour:
        pixels = _recoloured(pixels, draws)
    if restretch:
        pixels = np.clip(pixels, 0, 1) ** np.float32(np.exp(draws.uniform(-_GAMMA, _GAMMA)))
    if blur:
        sigma = draws.uniform(*_BLUR_PIX) * view.shape[0] / 128
        planes = [cv2.GaussianBlur(plane, (0, 0), sigma) for plane in np.moveaxis(pixels, -1, 0).copy()]
        pixels = np.stack(planes, axis=-1)
    if add_noise:
        is_grey = bool((pixels == pixels[..., :1]).all())  # one plane that stands for several
        shape = (*pixels.shape[:2], 1 if is_grey else pixels.shape[2])
        scatter = np.float32(draws.uniform(*_NOISE))
        pixels = pixels + scatter * draws.standard_normal(shape, dtype=np.float32)
    pixels = np.clip(pixels, 0, 1)
    return np.rint(pixels * 255).astype(np.uint8) if view.dtype == np.uint8 else pixels


def _recoloured(pixels: NDArray, draws: np.random.Generator) -> NDArray:
    channels = pixels.shape[2]
    if draws.random() < _GREY_CHANCE:
        return np.repeat(pixels.mean(axis=2, keepdims=True), channels, axis=2)
    return pixels * np.exp(draws.normal(0, _GAIN, channels)).astype(np.float32)
