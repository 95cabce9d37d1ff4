"""Which bands of FITS images are looked at: headers as surveys write them, and files of single bands."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

fits = pytest.importorskip("astropy.io.fits")

from zoobot.options import PredictOptions  # noqa: E402
from zoobot.shared.catalog import read_catalog  # noqa: E402
from zoobot.shared.catalogs.cutouts import place_arguments  # noqa: E402
from zoobot.shared.catalogs.stream import CatalogStream  # noqa: E402
from zoobot.shared.errors import CatalogError, ConfigError, ImageError  # noqa: E402
from zoobot.shared.loader import GalaxyLoader  # noqa: E402
from zoobot.shared.pixels.bands import plane_bands, read_band  # noqa: E402
from zoobot.shared.pixels.cache import PixelCache  # noqa: E402
from zoobot.shared.pixels.first_images import check_first_images, read_otherwise, settle_bands  # noqa: E402
from zoobot.shared.pixels.images import read_image  # noqa: E402
from zoobot.shared.pixels.locations import join_stack, split_stack  # noqa: E402
from zoobot.shared.pixels.mosaics import Mosaic  # noqa: E402
from zoobot.shared.preprocessing import Preprocessing, describe_pixels  # noqa: E402

COLOUR = Preprocessing(image_size_pix=16, stretch="linear", limits=(0, 10))
#: What an early-type galaxy has in each band: the redder, the brighter.
FLUX = {"u": 0.5, "g": 1, "r": 2, "i": 3, "z": 4, "y": 5}
WCS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 10.5,
    "CRPIX2": 10.5,
    "CD1_1": -7.27777777777778e-05,
    "CD1_2": 0.0,
    "CD2_1": 0.0,
    "CD2_2": 7.27777777777778e-05,
}


def plane(flux, side=20):
    return np.full((side, side), flux, np.float32)


def write_cube(path, bands, header):
    hdu = fits.PrimaryHDU(np.stack([plane(FLUX.get(band, 1)) for band in bands]))
    hdu.header.update(header)
    hdu.writeto(path, overwrite=True)
    return str(path)


def write_decals(path, bands="grz"):
    """As the cutout service of the Legacy Surveys writes it."""
    header = {"SURVEY": "DECaLS", "VERSION": "DR5", "IMAGETYP": "image", "BANDS": bands}
    numbered = {f"BAND{number}": band for number, band in enumerate(bands)}
    return write_cube(path, bands, {**header, **numbered, **WCS, "IMAGEW": 20.0, "IMAGEH": 20.0})


def write_hdus(path, hdus, primary=None):
    """Extensions of one plane: (flux, header) of each."""
    files = [fits.PrimaryHDU(primary)]
    for flux, header in hdus:
        files.append(fits.ImageHDU(plane(flux)))
        files[-1].header.update(header)
    fits.HDUList(files).writeto(path, overwrite=True)
    return str(path)


def centre(path, record=COLOUR):
    """The values of one pixel, in the units of the file."""
    return (10 * read_image(path, record)[10, 10]).round(4).tolist()


class TestNames:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            *[("HSC-G", "g"), ("HSC-I2", "i"), ("g DECam SDSS c0001 4720.0 1520.0", "g"), ("r.00000", "r")],
            *[
                ("i'", "i"),
                ("zs", "z"),
                ("gp", "g"),
                ("VIS", "VIS"),
                ("NIR_Y", "y"),
                ("Ks", "KS"),
                ("W1", "W1"),
            ],
            *[("F814W", "F814W"), ("LSST_u", "u"), ("CLEAR1L", None), ("SCI", None), ("", None), (3, None)],
        ],
    )
    def test_filters_as_surveys_call_them(self, text, name):
        band = read_band(text)
        assert (band and band.name) == name

    @pytest.mark.parametrize(
        "names",
        [
            *[
                ("u", "g", "VIS", "r", "i", "z", "y", "J", "H", "Ks", "W1", "W2", "W3", "W4"),
                ("B", "V", "R", "I"),
            ],
            *[("F275W", "F336W", "F438W", "F555W", "F814W", "F105W", "F125W", "F140W", "F160W")],
            *[("F090W", "F115W", "F150W", "F200W", "F277W", "F356W", "F444W", "F770W")],
        ],
    )
    def test_wavelengths_rise(self, names):
        header = {"BANDS": ",".join(names), "TELESCOP": "JWST" if "F090W" in names else "HST"}
        found = [band.wavelength_nm for band in plane_bands(header, len(names))]
        wanted = found if "VIS" in names else sorted(found)
        assert found == wanted
        assert len(set(found)) == len(found)

    @pytest.mark.parametrize(
        "header",
        [
            *[{"BANDS": "grz"}, {"BANDS": "g,r,z"}, {"BANDS": "g r z"}, {"FILTER": "g, r, z"}],
            *[{"BAND0": "g", "BAND1": "r", "BAND2": "z"}, {"BAND1": "g", "BAND2": "r", "BAND3": "z"}],
            *[{"FILTER1": "g", "FILTER2": "r", "FILTER3": "z"}, {"FILTERS": "['g', 'r', 'z']"}],
        ],
    )
    def test_headers_of_cubes(self, tmp_path, header):
        path = write_cube(tmp_path / "a.fits", "grz", header)
        assert centre(path) == [FLUX["z"], FLUX["r"], FLUX["g"]]

    @pytest.mark.parametrize("header", [{"BANDS": "gr"}, {"BANDS": 3}, {"BAND0": "g"}, {"FILTER": "r"}])
    def test_headers_that_do_not_name_each_plane(self, header):
        assert plane_bands(header, 3) is None


class TestCubes:
    def test_red_galaxies_are_red(self, tmp_path):
        red, green, blue = centre(write_decals(tmp_path / "a.fits"))
        assert red > green > blue

    def test_red_first_already(self, tmp_path):
        assert centre(write_decals(tmp_path / "a.fits", "zrg")) == [4, 2, 1]

    def test_compressed_into_an_extension(self, tmp_path):
        cube = np.stack([plane(FLUX[band]) for band in "grz"]).astype(np.int16)
        hdu = fits.CompImageHDU(cube, fits.Header({"BANDS": "grz"}))
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits.fz")
        assert centre(tmp_path / "a.fits.fz") == [4, 2, 1]

    def test_of_hsc_s_five_bands_three(self, tmp_path):
        path = write_cube(tmp_path / "a.fits", "grizy", {"BANDS": "grizy", "TELESCOP": "Subaru HSC"})
        assert centre(path) == [FLUX["i"], FLUX["r"], FLUX["g"]]
        assert centre(path, COLOUR.with_changes(bands=("z", "r", "g"))) == [4, 2, 1]
        assert centre(path, COLOUR.with_changes(bands=("HSC-Y", 1, "G"))) == [5, 2, 1]

    def test_bands_that_nobody_can_choose_from(self, tmp_path):
        path = write_cube(tmp_path / "a.fits", "uizy", {"BANDS": "uizy"})
        with pytest.raises(ImageError, match=r"4 bands u, i, z, y: choose three, red first, with bands"):
            read_image(path, COLOUR)

    def test_without_names_as_stored(self, tmp_path):
        assert centre(write_cube(tmp_path / "a.fits", "grz", {})) == [1, 2, 4]

    def test_filters_that_nobody_knows_as_stored(self, tmp_path):
        path = write_cube(tmp_path / "a.fits", "grz", {"BANDS": "g,mystery,z"})
        assert centre(path) == [1, 2, 4]
        assert centre(path, COLOUR.with_changes(bands=("Mystery", "z", "g"))) == [2, 4, 1]

    def test_two_bands_are_no_colour(self, tmp_path):
        with pytest.raises(ImageError, match=r"has 2 planes \(g, r\), expected 3.*--bands"):
            read_image(write_decals(tmp_path / "a.fits", "gr"), COLOUR)
        with pytest.raises(ImageError, match=r"bands=\('g', 'r'\) gives 2 planes, .* looks at 3"):
            read_image(write_decals(tmp_path / "b.fits"), COLOUR.with_changes(bands=("g", "r")))

    def test_numbers_and_as_is_keep_the_stored_order(self, tmp_path):
        path = write_decals(tmp_path / "a.fits")
        for record in (COLOUR.with_changes(bands=(0, 1, 2)), COLOUR.with_changes(colour="as-is")):
            assert centre(path, record) == [1, 2, 4]

    def test_networks_of_other_channels(self, tmp_path):
        path = write_cube(tmp_path / "a.fits", "grizy", {"BANDS": "grizy"})
        five = COLOUR.with_changes(channels=5, colour="as-is", mean=(0.5,), std=(0.5,))
        assert centre(path, five) == [1, 2, 3, 4, 5]
        grey = COLOUR.with_changes(channels=1, colour="to-grey", mean=(0.5,), std=(0.5,))
        assert centre(path, grey) == [3]

    def test_a_band_that_is_not_there(self, tmp_path):
        record = COLOUR.with_changes(bands=("z", "r", "g"))
        with pytest.raises(ImageError, match=r"has the bands g, r, i, but .* asks for 'z'.*--bands"):
            read_image(write_decals(tmp_path / "a.fits", "gri"), record)

    def test_names_of_the_training_in_files_without(self, tmp_path):
        path = write_cube(tmp_path / "a.fits", "grz", {})
        named = COLOUR.with_changes(bands=("z", "r", "g"))
        with pytest.raises(ImageError, match=r"names no bands.*give the planes' numbers"):
            read_image(path, named)
        assert centre(path, named.with_changes(band_numbers=(2, 1, 0))) == [4, 2, 1]

    def test_names_leave_pictures_alone(self, tmp_path):
        Image.new("RGB", (20, 20), (200, 100, 50)).save(tmp_path / "a.png")
        record = COLOUR.with_changes(bands=("z", "r", "g"))
        assert read_image(tmp_path / "a.png", record)[0, 0].tolist() == [200, 100, 50]

    def test_other_bands_forget_their_numbers(self):
        record = Preprocessing(bands=("z", "r", "g"), band_numbers=(2, 1, 0))
        assert record.with_changes(bands=("i", "r", "g")).band_numbers is None
        assert Preprocessing.from_config(record.to_config()) == record
        for wrong in (
            {"band_numbers": (1,)},
            {"band_numbers": (1,), "bands": ("g", "r")},
            {"bands": (-1, "g")},
        ):
            with pytest.raises(ConfigError):
                Preprocessing(**wrong)


class TestExtensions:
    def test_image_and_inverse_variance_of_each_band(self, tmp_path):
        """As the Legacy Surveys' cutouts with invvar are: neither has a name."""
        hdus = [
            (f, {"BAND": b, "IMAGETYP": t}) for b in "grz" for f, t in ((FLUX[b], "image"), (9, "invvar"))
        ]
        assert centre(write_hdus(tmp_path / "a.fits", hdus)) == [4, 2, 1]

    @pytest.mark.parametrize("pattern", ["{}", "SCI_{}", "HSC-{}"])
    def test_names_of_extensions(self, tmp_path, pattern):
        hdus = [(FLUX[band], {"EXTNAME": pattern.format(band.upper())}) for band in "gri"]
        hdus += [(9, {"EXTNAME": f"{band.upper()}_MASK"}) for band in "gri"]
        path = write_hdus(tmp_path / "a.fits", hdus)
        assert centre(path) == [3, 2, 1]
        one = COLOUR.with_changes(hdu=2, colour="to-rgb")
        assert centre(path, one) == [FLUX["r"]] * 3

    @pytest.mark.parametrize(
        "hdus",
        [
            [
                (2, {"EXTNAME": "IMAGE", "FILTER": "HSC-R"}),
                (9, {"EXTNAME": "MASK"}),
                (9, {"EXTNAME": "VARIANCE"}),
            ],
            [(2, {"EXTNAME": "N25", "FILTER": "r"}), (9, {"EXTNAME": "N26", "FILTER": "r"})],
            [(2, {"EXTNAME": "SCI"}), (9, {"EXTNAME": "G"}), (9, {"EXTNAME": "R"})],
        ],
    )
    def test_other_extensions_are_no_bands(self, tmp_path, hdus):
        assert centre(write_hdus(tmp_path / "a.fits", hdus), COLOUR.with_changes(colour="to-rgb")) == [
            2,
            2,
            2,
        ]

    def test_mosaics_follow_the_same_rules(self, tmp_path):
        cube = write_decals(tmp_path / "cube.fits")
        hdus = [(FLUX[band], {"EXTNAME": band, **WCS}) for band in "grz"]
        stack = write_hdus(tmp_path / "stack.fits", hdus)
        for path in (cube, stack):
            values, bands = Mosaic(path).cut("150.0,2.0,4pix", None)
            assert (values.shape, [band.name for band in bands]) == ((4, 4, 3), ["g", "r", "z"])
            record = COLOUR.with_changes(nan_policy="fill")
            assert (10 * read_image(f"{path}::150.0,2.0,4pix", record)[1, 1]).tolist() == [4, 2, 1]


