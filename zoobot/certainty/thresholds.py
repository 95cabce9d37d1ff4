"""Samples of galaxies by a threshold: how pure and how complete they are, for each class, label and answer.

A sample is all galaxies whose probability, or expected vote fraction, is at least the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.certainty.bootstrap import Interval, Resamples, find_intervals, replicate
from zoobot.shared.errors import ConfigError
from zoobot.shared.metrics import ranking_metrics, ratio, score_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoobot.shared.metrics import Scorer
    from zoobot.shared.tasks.base import Decision

#: Thresholds of the table.
STEPS = np.linspace(0, 1, 101).round(2)


class Point(NamedTuple):
    """One threshold, and the sample it makes.

    Args:
        threshold: Least probability or fraction of the sample.
        purity: The share of the sample that is truly so.
        completeness: The share of all such galaxies that is in the sample.
        purity_ends: The interval of its purity, at this very threshold.
        completeness_ends: That of its completeness.
    """

    threshold: float
    purity: float
    completeness: float
    purity_ends: Interval | None = None
    completeness_ends: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What thresholds of one class, label or answer can reach.

    Args:
        decision: Its predictions and the truth.
        n: Galaxies whose truth is known.
        positive: Those of them that are truly so.
        roc_auc: The area under its ROC curve; NaN if all are alike.
        at_completeness: The purest sample of at least the completeness that was asked; None if none is.
        at_purity: The most complete sample of at least the purity that was asked; likewise.
    """

    decision: Decision
    n: int
    positive: int
    roc_auc: float
    at_completeness: Point | None
    at_purity: Point | None

    def to_config(self) -> dict[str, Any]:
        """Everything but the galaxies, JSON-ready."""
        points = {"at_completeness": self.at_completeness, "at_purity": self.at_purity}
        return {
            "n": self.n,
            "positive": self.positive,
            "roc_auc": None if np.isnan(self.roc_auc) else self.roc_auc,
            **{name: None if point is None else _listed(point) for name, point in points.items()},
        }


def _listed(point: Point) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in point._asdict().items()}


def choose_thresholds(
    decisions: Sequence[Decision], draws: Resamples, *, completeness: float = 0.9, purity: float = 0.9
) -> list[Choices]:
    """Thresholds that reach a completeness, and a purity, with intervals of what they then give.

    Args:
        decisions: The yes-or-no questions of a task, of the same galaxies.
        draws: How these are drawn for the intervals.
        completeness: What one sample has to have, in (0, 1].
        purity: What another has to have, in (0, 1].

    Raises:
        ConfigError: If either is outside (0, 1].
    """
    for name, share in (("completeness", completeness), ("purity", purity)):
        if not 0 < share <= 1:
            raise ConfigError(f"a {name} to reach must lie in (0, 1], got {share!r}")
    found = [(_at(each, "completeness", completeness), _at(each, "purity", purity)) for each in decisions]
    points = [
        (each, point)
        for each, pair in zip(decisions, found, strict=True)
        for point in pair
        if point is not None
    ]
    scorer = _point_scorer(points)
    scores = score_once(scorer, draws.galaxies) if points else {}
    ends = find_intervals(scores, replicate(scorer, draws) if points else {}, draws).ends
    told = iter(
        point._replace(
            purity_ends=ends.get(f"purity {place}"), completeness_ends=ends.get(f"completeness {place}")
        )
        for place, (_, point) in enumerate(points)
    )
    choices = []
    for each, pair in zip(decisions, found, strict=True):
        scores_of, truth = each.known()
        first, second = (None if point is None else next(told) for point in pair)
        choices.append(
            Choices(
                decision=each,
                n=len(truth),
                positive=int(truth.sum()),
                roc_auc=ranking_metrics(scores_of, truth)["roc_auc"],
                at_completeness=first,
                at_purity=second,
            )
        )
    return choices


def _at(decision: Decision, name: str, least: float) -> Point | None:
    """Of the samples that have so much of one, that with most of the other; of these, that with most."""
    from sklearn.metrics import precision_recall_curve  # late: it takes a second

    scores, truth = decision.known()
    if not truth.any():
        return None
    purity, completeness, thresholds = precision_recall_curve(truth, scores)
    every = [
        Point(float(least), float(pure), float(complete))
        for least, pure, complete in zip(thresholds, purity, completeness, strict=False)
    ]
    other = "purity" if name == "completeness" else "completeness"
    enough = [point for point in every if getattr(point, name) >= least]
    return max(enough, key=lambda p: (getattr(p, other), getattr(p, name)), default=None)


def _point_scorer(points: Sequence[tuple[Decision, Point]]) -> Scorer:
    columns = []
    for decision, point in points:
        known = ~np.isnan(decision.truth)
        chosen, true = known & (decision.scores >= point.threshold), decision.truth == 1
        columns.append(np.stack([chosen & true, chosen, true], axis=1))

    def score(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        scores = {}
        for place, own in enumerate(columns):
            right, chosen, true = (weights @ own.astype(np.float64)).T
            scores[f"purity {place}"] = ratio(right, chosen)
            scores[f"completeness {place}"] = ratio(right, true)
        return scores

    return score


def threshold_table(decisions: Sequence[Decision]) -> pd.DataFrame:
    """What every threshold from 0 to 1 gives, in steps of 0.01: a row for each decision and threshold.

    Args:
        decisions: The yes-or-no questions of a task.

    Returns:
        Columns `name`, `threshold`, `purity`, `completeness`, `f1`, `false_positive_rate` (the share of those
        that are not so which is chosen), `chosen` (galaxies in the sample) and `n` (galaxies whose truth is
        known). NaN where there is nothing to divide by.

    Example:
        >>> from zoobot.shared.tasks.base import Decision
        >>> table = threshold_table([Decision("ring", np.array([0.9, 0.2]), np.array([1.0, 0.0]))])
        >>> table[table["threshold"] == 0.5].values.tolist()
        [['ring', 0.5, 1.0, 1.0, 1.0, 0.0, 1, 2]]
    """
    parts = []
    for decision in decisions:
        scores, truth = decision.known()
        order = np.argsort(scores)
        above = len(scores) - np.searchsorted(scores[order], STEPS)
        true_below = np.concatenate([[0], np.cumsum(truth[order])])
        right = true_below[-1] - true_below[len(scores) - above]
        true, others = truth.sum(), len(truth) - truth.sum()
        columns = {
            "name": decision.name,
            "threshold": STEPS,
            "purity": ratio(right, above),
            "completeness": ratio(right, np.full(len(STEPS), true)),
            "f1": ratio(2 * right, above + true),
            "false_positive_rate": ratio(above - right, np.full(len(STEPS), others)),
            "chosen": above,
            "n": len(scores),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)
