"""What a model says of galaxies, as a notebook shows it: tables, pictures and the figures of explanations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot.shared.errors import ConfigError, ImageError
from zoobot.shared.html import bar_html, escape, image_html, png_html
from zoobot.shared.loader import Failure
from zoobot.shared.pixels.images import read_image
from zoobot.shared.predicting.posterior_tables import summary_table
from zoobot.shared.predictions import Predictions, failure_table, read_prediction_chunks
from zoobot.shared.tables.layout import spelled_in
from zoobot.workflow.explain import draw_explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoobot.shared.catalog import Catalog
    from zoobot.shared.explaining.explanations import Explanation
    from zoobot.shared.preprocessing import Preprocessing
    from zoobot.shared.tasks import Task

#: Galaxies that a notebook shows, and groups and answers of each.
_GALAXIES, _GROUPS, _ANSWERS = 6, 4, 3
#: Questions that are asked less often are not shown.
_ASKED = 0.5


class Predicted(Predictions):
    """What a model says of each galaxy: a table, the galaxies that failed, and in notebooks their pictures.

    Args:
        table: As `Predictions` has it, or None where it was written.
        failures: The galaxies without a prediction.
        save_loc: Where the table was written.
        galaxies: Where their images are.
        task: What is predicted.
        preprocessing: How their images are read.

    Example:
        >>> predicted = model.predict("rings/*.jpg")  # doctest: +SKIP
        >>> predicted["ring_probability"].mean(), len(predicted), predicted.failures  # doctest: +SKIP
    """

    def __init__(
        self, found: Predictions, *, galaxies: Catalog, task: Task, preprocessing: Preprocessing
    ) -> None:
        super().__init__(found._table, found._failures, found.save_loc, found._columns)
        self.galaxies, self.task, self._preprocessing = galaxies, task, preprocessing

    def fractions(self, **options: Any) -> pd.DataFrame:
        """Of a tree: the expected vote fractions and their intervals, a row for each galaxy, as in a summary.

        Args:
            **options: `level`, `kind` and `threshold` of
                `zoobot.shared.predicting.posterior_tables.summary_table`.

        Raises:
            ConfigError: If the model predicts no votes.
        """
        if self.task.tree is None:
            raise ConfigError(
                f"fractions are those of a decision tree's answers, got a {self.task.kind} task"
            )
        found = summary_table(self._samples(self.table), self.task.tree, **options)
        found.insert(0, "id_str", self.table["id_str"].drop_duplicates().tolist())
        return found

    def _samples(self, table: pd.DataFrame, most: int | None = None) -> np.ndarray:
        """(samples, galaxies, outputs), of the first galaxies."""
        numbers = table["sample"] if "sample" in table else pd.Series(0, index=table.index)
        parts = [part for _, part in table.groupby(numbers, sort=True)]
        columns = spelled_in(table, self.task.output_columns)
        return np.stack([part[columns].to_numpy(dtype=np.float64)[:most] for part in parts])

    def _first_rows(self) -> pd.DataFrame:
        """The rows of the first galaxies; of a table on disk, which may be long, no more is read."""
        if self._table is not None or self.save_loc is None:
            return self.table
        return next(read_prediction_chunks(self.save_loc), pd.DataFrame(columns=["id_str"]))

    def _repr_html_(self) -> str:
        rows = self._first_rows()
        shown = rows["id_str"].drop_duplicates().tolist()[:_GALAXIES]
        paths = dict(zip(self.galaxies.ids, self.galaxies.paths, strict=True))
        expected = self.task.expect(self.task.mix(self._samples(rows, _GALAXIES))) if shown else ()
        cards = [
            _card(galaxy, paths.get(galaxy), self._preprocessing, bars_of(self.task, values))
            for galaxy, values in zip(shown, expected, strict=True)
        ]
        failures = len(self.failures)
        galaxies = len(self.galaxies) - failures
        more = f", of which {len(shown)} are shown" if galaxies > len(shown) else ""
        failed = f"; {failures:,} images could not be read (.failures)" if failures else ""
        words = f"{galaxies:,} galaxies{more}{failed}; all numbers are in .table"
        row = f'<div style="display:flex;flex-wrap:wrap;gap:1.2em">{"".join(cards)}</div>'
        return f"{row}<div>{escape(words)}</div>"


def unreadable(galaxies: Catalog, preprocessing: Preprocessing) -> pd.DataFrame:
    """The galaxies whose image can't be read, and why, as tables of failures have them."""
    failures = []
    for galaxy, path in zip(galaxies.ids, galaxies.paths, strict=True):
        try:
            read_image(path, preprocessing)
        except ImageError as error:
            failures.append(Failure(galaxy, str(path), str(error).removeprefix(f"{path}: ")))
    return failure_table(failures)


