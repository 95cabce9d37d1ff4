"""The progress bar of work that is counted, the same in training and prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, Task
    from rich.text import Text

__all__ = ["counting_bar"]


def counting_bar(*, progress: bool, unit: str | None = None) -> Progress:
    """What is done, a bar, how many of how many, and the time left; nothing at all without `progress`.

    Args:
        progress: Whether it is drawn.
        unit: What is counted, to say how many of them are done in a second too.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.1f} {unit}/s")

    rate = () if unit is None else (Rate(),)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *rate,
        TimeRemainingColumn(),
    )
    return Progress(*columns, disable=not progress)
