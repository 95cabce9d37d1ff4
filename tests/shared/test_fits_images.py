"""FITS to pixels: extensions, encodings, stretches and missing pixels; the files are written by astropy."""

from __future__ import annotations

import bz2
import gzip
import sys
import tarfile

import numpy as np
import pytest

from zoobot.shared import defaults
from zoobot.shared.errors import ImageError, MissingPackageError
from zoobot.shared.pixels import stretch
from zoobot.shared.pixels.images import read_image
from zoobot.shared.preprocessing import Preprocessing

fits = pytest.importorskip("astropy.io.fits")
visualization = pytest.importorskip("astropy.visualization")

LINEAR = Preprocessing(channels=1, stretch="linear", limits=(-2, 6), mean=(0.5,), std=(0.5,))
CUBE = Preprocessing(channels=3, stretch="linear", limits=(-2, 6))


@pytest.fixture
def sky():
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:40, :50]
    galaxy = 5 * np.exp(-((x - 25) ** 2 + (y - 20) ** 2) / 60)
    return (galaxy + rng.normal(0, 0.3, (40, 50))).astype(np.float32)


@pytest.fixture
def cube(sky):
    return np.stack([sky, 2 * sky, 0.5 * sky])


def expected_linear(values, low=-2, high=6):
    return np.clip((np.asarray(values, dtype=float) - low) / (high - low), 0, 1)


def write(path, *values, **header):
    hdus = [fits.PrimaryHDU(values[0])] + [fits.ImageHDU(v) for v in values[1:]]
    hdus[0].header.update(header)
    fits.HDUList(hdus).writeto(path)
    return path


class TestFiles:
    def test_two_axes(self, sky, tmp_path):
        image = read_image(write(tmp_path / "a.fits", sky), LINEAR)
        assert image.dtype == np.float32
        np.testing.assert_allclose(image[..., 0], expected_linear(sky), atol=1e-6)

    @pytest.mark.parametrize(
        "name", ["a.fits", "a.fts", "a.FITS", "a.fits.gz", "a.ftz", "a.fit.bz2", "cutout"]
    )
    def test_any_name(self, sky, tmp_path, name):
        fits.PrimaryHDU(sky).writeto(tmp_path / "plain.fits")
        data = (tmp_path / "plain.fits").read_bytes()
        pack = bz2.compress if name.endswith("bz2") else gzip.compress
        (tmp_path / name).write_bytes(pack(data) if name.endswith(("z", "2")) else data)
        for path in (tmp_path / name, str(tmp_path / name)):
            np.testing.assert_allclose(read_image(path, LINEAR)[..., 0], expected_linear(sky), atol=1e-6)

    def test_tile_compressed(self, tmp_path):
        counts = np.random.default_rng(9).integers(0, 6, (40, 50)).astype(np.int16)
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(counts, compression_type="RICE_1")])
        hdus.writeto(tmp_path / "a.fits.fz")
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            tar.add(tmp_path / "a.fits.fz", "a.fits.fz")
        for path in (tmp_path / "a.fits.fz", f"{tmp_path}/a.tar::a.fits.fz"):
            np.testing.assert_allclose(read_image(path, LINEAR)[..., 0], expected_linear(counts), atol=1e-6)

    @pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "u1", ">i2", "<i4", ">i8", "<u2", "<u4"])
    def test_every_number_type(self, sky, tmp_path, dtype):
        values = sky.astype(dtype) if dtype[-2] == "f" else np.abs(sky).round().astype(dtype)
        image = read_image(write(tmp_path / "a.fits", values), LINEAR)
        np.testing.assert_allclose(image[..., 0], expected_linear(values), atol=1e-6)
        assert image.dtype.isnative

    def test_scaled_integers(self, sky, tmp_path):
        hdu = fits.PrimaryHDU(sky.copy())
        hdu.scale("int16", bscale=0.001, bzero=3)
        hdu.writeto(tmp_path / "a.fits")
        image = read_image(tmp_path / "a.fits", LINEAR)
        np.testing.assert_allclose(image[..., 0], expected_linear(sky), atol=1e-3)

    def test_blank_integers_are_missing(self, tmp_path):
        values = np.arange(20, dtype=np.int16).reshape(4, 5)
        path = write(tmp_path / "a.fits", values, BLANK=7)
        with pytest.raises(ImageError, match="1 of 20 pixels"):
            read_image(path, LINEAR)

    def test_cube_has_its_planes_first(self, cube, tmp_path):
        image = read_image(write(tmp_path / "a.fits", cube), CUBE)
        assert image.shape == (40, 50, 3)
        np.testing.assert_allclose(image, expected_linear(np.moveaxis(cube, 0, -1)), atol=1e-6)

    def test_leading_axes_of_length_one(self, sky, tmp_path):
        image = read_image(write(tmp_path / "a.fits", sky[None, None]), LINEAR)
        assert image.shape == (40, 50, 1)

    def test_five_bands(self, sky, tmp_path):
        record = Preprocessing(channels=5, stretch="linear", limits=(-2, 6), mean=(0.5,), std=(0.5,))
        image = read_image(write(tmp_path / "a.fits", np.stack([sky] * 5)), record)
        assert image.shape == (40, 50, 5)

    def test_bands_are_chosen_in_order(self, cube, tmp_path):
        image = read_image(write(tmp_path / "a.fits", cube), CUBE.with_changes(bands=(2, 0, 0)))
        np.testing.assert_allclose(image, expected_linear(np.moveaxis(cube[[2, 0, 0]], 0, -1)), atol=1e-6)

    def test_one_band_is_not_colour(self, sky, tmp_path):
        with pytest.raises(ImageError, match=r"has 1 plane \(r\), expected 3.*--colour to-rgb"):
            read_image(write(tmp_path / "a.fits", sky, FILTER="r"), CUBE)

    def test_one_band_becomes_three_equal_planes_where_asked_for(self, sky, tmp_path):
        image = read_image(write(tmp_path / "a.fits", sky), CUBE.with_changes(colour="to-rgb"))
        assert image.shape == (40, 50, 3)
        assert (image == image[..., :1]).all()

    def test_bands_to_grey_are_averaged(self, cube, tmp_path):
        image = read_image(write(tmp_path / "a.fits", cube), LINEAR.with_changes(colour="to-grey"))
        np.testing.assert_allclose(image[..., 0], expected_linear(cube).mean(axis=0), atol=1e-6)


