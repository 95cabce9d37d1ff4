"""A data module hands the catalog's own column names on to the split."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot.shared.catalog import read_catalog
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tasks import ClassificationTask


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


def test_a_catalog_that_knows_its_labels_need_not_name_them_again(galaxies):
    galaxies["ring"] = np.arange(40) % 2
    galaxies["T"] = 3.0
    catalog = read_catalog(galaxies, label_cols=["ring"])
    data = GalaxyData(catalog, val_fraction=0.3)
    assert data.meet(ClassificationTask(class_names=("no", "yes"))).label_cols == ("ring",)
    assert data.train_galaxies.label_cols == ("ring",)
    other = GalaxyData(
        train_catalog=catalog.select(np.arange(20)),
        val_catalog=read_catalog(galaxies[20:], label_cols=["T"]),
    )
    with pytest.raises(ConfigError, match="no label columns"):
        other.meet(ClassificationTask(class_names=("no", "yes")))


def test_the_catalog_s_own_split_beside_other_catalogs(galaxies, caplog):
    galaxies["split"] = ["train"] * 20 + ["val"] * 10 + ["test"] * 10
    other = galaxies.assign(id_str=[f"h{i}" for i in range(40)]).drop(columns="split")
    data = GalaxyData(galaxies)
    data.setup()
    assert [len(data.galaxies[part]) for part in ("train", "val", "test")] == [20, 10, 10]
    assert data.record()["val"]["split"] == "column 'split'"
    data = GalaxyData(galaxies, split="random", val_fraction=0.5)
    data.setup()
    assert [len(data.galaxies[part]) for part in ("train", "val")] == [20, 20]
    assert data.record()["val"]["split"] == "random"
    with caplog.at_level("INFO"):
        data = GalaxyData(train_catalog=galaxies, test_catalog=other)
        data.setup()
    assert [len(data.galaxies[part]) for part in ("train", "val", "test")] == [20, 10, 40]
    assert "Left out 10 galaxies of the DataFrame that it keeps for test" in caplog.text
    with caplog.at_level("INFO"):
        data = GalaxyData(train_catalog=galaxies, val_catalog=other)
        data.setup()
    assert [len(data.galaxies[part]) for part in ("train", "val")] == [40, 40]
    assert "Column 'split' of the DataFrame is not looked at" in caplog.text


@pytest.mark.parametrize(
    ("galaxies", "batch_size", "devices", "are_large_enough"),
    [
        (9, 1, 1, False),
        (3, 2, 1, False),
        (4, 2, 1, True),
        (9, 4, 1, True),
        (9, 4, 4, False),
        (9, 8, 4, False),
        (16, 8, 4, True),
    ],
)
def test_batches_of_one_galaxy_are_found_before_training(galaxies, batch_size, devices, are_large_enough):
    ids = [str(number) for number in range(galaxies + 1)]
    table = pd.DataFrame({"id_str": ids, "file_loc": ids, "ring": 0.0})
    train, val = table.head(galaxies), table.tail(1)
    read = [read_catalog(part, label_cols=["ring"], check_files=False) for part in (train, val)]
    data = GalaxyData(train_catalog=read[0], val_catalog=read[1], batch_size=batch_size)
    loader = data.loader("train", preprocessing=Preprocessing(image_size_pix=8), shard=(devices - 1, devices))
    assert (min(map(len, loader.plan_batches())) > 1) == are_large_enough
    if are_large_enough:
        data.refuse_batches_of_one(devices)
    else:
        with pytest.raises(ConfigError, match="batches of one galaxy"):
            data.refuse_batches_of_one(devices)
