"""Catalogs made of archives of images: ids, places and labels; and catalogs whose images lie in archives."""

from __future__ import annotations

import io
import json
import logging
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from zoobot.options import FinetuneOptions, PredictOptions
from zoobot.shared.catalog import read_catalog
from zoobot.shared.catalogs.cutouts import Cutouts
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.errors import CatalogError, ConfigError, ImageError
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.pixels import containers
from zoobot.shared.pixels.containers import Kind, open_container
from zoobot.shared.preprocessing import Preprocessing
from zoobot.workflow.galaxies import read_classes, read_galaxies

RECORD = Preprocessing(image_size_pix=16)


def picture(value):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_files(folder, members):
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_shard(path, start, count=4):
    """A WebDataset shard: image i shows the value 10 i."""
    members = {}
    for i in range(start, start + count):
        members[f"sky/{i:03d}.cls"] = str(i % 2).encode()
        members[f"sky/{i:03d}.png"] = picture(10 * i)
        members[f"sky/{i:03d}.json"] = json.dumps({"ra": i / 2, "kind": "ring", "deep": {"x": 1}}).encode()
    return write_tar(path, members)


def brightness(catalog):
    """The value each galaxy's image shows."""
    found = {}
    for batch in GalaxyLoader(catalog, RECORD, batch_size=3, num_workers=2):
        found |= dict(zip(batch.ids, batch.images[:, 8, 8, 0].tolist(), strict=True))
    return [found[galaxy] for galaxy in catalog.ids]


def streamed(source, **options):
    parts = CatalogStream(source, **options).parts(3)
    pairs = [(i, p) for part in parts for i, p in zip(part.galaxies.ids, part.galaxies.paths, strict=True)]
    return [list(column) for column in zip(*pairs, strict=True)]


