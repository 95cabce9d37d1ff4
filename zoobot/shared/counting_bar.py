"""How far long work has come: a bar on a terminal, and in a log a line every half minute."""

from __future__ import annotations

import html
import logging
import sys
import time
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress

__all__ = ["CountingBar", "duration", "tell"]

logger = logging.getLogger("zoobot")

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_FOR_A_RATE = 0.5
_SECONDS_BETWEEN_DRAWINGS = 0.2  # in a notebook


class CountingBar:
    """Shows work that is counted, the same in training and prediction; used as a context.

    On a terminal or in a notebook it draws what is done, how many of how many, the rate and the time left.
    Elsewhere, such as in the log of a batch system, it says the same in a line every half minute, and in one
    line at the end. A rate counts what was done here, since this began, not what was there before.

    Args:
        what: What is done, such as "Predicting galaxies".
        total: How many there are to do.
        done: How many were done before.
        unit: What is counted, to say how many of them are done in a second; None says no rate.
        shown: Whether anything is shown.
        noun: What is counted, where lines do not say it otherwise.
        says_end: Whether a line is said at the end too.
        says_left: Whether the time left is said: not of work whose steps take ever longer, or may end early.

    Attributes:
        note: What is said besides, such as how many failed.
        draws: Whether it is a bar, not lines.

    Example:
        >>> with CountingBar("Counting", 2, shown=False) as bar:
        ...     bar.advance()
        ...     bar.done
        1
    """

    def __init__(
        self,
        what: str,
        total: int,
        *,
        done: int = 0,
        unit: str | None = None,
        shown: bool,
        noun: str = "",
        says_end: bool = True,
        says_left: bool = True,
    ) -> None:
        self.what, self.total, self.done, self.note = what, total, done, ""
        self._unit, self._shown, self._says_end, self._says_left = unit, shown, says_end, says_left
        self._before, self._noun = done, noun
        self._bar: Any = _drawn_bar(unit, says_left=says_left) if shown else None
        self.draws = self._bar is not None
        self._work: Any = None
        self._began = self._said = time.monotonic()

    def __enter__(self) -> CountingBar:
        self._began = self._said = time.monotonic()
        if self._bar is not None:
            self._work = self._bar.add_task(self.what, total=self.total, completed=self.done, rate=None)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._shown and self._says_end and kind is None:
            took = duration(time.monotonic() - self._began)
            self._say(f"{self._how_far()} in {took}", self._rate(), self.note)

    def begin(self, what: str, total: int, *, done: int = 0) -> None:
        """Begin anew, with other work."""
        self.what, self.total, self.done, self._before = what, total, done, done
        self._began = self._said = time.monotonic()
        if self._bar is not None:
            self._bar.reset(self._work, total=total, completed=done, description=what, rate=None)

    def describe(self, what: str) -> None:
        """Say something else of the same work."""
        self.what = what
        if self._bar is not None:
            self._bar.update(self._work, description=what)

    def advance(self, count: int = 1) -> None:
        """Note that so many more are done."""
        self.reach(self.done + count)

    def reach(self, done: int) -> None:
        """Note that so many are done in all."""
        self.done = done
        if self._bar is not None:
            self._bar.update(self._work, completed=done, total=self.total, rate=self._rate())
            return
        now = time.monotonic()
        if self._shown and now - self._said >= _SECONDS_BETWEEN_LINES and done < self.total:
            self._said = now
            self._say(self._how_far(), self._rate(), self._left(), self.note)

    def _say(self, *parts: str) -> None:
        tell(f"{self.what}: {', '.join(filter(None, parts))}")

    def _how_far(self) -> str:
        before = f" ({self._before:,} of them before)" if self._before else ""
        noun = f" {self._noun}" if self._noun else ""
        return f"{self.done:,} of {self.total:,}{noun}{before}"

    def _rate(self) -> str:
        """How many are done in a second, where that is known."""
        seconds = time.monotonic() - self._began
        if self._unit is None or seconds < _SECONDS_FOR_A_RATE or self.done <= self._before:
            return ""
        return f"{(self.done - self._before) / seconds:,.1f} {self._unit}/s"

    def _left(self) -> str:
        done = self.done - self._before
        if done <= 0 or not self._says_left:
            return ""
        return f"{duration((time.monotonic() - self._began) / done * (self.total - self.done))} left"


def tell(line: str) -> None:
    """Say a line of progress: to the log; to stderr where nobody listens to that, as in a plain script."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", line)
    else:
        progress_stream().write(f"{line}\n")


def progress_stream() -> TextIO:
    """Where progress is said: to stderr, which a notebook would show as an error."""
    return sys.stdout if in_notebook() else sys.stderr


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def quieten_other_bars() -> None:
    """Let tqdm, where others draw with it, meet a notebook without a word about packages that it misses."""
    if in_notebook() and find_spec("tqdm") is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module("tqdm.auto")  # it warns when it is imported first, and not again


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Example:
        >>> duration(7320), duration(125), duration(7), duration(0.25)
        ('2 h 2 min', '2 min 5 s', '7 s', '0.25 s')
    """
    if 0.005 < seconds < 1:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class _NotebookBar:
    """The bar as HTML that a notebook redraws: Rich's own needs ipywidgets, and warns without them."""

    def __init__(self, *, says_left: bool) -> None:
        self._says_left = says_left
        self._facts: dict[str, Any] = {}
        self._began = self._drawn = time.monotonic()
        self._before, self._place = 0, None

    def add_task(self, description: str, **facts: Any) -> None:
        self.reset(None, description=description, **facts)

    def reset(self, _: object, **facts: Any) -> None:
        self._began, self._before = time.monotonic(), facts["completed"]
        self.update(None, **facts)

    def start(self) -> None:
        from IPython.display import display

        self._place = display(self, display_id=True)

    def update(self, _: object, **facts: Any) -> None:
        self._facts |= facts
        if time.monotonic() - self._drawn > _SECONDS_BETWEEN_DRAWINGS:
            self.stop()

    def stop(self) -> None:
        self._drawn = time.monotonic()
        if self._place is not None:
            self._place.update(self)

    def __repr__(self) -> str:
        done, total = self._facts["completed"], self._facts["total"]
        parts = [f"{self._facts['description']} {done:,}/{total:,}", self._facts.get("rate") or ""]
        here = done - self._before
        if self._says_left and here > 0 and done < total:
            left = (time.monotonic() - self._began) / here * (total - done)
            parts.append(f"{duration(left)} left")
        return ", ".join(filter(None, parts))

    def _repr_html_(self) -> str:
        done, total = self._facts["completed"], self._facts["total"]
        return f'<progress value="{done}" max="{max(1, total)}"></progress> {html.escape(repr(self))}'


def _drawn_bar(unit: str | None, *, says_left: bool) -> Progress | _NotebookBar | None:
    """A bar, where there is something to draw on."""
    if in_notebook():
        return _NotebookBar(says_left=says_left)
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        return None

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.fields.get("rate") or "")

    more = [*([Rate()] if unit else []), *([TimeRemainingColumn()] if says_left else [])]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *more)
    return Progress(*columns, console=console)
