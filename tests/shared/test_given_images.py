"""What may stand in the place of a catalog: images in memory and by their paths give what files give."""

import io
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot.shared.augment import Augmentation
from zoobot.shared.catalog import read_catalog
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.errors import CatalogError, ImageError
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.pixels.images import read_image
from zoobot.shared.preprocessing import Preprocessing

COLOUR = Preprocessing(image_size_pix=16)


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def pictures():
    """One picture of each mode that a file may be in."""
    colour = Image.fromarray(noise(20, 30, 3))
    yield from (colour.convert(mode) for mode in ("RGB", "L", "P", "1", "CMYK", "LA"))
    yield Image.fromarray(noise(20, 30, 4))
    yield Image.fromarray(noise(20, 30, dtype=np.uint16))


def only_pixels(given, record=COLOUR):
    """The pixels of the one image that is given."""
    (place,) = read_catalog(given).paths
    return read_image(place, record)


@pytest.mark.parametrize("picture", list(pictures()), ids=lambda picture: picture.mode)
def test_a_picture_gives_what_its_file_gives(tmp_path, picture):
    file = tmp_path / f"galaxy.{'tif' if picture.mode == 'CMYK' else 'png'}"
    picture.save(file)
    expected = read_image(file, COLOUR)
    opened = Image.open(file)
    read = Image.open(file)
    read.load()
    for given in (
        picture,
        opened,
        read,
        file.read_bytes(),
        str(file),
        file,
        [file],
        str(tmp_path / "*.[pt]*"),
    ):
        found = only_pixels(given)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_a_picture_that_is_still_in_its_file_is_not_used_up(tmp_path):
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "galaxy.jpg")
    (place,) = read_catalog(Image.open(tmp_path / "galaxy.jpg")).paths
    for _ in range(2):
        np.testing.assert_array_equal(read_image(place, COLOUR), read_image(tmp_path / "galaxy.jpg", COLOUR))


def test_a_large_jpeg_is_an_array_where_it_is_decoded_whole(tmp_path):
    file = tmp_path / "galaxy.jpg"
    Image.fromarray(noise(64, 64, 3)).save(file)
    array = np.asarray(Image.open(file))
    catalogs = [read_catalog(given) for given in (file, array, Image.open(file), file.read_bytes())]
    sides = [read_image(one.paths[0], COLOUR, least_side_pix=16).shape[0] for one in catalogs]
    assert sides == [16, 64, 64, 64]  # a file is decoded no finer than is needed
    views = [next(iter(GalaxyLoader(one.decoded_whole(), COLOUR))).images for one in catalogs]
    for view in views[1:]:
        np.testing.assert_array_equal(view, views[0])
    caches = [
        GalaxyLoader(catalog, COLOUR, cache_dir=tmp_path / "cache")
        for catalog in (catalogs[0], catalogs[0].decoded_whole())
    ]
    kept = [[next(iter(loader)).images for loader in caches] for _ in range(2)][1]
    assert (kept[0] != kept[1]).any()
    np.testing.assert_array_equal(kept[1], views[0])


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3), (20, 30, 4)])
def test_an_array_is_what_its_picture_is(shape):
    array = noise(*shape)
    np.testing.assert_array_equal(only_pixels(array), only_pixels(Image.fromarray(array)))


def test_four_chosen_channels_are_no_transparency():
    four = Preprocessing(image_size_pix=16, channels=4, mean=(0.5,), std=(0.5,))
    assert only_pixels(noise(20, 30, 4), four).shape == (20, 30, 4)
    first = only_pixels(noise(20, 30, 4), COLOUR.with_changes(bands=(3, 0, 1)))
    np.testing.assert_array_equal(first, noise(20, 30, 4)[..., [3, 0, 1]])


def test_batches_of_arrays_are_those_of_files(tmp_path):
    arrays = [noise(20 + k, 30, 3, seed=k) for k in range(5)]
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{number}.png")
    of_files, of_arrays = (
        list(GalaxyLoader(read_catalog(given), COLOUR, batch_size=2, augmentation=Augmentation()))
        for given in (tmp_path, {str(number): array for number, array in enumerate(arrays)})
    )
    for file, array in zip(of_files, of_arrays, strict=True):
        assert file.ids == array.ids
        np.testing.assert_array_equal(file.images, array.images)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_the_same_picture(dtype):
    found = only_pixels((noise(20, 30, 3) / 255).astype(dtype))
    assert found.dtype == np.uint8  # and so are its views, as those of the file
    np.testing.assert_array_equal(found, noise(20, 30, 3))
    finer = noise(20, 30, 3, dtype=np.uint16) / 65535
    assert only_pixels(finer).dtype == np.float32
    np.testing.assert_allclose(only_pixels(finer), finer, atol=1e-7)


