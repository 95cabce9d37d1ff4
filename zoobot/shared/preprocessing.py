"""The record of how an image file becomes network input; it travels inside every checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.pixels.degraded import KINDS, Degradation
from zoobot.shared.pixels.turned import check_views
from zoobot.shared.settings import check_record

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "NORMALISATIONS",
    "PLAIN_MEAN",
    "PLAIN_STD",
    "Preprocessing",
    "describe_pixels",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

#: The normalisation of pixels in [0, 1] that changes nothing.
PLAIN_MEAN, PLAIN_STD = (0.0,), (1.0,)

#: Mean and std by name.
NORMALISATIONS = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "plain": (PLAIN_MEAN, PLAIN_STD)}

# Beyond these nothing of a galaxy is left to see, or numbers overflow; a mistake, or an attack.
_CROPS = (1e-3, 1e2)
_STDS = (1e-6, 1e6)
_LARGEST = 1e6

Colour = Literal["auto", "as-is", "to-grey", "to-rgb"]
StretchName = Literal["none", "linear", "asinh", "lupton"]
NanPolicy = Literal["error", "fill"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How pixels become network input, from the file to the first layer.

    A file is decoded to `channels` planes in [0, 1], cropped and resized to `image_size_pix` in one
    resample, then normalised as `(pixels - mean) / std`. The same record is used in training and, read back
    from the checkpoint, in prediction.

    Args:
        image_size_pix: Side of the square network input, in pixels.
        channels: Planes of the network input: 3 for colour, 1 for grey, any number for multi-band FITS.
        crop_fraction: Side of the central square that is kept, as a fraction of the shorter side of the
            image; 1 keeps the whole frame. Values above 1 pad with the fill value.
        colour: "auto" repeats the plane of a grey picture for a network of 3 channels, and refuses a FITS
            image of one band; "to-rgb" repeats that, too; "to-grey" averages colour to luminance; "as-is"
            demands that a file has `channels` planes (alpha aside), and takes them as they are stored.
        hdu: FITS extension, by index or name; None takes the first one that holds an image, or all that hold
            one where each names another band.
        bands: FITS planes to use, in order, by the names of their bands or counted from 0. None uses all;
            where a network looks at colour (3 channels, colour not "as-is"), named bands go red first, and
            of more than three i, r, g or else z, r, g are used. Names don't apply to pictures.
        band_numbers: Where bands that are chosen by name lay in the files of the training: these planes are
            taken of FITS files that name no bands.
        stretch: How FITS values map to [0, 1]: "none" (already in [0, 1]), "linear", "asinh", or "lupton"
            (colour-preserving, for exactly three bands in the order red, green, blue).
        limits: The FITS values that map to 0 and 1; None uses `percentiles` of each image.
        percentiles: Lower and upper percentile of the finite pixels, used where `limits` is None.
        asinh_softness: Softening of the asinh and Lupton stretches: smaller is harder (more compressed).
        nan_policy: "error" refuses an image with a non-finite pixel; "fill" sets such pixels to
            `fill_value`.
        fill_value: Value in [0, 1], after the stretch, of pixels without data: NaN pixels, and the
            outside of the frame.
        mean: Mean subtracted from each channel, in [0, 1] units; one number, or one for each channel.
        std: Divisor of each channel; likewise.
        pixel_scale_arcsec: Angular size of one pixel of the *original* images, where it is known; a
            record for the reader, not used in computation.
        views: In how many turned copies the network looks at each image: its features are their mean. 2 is
            the image and it upside down, 4 it turned by right angles, 8 these and their mirror images (not
            for what tells clockwise from anticlockwise). Each costs as much as the first.
        degraded: How images are made worse first, to see how far a model holds (`zoobot evaluate --degrade`).

    Raises:
        ConfigError: If a value can't work.

    Example:
        >>> Preprocessing(image_size_pix=128).to_config()["image_size_pix"]
        128
    """

    image_size_pix: int = defaults.IMAGE_SIZE_PIX
    channels: int = 3
    crop_fraction: float = 1.0
    colour: Colour = "auto"
    hdu: int | str | None = None
    bands: tuple[int | str, ...] | None = None
    band_numbers: tuple[int, ...] | None = None
    stretch: StretchName = "asinh"
    limits: tuple[float, float] | None = None
    percentiles: tuple[float, float] = (0.5, 99.5)
    asinh_softness: float = 0.1
    nan_policy: NanPolicy = "error"
    fill_value: float = 0.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    pixel_scale_arcsec: float | None = None
    views: int = 1
    degraded: Degradation | None = None

    def __post_init__(self) -> None:
        if isinstance(self.degraded, dict):  # as it is in a config
            object.__setattr__(self, "degraded", Degradation.from_config(self.degraded))
        check_record(self)
        self._check_sizes()
        self._check_choices()
        self._check_ranges()
        check_views(self.views)

    def _check_sizes(self) -> None:
        _require(self.image_size_pix >= 1, "image_size_pix must be at least 1", self.image_size_pix)
        _require(self.channels >= 1, "channels must be at least 1", self.channels)
        values = self.image_size_pix**2 * self.channels
        most = defaults.MAX_IMAGE_VALUES
        _require(values <= most, f"network input must have at most {most:,} values", values)
        crop, (low, high) = self.crop_fraction, _CROPS
        _require(low <= crop <= high, f"crop_fraction must lie in [{low:g}, {high:g}]", crop)
        if self.bands is not None:
            numbers = [band for band in self.bands if not isinstance(band, str)]
            _require(
                len(self.bands) > 0 and min(numbers, default=0) >= 0, "bands must count from 0", self.bands
            )
        if self.band_numbers is not None:
            fits = self.bands is not None and len(self.bands) == len(self.band_numbers)
            _require(fits and min(self.band_numbers) >= 0, "band_numbers must fit bands", self.band_numbers)
        for name in ("mean", "std"):
            value = getattr(self, name)
            expected = f"{name} must hold 1 or {self.channels} numbers (one per channel)"
            _require(len(value) in (1, self.channels), expected, value)
        mean = f"mean must lie in [-{_LARGEST:g}, {_LARGEST:g}]"
        _require(max(map(abs, self.mean)) <= _LARGEST, mean, self.mean)
        (least, largest), std = _STDS, self.std
        _require(min(std) > 0, "std must be positive", std)
        _require(least <= min(std) <= max(std) <= largest, f"std must lie in [{least:g}, {largest:g}]", std)

    def _check_choices(self) -> None:
        if self.stretch == "lupton":
            _require(self.channels == 3, "stretch 'lupton' needs channels=3", self.channels)
        if self.colour == "to-grey":
            _require(self.channels == 1, "colour 'to-grey' needs channels=1", self.channels)

    def _check_ranges(self) -> None:
        low, high = self.percentiles
        _require(0 <= low < high <= 100, "percentiles must rise within [0, 100]", self.percentiles)
        if self.limits is not None:
            _require(self.limits[0] < self.limits[1], "limits must rise", self.limits)
        if self.pixel_scale_arcsec is not None:
            scale = self.pixel_scale_arcsec
            _require(0 < scale <= _LARGEST, f"pixel_scale_arcsec must lie in (0, {_LARGEST:g}]", scale)
        softness = self.asinh_softness
        _require(1e-9 <= softness <= 1e9, "asinh_softness must lie in [1e-9, 1e9]", softness)
        _require(0 <= self.fill_value <= 1, "fill_value must lie in [0, 1]", self.fill_value)

    def with_changes(self, **changes: Any) -> Preprocessing:
        """The same record with some values changed; the rest, and the checks, stay.

        `normalisation` sets mean and std by a name of `NORMALISATIONS`. Other `bands` are not those that
        `band_numbers` tells of.

        Example:
            >>> Preprocessing(channels=1, mean=(0.4,), std=(0.2,)).with_changes(normalisation="plain").std
            (1.0,)
        """
        named = changes.pop("normalisation", None)
        _refuse_unknown(changes)
        if named is not None:
            changes = _named_normalisation(named, changes.get("channels", self.channels)) | changes
        if "bands" in changes:
            changes = {"band_numbers": None, **changes}
        return replace(self, **changes)

    def to_config(self) -> dict[str, Any]:
        """The record as JSON-ready values.

        A single view, and images left as they are, are not told of: such records, and hashes of models, are
        those of earlier versions.
        """
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        if self.views == 1:
            del values["views"]
        if self.degraded is None:
            del values["degraded"]
        return values

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Preprocessing:
        """The record back from `to_config`.

        Raises:
            ConfigError: If a name is unknown or a value can't work.
        """
        _refuse_unknown(config)
        return cls(**config)


