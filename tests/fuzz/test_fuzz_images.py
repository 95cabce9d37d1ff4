"""Damaged images: pixels of the promised kind, or an ImageError; for every format, mode and stretch."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import zlib
from functools import cache

import cv2
import numpy as np
import pytest
from fuzz_inputs import attempt, extreme_numbers, fuzz, mutated, refused, write
from hypothesis import strategies as st
from PIL import Image

from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.images import read_image
from zoobot.shared.preprocessing import Preprocessing

fits = pytest.importorskip("astropy.io.fits")
pytestmark = pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")

SMALL = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)


def _pillow(pixels, form, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def _fits(pixels, compressed=False, **header):
    file = io.BytesIO()
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    fits.HDUList([fits.PrimaryHDU(), kind(pixels, fits.Header(header))]).writeto(file)
    return file.getvalue()


@cache
def seeds():
    grey = SMALL[..., 0]
    deep = SMALL.astype(np.uint16) * 257
    alpha = np.dstack([SMALL, grey])
    floats = grey.astype(np.float32)
    return [
        *(_pillow(SMALL, "JPEG", progressive=progressive) for progressive in (False, True)),
        _pillow(grey, "JPEG"),
        *(_pillow(pixels, "PNG") for pixels in (grey, SMALL, alpha, deep[..., 0])),
        cv2.imencode(".png", deep)[1].tobytes(),
        *(_pillow(SMALL, "TIFF", compression=name) for name in (None, "tiff_lzw", "tiff_deflate", "jpeg")),
        _pillow(floats, "TIFF"),
        _pillow(grey, "TIFF", save_all=True, append_images=[Image.fromarray(grey)] * 2),
        cv2.imencode(".tiff", deep)[1].tobytes(),
        *(_pillow(SMALL, "WEBP", lossless=lossless) for lossless in (False, True)),
        _fits(floats),
        _fits(np.moveaxis(SMALL, -1, 0).astype(np.int16), BZERO=32768.0),
        _fits(floats, compressed=True),
        *(pack(_fits(floats)) for pack in (gzip.compress, bz2.compress)),
    ]


damaged_images = st.deferred(lambda: mutated(seeds()))
records = st.builds(
    Preprocessing,
    channels=st.just(3),
    colour=st.sampled_from(["auto", "to-rgb", "as-is"]),
    stretch=st.sampled_from(["none", "linear", "asinh", "lupton"]),
    nan_policy=st.sampled_from(["error", "fill"]),
    fill_value=st.sampled_from([0.0, 0.5, 1.0]),
    bands=st.sampled_from([None, (0, 1, 2), (2, 2, 2), ("z", "r", 0)]),
) | st.builds(
    Preprocessing, channels=st.just(1), colour=st.just("to-grey"), mean=st.just((0.5,)), std=st.just((1,))
)


def check(content, record, **options):
    pixels = attempt(read_image, write("galaxy", content), record, **options)
    if refused(pixels):
        assert isinstance(pixels, ImageError)
        return None
    assert pixels.ndim == 3
    assert pixels.shape[-1] == record.channels
    assert pixels.dtype in (np.uint8, np.float32)
    if pixels.dtype == np.float32 and pixels.size:
        assert 0 <= pixels.min() <= pixels.max() <= 1
    return pixels


@fuzz(250, content=damaged_images, record=records, least=st.sampled_from([None, 1, 4.5]))
def test_a_damaged_image_is_pixels_or_an_error(content, record, least):
    check(content, record, least_side_pix=least)


heads = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"RIFF", b"SIMPLE  ="]
tails = [b"", b"\0" * 40, b"\xff" * 40, b"\x1f\x8b" * 20]


@fuzz(60, head=st.sampled_from(heads), tail=st.sampled_from(tails) | st.binary(max_size=40))
def test_a_signature_alone_is_no_image(head, tail):
    assert check(head + tail, Preprocessing()) is None


def test_every_seed_is_a_good_image():
    for content in seeds():
        assert check(content, Preprocessing(stretch="linear", colour="to-rgb")) is not None


def _png(width, height, depth=8):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


sizes = st.sampled_from([0, 1, 2**14, 2**15, 2**16 - 1, 2**20, 2**31 - 1, 2**32 - 1])


@fuzz(60, width=sizes, height=sizes, depth=st.sampled_from([1, 8, 16, 64]))
def test_an_absurd_size_is_refused(width, height, depth):
    check(_png(width, height, depth), Preprocessing())


@fuzz(40, axes=st.lists(st.sampled_from([0, 1, 2, 3, 2**20, 2**40]), max_size=5), bitpix=st.integers(-64, 64))
def test_an_absurd_fits_header_is_refused(axes, bitpix):
    cards = ["SIMPLE  =                    T", f"BITPIX  = {bitpix:20d}", f"NAXIS   = {len(axes):20d}"]
    cards += [f"{f'NAXIS{i + 1}':8}= {n:20d}" for i, n in enumerate(axes)]
    header = "".join(card.ljust(80) for card in [*cards, "END"])
    check(header.ljust(2880).encode() + b"\0" * 2880, Preprocessing())


@fuzz(
    100,
    values=st.lists(extreme_numbers, min_size=12, max_size=12),
    record=records,
    limits=st.sampled_from([None, (0, 1), (-1e308, 1e308), (0, 5e-324)]),
)
def test_extreme_pixels_are_stretched_into_the_unit_range(values, record, limits):
    content = _fits(np.array(values).reshape(3, 2, 2))
    check(content, record.with_changes(limits=limits))
