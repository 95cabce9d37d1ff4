"""One affine warp for each galaxy, drawn from (seed, epoch, id) and applied in a single interpolation.

It is rotation, flip, zoom, shift, crop and resize in one, with what antialiasing the shrinking needs.
"""

from __future__ import annotations

import hashlib
import math
import struct
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from zoobot.shared import defaults
from zoobot.shared.degrading import degrade
from zoobot.shared.errors import ConfigError
from zoobot.shared.looks import change_look

if TYPE_CHECKING:
    from zoobot.shared.preprocessing import Preprocessing

__all__ = ["Augmentation", "apply_warp", "borrow", "draw_erasure", "draw_warp", "make_view"]

_ERASED_AREA = (0.02, 0.2)
_ERASED_ASPECT = (0.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training views differ from the plain view; evaluation and prediction never use one.

    A galaxy has no preferred orientation, so any angle and either handedness are equally likely; it sits at
    the centre of its cutout, so zoom and shift stay small. Turn `flip` off where labels depend on handedness
    (clockwise or anticlockwise spirals).

    Args:
        rotate: Turn by an angle uniform in [0, 360) degrees.
        flip: Mirror half of the views. With `rotate` this reaches every orientation; without, the mirror
            axis is vertical or horizontal, each flipped for half of the views.
        zoom: Smallest and largest magnification, drawn uniformly in the logarithm; above 1 the galaxy grows.
        shift: Largest displacement along each axis, as a fraction of the side of the output.
        erase_probability: Share of the views in which one rectangle of 2 to 20 % of the area is set to the
            fill value (Zhong et al. 2020, random erasing).
        look_probability: Share of the views that look as if another camera or survey had taken them: other
            colours, or grey, another stretch, more blur, more noise (`zoobot.shared.looks`). For models that
            are to be used on other images than those they learn from.

    Raises:
        ConfigError: If a value can't work.

    Example:
        >>> Augmentation(zoom=(0.9, 1.1)).to_config()["zoom"]
        [0.9, 1.1]
    """

    rotate: bool = True
    flip: bool = True
    zoom: tuple[float, float] = defaults.ZOOM
    shift: float = defaults.SHIFT
    erase_probability: float = 0.0
    look_probability: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rotate", "flip"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be True or False, got {getattr(self, name)!r}")
        self._check_zoom()
        for name, highest in (("shift", 0.5), ("erase_probability", 1.0), ("look_probability", 1.0)):
            value = getattr(self, name)
            if not (_is_number(value) and 0 <= value <= highest):
                raise ConfigError(f"{name} must lie in [0, {highest:g}], got {value!r}")

    def _check_zoom(self) -> None:
        numbers = tuple(self.zoom) if isinstance(self.zoom, (tuple, list)) else ()
        if len(numbers) != 2 or not all(_is_number(n) for n in numbers) or not 0 < numbers[0] <= numbers[1]:
            msg = f"zoom must be two positive numbers that do not fall, as (1.0, 1.2), got {self.zoom!r}"
            raise ConfigError(msg)
        object.__setattr__(self, "zoom", numbers)

    @classmethod
    def none(cls) -> Augmentation:
        """The augmentation that changes nothing: every view is the one of evaluation."""
        return cls(rotate=False, flip=False, zoom=(1.0, 1.0), shift=0.0)

    def to_config(self) -> dict[str, Any]:
        """The options as JSON-ready values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Augmentation:
        """The augmentation back from `to_config`.

        Raises:
            ConfigError: If a name is unknown or a value can't work.
        """
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(config) - set(known))
        if unknown:
            raise ConfigError(f"unknown augmentation option {unknown}; the options are {known}")
        return cls(**config)


