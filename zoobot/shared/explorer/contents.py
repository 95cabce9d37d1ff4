"""What an explorer page shows, in words that no task is named in: columns, and charts that point to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.explorer.neighbours import Neighbours
    from zoobot.shared.explorer.thumbnails import Thumbnails

__all__ = ["Bar", "Chart", "Column", "Contents", "Described", "Text"]


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
