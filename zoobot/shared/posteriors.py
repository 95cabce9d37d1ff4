"""From Dirichlet concentrations to what they say of a galaxy: expected vote fractions and their intervals.

One question's fractions follow a Dirichlet distribution, so one answer's follows a beta distribution: means
and intervals need no sampling. Concentrations are (galaxies, answers), or (samples, galaxies, answers): then
a galaxy's posterior is the equal mixture of its samples, from MC dropout or from the members of an ensemble.
What k volunteers would say is below; the engines' `posteriors` give the distributions themselves.

References:
    Walmsley et al. 2022, MNRAS 509, 3966, section 4.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.trees.beta_intervals import beta_highest_density, beta_quantiles, mixture_highest_density
from zoobot.shared.trees.tree import Schema
from zoobot.shared.votes import FloatArray, sum_by_question

if TYPE_CHECKING:
    from collections.abc import Iterator


# What volunteers would say of a galaxy: the posterior predictive distribution of votes, answer by answer.
#
# If n people are asked a question whose fractions follow a Dirichlet distribution, the votes for one answer
# follow a beta-binomial distribution. Concentrations are (galaxies, answers), or (samples, galaxies, answers)
# for an equal mixture, as in `posteriors`.

# Stands for the other answers' concentrations, 0, where there are none: log-gamma is infinite there.
_NONE = 1e-300

# Up to so many people the probabilities of 0, 1, … votes are added up; of more, a few integrals give the sum.
_MOST_COUNTED = 1000

# Points of those integrals, in standard deviations of a normal distribution: exact to about 1e-9.
_POINTS = np.arange(-7.2, 7.3, 0.36)

# More people than these tell a fraction no better, beside how sure a model can be of it; and take longer.
_MOST_TOLD = 1e8

# A sum of probabilities that should be the tail may miss it by so much.
_ROUNDING = 1e-12


def expected_votes(concentrations: ArrayLike, schema: Schema, n_volunteers: int | ArrayLike) -> FloatArray:
    """The votes to expect for each answer: (galaxies, answers).

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.
        n_volunteers: How many are asked every question; or how many each question, (galaxies, questions).

    Raises:
        ConfigError: If a number of volunteers can't be one.
        LabelError: If a shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> expected_votes([[9.0, 3.0]], schemas.get("gz_rings"), 40).tolist()
        [[30.0, 10.0]]
    """
    fractions = expected_fractions(concentrations, schema)
    return fractions * _volunteers_of_answers(n_volunteers, schema, len(fractions))


def vote_probabilities(concentrations: ArrayLike, schema: Schema, n_volunteers: int) -> FloatArray:
    """The probability of every number of votes, from 0 to all: (galaxies, answers, n_volunteers + 1).

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.
        n_volunteers: How many are asked every question.

    Raises:
        ConfigError: If the number of volunteers can't be one.
        LabelError: If a shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> vote_probabilities([[1.0, 1.0]], schemas.get("gz_rings"), 3).round(2).tolist()
        [[[0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]]]
    """
    check_volunteers(n_volunteers)
    alpha, others = marginal_betas(concentrations, schema)
    volunteers = _volunteers_of_answers(n_volunteers, schema, alpha.shape[1])
    return np.stack(list(_masses(alpha, others, volunteers)), axis=-1)


def vote_cdf(
    votes: ArrayLike, concentrations: ArrayLike, schema: Schema, n_volunteers: int | ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """The probability of fewer votes, and that of exactly these votes: (galaxies, answers) each.

    Args:
        votes: Whole numbers; below 0 has no probability, (galaxies, answers).
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.
        n_volunteers: How many are asked every question; or how many each question, (galaxies, questions).

    Raises:
        ConfigError: If a number of volunteers can't be one.
        LabelError: If a shape is wrong or a concentration is not above 0.
    """
    alpha, others = marginal_betas(concentrations, schema)
    volunteers = _volunteers_of_answers(n_volunteers, schema, alpha.shape[1])
    counted = np.asarray(votes)
    if counted.shape != alpha.shape[1:]:
        raise LabelError(f"votes must be (galaxies, answers) = {alpha.shape[1:]}, got shape {counted.shape}")
    fewer, exactly = np.zeros(counted.shape), np.zeros(counted.shape)
    many = volunteers > _MOST_COUNTED
    for number, mass in enumerate(_masses(alpha, others, np.where(many, 0, volunteers))):
        fewer += np.where(number < counted, mass, 0.0)
        exactly += np.where(number == counted, mass, 0.0)
    if many.any():
        cells = alpha[:, many], others[:, many], volunteers[many]
        fewer[many] = _cdf_of_many(counted[many] - 1, *cells)
        exactly[many] = _mass_of_many(counted[many], *cells)
    return fewer, exactly


def chance_inside(fewer: FloatArray, exactly: FloatArray, level: float | FloatArray) -> FloatArray:
    """How likely a random place within each count's step lies in the central interval, in [0, 1].

    Args:
        fewer: Probability of fewer votes, as `vote_cdf` gives it.
        exactly: Probability of exactly as many.
        level: Probability inside the interval, or one for each answer.
    """
    tail = (1 - level) / 2
    overlap = np.minimum(fewer + exactly, 1 - tail) - np.maximum(fewer, tail)
    inside = (fewer >= tail) & (fewer <= 1 - tail)  # for a step too small to have a width
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(exactly > 0, np.clip(overlap / exactly, 0, 1), inside)


def vote_intervals(
    concentrations: ArrayLike, schema: Schema, n_volunteers: int | ArrayLike, *, level: float = 0.9
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fewest and most votes of equal-tailed intervals, both included: (galaxies, answers) each.

    Votes are whole, so the probability inside is `level` at least, and often more where few are asked.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.
        n_volunteers: How many are asked every question; or how many each question, (galaxies, questions).
        level: Probability inside the interval, in (0, 1).

    Raises:
        ConfigError: If the level is not in (0, 1), or a number of volunteers can't be one.
        LabelError: If a shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> fewest, most = vote_intervals([[1.0, 1.0]], schemas.get("gz_rings"), 9, level=0.5)
        >>> fewest.tolist(), most.tolist()
        ([[2, 2]], [[7, 7]])
    """
    check_level(level)
    alpha, others = marginal_betas(concentrations, schema)
    volunteers = _volunteers_of_answers(n_volunteers, schema, alpha.shape[1])
    tail = (1 - level) / 2
    so_far = np.zeros(alpha.shape[1:])
    fewest, most = np.zeros(so_far.shape, np.int64), np.zeros(so_far.shape, np.int64)
    many = volunteers > _MOST_COUNTED
    for mass in _masses(alpha, others, np.where(many, 0, volunteers)):
        so_far += mass
        fewest += so_far < tail - _ROUNDING
        most += so_far < 1 - tail - _ROUNDING
    if many.any():
        cells = alpha[:, many], others[:, many], volunteers[many]
        fewest[many], most[many] = _quantile_of_many(tail, *cells), _quantile_of_many(1 - tail, *cells)
    return np.minimum(fewest, volunteers), np.minimum(most, volunteers)


