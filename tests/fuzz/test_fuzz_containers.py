"""Damaged archives, tables of images and mosaics, and members that are not there."""

from __future__ import annotations

import io
import tarfile
import zipfile
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzz_inputs import attempt, fuzz, hostile_text, mutated, refused, write
from hypothesis import strategies as st
from PIL import Image

from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.images import read_image
from zoobot.shared.preprocessing import Preprocessing

fits = pytest.importorskip("astropy.io.fits")
pytestmark = pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")

RECORD = Preprocessing(stretch="linear", nan_policy="fill", colour="to-rgb")
MEMBERS = ["0", "image:0", "sky/a.png", "189.0,26.0,8pix", "189.0,26.0,5arcsec"]


def _png():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def _tar(name="sky/a.png"):
    file, data = io.BytesIO(), _png()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sky/a.png", _png())
    return file.getvalue()


def _parquet():
    file = io.BytesIO()
    pq.write_table(pa.table({"id_str": ["a"], "image": [_png()]}), file)
    return file.getvalue()


def _mosaic():
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 189.0, "CRVAL2": 26.0})
    header.update({"CRPIX1": 16.0, "CRPIX2": 16.0, "CDELT1": -1 / 3600, "CDELT2": 1 / 3600})
    file = io.BytesIO()
    fits.PrimaryHDU(np.arange(32 * 32, dtype=np.float32).reshape(32, 32), header).writeto(file)
    return file.getvalue()


@cache
def seeds():
    return {"a.tar": _tar(), "a.zip": _zip(), "a.parquet": _parquet(), "a.fits": _mosaic()}


def check(path, member):
    pixels = attempt(read_image, f"{path}::{member}", RECORD)
    if refused(pixels):
        assert isinstance(pixels, ImageError)
        return
    assert pixels.ndim == 3
    assert pixels.shape[-1] == 3
    assert pixels.dtype in (np.uint8, np.float32)


def test_every_seed_holds_a_good_image():
    for name, member in (("a.tar", 2), ("a.zip", 2), ("a.parquet", 0), ("a.fits", 3)):
        assert not refused(attempt(read_image, f"{write(name, seeds()[name])}::{MEMBERS[member]}", RECORD))


damaged = st.deferred(
    lambda: st.sampled_from(sorted(seeds())).flatmap(
        lambda name: st.tuples(st.just(name), mutated([seeds()[name]]))
    )
)


@fuzz(120, container=damaged, member=st.sampled_from(MEMBERS))
def test_a_damaged_container_gives_pixels_or_an_error(container, member):
    check(write(*container), member)


places = st.builds(
    "{},{},{}{}".format,
    st.floats(),
    st.floats(),
    st.floats() | st.integers(),
    st.sampled_from(["pix", "arcsec"]),
)


@fuzz(80, name=st.sampled_from(["a.tar", "a.zip", "a.parquet", "a.fits"]), member=hostile_text | places)
def test_a_member_of_any_name_is_pixels_or_an_error(name, member):
    check(write(name, seeds()[name]), member)
