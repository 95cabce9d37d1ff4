"""Which galaxies to label next: a score for each, from the predictions of several members or samples.

The score of a galaxy is the sum of its parts: the questions of a tree, all yes/no labels, the
targets of a regression; of classes there is one. A higher score says that its label would teach more. Which
scores there are, and what they mean: `zoobot.choosing.strategy_names.SCORES`.

References:
    Walmsley et al. 2020, MNRAS 491, 1554; Houlsby et al. 2011, arXiv:1112.5745.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from zoobot.choosing.information import score_parts
from zoobot.choosing.strategy_names import SCORES
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.tasks import KINDS, ProbabilityTask, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from zoobot.choosing.strategy_names import ScoreName
    from zoobot.shared.votes import FloatArray


class Acquisition(NamedTuple):
    """What galaxies' labels are worth.

    Attributes:
        score: (galaxies,), at least 0; the sum of the parts.
        parts: (galaxies, parts).
        names: What the parts are: questions, labels, targets, or "class".
    """

    score: FloatArray
    parts: FloatArray
    names: tuple[str, ...]

    @property
    def reasons(self) -> list[str]:
        """For each galaxy the part that matters most."""
        return [self.names[part] for part in self.parts.argmax(axis=1)]


def choose_score(task: Task, asked: str | None) -> ScoreName:
    """The score that was asked for, or the task's default.

    Raises:
        ConfigError: If there is no such score for this kind of task.
    """
    known = KINDS[task.kind].choosing
    if asked is not None and asked not in known:
        raise ConfigError(f"the score of a {task.kind} task must be one of {list(known)}, got {asked!r}")
    return cast("ScoreName", asked or known[0])


def score_galaxies(
    task: Task,
    predictions: ArrayLike,
    *,
    score: str | None = None,
    n_volunteers: int = defaults.VOLUNTEERS,
    seed: int = defaults.SEED,
) -> Acquisition:
    """What the label of each galaxy would be worth.

    Args:
        task: What was predicted.
        predictions: (samples, galaxies, outputs), or (galaxies, outputs) of a single model.
        score: One of the task's; None is its default.
        n_volunteers: Of a tree: how many people each question is asked, if it is asked.
        seed: Of the random score.

    Raises:
        ConfigError: If there is no such score for this task, a single sample can't give it, or the
            volunteers are too many.
        LabelError: If the predictions are not of this task.

    Example:
        >>> from zoobot.shared.tasks import ClassificationTask
        >>> rings = ClassificationTask(class_names=("no", "yes"))
        >>> score_galaxies(rings, [[0.5, 0.5], [0.9, 0.1]], score="margin").score.round(2).tolist()
        [1.0, 0.2]
    """
    chosen = choose_score(task, score)
    values = _checked(task, predictions)
    if SCORES[chosen].needs_members and len(values) < 2:
        raise ConfigError(
            f"the score {chosen!r} needs several predictions of each galaxy, got one: take dropout samples "
            "or an ensemble, or another score"
        )
    if chosen == "random":
        drawn = np.random.default_rng(seed).random((values.shape[1], 1))
        return Acquisition(drawn[:, 0], drawn, ("random",))
    parts = score_parts(task, values, chosen, n_volunteers)
    return Acquisition(parts.sum(axis=1), parts, tuple(group.name for group in task.groups))


def only_parts(found: Acquisition, names: Sequence[str]) -> Acquisition:
    """The same scores, to which only some questions, labels or targets contribute.

    Raises:
        ConfigError: If there is no part of a name.
    """
    unknown = [name for name in names if name not in found.names]
    if unknown:
        near = difflib.get_close_matches(unknown[0], found.names, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {list(found.names)}"
        raise ConfigError(f"no question, label or target is called {unknown[0]!r}: {hint}")
    parts = np.where([name in names for name in found.names], found.parts, 0.0)
    return Acquisition(parts.sum(axis=1), parts, found.names)


def _checked(task: Task, predictions: ArrayLike) -> FloatArray:
    """The predictions with an axis of samples."""
    values = np.asarray(predictions, dtype=np.float64)
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[2] != task.num_outputs or not len(values):
        raise LabelError(
            f"predictions of this {task.kind} task must be (samples, galaxies, {task.num_outputs} outputs), "
            f"got shape {np.shape(predictions)}"
        )
    if not np.isfinite(values).all():
        raise LabelError("predictions must be finite, got NaN or infinite ones")
    if isinstance(task, ProbabilityTask) and ((values < 0) | (values > 1 + 1e-6)).any():
        raise LabelError(f"predictions of a {task.kind} task must be probabilities in [0, 1]")
    return values
