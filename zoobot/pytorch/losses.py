"""Losses on PyTorch tensors, one value for each galaxy (and label, target or question), never reduced.

Whoever trains takes the mean; whoever looks for strange galaxies looks at the values. A missing label is NaN
and contributes exactly 0 to the loss and to its gradient.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zoobot.shared import defaults
from zoobot.shared.likelihood import Tree, VotedEntries, tree_of
from zoobot.shared.training.heads import (
    check_class_labels,
    check_class_weights_shape,
    check_classification_options,
    check_regression_options,
    check_same_shape,
    check_votes_shape,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["classification_loss", "dirichlet_multinomial_nll", "multilabel_loss", "regression_loss"]


# The Dirichlet-multinomial loss of volunteers' votes, for all questions at once.
#
# Written with one function, the log of a generalised binomial coefficient,
#
# v(x, c) = ln C(x + c − 1, c) = lnΓ(x + c) − lnΓ(x) − lnΓ(c + 1),    v(x, 0) = 0,
#
# a question with concentrations a (sum A) and votes k (sum N) has the loss v(A, N) − Σ v(a, k).
# Answers without votes and questions nobody was asked add nothing, so only the others need log-gamma: a tenth
# of the table in a survey of many campaigns. The reference is `zoobot.shared.likelihood`.


# The vote loss on a CPU for PyTorch: NumPy's, with its derivative written out.
#
# Through torch's own operations, of which it takes some forty on small arrays, the same takes a third
# (batches of 512) to a half (of 64) longer.


class _VotedLoss(torch.autograd.Function):
    """`_VotedLoss.apply(concentrations, votes, tree)`: each question's loss, (batch, questions).

    It is in the type of the concentrations, at least float32. Numbers that are not finite make a loss that is
    not, of their galaxy alone; whoever trains tells of it.
    """

    @staticmethod
    @np.errstate(all="ignore")
    def forward(ctx: Any, concentrations: Tensor, votes: Tensor, tree: Tree) -> Tensor:
        """The loss, and for the way back where its entries stand."""
        entries = VotedEntries(_array(votes), tree)
        at = entries.at(_array(concentrations))
        ctx.kept = entries, at
        ctx.shape, ctx.dtype = concentrations.shape, concentrations.dtype
        return torch.from_numpy(entries.losses(at)).to(
            torch.promote_types(concentrations.dtype, torch.float32)
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    @np.errstate(all="ignore")
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None, None]:
        """The gradient by the concentrations, in their type."""
        entries, at = ctx.kept
        gradient = np.zeros(ctx.shape, np.float64 if ctx.dtype == torch.float64 else np.float32)
        entries.slopes(at, _array(grad_loss), gradient)
        return torch.from_numpy(gradient).to(ctx.dtype), None, None


def _array(values: Tensor) -> NDArray:
    """The same memory, but for bfloat16, which NumPy does not know."""
    return (values.float() if values.dtype == torch.bfloat16 else values.detach()).numpy()


def dirichlet_multinomial_nll(
    concentrations: Tensor, votes: Tensor, question_slices: Sequence[slice]
) -> Tensor:
    """Negative log-likelihood of the votes for each question, in nats: (batch, questions).

    The sums are taken in float64 (except on devices without it), since differences of log-gamma lose digits
    in float32 as votes grow. The values of the votes are not checked: `zoobot.shared.votes.check_votes` does
    that once, before training.

    Args:
        concentrations: Dirichlet concentrations, above 0, (batch, answers), of any floating type.
        votes: Votes for each answer, whole or weighted, (batch, answers). A question whose votes are all 0 or
            NaN was not asked: it contributes exactly 0, to the loss and to its gradient.
        question_slices: Where each question's answers stand, half-open, in order: `Schema.question_slices`.

    Returns:
        The loss, not reduced, (batch, questions), in the type of `concentrations`, at least float32.

    Raises:
        SchemaError: If the slices overlap, leave a gap, or do not begin at 0.
        LabelError: If the shapes do not fit each other or the slices.

    Example:
        >>> votes = torch.tensor([[3.0, 1.0]])
        >>> uniform = dirichlet_multinomial_nll(torch.ones(1, 2), votes, [slice(0, 2)])
        >>> bool(torch.isclose(uniform, torch.tensor(5.0).log()))  # five splits of four votes, all as likely
        True

    References:
        Walmsley et al. 2022, MNRAS 509, 3966.
    """
    tree = tree_of(question_slices)
    check_votes_shape(tuple(concentrations.shape), tuple(votes.shape), len(tree.question))
    if concentrations.device.type == "cpu":
        # to find the entries that have votes is cheap on a CPU, and a stall elsewhere
        return _VotedLoss.apply(concentrations, votes, tree)
    loss = _dense_loss(concentrations, votes, _membership(tree, concentrations.device))
    return loss.to(torch.promote_types(concentrations.dtype, torch.float32))


def _dense_loss(concentrations: Tensor, votes: Tensor, membership: Tensor) -> Tensor:
    """The same loss with every entry computed, so that the shapes do not depend on the votes."""
    counts = torch.where(votes > 0, votes, 0).to(membership.dtype)
    concentrations = concentrations.to(membership.dtype)
    of_questions = _log_coefficient(concentrations @ membership, counts @ membership)
    return of_questions - _log_coefficient(concentrations, counts) @ membership


def _log_coefficient(x: Tensor, c: Tensor) -> Tensor:
    """v(x, c), as told above."""
    return torch.lgamma(x + c) - torch.lgamma(x) - torch.lgamma(c + 1)


@lru_cache(maxsize=8)
def _membership(tree: Tree, device: torch.device) -> Tensor:
    """1 where an answer belongs to a question, else 0: (answers, questions), in the device's longest type."""
    longest = torch.float32 if device.type == "mps" else torch.float64
    return torch.nn.functional.one_hot(torch.from_numpy(tree.question), len(tree.first)).to(device, longest)


