"""Squares cut from FITS mosaics by position on the sky."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

fits = pytest.importorskip("astropy.io.fits")
from astropy.coordinates import SkyCoord  # noqa: E402
from astropy.nddata import Cutout2D  # noqa: E402
from astropy.wcs import WCS  # noqa: E402

from zoobot.shared.errors import ImageError  # noqa: E402
from zoobot.shared.pixels import mosaics  # noqa: E402
from zoobot.shared.pixels.cache import PixelCache  # noqa: E402
from zoobot.shared.pixels.containers import open_container  # noqa: E402
from zoobot.shared.pixels.images import read_image  # noqa: E402
from zoobot.shared.preprocessing import Preprocessing  # noqa: E402

RA, DEC, SCALE = 189.0, 26.0, 0.5
RAW = Preprocessing(
    channels=1, colour="as-is", stretch="linear", limits=(0, 1e5), nan_policy="fill", mean=(0.5,), std=(0.5,)
)


def sky(frame="icrs", angle_deg=30.0):
    wcs = WCS(naxis=2)
    wcs.wcs.crpix = [60, 40]
    turn = np.deg2rad(angle_deg)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.cd = turned @ np.diag([-SCALE, SCALE]) / 3600
    if frame == "galactic":
        centre = SkyCoord(RA, DEC, unit="deg").galactic
        wcs.wcs.crval = [centre.l.deg, centre.b.deg]
        wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    else:
        wcs.wcs.crval = [RA, DEC]
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    return wcs


VALUES = np.arange(80 * 120, dtype=np.float32).reshape(80, 120)


def write_mosaic(path, values=VALUES, wcs=None, hdu=fits.PrimaryHDU, **options):
    header = (wcs or sky()).to_header()
    image = hdu(values, header, **options)
    first = [] if hdu is fits.PrimaryHDU else [fits.PrimaryHDU()]
    fits.HDUList([*first, image]).writeto(path, overwrite=True)
    return path


def position(x, y, wcs=None):
    place = (wcs or sky()).pixel_to_world(x, y).icrs
    return f"{float(place.ra.deg)!r},{float(place.dec.deg)!r}"


def cut(path, x, y, size="20pix", record=RAW, wcs=None):
    return read_image(f"{path}::{position(x, y, wcs)},{size}", record)[..., 0] * 1e5


class TestPixels:
    @pytest.mark.parametrize(("x", "y"), [(60.2, 40.2), (60.4, 39.6), (12.4, 20.2), (100.2, 60.2)])
    def test_they_are_those_of_cutout2d(self, tmp_path, x, y):
        expected = Cutout2D(VALUES, (x, y), (20, 20)).data
        np.testing.assert_allclose(cut(write_mosaic(tmp_path / "m.fits"), x, y), expected, rtol=1e-6)

    def test_what_lies_outside_is_missing(self, tmp_path):
        path = write_mosaic(tmp_path / "m.fits")
        expected = Cutout2D(VALUES, (2.2, 3.2), (20, 20), mode="partial", fill_value=0).data
        np.testing.assert_allclose(cut(path, 2.2, 3.2), expected, rtol=1e-6)
        with pytest.raises(ImageError, match="are NaN or infinite"):
            cut(path, 2.2, 3.2, record=RAW.with_changes(nan_policy="error"))

    def test_sizes_on_the_sky(self, tmp_path):
        path = write_mosaic(tmp_path / "m.fits")
        np.testing.assert_array_equal(cut(path, 60.2, 40.2, "10arcsec"), cut(path, 60.2, 40.2, "20pix"))
        assert cut(path, 60.2, 40.2, "10.2arcsec").shape == (20, 20)

    @pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", ">f8"])
    def test_kinds_of_numbers(self, tmp_path, dtype):
        values = (VALUES % 250).astype(dtype)
        path = write_mosaic(tmp_path / "m.fits", values)
        np.testing.assert_allclose(
            cut(path, 60.2, 40.2), Cutout2D(values, (60.2, 40.2), 20).data, rtol=1e-5, atol=1e-2
        )

    def test_compressed_tiles(self, tmp_path):
        values = VALUES.astype(np.int32)
        options = {"compression_type": "RICE_1", "tile_shape": (10, 10)}
        path = write_mosaic(tmp_path / "m.fits.fz", values, hdu=fits.CompImageHDU, **options)
        np.testing.assert_allclose(cut(path, 60.2, 40.2), Cutout2D(values, (60.2, 40.2), 20).data, rtol=1e-6)

    def test_cubes(self, tmp_path):
        cube = np.stack([VALUES, 2 * VALUES, 3 * VALUES])
        path = write_mosaic(tmp_path / "m.fits", cube)
        record = RAW.with_changes(channels=3)
        found = read_image(f"{path}::{position(60.2, 40.2)},20pix", record)
        expected = Cutout2D(VALUES, (60.2, 40.2), 20).data
        for band in range(3):
            np.testing.assert_allclose(found[..., band] * 1e5, (band + 1) * expected, rtol=1e-6)

    def test_galactic_mosaics_are_asked_in_right_ascension(self, tmp_path):
        wcs = sky("galactic")
        path = write_mosaic(tmp_path / "m.fits", wcs=wcs)
        expected = Cutout2D(VALUES, (70.2, 30.2), 20).data
        np.testing.assert_allclose(cut(path, 70.2, 30.2, wcs=wcs), expected, rtol=1e-6)

    def test_the_extension_is_that_of_the_record(self, tmp_path):
        header = sky().to_header()
        images = [fits.ImageHDU(VALUES * k, header, name=name) for k, name in ((1, "SCI"), (2, "WHT"))]
        fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "m.fits")
        one, two = (
            cut(tmp_path / "m.fits", 60.2, 40.2, record=RAW.with_changes(hdu=h)) for h in ("SCI", "WHT")
        )
        np.testing.assert_allclose(2 * one, two, rtol=1e-6)
        np.testing.assert_array_equal(cut(tmp_path / "m.fits", 60.2, 40.2), one)
        with pytest.raises(ImageError, match="no extension 'ERR'"):
            cut(tmp_path / "m.fits", 60.2, 40.2, record=RAW.with_changes(hdu="ERR"))


class TestFailures:
    @pytest.mark.parametrize(("x", "y"), [(-50, 40), (60, 200)])
    def test_outside(self, tmp_path, x, y):
        with pytest.raises(ImageError, match="outside of the mosaic"):
            cut(write_mosaic(tmp_path / "m.fits"), x, y)

    def test_the_other_side_of_the_sky(self, tmp_path):
        path = write_mosaic(tmp_path / "m.fits")
        with pytest.raises(ImageError, match="outside of the mosaic"):
            read_image(f"{path}::{RA - 180},{-DEC},20pix", RAW)

    def test_too_large_and_too_small(self, tmp_path):
        path = write_mosaic(tmp_path / "m.fits")
        with pytest.raises(ImageError, match="too large"):
            cut(path, 60.2, 40.2, "1e6pix")
        with pytest.raises(ImageError, match="too small"):
            cut(path, 60.2, 40.2, "0.5arcsec")

    def test_an_image_without_coordinates(self, tmp_path):
        fits.PrimaryHDU(VALUES).writeto(tmp_path / "m.fits")
        with pytest.raises(ImageError, match="no celestial coordinates"):
            cut(tmp_path / "m.fits", 60.2, 40.2)

    @pytest.mark.parametrize("share", [0.1, 0.5])
    def test_truncated(self, tmp_path, share):
        path = write_mosaic(tmp_path / "m.fits", np.ones((400, 120), np.float32))
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ImageError, match="truncated"):
            cut(path, 60, 390)

    def test_all_missing(self, tmp_path):
        path = write_mosaic(tmp_path / "m.fits", np.full((80, 120), np.nan, np.float32))
        with pytest.raises(ImageError, match="not one of its 400 pixels is finite"):
            cut(path, 60.2, 40.2)


class TestManyReaders:
    def test_threads_and_few_open_mosaics(self, tmp_path, monkeypatch):
        monkeypatch.setattr(mosaics, "_MOST_OPEN", 2)
        paths = [write_mosaic(tmp_path / f"{i}.fits", VALUES + i) for i in range(5)]
        expected = Cutout2D(VALUES, (60.2, 40.2), 20).data
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda i: cut(paths[i % 5], 60.2, 40.2), range(100)))
        for i, values in enumerate(found):
            np.testing.assert_allclose(values, expected + i % 5, rtol=1e-6)
        assert len(list(mosaics._OPEN_MOSAICS)) <= 2

    def test_the_cache_keeps_squares_apart(self, tmp_path):
        path = write_mosaic(tmp_path / "m.fits")
        cache = PixelCache(tmp_path / "cache", RAW, None)
        first, second = (f"{path}::{position(x, 40)},20pix" for x in (50, 60))
        assert not np.array_equal(cache.read(first).pixels, cache.read(second).pixels)
        again = PixelCache(tmp_path / "cache", RAW, None)
        np.testing.assert_array_equal(again.read(first).pixels, cache.read(first).pixels)

    def test_margins_say_which_mosaic_holds_a_position(self, tmp_path):
        mosaic = open_container(str(write_mosaic(tmp_path / "m.fits")))
        places = sky().pixel_to_world([60, 0, -1, 119], [40, 0, 10, 79]).icrs
        margins = mosaic.find_margins([*places.ra.deg, 9.0], [*places.dec.deg, -26.0], None)
        np.testing.assert_allclose(margins, [39.5, 0.5, -0.5, 0.5, -np.inf], atol=1e-6)