class TestTars:
    def test_a_shard_is_a_labelled_catalog(self, tmp_path):
        write_shard(tmp_path / "a.tar", 0)
        catalog = read_catalog(tmp_path / "a.tar", label_cols=["cls"])
        assert catalog.ids == ["sky/000", "sky/001", "sky/002", "sky/003"]
        assert catalog.paths[1] == f"{tmp_path}/a.tar::sky/001.png"
        assert catalog.labels.ravel().tolist() == [0, 1, 0, 1]
        assert catalog.table["ra"].tolist() == [0, 0.5, 1, 1.5]
        assert "deep" not in catalog.table
        assert brightness(catalog) == [0, 10, 20, 30]

    @pytest.mark.parametrize("source", ["shards", "shards/*.tar", "shards/part-?.tar"])
    def test_many_shards(self, tmp_path, source):
        (tmp_path / "shards").mkdir()
        for part in range(3):
            write_shard(tmp_path / "shards" / f"part-{part}.tar", 4 * part)
        catalog = read_catalog(tmp_path / source)
        assert len(catalog) == 12
        assert brightness(catalog) == [10 * i for i in range(12)]
        assert streamed(tmp_path / source) == [catalog.ids, catalog.paths]

    def test_ids_repeated_between_shards_are_refused(self, tmp_path):
        write_shard(tmp_path / "a.tar", 0)
        write_shard(tmp_path / "b.tar", 2)
        both = r"occur more than once.*sky/002.*/a\.tar::sky/002\.png and .*/b\.tar::sky/002\.png"
        with pytest.raises(CatalogError, match=f"2 ids .* {both}"):
            read_catalog(tmp_path / "*.tar")
        with pytest.raises(CatalogError, match=both):
            _ = CatalogStream(tmp_path / "*.tar").facts

    def test_keys_with_dots_pair_with_their_labels(self, tmp_path, caplog):
        keys = ["J000411.19+020924.0", "J000411.19+020924.1", "b.image"]
        members = {f"{key}.png": picture(5 * i) for i, key in enumerate(keys)}
        labels = {
            f"{keys[0]}.cls": b"1",
            f"{keys[1]}.cls": b"0",
            f"{keys[1]}.json": b'{"z": 2}',
            "b.cls": b"3",
        }
        write_tar(tmp_path / "a.tar", members | labels)
        catalog = read_catalog(tmp_path / "a.tar", label_cols=["cls"])
        assert catalog.ids == keys
        assert catalog.labels.ravel().tolist() == [1, 0, 3]
        assert catalog.table["z"].tolist()[1] == 2
        assert not caplog.messages
        assert brightness(catalog) == [0, 5, 10]
        assert streamed(tmp_path / "a.tar") == [catalog.ids, catalog.paths]

    def test_what_is_not_paired_is_said(self, tmp_path, caplog):
        images = {f"{key}.png": picture(5) for key in ("a", "c.g", "c.r", "d")}
        write_tar(tmp_path / "a.tar", images | {"a.cls": b"1", "c.cls": b"0", "e.json": b"{}", "x.txt": b""})
        with caplog.at_level(logging.INFO):
            catalog = read_catalog(tmp_path / "a.tar")
        assert catalog.table["cls"].tolist()[0] == 1
        assert catalog.table["cls"].isna().tolist() == [False, True, True, True]
        told = "\n".join(caplog.messages)
        assert "2 labels (.cls, .json) belong to no image by their name, such as 'c.cls'" in told
        assert "3 of 4 images have no labels beside them, such as 'c.g'" in told
        assert "Passed over 1 file of" in told
        assert ": 1 .txt" in told
        assert len(caplog.messages) == 3
        caplog.clear()
        write_tar(tmp_path / "b.tar", {f"{i}.png": picture(i) for i in range(5)})
        with caplog.at_level(logging.INFO):
            _ = CatalogStream(tmp_path / "*.tar").facts
        told = "\n".join(caplog.messages)
        assert "8 of 9 images have no labels beside them" in told
        assert len(caplog.messages) == 3
        caplog.clear()
        (tmp_path / "README.md").touch()
        with caplog.at_level(logging.INFO):
            read_catalog(tmp_path)
        assert any("Passed over 1 file of the folder" in message for message in caplog.messages)

    @pytest.mark.parametrize("kind", ["tar", "zip", "folder"])
    def test_two_images_of_one_id_are_named(self, tmp_path, kind):
        members = {"sky/a.1.png": picture(1), "sky/a.1.fits.gz": b"", "b.png": picture(2)}
        if kind == "folder":
            source = write_files(tmp_path / "images", members)
        else:
            source = (write_tar if kind == "tar" else write_zip)(tmp_path / f"a.{kind}", members)
        one = r"a\.1\.(png|fits\.gz)'"
        for read in (read_catalog, lambda source: CatalogStream(source).facts):
            with pytest.raises(CatalogError, match=f"{one} and '.*{one} are both"):
                read(source)

    @pytest.mark.parametrize("kind", ["tar", "zip", "folder"])
    def test_images_are_counted_by_their_endings_and_others_by_kind(self, tmp_path, kind, caplog):
        endings = ("jpg", "JPEG", "fits", "fits.bz2", "fit.gz", "fits.fz", "fts", "ftz", "fts.bz2", "tiff")
        images = [f"ngc.{i}.{ending}" for i, ending in enumerate(endings)]
        others = ["a.txt", "b.TXT", "c.xml", "README", "__MACOSX/._ngc.0.jpg", "x.fits.tmp", ".jpg"]
        members = dict.fromkeys([*images, *others], b"x")
        if kind == "folder":
            source = write_files(tmp_path / "images", members)
        else:
            source = (write_tar if kind == "tar" else write_zip)(tmp_path / f"a.{kind}", members)
        with caplog.at_level(logging.INFO):
            catalog = read_catalog(source)
        assert sorted(catalog.ids) == [f"ngc.{i}" for i in range(len(endings))]
        said = [message for message in caplog.messages if "Passed over 7 files" in message]
        assert len(said) == 1
        for words in ("2 .txt", "1 .xml", "2 hidden", "1 without an ending", "1 .tmp"):
            assert words in said[0]
        caplog.clear()
        with caplog.at_level(logging.INFO):
            ids, paths = streamed(source)
        assert (ids, paths) == (catalog.ids, catalog.paths)
        assert [message for message in caplog.messages if "Passed over" in message] == said

    def test_labels_that_some_lack_are_empty(self, tmp_path):
        members = {"a.png": picture(1), "a.json": b'{"x": 2.5}', "b.png": picture(2), "b.cls": b"spiral"}
        write_tar(tmp_path / "a.tar", members)
        table = read_catalog(tmp_path / "a.tar").table
        assert table["x"].tolist()[0] == 2.5
        assert table["x"].isna().tolist() == [False, True]
        assert table["cls"].tolist()[1] == "spiral"

    def test_classes_by_name_are_learned_from(self, tmp_path):
        kinds = ["spiral", "round", "spiral"]
        members = {f"{i}.png": picture(i) for i in range(3)}
        write_tar(tmp_path / "a.tar", members | {f"{i}.cls": kind.encode() for i, kind in enumerate(kinds)})
        galaxies, names = read_classes(read_catalog(tmp_path / "a.tar"), "cls", None)
        assert names == ("round", "spiral")
        assert galaxies.labels.ravel().tolist() == [1, 0, 1]

    @pytest.mark.parametrize("label", [b"{", b"[1]", b"\xff", b"[" * 100_000])
    def test_a_damaged_label_is_named(self, tmp_path, label):
        write_tar(tmp_path / "a.tar", {"a.png": picture(1), "a.json": label})
        with pytest.raises(CatalogError, match=r"a\.tar::a\.json"):
            read_catalog(tmp_path / "a.tar")

    def test_a_truncated_shard_is_told_of(self, tmp_path, caplog):
        data = write_shard(tmp_path / "a.tar", 0).read_bytes()
        (tmp_path / "a.tar").write_bytes(data[: data.index(b"sky/002.png")])
        with caplog.at_level(logging.WARNING):
            catalog = read_catalog(tmp_path / "a.tar")
        assert catalog.ids == ["sky/000", "sky/001"]
        assert "truncated" in caplog.text

    def test_no_images(self, tmp_path):
        write_tar(tmp_path / "a.tar", {"notes.txt": b"x"})
        with pytest.raises(CatalogError, match="holds no images"):
            read_catalog(tmp_path / "a.tar")