def _cdf_of_many(
    votes: NDArray, alpha: FloatArray, others: FloatArray, volunteers: NDArray[np.int64]
) -> FloatArray:
    """The probability of at most these votes, (cells,), at a cost that does not grow with their number.

    A fraction lies below a binomial distribution's beta-distributed twin with this probability: an integral
    over the narrower of two beta distributions of the other's cumulative probability, which is smooth there.
    """
    from scipy.special import betainc, betaincc, betaincinv, ndtr

    total = np.zeros(votes.shape)
    counted = np.clip(votes, 0, volunteers - 1).astype(np.float64)
    told = np.minimum(1.0, _MOST_TOLD / volunteers)
    weights = np.exp(-(_POINTS**2) / 2)
    for first, second in zip(alpha, np.where(others == 0, _NONE, others), strict=True):
        twin = counted * told + 1, (volunteers - counted) * told
        twin_is_narrow = volunteers > first + second
        own = np.where(twin_is_narrow, twin[0], first), np.where(twin_is_narrow, twin[1], second)
        for below, weight in zip(ndtr(_POINTS), weights / weights.sum(), strict=True):
            place = betaincinv(*own, below)
            total += weight * np.where(twin_is_narrow, betainc(first, second, place), betaincc(*twin, place))
    total = np.clip(total / len(alpha), 0.0, 1.0)
    alone = (others == 0).all(axis=0)  # the only answer gets every vote
    return np.where(
        (votes < 0) | (alone & (votes < volunteers)), 0.0, np.where(votes >= volunteers, 1.0, total)
    )