@pytest.fixture
def band_files(tmp_path):
    """A file for each band, as HSC, Euclid and many archives have them; the third galaxy lacks one."""
    rows = []
    for number in range(3):
        row = {"id_str": f"galaxy-{number}"}
        for band in "gri":
            row[f"file_{band}"] = f"{number}|{band}.fits"
            if (number, band) != (2, "r"):
                write_cube(tmp_path / row[f"file_{band}"], [band], {"FILTER": f"HSC-{band.upper()}"})
        rows.append(row)
    path = tmp_path / "catalog.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


FILES = ("file_g", "file_r", "file_i")


class TestFilesOfBands:
    def test_location(self):
        stack = [("g", "/a|b%7C.fits"), ("", "/c=d.fits"), ("r", "")]
        assert split_stack(join_stack(stack)) == stack
        assert split_stack("/a/b.fits") is None

    def test_are_one_image_red_first(self, band_files, caplog):
        with caplog.at_level(logging.WARNING, "zoobot"):
            galaxies = read_catalog(band_files, file_col=FILES)
        assert "1 of 3 galaxies of" in caplog.text
        assert centre(galaxies.paths[0]) == [3, 2, 1]
        with pytest.raises(ImageError, match=r"band r, .*2\|r\.fits: can't be opened"):
            read_image(galaxies.paths[2], COLOUR)

    def test_both_readers_agree(self, band_files):
        whole = read_catalog(band_files, file_col=FILES)
        stream = CatalogStream(band_files, file_col=list(FILES), select="id_str=galaxy-1")
        assert next(stream.parts(5)).galaxies.paths == whole.paths[1:2]
        stream = CatalogStream(band_files, file_col=list(FILES))
        assert next(stream.parts(5)).galaxies.paths == whole.paths
        again = read_catalog(stream.place["catalog"], **place_arguments(stream.place))
        assert again.paths == whole.paths

    def test_bands_by_the_columns_or_else_by_headers(self, band_files):
        table = pd.read_csv(band_files).rename(columns={"file_g": "one", "file_r": "two", "file_i": "three"})
        galaxies = read_catalog(table, root=band_files.parent, file_col=["two", "one", "three"])
        assert centre(galaxies.paths[0]) == [3, 2, 1]
        assert "|=" in galaxies.paths[0]

    def test_an_empty_cell_is_that_galaxy_s_failure(self, band_files):
        table = pd.read_csv(band_files)
        table.loc[0, "file_i"] = None
        galaxies = read_catalog(table, root=band_files.parent, file_col=FILES)
        loader = GalaxyLoader(galaxies, COLOUR, max_failed_fraction=1.0)
        assert [batch.ids for batch in loader] == [["galaxy-1"]]
        reasons = {failure.id_str: failure.reason for failure in loader.failures}
        assert reasons["galaxy-0"] == "has no file for the band i"
        table.loc[1, list(FILES)] = None
        with pytest.raises(CatalogError, match=r"1 of 3 galaxies .* no path in columns .*'galaxy-1'"):
            read_catalog(table, root=band_files.parent, file_col=FILES)

    def test_no_galaxy_is_complete(self, band_files, tmp_path):
        with pytest.raises(CatalogError, match=r"not one galaxy .* has the files of all its bands.*root="):
            read_catalog(band_files, file_col=FILES, root=tmp_path / "elsewhere")

    @pytest.mark.parametrize("columns", [(), ("file_g", "file_g"), ("file_g", "file_q")])
    @pytest.mark.parametrize("reader", [read_catalog, CatalogStream])
    def test_columns_that_can_not_be(self, band_files, columns, reader):
        with pytest.raises(CatalogError, match=r"file_col must be|lacks 'file_q'"):
            reader(band_files, file_col=columns)

    @pytest.mark.parametrize("reader", [read_catalog, CatalogStream])
    def test_a_folder_of_images_has_no_columns(self, band_files, reader):
        band_files.unlink()
        with pytest.raises(CatalogError):
            reader(band_files.parent, file_col=FILES)

    def test_files_that_do_not_fit_together(self, tmp_path):
        one = write_cube(tmp_path / "g.fits", "g", {})
        cube = write_decals(tmp_path / "grz.fits")
        fits.PrimaryHDU(plane(1, 30)).writeto(tmp_path / "r.fits")
        with pytest.raises(ImageError, match="20 × 20, 30 × 30"):
            read_image(join_stack([("g", one), ("r", str(tmp_path / "r.fits"))]), COLOUR)
        with pytest.raises(ImageError, match="has 3 planes, expected the one of a band"):
            read_image(join_stack([("g", one), ("r", cube)]), COLOUR)

    def test_pictures_of_bands(self, tmp_path):
        for band, value in zip("gri", (10, 20, 30), strict=True):
            Image.new("L", (20, 20), value).save(tmp_path / f"{band}.png")
        stack = join_stack((band, str(tmp_path / f"{band}.png")) for band in "gri")
        assert read_image(stack, COLOUR)[0, 0].tolist() == [30, 20, 10]

    def test_the_cache_sees_each_file(self, band_files, tmp_path):
        path = read_catalog(band_files, file_col=FILES).paths[0]
        first = PixelCache(tmp_path / "cache", COLOUR, None).read(path)
        again = PixelCache(tmp_path / "cache", COLOUR, None)
        assert len(again) == 1
        np.testing.assert_array_equal(again.read(path).pixels, first.pixels)
        fits.PrimaryHDU(plane(7, 24)[:20, :20]).writeto(tmp_path / "0|i.fits", overwrite=True)
        assert (10 * again.read(path).pixels[10, 10]).round(3).tolist() == [7, 2, 1]


