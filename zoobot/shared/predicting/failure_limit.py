"""How many images may fail before a prediction run gives up."""

from __future__ import annotations

from collections.abc import Sequence

from zoobot.shared.errors import ConfigError, ImageError
from zoobot.shared.loader import Failure

__all__ = ["FailureLimit", "check_max_failures"]

_SHOWN = 5


def check_max_failures(asked: float | None) -> None:
    """Raise a ConfigError unless a limit is None, a whole number from 0, or a fraction up to 1."""
    if asked is None or (isinstance(asked, int) and not isinstance(asked, bool) and asked >= 0):
        return
    if not (isinstance(asked, float) and 0 <= asked <= 1):
        msg = f"max_failures must be a whole number, as 100, or a fraction up to 1, as 0.01, got {asked!r}"
        raise ConfigError(msg)


class FailureLimit:
    """Counts failures, and ends the run where there are too many.

    Args:
        asked: A number of galaxies, or a fraction of them, that may fail; None allows any.
        galaxies: How many there are in all.
        before: How many have failed in earlier runs of the same work.
        first: The first of those.

    Attributes:
        failed: How many have failed for good.
        first: The first of them.
    """

    def __init__(
        self, asked: float | None, galaxies: int, *, before: int = 0, first: Sequence[Failure] = ()
    ) -> None:
        self.failed = before
        self._asked, self._galaxies = asked, galaxies
        self.first = list(first[:_SHOWN])

    def add(self, failures: Sequence[Failure]) -> None:
        """Count failures that are final, such as those of a part that is done."""
        self.failed += len(failures)
        self.first += failures[: _SHOWN - len(self.first)]

    def check(self, failures: Sequence[Failure] = ()) -> None:
        """Raise an ImageError if those counted, and these beside them, are more than may fail."""
        failed = self.failed + len(failures)
        if self._asked is None or failed <= self._most():
            return
        first = [*self.first, *failures][:_SHOWN]
        shown = "".join(f"\n  {f.id_str}: {f.file_loc}: {f.reason}" for f in first)
        msg = (
            f"{failed:,} of {self._galaxies:,} images could not be read, more than may fail "
            f"(max_failures={self._asked}); mend them, or allow more. The first:{shown}"
        )
        raise ImageError(msg)

    def _most(self) -> float:
        return self._asked * self._galaxies if isinstance(self._asked, float) else self._asked or 0
