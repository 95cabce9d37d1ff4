"""Labels before training: which can be learned, and what they say on average."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

import numpy as np

from zoobot.shared import defaults
from zoobot.shared.catalog import Catalog
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.likelihood import dirichlet_multinomial_nll
from zoobot.shared.tasks import Task
from zoobot.shared.trees.tree import Schema
from zoobot.shared.votes import fractions_from_votes

# What a model learns from its training labels before the first step: class weights, target scales.


#: Enough galaxies to know the mean of a survey.
_GALAXIES_FOR_PRIOR = 5_000

#: Sums of a question's concentrations to choose from.
_SUMS = np.geomspace(2, 200, 25)

#: Concentrations whose logit is neither infinite nor so far out that nothing is learned.
_WITHIN = (
    defaults.CONCENTRATION_MIN + 0.005 * defaults.CONCENTRATION_RANGE,
    defaults.CONCENTRATION_MIN + 0.9 * defaults.CONCENTRATION_RANGE,
)


def read_class_weights(class_weights: str | Sequence[float] | None) -> tuple[bool, list[float] | None]:
    """Whether the weights are to be balanced, and the weights that were given instead.

    Raises:
        ConfigError: If a word other than "balanced" was given.
    """
    if not isinstance(class_weights, str):
        return False, None if class_weights is None else [float(weight) for weight in class_weights]
    if class_weights != "balanced":
        msg = f"class_weights must be 'balanced', a number for each class, or None, got {class_weights!r}"
        raise ConfigError(msg)
    return True, None


def balanced_weights(labels: np.ndarray, task: Task) -> np.ndarray:
    """Weights that make rare classes count as much as common ones.

    Args:
        labels: The training labels, (galaxies, label columns), NaN where a yes/no label is missing.
        task: The classes or labels.

    Returns:
        (outputs,). For classes: galaxies / (classes * galaxies of the class), whose mean over galaxies is 1.
        For yes/no labels: the number of noes over the number of yeses.

    Raises:
        LabelError: If a class, or the yes of a label, has no training galaxy.

    Example:
        >>> from zoobot.shared.tasks import ClassificationTask
        >>> task = ClassificationTask(class_names=("spiral", "ring"))
        >>> balanced_weights(np.array([[0], [0], [0], [1]]), task).round(2).tolist()
        [0.67, 2.0]
    """
    names, counts, balanced = task.count_labels(labels)
    if (counts == 0).any():
        absent = [name for name, count in zip(names, counts, strict=True) if count == 0]
        msg = f"class_weights='balanced' needs a training galaxy of every class; there is none of {absent}"
        raise LabelError(msg)
    return np.maximum(balanced, 1) / counts


def target_statistics(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the standard deviation of each target, over the galaxies that have it.

    Args:
        targets: (galaxies, targets), NaN where missing.

    Returns:
        Mean and standard deviation, (targets,) each; a target that never varies has deviation 1.

    Raises:
        LabelError: If a target has no value at all.

    Example:
        >>> mean, std = target_statistics(np.array([[1.0], [3.0], [np.nan]]))
        >>> float(mean[0]), float(std[0])
        (2.0, 1.0)
    """
    empty = np.isnan(targets).all(axis=0)
    if empty.any():
        raise LabelError(
            f"target {np.flatnonzero(empty).tolist()} (counted from 0) has no value in the training galaxies"
        )
    std = np.nanstd(targets, axis=0)
    return np.nanmean(targets, axis=0), np.where(std > 0, std, 1.0)


