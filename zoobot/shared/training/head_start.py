"""Start a new head on fixed features from the best linear head there is, in any engine."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoobot.shared import defaults
from zoobot.shared.counting_bar import CountingBar, tell
from zoobot.shared.errors import ConfigError
from zoobot.shared.likelihood import TreeHeadLoss
from zoobot.shared.processes import is_first_process
from zoobot.shared.tasks import Task
from zoobot.shared.training.epochs import BestEpoch, EpochLog, ValidatedBatch, validation_scores
from zoobot.shared.training.feature_loader import FeatureLoader
from zoobot.shared.training.finetune_settings import FinetuneSettings, TrainerPlan
from zoobot.shared.training.head_optimum import HeadLoss, find_best_head, find_head

if TYPE_CHECKING:
    from zoobot.shared.engine import Model

logger = logging.getLogger("zoobot")


class HeadInEngine(NamedTuple):
    """What finding a head asks of an engine.

    Attributes:
        make_loss: The model's loss as a function of what its linear layer gives, without dropout. Of a tree
            it is not asked for: the votes' loss is written for this, and the same for every engine.
        bias: The head's biases as they are, (outputs,).
        set: Puts weights, (outputs, features), and biases, (outputs,), into the head.
        validate: From features and labels to losses, (galaxies,), and predictions, (galaxies, outputs).
    """

    make_loss: Callable[[], HeadLoss]
    bias: NDArray
    set: Callable[[NDArray, NDArray], None]
    validate: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]


def _loss_of(head: HeadInEngine, task: Task) -> HeadLoss:
    return head.make_loss() if task.tree is None else TreeHeadLoss(task.tree.question_slices)


def wants_start(settings: FinetuneSettings, loader: object, *, is_untrained: bool) -> bool:
    """Whether a run that begins now is to look for the best head: one without weights, on cached features."""
    head_only = settings.n_blocks == 0 and isinstance(loader, FeatureLoader)
    return settings.head_start == "optimum" and is_untrained and head_only


def start_head(
    model: Model,
    head: HeadInEngine,
    training: FeatureLoader,
    validation: FeatureLoader,
    best: BestEpoch,
    plan: TrainerPlan,
    *,
    may_end: bool,
    writes: bool,
    progress: bool,
) -> tuple[dict[str, float], bool]:
    """Give a new head the best weights for its features, to be kept if no epoch beats it.

    Args:
        model: Whose head it is.
        head: The head and its loss.
        training: Cached features to learn from.
        validation: Cached features that choose the weight decay and are scored.
        best: Judges the head as epoch 0.
        plan: Where the model and its scores are kept.
        may_end: Whether the run ends with this head where no epoch can beat it.
        writes: Whether this process is the one that writes.
        progress: Whether it is shown how far the search is.

    Returns:
        The scores, `val_…` and `train_loss`; and whether the run is done.
    """
    scores, facts = _find_head(model, head, training, validation, progress=progress)
    kept: dict[str, float | str] = {"epoch": 0, "head_start": "optimum", **facts}
    best.keep(model, plan.checkpoint, scores, kept, writes=writes)
    return scores, may_end and _keep_start(best, model, scores, plan.log)


def _find_head(
    model: Model, head: HeadInEngine, training: FeatureLoader, validation: FeatureLoader, *, progress: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Scores of the best head, which the model now has, and how it was chosen."""
    features, labels = validation.labelled()
    known = training.labelled()
    what = f"Looking for the best head on the features of {len(known[0]):,} images"
    if progress:
        tell(what)
    with CountingBar(what, 1, shown=progress, says_end=False, says_left=False) as bar:

        def on_trial(tried: int, most: int) -> None:
            if bar.total != most:
                bar.begin(what, most)
            bar.reach(tried)

        found = find_best_head(
            _loss_of(head, model.task),
            known,
            (features, labels),
            start=np.asarray(head.bias, np.float64),
            views=len(training.features),
            is_logits=model.task.predicts in ("classes", "labels"),
            seed=model.settings.seed,
            on_trial=on_trial,
        )
    head.set(found.weight, found.bias)
    losses, predictions = head.validate(features, labels)
    ids = validation.known_ids()
    scores = validation_scores(model.task, [ValidatedBatch(losses, predictions, labels, ids)])
    logger.info(
        "The best head on fixed features: val_loss %.4f (weight decay %.2g%s)",
        scores["val_loss"],
        found.decay,
        "" if found.factor == 1 else f", logits then times {found.factor:.3g}",
    )
    of_training, _ = head.validate(*training.labelled())
    scores |= {"train_loss": float(of_training.mean(dtype=np.float64))}
    return scores, {"head_decay": float(found.decay), "head_factor": float(found.factor)}


