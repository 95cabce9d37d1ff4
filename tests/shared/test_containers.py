"""Images inside of tars, zips, Parquet files and saved datasets: the same pixels as from files."""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError
from zoobot.shared.pixels import archives, containers, shared_files
from zoobot.shared.pixels.archives import TarImages
from zoobot.shared.pixels.cache import PixelCache
from zoobot.shared.pixels.containers import open_container
from zoobot.shared.pixels.images import read_image
from zoobot.shared.pixels.shared_files import SharedFile
from zoobot.shared.preprocessing import Preprocessing

COLOUR = Preprocessing(image_size_pix=16)
COUNT = 12


def encode(pixels, format_name="JPEG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=format_name)
    return buffer.getvalue()


@pytest.fixture
def pictures(tmp_path):
    """Name and bytes of some different galaxies, which also lie in files."""
    rng = np.random.default_rng(0)
    found = {}
    for i in range(COUNT):
        format_name = ("JPEG", "PNG", "WEBP")[i % 3]
        found[f"sky/{i}.{format_name.lower()}"] = encode(
            rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), format_name
        )
    (tmp_path / "sky").mkdir()
    for name, data in found.items():
        (tmp_path / name).write_bytes(data)
    return found


def write_tar(path, members, **options):
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_parquet(path, values, name="image", rows=5, **columns):
    pq.write_table(pa.table({**columns, name: values}), path, row_group_size=rows)
    return path


def write_dataset(path, values):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "ring": datasets.Value("int64")})
    rows = {"image": [{"bytes": v, "path": None} for v in values], "ring": list(range(len(values)))}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(path), num_shards=2)
    return path


def locations(kind, folder, pictures):
    """Where each of the pictures lies in an archive of a kind."""
    if kind in ("tar", "gnu tar", "pax tar"):
        options = {"gnu tar": {"format": tarfile.GNU_FORMAT}, "pax tar": {"format": tarfile.PAX_FORMAT}}
        path = write_tar(folder / "a.tar", pictures, **options.get(kind, {}))
        return [f"{path}::{name}" for name in pictures]
    if kind in ("zip", "stored zip"):
        how = zipfile.ZIP_STORED if kind == "stored zip" else zipfile.ZIP_DEFLATED
        path = write_zip(folder / "a.zip", pictures, how)
        return [f"{path}::{name}" for name in pictures]
    if kind == "dataset":
        path = write_dataset(folder / "saved", list(pictures.values()))
    elif kind == "parquet of records":
        records = [{"bytes": data, "path": name} for name, data in pictures.items()]
        path = write_parquet(folder / "a.parquet", records)
    else:
        path = write_parquet(folder / "a.parquet", list(pictures.values()))
    return [f"{path}::{row}" for row in range(len(pictures))]


KINDS = ["tar", "gnu tar", "pax tar", "zip", "stored zip", "parquet", "parquet of records", "dataset"]


@pytest.fixture(params=KINDS)
def stored(request, tmp_path, pictures):
    return locations(request.param, tmp_path, pictures)


class TestAllKinds:
    def test_pixels_are_those_of_the_files(self, stored, tmp_path, pictures):
        for location, name in zip(stored, pictures, strict=True):
            np.testing.assert_array_equal(read_image(location, COLOUR), read_image(tmp_path / name, COLOUR))

    def test_threads_read_what_one_reads(self, stored, tmp_path, pictures):
        expected = [read_image(tmp_path / name, COLOUR) for name in pictures]
        order = np.random.default_rng(1).permutation(np.repeat(np.arange(COUNT), 20))
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda i: read_image(stored[i], COLOUR), order))
        for i, pixels in zip(order, found, strict=True):
            np.testing.assert_array_equal(pixels, expected[i])

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_fork_reads_on(self, stored, tmp_path, pictures):
        expected = [read_image(tmp_path / name, COLOUR) for name in pictures]
        read_image(stored[0], COLOUR)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            results = [pool.apply_async(read_image, (location, COLOUR)) for location in stored]
            here = [read_image(location, COLOUR) for location in stored]
            for result, mine, pixels in zip(results, here, expected, strict=True):
                np.testing.assert_array_equal(result.get(60), pixels)
                np.testing.assert_array_equal(mine, pixels)

    def test_a_member_that_is_not_there(self, stored):
        container, _, _ = stored[0].partition("::")
        for member in ("no/such.jpg", str(COUNT), "-1", ""):
            with pytest.raises(ImageError, match=r"::.*(no member|row|ROW)"):
                read_image(f"{container}::{member}", COLOUR)

    def test_the_cache_keeps_members_apart(self, stored, tmp_path):
        cache = PixelCache(tmp_path / "cache", COLOUR, None)
        first = [cache.read(location).pixels.copy() for location in stored]
        again = PixelCache(tmp_path / "cache", COLOUR, None)
        assert len(again) == COUNT
        for location, pixels in zip(stored, first, strict=True):
            np.testing.assert_array_equal(again.read(location).pixels, pixels)