class Model:
    """As much of a model as its record."""

    def __init__(self, **options):
        self.preprocessing = COLOUR.with_changes(**options)


class TestFirstImages:
    def test_the_choice_is_said_once(self, tmp_path, caplog):
        paths = [write_decals(tmp_path / f"{number}.fits") for number in range(3)]
        with caplog.at_level(logging.INFO, "zoobot"):
            check_first_images(paths, COLOUR)
        assert caplog.messages == ["Bands: z, r, g stand for red, green, blue (red first; stored: g, r, z)"]

    def test_the_stored_order_is_said(self, tmp_path, caplog):
        with caplog.at_level(logging.INFO, "zoobot"):
            check_first_images([write_cube(tmp_path / "a.fits", "grz", {})], COLOUR)
        assert (
            "planes 0, 1, 2 stand for red, green, blue (as stored, for the file names no bands" in caplog.text
        )
        assert "--bands" in caplog.text

    def test_a_catalog_of_single_bands_is_refused(self, tmp_path):
        paths = [write_cube(tmp_path / f"{number}.fits", "r", {"FILTER": "r"}) for number in range(3)]
        with pytest.raises(ImageError, match=r"not what the network looks at.*0\.fits: has 1 plane \(r\)"):
            check_first_images(paths, COLOUR)
        check_first_images(paths, COLOUR.with_changes(colour="to-rgb"))
        check_first_images([*paths, write_decals(tmp_path / "a.fits")], COLOUR)  # then each is a failure

    def test_damaged_images_are_told_of_later(self, tmp_path):
        (tmp_path / "a.fits").write_bytes(b"SIMPLE  =                    T")
        check_first_images([str(tmp_path / "a.fits"), str(tmp_path / "none.fits")], COLOUR)

    def test_bands_are_kept_by_name_and_number(self, tmp_path):
        model = Model()
        settle_bands(model, [write_decals(tmp_path / "a.fits")])
        assert model.preprocessing.bands == ("z", "r", "g")
        assert model.preprocessing.band_numbers == (2, 1, 0)
        settle_bands(model, [write_decals(tmp_path / "a.fits")])
        assert model.preprocessing.bands == ("z", "r", "g")
        assert "bands z, r, g (planes 2, 1, 0 where headers name none)" in describe_pixels(
            model.preprocessing
        )
        model = Model(bands=(1, 0, 0))
        settle_bands(model, [write_decals(tmp_path / "a.fits")])
        assert model.preprocessing.bands == (1, 0, 0)  # no band twice by name

    def test_bands_that_differ_are_left_to_the_rule(self, tmp_path):
        model = Model()
        settle_bands(model, [write_decals(tmp_path / "a.fits"), write_decals(tmp_path / "b.fits", "gri")])
        assert model.preprocessing.bands is None

    def test_a_change_reaches_the_encoder(self):
        model = Model()
        model.encoder = Model()
        read_otherwise(model, {"bands": ("i", "r", "g"), "stretch": "lupton"})
        assert model.encoder.preprocessing == model.preprocessing
        assert model.preprocessing.stretch == "lupton"

    def test_grey_pictures_are_said_with_their_number(self, tmp_path, caplog):
        rng = np.random.default_rng(1)
        for number, mode in enumerate(["L", "RGB", "L"]):
            shape = (20, 20) if mode == "L" else (20, 20, 3)
            Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(tmp_path / f"{number}.png")
        galaxies = read_catalog(tmp_path)
        with caplog.at_level(logging.INFO, "zoobot"):
            for _ in range(2):
                list(GalaxyLoader(galaxies, COLOUR))
            list(GalaxyLoader(galaxies, COLOUR.with_changes(colour="to-rgb")))
        assert caplog.messages == 2 * [
            "2 of 3 pictures are grey: the one plane stands for red, green and blue"
        ]


def test_a_model_that_a_list_of_columns_swallowed_is_hinted_at():
    given = {"catalog": "c.csv", "save_loc": "p.csv", "file_col": ("g", "r", "i", "run")}
    with pytest.raises(ConfigError, match="missing: --checkpoint; --file-col took all up to the next"):
        PredictOptions.from_config(given)
