"""Pictures to pixels: formats, modes, channels, and every way a file can be wrong."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError, ImageError, ZoobotError
from zoobot.shared.pixels.images import read_image
from zoobot.shared.preprocessing import Preprocessing

COLOUR = Preprocessing(channels=3, colour="to-rgb")
GREY = Preprocessing(channels=1, colour="to-grey", mean=(0.5,), std=(0.5,))
ONE_PLANE = GREY.with_changes(colour="as-is")


@pytest.fixture
def rgb():
    ramp = np.linspace(0, 255, 40 * 30).reshape(30, 40)
    return np.stack([ramp, 255 - ramp, ramp * 0.5], axis=-1).astype(np.uint8)


def save(pixels, path, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def png_16_bit(pixels, colour_type):
    """PNG bytes written by hand: neither library that reads them had a part in it."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    compressed = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + compressed + chunk(b"IEND", b"")


class TestFormats:
    def test_jpeg_equals_pillows_decoding(self, rgb, tmp_path):
        path = save(rgb, tmp_path / "galaxy.jpg", quality=90)
        image = read_image(path, COLOUR)
        assert image.shape == (30, 40, 3)
        assert image.dtype == np.uint8
        np.testing.assert_allclose(image, np.asarray(Image.open(path)), atol=1)

    @pytest.mark.parametrize("name", ["a.JPG", "a.Jpeg", "a.png", "a.jpg.tmp", "no_suffix"])
    def test_content_decides_whatever_the_name(self, rgb, tmp_path, name):
        path = tmp_path / name
        Image.fromarray(rgb).save(path, format="JPEG")
        assert read_image(str(path), COLOUR).shape == (30, 40, 3)

    @pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.tif", "a.TIFF", "a.webp"])
    def test_lossless_formats_keep_every_pixel(self, rgb, tmp_path, name):
        options = {"lossless": True} if name.endswith("webp") else {}
        path = save(rgb, tmp_path / name, **options)
        np.testing.assert_array_equal(read_image(path, COLOUR), rgb)
        np.testing.assert_array_equal(read_image(str(path), COLOUR), rgb)

    def test_compressed_tiff(self, rgb, tmp_path):
        path = save(rgb, tmp_path / "a.tif", compression="tiff_lzw")
        np.testing.assert_array_equal(read_image(path, COLOUR), rgb)

    def test_progressive_jpeg(self, rgb, tmp_path):
        path = save(rgb, tmp_path / "a.jpg", progressive=True)
        assert read_image(path, COLOUR).shape == (30, 40, 3)

    def test_orientation_tag_moves_no_pixel(self, rgb, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        plain = read_image(save(rgb, tmp_path / "a.jpg"), COLOUR)
        for name in ("b.jpg", "b.png", "b.webp"):
            tagged = read_image(save(rgb, tmp_path / name, exif=exif), COLOUR)
            assert tagged.shape == plain.shape

    def test_orientation_is_applied_in_tiff_of_any_depth(self, rgb, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 3
        save(rgb, tmp_path / "8.tif", exif=exif)
        np.testing.assert_array_equal(read_image(tmp_path / "8.tif", COLOUR), rgb[::-1, ::-1])

    def test_cmyk_jpeg_becomes_colour(self, tmp_path):
        path = tmp_path / "a.jpg"
        Image.new("RGB", (32, 32), (200, 40, 90)).convert("CMYK").save(path, quality=95)
        image = read_image(path, COLOUR)
        assert image.shape == (32, 32, 3)
        np.testing.assert_allclose(image[16, 16], (200, 40, 90), atol=4)


class TestModes:
    def test_opaque_alpha_changes_nothing(self, rgb, tmp_path):
        rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
        np.testing.assert_array_equal(read_image(save(rgba, tmp_path / "a.png"), COLOUR), rgb)

    def test_transparent_part_shows_fill_value(self, rgb, tmp_path):
        alpha = np.full(rgb.shape[:2], 255, np.uint8)
        alpha[:10] = 0
        path = save(np.dstack([rgb, alpha]), tmp_path / "a.png")
        black = read_image(path, COLOUR)
        white = read_image(path, COLOUR.with_changes(fill_value=1.0))
        assert (black[:10] == 0).all()
        assert (white[:10] == 255).all()
        np.testing.assert_array_equal(black[10:], rgb[10:])

    def test_half_transparent_pixel_is_composited_not_averaged_into_grey(self, tmp_path):
        pixels = np.full((4, 4, 4), (200, 100, 50, 51), np.uint8)
        np.testing.assert_array_equal(
            read_image(save(pixels, tmp_path / "a.png"), COLOUR)[0, 0], [40, 20, 10]
        )

    def test_grey_with_alpha(self, rgb, tmp_path):
        grey = rgb[..., 0]
        path = save(np.dstack([grey, np.full_like(grey, 255)]), tmp_path / "a.png")
        np.testing.assert_array_equal(read_image(path, ONE_PLANE)[..., 0], grey)

    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
    def test_grey_becomes_three_equal_planes(self, rgb, tmp_path, name):
        image = read_image(save(rgb[..., 0], tmp_path / name), COLOUR)
        assert image.shape == (30, 40, 3)
        assert (image == image[..., :1]).all()
        assert read_image(tmp_path / name, ONE_PLANE).shape == (30, 40, 1)

    @pytest.mark.parametrize(("name", "atol"), [("a.png", 1), ("a.jpg", 3)])
    def test_colour_to_grey_is_luminance(self, rgb, tmp_path, name, atol):
        path = save(rgb, tmp_path / name)
        expected = np.asarray(Image.open(path).convert("L"), dtype=int)
        grey = read_image(path, GREY)
        assert grey.shape == (30, 40, 1)
        np.testing.assert_allclose(grey[..., 0], expected, atol=atol)

    def test_palette_becomes_colour(self, rgb, tmp_path):
        palette = Image.fromarray(rgb).quantize(256)
        palette.save(tmp_path / "a.png")
        assert Image.open(tmp_path / "a.png").mode == "P"
        np.testing.assert_array_equal(
            read_image(tmp_path / "a.png", COLOUR), np.asarray(palette.convert("RGB"))
        )

    def test_palette_with_a_transparent_colour(self, tmp_path):
        palette = Image.fromarray(np.array([[0, 1, 0]] * 3, np.uint8)).convert("P")
        palette.putpalette([250, 0, 0, 0, 250, 0])
        palette.save(tmp_path / "a.png", transparency=0)
        np.testing.assert_array_equal(
            read_image(tmp_path / "a.png", COLOUR)[0], [[0, 0, 0], [0, 250, 0], [0, 0, 0]]
        )

    def test_bilevel(self, tmp_path):
        Image.fromarray(np.eye(8, dtype=bool)).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png", ONE_PLANE)[..., 0], 255 * np.eye(8))

    @pytest.mark.parametrize(("colour_type", "planes"), [(0, 1), (2, 3), (4, 2), (6, 4)])
    def test_16_bit_png_keeps_its_depth(self, tmp_path, colour_type, planes):
        pixels = np.random.default_rng(1).integers(0, 65536, (11, 13, planes)).astype(np.uint16)
        if colour_type in (4, 6):
            pixels[..., -1] = 65535
        (tmp_path / "a.png").write_bytes(png_16_bit(pixels, colour_type))
        image = read_image(tmp_path / "a.png", COLOUR)
        assert image.dtype == np.float32
        colour = pixels[..., :-1] if colour_type in (4, 6) else pixels
        np.testing.assert_allclose(image, np.broadcast_to(colour / 65535, (11, 13, 3)), atol=1e-7)

    def test_16_bit_png_composites_its_alpha(self, tmp_path):
        pixels = np.full((3, 3, 4), (60000, 30000, 0, 32768), np.uint16)
        (tmp_path / "a.png").write_bytes(png_16_bit(pixels, 6))
        image = read_image(tmp_path / "a.png", COLOUR)
        np.testing.assert_allclose(image[1, 1], np.array([60000, 30000, 0]) / 65535 / 2, atol=1e-4)

    @pytest.mark.parametrize("planes", [1, 3])
    def test_16_bit_tiff_keeps_its_depth(self, tmp_path, planes):
        pixels = np.random.default_rng(2).integers(0, 65536, (11, 13, planes)).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "a.tif"), pixels[..., ::-1] if planes == 3 else pixels)
        image = read_image(tmp_path / "a.tif", COLOUR)
        assert image.dtype == np.float32
        np.testing.assert_allclose(image, np.broadcast_to(pixels / 65535, (11, 13, 3)), atol=1e-7)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("planes", [1, 3])
    def test_floating_point_tiff_is_physical(self, tmp_path, dtype, planes):
        values = np.random.default_rng(3).normal(100, 5, (9, 8, planes)).astype(dtype)
        uncompressed = [cv2.IMWRITE_TIFF_COMPRESSION, 1]  # older OpenCV compresses float colour with loss
        cv2.imwrite(str(tmp_path / "a.tif"), values[..., ::-1] if planes == 3 else values, uncompressed)
        record = COLOUR.with_changes(stretch="linear", limits=(80, 120))
        expected = np.broadcast_to((values - 80) / 40, (9, 8, 3))
        np.testing.assert_allclose(read_image(tmp_path / "a.tif", record), expected, atol=1e-5)

    def test_nan_in_a_tiff_follows_the_policy(self, tmp_path):
        values = np.ones((5, 5), np.float32)
        values[2, 2] = np.nan
        Image.fromarray(values).save(tmp_path / "a.tif")
        with pytest.raises(ImageError, match=r"1 of 25 pixels .* NaN"):
            read_image(tmp_path / "a.tif", COLOUR)

    def test_pages_of_a_tiff_become_planes(self, tmp_path):
        pages = [np.full((6, 7), value, np.uint8) for value in (10, 20, 30, 40)]
        first, *rest = [Image.fromarray(page) for page in pages]
        first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
        record = COLOUR.with_changes(bands=(3, 1, 0))
        assert read_image(tmp_path / "a.tif", record)[0, 0].tolist() == [40, 20, 10]

    def test_result_survives_writing(self, rgb, tmp_path):
        for name in ("a.png", "a.jpg"):
            image = read_image(save(rgb, tmp_path / name), COLOUR)
            assert image.flags.c_contiguous


