"""Selection by rule: galaxies that volunteers would most likely call so, and a random share of the others.

Galaxy Zoo sends to its volunteers the galaxies of which a model is sure enough that they say enough of one
answer: P(fraction ≥ f) ≥ p by its posterior, the mixture of its samples or of the members of an ensemble.
Those who are drawn at random from all others show what the rule misses.

References:
    Walmsley et al. 2020, MNRAS 491, 1554.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoobot.choosing.acquisition import Acquisition
from zoobot.choosing.diversity import Chosen
from zoobot.shared import defaults
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.posteriors import marginal_betas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoobot.shared.tasks import Task
    from zoobot.shared.votes import FloatArray

#: The reason of a galaxy that no rule chose.
RANDOM = "random"

#: With so many galaxies below it, a rule may not be what was meant.
MOST_BELOW = 0.95


@dataclass(frozen=True)
class Rule:
    """Which galaxies are chosen.

    Args:
        answer: A column of votes, a class, or a label.
        fraction: Of a tree: the share of the volunteers who are asked the question that give this answer, at
            least; None of classes and labels, whose own probability counts.
        probability: How sure the model must be of that, at least.
        random_share: For each galaxy that is chosen, how many more are drawn at random from those below.

    Example:
        >>> Rule("bar-gz2_yes", 0.2, 0.8).name
        'P(bar-gz2_yes ≥ 0.2)'
    """

    answer: str
    fraction: float | None = None
    probability: float = defaults.RULE_PROBABILITY
    random_share: float = 0.0

    @property
    def name(self) -> str:
        """What galaxies are ordered by."""
        return f"P({self.answer})" if self.fraction is None else f"P({self.answer} ≥ {self.fraction:g})"

    def find_output(self, task: Task) -> int:
        """The place of the answer among the task's outputs.

        Raises:
            ConfigError: If the task has no such answer, or the rule is of another kind of task.
        """
        if task.predicts == "numbers":
            msg = "a rule (--answer) is for a tree, classes or labels, but this model predicts numbers"
            raise ConfigError(msg)
        names = list(task.label_cols) if task.tree is not None else _names_of(task)
        known = {name: place for place, name in enumerate(task.output_columns)}
        known |= {name: place for place, name in enumerate(names)}
        if self.answer not in known:
            near = difflib.get_close_matches(self.answer, names, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {names}"
            raise ConfigError(f"--answer: no answer, class or label is called {self.answer!r}: {hint}")
        if task.tree is None and self.fraction is not None:
            raise ConfigError(
                f"--fraction is for the votes of a tree, but this model's task is {task.kind}: the "
                f"probability of {self.answer!r} itself counts (--probability)"
            )
        if task.tree is not None and self.fraction is None:
            raise ConfigError(
                f"say which share of the volunteers must answer {self.answer!r} at least (--fraction 0.2)"
            )
        return known[self.answer]


def _names_of(task: Task) -> list[str]:
    return [name for group in task.groups for name in group.answers]


def rule_probabilities(task: Task, predictions: FloatArray, rule: Rule) -> FloatArray:
    """By each sample or member, the probability that a galaxy fulfils the rule, (samples, galaxies).

    Their mean is that of the mixture.

    Args:
        task: What was predicted.
        predictions: (samples, galaxies, outputs).
        rule: Of which answer, and how much of it.

    Raises:
        ConfigError: If the task has no such answer.
        LabelError: If the predictions are not of this task.

    Example:
        >>> from zoobot.shared import schemas
        >>> from zoobot.shared.tasks import TreeTask
        >>> task = TreeTask(schema=schemas.get("gz_rings"))
        >>> rule_probabilities(task, np.ones((1, 1, 2)), Rule(task.label_cols[0], 0.2)).round(3).tolist()
        [[0.8]]
    """
    from scipy.special import betaincc

    place = rule.find_output(task)
    if task.tree is None:
        return np.asarray(predictions, np.float64)[..., place]
    alpha, others = (part[..., place] for part in marginal_betas(predictions, task.tree))
    alone = others == 0  # the only answer of its question: everybody gives it
    above: FloatArray = betaincc(alpha, np.where(alone, 1.0, others), rule.fraction)
    return np.where(alone, 1.0, above)


class RuleChoice(NamedTuple):
    """The galaxies that a rule chose.

    Attributes:
        found: The probability of every galaxy, as a score.
        chosen: Those that fulfil the rule, the likeliest first; then those that were drawn.
        reasons: Of each that was chosen: the answer, or `RANDOM`.
        above: How many of all galaxies fulfil the rule.
        below: How many don't.
    """

    found: Acquisition
    chosen: Chosen
    reasons: list[str]
    above: int
    below: int


def choose_by_rule(
    task: Task, by_member: FloatArray, rule: Rule, n: int, *, seed: int = defaults.SEED
) -> RuleChoice:
    """The galaxies that fulfil a rule, and the random ones beside them, at most `n` together.

    Args:
        task: What was predicted.
        by_member: As `rule_probabilities` gives it.
        rule: The rule.
        n: Most galaxies to choose.
        seed: Of the draw.

    Raises:
        CatalogError: If no galaxy fulfils the rule.
    """
    score = by_member.mean(axis=0)
    above, below = np.flatnonzero(score >= rule.probability), np.flatnonzero(score < rule.probability)
    if not len(above):
        raise CatalogError(
            f"not one of {len(score):,} galaxies fulfils {rule.name} ≥ {rule.probability:g}: the most is "
            f"{score.max():.3g}. Ask for less (--probability, --fraction), or give other galaxies"
        )
    most = max(1, int(n / (1 + rule.random_share) + 1e-9))
    first = above[np.argsort(-score[above], kind="stable")][:most]
    wanted = min(int(rule.random_share * len(first) + 0.5), n - len(first), len(below))
    drawn = np.random.default_rng(seed).choice(below, wanted, replace=False)
    rows: NDArray[np.int64] = np.concatenate([first, drawn]).astype(np.int64)
    place = rule.find_output(task)
    part = next(k for k, group in enumerate(task.groups) if group.slice.start <= place < group.slice.stop)
    parts = np.zeros((len(score), len(task.groups)))
    parts[:, part] = score
    return RuleChoice(
        found=Acquisition(score, parts, tuple(group.name for group in task.groups)),
        chosen=Chosen(rows, np.full(len(rows), np.nan), float(len(rows))),
        reasons=[rule.answer] * len(first) + [RANDOM] * len(drawn),
        above=len(above),
        below=len(below),
    )
