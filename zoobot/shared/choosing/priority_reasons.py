"""Why a galaxy is worth its label, in words and numbers: what matters most, and what the model expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot.shared.acquisition import Acquisition
from zoobot.shared.posteriors import expected_fractions, probability_asked
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, Task, TreeTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoobot.shared.votes import FloatArray

__all__ = ["explain", "worth_asking"]

_MOST_CLASSES = 3

#: A question that gives a smaller part of a galaxy's score is not named beside the others.
_LEAST_SHARE = 0.05


def explain(task: Task, found: Acquisition, predictions: FloatArray) -> tuple[list[str], list[str]]:
    """For each galaxy what matters most, and what the model expects of it.

    Args:
        task: What was predicted.
        found: The scores of the same galaxies.
        predictions: (samples, galaxies, outputs).

    Returns:
        Of a tree the question, and the expected fractions of its answers; of classes the likeliest, two by
        two, and their probabilities; of labels and numbers the column, and its probability, or its value with
        the scatter of the members. Of random scores, which have no reason, "random" and what would stand
        beside the first part.
    """
    parts = found.parts.argmax(axis=1)
    mean = predictions.mean(axis=0)
    if isinstance(task, ClassificationTask):
        reasons, expected = _of_classes(task, mean)
        return (reasons if found.names != ("random",) else found.reasons), expected
    expect: Callable[[int, int], str]
    if isinstance(task, TreeTask):
        fractions = expected_fractions(predictions, task.schema)
        questions = task.schema.questions

        def expect(galaxy: int, part: int) -> str:
            answers = questions[part].answers
            return _listed([(a.pretty, fractions[galaxy, a.index]) for a in answers])

    elif isinstance(task, RegressionTask):
        scatter = predictions.std(axis=0)

        def expect(galaxy: int, part: int) -> str:
            return f"{mean[galaxy, part]:.3g} ± {scatter[galaxy, part]:.2g}"

    else:

        def expect(galaxy: int, part: int) -> str:
            return f"{mean[galaxy, part]:.2f}"

    return found.reasons, [expect(galaxy, int(part)) for galaxy, part in enumerate(parts)]


def worth_asking(task: Task, found: Acquisition, predictions: FloatArray) -> list[list[dict[str, Any]]]:
    """For each galaxy the parts that give at least 5 % of its score, the first first, JSON-ready.

    Args:
        task: What was predicted.
        found: The scores of the same galaxies.
        predictions: (samples, galaxies, outputs).

    Returns:
        Of each part `question` (or label, or target), `share` of the score, and of a tree `asked`, the
        probability that a volunteer comes to it. Nothing for a random score, or where there is one part.
    """
    if len(found.names) == 1 and not isinstance(task, (TreeTask, MultiLabelTask, RegressionTask)):
        return [[] for _ in found.score]
    if found.names == ("random",):
        return [[] for _ in found.score]
    asked = probability_asked(predictions, task.schema) if isinstance(task, TreeTask) else None
    named = []
    for galaxy, parts in enumerate(found.parts):
        total = parts.sum()
        shares = parts / total if total > 0 else np.zeros(len(parts))
        order = [place for place in np.argsort(-shares, kind="stable") if shares[place] >= _LEAST_SHARE]
        rows = [{"question": found.names[p], "share": round(float(shares[p]), 3)} for p in order]
        if asked is not None:
            rows = [
                row | {"asked": round(float(asked[galaxy, place]), 3)}
                for row, place in zip(rows, order, strict=True)
            ]
        named.append(rows)
    return named


def _of_classes(task: ClassificationTask, mean: FloatArray) -> tuple[list[str], list[str]]:
    order = np.argsort(-mean, axis=1, kind="stable")
    reasons = [" or ".join(task.class_names[k] for k in row[:2]) for row in order]
    expected = [
        _listed([(task.class_names[k], p[k]) for k in row[:_MOST_CLASSES]])
        for p, row in zip(mean, order, strict=True)
    ]
    return reasons, expected


def _listed(pairs: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in pairs)
