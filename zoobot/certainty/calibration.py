"""Make a tree model as sure as it may be: one factor a question, by which concentrations are multiplied.

A network trained until it fits its galaxies is often too sure of new ones, or too timid. A factor below 1
widens the posteriors of a question, one above 1 narrows them, and no expected fraction changes. Fit it on
galaxies that were not trained on. It is what a temperature is to a classifier. A factor is kept only where
it foretells galaxies better that it was not fitted on; see `zoobot.certainty.calibration`.

References:
    Guo et al. 2017, ICML (arXiv:1706.04599): scaling by one number, fitted on validation data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from zoobot.certainty.coverage import whole_votes
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.likelihood import mixture_nll
from zoobot.shared.posteriors import as_mixture, chance_inside, check_level, vote_cdf
from zoobot.shared.trees.tree import Schema

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from zoobot.shared.votes import FloatArray

# Whether a factor fitted on some galaxies foretells others better: cross-validation for calibration.
#
# A factor that is fitted on galaxies always suits those galaxies. Whether it is any good is seen on
# others: the galaxies are parted by chance into folds, each fold is judged by the factor of the other
# folds, and the factor is kept only where that foretells better. What calibration is said to bring is
# measured so, too.
#
# References:
# Stone 1974, J. R. Statist. Soc. B 36, 111: cross-validatory choice and assessment.

#: A factor beyond these would say that the model has learned nothing, or that the labels are no labels.
SMALLEST, LARGEST = 0.02, 50.0

FOLDS = 5

#: How far factors lie from 1, before galaxies tell: the standard deviation of their logarithm.
SPREAD = 0.5


def order_of_chance(n: int, ids: Sequence[str] | None, seed: int) -> NDArray[np.int64]:
    """Each galaxy's place in an order that its id and a seed decide, (galaxies,); without ids, its number.

    Raises:
        LabelError: If there is not one id for each galaxy.
    """
    if ids is None:
        return np.random.default_rng(seed).permutation(n)
    if len(ids) != n:
        raise LabelError(f"expected an id for each of {n} galaxies, got {len(ids)}")
    key = hashlib.sha256(str(int(seed)).encode()).digest()
    marks = [
        hashlib.blake2b(i.encode("utf-8", "surrogatepass"), digest_size=16, key=key).digest() for i in ids
    ]
    places = np.empty(n, np.int64)
    places[sorted(range(n), key=marks.__getitem__)] = np.arange(n)
    return places


def held_out_factors(fit: Callable[[NDArray[np.bool_]], float], order: NDArray[np.int64]) -> FloatArray:
    """For each galaxy the factor that is fitted on the other folds, (galaxies,).

    Args:
        fit: The factor of the galaxies that a mask (galaxies,) selects.
        order: Any order of the galaxies; neighbours in it fall into different folds.
    """
    folds = np.argsort(np.argsort(order, kind="stable"), kind="stable") % FOLDS
    factors = np.ones(len(order))
    for fold in range(min(FOLDS, len(order))):
        held_out = folds == fold
        factors[held_out] = fit(~held_out)
    return factors


def foretells_better(gains: FloatArray) -> bool:
    """Whether galaxies gain more than could be chance: on average, by more than the error of the average."""
    if len(gains) < 2:
        return False
    return bool(gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains)))


def likeliest_factor(loss: Callable[[float], float], galaxies: int) -> float:
    """The most likely factor, for a mean loss in nats a galaxy; few galaxies leave it nearer to 1.

    Factors are taken to scatter around 1 as much as those of most networks do, which counts for as much as
    the labels of a few galaxies.
    """
    from scipy.optimize import minimize_scalar

    def cost(log_factor: float) -> float:
        return loss(float(np.exp(log_factor))) + (log_factor / SPREAD) ** 2 / (2 * galaxies)

    bounds, options = (np.log(SMALLEST), np.log(LARGEST)), {"xatol": 1e-6}
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded", options=options).x))


CalibrationObjective = Literal["auto", "likelihood", "coverage"]

#: So many galaxies say as much of a factor, by the coverage of their intervals, as is known without any.
_GALAXIES_OF_DOUBT = 36


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What concentrations are multiplied by, and how that was found.

    Args:
        schema: The decision tree.
        by_question: The factor of each question, (questions,).
        n: Galaxies asked each question, (questions,).
        objective: What was fitted.
        held_out: The factor of each galaxy and question as found without this galaxy, (galaxies, questions);
            1 where calibration is not kept.
        gains: By how much the votes of a galaxy on each question are likelier so, on average, in nats,
            (questions,).
    """

    schema: Schema
    by_question: tuple[float, ...]
    n: tuple[int, ...]
    objective: str
    held_out: FloatArray = field(repr=False, compare=False)
    gains: tuple[float, ...]

    @property
    def factors(self) -> FloatArray:
        """The factor of each answer, (answers,), for `head.set_calibration`."""
        return self._of_answers(np.asarray(self.by_question))

    def _of_answers(self, of_questions: FloatArray) -> FloatArray:
        sizes = [len(question.answers) for question in self.schema.questions]
        return np.repeat(of_questions, sizes, axis=-1)

    def apply(self, predicted: ArrayLike) -> FloatArray:
        """Calibrated concentrations from those without calibration, (galaxies, answers)."""
        return np.asarray(predicted, dtype=np.float64) * self.factors

    def apply_held_out(self, predicted: ArrayLike) -> FloatArray:
        """Concentrations of the galaxies it was fitted on, each calibrated by what the others say.

        Args:
            predicted: Without calibration, (galaxies, answers), in the order in which they were fitted.
        """
        return np.asarray(predicted, dtype=np.float64) * self._of_answers(self.held_out)

    def to_config(self) -> dict[str, Any]:
        """What a checkpoint's training record says of it, JSON-ready."""
        names = [question.text for question in self.schema.questions]
        return {
            "objective": self.objective,
            "factors": {name: round(f, 6) for name, f in zip(names, self.by_question, strict=True)},
            "galaxies": dict(zip(names, self.n, strict=True)),
            "gains": {name: round(gain, 6) for name, gain in zip(names, self.gains, strict=True)},
        }


