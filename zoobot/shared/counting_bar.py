"""The progress bar of work that is counted, the same in training and prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["counting_bar"]


def counting_bar(*, progress: bool) -> Progress:
    """What is done, a bar, how many of how many, and the time left; nothing at all without `progress`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, disable=not progress)