def classification_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    kind: str = "cross_entropy",
    label_smoothing: float = defaults.LABEL_SMOOTHING,
    class_weights: Sequence[float] | Tensor | None = None,
    focal_gamma: float = defaults.FOCAL_GAMMA,
) -> Tensor:
    """How badly the logits foretell each galaxy's class, in nats: (batch,).

    With target probabilities t (one for the label's class, smoothed), predicted probabilities p and weights w
    the loss is −Σ w t ln p over the classes; the focal loss has (1 − p)^gamma in each term, so that galaxies
    which are already right count less.

    Args:
        logits: (batch, classes), any real numbers; their softmax is p.
        labels: The number of each galaxy's class, from 0, (batch,), of an integer type.
        kind: "cross_entropy" or "focal".
        label_smoothing: The part of t that is spread evenly over all classes, in [0, 1).
        class_weights: w, above 0, one for each class; None weighs all alike.
        focal_gamma: How much less the easy galaxies count; 0 is the cross-entropy.

    Raises:
        ConfigError: If an option can't work.
        LabelError: If the shapes do not fit, or the labels are not of an integer type.

    Example:
        >>> loss = classification_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        >>> bool(torch.isclose(loss, torch.log(torch.tensor([2.0]))))
        True

    References:
        Focal loss: Lin et al. 2017, arXiv:1708.02002. Label smoothing: Szegedy et al. 2016, arXiv:1512.00567.
    """
    is_integer = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    check_class_labels(tuple(logits.shape), tuple(labels.shape), is_integer=is_integer)
    weights = _checked_weights(logits, kind, label_smoothing, class_weights, focal_gamma)
    log_p = functional.log_softmax(_at_least_float32(logits), dim=1)
    targets = functional.one_hot(labels.long(), logits.shape[1]).to(log_p.dtype)
    terms = -((1 - label_smoothing) * targets + label_smoothing / logits.shape[1]) * log_p
    if kind == "focal":
        # Away from 0, where a power below 1 has no derivative.
        not_p = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps)
        terms = terms * not_p**focal_gamma
    return (terms if weights is None else terms * weights).sum(dim=1)