class TestChanges:
    def test_a_rewritten_archive_is_read_anew_and_so_is_its_cache(self, tmp_path, pictures):
        names = list(pictures)
        path = write_tar(tmp_path / "a.tar", {"galaxy": pictures[names[0]]})
        cache = PixelCache(tmp_path / "cache", COLOUR, None)
        before = cache.read(f"{path}::galaxy").pixels.copy()
        write_tar(tmp_path / "b.tar", {"other": b"", "galaxy": pictures[names[1]]})
        os.replace(tmp_path / "b.tar", path)
        np.testing.assert_array_equal(
            read_image(f"{path}::galaxy", COLOUR), read_image(tmp_path / names[1], COLOUR)
        )
        assert not np.array_equal(cache.read(f"{path}::galaxy").pixels, before)

    def test_a_file_whose_name_holds_the_separator_opens(self, tmp_path, pictures):
        name, data = next(iter(pictures.items()))
        write_tar(tmp_path / "a.tar", {"inside.jpg": b"not an image"})
        for own in ("a.tar::b.jpg", "x::y.jpg", "::", f"{os.path.basename(name)}::1"):
            (tmp_path / own).write_bytes(data)
            np.testing.assert_array_equal(
                read_image(tmp_path / own, COLOUR), read_image(tmp_path / name, COLOUR)
            )

    def test_few_files_are_open_at_once(self, tmp_path, pictures, monkeypatch):
        monkeypatch.setattr(shared_files, "_MOST_OPEN", 3)
        data = next(iter(pictures.values()))
        stored = [f"{write_tar(tmp_path / f'{i}.tar', {'a': data})}::a" for i in range(10)]
        for location in stored * 2:
            read_image(location, COLOUR)
        gc.collect()
        targets = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if _is_link(n)]
        assert sum(target.startswith(str(tmp_path)) for target in targets) <= 3

    def test_an_index_is_made_once(self, tmp_path, pictures, monkeypatch):
        made = []

        class Counted(TarImages):
            def __init__(self, path):
                made.append(path)
                super().__init__(path)

        monkeypatch.setattr(archives, "TarImages", Counted)
        path = write_tar(tmp_path / "a.tar", pictures)
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda name: read_image(f"{path}::{name}", COLOUR), list(pictures) * 5))
        assert made == [str(path)]

    def test_archives_not_used_for_long_are_forgotten(self, tmp_path, pictures, monkeypatch):
        monkeypatch.setattr(defaults, "INDEXED_MEMBERS", 2 * COUNT)
        containers._CONTAINERS.forget()
        paths = [str(write_tar(tmp_path / f"{i}.tar", pictures)) for i in range(4)]
        for i in (0, 1, 0, 2):
            open_container(paths[i])
        assert list(containers._CONTAINERS) == [paths[0], paths[2]]
        monkeypatch.setattr(defaults, "INDEXED_MEMBERS", 1)
        open_container(paths[3])
        assert list(containers._CONTAINERS) == [paths[3]]


def _is_link(number):
    return os.path.islink(f"/proc/self/fd/{number}")


