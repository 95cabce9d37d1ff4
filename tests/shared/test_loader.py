"""Batches: order, seeds, threads, shards, failures, and threads that end."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot.shared.augment import Augmentation, make_view
from zoobot.shared.catalog import read_catalog
from zoobot.shared.errors import ConfigError, ImageError, MissingPackageError
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.pixels import images as source_module
from zoobot.shared.pixels.images import read_image
from zoobot.shared.preprocessing import Preprocessing

RECORD = Preprocessing(image_size_pix=16)


def make_catalog(folder, count, label_cols=("smooth", "featured")):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
        rows.append({"id_str": f"g{i}", "file_loc": str(path), "smooth": float(i), "featured": i / 4})
    return read_catalog(pd.DataFrame(rows), label_cols=list(label_cols))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return make_catalog(tmp_path_factory.mktemp("galaxies"), 23)


@pytest.fixture
def broken(tmp_path):
    """23 galaxies, of which 5, 6 and 20 can't be read."""
    catalog = make_catalog(tmp_path / "broken", 23)
    for i in (5, 6, 20):
        (tmp_path / "broken" / f"{i}.png").write_text("not an image")
    return catalog


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("zoobot-loader")]


def wait_for_no_threads():
    for _ in range(100):
        gc.collect()
        if not loader_threads():
            return True
        time.sleep(0.02)
    return False


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.ids == b.ids
        assert a.images.dtype == b.images.dtype
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)


class TestGoingOn:
    @pytest.mark.parametrize("num_workers", [0, 2])
    @pytest.mark.parametrize("shuffle", [False, True])
    def test_an_epoch_goes_on_where_it_stopped_and_reads_nothing_before(
        self, catalog, num_workers, shuffle, monkeypatch
    ):
        loader = GalaxyLoader(
            catalog,
            RECORD,
            batch_size=4,
            shuffle=shuffle,
            augmentation=Augmentation(),
            num_workers=num_workers,
        )
        loader.set_epoch(3)
        whole, read = list(loader), []
        load = GalaxyLoader._load_view

        def noted(self, row, *arguments):
            read.append(self.catalog.ids[row])
            return load(self, row, *arguments)

        monkeypatch.setattr(GalaxyLoader, "_load_view", noted)
        loader.set_epoch(3, 4)
        assert_same(list(loader), whole[4:])
        assert sorted(read) == sorted(galaxy for batch in whole[4:] for galaxy in batch.ids)
        loader.set_epoch(3, len(whole))
        assert list(loader) == []
        loader.set_epoch(3)
        assert_same(list(loader), whole)


class TestBatches:
    def test_evaluation_keeps_order_and_every_galaxy(self, catalog):
        loader = GalaxyLoader(catalog, RECORD, batch_size=8)
        batches = list(loader)
        assert len(loader) == len(batches) == 3
        assert [len(b.ids) for b in batches] == [8, 8, 7]
        assert [i for b in batches for i in b.ids] == catalog.ids
        assert batches[0].images.shape == (8, 16, 16, 3)
        assert batches[0].images.dtype == np.uint8
        assert batches[0].labels.dtype == np.float32
        np.testing.assert_array_equal(np.concatenate([b.labels for b in batches]), catalog.labels)

    def test_pixels_are_those_of_each_galaxy(self, catalog):
        augmentation = Augmentation()
        loader = GalaxyLoader(catalog, RECORD, augmentation=augmentation, shuffle=True, seed=5, batch_size=6)
        loader.set_epoch(2)
        for images, labels, ids in loader:
            for image, label, galaxy_id in zip(images, labels, ids, strict=True):
                row = catalog.ids.index(galaxy_id)
                pixels = read_image(catalog.paths[row], RECORD)
                key = {"seed": 5, "epoch": 2, "galaxy_id": galaxy_id}
                np.testing.assert_array_equal(image, make_view(pixels, RECORD, augmentation, **key))
                np.testing.assert_array_equal(label, catalog.labels[row])

    def test_without_labels(self, catalog):
        plain = read_catalog(catalog.table)
        assert all(batch.labels is None for batch in GalaxyLoader(plain, RECORD))

    def test_one_galaxy(self, catalog):
        (batch,) = GalaxyLoader(catalog.select([4]), RECORD, batch_size=64)
        assert batch.images.shape == (1, 16, 16, 3)
        assert batch.labels.shape == (1, 2)

    def test_can_be_iterated_again(self, catalog):
        loader = GalaxyLoader(catalog, RECORD, shuffle=True, augmentation=Augmentation(), batch_size=5)
        assert_same(list(loader), list(loader))

    def test_mixed_depths_become_one_dtype(self, tmp_path):
        catalog = make_catalog(tmp_path / "mixed", 4)
        deep = np.full((20, 20), 40000, np.uint16)
        Image.fromarray(deep).save(tmp_path / "mixed" / "2.png")
        first, second = GalaxyLoader(catalog, RECORD, batch_size=2)
        assert first.images.dtype == np.uint8
        assert second.images.dtype == np.float32
        np.testing.assert_allclose(second.images[0], 40000 / 65535, atol=1e-6)
        eight_bit = make_view(read_image(catalog.paths[3], RECORD), RECORD)
        np.testing.assert_allclose(second.images[1], eight_bit / 255, atol=1e-7)

    def test_missing_labels_stay_missing(self, catalog):
        table = catalog.table.copy()
        table.loc[table.index[1], "smooth"] = np.nan
        labelled = read_catalog(table, label_cols=["smooth"])
        (batch,) = GalaxyLoader(labelled, RECORD)
        assert np.isnan(batch.labels[1, 0])
        assert np.isnan(batch.labels).sum() == 1


