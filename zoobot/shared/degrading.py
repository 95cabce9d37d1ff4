"""Pixels made worse: noisier, blurrier, farther away, compressed harder; the same whenever they are read."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

if TYPE_CHECKING:
    from zoobot.shared.pixels.degraded import Degradation

_GREY_LEVEL = 1 / 255
"""A sky that scatters less, such as one cut off at black, counts as scattering by this much."""

_BORDER = 0.08
"""The sky is looked for in a frame of this part of the shorter side along the edges."""

_HALF_ABOVE = 69.146
"""So many per cent of normal numbers lie below half a standard deviation above the mean."""

_WHITE = 0.05
"""Neighbours in noise that are less correlated are taken for independent."""

_FWHM = 2 * math.sqrt(2 * math.log(2))
_MATTER = 0.3


class Sky(NamedTuple):
    """The background of an image, from its edges.

    Attributes:
        level: Median of each channel, in [0, 1], (channels,).
        scatter: Standard deviation of each channel, (channels,): from what lies just above the median, for
            pictures cut the sky off at black below it, and neighbours lie far above.
    """

    level: NDArray[np.float32]
    scatter: NDArray[np.float32]

    @classmethod
    def of(cls, image: NDArray) -> Sky:
        """That of pixels in [0, 1], (height, width, channels)."""
        middle, above = np.percentile(image[_edge(image)], [50, _HALF_ABOVE], axis=0).astype(np.float32)
        return cls(middle, 2 * (above - middle))

    def grain(self, image: NDArray) -> float:
        """The correlation of neighbours in its noise, in [0, 0.9]: resampling and JPEG leave none white.

        Args:
            image: The pixels that it was found in.
        """
        away = image - self.level
        known = _edge(image) & (np.abs(away) <= 3 * self.scatter).all(axis=-1)  # no stars, no galaxies
        there = known[:, 1:] & known[:, :-1]
        left, right = away[:, :-1][there], away[:, 1:][there]
        alike = float((left * right).mean()) if there.any() else 0.0
        total = float(np.square(away[known]).mean()) if there.any() else 0.0
        return min(max(alike / total, 0.0), 0.9) if total > 0 else 0.0


def _edge(image: NDArray) -> NDArray[np.bool_]:
    width = max(1, round(_BORDER * min(image.shape[:2])))
    edge = np.ones(image.shape[:2], dtype=bool)
    edge[width:-width, width:-width] = False
    return edge


def degrade(image: NDArray, how: Degradation, galaxy_id: str) -> NDArray:
    """An image made worse, of the same shape and type; turning is left to the warp (`augment.draw_warp`).

    Args:
        image: Pixels of the whole frame, (height, width, channels), uint8 or float32 in [0, 1].
        how: The kind and the step.
        galaxy_id: With the record's seed, it decides the noise.

    Example:
        >>> from zoobot.shared.pixels.degraded import Degradation
        >>> sky = np.full((32, 32, 3), 20, np.uint8)
        >>> degrade(sky, Degradation(kind="psf", step=4), "J1").shape
        (32, 32, 3)
    """
    if how.kind == "rotation":
        return image
    if how.kind == "jpeg":
        return _in_type(_compressed(_in_type(image, np.dtype(np.uint8)), round(how.step)), image.dtype)
    pixels = _in_type(image, np.dtype(np.float32))
    sky = Sky.of(pixels)
    is_grey = bool((pixels == pixels[..., :1]).all())  # one plane that stands for several: so does its noise
    shape = (*pixels.shape[:2], 1 if is_grey else pixels.shape[-1])
    noise = _noise(shape, how.seed, galaxy_id, sky.grain(pixels))
    if how.kind == "noise":
        wanted = np.maximum(sky.scatter, _GREY_LEVEL) * how.step
        worse = pixels + noise * _missing(wanted, sky.scatter)
    elif how.kind == "psf":
        blurred = _blurred(pixels, how.step / _FWHM)
        worse = blurred + noise * _missing(sky.scatter, Sky.of(blurred).scatter)
    else:
        worse = _moved_away(pixels, sky, noise, how.own_redshift, how.step)
    return _in_type(np.clip(worse, 0, 1), image.dtype)


def _missing(wanted: NDArray, there: NDArray) -> NDArray[np.float32]:
    """The scatter that makes up for what noise lacks."""
    lacking: NDArray[np.float32] = np.sqrt(np.maximum(np.square(wanted) - np.square(there), 0))
    return lacking


def _noise(shape: tuple[int, ...], seed: int, galaxy_id: str, grain: float) -> NDArray[np.float32]:
    """Normal numbers of a seed and a galaxy: the same for all steps, which then differ by the step alone.

    They are as coarse as the sky's own: white noise would be averaged away where a view shrinks the image.
    """
    key = f"degrade|{seed}|{galaxy_id}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
    noise = np.random.default_rng(number).standard_normal(shape, dtype=np.float32)
    if grain < _WHITE:
        return noise
    # of white noise under a Gaussian of this width, neighbours are so correlated
    coarse = _blurred(noise, math.sqrt(-1 / (4 * math.log(grain))))
    return coarse / coarse.std()


def _blurred(pixels: NDArray, sigma: float) -> NDArray:
    planes = [
        cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        for plane in map(np.ascontiguousarray, np.moveaxis(pixels, -1, 0))
    ]
    return np.stack(planes, axis=-1)


def _moved_away(pixels: NDArray, sky: Sky, noise: NDArray, own: float, redshift: float) -> NDArray:
    """The frame smaller and its light above the sky fainter, in the middle of a sky as noisy as it was."""
    dimming = ((1 + own) / (1 + redshift)) ** 4
    height, width = pixels.shape[:2]
    sides = [_shrunk_side(side, angular_size_ratio(own, redshift)) for side in (height, width)]
    planes = [
        cv2.resize(plane, sides[::-1], interpolation=cv2.INTER_AREA)
        for plane in map(np.ascontiguousarray, np.moveaxis(pixels, -1, 0))
    ]
    small = sky.level + (np.stack(planes, axis=-1) - sky.level) * np.float32(dimming)
    top, left = (height - sides[0]) // 2, (width - sides[1]) // 2
    inside = (slice(top, top + sides[0]), slice(left, left + sides[1]))
    far = sky.level + noise * sky.scatter
    far[inside] = small + noise[inside] * _missing(sky.scatter, Sky.of(small).scatter)
    return far


def _shrunk_side(side: int, ratio: float) -> int:
    """So many pixels, by an even number fewer, so that the middle stays the middle."""
    return max(1, min(side, side - 2 * round((side - side * ratio) / 2)))


def angular_size_ratio(own: float, redshift: float) -> float:
    """How large a galaxy of redshift `own` looks at another, as a part of now; flat universe, matter 0.3.

    Example:
        >>> round(angular_size_ratio(0.05, 0.1), 2)
        0.53
    """
    return _angular_distance(own) / _angular_distance(redshift)


def _angular_distance(redshift: float) -> float:
    """In units that cancel in ratios."""
    z = np.linspace(0, redshift, 513)
    steps = 1 / np.sqrt(_MATTER * (1 + z) ** 3 + 1 - _MATTER)
    return float(np.trapezoid(steps, z)) / (1 + redshift)


def _compressed(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """What a JPEG file keeps; channels that are no colour image are one file each."""
    if pixels.shape[-1] == 3:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "420")
        return simplejpeg.decode_jpeg(data, "RGB")
    planes = [np.ascontiguousarray(pixels[..., k : k + 1]) for k in range(pixels.shape[-1])]
    kept = [simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(p, quality, "GRAY"), "GRAY") for p in planes]
    return np.concatenate(kept, axis=-1)


def _in_type(image: NDArray, dtype: np.dtype) -> NDArray:
    """8-bit pixels as float32 in [0, 1] or the other way round."""
    if image.dtype == dtype:
        return image
    if dtype == np.uint8:
        return np.rint(image * 255).astype(np.uint8)
    return image.astype(np.float32) / np.float32(255)