def prior_concentrations(votes: np.ndarray, schema: Schema) -> np.ndarray:
    """The concentrations that foretell the votes best when every galaxy gets the same: (answers,).

    For each question the mean fractions set the proportions, and the likelihood chooses their sum. A head
    that starts there spends no epochs on learning what is common to all galaxies.

    Args:
        votes: Training votes, (galaxies, answers), NaN where a question was not asked.
        schema: The tree they answer.

    Returns:
        Concentrations within what a Dirichlet head can predict; equal ones for a question nobody was asked.

    Example:
        >>> from zoobot.shared import schemas
        >>> votes = np.array([[30.0, 10.0], [28.0, 12.0], [10.0, 30.0]])
        >>> low, high = prior_concentrations(votes, schemas.get("gz_rings"))[[1, 0]]
        >>> bool(low < high)
        True
    """
    votes = votes[:: 1 + len(votes) // _GALAXIES_FOR_PRIOR]
    fractions = fractions_from_votes(votes, schema)
    known = np.isfinite(fractions)
    mean = np.where(known, fractions, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    best = np.empty(len(mean))
    for part in schema.question_slices:
        shares = mean[part] if mean[part].any() else np.ones(part.stop - part.start)
        candidates = np.clip(_SUMS[:, None] * shares / shares.sum(), *_WITHIN)
        losses = [_constant_loss(candidate, votes[:, part]) for candidate in candidates]
        best[part] = candidates[int(np.argmin(losses))]
    return best


def _constant_loss(concentrations: np.ndarray, votes: np.ndarray) -> float:
    same = np.broadcast_to(concentrations, votes.shape)
    return float(dirichlet_multinomial_nll(same, votes, [slice(0, votes.shape[1])]).sum())


logger = logging.getLogger(__name__)

#: What may be done with targets that can hardly be meant as numbers.
SUSPECT_TARGETS = ("refuse", "keep")

#: What catalogs write where nothing was measured: 99, -99.9, -999, 9999.99, the lowest integers, huge floats.
_NOTHING = re.compile(r"-?9{2,6}(\.9{1,3})?|-32768|-2\.14748e\+09|-9\.22337e\+18")
#: Ranges are asked about from so many decades between the 5th and the 99.5th percentile of sizes, or between
#: the median and the largest. An exponential distribution has 2, uniform logarithms over 4 decades 3.8.
_DECADES = 3.5
_DECADES_ABOVE_MEDIAN = 6.0

#: Whole numbers of more values than this are more often measured than classes.
_MOST_CLASSES = 10


def usable_targets(
    parts: Mapping[str, Catalog],
    *,
    missing_values: Sequence[float] = (),
    suspect_targets: str = "refuse",
    ask_about_ranges: bool = True,
) -> dict[str, Catalog]:
    """The catalogs without the galaxies that have no target; it is said how many those are.

    Args:
        parts: Catalogs whose labels are targets, all looked at together.
        missing_values: Numbers that mean a missing target.
        suspect_targets: "refuse" asks about what can hardly be meant: values such as -99 far from all others,
            and ranges of many decades. "keep" takes them as they are.
        ask_about_ranges: False asks about values alone: nothing is learned.

    Returns:
        A galaxy stays that has one target of several; the others are NaN.

    Raises:
        ConfigError: If an option can't work.
        LabelError: If targets can hardly be meant, or a catalog has none at all.
    """
    if suspect_targets not in SUSPECT_TARGETS:
        raise ConfigError(f"suspect_targets must be one of {list(SUSPECT_TARGETS)}, got {suspect_targets!r}")
    if not np.isfinite(np.asarray(missing_values, float)).all():
        raise ConfigError(f"missing_values must be finite numbers, got {list(missing_values)}")
    known = {name: _without_values(catalog, missing_values) for name, catalog in parts.items()}
    columns = next(iter(known.values())).label_cols
    if suspect_targets == "refuse":
        together = np.concatenate([_labels(catalog) for catalog in known.values()])
        name = " and ".join(dict.fromkeys(catalog.name for catalog in known.values()))
        for place, column in enumerate(columns):
            values = together[:, place]
            _ask(values[np.isfinite(values)], column, name, ask_about_ranges=ask_about_ranges)
    return _with_targets(known, columns)


def _labels(catalog: Catalog) -> np.ndarray:
    if catalog.labels is None:
        raise LabelError(f"{catalog.name} was read without label columns")
    return catalog.labels


def _without_values(catalog: Catalog, missing_values: Sequence[float]) -> Catalog:
    labels = _labels(catalog)
    missing = np.zeros(labels.shape, bool)
    for value in missing_values:
        missing |= np.isclose(labels, value, rtol=1e-6, atol=0)  # -99.9 may have been of single precision
    if not missing.any():
        return catalog
    return catalog.with_labels(np.where(missing, np.nan, labels), catalog.label_cols)


def _with_targets(parts: Mapping[str, Catalog], columns: Sequence[str]) -> dict[str, Catalog]:
    has_target = {name: ~np.isnan(_labels(catalog)).all(axis=1) for name, catalog in parts.items()}
    total, kept = sum(map(len, has_target.values())), int(sum(mask.sum() for mask in has_target.values()))
    where = f"column {columns[0]!r}" if len(columns) == 1 else f"any of the columns {list(columns)}"
    for name, mask in has_target.items():
        if not mask.any():
            msg = f"none of the {len(mask):,} galaxies of {parts[name].name} ({name}) has a value in {where}"
            raise LabelError(msg)
    if kept == total:
        return dict(parts)
    left_out = f"{total - kept:,} of {total:,}"
    logger.info("Left out %s galaxies, which have no value in %s", left_out, where)
    return {name: catalog.select(has_target[name]) for name, catalog in parts.items()}


def _ask(values: np.ndarray, column: str, name: str, *, ask_about_ranges: bool) -> None:
    suspects = _stand_for_nothing(values)
    if suspects:
        listed = ", ".join(f"{value:g} ({count:,} galaxies)" for value, count in suspects.items())
        others = values[~np.isin(values, list(suspects))]
        rest = (
            f"others lie from {others.min():g} to {others.max():g}" if len(others) else "there are no others"
        )
        given = tuple(int(value) if value.is_integer() else float(f"{value:.6g}") for value in suspects)
        raise LabelError(
            f"column {column!r} of {name} holds values that may stand for missing ones: {listed}; {rest}. "
            f"Say which mean that there is no value with missing_values={given!r}, or that all are meant "
            "with suspect_targets='keep'"
        )
    decades = _decades(values) if ask_about_ranges else 0.0
    if decades:
        sizes = np.abs(values[values != 0])
        raise LabelError(
            f"the values in column {column!r} of {name} spread over {decades:.1f} decades, in size from "
            f"{sizes.min():g} to {sizes.max():g}: a model would learn the largest and hardly see the others. "
            "Give a column of their logarithms, leave out values that mean nothing with missing_values=, or "
            "learn them as they are with suspect_targets='keep'"
        )


def _stand_for_nothing(values: np.ndarray) -> dict[float, int]:
    """Values that catalogs write for nothing and that lie far from all others, each with its count."""
    distinct, counts = np.unique(values, return_counts=True)
    is_candidate = np.array([bool(_NOTHING.fullmatch(f"{value:.6g}")) for value in distinct], bool)
    others = distinct[~is_candidate]
    if not is_candidate.any():
        return {}
    low, high = (others.min(), others.max()) if len(others) else (0.0, 0.0)
    far = (high - low) / 2
    found = {}
    for value, count in zip(distinct[is_candidate], counts[is_candidate], strict=True):
        below, above = low - value, value - high
        if max(below, above) > far or (value < 0 <= low):
            found[float(value)] = int(count)
    return found


def _decades(values: np.ndarray) -> float:
    """Over how many decades the sizes spread, if they are so many that they must be asked about, else 0."""
    sizes = np.abs(values[values != 0])
    is_fraction = len(sizes) > 0 and values.min() >= 0 and 0.05 <= values.max() <= 1
    if not len(sizes) or is_fraction:
        return 0.0
    one_sign = values.min() >= 0 or values.max() <= 0
    low = np.quantile(sizes, 0.05 if one_sign else 0.25)  # of both signs, many are near 0
    spread, above = np.log10(np.quantile(sizes, 0.995) / low), np.log10(sizes.max() / np.median(sizes))
    if spread > _DECADES:
        return float(spread)
    return float(above) if above > _DECADES_ABOVE_MEDIAN else 0.0


def refuse_measurements(values: Sequence[object], column: str, name: str) -> None:
    """Raise a LabelError if labels that nobody called classes look like numbers that were measured.

    Args:
        values: The labels, of any kind; none is missing.
        column: Their column.
        name: The table, for messages.
    """
    numbers = _as_numbers(values)
    if numbers is None:
        return
    distinct = np.unique(numbers)
    fractions = distinct[distinct % 1 != 0]
    if len(fractions):
        what = f"fractions such as {float(fractions[0])!r}"
        choice = "say task='regression' to learn them as numbers; classes are names or whole numbers"
    elif len(distinct) > _MOST_CLASSES:
        what = f"{len(distinct):,} different whole numbers, from {distinct[0]:g} to {distinct[-1]:g}"
        choice = "say task='regression' to learn them as numbers, or task='classification' if each is a class"
    elif suspects := _stand_for_nothing(numbers):
        what = f"{next(iter(suspects)):g} may stand for a missing one ({sum(suspects.values()):,} galaxies)"
        choice = "leave those galaxies out, or say task='classification' if it is a class"
    else:
        return
    msg = f"the labels in column {column!r} of {name} look like measurements, not classes: {what}; {choice}"
    raise LabelError(msg)


def _as_numbers(values: Sequence[object]) -> np.ndarray | None:
    """Finite numbers, or None if some are none."""
    try:
        numbers = np.asarray(values, float)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.size and np.isfinite(numbers).all() else None