class TestExtensions:
    @pytest.fixture
    def path(self, sky, tmp_path):
        table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])], name="TAB")
        images = [fits.ImageHDU(sky * factor, name=name) for factor, name in ((1, "SCI"), (0.5, "WHT"))]
        fits.HDUList([fits.PrimaryHDU(), table, *images]).writeto(tmp_path / "a.fits")
        return tmp_path / "a.fits"

    @pytest.mark.parametrize(
        ("hdu", "factor"), [(None, 1), (2, 1), ("SCI", 1), ("sci", 1), (3, 0.5), ("WHT", 0.5)]
    )
    def test_chosen_by_index_or_name(self, path, sky, hdu, factor):
        image = read_image(path, LINEAR.with_changes(hdu=hdu))
        np.testing.assert_allclose(image[..., 0], expected_linear(factor * sky), atol=1e-6)

    @pytest.mark.parametrize("hdu", [9, "DQ"])
    def test_absent(self, path, hdu):
        with pytest.raises(ImageError, match=rf"a\.fits: has no extension {hdu!r}.*2 SCI \(40, 50\)"):
            read_image(path, LINEAR.with_changes(hdu=hdu))

    @pytest.mark.parametrize("hdu", [0, "TAB"])
    def test_without_image(self, path, hdu):
        with pytest.raises(ImageError, match=f"extension {hdu!r} holds no image"):
            read_image(path, LINEAR.with_changes(hdu=hdu))

    def test_file_without_image(self, tmp_path):
        fits.PrimaryHDU().writeto(tmp_path / "a.fits")
        with pytest.raises(ImageError, match="holds no image; its extensions are 0 PRIMARY"):
            read_image(tmp_path / "a.fits", LINEAR)


