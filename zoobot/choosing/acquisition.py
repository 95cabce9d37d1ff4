"""Which galaxies to label next: a score for each, from the predictions of several members or samples.

The score of a galaxy is the sum of its parts: the questions of a tree, the labels of a multi-label task, the
targets of a regression; of classes there is one. A higher score says that its label would teach more.

- bald: mutual information between the label and the members, in nats: what a label tells of which member is
  right. Of a tree, the votes of k volunteers, each question weighted by the probability that it is asked.
- entropy: how uncertain the label is, for whatever reason, in nats.
- margin: 1 less the distance between the two likeliest answers.
- least-confidence: 1 less the probability of the likeliest class.
- variance: between the members, of a regression, in units of the predictions' variance over galaxies.
- random: the same for every galaxy's chances.

References:
    Walmsley et al. 2020, MNRAS 491, 1554; Houlsby et al. 2011, arXiv:1112.5745.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoobot.choosing.information import (
    disagreement,
    entropy_of_mean,
    lack_of_confidence,
    lack_of_margin,
    scatter_of_members,
    vote_information,
    yes_and_no,
)
from zoobot.choosing.strategy_names import SCORES
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.posteriors import expected_fractions, probability_asked
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, Task, TreeTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from zoobot.shared.trees.tree import Schema
    from zoobot.shared.votes import FloatArray

__all__ = ["Acquisition", "choose_score", "needs_members", "only_parts", "score_galaxies"]

_OF_CLASSES = {
    "bald": disagreement,
    "entropy": entropy_of_mean,
    "margin": lack_of_margin,
    "least-confidence": lack_of_confidence,
}


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


def choose_score(task: Task, asked: str | None) -> str:
    """The score that was asked for, or the task's default.

    Raises:
        ConfigError: If there is no such score for this kind of task.
    """
    known = SCORES[task.kind]
    if asked is not None and asked not in known:
        msg = f"the score of a {task.kind} task must be one of {list(known)}, got {asked!r}"
        raise ConfigError(msg)
    return asked or known[0]


def needs_members(score: str) -> bool:
    """Whether a score says something only where there are several members or samples."""
    return score in ("bald", "variance")


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
        score: One of the task's `SCORES`; None is its default.
        n_volunteers: Of a tree: how many people each question is asked, if it is asked.
        seed: Of the random score.

    Raises:
        ConfigError: If there is no such score for this task, a single sample can't give it, or the
            volunteers are too many.
        LabelError: If the predictions are not of this task.

    Example:
        >>> rings = ClassificationTask(class_names=("no", "yes"))
        >>> score_galaxies(rings, [[0.5, 0.5], [0.9, 0.1]], score="margin").score.round(2).tolist()
        [1.0, 0.2]
    """
    score = choose_score(task, score)
    values = _checked(task, predictions)
    if needs_members(score) and len(values) < 2:
        msg = (
            f"the score {score!r} needs several predictions of each galaxy, got one: take dropout samples or "
            "an ensemble, or another score"
        )
        raise ConfigError(msg)
    if score == "random":
        drawn = np.random.default_rng(seed).random((values.shape[1], 1))
        return Acquisition(drawn[:, 0], drawn, ("random",))
    parts, names = _parts(task, values, score, n_volunteers)
    return Acquisition(parts.sum(axis=1), parts, names)


def only_parts(found: Acquisition, names: Sequence[str]) -> Acquisition:
    """The same scores, to which only some questions, labels or targets contribute.

    Raises:
        ConfigError: If there is no part of a name.
    """
    unknown = [name for name in names if name not in found.names]
    if unknown:
        near = difflib.get_close_matches(unknown[0], found.names, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {list(found.names)}"
        msg = f"no question, label or target is called {unknown[0]!r}: {hint}"
        raise ConfigError(msg)
    parts = np.where([name in names for name in found.names], found.parts, 0.0)
    return Acquisition(parts.sum(axis=1), parts, found.names)


def _parts(
    task: Task, values: FloatArray, score: str, n_volunteers: int
) -> tuple[FloatArray, tuple[str, ...]]:
    if isinstance(task, TreeTask):
        questions = tuple(question.text for question in task.schema.questions)
        return _parts_of_tree(task.schema, values, score, n_volunteers), questions
    if isinstance(task, RegressionTask):
        return scatter_of_members(values), _names(task, "target")
    if isinstance(task, MultiLabelTask):
        both = yes_and_no(values)
        each = [_OF_CLASSES[score](both[:, :, label]) for label in range(values.shape[2])]
        return np.stack(each, axis=1), _names(task, "label")
    return _OF_CLASSES[score](values)[:, None], ("class",)


def _parts_of_tree(schema: Schema, alpha: FloatArray, score: str, n_volunteers: int) -> FloatArray:
    """What each question is worth, times the probability that it is asked: (galaxies, questions)."""
    if score == "margin":
        fractions = expected_fractions(alpha, schema)
        lack = [lack_of_margin(fractions[None, :, question.slice]) for question in schema.questions]
        single = [len(question.answers) == 1 for question in schema.questions]
        return np.where(single, 0.0, np.stack(lack, axis=1)) * probability_asked(alpha, schema)
    found = vote_information(alpha, schema, n_volunteers)
    return found.asked * (found.information if score == "bald" else found.entropy)


def _names(task: Task, what: str) -> tuple[str, ...]:
    return task.label_cols or tuple(f"{what} {number}" for number in range(task.num_outputs))


def _checked(task: Task, predictions: ArrayLike) -> FloatArray:
    """The predictions with an axis of samples."""
    values = np.asarray(predictions, dtype=np.float64)
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[2] != task.num_outputs or not len(values):
        msg = (
            f"predictions of this {task.kind} task must be (samples, galaxies, {task.num_outputs} outputs), "
            f"got shape {np.shape(predictions)}"
        )
        raise LabelError(msg)
    if not np.isfinite(values).all():
        msg = "predictions must be finite, got NaN or infinite ones"
        raise LabelError(msg)
    if isinstance(task, (ClassificationTask, MultiLabelTask)) and ((values < 0) | (values > 1 + 1e-6)).any():
        msg = f"predictions of a {task.kind} task must be probabilities in [0, 1]"
        raise LabelError(msg)
    return values
