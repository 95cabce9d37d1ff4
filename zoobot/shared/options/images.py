"""How a guided run turns files into network input."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.pixels.turned import check_views
from zoobot.shared.settings import Options, setting

__all__ = ["AugmentationOptions", "ImageOptions", "ReadingOptions", "TurnOptions", "ViewOptions"]

_TITLE = "Images (where not given: as the encoder was trained)"


class _PixelOptions(Options):
    """What options of pixels have in common."""

    def image_changes(self) -> dict[str, Any]:
        """The values that were given, by the names of `Preprocessing.with_changes`."""
        kinds = [
            kind
            for kind in (ReadingOptions, ViewOptions, ImageOptions, TurnOptions)
            if isinstance(self, kind)
        ]
        names = dict.fromkeys(f.name for kind in kinds for f in fields(kind))
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(_PixelOptions):
    """How files unlike those of the training are read. Without a value, the model's record holds."""

    title: ClassVar[str] = "Reading images (where not given: as the model was trained)"

    colour: Literal["auto", "as-is", "to-grey", "to-rgb"] | None = setting(
        None, "how grey and colour files meet the channels; to-rgb: a FITS image of one band, too, as grey"
    )
    hdu: int | str | None = setting(
        None, "FITS: extension by number or name; without it, the first image", metavar="HDU"
    )
    bands: tuple[int | str, ...] | None = setting(
        None,
        "FITS: bands to use, in order, by name, or as planes counted from 0; without it, for colour, those "
        "that headers name, red first",
        at_least=0,
        metavar="BAND",
    )
    stretch: Literal["none", "linear", "asinh", "lupton"] | None = setting(
        None, "FITS: how values map to brightness"
    )
    limits: tuple[float, float] | None = setting(
        None, "FITS: values of black and white; without it, percentiles", metavar="VALUE"
    )
    nan_policy: Literal["error", "fill"] | None = setting(
        None, "non-finite pixels: `error` sets the galaxy aside and reports it, `fill` paints them"
    )


@dataclass(frozen=True, kw_only=True)
class ViewOptions(_PixelOptions):
    """What an encoder sees of an image. Without a value, its own record holds."""

    title: ClassVar[str] = _TITLE

    image_size_pix: int | None = setting(
        None, "side of the network input; fewer pixels are faster", at_least=1
    )
    crop_fraction: float | None = setting(
        None, "side of the central square that is kept, as a fraction of the image", above=0
    )
    normalisation: Literal["imagenet", "plain"] | None = setting(
        None, "mean and scatter of the pixels, by name; plain: they stay in [0, 1]"
    )
    mean: tuple[float, ...] | None = setting(
        None, "the same in numbers, for pixels in [0, 1]: subtracted from each channel (one number: from all)"
    )
    std: tuple[float, ...] | None = setting(None, "likewise, what each channel is divided by", above=0)

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.normalisation and (self.mean or self.std):
            msg = "give --normalisation by name, or --mean and --std in numbers, not both"
            raise ConfigError(msg)


@dataclass(frozen=True, kw_only=True)
class ImageOptions(ViewOptions, ReadingOptions):
    """How a file becomes network input. Without a value, the encoder's own record holds."""

    title: ClassVar[str] = _TITLE

    channels: int | None = setting(None, "planes of the network input: 3 colour, 1 grey, N bands", at_least=1)
    percentiles: tuple[float, float] | None = setting(
        None, "FITS: percentiles of black and white", at_least=0, at_most=100
    )
    asinh_softness: float | None = setting(None, "FITS: smaller lifts faint light more", above=0)
    fill_value: float | None = setting(None, "brightness of pixels without data", at_least=0, at_most=1)
    pixel_scale_arcsec: float | None = setting(
        None, "size of an original pixel on the sky; kept as a record", above=0
    )


@dataclass(frozen=True, kw_only=True)
class TurnOptions(_PixelOptions):
    """In how many turned copies a network looks at each image. Without a value, its own record holds."""

    title: ClassVar[str] = "Views of each image"

    views: int | None = setting(
        None,
        "so many, whose mean features are taken: 1 the image as it is, 2 also upside down, 4 turned by right "
        "angles, 8 mirrored, too (not for clockwise/anticlockwise labels); often more accurate, and so many "
        "times slower; without it, what the model's record says, or 1",
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.views is not None:
            check_views(self.views)


@dataclass(frozen=True, kw_only=True)
class AugmentationOptions(Options):
    """How training images vary; validation and prediction never do."""

    title: ClassVar[str] = "Augmentation (training images only)"

    augment: bool = setting(True, "vary the training images at all")
    rotate: bool = setting(True, "turn by any angle")
    flip: bool = setting(True, "mirror; turn off for clockwise/anticlockwise labels")
    zoom: tuple[float, float] = setting(
        defaults.ZOOM, "smallest and largest magnification", above=0, metavar="X"
    )
    shift: float = setting(
        defaults.SHIFT, "largest offset, as a fraction of the image's side", at_least=0, at_most=0.5
    )
    erase_probability: float = setting(0.0, "chance of a patch being painted over", at_least=0, at_most=1)
