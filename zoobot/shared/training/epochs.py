"""What a run's epochs come to: losses in parts, the best one, metrics.csv, and when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from zoobot.shared.counting_bar import CountingBar, duration, tell
from zoobot.shared.errors import ConfigError, NonFiniteError
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.files.whole import write_safely

if TYPE_CHECKING:
    from zoobot.shared.tasks import Task

# Which sums of a tree's losses are logged: one for each question, one for each campaign.


def part_groups(task: Task) -> tuple[list[str], np.ndarray]:
    """The names of the sums, and which parts of the loss each adds up: (parts, sums), of ones and zeros.

    A tree's loss has a part for each question; other tasks have one part and no sums.

    Example:
        >>> from zoobot.shared import schemas
        >>> from zoobot.shared.tasks import TreeTask
        >>> both = schemas.join([schemas.get("gz_rings"), schemas.get("gz2")])
        >>> names, members = part_groups(TreeTask(schema=both))
        >>> names[0], names[-1], members[:, -1].astype(int).tolist()
        ('nll_ring', 'nll_campaign_gz2', [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    """
    schema = task.tree
    if schema is None:
        return [], np.zeros((1, 0), np.float32)
    questions = np.eye(len(schema.questions), dtype=np.float32)
    of_campaigns = [questions[:, places].sum(axis=1) for places in schema.campaigns.values()]
    names = [f"nll_{question.text}" for question in schema.questions]
    names += [f"nll_campaign_{campaign}" for campaign in schema.campaigns]
    return names, np.stack([*questions.T, *of_campaigns], axis=1)


def mean_losses(names: list[str], sums: np.ndarray, galaxies: np.ndarray) -> dict[str, float]:
    """The mean of each sum over the galaxies that were asked, named `train_…`; without those nobody was.

    Args:
        names: From `part_groups`.
        sums: Each sum, added over the galaxies of an epoch, (sums,).
        galaxies: Of how many galaxies it was not exactly zero, (sums,).
    """
    return {
        f"train_{name}": float(total / count)
        for name, total, count in zip(names, sums, galaxies, strict=True)
        if count
    }


# What the validation galaxies of one epoch add up to: the loss, the task's scores, and no NaN unnoticed.

_IDS_SHOWN = 10


class ValidatedBatch(NamedTuple):
    """What one validation batch leaves behind.

    Attributes:
        losses: (batch,).
        predictions: (batch, outputs).
        labels: (batch, label columns), NaN where missing.
        ids: Ids of the galaxies, in order.
    """

    losses: np.ndarray
    predictions: np.ndarray
    labels: np.ndarray
    ids: list[str]


def validation_scores(task: Task, batches: Sequence[ValidatedBatch]) -> dict[str, float]:
    """The mean loss of an epoch's validation galaxies, `val_loss`, and the task's metrics, `val_…`.

    Raises:
        NonFiniteError: If the loss of a galaxy is NaN or infinite.

    Example:
        >>> from zoobot.shared.tasks import RegressionTask
        >>> numbers = np.array([[1.0], [2.0]])
        >>> batch = ValidatedBatch(np.array([0.0, 1.0]), numbers, numbers, ["a", "b"])
        >>> validation_scores(RegressionTask(label_cols=["size"]), [batch])["val_loss"]
        0.5
    """
    *arrays, ids = zip(*batches, strict=True)
    losses, predictions, labels = (np.concatenate(parts) for parts in arrays)
    refuse_non_finite(losses, list(chain.from_iterable(ids)), "validation")
    scores = task.metrics(predictions, labels)
    return {"val_loss": float(losses.mean(dtype=np.float64))} | {f"val_{k}": v for k, v in scores.items()}


def refuse_non_finite(losses: np.ndarray, ids: Sequence[str], purpose: str) -> None:
    """Raise where a loss is NaN or infinite, and name the galaxies.

    Args:
        losses: (batch,).
        ids: Ids of the galaxies, in order.
        purpose: "training" or "validation".

    Raises:
        NonFiniteError: Naming the first galaxies that have such a loss.
    """
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        raise NonFiniteError(
            f"the {purpose} loss is not finite for {len(bad)} galaxies: "
            f"{[ids[i] for i in bad[:_IDS_SHOWN]]}; look at their images and labels, or lower learning_rate"
        )


# Which epoch of a training run is the best so far, and whether to go on.


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
            raise ConfigError(f"monitor must be one of {sorted(scores)}, got {self.monitor!r}")
        score = float(scores[self.monitor])
        if score < self.score:
            self.score, self.epochs_since = score, 0
            return True
        self.epochs_since += 1
        return False

    def keep(
        self,
        model: Any,
        folder: Path,
        scores: Mapping[str, float],
        training: Mapping[str, Any],
        *,
        writes: bool,
    ) -> None:
        """Judge a model, and write it as a checkpoint if it is the best so far.

        Args:
            model: Any engine's.
            folder: Of the checkpoint.
            scores: Those of the epoch.
            training: What the checkpoint says of the training, besides the score.
            writes: Whether this process is the one that writes.
        """
        if self.judge(scores) and writes:
            model.save(folder, training={**training, self.monitor: self.score})

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

    def note(self, epoch: int, step: int, learning_rate: float, scores: Mapping[str, float]) -> None:
        """Add one epoch, with its scores in the order of their names; see `append`."""
        row = {"epoch": epoch, "step": step, "learning_rate": learning_rate}
        self.append(row | dict(sorted(scores.items())))

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
