"""Which pixels made a model say so, galaxy by galaxy over a catalog, with any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from zoobot.shared.augment import draw_warp
from zoobot.shared.catalog import read_catalog
from zoobot.shared.counting_bar import CountingBar
from zoobot.shared.errors import ConfigError, ImageError, NonFiniteError
from zoobot.shared.explaining.saliency import (
    METHODS,
    Baseline,
    IntegratedGradients,
    Method,
    PickedAnswer,
    class_activation_map,
    find_answers,
    integrated_gradients,
    make_baseline,
    most_likely,
)
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.pixels.first_images import check_first_images
from zoobot.shared.pixels.images import read_image
from zoobot.shared.pixels.turned import turned, turned_back, turns_of
from zoobot.shared.predicting.run import ReadingKeywords, choose_batch_size
from zoobot.shared.predictions import failure_table

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Unpack

    from zoobot.shared.catalog import CatalogSource
    from zoobot.shared.predicting.run import Device
    from zoobot.shared.preprocessing import Preprocessing


# Maps over what a network sees, brought back onto the pixels of the image that it was made from.


class SeenSquare(NamedTuple):
    """The part of an image that a network sees, in pixels of the image; whole numbers are pixel centres.

    Attributes:
        left: Where its left edge is.
        top: Where its upper edge is.
        side: Its side.
    """

    left: float
    top: float
    side: float


def seen_square(preprocessing: Preprocessing, image_shape: tuple[int, ...]) -> SeenSquare:
    """The square of an image, (height, width, …), that a network sees in prediction.

    Example:
        >>> from zoobot.shared.preprocessing import Preprocessing
        >>> seen_square(Preprocessing(image_size_pix=50, crop_fraction=0.5), (200, 300))
        SeenSquare(left=99.5, top=49.5, side=100.0)
    """
    matrix = draw_warp(None, preprocessing, image_shape, seed=0, epoch=0, galaxy_id="")
    scale = float(matrix[0, 0])
    left, top = (float(start) - scale / 2 for start in matrix[:, 2])
    return SeenSquare(left, top, scale * preprocessing.image_size_pix)


def share_out(values: NDArray, square: SeenSquare, image_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """What lies on the pixels of a view, shared out over those of the image by area; the sum stays.

    What lies outside of the image, where a view is larger than it, has no pixel to go to.

    Args:
        values: (size, size, channels).
        square: The part of the image that the view shows.
        image_shape: (height, width, …).

    Returns:
        (height, width, channels); zero where nothing was seen.

    Example:
        >>> share_out(np.ones((1, 1, 1)), SeenSquare(0.5, -0.5, 2.0), (2, 4))[..., 0].tolist()
        [[0.0, 0.25, 0.25, 0.0], [0.0, 0.25, 0.25, 0.0]]
    """
    height, width = image_shape[:2]
    rows = _shares(len(values), square.top, square.side, height)
    columns = _shares(len(values), square.left, square.side, width)
    return np.einsum("ia,abk,jb->ijk", rows, values, columns, optimize=True)


def draw_over(cells: NDArray, square: SeenSquare, image_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Coarse cells over a view, interpolated by cubics at the pixels of the image.

    Args:
        cells: (rows, columns), which share the view evenly.
        square: The part of the image that the view shows.
        image_shape: (height, width, …).

    Returns:
        (height, width); zero where nothing was seen.
    """
    height, width = image_shape[:2]
    x, y = (
        (np.arange(length) - start) / square.side
        for length, start in ((width, square.left), (height, square.top))
    )
    places = (x * cells.shape[1] - 0.5, y * cells.shape[0] - 0.5)
    grid_x, grid_y = np.meshgrid(*(place.astype(np.float32) for place in places))
    drawn = cv2.remap(
        cells.astype(np.float32), grid_x, grid_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float64)
    inside = ((y >= 0) & (y <= 1))[:, None] & ((x >= 0) & (x <= 1))[None]
    # cubics swing below what they go through
    return np.where(inside, np.maximum(drawn, cells.min()), 0.0)


