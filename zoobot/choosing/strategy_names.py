"""The names of the ways to choose galaxies: scores, ways to keep apart, and strategies made of both.

"random", "bald", "entropy" … are scores of `acquisition`; "kcentre", "kmeans++" and "clusters", of
`diversity`, look at features alone; "bald+kcentre" does both.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from zoobot.shared.errors import ConfigError
from zoobot.shared.tasks import KINDS

ScoreName = Literal["bald", "variance", "entropy", "margin", "least-confidence", "random"]


class Score(NamedTuple):
    """What the label of a galaxy is worth, by one score; `tasks.KINDS` says which tasks have it.

    Attributes:
        meaning: In words.
        needs_members: Whether it says something only where there are several members or samples.
    """

    meaning: str
    needs_members: bool = False


#: What each score is of a label: the sum over the questions of a tree, each times the probability that it is
#: asked, over labels, or over targets; of classes there is one. `zoobot.choosing.information` computes it.
SCORES: dict[ScoreName, Score] = {
    "bald": Score("what it tells of which member is right, in nats", needs_members=True),
    "variance": Score("the same for numbers: how far members differ, against galaxies", needs_members=True),
    "entropy": Score("how uncertain it is, for whatever reason, in nats"),
    "margin": Score("1 less the distance between the two likeliest answers"),
    "least-confidence": Score("1 less the probability of the likeliest class"),
    "random": Score("the same for every galaxy's chances"),
}

#: No score: of each cluster of features a galaxy that is drawn, so that any encoder can choose the first.
TYPICAL = "typical"

#: Ways to keep the galaxies of a batch apart.
DIVERSITIES = ("kcentre", "kmeans++", "clusters", "none")


class Strategy(NamedTuple):
    """How galaxies are chosen.

    Attributes:
        name: As it was asked for.
        score: One of `SCORES`; None counts all galaxies alike.
        diversity: One of `DIVERSITIES`.
    """

    name: str
    score: str | None
    diversity: str

    @property
    def needs_predictions(self) -> bool:
        """Whether it asks a model at all."""
        return self.score not in (None, "random")


def read_strategy(name: str, task_kind: str) -> Strategy:
    """The strategy of a name, for a kind of task.

    Raises:
        ConfigError: If there is no such strategy for this kind of task.

    Example:
        >>> read_strategy("bald+kcentre", "tree")
        Strategy(name='bald+kcentre', score='bald', diversity='kcentre')
    """
    known = KINDS[task_kind].choosing
    apart = [way for way in DIVERSITIES if way != "none"]
    score, plus, diversity = ("", "", name) if name in apart else name.partition("+")
    is_score = score in known and (not plus or diversity in apart)
    if not (name in apart or is_score):
        raise ConfigError(
            f"a strategy for a {task_kind} task must be one of {list(known)}, one of {apart}, or both joined "
            f"as in '{known[0]}+{apart[0]}', got {name!r}"
        )
    return Strategy(name, score or None, diversity or "none")
