"""A data module hands the catalog's own column names on to the split."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot.shared.errors import CatalogError
from zoobot.shared.galaxy_data import GalaxyData


@pytest.fixture
def galaxies(tmp_path):
    """Twenty pairs of galaxies an arcsecond apart, in columns with names of their own."""
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "galaxy.png")
    pair = np.arange(40) // 2
    return pd.DataFrame(
        {
            "id_str": [f"g{number}" for number in range(40)],
            "file_loc": str(tmp_path / "galaxy.png"),
            "RAJ2000": 17.5 * pair + np.arange(40) % 2 / 3600,
            "DEJ2000": 0.5,
        }
    )


def test_a_split_by_sky_takes_the_names_of_the_coordinates(galaxies):
    data = GalaxyData(galaxies, split="sky", ra_col="RAJ2000", dec_col="DEJ2000", val_fraction=0.3)
    data.setup()
    train, val = (
        {int(g[1:]) // 2 for g in part.table["id_str"]} for part in (data.train_galaxies, data.val_galaxies)
    )
    assert train
    assert val
    assert not train & val


def test_a_split_by_sky_without_coordinates_names_the_missing_column(galaxies):
    with pytest.raises(CatalogError, match="'ra'"):
        GalaxyData(galaxies, split="sky").setup()