class TestBrokenFiles:
    @pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
    @pytest.mark.parametrize("kind", ["plain", "gz", "fz"])
    @pytest.mark.parametrize("fraction", [0.1, 0.6, 0.8])
    def test_truncated(self, tmp_path, kind, fraction):
        noise = np.random.default_rng(10).normal(size=(120, 100)).astype(np.float32)
        if kind == "fz":
            fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(noise)]).writeto(tmp_path / "a.fits")
        else:
            fits.PrimaryHDU(noise).writeto(tmp_path / "a.fits")
        data = (tmp_path / "a.fits").read_bytes()
        data = gzip.compress(data) if kind == "gz" else data
        (tmp_path / "a.fits").write_bytes(data[: int(len(data) * fraction)])
        with pytest.raises(ImageError, match=r"a\.fits: .*(truncated|no image)"):
            read_image(tmp_path / "a.fits", LINEAR)

    def test_only_the_name_is_fits(self, tmp_path):
        (tmp_path / "a.fits").write_text("SIMPLE but not FITS")
        with pytest.raises(ImageError, match="not a JPEG, PNG, TIFF, WebP or FITS image"):
            read_image(tmp_path / "a.fits", LINEAR)

    @pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
    def test_gzipped_text(self, tmp_path):
        (tmp_path / "a.fits.gz").write_bytes(gzip.compress(b"hello" * 1000))
        with pytest.raises(ImageError, match="not a readable FITS image"):
            read_image(tmp_path / "a.fits.gz", LINEAR)

    def test_four_axes(self, sky, tmp_path):
        with pytest.raises(ImageError, match=r"needs 2 axes .* or 3 .*\(2, 3, 40, 50\)"):
            read_image(write(tmp_path / "a.fits", np.broadcast_to(sky, (2, 3, 40, 50))), LINEAR)

    def test_one_axis(self, tmp_path):
        with pytest.raises(ImageError, match="holds no image"):
            read_image(write(tmp_path / "a.fits", np.zeros(9)), LINEAR)

    def test_wrong_number_of_planes(self, cube, tmp_path):
        with pytest.raises(ImageError, match="has 3 planes, expected 1"):
            read_image(write(tmp_path / "a.fits", cube), LINEAR)

    def test_size_limit(self, sky, tmp_path, monkeypatch):
        monkeypatch.setattr(defaults, "MAX_IMAGE_VALUES", 40 * 50 - 1)
        with pytest.raises(ImageError, match="too large: 40 × 50 pixels"):
            read_image(write(tmp_path / "a.fits", sky), LINEAR)

    @pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
    def test_header_that_promises_more_than_the_limit(self, sky, tmp_path):
        path = write(tmp_path / "a.fits", sky)
        data = path.read_bytes().replace(b"NAXIS1  =                   50", b"NAXIS1  =             30000000")
        path.write_bytes(data)
        with pytest.raises(ImageError, match="too large"):
            read_image(path, LINEAR)

    def test_without_astropy(self, sky, tmp_path, monkeypatch):
        path = write(tmp_path / "a.fits", sky)
        monkeypatch.setitem(sys.modules, "astropy.io", None)
        with pytest.raises(MissingPackageError, match=r'pip install "zoobot\[fits\]"'):
            read_image(path, LINEAR)


class TestMissingPixels:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_refused_by_default(self, sky, tmp_path, bad):
        sky[3, 4] = bad
        with pytest.raises(ImageError, match=r"1 of 2,000 pixels \(0\.05%\).*nan_policy='fill'"):
            read_image(write(tmp_path / "a.fits", sky), LINEAR)

    @pytest.mark.parametrize("name", ["linear", "asinh", "lupton", "none"])
    def test_filled_and_never_part_of_the_limits(self, cube, tmp_path, name):
        values = expected_linear(cube) if name == "none" else cube
        holed = values.copy()
        holed[1, 3:9, 4] = [np.nan, np.inf, -np.inf] * 2
        record = Preprocessing(stretch=name, percentiles=(0, 100), nan_policy="fill", fill_value=0.25)
        filled = read_image(write(tmp_path / "holed.fits", holed), record)
        whole = read_image(write(tmp_path / "whole.fits", values), record)
        assert (filled[3:9, 4, 1] == 0.25).all()
        kept = np.isfinite(np.moveaxis(holed, 0, -1)).all(axis=-1)
        np.testing.assert_allclose(filled[kept], whole[kept], atol=1e-6)

    @pytest.mark.parametrize("policy", ["error", "fill"])
    def test_nothing_but_nan_is_no_image(self, tmp_path, policy):
        with pytest.raises(ImageError, match="not one of its 64 pixels is finite"):
            read_image(
                write(tmp_path / "a.fits", np.full((8, 8), np.nan)), LINEAR.with_changes(nan_policy=policy)
            )


