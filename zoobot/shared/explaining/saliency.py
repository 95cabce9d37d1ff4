"""Which pixels made a model say so: the arithmetic of two methods, over the gradients of any engine.

Integrated gradients share out the difference that an image makes, beside one without a galaxy, over its
pixels: what they get adds up to that difference. Grad-CAM looks at the last feature maps of an encoder and
weighs each by how much the answer would rise with it: coarser, and steadier to look at.

A network of ReLU units has kinks. Where a point of the way lies on one, as nearly as rounding can tell, the
engines may take different sides, and the gradients at that point differ by what the unit adds.

References:
    Sundararajan, Taly & Yan 2017, ICML (arXiv:1703.01365): integrated gradients.
    Selvaraju et al. 2017, ICCV (arXiv:1610.02391): Grad-CAM.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, EncoderError
from zoobot.shared.tasks import Task

Method = Literal["integrated-gradients", "grad-cam"]
METHODS: tuple[Method, ...] = get_args(Method)

Baseline = Literal["black", "blurred"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)

#: The blur that leaves an image its light and no structure, as a fraction of its side.
_BLUR = 0.15


class IntegratedGradients(NamedTuple):
    """What each pixel adds to an answer.

    Attributes:
        attributions: (height, width, channels), float64; their sum is `value - baseline_value`, up to the
            error of a sum in the place of an integral.
        value: What the model says of the image.
        baseline_value: What it says of the baseline.
    """

    attributions: NDArray[np.float64]
    value: float
    baseline_value: float

    @property
    def error(self) -> float:
        """How far the sum of all attributions is from the difference that they share out."""
        return float(self.attributions.sum()) - (self.value - self.baseline_value)

    @property
    def adds_up(self) -> bool:
        """Whether that is less than a twentieth of the difference, or next to nothing of all attributions."""
        size = max(abs(self.value - self.baseline_value), 0.01 * float(np.abs(self.attributions).sum()))
        return abs(self.error) <= defaults.SALIENCY_ERROR * size


def make_baseline(image: NDArray[np.float32], kind: Baseline, fill_value: float = 0.0) -> NDArray[np.float32]:
    """The image without what is to be explained.

    Args:
        image: (height, width, channels), in [0, 1].
        kind: "black" is an empty sky: all pixels have `fill_value`. "blurred" keeps the light and takes its
            structure away, so that dark gaps and lanes count, too.
        fill_value: Of pixels without data.

    Raises:
        ConfigError: If there is no such kind.
    """
    if kind not in BASELINES:
        raise ConfigError(f"the baseline must be one of {list(BASELINES)}, got {kind!r}")
    if kind == "black":
        return np.full_like(image, fill_value)
    planes = [
        cv2.GaussianBlur(np.ascontiguousarray(image[..., band]), (0, 0), _BLUR * len(image))
        for band in range(image.shape[-1])
    ]
    return np.stack(planes, axis=-1)


def integrated_gradients(
    image: NDArray[np.float32],
    baseline: NDArray[np.float32],
    gradients: Callable[[NDArray[np.float32]], tuple[NDArray, NDArray]],
    *,
    steps: int,
    batch_size: int,
) -> IntegratedGradients:
    """The difference from the baseline to the image, times the mean gradient on the straight way between.

    The mean is taken by Gauss and Legendre's quadrature.

    Args:
        image: (height, width, channels), in [0, 1].
        baseline: The same of an image without what is to be explained.
        gradients: From images, (batch, height, width, channels), to the values of the answer, (batch,), and
            their gradients, of the images' shape.
        steps: Points on the way.
        batch_size: Points at once.

    Raises:
        ConfigError: If there is not one step at least.

    Example:
        >>> linear = lambda images: (2 * images.sum(axis=(1, 2, 3)), np.full(images.shape, 2.0))
        >>> image = np.full((1, 1, 3), 0.5, np.float32)
        >>> found = integrated_gradients(image, 0 * image, linear, steps=1, batch_size=8)
        >>> found.attributions.tolist(), found.value
        ([[[1.0, 1.0, 1.0]]], 3.0)
    """
    if steps < 1:
        raise ConfigError(f"steps must be at least 1, got {steps!r}")
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    # with the two ends, whose values are wanted, and whose gradients do not count
    places = np.concatenate([[0.0], (nodes + 1) / 2, [1.0]])
    shares = np.concatenate([[0.0], weights / 2, [0.0]])
    difference = image.astype(np.float64) - baseline
    mean = np.zeros(image.shape, np.float64)
    values = []
    for start in range(0, len(places), batch_size):
        part = slice(start, start + batch_size)
        points = baseline + places[part, None, None, None] * difference
        found, slopes = gradients(points.astype(np.float32))
        values.append(found)
        mean += np.tensordot(shares[part], slopes.astype(np.float64), axes=1)
    all_values = np.concatenate(values)
    return IntegratedGradients(difference * mean, float(all_values[-1]), float(all_values[0]))


def class_activation_map(maps: NDArray, gradients: NDArray) -> NDArray[np.float64]:
    """Grad-CAM: where the feature maps that speak for an answer are active, (rows, columns), at least 0.

    Each map is weighted by the mean of its gradient; what the weighted maps add up to counts where it is
    above 0.

    Args:
        maps: The last feature maps of one image, (rows, columns, channels); or the tokens of a vision
            transformer, (tokens, channels), those of patches last, row by row.
        gradients: Of the answer's score, of the same shape.

    Raises:
        EncoderError: If they are not of such a shape, or have a single place.

    References:
        Selvaraju et al. 2017, ICCV (arXiv:1610.02391), equations 1 and 2.
    """
    maps, gradients = (_in_rows(values.astype(np.float64)) for values in (maps, gradients))
    weights = gradients.mean(axis=(0, 1))
    return np.maximum(maps @ weights, 0.0)


def _in_rows(values: NDArray) -> NDArray:
    """The tokens of patches in their square; maps as they are."""
    if values.ndim == 2:
        side = math.isqrt(len(values))
        values = values[len(values) - side * side :].reshape(side, side, -1)
    if values.ndim != 3 or values.shape[0] * values.shape[1] < 2:
        raise EncoderError(
            f"Grad-CAM needs feature maps with more than one place, got {values.shape[:2]}: show this "
            "encoder larger images, or use integrated gradients"
        )
    return values


# One answer out of all that a model predicts: a class, a label, a target, or an answer to a question.

_SHOWN = 20


class PickedAnswer(NamedTuple):
    """One of the numbers that a model predicts.

    Attributes:
        name: The class, the label, the target, or the label column of a tree's answer.
        column: Its place among the model's outputs, from 0.
        question: Of a tree: the places of all answers to the same question; None elsewhere.
    """

    name: str
    column: int
    question: slice | None = None

    def value(self, predictions: NDArray) -> NDArray:
        """What predictions, (…, outputs), say of it: a probability, a target, an expected fraction."""
        value = predictions[..., self.column]
        return value if self.question is None else value / predictions[..., self.question].sum(axis=-1)


def find_answers(task: Task, name: str | None = None) -> tuple[PickedAnswer, ...]:
    """The answers that a name means: itself, or, of a question, all of which the most likely is meant.

    Args:
        task: What is predicted.
        name: A class, a label, a target, a tree's answer or question. None is all classes or labels, the
            only target, or the answers to the tree's first question.

    Raises:
        ConfigError: If nothing is called so, or nothing is named and there are several targets.

    Example:
        >>> from zoobot.shared.tasks import ClassificationTask
        >>> [found.name for found in find_answers(ClassificationTask(class_names=("ring", "no ring")))]
        ['ring', 'no ring']
    """
    known = _answers(task)
    if name is None:
        if task.predicts == "numbers" and len(known) > 1:
            raise ConfigError(f"say which target is to be explained: one of {list(known)}")
        return known[task.groups[0].name] if task.predicts == "votes" else _all(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        some = list(known)[:_SHOWN]
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {some}"
        raise ConfigError(f"no {task.noun} is called {name!r}: {hint}")
    return known[name]


def most_likely(answers: Sequence[PickedAnswer], predictions: NDArray) -> PickedAnswer:
    """The answer with the largest value in the predictions for one galaxy, (outputs,)."""
    return answers[int(np.argmax([answer.value(predictions) for answer in answers]))]


def _answers(task: Task) -> dict[str, tuple[PickedAnswer, ...]]:
    """Each question of a tree with its answers; then each answer, class, label or number alone."""
    if task.tree is None:
        names = [name for group in task.groups for name in group.answers]
        return {name: (PickedAnswer(name, column),) for column, name in enumerate(names)}
    questions = {
        question.text: tuple(PickedAnswer(a.label_col, a.index, question.slice) for a in question.answers)
        for question in task.tree.questions
    }
    return questions | {answer.name: (answer,) for answer in _all(questions)}


def _all(known: dict[str, tuple[PickedAnswer, ...]]) -> tuple[PickedAnswer, ...]:
    return tuple(answer for answers in known.values() for answer in answers)