def test_a_closed_picture_is_refused_with_what_to_do(tmp_path):
    Image.fromarray(noise(20, 30)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        pass
    with pytest.raises(ImageError, match=r"closed before its pixels were read: call its load\(\)"):
        only_pixels(picture)


@pytest.mark.parametrize(
    ("given", "galaxies"),
    [
        (noise(20, 30), 1),
        (noise(20, 30, 1), 1),
        (noise(20, 30, 3), 1),
        (noise(5, 20, 30), 5),
        (noise(1, 20, 30), 1),
        (noise(2, 20, 30, 3), 2),
        ([noise(20, 30, 3), noise(30, 20, 3)], 2),
        ((noise(20, 30, 3) for _ in range(3)), 3),
        (pd.Series([noise(20, 30), noise(20, 30)]), 2),
    ],
)
def test_axes_tell_how_many_images_there_are(given, galaxies):
    catalog = read_catalog(given)
    assert catalog.ids == [str(number) for number in range(galaxies)]
    assert len(catalog.table) == galaxies
    assert {read_image(place, COLOUR).shape[-1] for place in catalog.paths} == {3}


def test_a_dictionary_names_its_galaxies(tmp_path):
    Image.fromarray(noise(20, 30)).save(tmp_path / "m33.png")
    catalog = read_catalog({"m31": noise(20, 30), "m33": tmp_path / "m33.png"})
    assert catalog.ids == ["m31", "m33"]
    np.testing.assert_array_equal(*(read_image(place, COLOUR) for place in catalog.paths))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (noise(20, 30).astype(int), r"pixels are uint8, or floats.*got int64.*astype\(np.uint8\)"),
        (noise(20, 30, dtype=np.uint16), "got uint16: divide them by"),
        (np.zeros((20, 30), bool), "a mask is no image"),
        (np.zeros((3, 20, 30)), "may be 3 grey images or the 3 channels of one"),
        (np.zeros((20, 30, 5)), r"may be one image of 5 channels, or 20 grey images of 30 × 5 px: give \[im"),
        (np.zeros((2, 3, 20, 30)), r"looks like \(batch, channels, height, width\)"),
        (np.zeros(7), r"got \(7,\)"),
        (np.ma.masked_equal(np.eye(20), 1), r"NDData\(values, mask=mask\)"),
        (noise(20, 30) * 1.0, r"in \[0, 1\], got 0 to 255; pixels of 0 to 255 are given as they are"),
        (np.full((20, 30), np.nan), r"in \[0, 1\], got nan to nan; physical values"),
        (np.full((20, 30), -1.0), "NDData"),
        ([np.zeros((3, 20, 30))], r"looks like \(channels, height, width\)"),
        (b"no image", "not a JPEG"),
        (np.zeros((2, 2)), "too small"),
        (noise(20, 30, 2), "has 2 planes"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(given, words):
    with pytest.raises(ImageError, match=words):
        only_pixels(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "there is no galaxy"),
        ({}, "there is no galaxy"),
        (None, "got NoneType"),
        ([1, 2], "got list of int"),
        ({1: noise(20, 30), "1": noise(20, 30)}, "id of its own"),
        (["a.csv", "b.jpg"], "are no images"),
        ("nothing_*.jpg", "no file fits"),
        ("nothing.jpg", "1 of 1 images of nothing.jpg are missing"),
        ("", "path of a catalog is empty"),
        (io.StringIO("text"), "open for bytes, got StringIO"),
        (pd.DataFrame({"id_str": ["a"], "file_loc": [3]}), r"must be text or Path, got 3 \(int\)"),
        (["nothing.jpg", "neither.png"], "2 of 2 images of 2 images are missing"),
    ],
)
def test_what_is_no_catalog_is_refused(given, words):
    with pytest.raises(CatalogError, match=words):
        read_catalog(given)


