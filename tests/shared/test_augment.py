"""The drawn warp and its one resample: geometry, antialiasing, randomness that is reproducible."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from zoobot.shared.augment import Augmentation, apply_warp, draw_erasure, draw_warp, make_view
from zoobot.shared.errors import ConfigError
from zoobot.shared.preprocessing import Preprocessing

KEY = {"seed": 42, "epoch": 3, "galaxy_id": "J1234+56"}
ROTATE_ONLY = Augmentation(flip=False, zoom=(1, 1), shift=0)


def record(size_pix=64, **changes):
    return Preprocessing(image_size_pix=size_pix, **changes)


def smooth_galaxy(height=200, width=200, x=None, y=None, sigma=20.0):
    """A lopsided blob, float32, (height, width, 3): smooth enough that interpolation hardly matters."""
    x = (width - 1) / 2 if x is None else x
    y = (height - 1) / 2 if y is None else y
    rows, columns = np.mgrid[:height, :width]
    blob = np.exp(-((columns - x) ** 2 + 2 * (rows - y) ** 2 + (columns - x) * (rows - y)) / (2 * sigma**2))
    return np.dstack([blob, 0.5 * blob, 1 - blob]).astype(np.float32)


def psnr(image, reference):
    error = np.mean((np.asarray(image, float) - np.asarray(reference, float)) ** 2)
    return 10 * np.log10(255**2 / error)


class TestGeometry:
    def test_evaluation_is_crop_and_resize(self):
        pixels = (255 * smooth_galaxy()).astype(np.uint8)
        view = make_view(pixels, record(64, crop_fraction=0.75))
        box = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX, box=(25, 25, 175, 175))
        assert psnr(view, box) > 45

    @pytest.mark.parametrize(("height", "width"), [(200, 300), (300, 200), (201, 300)])
    def test_crop_is_central_and_as_wide_as_the_shorter_side(self, height, width):
        pixels = (255 * smooth_galaxy(height, width)).astype(np.uint8)
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = Image.fromarray(pixels).resize(
            (50, 50), Image.Resampling.BOX, box=(left, top, left + side, top + side)
        )
        assert psnr(make_view(pixels, record(50)), box) > 45

    def test_same_size_returns_the_pixels(self):
        pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        np.testing.assert_array_equal(make_view(pixels, record(64)), pixels)

    def test_whole_number_shrinking_is_the_mean_of_blocks(self):
        pixels = np.random.default_rng(1).random((96, 96, 3), dtype=np.float32)
        blocks = pixels.reshape(32, 3, 32, 3, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(make_view(pixels, record(32)), blocks, atol=1e-5)

    def test_enlarging_equals_pillows_bilinear_up_to_the_edge(self):
        grey = np.random.default_rng(2).random((20, 20), dtype=np.float32)
        expected = Image.fromarray(grey).resize((50, 50), Image.Resampling.BILINEAR)
        view = make_view(grey[..., None], record(50, channels=1, colour="as-is", mean=(0,), std=(1,)))
        np.testing.assert_allclose(view[..., 0], np.asarray(expected), atol=0.02)

    def test_crop_beyond_the_frame_is_padded_with_fill_value(self):
        pixels = np.full((60, 60, 3), 200, np.uint8)
        view = make_view(pixels, record(60, crop_fraction=2.0, fill_value=0.2))
        assert (view[:10] == 51).all()
        assert (view[20:40, 20:40] == 200).all()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (7, 5)])
    @pytest.mark.parametrize("augmentation", [None, Augmentation()])
    def test_tiny_and_thin_images(self, shape, augmentation):
        view = make_view(np.full((*shape, 3), 9, np.uint8), record(16), augmentation, **KEY)
        assert view.shape == (16, 16, 3)
        assert view[8, 8].tolist() == [9, 9, 9]

    def test_image_wider_than_opencv_can_address(self):
        pixels = np.full((10, 40_000, 3), 77, np.uint8)
        assert (make_view(pixels, record(8)) == 77).all()

    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9])
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_planes_are_independent(self, channels, dtype):
        rng = np.random.default_rng(3)
        planes = (
            rng.random((50, 60, channels))
            if dtype == np.float32
            else rng.integers(0, 256, (50, 60, channels))
        )
        planes = planes.astype(dtype)
        changed = record(33, fill_value=0.5)
        together = make_view(planes, changed, Augmentation(), **KEY)
        assert together.shape == (33, 33, channels)
        assert together.dtype == dtype
        for i in range(channels):
            alone = make_view(planes[..., i : i + 1], changed, Augmentation(), **KEY)
            np.testing.assert_allclose(together[..., i : i + 1], alone, atol=1e-6)

    def test_any_warp_equals_scipys(self):
        image = smooth_galaxy(150, 180, x=80, y=90)
        preprocessing = record(140)
        for epoch in range(5):
            key = KEY | {"epoch": epoch}
            matrix = draw_warp(Augmentation(shift=0.1), preprocessing, image.shape, **key)
            # scipy counts (row, column); the matrix is in (x, y).
            by_scipy = ndimage.affine_transform(
                image[..., 0].astype(float), matrix[::-1, 1::-1], matrix[::-1, 2], (140, 140), order=1
            )
            view = apply_warp(image, matrix, 140)[..., 0]
            inside = ndimage.affine_transform(
                np.ones((150, 180)), matrix[::-1, 1::-1], matrix[::-1, 2], (140, 140), order=1
            )
            np.testing.assert_allclose(view[inside > 0.999], by_scipy[inside > 0.999], atol=5e-3)

    def test_float_pixels_stay_in_the_unit_range(self):
        image = np.random.default_rng(4).integers(0, 2, (90, 90, 3)).astype(np.float32)
        for epoch in range(20):
            view = make_view(image, record(50), Augmentation(), seed=0, epoch=epoch, galaxy_id="a")
            assert view.min() >= 0
            assert view.max() <= 1

    def test_8_bit_and_float_agree(self):
        pixels = (255 * smooth_galaxy()).astype(np.uint8)
        for augmentation in (None, Augmentation(erase_probability=1.0)):
            for fill in (0.0, 0.6):
                changed = record(64, fill_value=fill)
                by_bytes = make_view(pixels, changed, augmentation, **KEY)
                by_floats = make_view(pixels.astype(np.float32) / 255, changed, augmentation, **KEY)
                np.testing.assert_allclose(by_bytes / 255, by_floats, atol=2.5 / 255)


class TestAntialiasing:
    @pytest.mark.parametrize("size_pix", [224, 190, 128, 100, 64, 31])
    @pytest.mark.parametrize("augmentation", [None, ROTATE_ONLY])
    def test_fine_checkerboard_becomes_grey(self, size_pix, augmentation):
        board = np.indices((424, 424)).sum(axis=0) % 2 * 255
        pixels = np.repeat(board[..., None], 3, axis=-1).astype(np.uint8)
        view = make_view(pixels, record(size_pix), augmentation, **KEY)
        centre = view[size_pix // 4 : -size_pix // 4, size_pix // 4 : -size_pix // 4].astype(float)
        assert abs(centre.mean() - 127.5) < 3
        # Bilinear interpolation alone leaves 40 to 43 at every size: the moiré of the board.
        assert centre.std() < 10

    @pytest.mark.parametrize("size_pix", [300, 224, 100, 50])
    def test_a_star_keeps_its_light_wherever_it_falls(self, size_pix):
        fluxes = []
        for place in range(200, 216):
            image = np.zeros((424, 424, 1), np.float32)
            image[place, place + 3] = 1
            view = make_view(image, record(size_pix), ROTATE_ONLY, **KEY)
            fluxes.append(view.sum() * (424 / size_pix) ** 2)
        fluxes = np.array(fluxes)
        assert abs(fluxes.mean() - 1) < 0.1
        # Bilinear interpolation alone: 0.9 at 224 pixels, 2 at 100; at 50 it misses every one of these stars.
        assert fluxes.std() < 0.35

    @pytest.mark.parametrize("size_pix", [224, 128, 64])
    def test_noise_is_averaged_as_by_pillow(self, size_pix):
        noise = np.random.default_rng(5).integers(0, 256, (424, 424, 3), dtype=np.uint8)
        view = make_view(noise, record(size_pix)).astype(float)
        exact = Image.fromarray(noise).resize((size_pix, size_pix), Image.Resampling.BILINEAR)
        assert psnr(view, exact) > 26
        assert view.std() < 1.35 * np.asarray(exact).std()


class TestDrawing:
    def draw(self, augmentation=None, **key):
        return draw_warp(augmentation, record(100), (200, 200, 3), **(KEY | key))

    def test_same_key_same_warp(self):
        np.testing.assert_array_equal(self.draw(Augmentation()), self.draw(Augmentation()))

    @pytest.mark.parametrize("change", [{"seed": 43}, {"epoch": 4}, {"galaxy_id": "J1234+57"}])
    def test_another_key_another_warp(self, change):
        assert np.abs(self.draw(Augmentation()) - self.draw(Augmentation(), **change)).max() > 1e-3

    def test_fields_of_the_key_do_not_run_together(self):
        first = self.draw(Augmentation(), seed=1, epoch=11, galaxy_id="1")
        second = self.draw(Augmentation(), seed=11, epoch=1, galaxy_id="1")
        assert np.abs(first - second).max() > 1e-3

    def test_equal_in_another_process(self):
        # Python's own hash of a string differs between processes.
        code = (
            "from zoobot.shared.augment import *; from zoobot.shared.preprocessing import Preprocessing;"
            "print(draw_warp(Augmentation(), Preprocessing(image_size_pix=100), (200, 200, 3),"
            "seed=42, epoch=3, galaxy_id='J1234+56').tolist())"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert out.strip() == str(self.draw(Augmentation()).tolist())

    def test_any_text_is_an_id(self):
        for galaxy_id in ("", "ngc 4565 ★", "\ud800"):
            assert np.isfinite(self.draw(Augmentation(), galaxy_id=galaxy_id)).all()

    def test_none_is_evaluation(self):
        np.testing.assert_array_equal(self.draw(None), self.draw(Augmentation.none()))
        pixels = np.random.default_rng(6).integers(0, 256, (90, 90, 3), dtype=np.uint8)
        np.testing.assert_array_equal(
            make_view(pixels, record(), Augmentation.none(), **KEY), make_view(pixels, record())
        )

    def test_evaluation_ignores_seed_epoch_and_id(self):
        np.testing.assert_array_equal(self.draw(None), self.draw(None, seed=7, epoch=9, galaxy_id="other"))

    def test_every_part_has_its_range(self):
        augmentation = Augmentation(zoom=(0.8, 1.5), shift=0.1)
        warps = np.array([self.draw(augmentation, galaxy_id=f"{i}") for i in range(4000)])
        zooms = 2 / np.sqrt(np.abs(np.linalg.det(warps[:, :, :2])))
        assert zooms.min() > 0.8 - 1e-9
        assert zooms.max() < 1.5 + 1e-9
        assert abs(np.log(zooms).mean() - (np.log(0.8) + np.log(1.5)) / 2) < 0.01
        mirrored = np.linalg.det(warps[:, :, :2]) < 0
        assert abs(mirrored.mean() - 0.5) < 0.03
        angles = np.arctan2(warps[:, 1, 0], warps[:, 0, 0])
        counts, _ = np.histogram(angles, bins=8, range=(-np.pi, np.pi))
        assert counts.min() > 420
        # Where the image's centre lands in the output, from the middle.
        centres = np.array([np.linalg.solve(w[:, :2], np.full(2, 99.5) - w[:, 2]) for w in warps]) - 49.5
        assert np.abs(centres).max() <= 10 + 1e-9
        assert np.abs(centres).max() > 9.8
        assert abs(centres.std() - 20 / np.sqrt(12)) < 0.15

    def test_flips_alone_reach_four_views(self):
        augmentation = Augmentation(rotate=False, zoom=(1, 1), shift=0)
        signs = {tuple(np.sign(np.diag(self.draw(augmentation, galaxy_id=str(i))[:, :2]))) for i in range(60)}
        assert len(signs) == 4

    def test_handedness_survives_without_flip(self):
        for i in range(50):
            warp = self.draw(Augmentation(flip=False), galaxy_id=str(i))
            assert np.linalg.det(warp[:, :2]) > 0

    def test_one_option_does_not_move_another(self):
        plain = self.draw(ROTATE_ONLY)
        zoomed = self.draw(Augmentation(flip=False, zoom=(1, 2), shift=0))
        angle = np.arctan2(plain[1, 0], plain[0, 0])
        assert angle == pytest.approx(np.arctan2(zoomed[1, 0], zoomed[0, 0]))


class TestErasing:
    def test_probability_and_area(self):
        augmentation = Augmentation(erase_probability=0.3)
        drawn = [draw_erasure(augmentation, 100, seed=1, epoch=0, galaxy_id=str(i)) for i in range(2000)]
        boxes = [box for box in drawn if box is not None]
        assert abs(len(boxes) / 2000 - 0.3) < 0.03
        for rows, columns in boxes:
            assert 0 <= rows.start < rows.stop <= 100
            assert 0 <= columns.start < columns.stop <= 100
            area = (rows.stop - rows.start) * (columns.stop - columns.start) / 100**2
            assert 0.015 < area < 0.22

    def test_erased_pixels_take_the_fill_value(self):
        augmentation = Augmentation(rotate=False, flip=False, zoom=(1, 1), shift=0, erase_probability=1.0)
        pixels = np.full((64, 64, 3), 200, np.uint8)
        view = make_view(pixels, record(64, fill_value=0.4), augmentation, **KEY)
        box = draw_erasure(augmentation, 64, **KEY)
        assert (view[box] == 102).all()
        view[box] = 200
        np.testing.assert_array_equal(view, pixels)

    def test_the_image_itself_is_untouched(self):
        pixels = np.full((64, 64, 3), 200, np.uint8)
        make_view(pixels, record(64), Augmentation(erase_probability=1.0), **KEY)
        assert (pixels == 200).all()

    def test_one_pixel(self):
        assert draw_erasure(Augmentation(erase_probability=1.0), 1, **KEY) == (slice(0, 1), slice(0, 1))


class TestOptions:
    def test_config_round_trip(self):
        augmentation = Augmentation(rotate=False, zoom=[0.9, 1.3], shift=0.1, erase_probability=0.5)
        assert Augmentation.from_config(augmentation.to_config()) == augmentation
        assert augmentation.zoom == (0.9, 1.3)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"zoom": (1.2, 1.0)}, r"zoom must be two positive numbers that do not fall.*got \(1\.2, 1\.0\)"),
            ({"zoom": (0, 1)}, "zoom must be two positive numbers"),
            ({"zoom": 1.1}, "zoom must be two positive numbers.*got 1.1"),
            ({"zoom": (1, float("nan"))}, "zoom must be two positive numbers"),
            ({"zoom": ("1", "2")}, "zoom must be two positive numbers"),
            ({"shift": -0.1}, r"shift must lie in \[0, 0\.5\], got -0\.1"),
            ({"shift": 0.6}, "shift must lie in"),
            ({"shift": "a"}, "shift must lie in .* got 'a'"),
            ({"erase_probability": 1.5}, r"erase_probability must lie in \[0, 1\]"),
            ({"erase_probability": float("nan")}, "erase_probability must lie in"),
            ({"rotate": 1}, "rotate must be True or False, got 1"),
            ({"flip": "yes"}, "flip must be True or False, got 'yes'"),
        ],
    )
    def test_bad_value(self, options, words):
        with pytest.raises(ConfigError, match=words):
            Augmentation(**options)

    def test_unknown_option(self):
        with pytest.raises(ConfigError, match=r"unknown augmentation option \['rotation'\]; the options are"):
            Augmentation.from_config({"rotation": True})