class TestOtherArchives:
    def test_zips(self, tmp_path):
        write_zip(tmp_path / "a.zip", {f"sky/{i}.png": picture(i) for i in range(5)} | {"readme.txt": b"x"})
        catalog = read_catalog(tmp_path / "a.zip")
        assert catalog.ids == [f"sky/{i}" for i in range(5)]
        assert brightness(catalog) == list(range(5))
        assert streamed(tmp_path / "a.zip") == [catalog.ids, catalog.paths]

    @pytest.mark.parametrize("records", [False, True])
    def test_parquet_with_ids_and_labels(self, tmp_path, records):
        images = [picture(i) for i in range(7)]
        values = [{"bytes": data, "path": None} for data in images] if records else images
        table = pa.table(
            {"id_str": [10**17 + i for i in range(7)], "image": values, "ring": [i % 2 for i in range(7)]}
        )
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
        catalog = read_catalog(tmp_path / "a.parquet", label_cols=["ring"])
        assert catalog.ids == [str(10**17 + i) for i in range(7)]
        assert catalog.labels.ravel().tolist() == [0, 1, 0, 1, 0, 1, 0]
        assert "image" not in catalog.table
        assert brightness(catalog) == list(range(7))
        assert streamed(tmp_path / "a.parquet") == [catalog.ids, catalog.paths]
        chosen = streamed(tmp_path / "a.parquet", select="ring=1")[0]
        assert chosen == catalog.ids[1::2]

    def test_parquet_shards_without_ids(self, tmp_path):
        for part in range(2):
            table = pa.table({"image": [picture(10 * part + i) for i in range(3)]})
            pq.write_table(table, tmp_path / f"train-{part}.parquet")
        catalog = read_catalog(tmp_path)
        assert catalog.ids == [f"train-{part}/{i}" for part in range(2) for i in range(3)]
        assert brightness(catalog) == [0, 1, 2, 10, 11, 12]

    def test_the_column_is_asked_for_where_several_hold_images(self, tmp_path):
        table = pa.table({"mask": [picture(1)], "image": [picture(2)]})
        pq.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(CatalogError, match=r"\['mask', 'image'\]; choose it with image_col"):
            read_catalog(tmp_path / "a.parquet")
        assert brightness(read_catalog(tmp_path / "a.parquet", image_col="image")) == [2]

    def test_a_parquet_table_of_paths_stays_a_table(self, tmp_path):
        (tmp_path / "a.png").write_bytes(picture(9))
        table = pa.table({"id_str": ["a"], "file_loc": ["a.png"], "thumbnail": [b"x"]})
        pq.write_table(table, tmp_path / "t.parquet")
        assert read_catalog(tmp_path / "t.parquet").paths == [str(tmp_path / "a.png")]

    def test_datasets_with_splits_and_named_classes(self, tmp_path):
        datasets = pytest.importorskip("datasets")
        kinds = datasets.ClassLabel(names=["round", "spiral"])
        features = datasets.Features({"image": datasets.Image(), "kind": kinds})

        def part(values):
            rows = {
                "image": [{"bytes": picture(v), "path": None} for v in values],
                "kind": [v % 2 for v in values],
            }
            return datasets.Dataset.from_dict(rows, features=features)

        both = datasets.DatasetDict({"train": part([1, 2, 3]), "validation": part([4, 5])})
        both.save_to_disk(str(tmp_path / "saved"))
        catalog = read_catalog(tmp_path / "saved")
        assert catalog.ids == ["train/0", "train/1", "train/2", "validation/0", "validation/1"]
        assert catalog.table["split"].tolist() == ["train"] * 3 + ["val"] * 2
        assert catalog.table["kind"].tolist() == ["spiral", "round", "spiral", "round", "spiral"]
        assert brightness(catalog) == [1, 2, 3, 4, 5]
        assert streamed(tmp_path / "saved") == [catalog.ids, catalog.paths]
        assert brightness(read_catalog(tmp_path / "saved" / "validation")) == [4, 5]

    def test_a_folder_of_images_is_a_catalog_in_python_too(self, tmp_path):
        for i in range(3):
            (tmp_path / f"{i}.png").write_bytes(picture(i))
        assert brightness(read_catalog(tmp_path)) == [0, 1, 2]
        write_shard(tmp_path / "a.tar", 0)
        with pytest.raises(CatalogError, match="holds images and archives of images"):
            read_catalog(tmp_path)

    def test_patterns_that_fit_nothing_or_other_files(self, tmp_path):
        with pytest.raises(CatalogError, match="no file fits the pattern"):
            read_catalog(tmp_path / "*.tar")
        (tmp_path / "a.csv").touch()
        with pytest.raises(CatalogError, match=r"also fits \['a.csv'\]"):
            read_catalog(tmp_path / "*")


