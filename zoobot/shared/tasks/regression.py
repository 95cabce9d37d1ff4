"""One or many measured numbers for each galaxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zoobot.shared import metrics
from zoobot.shared.errors import LabelError
from zoobot.shared.tasks.base import Mistakes, ScoresToRead, Task, agreed, refuse_bad, refuse_unlabelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.metrics import Scorer

_MOST_TARGETS = 6  # of which the range is told


@dataclass(frozen=True, kw_only=True)
class RegressionTask(Task):
    """One or many measured numbers for each galaxy; a missing one is NaN and is left out of the loss.

    Args:
        num_targets: How many numbers; they may be named later, when the task meets a catalog.
        unit_interval: Whether targets lie in [0, 1], and predictions must too.
    """

    kind: ClassVar[str] = "regression"
    predicts = "numbers"
    noun: ClassVar[str] = "target"
    model: ClassVar[str] = "FinetuneableZoobotRegressor"
    head: ClassVar[str] = "RegressionHead"
    loss: ClassVar[str] = "regression_loss"
    scores = ScoresToRead(
        rows="target",
        headline=(("rmse", "RMSE"), ("mae", "mean absolute error"), ("r2", "R²")),
        columns=(("n", "galaxies"), ("rmse", "RMSE"), ("mae", "MAE"), ("r2", "R²")),
        by_epoch=("r2",),
    )
    num_targets: int = 1
    unit_interval: bool = False

    @classmethod
    def of_columns(cls, label_cols: Sequence[str], **said: Any) -> RegressionTask:
        """The task of a target in each column; `unit_interval` says where they lie."""
        unit = said.get("unit_interval", False)
        return cls(num_targets=len(label_cols), label_cols=tuple(label_cols), unit_interval=unit)

    @property
    def num_label_cols(self) -> int:
        """How many catalog columns hold the labels of one galaxy."""
        return self.num_targets

    @property
    def output_columns(self) -> list[str]:
        """The names of those numbers in a prediction table, in order."""
        return [f"{name}_predicted" for name in self.label_cols or map(str, range(self.num_targets))]

    @property
    def model_options(self) -> dict[str, Any]:
        """What a regressor is told of the task."""
        return super().model_options | {"num_targets": self.num_targets, "unit_interval": self.unit_interval}

    @property
    def head_options(self) -> dict[str, Any]:
        """Whether predictions must lie in [0, 1]."""
        return {"unit_interval": self.unit_interval}

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise a LabelError unless targets are finite or NaN, with one at least for each galaxy."""
        refuse_bad(labels, np.isinf(labels), ids, self.label_cols, "targets must be finite or missing")
        if self.unit_interval:
            bad = (labels < 0) | (labels > 1)
            refuse_bad(labels, bad, ids, self.label_cols, "with unit_interval, targets must lie in [0, 1]")
        refuse_unlabelled(labels, ids)

    def describe_labels(self, labels: np.ndarray) -> dict[str, str]:
        """From where to where the targets of training galaxies go, in words."""
        spans = zip(self.label_cols, np.nanmin(labels, axis=0), np.nanmax(labels, axis=0), strict=True)
        shown = [f"{name} from {low:.4g} to {high:.4g}" for name, low, high in spans]
        return {"values": "; ".join(shown[:_MOST_TARGETS])}

    def scorer(self, predictions: np.ndarray, labels: np.ndarray) -> Scorer:
        """What gives the scores of `regression_metrics` of weighted galaxies."""
        return regression_scorer(predictions, labels, self.label_cols)

    def mistakes(self, expected: np.ndarray, labels: np.ndarray, **_: Any) -> Mistakes:
        """The largest error of a galaxy, in units of its target's typical one (the root mean square)."""
        errors = np.abs(expected - labels)
        typical = np.sqrt(metrics.mean_of_defined((errors**2).T))
        sizes = np.nan_to_num(metrics.ratio(errors, typical[None]), nan=-1.0)
        worst, size = sizes.argmax(axis=1), sizes.max(axis=1)
        names = self._column_names()

        def words(galaxy: int) -> str:
            place = worst[galaxy]
            said, truth = expected[galaxy, place], labels[galaxy, place]
            return f"{names[place]}: said {said:.3g}, is {truth:.3g} ({size[galaxy]:.1f} RMSE)"

        return Mistakes(np.where(size > 0, size, np.nan), words)

    @property
    def conformal_names(self) -> tuple[str, ...]:
        """The targets."""
        return self.label_cols or tuple(map(str, range(self.num_targets)))

    def nonconformity(self, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """How far each target is from what was predicted: there is no predicted spread to measure it by."""
        return np.abs(predicted - labels)

    def interval_columns(self, level: str) -> list[tuple[str, str, str]]:
        """Both ends of each target's interval."""
        return [
            (f"{name}_{end}_{level}", "float32", f"{end} end of the {level}% interval of {name}")
            for name in self.conformal_names
            for end in ("lower", "upper")
        ]

    def intervals(self, predicted: np.ndarray, thresholds: np.ndarray) -> list[np.ndarray]:
        """As far below the prediction as above, within [0, 1] where targets are."""
        lower, upper = self._ends(predicted, thresholds)
        return [end for k in range(self.num_targets) for end in (lower[:, k], upper[:, k])]

    def _ends(self, predicted: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lower, upper = predicted - thresholds, predicted + thresholds
        return (np.clip(lower, 0, 1), np.clip(upper, 0, 1)) if self.unit_interval else (lower, upper)

    def judge_intervals(
        self, predicted: np.ndarray, labels: np.ndarray, thresholds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whether the target lies between the ends, and how far these are apart."""
        lower, upper = self._ends(predicted, thresholds)
        unknown = np.isnan(labels) | np.isnan(thresholds)
        return np.where(unknown, np.nan, (labels >= lower) & (labels <= upper)), upper - lower

    def say(self, value: float) -> str:
        """A predicted number in words."""
        return f"{value:.3g}"

    def to_config(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return super().to_config() | {"num_targets": self.num_targets, "unit_interval": self.unit_interval}


def regression_task(
    *, num_targets: int | None, label_cols: Sequence[str] | None, unit_interval: bool
) -> RegressionTask:
    """The task of a regressor, from what its user said of the targets; one target if nothing was said.

    Raises:
        ConfigError: If the number of targets is said in two ways that differ.
    """
    said = {"num_targets": num_targets, "label_cols": label_cols and len(label_cols)}
    number = agreed(said) if any(said.values()) else 1
    return RegressionTask(num_targets=number, unit_interval=unit_interval, label_cols=tuple(label_cols or ()))


def regression_metrics(
    predictions: np.ndarray, targets: np.ndarray, names: Sequence[str] = ()
) -> dict[str, float]:
    """Scores of measured numbers.

    Args:
        predictions: (galaxies, targets).
        targets: (galaxies, targets); NaN where missing, which is left out.
        names: One for each target; by default their numbers.

    Returns:
        For each target `rmse_NAME`, `mae_NAME`, `r2_NAME` and `n_NAME` (galaxies that have it); and the means
        over targets: `rmse`, `mae`, `r2`.

    Raises:
        LabelError: If the shapes do not fit, or a target is infinite.
        NonFiniteError: If a prediction is not finite.

    Example:
        >>> regression_metrics(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]]), ["T"])["mae_T"]
        0.5
    """
    return metrics.score_once(regression_scorer(predictions, targets, names), len(targets))


#: Targets whose scatter is so small a share of their size do not vary but for rounding.
_ROUNDING = 1e-12


def regression_scorer(predictions: np.ndarray, targets: np.ndarray, names: Sequence[str] = ()) -> Scorer:
    """What gives the scores of `regression_metrics`, told the same, of weighted galaxies."""
    predictions, targets, names = metrics.check_columns(predictions, targets, names)
    if np.isinf(targets).any():
        raise LabelError("targets must be finite or NaN, got inf")
    known = ~np.isnan(targets)
    truth = np.where(known, targets, 0.0)
    truth = np.where(known, truth - metrics.ratio(truth.sum(axis=0), known.sum(axis=0)), 0.0)
    errors = np.where(known, predictions - targets, 0.0)
    counted = np.hstack([known, errors**2, np.abs(errors), truth, truth**2])

    def score(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        n, squares, sizes, firsts, seconds = np.split(weights @ counted, 5, axis=1)
        scatter = seconds - np.nan_to_num(metrics.ratio(firsts**2, n))
        scatter = np.where(scatter > _ROUNDING * seconds, scatter, 0.0)
        per_target = {"rmse": metrics.ratio(squares, n) ** 0.5, "mae": metrics.ratio(sizes, n)}
        per_target |= {"r2": 1 - metrics.ratio(squares, scatter), "n": n}
        means = {name: metrics.mean_of_defined(per_target[name]) for name in ("rmse", "mae", "r2")}
        return means | metrics.by_name(per_target, names)

    return score