def describe_pixels(preprocessing: Preprocessing, why: str = "") -> str:
    """What a model looks at, in a few lines to read: crop, size, bands, normalisation, and why.

    Args:
        preprocessing: How files become its input.
        why: Where that comes from, such as `Origin.pixels` of `model.encoder.origin`.

    Example:
        >>> print(describe_pixels(Preprocessing(image_size_pix=224, crop_fraction=0.6)))
        The model looks at
          crop           the central 60 % of each image (crop_fraction 0.6)
          size           224 x 224 px
          bands          3 channels, grey pictures repeated to colour
          FITS           named bands red first, asinh stretch from percentile 0.5 to 99.5 of each image
          normalisation  ImageNet's: mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225
    """
    size = preprocessing.image_size_pix
    lines = {
        "crop": _crop_in_words(preprocessing.crop_fraction),
        "size": f"{size} x {size} px",
        "bands": _bands_in_words(preprocessing),
        "FITS": _stretch_in_words(preprocessing),
        "normalisation": _normalisation_in_words(preprocessing),
        "views": _views_in_words(preprocessing.views),
        "made worse": _degraded_in_words(preprocessing.degraded),
        "because": why,
    }
    told = [f"  {name:<13}  {words}" for name, words in lines.items() if words]
    return "\n".join(["The model looks at", *told])