class Sack:
    """Images after lines of their names and sizes: a kind of archive that we don't have."""

    damage = ""

    def __init__(self, path):
        head, _, self._data = Path(path).read_bytes().removeprefix(b"SACK").partition(b"\n\n")
        self._sizes = {name: int(size) for name, size in (line.split() for line in head.decode().split("\n"))}

    def __len__(self):
        return len(self._sizes)

    def __contains__(self, name):
        return name in self._sizes

    def names(self):
        return list(self._sizes)

    def read(self, name):
        start = sum(size for before, size in self._sizes.items() if before < name)
        return self._data[start : start + self._sizes[name]]


class TestANewKind:
    @pytest.fixture(autouse=True)
    def kinds(self, monkeypatch):
        sack = Kind("sack", lambda: Sack, lambda path, head: head[:4] == b"SACK", "names", ".sack")
        monkeypatch.setattr(containers, "KINDS", (*containers.KINDS, sack))

    def test_its_reader_and_one_entry_are_all_it_needs(self, tmp_path):
        parts = {f"{i}.png": picture(10 * i) for i in range(3)}
        lines = "\n".join(f"{name} {len(data)}" for name, data in parts.items())
        content = b"SACK" + lines.encode() + b"\n\n" + b"".join(parts.values())
        (tmp_path / "a.sack").write_bytes(content)
        (tmp_path / "unnamed").write_bytes(content)
        catalog = read_catalog(tmp_path / "a.sack")
        assert catalog.paths == [f"{tmp_path}/a.sack::{i}.png" for i in range(3)]
        assert brightness(catalog) == [0, 10, 20]
        assert streamed(tmp_path / "*.sack") == [catalog.ids, catalog.paths]
        assert open_container(str(tmp_path / "unnamed")).names() == list(parts)

    def test_messages_name_it(self, tmp_path):
        (tmp_path / "a.txt").write_text("nothing")
        with pytest.raises(CatalogError, match="for tars, zips, Parquet files and sacks with images"):
            read_catalog(tmp_path / "*.txt")
        with pytest.raises(ImageError, match="no tar, zip, Parquet file, saved dataset, FITS mosaic or sack"):
            open_container(str(tmp_path / "a.txt"))


