"""Tables that say what a tree model expects of each galaxy, made from its predictions, however many.

Two tables, a row for each galaxy in both:

- the summary, to look at: for each question the probability that it is asked, and for each answer the
  expected vote fraction with the ends of its interval; blank where the question is unlikely to be asked;
- the full table, to compute with: the same for every question, and the concentrations.

Several predictions of one galaxy (a `sample` column, from MC dropout or an ensemble) become one row: that of
their mixture.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot.shared import defaults, tasks
from zoobot.shared.errors import ConfigError, PredictionsError
from zoobot.shared.posteriors import (
    IntervalKind,
    as_mixture,
    check_level,
    expected_fractions,
    fraction_intervals,
    probability_asked,
)
from zoobot.shared.predictions import read_prediction_metadata, read_samples
from zoobot.shared.tables.writer import PredictionWriter, check_save_loc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import ArrayLike

    from zoobot.shared.trees.tree import Schema
    from zoobot.shared.votes import FloatArray


def summary_table(
    concentrations: ArrayLike,
    schema: Schema,
    *,
    level: float = defaults.INTERVAL_LEVEL,
    kind: IntervalKind = "equal-tailed",
    threshold: float = defaults.ASKED_THRESHOLD,
) -> pd.DataFrame:
    """What to expect of each galaxy, blank (NaN) where a question is unlikely to be asked.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.
        level: Probability inside the intervals, in (0, 1).
        kind: "equal-tailed" or "highest-density" intervals.
        threshold: Answers are shown of questions asked with this probability at least, in [0, 1].

    Returns:
        For each question `QUESTION_asked`, and for each of its answers `…_fraction`, `…_fraction_lower` and
        `…_fraction_upper`: a row for each galaxy.

    Raises:
        ConfigError: If the level is not in (0, 1), the threshold not in [0, 1], or there is no such kind.
        LabelError: If the shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> table = summary_table([[9.0, 3.0]], schemas.get("gz_rings"))
        >>> table.columns.tolist()[:3], float(table["ring_yes_fraction"][0])
        (['ring_asked', 'ring_yes_fraction', 'ring_yes_fraction_lower'], 0.75)
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold must be in [0, 1], got {threshold!r}")
    alpha = as_mixture(concentrations, schema)
    fractions = expected_fractions(alpha, schema)
    lower, upper = fraction_intervals(alpha, schema, level=level, kind=kind)
    asked = probability_asked(alpha, schema)
    columns: dict[str, FloatArray] = {}
    for position, question in enumerate(schema.questions):
        columns[f"{question.text}_asked"] = asked[:, position]
        shown = asked[:, position] >= threshold
        for answer in question.answers:
            for ending, values in (("", fractions), ("_lower", lower), ("_upper", upper)):
                name = f"{answer.label_col}_fraction{ending}"
                columns[name] = np.where(shown, values[:, answer.index], np.nan)
    return pd.DataFrame(columns)


def full_table(
    concentrations: ArrayLike,
    schema: Schema,
    *,
    level: float = defaults.INTERVAL_LEVEL,
    kind: IntervalKind = "equal-tailed",
) -> pd.DataFrame:
    """What to expect of each galaxy at every question, however unlikely it is asked, and the concentrations.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.
        level: Probability inside the intervals, in (0, 1).
        kind: "equal-tailed" or "highest-density" intervals.

    Returns:
        The columns of `summary_table`, none blank, and `…_concentration` of each answer; of a mixture
        `…_concentration_0`, `…_concentration_1`, … for its samples.

    Raises:
        ConfigError: If the level is not in (0, 1), or there is no such kind.
        LabelError: If the shape is wrong or a concentration is not above 0.
    """
    alpha = as_mixture(concentrations, schema)
    table = summary_table(alpha, schema, level=level, kind=kind, threshold=0.0)
    endings = [""] if len(alpha) == 1 else [f"_{sample}" for sample in range(len(alpha))]
    given = {
        f"{name}_concentration{ending}": values[:, column]
        for ending, values in zip(endings, alpha, strict=True)
        for column, name in enumerate(schema.label_cols)
    }
    return pd.concat([table, pd.DataFrame(given)], axis=1)


def write_posterior_table(
    predictions: str | Path,
    save_loc: str | Path,
    *,
    schema: Schema | None = None,
    full: bool = False,
    level: float = defaults.INTERVAL_LEVEL,
    kind: IntervalKind = "equal-tailed",
    threshold: float = defaults.ASKED_THRESHOLD,
) -> Path:
    """Turn a table of predicted concentrations into a summary, or a full table, at constant memory.

    Args:
        predictions: The table that `predict` wrote.
        save_loc: The table to write: .parquet, .csv, .hdf5 or .h5.
        schema: The tree; None takes the one stored in the predictions, which a CSV file can't hold.
        full: Write the `full_table` instead of the `summary_table`.
        level: Probability inside the intervals, in (0, 1).
        kind: "equal-tailed" or "highest-density" intervals.
        threshold: The summary shows answers of questions asked with this probability at least.

    Returns:
        The path of the table.

    Raises:
        ConfigError: If an option can't work.
        PredictionsError: If a file can't be read or written, or is no table of a tree's predictions.

    Example:
        >>> write_posterior_table("new.parquet", "new_summary.csv")  # doctest: +SKIP
    """
    check_level(level)
    path = check_save_loc(save_loc)
    schema = schema or _stored_schema(predictions)
    options: dict[str, Any] = {"level": level, "kind": kind}
    make = full_table if full else summary_table
    if not full:
        options["threshold"] = threshold
    blocks = read_concentrations(predictions, schema)
    # the first decides the columns, since a full table has those of every sample
    first = next(blocks, ([], np.ones((1, 0, len(schema.label_cols)))))
    columns = list(make(first[1], schema, **options))
    origin = read_prediction_metadata(predictions) | {"table": "full" if full else "summary", **options}
    with PredictionWriter(path, columns, metadata=origin, missing=True) as writer:
        for ids, alpha in chain([first], blocks):
            writer.write(ids, make(alpha, schema, **options).to_numpy())
    return path


def read_concentrations(
    predictions: str | Path, schema: Schema, *, rows: int | None = None
) -> Iterator[tuple[list[str], FloatArray]]:
    """The predictions of a tree model from their table, a part of the galaxies at a time.

    Args:
        predictions: The table that `predict` wrote, with a `sample` column or without.
        schema: The tree.
        rows: Most rows read at once; None is a number that suits.

    Yields:
        Ids, and their concentrations, (samples, galaxies, answers).

    Raises:
        PredictionsError: If the file can't be read, lacks a column of this tree, or has not the same samples
            of every galaxy.
    """
    yield from read_samples(predictions, tasks.tree_task(schema).output_columns, rows=rows)


def _stored_schema(predictions: str | Path) -> Schema:
    config = read_prediction_metadata(predictions).get("task")
    task = None if config is None else tasks.from_config(config)
    if task is None or task.tree is None:
        said = "says nothing of a task: give the schema" if task is None else f"is of a {task.kind} task"
        msg = f"a summary needs the predictions of a decision tree, but {predictions} {said}"
        raise PredictionsError(msg)
    return task.tree