def multilabel_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    kind: str = "cross_entropy",
    label_smoothing: float = defaults.LABEL_SMOOTHING,
    class_weights: Sequence[float] | Tensor | None = None,
    focal_gamma: float = defaults.FOCAL_GAMMA,
) -> Tensor:
    """How badly the logits foretell each yes/no label, in nats: (batch, labels), 0 where a label is missing.

    With a target probability t and a predicted one p the loss is −w t ln p − (1 − t) ln(1 − p); the focal
    loss has (1 − p)^gamma in the first term and p^gamma in the second.

    Args:
        logits: (batch, labels), any real numbers; their sigmoid is p.
        labels: 1, 0, or NaN where missing, (batch, labels).
        kind: "cross_entropy" or "focal".
        label_smoothing: Moves t from 0 and 1 towards one half by half of this, in [0, 1).
        class_weights: w, above 0, one for each label: how much more its yes counts than its no.
        focal_gamma: How much less the easy galaxies count; 0 is the cross-entropy.

    Raises:
        ConfigError: If an option can't work.
        LabelError: If the shapes do not fit.

    Example:
        >>> labels = torch.tensor([[1.0, float("nan")]])
        >>> multilabel_loss(torch.zeros(1, 2), labels)
        tensor([[0.6931, 0.0000]])
    """
    check_same_shape(tuple(logits.shape), tuple(labels.shape))
    weights = _checked_weights(logits, kind, label_smoothing, class_weights, focal_gamma)
    logits = _at_least_float32(logits)
    known = ~torch.isnan(labels)
    targets = torch.where(known, labels, 0).to(logits.dtype)
    targets = (1 - label_smoothing) * targets + 0.5 * label_smoothing
    log_yes, log_no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    of_yes, of_no = -targets * log_yes, -(1 - targets) * log_no
    if kind == "focal":
        of_yes = of_yes * (focal_gamma * log_no).exp()
        of_no = of_no * (focal_gamma * log_yes).exp()
    if weights is not None:
        of_yes = of_yes * weights
    return torch.where(known, of_yes + of_no, 0)


def regression_loss(
    predictions: Tensor, targets: Tensor, *, kind: str = "mse", huber_delta: float = defaults.HUBER_DELTA
) -> Tensor:
    """How far each prediction is from its target: (batch, targets), 0 where a target is missing.

    Args:
        predictions: (batch, targets).
        targets: In the same units, NaN where missing, (batch, targets).
        kind: "mse" for the squared error e², "mae" for |e|, "huber" for e²/2 where |e| is below `huber_delta`
            and huber_delta (|e| − huber_delta/2) beyond.
        huber_delta: Where Huber's loss turns from a parabola to a line, above 0, in the units of the targets.

    Raises:
        ConfigError: If an option can't work.
        LabelError: If the shapes differ.

    Example:
        >>> targets = torch.tensor([[1.0, float("nan")]])
        >>> regression_loss(torch.tensor([[3.0, 3.0]]), targets)
        tensor([[4., 0.]])
    """
    check_same_shape(tuple(predictions.shape), tuple(targets.shape))
    check_regression_options(kind, huber_delta)
    predictions = _at_least_float32(predictions)
    known = ~torch.isnan(targets)
    targets = torch.where(known, targets, 0).to(predictions.dtype)
    if kind == "mse":
        loss = functional.mse_loss(predictions, targets, reduction="none")
    elif kind == "mae":
        loss = functional.l1_loss(predictions, targets, reduction="none")
    else:
        loss = functional.huber_loss(predictions, targets, reduction="none", delta=huber_delta)
    return torch.where(known, loss, 0)


def _checked_weights(
    logits: Tensor,
    kind: str,
    label_smoothing: float,
    class_weights: Sequence[float] | Tensor | None,
    focal_gamma: float,
) -> Tensor | None:
    """The class weights as a tensor beside the logits, once all options are found to be possible.

    The values of weights that are a tensor already are not looked at: they may lie on an accelerator.
    """
    num_classes = logits.shape[1]
    numbers = None if isinstance(class_weights, Tensor) else class_weights
    check_classification_options(kind, num_classes, label_smoothing, numbers, focal_gamma)
    if class_weights is None:
        return None
    weights = torch.as_tensor(class_weights, dtype=_at_least_float32(logits).dtype, device=logits.device)
    check_class_weights_shape(tuple(weights.shape), num_classes)
    return weights


def _at_least_float32(values: Tensor) -> Tensor:
    """The values, lengthened if they are in half precision, where logarithms lose too much."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
