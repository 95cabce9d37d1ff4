"""The cache of decoded pixels: the same batches, whatever happens to it."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot.shared.augment import Augmentation
from zoobot.shared.catalog import read_catalog
from zoobot.shared.errors import ConfigError
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.pixels import cache as cache_module
from zoobot.shared.pixels import images as source_module
from zoobot.shared.pixels.cache import PixelCache, SegmentWriter, read_rows
from zoobot.shared.preprocessing import Preprocessing

RECORD = Preprocessing(image_size_pix=16)
AUGMENTATION = Augmentation()
GREY = {"channels": 1, "colour": "to-grey", "mean": (0.5,), "std": (0.5,)}
COUNT = 14


def write_images(folder):
    """Images of several sizes, shapes, formats and depths: two are of 16 bits, and become floats."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    names = []
    for i in range(COUNT):
        height, width = 20 + 3 * (i % 4), 20 + 7 * (i % 3)
        if i in (5, 11):
            pixels, name = rng.integers(0, 2**16, (height, width), dtype=np.uint16), f"{i}.png"
        else:
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            name = f"{i}.{'jpg' if i % 2 else 'png'}"
        Image.fromarray(pixels).save(folder / name)
        names.append(str(folder / name))
    return names


def catalog_of(paths):
    ids = [f"g{i}" for i in range(len(paths))]
    table = pd.DataFrame({"id_str": ids, "file_loc": paths, "ring": np.arange(len(paths)) % 2})
    return read_catalog(table, label_cols=["ring"])


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return catalog_of(write_images(tmp_path_factory.mktemp("survey")))


def loader_of(catalog, cache_dir=None, **options):
    usual = {"augmentation": AUGMENTATION, "shuffle": True, "batch_size": 4, "seed": 7, "num_workers": 2}
    return GalaxyLoader(catalog, RECORD, cache_dir=cache_dir, **(usual | options))


def epochs(loader, count=2):
    served = []
    for epoch in range(count):
        loader.set_epoch(epoch)
        served += list(loader)
    return served


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.ids == b.ids
        assert a.images.dtype == b.images.dtype
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)


@pytest.fixture
def reads(monkeypatch):
    """The files that are decoded, in order."""
    read, paths = source_module.read_image, []

    def count(path, *arguments, **options):
        paths.append(path)
        return read(path, *arguments, **options)

    monkeypatch.setattr(source_module, "read_image", count)
    return paths


def files_of(folder, ending):
    return sorted(folder.rglob(f"*.{ending}"))


class TestSameBatches:
    @pytest.mark.parametrize("num_workers", [0, 1, 3])
    def test_with_and_without_whatever_the_workers(self, catalog, tmp_path, num_workers):
        plain = epochs(loader_of(catalog, num_workers=0), 3)
        assert_same(epochs(loader_of(catalog, tmp_path, num_workers=num_workers), 3), plain)

    @pytest.mark.parametrize(
        ("record", "augmentation"),
        [
            (Preprocessing(image_size_pix=8), AUGMENTATION),
            (Preprocessing(image_size_pix=8), None),
            (Preprocessing(image_size_pix=8, crop_fraction=0.4), Augmentation(rotate=False)),
            (Preprocessing(image_size_pix=8, crop_fraction=1.3, fill_value=0.5), AUGMENTATION),
            (Preprocessing(image_size_pix=8, **GREY), AUGMENTATION),
            (Preprocessing(image_size_pix=50, crop_fraction=0.3), Augmentation(zoom=(0.5, 2))),
        ],
    )
    def test_whatever_the_pixels(self, catalog, tmp_path, record, augmentation):
        options = {"augmentation": augmentation, "batch_size": 5, "num_workers": 0}
        plain = epochs(GalaxyLoader(catalog, record, **options))
        assert_same(epochs(GalaxyLoader(catalog, record, cache_dir=tmp_path, **options)), plain)

    def test_floats_are_kept_as_they_are(self, catalog, tmp_path, reads):
        cache = PixelCache(tmp_path, RECORD, None)
        path = catalog.paths[5]
        before = cache.read(path)
        cache.refresh()
        after = cache.read(path)
        assert reads == [path]
        assert before.pixels.dtype == after.pixels.dtype == np.float32
        np.testing.assert_array_equal(after.pixels, before.pixels)

    def test_fits(self, tmp_path, reads):
        fits = pytest.importorskip("astropy.io.fits")
        path = tmp_path / "galaxy.fits"
        fits.writeto(path, np.random.default_rng(0).normal(size=(3, 20, 24)).astype(">f4"))
        cache = PixelCache(tmp_path / "cache", RECORD, None)
        before = cache.read(path)
        cache.refresh()
        np.testing.assert_array_equal(cache.read(path).pixels, before.pixels)
        assert len(reads) == 1

    def test_pixels_handed_out_can_not_be_changed(self, catalog, tmp_path):
        cache = PixelCache(tmp_path, RECORD, None)
        cache.read(catalog.paths[0])
        cache.refresh()
        with pytest.raises(ValueError, match="read-only"):
            cache.read(catalog.paths[0]).pixels[0, 0, 0] = 1