def _shares(size: int, start: float, side: float, length: int) -> NDArray[np.float64]:
    """Which share of each pixel of a view lies in each pixel of the image along one axis: (length, size)."""
    scale = side / size
    view = start + scale * np.arange(size)
    image = np.arange(length)[:, None] - 0.5
    overlap = np.minimum(image + 1, view + scale) - np.maximum(image, view)
    return np.maximum(overlap, 0) / scale


#: Galaxies that are read and predicted at once; they are explained one by one.
_GALAXIES_AT_ONCE = 8

#: How often the points of integrated gradients are doubled at most.
_DOUBLINGS = 2


class ExplainKeywords(ReadingKeywords, total=False):
    """The keywords of an engine's `explain`, whose docstring tells of them."""

    answer: str | None
    methods: Sequence[Method]
    baseline: Baseline
    steps: int


class Probe(NamedTuple):
    """What an engine must do for a model to be explained.

    Images are (batch, height, width, channels), float32 in [0, 1]; `image_gradients` and `map_gradients` are
    those of the engine's `saliency`.

    Attributes:
        predict: From images to predictions, (batch, outputs).
        image_gradients: From images and an answer to its values, (batch,), and their gradients.
        map_gradients: From images and an answer to the last feature maps and the gradients of its score.
        device: Where it does it.
    """

    predict: Callable[[NDArray], NDArray]
    image_gradients: Callable[[NDArray, PickedAnswer], tuple[NDArray, NDArray]]
    map_gradients: Callable[[NDArray, PickedAnswer], tuple[NDArray, NDArray]]
    device: Device


class Explanation(NamedTuple):
    """Why a model gives an answer for a galaxy, in the geometry of the galaxy's own image.

    Attributes:
        id_str: The galaxy.
        file_loc: Its image.
        answer: What is explained.
        value: What the model says of it: a probability, an expected fraction, or a target.
        image: The whole image, (height, width, channels), in [0, 1].
        seen: The square of it that the model sees.
        maps: By method. "integrated-gradients" has what each pixel adds to the answer, (height, width,
            channels): the sum is `value` less that of the baseline. "grad-cam", (height, width), says where
            there is something that speaks for the answer; only its relative size means something.
        shared: The integrated gradients over what the model sees; None where these were not asked for.
    """

    id_str: str
    file_loc: str
    answer: PickedAnswer
    value: float
    image: NDArray[np.float32]
    seen: SeenSquare
    maps: dict[Method, NDArray[np.float32]]
    shared: IntegratedGradients | None