class TestSeeds:
    @pytest.mark.parametrize("num_workers", [1, 2, 5])
    @pytest.mark.parametrize(
        "options", [{}, {"shuffle": True, "augmentation": Augmentation(erase_probability=0.5)}]
    )
    def test_any_number_of_workers_gives_the_same_batches(self, catalog, num_workers, options):
        inline = GalaxyLoader(catalog, RECORD, batch_size=4, num_workers=0, **options)
        threaded = GalaxyLoader(catalog, RECORD, batch_size=4, num_workers=num_workers, **options)
        for epoch in (0, 1):
            inline.set_epoch(epoch)
            threaded.set_epoch(epoch)
            assert_same(list(inline), list(threaded))

    def test_uneven_speed_changes_nothing(self, catalog, monkeypatch):
        expected = list(GalaxyLoader(catalog, RECORD, batch_size=2, num_workers=0))

        def read_slowly(path, preprocessing, **options):
            time.sleep(0.004 * (hash(path) % 4))
            return read_image(path, preprocessing, **options)

        monkeypatch.setattr(source_module, "read_image", read_slowly)
        assert_same(expected, list(GalaxyLoader(catalog, RECORD, batch_size=2, num_workers=4)))

    def test_epochs_and_seeds_differ(self, catalog):
        options = {"shuffle": True, "augmentation": Augmentation(), "batch_size": 23}
        loader = GalaxyLoader(catalog, RECORD, seed=1, **options)
        (first,) = loader
        loader.set_epoch(1)
        (second,) = loader
        (third,) = GalaxyLoader(catalog, RECORD, seed=2, **options)
        assert first.ids != second.ids
        assert first.ids != third.ids
        assert sorted(first.ids) == sorted(second.ids) == sorted(third.ids)

    def test_view_does_not_depend_on_the_place_in_the_order(self, catalog):
        options = {"augmentation": Augmentation(), "batch_size": 23}
        (ordered,) = GalaxyLoader(catalog, RECORD, **options)
        (shuffled,) = GalaxyLoader(catalog, RECORD, shuffle=True, **options)
        places = [shuffled.ids.index(i) for i in ordered.ids]
        np.testing.assert_array_equal(ordered.images, shuffled.images[places])


