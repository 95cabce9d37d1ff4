"""What the labels of a galaxy would teach: votes, classes, labels and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoobot.shared.errors import ConfigError
from zoobot.shared.posteriors import as_mixture, check_volunteers, expected_fractions, probability_asked
from zoobot.shared.votes import FloatArray, sum_by_question

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from zoobot.choosing.strategy_names import ScoreName
    from zoobot.shared.tasks import Task
    from zoobot.shared.trees.tree import Schema

# How unsure a model of classes, yes/no labels or numbers is of a galaxy, and how far its members disagree.
#
# Predictions are (samples, galaxies, outputs): dropout samples, or the members of an ensemble.
#
# References:
# Houlsby et al. 2011, arXiv:1112.5745: disagreement is the entropy of the mean less the mean entropy.


def disagreement(probabilities: FloatArray) -> FloatArray:
    """Mutual information between the class and the member (BALD), in nats, (galaxies,).

    0 where all members say the same, at most the logarithm of the number of members, or of classes.

    Args:
        probabilities: (samples, galaxies, classes), adding up to 1.

    Example:
        >>> disagreement(np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])).round(3).tolist()
        [0.693, 0.0]
    """
    # as a mean of divergences from the mean, it can't be lost between two large numbers
    mean = probabilities.mean(axis=0)
    return np.maximum(_relative_entropy(probabilities, mean).sum(axis=-1).mean(axis=0), 0.0)


def entropy_of_mean(probabilities: FloatArray) -> FloatArray:
    """Entropy of the mean prediction, in nats, (galaxies,)."""
    from scipy.special import entr

    entropy: FloatArray = entr(probabilities.mean(axis=0)).sum(axis=-1)
    return entropy


def lack_of_margin(probabilities: FloatArray) -> FloatArray:
    """1 less the distance between the two most likely classes of the mean prediction, (galaxies,)."""
    ordered = np.sort(probabilities.mean(axis=0), axis=-1)
    second = ordered[..., -2] if ordered.shape[-1] > 1 else 0.0
    return 1 - (ordered[..., -1] - second)


def lack_of_confidence(probabilities: FloatArray) -> FloatArray:
    """1 less the probability of the most likely class of the mean prediction, (galaxies,)."""
    best: FloatArray = 1 - probabilities.mean(axis=0).max(axis=-1)
    return best


def scatter_of_members(values: FloatArray) -> FloatArray:
    """Variance of each number over the members, in units of its variance over galaxies: (galaxies, targets).

    Args:
        values: (samples, galaxies, targets), in any units.
    """
    spread = values.mean(axis=0).var(axis=0)
    return values.var(axis=0) / np.where(spread > 0, spread, 1.0)


def yes_and_no(probabilities: FloatArray) -> FloatArray:
    """The two probabilities of every yes/no label: (samples, galaxies, labels, 2)."""
    return np.stack([1 - probabilities, probabilities], axis=-1)


def _relative_entropy(p: FloatArray, q: FloatArray) -> FloatArray:
    from scipy.special import rel_entr

    divergence: FloatArray = rel_entr(p, q)
    return divergence


#: Ways to vote on one question that are added up at most; beyond, fewer volunteers must do.
MOST_OUTCOMES = 50_000

_NUMBERS_IN_MEMORY = 4_000_000


class VoteInformation(NamedTuple):
    """What k volunteers' votes on each question are worth.

    Attributes:
        information: Mutual information between the votes and the members, in nats, (galaxies, questions).
        entropy: Entropy of the votes to be expected, in nats, (galaxies, questions).
        asked: Probability that a volunteer comes to the question, (galaxies, questions).
    """

    information: FloatArray
    entropy: FloatArray
    asked: FloatArray


def vote_information(concentrations: ArrayLike, schema: Schema, n_volunteers: int) -> VoteInformation:
    """The information in the votes on every question, if it is asked, and how likely it is asked.

    Args:
        concentrations: Above 0, (samples, galaxies, answers); without samples no member can disagree.
        schema: The tree they belong to.
        n_volunteers: How many are asked.

    Raises:
        ConfigError: If the number of volunteers can't be one, or is too large to add up every outcome.
        LabelError: If the shape is wrong or a concentration is not above 0.

    Example:
        >>> from zoobot.shared import schemas
        >>> rings = schemas.get("gz_rings")
        >>> vote_information([[[5.0, 5.0]]] * 2, rings, 5).information.round(2).tolist()
        [[0.0]]
        >>> vote_information([[[50.0, 1.0]], [[1.0, 50.0]]], rings, 5).information.round(2).tolist()
        [[0.69]]
    """
    check_volunteers(n_volunteers)
    alpha = as_mixture(concentrations, schema)
    outcomes = [vote_outcomes(n_volunteers, len(question.answers)) for question in schema.questions]
    totals = sum_by_question(alpha, schema.question_slices)
    fractions = alpha / np.repeat(totals, [len(question.answers) for question in schema.questions], axis=-1)
    asked = schema.probability_asked(fractions)  # (samples, galaxies, questions)
    mean_asked = asked.mean(axis=0)
    shares = np.full(asked.shape, 1 / len(asked))
    np.divide(asked, len(asked) * mean_asked, out=shares, where=mean_asked > 0)
    information, entropy = np.empty(mean_asked.shape), np.empty(mean_asked.shape)
    for place, (question, ways) in enumerate(zip(schema.questions, outcomes, strict=True)):
        step = max(1, _NUMBERS_IN_MEMORY // (len(alpha) * len(ways)))
        for start in range(0, alpha.shape[1], step):
            part = slice(start, start + step)
            information[part, place], entropy[part, place] = _information(
                alpha[:, part, question.slice], shares[:, part, place], ways
            )
    return VoteInformation(information, entropy, mean_asked)


def vote_outcomes(n_volunteers: int, n_answers: int) -> NDArray[np.int64]:
    """Every way in which so many volunteers can choose among so many answers: (outcomes, answers).

    Raises:
        ConfigError: If there are more than `MOST_OUTCOMES`.

    Example:
        >>> vote_outcomes(2, 2).tolist()
        [[0, 2], [1, 1], [2, 0]]
    """
    number = math.comb(n_volunteers + n_answers - 1, n_answers - 1)
    if number > MOST_OUTCOMES:
        raise ConfigError(
            f"{n_volunteers} volunteers can vote on {n_answers} answers in {number:,} ways, more than the "
            f"{MOST_OUTCOMES:,} that can be added up; ask fewer volunteers"
        )
    ways = np.zeros((1, 0), np.int64)
    for _ in range(n_answers - 1):
        left = n_volunteers - ways.sum(axis=1)
        given = np.concatenate([np.arange(rest + 1) for rest in left])
        ways = np.column_stack([np.repeat(ways, left + 1, axis=0), given])
    return np.column_stack([ways, n_volunteers - ways.sum(axis=1)])


def _information(
    alpha: FloatArray, shares: FloatArray, ways: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Information and entropy of the votes on one question, (galaxies,) each.

    Args:
        alpha: Concentrations of its answers, (samples, galaxies, answers).
        shares: Weights of the members, adding up to 1, (samples, galaxies).
        ways: Every outcome, (outcomes, answers).
    """
    from scipy.special import gammaln, logsumexp

    n_volunteers = int(ways[0].sum())
    total = alpha.sum(axis=-1)
    log_p = (gammaln(n_volunteers + 1) + gammaln(total) - gammaln(total + n_volunteers))[..., None]
    for answer in range(alpha.shape[-1]):  # each answer's part of the likelihood depends on its votes alone
        votes = np.arange(n_volunteers + 1)
        own = alpha[..., answer, None]
        log_p = log_p + (gammaln(own + votes) - gammaln(own) - gammaln(votes + 1))[..., ways[:, answer]]
    mixture = logsumexp(log_p, axis=0, b=shares[..., None])
    p = np.exp(log_p)
    information = np.einsum("sg,sgo->g", shares, p * (log_p - mixture))
    entropy = -(np.exp(mixture) * mixture).sum(axis=-1)
    return np.maximum(information, 0.0), np.maximum(entropy, 0.0)  # rounding may leave a hair below 0


