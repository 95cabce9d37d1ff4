"""What of a file is decoded for a loader's views: never less than they need."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from zoobot.shared.augment import Augmentation, borrow, make_view
from zoobot.shared.pixels.images import ViewNeeds, read_image, read_source
from zoobot.shared.preprocessing import Preprocessing

GREY = {"channels": 1, "colour": "to-grey", "mean": (0.5,), "std": (0.5,)}


def psnr(image, reference):
    error = np.mean((np.asarray(image, float) - np.asarray(reference, float)) ** 2)
    return 10 * np.log10(255**2 / error)


def write_galaxy(path, height, width):
    """A lopsided, off-centre galaxy without noise: it would betray a shift of a quarter of a pixel."""
    rows, columns = np.mgrid[:height, :width]
    y, x = rows - 0.4 * height, columns - 0.55 * width
    light = 230 * np.exp(-np.sqrt(x**2 + 3 * y**2 + x * y) / (0.06 * height))
    pixels = np.dstack([light, 0.7 * light + 10, 0.4 * light + 30]).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
    return path


class TestScale:
    @pytest.mark.parametrize(
        ("size_pix", "augmentation", "shrink"),
        [
            (213, None, 1),
            (212, None, 2),
            (177, Augmentation(), 1),
            (176, Augmentation(), 2),
            (100, None, 4),
            (53, None, 8),
            (1, None, 8),
        ],
    )
    def test_no_view_is_enlarged(self, tmp_path, size_pix, augmentation, shrink):
        path = write_galaxy(tmp_path / "galaxy.jpg", 424, 424)
        record = Preprocessing(image_size_pix=size_pix)
        needs = ViewNeeds.of(record, augmentation)
        pixels, frame = read_source(path, record, needs)
        assert pixels.shape[:2] == frame == (424 // shrink, 424 // shrink)
        highest = augmentation.zoom[1] if augmentation else 1
        assert frame[0] / highest >= size_pix

    @pytest.mark.parametrize("shape", [(424, 424), (424, 512), (512, 424)])
    @pytest.mark.parametrize("size_pix", [64, 128])
    @pytest.mark.parametrize("augmentation", [None, Augmentation()])
    @pytest.mark.parametrize("colour", [{}, GREY])
    def test_views_stay_what_they_were(self, tmp_path, shape, size_pix, augmentation, colour):
        path = write_galaxy(tmp_path / "galaxy.jpg", *shape)
        record = Preprocessing(image_size_pix=size_pix, **colour)
        source = read_source(path, record, ViewNeeds.of(record, augmentation))
        assert source.frame[0] < shape[0]
        for epoch in range(3):
            key = {"seed": 1, "epoch": epoch, "galaxy_id": "J1"}
            view = make_view(source.pixels, record, augmentation, frame=source.frame, **key)
            assert psnr(view, make_view(read_image(path, record), record, augmentation, **key)) > 45

    @pytest.mark.parametrize(("name", "side"), [("odd.jpg", 425), ("even.png", 424)])
    def test_odd_sizes_and_other_formats_are_decoded_in_full(self, tmp_path, name, side):
        path = write_galaxy(tmp_path / "even.jpg", side, side)
        Image.open(path).save(tmp_path / name)
        record = Preprocessing(image_size_pix=64)
        assert read_source(tmp_path / name, record, ViewNeeds.of(record, None)).frame == (side, side)


class TestPart:
    @pytest.mark.parametrize("crop_fraction", [0.2, 0.35, 0.6, 1.0, 1.5])
    @pytest.mark.parametrize("size_pix", [16, 64, 150])
    @pytest.mark.parametrize(
        "augmentation",
        [None, Augmentation(), Augmentation(rotate=False, zoom=(0.8, 1.3), shift=0.2)],
    )
    @pytest.mark.parametrize("shape", [(120, 120), (121, 200), (200, 121)])
    def test_it_holds_all_that_views_touch(self, crop_fraction, size_pix, augmentation, shape):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        record = Preprocessing(image_size_pix=size_pix, crop_fraction=crop_fraction)
        source = ViewNeeds.of(record, augmentation).cut(image)
        for epoch in range(8):
            key = {"seed": 1, "epoch": epoch, "galaxy_id": "J1"}
            view = make_view(source.pixels, record, augmentation, frame=source.frame, **key)
            whole = make_view(image, record, augmentation, **key)
            np.testing.assert_allclose(
                view, whole.astype(int), atol=1
            )  # rounding, where a sum differs by an ulp

    def test_it_is_small_where_the_crop_is(self):
        source = ViewNeeds.of(Preprocessing(crop_fraction=0.25), None).cut(
            np.zeros((1000, 2000, 1), np.uint8)
        )
        assert source.frame == (1000, 2000)
        assert max(source.pixels.shape) < 300


class TestBorrowing:
    def test_the_same_memory_for_the_same_purpose(self):
        first = borrow("test", (4, 5), np.float32)
        assert np.shares_memory(first, borrow("test", (3, 2), np.uint8))
        assert not np.shares_memory(first, borrow("another test", (4, 5), np.float32))
        assert first.shape == (4, 5)
        assert first.dtype == np.float32

    def test_each_thread_has_its_own(self):
        first, others = borrow("test", (10,), np.uint8), []
        thread = threading.Thread(target=lambda: others.append(borrow("test", (10,), np.uint8)))
        thread.start()
        thread.join()
        assert not np.shares_memory(first, others[0])

    def test_large_arrays_are_not_kept(self):
        first = borrow("large", (2**12, 2**12, 3), np.uint8)
        assert not np.shares_memory(first, borrow("large", (2**12, 2**12, 3), np.uint8))

    def test_a_view_is_no_borrowed_memory(self):
        image = np.full((40, 40, 3), 7, np.uint8)
        first = make_view(image, Preprocessing(image_size_pix=20))
        make_view(image + 100, Preprocessing(image_size_pix=20))
        assert np.all(first == 7)
