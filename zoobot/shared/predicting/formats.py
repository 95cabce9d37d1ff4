"""The file formats of prediction tables, by their suffixes."""

from __future__ import annotations

from pathlib import Path

from zoobot.shared.errors import PredictionsError
from zoobot.shared.predicting.csv_format import Csv
from zoobot.shared.predicting.fits_format import Fits
from zoobot.shared.predicting.hdf5_format import Hdf5
from zoobot.shared.predicting.parquet_format import Parquet
from zoobot.shared.predicting.table_layout import Format

__all__ = ["FORMATS", "PARQUET", "find_format"]

#: The format of the parts of a prediction run.
PARQUET = Parquet()

FORMATS: dict[str, Format] = {
    ".parquet": PARQUET,
    ".csv": Csv(),
    ".hdf5": Hdf5(),
    ".h5": Hdf5(),
    ".fits": Fits(),
}


def find_format(path: Path) -> Format:
    """The format of a table of this name.

    Raises:
        PredictionsError: If its suffix is none of ours.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        msg = f"a prediction table must end in one of {', '.join(FORMATS)}, got {str(path)!r}"
        raise PredictionsError(msg)
    return form