class TestTablesOfPlacesInArchives:
    def test_places_are_relative_to_the_table(self, tmp_path):
        write_shard(tmp_path / "a.tar", 0)
        write_zip(tmp_path / "b.zip", {"x.png": picture(99)})
        (tmp_path / "c::d.png").write_bytes(picture(7))
        places = ["a.tar::sky/002.png", "b.zip::x.png", "c::d.png"]
        pd.DataFrame({"id_str": ["1", "2", "3"], "file_loc": places}).to_csv(tmp_path / "t.csv", index=False)
        catalog = read_catalog(tmp_path / "t.csv")
        assert catalog.paths == [str(tmp_path / place) for place in places]
        assert brightness(catalog) == [20, 99, 7]

    def test_missing_archives_and_members_are_named(self, tmp_path):
        write_shard(tmp_path / "a.tar", 0)
        places = ["a.tar::sky/000.png", "a.tar::gone.png", "gone.tar::a.png"]
        table = pd.DataFrame({"id_str": ["x", "y", "z"], "file_loc": places})
        with pytest.raises(
            CatalogError, match=r"2 of 3 images .*missing[\s\S]*y: .*a\.tar::gone\.png\n  z: "
        ):
            read_catalog(table, root=tmp_path)


class TestOptions:
    def test_the_guided_runs_read_archives(self, tmp_path):
        write_shard(tmp_path / "a.tar", 0)
        options = PredictOptions(catalog=tmp_path / "a.tar", checkpoint="c", save_loc="s.csv")
        assert read_galaxies(options.catalog, options, select="cls=1").ids == ["sky/001", "sky/003"]

    def test_mosaic_options_go_together(self):
        base = {"catalog": "c.csv", "checkpoint": "c", "save_loc": "s.csv"}
        with pytest.raises(ConfigError, match="--mosaic needs either"):
            PredictOptions(**base, mosaic=("m.fits",))
        with pytest.raises(ConfigError, match="--mosaic needs either"):
            PredictOptions(**base, mosaic=("m.fits",), cutout_pix=3, cutout_arcsec=2)
        with pytest.raises(ConfigError, match="are for --mosaic"):
            PredictOptions(**base, cutout_pix=3)

    def test_the_extension_of_a_finetuning_run_chooses_the_coordinates(self):
        options = FinetuneOptions(
            catalog="c", labels="x", save_dir="s", mosaic="m.fits", cutout_pix=5, hdu="SCI"
        )
        assert options.catalog_arguments()["cutouts"] == Cutouts(mosaics=("m.fits",), pix=5, hdu="SCI")


