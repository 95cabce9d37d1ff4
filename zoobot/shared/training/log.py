"""metrics.csv: one row for each finished epoch of a training run, the same columns in either engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from zoobot.shared.errors import ConfigError
from zoobot.shared.files.safe import write_safely

__all__ = ["EpochLog"]


class EpochLog:
    """A CSV file that grows by one row an epoch and survives a killed run.

    Args:
        path: Where the file is; its folder is made with the first row.

    Example:
        >>> import tempfile
        >>> log = EpochLog(Path(tempfile.mkdtemp()) / "metrics.csv")
        >>> log.append({"epoch": 0, "val_loss": 0.5})
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
        write_safely(self.path, pd.DataFrame(rows).to_csv(index=False))