def bars_of(task: Task, expected: np.ndarray) -> str:
    """The likeliest answers of one galaxy as bars; of a tree those of questions that are likely asked.

    Args:
        task: What is predicted.
        expected: One number for each output, as `task.expect` gives them.
    """
    asked = np.ones(len(task.groups))
    if task.tree is not None:
        asked = np.asarray(task.tree.probability_asked(expected[None]))[0]
    parts: list[str] = []
    for group, probability in zip(task.groups, asked, strict=True):
        if probability < _ASKED or len(parts) >= _GROUPS:
            continue
        values = expected[group.slice]
        order = np.argsort(-values, kind="stable")[:_ANSWERS]
        if task.predicts == "numbers":
            told = [f"<div>{escape(group.name)}: {escape(task.say(float(values[0])))}</div>"]
        else:
            told = [bar_html(group.answers[k], float(values[k]), task.say(float(values[k]))) for k in order]
        heading = f'<div style="font-size:85%">{escape(group.name)}</div>' if len(group.answers) > 1 else ""
        parts.append(f"{heading}{''.join(told)}")
    return "".join(parts)


def _card(galaxy: str, path: str | None, preprocessing: Preprocessing, bars: str) -> str:
    try:
        picture = "" if path is None else image_html(read_image(path, preprocessing))
    except ImageError as error:  # it was there when it was predicted
        picture = escape(error)
    return f'<div><div>{picture}</div><div style="font-weight:600">{escape(galaxy)}</div>{bars}</div>'


class Explained:
    """Why a model says so of a few galaxies: to be looked at, iterated over, and counted.

    Args:
        explanations: One for each galaxy.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
        task: What the model predicts.
        baseline: What integrated gradients begin with.

    Example:
        >>> explained = model.explain("ring.jpg", "ring")  # doctest: +SKIP
        >>> explained.figure  # doctest: +SKIP
        >>> explained[0].maps["grad-cam"].shape  # doctest: +SKIP
        (424, 424)
    """

    def __init__(
        self, explanations: list[Explanation], failures: pd.DataFrame, task: Task, baseline: str
    ) -> None:
        self._explanations, self.failures = explanations, failures
        self._task, self._baseline = task, baseline

    def __len__(self) -> int:
        """How many galaxies are explained."""
        return len(self._explanations)

    def __getitem__(self, place: int) -> Explanation:
        return self._explanations[place]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._explanations)

    @property
    def figure(self) -> Figure:
        """The picture of the first galaxy: its image, and each of its maps."""
        return self.draw(0)

    def draw(self, place: int) -> Figure:
        """The picture of a galaxy, by its place."""
        return draw_explanation(self[place], self._task, self._baseline)

    def __repr__(self) -> str:
        answers = ", ".join(dict.fromkeys(one.answer.name for one in self))
        return f"Explained({len(self):,} galaxies: {answers}; {len(self.failures):,} failures)"

    def _repr_html_(self) -> str:
        shown = min(len(self), _GALAXIES)
        figures = [png_html(self.draw(place)._repr_png_()[0]) for place in range(shown)]  # type: ignore[attr-defined]
        more = f"{len(self):,} galaxies, of which {shown} are shown" if len(self) > shown else ""
        return "".join([*(f"<div>{figure}</div>" for figure in figures), f"<div>{more}</div>"])