class TestDecodedOnce:
    def test_in_one_run_and_in_the_next(self, catalog, tmp_path, reads):
        epochs(loader_of(catalog, tmp_path), 3)
        assert sorted(reads) == sorted(catalog.paths)
        epochs(loader_of(catalog, tmp_path, seed=8), 2)
        assert len(reads) == COUNT

    def test_a_file_that_changed_is_decoded_anew(self, catalog, tmp_path):
        path = tmp_path / "galaxy.png"
        shutil.copy(catalog.paths[0], path)
        cache = PixelCache(tmp_path / "cache", RECORD, None)
        shape = cache.read(path).pixels.shape
        Image.fromarray(np.full((*shape[:2], 3), 9, np.uint8)).save(path)
        cache.refresh()
        assert np.all(cache.read(path).pixels == 9)

    def test_a_change_of_the_same_size_is_told_by_its_time(self, tmp_path):
        path = tmp_path / "galaxy.bmp.tiff"
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
        os.utime(path, ns=(1, 1))
        cache = PixelCache(tmp_path / "cache", RECORD, None)
        cache.read(path)
        size = path.stat().st_size
        Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(path)
        assert path.stat().st_size == size
        cache.refresh()
        assert np.all(cache.read(path).pixels == 200)

    @pytest.mark.parametrize("change", [GREY, {"fill_value": 0.5}, {"bands": (2, 1, 0)}])
    def test_another_way_of_decoding_has_its_own(self, tmp_path, change):
        ours = PixelCache(tmp_path, RECORD, None)
        assert PixelCache(tmp_path, RECORD.with_changes(**change), None).folder != ours.folder

    def test_normalisation_changes_nothing(self, tmp_path):
        ours = PixelCache(tmp_path, RECORD, None)
        assert PixelCache(tmp_path, RECORD.with_changes(mean=(0.5,)), None).folder == ours.folder

    def test_a_small_crop_keeps_no_more_than_it_needs(self, tmp_path):
        path = tmp_path / "wide.png"
        Image.fromarray(np.zeros((200, 300, 3), np.uint8)).save(path)
        cache = PixelCache(tmp_path, RECORD.with_changes(crop_fraction=0.25), None)
        source = cache.read(path)
        assert source.frame == (200, 300)
        assert source.pixels.shape[0] < 80
        assert source.pixels.shape[1] < 80

    def test_failures_are_not_kept(self, catalog, tmp_path):
        broken = tmp_path / "broken.png"
        broken.write_text("not an image")
        paths = [*catalog.paths, str(broken)]
        loader = loader_of(catalog_of(paths), tmp_path / "cache", max_failed_fraction=0.2)
        for _ in range(2):
            assert sum(len(batch.ids) for batch in loader) == COUNT
        assert [f.id_str for f in loader.failures] == [f"g{COUNT}"]
        shutil.copy(catalog.paths[0], broken)
        assert sum(len(batch.ids) for batch in loader) == COUNT + 1


class TestInterrupted:
    def test_a_killed_process_leaves_what_it_had_finished(self, catalog, tmp_path, reads):
        """The process is killed by itself, in the middle of writing pixels."""
        code = f"""
        import os, signal
        from zoobot.shared.pixels import cache as pixel_segments
        from zoobot.shared.augment import Augmentation
        from zoobot.shared.pixels.cache import PixelCache
        from zoobot.shared.preprocessing import Preprocessing

        cache = PixelCache({str(tmp_path)!r}, Preprocessing(image_size_pix=16), Augmentation())
        paths = {catalog.paths!r}
        for path in paths[:6]:
            cache.read(path)
        write_all = pixel_segments._write_all

        def write_half(file, data):
            write_all(file, data[: len(data) // 2])
            if len(data) > 64:
                os.kill(os.getpid(), signal.SIGKILL)

        pixel_segments._write_all = write_half
        cache.read(paths[6])
        """
        ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
        assert ended.returncode != 0
        assert len(PixelCache(tmp_path, RECORD, AUGMENTATION)) == 6
        plain = epochs(loader_of(catalog))
        reads.clear()
        assert_same(epochs(loader_of(catalog, tmp_path)), plain)
        assert sorted(reads) == sorted(catalog.paths[6:])

    def test_an_epoch_that_was_abandoned(self, catalog, tmp_path, reads):
        iterator = iter(loader_of(catalog, tmp_path, num_workers=0))
        next(iterator)
        iterator.close()
        assert_same(epochs(loader_of(catalog, tmp_path)), epochs(loader_of(catalog, num_workers=0)))

    def test_half_a_record_at_the_end_of_an_index(self, catalog, tmp_path):
        epochs(loader_of(catalog, tmp_path))
        (index,) = files_of(tmp_path, "index")
        index.write_bytes(index.read_bytes()[:-7])
        cache = PixelCache(tmp_path, RECORD, AUGMENTATION)
        assert len(cache) == COUNT - 1