# Each score of each kind of prediction, by name.

#: From the probabilities of classes, (samples, galaxies, classes), to (galaxies,).
_OF_CLASSES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "bald": disagreement,
    "entropy": entropy_of_mean,
    "margin": lack_of_margin,
    "least-confidence": lack_of_confidence,
}


def score_parts(task: Task, values: FloatArray, score: ScoreName, n_volunteers: int) -> FloatArray:
    """What each group of a task's outputs is worth, (galaxies, groups).

    Args:
        task: What was predicted.
        values: (samples, galaxies, outputs).
        score: One that the task has, but "random".
        n_volunteers: Of a tree: how many people each question is asked, if it is asked.
    """
    if task.tree is not None:
        return _parts_of_tree(task.tree, values, score, n_volunteers)
    if task.predicts == "numbers":
        return scatter_of_members(values)
    if task.predicts == "classes":
        return _OF_CLASSES[score](values)[:, None]
    both = yes_and_no(values)
    return np.stack([_OF_CLASSES[score](both[:, :, label]) for label in range(task.num_outputs)], axis=1)


def _parts_of_tree(schema: Schema, alpha: FloatArray, score: str, n_volunteers: int) -> FloatArray:
    """What each question is worth, times the probability that it is asked: (galaxies, questions)."""
    if score == "margin":
        fractions = expected_fractions(alpha, schema)
        lack = [lack_of_margin(fractions[None, :, question.slice]) for question in schema.questions]
        single = [len(question.answers) == 1 for question in schema.questions]
        return np.where(single, 0.0, np.stack(lack, axis=1)) * probability_asked(alpha, schema)
    found = vote_information(alpha, schema, n_volunteers)
    return found.asked * (found.information if score == "bald" else found.entropy)
