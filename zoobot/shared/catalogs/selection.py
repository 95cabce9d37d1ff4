"""Rows chosen by "COLUMN=VALUE"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["split_selection", "where_equal"]


def split_selection(select: str) -> tuple[str, str]:
    """The column and the value of a selection.

    Raises:
        ConfigError: If it is not of the form COLUMN=VALUE.

    Example:
        >>> split_selection("split=test")
        ('split', 'test')
    """
    column, equals, value = select.partition("=")
    if not equals:
        msg = f"--select must be COLUMN=VALUE, got {select!r}"
        raise ConfigError(msg)
    return column, value


def where_equal(column: pd.Series, value: str) -> np.ndarray:
    """Which entries of a column are a value: the same text, or the same number.

    Example:
        >>> import pandas as pd
        >>> where_equal(pd.Series(["1", "1.0", "one"]), "1").tolist()
        [True, True, False]
    """
    import pandas as pd

    texts = column.astype(str)
    equal = (texts == value).to_numpy(dtype=bool)
    try:
        number = float(value)
    except ValueError:
        return equal
    return equal | (pd.to_numeric(texts, errors="coerce") == number).to_numpy(dtype=bool)