def said_of_the_cache(caplog):
    """The images are grey, which the loader says too."""
    return [record.getMessage() for record in caplog.records if record.name.endswith("pixels.cache")]


def flip_byte(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


class TestDamage:
    @pytest.fixture
    def filled(self, catalog, tmp_path):
        epochs(loader_of(catalog, tmp_path, num_workers=0))
        (index,), (pixels,) = files_of(tmp_path, "index"), files_of(tmp_path, "pixels")
        return index, pixels

    @pytest.mark.parametrize("at", [0, 999, -1])
    def test_one_bit_of_the_pixels(self, catalog, tmp_path, filled, at, caplog, reads):
        flip_byte(filled[1], at)
        with caplog.at_level(logging.WARNING, "zoobot"):
            damaged = epochs(loader_of(catalog, tmp_path))
        assert len(reads) == 1
        assert "damaged pixels" in caplog.text
        assert_same(damaged, epochs(loader_of(catalog)))

    def test_it_is_mended_for_good(self, catalog, tmp_path, filled, caplog, reads):
        flip_byte(filled[1], 0)
        epochs(loader_of(catalog, tmp_path))
        caplog.clear()
        epochs(loader_of(catalog, tmp_path))
        assert len(reads) == 1
        assert said_of_the_cache(caplog) == []

    def test_pixels_that_a_power_cut_left_empty(self, catalog, tmp_path, filled):
        _, pixels = filled
        pixels.write_bytes(bytes(pixels.stat().st_size))
        assert_same(epochs(loader_of(catalog, tmp_path)), epochs(loader_of(catalog)))

    @pytest.mark.parametrize("length", [0, 1, 5000])
    def test_pixels_cut_short(self, catalog, tmp_path, filled, length):
        os.truncate(filled[1], length)
        assert_same(epochs(loader_of(catalog, tmp_path)), epochs(loader_of(catalog)))

    @pytest.mark.parametrize("at", [3, 20, 30, 50, 60])
    def test_one_bit_of_the_index(self, catalog, tmp_path, filled, at):
        flip_byte(filled[0], at)
        assert len(PixelCache(tmp_path, RECORD, AUGMENTATION)) == COUNT - 1
        assert_same(epochs(loader_of(catalog, tmp_path)), epochs(loader_of(catalog)))

    def test_pixels_of_another_run_under_this_index(self, catalog, tmp_path, filled):
        _, pixels = filled
        epochs(loader_of(catalog, tmp_path / "other", seed=99, num_workers=0))
        (others,) = files_of(tmp_path / "other", "pixels")
        shutil.copy(others, pixels)
        assert_same(epochs(loader_of(catalog, tmp_path)), epochs(loader_of(catalog)))

    @pytest.mark.parametrize("ending", ["index", "pixels"])
    def test_a_file_that_was_deleted(self, catalog, tmp_path, filled, ending):
        files_of(tmp_path, ending)[0].unlink()
        assert_same(epochs(loader_of(catalog, tmp_path)), epochs(loader_of(catalog)))


class TestFullDisk:
    def test_the_cache_stops_and_says_so_once(self, catalog, tmp_path, monkeypatch, caplog):
        append, calls = SegmentWriter.append, []

        def fill(self, *arguments):
            calls.append(1)
            if len(calls) > 4:
                raise OSError(28, "No space left on device")
            return append(self, *arguments)

        monkeypatch.setattr(SegmentWriter, "append", fill)
        with caplog.at_level(logging.WARNING, "zoobot"):
            served = epochs(loader_of(catalog, tmp_path), 3)
        assert_same(served, epochs(loader_of(catalog), 3))
        (said,) = said_of_the_cache(caplog)
        assert "can't grow (No space left on device)" in said
        assert len(calls) == 5
        assert len(PixelCache(tmp_path, RECORD, AUGMENTATION)) == 4

    def test_what_was_half_written_is_taken_back(self, tmp_path, monkeypatch):
        writer = SegmentWriter(tmp_path)
        pixels = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
        writer.append(b"a" * 16, pixels, (10, 10))
        size = writer.segment.stat().st_size

        class Full:
            def __init__(self, file):
                self.file = file

            def write(self, data):
                self.file.write(data[: len(data) // 2])
                raise OSError(28, "No space left on device")

            def __getattr__(self, name):
                return getattr(self.file, name)

        monkeypatch.setattr(writer, "_pixels", Full(writer._pixels))
        with pytest.raises(OSError, match="No space"):
            writer.append(b"b" * 16, pixels, (10, 10))
        assert writer.segment.stat().st_size == size
        rows, _ = read_rows(writer.segment.with_suffix(".index"), 0)
        assert list(rows) == [b"a" * 16]

    def test_the_disk_is_never_filled(self, catalog, tmp_path, monkeypatch, caplog):
        monkeypatch.setattr(cache_module, "_KEEP_FREE_BYTES", 2**62)
        with caplog.at_level(logging.WARNING, "zoobot"):
            assert_same(epochs(loader_of(catalog, tmp_path)), epochs(loader_of(catalog)))
        assert "GiB of disk are free" in caplog.text
        assert files_of(tmp_path, "pixels") == []

    def test_a_folder_that_can_not_be_made(self, catalog, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(ConfigError, match=r"cache_dir must be a folder that can be written to: .*file"):
            loader_of(catalog, tmp_path / "file")


class TestTogether:
    def test_two_processes(self, catalog, tmp_path, reads):
        code = f"""
        import sys
        from zoobot.shared.augment import Augmentation
        from zoobot.shared.pixels.cache import PixelCache
        from zoobot.shared.preprocessing import Preprocessing

        for _ in range(20):
            cache = PixelCache({str(tmp_path)!r}, Preprocessing(image_size_pix=16), Augmentation())
            for path in {catalog.paths!r}[:: int(sys.argv[1])]:
                cache.read(path)
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        processes = [subprocess.Popen([*command, step]) for step in ("1", "-1")]
        assert [process.wait() for process in processes] == [0, 0]
        assert len(PixelCache(tmp_path, RECORD, AUGMENTATION)) == COUNT
        served = epochs(loader_of(catalog, tmp_path))
        assert reads == []
        assert_same(served, epochs(loader_of(catalog)))

    def test_a_process_sees_what_another_added(self, catalog, tmp_path, reads):
        first, second = (PixelCache(tmp_path, RECORD, None) for _ in range(2))
        first.read(catalog.paths[0])
        second.refresh()
        second.read(catalog.paths[0])
        assert len(reads) == 1

    def test_shards_share_what_they_decoded(self, catalog, tmp_path, reads):
        loaders = [loader_of(catalog, tmp_path, shard=(i, 2), num_workers=0) for i in range(2)]
        for epoch in range(3):
            for loader in loaders:
                loader.set_epoch(epoch)
                list(loader)
        assert len(reads) == COUNT

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_forked_process_writes_files_of_its_own(self, catalog, tmp_path):
        cache = PixelCache(tmp_path, RECORD, None)
        cache.read(catalog.paths[0])
        child = os.fork()
        if child == 0:
            cache.read(catalog.paths[1])
            os._exit(0)
        os.waitpid(child, 0)
        cache.read(catalog.paths[2])
        assert len(files_of(tmp_path, "pixels")) == 2
        assert len(PixelCache(tmp_path, RECORD, None)) == 3

    def test_many_threads(self, catalog, tmp_path):
        cache = PixelCache(tmp_path, RECORD, AUGMENTATION)
        expected = [source_module.read_source(path, RECORD, cache.needs).pixels for path in catalog.paths]
        wrong = []

        def work(seed):
            for i in np.random.default_rng(seed).permutation(COUNT):
                if not np.array_equal(cache.read(catalog.paths[i]).pixels, expected[i]):
                    wrong.append(i)
                cache.refresh()

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(cache) == COUNT


def test_a_data_module_keeps_training_and_validation_images(catalog, tmp_path):
    options = {"val_fraction": 0.3, "test_fraction": 0.2, "preprocessing": RECORD, "batch_size": 3}
    plain, cached = (GalaxyData(catalog, cache_dir=folder, **options) for folder in (None, tmp_path))
    for name in ("train", "val", "test"):
        for _ in range(2):
            assert_same(list(cached.loader(name)), list(plain.loader(name)))
    kept = sum(len(read_rows(index, 0)[0]) for index in files_of(tmp_path, "index"))
    assert kept == len(cached.train_galaxies) + len(cached.val_galaxies)