def fit_calibration(
    concentrations: ArrayLike,
    votes: ArrayLike,
    schema: Schema,
    *,
    objective: CalibrationObjective = defaults.CALIBRATION_OBJECTIVE,
    level: float = defaults.CALIBRATION_LEVEL,
    min_galaxies: int = defaults.CALIBRATION_MIN_GALAXIES,
    ids: Sequence[str] | None = None,
    seed: int = defaults.SEED,
) -> Calibration:
    """The factors that make predictions agree with the votes of galaxies the model was not trained on.

    A question that too few were asked keeps the factor 1, and so does one whose factor, fitted on some of the
    galaxies, does not foretell the others better. The fewer the galaxies, the nearer a factor stays to 1.

    Args:
        concentrations: Predictions without calibration, (galaxies, answers), or (samples, galaxies, answers)
            for a mixture.
        votes: Votes, (galaxies, answers), rounded if weighted. NaN or 0 where a question was not asked.
        schema: The decision tree.
        objective: "likelihood" makes the votes most likely, which needs fewest galaxies; "coverage" makes the
            intervals of predicted votes at `level` hold as many votes as they say, whatever the shape of the
            distribution inside. "auto" is the likelihood, unless with its factor the share that intervals
            hold is off by more than a standard error; then it is the coverage.
        level: Probability inside those intervals, in (0, 1).
        min_galaxies: Fewest galaxies asked a question for its factor to be fitted.
        ids: Of the galaxies, which with the seed decide who is held out with whom; else their order does.
        seed: Another seed parts them otherwise.

    Raises:
        ConfigError: If the level is not in (0, 1), or there is no such objective.
        LabelError: If the shapes do not fit, or these are no votes.

    Example:
        >>> calibration = fit_calibration(predictions, votes, schema)  # doctest: +SKIP
        >>> model.head.set_calibration(calibration.factors)  # doctest: +SKIP
    """
    check_level(level)
    if objective not in get_args(CalibrationObjective):
        raise ConfigError(f"objective must be one of {get_args(CalibrationObjective)}, got {objective!r}")
    alpha = as_mixture(concentrations, schema)
    counts, asked = whole_votes(votes, schema)
    if alpha.shape[1:] != counts.shape:
        raise LabelError(f"votes must be (galaxies, answers) = {alpha.shape[1:]}, got shape {counts.shape}")
    order = order_of_chance(len(counts), ids, seed)
    factors, gains = np.ones(len(schema.questions)), np.zeros(len(schema.questions))
    held_out = np.ones(asked.shape)
    for position, question in enumerate(schema.questions):
        rows = asked[:, position] > 0
        if rows.sum() < max(FOLDS, min_galaxies) or len(question.answers) < 2:
            continue
        alone = Schema.from_pairs({question.text: [answer.text for answer in question.answers]})
        given = _QuestionVotes(alpha[:, rows, question.slice], counts[rows, question.slice], alone, level)
        found = _CHOICES[objective](given, order[rows])
        factors[position], held_out[rows, position] = found.factor, found.held_out
        gains[position] = found.gains(given).mean()
    return Calibration(
        schema=schema,
        by_question=tuple(map(float, factors)),
        n=tuple(int(n) for n in (asked > 0).sum(axis=0)),
        objective=objective,
        held_out=held_out,
        gains=tuple(map(float, gains)),
    )


