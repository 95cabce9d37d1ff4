"""Where a catalog's images are is written down, and they are found again by it."""

import json
import os

import pandas as pd

from zoobot.shared.catalog import read_catalog
from zoobot.shared.catalogs.cutouts import Cutouts, describe_place, place_arguments
from zoobot.shared.catalogs.stream import CatalogStream


def test_images_are_found_again_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    names = [f"{i}.png" for i in range(5)]
    for name in names:
        (tmp_path / "images" / name).write_bytes(b"")
    pd.DataFrame({"name": [f"00{i}" for i in range(5)], "where": names}).to_csv(
        tmp_path / "c.csv", index=False
    )
    monkeypatch.chdir(tmp_path)
    told = {"root": "images", "id_col": "name", "file_col": "where"}
    for catalog in (read_catalog("c.csv", **told), CatalogStream("c.csv", **told)):
        place = json.loads(json.dumps(catalog.place))
        monkeypatch.chdir("/")
        found = CatalogStream(place["catalog"], **place_arguments(place)).find_paths(["003", "001", "009"])
        assert found == {"003": str(tmp_path / "images/3.png"), "001": str(tmp_path / "images/1.png")}
        monkeypatch.chdir(tmp_path)
    assert CatalogStream(read_catalog("c.csv", **told)).place == read_catalog("c.csv", **told).place


def test_cutouts_are_described_with_their_mosaics():
    cutouts = Cutouts(mosaics=("tiles/*.fits",), arcsec=20)
    place = describe_place(
        "c.csv", root=None, id_col="id_str", file_col="file_loc", image_col=None, cutouts=cutouts
    )
    again = place_arguments(json.loads(json.dumps(place)))["cutouts"]
    assert (again.arcsec, again.mosaics) == (20, (os.path.abspath("tiles/*.fits"),))


def test_tables_in_memory_have_no_place():
    table = pd.DataFrame({"id_str": ["a"], "file_loc": ["a.png"]})
    assert CatalogStream(table).place is None