def _keep_start(best: BestEpoch, model: Model, scores: Mapping[str, float], table: EpochLog) -> bool:
    """End a run whose best head is found, unless epochs may better its monitored score; whether it ended.

    Args:
        best: The run's best score; is told that it is final.
        model: Tells whether epochs may.
        scores: What `start_head` gave.
        table: metrics.csv, which gets one row: epoch 0, after no step.
    """
    if model.needs_epochs or best.monitor != defaults.MONITOR:
        return False
    best.is_final = True
    if is_first_process():
        table.note(0, 0, 0.0, scores)
    logger.info("No epochs follow (max_epochs=N trains on from there, which may gain a little)")
    return True


def fit_best_head(
    model: Model,
    in_engine: Callable[[Any], HeadInEngine],
    features: NDArray,
    labels: NDArray,
    *,
    decay: float | None,
    weights: NDArray | None,
    seed: int,
) -> float:
    """Give any engine's model the best head for some features, from nothing, and return its weight decay.

    Args:
        model: The model, whose head forgets what it had learned.
        in_engine: What finding a head asks of the model.
        features: (galaxies, features).
        labels: (galaxies, label columns).
        decay: The weight decay, as found for labels like these; None chooses it by cross-validation.
        weights: How much the loss of each galaxy counts, (galaxies,); None counts all alike.
        seed: Seeds the folds.

    Raises:
        LabelError: If a label is not what the task needs.
        ConfigError: If the weights are not one for each galaxy, from 0.
    """
    known = np.asarray(labels, np.float32)
    model.task.check_labels(np.asarray(labels, np.float64), [f"row {row}" for row in range(len(known))])
    outputs, width = model.task.num_outputs, features.shape[1]
    in_engine(model).set(np.zeros((outputs, width), np.float32), np.zeros(outputs, np.float32))
    model.taught_by = None  # by the galaxies of these rows, whatever they are called
    model.conformal = None
    if model.task.num_factors:
        model.head.set_calibration(np.ones(model.task.num_factors))
    model.learn_label_statistics(known)
    head = in_engine(model)
    loss, start = _loss_of(head, model.task), np.asarray(head.bias, np.float64)
    if weights is not None:
        known, loss = np.column_stack([known, _counted(weights, len(known))]), _weighted(loss)
    if decay is not None:
        head.set(*find_head(loss, (features, known), decay, start=start))
        return decay
    nobody = features[:0], known[:0]
    found = find_best_head(loss, (features, known), nobody, start=start, seed=seed)
    head.set(found.weight, found.bias)
    return found.decay


def _counted(weights: NDArray, galaxies: int) -> NDArray[np.float32]:
    """Weights whose mean is 1, so that they leave the balance of loss and weight decay as it is."""
    given = np.asarray(weights, np.float64)
    if given.shape != (galaxies,) or not (np.isfinite(given) & (given >= 0)).all() or not given.any():
        msg = f"weights must be one number from 0 for each of {galaxies:,} galaxies, not all of them 0, got "
        raise ConfigError(f"{msg}{reprlib.repr(given)}")
    return (given / given.mean()).astype(np.float32)


def _weighted(loss: HeadLoss) -> HeadLoss:
    """The loss of galaxies whose weights stand in a further column of the labels."""

    def weighted(outputs: NDArray[np.float64], known: NDArray) -> tuple[NDArray, NDArray]:
        losses, slopes = loss(outputs, known[:, :-1])
        return losses * known[:, -1], slopes * known[:, -1:]

    return weighted
