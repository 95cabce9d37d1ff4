"""Physical pixel values (FITS, floating-point TIFF) to [0, 1]: limits, stretches and missing pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoobot.shared.errors import ImageError

if TYPE_CHECKING:
    from zoobot.shared.preprocessing import Preprocessing


def to_unit_range(values: NDArray, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Pixels in [0, 1], stretched as `preprocessing` says, with missing pixels refused or filled.

    All planes share one pair of limits, so that the colour of a galaxy survives. A constant image, where no
    limits are given, becomes 0 everywhere.

    Args:
        values: Physical values, (height, width, planes), any real dtype, NaN or infinite where missing.
        preprocessing: Its stretch, limits or percentiles, softness, NaN policy and fill value.

    Returns:
        Pixels, (height, width, planes), float32 in [0, 1].

    Raises:
        ImageError: If a pixel is not finite and the policy is "error"; if no pixel is finite; if a value
            lies outside [0, 1] and the stretch is "none"; if the Lupton stretch gets other than 3 planes.

    Example:
        >>> from zoobot.shared.preprocessing import Preprocessing
        >>> record = Preprocessing(stretch="linear", limits=(0, 200))
        >>> to_unit_range(np.array([[[50.0], [300.0]]]), record).ravel().tolist()
        [0.25, 1.0]
    """
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    missing = values.size - int(np.count_nonzero(finite))
    if missing == values.size:
        raise ImageError(f"not one of its {values.size:,} pixels is finite")
    if missing and preprocessing.nan_policy == "error":
        raise ImageError(
            f"{missing:,} of {values.size:,} pixels ({missing / values.size:.2%}) are NaN or infinite; "
            "nan_policy='fill' sets such pixels to fill_value"
        )
    limits = find_limits(values[finite] if missing else values, preprocessing)
    if missing:
        values = np.where(finite, values, limits[0])
    pixels = _stretch(values, limits, preprocessing)
    if missing:
        pixels[~finite] = preprocessing.fill_value
    return pixels


# Brighter than the upper limit by so much is white, whatever the stretch; beyond, sums of bands overflow.
_BRIGHTEST = 1e100


def find_limits(finite_values: NDArray, preprocessing: Preprocessing) -> tuple[float, float]:
    """The values that map to 0 and 1: the limits given, or percentiles of this image.

    Where the two percentiles coincide (a faint source on an empty frame), minimum and maximum stand in.

    Args:
        finite_values: The finite pixels of one image, any shape, at least one.
        preprocessing: Its stretch, limits and percentiles.

    Returns:
        Lower and upper limit, in the unit of the pixels; equal where the image is constant.

    Example:
        >>> from zoobot.shared.preprocessing import Preprocessing
        >>> find_limits(np.arange(101.0), Preprocessing(percentiles=(1, 99)))
        (1.0, 99.0)
    """
    if preprocessing.stretch == "none":
        return 0.0, 1.0
    if preprocessing.limits is not None:
        return float(preprocessing.limits[0]), float(preprocessing.limits[1])
    low, high = np.percentile(finite_values, preprocessing.percentiles)
    if low == high:
        low, high = finite_values.min(), finite_values.max()
    return float(low), float(high)


def stretch_linear(values: NDArray, limits: tuple[float, float]) -> NDArray[np.float32]:
    """Values between the limits as [0, 1], in proportion; values beyond are clipped.

    Args:
        values: Finite values, any shape.
        limits: The values that map to 0 and 1; equal limits map everything to 0.

    Returns:
        float32 in [0, 1], the same shape.

    Example:
        >>> stretch_linear(np.array([-1.0, 1.0, 9.0]), (0.0, 4.0)).tolist()
        [0.0, 0.25, 1.0]
    """
    return np.clip(_normalise(values, limits), 0, 1).astype(np.float32)


def stretch_asinh(values: NDArray, limits: tuple[float, float], softness: float) -> NDArray[np.float32]:
    """Values as [0, 1], linear near the lower limit and logarithmic near the upper.

    Args:
        values: Finite values, any shape.
        limits: The values that map to 0 and 1; values beyond are clipped.
        softness: Where linear turns into logarithmic, as a fraction of the range between the limits.

    Returns:
        float32 in [0, 1], the same shape.

    Example:
        >>> stretch_asinh(np.array([0.0, 0.1, 1.0]), (0.0, 1.0), softness=0.1).round(2).tolist()
        [0.0, 0.28999999165534973, 1.0]
    """
    return np.arcsinh(stretch_linear(values, limits) / np.float32(softness)) / np.float32(
        math.asinh(1 / softness)
    )


def stretch_lupton(values: NDArray, limits: tuple[float, float], softness: float) -> NDArray[np.float32]:
    """Three bands as a colour picture whose hue does not depend on brightness.

    The mean of the bands takes the asinh stretch and each band keeps its ratio to that mean; a pixel in which
    one band would exceed 1 is dimmed as a whole.

    Args:
        values: Finite values, (height, width, 3), in the order red, green, blue.
        limits: The values that map to 0 and 1.
        softness: As for `stretch_asinh`.

    Returns:
        float32 in [0, 1], (height, width, 3).

    Raises:
        ImageError: If there are not three planes.

    References:
        Lupton et al. 2004, PASP 116, 133.

    Example:
        >>> picture = stretch_lupton(np.array([[[0.2, 0.1, 0.1]]]), (0.0, 1.0), softness=0.1)
        >>> float(picture[0, 0, 0] / picture[0, 0, 1])
        2.0
    """
    if values.shape[-1] != 3:
        msg = f"stretch 'lupton' needs 3 planes (red, green, blue), got {values.shape[-1]}; choose with bands"
        raise ImageError(msg)
    bands = np.maximum(_normalise(values, limits), 0)
    intensity = bands.mean(axis=-1, keepdims=True)
    stretched = np.arcsinh(intensity / softness) / math.asinh(1 / softness)
    gain = np.divide(stretched, intensity, out=np.zeros_like(intensity), where=intensity > 0)
    picture = bands * gain
    brightest = np.maximum(picture.max(axis=-1, keepdims=True), 1)
    return np.clip(picture / brightest, 0, 1).astype(np.float32)


def _stretch(values: NDArray, limits: tuple[float, float], record: Preprocessing) -> NDArray[np.float32]:
    if record.stretch == "none":
        _require_unit_range(values)
        return values.astype(np.float32)
    if record.stretch == "linear":
        return stretch_linear(values, limits)
    if record.stretch == "asinh":
        return stretch_asinh(values, limits, record.asinh_softness)
    return stretch_lupton(values, limits, record.asinh_softness)


def _require_unit_range(values: NDArray) -> None:
    low, high = values.min(), values.max()
    if low < 0 or high > 1:
        raise ImageError(
            f"stretch 'none' needs values in [0, 1], got {low:.6g} to {high:.6g}; "
            "choose stretch 'linear', 'asinh' or 'lupton'"
        )


def _normalise(values: NDArray, limits: tuple[float, float]) -> NDArray[np.float64]:
    low, high = limits
    values = np.asarray(values, dtype=np.float64)
    if low == high:
        return np.zeros_like(values)
    # Halved, so that limits at both ends of the float64 range do not overflow.
    span = high / 2 - low / 2
    if span == 0:  # the least step there is: nothing lies between
        return (values > low).astype(np.float64)
    with np.errstate(over="ignore"):
        return np.minimum((values / 2 - low / 2) / span, _BRIGHTEST)
