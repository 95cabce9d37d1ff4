"""What a training run says of its epochs, the same in either engine: rows in metrics.csv, lines, a bar.

People count epochs from 1 to n, and so does everything that they read; engines count them from 0.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from zoobot.shared.counting_bar import CountingBar, duration, tell
from zoobot.shared.errors import ConfigError
from zoobot.shared.files.safe import write_safely
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.training.best_epoch import BestEpoch

__all__ = ["EpochLog", "EpochProgress"]


class EpochLog:
    """A CSV file that grows by one row an epoch, the first of which is 1, and survives a killed run.

    Args:
        path: Where the file is; its folder is made with the first row.

    Example:
        >>> import tempfile
        >>> log = EpochLog(Path(tempfile.mkdtemp()) / "metrics.csv")
        >>> log.append({"epoch": 1, "val_loss": 0.5})
        >>> log.read()["val_loss"].tolist()
        [0.5]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def read(self) -> pd.DataFrame:
        """All rows so far; empty where no epoch has finished.

        Raises:
            ConfigError: If the file is damaged.
        """
        if not self.path.exists():
            return pd.DataFrame()
        try:
            table = pd.read_csv(self.path, encoding="utf-8")
            if "epoch" not in table or table.select_dtypes("number").shape != table.shape:
                msg = f"expected numbers, one of them `epoch`, got {table.dtypes.to_dict()}"
                raise ValueError(msg)  # noqa: TRY301  said below with the file's name
        except (OSError, ValueError) as error:
            msg = f"{self.path} is no log of epochs ({error}); a run can go on without it: delete it"
            raise ConfigError(msg) from error
        return table

    def append(self, row: Mapping[str, float]) -> None:
        """Add one epoch; a column seen for the first time is blank in earlier rows.

        Rows of this epoch or later ones, left by a run that was killed and is now resumed, are replaced.

        Raises:
            WriteError: If the file can't be written; the older one stays.
        """
        before = self.read()
        if "epoch" in before:
            before = before[before["epoch"] < row["epoch"]]
        rows = [*before.to_dict("records"), dict(row)]
        write_safely(self.path, csv_text(pd.DataFrame(rows)))


class EpochProgress:
    """Shows how far training is: a bar on a terminal; else a line for each epoch, and within long ones.

    Args:
        max_epochs: Epochs at most.
        best: Has judged the epochs that are finished.
    """

    def __init__(self, max_epochs: int, best: BestEpoch) -> None:
        self._max_epochs, self._best = max_epochs, best
        self._bar: CountingBar | None = None
        self._epoch, self._done_before, self._of = -1, 0, 0
        self._losses = ""
        self._began = self._first = time.monotonic()

    def reach(self, epoch: int, batches: int, *, of: int) -> None:
        """Note how far an epoch is.

        Args:
            epoch: Counted from 0.
            batches: So many of its batches are done.
            of: So many it has, those of validation included.
        """
        if self._bar is None:
            self._bar = CountingBar("Training", of, shown=True, noun="batches", says_end=False).__enter__()
        if epoch != self._epoch:
            self._epoch, self._done_before, self._first = epoch, batches - 1, time.monotonic()
            name = self._named(epoch) + (self._losses if self._bar.draws else "")
            self._bar.begin(name, of, done=batches - 1)
        self._bar.total = self._of = of
        self._bar.reach(batches)

    def finish(self, epoch: int, scores: Mapping[str, float]) -> None:
        """Say what came of an epoch.

        Args:
            epoch: Counted from 0.
            scores: By name.
        """
        seconds, self._began = time.monotonic() - self._began, time.monotonic()
        shown = dict.fromkeys(("train_loss", "val_loss", self._best.monitor))
        losses = [f"{name} {scores[name]:.4f}" for name in shown if name in scores]
        self._losses = "".join(f"  {loss}" for loss in losses)
        if self._bar is not None and self._bar.draws:
            self._bar.describe(self._named(epoch) + self._losses)
            return
        said = ", ".join(losses) + (" (best so far)" if self._best.epochs_since == 0 else "")
        tell(f"{self._named(epoch)}: {said}, {duration(seconds)}{self._forecast(epoch)}")

    def _forecast(self, epoch: int) -> str:
        """How long further epochs will take, as this one did after its first batch, which may be slow."""
        left = self._max_epochs - epoch - 1
        if not left or epoch != self._epoch or self._done_before or self._of < 2:
            return ""
        seconds = left * (time.monotonic() - self._first) * self._of / (self._of - 1)
        return f", about {duration(seconds)} to epoch {self._max_epochs}" if seconds >= 1 else ""

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.__exit__()
            self._bar = None

    def _named(self, epoch: int) -> str:
        return f"Epoch {epoch + 1} of {self._max_epochs}"