def _mass_of_many(
    votes: NDArray, alpha: FloatArray, others: FloatArray, volunteers: NDArray[np.int64]
) -> FloatArray:
    """The probability of exactly these votes, (cells,)."""
    from scipy.special import betaln

    others = np.where(others == 0, _NONE, others)
    counted = np.clip(votes, 0, volunteers).astype(np.float64)
    ways = -np.log(volunteers + 1.0) - betaln(counted + 1, volunteers - counted + 1)
    mass = np.exp(ways + betaln(counted + alpha, volunteers - counted + others) - betaln(alpha, others))
    return np.where((votes < 0) | (votes > volunteers), 0.0, np.minimum(mass, 1.0).mean(axis=0))


def _quantile_of_many(
    probability: float, alpha: FloatArray, others: FloatArray, volunteers: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The fewest votes that are not exceeded with this probability, (cells,), by halving what is left."""
    low, high = np.zeros_like(volunteers), volunteers.copy()
    while (low < high).any():
        middle = low + (high - low) // 2
        enough = _cdf_of_many(middle, alpha, others, volunteers) >= probability - _ROUNDING
        low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
    return low


def _masses(alpha: FloatArray, others: FloatArray, volunteers: NDArray[np.int64]) -> Iterator[FloatArray]:
    """The probability of 0 votes, of 1, … up to the most volunteers: (galaxies, answers) each.

    Each follows from the one before, in logarithms, since the first may be too small for a float.
    """
    from scipy.special import gammaln

    others = np.where(others == 0, _NONE, others)
    both = alpha + others
    log_mass = gammaln(others + volunteers) - gammaln(others) + gammaln(both) - gammaln(both + volunteers)
    for number in range(int(volunteers.max(initial=0)) + 1):
        yield np.exp(log_mass).mean(axis=0)
        left = volunteers - number
        with np.errstate(divide="ignore"):  # nobody is left: the logarithm of 0 ends the distribution
            log_mass = log_mass + np.log(np.maximum(left, 0) * (alpha + number))
        log_mass -= np.log((number + 1) * np.where(left > 0, others + (left - 1), 1.0))


def _volunteers_of_answers(
    n_volunteers: int | ArrayLike, schema: Schema, n_galaxies: int
) -> NDArray[np.int64]:
    """How many are asked the question of each answer, (galaxies, answers)."""
    sizes = [len(question.answers) for question in schema.questions]
    if np.ndim(n_volunteers) == 0:
        check_volunteers(n_volunteers)  # type: ignore[arg-type]
        return np.full((n_galaxies, sum(sizes)), n_volunteers, dtype=np.int64)
    numbers = np.asarray(n_volunteers)
    if numbers.shape != (n_galaxies, len(sizes)):
        expected = (n_galaxies, len(sizes))
        msg = f"n_volunteers must be one number, or (galaxies, questions) = {expected}, got {numbers.shape}"
        raise LabelError(msg)
    if not ((numbers >= 0) & (numbers == np.round(numbers))).all():
        raise ConfigError("n_volunteers must be whole numbers from 0; round weighted votes first")
    return np.repeat(numbers.astype(np.int64), sizes, axis=1)


IntervalKind = Literal["equal-tailed", "highest-density"]


def expected_fractions(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The vote fractions to expect for each answer, of those asked its question: (galaxies, answers).

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.

    Raises:
        LabelError: If the shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> expected_fractions([[9.0, 3.0]], schemas.get("gz_rings")).tolist()
        [[0.75, 0.25]]
    """
    return _fractions_of_samples(concentrations, schema).mean(axis=0)


def probability_asked(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The probability that a volunteer comes to be asked each question: (galaxies, questions).

    Within a sample the questions are independent, so their expected fractions multiply along the tree; of a
    mixture the probabilities are averaged, since its questions are not.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.

    Raises:
        LabelError: If the shape is wrong or a concentration is not above 0.
    """
    return schema.probability_asked(_fractions_of_samples(concentrations, schema)).mean(axis=0)


def fraction_intervals(
    concentrations: ArrayLike,
    schema: Schema,
    *,
    level: float | FloatArray = 0.9,
    kind: IntervalKind = "equal-tailed",
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends of intervals of each fraction: (galaxies, answers) each.

    Args:
        concentrations: Above 0, (galaxies, answers), or (samples, galaxies, answers) for a mixture.
        schema: The tree they belong to.
        level: Probability inside the interval, in (0, 1); or one for each answer of equal-tailed ones,
            (answers,), in [0, 1], or NaN, which gives none.
        kind: "equal-tailed" leaves as much probability below as above; "highest-density" is the shortest
            interval, and reaches 0 or 1 where that is most likely.

    Raises:
        ConfigError: If the level is not in (0, 1), or there is no such kind.
        LabelError: If the shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> lower, upper = fraction_intervals([[1.0, 1.0]], schemas.get("gz_rings"), level=0.5)
        >>> lower.tolist(), upper.tolist()
        ([[0.25, 0.25]], [[0.75, 0.75]])
    """
    if not isinstance(level, np.ndarray):
        check_level(level)
    if kind not in get_args(IntervalKind):
        raise ConfigError(f"kind must be one of {get_args(IntervalKind)}, got {kind!r}")
    alpha, others = marginal_betas(concentrations, schema)
    single = others == 0  # a question with one answer: its fraction is 1
    others, single = np.where(single, 1.0, others), single[0]
    if kind == "equal-tailed":
        tail = (1 - level) / 2
        ends = beta_quantiles(alpha, others, tail), beta_quantiles(alpha, others, 1 - tail)
    elif len(alpha) == 1:
        ends = beta_highest_density(alpha[0], others[0], float(level))
    else:
        ends = mixture_highest_density(alpha, others, float(level))
    return np.where(single, 1.0, ends[0]), np.where(single, 1.0, ends[1])


def marginal_betas(concentrations: ArrayLike, schema: Schema) -> tuple[FloatArray, FloatArray]:
    """The two parameters of the beta distribution of each fraction: (samples, galaxies, answers) each.

    The second is 0 for the answer of a question that has only one.

    Raises:
        LabelError: If the shape is wrong or a concentration is not above 0.
    """
    alpha = as_mixture(concentrations, schema)
    others = _sum_of_question(alpha, schema) - alpha
    alone = [
        answer for question in schema.questions for answer in question.answers if len(question.answers) == 1
    ]
    others[..., [answer.index for answer in alone]] = 0.0  # exactly, whatever rounding left
    return alpha, others


def as_mixture(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The concentrations with an axis of samples, of length 1 where there was none.

    Raises:
        LabelError: As for `check_concentrations`.
    """
    alpha = check_concentrations(concentrations, schema)
    return alpha if alpha.ndim == 3 else alpha[None]


def check_concentrations(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    """The concentrations as float64, once found to be of this schema, finite and above 0.

    Raises:
        LabelError: If they are not.
    """
    alpha = np.asarray(concentrations, dtype=np.float64)
    n_answers = len(schema.label_cols)
    no_samples = alpha.ndim == 3 and len(alpha) == 0
    if alpha.ndim not in (2, 3) or alpha.shape[-1] != n_answers or no_samples:
        raise LabelError(
            f"concentrations must be (galaxies, {n_answers} answers), or (samples, galaxies, {n_answers} "
            f"answers), got shape {alpha.shape}"
        )
    good = np.isfinite(alpha) & (alpha > 0)
    if not good.all():
        rows = np.flatnonzero(~good.all(axis=-1).reshape(-1, alpha.shape[-2]).all(axis=0))[:5].tolist()
        raise LabelError(f"concentrations must be finite and above 0; they are not in rows {rows}")
    return alpha


def check_level(level: float) -> None:
    """Raise a ConfigError unless `level` can be the probability inside an interval."""
    if not 0 < level < 1:
        raise ConfigError(f"level must be in (0, 1), got {level!r}")


def check_volunteers(n_volunteers: int) -> None:
    """Raise a ConfigError unless `n_volunteers` can be a number of people."""
    if isinstance(n_volunteers, bool) or not isinstance(n_volunteers, (int, np.integer)) or n_volunteers < 1:
        raise ConfigError(f"n_volunteers must be a whole number of at least 1, got {n_volunteers!r}")


def _fractions_of_samples(concentrations: ArrayLike, schema: Schema) -> FloatArray:
    alpha = as_mixture(concentrations, schema)
    return alpha / _sum_of_question(alpha, schema)


def _sum_of_question(alpha: FloatArray, schema: Schema) -> FloatArray:
    """For each answer the sum over its question, (…, answers)."""
    slices = schema.question_slices
    sums = sum_by_question(alpha, slices)
    return np.repeat(sums, [part.stop - part.start for part in slices], axis=-1)
