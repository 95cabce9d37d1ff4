"""The names of the ways to choose galaxies: scores, ways to keep apart, and strategies made of both.

"random", "bald", "entropy" … are scores of `acquisition`; "kcentre" and "kmeans++", of `diversity`, look at
features alone; "bald+kcentre" does both.
"""

from __future__ import annotations

from typing import NamedTuple

from zoobot.shared.errors import ConfigError

__all__ = ["DIVERSITIES", "SCORES", "Strategy", "read_strategy"]

#: The scores of each kind of task, the default first.
SCORES = {
    "classification": ("bald", "entropy", "margin", "least-confidence", "random"),
    "multi-label": ("bald", "entropy", "margin", "least-confidence", "random"),
    "regression": ("variance", "random"),
    "tree": ("bald", "entropy", "margin", "random"),
}

#: Ways to keep the galaxies of a batch apart.
DIVERSITIES = ("kcentre", "kmeans++", "none")


class Strategy(NamedTuple):
    """How galaxies are chosen.

    Attributes:
        name: As it was asked for.
        score: One of the task's `SCORES`; None counts all galaxies alike.
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
    known = SCORES[task_kind]
    apart = [way for way in DIVERSITIES if way != "none"]
    score, plus, diversity = ("", "", name) if name in apart else name.partition("+")
    is_score = score in known and (not plus or diversity in apart)
    if not (name in apart or is_score):
        msg = (
            f"a strategy for a {task_kind} task must be one of {list(known)}, one of {apart}, or both joined "
            f"as in '{known[0]}+{apart[0]}', got {name!r}"
        )
        raise ConfigError(msg)
    return Strategy(name, score or None, diversity or "none")