class TestStretch:
    def test_asinh_equals_astropys(self, sky):
        ours = stretch.stretch_asinh(sky, (-1.0, 4.0), softness=0.07)
        theirs = visualization.AsinhStretch(0.07)(visualization.ManualInterval(-1, 4)(sky))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)

    def test_percentiles_equal_numpys_over_all_planes(self, cube):
        record = Preprocessing(percentiles=(2, 98))
        np.testing.assert_allclose(stretch.find_limits(cube, record), np.percentile(cube, [2, 98]))

    def test_lupton_keeps_colour_and_range(self, cube):
        bands = np.moveaxis(np.abs(cube), 0, -1)
        picture = stretch.stretch_lupton(bands, (0.0, 10.0), softness=0.05)
        assert picture.min() >= 0
        assert picture.max() <= 1
        np.testing.assert_allclose(picture[..., 1], 2 * picture[..., 0], rtol=1e-4)
        np.testing.assert_allclose(picture[..., 2], 0.5 * picture[..., 0], rtol=1e-4)

    def test_lupton_stretches_the_mean(self):
        grey = np.full((1, 1, 3), 0.3)
        expected = np.arcsinh(0.3 / 0.1) / np.arcsinh(10)
        np.testing.assert_allclose(
            stretch.stretch_lupton(grey, (0.0, 1.0), softness=0.1), expected, rtol=1e-6
        )

    def test_lupton_needs_three_planes(self):
        with pytest.raises(ImageError, match=r"needs 3 planes .* got 2"):
            stretch.stretch_lupton(np.zeros((2, 2, 2)), (0, 1), softness=0.1)

    def test_fainter_is_never_brighter(self):
        values = np.linspace(-3, 12, 500)[None, :, None]
        for name in ("linear", "asinh"):
            pixels = stretch.to_unit_range(values, Preprocessing(stretch=name, limits=(0, 10)))
            assert (np.diff(pixels.ravel()) >= 0).all()

    @pytest.mark.parametrize("name", ["linear", "asinh", "lupton"])
    @pytest.mark.parametrize("value", [0.0, -7.5, 1e30])
    def test_constant_image(self, tmp_path, name, value):
        path = write(tmp_path / "a.fits", np.full((3, 8, 8), value))
        assert (read_image(path, Preprocessing(stretch=name)) == 0).all()

    def test_faint_source_on_an_empty_frame_is_kept(self):
        values = np.zeros((100, 100, 1))
        values[50, 50] = 3.0
        pixels = stretch.to_unit_range(values, Preprocessing())
        assert pixels[50, 50] == 1
        assert pixels.sum() == 1

    @pytest.mark.parametrize("name", ["linear", "asinh", "lupton"])
    def test_extreme_values_stay_finite(self, name):
        values = np.array([-1.7e308, 0.0, 1.7e308]).reshape(1, 1, 3).repeat(4, axis=0)
        with np.errstate(all="raise"):
            pixels = stretch.to_unit_range(values, Preprocessing(stretch=name, percentiles=(0, 100)))
        assert np.isfinite(pixels).all()
        assert pixels.max() <= 1

    def test_unstretched_values_must_lie_in_the_unit_range(self, sky, tmp_path):
        with pytest.raises(ImageError, match=r"needs values in \[0, 1\], got .* choose stretch"):
            read_image(write(tmp_path / "a.fits", sky), LINEAR.with_changes(stretch="none"))