class TestWrongPlanes:
    def test_grey_file_as_is(self, rgb, tmp_path):
        path = save(rgb[..., 0], tmp_path / "a.png")
        with pytest.raises(ImageError, match=r"a\.png: has 1 plane, expected 3.*to-rgb.*repeats"):
            read_image(path, COLOUR.with_changes(colour="as-is"))

    def test_colour_file_for_a_grey_network(self, rgb, tmp_path):
        path = save(rgb, tmp_path / "a.png")
        with pytest.raises(ImageError, match=r"has 3 planes, expected 1.*to-grey"):
            read_image(path, ONE_PLANE)

    def test_five_channels_from_colour(self, rgb, tmp_path):
        record = COLOUR.with_changes(channels=5, mean=(0.5,), std=(0.5,))
        with pytest.raises(ImageError, match="has 3 planes, expected 5"):
            read_image(save(rgb, tmp_path / "a.png"), record)

    def test_bands_beyond_the_file(self, rgb, tmp_path):
        with pytest.raises(ImageError, match="asks for plane 4"):
            read_image(save(rgb, tmp_path / "a.jpg"), COLOUR.with_changes(bands=(0, 1, 4)))

    def test_bands_choose_planes(self, rgb, tmp_path):
        path = save(rgb, tmp_path / "a.png")
        np.testing.assert_array_equal(read_image(path, COLOUR.with_changes(bands=(2, 1, 0))), rgb[..., ::-1])
        one = ONE_PLANE.with_changes(bands=(1,))
        np.testing.assert_array_equal(read_image(path, one), rgb[..., 1:2])


