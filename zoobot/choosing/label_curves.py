"""How scores grow with labels, chosen by one strategy or another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot.choosing.acquisition import score_galaxies
from zoobot.choosing.diversity import Chosen, choose_galaxies
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from zoobot.choosing.strategy_names import Strategy
    from zoobot.shared.tasks import Task

# The galaxies that a strategy would have labelled next: by a score, by keeping apart, or both.


def next_galaxies(
    strategy: Strategy,
    task: Task,
    n: int,
    *,
    features: NDArray,
    labelled: NDArray,
    predictions: NDArray | None = None,
    n_volunteers: int = defaults.VOLUNTEERS,
    seed: int = defaults.SEED,
) -> Chosen:
    """The galaxies that a strategy would have labelled next.

    Args:
        strategy: How they are chosen.
        task: What is learned.
        n: Most galaxies to choose.
        features: Of the galaxies that can be chosen, (galaxies, features).
        labelled: Features of the galaxies that are labelled already.
        predictions: (samples, galaxies, outputs) of those that can be chosen, where the strategy needs them.
        n_volunteers: Of a tree: how many people each question is asked.
        seed: Of everything that is drawn.
    """
    if strategy.needs_predictions:
        if predictions is None:
            raise ConfigError(f"the strategy {strategy.name!r} needs predictions")
        found = score_galaxies(task, predictions, score=strategy.score, n_volunteers=n_volunteers, seed=seed)
        scores = found.score
    elif strategy.score is None:
        scores = np.ones(len(features))
    else:
        scores = np.random.default_rng(seed).random(len(features))
    return choose_galaxies(
        scores,
        n,
        diversity=strategy.diversity,
        features=features if strategy.diversity != "none" else None,
        labelled=labelled,
        shortlist=len(features) if strategy.score is None else defaults.SHORTLIST,
        seed=seed,
    )


_LOWER = ("nll", "log_loss", "rmse", "mae", "fraction_rmse", "challenge_rmse", "ece")


def lower_is_better(score: str) -> bool:
    """Whether a score of `zoobot.shared.metrics` is an error, and not a success.

    Example:
        >>> lower_is_better("rmse_T"), lower_is_better("accuracy")
        (True, False)
    """
    return any(score == name or score.startswith(f"{name}_") for name in _LOWER)


def mean_curve(curves: pd.DataFrame, strategy: str, score: str) -> pd.DataFrame:
    """The mean, lowest and highest score of a strategy over seeds, by number of labels.

    Args:
        curves: A row for each `strategy`, `seed` and round, with `labels` and scores.
        strategy: Which one.
        score: A column of scores.

    Returns:
        Columns `labels`, `mean`, `low`, `high` and `seeds`, a row for each number of labels that every seed
        has reached.
    """
    own = curves[curves["strategy"] == strategy]
    by_labels = own.groupby("labels")[score].agg(["mean", "min", "max", "count"]).reset_index()
    by_labels.columns = pd.Index(["labels", "mean", "low", "high", "seeds"])
    return by_labels[by_labels["seeds"] == own["seed"].nunique()].reset_index(drop=True)


def without_relapses(scores: ArrayLike, *, lower: bool) -> NDArray[np.float64]:
    """The nearest curve that never gets worse: more labels teach more, and a relapse is noise.

    A noisy curve touches a score before it has reached it for good; this one does not.

    Args:
        scores: By rising number of labels.
        lower: Whether lower scores are better.

    Example:
        >>> without_relapses([0.5, 0.7, 0.6, 0.8], lower=False).round(2).tolist()
        [0.5, 0.65, 0.65, 0.8]
    """
    from sklearn.isotonic import isotonic_regression

    curve: NDArray[np.float64] = isotonic_regression(np.asarray(scores, np.float64), increasing=not lower)
    return curve


def labels_to_match(labels: ArrayLike, scores: ArrayLike, target: float, *, lower: bool) -> float:
    """How many labels it took to reach a score, between rounds on a straight line; NaN if it was not reached.

    Args:
        labels: Numbers of labels, increasing.
        scores: What was reached with them.
        target: The score to reach.
        lower: Whether lower scores are better.

    Example:
        >>> labels_to_match([100, 200], [0.5, 0.7], 0.6, lower=False)
        150.0
    """
    x = np.asarray(labels, float)
    gain = (target - np.asarray(scores, float)) if lower else (np.asarray(scores, float) - target)
    reached = np.flatnonzero(gain >= 0)
    if not len(reached):
        return float("nan")
    first = int(reached[0])
    if first == 0:
        return float(x[0])
    share = -gain[first - 1] / (gain[first] - gain[first - 1])
    return float(x[first - 1] + share * (x[first] - x[first - 1]))


def savings(curves: pd.DataFrame, score: str, *, reference: str = "random") -> dict[str, dict[str, Any]]:
    """For each strategy, how many labels it needs for what the reference reaches with all of its.

    Mean curves are taken `without_relapses`.

    Args:
        curves: As for `mean_curve`.
        score: A column of scores.
        reference: The strategy to compare with.

    Returns:
        By strategy: `final` (its last mean score), `labels_to_match` and `share` of the reference's labels,
        None where it never got there; and `share_by_seed`, each seed against the same seed's reference.

    Raises:
        ConfigError: If the reference is not among the strategies.
    """
    names = list(dict.fromkeys(curves["strategy"]))
    if reference not in names:
        raise ConfigError(f"the strategy to compare with, {reference!r}, is not among {names}")
    of_seed = dict(list(curves.groupby("seed")))
    return {
        name: {
            **_saving(curves, name, score, reference),
            "share_by_seed": {
                str(seed): _saving(part, name, score, reference)["share"] for seed, part in of_seed.items()
            },
        }
        for name in names
    }


def _saving(curves: pd.DataFrame, name: str, score: str, reference: str) -> Mapping[str, Any]:
    known, own = mean_curve(curves, reference, score), mean_curve(curves, name, score)
    if known.empty or own.empty:
        return {"final": None, "labels_to_match": None, "share": None}
    lower = lower_is_better(score)
    target, most = float(without_relapses(known["mean"], lower=lower)[-1]), float(known["labels"].iloc[-1])
    needed = labels_to_match(own["labels"], without_relapses(own["mean"], lower=lower), target, lower=lower)
    known_number = np.isfinite(needed)
    return {
        "final": round(float(own["mean"].iloc[-1]), 4),
        "labels_to_match": round(needed, 1) if known_number else None,
        "share": round(needed / most, 3) if known_number else None,
    }