class TestMosaics:
    @pytest.fixture
    def tiles(self, tmp_path):
        """Two mosaics of 100 × 100 pixels of 1 arcsec that overlap by 20: all 10, all 20."""
        fits = pytest.importorskip("astropy.io.fits")
        from astropy.wcs import WCS

        for number, shift in ((1, 0), (2, 80)):
            wcs = WCS(naxis=2)
            wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150, 2], [50 - shift, 50], [-1 / 3600, 1 / 3600]
            wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
            values = np.full((100, 100), 10 * number, np.int16)
            fits.writeto(tmp_path / f"tile{number}.fits", values, wcs.to_header())
        return tmp_path

    def table(self, **changes):
        ra = [150, 150 - 40 / 3600, 150 - 100 / 3600, 150 - 45 / 3600]
        return pd.DataFrame({"id_str": list("abcd"), "ra": ra, "dec": [2.0] * 4}).assign(**changes)

    def test_each_galaxy_comes_from_the_mosaic_it_is_deepest_in(self, tiles):
        cutouts = Cutouts(mosaics=(str(tiles / "tile*.fits"),), arcsec=8)
        catalog = read_catalog(self.table(), cutouts=cutouts)
        names = [path.partition("::")[0].rpartition("/")[2] for path in catalog.paths]
        assert names == ["tile1.fits", "tile1.fits", "tile2.fits", "tile2.fits"]
        record = Preprocessing(image_size_pix=8, colour="to-rgb", stretch="linear", limits=(0, 255))
        (batch,) = GalaxyLoader(catalog, record, batch_size=9)
        assert np.rint(batch.images[[0, 2], 4, 4, 0] * 255).tolist() == [10, 20]
        found = CatalogStream(self.table(), cutouts=cutouts)
        assert [part.galaxies.paths for part in found.parts(9)] == [catalog.paths]

    def test_positions_in_no_mosaic_are_listed(self, tiles):
        cutouts = Cutouts(mosaics=(str(tiles / "tile1.fits"),), pix=8)
        for read in (read_catalog, lambda *a, **k: CatalogStream(*a, **k).facts):
            with pytest.raises(
                CatalogError, match=r"1 galaxies of the DataFrame lie in no mosaic.*row 2: 149\.97"
            ):
                read(self.table(), cutouts=cutouts)
            with pytest.raises(
                CatalogError, match=r"4 galaxies .* no position that can be.*row 0: 150.0, 95.0"
            ):
                read(self.table(dec=95.0), cutouts=cutouts)
            with pytest.raises(CatalogError, match="must hold degrees, got 'x' in row 0"):
                read(self.table(ra="x"), cutouts=cutouts)
            with pytest.raises(CatalogError, match="lacks 'ra'"):
                read(self.table().drop(columns="ra"), cutouts=cutouts)

    def test_mosaics_that_are_none(self, tiles):
        with pytest.raises(CatalogError, match="there is no mosaic"):
            read_catalog(self.table(), cutouts=Cutouts(mosaics=("gone.fits",), pix=8))
        (tiles / "text.fits").write_text("hello")
        with pytest.raises(CatalogError, match=r"can't read the mosaic .*text\.fits"):
            read_catalog(self.table(), cutouts=Cutouts(mosaics=(str(tiles / "text.fits"),), pix=8))
        for wrong in ({"mosaics": ()}, {"mosaics": "m.fits"}, {"mosaics": ("m",), "arcsec": 1, "pix": 1}):
            with pytest.raises(ConfigError):
                Cutouts(**{"pix": 8} | wrong)