def encode(pixels, format_name):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=format_name)
    return buffer.getvalue()


class TestBrokenFiles:
    def test_missing(self, tmp_path):
        with pytest.raises(ImageError, match=r"gone\.jpg: can't be opened \(No such file"):
            read_image(tmp_path / "gone.jpg", COLOUR)

    def test_folder(self, tmp_path):
        with pytest.raises(ImageError, match="can't be opened"):
            read_image(tmp_path, COLOUR)

    def test_empty(self, tmp_path):
        (tmp_path / "a.jpg").touch()
        with pytest.raises(ImageError, match=r"a\.jpg: not a JPEG.*it is empty"):
            read_image(tmp_path / "a.jpg", COLOUR)

    def test_not_an_image(self, tmp_path):
        (tmp_path / "a.jpg").write_text("<html>404 not found</html>")
        with pytest.raises(ImageError, match="first bytes are b'<html>404"):
            read_image(tmp_path / "a.jpg", COLOUR)

    @pytest.mark.parametrize("fraction", [0.05, 0.5, 0.97])
    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
    def test_truncated(self, tmp_path, format_name, fraction):
        noise = np.random.default_rng(4).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        data = encode(noise, format_name)
        (tmp_path / "a").write_bytes(data[: int(len(data) * fraction)])
        with pytest.raises(ImageError, match=r"/a: .*(damaged|truncated)"):
            read_image(tmp_path / "a", COLOUR)

    def test_jpeg_without_its_last_bytes(self, rgb, tmp_path):
        (tmp_path / "a.jpg").write_bytes(encode(rgb, "JPEG")[:-20])
        with pytest.raises(ImageError, match="truncated"):
            read_image(tmp_path / "a.jpg", COLOUR)

    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")
    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
    def test_every_short_file_is_an_image_error(self, rgb, tmp_path, format_name):
        data = encode(rgb[:8, :8], format_name)
        for length in range(1, 60):
            (tmp_path / "a").write_bytes(data[:length])
            with pytest.raises(ImageError):
                read_image(tmp_path / "a", COLOUR)

    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")
    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
    def test_damaged_bytes_raise_nothing_else(self, rgb, tmp_path, format_name):
        data = encode(rgb, format_name)
        rng = np.random.default_rng(5)
        for _ in range(40):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                damaged[place] = rng.integers(0, 256)
            (tmp_path / "a").write_bytes(bytes(damaged))
            # Damage that a decoder can't see gives other pixels; damage that it sees gives one kind of error.
            with contextlib.suppress(ImageError):
                assert read_image(tmp_path / "a", COLOUR.with_changes(nan_policy="fill")).shape[-1] == 3

    @pytest.mark.parametrize("colour_type", [0, 2, 6])
    def test_truncated_16_bit_png(self, tmp_path, colour_type):
        planes = {0: 1, 2: 3, 6: 4}[colour_type]
        pixels = np.random.default_rng(6).integers(0, 65536, (40, 40, planes)).astype(np.uint16)
        data = png_16_bit(pixels, colour_type)
        for length in (24, 25, 26, 33, len(data) // 2, len(data) - 8):
            (tmp_path / "a.png").write_bytes(data[:length])
            with pytest.raises(ImageError):
                read_image(tmp_path / "a.png", COLOUR)

    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")
    def test_truncated_floating_point_colour_tiff(self, tmp_path):
        values = np.random.default_rng(7).random((64, 64, 3)).astype(np.float32)
        cv2.imwrite(str(tmp_path / "a.tif"), values)
        data = (tmp_path / "a.tif").read_bytes()
        (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
        with pytest.raises(ImageError):
            read_image(tmp_path / "a.tif", COLOUR)

    def test_animation(self, tmp_path):
        frames = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in (10, 200)]
        frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
        with pytest.raises(ImageError, match="animated: holds 2 frames"):
            read_image(tmp_path / "a.webp", COLOUR)

    def test_decompression_bomb_is_refused_before_decoding(self, tmp_path):
        (tmp_path / "a.png").write_bytes(png_16_bit(np.zeros((2, 2, 1), np.uint16), 0))
        data = bytearray((tmp_path / "a.png").read_bytes())
        data[16:24] = struct.pack(">II", 60_000, 60_000)
        (tmp_path / "a.png").write_bytes(bytes(data))
        with pytest.raises(ImageError, match="too large: 60,000 × 60,000"):
            read_image(tmp_path / "a.png", COLOUR)

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
    def test_size_limit_holds_for_each_format(self, rgb, tmp_path, monkeypatch, name):
        path = save(rgb, tmp_path / name)
        monkeypatch.setattr(defaults, "MAX_IMAGE_VALUES", 30 * 40 * 3 - 1)
        with pytest.raises(ImageError, match="too large: 30 × 40 pixels"):
            read_image(path, COLOUR)

    def test_error_is_a_zoobot_error_and_a_value_error(self, tmp_path):
        with pytest.raises(ZoobotError):
            read_image(tmp_path / "gone.jpg", COLOUR)
        with pytest.raises(ValueError, match="gone"):
            read_image(tmp_path / "gone.jpg", COLOUR)


def test_a_signalling_nan_is_a_nan(tmp_path):
    pixels = np.full((4, 4), 0x7F800001, np.uint32).view(np.float32)
    pixels[0] = 0.5
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "TIFF")
    (tmp_path / "a.tiff").write_bytes(data.getvalue())
    record = Preprocessing(colour="to-rgb", stretch="none", nan_policy="fill", fill_value=1.0)
    assert read_image(tmp_path / "a.tiff", record)[:2, 0, 0].tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    "change",
    [
        {"crop_fraction": 1e-300},
        {"crop_fraction": 1e300},
        {"mean": (1e300,)},
        {"std": (1e-300,)},
        {"std": (1e300,)},
        {"pixel_scale_arcsec": -1.0},
        {"asinh_softness": 1e-300},
        {"image_size_pix": 10**9},
        {"channels": 10**9, "mean": (0.5,), "std": (0.5,)},
        {"fill_value": 1e300},
        {"percentiles": (-1e300, 50)},
    ],
)
def test_preprocessing_that_leaves_nothing_to_see_is_refused(change):
    with pytest.raises(ConfigError):
        Preprocessing(**change)