def draw_warp(
    augmentation: Augmentation | None,
    preprocessing: Preprocessing,
    image_shape: tuple[int, ...],
    *,
    seed: int,
    epoch: int,
    galaxy_id: str,
) -> NDArray[np.float64]:
    """The affine matrix from a pixel of the network's input to a place in the image.

    Crop, resize and every random change are in this one matrix, so that pixels are interpolated once. The
    same arguments give the same matrix on every machine.

    Args:
        augmentation: What to draw; None gives the view of evaluation (centre crop, resize).
        preprocessing: Its crop_fraction and image_size_pix apply.
        image_shape: Shape of the image, (height, width, ...), in pixels.
        seed: Seed of the run.
        epoch: Number of the epoch: another epoch draws another view.
        galaxy_id: Id of the galaxy.

    Returns:
        (2, 3) matrix that takes (x, y, 1) in the output to (x, y) in the image, in pixels; whole numbers are
        pixel centres.

    Example:
        >>> from zoobot.shared.preprocessing import Preprocessing
        >>> record = Preprocessing(image_size_pix=100)
        >>> draw_warp(None, record, (200, 200), seed=0, epoch=0, galaxy_id="J1")
        array([[2. , 0. , 0.5],
               [0. , 2. , 0.5]])
    """
    height, width = image_shape[:2]
    size_pix = preprocessing.image_size_pix
    scale = preprocessing.crop_fraction * min(height, width) / size_pix
    linear, shift_x, shift_y = (1.0, 0.0, 0.0, 1.0), 0.0, 0.0
    if augmentation is not None:
        draws = _uniform_draws("warp", seed, epoch, galaxy_id)
        linear, zoom = _draw_linear(augmentation, draws)
        scale /= zoom
        reach = augmentation.shift * size_pix
        shift_x, shift_y = reach * (2 * next(draws) - 1), reach * (2 * next(draws) - 1)
    if preprocessing.degraded is not None and preprocessing.degraded.angle:
        linear = _turn_further(linear, preprocessing.degraded.angle)
    xx, xy, yx, yy = (scale * number for number in linear)
    x, y = (size_pix - 1) / 2 + shift_x, (size_pix - 1) / 2 + shift_y
    return np.array(
        [[xx, xy, (width - 1) / 2 - xx * x - xy * y], [yx, yy, (height - 1) / 2 - yx * x - yy * y]]
    )


def draw_erasure(
    augmentation: Augmentation | None, size_pix: int, *, seed: int, epoch: int, galaxy_id: str
) -> tuple[slice, slice] | None:
    """The rectangle of the output to erase, or None where this view keeps everything.

    Args:
        augmentation: Its erase_probability applies.
        size_pix: Side of the output, in pixels.
        seed: Seed of the run.
        epoch: Number of the epoch.
        galaxy_id: Id of the galaxy.

    Returns:
        Rows and columns to erase, half-open and within the output.
    """
    if augmentation is None or augmentation.erase_probability == 0:
        return None
    draws = _uniform_draws("erase", seed, epoch, galaxy_id)
    if next(draws) >= augmentation.erase_probability:
        return None
    area = _between(_ERASED_AREA, next(draws)) * size_pix**2
    aspect = math.exp(_between((math.log(_ERASED_ASPECT[0]), math.log(_ERASED_ASPECT[1])), next(draws)))
    sides = [min(size_pix, max(1, round(math.sqrt(area * a)))) for a in (aspect, 1 / aspect)]
    starts = [int(next(draws) * (size_pix - side + 1)) for side in sides]
    return slice(starts[0], starts[0] + sides[0]), slice(starts[1], starts[1] + sides[1])


