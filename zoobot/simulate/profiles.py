"""Light profiles on a grid of pixels: Sérsic bodies, logarithmic spirals, bars, rings, disks from the side.

Lengths are in effective radii of the galaxy; maps are float32, and not normalised unless said.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

# Colours of stellar populations and of dust, in three bands from blue to red.

ZERO_POINT = 22.5
"""Magnitude of one nanomaggy, the unit of every flux here."""

DUST_OPACITY = np.array([1.25, 1.0, 0.65], dtype=np.float32)
"""How strongly dust absorbs in each band, relative to the middle one."""

_OLD_COLOUR = np.array([0.82, 0.0, -0.66], dtype=np.float32)
_YOUNG_COLOUR = np.array([0.16, 0.0, -0.08], dtype=np.float32)


def flux_of(magnitude: float) -> float:
    """The flux of a magnitude, in nanomaggies.

    Example:
        >>> flux_of(20.0)
        10.0
    """
    return float(10 ** (-0.4 * (magnitude - ZERO_POINT)))


def colour_of(youth: float) -> np.ndarray:
    """The flux in each of three bands, bluest first, over that in the middle one, for a stellar population.

    Args:
        youth: 0 is an old, red population, 1 a young, blue one.
    """
    magnitudes = _OLD_COLOUR + np.float32(youth) * (_YOUNG_COLOUR - _OLD_COLOUR)
    return np.power(np.float32(10), np.float32(-0.4) * magnitudes)


DISK_SCALE = 1.678
"""Half-light radius of an exponential disk over its scale length."""

_OVERSAMPLING = 8  # even, so that no point falls on the cusp itself, in frames of even or odd size
_CORE_PIX = 9
_TEXTURE_SIZE = 256


@dataclass(frozen=True)
class Plane:
    """Coordinates of every pixel in a galaxy's own frame: u along the major axis, v along the minor.

    Args:
        u: Effective radii, (height, width).
        v: Effective radii, (height, width).
        pixel: Size of a pixel in effective radii.
    """

    u: np.ndarray
    v: np.ndarray
    pixel: float

    @classmethod
    def of_frame(
        cls, size_pix: int, pixel: float, angle_deg: float, centre: tuple[float, float] = (0, 0)
    ) -> Plane:
        """The plane of a galaxy in a square frame.

        Args:
            size_pix: Side of the frame.
            pixel: Size of a pixel in effective radii.
            angle_deg: Direction of the major axis, from right to down.
            centre: Right and down offset of the galaxy from the frame's centre, in effective radii.
        """
        axis = (np.arange(size_pix, dtype=np.float32) - (size_pix - 1) / 2) * np.float32(pixel)
        x, y = axis[None, :] - np.float32(centre[0]), axis[:, None] - np.float32(centre[1])
        cos, sin = (
            np.float32(math.cos(math.radians(angle_deg))),
            np.float32(math.sin(math.radians(angle_deg))),
        )
        return cls(x * cos + y * sin, y * cos - x * sin, pixel)


def sersic(
    plane: Plane, *, index: float, radius: float = 1.0, axis_ratio: float = 1.0, boxiness: float = 2.0
) -> np.ndarray:
    """A Sérsic profile, (height, width): each pixel's share of the light, the core averaged over each pixel.

    Args:
        plane: Where the pixels are.
        index: Sérsic index n; 1 is exponential, 4 de Vaucouleurs.
        radius: Half-light radius along the major axis.
        axis_ratio: Minor over major axis.
        boxiness: Exponent of the isophotes; 2 is an ellipse.

    References:
        Sérsic (1963); half-light constant from Ciotti & Bertin (1999), A&A 352, 447.

    Example:
        >>> plane = Plane.of_frame(64, pixel=0.1, angle_deg=0)
        >>> bool(abs(sersic(plane, index=4).sum() - 1) < 1e-4)
        True
    """
    half_light = 2 * index - 1 / 3 + 4 / (405 * index) + 46 / (25515 * index**2)

    def brightness(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        v = v / np.float32(axis_ratio)
        if boxiness == 2:
            log_radius = 0.5 * np.log(u * u + v * v + np.float32(1e-9))
        else:
            powers = np.abs(u) ** np.float32(boxiness) + np.abs(v) ** np.float32(boxiness)
            log_radius = np.log(powers + np.float32(1e-9)) / np.float32(boxiness)
        return np.exp(
            -np.float32(half_light) * np.exp((log_radius - np.float32(math.log(radius))) / np.float32(index))
        )

    light = brightness(plane.u, plane.v)
    _average_core(light, plane, brightness)
    return light / light.sum()


def _average_core(light: np.ndarray, plane: Plane, brightness: object) -> None:
    """Replace the central pixels, where the profile bends inside a pixel, by their mean over finer points."""
    row, column = divmod(int(np.argmin(plane.u**2 + plane.v**2)), light.shape[1])
    low_row, low_column = max(0, row - _CORE_PIX // 2), max(0, column - _CORE_PIX // 2)
    core = np.s_[low_row : low_row + _CORE_PIX, low_column : low_column + _CORE_PIX]
    steps = ((np.arange(_OVERSAMPLING, dtype=np.float32) + 0.5) / _OVERSAMPLING - 0.5).astype(np.float32)
    # The plane is the pixel grid turned: a step right moves (u, v) by (right_u, right_v), down likewise.
    row, column = min(row, light.shape[0] - 2), min(column, light.shape[1] - 2)
    right_u, right_v = (grid[row, column + 1] - grid[row, column] for grid in (plane.u, plane.v))
    down_u, down_v = (grid[row + 1, column] - grid[row, column] for grid in (plane.u, plane.v))
    shift_u = steps[None, :] * right_u + steps[:, None] * down_u
    shift_v = steps[None, :] * right_v + steps[:, None] * down_v
    fine = brightness(plane.u[core][..., None, None] + shift_u, plane.v[core][..., None, None] + shift_v)  # type: ignore[operator]
    light[core] = fine.mean(axis=(2, 3))


def spiral_phase(
    radius: np.ndarray, angle: np.ndarray, *, pitch_angle_deg: float, chirality: int
) -> np.ndarray:
    """The angle from the crest of a one-armed logarithmic spiral that passes (1, 0), in radians.

    Args:
        radius: Distance from the centre, in the disk's plane.
        angle: Azimuth in the disk's plane, radians.
        pitch_angle_deg: Angle between arm and circle, in (0, 90).
        chirality: +1 or −1.
    """
    turns = np.log(radius + np.float32(1e-3)) * np.float32(1 / math.tan(math.radians(pitch_angle_deg)))
    return angle - np.float32(chirality) * turns


def luminous_arms(phase: np.ndarray, arms: int, *, width: float) -> np.ndarray:
    """The brightness across the arms: 1 on the crest, falling smoothly between.

    Args:
        phase: From `spiral_phase`.
        arms: How many.
        width: Share of the space between arms that is bright, in (0, 1).
    """
    sharpness = np.float32(0.12 / width**2)
    return np.exp(sharpness * (np.cos(np.float32(arms) * phase) - 1))


def patches(across: np.ndarray, along: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Smooth random patches, mean 0 and standard deviation 1, looked up in one fixed periodic texture.

    Args:
        across: One coordinate of each pixel, in patch lengths.
        along: The other.
        offset: Two numbers in [0, 1) that make the patches differ between galaxies.
    """
    scale = np.float32(4)  # the texture's own correlation length, in its pixels
    column = np.mod(across * scale + np.float32(offset[0] * _TEXTURE_SIZE), np.float32(_TEXTURE_SIZE))
    row = np.mod(along * scale + np.float32(offset[1] * _TEXTURE_SIZE), np.float32(_TEXTURE_SIZE))
    return cv2.remap(_texture(), column, row, cv2.INTER_LINEAR)


