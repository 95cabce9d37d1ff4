"""Galaxies found in tiles whose contents are known, and predicted in one command."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

fits = pytest.importorskip("astropy.io.fits")
pytest.importorskip("sep")
from astropy.coordinates import SkyCoord  # noqa: E402
from astropy.nddata import Cutout2D  # noqa: E402
from astropy.wcs import WCS  # noqa: E402
from scipy.spatial import KDTree  # noqa: E402

import zoobot  # noqa: E402
from zoobot.options.detect import DetectOptions  # noqa: E402
from zoobot.options.predict import PredictOptions  # noqa: E402
from zoobot.shared.catalog import read_catalog  # noqa: E402
from zoobot.shared.errors import CatalogError, ConfigError, ImageError, MissingPackageError  # noqa: E402
from zoobot.shared.pixels.images import read_image  # noqa: E402
from zoobot.shared.preprocessing import Preprocessing  # noqa: E402
from zoobot.sky import detection  # noqa: E402
from zoobot.sky.detection import count_once  # noqa: E402
from zoobot.workflow import detect  # noqa: E402
from zoobot.workflow.detect import detect_first  # noqa: E402

SCALE_ARCSEC, STAR_SIGMA_PIX = 0.4, 1.5
RA, DEC = 150.0, 2.0


def sky(x0=0.0, y0=0.0):
    """Coordinates of a tile whose first pixel is that of a common grid, turned by 20 degrees."""
    wcs = WCS(naxis=2)
    turn = np.deg2rad(20)
    wcs.wcs.cd = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * SCALE_ARCSEC / 3600
    wcs.wcs.crpix, wcs.wcs.crval = [1 - x0, 1 - y0], [RA, DEC]
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    return wcs


def simulate(side, galaxies, stars, seed=0, least_apart=34):
    """An image of noise 1 with exponential discs and Gaussian stars, and where they are."""
    rng = np.random.default_rng(seed)
    image = rng.normal(20, 1, (side, side)).astype(np.float32)
    places: list = []
    grid: dict = {}
    while len(places) < galaxies + stars:  # none is blended with another
        x, y = rng.uniform(40, side - 40, 2)
        cell = int(x // least_apart), int(y // least_apart)
        near = [grid.get((cell[0] + i, cell[1] + j), []) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        if all(np.hypot(x - u, y - v) > least_apart for some in near for u, v in some):
            grid.setdefault(cell, []).append((x, y))
            places.append((x, y))
    rows = []
    for number, (x, y) in enumerate(places):
        is_star = number >= galaxies
        left, top = int(x) - 32, int(y) - 32
        v, u = np.mgrid[top : top + 65, left : left + 65].astype(float)
        u, v = u - x, v - y
        if is_star:
            radius, light = 1.1774 * STAR_SIGMA_PIX, rng.uniform(1500, 9000)
            shape = np.exp(-(u**2 + v**2) / (2 * STAR_SIGMA_PIX**2))
        else:
            scale, ratio, turn = rng.uniform(2.2, 4), rng.uniform(0.5, 1), rng.uniform(0, np.pi)
            radius, light = 1.678 * scale * np.sqrt(ratio), rng.uniform(1500, 9000)
            along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
            shape = np.exp(-np.hypot(along, across / ratio) / scale)
        image[top : top + 65, left : left + 65] += (light * shape / shape.sum()).astype(np.float32)
        rows.append((x, y, radius, light, is_star))
    return image, pd.DataFrame(rows, columns=["x", "y", "radius", "light", "is_star"])


def write_tile(path, image, wcs=None, **cards):
    header = fits.Header() if wcs is None else wcs.to_header()
    header.update(cards)
    fits.PrimaryHDU(image, header).writeto(path, overwrite=True)
    return str(path)


pytestmark = pytest.mark.usefixtures("all_undrawn")


@pytest.fixture(scope="module")
def field():
    return simulate(480, galaxies=50, stars=20)


@pytest.fixture
def tile(tmp_path, field):
    return write_tile(tmp_path / "tile.fits", field[0], sky())


def find(tmp_path, *tiles, name="sources", **chosen):
    return detect(DetectOptions(mosaic=tiles, save_dir=str(tmp_path / name), **chosen))


def matched(table, truth):
    """For each true source the nearest that was found, and how far it is in pixels."""
    distances, nearest = KDTree(table[["x", "y"]]).query(truth[["x", "y"]])
    return table.iloc[nearest].reset_index(drop=True), distances


class TestSources:
    def test_all_are_found_where_they_are(self, tmp_path, tile, field):
        truth = field[1]
        result = find(tmp_path, tile)
        found, distances = matched(result.table, truth)
        assert (distances < 1).mean() >= 0.98  # completeness
        assert len(result.table) <= 1.02 * len(truth)  # purity
        assert np.median(distances) < 0.1
        assert np.percentile(distances, 95) < 0.4
        near = distances < 1
        np.testing.assert_allclose(
            np.median(found["half_light_radius_pix"][near] / truth["radius"][near]), 1, atol=0.05
        )
        np.testing.assert_allclose(np.median(found["flux"][near] / truth["light"][near]), 1, atol=0.06)

    def test_their_positions_are_those_of_astropy(self, tmp_path, tile, field):
        found, distances = matched(find(tmp_path, tile).table, field[1])
        there = sky().pixel_to_world(field[1]["x"].to_numpy(), field[1]["y"].to_numpy())
        apart = SkyCoord(found["ra"].to_numpy(), found["dec"].to_numpy(), unit="deg").separation(there).arcsec
        np.testing.assert_allclose(apart, distances * SCALE_ARCSEC, atol=1e-4)
        exact = sky().wcs_pix2world(found[["x", "y"]].to_numpy(), 0)
        np.testing.assert_allclose(found[["ra", "dec"]], exact, atol=1e-9)
        first = found.iloc[0]
        name = SkyCoord(first.ra, first.dec, unit="deg").to_string("hmsdms", sep="", precision=3, pad=True)
        assert first.id_str[:9] == "J" + name.split()[0][:8]
        assert first.id_str[11:16] == name.split()[1][:5]

    def test_stars_are_compact_and_can_be_left_out(self, tmp_path, tile, field):
        result = find(tmp_path, tile)
        found, distances = matched(result.table, field[1])
        is_star = field[1]["is_star"] & (distances < 1)
        assert found["compactness"][is_star].between(0.9, 1.1).mean() > 0.9
        assert (found["compactness"][~is_star] < 0.8).mean() > 0.9
        assert "point sources have a half-light radius of 1.79" in result.report()
        kept = find(tmp_path, tile, name="resolved", resolved_only=True)
        assert 20 <= len(result.table) - len(kept.table) <= 22
        assert "as narrow as point sources" in kept.report()
        given = find(tmp_path, tile, name="given", psf_fwhm_arcsec=2.355 * STAR_SIGMA_PIX * SCALE_ARCSEC)
        np.testing.assert_allclose(given.table["compactness"], result.table["compactness"], rtol=0.06)

    def test_blocks_give_what_the_whole_gives(self, tmp_path, tile, monkeypatch):
        whole = find(tmp_path, tile).table
        monkeypatch.setattr(detection, "_BLOCK_PIX", 256)
        monkeypatch.setattr(detection, "_MARGIN_PIX", 64)
        parts = find(tmp_path, tile, name="parts").table
        assert abs(len(parts) - len(whole)) <= 1
        _, distances = matched(parts, whole)
        assert np.percentile(distances, 95) < 0.2
        assert (np.sort(KDTree(parts[["x", "y"]]).query(parts[["x", "y"]], k=2)[0][:, 1]) > 5).all()

    def test_a_limit_of_each_kind(self, tmp_path, tile):
        every = find(tmp_path, tile).table
        few = find(tmp_path, tile, name="few", min_snr=60, min_radius_pix=3, max_sources=7)
        assert len(few.table) == 7
        assert few.table["snr"].min() >= 60
        assert few.table["half_light_radius_pix"].min() >= 3
        large = every[(every["snr"] >= 60) & (every["half_light_radius_pix"] >= 3)]
        assert set(few.table["id_str"]) == set(large.nlargest(7, "snr")["id_str"])
        assert "beyond the 7 of the highest S/N" in few.report()
        with pytest.raises(CatalogError, match=r"none of .* is kept .*--min-snr"):
            find(tmp_path, tile, name="none", min_snr=1e6)

    def test_sizes_of_images(self, tmp_path, tile):
        table = find(tmp_path, tile).table
        expected = np.rint(16 * table["half_light_radius_pix"]).clip(32, 1024)
        np.testing.assert_array_equal(table["cutout_pix"], expected)
        for options, side in (({"cutout_pix": 40}, 40), ({"cutout_arcsec": 20.0}, 50)):
            assert (find(tmp_path, tile, name=f"s{side}", **options).table["cutout_pix"] == side).all()
        near_edge = (table[["x", "y"]] + 0.5).min(axis=1).clip(upper=(479.5 - table[["x", "y"]]).min(axis=1))
        np.testing.assert_array_equal(table["at_edge"], near_edge < table["cutout_pix"] / 2)


class TestFlags:
    def test_masked_truncated_saturated_and_blended(self, tmp_path):
        image, _ = simulate(300, 0, 0)
        v, u = np.mgrid[:300, :300]

        def add(x, y, scale=4.0, light=200.0):
            image[:] += light * np.exp(-np.hypot(u - x, v - y) / scale).astype(np.float32)

        for x, y, light in ((60, 60, 200), (150, 150, 200), (162, 150, 150), (240, 1, 200), (60, 240, 5000)):
            add(x, y, light=light)
        add(230, 230)
        image[58:60, 50:70] = np.nan
        table = find(tmp_path, write_tile(tmp_path / "t.fits", image, SATURATE=2000.0)).table
        truth = {(60, 60): "masked", (150, 150): "blended", (162, 150): "blended", (240, 1): "truncated"}
        truth |= {(60, 240): "saturated", (230, 230): ""}
        for place, flag in truth.items():
            one = table.iloc[KDTree(table[["x", "y"]]).query(place)[1]]
            raised = {name for name in ("masked", "blended", "truncated", "saturated") if one[name]}
            assert raised == ({flag} if flag else set()), place

    def test_masks_and_weights(self, tmp_path, field):
        image = field[0]
        half = np.zeros(image.shape, np.int16)
        half[:, :240] = 4
        weight = np.where(half > 0, 0, 2.5e5).astype(np.float32)
        hdus = [fits.PrimaryHDU(image), fits.ImageHDU(half, name="DQ"), fits.ImageHDU(weight, name="WHT")]
        fits.HDUList(hdus).writeto(tmp_path / "t.fits")
        inside = find(tmp_path, str(tmp_path / "t.fits"), mask_hdu="DQ").table
        assert inside["x"].min() > 237
        weighed = find(tmp_path, str(tmp_path / "t.fits"), name="w", weight_hdu="WHT").table
        np.testing.assert_allclose(weighed[["x", "y"]], inside[["x", "y"]], atol=0.3)
        alone = write_tile(tmp_path / "w.fits", weight)
        beside = find(tmp_path, write_tile(tmp_path / "i.fits", image), name="b", weights=(alone,)).table
        np.testing.assert_array_equal(beside["x"], weighed["x"])
        minus = write_tile(tmp_path / "minus.fits", -weight)
        with pytest.raises(CatalogError, match="weights must not be negative"):
            find(tmp_path, str(tmp_path / "t.fits"), name="n", weights=(minus,))
        with pytest.raises(CatalogError, match="480 × 480 in 1 plane, got 10 × 480 in 1"):
            find(tmp_path, alone, name="s", masks=(write_tile(tmp_path / "m.fits", half[:10]),))
        with pytest.raises(CatalogError, match=r"masks? must be 1, one for each tile"):
            find(tmp_path, alone, name="s", masks=(alone, str(tmp_path / "i.fits")))

    def test_weights_find_less_where_there_is_more_noise(self, tmp_path, field):
        weight = np.ones(field[0].shape, np.float32)
        weight[:, :240] = 1e-4
        noisy = field[0] + np.random.default_rng(1).normal(0, 100, weight.shape) * (weight < 1)
        path = write_tile(tmp_path / "t.fits", noisy.astype(np.float32))
        found = find(tmp_path, path, weights=(write_tile(tmp_path / "w.fits", weight),), min_snr=0).table
        assert (found["x"] < 230).sum() <= 0.2 * (found["x"] > 250).sum()


class TestTiles:
    def test_a_source_in_two_tiles_counts_once(self, tmp_path, field):
        image, truth = field
        left, right = image[:, :300], image[:, 180:]
        paths = [
            write_tile(tmp_path / "tile1.fits", left, sky()),
            write_tile(tmp_path / "tile2.fits", right, sky(180)),
        ]
        table = find(tmp_path, str(tmp_path / "tile*.fits")).table
        x = table["x"] + np.where(table["tile"] == "tile2.fits", 180, 0)
        both = pd.DataFrame({"x": x, "y": table["y"]})
        _, distances = matched(both, truth)
        assert (distances < 1).mean() >= 0.98
        assert len(table) <= 1.02 * len(truth)
        inner = table["y"].between(70, 410)  # nearer to the edge that both have, it is as deep in both
        assert (table["tile"][inner & (x < 235)] == "tile1.fits").all()
        assert (table["tile"][inner & (x > 245)] == "tile2.fits").all()
        assert table["id_str"].is_unique
        assert sorted({place.partition("::")[0] for place in table["file_loc"]}) == paths

    def test_the_whole_one_counts_not_the_deeper(self):
        places = np.array([[0.0, 0.0], [0.5, 0.0]])
        same = {"places": places, "radii": np.ones(2), "seen_in": np.array([0, 1]), "depth": np.array([9, 1])}
        assert count_once(**same).tolist() == [True, False]
        assert count_once(**same, clean=np.array([False, True])).tolist() == [False, True]
        assert count_once(**same | {"seen_in": np.zeros(2)}).all()  # in one tile they are two
        assert count_once(**same | {"places": places * np.nan}).all()

    def test_without_coordinates(self, tmp_path, field):
        result = find(tmp_path, write_tile(tmp_path / "tile.fits", field[0]))
        assert "ra" not in result.table
        assert "no coordinates" in result.report()
        first = result.table.iloc[0]
        assert first.id_str == f"tile_{first.x:.1f}_{first.y:.1f}"
        catalog = read_catalog(result.catalog)
        seen = read_image(catalog.paths[0], RAW) * 1e4
        side = int(first.cutout_pix)
        expected = Cutout2D(field[0], (first.x, first.y), side, mode="partial", fill_value=0).data
        np.testing.assert_allclose(seen[..., 0], expected, rtol=1e-4, atol=1e-2)
        with pytest.raises(CatalogError, match="nobody knows what an arcsec is"):
            find(tmp_path, str(tmp_path / "tile.fits"), name="no", cutout_arcsec=9)

    def test_a_file_for_each_band(self, tmp_path, field):
        image = field[0]
        for band, factor in (("g", 0.5), ("r", 1.0), ("z", 2.0)):
            write_tile(tmp_path / f"t_{band}.fits", (image - 20) * factor, sky(), FILTER=band)
        result = find(tmp_path, str(tmp_path / "t_*.fits"))
        assert result.file_cols == ("file_g", "file_r", "file_z")
        assert "the band r, of g, r, z the nearest to red light" in result.report()
        assert "--file-col file_g file_r file_z" in result.report()
        catalog = read_catalog(result.catalog, file_col=result.file_cols)
        record = RAW.with_changes(channels=3, colour="auto", limits=(0, 1e3))
        seen = read_image(catalog.paths[5], record)  # red first
        np.testing.assert_allclose(
            seen[..., 0][seen[..., 2] > 0], 4 * seen[..., 2][seen[..., 2] > 0], rtol=1e-3
        )
        z_alone = find(tmp_path, str(tmp_path / "t_*.fits"), name="z", detect_band="z")
        assert "the band z, as chosen" in z_alone.report()
        with pytest.raises(CatalogError, match="has the bands g, r, z; sources can't be found in 'y'"):
            find(tmp_path, str(tmp_path / "t_*.fits"), name="y", detect_band="y")
        write_tile(tmp_path / "t_z.fits", image, sky(5), FILTER="z")
        with pytest.raises(CatalogError, match=r"none of z on the same pixels"):
            find(tmp_path, str(tmp_path / "t_*.fits"), name="odd")


RAW = Preprocessing(
    channels=1, colour="as-is", stretch="linear", limits=(0, 1e4), nan_policy="fill", mean=(0.5,), std=(0.5,)
)


class TestOneCommand:
    def test_from_a_tile_to_a_table(self, tmp_path, tile, field, engine_name, tree_checkpoint):
        options = {
            "mosaic": tile, "detect": True, "max_sources": 12, "colour": "to-rgb", "nan_policy": "fill",
            "progress": False, "backend": engine_name,
        }  # fmt: skip
        model = tree_checkpoint(engine_name)
        result = zoobot.predict(model, save_loc=tmp_path / "new.csv", **options)
        table = pd.read_csv(tmp_path / "new.csv")
        sources = pd.read_parquet(tmp_path / "new.sources" / "sources.parquet")
        assert len(table) == len(sources) == 12
        for column in ("id_str", "ra", "dec", "x", "snr", "compactness", "blended", "at_edge", "tile"):
            assert column in table
        np.testing.assert_allclose(table["ra"], sources["ra"])
        distances, _ = KDTree(field[1][["x", "y"]]).query(table[["x", "y"]])
        assert (distances < 1).all()
        assert "12 galaxies" in result.report()
        assert "beyond the 12 of the highest S/N" in result.report()
        methods = zoobot.cite(tmp_path / "new.csv").methods
        assert "sources that SEP [@barbary2016sep; @bertin1996sextractor] found in 1 tile (12 with" in methods
        again = zoobot.predict(
            model, catalog=sources_of(tmp_path), save_loc=tmp_path / "again.csv", columns=["ra"],
            **{name: options[name] for name in ("colour", "nan_policy", "progress", "backend")},
        )  # fmt: skip
        assert again.galaxies == 12
        if engine_name == "pytorch":  # images of one band, told of in the record beside the CSV alone
            page = zoobot.explore(tmp_path / "again.csv", progress=False, save_loc=tmp_path / "page.html")
            assert "could not be read" not in page.report()
        predicted = [name for name in table if name.endswith("_concentration")]
        np.testing.assert_array_equal(table[predicted], pd.read_csv(tmp_path / "again.csv")[predicted])

    def test_sources_are_found_once(self, tmp_path, tile):
        asked = PredictOptions(checkpoint="m", save_loc="s", mosaic=(tile,), detect=True, min_snr=50.0)
        options = asked.detection(str(tmp_path / "s.sources"))
        first = detect_first(options, command="test")
        before = first.catalog.stat().st_mtime_ns
        second = detect_first(options, command="test")
        assert second.catalog.stat().st_mtime_ns == before
        pd.testing.assert_frame_equal(first.table, second.table)
        others = PredictOptions(checkpoint="m", save_loc="s", mosaic=(tile,), detect=True)
        with pytest.raises(ConfigError, match=r"found with other options.*--overwrite"):
            detect_first(others.detection(str(tmp_path / "s.sources")), command="test")
        record = json.loads((tmp_path / "s.sources" / "run.json").read_text())
        record["status"] = "interrupted"  # as after a kill
        (tmp_path / "s.sources" / "run.json").write_text(json.dumps(record))
        assert len(detect_first(options, command="test").table) == len(first.table)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"detect": True}, "--detect needs --mosaic"),
            ({"detect": True, "mosaic": ("t",), "catalog": "c.csv"}, "--catalog, or --detect"),
            (
                {"catalog": "c.csv", "min_snr": 5.0, "max_sources": 3},
                "--min-snr and --max-sources: for",
            ),
            ({"detect": True, "mosaic": ("t",), "shard": "1/2"}, "--shard is for a catalog"),
            ({"detect": True, "mosaic": ("t",), "id_col": "name"}, "--id-col: for catalogs"),
            ({"detect": True, "mosaic": ("t",), "cutout_pix": 9, "cutout_radii": 2.0}, "give one of"),
            ({"detect": True, "mosaic": ("t",), "cutout_limits_pix": (90, 9)}, "must be the smaller first"),
            ({}, "missing: --catalog, the galaxies; or --mosaic with --detect"),
        ],
    )
    def test_options_that_do_not_fit(self, given, message):
        with pytest.raises(ConfigError, match=message):
            PredictOptions(checkpoint="m", save_loc="s", **given)


def sources_of(folder):
    return folder / "new.sources" / "sources.parquet"


class TestRefusals:
    def test_no_sep(self, tmp_path, tile, monkeypatch):
        monkeypatch.setitem(sys.modules, "sep", None)
        with pytest.raises(MissingPackageError, match=r"zoobot\[detect\]"):
            find(tmp_path, tile)

    def test_what_is_no_tile(self, tmp_path):
        (tmp_path / "t.fits").write_text("text")
        for files, message in (
            (("t.fits",), "sources can't be looked for"),
            (("u*.fits",), "there is no mosaic"),
            ((".",), r"is a folder: name the files in it, such as '.*/\*\.fits'"),
        ):
            with pytest.raises(CatalogError, match=message):
                detect(
                    DetectOptions(
                        mosaic=tuple(str(tmp_path / f) for f in files), save_dir=str(tmp_path / "s")
                    )
                )

    @pytest.mark.parametrize(
        ("value", "message"),
        [(np.nan, "not one pixel has a value"), (3.0, "no noise to hold sources against")],
    )
    def test_nothing_to_find(self, tmp_path, value, message):
        path = write_tile(tmp_path / "t.fits", np.full((90, 90), value, np.float32))
        with pytest.raises(CatalogError, match=message):
            find(tmp_path, path)

    def test_tiles_of_no_use_are_passed_over_and_told_of(self, tmp_path, tile):
        empty = write_tile(tmp_path / "empty.fits", np.full((90, 90), np.nan, np.float32), sky())
        result = find(tmp_path, empty, tile)
        assert set(result.table["tile"]) == {"tile.fits"}
        assert f"passed over: {empty}: not one pixel has a value" in result.report()
        assert json.loads((tmp_path / "sources" / "run.json").read_text())["tiles"] == 1
        other = write_tile(tmp_path / "flat.fits", np.zeros((90, 90), np.float32))
        with pytest.raises(CatalogError, match=r"not one of 2 tiles can be used: passed over: .*empty\.fits"):
            find(tmp_path, empty, other, name="none")

    @pytest.mark.parametrize("power", [-30, 30])
    def test_units_do_not_matter(self, tmp_path, tile, field, power):
        usual = find(tmp_path, tile).table
        other = write_tile(
            tmp_path / "other.fits", (field[0].astype(float) * 10.0**power).astype("f4"), sky()
        )
        table = find(tmp_path, other, name="other").table
        assert len(table) == len(usual)
        np.testing.assert_allclose(table["snr"], usual["snr"], rtol=1e-3)
        np.testing.assert_allclose(table["flux"] / 10.0**power, usual["flux"], rtol=1e-3)

    def test_the_next_step_can_be_taken(self, tmp_path, tile, field):
        assert "--colour to-rgb" in find(tmp_path, tile).report()
        cube = write_tile(tmp_path / "cube.fits", np.stack([field[0]] * 3), sky())
        assert "--colour" not in find(tmp_path, cube, name="cube").report()

    def test_hardly_any_pixel_has_a_value(self, tmp_path, field):
        image = np.where(np.random.default_rng(0).random((480, 480)) < 0.55, np.nan, field[0]).astype(
            np.float32
        )
        table = find(tmp_path, write_tile(tmp_path / "t.fits", image)).table
        assert 40 <= len(table) <= 90
        assert table["half_light_radius_pix"].max() < 20

    def test_sizes_that_no_image_has(self, tmp_path, tile):
        with pytest.raises(ImageError, match="too large"):
            find(tmp_path, tile, cutout_arcsec=1e9)
        result = find(tmp_path, tile, name="some", cutout_limits_pix=(60, 90))
        assert "at the smallest, 60 pixels" in result.report()

    def test_places_in_pixels(self, tmp_path, field):
        path = write_tile(tmp_path / "t.fits", field[0])
        for place in ("x-50,y3,20pix", "x1e9,y3,20pix"):
            with pytest.raises(ImageError, match="outside of the mosaic"):
                read_image(f"{path}::{place}", RAW)
        for place in ("xa,y3,20pix", "x1,ynan,20pix", "x1,y1,-3pix", "x1,y1,20arcsec"):
            with pytest.raises(ImageError, match="a part of a mosaic is"):
                read_image(f"{path}::{place}", RAW)

    def test_nobody_knows_a_point_source(self, tmp_path):
        image, _ = simulate(300, galaxies=4, stars=2)
        path = write_tile(tmp_path / "t.fits", image, sky())
        assert find(tmp_path, path).table["compactness"].isna().all()
        with pytest.raises(CatalogError, match="--psf-fwhm-arcsec"):
            find(tmp_path, path, name="r", resolved_only=True)


def test_the_picture(tmp_path, field):
    from zoobot.plots.detections import detections

    image, truth = field
    table = truth.rename(columns={"radius": "a"}).assign(b=1.0, theta=0.0, kron_pix=9.0)
    table = table.assign(compactness=np.where(truth["is_star"], 1.0, 0.3), masked=0, saturated=0, truncated=0)
    table.loc[0, "masked"] = 1
    figure = detections(image - 20, table, point_compactness=0.8, title="tile")
    drawn = [len(one.get_offsets()) for one in figure.axes[0].collections]
    assert drawn == [49, 20, 1]
    assert [text.get_text() for text in figure.legends[0].get_texts()][1] == "20 point sources"
    unknown = detections(image - 20, table.assign(compactness=np.nan), point_compactness=0.8)
    assert unknown.legends[0].get_texts()[0].get_text() == "69 galaxies or stars"