def test_paths_are_called_as_in_a_folder(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(noise(20, 30)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    for given in ([tmp_path / "a.png", str(tmp_path / "b.png")], str(tmp_path / "*")):
        assert read_catalog(given).ids == ["a", "b"]
        assert CatalogStream(given).facts.galaxies == 2
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
    assert read_catalog(str(tmp_path / "*.zip")).ids == ["a"]
    assert read_catalog([tmp_path / "both.zip"]).ids == ["a"]
    np.testing.assert_array_equal(only_pixels(f"{tmp_path / 'both.zip'}::a.png"), only_pixels(noise(20, 30)))


def test_open_files_and_dataframes_of_images_are_images(tmp_path):
    Image.fromarray(noise(20, 30)).save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb") as file:
        for given in (file, [file], io.BytesIO((tmp_path / "a.png").read_bytes())):
            np.testing.assert_array_equal(only_pixels(given), only_pixels(noise(20, 30)))
    table = pd.DataFrame(
        {"name": ["m31", "m33"], "image": [noise(20, 30), tmp_path / "a.png"], "ring": [1, 0]}
    )
    catalog = read_catalog(table, id_col="name", file_col="image", label_cols=["ring"])
    assert catalog.ids == ["m31", "m33"]
    assert catalog.labels.ravel().tolist() == [1, 0]
    np.testing.assert_array_equal(*(read_image(place, COLOUR) for place in catalog.paths))
    assert read_catalog(table, file_col="image").ids == ["0", "1"]


def test_a_table_of_astropy_is_a_catalog():
    table = pytest.importorskip("astropy.table").QTable()
    table["id_str"], table["file_loc"] = np.array([b"a", b"b"]), ["/a.jpg", "/b.jpg"]
    table["ring"] = [1, 0]
    table["vector"] = np.zeros((2, 3))
    catalog = read_catalog(table, label_cols=["ring"], check_files=False)
    assert catalog.ids == ["a", "b"]
    assert catalog.labels.ravel().tolist() == [1, 0]
    assert "vector" not in catalog.table


def test_nddata_and_extensions_give_what_their_file_gives(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    nddata = pytest.importorskip("astropy.nddata")
    values = np.random.default_rng(0).normal(size=(3, 20, 30)).astype(">f4")
    mask = values[0] > 2.5
    values[:, mask] = np.nan
    header = fits.Header({"BANDS": "grz"})
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values, header)]).writeto(tmp_path / "galaxy.fits")
    filled = COLOUR.with_changes(nan_policy="fill", fill_value=0.5)
    expected = read_image(tmp_path / "galaxy.fits", filled)
    assert (expected == 0.5).any()
    unmasked = np.nan_to_num(values, nan=9)
    with fits.open(tmp_path / "galaxy.fits") as hdus:
        for given in (
            str(tmp_path / "galaxy.fits"),
            hdus,
            hdus[1],
            nddata.NDData(values, meta={"bands": "grz"}),
            nddata.NDData(unmasked, mask=np.broadcast_to(mask, values.shape), meta=header),
            nddata.CCDData(unmasked, unit="adu", mask=np.broadcast_to(mask, values.shape), meta=header),
        ):
            np.testing.assert_array_equal(only_pixels(given, filled), expected)
    with pytest.raises(ImageError, match="are NaN or infinite"):
        only_pixels(nddata.NDData(values))
    with pytest.raises(ImageError, match="physical values: give NDData"):
        read_catalog(np.zeros((20, 30)) * pytest.importorskip("astropy.units").nJy)


def test_images_in_memory_learn_like_others_and_are_told_apart(tmp_path):
    catalog = read_catalog(noise(4, 20, 30, 3)).with_labels([0, 1, 0, 1], ["ring"])
    data = GalaxyData(
        catalog,
        preprocessing=COLOUR,
        batch_size=2,
        val_fraction=0.5,
        cache_dir=tmp_path / "cache",
        num_workers=1,
    )
    assert [batch.images.shape for batch in data.loader("val")] == [(2, 16, 16, 3)]
    other = read_catalog(noise(4, 20, 30, 3, seed=1)).with_labels([0, 1, 0, 1], ["ring"])
    assert catalog.fingerprint() == pickle.loads(pickle.dumps(catalog)).fingerprint() != other.fingerprint()
    assert catalog.describe()["contents"] != other.describe()["contents"]
    with pytest.raises(CatalogError, match="can be read again"):
        CatalogStream(catalog)