@functools.lru_cache(maxsize=1)
def _texture() -> np.ndarray:
    """A periodic random field with patches of several sizes, one row and column wrapped for interpolation."""
    size = _TEXTURE_SIZE
    noise = np.fft.rfft2(np.random.default_rng(1).standard_normal((size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    field = np.fft.irfft2(
        noise * (np.exp(-((frequency / 0.06) ** 2)) + 0.35 * np.exp(-((frequency / 0.15) ** 2)))
    )
    field = (field - field.mean()) / field.std()
    return np.pad(field, (0, 1), mode="wrap").astype(np.float32)


def bar(
    u: np.ndarray, v: np.ndarray, *, half_length: float, angle_deg: float, axis_ratio: float = 0.28
) -> np.ndarray:
    """A bar with a flat, boxy plateau and soft ends, peak about one.

    Args:
        u: Coordinates in the disk's plane, seen face-on.
        v: Likewise.
        half_length: From the centre to an end.
        angle_deg: Direction within the disk.
        axis_ratio: Width over length.
    """
    cos, sin = np.float32(math.cos(math.radians(angle_deg))), np.float32(math.sin(math.radians(angle_deg)))
    along = np.abs(u * cos + v * sin) / np.float32(half_length)
    across = np.abs(v * cos - u * sin) / np.float32(half_length * axis_ratio)
    square = along * along
    return np.exp(-np.float32(0.9) * square * square * square - np.float32(0.5) * along - across * across)


def ring(radius: np.ndarray, *, ring_radius: float, width: float) -> np.ndarray:
    """A ring: 1 on the crest, a Gaussian across.

    Args:
        radius: Distance from the centre, in the disk's plane.
        ring_radius: Of the crest.
        width: Standard deviation across.
    """
    distance = (radius - np.float32(ring_radius)) / np.float32(width)
    return np.exp(np.float32(-0.5) * distance * distance)


def smooth_step(values: np.ndarray, start: float, steepness: float = 9) -> np.ndarray:
    """A smooth step: 0 well below `start`, 1 well above.

    Args:
        values: Anything.
        start: Where the step is half done.
        steepness: Inverse of its width.
    """
    exponent = np.minimum((np.float32(start) - values) * np.float32(steepness), np.float32(60))
    return 1 / (1 + np.exp(exponent))


def edge_on_disk(plane: Plane, *, thickness: float) -> np.ndarray:
    """An exponential disk seen exactly from the side, (height, width): each pixel's share of its light.

    Args:
        plane: Where the pixels are.
        thickness: Scale height over scale length.

    References:
        Vertical sech² law of van der Kruit & Searle (1981), A&A 95, 105.
    """
    length = 1 / DISK_SCALE
    height = length * thickness * 1.6
    along = np.abs(plane.u) / np.float32(length)
    # The line of sight through an exponential disk is longest at the centre: a softened exponential,
    # cut off smoothly where stellar disks end.
    radial = np.exp(-np.sqrt(along * along + np.float32(0.35))) / (
        1 + np.exp(np.minimum((along - np.float32(4.2)) * 4, 60))
    )
    up = np.minimum(np.abs(plane.v) / np.float32(height), np.float32(40))
    light = radial / np.cosh(up) ** 2
    return light / light.sum()