class Explanations:
    """Explains an answer for each galaxy of a catalog, while it is iterated over; one is held at a time.

    Args:
        catalog: A table of ids and image files.
        model: Says what it predicts and how images are read.
        probe: What the engine does.
        answer: What is explained; this and the rest is told in `explain` of the engines.
        methods: Which of `zoobot.shared.explaining.saliency.METHODS`.
        baseline: What integrated gradients begin with.
        steps: Points between the baseline and the image.
        **run: All of `ReadingKeywords`; `batch_size` is of points.

    Raises:
        CatalogError: If the catalog can't be used.
        ConfigError: If the model has no such answer, or a method or another option can't work.

    Attributes:
        failures: The galaxies that could not be read so far: `id_str`, `file_loc`, `reason`.
    """

    def __init__(
        self,
        catalog: CatalogSource,
        model: Any,
        probe: Probe,
        *,
        answer: str | None,
        methods: Sequence[Method],
        baseline: Baseline,
        steps: int,
        **run: Unpack[ReadingKeywords],
    ) -> None:
        self.methods = _checked_methods(methods)
        self.answers = find_answers(model.task, answer)
        self._galaxies = read_catalog(
            catalog, root=run["root"], id_col=run["id_col"], file_col=run["file_col"]
        )
        self._pixels = model.preprocessing
        check_first_images(self._galaxies.paths, self._pixels)
        self._model, self._probe = model, probe
        self._baseline, self._steps = baseline, steps
        self._batch_size = choose_batch_size(run["batch_size"], on_gpu=probe.device.on_gpu)
        make_baseline(np.zeros((3, 3, 1), np.float32), baseline)
        if steps < 1:
            raise ConfigError(f"steps must be at least 1, got {steps!r}")
        self._progress = run["progress"]
        self._loader = GalaxyLoader(
            self._galaxies,
            self._pixels,
            batch_size=_GALAXIES_AT_ONCE,
            num_workers=run["num_workers"],
            max_failed_fraction=1.0,
        )

    @property
    def failures(self) -> pd.DataFrame:
        """The galaxies that could not be read so far."""
        return failure_table(self._loader.failures)

    def __len__(self) -> int:
        """How many galaxies the catalog has, those included that can't be read."""
        return len(self._galaxies)

    def __iter__(self) -> Iterator[Explanation]:
        """Explain one galaxy after another, in the order of the catalog.

        Raises:
            EncoderError: If Grad-CAM finds no feature maps in the encoder.
            ImageError: At the end, if not one image could be read.
            NonFiniteError: If a prediction or a map is NaN or infinite.
        """
        paths = dict(zip(self._galaxies.ids, self._galaxies.paths, strict=True))
        done = 0
        with (
            self._probe.device.ready(self._model),
            CountingBar("Explaining galaxies", len(self), unit="galaxies", shown=self._progress) as bar,
        ):
            for batch in self._loader:
                views = _to_unit_range(batch.images)
                predictions = self._probe.predict(views)
                for view, predicted, galaxy in zip(views, predictions, batch.ids, strict=True):
                    yield self._explain(view, predicted, galaxy, paths[galaxy])
                    done += 1
                    bar.advance()
        if not done:
            first = self.failures.iloc[0]
            reason = f"the first: {first.file_loc}: {first.reason}"
            raise ImageError(f"not one of {len(self):,} images could be read; {reason}")

    def _explain(self, view: NDArray, predicted: NDArray, galaxy: str, path: str) -> Explanation:
        answer = most_likely(self.answers, predicted)
        image = read_image(path, self._pixels)
        square = seen_square(self._pixels, image.shape)
        maps: dict[Method, NDArray[np.float32]] = {}
        shared = None
        for method in self.methods:
            if method == "grad-cam":
                map_ = draw_over(self._activations(view, answer), square, image.shape)
            else:
                shared = self._integrate(view, answer)
                map_ = share_out(shared.attributions, square, image.shape)
            _refuse_non_finite(map_, galaxy, answer)
            maps[method] = map_.astype(np.float32)
        return Explanation(
            galaxy, path, answer, float(answer.value(predicted)), _to_unit_range(image), square, maps, shared
        )

    def _activations(self, view: NDArray[np.float32], answer: PickedAnswer) -> NDArray:
        """Grad-CAM of the image; where the model looks at several views, their mean, each turned back."""
        maps = []
        for turn in turns_of(self._pixels.views):
            found, slopes = self._probe.map_gradients(turned(view[None], turn), answer)
            map_ = class_activation_map(found[0], slopes[0])
            maps.append(turned_back(map_[None], turn)[0])
        return np.mean(maps, axis=0)

    def _integrate(self, view: NDArray[np.float32], answer: PickedAnswer) -> IntegratedGradients:
        """Integrated gradients, from more points where they do not add up to what they share out."""
        baseline = make_baseline(view, self._baseline, self._pixels.fill_value)
        for doublings in range(_DOUBLINGS + 1):
            found = integrated_gradients(
                view,
                baseline,
                lambda images: self._probe.image_gradients(images, answer),
                steps=self._steps * 2**doublings,
                batch_size=self._batch_size,
            )
            if found.adds_up:
                break
        return found


def _checked_methods(methods: Sequence[Method]) -> tuple[Method, ...]:
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods or len(set(methods)) < len(methods):
        raise ConfigError(f"methods must be one or more of {list(METHODS)}, each once, got {list(methods)}")
    return tuple(methods)


def _refuse_non_finite(values: NDArray, galaxy: str, answer: PickedAnswer) -> None:
    if not np.isfinite(values).all():
        raise NonFiniteError(f"the gradient of {answer.name!r} is NaN or infinite for galaxy {galaxy!r}")


def _to_unit_range(images: NDArray) -> NDArray[np.float32]:
    """8-bit images as float32 in [0, 1]; others are so already."""
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images