class TestTars:
    def test_links_devices_and_sparse_members_are_passed_over(self, tmp_path):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for name, kind in (
                ("link", tarfile.SYMTYPE),
                ("hard", tarfile.LNKTYPE),
                ("null", tarfile.CHRTYPE),
            ):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, "/etc/passwd"
                tar.addfile(info)
        tar = open_container(str(tmp_path / "a.tar"))
        assert tar.names() == []
        with pytest.raises(ImageError, match="no member 'link'"):
            read_image(f"{tmp_path}/a.tar::link", COLOUR)

    def test_of_two_members_with_one_name_the_later_counts(self, tmp_path):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for data in (b"old", b"newer"):
                info = tarfile.TarInfo("a")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        assert open_container(str(tmp_path / "a.tar")).read("a") == b"newer"

    def test_a_truncated_tar_gives_what_it_has_and_says_so(self, tmp_path, pictures):
        data = write_tar(tmp_path / "a.tar", pictures).read_bytes()
        second = data.index(list(pictures)[1].encode())
        (tmp_path / "a.tar").write_bytes(data[: second + 512 + 100])
        tar = open_container(str(tmp_path / "a.tar"))
        assert "truncated" in tar.damage
        first, cut, *_, last = [f"{tmp_path}/a.tar::{name}" for name in pictures]
        np.testing.assert_array_equal(
            read_image(first, COLOUR), read_image(tmp_path / next(iter(pictures)), COLOUR)
        )
        for location in (cut, last):
            with pytest.raises(ImageError, match="truncated"):
                read_image(location, COLOUR)

    def test_a_damaged_header_is_not_taken_for_the_end(self, tmp_path, pictures):
        data = bytearray(write_tar(tmp_path / "a.tar", pictures).read_bytes())
        second = data.index(list(pictures)[1].encode())
        data[second + 100 : second + 160] = b"\xff" * 60
        (tmp_path / "a.tar").write_bytes(data)
        tar = open_container(str(tmp_path / "a.tar"))
        assert tar.names() == [next(iter(pictures))]
        assert "damaged at byte" in tar.damage
        with pytest.raises(ImageError, match=r"no member .* damaged at byte"):
            tar.read(list(pictures)[2])

    def test_a_negative_size_does_not_go_round_in_circles(self, tmp_path):
        path = write_tar(tmp_path / "a.tar", {"a": b"x" * 600, "b": b"y"})
        data = bytearray(path.read_bytes())
        header = data.index(b"b\0\0")
        data[header + 124 : header + 136] = b"\xff" * 10 + (-1024 & 0xFFFF).to_bytes(2, "big")
        data[header + 148 : header + 156] = b" " * 8
        data[header + 148 : header + 155] = b"%06o\0" % sum(data[header : header + 512])
        path.write_bytes(data)
        tar = open_container(str(path))
        assert "a" in tar
        assert tar.damage

    def test_a_compressed_tar_is_refused_with_the_remedy(self, tmp_path, pictures):
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / next(iter(pictures)), "a.jpg")
        with pytest.raises(ImageError, match="unpack it once"):
            read_image(f"{tmp_path}/a.tar.gz::a.jpg", COLOUR)


class TestZips:
    def test_damage_is_seen(self, tmp_path, pictures):
        path = write_zip(tmp_path / "a.zip", pictures, zipfile.ZIP_STORED)
        data = bytearray(path.read_bytes())
        name = next(iter(pictures))
        data[data.index(pictures[name]) + 300] ^= 0xFF
        path.write_bytes(data)
        with pytest.raises(ImageError, match="damaged or truncated in the zip"):
            read_image(f"{path}::{name}", COLOUR)

    def test_a_truncated_zip_has_lost_its_list(self, tmp_path, pictures):
        path = write_zip(tmp_path / "a.zip", pictures)
        path.write_bytes(path.read_bytes()[:-30])
        for _ in range(2):
            with pytest.raises(ImageError, match="not a readable zip, perhaps truncated"):
                read_image(f"{path}::{next(iter(pictures))}", COLOUR)

    def test_encrypted(self, tmp_path, pictures):
        path = write_zip(tmp_path / "a.zip", {"a.jpg": b"x"})
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(data)
        with pytest.raises(ImageError, match="encrypted"):
            read_image(f"{path}::a.jpg", COLOUR)

    def test_a_bomb_is_refused_before_it_is_unpacked(self, tmp_path, monkeypatch):
        path = write_zip(tmp_path / "a.zip", {"a.jpg": bytes(5_000_000)})
        assert path.stat().st_size < 10_000
        monkeypatch.setattr(defaults, "MAX_IMAGE_BYTES", 1_000_000)
        with pytest.raises(ImageError, match="too large: unpacks to 5,000,000 bytes"):
            read_image(f"{path}::a.jpg", COLOUR)

    def test_a_bomb_that_lies_about_its_size_is_cut(self, tmp_path):
        path = write_zip(tmp_path / "a.zip", {"a.jpg": bytes(5_000_000)})
        data = bytearray(path.read_bytes())
        for signature, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
            start = data.index(signature) + place
            data[start : start + 4] = (100).to_bytes(4, "little")
        path.write_bytes(data)
        with pytest.raises(ImageError, match="damaged or truncated in the zip"):
            read_image(f"{path}::a.jpg", COLOUR)


