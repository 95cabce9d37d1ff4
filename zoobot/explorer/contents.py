"""What an explorer page shows, in words that no task is named in: columns, and charts that point to them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoobot.explorer.annotation import Annotation, Positions
from zoobot.plots.examples import displayable
from zoobot.shared.augment import make_view
from zoobot.shared.counting_bar import CountingBar
from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.images import ViewNeeds, read_source
from zoobot.similarity.index import nearest, unit_vectors

if TYPE_CHECKING:
    from zoobot.shared.preprocessing import Preprocessing

# Which galaxies look like each galaxy of a page: the nearest by an encoder's features.

_QUERIES_AT_ONCE = 512


class Neighbours(NamedTuple):
    """The galaxies most like each.

    Attributes:
        rows: Their places, the nearest first, (galaxies, neighbours); -1 where there is none.
        similarities: The cosine of the angle between the two, 1 at most, (galaxies, neighbours); NaN where
            there is none.
    """

    rows: NDArray[np.int32]
    similarities: NDArray[np.float32]


def find_neighbours(ids: Sequence[str], known: Sequence[str], features: NDArray, *, count: int) -> Neighbours:
    """The galaxies most like each, as `zoobot.similarity` tells: by angles of centred features.

    Args:
        ids: The galaxies of the page.
        known: The galaxies with features.
        features: (galaxies with features, features), finite.
        count: Most neighbours of each.

    Example:
        >>> features = np.array([[9.0], [0.0], [1.0]])
        >>> found = find_neighbours(["a", "b", "c"], ["c", "a", "b"], features, count=1)
        >>> found.rows.tolist()
        [[1], [0], [1]]
    """
    row = {galaxy: row for row, galaxy in enumerate(known)}
    there = np.array([place for place, galaxy in enumerate(ids) if galaxy in row], dtype=np.int32)
    rows = np.full((len(ids), count), -1, np.int32)
    similarities = np.full((len(ids), count), np.nan, np.float32)
    most = min(count, len(there) - 1)
    if most < 1:
        return Neighbours(rows, similarities)
    own = np.asarray(features, np.float32)[[row[ids[place]] for place in there]]
    vectors = unit_vectors(own - own.mean(axis=0))
    for start in range(0, len(vectors), _QUERIES_AT_ONCE):
        queries = vectors[start : start + _QUERIES_AT_ONCE]
        near, alike = nearest(vectors, queries, most + 1)
        for place, some, values in zip(there[start:], near, alike, strict=False):
            others = there[some] != place  # a galaxy is not its own neighbour
            rows[place, :most] = there[some][others][:most]
            similarities[place, :most] = values[others][:most]
    return Neighbours(rows, similarities)


# Small pictures of galaxies, as text that a page can hold.

_QUALITY = 85


class Thumbnails(NamedTuple):
    """The pictures of a page.

    Attributes:
        pictures: WebP in base64, one for each galaxy; None where there is none.
        reasons: Why, for those without; empty for the others.
    """

    pictures: list[str | None]
    reasons: list[str]

    @classmethod
    def none(cls, count: int, reason: str) -> Thumbnails:
        """No picture at all, of so many galaxies."""
        return cls([None] * count, [reason] * count)


def make_thumbnails(
    paths: Sequence[str | None], preprocessing: Preprocessing, *, num_workers: int, progress: bool
) -> Thumbnails:
    """The pictures of galaxies, as a network sees them.

    Args:
        paths: Where each galaxy's image is; None where nobody knows.
        preprocessing: How images are read, cropped and stretched; its `image_size_pix` is the pictures' size.
        num_workers: Threads.
        progress: Whether a progress bar is drawn.
    """
    needs = ViewNeeds.of(preprocessing, None)

    def make(path: str | None) -> tuple[str | None, str]:
        if path is None:
            return None, "not in the catalog"
        try:
            pixels, frame = read_source(path, preprocessing, needs)
        except ImageError as error:
            return None, str(error).removeprefix(f"{path}: ")
        return _encode(make_view(pixels, preprocessing, frame=frame)), ""

    with (
        CountingBar("Drawing galaxies", len(paths), unit="galaxies", shown=progress) as bar,
        ThreadPoolExecutor(num_workers or 1) as pool,
    ):
        made = []
        for one in pool.map(make, paths):
            made.append(one)
            bar.reach(len(made))
    return Thumbnails([picture for picture, _ in made], [reason for _, reason in made])


def _encode(view: np.ndarray) -> str:
    pixels = np.rint(255 * displayable(view)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


class Column(NamedTuple):
    """A number of each galaxy.

    Attributes:
        name: What it is called in tables.
        title: What it is called on the page.
        values: (galaxies,), NaN where there is none.
        is_share: Whether it is a fraction or a probability, shown in percent.
        is_listed: Whether galaxies can be sorted and filtered by it.
    """

    name: str
    title: str
    values: NDArray
    is_share: bool = False
    is_listed: bool = True


class Text(NamedTuple):
    """A word of each galaxy.

    Attributes:
        name: What it is called in tables.
        title: What it is called on the page.
        values: One for each galaxy, empty where there is none.
    """

    name: str
    title: str
    values: list[str]


class Bar(NamedTuple):
    """One bar of a chart: numbers of columns; None where there is no such column.

    Attributes:
        title: What it is about.
        value: How long it is.
        lower: Where its interval begins.
        upper: Where its interval ends.
        label: What people say.
    """

    title: str
    value: int
    lower: int | None = None
    upper: int | None = None
    label: int | None = None


class Chart(NamedTuple):
    """Bars that belong together: a question, the classes, a measured number.

    Attributes:
        title: What it is about.
        bars: At least one.
        asked: The column that says how likely a galaxy comes to be asked.
        parents: (chart, bar) of each answer after which it is asked.
        label: The text that says which of its bars is the label.
        scale: What the left and right end of the bars stand for.
    """

    title: str
    bars: list[Bar]
    asked: int | None = None
    parents: list[tuple[int, int]] = []  # noqa: RUF012  never changed
    label: int | None = None
    scale: tuple[float, float] = (0.0, 1.0)


class Described(NamedTuple):
    """Predictions as a page shows them.

    Attributes:
        columns: Numbers.
        texts: Words.
        charts: What is drawn; they point to columns and texts by number.
    """

    columns: list[Column]
    texts: list[Text]
    charts: list[Chart]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All that a page shows.

    Args:
        title: Above everything.
        facts: Where it comes from: (name, words).
        ids: The galaxies.
        columns: Their numbers.
        charts: What is drawn of the numbers.
        thumbnails: Their pictures.
        interval: What the intervals are, in words.
        texts: Their words.
        neighbours: Which galaxies look like each; None where nobody encoded them.
        positions: Where they are on the sky; None where nobody knows.
        annotation: What is asked of each, on a page to label galaxies; None on a page to look through them.
        places: What the file of labels says of where their images are, as the catalog does.
    """

    title: str
    facts: list[tuple[str, str]]
    ids: list[str]
    columns: list[Column]
    charts: list[Chart]
    thumbnails: Thumbnails
    interval: str = "interval"
    texts: list[Text] = field(default_factory=list)
    neighbours: Neighbours | None = None
    positions: Positions | None = None
    annotation: Annotation | None = None
    places: list[Text] = field(default_factory=list)
