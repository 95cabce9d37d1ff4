"""How often a tree model picks the answer that most volunteers picked: question by question, as published.

The prediction is the answer with the largest expected fraction, the truth that with the most votes; of
several with as many, the predicted one. Precision, recall and F1 are means over answers, weighted by how many
galaxies truly have each. All of it once for every galaxy that was asked, and once for those on which
volunteers agree.

References:
    Walmsley et al. 2022, MNRAS 509, 3966, tables 3 and 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoobot.shared.metrics import confusion_matrix
from zoobot.shared.posteriors import expected_fractions
from zoobot.shared.trees.vote_metrics import CONFIDENT_FRACTION
from zoobot.shared.votes import check_votes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from zoobot.shared.trees.tree import Schema

__all__ = ["question_confusions", "question_table"]


def question_confusions(
    concentrations: ArrayLike, votes: ArrayLike, schema: Schema, *, confident: bool = False
) -> list[NDArray[np.int64]]:
    """For each question, galaxies of each true answer (rows) that were given each answer (columns).

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        votes: Votes, (galaxies, answers), NaN or 0 where a question was not asked.
        schema: The decision tree.
        confident: Only galaxies with more than 80 % of their votes on one answer.

    Raises:
        LabelError: If the shapes do not fit, or these are no votes.
    """
    expected = expected_fractions(concentrations, schema)
    counted = np.nan_to_num(check_votes(votes, schema))
    matrices = []
    for question in schema.questions:
        given, total = counted[:, question.slice], counted[:, question.slice].sum(axis=1)
        share = CONFIDENT_FRACTION if confident else 0.0
        rows = (total > 0) & (given.max(axis=1) > share * total)
        predicted, given = expected[rows, question.slice], given[rows]
        guess = predicted.argmax(axis=1)
        right = given[np.arange(len(given)), guess] == given.max(axis=1)
        truth = np.where(right, guess, given.argmax(axis=1))
        matrices.append(confusion_matrix(predicted, truth))
    return matrices


def question_table(
    concentrations: ArrayLike, votes: ArrayLike, schema: Schema, *, confident: bool = False
) -> pd.DataFrame:
    """Accuracy, precision, recall and F1 of each question: a row for each.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        votes: Votes, (galaxies, answers), NaN or 0 where a question was not asked.
        schema: The decision tree.
        confident: Only galaxies with more than 80 % of their votes on one answer.

    Returns:
        Columns `question`, `n` (galaxies), `accuracy`, `precision`, `recall`, `f1`; NaN where there are none.

    Raises:
        LabelError: If the shapes do not fit, or these are no votes.
    """
    rows = []
    matrices = question_confusions(concentrations, votes, schema, confident=confident)
    for question, counts in zip(schema.questions, matrices, strict=True):
        rows.append({"question": question.text, "n": int(counts.sum())} | _weighted_scores(counts))
    return pd.DataFrame(rows)


def _weighted_scores(counts: NDArray[np.int64]) -> dict[str, float]:
    """Scores from a confusion matrix; an answer that is never given has no precision and no F1: 0."""
    names = ("accuracy", "precision", "recall", "f1")
    if not counts.sum():
        return dict.fromkeys(names, float("nan"))
    right, true, given = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    each = {
        "precision": right / np.maximum(given, 1),
        "recall": right / np.maximum(true, 1),
        "f1": 2 * right / np.maximum(true + given, 1),
    }
    weighted = {name: float(np.average(values, weights=true)) for name, values in each.items()}
    return {"accuracy": float(right.sum() / counts.sum())} | weighted