class TestParquet:
    def test_the_column_is_chosen_where_there_are_several(self, tmp_path, pictures):
        values = list(pictures.values())
        path = write_parquet(tmp_path / "a.parquet", values, mask=values[::-1])
        with pytest.raises(ImageError, match=r"one column of images.*\['mask', 'image'\]"):
            read_image(f"{path}::0", COLOUR)
        with pytest.raises(ImageError, match="the column of images 'ring'"):
            read_image(f"{path}::ring:0", COLOUR)
        np.testing.assert_array_equal(
            read_image(f"{path}::mask:0", COLOUR), read_image(f"{path}::image:{COUNT - 1}", COLOUR)
        )

    def test_empty_cells_are_no_images(self, tmp_path, pictures):
        data = next(iter(pictures.values()))
        records = [{"bytes": data, "path": None}, {"bytes": None, "path": "/etc/passwd"}, None]
        path = write_parquet(tmp_path / "a.parquet", records)
        read_image(f"{path}::0", COLOUR)
        with pytest.raises(ImageError, match="only the path '/etc/passwd'"):
            read_image(f"{path}::1", COLOUR)
        with pytest.raises(ImageError, match="holds no image"):
            read_image(f"{path}::2", COLOUR)

    @pytest.mark.parametrize("records", [False, True])
    def test_an_image_said_once_for_very_many_rows(self, tmp_path, records):
        said = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int8)), pa.array([bytes(200_000)]))
        rows = said.dictionary_decode()
        rows = pa.StructArray.from_arrays([rows], ["bytes"]) if records else rows
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"image": rows}), path, compression="zstd", data_page_size=2**20)
        assert path.stat().st_size < 100_000
        with pytest.raises(ImageError, match=r"row group 0 .* asks for [0-9,]+ bytes, [0-9,]+ are allowed"):
            read_image(f"{path}::7", COLOUR)

    def test_row_groups_are_kept_up_to_a_limit(self, tmp_path, pictures, monkeypatch):
        path = write_parquet(tmp_path / "a.parquet", list(pictures.values()), rows=3)
        container = open_container(str(path))
        read = []
        values = container._read_values
        monkeypatch.setattr(container, "_read_values", lambda g, column: read.append(g) or values(g, column))
        for row in (0, 1, 2, 11, 0):
            container.read(str(row))
        assert read == [0, 3]
        monkeypatch.setattr(defaults, "ROW_GROUP_CACHE_BYTES", 1)
        for row in (3, 4, 0, 3):
            container.read(str(row))
        assert read == [0, 3, 1, 0, 1]

    @pytest.mark.parametrize("keep", [3, 100, -3])
    def test_truncated(self, tmp_path, pictures, keep):
        path = write_parquet(tmp_path / "a.parquet", list(pictures.values()))
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(ImageError, match="Parquet"):
            read_image(f"{path}::0", COLOUR)

    def test_damage_in_a_row_group(self, tmp_path, pictures):
        path = tmp_path / "a.parquet"
        table = pa.table({"image": list(pictures.values())})
        pq.write_table(table, path, use_dictionary=False, compression="none", write_page_checksum=True)
        data = bytearray(path.read_bytes())
        start = data.rindex(pictures["sky/1.png"][:100])  # earlier it may stand in the statistics
        data[start + 40 : start + 60] = b"\xaa" * 20
        path.write_bytes(data)
        with pytest.raises(ImageError, match="row group 0 of the Parquet file is damaged"):
            read_image(f"{path}::0", COLOUR)


class TestDatasets:
    def test_damage_and_truncation(self, tmp_path, pictures):
        path = write_dataset(tmp_path / "saved", list(pictures.values()))
        for file in path.glob("*.arrow"):
            file.write_bytes(file.read_bytes()[:200])
        with pytest.raises(ImageError, match=r"dataset"):
            read_image(f"{path}::0", COLOUR)

    def test_without_the_package_the_remedy_is_named(self, tmp_path, monkeypatch):
        from zoobot.shared.errors import MissingPackageError

        path = write_dataset(tmp_path / "saved", [b"x", b"y"])
        monkeypatch.setitem(__import__("sys").modules, "datasets", None)
        with pytest.raises(MissingPackageError, match="pip install datasets"):
            read_image(f"{path}::0", COLOUR)


class TestSharedFile:
    def test_it_is_a_file_object(self, tmp_path):
        (tmp_path / "a").write_bytes(bytes(range(100)))
        file = SharedFile(str(tmp_path / "a"))
        assert file.read(3) == bytes([0, 1, 2])
        file.seek(-2, os.SEEK_END)
        assert file.read() == bytes([98, 99])
        assert file.read_at(10, 3) == bytes([10, 11, 12])
        assert file.read_at(99, 10) == bytes([99])
        assert file.tell() == 100