class TestShuffledSizes:
    @pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 7, 11, 22, 23, 64])
    def test_balanced(self, catalog, batch_size):
        loader = GalaxyLoader(catalog, RECORD, shuffle=True, batch_size=batch_size, num_workers=0)
        sizes = [len(batch.ids) for batch in loader]
        assert sum(sizes) == 23
        assert len(sizes) == len(loader) == -(-23 // batch_size)
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= batch_size


class TestShards:
    @pytest.mark.parametrize("shuffle", [False, True])
    @pytest.mark.parametrize("count", [1, 2, 3, 5, 23])
    @pytest.mark.parametrize("batch_size", [1, 4, 64])
    def test_disjoint_and_complete(self, catalog, shuffle, count, batch_size):
        ids, lengths = [], []
        for index in range(count):
            loader = GalaxyLoader(
                catalog, RECORD, shuffle=shuffle, shard=(index, count), batch_size=batch_size, num_workers=0
            )
            batches = list(loader)
            assert len(batches) == len(loader)
            lengths.append(len(batches))
            ids += [i for batch in batches for i in batch.ids]
        assert sorted(ids) == sorted(catalog.ids)
        if shuffle:
            assert len(set(lengths)) == 1
        else:
            assert ids == catalog.ids

    def test_more_shards_than_galaxies(self, catalog):
        few = catalog.select([0, 1])
        counts = [sum(len(b.ids) for b in GalaxyLoader(few, RECORD, shard=(i, 3))) for i in range(3)]
        assert counts == [1, 1, 0]
        with pytest.raises(ConfigError, match="2 galaxies can't be shuffled over 3 shards"):
            GalaxyLoader(few, RECORD, shard=(0, 3), shuffle=True)

    def test_reshuffled_over_all_shards(self, catalog):
        loader = GalaxyLoader(catalog, RECORD, shuffle=True, shard=(0, 2))
        first = {i for batch in loader for i in batch.ids}
        loader.set_epoch(1)
        assert first != {i for batch in loader for i in batch.ids}


class TestFailures:
    @pytest.mark.parametrize("num_workers", [0, 3])
    def test_recorded_and_left_out(self, broken, num_workers):
        loader = GalaxyLoader(broken, RECORD, batch_size=4, num_workers=num_workers, max_failed_fraction=0.2)
        batches = list(loader)
        assert [i for b in batches for i in b.ids] == [f"g{i}" for i in range(23) if i not in (5, 6, 20)]
        assert [len(b.ids) for b in batches] == [4, 2, 4, 4, 4, 2]
        for batch in batches:
            np.testing.assert_array_equal(batch.labels[:, 0], [float(i[1:]) for i in batch.ids])
        assert [f.id_str for f in loader.failures] == ["g5", "g6", "g20"]
        failure = loader.failures[0]
        assert failure.file_loc == broken.paths[5]
        assert failure.reason.startswith("not a JPEG")
        assert broken.paths[5] not in failure.reason

    def test_each_galaxy_once_however_many_epochs(self, broken):
        loader = GalaxyLoader(broken, RECORD, max_failed_fraction=0.2, shuffle=True)
        for epoch in range(3):
            loader.set_epoch(epoch)
            list(loader)
        assert sorted(f.id_str for f in loader.failures) == ["g20", "g5", "g6"]

    def test_batch_of_which_nothing_is_left_is_skipped(self, broken):
        loader = GalaxyLoader(
            broken.select([0, 1, 5, 6, 2, 3]), RECORD, batch_size=2, max_failed_fraction=0.5
        )
        assert [b.ids for b in loader] == [["g0", "g1"], ["g2", "g3"]]

    @pytest.mark.parametrize("num_workers", [0, 2])
    def test_devices_in_step_have_equally_many_batches_whatever_fails(self, broken, num_workers):
        """Of batches of one galaxy, those that fail are made of the next one's."""
        options = {"batch_size": 1, "shuffle": True, "max_failed_fraction": 0.5, "num_workers": num_workers}
        shards = [list(GalaxyLoader(broken, RECORD, shard=(index, 2), **options)) for index in range(2)]
        plans = [
            GalaxyLoader(broken, RECORD, shard=(index, 2), **options).plan_batches() for index in range(2)
        ]
        assert [len(batches) for batches in shards] == [len(plan) for plan in plans] == [11, 11]
        for batches, plan in zip(shards, plans, strict=True):
            planned = [[broken.ids[row] for row in rows] for rows in plan]
            lost = [place for place, ids in enumerate(planned) if ids[0] in ("g5", "g6", "g20")]
            readable = [ids for place, ids in enumerate(planned) if place not in lost]
            for place, batch in enumerate(batches):
                after = [ids for ids in planned[place:] if ids in readable] or readable
                assert set(batch.ids) <= set(after[0])

    @pytest.mark.parametrize("num_workers", [0, 2])
    def test_too_many_end_the_epoch_with_an_error(self, broken, num_workers):
        loader = GalaxyLoader(broken, RECORD, batch_size=4, num_workers=num_workers, max_failed_fraction=0.1)
        served = []
        words = r"(?s)3 of 23 images .*10\.0% allowed.*g5: .*5\.png: not a JPEG"
        with pytest.raises(ImageError, match=words):
            served.extend(loader)
        assert sum(len(batch.ids) for batch in served) == 18  # all but the last batch

    def test_one_alone_is_never_too_many(self, broken):
        loader = GalaxyLoader(broken.select(range(4, 6)), RECORD, max_failed_fraction=0.01)
        assert [b.ids for b in loader] == [["g4"]]

    def test_only_the_first_reasons_are_shown(self, tmp_path):
        catalog = make_catalog(tmp_path / "all", 9)
        for i in range(9):
            (tmp_path / "all" / f"{i}.png").write_bytes(b"")
        with pytest.raises(ImageError, match=r"(?s)9 of 9 .*g4: .*and 4 more$") as caught:
            list(GalaxyLoader(catalog, RECORD))
        assert "g5:" not in str(caught.value)

    def test_none_allowed(self, broken, catalog):
        list(GalaxyLoader(catalog, RECORD, max_failed_fraction=0))
        with pytest.raises(ImageError, match="1 of 2 images"):
            list(GalaxyLoader(broken.select([0, 5]), RECORD, max_failed_fraction=0))

    def test_file_that_vanishes_after_the_catalog_was_read(self, tmp_path):
        catalog = make_catalog(tmp_path / "vanishing", 4)
        (tmp_path / "vanishing" / "1.png").unlink()
        loader = GalaxyLoader(catalog, RECORD, max_failed_fraction=0.5)
        list(loader)
        assert loader.failures[0].reason == "can't be opened (No such file or directory)"

    @pytest.mark.parametrize("num_workers", [0, 2])
    @pytest.mark.parametrize("error", [MissingPackageError("no astropy"), RuntimeError("a bug")])
    def test_what_is_not_the_images_fault_is_raised_at_once(self, catalog, monkeypatch, num_workers, error):
        def fail(path, preprocessing, **options):
            raise error

        monkeypatch.setattr(source_module, "read_image", fail)
        with pytest.raises(type(error), match=str(error)):
            list(GalaxyLoader(catalog, RECORD, num_workers=num_workers, max_failed_fraction=1))
        assert wait_for_no_threads()


class TestThreads:
    def test_end_with_the_epoch(self, catalog):
        list(GalaxyLoader(catalog, RECORD, num_workers=3, batch_size=2))
        assert loader_threads() == []

    def test_end_when_iteration_is_abandoned(self, catalog):
        for batch in GalaxyLoader(catalog, RECORD, num_workers=3, batch_size=2):
            assert batch.ids
            break
        assert wait_for_no_threads()

    def test_end_when_the_iterator_is_closed(self, catalog):
        iterator = iter(GalaxyLoader(catalog, RECORD, num_workers=3, batch_size=2))
        next(iterator)
        assert loader_threads()
        iterator.close()
        assert loader_threads() == []

    def test_end_on_an_interrupt_of_the_consumer(self, catalog):
        def consume():
            for _ in GalaxyLoader(catalog, RECORD, num_workers=3, batch_size=2):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            consume()
        assert wait_for_no_threads()

    def test_batches_in_the_making_stop_early(self, catalog, monkeypatch):
        read = []

        def read_slowly(path, preprocessing, **options):
            read.append(path)
            time.sleep(0.02)
            return read_image(path, preprocessing, **options)

        monkeypatch.setattr(source_module, "read_image", read_slowly)
        iterator = iter(GalaxyLoader(catalog, RECORD, num_workers=1, batch_size=12))
        next(iterator)
        iterator.close()
        assert len(read) < 23

    def test_a_bounded_number_of_batches_is_in_memory(self, catalog, monkeypatch):
        read = []

        def count(path, preprocessing, **options):
            read.append(path)
            return read_image(path, preprocessing, **options)

        monkeypatch.setattr(source_module, "read_image", count)
        iterator = iter(GalaxyLoader(catalog, RECORD, num_workers=2, batch_size=1))
        for served in range(1, 6):
            next(iterator)
            time.sleep(0.05)
            assert len(read) <= served + 4
        iterator.close()

    def test_two_iterations_at_once(self, catalog):
        loader = GalaxyLoader(catalog, RECORD, batch_size=3)
        for first, second in zip(loader, loader, strict=True):
            np.testing.assert_array_equal(first.images, second.images)

    def test_epoch_set_while_iterating_counts_from_the_next(self, catalog):
        loader = GalaxyLoader(catalog, RECORD, batch_size=3, shuffle=True, augmentation=Augmentation())
        expected = list(loader)
        got = []
        for batch in loader:
            loader.set_epoch(9)
            got.append(batch)
        assert_same(expected, got)


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
            ({"batch_size": 2.5}, "batch_size must be a whole number"),
            ({"batch_size": True}, "batch_size must be a whole number"),
            ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
            ({"num_workers": -1}, "num_workers must be a whole number of at least 0"),
            ({"shard": (2, 2)}, r"shard must be \(index, count\) with 0 <= index < count, got \(2, 2\)"),
            ({"shard": (-1, 2)}, "shard must be"),
            ({"shard": (0, 0)}, "shard must be"),
            ({"shard": "1/2"}, "shard must be .* got '1/2'"),
            ({"max_failed_fraction": 1.5}, r"max_failed_fraction must lie in \[0, 1\], got 1\.5"),
            ({"max_failed_fraction": float("nan")}, "max_failed_fraction must lie in"),
        ],
    )
    def test_bad_value(self, catalog, options, words):
        with pytest.raises(ConfigError, match=words):
            GalaxyLoader(catalog, RECORD, **options)

    def test_negative_epoch(self, catalog):
        with pytest.raises(ConfigError, match="epoch must be a whole number of at least 0, got -2"):
            GalaxyLoader(catalog, RECORD).set_epoch(-2)
