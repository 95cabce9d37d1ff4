"""Which epoch of a training run is the best so far, and whether to go on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from zoobot.shared.errors import ConfigError

__all__ = ["BestEpoch"]


class BestEpoch:
    """Remembers the best score of a run and how long ago it was; lower is better.

    Args:
        monitor: The logged number that decides.

    Attributes:
        score: The best so far.
        epochs_since: Epochs after it.
        is_final: Whether no epoch can be better: a head was found that is the best there is.

    Example:
        >>> best = BestEpoch("val_loss")
        >>> [best.judge({"val_loss": score}) for score in (0.5, 0.4, 0.6)]
        [True, True, False]
        >>> best.score, best.epochs_since
        (0.4, 1)
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self.score = math.inf
        self.epochs_since = 0
        self.is_final = False

    def judge(self, scores: Mapping[str, float]) -> bool:
        """Take note of one more epoch, and say whether it is the best so far.

        Raises:
            ConfigError: If the monitored number was not logged.
        """
        if self.monitor not in scores:
            msg = f"monitor must be one of {sorted(scores)}, got {self.monitor!r}"
            raise ConfigError(msg)
        score = float(scores[self.monitor])
        if score < self.score:
            self.score, self.epochs_since = score, 0
            return True
        self.epochs_since += 1
        return False

    @property
    def found(self) -> bool:
        """Whether any epoch had a score yet."""
        return self.score < math.inf

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"best": self.score, "epochs_since": self.epochs_since, "is_final": self.is_final}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where a killed run stopped."""
        self.score, self.epochs_since = state["best"], state["epochs_since"]
        self.is_final = state.get("is_final", False)  # earlier versions did not say