def make_view(
    image: NDArray,
    preprocessing: Preprocessing,
    augmentation: Augmentation | None = None,
    *,
    seed: int = 0,
    epoch: int = 0,
    galaxy_id: str = "",
    frame: tuple[int, int] | None = None,
    out: NDArray | None = None,
) -> NDArray:
    """The network's input for one image: cropped, resized and, in training, augmented, in one resample.

    Args:
        image: Pixels, (height, width, channels), uint8 or float32 in [0, 1].
        preprocessing: Its image_size_pix, crop_fraction, fill_value and degraded apply.
        augmentation: None for evaluation and prediction.
        seed: Seed of the run.
        epoch: Number of the epoch.
        galaxy_id: Id of the galaxy.
        frame: (height, width) of the whole image in pixels, where `image` is no more than its central part.
        out: Memory for the view, of its shape; it is used where it has the type of the image.

    Returns:
        (image_size_pix, image_size_pix, channels), the same dtype.

    Example:
        >>> from zoobot.shared.preprocessing import Preprocessing
        >>> make_view(np.zeros((424, 424, 3), np.uint8), Preprocessing(image_size_pix=64)).shape
        (64, 64, 3)
    """
    key: dict[str, Any] = {"seed": seed, "epoch": epoch, "galaxy_id": galaxy_id}
    height, width = frame or image.shape[:2]
    if preprocessing.degraded is not None:
        image = degrade(image, preprocessing.degraded, galaxy_id)
    matrix = draw_warp(augmentation, preprocessing, (height, width), **key)
    if (height, width) != image.shape[:2]:
        matrix[:, 2] -= ((width - image.shape[1]) // 2, (height - image.shape[0]) // 2)
    view = apply_warp(image, matrix, preprocessing.image_size_pix, preprocessing.fill_value, out=out)
    chance = 0.0 if augmentation is None else augmentation.look_probability
    if chance and next(_uniform_draws("look", seed, epoch, galaxy_id)) < chance:
        view[...] = change_look(view, f"look|{seed}|{epoch}|{galaxy_id}")  # in the memory lent for it
    erasure = draw_erasure(augmentation, preprocessing.image_size_pix, **key)
    if erasure is not None:
        is_8_bit = view.dtype == np.uint8
        view[erasure] = round(255 * preprocessing.fill_value) if is_8_bit else preprocessing.fill_value
    return view


def _draw_linear(
    augmentation: Augmentation, draws: Iterator[float]
) -> tuple[tuple[float, float, float, float], float]:
    """Rotation with reflection, by rows, and the zoom; always four draws, so that no option moves another."""
    turn, mirror, mirror_other, magnify = (next(draws) for _ in range(4))
    angle = 2 * math.pi * turn if augmentation.rotate else 0.0
    cos, sin = math.cos(angle), math.sin(angle)
    flip_x = -1.0 if augmentation.flip and mirror >= 0.5 else 1.0
    flip_y = -1.0 if augmentation.flip and mirror_other >= 0.5 else 1.0
    low, high = augmentation.zoom
    zoom = math.exp(_between((math.log(low), math.log(high)), magnify))
    return (cos * flip_x, -sin * flip_y, sin * flip_x, cos * flip_y), zoom


def _turn_further(
    linear: tuple[float, float, float, float], angle: float
) -> tuple[float, float, float, float]:
    """The image turned by an angle, in radians, before what `linear`, by rows, does to it."""
    cos, sin = math.cos(angle), math.sin(angle)
    xx, xy, yx, yy = linear
    return cos * xx - sin * yx, cos * xy - sin * yy, sin * xx + cos * yx, sin * xy + cos * yy


def _uniform_draws(purpose: str, seed: int, epoch: int, galaxy_id: str) -> Iterator[float]:
    """Eight numbers uniform in [0, 1), straight from a hash: equal on every machine, version and thread."""
    key = f"{purpose}|{seed}|{epoch}|{galaxy_id}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(key, digest_size=64).digest()
    return ((word >> 11) * 2.0**-53 for word in struct.unpack("<8Q", digest))


def _between(limits: tuple[float, float], fraction: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * fraction


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# Memory that a thread uses again and again, instead of asking the system for it at every image.

_KEPT_BYTES = 2**24
"""Larger arrays are not kept: they are rare, and asking for them costs little beside filling them."""

_kept = threading.local()


def borrow(purpose: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """An array with arbitrary content, whose memory is that of this thread's last array for the same purpose.

    An image's temporary arrays are so large that the C library gives them back to the system when they are
    freed, which then clears the same pages for the next image: that costs more than the work done in them.

    Args:
        purpose: Names the memory. What was borrowed for it before is overwritten.
        shape: Shape of the array.
        dtype: Its type.

    Example:
        >>> borrow("an example", (2, 3), np.uint8).shape
        (2, 3)
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > _KEPT_BYTES:
        return np.empty(shape, dtype)
    memory = getattr(_kept, purpose, None)
    if memory is None or memory.size < size:
        memory = np.empty(size, np.uint8)
        setattr(_kept, purpose, memory)
    return memory[:size].view(dtype).reshape(shape)


_TOGETHER = 3
"""Planes that are warped at once, with a fourth, empty one: OpenCV takes half the time for four planes that
it takes for three, to the same result. What is left goes one by one: OpenCV is less exact with two planes.
"""

_SOFTEN_FROM = 1.4
"""Soften by [1 2 1]/4 before sampling every 1.4 to 2 pixels.

Measured on noisy galaxies, such views are at 53 to 57 dB (PSNR) from an exact antialiased resampling by a
triangle, as encoders meet it in Pillow and torchvision, and at 49 to 53 dB from box averages; unsoftened ones
at 46 to 50 and at 49 to 54 dB. Below 1.4 views are nearer to both without.
"""


def apply_warp(
    image: NDArray, matrix: NDArray, size_pix: int, fill_value: float = 0.0, *, out: NDArray | None = None
) -> NDArray:
    """A square view of an image, interpolated once.

    Where the view shrinks the image, whole blocks of pixels are averaged first (as many as fit into one
    output pixel) and what shrinking is left is softened, so that noise and fine texture do not alias.

    Args:
        image: (height, width, channels), uint8, or float32 in [0, 1].
        matrix: (2, 3), from (x, y, 1) in the view to (x, y) in the image, in pixels; whole numbers are pixel
            centres.
        size_pix: Side of the view, in pixels.
        fill_value: Value in [0, 1] outside the image.
        out: Memory for the view, of its shape; it is used where it has the type of the image.

    Returns:
        (size_pix, size_pix, channels), the same dtype; float32 stays in [0, 1].

    Example:
        >>> half = np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]])
        >>> apply_warp(np.full((8, 8, 1), 200, np.uint8), half, 2).ravel().tolist()
        [200, 200, 200, 200]
    """
    scale = math.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    factor = max(1, int(scale + 1e-9))
    image, matrix = _cut_out(image, matrix, size_pix, margin=3 * factor)
    into_blocks = matrix / factor
    into_blocks[:, 2] += (
        0.5 + 0.5 / factor
    )  # pixel centres are whole numbers; one block lies before the first
    fill = round(255 * fill_value) if image.dtype == np.uint8 else fill_value
    shape = (size_pix, size_pix, image.shape[2])
    view = out if out is not None and out.dtype == image.dtype else np.empty(shape, image.dtype)
    for group in _group_planes(image.shape[2]):
        planes = _shrink_and_soften(np.ascontiguousarray(image[..., group]), factor, scale / factor)
        _warp(planes, into_blocks, fill, out=view[..., group])
    return view if view.dtype == np.uint8 else np.clip(view, 0, 1, out=view)


def _warp(planes: NDArray, matrix: NDArray[np.float64], fill: float, out: NDArray) -> None:
    """Set `out` to one plane or three, (height, width) or (height, width, 3), seen through a matrix."""
    size, room = out.shape[1::-1], None
    three = planes.ndim == 3
    if three:
        four = borrow("four", (*planes.shape[:2], 4), planes.dtype)
        planes = cv2.cvtColor(planes, cv2.COLOR_RGB2RGBA, dst=four)
        room = borrow("view", (*size[::-1], 4), planes.dtype)
    view = cv2.warpAffine(
        planes,
        matrix,
        size,
        dst=room,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill,) * 4,
    )
    if not three:
        out[..., 0] = view
    elif out.flags.c_contiguous:
        cv2.cvtColor(view, cv2.COLOR_RGBA2RGB, dst=out)
    else:
        out[...] = view[..., :3]


def _group_planes(count: int) -> Iterator[slice]:
    start = 0
    while start < count:
        size = _TOGETHER if count - start >= _TOGETHER else 1
        yield slice(start, start + size)
        start += size


def _cut_out(
    image: NDArray, matrix: NDArray, size_pix: int, margin: int
) -> tuple[NDArray, NDArray[np.float64]]:
    """The part of the image that the view needs, with a margin, and the matrix into that part."""
    height, width = image.shape[:2]
    (xx, xy, x0), (yx, yy, y0) = matrix.tolist()  # plain numbers: arrays this small cost more than they save
    left, right = _reach(x0, xx, xy, size_pix, margin, width)
    top, bottom = _reach(y0, yx, yy, size_pix, margin, height)
    return image[top:bottom, left:right], np.array([[xx, xy, x0 - left], [yx, yy, y0 - top]])


def _reach(
    start: float, by_x: float, by_y: float, size_pix: int, margin: int, length: int
) -> tuple[int, int]:
    """Half-open range of rows or columns of the image, at least one, that a view touches."""
    middle = start + (by_x + by_y) * (size_pix - 1) / 2
    half = (abs(by_x) + abs(by_y)) * size_pix / 2
    first = min(max(math.floor(middle - half) - margin, 0), length - 1)
    return first, min(max(math.ceil(middle + half) + margin + 1, first + 1), length)


def _shrink_and_soften(planes: NDArray, factor: int, scale_left: float) -> NDArray:
    """Averages of `factor` × `factor` pixels, in borrowed memory, with the edge repeated outwards by one.

    The outermost half pixel of the frame is data, too, and must not fade into the fill value.
    """
    height, width, *rest = planes.shape
    if rest == [1]:
        planes, rest = planes[..., 0], []
    down, right = factor + -height % factor, factor + -width % factor
    shape = (factor + height + down, factor + width + right, *rest)
    # First of all, for this pass reads memory in order: the others need theirs near at hand.
    room = borrow("bordered", shape, planes.dtype)
    planes = cv2.copyMakeBorder(planes, factor, down, factor, right, cv2.BORDER_REPLICATE, dst=room)
    if factor > 1:
        shape = (shape[0] // factor, shape[1] // factor, *rest)
        room = borrow("shrunk", shape, planes.dtype)
        planes = cv2.resize(planes, shape[1::-1], interpolation=cv2.INTER_AREA, dst=room)
    if scale_left > _SOFTEN_FROM:
        room = borrow("softened", shape, planes.dtype)
        planes = cv2.GaussianBlur(planes, (3, 3), 0, dst=room)  # OpenCV's way to say [1 2 1]/4
    return planes