def _crop_in_words(fraction: float) -> str:
    if fraction == 1:
        return "the whole image (crop_fraction 1)"
    if fraction < 1:
        return f"the central {fraction:.0%} of each image (crop_fraction {fraction:.4g})".replace("%", " %")
    return f"the whole image and an empty frame around it (crop_fraction {fraction:.4g})"


def _bands_in_words(preprocessing: Preprocessing) -> str:
    channels = preprocessing.channels
    many = "1 channel" if channels == 1 else f"{channels} channels"
    ways = {
        "auto": "grey pictures repeated to colour" if channels == 3 else "files must have as many",
        "as-is": "files must have as many",
        "to-grey": "colour averaged to grey",
        "to-rgb": "grey images, FITS of one band too, repeated to colour",
    }
    return f"{many}, {ways[preprocessing.colour]}"


def _stretch_in_words(preprocessing: Preprocessing) -> str:
    bands, numbers = preprocessing.bands, preprocessing.band_numbers
    in_colour = preprocessing.channels == 3 and preprocessing.colour != "as-is"
    planes = "named bands red first" if in_colour else "all planes"
    if bands is not None:
        planes = (
            f"bands {_listed(bands)}"
            if any(isinstance(b, str) for b in bands)
            else f"planes {_listed(bands)}"
        )
        planes += "" if numbers is None else f" (planes {_listed(numbers)} where headers name none)"
    where = "" if preprocessing.hdu is None else f" of extension {preprocessing.hdu}"
    if preprocessing.stretch == "none":
        return f"{planes}{where}, values as they are (already in [0, 1])"
    if preprocessing.limits is not None:
        low, high = preprocessing.limits
        limits = f"from {low:g} to {high:g}"
    else:
        low, high = preprocessing.percentiles
        limits = f"from percentile {low:g} to {high:g} of each image"
    return f"{planes}{where}, {preprocessing.stretch} stretch {limits}"


def _normalisation_in_words(preprocessing: Preprocessing) -> str:
    mean, std = preprocessing.mean, preprocessing.std
    if set(mean) == {0.0} and set(std) == {1.0}:
        return "none: pixels in [0, 1] (mean 0, std 1)"
    named = "ImageNet's: " if (mean, std) == (IMAGENET_MEAN, IMAGENET_STD) else ""
    return f"{named}mean {_listed(mean)}, std {_listed(std)}"


def _views_in_words(views: int) -> str:
    ways = {
        1: "",
        2: "the image and it upside down",
        4: "the image turned by right angles",
        8: "the image turned by right angles, and mirrored",
    }
    return ways[views] and f"{views} views: the mean of their features ({ways[views]})"


def _degraded_in_words(degraded: Degradation | None) -> str:
    return "" if degraded is None else f"{degraded.kind} {degraded.step:g}: {KINDS[degraded.kind].meaning}"


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _named_normalisation(name: Any, channels: int) -> dict[str, tuple[float, ...]]:
    """Mean and std by name; for other images than colour ones, their averages over red, green and blue."""
    if name not in NORMALISATIONS:
        raise ConfigError(f"normalisation must be one of {list(NORMALISATIONS)}, got {name!r}")
    values = dict(zip(("mean", "std"), NORMALISATIONS[name], strict=True))
    return {key: v if channels == 3 else (sum(v) / len(v),) for key, v in values.items()}


def _require(condition: bool, expected: str, got: object) -> None:
    if not condition:
        raise ConfigError(f"{expected}, got {got!r}")


def _refuse_unknown(names: dict[str, Any]) -> None:
    known = [f.name for f in fields(Preprocessing)]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(f"unknown preprocessing option {unknown}; the options are {known}")