class _QuestionVotes(NamedTuple):
    """One question: predictions and votes of the galaxies asked it."""

    alpha: FloatArray
    counts: FloatArray
    schema: Schema
    level: float

    def of(self, rows: NDArray[np.bool_]) -> _QuestionVotes:
        """Some of the galaxies."""
        return self._replace(alpha=self.alpha[:, rows], counts=self.counts[rows])

    def losses(self, factors: FloatArray | float) -> FloatArray:
        """How unlikely each galaxy's votes are, in nats, by one factor or one for each, (galaxies,)."""
        alpha = np.reshape(factors, (-1, 1)) * self.alpha
        return mixture_nll(alpha, self.counts, self.schema.question_slices)[:, 0]

    def held(self, factors: FloatArray | float) -> FloatArray:
        """The share of each galaxy's votes in intervals, by one factor or one for each, (galaxies,)."""
        asked = self.counts.sum(axis=1, keepdims=True)
        alpha = np.reshape(factors, (-1, 1)) * self.alpha
        return chance_inside(*vote_cdf(self.counts, alpha, self.schema, asked), self.level).mean(axis=1)


class _Choice(NamedTuple):
    """A factor, and for each galaxy that of the others, (galaxies,)."""

    factor: float
    held_out: FloatArray

    def gains(self, question: _QuestionVotes) -> FloatArray:
        """By how much each galaxy's votes are likelier by the factor of the others than by 1, in nats."""
        return question.losses(1.0) - question.losses(self.held_out)

    def misses(self, question: _QuestionVotes) -> float:
        """How far the share of votes in intervals is from what it should be, beyond a standard error."""
        error = np.sqrt(question.level * (1 - question.level) / len(question.counts))
        return max(0.0, abs(float(question.held(self.held_out).mean()) - question.level) - float(error))


def _fit_all(
    fit: Callable[[_QuestionVotes], float], question: _QuestionVotes, order: NDArray[np.int64]
) -> _Choice:
    return _Choice(fit(question), held_out_factors(lambda rows: fit(question.of(rows)), order))


def _unchanged(question: _QuestionVotes) -> _Choice:
    return _Choice(1.0, np.ones(len(question.counts)))


def _most_likely(question: _QuestionVotes) -> float:
    """The factor under which the votes are most likely, by the mixture's likelihood."""
    return likeliest_factor(lambda factor: float(question.losses(factor).mean()), len(question.counts))


def _covering(question: _QuestionVotes) -> float:
    """The factor under which intervals hold the share that they say; nearer to 1 where few galaxies tell."""
    from scipy.optimize import brentq

    def excess(log_factor: float) -> float:
        return float(question.held(float(np.exp(log_factor))).mean()) - question.level

    low, high = np.log(SMALLEST), np.log(LARGEST)
    if excess(low) <= 0:
        found = low
    elif excess(high) >= 0:
        found = high
    else:
        found = brentq(excess, low, high, xtol=1e-3)
    galaxies = len(question.counts)
    return float(np.exp(found * galaxies / (galaxies + _GALAXIES_OF_DOUBT)))


def _choose_likely(question: _QuestionVotes, order: NDArray[np.int64]) -> _Choice:
    """The most likely factor, where it makes the votes of other galaxies likelier."""
    found = _fit_all(_most_likely, question, order)
    return found if foretells_better(found.gains(question)) else _unchanged(question)


def _choose_covering(
    question: _QuestionVotes, order: NDArray[np.int64], instead_of: _Choice | None = None
) -> _Choice:
    """The covering factor, where intervals of other galaxies hold nearer to the share that they say."""
    before = _unchanged(question) if instead_of is None else instead_of
    if not before.misses(question):
        return before
    found = _fit_all(_covering, question, order)
    change = question.held(found.held_out) - question.held(before.held_out)
    error = change.std(ddof=1) / np.sqrt(len(change))
    return found if before.misses(question) - found.misses(question) > error else before


def _choose_either(question: _QuestionVotes, order: NDArray[np.int64]) -> _Choice:
    """The likely factor; the covering one where coverage is off, if votes are no less likely than by 1."""
    likely = _choose_likely(question, order)
    covering = _choose_covering(question, order, instead_of=likely)
    return covering if covering.gains(question).mean() >= 0 else likely


_CHOICES: dict[str, Callable[[_QuestionVotes, NDArray[np.int64]], _Choice]] = {
    "auto": _choose_either,
    "coverage": _choose_covering,
    "likelihood": _choose_likely,
}
